//! The examination of one log, from the entries up.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};

use super::files::{Inventory, Journal, Part, bundled, hashes, inventory};
use super::hash::{Hashes, WIDTH, of_entry};
use super::note::{Checkpoint, Key};
use super::problem::Problem;
use super::proof::Proof;
use super::replay::Replay;
use super::{Expected, Report, Unproven, anchors};

/// How often a journal is read again whose end is no whole entry: Stanch may be writing it. Each append is one write of a few KiB.
const READS: usize = 5;
/// Time between two of these.
const BETWEEN_READS: Duration = Duration::from_millis(50);
/// Problems that are told. The first is what counts; a log that was written over has one for every entry.
const MOST_PROBLEMS: usize = 100;

/// Everything that was derived from a log's files.
pub(super) struct Examination<'f> {
    folder: &'f Path,
    checkpoint: Option<String>,
    inventory: Inventory,
    journal: Option<Journal>,
    hashes: Hashes,
    replay: Replay,
    problems: Vec<Problem>,
    ignored: Vec<String>,
}

impl<'f> Examination<'f> {
    /// Reads the files, in the order in which Stanch can not have written them: the checkpoint, then which tiles there are, then the journal. So
    /// whatever is appended meanwhile, each has all entries that those before it cover.
    pub fn of(folder: &'f Path) -> Self {
        let (hashes, replay) = (Hashes::default(), Replay::default());
        let mut this = Self {
            folder,
            checkpoint: None,
            inventory: Inventory::default(),
            journal: None,
            hashes,
            replay,
            problems: vec![],
            ignored: vec![],
        };
        this.checkpoint = this.required("checkpoint").and_then(|bytes| this.utf8("checkpoint", bytes));
        match inventory(folder) {
            Ok(inventory) => this.inventory = inventory,
            Err((path, error)) => this.problems.push(unreadable(&path.to_string_lossy(), &error)),
        }
        this.journal = this.read_journal();
        this.read_bundles();
        this.read_rest_of_journal();
        this.compare_tiles();
        this.look_at_others();
        this
    }

    /// Proves an entry, if the log is as it was written.
    pub fn prove(mut self, index: u64) -> Result<Proof, Unproven> {
        let note = self.checkpoint.clone().unwrap_or_default();
        let report = self.compare_all(&Expected::default());
        if let Some(problem) = report.problems.into_iter().next() {
            return Err(Unproven::Problem(Box::new(problem)));
        }
        let signed = report.checkpoint.map_or(0, |checkpoint| checkpoint.size);
        let path = self.hashes.inclusion(index, signed).ok_or(Unproven::NotSigned { index, signed, entries: report.entries })?;
        Ok(Proof { index, path, checkpoint: note })
    }

    /// Compares what was derived with what vouches for it.
    pub fn judge(mut self, expected: &Expected) -> Report {
        self.compare_all(expected)
    }

    fn compare_all(&mut self, expected: &Expected) -> Report {
        let key = self.key(expected);
        let checkpoint = key.as_ref().and_then(|key| self.signed(key));
        self.require_tiles(checkpoint.as_ref());
        let witnessed = match (&expected.anchors, &key) {
            (Some(text), Some(key)) => {
                let (witnessed, problems) = anchors::compare(text, std::slice::from_ref(key), &self.hashes);
                self.problems.extend(problems);
                Some(witnessed)
            }
            _ => None,
        };
        self.problems.extend(self.replay.broken.take());
        self.problems.sort_by_key(Problem::rank);
        self.problems.dedup();
        self.problems.truncate(MOST_PROBLEMS);
        let (requests, open) = self.replay.requests();
        Report {
            problems: std::mem::take(&mut self.problems),
            entries: self.hashes.size(),
            checkpoint,
            key,
            first: self.replay.first,
            last: self.replay.last,
            requests,
            open,
            witnessed,
            ignored: std::mem::take(&mut self.ignored),
        }
    }

    fn read(&mut self, file: &str) -> Option<Vec<u8>> {
        match fs::read(self.folder.join(file)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.problems.push(unreadable(file, &error));
                None
            }
        }
    }

    fn required(&mut self, file: &str) -> Option<Vec<u8>> {
        let (before, found) = (self.problems.len(), self.read(file));
        if found.is_none() && self.problems.len() == before {
            self.problems.push(Problem::Missing { file: file.into(), index: None });
        }
        found
    }

    fn utf8(&mut self, file: &str, bytes: Vec<u8>) -> Option<String> {
        let text = String::from_utf8(bytes);
        if text.is_err() {
            self.malformed(file, "it is no text");
        }
        text.ok()
    }

    fn malformed(&mut self, file: &str, why: &str) {
        self.problems.push(Problem::Malformed { file: file.into(), why: why.into() });
    }

    fn read_journal(&mut self) -> Option<Journal> {
        for read in 1.. {
            let journal = Journal::parse(&self.required("journal")?);
            match journal {
                Some(journal) if journal.rest == 0 || read == READS => return Some(journal),
                None if read == READS => break,
                Some(_) | None => std::thread::sleep(BETWEEN_READS),
            }
        }
        self.malformed("journal", "it does not even say where it begins");
        None
    }

    /// Full bundles, from the first on, as many as there are or as the journal says.
    fn read_bundles(&mut self) {
        let listed = self.inventory.parts.iter().filter(|part| part.level.is_none() && part.width == WIDTH);
        let listed = listed.map(|part| part.index + 1).max().unwrap_or(0);
        let sealed = self.journal.as_ref().map_or(0, |journal| journal.start / WIDTH as u64);
        for index in 0..listed.max(sealed) {
            let part = Part::bundle(index, WIDTH);
            let tile = self.tile(Part { level: Some(0), ..part });
            let Some(bytes) = self.read(&part.path()) else {
                self.problems.push(Problem::Missing { file: part.path(), index: Some(index * WIDTH as u64) });
                // The hashes are as good for everything that follows from them.
                match tile {
                    Some(tile) => tile.into_iter().for_each(|hash| self.hashes.push(hash)),
                    None => return,
                }
                continue;
            };
            self.take_bundle(part, &bytes, tile.as_deref());
            if self.hashes.size() != (index + 1) * WIDTH as u64 {
                return;
            }
        }
    }

    /// The hashes of a tile, if it has as many as its name says.
    fn tile(&mut self, part: Part) -> Option<Vec<[u8; 32]>> {
        let bytes = self.read(&part.path())?;
        hashes(&bytes, part.width).map(<[_]>::to_vec)
    }

    /// Takes the entries of a full bundle in. Where they and the tile of their hashes do not agree, the entry is called damaged and the tile
    /// is followed, so that one changed entry is one problem; if it was the tile that was changed, the root tells.
    fn take_bundle(&mut self, part: Part, bytes: &[u8], tile: Option<&[[u8; 32]]>) {
        let (entries, rest) = bundled(bytes);
        let start = part.index * WIDTH as u64;
        for position in 0..WIDTH {
            let vouched = tile.and_then(|tile| tile.get(position)).copied();
            let entry = entries.get(position);
            let found = entry.map(|entry| of_entry(entry));
            let index = start + position as u64;
            let why = match (found, vouched) {
                (None, _) => Some("the bundle ends before it, or in the midst of it"),
                (Some(found), Some(vouched)) if found != vouched => Some("its tile has another hash for it"),
                (Some(_), Some(_) | None) => None,
            };
            match (why, entry) {
                (Some(why), _) => self.damaged(index, part, why),
                (None, Some(entry)) if self.is_whole() => self.replay.follow(index, entry),
                (None, _) => {}
            }
            let Some(hash) = vouched.or(found) else { return };
            self.hashes.push(hash);
        }
        if entries.len() > WIDTH || rest > 0 {
            self.damaged(start + WIDTH as u64 - 1, part, "the bundle does not end behind it");
        }
    }

    fn damaged(&mut self, index: u64, part: Part, why: &'static str) {
        // One changed length moves every entry behind it.
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem::Damaged { index, file: part.path(), why });
        }
    }

    /// Whether no entry is known to be damaged: the history is not followed behind one.
    fn is_whole(&self) -> bool {
        !self.problems.iter().any(|problem| matches!(problem, Problem::Damaged { .. } | Problem::Missing { index: Some(_), .. }))
    }

    /// The journal begins behind the last full bundle; a crash between writing a bundle and beginning anew leaves one that holds all of
    /// that bundle.
    fn read_rest_of_journal(&mut self) {
        let Some(journal) = self.journal.take() else { return };
        let size = self.hashes.size();
        let repeats = journal.start.checked_add(WIDTH as u64) == Some(size) && journal.entries.len() == WIDTH;
        if journal.start != size && !repeats {
            let why = format!("it begins at entry {}, and {size} entries are in front of it", journal.start);
            self.problems.push(Problem::Malformed { file: "journal".into(), why });
            if journal.start > size {
                self.problems.push(Problem::Missing { file: Part::bundle(size / WIDTH as u64, WIDTH).path(), index: Some(size) });
            }
            return;
        }
        for (index, entry) in (journal.start..).zip(&journal.entries) {
            let hash = of_entry(entry);
            match self.hashes.entry(index) {
                None => {
                    self.hashes.push(hash);
                    if self.is_whole() {
                        self.replay.follow(index, entry);
                    }
                }
                Some(known) if known == hash => {}
                Some(_) => {
                    let why = "its bundle holds another entry";
                    self.problems.push(Problem::Damaged { index, file: "journal".into(), why });
                }
            }
        }
        if journal.rest > 0 {
            let why = "the journal goes on with what is no whole entry: changed, or cut off by a crash";
            self.problems.push(Problem::Damaged { index: journal.end(), file: "journal".into(), why });
        }
    }

    /// Every tile and every partial bundle that is there, whatever checkpoint it was written for.
    fn compare_tiles(&mut self) {
        for part in self.inventory.parts.clone() {
            if part.level.is_none() && part.width == WIDTH {
                continue;
            }
            match self.read(&part.path()) {
                Some(bytes) => self.compare(part, &bytes),
                // Partial ones go when the full one is there.
                None if part.width < WIDTH && self.folder.join(part.when_full().path()).exists() => {}
                None => self.problems.push(Problem::Missing { file: part.path(), index: None }),
            }
        }
    }

    fn compare(&mut self, part: Part, bytes: &[u8]) {
        let level = usize::from(part.level.unwrap_or(0));
        let covers = |hashes: u64| u32::try_from(8 * level).ok().and_then(|shift| hashes.checked_mul(1_u64.checked_shl(shift)?));
        let start = part.index.saturating_mul(WIDTH as u64);
        let reaches = covers(start.saturating_add(part.width as u64)).unwrap_or(u64::MAX);
        if reaches > self.hashes.size() {
            return self.problems.push(Problem::Cut { size: self.hashes.size(), file: part.path(), reaches });
        }
        let found: Vec<[u8; 32]> = match part.level {
            Some(_) => hashes(bytes, part.width).map(<[_]>::to_vec).unwrap_or_default(),
            None => match bundled(bytes) {
                (entries, 0) => entries.into_iter().map(of_entry).collect(),
                (_, _) => vec![],
            },
        };
        if found.len() != part.width {
            return self.malformed(&part.path(), "its length is not that of as many as its name says");
        }
        let from = usize::try_from(start).unwrap_or(usize::MAX);
        let derived = self.hashes.level(level).iter().skip(from);
        let Some(position) = found.iter().zip(derived).position(|(found, derived)| found != derived) else { return };
        let index = covers(start + position as u64).unwrap_or(u64::MAX);
        match level {
            0 => self.damaged(index, part, "it, or what this file has for it, was changed"),
            _ => self.problems.push(Problem::Tile { file: part.path(), position, index }),
        }
    }

    /// What readers need: every full tile, and for the checkpoint the partial ones at the right edge.
    fn require_tiles(&mut self, checkpoint: Option<&Checkpoint>) {
        let size = self.hashes.size();
        let signed = checkpoint.map_or(0, |checkpoint| checkpoint.size.min(size));
        // The journal may be full while its bundle is not written yet.
        let sealed = self.inventory.parts.iter().filter(|part| part.level.is_none() && part.width == WIDTH).count() as u64;
        let mut level = Some(0_u8);
        while let Some(this) = level.filter(|level| size >> (8 * u32::from(*level)).min(63) > 0 && *level < 8) {
            let shift = 8 * u32::from(this);
            let full = (signed >> shift).max((sealed * WIDTH as u64) >> shift) / WIDTH as u64;
            for index in 0..full {
                self.require(Part { level: Some(this), index, width: WIDTH });
            }
            let (index, width) = ((signed >> shift) / WIDTH as u64, usize::try_from((signed >> shift) % WIDTH as u64).unwrap_or(0));
            if width > 0 {
                self.require(Part { level: Some(this), index, width });
                if this == 0 {
                    self.require(Part::bundle(index, width));
                }
            }
            level = this.checked_add(1);
        }
    }

    fn require(&mut self, part: Part) {
        let there = |part: Part| self.inventory.parts.contains(&part) || self.folder.join(part.path()).exists();
        if !there(part) && !there(part.when_full()) {
            let index = part.level.is_none_or(|level| level == 0).then_some(part.index * WIDTH as u64);
            self.problems.push(Problem::Missing { file: part.path(), index });
        }
    }

    fn key(&mut self, expected: &Expected) -> Option<Key> {
        let text = self.required("verifier-key").and_then(|bytes| self.utf8("verifier-key", bytes))?;
        let found: Key = match text.strip_suffix('\n').unwrap_or_default().parse::<Key>().map(|key| (key.to_string() + "\n" == text, key)) {
            Ok((true, key)) => key,
            Ok((false, _)) => return self.no_key("it is not spelt as it must be"),
            Err(why) => return self.no_key(&why.to_string()),
        };
        if let Some(expected) = expected.key.as_ref().filter(|expected| **expected != found) {
            self.problems.push(Problem::AnotherKey { found: found.to_string(), expected: expected.to_string() });
        }
        self.compare_secret(&found);
        Some(expected.key.clone().unwrap_or(found))
    }

    fn no_key(&mut self, why: &str) -> Option<Key> {
        self.malformed("verifier-key", why);
        None
    }

    /// A copy for an auditor has no secret key, or one that they cannot read.
    fn compare_secret(&mut self, public: &Key) {
        let path = self.folder.join("signing-key");
        let (bytes, mode) = match fs::read(&path).and_then(|bytes| Ok((bytes, fs::metadata(&path)?.permissions().mode() & 0o777))) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => return self.ignored.push("signing-key".into()),
        };
        if mode & 0o077 != 0 {
            self.problems.push(Problem::ExposedKey { mode });
        }
        let secret = SigningKey::from_pkcs8_der(&bytes).ok();
        let spelt = secret.as_ref().and_then(|secret| secret.to_pkcs8_der().ok()).is_some_and(|spelt| spelt.as_bytes() == bytes);
        if !spelt || !secret.is_some_and(|secret| public.is_of(&secret)) {
            self.malformed("signing-key", "it is not the secret half of `verifier-key`");
        }
    }

    fn signed(&mut self, key: &Key) -> Option<Checkpoint> {
        let note = self.checkpoint.as_ref()?;
        let checkpoint = match Checkpoint::open(note, std::slice::from_ref(key)) {
            Ok(checkpoint) => checkpoint,
            Err(why) => {
                self.problems.push(Problem::Note { whence: "`checkpoint`".into(), why });
                return None;
            }
        };
        match self.hashes.root(checkpoint.size) {
            None => {
                let (size, reaches) = (self.hashes.size(), checkpoint.size);
                self.problems.push(Problem::Cut { size, file: "checkpoint".into(), reaches });
            }
            Some(root) if root != checkpoint.root => self.problems.push(Problem::NotSigned { size: checkpoint.size }),
            Some(_) => {}
        }
        Some(checkpoint)
    }

    /// Files beside the tiles. The reserve is space full of zeros, the lock is empty.
    fn look_at_others(&mut self) {
        for (name, kind) in self.inventory.others.clone() {
            match name.as_str() {
                "checkpoint" | "journal" | "verifier-key" | "signing-key" if kind.is_file() => {}
                "lock" | "reserve" if kind.is_file() => {
                    let bytes = self.read(&name).unwrap_or_default();
                    let blank = if name == "lock" { bytes.is_empty() } else { bytes.iter().all(|byte| *byte == 0) };
                    if !blank {
                        self.malformed(&name, "it is not blank");
                    }
                }
                _ => self.ignored.push(name),
            }
        }
    }
}

fn unreadable(file: &str, error: &io::Error) -> Problem {
    Problem::Unreadable { file: file.into(), why: error.to_string() }
}

/// The folder of the log: the given one, or `log` in it if that is a data folder.
#[must_use]
pub fn log_folder(given: &Path) -> PathBuf {
    let inner = given.join("log");
    if !given.join("checkpoint").exists() && inner.is_dir() { inner } else { given.to_owned() }
}
