//! The ports in memory: a log that can die, a world that counts what was done to it, a chat that remembers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "test code fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use stanch::app::{Entry, Memory};
use stanch::core::engine::DurableIndex;
use stanch::core::identity::{Account, ChannelRef, MessageRef};
use stanch::core::policy::{Groups, Subject};
use stanch::core::record::Fact;
use stanch::core::say::Message;
use stanch::core::step::*;
use stanch::ports::*;
use stanch_commands::action::{Action, ActionClass, ComputeAction, KubernetesAction};
use stanch_commands::facts::{ComputeFacts, Facts, GroupState, KubernetesFacts, NoInstance};
use stanch_commands::target::{GroupRef, RequestId, TargetName};
use tokio_util::sync::CancellationToken;

/// Where the process dies: never, or around the nth time that it comes to such a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    Never,
    BeforeAppend(usize),
    AfterAppend(usize),
    BeforeEffect(usize),
    AfterEffect(usize),
}

/// What the world does with one action, besides carrying it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Fails(FailureKind),
    LosesTheAnswer,
    LosesTheRequest,
    /// Succeeds, in far too many words.
    Rambles,
}

/// Everything outside the process: what survives its death.
pub struct Outside {
    pub facts: Mutex<Facts>,
    pub log: Mutex<Vec<Vec<u8>>>,
    pub chat: Mutex<Chatter>,
    /// How often each action took effect.
    pub effects: Mutex<BTreeMap<String, usize>>,
    /// What is in place.
    pub in_place: Mutex<BTreeSet<String>>,
    pub moods: Mutex<BTreeMap<String, Vec<Mood>>>,
    /// Of whom the chat says that they are no members.
    pub strangers: Mutex<BTreeSet<String>>,
    /// Of whom the chat says nothing.
    pub silent: Mutex<BTreeSet<String>>,
    /// Surveys wait.
    pub surveys_held: AtomicBool,
    /// Whose every second look-up fails.
    pub flaky: Mutex<BTreeSet<String>>,
    /// Who is looked up once, and never found again.
    pub vanishing: Mutex<BTreeSet<String>>,
    look_ups: AtomicU64,
    pub seconds: AtomicU64,
    pub seen: Mutex<BTreeSet<String>>,
    pub log_broken: Mutex<bool>,
    pub disk_full: Mutex<bool>,
    /// There is a second place for evidence, and steps that collect have something to keep.
    pub copies: Mutex<bool>,
    /// A channel that sees the head of the log.
    pub witnesses: Mutex<Vec<ChannelRef>>,
    /// Redacted files are shown in the chat.
    pub attach: Mutex<bool>,
    /// How the next tries to copy, or to compare, fail.
    pub copy_faults: Mutex<VecDeque<CopyFailed>>,
    /// Requests whose newest evidence is not in the second place.
    pub uncopied: Mutex<BTreeSet<RequestId>>,
    death: Mutex<Death>,
    appends: AtomicU64,
    works: AtomicU64,
    ids: AtomicU64,
    pub dead: Mutex<CancellationToken>,
}

#[derive(Default)]
pub struct Chatter {
    pub posts: Vec<(MessageRef, Option<MessageRef>, Message)>,
    pub edits: Vec<(MessageRef, Message)>,
    pub whispers: Vec<(Account, Message)>,
    pub files: Vec<(String, String)>,
    pub refuses_files: Option<String>,
    pub votes: BTreeMap<MessageRef, Votes>,
    /// This many calls fail first.
    pub failing: usize,
    /// After so many readings every reaction is gone, and nobody is told.
    pub readings: Option<usize>,
    /// Readings of votes that fail from now on.
    pub unreadable: usize,
    /// How often the votes were asked for.
    pub asked_for_votes: usize,
}

impl Outside {
    pub fn new(facts: Facts, death: Death) -> Arc<Self> {
        Arc::new(Self {
            facts: Mutex::new(facts),
            log: Mutex::default(),
            chat: Mutex::default(),
            effects: Mutex::default(),
            in_place: Mutex::default(),
            moods: Mutex::default(),
            strangers: Mutex::default(),
            silent: Mutex::default(),
            surveys_held: AtomicBool::new(false),
            flaky: Mutex::default(),
            vanishing: Mutex::default(),
            look_ups: AtomicU64::new(0),
            seconds: AtomicU64::new(1_800_000_000),
            seen: Mutex::default(),
            log_broken: Mutex::default(),
            disk_full: Mutex::default(),
            copies: Mutex::default(),
            witnesses: Mutex::default(),
            attach: Mutex::default(),
            copy_faults: Mutex::default(),
            uncopied: Mutex::default(),
            death: Mutex::new(death),
            appends: AtomicU64::new(0),
            works: AtomicU64::new(0),
            ids: AtomicU64::new(0),
            dead: Mutex::default(),
        })
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.log.lock().unwrap().iter().map(|bytes| serde_json::from_slice(bytes).unwrap()).collect()
    }

    pub fn memory(&self) -> Memory {
        Memory::replay(&self.log.lock().unwrap()).unwrap()
    }

    pub fn appended(&self) -> usize {
        usize::try_from(self.appends.load(Ordering::SeqCst)).unwrap()
    }

    pub fn worked(&self) -> usize {
        usize::try_from(self.works.load(Ordering::SeqCst)).unwrap()
    }

    pub fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    /// The present life has come to the place where it dies.
    pub fn is_dead(&self) -> bool {
        self.dead.lock().unwrap().is_cancelled()
    }

    /// The next life does not die.
    pub fn revive(&self) {
        *self.death.lock().unwrap() = Death::Never;
        *self.dead.lock().unwrap() = CancellationToken::new();
    }

    async fn die_if(&self, here: Death) {
        if *self.death.lock().unwrap() == here {
            self.dead.lock().unwrap().cancel();
            std::future::pending::<()>().await;
        }
    }

    /// No effect before its record is durable, no write without the authorisation.
    fn assert_lawful(&self, action: &Action, licence: &Licence) {
        let facts: Vec<Fact> = self
            .entries()
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Fact(record) if record.request == *licence.request() => Some(record.fact),
                _ => None,
            })
            .collect();
        let started = |fact: &Fact| matches!(fact, Fact::StepStarted { key, .. } if key == licence.key());
        assert!(facts.iter().any(started), "{} began before its record was durable", action.summary());
        let authorised = |fact: &Fact| matches!(fact, Fact::ExecutionAuthorised { digest, .. } if digest == licence.digest());
        assert!(action.class() == ActionClass::Preserve || facts.iter().any(authorised), "{} without a quorum", action.summary());
    }

    async fn carry_out(&self, action: Action, licence: &Licence) -> Performed {
        self.assert_lawful(&action, licence);
        let nth = usize::try_from(self.works.fetch_add(1, Ordering::SeqCst)).unwrap() + 1;
        let name = action.summary();
        let mood = self.moods.lock().unwrap().get_mut(&name).and_then(Vec::pop);
        self.die_if(Death::BeforeEffect(nth)).await;
        let done = |outcome| Performed { outcome, calls: vec![Call { method: "fake".into(), ..Call::default() }], artefacts: vec![] };
        match mood {
            Some(Mood::Fails(kind)) => return done(Outcome::Failed(Failure { kind, message: "it failed".into(), hint: None })),
            Some(Mood::LosesTheRequest) => return done(Outcome::Unknown("the answer was lost".into())),
            Some(Mood::LosesTheAnswer | Mood::Rambles) | None => {}
        }
        let new = self.in_place.lock().unwrap().insert(name.clone());
        // Also when it was in place: the app has to look before it repeats anything.
        if action.class() != ActionClass::Verify {
            *self.effects.lock().unwrap().entry(name.clone()).or_default() += 1;
        }
        self.die_if(Death::AfterEffect(nth)).await;
        let collects = matches!(action, Action::Kubernetes(KubernetesAction::CollectEvidence { .. }));
        if collects && *self.copies.lock().unwrap() && mood.is_none() {
            let file = |path: &str, content: &str| Artefact { path: path.into(), content: content.into() };
            let artefacts =
                vec![file("big.json", &"x".repeat(1_022)), file("node.json", "{}"), file("list.json", "[1]"), file("app.log", "token")];
            return Performed { artefacts, ..done(Outcome::Succeeded(Receipt { summary: format!("did: {name}"), ..Receipt::default() })) };
        }
        match mood {
            Some(Mood::Rambles) => done(Outcome::Succeeded(Receipt { summary: "x".repeat(200_000), ..Receipt::default() })),
            Some(Mood::LosesTheAnswer) => done(Outcome::Unknown("the answer was lost".into())),
            _ => done(Outcome::Succeeded(Receipt { already_so: !new, summary: format!("did: {name}"), ..Receipt::default() })),
        }
    }

    fn look(&self, action: &Action) -> Observation {
        match self.in_place.lock().unwrap().contains(&action.summary()) {
            true => Observation::InPlace(Receipt { summary: "seen".into(), ..Receipt::default() }),
            false => Observation::NotInPlace,
        }
    }
}

/// One life of the process sees the outside through this.
#[derive(Clone)]
pub struct Ports(pub Arc<Outside>);

#[async_trait]
impl Surveyor<TargetName, KubernetesFacts> for Ports {
    async fn survey(&self, target: &TargetName) -> Result<KubernetesFacts, SurveyError> {
        match target {
            TargetName::Pod { name, .. } if name.as_str() == "no-such-pod" => {
                Err(SurveyError::NotFound("there is no pod `no-such-pod`".into()))
            }
            _ => {
                while self.0.surveys_held.load(Ordering::SeqCst) {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                Ok(self.0.facts.lock().unwrap().kubernetes.clone())
            }
        }
    }
}

#[async_trait]
impl Surveyor<InstanceQuery, Result<ComputeFacts, NoInstance>> for Ports {
    async fn survey(&self, _: &InstanceQuery) -> Result<Result<ComputeFacts, NoInstance>, SurveyError> {
        Ok(self.0.facts.lock().unwrap().compute.clone())
    }
}

#[async_trait]
impl Surveyor<GroupRef, Option<GroupState>> for Ports {
    async fn survey(&self, _: &GroupRef) -> Result<Option<GroupState>, SurveyError> {
        Ok(None)
    }
}

#[async_trait]
impl Actuator<KubernetesAction> for Ports {
    async fn perform(&self, action: &KubernetesAction, licence: &Licence) -> Performed {
        self.0.carry_out(action.clone().into(), licence).await
    }
    async fn observe(&self, action: &KubernetesAction, _: &Licence) -> Observation {
        self.0.look(&action.clone().into())
    }
}

#[async_trait]
impl Actuator<ComputeAction> for Ports {
    async fn perform(&self, action: &ComputeAction, licence: &Licence) -> Performed {
        self.0.carry_out(action.clone().into(), licence).await
    }
    async fn observe(&self, action: &ComputeAction, _: &Licence) -> Observation {
        self.0.look(&action.clone().into())
    }
}

#[async_trait]
impl AuditLog for Ports {
    async fn append(&self, entries: Vec<Vec<u8>>) -> Result<DurableIndex, LogFailed> {
        let nth = usize::try_from(self.0.appends.fetch_add(1, Ordering::SeqCst)).unwrap() + 1;
        self.0.die_if(Death::BeforeAppend(nth)).await;
        if *self.0.log_broken.lock().unwrap() {
            return Err(LogFailed("no space left on device".into()));
        }
        let index = {
            let mut log = self.0.log.lock().unwrap();
            log.extend(entries);
            DurableIndex::synced(u64::try_from(log.len()).unwrap() - 1)
        };
        self.0.die_if(Death::AfterAppend(nth)).await;
        Ok(index)
    }
    async fn checkpoint(&self) -> Result<String, LogFailed> {
        Ok(format!("test log\n{}\n", self.0.log.lock().unwrap().len()))
    }
    fn has_room(&self) -> bool {
        !*self.0.disk_full.lock().unwrap()
    }
}

#[async_trait]
impl EvidenceStore for Ports {
    async fn keep(&self, custody: &Custody, artefacts: Vec<Artefact>) -> Result<Kept, EvidenceLost> {
        self.0.uncopied.lock().unwrap().insert(custody.request.clone());
        let exhibits = artefacts.into_iter().map(|file| Exhibit { path: file.path, sha256: "0".repeat(64), bytes: 0 }).collect();
        Ok(Kept { exhibits, manifest_sha256: "0".repeat(64) })
    }
}

#[async_trait]
impl EvidenceCopies for Ports {
    fn place(&self) -> &str {
        "gs://evidence/prod"
    }
    async fn copy(&self, request: &RequestId) -> Result<Copied, CopyFailed> {
        if let Some(failed) = self.0.copy_faults.lock().unwrap().pop_front() {
            return Err(failed);
        }
        self.0.uncopied.lock().unwrap().remove(request);
        Ok(Copied { files: 1, manifest_sha256: "0".repeat(64) })
    }
    async fn pending(&self) -> Result<BTreeSet<RequestId>, CopyFailed> {
        match self.0.copy_faults.lock().unwrap().pop_front() {
            Some(failed) => Err(failed),
            None => Ok(self.0.uncopied.lock().unwrap().clone()),
        }
    }
}

impl Deliveries for Ports {
    fn is_new(&self, delivery: &str, _: Timestamp) -> bool {
        self.0.seen.lock().unwrap().insert(delivery.to_owned())
    }
}

impl Clock for Ports {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(i64::try_from(self.0.seconds.load(Ordering::SeqCst)).unwrap()).unwrap()
    }
}

impl IdSource for Ports {
    fn request_id(&self) -> RequestId {
        format!("r-{:06}", self.0.ids.fetch_add(1, Ordering::SeqCst)).parse().unwrap()
    }
    fn step_key(&self) -> StepKey {
        StepKey::new(format!("key-{}", self.0.ids.fetch_add(1, Ordering::SeqCst)))
    }
}

#[async_trait]
impl Chat for Ports {
    async fn post(&self, channel: &ChannelRef, root: Option<&MessageRef>, message: &Message) -> Result<MessageRef, ChatError> {
        let mut chat = self.0.chat.lock().unwrap();
        if chat.failing > 0 {
            chat.failing -= 1;
            return Err(ChatError::RateLimited { retry_after_ms: 1 });
        }
        let posted = MessageRef { channel: channel.clone(), id: format!("m{}", chat.posts.len()) };
        chat.posts.push((posted.clone(), root.cloned(), message.clone()));
        Ok(posted)
    }
    async fn edit(&self, posted: &MessageRef, message: &Message) -> Result<(), ChatError> {
        self.0.chat.lock().unwrap().edits.push((posted.clone(), message.clone()));
        Ok(())
    }
    async fn whisper(&self, _: &ChannelRef, to: &Account, message: &Message) -> Result<(), ChatError> {
        self.0.chat.lock().unwrap().whispers.push((to.clone(), message.clone()));
        Ok(())
    }
    async fn attach(&self, root: &MessageRef, message: &Message, files: &[Attachment]) -> Result<(), ChatError> {
        let mut chat = self.0.chat.lock().unwrap();
        if let Some(refused) = chat.refuses_files.clone() {
            return Err(ChatError::Refused(refused));
        }
        let posted = MessageRef { channel: root.channel.clone(), id: format!("m{}", chat.posts.len()) };
        chat.posts.push((posted, Some(root.clone()), message.clone()));
        chat.files.extend(files.iter().map(|file| (file.exhibit.path.clone(), file.text.clone())));
        Ok(())
    }
    async fn votes(&self, posted: &MessageRef) -> Result<Votes, ChatError> {
        let mut chat = self.0.chat.lock().unwrap();
        chat.asked_for_votes += 1;
        if chat.unreadable > 0 {
            chat.unreadable -= 1;
            return Err(ChatError::Unavailable("down".into()));
        }
        if chat.readings == Some(0) {
            chat.votes.clear();
        }
        chat.readings = chat.readings.map(|left| left.saturating_sub(1));
        Ok(chat.votes.get(posted).cloned().unwrap_or_default())
    }
    async fn subject(&self, account: &Account) -> Result<Option<Subject>, ChatError> {
        if self.0.vanishing.lock().unwrap().remove(&account.id) {
            self.0.strangers.lock().unwrap().insert(account.id.clone());
            return Ok(Some(Subject { account: account.clone(), groups: Groups::Known(BTreeSet::new()) }));
        }
        let fails = self.0.flaky.lock().unwrap().contains(&account.id) && self.0.look_ups.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        if fails || self.0.silent.lock().unwrap().contains(&account.id) {
            return Err(ChatError::Unavailable("down".into()));
        }
        let known = !self.0.strangers.lock().unwrap().contains(&account.id);
        Ok(known.then(|| Subject { account: account.clone(), groups: Groups::Known(BTreeSet::new()) }))
    }
}
