//! Goal: a log is backed up by copying its files while Stanch writes, and goes on from the copy. Method: `cp`, in the order that README.md
//! tells, beside a writer.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use stanch::adapters::audit::{AuditError, Log};
use stanch::verify::{Expected, verify};

use super::logs::{ORIGIN, copy, entries, log_of};

/// The parts of a log in the order in which they are copied: each covers all that those before it do.
const ORDER: [&str; 6] = ["verifier-key", "signing-key", "rotations", "checkpoint", "tile", "journal"];

/// Copies a log as README.md says, again if the journal was begun anew meanwhile: `verify` tells.
fn back_up(log: &Path, to: &Path) -> u64 {
    for _ in 0..20 {
        let _ = fs::remove_dir_all(to);
        fs::create_dir(to).unwrap();
        let copied = Command::new("cp").arg("-a").args(ORDER.map(|part| log.join(part))).arg(to).output().unwrap();
        let report = verify(to, &Expected::default());
        if copied.status.success() && report.problems.is_empty() {
            return report.entries;
        }
    }
    panic!("no copy was whole: {:?}", verify(to, &Expected::default()).problems);
}

#[test]
fn a_plain_copy_of_a_log_that_is_being_written_is_a_backup() {
    let folder = log_of(200, 0);
    let enough = AtomicBool::new(false);
    let backups = tempfile::tempdir().unwrap();
    let copy = backups.path().join("log");
    let backed_up = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut log, _) = Log::open(folder.path(), ORIGIN).unwrap();
            while !enough.load(Ordering::Relaxed) {
                let first = usize::try_from(log.size()).unwrap();
                log.append(&entries(first..first + 3)).unwrap();
                log.checkpoint().unwrap();
            }
        });
        let mut sizes = vec![];
        while sizes.last().is_none_or(|size| *size < 600) {
            sizes.push(back_up(folder.path(), &copy));
        }
        enough.store(true, Ordering::Relaxed);
        sizes
    });
    assert!(backed_up.is_sorted());
    // It goes on where the copy ends, and the original is untouched.
    let (mut log, opened) = Log::open(&copy, ORIGIN).unwrap();
    let last = *backed_up.last().unwrap();
    assert_eq!((opened.entries, opened.torn_bytes), (last, 0));
    log.append(&entries(usize::try_from(last).unwrap()..usize::try_from(last).unwrap() + 300)).unwrap();
    log.checkpoint().unwrap();
    assert_eq!(verify(&copy, &Expected::default()).problems, []);
    assert_eq!(verify(folder.path(), &Expected::default()).problems, []);
}

fn set_modes(log: &Path, mode: u32) {
    for part in ["", "tile", "tile/0", "tile/entries"] {
        fs::set_permissions(log.join(part), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// An auditor has a copy without the secret key, which they may not write to.
#[test]
fn a_copy_for_an_auditor_needs_no_secret_and_no_write() {
    let folder = log_of(300, 10);
    let copy = copy(folder.path());
    fs::remove_file(copy.path().join("signing-key")).unwrap();
    fs::remove_file(copy.path().join("lock")).unwrap();
    set_modes(copy.path(), 0o500);
    assert_eq!(verify(copy.path(), &Expected::default()).problems, []);
    set_modes(copy.path(), 0o700);
    assert!(matches!(Log::open(copy.path(), ORIGIN), Err(AuditError::BadCheckpoint { .. })), "without its key a log is not written on");
}

/// Partial tiles go when the full one is there, or every checkpoint would leave up to 255 entries behind.
#[test]
fn nothing_is_kept_twice() {
    let folder = log_of(0, 0);
    let (mut log, _) = Log::open(folder.path(), ORIGIN).unwrap();
    for first in (0..512).step_by(8) {
        log.append(&entries(first..first + 8)).unwrap();
        log.checkpoint().unwrap();
    }
    let files = super::logs::files(&folder.path().join("tile"));
    let files: Vec<_> = files.iter().map(|file| file.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
    assert_eq!(files, ["tile/0/000", "tile/0/001", "tile/1/000.p/1", "tile/1/000.p/2", "tile/entries/000", "tile/entries/001"]);
    assert_eq!(verify(folder.path(), &Expected::default()).problems, []);
}
