//! The text of a scenario. One step a line; `#` begins a comment.
//!
//! ```text
//! rosa: /stanch quarantine pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42
//! rosa in #random: /stanch list
//! rosa fills in: quarantine pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42
//! rosa proposes from: Falco: shell in shop/cart-7d4b9c6f5-x2x9q
//! amir reacts white_check_mark
//! amir takes back white_check_mark
//! amir presses Approve
//! 8 minutes pass
//! on discord
//! restart
//! crash
//! happens: recreate pod shop/cart-7d4b9c6f5-x2x9q
//! expect in channel: words of a message
//! expect in thread: words of a reply
//! expect rosa reads: words that only she sees
//! expect no writes
//! expect isolated
//! expect compute groups/GROUP/targetSize: 1
//! expect kubernetes nodes/NODE/unschedulable: true
//! ```
//!
//! In what is typed, `{request}` is the request of the newest plan message.

use crate::core::identity::Platform;

/// A scenario, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub(super) lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    /// As written.
    pub(super) text: String,
    /// What it says.
    pub(super) step: Step,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Somebody types a slash command.
    Types { who: String, channel: Option<String>, command: String },
    /// Somebody fills a command in, field by field, choosing from what is offered.
    FillsIn { who: String, line: String },
    /// Somebody uses the shortcut on an alert and sends the form that opens. Slack alone has it.
    Proposes { who: String, alert: String },
    /// Somebody reacts to the newest plan message.
    Reacts { who: String, emoji: String },
    /// Somebody takes that back.
    TakesBack { who: String, emoji: String },
    /// Somebody presses the newest button of that label.
    Presses { who: String, label: String },
    /// Time passes for the bot.
    Passes { minutes: u32 },
    /// People go on on this platform.
    On(Platform),
    /// The bot is asked to end, and started again.
    Restart,
    /// The bot is killed, and started again.
    Crash,
    /// Something happens to the world.
    Happens(Happening),
    /// Something must be so, now or soon.
    Expect(Expected),
}

/// What happens to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// A pod is deleted, and one of the same name appears.
    RecreatePod { namespace: String, name: String },
    /// A budget allows fewer disruptions.
    MinAvailable { namespace: String, budget: String, count: i32 },
    /// The node's instance is deleted, and one of the same name appears.
    RecreateInstance { name: String },
    /// Somebody else changes the instance's tags.
    TouchTags { name: String, tag: String },
    /// Somebody takes a tag off the instance.
    Untag { name: String, tag: String },
    /// The next requests to an API whose address contains a text end without an answer, after they took effect.
    LoseAnswers { api: Api, method: String, part: String, times: usize },
    /// A DaemonSet runs on every node.
    DaemonSet { namespace: String, name: String },
    /// A NetworkPolicy lets everything of a namespace through.
    AllowAll { namespace: String, policy: String },
    /// A node does not answer its control plane, or answers again.
    Node { name: String, answers: bool },
    /// Somebody deletes every snapshot of a disk.
    DeleteSnapshots { disk: String },
    /// An administrator makes the namespace for privileged pods and switches them on, from the next start of the bot.
    PrivilegedPods,
    /// Slack's connections break.
    CutSockets,
}

/// An emulated API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Kubernetes,
    Compute,
}

/// What must be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// A message that everybody sees.
    InChannel(String),
    /// A reply that everybody sees.
    InThread(String),
    /// A message that one person sees.
    Reads { who: String, words: String },
    /// No call outside of the class `Preserve` changed anything.
    NoWrites,
    /// The suspect's node is isolated, by the state of the emulators.
    Isolated,
    /// What an emulated API holds at a path, as JSON; `null` for nothing.
    Holds { api: Api, path: String, value: serde_json::Value },
}

/// Why a text is no scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// It says nothing, so that playing it would prove nothing.
    #[error("no line says what to do; a scenario has lines such as `amir reacts white_check_mark` or `expect in thread: isolated`")]
    Empty,
    /// A line is not understood.
    #[error(
        "line {line} is not understood: `{text}`; a scenario has lines such as `amir reacts white_check_mark` or `expect in thread: isolated`"
    )]
    Line {
        /// From 1.
        line: usize,
        /// The line.
        text: String,
    },
}

impl Scenario {
    /// Reads a scenario, all of it before anything is played.
    ///
    /// # Errors
    /// [`ScriptError`]: the first line that is not understood, or that there is none.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
            let step = step(line).ok_or_else(|| ScriptError::Line { line: number, text: line.to_owned() })?;
            Ok(Line { number, text: line.to_owned(), step })
        });
        let lines: Vec<Line> = lines.collect::<Result<_, _>>()?;
        match lines.is_empty() {
            true => Err(ScriptError::Empty),
            false => Ok(Self { lines }),
        }
    }
}

fn step(line: &str) -> Option<Step> {
    if let Some(expected) = line.strip_prefix("expect ") {
        return expectation(expected).map(Step::Expect);
    }
    if let Some(event) = line.strip_prefix("happens: ") {
        return happening(&words(event)).map(Step::Happens);
    }
    if let Some((who, command)) = line.split_once(": /stanch") {
        let (who, channel) = match who.split_once(" in #") {
            Some((who, channel)) => (who, Some(channel.to_owned())),
            None => (who, None),
        };
        return Some(Step::Types { who: name(who)?, channel, command: format!("/stanch{command}") });
    }
    if let Some((who, line)) = line.split_once(" fills in: ") {
        return Some(Step::FillsIn { who: name(who)?, line: line.to_owned() });
    }
    if let Some((who, alert)) = line.split_once(" proposes from: ") {
        return Some(Step::Proposes { who: name(who)?, alert: alert.to_owned() });
    }
    match words(line).as_slice() {
        ["on", "slack"] => Some(Step::On(Platform::Slack)),
        ["on", "discord"] => Some(Step::On(Platform::Discord)),
        ["restart"] => Some(Step::Restart),
        ["crash"] => Some(Step::Crash),
        [minutes, "minutes", "pass"] => Some(Step::Passes { minutes: minutes.parse().ok()? }),
        [who, "reacts", emoji] => Some(Step::Reacts { who: name(who)?, emoji: (*emoji).to_owned() }),
        [who, "takes", "back", emoji] => Some(Step::TakesBack { who: name(who)?, emoji: (*emoji).to_owned() }),
        [who, "presses", label @ ..] if !label.is_empty() => Some(Step::Presses { who: name(who)?, label: label.join(" ") }),
        _ => None,
    }
}

fn expectation(text: &str) -> Option<Expected> {
    match text.split_once(": ") {
        None if text == "no writes" => Some(Expected::NoWrites),
        None if text == "isolated" => Some(Expected::Isolated),
        None => None,
        Some(("in channel", words)) => Some(Expected::InChannel(words.to_owned())),
        Some(("in thread", words)) => Some(Expected::InThread(words.to_owned())),
        Some((at, value)) if at.contains('/') => {
            let (name, path) = at.split_once(' ')?;
            Some(Expected::Holds { api: api(name)?, path: path.to_owned(), value: serde_json::from_str(value).ok()? })
        }
        Some((who, words)) => Some(Expected::Reads { who: name(who.strip_suffix(" reads")?)?, words: words.to_owned() }),
    }
}

fn happening(words: &[&str]) -> Option<Happening> {
    let owned = |text: &str| text.to_owned();
    match words {
        ["recreate", "pod", pod] => {
            let (namespace, name) = pod.split_once('/')?;
            Some(Happening::RecreatePod { namespace: owned(namespace), name: owned(name) })
        }
        ["budget", budget, "needs", count] => {
            let (namespace, budget) = budget.split_once('/')?;
            Some(Happening::MinAvailable { namespace: owned(namespace), budget: owned(budget), count: count.parse().ok()? })
        }
        ["daemon", "set", set, "starts"] => {
            let (namespace, name) = set.split_once('/')?;
            Some(Happening::DaemonSet { namespace: owned(namespace), name: owned(name) })
        }
        ["policy", policy, "allows", "all"] => {
            let (namespace, policy) = policy.split_once('/')?;
            Some(Happening::AllowAll { namespace: owned(namespace), policy: owned(policy) })
        }
        ["recreate", "instance", name] => Some(Happening::RecreateInstance { name: owned(name) }),
        ["tag", name, tag] => Some(Happening::TouchTags { name: owned(name), tag: owned(tag) }),
        ["untag", name, tag] => Some(Happening::Untag { name: owned(name), tag: owned(tag) }),
        ["lose", times, "answers", "of", api, method, part] => {
            Some(Happening::LoseAnswers { api: self::api(api)?, method: owned(method), part: owned(part), times: times.parse().ok()? })
        }
        ["node", name, "answers", "again"] => Some(Happening::Node { name: owned(name), answers: true }),
        ["node", name, "stops", "answering"] => Some(Happening::Node { name: owned(name), answers: false }),
        ["delete", "snapshots", "of", disk] => Some(Happening::DeleteSnapshots { disk: owned(disk) }),
        ["privileged", "pods", "are", "switched", "on"] => Some(Happening::PrivilegedPods),
        ["cut", "sockets"] => Some(Happening::CutSockets),
        _ => None,
    }
}

fn api(name: &str) -> Option<Api> {
    match name {
        "kubernetes" => Some(Api::Kubernetes),
        "compute" => Some(Api::Compute),
        _ => None,
    }
}

/// One word in lower case.
fn name(text: &str) -> Option<String> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase());
    plain.then(|| text.to_owned())
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood_and_nothing_else() {
        let text = "# comment\n\nrosa: /stanch quarantine pod a/b incident:x\nrosa in #random: /stanch\namir reacts x\namir takes back x\n\
                    amir presses Ask again\n8 minutes pass\nrestart\ncrash\nhappens: recreate pod a/b\nhappens: budget a/b needs 3\n\
                    happens: daemon set a/b starts\nhappens: policy a/b allows all\nhappens: delete snapshots of a\n\
                    happens: lose 2 answers of compute POST setTags\nexpect in channel: a: b\nexpect in thread: c\nexpect rosa reads: d\n\
                    expect no writes\nexpect isolated\nexpect compute groups/a/targetSize: 1\nhappens: node a stops answering\n\
                    rosa fills in: cordon node a\nrosa proposes from: a: b\non discord\nhappens: untag a quarantine-b";
        let scenario = Scenario::parse(text).map(|scenario| scenario.lines.len());
        assert_eq!(scenario, Ok(25));
        for wrong in [
            "rosa types x",
            "expect nothing",
            "happens: rain",
            "Rosa reacts x",
            "x minutes pass",
            "expect rosa hears: x",
            "expect compute a/c: b",
        ] {
            assert_eq!(Scenario::parse(wrong), Err(ScriptError::Line { line: 1, text: wrong.to_owned() }));
        }
        for silent in ["", "# nothing\n\n"] {
            assert_eq!(Scenario::parse(silent), Err(ScriptError::Empty));
        }
    }
}
