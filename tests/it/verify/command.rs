//! Goal: `stanch audit …` answers, and its exit status says how. Method: the command line, carried out in this process.

use std::fs;
use std::path::Path;

use clap::Parser;
use stanch::verify::cli::{Command, run};

use super::logs::{Tampering, anchored, entry, log_of, tamperings};

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// Exit status and output of `stanch audit ARGUMENTS`.
fn audit(arguments: &[&str]) -> (bool, String) {
    let line = Line::try_parse_from(std::iter::once(&"audit").chain(arguments)).unwrap();
    let mut out = Vec::new();
    let done = run(line.command, || anyhow::bail!("no default"), &mut out);
    let said = String::from_utf8(out).unwrap();
    match done {
        Ok(done) => (done, said),
        Err(error) => (false, format!("{said}error: {error:#}")),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn verify_tells_people_what_there_is() {
    let folder = log_of(300, 10);
    let (path, key) = (folder.path(), fs::read_to_string(folder.path().join("verifier-key")).unwrap());
    let note = fs::read_to_string(path.join("checkpoint")).unwrap();
    let root = note.lines().nth(2).unwrap();
    let chat = folder.path().join("chat.txt");
    fs::write(&chat, anchored(&note)).unwrap();
    let expected = format!(
        "Audit log in {}: as it was written\n  entries      310, from 2026-01-01 00:00:00 UTC to 2026-01-01 00:05:09 UTC\n  \
         signed       300 entries, root {root}\n  key          {}\n  history      lawful; 0 requests, 0 of them open\n  \
         chat         1 checkpoints agree; the newest covers 300 entries\n  not checked  no part of the log: chat.txt\n\
         hint: the newest 10 entries are not signed yet; the next checkpoint covers them\n",
        path.display(),
        key.trim_end()
    );
    assert_eq!(audit(&["verify", "--anchors", text(&chat), "--key", text(&path.join("verifier-key")), text(path)]), (true, expected));

    // The data folder is as good as the log's.
    let data = tempfile::tempdir().unwrap();
    fs::rename(path, data.path().join("log")).unwrap();
    assert!(audit(&["verify", "--key", key.trim_end(), text(data.path())]).0);
    let (done, said) = audit(&["verify", "--key", "nothing", text(data.path())]);
    assert_eq!(
        (done, said.as_str()),
        (false, "error: `nothing` is neither a key nor a file: it is no Ed25519 key of the form NAME+ID+BASE64")
    );
}

#[test]
fn verify_tells_the_first_bad_entry_and_what_to_do() {
    let Tampering { tamper, .. } = tamperings().into_iter().next().unwrap();
    let folder = log_of(300, 10);
    tamper(folder.path());
    let (done, said) = audit(&["verify", text(folder.path())]);
    assert!(!done);
    assert!(said.contains(": 1 problem, the first bad entry is 37\n"), "{said}");
    let told = "problem: entry 37 is damaged: its tile has another hash for it (`tile/entries/000`)\n  hint: keep the folder as it is: it may \
                be evidence; compare it with a backup\n";
    assert!(said.ends_with(told), "{said}");
}

#[test]
fn an_entry_is_proved_to_somebody_without_the_log() {
    let folder = log_of(300, 10);
    let files = tempfile::tempdir().unwrap();
    let (proof, stored, key) = (files.path().join("118.tlog-proof"), files.path().join("118.json"), folder.path().join("verifier-key"));
    let (log, proof, stored, key) = (text(folder.path()), text(&proof), text(&stored), text(&key));
    for index in ["0", "118", "255", "256", "299"] {
        assert_eq!(audit(&["prove", index, "--out", proof, "--entry", stored, log]), (true, String::new()));
        assert_eq!(fs::read(stored).unwrap(), entry(index.parse().unwrap(), "1"));
        let (done, said) = audit(&["verify-proof", proof, stored, "--key", key]);
        assert!(done, "{said}");
        assert!(
            said.starts_with(&format!("proven: this is entry {index} of the log, which had 300 entries when stanch.test/log+")),
            "{said}"
        );
        fs::write(stored, entry(7, "1")).unwrap();
        let told = "not proven: the entry is not the one that the proof is about, or the proof was changed\n";
        assert_eq!(audit(&["verify-proof", proof, stored, "--key", key]), (false, told.into()));
    }
    let told = "error: there is no proof: entry 300 is not signed: the checkpoint covers the entries before 300, and the log has 310";
    assert_eq!(audit(&["prove", "300", log]), (false, told.into()));
    let other = log_of(1, 0);
    fs::write(stored, entry(299, "1")).unwrap();
    let told = "not proven: its checkpoint is not believed: it is not signed by the key of this log\n";
    assert_eq!(audit(&["verify-proof", proof, stored, "--key", text(&other.path().join("verifier-key"))]), (false, told.into()));
}

#[test]
fn the_log_is_exported_whole_or_in_part() {
    let folder = log_of(300, 10);
    let (done, lines) = audit(&["export", text(folder.path())]);
    assert!(done);
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 310);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["index"], index);
        assert_eq!(line["entry"], serde_json::from_slice::<serde_json::Value>(&entry(index, "1")).unwrap());
    }
    let part = ["export", "--format", "cef", "--since", "2026-01-01T00:05:00Z", "--until", "2026-01-01T00:05:02Z", text(folder.path())];
    let (done, lines) = audit(&part);
    assert!(done);
    let ids: Vec<_> = lines.lines().map(|line| line.split(' ').find(|field| field.starts_with("externalId=")).unwrap()).collect();
    assert_eq!(ids, ["externalId=300", "externalId=301"]);
    assert_eq!(audit(&["export", "--request", "r-1", text(folder.path())]), (true, String::new()));
}

#[test]
fn the_newest_entries_are_shown() {
    let folder = log_of(300, 10);
    let (done, said) = audit(&["tail", "-n", "2", text(folder.path())]);
    let expected = "   308  2026-01-01 00:05:08 UTC  -          started              -          \
                    {\"policy_sha256\":\"00\",\"version\":\"1 308\"}\n   \
                    309  2026-01-01 00:05:09 UTC  -          started              -          \
                    {\"policy_sha256\":\"00\",\"version\":\"1 309\"}\n";
    assert_eq!((done, said.as_str()), (true, expected));
    assert_eq!(audit(&["tail", "-n", "60", text(folder.path())]).1.lines().count(), 60);
    assert_eq!(audit(&["tail", "-n", "9999", text(folder.path())]).1.lines().count(), 310);
}

#[test]
fn a_log_that_is_not_there_is_told() {
    let (done, said) = audit(&["tail", "/nonexistent"]);
    assert_eq!(
        (done, said.as_str()),
        (false, "error: there is no folder `/nonexistent`; name the data folder of Stanch, or a copy of its log")
    );
}
