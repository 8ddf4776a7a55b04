//! What people do: type commands, press buttons, fill in modals, react and write.

use super::DiscordEmulator;
use super::acting::{begin_command, begin_component, begin_modal, miss};
use super::api::{EMOJI_PER_MESSAGE, emoji};
use super::guild::{Member, permission};
use super::interaction::Answered;
use super::mentions::{Allowed, Mentions};
use super::snowflake::Snowflake;
use super::state::{Content, Message, MessageKind, State};
use super::typing::{self, Typed};

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

pub(super) fn member(state: &State, user: Snowflake) -> Result<&Member, DiscordEmulatorError> {
    state.member(user).ok_or(DiscordEmulatorError::NoSuchUser(user))
}

/// A channel that a member sees.
pub(super) fn visible_channel(state: &State, user: Snowflake, channel: Snowflake) -> Result<(), DiscordEmulatorError> {
    member(state, user)?;
    let seen = may(state, user, channel, permission::VIEW_CHANNEL);
    if seen { Ok(()) } else { Err(DiscordEmulatorError::NoSuchChannel { user, channel }) }
}

/// A message that a member sees.
pub(super) fn visible_message(state: &State, user: Snowflake, channel: Snowflake, id: Snowflake) -> Result<&Message, DiscordEmulatorError> {
    visible_channel(state, user, channel)?;
    let message = state.message(channel, id).filter(|message| message.only_for.is_none_or(|only| only == user));
    message.ok_or(DiscordEmulatorError::NoSuchMessage { user, message: id })
}

/// Who has not passed the screening may neither write nor react.
fn may(state: &State, user: Snowflake, channel: Snowflake, needed: u64) -> bool {
    let pending = state.member(user).is_some_and(|member| member.pending);
    let granted = state.permissions_in(user, channel) & if pending { permission::TIMED_OUT } else { u64::MAX };
    granted & needed == needed
}

/// Names of the few emoji that scenarios use, so that they need not know the platform.
pub(super) fn known_emoji(name: &str) -> Result<String, DiscordEmulatorError> {
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
