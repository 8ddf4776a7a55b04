//! Goal: a log goes on under another key, and nobody but its keeper can say so. Method: a rotation, what a crash leaves of one, and what
//! others could make of it.

use std::fs;
use std::path::Path;

use stanch::adapters::audit::Log;
use stanch::bot::rotate_key;
use stanch::verify::{BadNote, Expected, Key, Problem, verify};
use tempfile::TempDir;

use super::logs::{anchored, append_as, copy, entries};

const ORIGIN: &str = "stanch.dev/audit-log";

fn log() -> (TempDir, Key) {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), ORIGIN).unwrap();
    log.append(&entries(0..300)).unwrap();
    log.checkpoint().unwrap();
    let key = key_of(folder.path());
    (folder, key)
}

fn key_of(folder: &Path) -> Key {
    fs::read_to_string(folder.join("verifier-key")).unwrap().trim_end().parse().unwrap()
}

fn rotate(folder: &Path) {
    rotate_key(folder, "2026-02-01T00:00:00Z".parse().unwrap()).unwrap();
}

fn problems(folder: &Path, key: Option<&Key>, anchors: Option<&str>) -> Vec<Problem> {
    verify(folder, &Expected { key: key.cloned(), anchors: anchors.map(str::to_owned) }).problems
}

#[test]
fn a_log_goes_on_under_another_key() {
    let (folder, first) = log();
    let chat = anchored(&fs::read_to_string(folder.path().join("checkpoint")).unwrap());
    rotate(folder.path());
    let second = key_of(folder.path());
    append_as(folder.path(), ORIGIN, 10, "1");
    rotate(folder.path());
    let third = key_of(folder.path());
    let chat = chat + &anchored(&append_as(folder.path(), ORIGIN, 10, "1"));
    assert!(first != second && second != third);
    for key in [&first, &second, &third] {
        assert_eq!(problems(folder.path(), Some(key), Some(&chat)), [], "{key}");
    }
    let report = verify(folder.path(), &Expected::default());
    assert_eq!((report.entries, report.key), (322, Some(third)));
    let (_, stranger) = log();
    assert!(matches!(problems(folder.path(), Some(&stranger), None).as_slice(), [Problem::AnotherKey { .. }, Problem::Note { .. }]));
}

#[test]
fn what_is_no_log_gets_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let error = rotate_key(folder.path(), "2026-02-01T00:00:00Z".parse().unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("there is no audit log in "), "{error}");
    assert_eq!(super::logs::files(folder.path()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_retired_key_vouches_for_nothing_more() {
    let (folder, _) = log();
    let stolen = copy(folder.path());
    rotate(folder.path());
    // Who has the old key goes on with the old log.
    let forged = anchored(&append_as(stolen.path(), ORIGIN, 1, "forged"));
    let found = problems(folder.path(), None, Some(&forged));
    assert!(matches!(found.as_slice(), [Problem::Note { why: BadNote::Retired, .. }]), "{found:?}");
    // Or hands the log over to a key of their own, under the key that was noted.
    rotate(stolen.path());
    let chat = anchored(&fs::read_to_string(folder.path().join("checkpoint")).unwrap());
    assert!(matches!(problems(stolen.path(), None, Some(&chat)).as_slice(), [Problem::Note { why: BadNote::Unsigned, .. }]));
}

#[test]
fn what_hands_the_log_over_cannot_be_changed_or_taken_away() {
    let (folder, _) = log();
    rotate(folder.path());
    let path = folder.path().join("rotations/001");
    let note = fs::read(&path).unwrap();
    for place in 0..note.len() {
        let mut changed = note.clone();
        changed[place] ^= 1;
        fs::write(&path, changed).unwrap();
        assert_ne!(problems(folder.path(), None, None), [], "at {place}");
    }
    fs::remove_file(&path).unwrap();
    let found = problems(folder.path(), None, None);
    assert_eq!(found, [Problem::Missing { file: "rotations".into(), index: Some(300) }]);
}

/// A rotation writes, one after the other: the next key, the hand-over, the checkpoint of the next key; then the next key takes the old one's
/// place. Before the hand-over it is undone, afterwards finished.
#[test]
fn a_rotation_that_a_crash_cut_off_is_undone_or_finished() {
    let (before, first) = log();
    let after = copy(before.path());
    let (mut log, _) = Log::open(after.path(), ORIGIN).unwrap();
    log.rotate_key().unwrap();
    drop(log);
    let second = key_of(after.path());
    let steps = [("signing-key", "signing-key.next"), ("rotations/001", "rotations/001"), ("checkpoint", "checkpoint")];
    for done in 1..=steps.len() {
        let crashed = copy(before.path());
        fs::create_dir_all(crashed.path().join("rotations")).unwrap();
        for (from, to) in &steps[..done] {
            fs::copy(after.path().join(from), crashed.path().join(to)).unwrap();
        }
        append_as(crashed.path(), ORIGIN, 5, "1");
        assert_eq!(key_of(crashed.path()), if done == 1 { first.clone() } else { second.clone() }, "after {done}");
        assert!(!crashed.path().join("signing-key.next").exists());
        assert_eq!(problems(crashed.path(), Some(&first), None), [], "after {done}");
    }
}
