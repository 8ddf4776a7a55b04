//! The log on a thread of its own, as the port that the app uses.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::error::AuditError;
use super::files::failed;
use super::{Log, Opened};
use crate::core::engine::DurableIndex;
use crate::ports::{self, LogFailed};

/// Appends that may wait. Each is a sync of about a millisecond, so a full queue is a tenth of a second of work; whoever comes then waits.
const QUEUE: usize = 64;

/// Bytes kept free for the records of runs that were authorised before the disk became full. A run writes a few records of a few KiB per
/// step, and a checkpoint rewrites at most one bundle and its tiles: 4 MiB hold about a thousand records, more than ten large runs.
const RESERVE_BYTES: usize = 4 << 20;

/// The audit log on its own thread.
///
/// # Guarantees
/// Appends are carried out in the order in which they were queued. After a failure every later call fails with the same words, except that
/// an entry that is too long fails alone, having changed nothing. When the disk is full, the reserve is given up and the append is tried
/// once more; see [`AuditWriter::has_reserve`].
///
/// # Caveats
/// An append whose caller stopped waiting is carried out all the same. Dropping waits for what is queued.
#[derive(Debug)]
pub struct AuditWriter {
    queue: Option<mpsc::Sender<Job>>,
    reserved: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Job {
    Append(Vec<Vec<u8>>, oneshot::Sender<Result<DurableIndex, LogFailed>>),
    Checkpoint(oneshot::Sender<Result<String, LogFailed>>),
}

impl AuditWriter {
    /// Opens or creates the log in `folder` and starts its thread. Returns what opening found and every entry, for replay.
    ///
    /// # Errors
    /// [`AuditError`]; also when the reserve cannot be created, since a run could then stop halfway for want of space to record it.
    pub fn open(folder: &Path, origin: &str) -> Result<(Self, Opened, Vec<Vec<u8>>), AuditError> {
        let (log, opened) = Log::open(folder, origin)?;
        create_reserve(folder)?;
        let entries = log.entries(0)?;
        let reserved = Arc::new(AtomicBool::new(true));
        let keeper =
            Keeper { folder: folder.to_owned(), origin: origin.to_owned(), log: Some(log), reserved: Arc::clone(&reserved), failure: None };
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("audit-log".into()).spawn(move || keeper.work(jobs));
        let thread = thread.map_err(failed("start the thread of", folder))?;
        Ok((Self { queue: Some(queue), reserved, thread: Some(thread) }, opened, entries))
    }

    /// Whether space is still reserved for the records of a run. Once it is not, no new request may be accepted; authorised runs go on
    /// until the space is used up. Opening the log again restores it.
    #[must_use]
    pub fn has_reserve(&self) -> bool {
        self.reserved.load(Ordering::Acquire)
    }

    /// Carries out what is queued and ends the thread; blocks until then.
    pub fn close(self) {
        drop(self);
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, LogFailed>>) -> Job) -> Result<T, LogFailed> {
        let ended = || LogFailed("the thread of the audit log has ended".into());
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        queue.send(job(answer)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

impl Drop for AuditWriter {
    fn drop(&mut self) {
        self.queue = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the audit log panicked");
        }
    }
}

#[async_trait]
impl ports::AuditLog for AuditWriter {
    async fn append(&self, entries: Vec<Vec<u8>>) -> Result<DurableIndex, LogFailed> {
        self.ask(|answer| Job::Append(entries, answer)).await
    }

    async fn checkpoint(&self) -> Result<String, LogFailed> {
        self.ask(Job::Checkpoint).await
    }

    fn has_room(&self) -> bool {
        self.has_reserve()
    }
}

/// What the thread owns.
#[derive(Debug)]
struct Keeper {
    folder: PathBuf,
    origin: String,
    /// `None` only after it could not be opened again.
    log: Option<Log>,
    reserved: Arc<AtomicBool>,
    failure: Option<LogFailed>,
}

impl Keeper {
    fn work(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            // Nobody waiting for the answer is no reason not to have done it.
            match job {
                Job::Append(entries, answer) => drop(answer.send(self.append(&entries))),
                Job::Checkpoint(answer) => drop(answer.send(self.checkpoint())),
            }
        }
    }

    fn append(&mut self, entries: &[Vec<u8>]) -> Result<DurableIndex, LogFailed> {
        let before = self.log()?.size();
        match self.log()?.append(entries) {
            Err(error) if error.is_full_disk() => self.append_rest(error, before, entries),
            done => self.judge(done),
        }
    }

    fn checkpoint(&mut self) -> Result<String, LogFailed> {
        match self.log()?.checkpoint() {
            Err(error) if error.is_full_disk() => {
                let again = self.make_room(error).and_then(|log| log.checkpoint());
                self.judge(again)
            }
            done => self.judge(done),
        }
    }

    fn log(&mut self) -> Result<&mut Log, LogFailed> {
        match (&self.failure, &mut self.log) {
            (Some(failure), _) => Err(failure.clone()),
            (None, Some(log)) => Ok(log),
            (None, None) => Err(LogFailed("the audit log is closed".into())),
        }
    }

    /// Appends what the full disk left over of a batch: whole entries that were written before it was full are in the log already.
    fn append_rest(&mut self, full: AuditError, before: u64, entries: &[Vec<u8>]) -> Result<DurableIndex, LogFailed> {
        let again = self.make_room(full).and_then(|log| {
            let kept = log.entries(before)?;
            match entries.strip_prefix(kept.as_slice()) {
                Some(rest) => log.append(rest),
                None => Err(AuditError::Damaged { index: before }),
            }
        });
        self.judge(again)
    }

    /// Gives the reserve up and opens the log again, as a restart would: that cuts a torn entry off and syncs whole ones.
    fn make_room(&mut self, full: AuditError) -> Result<&mut Log, AuditError> {
        if !self.reserved.swap(false, Ordering::AcqRel) {
            return Err(full);
        }
        tracing::error!(folder = %self.folder.display(), "the disk of the audit log is full; its reserve is given up and no new request may be accepted");
        self.log = None;
        let path = reserve_path(&self.folder);
        fs::remove_file(&path).map_err(failed("give up", &path))?;
        let (log, _) = Log::open(&self.folder, &self.origin)?;
        Ok(self.log.insert(log))
    }

    fn judge<T>(&mut self, done: Result<T, AuditError>) -> Result<T, LogFailed> {
        done.map_err(|error| {
            let failure = LogFailed(words(&error));
            if !matches!(error, AuditError::TooLong { .. }) {
                tracing::error!(%failure, "the audit log takes no more records");
                self.failure = Some(failure.clone());
            }
            failure
        })
    }
}

fn words(error: &AuditError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn reserve_path(folder: &Path) -> PathBuf {
    folder.join("reserve")
}

/// Writes the reserve with zeros and syncs it, so that its blocks are taken on every file system; `fallocate` is not there on all.
fn create_reserve(folder: &Path) -> Result<(), AuditError> {
    let path = reserve_path(folder);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        if file.metadata()?.len() != RESERVE_BYTES as u64 {
            file.set_len(0)?;
            file.write_all(&vec![0; RESERVE_BYTES])?;
        }
        file.sync_all()
    };
    write().map_err(failed("reserve space in", &path))
}
