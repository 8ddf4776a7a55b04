//! Checkpoints that stand in chat: found in an export or in pasted text, and compared with the log.

use std::collections::BTreeSet;

use serde_json::Value;

use super::hash::Hashes;
use super::note::{Checkpoint, Key};
use super::problem::Problem;

/// Signature lines that are read of one checkpoint: as many as the specification demands.
const MOST_SIGNATURES: usize = 16;

/// What chat witnessed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witnessed {
    /// Different checkpoints that agree with the log.
    pub agreeing: usize,
    /// Entries that the newest of them covers.
    pub newest: u64,
}

/// Compares every checkpoint in the text with the log. The text is JSON, JSON by line, or plain; a checkpoint that stands there several
/// times counts once.
pub(super) fn compare(text: &str, keys: &[Key], hashes: &Hashes) -> (Witnessed, Vec<Problem>) {
    let (mut witnessed, mut problems) = (Witnessed::default(), Vec::new());
    let mut found = BTreeSet::new();
    pieces(text).iter().for_each(|piece| notes(piece, keys, &mut found));
    if found.is_empty() {
        let why = "there are no lines with the log's name, a number and a root";
        return (witnessed, vec![Problem::NoAnchors { why }]);
    }
    for (size, note) in found {
        let whence = format!("the checkpoint of {size} entries in chat");
        match judge(&note, &whence, keys, hashes, witnessed.newest) {
            Ok(size) => {
                witnessed.agreeing += 1;
                witnessed.newest = size;
            }
            Err(problem) => problems.push(problem),
        }
    }
    (witnessed, problems)
}

fn judge(note: &str, whence: &str, keys: &[Key], hashes: &Hashes, after: u64) -> Result<u64, Problem> {
    let whence = whence.to_owned();
    let checkpoint = match Checkpoint::open(note, keys) {
        Ok(checkpoint) => checkpoint,
        Err(why) => return Err(Problem::Note { whence, why }),
    };
    match hashes.root(checkpoint.size) {
        None => Err(Problem::RolledBack { whence, witnessed: checkpoint.size, size: hashes.size() }),
        Some(root) if root == checkpoint.root => Ok(checkpoint.size),
        Some(_) => Err(Problem::Forked { whence, after, last: checkpoint.size.saturating_sub(1) }),
    }
}

/// The texts in which checkpoints may stand: every string of a JSON document or line, or the text itself.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    match serde_json::from_str::<Value>(text) {
        Ok(document) => strings(document, &mut pieces),
        Err(_) => {
            let mut plain = String::new();
            for line in text.lines() {
                match serde_json::from_str::<Value>(line) {
                    Ok(document @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => strings(document, &mut pieces),
                    Ok(Value::Null | Value::Bool(_) | Value::Number(_)) | Err(_) => {
                        plain.push_str(line);
                        plain.push('\n');
                    }
                }
            }
            pieces.push(plain);
        }
    }
    pieces
}

fn strings(value: Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(values) => values.into_iter().for_each(|value| strings(value, into)),
        Value::Object(values) => values.into_iter().for_each(|(_, value)| strings(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Collects what looks like a checkpoint of this log, by size. What chat does to the lines around (indenting, quoting, fences, blank lines)
/// does not matter: the note is put together again as it was signed, and judged then.
fn notes(piece: &str, keys: &[Key], found: &mut BTreeSet<(u64, String)>) {
    let cleaned = piece.lines().map(|line| line.trim_matches(|c: char| c.is_whitespace() || matches!(c, '>' | '`')));
    let lines: Vec<&str> = cleaned.filter(|line| !line.is_empty()).collect();
    for (place, origin) in lines.iter().enumerate() {
        let Some([size, root]) = lines.get(place + 1..place + 3) else { return };
        let Ok(number) = size.parse::<u64>() else { continue };
        if !keys.iter().any(|key| key.name == *origin) || root.len() != 44 {
            continue;
        }
        let signatures = lines.iter().skip(place + 3).take_while(|line| line.starts_with("— ")).take(MOST_SIGNATURES);
        let signatures: String = signatures.map(|line| format!("{line}\n")).collect();
        found.insert((number, format!("{origin}\n{size}\n{root}\n\n{signatures}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::note::BadNote;

    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn a_checkpoint_is_found_in_whatever_chat_makes_of_it() {
        let key: Key = KEY.parse().unwrap();
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        let canonical = format!("PeterNeumann\n7\n{root}\n\n— PeterNeumann AAAA\n");
        let escaped = canonical.replace('/', "\\/").replace('\n', "\\n").replace('—', "\\u2014");
        let quoted = canonical.lines().map(|line| format!("> {line}\n")).collect::<String>();
        let squeezed = canonical.replace("\n\n", "\n");
        for text in [
            canonical.clone(),
            format!("rosa 12:00\n```{canonical}```\nthanks"),
            quoted,
            squeezed,
            format!(r#"[{{"ts":"1.2","text":"audit log at end\n```{escaped}```"}}]"#),
            format!("{{\"text\":\"{escaped}\"}}\n{{\"text\":\"PeterNeumann\"}}\n"),
        ] {
            let mut found = BTreeSet::new();
            pieces(&text).iter().for_each(|piece| notes(piece, std::slice::from_ref(&key), &mut found));
            assert_eq!(found, [(7, canonical.clone())].into(), "{text}");
        }
    }

    #[test]
    fn what_is_no_checkpoint_is_said() {
        let (witnessed, problems) = compare("good morning\nPeterNeumann\nis here", &[KEY.parse().unwrap()], &Hashes::default());
        assert_eq!(witnessed, Witnessed::default());
        assert_eq!(problems, [Problem::NoAnchors { why: "there are no lines with the log's name, a number and a root" }]);
        let unsigned = "PeterNeumann\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let (_, problems) = compare(unsigned, &[KEY.parse().unwrap()], &Hashes::default());
        assert_eq!(problems, [Problem::Note { whence: "the checkpoint of 7 entries in chat".into(), why: BadNote::Form }]);
    }
}
