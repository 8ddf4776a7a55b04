//! The first answer to an interaction.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Access, Answer, Call, Route};
use crate::sandbox::discord::interaction::{Choice, Kind, Modal, Response};
use crate::sandbox::discord::limits::Bucket;
use crate::sandbox::discord::refusal::Refusal;
use crate::sandbox::discord::render_message::{self, EPHEMERAL};
use crate::sandbox::discord::shape::{BITS, Shape, list, optional, required};
use crate::sandbox::discord::snowflake::Snowflake;
use crate::sandbox::discord::state::{Content, Message, MessageKind, Origin};
use crate::sandbox::discord::{commands, content, modal};

const MESSAGE: i64 = 4;
const DEFERRED: i64 = 5;
const DEFERRED_UPDATE: i64 = 6;
const UPDATE: i64 = 7;
const CHOICES: i64 = 8;
const MODAL: i64 = 9;

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::POST,
    path: "interactions/{interaction}/{token}/callback",
    access: Access::Token,
    bucket: Bucket::Callback,
    query: &["with_response"],
    body: Some(&Shape::By(shape)),
    handle: callback,
}];

fn shape(body: &Value) -> Option<&'static Shape> {
    const NO_DATA: Shape = Shape::Object(&[required("type", Shape::Choice(&[DEFERRED_UPDATE])), optional("data", Shape::Object(&[]))]);
    // Clients send the empty fields of a message with it.
    const LATER: Shape = Shape::Object(&[optional("flags", BITS), optional("attachments", list(0, &BITS)), optional("tts", Shape::Flag)]);
    const DEFER: Shape = Shape::Object(&[required("type", Shape::Choice(&[DEFERRED])), optional("data", LATER)]);
    const WITH_MESSAGE: Shape = Shape::Object(&[required("type", Shape::Choice(&[MESSAGE, UPDATE])), required("data", content::ANSWER)]);
    const WITH_CHOICES: Shape = Shape::Object(&[
        required("type", Shape::Choice(&[CHOICES])),
        required("data", Shape::Object(&[required("choices", list(25, &commands::CHOICE))])),
    ]);
    const WITH_MODAL: Shape = Shape::Object(&[required("type", Shape::Choice(&[MODAL])), required("data", modal::SHAPE)]);
    match body.get("type").and_then(Value::as_i64)? {
        MESSAGE | UPDATE => Some(&WITH_MESSAGE),
        DEFERRED => Some(&DEFER),
        DEFERRED_UPDATE => Some(&NO_DATA),
        CHOICES => Some(&WITH_CHOICES),
        MODAL => Some(&WITH_MODAL),
        _ => None,
    }
}

fn callback(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let (id, patience) = (call.id("interaction")?, call.state.guild.timing.respond);
    let with_response = call.flag("with_response")?;
    let interaction = call.state.interactions.get(&id).filter(|interaction| interaction.token == call.parameter("token"));
    let interaction = interaction.ok_or(Refusal::UNKNOWN_INTERACTION)?;
    if interaction.response.is_some() {
        return Err(Refusal::ALREADY_ACKNOWLEDGED);
    }
    // The token of an interaction that nobody answered in time is worth nothing.
    if !interaction.awaits(patience) {
        return Err(Refusal::UNKNOWN_INTERACTION);
    }
    let kind = call.body.get("type").and_then(Value::as_i64).unwrap_or_default();
    let on_message = interaction.message.is_some();
    let fits = match interaction.kind {
        Kind::Autocomplete => kind == CHOICES,
        Kind::Command => [MESSAGE, DEFERRED, MODAL].contains(&kind),
        Kind::Component => [MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, MODAL].contains(&kind),
        Kind::Modal => [MESSAGE, DEFERRED].contains(&kind) || (on_message && [DEFERRED_UPDATE, UPDATE].contains(&kind)),
    };
    if !fits {
        let message = format!("An interaction of type {} takes no answer of type {kind}.", interaction.kind.number());
        return Err(Refusal::field("type", "INTERACTION_CALLBACK_TYPE_INVALID", message));
    }
    let body = std::mem::take(&mut call.body);
    let data = body.get("data").cloned().filter(|data| !data.is_null()).unwrap_or_else(|| json!({}));
    let (response, original) = answer(call, id, kind, &data)?;
    if let Some(interaction) = call.state.interactions.get_mut(&id) {
        (interaction.response, interaction.original) = (Some(response), original);
    }
    if with_response { Answer::ok(show(call, id, kind)) } else { Answer::empty() }
}

/// Does what the answer says, and returns it with the message that `@original` names from now on.
fn answer(call: &mut Call<'_>, id: Snowflake, kind: i64, data: &Value) -> Result<(Response, Option<Snowflake>), Refusal> {
    let interaction = call.state.interactions.get(&id).ok_or(Refusal::UNKNOWN_INTERACTION)?;
    let (user, channel, source) = (interaction.user, interaction.channel, interaction.message);
    match kind {
        MESSAGE => {
            let content = call.content(channel, data, None)?;
            let message = post(call, id, content, ephemeral(data), false)?;
            Ok((Response::Message(message), Some(message)))
        }
        DEFERRED => {
            let message = post(call, id, Content::default(), ephemeral(data), true)?;
            Ok((Response::Deferred(message), Some(message)))
        }
        DEFERRED_UPDATE => Ok((Response::DeferredUpdate, source)),
        UPDATE => {
            let source = source.ok_or(Refusal::UNKNOWN_MESSAGE)?;
            let before = call.state.message(channel, source).ok_or(Refusal::UNKNOWN_MESSAGE)?.content.clone();
            let content = call.content(channel, data, Some(&before))?;
            call.state.edit(channel, source, content);
            Ok((Response::Updated, Some(source)))
        }
        CHOICES => {
            let choices = data.get("choices").and_then(Value::as_array).into_iter().flatten();
            let choice = |choice: &Value| Choice {
                name: choice.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                value: choice.get("value").cloned().unwrap_or_default(),
            };
            Ok((Response::Choices(choices.map(choice).collect()), None))
        }
        _ => {
            let word = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let components = data.get("components").and_then(Value::as_array).cloned().unwrap_or_default();
            let (custom_id, title) = (word("custom_id"), word("title"));
            call.state.modals.retain(|_, modal| modal.user != user);
            call.state.modals.insert(id, Modal { user, channel, message: source, custom_id: custom_id.clone(), title, components });
            Ok((Response::Modal(custom_id), None))
        }
    }
}

fn ephemeral(data: &Value) -> bool {
    data.get("flags").and_then(Value::as_u64).unwrap_or_default() & EPHEMERAL != 0
}

/// Posts an answer to an interaction, or a followup.
pub(super) fn post(call: &mut Call<'_>, id: Snowflake, content: Content, ephemeral: bool, loading: bool) -> Result<Snowflake, Refusal> {
    let interaction = call.state.interactions.get(&id).ok_or(Refusal::UNKNOWN_INTERACTION)?;
    let (user, channel) = (interaction.user, interaction.channel);
    let answered = interaction.original.or(interaction.message);
    let public = |of: &Snowflake| call.state.message(channel, *of).is_some_and(|message| message.only_for.is_none());
    let reference = answered.filter(public).map(|of| (channel, of));
    let first = interaction.response.is_none() && interaction.kind == Kind::Command;
    let kind = match (first, reference) {
        (true, _) => MessageKind::Command,
        (false, Some(_)) => MessageKind::Reply,
        (false, None) => MessageKind::Default,
    };
    let (kind_number, name, message) = (interaction.kind.number(), interaction.command.clone(), interaction.message);
    let origin = Some(Origin { interaction: id, kind: kind_number, user, name, message });
    let author = call.state.bot();
    let only_for = ephemeral.then_some(user);
    Ok(call.state.post(Message { channel, author, kind, content, origin, reference, only_for, loading, ..Message::default() }))
}

fn show(call: &Call<'_>, id: Snowflake, kind: i64) -> Value {
    let Some(interaction) = call.state.interactions.get(&id) else { return Value::Null };
    let message = interaction.original.and_then(|original| call.state.message(interaction.channel, original));
    let mut about =
        json!({ "id": id, "type": interaction.kind.number(), "channel_id": interaction.channel, "guild_id": call.state.guild.id });
    if let (Some(message), Value::Object(fields)) = (message, &mut about) {
        fields.insert("response_message_id".into(), json!(message.id));
        fields.insert("response_message_loading".into(), json!(message.loading));
        fields.insert("response_message_ephemeral".into(), json!(message.only_for.is_some()));
    }
    let mut shown = json!({ "interaction": about });
    if let (Some(message), Value::Object(fields)) = (message, &mut shown) {
        fields.insert("resource".into(), json!({ "type": kind, "message": render_message::message(call.state, message) }));
    }
    shown
}
