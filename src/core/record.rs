//! What happened, in the past tense. The audit log is a sequence of these; replaying them is the only way to a state.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stanch_commands::definition::Phase;
use stanch_commands::plan::{Plan, PlanDigest, StepId};
use stanch_commands::target::{IncidentRef, RequestId};

use super::identity::{Ballot, ChannelRef, PersonId};
use super::policy::Reason;
use super::step::{Call, Outcome, StepKey};

/// One fact about one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was decided.
    pub at: Timestamp,
    /// The request.
    pub request: RequestId,
    /// What happened.
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Somebody asked for a plan.
    Requested(Box<Requested>),
    /// An eligible person agreed to exactly this digest.
    Approved {
        /// Who.
        person: PersonId,
        /// To what.
        digest: PlanDigest,
        /// From which account, by which means.
        ballot: Ballot,
        /// Why the policy let them.
        reasons: Vec<Reason>,
    },
    /// A yes was taken back before the authorisation, or its role was lost.
    Withdrawn {
        /// Whose.
        person: PersonId,
    },
    /// An eligible person said no; the request ends.
    Declined {
        /// Who.
        person: PersonId,
    },
    /// The requester withdrew the request.
    Cancelled {
        /// Who.
        person: PersonId,
    },
    /// Nobody decided in time.
    Expired,
    /// Before anything was written, a bound object was found gone or replaced; the request ends.
    TargetChanged {
        /// What changed.
        why: String,
    },
    /// The quorum was checked again and stands: writes may begin.
    ExecutionAuthorised {
        /// The plan.
        digest: PlanDigest,
        /// Who agreed.
        approvers: BTreeSet<PersonId>,
    },
    /// A step is about to be carried out.
    StepStarted {
        /// Which.
        step: StepId,
        /// Its idempotency key.
        key: StepKey,
    },
    /// A step has ended.
    StepEnded {
        /// Which.
        step: StepId,
        /// How.
        outcome: Outcome,
        /// The calls that were made.
        calls: Vec<Call>,
    },
    /// Somebody who may halt it objects to a plan that waits: nothing is authorised while that stands.
    Objected {
        /// Who.
        person: PersonId,
        /// Why, if they said.
        reason: Option<String>,
    },
    /// They took that back.
    ObjectionLifted {
        /// Who.
        person: PersonId,
    },
    /// Somebody stopped the run. What is in place stays.
    Halted {
        /// Who.
        person: PersonId,
        /// Why, if they said.
        reason: Option<String>,
    },
}

/// A request as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// Who asked.
    pub requester: PersonId,
    /// Where it was asked: its thread lives there.
    pub channel: ChannelRef,
    /// The incident.
    pub incident: IncidentRef,
    /// Phase of the command.
    pub phase: Phase,
    /// The plan.
    pub plan: Plan,
    /// Distinct eligible persons that must agree, besides the requester.
    pub approvals_needed: u8,
    /// When it expires undecided.
    pub expires_at: Timestamp,
}
