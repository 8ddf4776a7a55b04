//! Goal: what is asked of every plan on a node or pod. Method: the planners with facts that Stanch, the system, or a dead kubelet is in.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

use stanch_commands::action::{Action, KubernetesAction};
use stanch_commands::definition::{Argument, Context, Does, Own, Phase};
use stanch_commands::facts::Facts;
use stanch_commands::parse::parse;
use stanch_commands::plan::{Form, Plan};
use stanch_commands::refusal::Refusal;
use stanch_commands::{CATALOGUE, check, guard};

use crate::plans::{NODE, SUSPECT, context, facts};

fn planned(line: &str, facts: &Facts, change: impl Fn(&mut Context)) -> Result<Plan, Refusal> {
    let (does, mut context) = context(line, Form::Strict);
    change(&mut context);
    let Does::Mitigate(planner) = does else { panic!("`{line}` makes no plan") };
    check::checked(guard::planned(parse(line).unwrap().definition, planner, facts, &context)?)
}

/// Stanch runs in a neighbour of the suspect.
fn on_the_node(context: &mut Context) {
    let neighbour = facts().kubernetes.pods.iter().find(|pod| pod.pod.to_string().starts_with("shop/search")).unwrap().pod.clone();
    context.own = Own { pod: Some((neighbour.namespace, neighbour.name)), node: Some(NODE.parse().unwrap()) };
}

#[test]
fn stanch_is_hit_only_on_purpose() {
    let on_node = Refusal::Own(format!("on node {NODE}"));
    for line in ["quarantine", "cordon", "drain", "abandon", "firewall", "remove-external-ip", "isolate-pod", "redeploy"] {
        let line = format!("{line} {SUSPECT}");
        assert_eq!(planned(&line, &facts(), on_the_node), Err(on_node.clone()), "{line}");
        assert!(planned(&line, &facts(), |_| ()).is_ok(), "{line}");
    }
    // The name of the node is enough.
    let by_name = |context: &mut Context| context.own.node = Some(NODE.parse().unwrap());
    assert_eq!(planned(&format!("cordon node {NODE}"), &facts(), by_name), Err(on_node));
    let elsewhere = |context: &mut Context| context.own.node = Some("another".parse().unwrap());
    assert!(planned(&format!("cordon node {NODE}"), &facts(), elsewhere).is_ok());
    // What only reads hits nobody.
    assert!(planned(&format!("inspect {SUSPECT}"), &facts(), on_the_node).is_ok());
    let as_suspect = |context: &mut Context| {
        let suspect = facts().kubernetes.suspect.unwrap().pod;
        context.own.pod = Some((suspect.namespace, suspect.name));
    };
    let in_pod = Refusal::Own(format!("in {SUSPECT}"));
    assert_eq!(planned(&format!("isolate-pod {SUSPECT}"), &facts(), as_suspect), Err(in_pod));
}

#[test]
fn on_purpose_it_is_warned_of_first_and_not_evicted() {
    let plan = planned(&format!("quarantine {SUSPECT} --include-stanch"), &facts(), on_the_node).unwrap();
    let first = plan.consequences.blast_radius.first().unwrap();
    assert!(first.starts_with(&format!("WARNING: Stanch itself runs on node {NODE}: it may be cut off")), "{first}");
    assert!(plan.command.ends_with(" --include-stanch"), "{}", plan.command);
    let drain = plan.steps().find_map(|(_, step)| match &step.action {
        Action::Kubernetes(KubernetesAction::Drain(drain)) => Some(drain.clone()),
        Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
    });
    let drain = drain.unwrap();
    let own = facts().kubernetes.pods.into_iter().find(|pod| pod.pod.to_string().starts_with("shop/search")).unwrap().pod;
    assert!(drain.spare.contains(&own.uid) && !drain.expected.contains(&own));
    assert!(plan.consequences.decisions.contains(&format!("left on the node, Stanch itself: {own}")), "{:?}", plan.consequences.decisions);
}

/// Every command that contains or destroys takes the flag: otherwise Stanch's own node could not be contained at all.
#[test]
fn every_mitigation_can_be_meant() {
    for definition in CATALOGUE.iter().filter(|definition| matches!(definition.phase, Phase::Contain | Phase::Eradicate)) {
        let by_request = definition.arguments.contains(&Argument::Request);
        let takes = definition.arguments.contains(&Argument::IncludeStanch);
        assert!(takes || by_request || definition.name == "revoke-ssh", "{} cannot be meant", definition.name);
    }
}

#[test]
fn pods_of_the_system_are_named_with_their_namespace() {
    let mut system = facts();
    let suspect = system.kubernetes.suspect.as_mut().unwrap();
    suspect.pod.namespace = "kube-system".parse().unwrap();
    let name = suspect.pod.name.clone();
    let unnamed = Refusal::Unnamed(format!("kube-system/{name}"));
    assert_eq!(planned(&format!("isolate-pod pod {name}"), &system, |_| ()), Err(unnamed));
    assert!(planned(&format!("isolate-pod pod kube-system/{name}"), &system, |_| ()).is_ok());
    assert!(planned(&format!("inspect pod {name}"), &system, |_| ()).is_ok(), "reading is no decision");
    assert!(planned(&format!("isolate-pod pod {name}"), &facts(), |_| ()).is_ok());
}

#[test]
fn a_node_that_does_not_answer_is_told_of() {
    let said = |line: &str, ready: bool| {
        let mut facts = facts();
        facts.kubernetes.node.ready = ready;
        let decisions = planned(line, &facts, |_| ()).unwrap().consequences.decisions.clone();
        decisions.into_iter().filter(|line| line.contains("not Ready")).collect::<Vec<_>>()
    };
    assert_eq!(said(&format!("quarantine {SUSPECT}"), true), Vec::<String>::new());
    assert_eq!(
        said(&format!("quarantine {SUSPECT}"), false),
        [
            &format!(
                "node {NODE} is not Ready: its kubelet does not answer, or not in time; steps on Compute and on objects work all the same"
            ),
            "not Ready: logs are not to be had, objects and events are",
            "not Ready: a new NetworkPolicy may take hold only when the node is back",
            "not Ready: evicted pods stay Terminating until the node is back; Deployments replace them at once, StatefulSets and DaemonSets wait",
            "not Ready: the suspect is deleted 300 s after the node was lost, unless its tolerations are rewritten before",
        ]
    );
    assert!(said(&format!("redeploy {SUSPECT}"), false)[2].contains("the deletion is accepted"));
    assert_eq!(said(&format!("cordon node {NODE}"), false).len(), 1);
}
