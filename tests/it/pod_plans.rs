//! Goal: the commands about a pod and its workload plan it right or refuse. Method: as in `plans`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use stanch_commands::action::{Action, KubernetesAction};
use stanch_commands::check;
use stanch_commands::definition::Definition;
use stanch_commands::facts::{Facts, NoInstance, Owner, PodFacts};
use stanch_commands::plan::{Draft, Edge, Form, Plan};

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
