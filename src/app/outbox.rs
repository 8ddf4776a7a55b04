//! What is to be said, on its way to the chat: in order within a channel, paced, retried, and with edits of one message folded into the
//! newest. Chat may fail; nothing waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stanch_commands::target::RequestId;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::Settings;
use super::entry::{Landmark, Memory};
use super::work::Report;
use crate::core::identity::{Account, ChannelRef, MessageRef, Platform};
use crate::core::say::Say;
use crate::ports::{Attachment, Chat, ChatError};

/// Most posts that wait for one channel. A run posts about a dozen; beyond this the platform has been away for long, and the oldest notes
/// are dropped, since the record is the audit log and the progress message tells how it stands.
const MAX_QUEUED: usize = 500;
/// How often a private answer is tried: it is of no use a minute later.
const PRIVATE_TRIES: u32 = 3;
/// How often anything else is tried: with the backoff below about an hour. Plan and end are tried again after a restart.
const PUBLIC_TRIES: u32 = 120;
/// Longest pause between tries.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Something on its way.
#[derive(Clone, Debug)]
struct Item {
    to: To,
    say: Say,
    /// It stands in another channel too, which is the request's own.
    is_mirror: bool,
    tries: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    /// A landmark of a request; `Progress` is edited if it stands already.
    Landmark(RequestId, Landmark),
    /// The thread of a request.
    Thread(RequestId),
    /// The thread of a request, with these files.
    Attached(RequestId, Arc<[Attachment]>),
    /// The channel itself.
    Channel,
    /// One person.
    Private(Account),
}

#[derive(Default)]
struct Queues {
    waiting: BTreeMap<ChannelRef, VecDeque<Item>>,
    landmarks: BTreeMap<(RequestId, Landmark, Platform), MessageRef>,
    closed: bool,
}

/// Takes messages at once and sends them in the background.
pub struct Outbox {
    queues: Arc<Mutex<Queues>>,
    wake: Arc<Notify>,
    chat: Arc<dyn Chat>,
    pace: Duration,
    reports: mpsc::UnboundedSender<Report>,
    /// Channels that show the same requests, both ways.
    shared: BTreeMap<ChannelRef, ChannelRef>,
    workers: BTreeSet<ChannelRef>,
    tasks: JoinSet<()>,
}

impl Outbox {
    /// An outbox that sends at most one public message per `pace` and channel, and knows where earlier messages stand. What is said about a
    /// request is said in both of two shared channels.
    pub fn new(chat: Arc<dyn Chat>, settings: &Settings, memory: &Memory, reports: mpsc::UnboundedSender<Report>) -> Self {
        let standing = memory.landmarks.iter().chain(&memory.mirrors);
        let landmarks = standing.map(|((id, what), message)| ((id.clone(), *what, message.channel.platform), message.clone())).collect();
        let queues = Queues { landmarks, ..Queues::default() };
        Self {
            queues: Arc::new(Mutex::new(queues)),
            wake: Arc::new(Notify::new()),
            chat,
            pace: settings.pace,
            reports,
            shared: settings.shared.clone(),
            workers: BTreeSet::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Posts a landmark of a request, or edits it if it is the progress message and stands already.
    pub fn landmark(&mut self, channel: &ChannelRef, request: &RequestId, what: Landmark, say: Say) {
        self.push_to_both(channel, Item { to: To::Landmark(request.clone(), what), say, is_mirror: false, tries: 0 });
    }

    /// Posts into the thread of a request.
    pub fn thread(&mut self, channel: &ChannelRef, request: &RequestId, say: Say) {
        self.push_to_both(channel, Item { to: To::Thread(request.clone()), say, is_mirror: false, tries: 0 });
    }

    fn push_to_both(&mut self, channel: &ChannelRef, item: Item) {
        if let Some(mirror) = self.shared.get(channel).cloned() {
            self.push(&mirror, Item { is_mirror: true, ..item.clone() });
        }
        self.push(channel, item);
    }

    /// Posts files into the thread of a request. They are lost with the process: the store has them.
    pub fn attach(&mut self, channel: &ChannelRef, request: &RequestId, say: Say, files: Vec<Attachment>) {
        self.push(channel, Item { to: To::Attached(request.clone(), files.into()), say, is_mirror: false, tries: 0 });
    }

    /// Posts into a channel, in no thread.
    pub fn channel(&mut self, channel: &ChannelRef, say: Say) {
        self.push(channel, Item { to: To::Channel, say, is_mirror: false, tries: 0 });
    }

    /// Tells one person alone; in a shared channel where that person is.
    pub fn private(&mut self, channel: &ChannelRef, to: &Account, say: Say) {
        let mirror = self.shared.get(channel).filter(|mirror| channel.platform != to.platform && mirror.platform == to.platform).cloned();
        let channel = &mirror.unwrap_or_else(|| channel.clone());
        self.push(channel, Item { to: To::Private(to.clone()), say, is_mirror: false, tries: 0 });
    }

    fn push(&mut self, channel: &ChannelRef, item: Item) {
        {
            let mut queues = lock(&self.queues);
            let queue = queues.waiting.entry(channel.clone()).or_default();
            let progress = matches!(item.to, To::Landmark(_, Landmark::Progress));
            match queue.iter_mut().find(|waiting| progress && waiting.to == item.to) {
                Some(older) => older.say = item.say,
                None => queue.push_back(item),
            }
            if queue.len() > MAX_QUEUED
                && let Some(oldest) =
                    queue.iter().position(|waiting| matches!(waiting.to, To::Channel | To::Thread(_) | To::Attached(..) | To::Private(_)))
            {
                queue.remove(oldest);
                tracing::warn!(channel = %channel.id, "the chat is too slow: a note was dropped");
            }
        }
        if self.workers.insert(channel.clone()) {
            let (queues, wake, chat) = (self.queues.clone(), self.wake.clone(), self.chat.clone());
            let worker = Worker { channel: channel.clone(), queues, wake, chat, pace: self.pace, reports: self.reports.clone() };
            self.tasks.spawn(worker.run());
        }
        self.wake.notify_waiters();
    }

    /// Sends what is waiting, for at most `patience`, and ends.
    pub async fn close(&mut self, patience: Duration) {
        lock(&self.queues).closed = true;
        self.wake.notify_waiters();
        let drained = tokio::time::timeout(patience, async { while self.tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            let left: usize = lock(&self.queues).waiting.values().map(VecDeque::len).sum();
            tracing::warn!(left, "the chat did not take every message before the end");
        }
    }
}

fn lock(queues: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends the messages of one channel.
struct Worker {
    channel: ChannelRef,
    queues: Arc<Mutex<Queues>>,
    wake: Arc<Notify>,
    chat: Arc<dyn Chat>,
    pace: Duration,
    reports: mpsc::UnboundedSender<Report>,
}

impl Worker {
    async fn run(self) {
        loop {
            // Asked for before the queue is looked at, so that no push falls between.
            let woken = self.wake.notified();
            let next = self.take();
            match next {
                Next::Send(item) => self.send(item).await,
                Next::Wait => woken.await,
                Next::End => return,
            }
        }
    }

    /// Private answers overtake: somebody waits for them.
    fn take(&self) -> Next {
        let mut queues = lock(&self.queues);
        let closed = queues.closed;
        let Some(queue) = queues.waiting.get_mut(&self.channel) else { return if closed { Next::End } else { Next::Wait } };
        let first = queue.iter().position(|item| matches!(item.to, To::Private(_))).unwrap_or(0);
        match queue.remove(first) {
            Some(item) => Next::Send(Box::new(item)),
            None if closed => Next::End,
            None => Next::Wait,
        }
    }

    async fn send(&self, mut item: Box<Item>) {
        item.tries += 1;
        let outcome = self.attempt(&item).await;
        let limit = if matches!(item.to, To::Private(_)) { PRIVATE_TRIES } else { PUBLIC_TRIES };
        match outcome {
            Ok(()) if matches!(item.to, To::Private(_)) => {}
            Ok(()) => tokio::time::sleep(self.pace).await,
            Err(ChatError::Refused(why)) => {
                tracing::error!(channel = %self.channel.id, %why, "the chat refuses a message");
                if item.is_mirror {
                    tracing::error!(channel = %self.channel.id, "the other channel shows the request alone");
                } else if let To::Landmark(id, Landmark::Plan) = &item.to {
                    let _ = self.reports.send(Report::Unseen { id: id.clone(), why });
                } else if let To::Attached(id, _) = &item.to {
                    let (what, hint) =
                        (format!("evidence could not be attached: {why}"), "it is kept all the same; `stanch doctor` names missing scopes");
                    self.put_back(Item {
                        to: To::Thread(id.clone()),
                        say: Say::Trouble { what, hint: hint.into() },
                        is_mirror: false,
                        tries: 0,
                    });
                }
            }
            Err(error) if item.tries >= limit => tracing::error!(channel = %self.channel.id, %error, "a message was given up"),
            Err(error) => {
                let pause = match error {
                    ChatError::RateLimited { retry_after_ms } => Duration::from_millis(retry_after_ms),
                    ChatError::Refused(_) | ChatError::Unavailable(_) => {
                        Duration::from_millis(250).saturating_mul(1 << item.tries.min(8)).min(LONGEST_BACKOFF)
                    }
                };
                self.put_back(*item);
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Back to the front, unless a newer edit of the same message waits already.
    fn put_back(&self, item: Item) {
        let mut queues = lock(&self.queues);
        let queue = queues.waiting.entry(self.channel.clone()).or_default();
        let overtaken = matches!(item.to, To::Landmark(_, Landmark::Progress)) && queue.iter().any(|waiting| waiting.to == item.to);
        if !overtaken {
            queue.push_front(item);
        }
    }

    async fn attempt(&self, item: &Item) -> Result<(), ChatError> {
        let message = item.say.message();
        let platform = self.channel.platform;
        let at = |id: &RequestId, what| lock(&self.queues).landmarks.get(&(id.clone(), what, platform)).cloned();
        match &item.to {
            To::Private(account) => self.chat.whisper(&self.channel, account, &message).await,
            To::Attached(id, files) => match at(id, Landmark::Plan) {
                Some(root) => self.chat.attach(&root, &message, files).await,
                None => Err(ChatError::Unavailable("the plan is not posted".into())),
            },
            To::Channel => self.chat.post(&self.channel, None, &message).await.map(drop),
            To::Thread(id) => self.chat.post(&self.channel, at(id, Landmark::Plan).as_ref(), &message).await.map(drop),
            To::Landmark(id, what) => {
                match (what, at(id, *what)) {
                    (Landmark::Progress, Some(posted)) => return self.chat.edit(&posted, &message).await,
                    (Landmark::Plan | Landmark::End, Some(_)) => return Ok(()),
                    (_, None) => {}
                }
                let root = if *what == Landmark::Plan { None } else { at(id, Landmark::Plan) };
                let posted = self.chat.post(&self.channel, root.as_ref(), &message).await?;
                lock(&self.queues).landmarks.insert((id.clone(), *what, platform), posted.clone());
                // The app may be gone already; the message stands all the same.
                let _ = self.reports.send(Report::Posted { id: id.clone(), what: *what, message: posted });
                Ok(())
            }
        }
    }
}

enum Next {
    Send(Box<Item>),
    Wait,
    End,
}
