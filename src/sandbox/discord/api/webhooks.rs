//! What follows the first answer to an interaction: edits of it, and followups.

use axum::http::Method;
use serde_json::Value;

use super::{Access, Answer, Call, Route, interactions};
use crate::sandbox::discord::content;
use crate::sandbox::discord::limits::Bucket;
use crate::sandbox::discord::refusal::Refusal;
use crate::sandbox::discord::render_message::{self, EPHEMERAL};
use crate::sandbox::discord::shape::Shape;
use crate::sandbox::discord::snowflake::Snowflake;

const FOLLOWUPS: &str = "webhooks/{application}/{token}";
const MESSAGE: &str = "webhooks/{application}/{token}/messages/{message}";

type Handle = fn(&mut Call<'_>) -> Result<Answer, Refusal>;

const fn route(method: Method, path: &'static str, body: Option<&'static Shape>, handle: Handle) -> Route {
    // `wait` is of no consequence: an interaction's webhook always shows the message. Threads have channels of their own here.
    Route { method, path, access: Access::Token, bucket: Bucket::Followups, query: &["wait"], body, handle }
}

pub(super) const ROUTES: &[Route] = &[
    route(Method::POST, FOLLOWUPS, Some(&content::ANSWER), follow_up),
    route(Method::GET, MESSAGE, None, get),
    route(Method::PATCH, MESSAGE, Some(&content::EDIT), edit),
    route(Method::DELETE, MESSAGE, None, delete),
];

/// The interaction of the token, once it was answered.
fn interaction(call: &Call<'_>) -> Result<Snowflake, Refusal> {
    if call.id("application")? != call.state.guild.application.id {
        return Err(Refusal::UNKNOWN_WEBHOOK);
    }
    let interaction = call.state.by_token(call.parameter("token")).ok_or(Refusal::BAD_WEBHOOK_TOKEN)?;
    if interaction.response.is_some() { Ok(interaction.id) } else { Err(Refusal::UNKNOWN_WEBHOOK) }
}

/// A message that the token reaches: the original, or one that answers the interaction.
fn message(call: &Call<'_>) -> Result<(Snowflake, Snowflake), Refusal> {
    let id = interaction(call)?;
    let interaction = call.state.interactions.get(&id).ok_or(Refusal::UNKNOWN_WEBHOOK)?;
    let wanted = match call.parameter("message") {
        "@original" => interaction.original.ok_or(Refusal::UNKNOWN_MESSAGE)?,
        _ => call.id("message")?,
    };
    let message = call.state.message(interaction.channel, wanted).ok_or(Refusal::UNKNOWN_MESSAGE)?;
    let answers = message.origin.as_ref().is_some_and(|origin| origin.interaction == id);
    let reached = answers || interaction.original == Some(wanted);
    if reached { Ok((interaction.channel, wanted)) } else { Err(Refusal::UNKNOWN_MESSAGE) }
}

/// The first followup of a deferred answer is that answer.
fn follow_up(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let id = interaction(call)?;
    let interaction = call.state.interactions.get(&id).ok_or(Refusal::UNKNOWN_WEBHOOK)?;
    let (channel, original) = (interaction.channel, interaction.original);
    let body = std::mem::take(&mut call.body);
    let content = call.content(channel, &body, None)?;
    let loading = original.filter(|original| call.state.message(channel, *original).is_some_and(|message| message.loading));
    if let Some(original) = loading {
        call.state.edit(channel, original, content);
        return show(call, channel, original);
    }
    let ephemeral = body.get("flags").and_then(Value::as_u64).unwrap_or_default() & EPHEMERAL != 0;
    let posted = interactions::post(call, id, content, ephemeral, false)?;
    show(call, channel, posted)
}

fn get(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let (channel, id) = message(call)?;
    show(call, channel, id)
}

fn edit(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let (channel, id) = message(call)?;
    let before = call.state.message(channel, id).map(|message| message.content.clone());
    let body = std::mem::take(&mut call.body);
    let content = call.content(channel, &body, before.as_ref())?;
    call.state.edit(channel, id, content);
    show(call, channel, id)
}

fn delete(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let (channel, id) = message(call)?;
    call.state.delete(channel, id);
    Answer::empty()
}

fn show(call: &Call<'_>, channel: Snowflake, id: Snowflake) -> Result<Answer, Refusal> {
    let message = call.state.message(channel, id).ok_or(Refusal::UNKNOWN_MESSAGE)?;
    Answer::ok(render_message::message(call.state, message))
}
