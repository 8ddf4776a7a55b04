//! Which deliveries were seen, on sled. This is derived state: without it a delivery that the platform repeats could be taken twice.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};

use crate::ports::Deliveries;

/// Milliseconds after which a delivery is forgotten. Slack repeats for an hour at most.
const REMEMBERED_MS: i64 = 24 * 60 * 60 * 1_000;
/// Deliveries between two prunings; the first is at the first delivery. A pruning reads everything, a few thousand keys on a busy day.
const PRUNE_EVERY: u64 = 1_024;
/// Bytes that sled may cache; the tree is a few hundred KiB.
const CACHE_BYTES: u64 = 4 << 20;

/// Delivery ids with the time when each was first seen.
///
/// # Guarantees
/// Of several calls with one id, exactly one is told that it is new. What was seen is handed to the operating system before the call
/// returns, so it survives the end of the process, however sudden.
///
/// # Caveats
/// sled's flush is `sync_file_range` on Linux, not an fsync: a power loss can forget what was seen. When sled fails, every delivery counts as
/// new: a request that appears twice is seen by people, one that is lost is not. Calls block for about a millisecond.
#[derive(Debug)]
pub struct SeenDeliveries {
    tree: sled::Tree,
    seen: AtomicU64,
    _database: sled::Db,
    _lock: File,
}

/// Why the deliveries cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DeliveriesError {
    /// Another process has them open.
    #[error("another process uses the deliveries in `{}`; one Stanch has one folder", .0.display())]
    InUse(PathBuf),
    /// A file or folder cannot be used.
    #[error("cannot {what} `{}`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl SeenDeliveries {
    /// Opens or creates the deliveries in `folder`. A damaged database is moved to `sled.damaged`, in place of an older one, and made anew.
    ///
    /// # Errors
    /// [`DeliveriesError`].
    pub fn open(folder: &Path) -> Result<Self, DeliveriesError> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("create", folder))?;
        let lock = lock(folder)?;
        let path = folder.join("sled");
        let (database, tree) = match open_sled(&path) {
            Ok(opened) => opened,
            Err(source) if is_outside(&source) => return Err(failed("open", &path)(source)),
            Err(error) => {
                tracing::warn!(folder = %path.display(), %error, "the database of seen deliveries is damaged; it is moved aside and made anew");
                move_aside(&path, &folder.join("sled.damaged"))?;
                open_sled(&path).map_err(failed("open", &path))?
            }
        };
        Ok(Self { tree, seen: AtomicU64::new(0), _database: database, _lock: lock })
    }

    fn remember(&self, delivery: &str, now: Timestamp) -> sled::Result<bool> {
        if self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(PRUNE_EVERY) {
            self.prune(now)?;
        }
        let time = now.as_millisecond().to_be_bytes();
        let is_new = self.tree.compare_and_swap(delivery, None::<&[u8]>, Some(&time[..]))?.is_ok();
        self.tree.flush()?;
        Ok(is_new)
    }

    fn prune(&self, now: Timestamp) -> sled::Result<()> {
        let oldest = now.as_millisecond().saturating_sub(REMEMBERED_MS);
        for entry in &self.tree {
            let (delivery, time) = entry?;
            // A time of another length is none of ours.
            let time = <[u8; 8]>::try_from(&*time).map_or(i64::MIN, i64::from_be_bytes);
            if time < oldest {
                self.tree.remove(delivery)?;
            }
        }
        Ok(())
    }
}

impl Deliveries for SeenDeliveries {
    fn is_new(&self, delivery: &str, now: Timestamp) -> bool {
        self.remember(delivery, now).unwrap_or_else(|error| {
            tracing::error!(%error, "the database of seen deliveries failed; this delivery counts as new");
            true
        })
    }
}

/// Opens the database; sled panics on some damage, and that is damage like other.
fn open_sled(path: &Path) -> io::Result<(sled::Db, sled::Tree)> {
    let open = || {
        let database = sled::Config::default().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None).open()?;
        let tree = database.open_tree("deliveries")?;
        // Reads everything once: damage shows now, not at a delivery.
        tree.iter().try_for_each(|entry| entry.map(drop))?;
        Ok::<_, sled::Error>((database, tree))
    };
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => opened.map_err(io::Error::from),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "sled panicked")),
    }
}

/// Whether an error says nothing about the database itself: moving it aside would not help.
fn is_outside(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

fn move_aside(path: &Path, aside: &Path) -> Result<(), DeliveriesError> {
    let removed = if aside.is_dir() { fs::remove_dir_all(aside) } else { fs::remove_file(aside) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", aside)(error)),
        Ok(()) | Err(_) => {}
    }
    fs::rename(path, aside).map_err(failed("move aside", path))
}

fn lock(folder: &Path) -> Result<File, DeliveriesError> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DeliveriesError::InUse(folder.to_owned())),
        Err(error) => Err(failed("lock", &path)(error.into())),
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DeliveriesError {
    let path = path.to_owned();
    move |source| DeliveriesError::Io { what, path, source }
}
