//! What is said about one request: its plan, its progress, its end.

use std::collections::BTreeSet;

use stanch_commands::action::{ActionClass, Undo};
use stanch_commands::definition::Phase;
use stanch_commands::plan::{Plan, StepId};
use stanch_commands::target::RequestId;

use super::{Block, Control, Mark, Mention, Message, approvals, bullets, text, time};
use crate::core::identity::PersonId;
use crate::core::request::{Ending, Fate, Request, Stage};
use crate::core::step::Outcome;

pub(super) fn plan(id: &RequestId, request: &Request, roles: &BTreeSet<String>, mentions: &BTreeSet<Mention>) -> Message {
    let made = &request.made;
    let mut blocks = vec![
        Block::Heading(format!("{id}: {}", title(&made.plan))),
        Block::Table(vec![
            ("asked by", made.requester.to_string()),
            ("incident", made.incident.to_string()),
            ("phase", made.phase.to_string()),
            ("command", made.plan.command.clone()),
        ]),
    ];
    blocks.extend(body(&made.plan));
    let needs_votes = made.approvals_needed > 0;
    match needs_votes {
        true => {
            let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
            blocks.push(Block::Text(format!(
                "Needs {} by somebody else with the role {}, until {}.",
                approvals(usize::from(made.approvals_needed)),
                roles.join(" or "),
                time(made.expires_at)
            )));
            blocks.push(Block::Voting);
        }
        false => blocks.push(Block::Text("Needs no approval: it only saves what could be lost. It has started.".into())),
    }
    blocks.push(Block::Fine(format!("plan {}", request.digest.as_str())));
    let mut controls = vec![];
    if needs_votes {
        controls.extend([Control::Approve(id.clone(), request.digest.clone()), Control::Decline(id.clone())]);
    }
    controls.push(Control::Halt(id.clone()));
    Message { blocks, controls, mentions: mentions.clone() }
}

/// Steps and consequences.
fn body(plan: &Plan) -> Vec<Block> {
    let steps = plan.steps().map(|(step, body)| {
        let early = if body.action.class() == ActionClass::Preserve { " (starts at once)" } else { "" };
        (Mark::Pending, format!("{step}. {}{early}", body.action.summary()))
    });
    let mut blocks = vec![Block::Steps(steps.collect())];
    let undo: Vec<String> = plan
        .steps()
        .filter_map(|(step, body)| match body.action.undo() {
            Undo::Impossible(why) => Some(format!("step {step} cannot be undone: {why}")),
            Undo::Nothing | Undo::Kept | Undo::Possible => None,
        })
        .collect();
    let consequences = &plan.consequences;
    for (title, items) in [
        ("Whom it hits", &consequences.blast_radius),
        ("Decided by the plan", &consequences.decisions),
        ("Not reversible", &undo),
        ("What an attacker could notice", &consequences.noticeable),
        ("What stays open afterwards", &consequences.residual_risk),
    ] {
        if !items.is_empty() {
            blocks.push(bullets(title, items));
        }
    }
    blocks
}

pub(super) fn dry_run(plan: &Plan, phase: Phase, approvals_needed: u8) -> Message {
    let mut blocks = vec![Block::Heading(format!("Dry run: {}", title(plan))), Block::Table(vec![("command", plan.command.clone())])];
    blocks.extend(body(plan));
    blocks.push(Block::Text(format!(
        "Nothing was changed and nobody was asked. Phase {phase}: it would need {}.",
        approvals(usize::from(approvals_needed))
    )));
    Message::of(blocks)
}

pub(super) fn progress(id: &RequestId, request: &Request) -> Message {
    let fates = request.fates();
    let lines = request.made.plan.steps().map(|(step, body)| {
        let mark = mark(fates.get(&step).copied().unwrap_or(Fate::Pending));
        (mark, format!("{step}. {}", standing(request, step, &body.action.summary())))
    });
    let mut blocks = vec![Block::Heading(format!("{id}: {}", stage(request))), Block::Text(votes(request))];
    if request.stage == Stage::Waiting && !request.objections.is_empty() {
        let names: Vec<&str> = request.objections.iter().map(PersonId::as_str).collect();
        blocks.push(Block::Text(format!("Halted before its start by {}: nothing starts until that is taken back.", names.join(", "))));
    }
    blocks.push(Block::Steps(lines.collect()));
    let controls = match request.stage {
        Stage::Executing => vec![Control::Halt(id.clone())],
        Stage::Waiting if !request.objections.is_empty() => vec![Control::Lift(id.clone())],
        Stage::Waiting | Stage::Ended(_) => vec![],
    };
    Message { controls, ..Message::of(blocks) }
}

/// How a step stands: what was read back once it is in place, what is to be done until then.
fn standing(request: &Request, step: StepId, action: &str) -> String {
    match request.steps.get(&step).and_then(|run| run.outcome.as_ref()) {
        Some(Outcome::Succeeded(receipt)) if receipt.already_so => format!("{} (already so)", receipt.summary),
        Some(Outcome::Succeeded(receipt)) => receipt.summary.clone(),
        Some(Outcome::Failed(failure)) => format!("{action}: {failure}"),
        Some(Outcome::Unknown(why)) => format!("{action}: not known yet, {why}"),
        None => action.to_owned(),
    }
}

pub(super) fn ended(id: &RequestId, request: &Request) -> Message {
    let Stage::Ended(ending) = &request.stage else { return progress(id, request) };
    let (mut in_place, mut missing, mut open, mut read_back) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let fates = request.fates();
    for (step, body) in request.made.plan.steps() {
        // That verifications succeeded is in the verdict; one that failed is why something else is not in place.
        if body.action.class() == ActionClass::Verify && fates.get(&step) != Some(&Fate::Failed) {
            if let Some(Outcome::Succeeded(receipt)) = request.steps.get(&step).and_then(|run| run.outcome.as_ref()) {
                read_back.extend(receipt.details.iter().cloned());
            }
            continue;
        }
        let line = format!("{step}. {}", standing(request, step, &body.action.summary()));
        match fates.get(&step) {
            Some(Fate::Succeeded) => in_place.push(line),
            Some(Fate::Running) => open.push(line),
            Some(Fate::Failed) => {
                let hint = match request.steps.get(&step).and_then(|run| run.outcome.as_ref()) {
                    Some(Outcome::Failed(failure)) => failure.hint.as_ref().map(|hint| format!(" ({hint})")),
                    Some(Outcome::Succeeded(_) | Outcome::Unknown(_)) | None => None,
                };
                missing.push(format!("{line}{}", hint.unwrap_or_default()));
            }
            Some(Fate::Pending | Fate::Withheld) | None => missing.push(line),
        }
    }
    let mut blocks = vec![Block::Heading(format!("{id}: {}", stage(request))), Block::Text(verdict(request, ending))];
    let residual = if *ending == Ending::Completed { request.made.plan.consequences.residual_risk.clone() } else { vec![] };
    for (title, items) in [
        ("In place, read back", in_place),
        ("Still under way", open),
        ("Not in place", missing),
        ("Found at the end", read_back),
        ("What stays open", residual),
    ] {
        if !items.is_empty() {
            blocks.push(bullets(title, &items));
        }
    }
    let again = match ending {
        Ending::Expired | Ending::Stale | Ending::Incomplete => vec![Control::Resubmit(id.clone())],
        Ending::Completed | Ending::Declined(_) | Ending::Cancelled | Ending::Halted(_) => vec![],
    };
    Message { controls: again, ..Message::of(blocks) }
}

fn verdict(request: &Request, ending: &Ending) -> String {
    let node = &request.made.plan.node.name;
    match ending {
        Ending::Completed if request.made.plan.releases => {
            format!("Node {node} is released: what can be undone was undone and read back.")
        }
        Ending::Completed if request.made.plan.isolates => {
            format!("Node {node} is isolated: tag, firewall, addresses and group were read back.")
        }
        Ending::Completed => "Every step is in place and was read back.".into(),
        Ending::Incomplete => {
            "Not everything is in place. What is in place stays. Correct the cause and ask again: steps that are in place are not repeated."
                .into()
        }
        Ending::Stale => "The target is gone or is another one now, so nothing more was done. Ask again to plan on what is there.".into(),
        Ending::Declined(person) => format!("{person} declined. {}", untouched(request)),
        Ending::Cancelled => format!("The requester withdrew it. {}", untouched(request)),
        Ending::Expired => format!("Nobody decided in time. {} Ask again for a fresh plan.", untouched(request)),
        Ending::Halted(person) => format!("{person} halted the run. What is in place stays, nothing further starts."),
    }
}

/// What a request leaves that was never agreed to: what preserves may have been done before anybody decided.
fn untouched(request: &Request) -> &'static str {
    match request.steps.is_empty() {
        true => "Nothing was changed.",
        false => "Nothing was changed on the target; snapshots and evidence that were taken before stay.",
    }
}

pub(super) fn objected(person: &PersonId, reason: Option<&str>) -> Message {
    let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    text(format!(
        "{person} halted this before its start{why}. Nothing starts until {person} takes that back; an approver can decline it, the requester can cancel it."
    ))
}

pub(super) fn restarted(observing: &[String]) -> Message {
    let mut blocks = vec![Block::Text("Stanch was restarted and goes on with this request. No step is carried out twice.".into())];
    if !observing.is_empty() {
        blocks.push(bullets("Under way before the restart, being read back first", observing));
    }
    Message::of(blocks)
}

pub(super) fn stage(request: &Request) -> String {
    match &request.stage {
        Stage::Waiting if request.made.approvals_needed == 0 => "running".into(),
        Stage::Waiting => "waiting for approval".into(),
        Stage::Executing => "running".into(),
        Stage::Ended(Ending::Completed) => "done".into(),
        Stage::Ended(Ending::Incomplete) => "ended, incomplete".into(),
        Stage::Ended(Ending::Stale) => "ended, the target changed".into(),
        Stage::Ended(Ending::Declined(person)) => format!("declined by {person}"),
        Stage::Ended(Ending::Cancelled) => "cancelled".into(),
        Stage::Ended(Ending::Expired) => "expired".into(),
        Stage::Ended(Ending::Halted(person)) => format!("halted by {person}"),
    }
}

fn votes(request: &Request) -> String {
    let needed = request.made.approvals_needed;
    if needed == 0 {
        return "Needs no approval.".into();
    }
    let names: Vec<&str> = request.approvals.keys().map(PersonId::as_str).collect();
    let by = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    let until = if request.stage == Stage::Waiting { format!(", until {}", time(request.made.expires_at)) } else { String::new() };
    format!("Approvals: {} of {needed}{by}{until}.", names.len())
}

fn mark(fate: Fate) -> Mark {
    match fate {
        Fate::Pending => Mark::Pending,
        Fate::Running => Mark::Running,
        Fate::Succeeded => Mark::Done,
        Fate::Failed => Mark::Failed,
        Fate::Withheld => Mark::Withheld,
    }
}

/// `quarantine pod shop/cart on node gke-1`.
pub(super) fn title(plan: &Plan) -> String {
    let word = plan.command.split(' ').next().unwrap_or_default();
    match plan.suspects.first() {
        Some(suspect) => format!("{word} pod {suspect} on node {}", plan.node.name),
        None => format!("{word} node {}", plan.node.name),
    }
}
