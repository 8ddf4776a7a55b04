//! Every command states every action of its plans.

use std::collections::BTreeSet;

use stanch_commands::CATALOGUE;
use stanch_commands::action::{Action, ActionClass, ComputeAction};
use stanch_commands::definition::{Argument, Definition, Does};
use stanch_commands::facts::Facts;
use stanch_commands::permission::{Entry, KUBERNETES, SURVEYS, entries};
use stanch_commands::plan::{Form, Plan};
use stanch_commands::prior::Earlier;

use crate::plans::{SUSPECT, facts, plan};

/// The plans that the sandbox's node and variations of it lead to.
fn planned(definition: &Definition) -> BTreeSet<&'static str> {
    let takes = |argument| definition.arguments.contains(&argument);
    let target = if takes(Argument::Node) { format!("node {}", facts().kubernetes.node.node.name) } else { SUSPECT.to_owned() };
    let key = "key:\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f rosa\" via:bastion";
    let target = if takes(Argument::Key) { format!("{target} {key}") } else { target };
    let mut lines = vec![format!("{} {target}", definition.name)];
    if takes(Argument::CreateIntermediate) {
        lines.push(format!("{} {}", definition.name, target.replace("via:bastion", "--create-intermediate")));
    }
    if takes(Argument::Container) {
        lines.push(format!("{} {target} via:bastion", definition.name));
    }
    if takes(Argument::IsolateFirst) {
        lines.push(format!("{} {target} --isolate-first", definition.name));
    }
    if takes(Argument::ScaleToZero) {
        lines.push(format!("{} {target} --scale-to-zero", definition.name));
    }
    if takes(Argument::Exec) {
        lines.push(format!("{} {target} --exec", definition.name));
    }
    if takes(Argument::StopNow) {
        lines.push(format!("{} {target} --stop-now reason:\"why\"", definition.name));
    }
    let variations: [fn(&mut Facts); 6] = [
        |facts| *facts = crate::compute_plans::abandoned_and_kept(),
        |_| {},
        |facts| facts.kubernetes.node.unschedulable = true,
        |facts| *facts = crate::compute_plans::beside_bastion(),
        |facts| *facts = crate::compute_plans::opened(Form::Strict),
        |facts| *facts = crate::compute_plans::made(),
    ];
    let mut found = BTreeSet::new();
    if takes(Argument::Request) {
        for plan in released(definition.name) {
            found.extend(plan.steps().map(|(_, step)| label(step.action.entry().unwrap())));
        }
        return found;
    }
    for (line, change) in lines.iter().flat_map(|line| variations.iter().map(move |change| (line, change))) {
        let mut facts = facts();
        change(&mut facts);
        for form in [Form::Strict, Form::Guide] {
            let plan = plan(line, form, &facts);
            let steps = plan.iter().flat_map(|plan| plan.steps().map(|(_, step)| step.action.entry().unwrap()));
            found.extend(steps.map(label));
        }
    }
    found
}

/// What undoes a quarantine, an isolated pod and a way in, in both ways.
fn released(command: &str) -> Vec<Plan> {
    let (facts, earlier) = crate::release::quarantined();
    let before = crate::plans::facts();
    let key = "key:\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f rosa\"";
    let ways = [
        (format!("isolate-pod {SUSPECT}"), before.clone(), facts.clone()),
        (format!("isolate-pod {SUSPECT} --scale-to-zero"), before, facts.clone()),
        (
            format!("allow-ssh {SUSPECT} {key} via:bastion"),
            crate::compute_plans::beside_bastion(),
            crate::compute_plans::opened(Form::Strict),
        ),
        (format!("allow-ssh {SUSPECT} {key} --create-intermediate"), crate::compute_plans::beside_bastion(), crate::compute_plans::made()),
    ];
    let mut plans = Vec::new();
    let mut undo = |facts: &Facts, earlier: &Earlier| {
        for line in [format!("{command} r-k3f9qz"), format!("{command} r-k3f9qz --false-alarm")] {
            plans.extend(crate::release::release(&line, facts, Some(earlier.clone())));
        }
    };
    undo(&facts, &earlier);
    let mut reserved = earlier.clone();
    for action in &mut reserved.touched {
        if let Action::Compute(ComputeAction::RemoveExternalIp { access, .. }) = action {
            access.reserved = true;
        }
    }
    undo(&facts, &reserved);
    for (line, before, after) in ways {
        let done = plan(&line, Form::Strict, &before).unwrap();
        let touched = done.steps().map(|(_, step)| step.action.clone()).filter(|action| action.class() == ActionClass::Mutate).collect();
        undo(&after, &Earlier { touched, ..earlier.clone() });
    }
    plans
}

/// Both sides save a prior state and collect evidence.
fn label(entry: &Entry) -> &'static str {
    match entry.what {
        "CapturePriorState" if entry.project.is_empty() => "CapturePriorState of the cluster",
        "CapturePriorState" => "CapturePriorState of the project",
        "CollectEvidence" if entry.project.is_empty() => "CollectEvidence of the cluster",
        "CollectEvidence" => "CollectEvidence of the project",
        "EndContainer" if entry.project.is_empty() => "EndContainer by a pod",
        "EndContainer" => "EndContainer over SSH",
        what => what,
    }
}

#[test]
fn commands_state_the_actions_of_their_plans_and_no_other() {
    for definition in CATALOGUE.iter().filter(|definition| matches!(definition.does, Does::Mitigate(_))) {
        let actions = entries().filter(|entry| !SURVEYS.iter().any(|survey| survey.what == entry.what));
        let stated = actions.filter(|entry| entry.commands.iter().any(|command| command.name == definition.name));
        let stated: BTreeSet<&str> = stated.map(label).collect();
        assert_eq!(planned(definition), stated, "`{}`: correct its lines in commands/src/permission.rs", definition.name);
    }
}

#[test]
fn what_surveys_is_stated() {
    for survey in SURVEYS {
        let stated: BTreeSet<&str> = survey.commands.iter().map(|command| command.name).collect();
        let surveying = CATALOGUE.iter().filter(|definition| matches!(definition.does, Does::Mitigate(_) | Does::Locate));
        assert_eq!(stated, surveying.map(|definition| definition.name).collect(), "SURVEYING of commands/src/permission.rs");
    }
    assert!(KUBERNETES.iter().all(|entry| !entry.commands.is_empty()));
}
