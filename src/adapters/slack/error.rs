//! Why the connection to Slack could not be made. Nothing here ever holds a token.

use std::io;

use crate::ports::ChatError;

/// Why [`Slack::connect`](super::Slack::connect) failed. `Display` says what is wrong, [`SlackError::hint`] what helps.
#[derive(Debug, thiserror::Error)]
pub enum SlackError {
    /// The address of the Web API is no URL, or would carry tokens in plain text.
    #[error("`{0}` is no address that tokens may be sent to")]
    Address(String),
    /// Not a name of an emoji, or the same one twice.
    #[error("`{0}` cannot be the name of a reaction that votes")]
    Emoji(String),
    /// The machine's certificates could not be read.
    #[error("the certificates of this machine cannot be read")]
    Certificates(#[source] io::Error),
    /// Slack does not accept a token.
    #[error("Slack does not accept the {token} token: {code}")]
    Token {
        /// `bot` or `app`.
        token: &'static str,
        /// Slack's code.
        code: String,
    },
    /// The token is of another kind, such as a user's.
    #[error("the bot token is not the token of a bot in one workspace")]
    NotABot,
    /// A token lacks a scope.
    #[error("the {token} token lacks the scope `{scope}`")]
    Scope {
        /// `bot` or `app`.
        token: &'static str,
        /// The scope.
        scope: String,
    },
    /// The tokens belong to another workspace.
    #[error("the bot token belongs to the workspace `{found}`, not to `{expected}`")]
    Team {
        /// As configured.
        expected: String,
        /// As Slack says.
        found: String,
    },
    /// Slack did not answer, or not with sense.
    #[error("Slack cannot be reached")]
    Unreachable(#[source] ChatError),
}

impl SlackError {
    /// What an operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Address(_) => "leave the address out for Slack itself; without https it must be on this machine",
            Self::Emoji(_) => "give three different names without colons and without skin tones, such as white_check_mark",
            Self::Certificates(_) => "install the operating system's package of certificate authorities (ca-certificates)",
            Self::Token { token: "app", .. } => {
                "take the app-level token (xapp-…) from \"Basic Information\" of the Slack app; it needs connections:write"
            }
            Self::Token { .. } | Self::NotABot => "take the bot token (xoxb-…) from \"OAuth & Permissions\" of the installed Slack app",
            Self::Scope { token: "app", .. } => "make an app-level token with connections:write under \"Basic Information\"",
            Self::Scope { .. } => "apply deploy/slack/manifest.json to the Slack app and install it again",
            Self::Team { .. } => "use the tokens of the app as installed in that workspace, or correct the team id",
            Self::Unreachable(_) => "check the network, the proxy rules and https://slack-status.com",
        }
    }
}
