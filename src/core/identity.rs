//! Who is who, and where: people, their accounts, channels and messages. One human is one vote, from whatever account.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A human, as `config/policy.toml` names them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonId(String);

impl PersonId {
    /// A person of that name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A chat platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// Slack.
    Slack,
    /// Discord.
    Discord,
}

/// An account on a chat platform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Account {
    /// Platform.
    pub platform: Platform,
    /// The platform's user id, such as `U012ABCDEF`.
    pub id: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.platform {
            Platform::Slack => write!(f, "slack:{}", self.id),
            Platform::Discord => write!(f, "discord:{}", self.id),
        }
    }
}

/// A channel of a chat platform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelRef {
    /// Platform.
    pub platform: Platform,
    /// The platform's channel id, such as `C012ABCDEF`.
    pub id: String,
}

/// A message in a channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageRef {
    /// Channel.
    pub channel: ChannelRef,
    /// The platform's id of the message in its channel; Slack's `ts`.
    pub id: String,
}

/// How a vote was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ballot {
    /// From which account.
    pub account: Account,
    /// By which means.
    pub means: Means,
}

/// Means of voting. A reaction can be taken back by removing it; a button cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// A reaction to the plan message.
    Reaction,
    /// A button of the plan message.
    Button,
}
