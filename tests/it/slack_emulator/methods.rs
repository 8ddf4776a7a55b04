//! Tokens and scopes, and the methods that are not about messages.

use serde_json::{Value, json};
use stanch::sandbox::slack::{Upload, Workspace};

use super::{App, body, without, word, workspace};

/// Goal: who may not call, and how Slack says so.
#[tokio::test]
async fn tokens_and_scopes() {
    let mut seed = workspace();
    seed.app.bot_scopes = ["chat:write".to_owned(), "users:read".to_owned()].into();
    let app = App::of(&seed).await;
    let with = async |method: &str, token: &str| body(app.http.post(app.url(method)).bearer_auth(token).send().await.expect("x")).await;
    let refused = |code: &str| json!({ "ok": false, "error": code });
    let anonymous = app.http.post(app.url("auth.test")).send().await.expect("an answer");
    assert_eq!(body(anonymous).await, refused("not_authed"));
    assert_eq!(with("auth.test", "xoxb-wrong").await, refused("invalid_auth"));
    assert_eq!(with("auth.test", &app.slack.app_token()).await, refused("not_allowed_token_type"));
    assert_eq!(with("apps.connections.open", &app.slack.bot_token()).await, refused("not_allowed_token_type"));
    let missing = |needed: &str| json!({ "ok": false, "error": "missing_scope", "needed": needed, "provided": "chat:write,users:read" });
    assert_eq!(with("usergroups.list", &app.slack.bot_token()).await, missing("usergroups:read"));
    for (channel, needed) in [("C0INCIDENTS", "channels:read"), ("D0RESPONDER", "im:read")] {
        assert_eq!(app.call("conversations.info", json!({ "channel": channel })).await, missing(needed));
    }
    let response = app.post("users.info", json!({ "user": "U0GUEST" })).await;
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
    assert_eq!(header("x-oauth-scopes"), Some("chat:write,users:read".into()));
    assert_eq!(header("x-accepted-oauth-scopes"), Some("users:read".into()));
    app.finish().await;
}

/// What is wrong with a request before any method looks at it.
#[tokio::test]
async fn malformed_requests() {
    let app = App::start().await;
    let send = async |content_type: Option<&str>, text: &str| {
        let mut request = app.http.post(app.url("auth.test")).bearer_auth(app.slack.bot_token()).body(text.to_owned());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        word(&body(request.send().await.expect("an answer")).await, "error")
    };
    assert_eq!(send(Some("application/json"), "{").await, "invalid_json");
    assert_eq!(send(Some("application/json"), "[]").await, "json_not_object");
    assert_eq!(send(Some("text/plain"), "x").await, "invalid_post_type");
    assert_eq!(send(None, "x").await, "missing_post_type");
    assert_eq!(send(Some("application/json"), r#"{"user":"x"}"#).await, "invalid_arguments");
    let unknown = app.call("chat.shout", json!({})).await;
    assert_eq!(unknown, json!({ "ok": false, "error": "unknown_method", "req_method": "chat.shout" }));
    let elsewhere = app.http.get(format!("{}/elsewhere", app.slack.server.url())).send().await.expect("an answer");
    assert_eq!(elsewhere.status(), 404);

    let bare = app.http.post(app.url("auth.test")).bearer_auth(app.slack.bot_token());
    let answer = body(bare.header("content-type", "application/json").body("{}").send().await.expect("an answer")).await;
    assert_eq!((&answer["ok"], &answer["warning"]), (&json!(true), &json!("missing_charset")));
    app.finish().await;
}

/// Who the bot is, and where.
#[tokio::test]
async fn identity() {
    let app = App::start().await;
    let expected = json!({
        "ok": true,
        "url": "https://stanch-sandbox.slack.com/",
        "team": "Stanch Sandbox",
        "user": "stanch",
        "team_id": "T0SANDBOX",
        "user_id": "U0STANCH",
        "bot_id": "B0STANCH",
        "is_enterprise_install": false,
    });
    assert_eq!(app.ok("auth.test", json!({})).await, expected);
    assert_eq!(app.ok("api.test", json!({ "foo": "bar" })).await, json!({ "ok": true, "args": { "foo": "bar" } }));
    assert_eq!(app.error("api.test", json!({ "error": "my_error" })).await, "my_error");
    let team = app.ok("team.info", json!({})).await;
    assert_eq!((&team["team"]["id"], &team["team"]["domain"]), (&json!("T0SANDBOX"), &json!("stanch-sandbox")));
    assert_eq!(app.error("team.info", json!({ "team": "T0OTHER" })).await, "team_not_found");
    app.finish().await;
}

/// Goal: everything that must keep somebody from approving can be read from `users.info`, and only there.
#[tokio::test]
async fn kinds_of_users() {
    let app = App::start().await;
    let flags = async |user: &str| {
        let answer = app.ok("users.info", json!({ "user": user })).await;
        let names = ["deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger"];
        let set: Vec<&str> = names.into_iter().filter(|name| answer["user"][name] == json!(true)).collect();
        (word(&answer["user"], "name"), word(&answer["user"], "team_id"), set.join(" "))
    };
    let home = "T0SANDBOX".to_owned();
    assert_eq!(flags("U0APPROVER1").await, ("amir".into(), home.clone(), String::new()));
    assert_eq!(flags("U0GUEST").await, ("gus".into(), home.clone(), "is_restricted".into()));
    assert_eq!(flags("U0OTHERBOT").await, ("deploybot".into(), home.clone(), "is_bot".into()));
    assert_eq!(flags("U0GONE").await, ("dana".into(), home, "deleted".into()));
    assert_eq!(flags("U0STRANGER").await, ("sam".into(), "T0FOREIGN".into(), "is_stranger".into()));
    assert_eq!(app.error("users.info", json!({ "user": "U0NOBODY" })).await, "user_not_found");
    let gone = app.ok("users.info", json!({ "user": "U0GONE" })).await;
    assert_eq!(gone["user"].get("is_restricted"), None, "of a deactivated user Slack does not say what it was");

    assert!(app.slack.change_user("U0APPROVER1", |user| user.deleted = true));
    assert_eq!(flags("U0APPROVER1").await.2, "deleted");
    let all = app.ok("users.list", json!({ "limit": 4 })).await;
    let next = app.ok("users.list", json!({ "cursor": all["response_metadata"]["next_cursor"] })).await;
    let ids = |answer: &Value| answer["members"].as_array().expect("users").iter().map(|user| word(user, "id")).collect::<Vec<_>>();
    let expected: Vec<String> = Workspace::sandbox().users.into_iter().map(|user| user.id).collect();
    assert_eq!([ids(&all), ids(&next)].concat(), expected);
    app.finish().await;
}

/// User groups, and that a change of members shows at once.
#[tokio::test]
async fn user_groups() {
    let app = App::start().await;
    let listed = app.ok("usergroups.list", json!({ "include_users": true })).await;
    let groups: Vec<(String, Value)> =
        listed["usergroups"].as_array().expect("groups").iter().map(|group| (word(group, "handle"), group["users"].clone())).collect();
    let expected = vec![
        ("sec-approvers".to_owned(), json!(["U0APPROVER1", "U0APPROVER2"])),
        ("sec-responders".to_owned(), json!(["U0RESPONDER", "U0APPROVER1", "U0APPROVER2"])),
    ];
    assert_eq!(groups, expected);
    let members = async || app.ok("usergroups.users.list", json!({ "usergroup": "S0APPROVERS" })).await;
    assert_eq!(members().await, json!({ "ok": true, "users": ["U0APPROVER1", "U0APPROVER2"] }));
    assert!(app.slack.set_group_members("S0APPROVERS", &["U0APPROVER2"]));
    assert_eq!(members().await, json!({ "ok": true, "users": ["U0APPROVER2"] }));
    assert_eq!(app.error("usergroups.users.list", json!({ "usergroup": "S0NONE" })).await, "no_such_subteam");
    app.finish().await;
}

/// Channels: what the bot sees, joins and opens.
#[tokio::test]
async fn conversations() {
    let mut seed = workspace();
    let mut private = seed.channels[2].clone();
    (private.id, private.name, private.is_private) = ("C0PRIVATE".into(), "private".into(), true);
    seed.channels.push(private);
    let app = App::of(&seed).await;
    let channel = |id: &str| json!({ "channel": id });
    let info = app.ok("conversations.info", channel("C0INCIDENTS")).await;
    let facts = ["name", "is_member", "is_im", "is_private"].map(|name| info["channel"][name].clone());
    assert_eq!(facts, [json!("incidents"), json!(true), json!(false), json!(false)]);
    let direct = app.ok("conversations.info", channel("D0RESPONDER")).await;
    assert_eq!((&direct["channel"]["is_im"], &direct["channel"]["user"]), (&json!(true), &json!("U0RESPONDER")));
    assert_eq!(app.error("conversations.info", channel("C0PRIVATE")).await, "channel_not_found");
    assert_eq!(app.error("conversations.history", channel("C0ELSEWHERE")).await, "not_in_channel");

    assert_eq!(app.ok("conversations.join", channel("C0ELSEWHERE")).await["channel"]["is_member"], json!(true));
    let again = app.ok("conversations.join", channel("C0ELSEWHERE")).await;
    assert_eq!(again["warning"], json!("already_in_channel"));
    assert_eq!(app.error("conversations.join", channel("D0RESPONDER")).await, "method_not_supported_for_channel_type");
    app.ok("conversations.history", channel("C0ELSEWHERE")).await;

    let members = app.ok("conversations.members", json!({ "channel": "D0RESPONDER", "limit": 1 })).await;
    assert_eq!(members, json!({ "ok": true, "members": ["U0RESPONDER"], "response_metadata": { "next_cursor": "next:1" } }));

    let opened = app.ok("conversations.open", json!({ "users": "U0APPROVER1" })).await;
    let again = app.ok("conversations.open", json!({ "users": ["U0APPROVER1"] })).await;
    assert_eq!(again, json!({ "ok": true, "channel": opened["channel"], "already_open": true, "no_op": true }));
    let known = app.ok("conversations.open", json!({ "users": "U0RESPONDER", "return_im": true })).await;
    assert_eq!(known["channel"]["id"], json!("D0RESPONDER"));
    assert_eq!(app.error("conversations.open", json!({})).await, "users_list_not_supplied");
    assert_eq!(app.error("conversations.open", json!({ "users": "U0NOBODY" })).await, "user_not_found");
    assert_eq!(app.error("conversations.open", json!({ "users": "U0GONE" })).await, "user_disabled");
    let direct = app.ok("chat.postMessage", json!({ "channel": "U0APPROVER1", "text": "x" })).await;
    assert_eq!(direct["channel"], opened["channel"]["id"]);
    app.finish().await;
}

/// Goal: a file is announced, sent and shared. Method: the three steps, with one wrong turn at each.
#[tokio::test]
async fn uploads() {
    let app = App::start().await;
    let parent = app.say("C0INCIDENTS", "plan").await;
    let announced = app.ok("files.getUploadURLExternal", json!({ "filename": "events.json", "length": 7 })).await;
    let (url, id) = (word(&announced, "upload_url"), word(&announced, "file_id"));
    let complete = json!({ "files": [{ "id": id, "title": "Events" }], "channel_id": "C0INCIDENTS", "thread_ts": parent });
    assert_eq!(app.error("files.completeUploadExternal", complete.clone()).await, "file_not_found");
    let send = async |content: &'static str| app.http.post(&url).body(content).send().await.expect("an answer");
    assert_eq!(send("short").await.status(), 400);
    let sent = send("{\"a\":1}").await;
    assert_eq!((sent.status().as_u16(), sent.text().await.expect("text")), (200, "OK - 7".into()));
    let mut wrong = complete.clone();
    wrong["channel_id"] = json!("C0ELSEWHERE");
    assert_eq!(app.error("files.completeUploadExternal", wrong).await, "not_in_channel");
    let done = app.ok("files.completeUploadExternal", complete.clone()).await;
    assert_eq!((&done["files"][0]["id"], &done["files"][0]["title"]), (&json!(id), &json!("Events")));
    assert_eq!(app.error("files.completeUploadExternal", complete).await, "file_not_found");

    let seen = app.slack.channel_transcript("C0INCIDENTS");
    let upload = Upload { name: "events.json".into(), title: "Events".into(), content: b"{\"a\":1}".to_vec() };
    assert_eq!((&seen[1].thread_ts, &seen[1].files), (&Some(parent), &vec![upload]));
    app.finish().await;
}

/// Modals open on a fresh trigger, once; they are replaced, stacked, submitted and closed.
#[tokio::test]
async fn modals() {
    let app = App::start().await;
    let mut socket = app.connect().await;
    let trigger = async |socket: &mut super::Socket| {
        let (typed, envelope) = tokio::join!(app.slack.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch form"), socket.take());
        assert_eq!(typed.expect("an answer").trigger_id, word(&envelope["payload"], "trigger_id"));
        word(&envelope["payload"], "trigger_id")
    };
    let title = |text: &str| json!({ "type": "plain_text", "text": text });
    let input = json!({ "type": "plain_text_input", "action_id": "why" });
    let blocks = json!([{ "type": "input", "block_id": "reason", "label": title("Reason"), "element": input }]);
    let view = |text: &str| json!({ "type": "modal", "title": title(text), "submit": title("Send"), "blocks": blocks });

    let first = trigger(&mut socket).await;
    let opened = app.ok("views.open", json!({ "trigger_id": first, "view": view("One").to_string() })).await;
    let id = word(&opened["view"], "id");
    assert_eq!(app.error("views.open", json!({ "trigger_id": first, "view": view("One") })).await, "exchanged_trigger_id");
    assert_eq!(app.error("views.open", json!({ "trigger_id": "1.2", "view": view("One") })).await, "invalid_trigger_id");
    assert_eq!(app.error("views.open", json!({ "trigger_id": first, "view": view(&"x".repeat(25)) })).await, "invalid_arguments");
    let change = json!({ "view_id": id, "hash": opened["view"]["hash"], "view": view("Two") });
    let updated = app.ok("views.update", change.clone()).await;
    assert_eq!(without(updated["view"].clone(), &["hash", "title"]), without(opened["view"].clone(), &["hash", "title"]));
    assert_eq!(app.error("views.update", change).await, "hash_conflict");
    let second = trigger(&mut socket).await;
    let pushed = app.ok("views.push", json!({ "trigger_id": second, "view": view("Three") })).await;
    assert_eq!(pushed["view"]["previous_view_id"], json!(id));
    assert_eq!(app.slack.look(|view| view.modals("U0RESPONDER")).len(), 2);

    let values = json!({ "reason": { "why": { "type": "plain_text_input", "value": "false alarm" } } });
    let answer = async |socket: &mut super::Socket, payload: Value| {
        let envelope = socket.next().await;
        assert_eq!(envelope["payload"]["view"]["state"]["values"], values);
        socket.send(&json!({ "envelope_id": envelope["envelope_id"], "payload": payload })).await;
    };
    let wrong = json!({ "response_action": "errors", "errors": { "reason": "say more" } });
    let (submitted, ()) = tokio::join!(app.slack.submit("U0RESPONDER", &id, values.clone()), answer(&mut socket, wrong.clone()));
    assert_eq!(submitted, Ok(Some(wrong)));
    let clear = json!({ "response_action": "clear" });
    let (submitted, ()) = tokio::join!(app.slack.submit("U0RESPONDER", &id, values.clone()), answer(&mut socket, clear.clone()));
    assert_eq!(submitted, Ok(Some(clear)));
    assert_eq!(app.slack.look(|view| view.modals("U0RESPONDER")), Vec::<Value>::new());
    app.finish().await;
}
