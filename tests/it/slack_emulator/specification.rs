//! The emulator's arguments and answers against Slack's own description of its Web API (`tests/fixtures/slack/`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{App, word};

/// Arguments that the description has and the emulator refuses: legacy ones, and what concerns files.
const REFUSED_ARGUMENTS: &[&str] = &[
    "chat.delete as_user",
    "chat.postEphemeral as_user",
    "chat.postMessage as_user",
    "chat.update as_user",
    "reactions.get file",
    "reactions.get file_comment",
    "reactions.list count",
    "reactions.list page",
    "reactions.remove file",
    "reactions.remove file_comment",
];

/// Where an answer differs from the description: what Slack has added since 2020 (`?`), and what the description has wrong.
const DIFFERENCES: &[&str] = &[
    "chat.postMessage.message.app_id?",
    "chat.update.message.blocks is no object",
    "conversations.history.messages[].app_id?",
    "conversations.history.messages[].edited?",
    "conversations.info.channel.context_team_id?",
    "conversations.info.channel.updated?",
    "conversations.join.channel.context_team_id?",
    "conversations.join.channel.updated?",
    "conversations.replies.messages[].app_id?",
    "conversations.replies.messages[].blocks?",
    "conversations.replies.messages[].bot_id?",
    "conversations.replies.messages[].bot_profile?",
    "conversations.replies.messages[].edited?",
    "conversations.replies.messages[].reactions?",
    "reactions.get.message.app_id?",
    "reactions.get.message.edited?",
    "reactions.list.items[].message.app_id?",
    "reactions.list.items[].message.edited?",
    "team.info.team.url?",
    "users.info.user.is_email_confirmed?",
    "users.info.user.profile lacks fields",
    "users.info.user.who_can_share_contact_card?",
    "users.list.members[].is_email_confirmed?",
    "users.list.members[].profile lacks fields",
    "users.list.members[].who_can_share_contact_card?",
];

/// Every argument of the description is known to the emulator, but for the listed ones.
#[tokio::test]
async fn arguments() {
    let (app, specification) = (App::unlimited().await, specification());
    let mut refused = BTreeSet::new();
    for (method, described) in specification["methods"].as_object().expect("methods") {
        for argument in described["arguments"].as_array().expect("arguments") {
            let name = argument.as_str().expect("a name");
            let answer = app.call(method, json!({ name: "1" })).await;
            let complaint = answer["response_metadata"]["messages"][0].as_str().unwrap_or_default();
            if complaint.contains("unknown argument") || complaint.contains("not emulated") {
                refused.insert(format!("{method} {name}"));
            }
        }
    }
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), REFUSED_ARGUMENTS);
    app.slack.stop().await;
}

/// Goal: a successful answer of every method is as described. Method: one call each, in a workspace with a bit of everything; the
/// differences are compared as a whole.
#[tokio::test]
async fn answers() {
    let (app, specification) = (App::unlimited().await, specification());
    let mut socket = app.connect().await;
    let (typed, _) = tokio::join!(app.slack.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch"), socket.take());
    let triggers = typed.expect("an answer").trigger_id;
    let (typed, _) = tokio::join!(app.slack.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch"), socket.take());
    let second = typed.expect("an answer").trigger_id;
    let posted = json!({ "channel": "C0INCIDENTS", "text": "plan", "blocks": [{ "type": "divider" }] });
    let ts = word(&app.ok("chat.postMessage", posted.clone()).await, "ts");
    app.ok("chat.postMessage", json!({ "channel": "C0INCIDENTS", "text": "step", "thread_ts": ts })).await;
    app.slack.react("U0APPROVER1", "C0INCIDENTS", &ts, "eyes").await.expect("a reaction");
    socket.take().await;
    let here = json!({ "channel": "C0INCIDENTS" });
    let item = json!({ "channel": "C0INCIDENTS", "timestamp": ts, "name": "x" });
    let view = json!({ "type": "modal", "title": { "type": "plain_text", "text": "x" }, "blocks": [] });
    let opened = app.ok("views.open", json!({ "trigger_id": triggers, "view": view })).await;
    let calls = [
        ("api.test", json!({})),
        ("auth.test", json!({})),
        ("team.info", json!({})),
        ("chat.postMessage", posted),
        ("chat.postEphemeral", json!({ "channel": "C0INCIDENTS", "user": "U0GUEST", "text": "x" })),
        ("chat.update", json!({ "channel": "C0INCIDENTS", "ts": ts, "text": "x" })),
        ("chat.getPermalink", json!({ "channel": "C0INCIDENTS", "message_ts": ts })),
        ("conversations.info", here.clone()),
        ("conversations.info", json!({ "channel": "D0RESPONDER" })),
        ("conversations.history", here.clone()),
        ("conversations.replies", json!({ "channel": "C0INCIDENTS", "ts": ts })),
        ("conversations.members", here.clone()),
        ("conversations.open", json!({ "users": "U0RESPONDER" })),
        ("conversations.join", here),
        ("reactions.add", item.clone()),
        ("reactions.get", json!({ "channel": "C0INCIDENTS", "timestamp": ts })),
        ("reactions.list", json!({ "user": "U0APPROVER1" })),
        ("reactions.remove", item),
        ("users.info", json!({ "user": "U0STRANGER" })),
        ("users.list", json!({})),
        ("usergroups.list", json!({ "include_users": true })),
        ("usergroups.users.list", json!({ "usergroup": "S0APPROVERS" })),
        ("views.open", json!({ "trigger_id": second, "view": view })),
        ("chat.delete", json!({ "channel": "C0INCIDENTS", "ts": ts })),
    ];
    let mut differences = BTreeSet::new();
    let mut called: BTreeSet<&str> = ["views.update", "views.push"].into();
    assert_eq!(opened["ok"], json!(true), "of views.update and views.push the description says no more than that");
    for (method, arguments) in calls {
        called.insert(method);
        let answer = app.ok(method, arguments).await;
        let mut checker = Checker { definitions: &specification["definitions"], differences: &mut differences };
        checker.check(&answer, &specification["methods"][method]["answer"], method);
    }
    let described: BTreeSet<&str> = specification["methods"].as_object().expect("methods").keys().map(String::as_str).collect();
    assert_eq!(called, described);
    for _ in 0..2 {
        socket.take().await;
    }
    assert_eq!(differences.into_iter().collect::<Vec<_>>(), DIFFERENCES);
    app.finish().await;
}

fn specification() -> Value {
    serde_json::from_str(include_str!("../../fixtures/slack/web_api.json")).expect("JSON")
}

/// As much of JSON Schema as the description uses, in its dialect: a list of `items` means one of them.
struct Checker<'a> {
    definitions: &'a Value,
    differences: &'a mut BTreeSet<String>,
}

impl Checker<'_> {
    fn check(&mut self, value: &Value, schema: &Value, at: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().expect("a name");
            return self.check(value, &self.definitions[name], at);
        }
        if let Some(choices) = schema["items"].as_array() {
            return self.check_one_of(value, choices, at);
        }
        if let Some(kind) = schema["type"].as_str().filter(|kind| !is(value, kind)) {
            self.differences.insert(format!("{at} is no {kind}"));
            return;
        }
        if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
            self.differences.insert(format!("{at} is none of {}", json!(words)));
        }
        if let Some(elements) = value.as_array() {
            elements.iter().for_each(|element| self.check(element, &schema["items"], &format!("{at}[]")));
        }
        let Some(fields) = value.as_object() else { return };
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                self.differences.insert(format!("{at} lacks {name}"));
            }
        }
        for (name, value) in fields {
            match schema["properties"].get(name) {
                Some(schema) => self.check(value, schema, &format!("{at}.{name}")),
                None if schema["additionalProperties"] == json!(false) => {
                    self.differences.insert(format!("{at}.{name}?"));
                }
                None => {}
            }
        }
    }

    /// The alternative with the fewest differences.
    fn check_one_of(&mut self, value: &Value, choices: &[Value], at: &str) {
        let attempts = choices.iter().map(|choice| {
            let mut differences = BTreeSet::new();
            Checker { definitions: self.definitions, differences: &mut differences }.check(value, choice, at);
            differences
        });
        let best = attempts.min_by_key(BTreeSet::len).unwrap_or_default();
        self.differences.extend(best);
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("the description knows a type {other}"),
    }
}
