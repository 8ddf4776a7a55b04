//! Interactions: what a person did, how long the bot has for an answer, and what it answered.

use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::snowflake::Snowflake;
use super::state::State;

/// What the bot answered to a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Interaction id.
    pub interaction: Snowflake,
    /// With this token the bot edits its answer and sends followups.
    pub token: String,
    /// The first answer.
    pub response: Response,
}

/// A first answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// A message.
    Message(Snowflake),
    /// The person reads that the bot is thinking, in a message that will be filled in.
    Deferred(Snowflake),
    /// The person sees nothing; the message whose component was used may change later.
    DeferredUpdate,
    /// The message whose component was used has changed.
    Updated,
    /// Suggestions for what the person types.
    Choices(Vec<Choice>),
    /// A modal opens, of this custom id.
    Modal(String),
}

/// A suggestion.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What the person sees.
    pub name: String,
    /// What the bot gets.
    pub value: Value,
}

/// An interaction that went out to the bot.
#[derive(Debug)]
pub(super) struct Interaction {
    pub(super) id: Snowflake,
    pub(super) token: String,
    pub(super) kind: Kind,
    pub(super) user: Snowflake,
    pub(super) channel: Snowflake,
    /// The message whose component was used.
    pub(super) message: Option<Snowflake>,
    /// Full name of the command.
    pub(super) command: Option<String>,
    pub(super) born: Instant,
    /// Nobody waits for the first answer any more.
    pub(super) missed: bool,
    pub(super) response: Option<Response>,
    /// The message that `@original` names.
    pub(super) original: Option<Snowflake>,
}

/// Discord's types of interactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Command,
    Component,
    Autocomplete,
    Modal,
}

/// A modal that somebody sees.
#[derive(Debug)]
pub(super) struct Modal {
    pub(super) user: Snowflake,
    pub(super) channel: Snowflake,
    /// The message whose button opened it.
    pub(super) message: Option<Snowflake>,
    pub(super) custom_id: String,
    pub(super) title: String,
    /// Rows with text inputs, as the bot sent them.
    pub(super) components: Vec<Value>,
}

impl Kind {
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Command => 2,
            Self::Component => 3,
            Self::Autocomplete => 4,
            Self::Modal => 5,
        }
    }
}

impl Interaction {
    /// The first answer may still come.
    pub(super) fn awaits(&self, patience: Duration) -> bool {
        !self.missed && self.response.is_none() && self.born.elapsed() <= patience
    }
}

impl State {
    /// The interaction of a token that still lives, for edits and followups.
    pub(super) fn by_token(&self, token: &str) -> Option<&Interaction> {
        let life = self.guild.timing.token;
        self.interactions.values().find(|interaction| interaction.token == token && interaction.born.elapsed() <= life)
    }
}
