//! What can go wrong with the log.

use std::io;
use std::path::PathBuf;

/// Why the log cannot be opened or appended to.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file could not be read or written.
    #[error("cannot {what} `{}`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has the log open.
    #[error("another process uses the audit log in `{}`; one log has one writer", folder.display())]
    InUse {
        /// The log's folder.
        folder: PathBuf,
    },
    /// The key can be read by others.
    #[error("the signing key `{}` can be read by others (mode {mode:o}); run chmod 600 on it and consider it exposed", path.display())]
    ExposedKey {
        /// The key.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key file is damaged.
    #[error("the signing key `{}` is damaged", path.display())]
    DamagedKey {
        /// The key.
        path: PathBuf,
    },
    /// The checkpoint is not signed by our key, or damaged.
    #[error("the checkpoint `{}` is not a checkpoint of this log signed by its key", path.display())]
    BadCheckpoint {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A bundle or the journal is damaged.
    #[error("entry {index} is damaged")]
    Damaged {
        /// Index of the entry.
        index: u64,
    },
    /// Entries that a checkpoint vouches for are missing.
    #[error("the log has {found} entries, but its signed checkpoint has {checkpoint}: entries from {found} on are missing")]
    Shorter {
        /// Size in the checkpoint.
        checkpoint: u64,
        /// Size found.
        found: u64,
    },
    /// Entries were changed after they were signed.
    #[error("the first {size} entries are not those that the checkpoint signed")]
    Inconsistent {
        /// Size in the checkpoint.
        size: u64,
    },
    /// The entry does not fit.
    #[error("an entry of {bytes} bytes is too long")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// An earlier write failed.
    #[error("an earlier write to the audit log failed; it must be opened again before anything is appended")]
    Poisoned,
}

impl AuditError {
    /// Whether a write found the disk full. A sync that says so does not count: what the system then did with the pages is unknown, and
    /// reading them back would prove nothing. (Files that are replaced are written from memory again, so their sync counts as a write.)
    #[must_use]
    pub fn is_full_disk(&self) -> bool {
        match self {
            Self::Io { what, source, .. } => {
                *what != "sync" && matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::InUse { .. }
            | Self::ExposedKey { .. }
            | Self::DamagedKey { .. }
            | Self::BadCheckpoint { .. }
            | Self::Damaged { .. }
            | Self::Shorter { .. }
            | Self::Inconsistent { .. }
            | Self::TooLong { .. }
            | Self::Poisoned => false,
        }
    }
}
