//! Goal: the commands about a pod and its workload plan it right or refuse. Method: as in `plans`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use stanch_commands::action::{Action, KubernetesAction};
use stanch_commands::check;
use stanch_commands::definition::Definition;
use stanch_commands::facts::{Facts, NoInstance, Owner, PodFacts, WorkloadFacts};
use stanch_commands::plan::{Draft, Edge, Form, Plan};
use stanch_commands::target::{PodRef, WorkloadKind, WorkloadRef};

use crate::plans::{SUSPECT, facts, plan, text};

fn suspect(facts: &mut Facts) -> &mut PodFacts {
    facts.kubernetes.suspect.as_mut().unwrap()
}

fn owned(kind: Option<&str>) -> Facts {
    let mut facts = facts();
    suspect(&mut facts).owner = kind.map(|kind| Owner { kind: kind.into(), name: "cart".into() });
    facts
}

fn refusal(line: &str, facts: &Facts) -> String {
    let refusal = plan(line, Form::Strict, facts).unwrap_err();
    format!("{refusal}; hint: {}", refusal.hint())
}

fn autopilot(mut facts: Facts) -> Facts {
    facts.kubernetes.node.autopilot = true;
    facts.compute = Err(NoInstance::Autopilot);
    facts
}

/// What is wrong with a plan that lacks the requirements of its steps of one kind.
fn without_requirements(plan: &Plan, of: fn(&KubernetesAction) -> bool) -> Vec<String> {
    let mut draft: Draft = plan.clone().into();
    for step in &mut draft.steps {
        if matches!(&step.action, Action::Kubernetes(action) if of(action)) {
            step.needs.retain(|edge| matches!(edge, Edge::After(_)));
        }
    }
    check::lint(&Plan::try_from(draft).unwrap())
}

fn takes_only_pods(definition: &Definition) -> bool {
    !definition.usage().contains("node NAME")
}

#[test]
fn a_pod_is_redeployed_once_its_evidence_is_kept() {
    assert!(takes_only_pods(&stanch_commands::redeploy::DEFINITION));
    let line = format!("redeploy {SUSPECT}");
    let mut all = text(&plan(&line, Form::Strict, &facts()).unwrap());
    all.push_str(&text(&plan(&line, Form::Guide, &facts()).unwrap()));
    all.push_str(&text(&plan(&format!("{line} --stop-now reason:\"data is leaving\""), Form::Strict, &facts()).unwrap()));
    all.push_str(&text(&plan(&line, Form::Strict, &autopilot(facts())).unwrap()));
    insta::assert_snapshot!("redeploy", all);
}

#[test]
fn the_plan_says_who_replaces_the_pod() {
    let line = format!("redeploy {SUSPECT}");
    let mut cordoned = owned(Some("ReplicaSet"));
    cordoned.kubernetes.node.unschedulable = true;
    let mut detached = owned(None);
    suspect(&mut detached).labels.insert("stanch.dev/quarantine".into(), "uid".into());
    let kinds = [Some("ReplicaSet"), Some("StatefulSet"), Some("DaemonSet"), Some("Job"), Some("Pizza"), None];
    let cases = kinds.into_iter().map(owned).chain([cordoned, detached]);
    let first = |facts: &Facts| plan(&line, Form::Strict, facts).unwrap().consequences.blast_radius.first().cloned().unwrap();
    insta::assert_snapshot!("redeploy_replacements", cases.map(|facts| first(&facts)).collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_the_api_cannot_delete_is_refused() {
    let line = format!("redeploy {SUSPECT}");
    let mut mirror = facts();
    suspect(&mut mirror).mirror = true;
    let mut ending = facts();
    suspect(&mut ending).terminating = true;
    insta::assert_snapshot!("redeploy_refusals", [&mirror, &ending].map(|facts| refusal(&line, facts)).join("\n"));
}

#[test]
fn no_pod_is_deleted_before_its_evidence_is_stored() {
    let good = plan(&format!("redeploy {SUSPECT}"), Form::Strict, &facts()).unwrap();
    let deletes = |action: &KubernetesAction| matches!(action, KubernetesAction::DeletePod { .. });
    assert_eq!(
        without_requirements(&good, deletes),
        [
            "step 5 changes something before its prior state is saved",
            "step 5 destroys before evidence is stored and the snapshots are READY"
        ]
    );
}

/// The suspect's Deployment, with two pods, an autoscaler and a tool that makes it again.
fn in_deployment() -> Facts {
    let mut facts = facts();
    let suspect = suspect(&mut facts).pod.clone();
    let of = |kind, name: &str| WorkloadRef {
        kind,
        namespace: "shop".parse().unwrap(),
        name: name.parse().unwrap(),
        uid: format!("uid-{name}").parse().unwrap(),
    };
    let other = PodRef { name: "cart-7d4b9c6f5-b8n5z".parse().unwrap(), uid: "uid-other".parse().unwrap(), ..suspect.clone() };
    facts.kubernetes.workload = Some(WorkloadFacts {
        chain: vec![of(WorkloadKind::ReplicaSet, "cart-7d4b9c6f5"), of(WorkloadKind::Deployment, "cart")],
        pods: vec![(other, Some("node-b".parse().unwrap())), (suspect, Some(facts.kubernetes.node.node.name.clone()))],
        replicas: Some(2),
        autoscalers: vec!["cart".into()],
        makers: vec!["Flux Kustomization shop".into()],
        ..WorkloadFacts::default()
    });
    facts
}

fn workload(facts: &mut Facts) -> &mut WorkloadFacts {
    facts.kubernetes.workload.as_mut().unwrap()
}

#[test]
fn a_workload_is_deleted_by_its_highest_owner_once_its_manifests_are_kept() {
    let line = format!("delete-workload {SUSPECT}");
    let mut all = text(&plan(&line, Form::Strict, &in_deployment()).unwrap());
    all.push_str(&text(&plan(&format!("{line} --stop-now reason:\"data is leaving\""), Form::Guide, &in_deployment()).unwrap()));
    let mut stateful = autopilot(in_deployment());
    let facts = workload(&mut stateful);
    facts.chain = vec![WorkloadRef { kind: WorkloadKind::StatefulSet, ..facts.chain.remove(1) }];
    all.push_str(&text(&plan(&line, Form::Strict, &stateful).unwrap()));
    let mut bare = autopilot(owned(None));
    bare.kubernetes.workload = Some(WorkloadFacts { unread: vec!["its autoscalers: no".into()], ..WorkloadFacts::default() });
    all.push_str(&text(&plan(&line, Form::Strict, &bare).unwrap()));
    insta::assert_snapshot!("delete_workload", all);
}

#[test]
fn a_workload_of_an_unknown_maker_is_refused() {
    let mut custom = in_deployment();
    workload(&mut custom).above = Some("Pizza margherita (pizza.example/v1) controls it, a kind that Stanch does not know".into());
    insta::assert_snapshot!("delete_workload_refusals", refusal(&format!("delete-workload {SUSPECT}"), &custom));
}

#[test]
fn no_workload_is_deleted_before_its_manifests_are_stored() {
    let good = plan(&format!("delete-workload {SUSPECT}"), Form::Strict, &in_deployment()).unwrap();
    let deletes = |action: &KubernetesAction| matches!(action, KubernetesAction::DeleteWorkload { .. });
    assert_eq!(
        without_requirements(&good, deletes),
        [
            "step 6 changes something before its prior state is saved",
            "step 6 destroys before evidence is stored and the snapshots are READY"
        ]
    );
}
