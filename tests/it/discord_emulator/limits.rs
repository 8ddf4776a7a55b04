//! Rate limits, bans, and faults at the wire.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use stanch::sandbox::discord::{Guild, Limit, RateLimits, id};
use stanch::sandbox::server::{Fault, FaultRule};

use super::{Bot, json_of};

async fn post(bot: &Bot, channel: impl std::fmt::Display) -> Response {
    bot.send(Method::POST, &format!("channels/{channel}/messages"), Some(json!({ "content": "x" }))).await
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default()
}

/// A window is used up and named in headers; another channel has its own; the global limit stands above both.
#[tokio::test]
async fn windows() {
    let hour = Duration::from_secs(3600);
    let messages = Limit { requests: 2, window: hour };
    let limits = RateLimits { messages, global: Limit { requests: 5, window: hour }, ..RateLimits::default() };
    let bot = Bot::of(&Guild { limits: Some(limits), ..Guild::sandbox() }).await;
    let first = post(&bot, id::INCIDENTS).await;
    let told = ["limit", "remaining"].map(|name| header(&first, &format!("x-ratelimit-{name}")));
    assert_eq!((first.status(), told), (StatusCode::OK, ["2".into(), "1".into()]));
    assert!(header(&first, "x-ratelimit-reset-after").parse::<f64>().expect("seconds") > 3500.0);
    assert!(!header(&first, "x-ratelimit-bucket").is_empty());
    post(&bot, id::INCIDENTS).await;
    let third = post(&bot, id::INCIDENTS).await;
    assert_eq!((third.status(), header(&third, "x-ratelimit-scope")), (StatusCode::TOO_MANY_REQUESTS, "user".into()));
    assert_eq!((header(&third, "x-ratelimit-remaining"), header(&third, "x-ratelimit-global")), ("0".into(), String::new()));
    assert!(header(&third, "retry-after").parse::<u64>().expect("seconds") > 3500);
    let body = json_of(third).await;
    assert_eq!((&body["message"], &body["global"]), (&json!("You are being rate limited."), &json!(false)));
    assert!(body["retry_after"].as_f64().expect("seconds") > 3500.0);
    assert_eq!(post(&bot, id::RANDOM).await.status(), StatusCode::OK);
    post(&bot, id::RANDOM).await;
    let sixth = post(&bot, id::RANDOM).await;
    assert_eq!((header(&sixth, "x-ratelimit-scope"), header(&sixth, "x-ratelimit-global")), ("global".into(), "true".into()));
    assert_eq!(json_of(sixth).await["global"], json!(true));
    assert_eq!(bot.discord.channel_transcript(id::INCIDENTS).len(), 2);
    bot.finish().await;
}

/// Who asks wrongly too often is banned from everything, without a word of JSON.
#[tokio::test]
async fn a_ban() {
    let limits = RateLimits { invalid: Limit { requests: 3, window: Duration::from_secs(3600) }, ..RateLimits::default() };
    let bot = Bot::of(&Guild { limits: Some(limits), ..Guild::sandbox() }).await;
    for _ in 0..3 {
        assert_eq!(post(&bot, id::ELSEWHERE).await.status(), StatusCode::FORBIDDEN);
    }
    let banned = post(&bot, id::INCIDENTS).await;
    assert_eq!((banned.status(), header(&banned, "x-ratelimit-scope")), (StatusCode::TOO_MANY_REQUESTS, String::new()));
    assert_eq!(banned.text().await.expect("a body"), "error code: 1015");
    bot.finish().await;
}

/// Faults at the wire: an answer instead of Discord's, and a lost one after the message stands.
#[tokio::test]
async fn faults() {
    let bot = Bot::start().await;
    let rule = |fault| FaultRule { method: Some(Method::POST), uri_contains: "/messages".into(), skip: 0, times: 1, fault };
    let unavailable =
        Fault::Answer { status: StatusCode::SERVICE_UNAVAILABLE, headers: vec![], body: json!({ "message": "down", "code": 0 }) };
    bot.discord.wire().inject(rule(unavailable));
    bot.discord.wire().inject(rule(Fault::ResetAfter));
    assert_eq!(post(&bot, id::INCIDENTS).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let path = format!("{}/api/v10/channels/{}/messages", bot.discord.url(), id::INCIDENTS);
    let nonce = json!({ "content": "x", "nonce": "n-1", "enforce_nonce": true });
    let send = || bot.http.post(&path).header("authorization", format!("Bot {}", bot.discord.token())).json(&nonce).send();
    assert!(send().await.is_err());
    // The same nonce again is the same message.
    let again = json_of(send().await.expect("an answer")).await;
    let seen = bot.discord.channel_transcript(id::INCIDENTS);
    assert_eq!(seen.iter().map(|entry| json!(entry.id)).collect::<Vec<_>>(), [again["id"].clone()]);
    bot.finish().await;
}

/// What serenity sends with every command and answer: fields that are null or empty.
#[tokio::test]
async fn what_clients_add() {
    let bot = Bot::start().await;
    let nothing = json!({
        "required": false,
        "choices": [],
        "channel_types": [],
        "min_value": null,
        "max_value": null,
        "min_length": null,
        "max_length": null,
        "autocomplete": false,
    });
    let with = |mut option: Value, inside: Value| {
        let fields = option.as_object_mut().unwrap();
        fields.extend(nothing.as_object().unwrap().clone());
        fields.insert("options".into(), inside);
        option
    };
    let pod = with(json!({ "type": 3, "name": "pod", "description": "x" }), json!([]));
    let sub = with(json!({ "type": 1, "name": "list", "description": "x" }), json!([pod]));
    let definition = json!({
        "name": "stanch",
        "name_localizations": {},
        "description": "x",
        "description_localizations": {},
        "options": [sub],
        "nsfw": false,
    });
    let path = format!("applications/{}/guilds/{}/commands", id::STANCH, id::GUILD);
    let first = bot.post(&path, definition).await;
    let plain = json!([{ "type": 1, "name": "list", "description": "x", "options": [{ "type": 3, "name": "pod", "description": "x" }] }]);
    assert_eq!(first["options"], plain);
    let again = bot.post(&path, json!({ "name": "stanch", "description": "x", "options": plain })).await;
    assert_eq!(again, first);
    let (mut gateway, _) = bot.connect(0).await;
    let answer = async {
        let event = gateway.event("INTERACTION_CREATE").await;
        let path = format!("interactions/{}/{}/callback", super::snowflake(&event["id"]), event["token"].as_str().unwrap());
        bot.post(&path, json!({ "type": 5, "data": { "flags": 64, "attachments": [], "components": null } })).await;
    };
    let (answered, ()) = tokio::join!(bot.discord.type_command(id::RESPONDER, id::INCIDENTS, "/stanch list pod:x"), answer);
    answered.expect("an answer");
    bot.finish().await;
}
