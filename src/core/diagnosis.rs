//! What an examination of Stanch itself found.

use std::fmt;

use super::say::{Block, Message};

/// One check of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The part, such as `cluster prod`.
    pub part: String,
    /// What came of the check.
    pub check: Check,
}

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found, for people; never a secret.
    pub found: String,
    /// What to do about it; empty if nothing is to be done.
    pub hint: String,
}

/// How a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it must be.
    Ok,
    /// It could not be told, or will become a problem.
    Warn,
    /// A command would fail.
    Fail,
}

/// Seconds from which a clock is doubtful: people compare Stanch's record with the logs of clusters and projects.
const DOUBTFUL_SKEW_S: u64 = 5;
/// Seconds from which it is wrong: approvals expire at other times than people think, and Google refuses credentials of another time.
const WRONG_SKEW_S: u64 = 60;

impl Check {
    /// As it must be.
    #[must_use]
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), hint: String::new() }
    }

    /// It could not be told, or will become a problem.
    #[must_use]
    pub fn warn(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, found: found.into(), hint: hint.into() }
    }

    /// A command would fail.
    #[must_use]
    pub fn fail(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, found: found.into(), hint: hint.into() }
    }

    /// This machine's clock, against one that is this many seconds ahead of it. `None`: the other side did not say.
    #[must_use]
    pub fn clock(ahead_s: Option<i64>) -> Self {
        let name = "clock";
        let Some(ahead_s) = ahead_s else {
            return Self::warn(name, "the other side tells no time", "compare the clock of this machine by hand");
        };
        let words = match ahead_s {
            0 => "no difference".to_owned(),
            1.. => format!("{ahead_s} s behind"),
            _ => format!("{} s ahead", ahead_s.unsigned_abs()),
        };
        let hint = "let this machine keep its time by NTP";
        match ahead_s.unsigned_abs() {
            ..DOUBTFUL_SKEW_S => Self::ok(name, words),
            DOUBTFUL_SKEW_S..WRONG_SKEW_S => Self::warn(name, words, hint),
            WRONG_SKEW_S.. => Self::fail(name, words, hint),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// How many checks stand how.
#[must_use]
pub fn gist(diagnoses: &[Diagnosis]) -> String {
    let count = |verdict| diagnoses.iter().filter(|diagnosis| diagnosis.check.verdict == verdict).count();
    format!("{} failed, {} doubtful, {} ok", count(Verdict::Fail), count(Verdict::Warn), count(Verdict::Ok))
}

/// A line for each check, in columns, with its hint below it.
#[must_use]
pub fn table(diagnoses: &[Diagnosis]) -> String {
    let widest = |text: fn(&Diagnosis) -> &str| diagnoses.iter().map(|diagnosis| text(diagnosis).chars().count()).max().unwrap_or_default();
    let (part, name) = (widest(|diagnosis| &diagnosis.part), widest(|diagnosis| diagnosis.check.name));
    let lines = diagnoses.iter().map(|Diagnosis { part: of, check }| {
        let hint = if check.hint.is_empty() { String::new() } else { format!("\n{:6}hint: {}", "", check.hint) };
        format!("{:<5} {of:<part$}  {:<name$}  {}{hint}\n", check.verdict, check.name, check.found)
    });
    lines.collect::<String>() + &gist(diagnoses)
}

/// What is wrong first, with its hint.
pub(super) fn message(diagnoses: &[Diagnosis]) -> Message {
    let list = |title, verdict| {
        let of = diagnoses.iter().filter(|diagnosis| diagnosis.check.verdict == verdict);
        let items: Vec<String> = of
            .map(|Diagnosis { part, check }| {
                let hint = if check.hint.is_empty() { String::new() } else { format!(". Hint: {}", check.hint) };
                format!("{part}, {}: {}{hint}", check.name, check.found)
            })
            .collect();
        (!items.is_empty()).then_some(Block::List { title, items })
    };
    let lists = [list("Failed", Verdict::Fail), list("Doubtful", Verdict::Warn), list("Ok", Verdict::Ok)];
    let heading = Block::Heading(format!("Examination: {}", gist(diagnoses)));
    Message { blocks: std::iter::once(heading).chain(lists.into_iter().flatten()).collect(), ..Message::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_judged_by_their_difference() {
        let verdicts = [0, 4, -4, 5, -59, 60, -3_600].map(|ahead_s| Check::clock(Some(ahead_s)).verdict);
        use Verdict::{Fail, Ok, Warn};
        assert_eq!(verdicts, [Ok, Ok, Ok, Warn, Warn, Fail, Fail]);
        assert_eq!((Check::clock(Some(7)).found.as_str(), Check::clock(Some(-7)).found.as_str()), ("7 s behind", "7 s ahead"));
        assert_eq!(Check::clock(None).verdict, Warn);
    }
}
