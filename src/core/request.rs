//! One request: its votes, its steps, and how it stands.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use stanch_commands::action::{Action, ActionClass};
use stanch_commands::plan::{Edge, PlanDigest, StepId};
use stanch_commands::prior::Prior;

use super::identity::{Ballot, PersonId};
use super::record::Requested;
use super::step::{FailureKind, Outcome, StepKey};

/// A request and everything that happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As it was made.
    pub made: Requested,
    /// When it was made.
    pub requested_at: Timestamp,
    /// How many steps had been started by then, of every request.
    pub asked_at_turn: u64,
    /// Digest of its plan.
    pub digest: PlanDigest,
    /// Where it stands.
    pub stage: Stage,
    /// Who agrees at present.
    pub approvals: BTreeMap<PersonId, Ballot>,
    /// Steps that were started, with their keys and ends.
    pub steps: BTreeMap<StepId, Run>,
}

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// For approvals. Steps of class `Preserve` may run.
    Waiting,
    /// Writes may run.
    Executing,
    /// Final. Steps that were under way still report, and nothing starts.
    Ended(Ending),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every step succeeded.
    Completed,
    /// Some steps failed or were withheld; what is in place stays.
    Incomplete,
    /// A bound object is gone or is another one.
    Stale,
    /// Somebody said no.
    Declined(PersonId),
    /// The requester withdrew it.
    Cancelled,
    /// Nobody decided in time.
    Expired,
    /// Somebody stopped it.
    Halted(PersonId),
}

/// A started step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its idempotency key.
    pub key: StepKey,
    /// When it was started.
    pub started_at: Timestamp,
    /// Its place among all starts, of every request: a clock that is set back does not change it.
    pub turn: u64,
    /// How it ended; `None` while it is under way.
    pub outcome: Option<Outcome>,
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Not started, and may yet be.
    Pending,
    /// Under way, or nobody knows how it ended.
    Running,
    /// In place.
    Succeeded,
    /// Not in place.
    Failed,
    /// Will not be started, since something that it requires is not in place.
    Withheld,
}

/// Proof that enough distinct persons besides the requester agree to exactly this plan. Only [`Quorum::of`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    digest: PlanDigest,
    approvers: BTreeSet<PersonId>,
}

impl Quorum {
    /// The quorum of a request, if it has one.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        let approvers: BTreeSet<PersonId> = request.approvals.keys().filter(|person| **person != request.made.requester).cloned().collect();
        let reached = request.made.approvals_needed > 0 && approvers.len() >= usize::from(request.made.approvals_needed);
        reached.then(|| Self { digest: request.digest.clone(), approvers })
    }

    /// The plan that was agreed to.
    #[must_use]
    pub fn digest(&self) -> &PlanDigest {
        &self.digest
    }

    /// Who agreed.
    #[must_use]
    pub fn approvers(&self) -> &BTreeSet<PersonId> {
        &self.approvers
    }
}

impl Request {
    /// A new request, after that many steps of others.
    #[must_use]
    pub fn new(made: Requested, requested_at: Timestamp, asked_at_turn: u64) -> Self {
        let digest = made.plan.digest();
        Self { made, requested_at, asked_at_turn, digest, stage: Stage::Waiting, approvals: BTreeMap::new(), steps: BTreeMap::new() }
    }

    /// What becomes of every step, by position.
    #[must_use]
    pub fn fates(&self) -> BTreeMap<StepId, Fate> {
        let mut fates = BTreeMap::new();
        for (id, step) in self.made.plan.steps() {
            let fate = match self.steps.get(&id) {
                Some(run) => match &run.outcome {
                    None | Some(Outcome::Unknown(_)) => Fate::Running,
                    Some(Outcome::Succeeded(_)) => Fate::Succeeded,
                    Some(Outcome::Failed(_)) => Fate::Failed,
                },
                None => {
                    // Edges point to earlier steps, so their fates are known by now.
                    let lost =
                        |edge: &Edge| matches!(edge, Edge::Requires(on) if matches!(fates.get(on), Some(Fate::Failed | Fate::Withheld)));
                    if step.needs.iter().any(lost) { Fate::Withheld } else { Fate::Pending }
                }
            };
            fates.insert(id, fate);
        }
        fates
    }

    /// The steps that may start now.
    #[must_use]
    pub fn ready(&self, now: Timestamp) -> Vec<StepId> {
        let fates = self.fates();
        let satisfied = |edge: &Edge| match (edge, fates.get(&edge.step())) {
            (Edge::Requires(_), fate) => fate == Some(&Fate::Succeeded),
            (Edge::After(_), Some(Fate::Succeeded | Fate::Failed | Fate::Withheld)) => true,
            (Edge::After(on), Some(Fate::Running)) => self.deadline_passed(*on, now),
            (Edge::After(on), Some(Fate::Pending)) => self.held_up(*on, &fates, now),
            (Edge::After(_), None) => false,
        };
        self.made
            .plan
            .steps()
            .filter(|(id, step)| {
                fates.get(id) == Some(&Fate::Pending) && self.admits(step.action.class()) && step.needs.iter().all(satisfied)
            })
            .map(|(id, _)| id)
            .collect()
    }

    /// Whether a step that has not started requires, directly or through others, one whose deadline has passed without an end: whoever
    /// waits for its end only would wait for ever.
    fn held_up(&self, step: StepId, fates: &BTreeMap<StepId, Fate>, now: Timestamp) -> bool {
        let needs = self.made.plan.step(step).map(|step| step.needs.as_slice()).unwrap_or_default();
        // Edges point to earlier steps, so this ends.
        needs.iter().any(|edge| match (edge, fates.get(&edge.step())) {
            (Edge::Requires(on), Some(Fate::Running)) => self.deadline_passed(*on, now),
            (Edge::Requires(on), Some(Fate::Pending)) => self.held_up(*on, fates, now),
            (Edge::Requires(_) | Edge::After(_), _) => false,
        })
    }

    /// Whether nothing that needs an agreement can be done any more: nobody is to be asked for it.
    #[must_use]
    pub fn hopeless(&self) -> bool {
        let fates = self.fates();
        let mut gated = self.made.plan.steps().filter(|(_, step)| step.action.class() != ActionClass::Preserve).peekable();
        gated.peek().is_some() && gated.all(|(id, _)| fates.get(&id) == Some(&Fate::Withheld))
    }

    /// Whether the stage lets a step of this class start.
    #[must_use]
    pub fn admits(&self, class: ActionClass) -> bool {
        match (&self.stage, class) {
            (Stage::Executing, _) | (Stage::Waiting, ActionClass::Preserve) => true,
            (Stage::Waiting, ActionClass::Verify | ActionClass::Mutate) | (Stage::Ended(_), _) => false,
        }
    }

    /// Whether nothing of the plan is left to do.
    #[must_use]
    pub fn exhausted(&self) -> bool {
        self.fates().values().all(|fate| matches!(fate, Fate::Succeeded | Fate::Failed | Fate::Withheld))
    }

    /// The ending that the steps amount to, once nothing is left to do.
    #[must_use]
    pub fn ending(&self) -> Ending {
        let stale = |run: &Run| matches!(&run.outcome, Some(Outcome::Failed(failure)) if failure.kind == FailureKind::Stale);
        if self.steps.values().any(stale) {
            return Ending::Stale;
        }
        match self.fates().values().all(|fate| *fate == Fate::Succeeded) {
            true => Ending::Completed,
            false => Ending::Incomplete,
        }
    }

    /// The prior states that were saved.
    pub fn priors(&self) -> impl Iterator<Item = &Prior> {
        self.runs().filter_map(|(_, run)| match &run.outcome {
            Some(Outcome::Succeeded(receipt)) => receipt.prior.as_ref(),
            Some(Outcome::Failed(_) | Outcome::Unknown(_)) | None => None,
        })
    }

    /// What was started, and how it ended.
    pub fn runs(&self) -> impl Iterator<Item = (&Action, &Run)> {
        self.steps.iter().filter_map(|(id, run)| Some((&self.made.plan.step(*id)?.action, run)))
    }

    fn deadline_passed(&self, step: StepId, now: Timestamp) -> bool {
        let (Some(run), Some(step)) = (self.steps.get(&step), self.made.plan.step(step)) else { return false };
        now.as_second().saturating_sub(run.started_at.as_second()) >= i64::from(step.deadline_s)
    }
}
