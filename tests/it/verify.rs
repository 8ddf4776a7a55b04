//! Goal: whatever is changed in a log, `verify` says so and names the first bad entry. Method: logs that the writer made, tampered with in
//! every way; and every file of one, bit by bit.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

mod command;
mod independent;
mod logs;

use std::fs;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

use logs::{ORIGIN, Tampering, anchored, append, log_of, tamperings, with_key_of};
use proptest::prelude::*;
use stanch::adapters::audit::Log;
use stanch::verify::{Expected, Problem, Report, told, verify};
use tempfile::TempDir;

fn check(folder: &std::path::Path) -> Report {
    verify(folder, &Expected::default())
}

/// The sizes at which tiles and bundles begin and end, with and without entries behind the checkpoint.
#[test]
fn a_log_of_any_size_is_as_it_was_written() {
    for size in [1, 2, 255, 256, 257, 300, 511, 512, 513, 1_000] {
        for more in [0, 1, 7] {
            let folder = log_of(size, more);
            let report = check(folder.path());
            assert_eq!(report.problems, [], "{size} and {more}");
            assert_eq!((report.entries, report.checkpoint.unwrap().size), ((size + more) as u64, size as u64));
            assert_eq!((report.requests, report.ignored), (0, Vec::<String>::new()));
        }
    }
}

/// A full level-0 tile of tiles: 65,536 entries and a few more.
#[test]
fn a_log_with_tiles_on_three_levels_is_as_it_was_written() {
    let folder = log_of(65_537, 300);
    assert!(folder.path().join("tile/1/000").exists() && folder.path().join("tile/2/000.p/1").exists());
    assert_eq!(check(folder.path()).problems, []);
}

#[test]
fn every_tampering_is_found_and_the_first_bad_entry_named() {
    for Tampering { name, tamper, index, says } in tamperings() {
        let folder = log_of(300, 10);
        tamper(folder.path());
        let report = check(folder.path());
        let told = told(folder.path(), &report);
        assert_eq!(report.problems.iter().find_map(Problem::index), index, "{name}: {told}");
        assert!(told.contains(says), "{name}: {told}");
        assert!(!report.problems.is_empty(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Every file of the folder, the reserve and the keys too.
    #[test]
    fn any_changed_bit_is_found(file in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), bit in 0..8_u8) {
        static LOG: LazyLock<Mutex<(TempDir, Vec<PathBuf>)>> = LazyLock::new(|| {
            let folder = log_of(300, 10);
            fs::write(folder.path().join("reserve"), [0; 64]).unwrap();
            let mut files = logs::files(folder.path());
            files.retain(|file| fs::metadata(file).unwrap().len() > 0);
            Mutex::new((folder, files))
        });
        let log = LOG.lock().unwrap();
        let path = file.get(&log.1);
        let before = fs::read(path).unwrap();
        let (mut bytes, place) = (before.clone(), byte.index(before.len()));
        bytes[place] ^= 1 << bit;
        fs::write(path, bytes).unwrap();
        let problems = check(log.0.path()).problems;
        fs::write(path, before).unwrap();
        prop_assert_ne!(problems, [], "{} at {}, bit {}", path.display(), place, bit);
    }
}

#[test]
fn chat_tells_a_rollback_and_a_fork_that_the_files_hide() {
    let folder = log_of(0, 0);
    let mut chat = String::new();
    for _ in 0..3 {
        chat.push_str(&anchored(&append(folder.path(), 100, "ours")));
    }
    let expected = |text: &str| Expected { anchors: Some(text.to_owned()), key: None };
    let report = verify(folder.path(), &expected(&chat));
    assert_eq!((report.problems, report.witnessed.map(|seen| (seen.agreeing, seen.newest))), (vec![], Some((3, 300))));

    // The folder as it was after the first hundred: in order by itself.
    let older = with_key_of(folder.path());
    append(older.path(), 100, "ours");
    assert_eq!(check(older.path()).problems, []);
    let report = verify(older.path(), &expected(&chat));
    let sizes: Vec<_> = report.problems.iter().map(|problem| (matches!(problem, Problem::RolledBack { .. }), problem.index())).collect();
    assert_eq!(sizes, [(true, Some(100)), (true, Some(100))]);

    // It goes on with another history, under the same key.
    append(older.path(), 250, "theirs");
    assert_eq!(check(older.path()).problems, []);
    let report = verify(older.path(), &expected(&chat));
    let told = told(older.path(), &report);
    assert!(
        told.contains("forked: the checkpoint of 200 entries in chat saw other entries: the first difference is among entries 100 to 199"),
        "{told}"
    );
    assert_eq!(report.witnessed.map(|seen| (seen.agreeing, seen.newest)), Some((1, 100)));
}

#[test]
fn another_log_with_another_key_is_told_by_the_noted_key() {
    let folder = log_of(5, 0);
    let noted = check(folder.path()).key.unwrap();
    let other = log_of(5, 0);
    assert_eq!(check(other.path()).problems, []);
    let report = verify(other.path(), &Expected { key: Some(noted.clone()), anchors: None });
    assert!(
        matches!(report.problems.as_slice(), [Problem::AnotherKey { expected, .. }, Problem::Note { .. }] if *expected == noted.to_string())
    );
    let chat = anchored(&fs::read_to_string(folder.path().join("checkpoint")).unwrap());
    let report = verify(other.path(), &Expected { key: None, anchors: Some(chat) });
    assert!(matches!(report.problems.as_slice(), [Problem::Note { .. }]), "{:?}", report.problems);
}

#[test]
fn a_history_that_breaks_the_rules_is_told() {
    let folder = log_of(3, 0);
    let (mut log, _) = Log::open(folder.path(), ORIGIN).unwrap();
    log.append(&[br#"{"entry":"fact","at":"2026-01-01T00:00:00Z","request":"r-000001","fact":"expired"}"#.to_vec()]).unwrap();
    log.append(&[b"nothing".to_vec()]).unwrap();
    log.checkpoint().unwrap();
    let report = check(folder.path());
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].to_string().starts_with("entry 3 is not lawful: "), "{}", report.problems[0]);
}

/// Verification may run at any time, and on a folder that cannot be written.
#[test]
fn a_log_that_grows_is_read_without_an_error_and_nothing_is_written() {
    let folder = log_of(200, 0);
    let writer = std::thread::spawn({
        let path = folder.path().to_owned();
        move || {
            let (mut log, _) = Log::open(&path, ORIGIN).unwrap();
            for round in 0..120_usize {
                log.append(&logs::entries(200 + round * 7..207 + round * 7)).unwrap();
                if round % 3 == 0 {
                    log.checkpoint().unwrap();
                }
            }
        }
    });
    let mut reports = 0;
    while !writer.is_finished() || reports == 0 {
        assert_eq!(check(folder.path()).problems, []);
        reports += 1;
    }
    writer.join().unwrap();
    assert_eq!(check(folder.path()).entries, 1_040);
    let before = logs::files(folder.path());
    check(folder.path());
    assert_eq!(logs::files(folder.path()), before);
}
