//! Logs to verify, and the ways to tamper with one.

use std::fs;
use std::path::{Path, PathBuf};

use stanch::adapters::audit::Log;
use tempfile::TempDir;

pub const ORIGIN: &str = "stanch.test/log";

/// An entry that is lawful anywhere.
pub fn entry(number: usize, version: &str) -> Vec<u8> {
    let (hour, minute, second) = (number / 3_600 % 24, number / 60 % 60, number % 60);
    let at = format!("2026-01-01T{hour:02}:{minute:02}:{second:02}Z");
    format!(r#"{{"entry":"started","at":"{at}","version":"{version} {number}","policy_sha256":"00"}}"#).into_bytes()
}

pub fn entries(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    range.map(|number| entry(number, "1")).collect()
}

/// A closed log with so many entries, a checkpoint, and more entries.
pub fn log_of(signed: usize, more: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), ORIGIN).unwrap();
    log.append(&entries(0..signed)).unwrap();
    log.checkpoint().unwrap();
    log.append(&entries(signed..signed + more)).unwrap();
    folder
}

/// Appends entries and returns the checkpoint of them.
pub fn append(folder: &Path, count: usize, version: &str) -> String {
    let (mut log, _) = Log::open(folder, ORIGIN).unwrap();
    let first = usize::try_from(log.size()).unwrap();
    log.append(&(first..first + count).map(|number| entry(number, version)).collect::<Vec<_>>()).unwrap();
    log.checkpoint().unwrap()
}

/// An empty folder with the secret key of another log.
pub fn with_key_of(folder: &Path) -> TempDir {
    let fresh = tempfile::tempdir().unwrap();
    fs::copy(folder.join("signing-key"), fresh.path().join("signing-key")).unwrap();
    fresh
}

/// Puts every file of one folder over another.
fn overlay(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

/// A checkpoint as it stands in a thread.
pub fn anchored(note: &str) -> String {
    format!("Stanch APP 12:01\naudit log at end\n```{}```\n", note.trim_end())
}

pub fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    overlay(from, to.path());
    to
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (vec![], vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// A way to tamper with a log of 300 signed entries and 10 more, and what is said of it.
pub struct Tampering {
    pub name: &'static str,
    pub tamper: fn(&Path),
    /// The first bad entry, if one can be named.
    pub index: Option<u64>,
    pub says: &'static str,
}

fn change(folder: &Path, file: &str, edit: impl FnOnce(&mut Vec<u8>)) {
    let path = folder.join(file);
    let mut bytes = fs::read(&path).unwrap();
    edit(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn replace_by_other(folder: &Path, file: &str, size: usize) {
    fs::copy(log_of(size, 0).path().join(file), folder.join(file)).unwrap();
}

/// Where entry `number` begins in bytes that hold entries after `head` bytes, each between `before` and `behind` bytes of its own.
fn place(number: usize, first: usize, head: usize, before: usize, behind: usize) -> usize {
    head + (first..number).map(|number| before + entry(number, "1").len() + behind).sum::<usize>() + before
}

/// Those of the first group concern files that the specification names: other verifiers must see them too.
pub fn tamperings() -> Vec<Tampering> {
    let mut all = public_tamperings();
    all.extend([
        Tampering {
            name: "a byte of the journal",
            tamper: |folder| change(folder, "journal", |bytes| bytes[place(303, 256, 8, 4, 8) + 40] ^= 1),
            index: Some(303),
            says: "entry 303 is damaged",
        },
        Tampering {
            name: "a length in the journal",
            tamper: |folder| change(folder, "journal", |bytes| bytes[place(305, 256, 8, 4, 8) - 1] ^= 1),
            index: Some(305),
            says: "entry 305 is damaged",
        },
        Tampering {
            name: "the journal is cut within the last entry",
            tamper: |folder| change(folder, "journal", |bytes| bytes.truncate(bytes.len() - 1)),
            index: Some(309),
            says: "cut off by a crash",
        },
        Tampering {
            name: "the journal is cut before the checkpoint",
            tamper: |folder| change(folder, "journal", |bytes| bytes.truncate(place(280, 256, 8, 4, 8) - 4)),
            index: Some(280),
            says: "entries from 280 on are missing",
        },
        Tampering {
            name: "no journal",
            tamper: |folder| fs::remove_file(folder.join("journal")).unwrap(),
            index: Some(256),
            says: "`journal` is missing",
        },
        Tampering {
            name: "the secret key is another one",
            tamper: |folder| replace_by_other(folder, "signing-key", 1),
            index: None,
            says: "not the secret half",
        },
        Tampering {
            name: "the secret key can be read by others",
            tamper: |folder| {
                use std::os::unix::fs::PermissionsExt as _;
                fs::set_permissions(folder.join("signing-key"), fs::Permissions::from_mode(0o640)).unwrap();
            },
            index: None,
            says: "can be read by others (mode 640)",
        },
    ]);
    all
}

pub fn public_tamperings() -> Vec<Tampering> {
    vec![
        Tampering {
            name: "a byte of a full bundle",
            tamper: |folder| change(folder, "tile/entries/000", |bytes| bytes[place(37, 0, 0, 2, 0) + 40] ^= 1),
            index: Some(37),
            says: "entry 37 is damaged",
        },
        Tampering {
            name: "a length in a full bundle",
            tamper: |folder| change(folder, "tile/entries/000", |bytes| bytes[place(41, 0, 0, 2, 0) - 1] ^= 1),
            index: Some(41),
            says: "entry 41 is damaged",
        },
        Tampering {
            name: "a full bundle is cut",
            tamper: |folder| change(folder, "tile/entries/000", |bytes| bytes.truncate(place(200, 0, 0, 2, 0) + 9)),
            index: Some(200),
            says: "entry 200 is damaged",
        },
        Tampering {
            name: "a full bundle is gone",
            tamper: |folder| fs::remove_file(folder.join("tile/entries/000")).unwrap(),
            index: Some(0),
            says: "`tile/entries/000` is missing",
        },
        Tampering {
            name: "a byte of a partial bundle",
            tamper: |folder| change(folder, "tile/entries/001.p/44", |bytes| bytes[place(260, 256, 0, 2, 0) + 40] ^= 1),
            index: Some(260),
            says: "entry 260 is damaged",
        },
        Tampering {
            name: "a byte of a full tile",
            tamper: |folder| change(folder, "tile/0/000", |bytes| bytes[32 * 99 + 5] ^= 1),
            index: Some(99),
            says: "its tile has another hash for it",
        },
        Tampering {
            name: "a byte of a partial tile",
            tamper: |folder| change(folder, "tile/0/001.p/44", |bytes| bytes[32 * 9 + 5] ^= 1),
            index: Some(265),
            says: "entry 265 is damaged",
        },
        Tampering {
            name: "a byte of a tile above",
            tamper: |folder| change(folder, "tile/1/000.p/1", |bytes| bytes[5] ^= 1),
            index: Some(0),
            says: "does not follow from the entries below it",
        },
        Tampering {
            name: "a tile is gone",
            tamper: |folder| fs::remove_file(folder.join("tile/0/001.p/44")).unwrap(),
            index: Some(256),
            says: "`tile/0/001.p/44` is missing",
        },
        Tampering {
            name: "a tile is cut",
            tamper: |folder| change(folder, "tile/0/000", |bytes| bytes.truncate(32 * 255)),
            index: None,
            says: "`tile/0/000` is not what Stanch writes",
        },
        Tampering {
            name: "the size in the checkpoint",
            tamper: |folder| change(folder, "checkpoint", |bytes| bytes[ORIGIN.len() + 3] ^= 1),
            index: None,
            says: "its signature is wrong",
        },
        Tampering {
            name: "the root in the checkpoint",
            tamper: |folder| change(folder, "checkpoint", |bytes| bytes[ORIGIN.len() + 10] ^= 1),
            index: None,
            says: "its signature is wrong",
        },
        Tampering {
            name: "the checkpoint of another key",
            tamper: |folder| replace_by_other(folder, "checkpoint", 300),
            index: None,
            says: "not signed by the key of this log",
        },
        Tampering {
            name: "no checkpoint",
            tamper: |folder| fs::remove_file(folder.join("checkpoint")).unwrap(),
            index: None,
            says: "`checkpoint` is missing",
        },
        Tampering {
            name: "another public key",
            tamper: |folder| replace_by_other(folder, "verifier-key", 1),
            index: None,
            says: "not signed by the key of this log",
        },
        Tampering {
            name: "a rollback of the entries",
            tamper: |folder| {
                let (older, checkpoint) = (with_key_of(folder), fs::read(folder.join("checkpoint")).unwrap());
                append(older.path(), 270, "1");
                fs::remove_dir_all(folder.join("tile")).unwrap();
                overlay(older.path(), folder);
                fs::write(folder.join("checkpoint"), checkpoint).unwrap();
            },
            index: Some(270),
            says: "entries from 270 on are missing: `checkpoint` covers 300 entries",
        },
        Tampering {
            name: "a fork: other entries and tiles under the signed checkpoint",
            tamper: |folder| {
                let (fork, checkpoint) = (with_key_of(folder), fs::read(folder.join("checkpoint")).unwrap());
                append(fork.path(), 120, "1");
                append(fork.path(), 180, "2");
                overlay(fork.path(), folder);
                fs::write(folder.join("checkpoint"), checkpoint).unwrap();
            },
            index: None,
            says: "the first 300 entries are not those that `checkpoint` signed",
        },
    ]
}
