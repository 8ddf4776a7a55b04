//! Why the connection to Discord could not be made. Nothing here ever holds a token.

use crate::ports::ChatError;

/// Why [`Discord::connect`](super::Discord::connect) failed. `Display` says what is wrong, [`DiscordError::hint`] what helps.
#[derive(Debug, thiserror::Error)]
pub enum DiscordError {
    /// The address of the API or of the gateway is no URL, or would carry the token in plain text.
    #[error("`{0}` is no address that tokens may be sent to")]
    Address(String),
    /// No emoji, or the same one twice.
    #[error("`{0}` cannot be a reaction that votes")]
    Emoji(String),
    /// No id of Discord.
    #[error("`{0}` is no id of Discord")]
    Id(String),
    /// The connection cannot be set up on this machine.
    #[error("the connection cannot be set up: {0}")]
    SetUp(String),
    /// Discord does not accept the token.
    #[error("Discord does not accept the bot token")]
    Token,
    /// The token belongs to another application.
    #[error("the bot token belongs to the application `{found}`, not to `{expected}`")]
    Application {
        /// As configured.
        expected: String,
        /// As Discord says.
        found: String,
    },
    /// The bot is not in the server.
    #[error("the bot is not in the server `{0}`")]
    Guild(String),
    /// `/stanch` cannot be registered.
    #[error("`/stanch` cannot be registered")]
    Commands(#[source] ChatError),
    /// The gateway refuses the bot for good.
    #[error("Discord's gateway refuses the bot (close code {0})")]
    Gateway(u16),
    /// Discord did not answer, or not with sense.
    #[error("Discord cannot be reached")]
    Unreachable(#[source] ChatError),
}

impl DiscordError {
    /// What an operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Address(_) => "leave the address out for Discord itself; without https it must be on this machine",
            Self::Emoji(_) => "give three different emoji: the character itself, or NAME:ID for one of the server",
            Self::Id(_) => "switch on the developer mode in Discord's settings, then \"Copy ID\" in the context menu",
            Self::SetUp(_) => "install the operating system's package of certificate authorities (ca-certificates)",
            Self::Token => "take the token from \"Bot\" of the application in Discord's developer portal",
            Self::Application { .. } => "correct `application_id`, or take the token of that application",
            Self::Guild(_) => "invite the bot to the server as the README says, or correct `guild_id`",
            Self::Commands(_) => "invite the bot again with the scopes `bot` and `applications.commands`",
            Self::Gateway(_) => "look at the application in Discord's developer portal; Stanch needs no privileged intent",
            Self::Unreachable(_) => "check the network, the proxy rules and https://discordstatus.com",
        }
    }
}
