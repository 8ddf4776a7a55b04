//! What a person types behind a slash, as Discord's client builds it: the command's definition says what there is to fill in.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::commands::{self, BOOLEAN, CHANNEL, INTEGER, NUMBER, ROLE, STRING, SUB_COMMAND_GROUP, USER, flag, number, options, word};
use super::people::DiscordEmulatorError;
use super::render;
use super::snowflake::Snowflake;
use super::state::State;

/// A command with its options filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// Name of the command and, if it has them, group and subcommand.
    pub path: Vec<String>,
    /// Options by name, in the order in which they were filled in. A choice is named or given as its value; people, channels and roles
    /// by name or id.
    pub options: Vec<(String, String)>,
}

/// The `data` of an interaction about a command, and the command's full name.
pub(super) struct Filled {
    pub(super) data: Value,
    pub(super) name: String,
}

impl Typed {
    /// A command without options yet, such as `stanch quarantine`.
    #[must_use]
    pub fn command(path: &str) -> Self {
        Self { path: path.split_whitespace().map(ToOwned::to_owned).collect(), options: Vec::new() }
    }

    /// The same with one more option.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Where the names of a path lead.
struct Found<'s> {
    command: &'s commands::Command,
    /// What is filled in: the command or a subcommand.
    leaf: &'s Map<String, Value>,
    /// Groups and subcommands on the way.
    way: Vec<&'s Map<String, Value>>,
}

fn find<'s>(state: &'s State, path: &[String]) -> Result<Found<'s>, DiscordEmulatorError> {
    let no_such = || DiscordEmulatorError::NoSuchCommand(format!("/{}", path.join(" ")));
    let (name, rest) = path.split_first().ok_or_else(no_such)?;
    let known = state.commands.values().filter(|command| word(&command.definition, "name") == name);
    // A guild's command hides a global one of the same name.
    let command = known.max_by_key(|command| command.guild.is_some()).ok_or_else(no_such)?;
    let (mut leaf, mut way) = (&command.definition, Vec::new());
    for name in rest {
        let nested = |option: &&Map<String, Value>| number(option, "type") <= SUB_COMMAND_GROUP && word(option, "name") == name;
        leaf = options(leaf).find(nested).ok_or_else(no_such)?;
        way.push(leaf);
    }
    if options(leaf).any(|option| number(option, "type") <= SUB_COMMAND_GROUP) {
        return Err(no_such());
    }
    Ok(Found { command, leaf, way })
}

/// Reads a line such as `/stanch quarantine pod:shop/cart reason:"odd traffic"`. A value goes on to the next `name:` of an option.
pub(super) fn read(state: &State, line: &str) -> Result<Typed, DiscordEmulatorError> {
    let words: Vec<&str> = line.strip_prefix('/').unwrap_or(line).split_whitespace().collect();
    // The longest path of words that leads somewhere.
    let path = (1..=words.len().min(3)).rev().filter_map(|count| {
        let path: Vec<String> = words.iter().take(count).map(|word| (*word).to_owned()).collect();
        find(state, &path).ok().map(|found| (path, found))
    });
    let Some((path, found)) = path.into_iter().next() else { return Err(DiscordEmulatorError::NoSuchCommand(line.to_owned())) };
    let mut filled: Vec<(String, String)> = Vec::new();
    for word in words.iter().skip(path.len()) {
        let option = word.split_once(':').filter(|(name, _)| options(found.leaf).any(|option| self::word(option, "name") == *name));
        match (option, filled.last_mut()) {
            (Some((name, value)), _) => filled.push((name.to_owned(), value.to_owned())),
            (None, Some((_, value))) if value.is_empty() => value.push_str(word),
            (None, Some((_, value))) => {
                value.push(' ');
                value.push_str(word);
            }
            (None, None) => return Err(DiscordEmulatorError::NoSuchOption { command: path.join(" "), option: (*word).to_owned() }),
        }
    }
    for (_, value) in &mut filled {
        if let Some(inside) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            *value = inside.to_owned();
        }
    }
    Ok(Typed { path, options: filled })
}

/// Builds the interaction's `data`. With `focused`, that option is still being typed: it must have autocompletion, and nothing is required.
pub(super) fn fill(state: &State, typed: &Typed, focused: Option<&str>) -> Result<Filled, DiscordEmulatorError> {
    let found = find(state, &typed.path)?;
    let command = typed.path.join(" ");
    let no_such = |option: &str| DiscordEmulatorError::NoSuchOption { command: command.clone(), option: option.to_owned() };
    let (mut values, mut resolved) = (Vec::new(), BTreeMap::new());
    for (index, (name, text)) in typed.options.iter().enumerate() {
        let definition = options(found.leaf).find(|option| word(option, "name") == name).ok_or_else(|| no_such(name))?;
        let refused = |why: String| DiscordEmulatorError::BadOption { option: name.clone(), value: text.clone(), why };
        if typed.options.iter().take(index).any(|(earlier, _)| earlier == name) {
            return Err(refused("it is filled in twice".into()));
        }
        let kind = number(definition, "type");
        let mut shown = json!({ "name": name, "type": kind });
        let is_focused = focused == Some(name.as_str());
        let value = match is_focused {
            true if !flag(definition, "autocomplete") => return Err(refused("it has no autocompletion".into())),
            // Half a value is a text, whatever the option takes.
            true => json!(text),
            false => value(state, definition, text, &mut resolved).map_err(refused)?,
        };
        if let Value::Object(fields) = &mut shown {
            fields.insert("value".into(), value);
            if is_focused {
                fields.insert("focused".into(), json!(true));
            }
        }
        values.push(shown);
    }
    if let Some(focused) = focused.filter(|focused| !typed.options.iter().any(|(name, _)| name == focused)) {
        return Err(no_such(focused));
    }
    let missing =
        |option: &&Map<String, Value>| flag(option, "required") && !typed.options.iter().any(|(name, _)| word(option, "name") == name);
    if let Some(missing) = options(found.leaf).find(missing).filter(|_| focused.is_none()) {
        return Err(DiscordEmulatorError::MissingOption { command, option: word(missing, "name").to_owned() });
    }
    let inside = found
        .way
        .iter()
        .rev()
        .fold(values, |inside, step| vec![json!({ "name": word(step, "name"), "type": number(step, "type"), "options": inside })]);
    let mut data = json!({ "id": found.command.id, "name": word(&found.command.definition, "name"), "type": 1 });
    if let Value::Object(fields) = &mut data {
        if !inside.is_empty() {
            fields.insert("options".into(), json!(inside));
        }
        if !resolved.is_empty() {
            fields.insert("resolved".into(), json!(resolved));
        }
        if let Some(guild) = found.command.guild {
            fields.insert("guild_id".into(), json!(guild));
        }
    }
    Ok(Filled { data, name: command })
}

/// What the client sends for what was typed into an option.
fn value(
    state: &State,
    definition: &Map<String, Value>,
    text: &str,
    resolved: &mut BTreeMap<&'static str, BTreeMap<Snowflake, Value>>,
) -> Result<Value, String> {
    let choices = definition.get("choices").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    let choices: Vec<_> = choices.collect();
    if !choices.is_empty() {
        let chosen = choices.iter().find(|choice| {
            let value = choice.get("value").map(|value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned));
            word(choice, "name") == text || value.as_deref() == Some(text)
        });
        let names = || choices.iter().map(|choice| word(choice, "name")).collect::<Vec<_>>().join(", ");
        return chosen.and_then(|choice| choice.get("value").cloned()).ok_or_else(|| format!("it is none of: {}", names()));
    }
    let bound = |name: &str| definition.get(name).and_then(Value::as_f64);
    let within =
        |number: f64| bound("min_value").is_none_or(|least| number >= least) && bound("max_value").is_none_or(|most| number <= most);
    let named = |id: Option<Snowflake>| id.ok_or_else(|| "there is none of that name".to_owned());
    let id = text.trim_start_matches("<@").trim_start_matches(['!', '&', '#', '<']).trim_end_matches('>').parse::<Snowflake>().ok();
    match number(definition, "type") {
        STRING => {
            let length = text.chars().count() as f64;
            let fits = length >= bound("min_length").unwrap_or(1.0) && length <= bound("max_length").unwrap_or(6000.0);
            if fits { Ok(json!(text)) } else { Err("it is too short or too long".into()) }
        }
        INTEGER => {
            let number: i64 = text.parse().map_err(|_| "it is no whole number".to_owned())?;
            // The client takes what a float represents exactly.
            let fits = number.unsigned_abs() <= 1 << 53 && within(number as f64);
            if fits { Ok(json!(number)) } else { Err("it is out of bounds".into()) }
        }
        NUMBER => {
            let number: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
            if number.is_finite() && within(number) { Ok(json!(number)) } else { Err("it is out of bounds".into()) }
        }
        BOOLEAN => text.to_lowercase().parse::<bool>().map(|flag| json!(flag)).map_err(|_| "it is neither True nor False".into()),
        USER => {
            let found = state.guild.user(named(id.or_else(|| state.guild.named(text.trim_start_matches('@')).map(|member| member.id)))?);
            let member = found.ok_or("there is none of that id")?;
            resolved.entry("users").or_default().insert(member.id, render::user(member));
            if !member.gone {
                resolved.entry("members").or_default().insert(member.id, render::member_without_user(state, member));
            }
            Ok(json!(member.id))
        }
        CHANNEL => {
            let by_name = || state.channels.values().find(|place| place.name == text.trim_start_matches('#')).map(|place| place.id);
            let place = state.channels.get(&named(id.or_else(by_name))?).ok_or("there is none of that id")?;
            resolved.entry("channels").or_default().insert(place.id, render::channel(state, place));
            Ok(json!(place.id))
        }
        ROLE => {
            let by_name = || state.guild.roles.iter().find(|role| role.name == text.trim_start_matches('@')).map(|role| role.id);
            let wanted = named(id.or_else(by_name))?;
            let roles = state.guild.roles.iter().enumerate();
            let (position, role) = roles.into_iter().find(|(_, role)| role.id == wanted).ok_or("there is none of that id")?;
            resolved.entry("roles").or_default().insert(wanted, render::role(state, role, position));
            Ok(json!(wanted))
        }
        other => Err(format!("options of type {other} are not emulated")),
    }
}
