//! Effects: what the engine says is to be done next, done beside the app.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use stanch_commands::plan::StepId;
use stanch_commands::target::RequestId;
use tokio::time::Instant;

use super::work::Report;
use super::{Cluster, Entry, Stanch};
use crate::core::engine::{Effect, Event, Rejection, effects, licence};
use crate::core::request::Stage;
use crate::core::say::Say;
use crate::core::step::{Artefact, Call, Failure, FailureKind, Licence, Observation, Outcome, Performed};
use crate::ports::{Attachment, Clock, Custody, ENTRY_LIMIT_BYTES, EvidenceStore, Exhibit, Kept};
use stanch_commands::action::Action;

/// Pause before a request that waits for another one, or whose requester may not ask any more, is looked at again.
const RECHECK: Duration = Duration::from_secs(5);
/// Pause before a step of unknown effect is looked at again: twice as long each time, up to the longest.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// Most calls of one step in its record, of about 150 bytes each. A drain of 110 pods makes about 500; the first ones tell what went wrong.
const MAX_CALLS: usize = 120;
/// Most files in one record, of about 200 bytes each.
const MAX_EXHIBITS: usize = 200;
/// Most files that one step shows in the chat: a pod has a dozen redacted ones, and each is two calls.
const MAX_ATTACHED: usize = 20;
/// Longest words of an outcome in a record, in characters: a foreign NetworkPolicy may be quoted in them.
const WORDS_LENGTH: usize = 2_000;
/// Longest outcome in a record, in bytes: half an entry, the rest is for the calls.
const OUTCOME_LIMIT_BYTES: usize = ENTRY_LIMIT_BYTES / 2;
/// Tries of a step whose effect stays unknown and is then found absent: two minutes with the pauses. What failed so often is no accident, and
/// what waits for the step's end should not wait longer.
const MAX_TRIES: u32 = 8;
/// Most lines of details in a record, and their length in characters: what people still read.
const MAX_DETAILS: usize = 60;
const DETAIL_LENGTH: usize = 300;
/// What a step may take beyond its deadline before its answer counts as lost: adapters bound their calls, so this is for a defect.
const GRACE_S: u64 = 300;

impl Stanch {
    /// Does what is to be done next. Everything that takes time comes back as a report.
    pub(super) async fn pursue(&mut self) {
        if self.stopping {
            return;
        }
        self.pursue_copies();
        let now = self.now();
        let mut started = Vec::new();
        for effect in effects(&self.memory.state, now) {
            if let Effect::Start(id, step) = effect {
                let event = Event::Start { step, key: self.parts.ids.step_key() };
                // Ready steps do not depend on each other, so one append serves all of them.
                if let Ok(records) = crate::core::engine::decide(&self.memory.state, &id, event, now) {
                    started.extend(records.into_iter().map(Entry::Fact));
                    self.fresh.insert((id, step));
                }
            }
        }
        self.commit(started).await;
        if self.broken.is_some() {
            return;
        }
        for effect in effects(&self.memory.state, now) {
            let early = self.not_before.get(&effect).is_some_and(|(at, _)| Instant::now() < *at);
            if early || self.doing.contains(&effect) {
                continue;
            }
            match &effect {
                // The next round starts it.
                Effect::Start(..) => continue,
                Effect::Recheck(id) => {
                    let id = id.clone();
                    self.doing.insert(effect);
                    self.look_up_again(&id).await;
                }
                Effect::Perform(id, step) => match self.carry_out(id, *step) {
                    true => _ = self.doing.insert(effect),
                    false => {
                        let (id, step) = (id.clone(), *step);
                        self.tell_unclear(&id, step, "its cluster is not configured any more; put it back into config/stanch.toml".into());
                        self.look_later(&id, step);
                    }
                },
            }
        }
    }

    /// Carries a step out, or observes it; not if its cluster left the configuration.
    fn carry_out(&mut self, id: &RequestId, step: StepId) -> bool {
        let Some(work) = self.work(id, step) else {
            tracing::error!(request = %id, %step, "a step under way has no licence or no cluster");
            return false;
        };
        let (reports, id, fresh) = (self.reports.clone(), id.clone(), self.fresh.contains(&(id.clone(), step)));
        self.tasks.spawn(async move {
            let report = match fresh {
                true => {
                    let (performed, kept, attachments) = work.perform().await;
                    Report::Performed { id, step, performed, kept, attachments }
                }
                false => Report::Observed { observation: work.observe().await, id, step },
            };
            let _ = reports.send(report);
        });
        true
    }

    fn work(&self, id: &RequestId, step: StepId) -> Option<Work> {
        let licence = licence(&self.memory.state, id, step, self.durable)?;
        let plan = &self.memory.state.requests.get(id)?.made.plan;
        let body = plan.step(step)?;
        let cluster = self.parts.clusters.get(&plan.cluster)?.clone();
        let limit = Duration::from_secs(u64::from(body.deadline_s) + GRACE_S);
        let made = &self.memory.state.requests.get(id)?.made;
        let custody = Custody {
            at: self.now(),
            request: id.clone(),
            incident: made.incident.clone(),
            requester: made.requester.clone(),
            step: body.action.summary(),
            digest: plan.digest(),
        };
        let attach = self.parts.settings.attach_limit_bytes;
        let keeper = Keeper { evidence: self.parts.evidence.clone(), clock: self.parts.clock.clone(), custody, attach };
        Some(Work { cluster, action: body.action.clone(), licence, limit, keeper })
    }

    /// A step was carried out, or not.
    pub(super) async fn performed(
        &mut self,
        (id, step): (RequestId, StepId),
        performed: Performed,
        kept: Kept,
        attachments: Vec<Attachment>,
    ) {
        self.fresh.remove(&(id.clone(), step));
        if !kept.exhibits.is_empty() {
            let (at, Kept { exhibits, manifest_sha256 }) = (self.now(), kept.clone());
            let part = |exhibits: &[Exhibit]| Entry::Kept {
                at,
                request: id.clone(),
                step,
                exhibits: exhibits.to_vec(),
                manifest_sha256: manifest_sha256.clone(),
            };
            self.commit(exhibits.chunks(MAX_EXHIBITS).map(part).collect()).await;
            self.tell_kept(&id, &kept);
            self.attach(&id, &kept, attachments);
            self.copy_soon(&id);
        }
        let unknown = matches!(performed.outcome, Outcome::Unknown(_));
        self.finish(&id, step, performed).await;
        self.doing.remove(&Effect::Perform(id.clone(), step));
        if unknown {
            *self.unanswered.entry((id.clone(), step)).or_default() += 1;
            self.look_later(&id, step);
        }
    }

    /// A step that may have been carried out before was looked at: the rule is to observe first, then to decide.
    pub(super) async fn observed(&mut self, id: RequestId, step: StepId, observation: Observation) {
        let goes_on = self.memory.state.requests.get(&id).is_some_and(|request| !matches!(request.stage, Stage::Ended(_)));
        let failed = |kind, message: String| Outcome::Failed(Failure { kind, message, hint: None });
        let outcome = match observation {
            Observation::InPlace(receipt) => Some(Outcome::Succeeded(receipt)),
            Observation::Gone(why) => Some(failed(FailureKind::Stale, why)),
            Observation::NotInPlace if goes_on && self.unanswered.get(&(id.clone(), step)).is_some_and(|tries| *tries >= MAX_TRIES) => {
                let message = format!("it was tried {MAX_TRIES} times, and is not in place: the API keeps failing");
                Some(failed(FailureKind::Unavailable, message))
            }
            Observation::NotInPlace if goes_on => {
                // The same key, so that whatever was sent before is the same request to the vendor.
                self.fresh.insert((id.clone(), step));
                None
            }
            Observation::NotInPlace => Some(failed(FailureKind::Unavailable, "the request ended before this took effect".into())),
            Observation::Unclear(why) => {
                self.tell_unclear(&id, step, why);
                self.look_later(&id, step);
                None
            }
        };
        if let Some(outcome) = outcome {
            self.finish(&id, step, Performed { outcome, calls: vec![], artefacts: vec![] }).await;
            self.not_before.remove(&Effect::Perform(id.clone(), step));
        }
        self.doing.remove(&Effect::Perform(id, step));
    }

    async fn finish(&mut self, id: &RequestId, step: StepId, performed: Performed) {
        let Performed { mut outcome, mut calls, .. } = performed;
        shorten(&mut outcome);
        if calls.len() > MAX_CALLS {
            let left_out = calls.len() - MAX_CALLS;
            calls.truncate(MAX_CALLS);
            calls.push(Call { method: format!("and {left_out} more"), ..Call::default() });
        }
        if let Err(rejection) = self.send(id, Event::Finish { step, outcome, calls }).await {
            tracing::error!(request = %id, %step, ?rejection, "the end of a step was not taken");
        }
    }

    fn tell_kept(&mut self, id: &RequestId, kept: &Kept) {
        let Some(request) = self.memory.state.requests.get(id) else { return };
        let bytes = kept.exhibits.iter().map(|exhibit| exhibit.bytes).sum();
        let files = kept.exhibits.iter().map(|exhibit| {
            let sha256: String = exhibit.sha256.chars().take(12).collect();
            format!("{sha256} {} ({} bytes)", exhibit.path, exhibit.bytes)
        });
        let say = Say::EvidenceKept { files: files.collect(), bytes, manifest_sha256: kept.manifest_sha256.clone() };
        self.outbox.thread(&request.made.channel, id, say);
    }

    /// Shows what may be shown, if anything.
    fn attach(&mut self, id: &RequestId, kept: &Kept, attachments: Vec<Attachment>) {
        let Some(request) = self.memory.state.requests.get(id).filter(|_| !attachments.is_empty()) else { return };
        let files = attachments.iter().map(|file| format!("{} {}", file.exhibit.sha256, file.exhibit.path)).collect();
        let say = Say::EvidenceAttached { files, left_out: kept.exhibits.len().saturating_sub(attachments.len()) };
        self.outbox.attach(&request.made.channel, id, say, attachments);
    }

    fn look_later(&mut self, id: &RequestId, step: StepId) {
        let slot = self.not_before.entry(Effect::Perform(id.clone(), step)).or_insert((Instant::now(), 0));
        let pause = FIRST_LOOK.saturating_mul(1 << slot.1.min(8)).min(LONGEST_LOOK);
        *slot = (Instant::now() + pause, slot.1 + 1);
    }

    fn tell_unclear(&mut self, id: &RequestId, step: StepId, why: String) {
        let first = !self.not_before.contains_key(&Effect::Perform(id.clone(), step));
        if let Some(request) = self.memory.state.requests.get(id)
            && let Some(body) = request.made.plan.step(step)
            && first
        {
            self.outbox.thread(&request.made.channel, id, Say::Unclear { title: body.action.summary(), why });
        }
    }

    /// What became of asking the policy again.
    pub(super) async fn rechecked(&mut self, id: &RequestId, outcome: Result<(), Rejection>) {
        let effect = Effect::Recheck(id.clone());
        self.doing.remove(&effect);
        let Err(rejection) = outcome else { return };
        self.not_before.insert(effect, (Instant::now() + RECHECK, 0));
        let told = self.told_waiting.entry(id.clone()).or_default();
        if !told.contains(&rejection)
            && let Some(request) = self.memory.state.requests.get(id)
        {
            told.push(rejection.clone());
            self.outbox.thread(&request.made.channel, id, Say::Rejected(rejection));
        }
    }
}

/// Fits an outcome into its record: a record that is too long would stop everything.
fn shorten(outcome: &mut Outcome) {
    let short = |text: &mut String| {
        if text.chars().count() > WORDS_LENGTH {
            *text = text.chars().take(WORDS_LENGTH).chain("… (cut)".chars()).collect();
        }
    };
    match outcome {
        Outcome::Succeeded(receipt) => {
            cut(&mut receipt.details);
            short(&mut receipt.summary);
        }
        Outcome::Failed(failure) => {
            short(&mut failure.message);
            failure.hint.iter_mut().for_each(short);
        }
        Outcome::Unknown(why) => short(why),
    }
    let bytes = serde_json::to_vec(&outcome).map_or(usize::MAX, |bytes| bytes.len());
    if bytes > OUTCOME_LIMIT_BYTES {
        let message = format!("what was read is too long for a record: {bytes} bytes");
        let hint = Some("look for an object with very many labels, annotations or disks".into());
        *outcome = Outcome::Failed(Failure { kind: FailureKind::Refused, message, hint });
    }
}

/// One step, with everything that it takes to carry it out.
struct Work {
    cluster: Cluster,
    action: Action,
    licence: Licence,
    limit: Duration,
    keeper: Keeper,
}

/// Where its evidence goes, and for whom.
struct Keeper {
    evidence: Arc<dyn EvidenceStore>,
    clock: Arc<dyn Clock>,
    custody: Custody,
    attach: Option<usize>,
}

impl Work {
    /// Carries the step out and keeps what it collected.
    async fn perform(self) -> (Performed, Kept, Vec<Attachment>) {
        let carried_out = AssertUnwindSafe(self.cluster.perform(&self.action, &self.licence)).catch_unwind();
        let mut performed = match tokio::time::timeout(self.limit, carried_out).await {
            Ok(Ok(performed)) => performed,
            Ok(Err(_)) => lost("an internal error"),
            Err(_) => lost("no end within its time"),
        };
        let artefacts = std::mem::take(&mut performed.artefacts);
        if artefacts.is_empty() {
            return (performed, Kept::default(), vec![]);
        }
        let Keeper { evidence, clock, custody, attach } = self.keeper;
        let shown = attach.map(|limit| presentable(&artefacts, limit)).unwrap_or_default();
        match evidence.keep(&Custody { at: clock.now(), ..custody }, artefacts).await {
            Ok(kept) => {
                let attachments =
                    shown.into_iter().filter_map(|(at, text)| Some(Attachment { exhibit: kept.exhibits.get(at)?.clone(), text }));
                (performed, kept.clone(), attachments.collect())
            }
            Err(error) => {
                let message = format!("the evidence could not be kept: {error}");
                let hint = Some("check the disk of the data folder; containment does not wait for it".into());
                performed.outcome = Outcome::Failed(Failure { kind: FailureKind::Unavailable, message, hint });
                (performed, Kept::default(), vec![])
            }
        }
    }

    async fn observe(self) -> Observation {
        let looked = AssertUnwindSafe(self.cluster.observe(&self.action, &self.licence)).catch_unwind();
        match tokio::time::timeout(self.limit, looked).await {
            Ok(Ok(observation)) => observation,
            Ok(Err(_)) => Observation::Unclear("an internal error".into()),
            Err(_) => Observation::Unclear("no answer within its time".into()),
        }
    }
}

/// What may be shown of these: redacted text, the shortest first, so that one long list does not keep the rest out.
fn presentable(artefacts: &[Artefact], limit_bytes: usize) -> Vec<(usize, String)> {
    let redacted = artefacts.iter().enumerate().filter(|(_, artefact)| artefact.is_redacted() && !artefact.content.is_empty());
    let mut texts: Vec<(usize, String)> =
        redacted.filter_map(|(at, artefact)| Some((at, String::from_utf8(artefact.content.clone()).ok()?))).collect();
    texts.sort_by_key(|(at, text)| (text.len(), *at));
    let mut bytes = 0_usize;
    texts.retain(|(_, text)| {
        bytes = bytes.saturating_add(text.len());
        bytes <= limit_bytes
    });
    texts.truncate(MAX_ATTACHED);
    texts
}

/// Keeps what one record holds: the log's limit is 64 KiB.
fn cut(details: &mut Vec<String>) {
    let left_out = details.len().saturating_sub(MAX_DETAILS);
    details.truncate(MAX_DETAILS);
    for line in details.iter_mut().filter(|line| line.chars().count() > DETAIL_LENGTH) {
        *line = line.chars().take(DETAIL_LENGTH).chain(['…']).collect();
    }
    if left_out > 0 {
        details.push(format!("and {left_out} more"));
    }
}

fn lost(why: &str) -> Performed {
    Performed { outcome: Outcome::Unknown(why.into()), calls: vec![], artefacts: vec![] }
}
