//! The app: the one task that owns the state. Everything slow is done beside it and comes back as a report, so that an approval or a halt
//! never waits for a survey.
//!
//! Order of everything: decide, append, apply, then effects. [`Stanch::commit`] is the only door to the log.

mod cluster;
mod commanding;
mod copying;
mod doctor;
mod entry;
mod mirrors;
mod outbox;
mod running;
mod standing;
mod suggesting;
mod talking;
mod voting;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use jiff::civil::Date;
use stanch_commands::definition::{Limits, Own};
use stanch_commands::plan::{Form, StepId};
use stanch_commands::runtime::NodeAccess;
use stanch_commands::target::{ClusterName, RequestId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::core::engine::{DurableIndex, Effect, Event, Rejection, admits, decide};
use crate::core::identity::{Account, ChannelRef};
use crate::core::policy::Policy;
use crate::core::request::Stage;
use crate::core::say::Say;
use crate::ports::{AuditLog, Chat, ChatEvent, Clock, Deliveries, EvidenceCopies, EvidenceStore, IdSource, Inbound, Input, LogFailed};

pub use cluster::{Cluster, Compute, Kubernetes};
use copying::Copies;
pub use doctor::Doctor;
pub use entry::{Entry, Landmark, Memory, Unreadable};
use mirrors::Mirrors;
use outbox::Outbox;
pub use standing::Standing;
pub use suggesting::{Names, Suggestions};
use voting::Reading;
use work::Report;

/// Everything that the app works with.
pub struct Parts {
    /// Who may do what.
    pub policy: Arc<Policy>,
    /// SHA-256 of its file, for the record.
    pub policy_sha256: String,
    /// The rest of the configuration.
    pub settings: Settings,
    /// Clusters by name.
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// The chat.
    pub chat: Arc<dyn Chat>,
    /// The audit log.
    pub log: Arc<dyn AuditLog>,
    /// Where evidence goes.
    pub evidence: Arc<dyn EvidenceStore>,
    /// Where copies of it go, if anywhere.
    pub copies: Option<Arc<dyn EvidenceCopies>>,
    /// What was delivered already.
    pub deliveries: Arc<dyn Deliveries>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Fresh names.
    pub ids: Arc<dyn IdSource>,
    /// Looks at everything that Stanch depends on.
    pub doctor: Doctor,
}

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Form of the procedure.
    pub form: Form,
    /// Limits of plans.
    pub limits: Limits,
    /// Ways onto a node.
    pub node_access: NodeAccess,
    /// The channels in which mutations may be asked for, with their default clusters.
    pub channels: BTreeMap<ChannelRef, ClusterName>,
    /// Channels that show the same requests, one of each platform, both ways.
    pub shared: BTreeMap<ChannelRef, ChannelRef>,
    /// The channels that see the signed head of the log at every start and every day.
    pub witnesses: Vec<ChannelRef>,
    /// Least time between two public messages in one channel.
    pub pace: Duration,
    /// Most bytes of redacted evidence that one step shows in the chat; `None` for nothing.
    pub attach_limit_bytes: Option<usize>,
    /// Where Stanch itself runs.
    pub own: Own,
}

/// Commands of one account: twenty at once, then one in three seconds. A responder at work types far fewer.
const COMMANDS: (u32, Duration) = (20, Duration::from_secs(3));
/// Clicks and reactions have a lane of their own, so that a flood of commands cannot starve approvals: thirty at once, then one a second.
const VOTES: (u32, Duration) = (30, Duration::from_secs(1));
/// How often time is looked at: expiry, reminders, deadlines of `After` edges.
const TICK: Duration = Duration::from_millis(500);
/// How long a shutdown waits for steps under way. They are observed after the next start otherwise.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long a shutdown waits for the chat.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs until `shutdown`, or until the log fails.
///
/// # Errors
/// [`LogFailed`]: the log takes no records, so nothing may be done.
pub async fn run(
    parts: Parts,
    memory: Memory,
    mut events: mpsc::Receiver<ChatEvent>,
    shutdown: CancellationToken,
) -> Result<(), LogFailed> {
    let (sender, mut reports) = mpsc::unbounded_channel();
    let mut stanch = Stanch::new(parts, memory, sender);
    stanch.start().await;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stanch.broken.is_none() {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(report) = reports.recv() => stanch.report(report).await,
            event = events.recv() => match event {
                Some(event) => stanch.event(event).await,
                None => break,
            },
            _ = ticks.tick() => stanch.tick().await,
        }
    }
    stanch.park(&mut reports, &mut events).await
}

/// The state and what is under way.
struct Stanch {
    parts: Parts,
    memory: Memory,
    /// The chat of `parts`, which has to learn where plans stand.
    mirrors: Arc<Mirrors>,
    outbox: Outbox,
    reports: mpsc::UnboundedSender<Report>,
    tasks: JoinSet<()>,
    /// Index of the newest durable entry.
    durable: DurableIndex,
    /// Effects that a task works on.
    doing: BTreeSet<Effect>,
    /// Effects that are not tried again before a time.
    not_before: BTreeMap<Effect, (Instant, u32)>,
    /// How often a step was carried out without an answer.
    unanswered: BTreeMap<(RequestId, StepId), u32>,
    /// Steps that were started by this process and not yet carried out: all others are observed first.
    fresh: BTreeSet<(RequestId, StepId)>,
    /// Commands, clicks and reactions that a task looks into.
    asked: usize,
    /// Requests whose votes are being read.
    reading: BTreeMap<RequestId, Reading>,
    /// Readings of votes that were begun, counted by the tasks that read.
    readings: Arc<AtomicU64>,
    /// The newest reading of each request that was counted.
    counted: BTreeMap<RequestId, u64>,
    /// The day on which the channel for it saw the head of the log.
    witnessed_on: Option<Date>,
    /// Requests whose approvers were reminded.
    reminded: BTreeSet<RequestId>,
    /// What the thread of a request knows of why it does not start.
    told_waiting: BTreeMap<RequestId, Vec<Rejection>>,
    copies: Copies,
    commands: DefaultKeyedRateLimiter<Account>,
    votes: DefaultKeyedRateLimiter<Account>,
    /// Why the log takes no more records.
    broken: Option<LogFailed>,
    /// Nothing further is started.
    stopping: bool,
}

fn limiter((burst, period): (u32, Duration)) -> DefaultKeyedRateLimiter<Account> {
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
    RateLimiter::keyed(quota)
}

impl Stanch {
    fn new(mut parts: Parts, memory: Memory, reports: mpsc::UnboundedSender<Report>) -> Self {
        let mirrors = Arc::new(Mirrors::new(parts.chat, &memory));
        parts.chat = mirrors.clone();
        let outbox = Outbox::new(parts.chat.clone(), &parts.settings, &memory, reports.clone());
        Self {
            parts,
            memory,
            mirrors,
            outbox,
            reports,
            tasks: JoinSet::new(),
            durable: DurableIndex::synced(0),
            doing: BTreeSet::new(),
            not_before: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            fresh: BTreeSet::new(),
            asked: 0,
            reading: BTreeMap::new(),
            readings: Arc::default(),
            counted: BTreeMap::new(),
            witnessed_on: None,
            reminded: BTreeSet::new(),
            told_waiting: BTreeMap::new(),
            copies: Copies::default(),
            commands: limiter(COMMANDS),
            votes: limiter(VOTES),
            broken: None,
            stopping: false,
        }
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Records the start, and goes on with what was open.
    async fn start(&mut self) {
        let started =
            Entry::Started { at: self.now(), version: env!("CARGO_PKG_VERSION").into(), policy_sha256: self.parts.policy_sha256.clone() };
        self.commit(vec![started]).await;
        self.sign().await;
        self.resume_talking();
        self.resume_copying();
        self.pursue().await;
    }

    async fn event(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Connected => self.read_every_vote(),
            ChatEvent::Inbound(inbound) => {
                if !self.parts.deliveries.is_new(&inbound.delivery, self.now()) {
                    tracing::debug!(delivery = %inbound.delivery, "delivered again");
                    return;
                }
                if let Some(wait) = self.too_fast(&inbound) {
                    let what = "you are sending faster than Stanch follows".into();
                    let say = Say::Trouble { what, hint: format!("wait {} s; nothing was done", wait.as_secs().max(1)) };
                    self.outbox.private(&inbound.channel, &inbound.from, say);
                    return;
                }
                match inbound.input.clone() {
                    Input::Typed(text) => self.hear(inbound, &text).await,
                    Input::Pressed(control) => self.look_up_for(inbound, control),
                    Input::Reacted(message) => self.read_votes_for(inbound, &message).await,
                }
            }
        }
        self.pursue().await;
    }

    fn too_fast(&self, inbound: &Inbound) -> Option<Duration> {
        let lane = match inbound.input {
            Input::Typed(_) => &self.commands,
            Input::Pressed(_) | Input::Reacted(_) => &self.votes,
        };
        let clock = governor::clock::Clock::now(&governor::clock::DefaultClock::default());
        lane.check_key(&inbound.from).err().map(|not_until| not_until.wait_time_from(clock))
    }

    async fn report(&mut self, report: Report) {
        if matches!(report, Report::Looked(_) | Report::TurnedAway { .. } | Report::Pressed { .. } | Report::Examined { .. }) {
            self.asked = self.asked.saturating_sub(1);
        }
        match report {
            Report::Looked(looked) => self.answer(*looked).await,
            Report::TurnedAway { inbound, answer } => self.turn_away(&inbound, *answer).await,
            Report::Examined { inbound, diagnoses } => self.answer_privately(&inbound, Say::Examined(diagnoses)).await,
            Report::Pressed { inbound, control, subject } => self.press(inbound, control, subject).await,
            Report::Voted(voted) => {
                let id = voted.id.clone();
                self.count(voted).await;
                self.was_read(&id);
            }
            Report::NotRead { id } => self.was_read(&id),
            Report::Unseen { id, why } => self.tell_unseen(&id, &why),
            Report::Rechecked(asked_again) => {
                let id = asked_again.id.clone();
                self.recheck(*asked_again).await;
                self.was_read(&id);
            }
            Report::Observed { id, step, observation } => self.observed(id, step, observation).await,
            Report::Performed { id, step, performed, kept, attachments } => self.performed((id, step), performed, kept, attachments).await,
            Report::Compared { found, tries } => self.compared(found, tries),
            Report::Copied { id, outcome } => self.copied(id, outcome).await,
            Report::Posted { id, what, message } => {
                let at = self.now();
                let plan = (what == Landmark::Plan).then(|| (id.clone(), message.clone()));
                self.commit(vec![Entry::Posted { at, request: id.clone(), what, message }]).await;
                self.mirrors.learn(&self.memory, &id);
                // Somebody may have reacted before it was known whose plan the message is.
                if let Some((id, message)) = plan {
                    self.read_votes(id, message, BTreeSet::new());
                }
            }
        }
        self.pursue().await;
    }

    async fn tick(&mut self) {
        let now = self.now();
        let waiting: Vec<RequestId> =
            self.memory.open().filter(|(_, request)| request.stage == Stage::Waiting).map(|(id, _)| id.clone()).collect();
        for id in waiting {
            // A tick is never refused.
            let _ = self.send(&id, Event::Tick).await;
            self.remind(&id, now);
        }
        self.witness_daily(now).await;
        self.commands.retain_recent();
        self.votes.retain_recent();
        while self.tasks.try_join_next().is_some() {}
        self.pursue().await;
    }

    /// Decides about an event, makes the records durable, and takes them in.
    ///
    /// # Errors
    /// [`Rejection`]: nothing happened.
    async fn send(&mut self, id: &RequestId, event: Event) -> Result<(), Rejection> {
        let records = decide(&self.memory.state, id, event, self.now())?;
        self.commit(records.into_iter().map(Entry::Fact).collect()).await;
        if self.broken.is_some() { Err(Rejection::NotRecorded) } else { Ok(()) }
    }

    /// Makes entries durable, then takes them in and says what they mean. After a failure nothing is done any more.
    async fn commit(&mut self, entries: Vec<Entry>) {
        if entries.is_empty() || self.broken.is_some() {
            return;
        }
        let records = entries.iter().filter_map(|entry| if let Entry::Fact(record) = entry { Some(record) } else { None });
        if let Err(illegal) = admits(&self.memory.state, records) {
            return self.stop_for(LogFailed(illegal.to_string()));
        }
        match self.parts.log.append(entries.iter().map(Entry::to_bytes).collect()).await {
            Ok(index) => self.durable = index,
            Err(failed) => return self.stop_for(failed),
        }
        for entry in entries {
            let stage_of = |id| self.memory.state.requests.get(id).map(|request| request.stage.clone());
            let before = if let Entry::Fact(record) = &entry { stage_of(&record.request) } else { None };
            if let Err(illegal) = self.memory.follow(&entry) {
                return self.stop_for(LogFailed(illegal.to_string()));
            }
            if let Entry::Fact(record) = entry {
                self.announce(&record, before.as_ref()).await;
            }
        }
    }

    /// Whether a step or an answer to somebody is under way.
    fn busy(&self) -> bool {
        self.asked > 0 || self.doing.iter().any(|effect| matches!(effect, Effect::Perform(..)))
    }

    fn stop_for(&mut self, failed: LogFailed) {
        tracing::error!(%failed, "the audit log takes no records: nothing more is started");
        for (id, request) in self.memory.open() {
            self.outbox.thread(&request.made.channel, id, Say::LogFailed { why: failed.0.clone() });
        }
        self.broken = Some(failed);
    }

    /// Waits for steps that are under way, and ends. Whoever halts meanwhile is heard; what is asked or agreed to is recorded, and followed
    /// after the next start.
    async fn park(
        mut self,
        reports: &mut mpsc::UnboundedReceiver<Report>,
        events: &mut mpsc::Receiver<ChatEvent>,
    ) -> Result<(), LogFailed> {
        self.stopping = true;
        let deadline = tokio::time::sleep_until(Instant::now() + PATIENCE);
        tokio::pin!(deadline);
        while (self.busy() || !events.is_empty() || !reports.is_empty()) && self.broken.is_none() {
            tokio::select! {
                Some(report) = reports.recv() => self.report(report).await,
                Some(event) = events.recv() => self.event(event).await,
                () = &mut deadline => {
                    tracing::warn!(under_way = self.doing.len(), "steps are still under way: they are observed after the next start");
                    break;
                }
            }
        }
        self.tasks.abort_all();
        self.outbox.close(LAST_WORDS).await;
        // Where the last messages stand, or they would be posted again.
        while let Ok(report) = reports.try_recv() {
            if let Report::Posted { id, what, message } = report {
                let at = self.now();
                self.commit(vec![Entry::Posted { at, request: id, what, message }]).await;
            }
        }
        self.sign().await;
        self.broken.map_or(Ok(()), Err)
    }

    /// Signs the head of the log, so that at rest every entry is signed.
    async fn sign(&mut self) {
        if self.broken.is_none()
            && let Err(failed) = self.parts.log.checkpoint().await
        {
            self.stop_for(failed);
        }
    }
}
