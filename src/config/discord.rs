//! The section `[discord]`.

use std::collections::BTreeSet;

use super::section::Section;
use super::{Discord, Emoji, source};

/// Reads the section; the outer `None` is none at all.
pub fn discord(root: &mut Section) -> Option<Option<Discord>> {
    let mut section = root.section("discord")?;
    let bot_token = source(&mut section, "bot_token");
    let application_id = section.required("application_id", |text| snowflake(text, "application"));
    let guild_id = section.required("guild_id", |text| snowflake(text, "server"));
    let global_commands = section.flag("global_commands").unwrap_or(false);
    let mut emoji = Emoji { yes: "✅".into(), no: "❌".into(), halt: "🛑".into() };
    if let Some(mut names) = section.section("emoji") {
        for (key, name) in [("yes", &mut emoji.yes), ("no", &mut emoji.no), ("halt", &mut emoji.halt)] {
            names.checked(key, reaction).into_iter().for_each(|chosen| *name = chosen);
        }
        if BTreeSet::from([&emoji.yes, &emoji.no, &emoji.halt]).len() < 3 {
            names.problem("`yes`, `no` and `halt` must differ");
        }
        section.adopt(names);
    }
    root.adopt(section);
    let complete = || Some(Discord { bot_token: bot_token?, application_id: application_id?, guild_id: guild_id?, global_commands, emoji });
    Some(complete())
}

/// An id of Discord: a number of 64 bits.
pub fn snowflake(text: &str, what: &str) -> Result<String, String> {
    let is_id = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok();
    match is_id {
        true => Ok(text.to_owned()),
        false => Err(format!("must be the id of a Discord {what} in quotation marks, such as \"1181250000004194305\", not its name")),
    }
}

/// The character itself, or `NAME:ID` for an emoji of the server.
fn reaction(text: &str) -> Result<String, String> {
    let named = |name: &str| (2..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_reaction = match text.split_once(':') {
        Some((name, id)) => named(name) && snowflake(id, "emoji").is_ok(),
        None => (1..=32).contains(&text.len()) && !text.chars().any(|character| character.is_ascii() || character.is_whitespace()),
    };
    match is_reaction {
        true => Ok(text.to_owned()),
        false => Err("must be an emoji, such as `✅`, or NAME:ID for one of the server".into()),
    }
}
