//! `reactions.*`.

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::{Call, Method, Token};
use crate::sandbox::slack::render;
use crate::sandbox::slack::state::{Channel, Message};

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "reactions.add",
        token: Token::Bot,
        scope: Some("reactions:write"),
        arguments: &["channel", "timestamp", "name"],
        handle: add,
    },
    Method {
        name: "reactions.remove",
        token: Token::Bot,
        scope: Some("reactions:write"),
        arguments: &["channel", "timestamp", "name"],
        handle: remove,
    },
    Method {
        name: "reactions.get",
        token: Token::Bot,
        scope: Some("reactions:read"),
        arguments: &["channel", "timestamp", "full"],
        handle: get,
    },
    Method {
        name: "reactions.list",
        token: Token::Bot,
        scope: Some("reactions:read"),
        arguments: &["user", "full", "count", "page", "cursor", "limit"],
        handle: list,
    },
];

/// Different emoji on one message, as in Slack.
const EMOJI_PER_MESSAGE: usize = 50;

/// A page of `reactions.list`.
const PAGE: usize = 1000;

/// The name under which Slack stores an emoji: without the colons that nobody may send, and with the few aliases that matter for votes
/// resolved. `None` if there cannot be such an emoji.
pub(in crate::sandbox::slack) fn emoji(name: &str) -> Option<String> {
    let (base, tone) = name.split_once("::").map_or((name, None), |(base, tone)| (base, Some(tone)));
    let ordinary = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-+'".contains(&byte);
    let tones = ["skin-tone-2", "skin-tone-3", "skin-tone-4", "skin-tone-5", "skin-tone-6"];
    if base.is_empty() || !base.bytes().all(ordinary) || tone.is_some_and(|tone| !tones.contains(&tone)) {
        return None;
    }
    let base = match base {
        "thumbsup" => "+1",
        "thumbsdown" => "-1",
        other => other,
    };
    Some(tone.map_or_else(|| base.to_owned(), |tone| format!("{base}::{tone}")))
}

fn add(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let (channel, ts, name) = target(call)?;
    let message = call.state.channels.get(&channel).and_then(|channel| channel.messages.get(&ts));
    if message.is_some_and(|message| message.reactions.len() >= EMOJI_PER_MESSAGE) {
        return Err(Refusal::Code("too_many_emoji"));
    }
    let bot = call.bot();
    match call.state.add_reaction(&channel, &ts, &name, &bot) {
        true => Ok(json!({})),
        false => Err(Refusal::Code("already_reacted")),
    }
}

fn remove(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let (channel, ts, name) = target(call)?;
    let bot = call.bot();
    match call.state.remove_reaction(&channel, &ts, &name, &bot) {
        true => Ok(json!({})),
        false => Err(Refusal::Code("no_reaction")),
    }
}

fn get(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let (channel, message) = item(call)?;
    let mut shown = render::message(call.state, message, call.arguments.flag("full")?);
    if let Value::Object(fields) = &mut shown {
        fields.insert("permalink".into(), json!(render::permalink(call.state, &channel.id, message)));
    }
    Ok(json!({ "type": "message", "channel": channel.id, "message": shown }))
}

fn list(call: &mut Call<'_>) -> Result<Value, Refusal> {
    if call.arguments.has("count") || call.arguments.has("page") {
        return Err(Refusal::argument("count and page are not emulated; use cursor and limit".into()));
    }
    let user = call.arguments.text("user")?.unwrap_or_else(|| call.bot());
    let full = call.arguments.flag("full")?;
    let (state, bot) = (&*call.state, &call.state.workspace.app.bot_user);
    let mut items = Vec::new();
    for channel in state.channels.values().filter(|channel| channel.members.contains(bot)) {
        let reacted = |message: &&Message| {
            let by_user = message.reactions.iter().any(|reaction| reaction.users.contains(&user));
            by_user && message.only_for.is_none() && !message.deleted
        };
        items.extend(channel.messages.values().filter(reacted).map(|message| (channel, message)));
    }
    items.sort_by(|(_, one), (_, other)| other.ts.cmp(&one.ts));
    let (page, cursor) = call.arguments.page(items, PAGE, PAGE)?;
    let shown: Vec<Value> = page
        .into_iter()
        .map(|(channel, message)| json!({ "type": "message", "channel": channel.id, "message": render::message(state, message, full) }))
        .collect();
    Ok(json!({ "items": shown, "response_metadata": { "next_cursor": cursor } }))
}

fn target(call: &Call<'_>) -> Result<(String, String, String), Refusal> {
    let name = emoji(&call.arguments.required("name")?).ok_or(Refusal::Code("invalid_name"))?;
    let (channel, message) = item(call)?;
    if !channel.members.contains(&call.state.workspace.app.bot_user) {
        return Err(Refusal::Code("not_in_channel"));
    }
    Ok((channel.id.clone(), message.ts.clone(), name))
}

fn item<'c>(call: &'c Call<'_>) -> Result<(&'c Channel, &'c Message), Refusal> {
    if !call.arguments.has("channel") || !call.arguments.has("timestamp") {
        return Err(Refusal::Code("no_item_specified"));
    }
    let channel = call.visible_channel()?;
    let ts = call.arguments.ts("timestamp", "bad_timestamp")?.ok_or(Refusal::Code("bad_timestamp"))?;
    let message = channel.public_message(&ts).ok_or(Refusal::Code("message_not_found"))?;
    Ok((channel, message))
}
