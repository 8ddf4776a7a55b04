//! The log on a thread of its own, since its calls block.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{AuditError, Log, Opened};
use crate::core::engine::DurableIndex;
use crate::ports::{AuditLog, LogFailed};

/// Orders that wait for the thread. The app waits for each append, so more than a few mean a defect.
const QUEUE: usize = 64;
/// Free space that is kept for runs that were authorised: the longest plan writes 64 steps with two entries of at most 64 KiB each, and four
/// such runs may be under way on different nodes.
const HEADROOM_BYTES: u64 = 32 << 20;

/// An [`AuditLog`] on disk.
#[derive(Debug)]
pub struct AuditWriter {
    folder: PathBuf,
    orders: Option<SyncSender<Order>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What opening found.
#[derive(Debug)]
pub struct Replayed {
    /// How the log was found.
    pub opened: Opened,
    /// Every entry, in order.
    pub entries: Vec<Vec<u8>>,
}

enum Order {
    Append(Vec<Vec<u8>>, oneshot::Sender<Result<DurableIndex, LogFailed>>),
    Checkpoint(oneshot::Sender<Result<String, LogFailed>>),
}

impl AuditWriter {
    /// Opens or creates the log in `folder`, checks it, and starts its thread. Blocks meanwhile.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn open(folder: &Path, origin: &str) -> Result<(Self, Replayed), AuditError> {
        let (log, opened) = Log::open(folder, origin)?;
        let entries = log.entries(0)?;
        let (orders, inbox) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("audit-log".into()).spawn(move || serve(log, &inbox));
        let thread = thread.map_err(|source| AuditError::Io { what: "start a thread for", path: folder.to_owned(), source })?;
        let writer = Self { folder: folder.to_owned(), orders: Some(orders), thread: Mutex::new(Some(thread)) };
        Ok((writer, Replayed { opened, entries }))
    }

    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<Result<T, LogFailed>>) -> Order) -> Result<T, LogFailed> {
        let (answer, answered) = oneshot::channel();
        let gone = || LogFailed("the audit log's thread has ended".into());
        self.orders.as_ref().ok_or_else(gone)?.try_send(order(answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl AuditLog for AuditWriter {
    async fn append(&self, entries: Vec<Vec<u8>>) -> Result<DurableIndex, LogFailed> {
        self.order(|answer| Order::Append(entries, answer)).await
    }

    async fn checkpoint(&self) -> Result<String, LogFailed> {
        self.order(Order::Checkpoint).await
    }

    fn has_room(&self) -> bool {
        rustix::fs::statvfs(&self.folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= HEADROOM_BYTES)
    }
}

impl Drop for AuditWriter {
    /// Waits for the thread, so that the log's lock is free when this is gone.
    fn drop(&mut self) {
        self.orders = None;
        let thread = self.thread.get_mut().map(Option::take).ok().flatten();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the audit log's thread panicked");
        }
    }
}

fn serve(mut log: Log, orders: &Receiver<Order>) {
    let failed = |error: AuditError| LogFailed(anyhow::Error::from(error).chain().map(ToString::to_string).collect::<Vec<_>>().join(": "));
    // Whoever asked may be gone; the entry stands all the same.
    for order in orders {
        match order {
            Order::Append(entries, answer) => drop(answer.send(log.append(&entries).map_err(failed))),
            Order::Checkpoint(answer) => drop(answer.send(log.checkpoint().map_err(failed))),
        }
    }
}
