//! Messages, reactions and threads over REST, with their negative contracts.

use reqwest::Method;
use serde_json::{Value, json};
use stanch::sandbox::discord::{Mentions, id};

use super::{Bot, StatusCode, json_of, snowflake};

fn at(channel: impl std::fmt::Display, rest: &str) -> String {
    format!("channels/{channel}/messages{rest}")
}

/// A message with everything, edited, read back and deleted.
#[tokio::test]
async fn the_life_of_a_message() {
    let bot = Bot::start().await;
    let embed = json!({ "title": "Plan", "description": "isolate", "fields": [{ "name": "node", "value": "x" }], "color": 0xFF_0000 });
    let button = json!({ "type": 2, "style": 3, "custom_id": "approve:1", "label": "Approve" });
    let body = json!({
        "content": " the plan ",
        "embeds": [embed],
        "components": [{ "type": 1, "components": [button] }],
        "allowed_mentions": { "parse": [] },
    });
    let posted = bot.post(&at(id::INCIDENTS, ""), body).await;
    assert_eq!((&posted["content"], &posted["embeds"][0]["type"]), (&json!("the plan"), &json!("rich")));
    assert_eq!(posted["components"][0]["components"][0]["id"], json!(2));
    let message = snowflake(&posted["id"]);
    let edited = bot.ok(Method::PATCH, &at(id::INCIDENTS, &format!("/{message}")), json!({ "content": "done", "components": [] })).await;
    assert_eq!((&edited["content"], &edited["embeds"], &edited["components"]), (&json!("done"), &posted["embeds"], &json!([])));
    assert!(edited["edited_timestamp"].is_string());
    assert_eq!(bot.get(&at(id::INCIDENTS, &format!("/{message}"))).await, edited);
    bot.ok(Method::DELETE, &at(id::INCIDENTS, &format!("/{message}")), Value::Null).await;
    let gone = bot.refusal(Method::GET, &at(id::INCIDENTS, &format!("/{message}")), Value::Null).await;
    assert_eq!((gone.0, gone.1), (404, 10_008));
    let seen = bot.discord.channel_transcript(id::INCIDENTS);
    assert_eq!(seen.iter().map(|entry| (entry.text.as_str(), entry.edits, entry.deleted)).collect::<Vec<_>>(), [("done", 1, true)]);
    bot.finish().await;
}

/// What is wrong with a body, and where.
#[tokio::test]
async fn malformed_bodies() {
    let bot = Bot::start().await;
    let row = |buttons: Vec<Value>| json!([{ "type": 1, "components": buttons }]);
    let button = |rest: Value| {
        let mut button = json!({ "type": 2, "style": 1, "custom_id": "a", "label": "A" });
        button.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        button
    };
    let embed = |text: &str| json!({ "description": text });
    let cases = [
        (json!({ "content": "x".repeat(2001) }), "/content", "BASE_TYPE_MAX_LENGTH"),
        (json!({ "content": 7 }), "/content", "BASE_TYPE_STRING"),
        (json!({ "embeds": vec![embed("x"); 11] }), "/embeds", "BASE_TYPE_BAD_LENGTH"),
        (json!({ "embeds": [{ "title": "x".repeat(257) }] }), "/embeds/0/title", "BASE_TYPE_MAX_LENGTH"),
        (json!({ "embeds": [{ "fields": [{ "name": "", "value": "x" }] }] }), "/embeds/0/fields/0/name", "BASE_TYPE_REQUIRED"),
        (json!({ "embeds": vec![embed(&"x".repeat(3001)); 2] }), "/embeds", "MAX_EMBED_SIZE_EXCEEDED"),
        (json!({ "embeds": [{ "colour": 1 }] }), "/embeds/0/colour", "UNKNOWN_FIELD"),
        (
            json!({ "components": row(vec![button(json!({ "custom_id": "x".repeat(101) }))]) }),
            "/components/0/components/0/custom_id",
            "BASE_TYPE_BAD_LENGTH",
        ),
        (
            json!({ "components": row(vec![button(json!({ "label": "x".repeat(81) }))]) }),
            "/components/0/components/0/label",
            "BASE_TYPE_MAX_LENGTH",
        ),
        (json!({ "components": row(vec![button(json!({})); 6]) }), "/components/0/components", "BASE_TYPE_BAD_LENGTH"),
        (json!({ "components": row(vec![button(json!({})); 2]) }), "/components/0/components/1", "COMPONENT_CUSTOM_ID_DUPLICATED"),
        (
            json!({ "components": row(vec![button(json!({ "label": null }))]) }),
            "/components/0/components/0",
            "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED",
        ),
        (json!({ "components": vec![row(vec![button(json!({}))])[0].clone(); 6] }), "/components", "BASE_TYPE_BAD_LENGTH"),
        (json!({ "allowed_mentions": { "parse": ["all"] } }), "/allowed_mentions/parse/0", "BASE_TYPE_CHOICES"),
        (json!({ "flags": 64, "content": "x" }), "/flags", "FLAGS_NOT_EMULATED"),
        (json!({ "text": "x" }), "/text", "UNKNOWN_FIELD"),
    ];
    for (body, pointer, code) in cases {
        let (status, number, errors) = bot.refusal(Method::POST, &at(id::INCIDENTS, ""), body.clone()).await;
        assert_eq!((status, number), (400, 50_035), "{body}");
        assert_eq!(errors.pointer(pointer).map(|found| &found["_errors"][0]["code"]), Some(&json!(code)), "{body}: {errors}");
    }
    let empty = bot.refusal(Method::POST, &at(id::INCIDENTS, ""), json!({ "content": "  " })).await;
    assert_eq!((empty.0, empty.1), (400, 50_006));
    assert!(bot.discord.channel_transcript(id::INCIDENTS).is_empty());
    bot.finish().await;
}

/// Who may not do what, and where.
#[tokio::test]
async fn refusals() {
    let bot = Bot::start().await;
    let theirs = bot.discord.post_as(id::RESPONDER, id::INCIDENTS, "hello").await.expect("a message");
    let content = json!({ "content": "x" });
    let mut cases = vec![
        (Method::POST, at(id::ELSEWHERE, ""), content.clone(), (403, 50_001)),
        (Method::POST, at(1, ""), content.clone(), (404, 10_003)),
        (Method::PATCH, at(id::INCIDENTS, &format!("/{theirs}")), content.clone(), (403, 50_005)),
        (Method::DELETE, at(id::INCIDENTS, &format!("/{theirs}")), Value::Null, (403, 50_013)),
        (Method::PUT, at(id::INCIDENTS, &format!("/{theirs}/reactions/white_check_mark/@me")), Value::Null, (400, 10_014)),
        (Method::DELETE, at(id::INCIDENTS, &format!("/{theirs}/reactions/%E2%9C%85/@me")), Value::Null, (400, 10_014)),
        (Method::POST, "users/@me/channels".into(), json!({ "recipient_id": id::RESPONDER }), (403, 50_007)),
        (Method::GET, format!("guilds/{}/members/{}", id::GUILD, id::GONE), Value::Null, (404, 10_007)),
        (Method::GET, format!("guilds/{}/members/1", id::GUILD), Value::Null, (404, 10_013)),
        (Method::GET, format!("guilds/{}/members", id::GUILD), Value::Null, (403, 50_001)),
        (Method::GET, "guilds/1".into(), Value::Null, (404, 10_004)),
        (Method::GET, "guilds/1/nothing".into(), Value::Null, (404, 0)),
        (Method::PUT, "gateway".into(), Value::Null, (405, 0)),
        (Method::POST, format!("channels/{theirs}/threads"), json!({ "name": "x", "type": 11 }), (404, 10_003)),
        (Method::GET, format!("applications/{}/commands", id::GUILD), Value::Null, (403, 20_012)),
    ];
    bot.discord.change_application(|application| assert!(application.scopes.remove("applications.commands")));
    cases.push((Method::GET, format!("applications/{}/guilds/{}/commands", id::STANCH, id::GUILD), Value::Null, (403, 50_001)));
    for (method, path, body, expected) in cases {
        let (status, code, _) = bot.refusal(method.clone(), &path, body).await;
        assert_eq!((status, code), expected, "{method} {path}");
    }
    let stranger = bot.http.get(format!("{}/api/v10/users/@me", bot.discord.url())).header("authorization", "Bot wrong").send().await;
    let stranger = stranger.expect("an answer");
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(json_of(stranger).await, json!({ "message": "401: Unauthorized", "code": 0 }));
    // Somebody who is timed out reads and does no more.
    bot.discord.change_member(id::STANCH, |bot| bot.timed_out = true);
    let timed_out = bot.refusal(Method::POST, &at(id::INCIDENTS, ""), content).await;
    assert_eq!((timed_out.0, timed_out.1), (403, 50_013));
    bot.finish().await;
}

/// Lists: newest first, after, before and around.
#[tokio::test]
async fn lists() {
    let bot = Bot::start().await;
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(bot.say(id::INCIDENTS, &number.to_string()).await);
    }
    let texts = async |query: String| {
        let list = bot.get(&at(id::INCIDENTS, &query)).await;
        list.as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(texts(String::new()).await, "6543210");
    assert_eq!(texts("?limit=2".into()).await, "65");
    assert_eq!(texts(format!("?limit=2&after={}", ids[2])).await, "43");
    assert_eq!(texts(format!("?limit=2&before={}", ids[2])).await, "10");
    assert_eq!(texts(format!("?limit=3&around={}", ids[3])).await, "432");
    let strange = bot.refusal(Method::GET, &at(id::INCIDENTS, "?limit=101"), Value::Null).await;
    assert_eq!((strange.0, strange.1), (400, 50_035));
    bot.finish().await;
}

/// Users of an emoji, in pages by rising id.
#[tokio::test]
async fn reactions() {
    let bot = Bot::start().await;
    let message = bot.say(id::INCIDENTS, "plan").await;
    let path = at(id::INCIDENTS, &format!("/{message}/reactions/%E2%9C%85"));
    bot.ok(Method::PUT, &format!("{path}/@me"), Value::Null).await;
    bot.ok(Method::PUT, &format!("{path}/%40me"), Value::Null).await;
    for user in [id::APPROVER2, id::APPROVER1, id::OTHER_BOT] {
        bot.discord.react(user, id::INCIDENTS, message, "✅").await.expect("a reaction");
    }
    let users = async |query: &str| {
        let list = bot.get(&format!("{path}{query}")).await;
        list.as_array().unwrap().iter().map(|user| snowflake(&user["id"])).collect::<Vec<_>>()
    };
    let sorted = [id::APPROVER1, id::APPROVER2, id::OTHER_BOT, id::STANCH];
    assert_eq!(users("").await, sorted);
    assert_eq!(users("?limit=2").await, sorted[..2]);
    assert_eq!(users(&format!("?limit=2&after={}", sorted[1])).await, sorted[2..]);
    let shown = bot.get(&at(id::INCIDENTS, &format!("/{message}"))).await;
    assert_eq!((&shown["reactions"][0]["count"], &shown["reactions"][0]["me"]), (&json!(4), &json!(true)));
    bot.ok(Method::DELETE, &format!("{path}/@me"), Value::Null).await;
    assert_eq!(users("").await, sorted[..3]);
    assert!(bot.discord.react(id::GUEST, id::INCIDENTS, message, "❌").await.is_err(), "not before the screening");
    bot.finish().await;
}

/// A thread has the message's id, wakes up when the bot writes in it, and cannot be written in once it is locked.
#[tokio::test]
async fn threads() {
    let bot = Bot::start().await;
    let (mut gateway, _) = bot.connect(1).await;
    let message = bot.say(id::INCIDENTS, "plan").await;
    let start = at(id::INCIDENTS, &format!("/{message}/threads"));
    let thread = bot.post(&start, json!({ "name": "inc-42", "auto_archive_duration": 1440 })).await;
    assert_eq!((&thread["id"], &thread["parent_id"], &thread["type"]), (&json!(message), &json!(id::INCIDENTS), &json!(11)));
    assert_eq!(gateway.event("THREAD_CREATE").await["newly_created"], json!(true));
    let again = bot.refusal(Method::POST, &start, json!({ "name": "x" })).await;
    assert_eq!((again.0, again.1), (400, 160_004));
    bot.say(message, "step one").await;
    bot.discord.post_as(id::RESPONDER, message, "thanks").await.expect("a message");
    assert!(bot.discord.archive_thread(message, false));
    assert_eq!(gateway.event("THREAD_UPDATE").await["thread_metadata"]["archived"], json!(true));
    bot.say(message, "step two").await;
    assert_eq!(gateway.event("THREAD_UPDATE").await["thread_metadata"]["archived"], json!(false));
    bot.discord.archive_thread(message, true);
    let locked = bot.refusal(Method::POST, &at(message, ""), json!({ "content": "x" })).await;
    assert_eq!((locked.0, locked.1), (403, 160_005));
    let transcript = "#incidents\n  stanch: plan\n    stanch: step one\n    rosa: thanks\n    stanch: step two\n";
    assert_eq!(bot.discord.look(|view| view.to_string()), transcript);
    bot.finish().await;
}

/// Who is pinged is remembered, over all versions of a message.
#[tokio::test]
async fn pings() {
    let bot = Bot::start().await;
    let everybody = format!("@everyone <@{}> <@&{}>", id::RESPONDER, id::APPROVERS);
    let silent = bot.post(&at(id::INCIDENTS, ""), json!({ "content": everybody, "allowed_mentions": { "parse": [] } })).await;
    assert_eq!((&silent["mentions"], &silent["mention_roles"], &silent["mention_everyone"]), (&json!([]), &json!([]), &json!(false)));
    let edited = json!({ "content": everybody });
    bot.ok(Method::PATCH, &at(id::INCIDENTS, &format!("/{}", snowflake(&silent["id"]))), edited).await;
    // The bot may not mention everybody, and the role is not for everybody to mention.
    let pinged = Mentions { users: [id::RESPONDER].into(), ..Mentions::default() };
    assert_eq!(bot.discord.channel_transcript(id::INCIDENTS)[0].pinged, pinged);
    bot.say(id::INCIDENTS, "nobody").await;
    assert!(bot.discord.channel_transcript(id::INCIDENTS)[1].pinged.is_empty());
    assert_eq!(bot.discord.look(|view| view.pings()), [(snowflake(&silent["id"]), pinged)]);
    bot.finish().await;
}

/// Files come in a form and can be read back; too large ones are refused.
#[tokio::test]
async fn files() {
    let bot = Bot::start().await;
    let send = async |bytes: &[u8]| {
        let payload = json!({ "content": "evidence", "attachments": [{ "id": "0", "description": "Manifest" }] });
        let mut body =
            format!("--b\r\nContent-Disposition: form-data; name=\"payload_json\"\r\nContent-Type: application/json\r\n\r\n{payload}\r\n");
        body.push_str("--b\r\nContent-Disposition: form-data; name=\"files[0]\"; filename=\"a manifest.json\"\r\nContent-Type: application/json\r\n\r\n");
        let body = [body.as_bytes(), bytes, b"\r\n--b--\r\n"].concat();
        let request = bot.http.post(format!("{}/api/v10/{}", bot.discord.url(), at(id::INCIDENTS, "")));
        let request = request.header("authorization", format!("Bot {}", bot.discord.token()));
        request.header("content-type", "multipart/form-data; boundary=b").body(body).send().await.expect("an answer")
    };
    let posted = json_of(send(b"{}").await).await;
    let file = &posted["attachments"][0];
    assert_eq!((&file["filename"], &file["size"], &file["description"]), (&json!("a_manifest.json"), &json!(2), &json!("Manifest")));
    let path = file["url"].as_str().unwrap().strip_prefix("https://cdn.discordapp.com").expect("Discord's host");
    let served = bot.http.get(format!("{}{path}", bot.discord.url())).send().await.expect("an answer");
    assert_eq!(served.text().await.unwrap(), "{}");
    let large = send(&vec![b'x'; (10 << 20) + 1]).await;
    assert_eq!((large.status().as_u16(), json_of(large).await["code"].clone()), (413, json!(40_005)));
    bot.finish().await;
}
