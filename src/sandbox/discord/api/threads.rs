//! Threads: started from a message or without one.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{Method, StatusCode};
use serde_json::Value;

use super::channels::ARCHIVE_MINUTES;
use super::{Access, Answer, Call, Route};
use crate::sandbox::discord::guild::permission;
use crate::sandbox::discord::limits::Bucket;
use crate::sandbox::discord::refusal::Refusal;
use crate::sandbox::discord::render;
use crate::sandbox::discord::shape::{Shape, optional, required};
use crate::sandbox::discord::snowflake::Snowflake;
use crate::sandbox::discord::state::{Channel, Message, MessageKind, Thread};

const START: Shape = Shape::Object(&[
    required("name", Shape::Text { least: 1, most: 100 }),
    optional("auto_archive_duration", Shape::Choice(ARCHIVE_MINUTES)),
    optional("rate_limit_per_user", Shape::Integer { least: 0, most: 21_600 }),
    // Of a thread without a message: public threads only.
    optional("type", Shape::Choice(&[11])),
]);

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "channels/{channel}/messages/{message}/threads",
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &[],
        body: Some(&START),
        handle: start_from_message,
    },
    Route {
        method: Method::POST,
        path: "channels/{channel}/threads",
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &[],
        body: Some(&START),
        handle: start,
    },
    Route {
        method: Method::PUT,
        path: "channels/{channel}/thread-members/@me",
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &[],
        body: None,
        handle: join,
    },
];

/// The thread bears the message's id, and begins with a message that refers to it.
fn start_from_message(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let message = call.message(permission::VIEW_CHANNEL | permission::READ_MESSAGE_HISTORY | permission::CREATE_PUBLIC_THREADS)?;
    let (parent, id) = (message.channel, message.id);
    if message.has_thread {
        return Err(Refusal::THREAD_EXISTS);
    }
    let author = message.author;
    begin(call, parent, id)?;
    if let Some(message) = call.state.message_mut(parent, id) {
        message.has_thread = true;
    }
    let starter =
        Message { id, channel: id, author, kind: MessageKind::ThreadStarter, reference: Some((parent, id)), ..Message::default() };
    if let Some(place) = call.state.channels.get_mut(&id) {
        place.messages.insert(id, starter);
    }
    call.state.tell_thread_created(id);
    call.state.tell_message_updated(parent, id);
    show(call, id)
}

fn start(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let parent = call.channel(permission::VIEW_CHANNEL | permission::CREATE_PUBLIC_THREADS)?.id;
    if call.body.get("type").and_then(Value::as_u64) != Some(11) {
        return Err(Refusal::field("type", "TYPE_NOT_EMULATED", "The emulator has public threads only, and wants to hear so."));
    }
    let id = call.state.ids.next();
    begin(call, parent, id)?;
    call.state.tell_thread_created(id);
    show(call, id)
}

fn begin(call: &mut Call<'_>, parent: Snowflake, id: Snowflake) -> Result<(), Refusal> {
    if call.state.channels.get(&parent).is_none_or(|place| place.thread.is_some()) {
        return Err(Refusal::WRONG_CHANNEL_TYPE);
    }
    let number = |name: &str| call.body.get(name).and_then(Value::as_u64);
    let owner = call.state.bot();
    let thread = Thread {
        parent,
        owner,
        members: BTreeSet::from([owner]),
        archived: false,
        locked: false,
        auto_archive_minutes: number("auto_archive_duration").unwrap_or(4320),
        slow_mode_seconds: number("rate_limit_per_user").unwrap_or_default(),
        archive_changed: jiff::Timestamp::now(),
    };
    let name = call.body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let place = Channel { id, name, position: 0, denied_to_bot: 0, thread: Some(thread), messages: BTreeMap::new() };
    call.state.channels.insert(id, place);
    Ok(())
}

fn join(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let (id, bot) = (call.channel(permission::VIEW_CHANNEL)?.id, call.state.bot());
    let thread = call.state.channels.get_mut(&id).and_then(|place| place.thread.as_mut()).ok_or(Refusal::WRONG_CHANNEL_TYPE)?;
    thread.members.insert(bot);
    Answer::empty()
}

fn show(call: &Call<'_>, id: Snowflake) -> Result<Answer, Refusal> {
    let place = call.state.channels.get(&id).ok_or(Refusal::UNKNOWN_CHANNEL)?;
    Ok(Answer(StatusCode::CREATED, Some(render::channel(call.state, place))))
}
