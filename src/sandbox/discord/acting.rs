//! Interactions as they begin: what a person did, checked as Discord's client checks it, and the event that tells the bot.

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::guild::permission;
use super::interaction::{Interaction, Kind};
use super::people::{DiscordEmulatorError, member, visible_channel, visible_message};
use super::snowflake::Snowflake;
use super::state::State;
use super::typing::{self, Typed};
use super::{commands, modal, render, render_message};

pub(super) fn begin_command(
    state: &mut State,
    user: Snowflake,
    channel: Snowflake,
    typed: &Typed,
    focused: Option<&str>,
) -> Result<Snowflake, DiscordEmulatorError> {
    visible_channel(state, user, channel)?;
    let filled = typing::fill(state, typed, focused)?;
    let known = state.commands.values().filter(|command| Some(json!(command.id)) == filled.data.get("id").cloned());
    let needed = known.into_iter().next().and_then(|command| commands::default_permissions(&command.definition)).unwrap_or_default();
    // Nothing that Discord documents keeps somebody from it who has not passed the screening: the bot has to look.
    let needed = permission::USE_APPLICATION_COMMANDS | needed;
    if state.permissions_in(user, channel) & needed != needed {
        return Err(DiscordEmulatorError::NotAllowed(user));
    }
    let kind = if focused.is_some() { Kind::Autocomplete } else { Kind::Command };
    begin(state, kind, (user, channel, None), filled.data, Some(filled.name))
}

pub(super) fn begin_component(
    state: &mut State,
    (user, channel, id): (Snowflake, Snowflake, Snowflake),
    custom_id: &str,
    values: Option<&[&str]>,
) -> Result<Snowflake, DiscordEmulatorError> {
    let message = visible_message(state, user, channel, id)?;
    let rows = message.content.components.iter().filter_map(|row| row.get("components")?.as_array()).flatten();
    let is_it = |component: &&Value| {
        let kind = component.get("type").and_then(Value::as_u64);
        let enabled = component.get("disabled").and_then(Value::as_bool) != Some(true);
        component.get("custom_id").and_then(Value::as_str) == Some(custom_id) && enabled && (kind == Some(3)) == values.is_some()
    };
    let no_such = || DiscordEmulatorError::NoSuchComponent(custom_id.to_owned());
    let component = rows.into_iter().find(is_it).ok_or_else(no_such)?;
    let mut data = json!({ "custom_id": custom_id, "component_type": component.get("type"), "id": component.get("id") });
    if let (Some(values), Value::Object(fields)) = (values, &mut data) {
        let offered = |value: &&&str| {
            let mut options = component.get("options").and_then(Value::as_array).into_iter().flatten();
            options.any(|option| option.get("value").and_then(Value::as_str) == Some(**value))
        };
        let number = |name: &str| component.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok()).unwrap_or(1);
        if values.iter().filter(offered).count() != values.len() || !(number("min_values")..=number("max_values")).contains(&values.len()) {
            return Err(no_such());
        }
        fields.insert("values".into(), json!(values));
    }
    begin(state, Kind::Component, (user, channel, Some(id)), data, None)
}

pub(super) fn begin_modal(
    state: &mut State,
    user: Snowflake,
    custom_id: &str,
    values: &[(&str, &str)],
) -> Result<Snowflake, DiscordEmulatorError> {
    let found = state.modals.iter().find(|(_, modal)| modal.user == user && modal.custom_id == custom_id);
    let no_such = || DiscordEmulatorError::NoSuchModal { user, custom_id: custom_id.to_owned() };
    let (id, modal) = found.ok_or_else(no_such)?;
    let (id, channel, message) = (*id, modal.channel, modal.message);
    let name = |input: &Value| input.get("custom_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut rows = Vec::new();
    for input in modal::inputs(&modal.components) {
        let typed = values.iter().find(|(input_id, _)| *input_id == name(input)).map(|(_, value)| *value);
        let preset = input.get("value").and_then(Value::as_str).unwrap_or_default();
        let value = typed.unwrap_or(preset);
        if let Some(why) = modal::refuses(input, value) {
            return Err(DiscordEmulatorError::BadInput { input: name(input), why });
        }
        rows.push(json!({ "type": 1, "components": [{ "type": 4, "custom_id": name(input), "value": value }] }));
    }
    let unknown = values.iter().find(|(input_id, _)| !modal::inputs(&modal.components).any(|input| name(input) == *input_id));
    if let Some((input, _)) = unknown {
        return Err(DiscordEmulatorError::BadInput { input: (*input).to_owned(), why: "there is no such input".into() });
    }
    let begun = begin(state, Kind::Modal, (user, channel, message), json!({ "custom_id": custom_id, "components": rows }), None)?;
    state.modals.remove(&id);
    Ok(begun)
}

/// Sends an interaction to the bot.
fn begin(
    state: &mut State,
    kind: Kind,
    (user, channel, message): (Snowflake, Snowflake, Option<Snowflake>),
    data: Value,
    command: Option<String>,
) -> Result<Snowflake, DiscordEmulatorError> {
    if state.gateway.sessions() == 0 {
        return Err(DiscordEmulatorError::NotConnected);
    }
    let (id, token) = (state.ids.next(), format!("aW50ZXJhY3Rpb246{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
    let mut event = about(state, user, channel)?;
    event.insert("id".into(), json!(id));
    event.insert("type".into(), json!(kind.number()));
    event.insert("token".into(), json!(token));
    event.insert("data".into(), data);
    if let Some(message) = message.and_then(|message| state.message(channel, message)) {
        event.insert("message".into(), render_message::message(state, message));
    }
    let born = Instant::now();
    let interaction = Interaction { id, token, kind, user, channel, message, command, born, missed: false, response: None, original: None };
    state.interactions.insert(id, interaction);
    state.tell_interaction(Value::Object(event));
    Ok(id)
}

/// What every interaction says of who did it where.
fn about(state: &State, user: Snowflake, channel: Snowflake) -> Result<Map<String, Value>, DiscordEmulatorError> {
    let person = member(state, user)?;
    let place = state.channels.get(&channel).ok_or(DiscordEmulatorError::NoSuchChannel { user, channel })?;
    let permissions = state.permissions_in(user, channel).to_string();
    let mut shown_member = render::member(state, person);
    if let Value::Object(fields) = &mut shown_member {
        fields.insert("permissions".into(), json!(permissions));
    }
    let mut shown_place = render::channel(state, place);
    if let Value::Object(fields) = &mut shown_place {
        fields.insert("permissions".into(), json!(permissions));
    }
    let whole = json!({
        "version": 1,
        "application_id": state.guild.application.id,
        "guild_id": state.guild.id,
        "guild": { "id": state.guild.id, "locale": "en-US", "features": [] },
        "channel_id": channel,
        "channel": shown_place,
        "member": shown_member,
        "app_permissions": state.permissions_in(state.bot(), channel).to_string(),
        "locale": "en-US",
        "guild_locale": "en-US",
        "entitlements": [],
        "entitlement_sku_ids": [],
        "authorizing_integration_owners": { "0": state.guild.id },
        "context": 0,
        "attachment_size_limit": render::ATTACHMENT_BYTES,
    });
    Ok(whole.as_object().cloned().unwrap_or_default())
}

pub(super) fn miss(state: &mut State, id: Snowflake) -> DiscordEmulatorError {
    if let Some(interaction) = state.interactions.get_mut(&id) {
        interaction.missed = true;
    }
    DiscordEmulatorError::NoResponse
}
