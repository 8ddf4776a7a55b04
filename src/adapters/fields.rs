//! The arguments of a command as fields that people fill in, and the way back to the line that the parser takes. Both platforms share it, so
//! that a form and a command mean the same.

use stanch_commands::definition::Argument;
use stanch_commands::parse;

use crate::ports::LiveField;

/// A field of a form, or an option of a subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A word before a value: `pod NAME`.
    Word(&'static str),
    /// A value alone, under this name.
    Alone(&'static str),
    /// `key:VALUE`.
    Key(&'static str),
    /// `--switch`.
    Switch(&'static str),
}

/// What somebody filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Text.
    Text(String),
    /// Yes or no.
    Flag(bool),
}

/// The fields of an argument, and whether they have to be filled in.
pub fn fields(argument: Argument) -> (&'static [Field], bool) {
    match argument {
        Argument::Pod => (&[Field::Word("pod")], true),
        Argument::Node => (&[Field::Word("node")], true),
        // One of the two, which no form can say; the parser does.
        Argument::PodOrNode => (&[Field::Word("pod"), Field::Word("node")], false),
        Argument::Request => (&[Field::Alone("request")], true),
        Argument::OptionalRequest => (&[Field::Alone("request")], false),
        Argument::Topic => (&[Field::Alone("command")], false),
        Argument::Cluster => (&[Field::Key("cluster")], false),
        Argument::Incident => (&[Field::Key("incident")], false),
        Argument::Reason => (&[Field::Key("reason")], false),
        Argument::Via => (&[Field::Key("via")], false),
        Argument::Key => (&[Field::Key("key")], true),
        Argument::OptionalKey => (&[Field::Key("key")], false),
        Argument::IsolateFirst => (&[Field::Switch("isolate-first")], false),
        Argument::ScaleToZero => (&[Field::Switch("scale-to-zero")], false),
        Argument::CreateIntermediate => (&[Field::Switch("create-intermediate")], false),
        Argument::StopNow => (&[Field::Switch("stop-now")], false),
        Argument::FalseAlarm => (&[Field::Switch("false-alarm")], false),
        Argument::Exec => (&[Field::Switch("exec")], false),
        Argument::DryRun => (&[Field::Switch("dry-run")], false),
        Argument::Container => (&[Field::Key("container")], false),
        Argument::Force => (&[Field::Switch("force")], false),
        Argument::IncludeStanch => (&[Field::Switch("include-stanch")], false),
    }
}

/// The fields of a command, in usage order; `None` if there is no such command.
pub fn of(command: &str) -> Option<impl Iterator<Item = Field>> {
    let definition = stanch_commands::find(command)?;
    Some(definition.arguments.iter().flat_map(|argument| fields(*argument).0).copied())
}

impl Field {
    /// Its name, one in its command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Word(name) | Self::Alone(name) | Self::Key(name) | Self::Switch(name) => name,
        }
    }

    /// What people should know about it.
    pub fn help(self, argument: Argument) -> &'static str {
        match (argument, self) {
            (Argument::PodOrNode, Self::Word("pod")) | (Argument::Pod, _) => "the compromised pod, [NAMESPACE/]NAME",
            (Argument::PodOrNode, _) => "or a node",
            _ => argument.help(),
        }
    }

    /// It is on or off.
    pub fn is_switch(self) -> bool {
        matches!(self, Self::Switch(_))
    }

    /// What can be offered while somebody types.
    pub fn live(self) -> Option<LiveField> {
        match self {
            Self::Word("pod") => Some(LiveField::Pod),
            Self::Word("node") => Some(LiveField::Node),
            Self::Key("cluster") => Some(LiveField::Cluster),
            Self::Word(_) | Self::Alone(_) | Self::Key(_) | Self::Switch(_) => None,
        }
    }

    /// What stands for it in a line; nothing for a switch that is off.
    fn typed(self, value: &Filled) -> Option<String> {
        match (self, value) {
            (Self::Word(word), Filled::Text(value)) => Some(format!("{word} {}", parse::quoted(value))),
            (Self::Alone(_), Filled::Text(value)) => Some(parse::quoted(&alone(value))),
            (Self::Key(key), Filled::Text(value)) => Some(format!("{key}:{}", parse::quoted(value))),
            (Self::Switch(name), Filled::Flag(true)) => Some(format!("--{name}")),
            (Self::Word(_) | Self::Alone(_) | Self::Key(_), Filled::Flag(_)) | (Self::Switch(_), Filled::Flag(false) | Filled::Text(_)) => {
                None
            }
        }
    }
}

/// A value that stands alone must not be read as another argument: one that looks like `key:value` or `--switch` gets a character in
/// front that no request and no command begins with, and is refused.
fn alone(value: &str) -> String {
    let is_plain = value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !value.starts_with('-');
    if is_plain { value.to_owned() } else { format!("'{value}") }
}

/// The line that somebody would have typed: the subcommand's name, then what was filled in, each quoted so that no value can become two.
/// `None` if the subcommand or an option is none of ours.
#[must_use]
pub fn line(command: &str, options: &[(String, Filled)]) -> Option<String> {
    let definition = stanch_commands::find(command)?;
    let known: Vec<Field> = of(command)?.collect();
    let mut line = definition.name.to_owned();
    for (name, value) in options {
        let field = known.iter().find(|field| field.name() == name)?;
        if let Some(typed) = field.typed(value) {
            line.push(' ');
            line.push_str(&typed);
        }
    }
    Some(line)
}
