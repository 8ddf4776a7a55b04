//! Goal: a node is called isolated when that was just read, and not because the log says that it once was. Method: the facts that a quarantine
//! leaves, with one of them undone at a time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use stanch_commands::action::{Action, ComputeAction};
use stanch_commands::check;
use stanch_commands::definition::Does;
use stanch_commands::facts::{ComputeFacts, Facts};
use stanch_commands::firewall;
use stanch_commands::plan::{Form, Plan};
use stanch_commands::refusal::Refusal;

use crate::plans::{SUSPECT, context, facts};

/// What a quarantine leaves, with something changed by hand.
fn left(form: Form, change: impl Fn(&mut Facts, &mut ComputeFacts)) -> Facts {
    let mut facts = facts();
    facts.kubernetes.node.unschedulable = true;
    let mut compute = facts.compute.clone().unwrap();
    let (_, context) = context("list", form);
    let cut = firewall::cut(&compute, &context).unwrap();
    compute.tags.insert(cut.tag.to_string());
    compute.firewall = cut.rules;
    compute.interfaces.iter_mut().for_each(|interface| interface.access_configs.clear());
    compute.group = None;
    change(&mut facts, &mut compute);
    facts.compute = Ok(compute);
    facts
}

/// Plans a quarantine of a node that the log calls isolated.
fn again(form: Form, incident: &str, facts: &Facts) -> Result<Plan, Refusal> {
    let (does, mut context) = context(&format!("quarantine {SUSPECT}"), form);
    context.incident = incident.parse().unwrap();
    context.isolated_instances.insert(facts.compute.as_ref().unwrap().instance.id);
    let Does::Mitigate(planner) = does else { panic!("quarantine makes a plan") };
    check::checked(planner(facts, &context)?)
}

#[test]
fn what_is_still_so_is_not_planned_again() {
    for (form, incident) in [(Form::Strict, "inc-42"), (Form::Strict, "another"), (Form::Guide, "inc-42")] {
        let refusal = again(form, incident, &left(form, |_, _| ())).unwrap_err();
        assert!(matches!(&refusal, Refusal::AlreadySo(what) if what.contains("were read just now")), "{refusal}");
    }
    let opened = left(Form::Strict, |_, compute| compute.overriding.push("firewall rule let-me-in".into()));
    let refusal = again(Form::Strict, "inc-42", &opened).unwrap_err().to_string();
    assert!(refusal.ends_with("; but this is evaluated before its rules: firewall rule let-me-in"), "{refusal}");
}

#[test]
fn whatever_was_undone_by_hand_is_planned_again() {
    let before = facts().compute.unwrap();
    let name = before.instance.name.to_string();
    let tags = |tag: &'static str| move |_: &mut Facts, compute: &mut ComputeFacts| _ = compute.tags.remove(tag);
    let cases = [
        (left(Form::Strict, tags("quarantine-inc-42")), format!("instance {name} carries no tag of a quarantine")),
        (left(Form::Guide, tags("quarantine")), format!("instance {name} carries no tag of a quarantine")),
        (
            left(Form::Strict, |_, compute| drop(compute.firewall.remove(0))),
            "firewall rule quarantine-inc-42-egress-deny is not there as Stanch makes it".into(),
        ),
        (
            left(Form::Strict, |_, compute| compute.interfaces = before.interfaces.clone()),
            "nic0 has the external address 203.0.113.11".into(),
        ),
        (
            left(Form::Strict, |_, compute| compute.group = before.group.clone()),
            "group gke-sandbox-public-1a2b3c4d-grp lists the instance".into(),
        ),
        (left(Form::Strict, |facts, _| facts.kubernetes.node.unschedulable = false), format!("node {name} is schedulable")),
    ];
    for (position, (facts, undone)) in cases.iter().enumerate() {
        let form = if position == 1 { Form::Guide } else { Form::Strict };
        let plan = again(form, "inc-42", facts).unwrap();
        let says = format!("Stanch isolated this node, and somebody undid part of it: {undone}; what is still in place is left as it is");
        assert_eq!(plan.consequences.decisions.first(), Some(&says));
        assert!(plan.steps().any(|(_, step)| matches!(step.action, Action::Compute(ComputeAction::VerifyIsolation { .. }))));
    }
}
