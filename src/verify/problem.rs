//! What can be wrong with a log.

/// Something in a log that is not as it must be. Paths are relative to the log's folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A file or folder cannot be read.
    #[error("`{file}` cannot be read: {why}")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
    /// A file is not there.
    #[error("`{file}` is missing")]
    Missing {
        /// Which.
        file: String,
        /// The first entry that it should hold or vouch for.
        index: Option<u64>,
    },
    /// A file is not what Stanch writes there.
    #[error("`{file}` is not what Stanch writes: {why}")]
    Malformed {
        /// Which.
        file: String,
        /// In what.
        why: String,
    },
    /// An entry is not what it was.
    #[error("entry {index} is damaged: {why} (`{file}`)")]
    Damaged {
        /// Which entry.
        index: u64,
        /// Where it was read.
        file: String,
        /// How that shows.
        why: &'static str,
    },
    /// A tile above the entries' hashes does not follow from them.
    #[error("`{file}` does not follow from the entries below it: hash {position} of it, over the entries from {index} on, is another one")]
    Tile {
        /// The tile.
        file: String,
        /// Which of its hashes.
        position: usize,
        /// First entry below that hash.
        index: u64,
    },
    /// A file knows of more entries than there are.
    #[error(
        "entries from {size} on are missing: `{file}` covers {reaches} entries and the log ends after {size}, so it was cut or rolled back"
    )]
    Cut {
        /// Entries that are there.
        size: u64,
        /// The file.
        file: String,
        /// Entries that it covers.
        reaches: u64,
    },
    /// The entries are not those that were signed.
    #[error("the first {size} entries are not those that `checkpoint` signed")]
    NotSigned {
        /// Size of the checkpoint.
        size: u64,
    },
    /// A checkpoint is not believed.
    #[error("{whence} is not believed: {why}")]
    Note {
        /// Which checkpoint.
        whence: String,
        /// Why.
        why: super::note::BadNote,
    },
    /// The log is signed by another key than the one that is expected.
    #[error("the log's key is {found}, not {expected}: it is another log, or was written anew with another key")]
    AnotherKey {
        /// The key of the folder.
        found: String,
        /// The expected one.
        expected: String,
    },
    /// The secret key is not secret.
    #[error("`signing-key` can be read by others (mode {mode:o})")]
    ExposedKey {
        /// Its mode.
        mode: u32,
    },
    /// Chat has seen a longer log.
    #[error("rolled back: {whence} saw {witnessed} entries, and the log has {size}: entries from {size} on are missing")]
    RolledBack {
        /// Which checkpoint.
        whence: String,
        /// Entries then.
        witnessed: u64,
        /// Entries now.
        size: u64,
    },
    /// Chat has seen another history.
    #[error("forked: {whence} saw other entries: the first difference is among entries {after} to {last}")]
    Forked {
        /// Which checkpoint.
        whence: String,
        /// Up to here an earlier checkpoint agrees.
        after: u64,
        /// Last entry that the checkpoint covers.
        last: u64,
    },
    /// The anchors hold no checkpoint.
    #[error("no checkpoint was found in the anchors: {why}")]
    NoAnchors {
        /// What there is.
        why: &'static str,
    },
    /// An entry is no entry, or cannot follow the entries before it.
    #[error("{why}")]
    Unlawful {
        /// Which.
        index: u64,
        /// Why, with the index.
        why: String,
    },
}

impl Problem {
    /// The first entry that the problem is about, if that can be told.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Damaged { index, .. } | Self::Unlawful { index, .. } | Self::Tile { index, .. } => Some(*index),
            Self::Missing { index, .. } => *index,
            Self::Cut { size, .. } | Self::RolledBack { size, .. } => Some(*size),
            Self::Forked { after, .. } => Some(*after),
            Self::Unreadable { .. }
            | Self::Malformed { .. }
            | Self::NotSigned { .. }
            | Self::Note { .. }
            | Self::AnotherKey { .. }
            | Self::ExposedKey { .. }
            | Self::NoAnchors { .. } => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "run this as the user that Stanch runs as, or on a copy",
            Self::Malformed { .. } | Self::Tile { .. } | Self::Damaged { .. } | Self::NotSigned { .. } | Self::Unlawful { .. } => {
                "keep the folder as it is: it may be evidence; compare it with a backup"
            }
            Self::Missing { .. } | Self::Cut { .. } => {
                "keep the folder as it is and compare it with a backup; of a copy that was made while Stanch ran, make another one: \
                 checkpoint first, then tile, then journal"
            }
            Self::Note { .. } | Self::AnotherKey { .. } => {
                "compare with the key that was noted when Stanch was set up (file `verifier-key`)"
            }
            Self::ExposedKey { .. } => "chmod 600, and consider the key exposed: rotate it",
            Self::RolledBack { .. } => "an older copy was put back, or the end was cut off; look for a newer backup",
            Self::Forked { .. } => "somebody wrote another history with the log's key, or an older backup was put back and went on",
            Self::NoAnchors { .. } => "export the channel, or paste the messages that begin with the log's name",
        }
    }

    /// Order in which problems are told: entries first, by index; then what follows from them.
    pub(super) fn rank(&self) -> (u8, u64) {
        let class = match self {
            Self::Damaged { .. } | Self::Cut { .. } => 0,
            Self::Missing { index: Some(_), .. } => 0,
            Self::Missing { index: None, .. } | Self::Unreadable { .. } | Self::Malformed { .. } => 1,
            Self::AnotherKey { .. } | Self::ExposedKey { .. } | Self::Note { .. } | Self::NotSigned { .. } | Self::Tile { .. } => 2,
            Self::RolledBack { .. } | Self::Forked { .. } | Self::NoAnchors { .. } => 3,
            Self::Unlawful { .. } => 4,
        };
        (class, self.index().unwrap_or(0))
    }
}
