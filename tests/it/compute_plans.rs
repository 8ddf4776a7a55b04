//! Goal: the commands that destroy a VM, let somebody in, or change a group, plan it right or refuse. Method: as in `plans`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use stanch_commands::action::{Action, ComputeAction};
use stanch_commands::check;
use stanch_commands::facts::{ComputeFacts, Facts, ReadySnapshot};
use stanch_commands::parse::parse;
use stanch_commands::plan::{Draft, Edge, Form};

use crate::plans::{SUSPECT, facts, plan, text};

/// The sandbox's node with a READY snapshot of every disk.
fn kept() -> Facts {
    let mut facts = facts();
    for disk in compute(&mut facts).disks.iter_mut().filter(|disk| disk.disk.is_some()) {
        let name = format!("stanch-r-old234-{}", disk.device).parse().unwrap();
        disk.ready_snapshot = Some(ReadySnapshot { name, age_s: 600, incident: "inc-42".into() });
        disk.recent_snapshot = disk.ready_snapshot.as_ref().map(|ready| (ready.name.clone(), 600));
    }
    facts
}

fn compute(facts: &mut Facts) -> &mut ComputeFacts {
    facts.compute.as_mut().unwrap()
}

fn refusal(line: &str, facts: &Facts) -> String {
    let refusal = plan(line, Form::Strict, facts).unwrap_err();
    format!("{refusal}; hint: {}", refusal.hint())
}

#[test]
fn a_node_is_deleted_through_its_group_or_by_itself() {
    let line = format!("delete-node {SUSPECT}");
    let mut all = text(&plan(&line, Form::Strict, &kept()).unwrap());
    let mut abandoned = kept();
    let instance = compute(&mut abandoned);
    (instance.group, instance.deletion_protection) = (None, true);
    all.push_str(&text(&plan(&line, Form::Strict, &abandoned).unwrap()));
    all.push_str(&text(&plan(&format!("{line} --stop-now reason:\"data is leaving\""), Form::Strict, &facts()).unwrap()));
    insta::assert_snapshot!("delete_node", all);
}

#[test]
fn what_is_not_kept_is_not_deleted() {
    let line = format!("delete-node {SUSPECT}");
    let mut creating = kept();
    for disk in &mut compute(&mut creating).disks {
        disk.ready_snapshot = None;
    }
    let mut old = kept();
    for ready in compute(&mut old).disks.iter_mut().filter_map(|disk| disk.ready_snapshot.as_mut()) {
        (ready.age_s, ready.incident) = (90_000, "inc-7".into());
    }
    let mut busy = kept();
    compute(&mut busy).group.as_mut().unwrap().current_action = "RECREATING".into();
    let mut autopilot = kept();
    autopilot.kubernetes.node.autopilot = true;
    let cases = [&facts(), &creating, &old, &busy, &autopilot].map(|facts| refusal(&line, facts));
    insta::assert_snapshot!("delete_node_refusals", cases.join("\n"));
    assert!(parse(&format!("{line} --stop-now")).unwrap_err().to_string().contains("reason:"));
}

/// Goal: no plan that destroys passes the linter without what it must require, or a waiver.
#[test]
fn the_linter_lets_nothing_destroy_early() {
    let mut protected = kept();
    compute(&mut protected).group = None;
    compute(&mut protected).deletion_protection = true;
    let good = plan(&format!("delete-node {SUSPECT}"), Form::Strict, &protected).unwrap();
    for weaken in [|edge: &Edge| matches!(edge, Edge::After(_)), |edge: &Edge| edge.step().index() < 2] {
        let mut draft: Draft = good.clone().into();
        draft.steps.iter_mut().for_each(|step| step.needs.retain(weaken));
        assert!(check::checked(draft).is_err());
    }
    let mut draft: Draft = good.into();
    for step in &mut draft.steps {
        let waived = match &step.action {
            Action::Compute(ComputeAction::DeleteInstance { instance, .. }) => {
                ComputeAction::DeleteInstance { instance: instance.clone(), group: None, waiver: Some("why".into()) }
            }
            _ => continue,
        };
        step.action = Action::Compute(waived);
    }
    assert!(check::checked(draft).is_ok());
}
