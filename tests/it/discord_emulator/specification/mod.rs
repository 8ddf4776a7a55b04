//! The emulator's requests and answers against Discord's own description of its HTTP API (`tests/fixtures/discord/`).

mod schema;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use stanch::sandbox::discord::id;

pub use self::schema::Specification;
use super::{Bot, Gateway, command, json_of, snowflake};

/// Fields of bodies that the description has and the emulator refuses: of other kinds of channels, threads and webhooks, polls and stickers.
const REFUSED_FIELDS: &[&str] = &[
    "PATCH /applications/{application_id}/commands/{command_id} handler",
    "PATCH /applications/{application_id}/guilds/{guild_id}/commands/{command_id} handler",
    "PATCH /channels/{channel_id} applied_tags",
    "PATCH /channels/{channel_id} available_tags",
    "PATCH /channels/{channel_id} bitrate",
    "PATCH /channels/{channel_id} default_auto_archive_duration",
    "PATCH /channels/{channel_id} default_forum_layout",
    "PATCH /channels/{channel_id} default_reaction_emoji",
    "PATCH /channels/{channel_id} default_sort_order",
    "PATCH /channels/{channel_id} default_tag_setting",
    "PATCH /channels/{channel_id} default_thread_rate_limit_per_user",
    "PATCH /channels/{channel_id} flags",
    "PATCH /channels/{channel_id} icon",
    "PATCH /channels/{channel_id} invitable",
    "PATCH /channels/{channel_id} nsfw",
    "PATCH /channels/{channel_id} parent_id",
    "PATCH /channels/{channel_id} permission_overwrites",
    "PATCH /channels/{channel_id} position",
    "PATCH /channels/{channel_id} rtc_region",
    "PATCH /channels/{channel_id} topic",
    "PATCH /channels/{channel_id} type",
    "PATCH /channels/{channel_id} user_limit",
    "PATCH /channels/{channel_id} video_quality_mode",
    "PATCH /channels/{channel_id}/messages/{message_id} sticker_ids",
    "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/@original poll",
    "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/{message_id} poll",
    "POST /applications/{application_id}/commands handler",
    "POST /applications/{application_id}/guilds/{guild_id}/commands handler",
    "POST /channels/{channel_id}/messages poll",
    "POST /channels/{channel_id}/messages shared_client_theme",
    "POST /channels/{channel_id}/threads applied_tags",
    "POST /channels/{channel_id}/threads invitable",
    "POST /channels/{channel_id}/threads message",
    "POST /webhooks/{webhook_id}/{webhook_token} applied_tags",
    "POST /webhooks/{webhook_id}/{webhook_token} avatar_url",
    "POST /webhooks/{webhook_id}/{webhook_token} poll",
    "POST /webhooks/{webhook_id}/{webhook_token} thread_name",
    "POST /webhooks/{webhook_id}/{webhook_token} username",
];

/// Where a request of this test differs: it tries a text that is too long, and permission bits are a string in Discord's documentation and in
/// its clients, since JavaScript's numbers are too small for them.
const REQUESTS: &[&str] = &[
    "PATCH /applications/{application_id}/commands/{command_id}.default_member_permissions is no integer or null",
    "PATCH /applications/{application_id}/guilds/{guild_id}/commands/{command_id}.default_member_permissions is no integer or null",
    "POST /channels/{channel_id}/messages.content is too short or too long",
];

/// Where an answer differs from the description: the codes of what is wrong with a field are words, and a deferred answer is shown too.
const DIFFERENCES: &[&str] = &[
    "ErrorResponse.errors.*.* is no object",
    "POST /interactions/{interaction_id}/{interaction_token}/callback.resource.type is 5",
    "POST /interactions/{interaction_id}/{interaction_token}/callback.resource.type is 6",
];

/// Every field that the description gives to a body is known to the emulator, but for the listed ones.
#[tokio::test]
async fn fields() {
    let (bot, specification) = (Bot::start().await, Specification::read());
    let message = bot.say(id::INCIDENTS, "plan").await;
    let mut refused = BTreeSet::new();
    for route in specification.routes().iter().filter(|(_, described)| described.get("body").is_some()).map(|(route, _)| route) {
        // Callbacks have a body by type; they are checked by what clients send.
        if route.contains("callback") {
            continue;
        }
        let (method, path) = route.split_once(' ').expect("a route");
        let path = path.replace("{channel_id}", &id::INCIDENTS.to_string()).replace("{message_id}", &message.to_string());
        let path = path.replace("{application_id}", &id::STANCH.to_string()).replace("{guild_id}", &id::GUILD.to_string());
        let path = path.replace("{webhook_id}", &id::STANCH.to_string()).replace("{webhook_token}", "x").replace("{command_id}", "1");
        let fields = specification.body_fields(route);
        // Bulk overwrites take a list of what a single creation takes.
        for field in fields {
            // Of a wrong type, so that nothing happens.
            let body = json!({ field.as_str(): { "not": ["what", "is", "wanted"] } });
            let response = bot.send(method.parse().expect("a method"), path.trim_start_matches('/'), Some(body)).await;
            if json_of(response).await["errors"][&field]["_errors"][0]["code"] == json!("UNKNOWN_FIELD") {
                refused.insert(format!("{route} {field}"));
            }
        }
    }
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), REFUSED_FIELDS);
    bot.finish().await;
}

/// A bot that checks whatever it is answered.
struct Judge<'a> {
    bot: &'a Bot,
    specification: Specification,
    differences: BTreeSet<String>,
    called: BTreeSet<String>,
}

impl Judge<'_> {
    async fn call(&mut self, method: Method, path: &str, body: Value) -> Value {
        let response = self.bot.send(method.clone(), path, (!body.is_null()).then_some(body)).await;
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        let answer: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") };
        let bare = path.split('?').next().expect("a path");
        let route = self.specification.route(method.as_str(), &format!("/api/v10/{bare}")).expect("a described route").clone();
        let differences = match status {
            200..300 => self.specification.answer(&route, status, &answer),
            _ => self.specification.refusal(status, &answer),
        };
        if status < 300 {
            self.called.insert(route);
        }
        self.differences.extend(differences);
        answer
    }

    async fn get(&mut self, path: &str) -> Value {
        self.call(Method::GET, path, Value::Null).await
    }

    /// Answers the next interaction, and returns the path of its webhook.
    async fn answer(&mut self, gateway: &mut Gateway, answer: Value) -> String {
        let event = gateway.event("INTERACTION_CREATE").await;
        let token = event["token"].as_str().expect("a token");
        let path = format!("interactions/{}/{token}/callback?with_response=true", snowflake(&event["id"]));
        self.call(Method::POST, &path, answer).await;
        format!("webhooks/{}/{token}", id::STANCH)
    }
}

/// Goal: a successful answer of every route is as described, and so are errors and requests. Method: one call each at least, in a guild with a
/// bit of everything; the differences are compared as a whole.
#[tokio::test]
async fn answers() {
    let bot = Bot::start().await;
    bot.discord.change_application(|application| application.privileged_intents = 2);
    let mut judge = Judge { bot: &bot, specification: Specification::read(), differences: BTreeSet::new(), called: BTreeSet::new() };
    for path in ["gateway", "gateway/bot", "users/@me", "users/@me/guilds", "applications/@me", "oauth2/applications/@me"] {
        judge.get(path).await;
    }
    judge.get(&format!("users/{}", id::GONE)).await;
    for rest in ["", "?with_counts=true", "/channels", "/roles", "/members?limit=100", "/threads/active"] {
        judge.get(&format!("guilds/{}{rest}", id::GUILD)).await;
    }
    judge.get(&format!("guilds/{}/roles/{}", id::GUILD, id::STANCH_ROLE)).await;
    judge.get(&format!("guilds/{}/members/{}", id::GUILD, id::RESPONDER)).await;
    messages(&mut judge).await;
    commands(&mut judge).await;
    interactions(&mut judge).await;
    refusals(&mut judge).await;
    let described: BTreeSet<String> = judge.specification.routes().keys().cloned().collect();
    assert_eq!(judge.called, described);
    let requests = judge.specification.requests(&bot.discord.wire().exchanges());
    assert_eq!(requests.into_iter().collect::<Vec<_>>(), REQUESTS);
    assert_eq!(judge.differences.into_iter().collect::<Vec<_>>(), DIFFERENCES);
    bot.finish().await;
}

async fn messages(judge: &mut Judge<'_>) {
    let channel = format!("channels/{}", id::INCIDENTS);
    judge.get(&channel).await;
    judge.call(Method::POST, &format!("{channel}/typing"), Value::Null).await;
    let embed = json!({ "title": "Plan", "fields": [{ "name": "node", "value": "x" }], "footer": { "text": "r-1" }, "color": 1, "timestamp": "2026-01-01T00:00:00Z" });
    let buttons = json!([{ "type": 2, "style": 3, "custom_id": "a", "label": "Approve" }, { "type": 2, "style": 5, "url": "https://example.com", "label": "Log" }]);
    let menu = json!([{ "type": 3, "custom_id": "m", "options": [{ "label": "One", "value": "1" }] }]);
    let body = json!({
        "content": format!("<@{}>", id::RESPONDER),
        "embeds": [embed],
        "components": [{ "type": 1, "components": buttons }, { "type": 1, "components": menu }],
        "allowed_mentions": { "users": [id::RESPONDER] },
        "nonce": "n-1",
    });
    let posted = judge.call(Method::POST, &format!("{channel}/messages"), body).await;
    let message = format!("{channel}/messages/{}", snowflake(&posted["id"]));
    let reply = json!({ "content": "done", "message_reference": { "message_id": posted["id"] } });
    judge.call(Method::POST, &format!("{channel}/messages"), reply).await;
    judge.call(Method::PATCH, &message, json!({ "content": "edited" })).await;
    judge.call(Method::PUT, &format!("{message}/reactions/%E2%9C%85/@me"), Value::Null).await;
    judge.get(&format!("{message}/reactions/%E2%9C%85?limit=5")).await;
    let thread = judge.call(Method::POST, &format!("{message}/threads"), json!({ "name": "inc-42" })).await;
    let thread = format!("channels/{}", snowflake(&thread["id"]));
    judge.call(Method::POST, &format!("{thread}/messages"), json!({ "content": "step" })).await;
    judge.call(Method::PUT, &format!("{thread}/thread-members/@me"), Value::Null).await;
    judge.call(Method::PATCH, &thread, json!({ "name": "inc-42 done" })).await;
    judge.get(&thread).await;
    judge.get(&format!("{thread}/messages")).await;
    judge.get(&format!("guilds/{}/threads/active", id::GUILD)).await;
    judge.call(Method::POST, &format!("{channel}/threads"), json!({ "name": "alone", "type": 11 })).await;
    judge.get(&message).await;
    judge.get(&format!("{channel}/messages?limit=10")).await;
    judge.call(Method::DELETE, &format!("{message}/reactions/%E2%9C%85/@me"), Value::Null).await;
    judge.bot.discord.react(id::BYSTANDER, id::INCIDENTS, snowflake(&posted["id"]), "eyes").await.expect("a reaction");
    judge.bot.discord.change_role(id::STANCH_ROLE, |role| role.permissions |= 1 << 13);
    judge.call(Method::DELETE, &format!("{message}/reactions/%F0%9F%91%80/{}", id::BYSTANDER), Value::Null).await;
    judge.call(Method::DELETE, &message, Value::Null).await;
}

async fn commands(judge: &mut Judge<'_>) {
    let application = format!("applications/{}", id::STANCH);
    for scope in [format!("{application}/commands"), format!("{application}/guilds/{}/commands", id::GUILD)] {
        let created = judge.call(Method::POST, &scope, command()).await;
        let one = format!("{scope}/{}", snowflake(&created["id"]));
        judge.call(Method::POST, &scope, command()).await;
        judge.get(&scope).await;
        judge.get(&one).await;
        judge.call(Method::PATCH, &one, json!({ "description": "Changed.", "default_member_permissions": "8" })).await;
        judge.call(Method::DELETE, &one, Value::Null).await;
        judge.call(Method::PUT, &scope, json!([command()])).await;
    }
}

async fn interactions(judge: &mut Judge<'_>) {
    let bot = judge.bot;
    let (mut gateway, _) = bot.connect(0).await;
    let line = "/stanch list";
    let hidden = json!({ "type": 5, "data": { "flags": 64 } });
    let (answered, webhook) =
        tokio::join!(bot.discord.type_command(id::RESPONDER, id::INCIDENTS, line), judge.answer(&mut gateway, hidden));
    answered.expect("an answer");
    let original = format!("{webhook}/messages/@original");
    judge.get(&original).await;
    judge.call(Method::PATCH, &original, json!({ "content": "here" })).await;
    let more = judge.call(Method::POST, &format!("{webhook}?wait=true"), json!({ "content": "more" })).await;
    let more = format!("{webhook}/messages/{}", snowflake(&more["id"]));
    judge.get(&more).await;
    judge.call(Method::PATCH, &more, json!({ "content": "less" })).await;
    judge.call(Method::DELETE, &more, Value::Null).await;
    judge.call(Method::DELETE, &original, Value::Null).await;
    let button = json!([{ "type": 1, "components": [{ "type": 2, "style": 1, "custom_id": "a", "label": "A" }] }]);
    let message = json!({ "type": 4, "data": { "content": "here", "components": button } });
    let (answered, _) = tokio::join!(bot.discord.type_command(id::RESPONDER, id::INCIDENTS, line), judge.answer(&mut gateway, message));
    answered.expect("an answer");
    let message = bot.discord.channel_transcript(id::INCIDENTS).last().expect("a message").id;
    let update = json!({ "type": 7, "data": { "content": "there" } });
    let (answered, _) = tokio::join!(bot.discord.press(id::RESPONDER, id::INCIDENTS, message, "a"), judge.answer(&mut gateway, update));
    answered.expect("an answer");
    let (answered, _) =
        tokio::join!(bot.discord.press(id::RESPONDER, id::INCIDENTS, message, "a"), judge.answer(&mut gateway, json!({ "type": 6 })));
    answered.expect("an answer");
    let modal = json!({ "type": 9, "data": { "custom_id": "m", "title": "Why", "components": [
        { "type": 1, "components": [{ "type": 4, "custom_id": "w", "style": 2, "label": "Why" }] },
    ] } });
    let (answered, _) = tokio::join!(bot.discord.press(id::RESPONDER, id::INCIDENTS, message, "a"), judge.answer(&mut gateway, modal));
    answered.expect("an answer");
}

async fn refusals(judge: &mut Judge<'_>) {
    let messages = format!("channels/{}/messages", id::INCIDENTS);
    judge.call(Method::POST, &messages, json!({ "content": "x".repeat(4001) })).await;
    judge.get("users/1").await;
    judge.bot.discord.set_limits(Some(stanch::sandbox::discord::RateLimits::default()));
    for _ in 0..6 {
        judge.call(Method::POST, &messages, json!({ "content": "x" })).await;
    }
    judge.bot.discord.set_limits(None);
}
