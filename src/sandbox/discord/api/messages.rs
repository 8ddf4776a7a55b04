//! Messages of a channel.

use axum::extract::{Path, State as Shared};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::{Access, Answer, Api, Call, Route};
use crate::sandbox::discord::guild::permission;
use crate::sandbox::discord::limits::Bucket;
use crate::sandbox::discord::refusal::Refusal;
use crate::sandbox::discord::render_message::{self, attachment_path};
use crate::sandbox::discord::snowflake::Snowflake;
use crate::sandbox::discord::state::{Content, Message, MessageKind};
use crate::sandbox::discord::{content, shape};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "channels/{channel}/messages",
        access: Access::Bot,
        bucket: Bucket::Post,
        query: &[],
        body: Some(&content::CREATE),
        handle: create,
    },
    Route {
        method: Method::GET,
        path: "channels/{channel}/messages",
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &["after", "before", "around", "limit"],
        body: None,
        handle: list,
    },
    Route {
        method: Method::GET,
        path: "channels/{channel}/messages/{message}",
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &[],
        body: None,
        handle: get,
    },
    Route {
        method: Method::PATCH,
        path: "channels/{channel}/messages/{message}",
        access: Access::Bot,
        bucket: Bucket::Edit,
        query: &[],
        body: Some(&content::EDIT),
        handle: edit,
    },
    Route {
        method: Method::DELETE,
        path: "channels/{channel}/messages/{message}",
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &[],
        body: None,
        handle: delete,
    },
];

fn create(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let place = call.channel(permission::VIEW_CHANNEL)?;
    let channel = place.id;
    let needed = if place.thread.is_some() { permission::SEND_MESSAGES_IN_THREADS } else { permission::SEND_MESSAGES };
    if place.thread.as_ref().is_some_and(|thread| thread.locked) && !call.state.bot_may(channel, permission::MANAGE_THREADS) {
        return Err(Refusal::THREAD_LOCKED);
    }
    call.channel(needed)?;
    let body = std::mem::take(&mut call.body);
    if body.get("tts").and_then(Value::as_bool) == Some(true)
        || body.get("flags").is_some_and(|flags| flags.as_u64().unwrap_or_default() & 64 != 0)
    {
        return Err(Refusal::field(
            "flags",
            "FLAGS_NOT_EMULATED",
            "Only an interaction's answer has one reader, and nothing is read aloud.",
        ));
    }
    let original = body.get("message_reference").filter(|given| !given.is_null());
    let reference = original.and_then(|given| given.get("message_id")).and_then(shape::id);
    if let Some(original) = reference.filter(|id| call.state.message(channel, *id).is_none_or(|message| message.only_for.is_some())) {
        let message = format!("Unknown message {original}");
        return Err(Refusal::field("message_reference", "REPLIES_UNKNOWN_MESSAGE", message));
    }
    let nonce = body.get("nonce").filter(|nonce| !nonce.is_null()).cloned();
    if body.get("enforce_nonce").and_then(Value::as_bool) == Some(true)
        && let Some(earlier) = nonce.as_ref().and_then(|nonce| by_nonce(call, channel, nonce))
    {
        return Answer::ok(render_message::message(call.state, earlier));
    }
    let content = call.content(channel, &body, None)?;
    let kind = if reference.is_some() { MessageKind::Reply } else { MessageKind::Default };
    let author = call.state.bot();
    let reference = reference.map(|id| (channel, id));
    let id = call.state.post(Message { channel, author, kind, content, reference, nonce, ..Message::default() });
    show(call, channel, id)
}

/// A message of the bot that bears the same nonce: with `enforce_nonce` it is not sent again.
fn by_nonce<'c>(call: &'c Call<'_>, channel: Snowflake, nonce: &Value) -> Option<&'c Message> {
    let messages = &call.state.channels.get(&channel)?.messages;
    messages.values().find(|message| !message.deleted && message.author == call.state.bot() && message.nonce.as_ref() == Some(nonce))
}

fn list(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let place = call.channel(permission::VIEW_CHANNEL)?;
    let limit = call.number("limit", 1..=100, 50)?;
    let (after, before, around) = (call.id_in_query("after")?, call.id_in_query("before")?, call.id_in_query("around")?);
    if [after, before, around].iter().flatten().count() > 1 {
        return Err(Refusal::field("", "MESSAGE_ANCHOR_EXCLUSIVE", "after, before and around are mutually exclusive."));
    }
    // Without the right to read history the list is empty.
    let readable = call.state.bot_may(place.id, permission::READ_MESSAGE_HISTORY);
    let seen: Vec<&Message> =
        place.messages.values().filter(|message| readable && !message.deleted && message.only_for.is_none()).collect();
    let newest_first = seen.iter().rev();
    let chosen: Vec<&Message> = match (after, before, around) {
        (Some(after), _, _) => {
            let mut oldest: Vec<&Message> = seen.iter().filter(|message| message.id > after).take(limit).copied().collect();
            oldest.reverse();
            oldest
        }
        (None, Some(before), _) => newest_first.filter(|message| message.id < before).take(limit).copied().collect(),
        (None, None, Some(around)) => {
            let later = seen.iter().filter(|message| message.id > around).take(limit / 2).count();
            let first_later = seen.iter().filter(|message| message.id <= around).count();
            let upto = first_later + later;
            seen.iter().take(upto).rev().take(limit).copied().collect()
        }
        (None, None, None) => newest_first.take(limit).copied().collect(),
    };
    Answer::ok(chosen.into_iter().map(|message| render_message::message(call.state, message)).collect())
}

fn get(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let message = call.message(permission::VIEW_CHANNEL | permission::READ_MESSAGE_HISTORY)?;
    Answer::ok(render_message::message(call.state, message))
}

fn edit(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let message = call.message(permission::VIEW_CHANNEL)?;
    let (channel, id, before): (_, _, Content) = (message.channel, message.id, message.content.clone());
    if message.author != call.state.bot() {
        return Err(Refusal::OF_ANOTHER_USER);
    }
    let thread = call.state.channels.get(&channel).and_then(|place| place.thread.as_ref());
    if thread.is_some_and(|thread| thread.archived) {
        return Err(Refusal::ARCHIVED);
    }
    let body = std::mem::take(&mut call.body);
    let content = call.content(channel, &body, Some(&before))?;
    call.state.edit(channel, id, content);
    show(call, channel, id)
}

fn delete(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let message = call.message(permission::VIEW_CHANNEL)?;
    let (channel, id) = (message.channel, message.id);
    if message.author != call.state.bot() && !call.state.bot_may(channel, permission::MANAGE_MESSAGES) {
        return Err(Refusal::MISSING_PERMISSIONS);
    }
    call.state.delete(channel, id);
    Answer::empty()
}

fn show(call: &Call<'_>, channel: Snowflake, id: Snowflake) -> Result<Answer, Refusal> {
    let message = call.state.message(channel, id).ok_or(Refusal::UNKNOWN_MESSAGE)?;
    Answer::ok(render_message::message(call.state, message))
}

/// The file behind an attachment's address, whose host is Discord's content network.
pub(super) async fn attachment(Shared(api): Shared<Api>, Path(path): Path<String>) -> Response {
    let wanted = format!("/attachments/{path}");
    let found = api.discord.read(|state| {
        let messages = state.channels.values().flat_map(|place| place.messages.values()).filter(|message| !message.deleted);
        let mut files = messages.flat_map(|message| message.content.attachments.iter().map(move |file| (message, file)));
        let file = files.find(|(message, file)| attachment_path(message, file) == wanted)?.1;
        Some((file.content_type.clone().unwrap_or_else(|| "application/octet-stream".into()), file.bytes.clone()))
    });
    match found {
        Some((content_type, bytes)) => ([(header::CONTENT_TYPE, content_type)], bytes).into_response(),
        None => (StatusCode::NOT_FOUND, json!({ "message": "404: Not Found", "code": 0 }).to_string()).into_response(),
    }
}
