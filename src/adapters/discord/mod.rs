//! Discord, by the gateway and the REST API.

mod api;
mod error;
mod settings;

pub use self::error::DiscordError;
pub use self::settings::{CommandScope, DiscordSettings, Emoji, is_emoji, is_snowflake};
