//! From the text behind `/stanch` to a command with its arguments: strict, and every refusal teaches.

use std::fmt;

use crate::definition::{Argument, Arguments, Definition};
use crate::target::{InvalidName, TargetName};
use crate::{CATALOGUE, find, inspect};

/// Longest command line in bytes: Slack allows 4,000 characters, and a real command needs under 700 (a pod name has at most 253).
const LINE_LIMIT_BYTES: usize = 2_000;
/// Longest reason in characters: a sentence or two for the record.
const REASON_LIMIT: usize = 300;

/// A command line, understood.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The command.
    pub definition: &'static Definition,
    /// Its arguments.
    pub arguments: Arguments,
}

impl Parsed {
    /// What a policy has to permit: the command, or what its options make of it.
    #[must_use]
    pub fn privilege(&self) -> &'static str {
        match self.arguments.exec {
            true => inspect::WITH_EXEC,
            false => self.definition.name,
        }
    }
}

/// Why a command line was not understood. `Display` says what is wrong, [`UsageError::hint`] what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// Nothing was typed.
    Empty,
    /// Too long.
    TooLong,
    /// A quotation mark is not closed.
    OpenQuote,
    /// No such command.
    UnknownCommand {
        /// What was typed.
        word: String,
        /// The nearest command, if one is near.
        near: Option<&'static str>,
    },
    /// The command does not take this.
    Unexpected {
        /// The command.
        command: &'static Definition,
        /// What was typed.
        word: String,
        /// The nearest argument that it takes, if one is near.
        near: Option<&'static str>,
    },
    /// The same argument twice.
    Twice {
        /// The command.
        command: &'static Definition,
        /// Which one.
        word: String,
    },
    /// A value is missing or has the wrong form.
    Invalid {
        /// The command.
        command: &'static Definition,
        /// What is wrong.
        problem: String,
    },
    /// A needed argument is missing.
    Missing {
        /// The command.
        command: &'static Definition,
        /// Which one.
        argument: &'static str,
    },
}

impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Definition {}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no command"),
            Self::TooLong => write!(f, "the command is longer than {LINE_LIMIT_BYTES} bytes"),
            Self::OpenQuote => f.write_str("a quotation mark is not closed"),
            Self::UnknownCommand { word, .. } => write!(f, "there is no command `{word}`"),
            Self::Unexpected { command, word, .. } => write!(f, "`{}` does not take `{word}`", command.name),
            Self::Twice { command, word } => write!(f, "`{}` takes `{word}` only once", command.name),
            Self::Invalid { command, problem } => write!(f, "`{}`: {problem}", command.name),
            Self::Missing { command, argument } => write!(f, "`{}` needs `{argument}`", command.name),
        }
    }
}

impl UsageError {
    /// What the person can type instead.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Empty | Self::UnknownCommand { near: None, .. } => "`help` lists the commands".into(),
            Self::TooLong => "shorten the reason".into(),
            Self::OpenQuote => "close it, as in reason:\"shell in cart pod\"".into(),
            Self::UnknownCommand { near: Some(near), .. } => format!("did you mean `{near}`? `help` lists the commands"),
            Self::Unexpected { near: Some(near), command, .. } => format!("did you mean `{near}`? usage: `{}`", command.usage()),
            Self::Unexpected { near: None, command, .. }
            | Self::Twice { command, .. }
            | Self::Invalid { command, .. }
            | Self::Missing { command, .. } => format!("usage: `{}`; `help {}` explains it", command.usage(), command.name),
        }
    }
}

/// Understands the text behind `/stanch`.
///
/// # Errors
/// [`UsageError`]; nothing is guessed.
pub fn parse(text: &str) -> Result<Parsed, UsageError> {
    if text.len() > LINE_LIMIT_BYTES {
        return Err(UsageError::TooLong);
    }
    let words = split(text)?;
    let Some((name, rest)) = words.split_first() else { return Err(UsageError::Empty) };
    let definition = find(name).ok_or_else(|| UsageError::UnknownCommand {
        word: shown(name),
        near: nearest(name, CATALOGUE.iter().map(|definition| definition.name)),
    })?;
    let mut arguments = Arguments::default();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        take(definition, &mut arguments, word, &mut rest)?;
    }
    complete(definition, arguments)
}

fn take<'w>(
    command: &'static Definition,
    arguments: &mut Arguments,
    word: &'w str,
    rest: &mut impl Iterator<Item = &'w String>,
) -> Result<(), UsageError> {
    let takes = |wanted: &[Argument]| command.arguments.iter().any(|argument| wanted.contains(argument));
    let unexpected = || UsageError::Unexpected { command, word: shown(word), near: nearest(word, words_of(command)) };
    let invalid = |error: InvalidName| UsageError::Invalid { command, problem: error.to_string() };
    let once = |fresh: bool, word: &str| match fresh {
        true => Ok(()),
        false => Err(UsageError::Twice { command, word: word.into() }),
    };
    match word.split_once(':') {
        Some(("cluster", value)) if takes(&[Argument::Cluster]) => {
            once(arguments.cluster.is_none(), "cluster:")?;
            arguments.cluster = Some(value.parse().map_err(invalid)?);
        }
        Some(("incident", value)) if takes(&[Argument::Incident]) => {
            once(arguments.incident.is_none(), "incident:")?;
            // People write INC-42; tags and rule names are lower case.
            arguments.incident = Some(value.to_ascii_lowercase().parse().map_err(invalid)?);
        }
        Some(("reason", value)) if takes(&[Argument::Reason]) => {
            once(arguments.reason.is_none(), "reason:")?;
            if value.trim().is_empty() || value.chars().count() > REASON_LIMIT {
                return Err(UsageError::Invalid { command, problem: format!("a reason has 1 to {REASON_LIMIT} characters") });
            }
            arguments.reason = Some(value.trim().to_owned());
        }
        Some(("container", value)) if takes(&[Argument::Container]) => {
            once(arguments.container.is_none(), "container:")?;
            arguments.container = Some(value.parse().map_err(invalid)?);
        }
        Some(("via", value)) if takes(&[Argument::Via]) => {
            once(arguments.via.is_none(), "via:")?;
            arguments.via = Some(value.parse().map_err(invalid)?);
        }
        Some(("key", value)) if takes(&[Argument::Key, Argument::OptionalKey]) => {
            once(arguments.key.is_none(), "key:")?;
            arguments.key = Some(value.parse().map_err(invalid)?);
        }
        Some(_) => return Err(unexpected()),
        None if word.starts_with('-') => match switch(arguments, word) {
            Some((argument, set)) if takes(&[argument]) => {
                once(!*set, word)?;
                *set = true;
            }
            Some(_) | None => return Err(unexpected()),
        },
        None if word == "pod" && takes(&[Argument::Pod, Argument::PodOrNode]) => {
            once(arguments.target.is_none(), "a target")?;
            let value = rest.next().ok_or(UsageError::Missing { command, argument: "pod [NAMESPACE/]NAME" })?;
            arguments.target = Some(pod(value).map_err(invalid)?);
        }
        None if word == "node" && takes(&[Argument::Node, Argument::PodOrNode]) => {
            once(arguments.target.is_none(), "a target")?;
            let value = rest.next().ok_or(UsageError::Missing { command, argument: "node NAME" })?;
            arguments.target = Some(TargetName::Node(value.parse().map_err(invalid)?));
        }
        None if takes(&[Argument::Request, Argument::OptionalRequest]) => {
            once(arguments.request.is_none(), "a request")?;
            arguments.request = Some(word.parse().map_err(invalid)?);
        }
        None if takes(&[Argument::Topic]) => {
            once(arguments.topic.is_none(), "a command")?;
            arguments.topic = Some(word.to_owned());
        }
        None => return Err(unexpected()),
    }
    Ok(())
}

/// The switch of that name, and where it is set.
fn switch<'a>(arguments: &'a mut Arguments, word: &str) -> Option<(Argument, &'a mut bool)> {
    Some(match word {
        "--isolate-first" => (Argument::IsolateFirst, &mut arguments.isolate_first),
        "--scale-to-zero" => (Argument::ScaleToZero, &mut arguments.scale_to_zero),
        "--include-stanch" => (Argument::IncludeStanch, &mut arguments.include_stanch),
        "--false-alarm" => (Argument::FalseAlarm, &mut arguments.false_alarm),
        "--stop-now" => (Argument::StopNow, &mut arguments.stop_now),
        "--create-intermediate" => (Argument::CreateIntermediate, &mut arguments.create_intermediate),
        "--force" => (Argument::Force, &mut arguments.force),
        "--exec" => (Argument::Exec, &mut arguments.exec),
        "--dry-run" => (Argument::DryRun, &mut arguments.dry_run),
        _ => return None,
    })
}

fn pod(text: &str) -> Result<TargetName, InvalidName> {
    Ok(match text.split_once('/') {
        Some((namespace, name)) => TargetName::Pod { namespace: Some(namespace.parse()?), name: name.parse()? },
        None => TargetName::Pod { namespace: None, name: text.parse()? },
    })
}

fn complete(command: &'static Definition, arguments: Arguments) -> Result<Parsed, UsageError> {
    for argument in command.arguments {
        let missing = match argument {
            Argument::Pod | Argument::Node | Argument::PodOrNode => arguments.target.is_none(),
            Argument::Request => arguments.request.is_none(),
            Argument::Key => arguments.key.is_none(),
            Argument::OptionalRequest
            | Argument::Topic
            | Argument::Cluster
            | Argument::Incident
            | Argument::Reason
            | Argument::IsolateFirst
            | Argument::ScaleToZero
            | Argument::Container
            | Argument::Force
            | Argument::Via
            | Argument::OptionalKey
            | Argument::CreateIntermediate
            | Argument::StopNow
            | Argument::FalseAlarm
            | Argument::IncludeStanch
            | Argument::Exec
            | Argument::DryRun => false,
        };
        if missing {
            return Err(UsageError::Missing { command, argument: argument.usage() });
        }
    }
    if arguments.stop_now && arguments.reason.is_none() {
        return Err(UsageError::Missing { command, argument: "reason:\"TEXT\" (with --stop-now)" });
    }
    Ok(Parsed { definition: command, arguments })
}

/// Splits at white space outside quotation marks. Chat clients replace `"` by typographic marks and `--` by a dash; both are undone.
fn split(text: &str) -> Result<Vec<String>, UsageError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            c if is_quotation_mark(c) => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '—' | '–' if !quoted && word.is_none() => word = Some("--".into()),
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        return Err(UsageError::OpenQuote);
    }
    words.extend(word);
    Ok(words)
}

/// A value as one word, or as the end of one: whatever it holds, [`parse`] reads nothing else from it. There is no way to write a quotation
/// mark inside of quotation marks, so each becomes an apostrophe.
#[must_use]
pub fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace(is_quotation_mark, "'"))
}

fn is_quotation_mark(c: char) -> bool {
    matches!(c, '"' | '“' | '”' | '„')
}

fn words_of(command: &'static Definition) -> impl Iterator<Item = &'static str> {
    command
        .arguments
        .iter()
        .flat_map(|argument| match argument {
            Argument::Pod => &["pod"][..],
            Argument::Node => &["node"],
            Argument::PodOrNode => &["pod", "node"],
            Argument::Cluster => &["cluster:"],
            Argument::Incident => &["incident:"],
            Argument::Reason => &["reason:"],
            Argument::IsolateFirst => &["--isolate-first"],
            Argument::ScaleToZero => &["--scale-to-zero"],
            Argument::Container => &["container:"],
            Argument::Force => &["--force"],
            Argument::Via => &["via:"],
            Argument::Key | Argument::OptionalKey => &["key:"],
            Argument::CreateIntermediate => &["--create-intermediate"],
            Argument::StopNow => &["--stop-now"],
            Argument::FalseAlarm => &["--false-alarm"],
            Argument::IncludeStanch => &["--include-stanch"],
            Argument::Exec => &["--exec"],
            Argument::DryRun => &["--dry-run"],
            Argument::Request | Argument::OptionalRequest | Argument::Topic => &[],
        })
        .copied()
}

/// The candidate that differs in fewest characters, if that is at most a third of them.
fn nearest(word: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // `clutser:prod` is compared by its key alone.
    let key = word.find(':').and_then(|end| word.get(..=end)).unwrap_or(word).to_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&key, candidate), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.len().max(key.len()))
        .min()
        .map(|(_, candidate)| candidate)
}

/// What was typed, cut so that an answer stays readable.
fn shown(word: &str) -> String {
    word.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> String {
        match parse(text) {
            Ok(parsed) => format!("{} {:?}", parsed.definition.name, parsed.arguments.target.map(|target| target.to_string())),
            Err(error) => format!("{error}; hint: {}", error.hint()),
        }
    }

    #[test]
    fn every_wrong_line_teaches() {
        assert_eq!(answer(""), "no command; hint: `help` lists the commands");
        assert_eq!(
            answer("quarentine pod a/b"),
            "there is no command `quarentine`; hint: did you mean `quarantine`? `help` lists the commands"
        );
        assert_eq!(
            answer("cordon node a --dryrun"),
            "`cordon` does not take `--dryrun`; hint: did you mean `--dry-run`? usage: `cordon pod [NAMESPACE/]NAME | node NAME [cluster:NAME] [incident:REF] [reason:\"TEXT\"] [--include-stanch] [--dry-run]`"
        );
        assert!(answer("quarantine pod a/b clutser:x").contains("did you mean `cluster:`?"));
        assert!(answer("quarantine").starts_with("`quarantine` needs `pod [NAMESPACE/]NAME | node NAME`"));
        assert!(answer("quarantine pod a/b pod a/c").starts_with("`quarantine` takes `a target` only once"));
        assert!(answer("quarantine pod ../b").contains("is no valid"));
        assert!(answer("quarantine pod a/b reason:\"open").starts_with("a quotation mark is not closed"));
        assert!(answer(&"x".repeat(3000)).starts_with("the command is longer"));
    }

    #[test]
    fn chat_clients_typography_is_undone() {
        let parsed = parse("quarantine pod shop/cart-1 incident:INC-42 reason:“shell in cart” —isolate-first —dry-run").unwrap();
        assert_eq!(
            parsed.arguments,
            Arguments {
                target: Some(TargetName::Pod { namespace: Some("shop".parse().unwrap()), name: "cart-1".parse().unwrap() }),
                incident: Some("inc-42".parse().unwrap()),
                reason: Some("shell in cart".into()),
                isolate_first: true,
                dry_run: true,
                ..Arguments::default()
            }
        );
    }

    #[test]
    fn every_example_in_the_catalogue_parses() {
        for definition in CATALOGUE {
            assert!(!definition.examples.is_empty(), "{} has no example", definition.name);
            for example in definition.examples {
                let line = format!("{} {example}", definition.name);
                assert!(parse(&line).is_ok(), "{line}: {:?}", parse(&line));
            }
        }
    }
}
