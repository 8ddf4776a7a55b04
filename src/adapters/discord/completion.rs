//! Names that are offered while somebody types an option.

use std::time::Duration;

use serde_json::{Value, json};
use serenity::all::{CommandDataOption, CommandDataOptionValue};

use crate::adapters::fields;
use crate::core::identity::{Account, ChannelRef, Platform};
use crate::ports::Typing;

/// Names that Discord shows.
const CHOICES: usize = 25;

/// Characters of a choice. A longer name is left out: cut, it would be another one.
const CHARACTERS: usize = 100;

/// How long the names may take. Discord waits three seconds, and people wait for less.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// What is being typed, if names can be offered for it; by whom and where is the caller's to say.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum may grow; the definition has texts and switches alone")]
pub(super) fn typing(options: &[CommandDataOption]) -> Option<Typing> {
    let [option] = options else { return None };
    let inner = match &option.value {
        CommandDataOptionValue::SubCommandGroup(inner) => return typing(inner),
        CommandDataOptionValue::SubCommand(inner) => inner,
        _ => return None,
    };
    let (name, prefix) = inner.iter().find_map(|option| match &option.value {
        CommandDataOptionValue::Autocomplete { value, .. } => Some((option.name.as_str(), value)),
        _ => None,
    })?;
    let cluster = inner.iter().find_map(|option| match &option.value {
        CommandDataOptionValue::String(text) if option.name == "cluster" => Some(text.clone()),
        _ => None,
    });
    let field = fields::of(&option.name)?.find(|field| field.name() == name)?.live()?;
    let nobody = String::new;
    Some(Typing {
        account: Account { platform: Platform::Discord, id: nobody() },
        channel: ChannelRef { platform: Platform::Discord, id: nobody() },
        command: option.name.clone(),
        field,
        cluster,
        prefix: prefix.clone(),
        most: CHOICES,
        patience: PATIENCE,
    })
}

/// As Discord takes them.
pub(super) fn choices(names: Vec<String>) -> Vec<Value> {
    let fits = |name: &String| (1..=CHARACTERS).contains(&name.chars().count());
    names.into_iter().filter(fits).take(CHOICES).map(|name| json!({ "name": name, "value": name })).collect()
}
