//! Why something is not done, and what to do instead.

use super::{Message, trouble};
use crate::core::engine::Rejection;
use crate::core::policy::{Decision, Reason};

pub(super) fn denied(decision: &Decision) -> Message {
    let reasons: Vec<String> = decision.reasons.iter().map(reason).collect();
    trouble(&format!("not permitted: {}", reasons.join("; ")), "an administrator maps people and roles in config/policy.toml")
}

/// A reason in words.
#[must_use]
pub fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Permit(id) => format!("permitted by {id}"),
        Reason::ApproverRole(role) => format!("has the role {role}"),
        Reason::UnmappedAccount(account) => format!("account {account} belongs to nobody in the policy"),
        Reason::NoPermit => "no role of yours permits this here".into(),
        Reason::NotAnApprover(phase) => format!("no role of yours approves {phase}"),
        Reason::GroupsUnknown => "your groups could not be looked up, so no role comes from them".into(),
        Reason::OwnRequest => "it is your own request".into(),
        Reason::ProtectedNamespace(namespace) => format!("namespace {namespace} is protected"),
    }
}

pub(super) fn rejected(rejection: &Rejection) -> Message {
    let (what, hint) = match rejection {
        Rejection::NotPermitted(decision) => return denied(decision),
        Rejection::UnknownRequest => ("there is no such request".into(), "`list` shows what is open"),
        Rejection::DuplicateRequest => ("the request exists already".into(), "`list` shows what is open"),
        Rejection::TooManyWaiting => ("too many requests wait for approval".into(), "decide or cancel some of them; `list` shows them"),
        Rejection::NoApprovalsConfigured => {
            ("the policy does not say who approves this phase".into(), "an administrator adds [approvals.PHASE] to config/policy.toml")
        }
        Rejection::OwnRequest => ("you cannot decide about your own request".into(), "ask somebody with an approver role"),
        Rejection::AnotherPlan => ("that vote is for another plan".into(), "vote on the newest plan message"),
        Rejection::AlreadyCounted => ("your approval was counted already".into(), "one person is one vote"),
        Rejection::NothingToWithdraw => ("there is no approval of yours".into(), "nothing was changed"),
        Rejection::NotYours => ("only the requester can cancel".into(), "an approver can decline; `halt` stops a run"),
        Rejection::Started => ("it has started, so votes change nothing any more".into(), "use halt to stop the run"),
        Rejection::Ended => ("it is over".into(), "`status` shows how it ended"),
        Rejection::Expired => ("it has expired".into(), "ask again for a fresh plan"),
        Rejection::AlreadyObjected => (
            "your halt stands already, so nothing starts".into(),
            "`Take my halt back` on the progress message lifts it; an approver can decline, the requester can cancel",
        ),
        Rejection::NothingToLift => ("there is no halt of yours on it".into(), "only whoever pressed Halt takes that back"),
        Rejection::NoQuorum => ("too few approvals are left".into(), "somebody else has to approve"),
        Rejection::Locked(holder) => (format!("request {holder} works on that node"), "it goes on by itself when the other one has ended"),
        Rejection::NotReady => ("the step is not ready".into(), "`status` shows what it waits for"),
        Rejection::HaltStands(person) => (
            format!("nothing starts while the halt reaction of {person} stands on the plan"),
            "decline it instead, or take the reaction back",
        ),
        Rejection::VotersUnclear => (
            "the chat does not say at present who agrees and who objects, so nothing starts".into(),
            "it is tried again until the request expires",
        ),
        Rejection::NotRecorded => ("the audit log takes no records, so this does not count".into(), "Stanch has stopped: tell who runs it"),
        Rejection::NotUnderWay => ("the step is not under way".into(), "`status` shows the steps"),
    };
    trouble(&what, hint)
}
