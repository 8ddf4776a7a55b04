//! A command as a form: what it looks like, what people filled in, and at which field something is wrong. A form is no more than a way to
//! write the line that one could have typed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use stanch_commands::definition::{Argument, Definition};
use stanch_commands::parse::parse;
use stanch_commands::{CATALOGUE, find};

use crate::adapters::cut;
use crate::adapters::fields::{self, Field, Filled, fields as of_argument};
use crate::core::identity::{Account, ChannelRef};
use crate::ports::Typing;

/// Callback id of every form; the command stands in its metadata.
pub(super) const FORM: &str = "stanch-form";

/// Block and action of the switches, which are one field of several boxes.
const SWITCHES: &str = "switches";

/// Names that Slack shows in a menu.
const OPTIONS: usize = 100;

/// Characters of an option, and of its value. A longer value cannot be chosen, and is left out; a longer name is shown by its end.
const OPTION_TEXT: usize = 75;
const OPTION_VALUE: usize = 150;

/// How long names may take. Deliveries of one connection wait for each other, and each has three seconds: four letters typed at once while
/// the cluster hangs must not cost an approval its acknowledgement. Opening the form begins to list, so that names are there by then.
const PATIENCE: Duration = Duration::from_millis(500);

/// Characters of the words about a field that is wrong.
const WRONG: usize = 300;

/// Characters of a typed value, as the parser's line has it.
const VALUE: usize = 2_000;

/// What a form is about, kept by Slack between opening and submitting it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) definition: &'static Definition,
    pub(super) channel: String,
}

/// What is filled in before the person sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefilled {
    pub(super) pod: Option<String>,
    /// A word on where it comes from.
    pub(super) note: Option<String>,
}

/// What the text behind the slash command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This form.
    Form(&'static Definition),
    /// A form, but of which command?
    Which,
    /// No form: the line is the app's.
    Nothing,
}

/// `form COMMAND`, or a command alone that cannot be without arguments.
pub(super) fn wanted(text: &str) -> Wanted {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["form", command] => find(command).filter(|definition| !definition.arguments.is_empty()).map_or(Wanted::Which, Wanted::Form),
        ["form", ..] => Wanted::Which,
        [command] => find(command).filter(|definition| needs_arguments(definition)).map_or(Wanted::Nothing, Wanted::Form),
        _ => Wanted::Nothing,
    }
}

fn needs_arguments(definition: &Definition) -> bool {
    definition.arguments.iter().any(|argument| *argument == Argument::PodOrNode || of_argument(*argument).1)
}

impl Form {
    /// The form that a view is.
    pub(super) fn read(callback_id: Option<&str>, metadata: Option<&str>) -> Option<Self> {
        let metadata: Value = serde_json::from_str(metadata.filter(|_| callback_id == Some(FORM))?).ok()?;
        let word = |name: &str| metadata.get(name).and_then(Value::as_str);
        Some(Self { definition: find(word("command")?)?, channel: word("channel")?.to_owned() })
    }

    /// As Slack shows it.
    pub(super) fn view(&self, prefilled: &Prefilled) -> Value {
        let definition = self.definition;
        let about = json!({ "type": "section", "text": plain(&format!("{}.", definition.summary)) });
        let note = prefilled.note.as_ref().map(|note| json!({ "type": "context", "elements": [plain(note)] }));
        let mut switches = Vec::new();
        let mut inputs = Vec::new();
        for argument in definition.arguments {
            let (of, required) = of_argument(*argument);
            for field in of {
                match field.is_switch() {
                    true => switches.push(switch(*field, *argument)),
                    false => inputs.push(input(*field, *argument, required, prefilled)),
                }
            }
        }
        if !switches.is_empty() {
            let element = json!({ "type": "checkboxes", "action_id": SWITCHES, "options": switches });
            inputs.push(json!({ "type": "input", "block_id": SWITCHES, "label": plain("Switches"), "optional": true, "element": element }));
        }
        json!({
            "type": "modal",
            "callback_id": FORM,
            "private_metadata": json!({ "command": definition.name, "channel": self.channel }).to_string(),
            "title": plain(definition.name),
            "submit": plain("Ask"),
            "close": plain("Leave"),
            "blocks": std::iter::once(about).chain(note).chain(inputs).collect::<Vec<_>>(),
        })
    }

    /// The line that was filled in, or what is wrong with it by block.
    pub(super) fn line(&self, values: &BTreeMap<String, Vec<String>>) -> Result<String, (String, String)> {
        let every = self.definition.arguments.iter().flat_map(|argument| of_argument(*argument).0);
        let filled: Vec<(String, Filled)> = every.filter_map(|field| filled(*field, values)).collect();
        let line = |options: &[(String, Filled)]| fields::line(self.definition.name, options).unwrap_or_default();
        let whole = line(&filled);
        let error = match parse(&whole) {
            Ok(_) => return Ok(whole),
            Err(error) => error,
        };
        // The field without which the parser would say something else is the one that it stumbled over.
        let says_else = |index: &usize| {
            let others: Vec<_> = filled.iter().enumerate().filter(|(other, _)| other != index).map(|(_, option)| option.clone()).collect();
            parse(&line(&others)).err().as_ref().map(ToString::to_string) != Some(error.to_string())
        };
        let culprit = (0..filled.len()).find(says_else).and_then(|index| filled.get(index)).map(|(name, _)| name.clone());
        let words = cut::short(&format!("{error}; {}", error.hint()), WRONG, |_| 1);
        Err((self.block(culprit.as_deref()), words))
    }

    /// Its first field.
    pub(super) fn first(&self) -> String {
        self.block(None)
    }

    /// The block in which a field stands; without a name the first one, which is what a command cannot be without.
    fn block(&self, field: Option<&str>) -> String {
        let every = || self.definition.arguments.iter().flat_map(|argument| of_argument(*argument).0);
        let found = every().find(|known| field.is_none_or(|name| known.name() == name));
        match found {
            Some(field) if !field.is_switch() => field.name().to_owned(),
            Some(_) | None => SWITCHES.to_owned(),
        }
    }

    /// What is being typed into one of its menus.
    pub(super) fn typing(&self, block: &str, prefix: &str, account: Account, channel: ChannelRef) -> Option<Typing> {
        let field = fields::of(self.definition.name)?.find(|field| field.name() == block)?.live()?;
        let (command, prefix) = (self.definition.name.to_owned(), prefix.to_owned());
        Some(Typing { account, channel, command, field, cluster: None, prefix, most: OPTIONS, patience: PATIENCE })
    }
}

/// Names as Slack's menu takes them. What was typed can be chosen as it is, since a menu takes nothing else, and a name that is not known
/// here may be right all the same.
pub(super) fn options(names: Vec<String>, typed: &str) -> Vec<(String, String)> {
    let typed = typed.trim();
    // A namespace alone cannot be chosen.
    let names = names.into_iter().filter(|name| !name.ends_with('/') && name != typed);
    let as_typed = (!typed.is_empty()).then(|| typed.to_owned());
    let all = names.take(OPTIONS.saturating_sub(1)).chain(as_typed);
    all.filter(|value| value.chars().count() <= OPTION_VALUE).map(|value| (shown(&value), value)).collect()
}

/// The end of a name tells it from its neighbours.
fn shown(value: &str) -> String {
    let chars = value.chars().count();
    match chars <= OPTION_TEXT {
        true => value.to_owned(),
        false => std::iter::once('…').chain(value.chars().skip(chars - OPTION_TEXT + 1)).collect(),
    }
}

fn filled(field: Field, values: &BTreeMap<String, Vec<String>>) -> Option<(String, Filled)> {
    let name = field.name();
    let value = match field.is_switch() {
        true => Filled::Flag(values.get(SWITCHES)?.iter().any(|switch| switch == name)),
        false => Filled::Text(values.get(name)?.first().filter(|text| !text.trim().is_empty())?.trim().to_owned()),
    };
    Some((name.to_owned(), value))
}

fn switch(field: Field, argument: Argument) -> Value {
    let help = cut::short(field.help(argument), OPTION_TEXT, |_| 1);
    json!({ "text": plain(field.name()), "value": field.name(), "description": plain(&help) })
}

fn input(field: Field, argument: Argument, required: bool, prefilled: &Prefilled) -> Value {
    let name = field.name();
    let element = match (argument, field.live()) {
        (_, Some(_)) => {
            let mut menu = json!({ "type": "external_select", "action_id": name, "min_query_length": 0 });
            let chosen = prefilled.pod.as_ref().filter(|_| name == "pod");
            if let (Some(pod), Value::Object(fields)) = (chosen, &mut menu) {
                fields.insert("initial_option".into(), json!({ "text": plain(&shown(pod)), "value": pod }));
            }
            menu
        }
        (Argument::Topic, None) => {
            let option = |definition: &&Definition| json!({ "text": plain(definition.name), "value": definition.name });
            json!({ "type": "static_select", "action_id": name, "options": CATALOGUE.iter().map(option).collect::<Vec<_>>() })
        }
        (_, None) => {
            let is_long = matches!(argument, Argument::Reason | Argument::Key | Argument::OptionalKey);
            json!({ "type": "plain_text_input", "action_id": name, "multiline": is_long, "max_length": VALUE })
        }
    };
    json!({
        "type": "input",
        "block_id": name,
        "label": plain(name),
        "hint": plain(field.help(argument)),
        "optional": !required,
        "element": element,
    })
}

fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
}
