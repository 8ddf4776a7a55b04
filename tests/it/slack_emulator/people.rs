//! What people can and cannot do, and what there is to see.

use std::time::Duration;

use serde_json::json;
use stanch::sandbox::slack::{Button, SlackEmulatorError};

use super::{App, workspace};

/// Goal: nobody does what they could not do in Slack.
#[tokio::test]
async fn what_people_cannot_do() {
    let app = App::start().await;
    let slack = &app.slack;
    let ts = app.say("C0INCIDENTS", "plan").await;
    let secret = json!({ "channel": "C0INCIDENTS", "user": "U0RESPONDER", "text": "for you" });
    let secret = super::word(&app.ok("chat.postEphemeral", secret).await, "message_ts");
    let no_channel = |user: &str, channel: &str| SlackEmulatorError::NoSuchChannel { user: user.into(), channel: channel.into() };
    let no_message = |user: &str, ts: &str| SlackEmulatorError::NoSuchMessage { user: user.into(), ts: ts.into() };
    let typed = |user, channel, line| slack.type_command(user, channel, line);
    assert_eq!(typed("U0NOBODY", "C0RANDOM", "/stanch").await, Err(SlackEmulatorError::NoSuchUser("U0NOBODY".into())));
    assert_eq!(typed("U0GONE", "C0RANDOM", "/stanch").await, Err(SlackEmulatorError::Deactivated("U0GONE".into())));
    assert_eq!(typed("U0APPROVER1", "D0RESPONDER", "/stanch").await, Err(no_channel("U0APPROVER1", "D0RESPONDER")));
    assert_eq!(typed("U0RESPONDER", "C0RANDOM", "/stop now").await, Err(SlackEmulatorError::NoSuchCommand("/stop".into())));
    assert_eq!(slack.react("U0APPROVER1", "C0INCIDENTS", &secret, "x").await, Err(no_message("U0APPROVER1", &secret)));
    assert_eq!(
        slack.react("U0APPROVER1", "C0INCIDENTS", &ts, "Not An Emoji").await,
        Err(SlackEmulatorError::NoSuchEmoji("Not An Emoji".into()))
    );
    assert_eq!(slack.unreact("U0APPROVER1", "C0INCIDENTS", &ts, "x").await, Err(SlackEmulatorError::NoReaction("U0APPROVER1".into())));
    let no_button = SlackEmulatorError::NoSuchButton { action_id: "approve".into(), found: 0 };
    assert_eq!(slack.click("U0APPROVER1", "C0INCIDENTS", &ts, "approve").await, Err(no_button));
    assert_eq!(slack.post_as("U0GONE", "C0INCIDENTS", "boo", None).await, Err(SlackEmulatorError::Deactivated("U0GONE".into())));
    app.finish().await;
}

/// What is typed is sent as a client sends it, and a mention reaches the app in a channel as `app_mention`, in a direct message as `message`.
#[tokio::test]
async fn what_people_write() {
    let app = App::start().await;
    let mut socket = app.connect().await;
    let text = "@stanch: see #random, ask @sec-approvers if a<b & @nobody";
    let ts = app.slack.post_as("U0RESPONDER", "C0INCIDENTS", text, None).await.expect("a message");
    let event = socket.take().await["payload"]["event"].clone();
    let sent = "<@U0STANCH>: see <#C0RANDOM|random>, ask <!subteam^S0APPROVERS> if a&lt;b &amp; @nobody";
    let expected = json!({
        "type": "app_mention",
        "user": "U0RESPONDER",
        "team": "T0SANDBOX",
        "ts": ts,
        "text": sent,
        "channel": "C0INCIDENTS",
        "event_ts": ts,
    });
    assert_eq!(event, expected);
    app.slack.post_as("U0RESPONDER", "C0ELSEWHERE", "@stanch are you here?", None).await.expect("a message");
    app.slack.post_as("U0RESPONDER", "D0RESPONDER", "hello", None).await.expect("a message");
    let event = socket.take().await["payload"]["event"].clone();
    assert_eq!((&event["type"], &event["channel_type"], &event["text"]), (&json!("message"), &json!("im"), &json!("hello")));
    app.finish().await;
}

/// An app that subscribed to the messages of a channel hears of everybody's, its own included, and of edits and deletions.
#[tokio::test]
async fn what_a_subscriber_hears() {
    let mut seed = workspace();
    seed.app.events = ["message.channels".to_owned()].into();
    let app = App::of(&seed).await;
    let mut socket = app.connect().await;
    let ts = app.say("C0INCIDENTS", "one").await;
    let message = json!({ "channel": "C0INCIDENTS", "ts": ts });
    app.ok("chat.update", json!({ "channel": "C0INCIDENTS", "ts": ts, "text": "two" })).await;
    app.ok("chat.delete", message).await;
    let mut heard = Vec::new();
    for _ in 0..3 {
        let event = socket.take().await["payload"]["event"].clone();
        let text = |name: &str| event[name]["text"].as_str().map(str::to_owned);
        heard.push((event["subtype"].clone(), text("previous_message"), text("message"), event["deleted_ts"].clone()));
    }
    let expected = vec![
        (json!(null), None, None, json!(null)),
        (json!("message_changed"), Some("one".into()), Some("two".into()), json!(null)),
        (json!("message_deleted"), Some("two".into()), None, json!(ts)),
    ];
    assert_eq!(heard, expected);
    app.finish().await;
}

/// The transcript, as data and as text.
#[tokio::test]
async fn the_transcript() {
    let app = App::start().await;
    let text = |kind: &str, text: &str| json!({ "type": kind, "text": text });
    let button = json!({ "type": "button", "action_id": "approve", "value": "digest", "text": text("plain_text", "Approve") });
    let blocks = json!([{ "type": "section", "text": text("mrkdwn", "*Plan*\n2 steps") }, { "type": "actions", "elements": [button] }]);
    let plan = json!({ "channel": "C0INCIDENTS", "text": "a plan", "blocks": blocks });
    let plan = super::word(&app.ok("chat.postMessage", plan).await, "ts");
    app.ok("chat.postMessage", json!({ "channel": "C0INCIDENTS", "text": "step 1", "thread_ts": plan })).await;
    app.slack.react("U0APPROVER1", "C0INCIDENTS", &plan, "x").await.expect("a reaction");
    let entry = app.slack.channel_transcript("C0INCIDENTS").swap_remove(0);
    assert_eq!(entry.buttons(), vec![Button { action_id: "approve".into(), text: "Approve".into(), value: "digest".into() }]);
    let shown = "#incidents\n  stanch: *Plan*\n    2 steps\n    Approve :x:U0APPROVER1\n    stanch: step 1\n";
    assert_eq!(app.slack.look(|view| view.to_string()), shown);
    let timed_out = app.slack.wait_until(|_| false, Duration::ZERO).await.expect_err("in vain");
    assert_eq!(timed_out.transcript, shown);
    app.finish().await;
}

/// Whoever waits sees what happens meanwhile, and stops when it has.
#[tokio::test]
async fn waiting() {
    let app = App::of(&workspace()).await;
    let wait = app.slack.wait_for(|view| view.channel_transcript("C0RANDOM").pop().map(|entry| entry.text), super::PATIENCE);
    let (found, _) = tokio::join!(wait, app.say("C0RANDOM", "now"));
    assert_eq!(found, Ok("now".into()));
    app.finish().await;
}
