//! The audit log: append-only, durable before it answers, in C2SP `tlog-tiles` layout with signed checkpoints.
//!
//! Files in the log's folder: `checkpoint`, `tile/…` and `tile/entries/…` as the specification says; `journal` with the entries that are not
//! yet in a full bundle; `signing-key` (PKCS#8 DER, mode 0600), `verifier-key`, `rotations/NNN` from one key to the next, `lock`; `reserve`, space that is given up when the disk is full.

mod checkpoint;
mod error;
mod files;
mod journal;
mod merkle;
mod rotation;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;

use crate::core::engine::DurableIndex;

pub use checkpoint::{Checkpoint, verifier_key};
pub use error::AuditError;
use journal::Journal;
use merkle::FullTile;
pub use merkle::{Hash, TILE_WIDTH, Tree};
pub use rotation::Rotation;
pub use writer::AuditWriter;

/// Longest entry in bytes: a bundle stores lengths in 16 bits.
pub const ENTRY_LIMIT_BYTES: usize = 65_535;

/// The log, opened for appending by one process.
///
/// # Guarantees
/// An index is returned only after its entry, and every entry before it, MUST survive a power loss: written and `fdatasync`ed. Entries are
/// contiguous. After a failed write or sync the log refuses every further append until it is opened again, since what is on disk is unknown.
///
/// # Caveats
/// Calls block: keep the log on a thread of its own.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    origin: String,
    key: SigningKey,
    tree: Tree,
    /// Entries since the last full bundle; the same as in the journal.
    tail: Vec<Vec<u8>>,
    journal: Journal,
    poisoned: bool,
    _lock: File,
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Entries in the log.
    pub entries: u64,
    /// Bytes of an unfinished append that were cut off. Its index was never returned to anybody.
    pub torn_bytes: u64,
}

impl Log {
    /// Opens or creates the log in `folder`, reads every entry and checks it against the last signed checkpoint.
    ///
    /// # Errors
    /// [`AuditError`]; nothing is changed then, except that a missing folder, key and journal are created.
    pub fn open(folder: &Path, origin: &str) -> Result<(Self, Opened), AuditError> {
        files::create_folder(folder)?;
        let lock = files::lock(folder)?;
        rotation::resume(folder, origin)?;
        let key = files::signing_key(folder, origin)?;
        let witnessed = files::checkpoint(folder, origin, &key.verifying_key())?;
        let bundles = files::full_bundles(folder)?;
        let (journal, replayed) = Journal::open(folder, bundles * TILE_WIDTH as u64)?;

        let mut replay = Replay { tree: Tree::default(), witnessed, full: Vec::new() };
        for index in 0..bundles {
            files::bundle(folder, index)?.iter().try_for_each(|entry| replay.push(entry))?;
        }
        replay.full.clear();
        replayed.entries.iter().try_for_each(|entry| replay.push(entry))?;
        let (tree, full) = replay.finish()?;

        let opened = Opened { entries: tree.size(), torn_bytes: replayed.torn_bytes };
        let mut log = Self {
            folder: folder.to_owned(),
            origin: origin.to_owned(),
            key,
            tree,
            tail: replayed.entries,
            journal,
            poisoned: false,
            _lock: lock,
        };
        // A crash came after the journal was full and before its bundle was written.
        if !full.is_empty() {
            log.seal(&full)?;
        }
        Ok((log, opened))
    }

    /// Number of entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Appends entries in order, with one sync.
    ///
    /// # Errors
    /// [`AuditError::TooLong`] changes nothing. Any other error poisons the log.
    pub fn append(&mut self, entries: &[Vec<u8>]) -> Result<DurableIndex, AuditError> {
        if self.poisoned {
            return Err(AuditError::Poisoned);
        }
        if let Some(entry) = entries.iter().find(|entry| entry.len() > ENTRY_LIMIT_BYTES) {
            return Err(AuditError::TooLong { bytes: entry.len() });
        }
        self.poisoned = true;
        // The journal never spans a bundle: that keeps what a restart replays within 255 entries.
        for entry in entries {
            self.journal.write(self.tree.size(), entry)?;
            let full = self.tree.push(entry);
            self.tail.push(entry.clone());
            if !full.is_empty() {
                self.journal.sync()?;
                self.seal(&full)?;
            }
        }
        self.journal.sync()?;
        self.poisoned = false;
        Ok(DurableIndex::synced(self.tree.size().saturating_sub(1)))
    }

    /// Signs the present size and root, after the tiles that prove it are durable.
    ///
    /// # Errors
    /// Any error poisons the log.
    pub fn checkpoint(&mut self) -> Result<String, AuditError> {
        if self.poisoned {
            return Err(AuditError::Poisoned);
        }
        self.poisoned = true;
        for (level, index, hashes) in self.tree.partial_tiles() {
            files::write_tile(&self.folder, level, index, hashes)?;
        }
        if !self.tail.is_empty() {
            files::write_bundle(&self.folder, self.tree.size() / TILE_WIDTH as u64, &self.tail)?;
        }
        let checkpoint = Checkpoint { origin: self.origin.clone(), size: self.tree.size(), root: self.tree.root() };
        let note = checkpoint.sign(&self.key);
        files::write_checkpoint(&self.folder, &note)?;
        self.poisoned = false;
        Ok(note)
    }

    /// Entries from an index on, in order.
    ///
    /// # Errors
    /// When a bundle cannot be read.
    pub fn entries(&self, from: u64) -> Result<Vec<Vec<u8>>, AuditError> {
        let bundles = self.tree.size() / TILE_WIDTH as u64;
        let first = (from / TILE_WIDTH as u64).min(bundles);
        let mut entries = Vec::new();
        for index in first..bundles {
            entries.extend(files::bundle(&self.folder, index)?);
        }
        entries.extend(self.tail.iter().cloned());
        let skip = usize::try_from(from.saturating_sub(first * TILE_WIDTH as u64)).unwrap_or(usize::MAX);
        Ok(entries.into_iter().skip(skip).collect())
    }

    /// Moves a full bundle from the journal into its final files.
    fn seal(&mut self, full: &[FullTile]) -> Result<(), AuditError> {
        for tile in full {
            files::write_tile(&self.folder, tile.level, tile.index, &tile.hashes)?;
        }
        let entries = std::mem::take(&mut self.tail);
        let index = self.tree.size() / TILE_WIDTH as u64 - 1;
        files::write_bundle(&self.folder, index, &entries)?;
        self.journal = Journal::create(&self.folder, self.tree.size())?;
        full.iter().for_each(|tile| files::forget_partial(&self.folder, Some(tile.level), tile.index));
        files::forget_partial(&self.folder, None, index);
        Ok(())
    }
}

/// Rebuilds the tree and compares it with the checkpoint on the way.
struct Replay {
    tree: Tree,
    witnessed: Option<Checkpoint>,
    full: Vec<FullTile>,
}

impl Replay {
    fn push(&mut self, entry: &[u8]) -> Result<(), AuditError> {
        self.full.extend(self.tree.push(entry));
        match &self.witnessed {
            Some(checkpoint) if checkpoint.size == self.tree.size() && checkpoint.root != self.tree.root() => {
                Err(AuditError::Inconsistent { size: checkpoint.size })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn finish(self) -> Result<(Tree, Vec<FullTile>), AuditError> {
        match self.witnessed {
            Some(checkpoint) if checkpoint.size > self.tree.size() => {
                Err(AuditError::Shorter { checkpoint: checkpoint.size, found: self.tree.size() })
            }
            Some(_) | None => Ok((self.tree, self.full)),
        }
    }
}
