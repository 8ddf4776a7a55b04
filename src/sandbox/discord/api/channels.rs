//! One channel or thread.

use axum::http::Method;
use serde_json::Value;

use super::{Access, Answer, Call, Route};
use crate::sandbox::discord::guild::permission;
use crate::sandbox::discord::limits::Bucket;
use crate::sandbox::discord::refusal::Refusal;
use crate::sandbox::discord::render;
use crate::sandbox::discord::shape::{Shape, optional};

/// How long a thread without messages stays in the list, in minutes.
pub(super) const ARCHIVE_MINUTES: &[i64] = &[60, 1440, 4320, 10_080];

/// What may be changed of a thread.
const CHANGE: Shape = Shape::Object(&[
    optional("name", Shape::Text { least: 1, most: 100 }),
    optional("archived", Shape::Flag),
    optional("locked", Shape::Flag),
    optional("auto_archive_duration", Shape::Choice(ARCHIVE_MINUTES)),
    optional("rate_limit_per_user", Shape::Integer { least: 0, most: 21_600 }),
]);

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "channels/{channel}",
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &[],
        body: None,
        handle: |call| Answer::ok(render::channel(call.state, call.channel(permission::VIEW_CHANNEL)?)),
    },
    Route {
        method: Method::PATCH,
        path: "channels/{channel}",
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &[],
        body: Some(&CHANGE),
        handle: change,
    },
    Route {
        method: Method::POST,
        path: "channels/{channel}/typing",
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &[],
        body: None,
        handle: |call| call.channel(permission::SEND_MESSAGES).and_then(|_| Answer::empty()),
    },
];

/// Only threads change. Their owner may archive and rename them; locking takes the right to manage threads.
fn change(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let body = std::mem::take(&mut call.body);
    let place = call.channel(permission::VIEW_CHANNEL)?;
    let (id, bot) = (place.id, call.state.bot());
    let thread = place.thread.as_ref().ok_or(Refusal::MISSING_PERMISSIONS)?;
    let manages = call.state.bot_may(id, permission::MANAGE_THREADS);
    let flag = |name: &str| body.get(name).and_then(Value::as_bool);
    if !manages && (thread.owner != bot || thread.locked || flag("locked").is_some()) {
        return Err(Refusal::MISSING_PERMISSIONS);
    }
    if thread.archived && flag("archived") != Some(false) {
        return Err(Refusal::ARCHIVED);
    }
    if let Some(place) = call.state.channels.get_mut(&id)
        && let Some(thread) = &mut place.thread
    {
        if let Some(archived) = flag("archived") {
            (thread.archived, thread.archive_changed) = (archived, jiff::Timestamp::now());
        }
        thread.locked = flag("locked").unwrap_or(thread.locked);
        let number = |name: &str| body.get(name).and_then(Value::as_u64);
        thread.auto_archive_minutes = number("auto_archive_duration").unwrap_or(thread.auto_archive_minutes);
        thread.slow_mode_seconds = number("rate_limit_per_user").unwrap_or(thread.slow_mode_seconds);
        if let Some(name) = body.get("name").and_then(Value::as_str) {
            name.clone_into(&mut place.name);
        }
    }
    call.state.tell_thread_changed(id);
    Answer::ok(render::channel(call.state, call.channel(permission::VIEW_CHANNEL)?))
}
