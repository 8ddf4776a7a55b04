//! `chat.*`, `reactions.*` and `conversations.history` and `.replies`: messages.

use serde_json::{Value, json};
use stanch::sandbox::slack::User;

use super::{App, body, without, word, workspace};

/// What every message of the bot has.
fn by_bot(ts: &str, fields: Value) -> Value {
    let image = |size| format!("https://a.slack-edge.com/80588/img/plugins/app/bot_{size}.png");
    let mut message = json!({
        "type": "message",
        "user": "U0STANCH",
        "bot_id": "B0STANCH",
        "app_id": "A0STANCH",
        "team": "T0SANDBOX",
        "ts": ts,
        "text": "",
        "bot_profile": {
            "id": "B0STANCH",
            "app_id": "A0STANCH",
            "name": "stanch",
            "deleted": false,
            "updated": 1_700_000_000,
            "team_id": "T0SANDBOX",
            "icons": { "image_36": image(36), "image_48": image(48), "image_72": image(72) },
        },
    });
    message.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    message
}

/// Goal: a message is stored as sent, escapes included. Method: post with blocks, whole answers compared, then read the history.
#[tokio::test]
async fn a_message_is_kept_as_sent() {
    let app = App::start().await;
    let section = json!({ "type": "section", "text": { "type": "mrkdwn", "text": "cart &amp; <@U0RESPONDER> &lt;b&gt;" } });
    let sent = json!({ "channel": "C0INCIDENTS", "text": "a &amp; b", "blocks": [section], "unfurl_links": false });
    let answer = app.ok("chat.postMessage", sent).await;
    let (ts, mut block) = (word(&answer, "ts"), section.clone());
    block["block_id"] = answer["message"]["blocks"][0]["block_id"].clone();
    let message = by_bot(&ts, json!({ "text": "a &amp; b", "blocks": [block] }));
    assert_eq!(answer, json!({ "ok": true, "channel": "C0INCIDENTS", "ts": ts, "message": message }));

    let history = app.ok("conversations.history", json!({ "channel": "C0INCIDENTS" })).await;
    let expected = json!({
        "ok": true,
        "messages": [message],
        "has_more": false,
        "pin_count": 0,
        "channel_actions_ts": null,
        "channel_actions_count": 0,
    });
    assert_eq!(history, expected);
    let permalink = app.ok("chat.getPermalink", json!({ "channel": "C0INCIDENTS", "message_ts": ts })).await;
    let address = format!("https://stanch-sandbox.slack.com/archives/C0INCIDENTS/p{}", ts.replace('.', ""));
    assert_eq!(permalink, json!({ "ok": true, "channel": "C0INCIDENTS", "permalink": address }));
    app.finish().await;
}

/// A form with JSON-encoded blocks and numbers as words, as the JavaScript SDK sends it, means the same as JSON.
#[tokio::test]
async fn forms_and_json_mean_the_same() {
    let app = App::start().await;
    let blocks = json!([{ "type": "divider", "block_id": "line" }]);
    let form = [("channel", "C0INCIDENTS"), ("text", "a & b"), ("blocks", &blocks.to_string()), ("unfurl_links", "false")];
    let request = app.http.post(app.url("chat.postMessage")).bearer_auth(app.slack.bot_token()).form(&form);
    let answer = body(request.send().await.expect("an answer")).await;
    let ts = word(&answer, "ts");
    assert_eq!(answer["message"], by_bot(&ts, json!({ "text": "a & b", "blocks": blocks })));

    let token = app.slack.bot_token();
    let query = [("token", token.as_str()), ("channel", "C0INCIDENTS"), ("limit", "1")];
    let history = body(app.http.get(app.url("conversations.history")).query(&query).send().await.expect("an answer")).await;
    assert_eq!(history["messages"], json!([answer["message"]]));
    app.finish().await;
}

/// An update keeps what it does not name, and counts; a deleted message is gone unless it has replies.
#[tokio::test]
async fn updates_and_deletions() {
    let app = App::start().await;
    let blocks = json!([{ "type": "divider", "block_id": "line" }]);
    let sent = json!({ "channel": "C0INCIDENTS", "text": "one", "blocks": blocks });
    let ts = word(&app.ok("chat.postMessage", sent).await, "ts");

    let answer = app.ok("chat.update", json!({ "channel": "C0INCIDENTS", "ts": ts, "text": "two" })).await;
    let message = without(answer["message"].clone(), &["edited"]);
    assert_eq!(message, by_bot(&ts, json!({ "text": "two", "blocks": blocks })));
    assert_eq!(without(answer, &["message"]), json!({ "ok": true, "channel": "C0INCIDENTS", "ts": ts, "text": "two" }));
    let answer = app.ok("chat.update", json!({ "channel": "C0INCIDENTS", "ts": ts, "text": "three", "blocks": [] })).await;
    assert_eq!(without(answer["message"].clone(), &["edited"]), by_bot(&ts, json!({ "text": "three" })));
    let seen = app.slack.channel_transcript("C0INCIDENTS");
    assert_eq!(seen.iter().map(|entry| (entry.text.as_str(), entry.edits)).collect::<Vec<_>>(), vec![("three", 2)]);

    let reply = json!({ "channel": "C0INCIDENTS", "text": "reply", "thread_ts": ts });
    app.ok("chat.postMessage", reply).await;
    let deletion = json!({ "channel": "C0INCIDENTS", "ts": ts });
    assert_eq!(app.ok("chat.delete", deletion.clone()).await, json!({ "ok": true, "channel": "C0INCIDENTS", "ts": ts }));
    assert_eq!(app.error("chat.delete", deletion).await, "message_not_found");
    let history = app.ok("conversations.history", json!({ "channel": "C0INCIDENTS" })).await;
    assert_eq!(history["messages"][0]["subtype"], json!("tombstone"));
    app.finish().await;
}

/// A thread: the parent tells of its replies, history shows only the parent, and a reply cannot be a parent.
#[tokio::test]
async fn threads() {
    let app = App::start().await;
    let parent = app.say("C0INCIDENTS", "plan").await;
    let reply = |text: &str| json!({ "channel": "C0INCIDENTS", "text": text, "thread_ts": parent });
    let first = word(&app.ok("chat.postMessage", reply("step 1")).await, "ts");
    let last = app.slack.post_as("U0APPROVER1", "C0INCIDENTS", "looks good", Some(&parent)).await.expect("a message");

    let head = by_bot(
        &parent,
        json!({
            "text": "plan",
            "thread_ts": parent,
            "reply_count": 2,
            "reply_users_count": 2,
            "reply_users": ["U0STANCH", "U0APPROVER1"],
            "latest_reply": last,
            "subscribed": false,
        }),
    );
    let history = app.ok("conversations.history", json!({ "channel": "C0INCIDENTS" })).await;
    assert_eq!(history["messages"], json!([head]));
    let replies = app.ok("conversations.replies", json!({ "channel": "C0INCIDENTS", "ts": parent })).await;
    let step = by_bot(&first, json!({ "text": "step 1", "thread_ts": parent, "parent_user_id": "U0STANCH" }));
    let human = json!({
        "type": "message",
        "user": "U0APPROVER1",
        "team": "T0SANDBOX",
        "ts": last,
        "text": "looks good",
        "thread_ts": parent,
        "parent_user_id": "U0STANCH",
    });
    assert_eq!(replies, json!({ "ok": true, "messages": [head, step, human], "has_more": false }));

    let nested = json!({ "channel": "C0INCIDENTS", "text": "x", "thread_ts": first });
    assert_eq!(app.error("chat.postMessage", nested).await, "cannot_reply_to_message");
    let lost = json!({ "channel": "C0INCIDENTS", "text": "x", "thread_ts": "1.000000" });
    assert_eq!(app.error("chat.postMessage", lost).await, "thread_not_found");
    assert_eq!(app.error("conversations.replies", json!({ "channel": "C0INCIDENTS", "ts": "1.000000" })).await, "thread_not_found");
    app.finish().await;
}

/// Goal: history is paged newest first, and `oldest`, `latest` and `inclusive` cut it.
#[tokio::test]
async fn history_in_pages() {
    let app = App::unlimited().await;
    let mut sent = Vec::new();
    for text in ["one", "two", "three", "four", "five"] {
        sent.push(app.say("C0RANDOM", text).await);
    }
    let texts = |answer: &Value| -> Vec<String> {
        answer["messages"].as_array().expect("messages").iter().map(|message| word(message, "text")).collect()
    };
    let first = app.ok("conversations.history", json!({ "channel": "C0RANDOM", "limit": 2 })).await;
    assert_eq!((texts(&first), &first["has_more"]), (vec!["five".into(), "four".into()], &json!(true)));
    let cursor = &first["response_metadata"]["next_cursor"];
    let second = app.ok("conversations.history", json!({ "channel": "C0RANDOM", "limit": "4", "cursor": cursor })).await;
    assert_eq!((texts(&second), &second["has_more"]), (vec!["three".into(), "two".into(), "one".into()], &json!(false)));

    let between = json!({ "channel": "C0RANDOM", "oldest": sent[1], "latest": sent[3] });
    assert_eq!(texts(&app.ok("conversations.history", between.clone()).await), vec!["three"]);
    let mut inclusive = between;
    inclusive["inclusive"] = json!(true);
    assert_eq!(texts(&app.ok("conversations.history", inclusive).await), vec!["four", "three", "two"]);
    assert_eq!(app.error("conversations.history", json!({ "channel": "C0RANDOM", "cursor": "x" })).await, "invalid_cursor");
    assert_eq!(app.error("conversations.history", json!({ "channel": "C0RANDOM", "limit": 0 })).await, "invalid_limit");
    assert_eq!(app.error("conversations.history", json!({ "channel": "C0RANDOM", "oldest": "x" })).await, "invalid_ts_oldest");
    app.finish().await;
}

/// An ephemeral message is seen by one person, and by no method of the API.
#[tokio::test]
async fn ephemeral_messages() {
    let app = App::start().await;
    let sent = json!({ "channel": "C0INCIDENTS", "user": "U0BYSTANDER", "text": "you may not approve" });
    let ts = word(&app.ok("chat.postEphemeral", sent).await, "message_ts");
    let seen = app.slack.channel_transcript("C0INCIDENTS");
    let seen: Vec<_> = seen.iter().map(|entry| (entry.text.as_str(), entry.only_for.as_deref())).collect();
    assert_eq!(seen, vec![("you may not approve", Some("U0BYSTANDER"))]);
    assert_eq!(app.ok("conversations.history", json!({ "channel": "C0INCIDENTS" })).await["messages"], json!([]));
    assert_eq!(app.error("chat.update", json!({ "channel": "C0INCIDENTS", "ts": ts, "text": "x" })).await, "message_not_found");
    let absent = json!({ "channel": "C0INCIDENTS", "user": "U0GONE", "text": "x" });
    assert_eq!(app.error("chat.postEphemeral", absent).await, "user_not_in_channel");
    app.finish().await;
}

/// Goal: reactions read back as they are, and every wrong one is refused.
#[tokio::test]
async fn reactions() {
    let app = App::start().await;
    let ts = app.say("C0INCIDENTS", "plan").await;
    let item = |name: &str| json!({ "channel": "C0INCIDENTS", "timestamp": ts, "name": name });
    app.ok("reactions.add", item("white_check_mark")).await;
    assert_eq!(app.error("reactions.add", item("white_check_mark")).await, "already_reacted");
    app.slack.react("U0APPROVER1", "C0INCIDENTS", &ts, "white_check_mark").await.expect("a reaction");
    app.slack.react("U0APPROVER2", "C0INCIDENTS", &ts, "thumbsup::skin-tone-3").await.expect("a reaction");

    let answer = app.ok("reactions.get", json!({ "channel": "C0INCIDENTS", "timestamp": ts, "full": true })).await;
    let reactions = json!([
        { "name": "white_check_mark", "users": ["U0STANCH", "U0APPROVER1"], "count": 2 },
        { "name": "+1::skin-tone-3", "users": ["U0APPROVER2"], "count": 1 },
    ]);
    let permalink = format!("https://stanch-sandbox.slack.com/archives/C0INCIDENTS/p{}", ts.replace('.', ""));
    let message = by_bot(&ts, json!({ "text": "plan", "reactions": reactions, "permalink": permalink }));
    assert_eq!(answer, json!({ "ok": true, "type": "message", "channel": "C0INCIDENTS", "message": message }));
    let listed = app.ok("reactions.list", json!({ "user": "U0APPROVER1", "full": true })).await;
    let item_shown = json!({ "type": "message", "channel": "C0INCIDENTS", "message": without(message, &["permalink"]) });
    assert_eq!(listed, json!({ "ok": true, "items": [item_shown], "response_metadata": { "next_cursor": "" } }));

    app.ok("reactions.remove", item("white_check_mark")).await;
    assert_eq!(app.error("reactions.remove", item("white_check_mark")).await, "no_reaction");
    assert_eq!(app.error("reactions.add", item(":x:")).await, "invalid_name");
    let at = |ts: &str| json!({ "channel": "C0INCIDENTS", "timestamp": ts, "name": "x" });
    assert_eq!(app.error("reactions.add", at("1.000000")).await, "message_not_found");
    assert_eq!(app.error("reactions.add", at("yesterday")).await, "bad_timestamp");
    assert_eq!(app.error("reactions.add", json!({ "channel": "C0INCIDENTS", "name": "x" })).await, "no_item_specified");
    app.finish().await;
}

/// Without `full`, users of a reaction may be missing although they count: a vote must not be read so.
#[tokio::test]
async fn reactions_without_full_may_be_cut() {
    let mut workspace = workspace();
    let template = workspace.users[4].clone();
    let crowd: Vec<String> = (0..30).map(|number| format!("U0CROWD{number}")).collect();
    for id in &crowd {
        let (id, name) = (id.clone(), id.to_lowercase());
        workspace.users.push(User { id, name, ..template.clone() });
    }
    workspace.channels[0].members.extend(crowd.clone());
    let app = App::of(&workspace).await;
    let ts = app.say("C0INCIDENTS", "plan").await;
    for user in &crowd {
        app.slack.react(user, "C0INCIDENTS", &ts, "eyes").await.expect("a reaction");
    }
    let shown = async |full: bool| {
        let answer = app.ok("reactions.get", json!({ "channel": "C0INCIDENTS", "timestamp": ts, "full": full })).await;
        let reaction = answer["message"]["reactions"][0].clone();
        (reaction["users"].as_array().expect("users").len(), reaction["count"].clone())
    };
    assert_eq!(shown(false).await, (25, json!(30)));
    assert_eq!(shown(true).await, (30, json!(30)));
    app.finish().await;
}

/// Goal: what `chat.*` refuses.
#[tokio::test]
async fn refused_messages() {
    let app = App::unlimited().await;
    let human = app.slack.post_as("U0RESPONDER", "C0INCIDENTS", "hello", None).await.expect("a message");
    let mine = app.say("C0INCIDENTS", "mine").await;
    let post = |fields: Value| {
        let mut message = json!({ "channel": "C0INCIDENTS" });
        message.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        message
    };
    let section = json!({ "type": "section", "text": { "type": "mrkdwn", "text": "x".repeat(3000) } });
    let long = json!({ "type": "section", "text": { "type": "mrkdwn", "text": "x".repeat(2001) } });
    let cases = [
        ("chat.postMessage", json!({ "channel": "C0NOWHERE", "text": "x" }), "channel_not_found"),
        ("chat.postMessage", json!({ "channel": "#incidents", "text": "x" }), "channel_not_found"),
        ("chat.postMessage", json!({ "channel": "C0ELSEWHERE", "text": "x" }), "not_in_channel"),
        ("chat.postMessage", json!({ "text": "x" }), "invalid_arguments"),
        ("chat.postMessage", post(json!({})), "no_text"),
        ("chat.postMessage", post(json!({ "text": "x".repeat(40_001) })), "msg_too_long"),
        ("chat.postMessage", post(json!({ "text": "x", "colour": "red" })), "invalid_arguments"),
        ("chat.postMessage", post(json!({ "blocks": "divider" })), "invalid_blocks_format"),
        ("chat.postMessage", post(json!({ "blocks": [{ "type": "section" }] })), "invalid_blocks"),
        ("chat.postMessage", post(json!({ "blocks": [section, section, section, long] })), "msg_blocks_too_long"),
        ("chat.postMessage", post(json!({ "text": "x", "username": "root" })), "missing_scope"),
        ("chat.postMessage", post(json!({ "text": "x", "metadata": { "event_type": "x" } })), "invalid_metadata_format"),
        ("chat.update", post(json!({ "ts": mine, "text": "x".repeat(4_001) })), "msg_too_long"),
        ("chat.update", post(json!({ "ts": human, "text": "x" })), "cant_update_message"),
        ("chat.update", post(json!({ "ts": "1.000000", "text": "x" })), "message_not_found"),
        ("chat.update", post(json!({ "ts": mine, "text": "" })), "no_text"),
        ("chat.delete", post(json!({ "ts": human })), "cant_delete_message"),
        ("chat.getPermalink", post(json!({ "message_ts": "1.000000" })), "message_not_found"),
    ];
    for (method, arguments, code) in cases {
        assert_eq!(app.error(method, arguments.clone()).await, code, "{method} {arguments}");
    }
    let answer = app.call("chat.postMessage", post(json!({ "blocks": [{ "type": "marquee" }] }))).await;
    let complaint = "unsupported type: marquee [json-pointer:/blocks/0/type]";
    let expected = json!({
        "ok": false,
        "error": "invalid_blocks",
        "errors": [complaint],
        "response_metadata": { "messages": [format!("[ERROR] {complaint}")] },
    });
    assert_eq!(answer, expected);
    assert_eq!(app.slack.channel_transcript("C0INCIDENTS").len(), 2, "nothing refused was posted");
    app.finish().await;
}
