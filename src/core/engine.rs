//! The three functions that give history its meaning: [`decide`] turns an event into records, [`apply`] turns records into state, and
//! [`effects`] says what is to be done next. Live running and recovery use the same `apply`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use stanch_commands::action::ActionClass;
use stanch_commands::plan::{PlanDigest, StepId};
use stanch_commands::target::RequestId;

use super::identity::{Ballot, PersonId};
use super::policy::{Decision, Reason};
use super::record::{Fact, Record, Requested};
use super::request::{Ending, Quorum, Request, Run, Stage};
use super::step::{Call, FailureKind, Licence, Outcome, StepKey};

/// Most requests that wait for approval at one time. An incident needs a handful; more would bury the approvers.
pub const MAX_WAITING: usize = 50;

/// Everything that is known: a function of the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Requests by id.
    pub requests: BTreeMap<RequestId, Request>,
    /// Steps that were started.
    pub turns: u64,
}

/// Something that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody asks for a plan.
    Propose(Box<Requested>),
    /// Somebody says yes to a digest; the policy was asked.
    Approve {
        /// Who.
        person: PersonId,
        /// The digest of the message that they reacted to.
        digest: PlanDigest,
        /// From which account, by which means.
        ballot: Ballot,
        /// What the policy says about them.
        decision: Decision,
    },
    /// Somebody takes a yes back.
    Withdraw {
        /// Who.
        person: PersonId,
    },
    /// Somebody says no; the policy was asked.
    Decline {
        /// Who.
        person: PersonId,
        /// What the policy says about them.
        decision: Decision,
    },
    /// The requester withdraws the request.
    Cancel {
        /// Who.
        person: PersonId,
    },
    /// Somebody with a role in the request's scope stops the run, or objects to one that has not begun.
    Halt {
        /// Who.
        person: PersonId,
        /// Why, if they said.
        reason: Option<String>,
        /// What the policy says about them.
        decision: Decision,
    },
    /// Somebody takes their objection back.
    Lift {
        /// Who.
        person: PersonId,
    },
    /// The policy was asked again about everybody who agreed.
    Rechecked {
        /// Those who may still approve.
        eligible: BTreeSet<PersonId>,
        /// The requester may still request it.
        requester: Decision,
        /// What of the bound objects is gone or is another one now.
        changed: Option<String>,
    },
    /// A ready step is to be started.
    Start {
        /// Which.
        step: StepId,
        /// A fresh key.
        key: StepKey,
    },
    /// A step reported.
    Finish {
        /// Which.
        step: StepId,
        /// How it ended.
        outcome: Outcome,
        /// The calls that were made.
        calls: Vec<Call>,
    },
    /// Time passed.
    Tick,
}

/// Why an event changes nothing, for the person behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No such request.
    UnknownRequest,
    /// The id is taken.
    DuplicateRequest,
    /// Too many requests wait.
    TooManyWaiting,
    /// The policy does not let this phase run.
    NoApprovalsConfigured,
    /// The policy says no.
    NotPermitted(Decision),
    /// It is one's own request.
    OwnRequest,
    /// The vote is for another plan.
    AnotherPlan,
    /// It was counted already.
    AlreadyCounted,
    /// There is nothing to take back.
    NothingToWithdraw,
    /// Only the requester cancels.
    NotYours,
    /// It has started: votes change nothing any more, use halt.
    Started,
    /// It is over.
    Ended,
    /// It has expired.
    Expired,
    /// Their objection stands already.
    AlreadyObjected,
    /// There is no objection of theirs.
    NothingToLift,
    /// The recheck left too few approvals.
    NoQuorum,
    /// Another request works on the node.
    Locked(RequestId),
    /// The step is not ready, or was started already.
    NotReady,
    /// The step is not under way.
    NotUnderWay,
    /// Somebody who may halt objects: their reaction stands on the plan.
    HaltStands(PersonId),
    /// The platform did not say who agrees, or who they are.
    VotersUnclear,
    /// The audit log took no record of it, so it did not happen.
    NotRecorded,
}

/// A record that cannot follow the records before it: the log is damaged, or was written by a defect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record about {request} cannot follow the records before it: {why}")]
pub struct IllegalRecord {
    /// The request.
    pub request: RequestId,
    /// What is wrong.
    pub why: &'static str,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Ask the policy again about everybody who agreed, then send [`Event::Rechecked`]. It comes again while the node is locked: try
    /// when another request has ended, not in a loop.
    Recheck(RequestId),
    /// Send [`Event::Start`] with a fresh key.
    Start(RequestId, StepId),
    /// Carry the step out, or observe it first if it was started before a restart or its answer was lost.
    Perform(RequestId, StepId),
}

/// What follows from an event. Nothing has happened until the records are durable and applied.
///
/// # Errors
/// [`Rejection`]: nothing follows.
pub fn decide(state: &State, id: &RequestId, event: Event, now: Timestamp) -> Result<Vec<Record>, Rejection> {
    let record = |fact| Record { at: now, request: id.clone(), fact };
    if let Event::Propose(made) = event {
        return propose(state, id, *made).map(|fact| vec![record(fact)]);
    }
    let request = state.requests.get(id).ok_or(Rejection::UnknownRequest)?;
    let facts = match event {
        Event::Propose(_) => return Err(Rejection::DuplicateRequest),
        Event::Approve { person, digest, ballot, decision } => {
            open_for_votes(request, now)?;
            let reasons = eligible(request, &person, decision)?;
            if request.made.approvals_needed == 0 {
                return Err(Rejection::Started);
            }
            if digest != request.digest {
                return Err(Rejection::AnotherPlan);
            }
            if request.approvals.contains_key(&person) {
                return Err(Rejection::AlreadyCounted);
            }
            vec![Fact::Approved { person, digest, ballot, reasons }]
        }
        Event::Withdraw { person } => {
            open_for_votes(request, now)?;
            match request.approvals.contains_key(&person) {
                true => vec![Fact::Withdrawn { person }],
                false => return Err(Rejection::NothingToWithdraw),
            }
        }
        Event::Decline { person, decision } => {
            open_for_votes(request, now)?;
            eligible(request, &person, decision)?;
            vec![Fact::Declined { person }]
        }
        Event::Cancel { person } => {
            open_for_votes(request, now)?;
            match person == request.made.requester {
                true => vec![Fact::Cancelled { person }],
                false => return Err(Rejection::NotYours),
            }
        }
        Event::Halt { person, reason, decision } => halt(request, person, reason, decision, now)?,
        Event::Lift { person } => {
            open_for_votes(request, now)?;
            match request.objections.contains(&person) {
                true => vec![Fact::ObjectionLifted { person }],
                false => return Err(Rejection::NothingToLift),
            }
        }
        Event::Rechecked { eligible, requester, changed } => match changed.or_else(|| overtaken(state, id, request)) {
            Some(why) => {
                open_for_votes(request, now)?;
                vec![Fact::TargetChanged { why }]
            }
            None => recheck(state, id, request, &eligible, requester, now)?,
        },
        Event::Start { step, key } => match request.ready(now).contains(&step) {
            true => vec![Fact::StepStarted { step, key }],
            false => return Err(Rejection::NotReady),
        },
        Event::Finish { step, outcome, calls } => match request.steps.get(&step) {
            Some(Run { outcome: None | Some(Outcome::Unknown(_)), .. }) => vec![Fact::StepEnded { step, outcome, calls }],
            Some(_) | None => return Err(Rejection::NotUnderWay),
        },
        Event::Tick => match (&request.stage, expired(request, now)) {
            (Stage::Waiting, true) => vec![Fact::Expired],
            (Stage::Waiting | Stage::Executing | Stage::Ended(_), _) => vec![],
        },
    };
    Ok(facts.into_iter().map(record).collect())
}

fn propose(state: &State, id: &RequestId, made: Requested) -> Result<Fact, Rejection> {
    if state.requests.contains_key(id) {
        return Err(Rejection::DuplicateRequest);
    }
    let waiting = state.requests.values().filter(|request| request.stage == Stage::Waiting).count();
    if waiting >= MAX_WAITING {
        return Err(Rejection::TooManyWaiting);
    }
    if made.approvals_needed == 0 && !made.plan.only_preserves() {
        return Err(Rejection::NoApprovalsConfigured);
    }
    Ok(Fact::Requested(Box::new(made)))
}

fn expired(request: &Request, now: Timestamp) -> bool {
    // A plan that needs nobody cannot run out of time to be approved.
    request.made.approvals_needed > 0 && now >= request.made.expires_at
}

fn open_for_votes(request: &Request, now: Timestamp) -> Result<(), Rejection> {
    match &request.stage {
        Stage::Waiting if expired(request, now) => Err(Rejection::Expired),
        Stage::Waiting => Ok(()),
        Stage::Executing => Err(Rejection::Started),
        Stage::Ended(_) => Err(Rejection::Ended),
    }
}

fn eligible(request: &Request, person: &PersonId, decision: Decision) -> Result<Vec<Reason>, Rejection> {
    if *person == request.made.requester {
        return Err(Rejection::OwnRequest);
    }
    match decision.permitted {
        true => Ok(decision.reasons),
        false => Err(Rejection::NotPermitted(decision)),
    }
}

/// What does not run cannot be stopped: a halt of it is an objection, and nothing is authorised while that stands.
fn halt(request: &Request, person: PersonId, reason: Option<String>, decision: Decision, now: Timestamp) -> Result<Vec<Fact>, Rejection> {
    if !decision.permitted {
        return Err(Rejection::NotPermitted(decision));
    }
    if runs(request) {
        return Ok(vec![Fact::Halted { person, reason }]);
    }
    open_for_votes(request, now)?;
    match request.objections.contains(&person) {
        true => Err(Rejection::AlreadyObjected),
        false => Ok(vec![Fact::Objected { person, reason }]),
    }
}

/// Whether there is a run to halt. A plan that needs nobody's agreement runs from the start; before the authorisation of any other, a no
/// is an approver's to say.
fn runs(request: &Request) -> bool {
    match request.stage {
        Stage::Executing => true,
        Stage::Waiting => request.made.approvals_needed == 0,
        Stage::Ended(_) => false,
    }
}

/// Votes whose role was lost are withdrawn; if a quorum is left and the node is free, the run is authorised.
fn recheck(
    state: &State,
    id: &RequestId,
    request: &Request,
    eligible: &BTreeSet<PersonId>,
    requester: Decision,
    now: Timestamp,
) -> Result<Vec<Fact>, Rejection> {
    open_for_votes(request, now)?;
    if !requester.permitted {
        return Err(Rejection::NotPermitted(requester));
    }
    let (kept, lost): (BTreeMap<_, _>, BTreeMap<_, _>) =
        request.approvals.clone().into_iter().partition(|(person, _)| eligible.contains(person));
    let lost: Vec<Fact> = lost.into_keys().map(|person| Fact::Withdrawn { person }).collect();
    let standing = Request { approvals: kept, ..request.clone() };
    let Some(quorum) = Quorum::of(&standing) else {
        return if lost.is_empty() { Err(Rejection::NoQuorum) } else { Ok(lost) };
    };
    if let Some(holder) = lock_holder(state, id, request) {
        return Err(Rejection::Locked(holder));
    }
    let authorised = Fact::ExecutionAuthorised { digest: quorum.digest().clone(), approvers: quorum.approvers().clone() };
    Ok(lost.into_iter().chain([authorised]).collect())
}

/// The other request that a waiting one has to wait for.
#[must_use]
pub fn waits_for(state: &State, id: &RequestId) -> Option<RequestId> {
    lock_holder(state, id, state.requests.get(id)?)
}

/// The other request that works on the same node, instance or firewall rule. A halted one whose last step is still under way counts.
fn lock_holder(state: &State, id: &RequestId, request: &Request) -> Option<RequestId> {
    let writes = |other: &Request| {
        other.stage == Stage::Executing
            || other.steps.keys().any(|step| under_way(other, *step) && class_of(other, *step) == Some(ActionClass::Mutate))
    };
    let holds =
        |(other_id, other): &(&RequestId, &Request)| *other_id != id && writes(other) && request.made.plan.contends_with(&other.made.plan);
    state.requests.iter().find(holds).map(|(holder, _)| holder.clone())
}

/// Why a plan is not what it would be if it were made now: a release knows nothing of what was done since it was asked for, and no other plan
/// knows of what a release took back since.
fn overtaken(state: &State, id: &RequestId, request: &Request) -> Option<String> {
    let (plan, since) = (&request.made.plan, request.asked_at_turn);
    let wrote = |other: &Request| other.runs().any(|(action, run)| run.turn >= since && action.class() == ActionClass::Mutate);
    let matters = |other: &Request| match plan.releases {
        true => plan.contends_with(&other.made.plan),
        false => other.made.plan.releases && plan.shares_target_with(&other.made.plan),
    };
    let overtook = |(other_id, other): &(&RequestId, &Request)| *other_id != id && matters(other) && wrote(other);
    state.requests.iter().find(overtook).map(|(other, _)| format!("{other} changed what this plan is about after it was made"))
}

fn class_of(request: &Request, step: StepId) -> Option<ActionClass> {
    request.made.plan.step(step).map(|body| body.action.class())
}

fn under_way(request: &Request, step: StepId) -> bool {
    request.steps.get(&step).is_some_and(|run| matches!(run.outcome, None | Some(Outcome::Unknown(_))))
}

/// The state after a record. Checks again what [`decide`] checked: a log that breaks the rules is refused, not believed.
///
/// # Errors
/// [`IllegalRecord`].
pub fn apply(mut state: State, record: &Record) -> Result<State, IllegalRecord> {
    let present = state.requests.remove(&record.request);
    let next = after(&state, present, record)?;
    state.requests.insert(record.request.clone(), next);
    state.turns = state.turns.saturating_add(u64::from(matches!(record.fact, Fact::StepStarted { .. })));
    Ok(state)
}

/// Whether records could be applied one after the other. Asked before they become durable: a log with a record that cannot be applied could
/// never be read again.
///
/// # Errors
/// [`IllegalRecord`] for the first that could not.
pub fn admits<'r>(state: &State, records: impl IntoIterator<Item = &'r Record>) -> Result<(), IllegalRecord> {
    let mut changed: BTreeMap<&RequestId, Request> = BTreeMap::new();
    for record in records {
        let present = changed.remove(&record.request).or_else(|| state.requests.get(&record.request).cloned());
        changed.insert(&record.request, after(state, present, record)?);
    }
    Ok(())
}

/// The record's request after it.
fn after(state: &State, present: Option<Request>, record: &Record) -> Result<Request, IllegalRecord> {
    let illegal = |why| IllegalRecord { request: record.request.clone(), why };
    let mut request = match (&record.fact, present) {
        (Fact::Requested(_), Some(_)) => return Err(illegal("the request exists already")),
        (Fact::Requested(made), None) if made.approvals_needed == 0 && !made.plan.only_preserves() => {
            return Err(illegal("a plan that writes needs an approval"));
        }
        (Fact::Requested(made), None) => return Ok(Request::new((**made).clone(), record.at, state.turns)),
        (_, None) => return Err(illegal("the request was never made")),
        (_, Some(request)) => request,
    };
    if let Fact::ExecutionAuthorised { .. } = &record.fact
        && lock_holder(state, &record.request, &request).is_some()
    {
        return Err(illegal("another request works on the node"));
    }
    apply_to(&mut request, record, state.turns).map_err(illegal)?;
    Ok(request)
}

fn apply_to(request: &mut Request, record: &Record, turn: u64) -> Result<(), &'static str> {
    match &record.fact {
        Fact::Requested(_) => return Err("the request exists already"),
        Fact::Approved { person, digest, ballot, .. } => {
            waiting(request)?;
            if *digest != request.digest {
                return Err("the approval is for another plan");
            }
            if *person == request.made.requester || record.at >= request.made.expires_at {
                return Err("the approval does not count");
            }
            if request.approvals.insert(person.clone(), ballot.clone()).is_some() {
                return Err("the approval was counted already");
            }
        }
        Fact::Withdrawn { person } => {
            waiting(request)?;
            request.approvals.remove(person).ok_or("there was no approval to withdraw")?;
        }
        Fact::Declined { person } => end_waiting(request, Ending::Declined(person.clone()))?,
        Fact::Cancelled { person } if *person == request.made.requester => end_waiting(request, Ending::Cancelled)?,
        Fact::Cancelled { .. } => return Err("only the requester cancels"),
        Fact::Expired => end_waiting(request, Ending::Expired)?,
        Fact::TargetChanged { .. } => end_waiting(request, Ending::Stale)?,
        Fact::ExecutionAuthorised { digest, approvers } => {
            waiting(request)?;
            match Quorum::of(request) {
                Some(quorum) if quorum.digest() == digest && quorum.approvers() == approvers => request.stage = Stage::Executing,
                Some(_) | None => return Err("there is no such quorum"),
            }
            // What came before the agreement may have left nothing to do.
            if request.exhausted() {
                request.stage = Stage::Ended(request.ending());
            }
        }
        Fact::StepStarted { step, key } => {
            if !request.ready(record.at).contains(step) {
                return Err("the step is not ready");
            }
            request.steps.insert(*step, Run { key: key.clone(), started_at: record.at, turn, outcome: None });
        }
        Fact::StepEnded { step, outcome, .. } => {
            if !under_way(request, *step) {
                return Err("the step is not under way");
            }
            if let Some(run) = request.steps.get_mut(step) {
                run.outcome = Some(outcome.clone());
            }
            settle(request, outcome);
        }
        Fact::Objected { person, .. } => {
            waiting(request)?;
            if runs(request) || record.at >= request.made.expires_at {
                return Err("the objection does not count");
            }
            if !request.objections.insert(person.clone()) {
                return Err("the objection stands already");
            }
        }
        Fact::ObjectionLifted { person } => {
            waiting(request)?;
            if !request.objections.remove(person) {
                return Err("there was no objection to lift");
            }
        }
        Fact::Halted { person, .. } => match runs(request) {
            true => request.stage = Stage::Ended(Ending::Halted(person.clone())),
            false => return Err("the request does not run"),
        },
    }
    Ok(())
}

/// Ends the request when a bound object changed, or when nothing is left to do.
fn settle(request: &mut Request, outcome: &Outcome) {
    let stale = matches!(outcome, Outcome::Failed(failure) if failure.kind == FailureKind::Stale);
    match request.stage {
        // Also before the authorisation: what people would agree to no longer exists.
        Stage::Waiting | Stage::Executing if stale => request.stage = Stage::Ended(Ending::Stale),
        Stage::Executing if request.exhausted() => request.stage = Stage::Ended(request.ending()),
        Stage::Waiting if request.made.approvals_needed == 0 && request.exhausted() => request.stage = Stage::Ended(request.ending()),
        Stage::Waiting if request.hopeless() => request.stage = Stage::Ended(Ending::Incomplete),
        Stage::Waiting | Stage::Executing | Stage::Ended(_) => {}
    }
}

fn waiting(request: &Request) -> Result<(), &'static str> {
    match request.stage {
        Stage::Waiting => Ok(()),
        Stage::Executing | Stage::Ended(_) => Err("the request does not wait any more"),
    }
}

fn end_waiting(request: &mut Request, ending: Ending) -> Result<(), &'static str> {
    waiting(request)?;
    request.stage = Stage::Ended(ending);
    Ok(())
}

/// What is to be done next. The same state gives the same effects, so a restart loses none.
#[must_use]
pub fn effects(state: &State, now: Timestamp) -> Vec<Effect> {
    let mut effects = Vec::new();
    for (id, request) in &state.requests {
        // Nothing of a request that is over starts any more, and what was under way still reports. Most are of this kind, so they come cheap.
        if !matches!(request.stage, Stage::Ended(_)) {
            if request.stage == Stage::Waiting && !expired(request, now) && Quorum::of(request).is_some() {
                effects.push(Effect::Recheck(id.clone()));
            }
            effects.extend(request.ready(now).into_iter().map(|step| Effect::Start(id.clone(), step)));
        }
        effects.extend(request.steps.keys().filter(|step| under_way(request, **step)).map(|step| Effect::Perform(id.clone(), *step)));
    }
    effects
}

/// The licence to carry out a started step: its record is durable, and its class or a quorum permits it.
///
/// `None` if the step is not under way.
#[must_use]
pub fn licence(state: &State, id: &RequestId, step: StepId, _durable: DurableIndex) -> Option<Licence> {
    let request = state.requests.get(id)?;
    let run = request.steps.get(&step).filter(|_| under_way(request, step))?;
    let class = request.made.plan.step(step)?.action.class();
    let permitted =
        class == ActionClass::Preserve || Quorum::of(request).is_some_and(|quorum| *quorum.digest() == request.made.plan.digest());
    permitted.then(|| Licence { request: id.clone(), step, digest: request.digest.clone(), key: run.key.clone() })
}

/// Proof that records up to an index are on stable storage. Only an audit log makes one, after its sync returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurableIndex(u64);

impl DurableIndex {
    /// For implementations of the audit log alone: `index` and everything before it are synced.
    #[must_use]
    pub fn synced(index: u64) -> Self {
        Self(index)
    }

    /// The index.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}
