//! Goal: what the log returned is there after anything short of a lost disk, and nothing else is believed.
//! Method: real files; copies of the folder that were cut, changed or rolled back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use stanch::adapters::audit::{AuditError, ENTRY_LIMIT_BYTES, Log, Opened, Tree};
use tempfile::TempDir;

const ORIGIN: &str = "stanch.test/log";

fn entry(number: usize) -> Vec<u8> {
    format!("{{\"entry\":{number}}}").into_bytes()
}

fn entries(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    range.map(entry).collect()
}

fn open(folder: &Path) -> Result<(Log, Opened), AuditError> {
    Log::open(folder, ORIGIN)
}

fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_into(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// A log with 300 signed entries and 10 more, closed.
fn signed_log() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path()).unwrap();
    log.append(&entries(0..300)).unwrap();
    log.checkpoint().unwrap();
    assert_eq!(log.append(&entries(300..310)).unwrap().get(), 309);
    folder
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_mix_of_appends_checkpoints_and_restarts_is_one_log(moves in prop::collection::vec((0..5_usize, 1..200_usize), 1..12)) {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, _) = open(folder.path()).unwrap();
        let mut tree = Tree::default();
        let mut written = 0;
        for (kind, count) in moves {
            match kind {
                0 => { log.checkpoint().unwrap(); }
                1 => {
                    drop(log);
                    let (again, opened) = open(folder.path()).unwrap();
                    prop_assert_eq!(opened, Opened { entries: written as u64, torn_bytes: 0 });
                    log = again;
                }
                _ => {
                    let batch = entries(written..written + count);
                    batch.iter().for_each(|entry| drop(tree.push(entry)));
                    written += count;
                    prop_assert_eq!(log.append(&batch).unwrap().get(), written as u64 - 1);
                }
            }
        }
        prop_assert_eq!(log.entries(0).unwrap(), entries(0..written));
        prop_assert_eq!(log.entries(written as u64 / 2).unwrap(), entries(written / 2..written));
        let note = log.checkpoint().unwrap();
        let lines: Vec<&str> = note.lines().collect();
        prop_assert_eq!((lines[0].to_owned(), lines[1].to_owned()), (ORIGIN.to_owned(), written.to_string()));
    }
}

#[test]
fn the_files_are_those_of_the_specification() {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.push(format!(
                    "{} {:o}",
                    path.strip_prefix(root).unwrap().display(),
                    path.metadata().unwrap().permissions().mode() & 0o777
                ));
            }
        }
    }
    let folder = signed_log();
    let mut found = vec![];
    walk(folder.path(), folder.path(), &mut found);
    found.retain(|file| !file.starts_with("lock"));
    found.sort();
    assert_eq!(
        found,
        [
            "checkpoint 600",
            "journal 600",
            "signing-key 600",
            "tile/0/000 600",
            "tile/0/001.p/44 600",
            "tile/1/000.p/1 600",
            "tile/entries/000 600",
            "tile/entries/001.p/44 600",
            "verifier-key 600",
        ]
    );
    let bundle = fs::read(folder.path().join("tile/entries/000")).unwrap();
    assert_eq!(&bundle[..14], b"\x00\x0b{\"entry\":0}\x00");
}

/// Cuts the journal at every byte: an unsigned end is what a crash can tear, a signed one is not.
#[test]
fn a_journal_cut_anywhere_loses_only_what_was_never_signed() {
    let folder = signed_log();
    let journal = fs::read(folder.path().join("journal")).unwrap();
    let mut opened_with = vec![];
    for length in 0..journal.len() {
        let copy = copy(folder.path());
        fs::write(copy.path().join("journal"), &journal[..length]).unwrap();
        match open(copy.path()) {
            Ok((mut log, opened)) => {
                assert!((300..310).contains(&opened.entries), "{opened:?}");
                assert_eq!(log.append(&[b"next".to_vec()]).unwrap().get(), opened.entries);
                opened_with.push(opened.entries);
            }
            Err(AuditError::Shorter { checkpoint: 300, found }) => assert!((256..300).contains(&found)),
            Err(AuditError::Damaged { index: 256 }) => assert!(length < 8, "only a header can be too short to read"),
            Err(other) => panic!("cut to {length}: {other}"),
        }
    }
    opened_with.dedup();
    assert_eq!(opened_with, (300..310).collect::<Vec<u64>>());
}

#[test]
fn a_changed_byte_is_never_believed() {
    let folder = signed_log();
    for (file, step) in [("journal", 1), ("tile/entries/000", 37), ("checkpoint", 1)] {
        let bytes = fs::read(folder.path().join(file)).unwrap();
        for position in (0..bytes.len()).step_by(step) {
            let copy = copy(folder.path());
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            fs::write(copy.path().join(file), &changed).unwrap();
            match open(copy.path()) {
                Err(_) => {}
                // Behind the checkpoint, a change in the last record, or in a length, looks like a torn append: those entries are cut, and said.
                Ok((log, opened)) => {
                    assert!(file == "journal" && opened.entries >= 300 && opened.torn_bytes > 0, "{file} at {position}: {opened:?}");
                    assert_eq!(log.entries(0).unwrap(), entries(0..usize::try_from(opened.entries).unwrap()));
                }
            }
        }
    }
}

#[test]
fn an_older_copy_of_the_entries_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path()).unwrap();
    log.append(&entries(0..5)).unwrap();
    let older = fs::read(folder.path().join("journal")).unwrap();
    log.append(&entries(5..10)).unwrap();
    log.checkpoint().unwrap();
    drop(log);
    fs::write(folder.path().join("journal"), older).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), "the log has 5 entries, but its signed checkpoint has 10: entries from 5 on are missing");
}

/// The state between filling the journal and writing its bundle.
#[test]
fn a_full_journal_without_its_bundle_is_sealed_on_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path()).unwrap();
    log.append(&entries(0..255)).unwrap();
    drop(log);
    let before = copy(folder.path());
    let (mut log, _) = open(folder.path()).unwrap();
    let path = folder.path().join("journal");
    let start = fs::read(&path).unwrap();
    // One more record makes it full; take it from a journal that has not rotated yet, by keeping entry 255 and undoing the rotation.
    log.append(&entries(255..256)).unwrap();
    drop(log);
    assert_eq!(fs::read(&path).unwrap(), 256_u64.to_be_bytes(), "the journal was replaced");
    let crashed = copy(before.path());
    let mut full = start;
    let last = entry(255);
    let hash = {
        use sha2::Digest as _;
        sha2::Sha256::new_with_prefix(255_u64.to_be_bytes()).chain_update(&last).finalize()
    };
    full.extend(u32::try_from(last.len()).unwrap().to_be_bytes());
    full.extend(&last);
    full.extend(&hash[..8]);
    fs::write(crashed.path().join("journal"), full).unwrap();
    let (mut log, opened) = open(crashed.path()).unwrap();
    assert_eq!(opened, Opened { entries: 256, torn_bytes: 0 });
    log.append(&entries(256..300)).unwrap();
    drop(log);
    let (log, _) = open(crashed.path()).unwrap();
    assert_eq!(log.entries(0).unwrap(), entries(0..300));
}

#[test]
fn one_log_has_one_writer_and_a_private_key() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(AuditError::InUse { .. })));
    drop(log);
    fs::set_permissions(folder.path().join("signing-key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(open(folder.path()), Err(AuditError::ExposedKey { mode: 0o644, .. })));
}

#[test]
fn a_log_of_another_name_or_key_is_refused() {
    let folder = signed_log();
    assert!(matches!(Log::open(folder.path(), "another.test/log"), Err(AuditError::BadCheckpoint { .. })));
    fs::remove_file(folder.path().join("signing-key")).unwrap();
    assert!(matches!(open(folder.path()), Err(AuditError::BadCheckpoint { .. })), "a new key did not sign this checkpoint");
}

#[test]
fn an_entry_that_is_too_long_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path()).unwrap();
    let longest = vec![b'x'; ENTRY_LIMIT_BYTES];
    assert!(matches!(log.append(&[entry(0), vec![b'x'; ENTRY_LIMIT_BYTES + 1]]), Err(AuditError::TooLong { bytes: 65_536 })));
    assert_eq!(log.append(&[longest]).unwrap().get(), 0);
}
