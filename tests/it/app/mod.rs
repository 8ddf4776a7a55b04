//! Goal: the app keeps the laws of the design whatever fails and whenever it dies. Method: the ports in memory; a driver that plays the
//! people; deaths before and after every append and every effect.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

mod copying;
mod crash;
mod fakes;
mod incident;
mod witness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stanch::app::{Cluster, Doctor, Landmark, Parts, Settings};
use stanch::core::identity::{Account, ChannelRef, MessageRef, Platform};
use stanch::core::policy::Policy;
use stanch::core::request::{Request, Stage};
use stanch::core::say::{Control, Message};
use stanch::ports::{ChatEvent, Inbound, Input, LogFailed};
use stanch_commands::definition::Limits;
use stanch_commands::plan::Form;
use stanch_commands::target::RequestId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use fakes::{Death, Outside, Ports};

pub const ROSA: &str = "U0RESPONDER";
pub const AMIR: &str = "U0APPROVER1";
pub const BEA: &str = "U0APPROVER2";
/// How long a state may take to come. Only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(60);
pub const QUARANTINE: &str = "quarantine pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42";

/// One life of the process.
struct Life {
    events: mpsc::Sender<ChatEvent>,
    task: JoinHandle<Result<(), LogFailed>>,
    shutdown: CancellationToken,
}

/// The outside and the present life.
pub struct Theatre {
    pub outside: Arc<Outside>,
    life: Life,
    deliveries: AtomicU64,
}

fn channel() -> ChannelRef {
    ChannelRef { platform: Platform::Slack, id: "C0INCIDENTS".into() }
}

pub fn account(id: &str) -> Account {
    Account { platform: Platform::Slack, id: id.into() }
}

fn begin(outside: &Arc<Outside>) -> Life {
    let ports = Arc::new(Ports(outside.clone()));
    let facts = outside.facts.lock().unwrap().cluster.clone();
    let cluster = Cluster { facts: facts.clone(), kubernetes: ports.clone(), compute: ports.clone(), ssh: None };
    let parts = Parts {
        policy: Arc::new(Policy::from_toml(include_str!("../../../config/policy.toml")).unwrap()),
        policy_sha256: "test".into(),
        settings: Settings {
            form: Form::Strict,
            limits: Limits::default(),
            node_access: Default::default(),
            shared: Default::default(),
            channels: [(channel(), facts.name.clone())].into(),
            witnesses: outside.witnesses.lock().unwrap().clone(),
            pace: Duration::ZERO,
            own: Default::default(),
            attach_limit_bytes: outside.attach.lock().unwrap().then_some(1_024),
        },
        clusters: [(facts.name, cluster)].into(),
        chat: ports.clone(),
        log: ports.clone(),
        evidence: ports.clone(),
        copies: outside.copies.lock().unwrap().then(|| ports.clone() as Arc<dyn stanch::ports::EvidenceCopies>),
        deliveries: ports.clone(),
        clock: ports.clone(),
        ids: ports.clone(),
        doctor: Doctor::default(),
    };
    let (events, inbox) = mpsc::channel(64);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(stanch::app::run(parts, outside.memory(), inbox, shutdown.clone()));
    Life { events, task, shutdown }
}

impl Theatre {
    pub fn new(death: Death) -> Self {
        let outside = Outside::new(crate::plans::facts(), death);
        Self { life: begin(&outside), outside, deliveries: AtomicU64::new(0) }
    }

    /// With a second place for evidence, whose first tries fail like this.
    pub fn copying(faults: impl IntoIterator<Item = stanch::ports::CopyFailed>) -> Self {
        let outside = Outside::new(crate::plans::facts(), Death::Never);
        *outside.copies.lock().unwrap() = true;
        outside.copy_faults.lock().unwrap().extend(faults);
        Self { life: begin(&outside), outside, deliveries: AtomicU64::new(0) }
    }

    /// With a channel that sees the head of the log.
    pub fn witnessed_in(channel: &ChannelRef) -> Self {
        let outside = Outside::new(crate::plans::facts(), Death::Never);
        outside.witnesses.lock().unwrap().push(channel.clone());
        Self { life: begin(&outside), outside, deliveries: AtomicU64::new(0) }
    }

    /// Waits until something was posted that holds these words.
    pub async fn posted(&self, words: &str) -> Message {
        self.until(&format!("`{words}` is posted"), |stage| {
            let chat = stage.outside.chat.lock().unwrap();
            chat.posts.iter().map(|(.., message)| message).find(|message| format!("{:?}", message.blocks).contains(words)).cloned()
        })
        .await
    }

    pub async fn kill(&mut self) {
        self.life.task.abort();
        let _ = (&mut self.life.task).await;
    }

    /// Kill, and start again on what is outside.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.outside.revive();
        self.life = begin(&self.outside);
        self.send(ChatEvent::Connected).await;
    }

    pub async fn shut_down(self) -> Result<(), LogFailed> {
        self.life.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.life.task).await.unwrap().unwrap()
    }

    async fn send(&self, event: ChatEvent) {
        let _ = self.life.events.send(event).await;
    }

    async fn act(&self, who: &str, input: Input) {
        let delivery = format!("d{}", self.deliveries.fetch_add(1, Ordering::SeqCst));
        let inbound = Inbound { delivery, from: account(who), channel: channel(), input };
        self.send(ChatEvent::Inbound(inbound)).await;
    }

    pub async fn types(&self, who: &str, text: &str) {
        self.act(who, Input::Typed(text.into())).await;
    }

    pub async fn presses(&self, who: &str, control: Control) {
        self.act(who, Input::Pressed(control)).await;
    }

    pub async fn reacts(&self, who: &str, message: &MessageRef, change: impl FnOnce(&mut stanch::ports::Votes)) {
        change(self.outside.chat.lock().unwrap().votes.entry(message.clone()).or_default());
        self.act(who, Input::Reacted(message.clone())).await;
    }

    pub fn only_request(&self) -> Option<(RequestId, Request)> {
        self.outside.memory().state.requests.into_iter().next()
    }

    pub fn landmark(&self, what: Landmark) -> Option<MessageRef> {
        self.outside.memory().landmarks.into_iter().find(|((_, found), _)| *found == what).map(|(_, message)| message)
    }

    /// Waits for a state; the time limit only keeps a failing test from hanging.
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(found) = look(self) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let chat = self.outside.chat.lock().unwrap();
        let entries = self.outside.entries();
        panic!("never: {what}; whispers: {:#?}; log: {:#?}", chat.whispers, entries.iter().rev().take(12).collect::<Vec<_>>())
    }

    pub async fn plan_stands(&self) -> (RequestId, Request, MessageRef) {
        self.until("a plan message", |stage| {
            let (id, request) = stage.only_request()?;
            Some((id, request, stage.landmark(Landmark::Plan)?))
        })
        .await
    }

    pub async fn ended(&self) -> Request {
        self.until("the end is posted", |stage| {
            stage.landmark(Landmark::End)?;
            let (_, request) = stage.only_request()?;
            matches!(request.stage, Stage::Ended(_)).then_some(request)
        })
        .await
    }

    pub async fn whispered(&self, who: &str, words: &str) -> Message {
        self.until(&format!("{who} is told `{words}`"), |stage| {
            let chat = stage.outside.chat.lock().unwrap();
            let told = |(to, message): &&(Account, Message)| to.id == who && format!("{:?}", message.blocks).contains(words);
            chat.whispers.iter().find(told).map(|(_, message)| message.clone())
        })
        .await
    }
}
