//! What was found, in words for people.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::Report;

/// Problems that are told one by one.
const TOLD: usize = 10;

const UNWITNESSED: &str = "hint: who has the key can write another log; compare the key with the one you noted (--key), and the checkpoints in \
                           chat (--anchors)\n";

/// The report, for a terminal.
#[must_use]
pub fn told(folder: &Path, report: &Report) -> String {
    let mut text = format!("Audit log in {}: {}\n", folder.display(), verdict(report));
    let mut line = |name: &str, what: String| text.push_str(&format!("  {name:<12} {what}\n"));
    let times = match (report.first, report.last) {
        (Some(first), Some(last)) => format!(", from {} to {}", time(first), time(last)),
        _ => String::new(),
    };
    line("entries", format!("{}{times}", report.entries));
    if let Some(checkpoint) = &report.checkpoint {
        line("signed", format!("{} entries, root {}", checkpoint.size, STANDARD.encode(checkpoint.root)));
    }
    if let Some(key) = &report.key {
        line("key", key.to_string());
    }
    if report.problems.is_empty() {
        line("history", format!("lawful; {} requests, {} of them open", report.requests, report.open));
    }
    if let Some(witnessed) = &report.witnessed {
        line("chat", format!("{} checkpoints agree; the newest covers {} entries", witnessed.agreeing, witnessed.newest));
    }
    if !report.ignored.is_empty() {
        line("not checked", format!("no part of the log: {}", report.ignored.join(", ")));
    }
    problems(&mut text, report);
    if report.problems.is_empty() {
        advice(&mut text, report);
    }
    text.truncate(text.trim_end().len());
    text
}

fn verdict(report: &Report) -> String {
    let count = match report.problems.len() {
        0 => return "as it was written".into(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    match report.problems.iter().find_map(super::Problem::index) {
        Some(index) => format!("{count}, the first bad entry is {index}"),
        None => count,
    }
}

fn problems(text: &mut String, report: &Report) {
    let mut hinted = BTreeSet::new();
    for problem in report.problems.iter().take(TOLD) {
        text.push_str(&format!("problem: {problem}\n"));
        if hinted.insert(problem.hint()) {
            text.push_str(&format!("  hint: {}\n", problem.hint()));
        }
    }
    if report.problems.len() > TOLD {
        text.push_str(&format!("and {} more\n", report.problems.len() - TOLD));
    }
}

/// What a log that is in order does not prove by itself.
fn advice(text: &mut String, report: &Report) {
    if report.witnessed.is_none() {
        text.push_str(UNWITNESSED);
    }
    let unsigned = report.entries.saturating_sub(report.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size));
    if unsigned > 0 {
        text.push_str(&format!("hint: the newest {unsigned} entries are not signed yet; the next checkpoint covers them\n"));
    }
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
