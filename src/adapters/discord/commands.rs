//! The slash command: `/stanch` with a subcommand per command of the catalogue.

use serde_json::{Map, Value, json};
use serenity::all::{CommandOptionType, CreateCommand, CreateCommandOption};
use stanch_commands::CATALOGUE;
use stanch_commands::definition::{Argument, Definition, Phase};

use crate::adapters::fields::{Field, fields};

/// Name of the slash command.
pub(super) const NAME: &str = "stanch";

/// Characters of a description, as Discord limits them.
const DESCRIPTION: usize = 100;

/// Characters of an option's description. Discord takes 100, but the whole command may have 8,000, and options recur in most of the commands.
const SHORT: usize = 48;

/// Characters of a typed value: the parser takes no line that is longer.
const VALUE: u16 = 2_000;

// === the definition ===

/// The group in which a command stands. Discord takes 25 subcommands, which is about as many as there are: what destroys and what restores
/// stands one level deeper, so that there is room for more.
fn group(phase: Phase) -> Option<(&'static str, &'static str)> {
    match phase {
        Phase::Look | Phase::Preserve | Phase::Contain => None,
        Phase::Eradicate => Some(("eradicate", "Destroy what was compromised")),
        Phase::Recover => Some(("recover", "Restore what was contained")),
    }
}

/// The words by which people find a command behind the slash: `stanch recover release`. An unknown one has no group.
#[must_use]
pub fn path(command: &str) -> Vec<&str> {
    let group = stanch_commands::find(command).and_then(|definition| group(definition.phase)).map(|(name, _)| name);
    [Some(NAME), group, Some(command)].into_iter().flatten().collect()
}

/// `/stanch`, as it is registered.
pub fn definition() -> CreateCommand {
    let flat = CATALOGUE.iter().filter(|definition| group(definition.phase).is_none()).map(|definition| subcommand(definition));
    let groups = [Phase::Eradicate, Phase::Recover].into_iter().filter_map(|phase| {
        let (name, description) = group(phase)?;
        let inner = CATALOGUE.iter().filter(|definition| definition.phase == phase).map(|definition| subcommand(definition));
        Some(
            inner
                .fold(CreateCommandOption::new(CommandOptionType::SubCommandGroup, name, description), CreateCommandOption::add_sub_option),
        )
    });
    let command = CreateCommand::new(NAME).description("Contain a security incident");
    flat.chain(groups).fold(command, CreateCommand::add_option)
}

fn subcommand(definition: &Definition) -> CreateCommandOption {
    let option = CreateCommandOption::new(CommandOptionType::SubCommand, definition.name, short(definition.summary, DESCRIPTION));
    let mut options: Vec<(bool, CreateCommandOption)> = Vec::new();
    for argument in definition.arguments {
        let (fields, required) = fields(*argument);
        options.extend(fields.iter().map(|field| {
            let option = CreateCommandOption::new(kind(*field), field.name(), about(*argument, *field)).required(required);
            let option = if field.is_switch() { option } else { option.max_length(VALUE) };
            (required, if field.live().is_some() { option.set_autocomplete(true) } else { option })
        }));
    }
    // Discord wants the required ones first.
    options.sort_by_key(|(required, _)| !required);
    options.into_iter().map(|(_, option)| option).fold(option, CreateCommandOption::add_sub_option)
}

fn kind(field: Field) -> CommandOptionType {
    if field.is_switch() { CommandOptionType::Boolean } else { CommandOptionType::String }
}

/// The first clause of the field's help.
fn about(argument: Argument, field: Field) -> String {
    let help = field.help(argument);
    let clause = help.split([';', ':']).next().unwrap_or(help);
    short(clause, SHORT)
}

/// Cut at the end of a word, visibly.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    for word in text.split_inclusive(' ') {
        if kept.chars().count() + word.trim_end().chars().count() >= most {
            break;
        }
        kept.push_str(word);
    }
    format!("{}…", kept.trim_end())
}

/// What matters of a command: Discord shows more of a registered one than was sent, and leaves out what says the default.
pub(super) fn essence(command: &Value) -> Value {
    let mut kept = Map::new();
    for field in ["name", "description", "type", "required", "max_length", "autocomplete"] {
        let value = command.get(field).filter(|value| !value.is_null() && **value != json!(false));
        kept.extend(value.map(|value| (field.to_owned(), value.clone())));
    }
    let options: Vec<Value> = command.get("options").and_then(Value::as_array).into_iter().flatten().map(essence).collect();
    if !options.is_empty() {
        kept.insert("options".into(), Value::Array(options));
    }
    // A slash command is of type 1, which may be left out.
    if command.get("application_id").is_some() || command.get("type").is_none() {
        kept.insert("type".into(), json!(1));
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code fails by panicking")]

    use super::*;

    fn options(of: &Value) -> Vec<&Value> {
        of.get("options").and_then(Value::as_array).into_iter().flatten().collect()
    }

    fn characters(of: &Value) -> usize {
        let own =
            ["name", "description"].iter().filter_map(|field| of.get(field)?.as_str()).map(|text| text.chars().count()).sum::<usize>();
        own + options(of).into_iter().map(characters).sum::<usize>()
    }

    /// Discord's limits, with room for another command or two.
    #[test]
    fn discord_takes_the_definition() {
        let command = serde_json::to_value(definition()).unwrap();
        assert!(characters(&command) <= 7_500, "{}", characters(&command));
        let mut open = vec![&command];
        while let Some(of) = open.pop() {
            let described = of["description"].as_str().unwrap().chars().count();
            assert!((1..=100).contains(&described) && options(of).len() <= 25, "{of}");
            open.extend(options(of));
        }
        let every: Vec<&str> = options(&command)
            .into_iter()
            .flat_map(|option| if option["type"] == json!(2) { options(option) } else { vec![option] })
            .map(|option| option["name"].as_str().unwrap())
            .collect();
        assert_eq!(every.len(), CATALOGUE.len());
        assert!(CATALOGUE.iter().all(|definition| every.contains(&definition.name)));
    }

    #[test]
    fn what_discord_adds_and_leaves_out_makes_no_difference() {
        let sent = json!({ "name": "stanch", "description": "d", "options": [
            { "type": 1, "name": "list", "description": "l", "required": false, "autocomplete": false, "options": [] },
        ]});
        let shown = json!({ "id": "1", "application_id": "2", "type": 1, "version": "3", "nsfw": false, "name": "stanch", "description": "d",
            "name_localizations": null, "options": [{ "type": 1, "name": "list", "description": "l" }] });
        assert_eq!(essence(&sent), essence(&shown));
        assert_ne!(essence(&sent), essence(&json!({ "name": "stanch", "description": "d" })));
    }
}
