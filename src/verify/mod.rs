//! An independent reading of the audit log: shares no code with what writes it (`tests/it/tidy.rs`), changes nothing, and needs no key but
//! the public one.
//!
//! # Guarantees
//! Whatever bit of the log's files is changed, [`verify`] finds a problem; files that it does not look into are named. It may run while
//! Stanch appends, and on a copy. A log whose end was cut off behind its last checkpoint, at the border of an entry, cannot be told from one
//! that never had that end, unless chat saw a later checkpoint.
//!
//! # Caveats
//! Who has the secret key can write another history. Only checkpoints that were kept elsewhere (the anchors) tell.

mod anchors;
pub mod cli;
mod examine;
mod export;
mod files;
mod hash;
mod note;
mod problem;
mod proof;
mod read;
mod replay;
mod words;

use std::path::Path;

use jiff::Timestamp;

pub use anchors::Witnessed;
pub use examine::log_folder;
pub use export::Format;
pub use note::{BadNote, Checkpoint, Key};
pub use problem::Problem;
pub use proof::{BadProof, Proof};
pub use read::{Entries, ReadError};
pub use words::told;

/// What a log is compared with, besides itself.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The key that was noted when Stanch was set up; without it, the one in the log's own folder is believed.
    pub key: Option<Key>,
    /// Text in which checkpoints stand that were posted in chat.
    pub anchors: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What is wrong, the first bad entry first. Empty if the log is as it was written.
    pub problems: Vec<Problem>,
    /// Entries in the log.
    pub entries: u64,
    /// The stored checkpoint, if it is believed.
    pub checkpoint: Option<Checkpoint>,
    /// The public key of the log.
    pub key: Option<Key>,
    /// Time of the first entry.
    pub first: Option<Timestamp>,
    /// Time of the last entry.
    pub last: Option<Timestamp>,
    /// Requests in the log.
    pub requests: usize,
    /// Requests that are not over.
    pub open: usize,
    /// What chat witnessed, if that was asked.
    pub witnessed: Option<Witnessed>,
    /// Files in the folder that are no part of a log, and were not looked into.
    pub ignored: Vec<String>,
}

/// Reads a log and derives everything in it again: entries, their hashes, every tile, the root, the checkpoint, what chat saw of it, and the
/// history that the entries tell.
#[must_use]
pub fn verify(folder: &Path, expected: &Expected) -> Report {
    examine::Examination::of(folder).judge(expected)
}

/// Proves that the log has an entry, by its stored checkpoint. The whole log is verified first: a proof from a log that is not as it was
/// written would be worth nothing.
///
/// # Errors
/// [`Unproven`].
pub fn prove(folder: &Path, index: u64) -> Result<Proof, Unproven> {
    examine::Examination::of(folder).prove(index)
}

/// Why an entry cannot be proved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The log is not as it was written.
    #[error("the log is not as it was written: {0}")]
    Problem(Box<Problem>),
    /// The checkpoint does not cover the entry.
    #[error("entry {index} is not signed: the checkpoint covers the entries before {signed}, and the log has {entries}")]
    NotSigned {
        /// The entry.
        index: u64,
        /// Entries that are signed.
        signed: u64,
        /// Entries in the log.
        entries: u64,
    },
}
