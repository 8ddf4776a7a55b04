//! Socket Mode at the wire, by a plain WebSocket client.

use futures::SinkExt as _;
use serde_json::{Value, json};
use stanch::sandbox::slack::{DisconnectReason, SlackEmulatorError};
use tokio_tungstenite::tungstenite::Message;

use super::{App, PATIENCE, Socket, body, without, word};

/// The greeting, and that a ticket works once.
#[tokio::test]
async fn the_greeting() {
    let app = App::start().await;
    let url = app.open_url().await;
    let (socket, _) = tokio_tungstenite::connect_async(&url).await.expect("a connection");
    let mut hello = Socket(socket).next().await;
    assert!(hello["debug_info"].as_object_mut().expect("an object").remove("started").is_some());
    let expected = json!({
        "type": "hello",
        "num_connections": 1,
        "debug_info": { "host": "applink-sandbox", "build_number": 1, "approximate_connection_time": 18_060 },
        "connection_info": { "app_id": "A0STANCH" },
    });
    assert_eq!(hello, expected);
    assert!(tokio_tungstenite::connect_async(&url).await.is_err(), "a ticket works once");
    app.finish().await;
}

/// Goal: a command reaches the app as Slack sends it, and the acknowledgement's message reaches the person.
#[tokio::test]
async fn a_command_and_its_answer() {
    let app = App::start().await;
    let mut socket = app.connect().await;
    let typed = app.slack.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch quarantine pod shop/cart --reason a&b");
    let handle = async {
        let envelope = socket.next().await;
        let answer = json!({ "text": "working on it" });
        socket.send(&json!({ "envelope_id": envelope["envelope_id"], "payload": answer })).await;
        envelope
    };
    let (typed, envelope) = tokio::join!(typed, handle);
    let typed = typed.expect("an answer");
    let payload = json!({
        "token": "verification-token",
        "team_id": "T0SANDBOX",
        "team_domain": "stanch-sandbox",
        "channel_id": "C0INCIDENTS",
        "channel_name": "incidents",
        "user_id": "U0RESPONDER",
        "user_name": "rosa",
        "command": "/stanch",
        "text": "quarantine pod shop/cart --reason a&amp;b",
        "api_app_id": "A0STANCH",
        "is_enterprise_install": "false",
        "response_url": typed.response_url,
        "trigger_id": typed.trigger_id,
    });
    let expected = json!({ "type": "slash_commands", "payload": payload, "accepts_response_payload": true });
    assert_eq!(without(envelope, &["envelope_id"]), expected);
    assert_eq!(typed.payload, Some(json!({ "text": "working on it" })));
    let seen = app.slack.channel_transcript("C0INCIDENTS");
    let seen: Vec<_> = seen.iter().map(|entry| (entry.text.as_str(), entry.only_for.as_deref())).collect();
    assert_eq!(seen, vec![("working on it", Some("U0RESPONDER"))]);
    app.finish().await;
}

/// Five answers through a response URL, for the person or for all; the sixth is refused.
#[tokio::test]
async fn a_response_url() {
    let app = App::start().await;
    let mut socket = app.connect().await;
    let (typed, _) = tokio::join!(app.slack.type_command("U0RESPONDER", "C0ELSEWHERE", "/stanch help"), socket.take());
    let url = typed.expect("an answer").response_url;
    let respond = async |message: Value| {
        let response = app.http.post(&url).header("content-type", "application/json").body(message.to_string()).send().await;
        let response = response.expect("an answer");
        (response.status().as_u16(), body(response).await)
    };
    assert_eq!(respond(json!({ "text": "for you" })).await, (200, json!({ "ok": true })));
    assert_eq!(respond(json!({ "text": "for all", "response_type": "in_channel" })).await.0, 200);
    let (status, refusal) = respond(json!({ "blocks": [{ "type": "marquee" }] })).await;
    assert_eq!((status, word(&refusal, "error")), (400, "invalid_blocks".into()));
    assert_eq!(respond(json!({ "words": "x" })).await.0, 400);
    assert_eq!(respond(json!({ "text": "last" })).await.0, 200);
    assert_eq!(respond(json!({ "text": "more" })).await, (404, json!({ "ok": false, "error": "used_url" })));
    let seen = app.slack.channel_transcript("C0ELSEWHERE");
    let seen: Vec<_> = seen.iter().map(|entry| (entry.text.as_str(), entry.only_for.is_some())).collect();
    assert_eq!(seen, vec![("for you", true), ("for all", false), ("last", true)]);
    app.finish().await;
}

/// Goal: a reaction reaches the app as Slack sends it: without a word on who that is.
#[tokio::test]
async fn a_reaction() {
    let app = App::start().await;
    let mut socket = app.connect().await;
    let ts = app.say("C0INCIDENTS", "plan").await;
    app.slack.react("U0OTHERBOT", "C0INCIDENTS", &ts, "white_check_mark").await.expect("a reaction");
    let envelope = socket.take().await;
    let event = json!({
        "type": "reaction_added",
        "user": "U0OTHERBOT",
        "reaction": "white_check_mark",
        "item": { "type": "message", "channel": "C0INCIDENTS", "ts": ts },
        "item_user": "U0STANCH",
    });
    assert_eq!(without(envelope["payload"]["event"].clone(), &["event_ts"]), event);
    let bot = json!({
        "enterprise_id": null,
        "team_id": "T0SANDBOX",
        "user_id": "U0STANCH",
        "is_bot": true,
        "is_enterprise_install": false,
    });
    let wrapper = json!({
        "token": "verification-token",
        "team_id": "T0SANDBOX",
        "context_team_id": "T0SANDBOX",
        "context_enterprise_id": null,
        "api_app_id": "A0STANCH",
        "type": "event_callback",
        "authorizations": [bot],
        "is_ext_shared_channel": false,
    });
    assert_eq!(without(envelope["payload"].clone(), &["event", "event_id", "event_time", "event_context"]), wrapper);
    let outer = json!({ "type": "events_api", "accepts_response_payload": false, "retry_attempt": 0, "retry_reason": "" });
    assert_eq!(without(envelope, &["envelope_id", "payload"]), outer);

    app.slack.unreact("U0OTHERBOT", "C0INCIDENTS", &ts, "white_check_mark").await.expect("no reaction");
    assert_eq!(socket.take().await["payload"]["event"]["type"], json!("reaction_removed"));
    app.finish().await;
}

/// A click carries the button, the message and a response URL that can replace the message.
#[tokio::test]
async fn a_click() {
    let app = App::start().await;
    let mut socket = app.connect().await;
    let label = json!({ "type": "plain_text", "text": "Approve" });
    let button = json!({ "type": "button", "action_id": "approve", "text": label, "value": "digest", "style": "primary" });
    let blocks = json!([{ "type": "actions", "block_id": "votes", "elements": [button] }]);
    let posted = app.ok("chat.postMessage", json!({ "channel": "C0INCIDENTS", "text": "plan", "blocks": blocks })).await;
    let ts = word(&posted, "ts");
    let (clicked, envelope) = tokio::join!(app.slack.click("U0APPROVER1", "C0INCIDENTS", &ts, "approve"), socket.take());
    let clicked = clicked.expect("an answer");
    let mut payload = envelope["payload"].clone();
    assert!(payload["actions"][0].as_object_mut().expect("an object").remove("action_ts").is_some());
    let mut action = button.clone();
    action["block_id"] = json!("votes");
    let expected = json!({
        "type": "block_actions",
        "user": { "id": "U0APPROVER1", "username": "amir", "name": "amir", "team_id": "T0SANDBOX" },
        "api_app_id": "A0STANCH",
        "token": "verification-token",
        "container": { "type": "message", "message_ts": ts, "channel_id": "C0INCIDENTS", "is_ephemeral": false },
        "trigger_id": clicked.trigger_id,
        "team": { "id": "T0SANDBOX", "domain": "stanch-sandbox" },
        "enterprise": null,
        "is_enterprise_install": false,
        "channel": { "id": "C0INCIDENTS", "name": "incidents" },
        "message": posted["message"],
        "state": { "values": {} },
        "response_url": clicked.response_url,
        "actions": [action],
    });
    assert_eq!(payload, expected);

    let replacement = json!({ "text": "approved", "replace_original": true }).to_string();
    let request = app.http.post(&clicked.response_url).header("content-type", "application/json").body(replacement);
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    let seen = app.slack.channel_transcript("C0INCIDENTS");
    let seen: Vec<_> = seen.iter().map(|entry| (entry.text.as_str(), entry.blocks.len(), entry.edits)).collect();
    assert_eq!(seen, vec![("approved", 0, 1)]);
    app.finish().await;
}

/// Envelopes take turns between connections, and pings are answered.
#[tokio::test]
async fn connections_take_turns() {
    let app = App::start().await;
    let (mut one, mut two) = (app.connect().await, app.connect().await);
    let ts = app.say("C0INCIDENTS", "plan").await;
    for emoji in ["eyes", "x", "wave", "fire"] {
        app.slack.react("U0APPROVER1", "C0INCIDENTS", &ts, emoji).await.expect("a reaction");
    }
    let mut heard = [Vec::new(), Vec::new()];
    for _ in 0..2 {
        heard[0].push(word(&one.take().await["payload"]["event"], "reaction"));
        heard[1].push(word(&two.take().await["payload"]["event"], "reaction"));
    }
    heard.sort();
    assert_eq!(heard, [["eyes", "wave"], ["x", "fire"]]);
    one.0.send(Message::Ping("anyone?".into())).await.expect("a connection");
    let pong = tokio::time::timeout(PATIENCE, futures::StreamExt::next(&mut one.0)).await.expect("in time");
    assert_eq!(pong.expect("a frame").expect("a frame"), Message::Pong("anyone?".into()));
    app.finish().await;
}

/// Slack announces the end of a connection and ends it; a cut comes without a word. Without a connection a command fails, visibly.
#[tokio::test]
async fn the_end_of_a_connection() {
    let app = App::start().await;
    let mut socket = app.connect().await;
    app.slack.disconnect_sockets(DisconnectReason::RefreshRequested);
    let notice = json!({ "type": "disconnect", "reason": "refresh_requested", "debug_info": { "host": "applink-sandbox" } });
    assert_eq!((socket.next().await, socket.try_next().await), (notice, None));
    let mut socket = app.connect().await;
    app.slack.cut_sockets();
    assert_eq!(socket.try_next().await, None);

    let failed = app.slack.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch help").await;
    assert_eq!(failed, Err(SlackEmulatorError::DispatchFailed));
    let seen = app.slack.channel_transcript("C0INCIDENTS");
    assert_eq!(seen[0].to_string(), "  (only U0RESPONDER sees this) USLACKBOT: /stanch failed with the error \"dispatch_failed\"");
    app.finish().await;
}

/// What Slack would swallow is kept, so that a test of the bot can assert that there was nothing.
#[tokio::test]
async fn violations_are_kept() {
    let app = App::start().await;
    let mut socket = app.connect().await;
    let ts = app.say("C0INCIDENTS", "plan").await;
    app.slack.react("U0APPROVER1", "C0INCIDENTS", &ts, "eyes").await.expect("a reaction");
    let envelope = socket.next().await;
    let id = word(&envelope, "envelope_id");
    socket.send(&json!({ "envelope_id": "e-1" })).await;
    socket.send(&json!({ "type": "pong" })).await;
    socket.send(&json!({ "envelope_id": id, "payload": { "text": "x" } })).await;
    socket.acknowledge(&envelope).await;
    let expected = vec![
        "the app acknowledged e-1, which was never sent".to_owned(),
        "the app sent a frame without an envelope_id: {\"type\":\"pong\"}".to_owned(),
        format!("the app acknowledged {id} with a payload, which an envelope of kind Event does not accept"),
    ];
    app.slack.wait_until(|view| view.unfinished_events() == 0, PATIENCE).await.expect("an acknowledgement");
    assert_eq!(app.slack.violations(), expected);

    let shout = async {
        let envelope = socket.next().await;
        socket.send(&json!({ "envelope_id": envelope["envelope_id"], "payload": { "words": "x" } })).await;
    };
    let (typed, ()) = tokio::join!(app.slack.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch"), shout);
    assert_eq!(typed.expect("an answer").payload, Some(json!({ "words": "x" })));
    let last = app.slack.violations().pop().expect("a violation");
    assert!(last.starts_with("the app acknowledged with a message that Slack refuses"), "{last}");
    app.slack.stop().await;
}
