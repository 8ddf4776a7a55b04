//! What people do: type commands, press buttons, fill in modals, react and write.

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::api::{EMOJI_PER_MESSAGE, emoji};
use super::guild::{Member, permission};
use super::interaction::{Answered, Interaction, Kind};
use super::mentions::{Allowed, Mentions};
use super::snowflake::Snowflake;
use super::state::{Content, Message, MessageKind, State};
use super::typing::{self, Typed};
use super::{DiscordEmulator, commands, modal, render, render_message};

/// Why a person could not do that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscordEmulatorError {
    /// There is no such member, or no longer.
    #[error("the emulated guild has no member `{0}`")]
    NoSuchUser(Snowflake),
    /// There is no such channel, or this person does not see it.
    #[error("`{user}` sees no channel `{channel}`")]
    NoSuchChannel {
        /// User id.
        user: Snowflake,
        /// Channel id.
        channel: Snowflake,
    },
    /// There is no such message, or this person does not see it.
    #[error("`{user}` sees no message `{message}`")]
    NoSuchMessage {
        /// User id.
        user: Snowflake,
        /// Message id.
        message: Snowflake,
    },
    /// The message has no such component, or it is disabled.
    #[error("the message has no enabled component `{0}`")]
    NoSuchComponent(String),
    /// The person has no such modal open.
    #[error("`{user}` has no modal `{custom_id}` open")]
    NoSuchModal {
        /// User id.
        user: Snowflake,
        /// Its custom id.
        custom_id: String,
    },
    /// An input of a modal does not take the value, or there is no such input.
    #[error("the input `{input}` of the modal: {why}")]
    BadInput {
        /// Its custom id.
        input: String,
        /// Why.
        why: String,
    },
    /// No such command is registered, or it is not complete.
    #[error("`{0}` is no command of the application")]
    NoSuchCommand(String),
    /// The command has no such option.
    #[error("`{command}` has no option `{option}`")]
    NoSuchOption {
        /// Full name of the command.
        command: String,
        /// What was typed.
        option: String,
    },
    /// A required option is not filled in.
    #[error("`{command}` needs the option `{option}`")]
    MissingOption {
        /// Full name of the command.
        command: String,
        /// Its name.
        option: String,
    },
    /// An option does not take the value.
    #[error("the option `{option}` does not take `{value}`: {why}")]
    BadOption {
        /// Its name.
        option: String,
        /// What was typed.
        value: String,
        /// Why.
        why: String,
    },
    /// There is no emoji of that name.
    #[error("there is no emoji `{0}`")]
    NoSuchEmoji(String),
    /// The person may not do that there.
    #[error("`{0}` may not do that here")]
    NotAllowed(Snowflake),
    /// The person has reacted so already.
    #[error("`{0}` has reacted so already")]
    AlreadyReacted(Snowflake),
    /// The person has not reacted so.
    #[error("`{0}` has not reacted so")]
    NoReaction(Snowflake),
    /// The bot has no session; people read "The application did not respond".
    #[error("the bot has no session (the application did not respond)")]
    NotConnected,
    /// The bot did not answer in time; people read "The application did not respond".
    #[error("the bot did not answer in time (the application did not respond)")]
    NoResponse,
}

impl DiscordEmulator {
    /// Types a slash command such as `/stanch quarantine pod:shop/cart` and returns once the bot has answered. A value goes on to the next
    /// `name:` of an option, and may stand in quotes.
    ///
    /// # Errors
    /// If the client would not let it through, or the bot does not answer.
    pub async fn type_command(&self, user: Snowflake, channel: Snowflake, line: &str) -> Result<Answered, DiscordEmulatorError> {
        let typed = self.discord.read(|state| typing::read(state, line))?;
        self.use_command(user, channel, &typed).await
    }

    /// The same with the options apart.
    ///
    /// # Errors
    /// As [`DiscordEmulator::type_command`].
    pub async fn use_command(&self, user: Snowflake, channel: Snowflake, typed: &Typed) -> Result<Answered, DiscordEmulatorError> {
        let begun = self.discord.change(|state| begin_command(state, user, channel, typed, None))?;
        self.answer(begun).await
    }

    /// Asks for suggestions while an option is being typed; the first answer is [`super::Response::Choices`].
    ///
    /// # Errors
    /// If the option has no autocompletion, or the bot does not answer.
    pub async fn autocomplete(
        &self,
        user: Snowflake,
        channel: Snowflake,
        typed: &Typed,
        focused: &str,
    ) -> Result<Answered, DiscordEmulatorError> {
        let begun = self.discord.change(|state| begin_command(state, user, channel, typed, Some(focused)))?;
        self.answer(begun).await
    }

    /// Presses a button and returns once the bot has answered.
    ///
    /// # Errors
    /// If the person sees no such button, or the bot does not answer.
    pub async fn press(
        &self,
        user: Snowflake,
        channel: Snowflake,
        message: Snowflake,
        custom_id: &str,
    ) -> Result<Answered, DiscordEmulatorError> {
        let begun = self.discord.change(|state| begin_component(state, (user, channel, message), custom_id, None))?;
        self.answer(begun).await
    }

    /// Chooses from a menu and returns once the bot has answered.
    ///
    /// # Errors
    /// If the person sees no such menu, it has no such values, or the bot does not answer.
    pub async fn choose(
        &self,
        user: Snowflake,
        channel: Snowflake,
        message: Snowflake,
        custom_id: &str,
        values: &[&str],
    ) -> Result<Answered, DiscordEmulatorError> {
        let begun = self.discord.change(|state| begin_component(state, (user, channel, message), custom_id, Some(values)))?;
        self.answer(begun).await
    }

    /// Submits a modal, with what was typed by the inputs' custom ids, and returns once the bot has answered.
    ///
    /// # Errors
    /// If the person has no such modal open, an input does not take its value, or the bot does not answer.
    pub async fn submit(&self, user: Snowflake, custom_id: &str, values: &[(&str, &str)]) -> Result<Answered, DiscordEmulatorError> {
        let begun = self.discord.change(|state| begin_modal(state, user, custom_id, values))?;
        self.answer(begun).await
    }

    /// Waits for the first answer to an interaction. Who waits in vain reads that the application did not respond.
    async fn answer(&self, id: Snowflake) -> Result<Answered, DiscordEmulatorError> {
        let mut changes = self.discord.watch();
        let patience = self.discord.read(|state| state.guild.timing.respond);
        let answered = |state: &State| {
            let interaction = state.interactions.get(&id)?;
            Some(Answered { interaction: id, token: interaction.token.clone(), response: interaction.response.clone()? })
        };
        let search = async {
            loop {
                if let Some(answered) = self.discord.read(answered) {
                    return Some(answered);
                }
                changes.changed().await.ok()?;
            }
        };
        let found = tokio::time::timeout(patience, search).await.ok().flatten();
        found.map_or_else(|| self.discord.change(|state| answered(state).ok_or_else(|| miss(state, id))), Ok)
    }

    /// Reacts to a message. Returns at once: the event travels by itself. An emoji is the character or its name, such as
    /// `white_check_mark`.
    ///
    /// # Errors
    /// If the person cannot react there or has done so already.
    #[expect(clippy::unused_async, reason = "what people do is async alike, so that scenarios need not know which of it waits")]
    pub async fn react(&self, user: Snowflake, channel: Snowflake, message: Snowflake, name: &str) -> Result<(), DiscordEmulatorError> {
        let emoji = known_emoji(name)?;
        self.discord.change(|state| {
            let reactions = &visible_message(state, user, channel, message)?.reactions;
            let known = reactions.iter().any(|reaction| reaction.emoji == emoji);
            let (full, may) = (reactions.len() >= EMOJI_PER_MESSAGE, may(state, user, channel, permission::ADD_REACTIONS));
            let ephemeral = visible_message(state, user, channel, message)?.only_for.is_some();
            if ephemeral || (!known && (full || !may)) {
                return Err(DiscordEmulatorError::NotAllowed(user));
            }
            let added = state.add_reaction(channel, message, &emoji, user);
            if added { Ok(()) } else { Err(DiscordEmulatorError::AlreadyReacted(user)) }
        })
    }

    /// Takes a reaction back.
    ///
    /// # Errors
    /// If there is none.
    #[expect(clippy::unused_async, reason = "what people do is async alike, so that scenarios need not know which of it waits")]
    pub async fn unreact(&self, user: Snowflake, channel: Snowflake, message: Snowflake, name: &str) -> Result<(), DiscordEmulatorError> {
        let emoji = known_emoji(name)?;
        self.discord.change(|state| {
            visible_message(state, user, channel, message)?;
            let removed = state.remove_reaction(channel, message, &emoji, user);
            if removed { Ok(()) } else { Err(DiscordEmulatorError::NoReaction(user)) }
        })
    }

    /// Writes a message in a channel or a thread and returns its id.
    ///
    /// # Errors
    /// If the person cannot write there.
    #[expect(clippy::unused_async, reason = "what people do is async alike, so that scenarios need not know which of it waits")]
    pub async fn post_as(&self, user: Snowflake, channel: Snowflake, text: &str) -> Result<Snowflake, DiscordEmulatorError> {
        self.discord.change(|state| {
            visible_channel(state, user, channel)?;
            let thread = state.channels.get(&channel).is_some_and(|place| place.thread.is_some());
            let needed = if thread { permission::SEND_MESSAGES_IN_THREADS } else { permission::SEND_MESSAGES };
            if !may(state, user, channel, needed) {
                return Err(DiscordEmulatorError::NotAllowed(user));
            }
            let mentions = Mentions::of(&state.guild, text, &Allowed::ALL, state.permissions_in(user, channel));
            let content = Content { text: text.into(), mentions, ..Content::default() };
            Ok(state.post(Message { channel, author: user, kind: MessageKind::Default, content, ..Message::default() }))
        })
    }
}

fn begin_command(
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
    if !may(state, user, channel, permission::USE_APPLICATION_COMMANDS | needed) {
        return Err(DiscordEmulatorError::NotAllowed(user));
    }
    let kind = if focused.is_some() { Kind::Autocomplete } else { Kind::Command };
    begin(state, kind, (user, channel, None), filled.data, Some(filled.name))
}

fn begin_component(
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

fn begin_modal(state: &mut State, user: Snowflake, custom_id: &str, values: &[(&str, &str)]) -> Result<Snowflake, DiscordEmulatorError> {
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

fn miss(state: &mut State, id: Snowflake) -> DiscordEmulatorError {
    if let Some(interaction) = state.interactions.get_mut(&id) {
        interaction.missed = true;
    }
    DiscordEmulatorError::NoResponse
}

fn member(state: &State, user: Snowflake) -> Result<&Member, DiscordEmulatorError> {
    state.member(user).ok_or(DiscordEmulatorError::NoSuchUser(user))
}

/// A channel that a member sees.
fn visible_channel(state: &State, user: Snowflake, channel: Snowflake) -> Result<(), DiscordEmulatorError> {
    member(state, user)?;
    let seen = may(state, user, channel, permission::VIEW_CHANNEL);
    if seen { Ok(()) } else { Err(DiscordEmulatorError::NoSuchChannel { user, channel }) }
}

/// A message that a member sees.
fn visible_message(state: &State, user: Snowflake, channel: Snowflake, id: Snowflake) -> Result<&Message, DiscordEmulatorError> {
    visible_channel(state, user, channel)?;
    let message = state.message(channel, id).filter(|message| message.only_for.is_none_or(|only| only == user));
    message.ok_or(DiscordEmulatorError::NoSuchMessage { user, message: id })
}

/// Who has not passed the screening may only look.
fn may(state: &State, user: Snowflake, channel: Snowflake, needed: u64) -> bool {
    let pending = state.member(user).is_some_and(|member| member.pending);
    let granted = state.permissions_in(user, channel) & if pending { permission::TIMED_OUT } else { u64::MAX };
    granted & needed == needed
}

/// Names of the few emoji that scenarios use, so that they need not know the platform.
fn known_emoji(name: &str) -> Result<String, DiscordEmulatorError> {
    let character = match name {
        "white_check_mark" => "✅",
        "x" => "❌",
        "octagonal_sign" => "🛑",
        "eyes" => "👀",
        "+1" | "thumbsup" => "👍",
        "-1" | "thumbsdown" => "👎",
        other => other,
    };
    emoji(character).ok_or_else(|| DiscordEmulatorError::NoSuchEmoji(name.to_owned()))
}
