//! Which deliveries of a chat were taken already, over restarts.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;

use crate::ports::Deliveries;

/// Platforms deliver again within minutes (Slack: at once, after one and after five); a day is far beyond that.
const REMEMBERED_S: i64 = 86_400;
/// So many new deliveries between two sweeps.
const SWEEP_EVERY: usize = 1_000;

/// Seen deliveries in sled: id → second.
///
/// Derived: every delivery that led to anything is in the audit log as well. sled writes in the background (its `flush` is no fsync), so the
/// last moments before a power loss can be forgotten; a command that is then delivered again leads to a second plan, never to a second
/// execution, since votes belong to persons and steps to keys.
#[derive(Debug)]
pub struct SeenDeliveries {
    tree: sled::Tree,
    taken: AtomicUsize,
    _database: sled::Db,
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the store of derived state: {0}")]
pub struct StoreError(#[from] sled::Error);

impl SeenDeliveries {
    /// Opens or creates the store in `folder`. A damaged one is moved aside and made anew, since it is derived.
    ///
    /// # Errors
    /// If another process uses it, or the disk refuses.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let database = match sled::open(folder) {
            Err(sled::Error::Corruption { .. }) => {
                let aside = folder.with_extension(format!("damaged-{}", Timestamp::now().as_second()));
                tracing::warn!(aside = %aside.display(), "the store of derived state is damaged: it is moved aside and made anew");
                std::fs::rename(folder, aside).map_err(sled::Error::from)?;
                sled::open(folder)?
            }
            opened => opened?,
        };
        Ok(Self { tree: database.open_tree("deliveries")?, taken: AtomicUsize::new(0), _database: database })
    }

    fn sweep(&self, now: Timestamp) {
        let old = |seconds: &[u8]| {
            let seconds: Option<[u8; 8]> = seconds.try_into().ok();
            seconds.is_none_or(|seconds| now.as_second() - i64::from_be_bytes(seconds) > REMEMBERED_S)
        };
        for (delivery, _) in self.tree.iter().flatten().filter(|(_, seconds)| old(seconds)) {
            let _ = self.tree.remove(delivery);
        }
    }
}

impl Deliveries for SeenDeliveries {
    fn is_new(&self, delivery: &str, now: Timestamp) -> bool {
        let seconds = now.as_second().to_be_bytes();
        match self.tree.compare_and_swap(delivery, None::<&[u8]>, Some(&seconds[..])) {
            Ok(Ok(())) => {
                if self.taken.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
                    self.sweep(now);
                }
                true
            }
            Ok(Err(_)) => false,
            // Better twice than never: what follows a delivery is idempotent, see above.
            Err(error) => {
                tracing::error!(%error, "the store of derived state fails");
                true
            }
        }
    }
}
