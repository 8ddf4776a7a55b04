//! Registered commands: the shape of a definition, Discord's rules for it, and how it is shown.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::refusal::{Problem, Refusal};
use super::shape::{Shape, list, optional, required};
use super::snowflake::Snowflake;

/// Commands of one scope.
pub(super) const MOST_COMMANDS: usize = 100;

/// Commands that may be created on one day.
pub(super) const CREATES_PER_DAY: usize = 200;

/// Characters of names, descriptions and values in a whole command.
const CHARACTERS: usize = 8000;

pub(super) const SUB_COMMAND: u64 = 1;
pub(super) const SUB_COMMAND_GROUP: u64 = 2;
pub(super) const STRING: u64 = 3;
pub(super) const INTEGER: u64 = 4;
pub(super) const BOOLEAN: u64 = 5;
pub(super) const USER: u64 = 6;
pub(super) const CHANNEL: u64 = 7;
pub(super) const ROLE: u64 = 8;
pub(super) const NUMBER: u64 = 10;

/// A registered command.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Command {
    pub(super) id: Snowflake,
    /// `None` for a global one.
    pub(super) guild: Option<Snowflake>,
    pub(super) version: Snowflake,
    /// Tidied: what was not said is not there.
    pub(super) definition: Map<String, Value>,
}

const DESCRIPTION: Shape = Shape::Text { least: 1, most: 100 };
const NAME: Shape = Shape::Text { least: 1, most: 32 };

/// A new command. Only slash commands are emulated.
pub(super) const CREATE: Shape = Shape::Object(&[
    required("name", NAME),
    required("description", DESCRIPTION),
    optional("type", Shape::Choice(&[1])),
    optional("options", list(25, &Shape::By(option))),
    optional("name_localizations", Shape::Localised { most: 32 }),
    optional("description_localizations", Shape::Localised { most: 100 }),
    optional("default_member_permissions", Shape::Scalar { most: 20 }),
    optional("dm_permission", Shape::Flag),
    optional("default_permission", Shape::Flag),
    optional("contexts", list(3, &Shape::Choice(&[0, 1, 2]))),
    optional("integration_types", list(2, &Shape::Choice(&[0]))),
    optional("nsfw", Shape::Flag),
    // Of a bulk overwrite: which existing command is meant.
    optional("id", Shape::Id),
]);

/// An edit of a command.
pub(super) const EDIT: Shape = Shape::Object(&[
    optional("name", NAME),
    optional("description", DESCRIPTION),
    optional("options", list(25, &Shape::By(option))),
    optional("name_localizations", Shape::Localised { most: 32 }),
    optional("description_localizations", Shape::Localised { most: 100 }),
    optional("default_member_permissions", Shape::Scalar { most: 20 }),
    optional("dm_permission", Shape::Flag),
    optional("default_permission", Shape::Flag),
    optional("contexts", list(3, &Shape::Choice(&[0, 1, 2]))),
    optional("integration_types", list(2, &Shape::Choice(&[0]))),
    optional("nsfw", Shape::Flag),
]);

/// The whole set of commands.
pub(super) const OVERWRITE: Shape = list(MOST_COMMANDS, &CREATE);

/// Every kind of option; what belongs to some of them only is checked afterwards.
const OPTION: Shape = Shape::Object(&[
    required("type", Shape::Choice(&[3, 4, 5, 6, 7, 8, 9, 10])),
    required("name", NAME),
    required("description", DESCRIPTION),
    optional("name_localizations", Shape::Localised { most: 32 }),
    optional("description_localizations", Shape::Localised { most: 100 }),
    optional("required", Shape::Flag),
    optional("choices", list(25, &CHOICE)),
    optional("autocomplete", Shape::Flag),
    optional("min_length", Shape::Integer { least: 0, most: 6000 }),
    optional("max_length", Shape::Integer { least: 1, most: 6000 }),
    optional("min_value", Shape::Number),
    optional("max_value", Shape::Number),
    optional("channel_types", list(20, &Shape::Integer { least: 0, most: 16 })),
    optional("options", list(0, &Shape::Flag)),
]);

const NESTED: Shape = Shape::Object(&[
    required("type", Shape::Choice(&[1, 2])),
    required("name", NAME),
    required("description", DESCRIPTION),
    optional("name_localizations", Shape::Localised { most: 32 }),
    optional("description_localizations", Shape::Localised { most: 100 }),
    optional("options", list(25, &Shape::By(option))),
    // Clients send these of every option.
    optional("required", Shape::Flag),
    optional("autocomplete", Shape::Flag),
    optional("choices", list(0, &CHOICE)),
    optional("channel_types", list(0, &Shape::Flag)),
]);

pub(super) const CHOICE: Shape = Shape::Object(&[
    required("name", Shape::Text { least: 1, most: 100 }),
    required("value", Shape::Scalar { most: 100 }),
    optional("name_localizations", Shape::Localised { most: 100 }),
]);

#[expect(clippy::unnecessary_wraps, reason = "the signature of `Shape::By`")]
fn option(value: &Value) -> Option<&'static Shape> {
    let nested = matches!(value.get("type").and_then(Value::as_u64), Some(SUB_COMMAND | SUB_COMMAND_GROUP));
    Some(if nested { &NESTED } else { &OPTION })
}

/// Options of a command or an option.
pub(super) fn options(of: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    of.get("options").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

pub(super) fn word<'v>(of: &'v Map<String, Value>, name: &str) -> &'v str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(of: &Map<String, Value>, name: &str) -> u64 {
    of.get(name).and_then(Value::as_u64).unwrap_or_default()
}

pub(super) fn flag(of: &Map<String, Value>, name: &str) -> bool {
    of.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// Checks what the shape does not say, at `path` in the body.
pub(super) fn check(definition: &Map<String, Value>, path: &[String]) -> Result<(), Refusal> {
    let mut checker = Checker { problems: Vec::new(), characters: 0 };
    checker.check(definition, &mut path.to_vec(), 0);
    if checker.characters > CHARACTERS {
        let message = format!("Command exceeds maximum size ({CHARACTERS})");
        checker.problems.push(Problem { path: path.to_vec(), code: "APPLICATION_COMMAND_TOO_LARGE", message });
    }
    if checker.problems.is_empty() { Ok(()) } else { Err(Refusal::Invalid(checker.problems)) }
}

struct Checker {
    problems: Vec<Problem>,
    characters: usize,
}

impl Checker {
    fn wrong(&mut self, path: &[String], code: &'static str, message: &str) {
        self.problems.push(Problem { path: path.to_vec(), code, message: message.into() });
    }

    /// `depth` is 0 for the command, 1 for what is directly in it.
    fn check(&mut self, of: &Map<String, Value>, path: &mut Vec<String>, depth: usize) {
        let name = word(of, "name");
        self.characters += name.chars().count() + word(of, "description").chars().count();
        let fits = |c: char| (c.is_alphanumeric() && !c.is_uppercase()) || ['-', '_', '\''].contains(&c);
        if !name.chars().all(fits) {
            path.push("name".into());
            self.wrong(path, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid");
            path.pop();
        }
        self.check_choices(of, path);
        let (mut names, mut optional_seen, mut kinds) = (BTreeSet::new(), false, BTreeSet::new());
        path.push("options".into());
        for (index, option) in options(of).enumerate() {
            path.push(index.to_string());
            let kind = number(option, "type");
            kinds.insert(kind <= SUB_COMMAND_GROUP);
            let placed = match kind {
                SUB_COMMAND_GROUP => depth == 0,
                SUB_COMMAND => depth == 0 || number(of, "type") == SUB_COMMAND_GROUP,
                _ => depth == 0 || number(of, "type") == SUB_COMMAND,
            };
            if !placed {
                self.wrong(
                    path,
                    "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
                    "Sub-command and sub-command group option types are mutually exclusive to all other types",
                );
            }
            if !names.insert(word(option, "name")) {
                self.wrong(path, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option name already exists");
            }
            let required = flag(option, "required");
            if required && optional_seen {
                self.wrong(
                    path,
                    "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                    "Required options must be placed before non-required options",
                );
            }
            optional_seen |= !required;
            self.check(option, path, depth + 1);
            path.pop();
        }
        if kinds.len() > 1 {
            self.wrong(
                path,
                "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
                "Sub-command and sub-command group option types are mutually exclusive to all other types",
            );
        }
        path.pop();
    }

    fn check_choices(&mut self, of: &Map<String, Value>, path: &mut Vec<String>) {
        let Some(choices) = of.get("choices").and_then(Value::as_array).filter(|choices| !choices.is_empty()) else { return };
        path.push("choices".into());
        if flag(of, "autocomplete") {
            self.wrong(path, "APPLICATION_COMMAND_AUTOCOMPLETE_CHOICES_INVALID", "Autocomplete options cannot have set choices");
        }
        let kind = number(of, "type");
        let fits = |value: &Value| match kind {
            STRING => value.is_string(),
            INTEGER => value.is_i64(),
            NUMBER => value.is_number(),
            _ => false,
        };
        let mut names = BTreeSet::new();
        for (index, choice) in choices.iter().filter_map(Value::as_object).enumerate() {
            self.characters +=
                word(choice, "name").chars().count() + choice.get("value").and_then(Value::as_str).map_or(0, |value| value.chars().count());
            path.push(index.to_string());
            if !names.insert(word(choice, "name")) {
                self.wrong(path, "APPLICATION_COMMAND_OPTIONS_CHOICE_NAME_ALREADY_EXISTS", "Option choice name already exists");
            }
            if !choice.get("value").is_some_and(fits) {
                self.wrong(path, "APPLICATION_COMMAND_OPTIONS_CHOICE_VALUE_TYPE", "Option choice value is of another type");
            }
            path.pop();
        }
        path.pop();
    }
}

/// A definition as Discord stores it: without what is empty or says the default.
pub(super) fn tidy(given: &Map<String, Value>) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, value) in given {
        let default = match name.as_str() {
            "id" | "name_localizations" | "description_localizations" => true,
            "required" | "autocomplete" => *value == json!(false),
            "nsfw" => *value == json!(false),
            "options" | "choices" | "channel_types" => value.as_array().is_some_and(Vec::is_empty),
            _ => false,
        };
        if default || value.is_null() {
            continue;
        }
        let value = match value.as_array() {
            Some(elements) if ["options", "choices"].contains(&name.as_str()) => elements
                .iter()
                .map(|element| element.as_object().map_or_else(|| element.clone(), |inner| Value::Object(tidy(inner))))
                .collect(),
            Some(_) | None => value.clone(),
        };
        kept.insert(name.clone(), value);
    }
    kept
}

/// A command as Discord shows it.
pub(super) fn show(command: &Command, application: Snowflake) -> Value {
    let of = &command.definition;
    let mut shown = of.clone();
    let permissions = of.get("default_member_permissions").map(|bits| bits.as_str().map_or_else(|| bits.to_string(), ToOwned::to_owned));
    shown.insert("id".into(), json!(command.id));
    shown.insert("application_id".into(), json!(application));
    shown.insert("version".into(), json!(command.version));
    shown.insert("default_member_permissions".into(), json!(permissions));
    shown.insert("type".into(), json!(1));
    shown.insert("nsfw".into(), json!(flag(of, "nsfw")));
    shown.insert("name_localizations".into(), Value::Null);
    shown.insert("description_localizations".into(), Value::Null);
    shown.entry("integration_types").or_insert(json!([0]));
    shown.remove("default_permission");
    match command.guild {
        Some(guild) => drop(shown.insert("guild_id".into(), json!(guild))),
        None => {
            shown.entry("contexts").or_insert(Value::Null);
            shown.entry("dm_permission").or_insert(json!(true));
        }
    }
    Value::Object(shown)
}

/// Permissions that a member needs for the command by default.
pub(super) fn default_permissions(definition: &Map<String, Value>) -> Option<u64> {
    let bits = definition.get("default_member_permissions")?;
    bits.as_u64().or_else(|| bits.as_str()?.parse().ok())
}
