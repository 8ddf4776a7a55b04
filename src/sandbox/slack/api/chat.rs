//! `chat.*`.

use serde_json::{Value, json};

use super::content::{Given, UPDATED_TEXT_CHARS};
use super::refusal::Refusal;
use super::{Call, Method, Token};
use crate::sandbox::slack::render;
use crate::sandbox::slack::state::Message;

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "chat.postMessage",
        token: Token::Bot,
        scope: Some("chat:write"),
        arguments: &[
            "channel",
            "text",
            "markdown_text",
            "blocks",
            "attachments",
            "metadata",
            "thread_ts",
            "reply_broadcast",
            "unfurl_links",
            "unfurl_media",
            "mrkdwn",
            "parse",
            "link_names",
            "username",
            "icon_emoji",
            "icon_url",
        ],
        handle: post_message,
    },
    Method {
        name: "chat.postEphemeral",
        token: Token::Bot,
        scope: Some("chat:write"),
        arguments: &[
            "channel",
            "user",
            "text",
            "markdown_text",
            "blocks",
            "attachments",
            "thread_ts",
            "parse",
            "link_names",
            "username",
            "icon_emoji",
            "icon_url",
        ],
        handle: post_ephemeral,
    },
    Method {
        name: "chat.update",
        token: Token::Bot,
        scope: Some("chat:write"),
        arguments: &[
            "channel",
            "ts",
            "text",
            "markdown_text",
            "blocks",
            "attachments",
            "metadata",
            "reply_broadcast",
            "parse",
            "link_names",
        ],
        handle: update,
    },
    Method { name: "chat.delete", token: Token::Bot, scope: Some("chat:write"), arguments: &["channel", "ts"], handle: delete },
    Method { name: "chat.getPermalink", token: Token::Bot, scope: None, arguments: &["channel", "message_ts"], handle: get_permalink },
];

fn post_message(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let channel = addressed_channel(call)?;
    let message = new_message(call, &channel)?;
    let ts = call.state.post(&channel, message);
    Ok(json!({ "channel": channel, "ts": ts, "message": show(call, &channel, &ts) }))
}

fn post_ephemeral(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let user = call.arguments.required("user")?;
    let channel = call.own_channel()?;
    if !channel.members.contains(&user) {
        return Err(Refusal::Code("user_not_in_channel"));
    }
    let channel = channel.id.clone();
    let message = Message { only_for: Some(user), ..new_message(call, &channel)? };
    let ts = call.state.post(&channel, message);
    Ok(json!({ "message_ts": ts }))
}

fn update(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let (channel, ts) = own_message(call, "cant_update_message")?;
    let given = Given::of(call, UPDATED_TEXT_CHARS)?;
    let old = call.state.channels.get(&channel).and_then(|channel| channel.messages.get(&ts)).map(|message| message.content.clone());
    let content = given.into_update(call.state, &old.unwrap_or_default())?;
    call.state.edit(&channel, &ts, content);
    let message = show(call, &channel, &ts);
    let text = message.get("text").cloned();
    Ok(json!({ "channel": channel, "ts": ts, "text": text, "message": message }))
}

fn delete(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let (channel, ts) = own_message(call, "cant_delete_message")?;
    call.state.delete(&channel, &ts);
    Ok(json!({ "channel": channel, "ts": ts }))
}

fn get_permalink(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let channel = call.visible_channel()?;
    let ts = call.arguments.ts("message_ts", "message_not_found")?.ok_or(Refusal::Code("message_not_found"))?;
    let message = channel.public_message(&ts).ok_or(Refusal::Code("message_not_found"))?;
    Ok(json!({ "channel": channel.id, "permalink": render::permalink(call.state, &channel.id, message) }))
}

/// The channel to post to. A user id addresses the direct message with that user.
fn addressed_channel(call: &mut Call<'_>) -> Result<String, Refusal> {
    let id = call.arguments.required("channel")?;
    if call.state.user(&id).is_some() {
        return super::conversations::direct_message(call.state, &id).map(|(channel, _)| channel);
    }
    call.own_channel().map(|channel| channel.id.clone())
}

fn new_message(call: &mut Call<'_>, channel: &str) -> Result<Message, Refusal> {
    let arguments = &call.arguments;
    let thread_ts = arguments.ts("thread_ts", "invalid_thread_ts")?;
    if let (Some(ts), Some(channel)) = (&thread_ts, call.state.channels.get(channel)) {
        let parent = channel.public_message(ts).ok_or(Refusal::Code("thread_not_found"))?;
        if parent.thread_ts.is_some() {
            return Err(Refusal::Code("cannot_reply_to_message"));
        }
    }
    let broadcast = arguments.flag("reply_broadcast")?;
    for flag in ["unfurl_links", "unfurl_media", "mrkdwn", "link_names"] {
        arguments.flag(flag)?;
    }
    let username = arguments.text("username")?;
    let emoji = arguments.text("icon_emoji")?.map(|emoji| json!({ "emoji": emoji }));
    let icons = emoji.or(arguments.text("icon_url")?.map(|url| json!({ "image_64": url })));
    if username.is_some() || icons.is_some() {
        super::require_scope(call.state, Token::Bot, "chat:write.customize")?;
    }
    let mut content = Given::of(call, usize::MAX)?.into_content(call.state)?;
    (content.username, content.icons) = (username, icons);
    let subtype = (broadcast && thread_ts.is_some()).then_some("thread_broadcast");
    Ok(Message { thread_ts, user: call.bot(), by_app: true, content, subtype, ..Message::default() })
}

/// The channel and timestamp of a message that the bot wrote; `code` is the error if somebody else did.
fn own_message(call: &Call<'_>, code: &'static str) -> Result<(String, String), Refusal> {
    let channel = call.visible_channel()?;
    let ts = call.arguments.ts("ts", "message_not_found")?.ok_or_else(|| Refusal::argument("missing required field: ts".into()))?;
    let message = channel.public_message(&ts).ok_or(Refusal::Code("message_not_found"))?;
    if !message.by_app {
        return Err(Refusal::Code(code));
    }
    Ok((channel.id.clone(), ts))
}

fn show(call: &Call<'_>, channel: &str, ts: &str) -> Value {
    let message = call.state.channels.get(channel).and_then(|channel| channel.messages.get(ts));
    message.map(|message| render::message(call.state, message, true)).unwrap_or_default()
}
