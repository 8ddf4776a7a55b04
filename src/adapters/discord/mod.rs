//! Discord, by the gateway and the REST API.

mod api;
mod commands;
mod error;
mod markup;
mod render;
mod settings;

pub use self::commands::{Filled, definition, line};
pub use self::error::DiscordError;
pub use self::render::{Rendered, rendered};
pub use self::settings::{CommandScope, DiscordSettings, Emoji, is_emoji, is_snowflake};
