//! Goal: the commands about a pod and its workload plan it right or refuse. Method: as in `plans`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use serde_json::json;
use stanch_commands::action::{Action, KubernetesAction};
use stanch_commands::check;
use stanch_commands::definition::Definition;
use stanch_commands::facts::{Facts, NoInstance, Owner, PodFacts, PolicyFacts, WorkloadFacts};
use stanch_commands::plan::{Draft, Edge, Form, Plan};
use stanch_commands::selector::Selector;
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

fn workload(facts: &mut Facts) -> &mut WorkloadFacts {
    facts.kubernetes.workload.as_mut().unwrap()
}

#[test]
fn a_workload_is_deleted_by_its_highest_owner_once_its_manifests_are_kept() {
    let line = format!("delete-workload {SUSPECT}");
    let mut all = text(&plan(&line, Form::Strict, &facts()).unwrap());
    all.push_str(&text(&plan(&format!("{line} --stop-now reason:\"data is leaving\""), Form::Guide, &facts()).unwrap()));
    let mut stateful = autopilot(facts());
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
    let mut custom = facts();
    workload(&mut custom).above = Some("Pizza margherita (pizza.example/v1) controls it, a kind that Stanch does not know".into());
    insta::assert_snapshot!("delete_workload_refusals", refusal(&format!("delete-workload {SUSPECT}"), &custom));
}

#[test]
fn no_workload_is_deleted_before_its_manifests_are_stored() {
    let good = plan(&format!("delete-workload {SUSPECT}"), Form::Strict, &facts()).unwrap();
    let deletes = |action: &KubernetesAction| matches!(action, KubernetesAction::DeleteWorkload { .. });
    assert_eq!(
        without_requirements(&good, deletes),
        [
            "step 6 changes something before its prior state is saved",
            "step 6 destroys before evidence is stored and the snapshots are READY"
        ]
    );
}

/// A node on which something enforces policies.
fn enforced(mut facts: Facts, by: &str) -> Facts {
    let name = format!("{by}-a1b2c").parse().unwrap();
    let owner = Owner { kind: "DaemonSet".into(), name: by.into() };
    let template = facts.kubernetes.pods.first().cloned().unwrap();
    let pod = PodRef { namespace: "kube-system".parse().unwrap(), name, uid: "uid-agent".parse().unwrap() };
    facts.kubernetes.pods.push(PodFacts { pod, owner: Some(owner), phase: "Running".into(), ..template });
    facts
}

fn policy(name: &str, allows: bool, selector: serde_json::Value) -> PolicyFacts {
    let selector: Selector = serde_json::from_value(selector).unwrap();
    let selector_keys = selector.match_labels.keys().cloned().chain(selector.match_expressions.iter().map(|one| one.key.clone())).collect();
    PolicyFacts { name: name.into(), selector_keys, allows, selector }
}

fn with_policies(mut facts: Facts, policies: &[PolicyFacts]) -> Facts {
    let labels = suspect(&mut facts).labels.clone();
    facts.kubernetes.policies = policies.iter().filter(|policy| policy.selector.selects(&labels)).cloned().collect();
    facts.kubernetes.namespace_policies = policies.to_vec();
    facts
}

const ISOLATE: &str = "isolate-pod pod shop/cart-7d4b9c6f5-x2x9q";

#[test]
fn a_pod_is_isolated_with_the_kubernetes_api_alone() {
    let mut all = text(&plan(ISOLATE, Form::Strict, &autopilot(enforced(facts(), "anetd"))).unwrap());
    all.push_str(&text(&plan(ISOLATE, Form::Guide, &enforced(facts(), "calico-node")).unwrap()));
    all.push_str(&text(&plan(&format!("{ISOLATE} --scale-to-zero"), Form::Strict, &facts()).unwrap()));
    insta::assert_snapshot!("isolate_pod", all);
}

#[test]
fn labels_are_rewritten_until_only_our_policy_selects_the_pod() {
    let absent = json!({ "matchExpressions": [{ "key": "pod-template-hash", "operator": "DoesNotExist" }, { "key": "public", "operator": "DoesNotExist" }] });
    let policies = [
        policy("by-app", true, json!({ "matchLabels": { "app": "cart" } })),
        policy("deny-tier", false, json!({ "matchExpressions": [{ "key": "tier", "operator": "Exists" }] })),
        // Selects the pod only after the others were escaped.
        policy("the-unlabelled", true, absent),
        policy("elsewhere", true, json!({ "matchLabels": { "app": "search" } })),
    ];
    let mut facts = with_policies(enforced(facts(), "anetd"), &policies);
    suspect(&mut facts).labels.insert("tier".into(), "web".into());
    let rewriting = stanch_commands::label::rewriting(&facts, facts.kubernetes.suspect.as_ref().unwrap());
    assert_eq!(rewriting.still, []);
    assert_eq!(rewriting.remove.into_iter().collect::<Vec<_>>(), ["app", "pod-template-hash", "tier"]);
    assert_eq!(
        rewriting.set.into_iter().filter(|(_, value)| value == "isolated").collect::<Vec<_>>(),
        [("public".into(), "isolated".into())]
    );
    let plan = plan(ISOLATE, Form::Strict, &facts).unwrap();
    assert!(!text(&plan).contains("NOT isolated"));
}

#[test]
fn what_cannot_be_escaped_is_named_and_not_called_isolated() {
    let take_turns = policy("not-db", true, json!({ "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["db"] }] }));
    let mut on_host = enforced(facts(), "anetd");
    suspect(&mut on_host).host_network = true;
    let mut daemon = enforced(owned(Some("DaemonSet")), "anetd");
    daemon.kubernetes.suspect.as_mut().unwrap().owner_selector = ["app".to_owned()].into();
    let cases = [
        facts(),
        autopilot(with_policies(
            enforced(facts(), "cilium"),
            &[policy("allow-all", true, json!({})), policy("default-deny", false, json!({}))],
        )),
        with_policies(enforced(facts(), "anetd"), &[take_turns]),
        on_host,
        daemon,
    ];
    let lines = cases.map(|facts| {
        let text = text(&plan(ISOLATE, Form::Strict, &facts).unwrap());
        let about =
            |line: &&str| line.contains("solate") || line.contains("only denies") || line.contains("label pod") || line.contains("in vain");
        text.lines().filter(about).collect::<Vec<_>>().join("\n")
    });
    insta::assert_snapshot!("isolate_pod_open", lines.join("\n\n"));
}

#[test]
fn isolation_is_refused_where_it_is_done_or_cannot_be() {
    let mut done = enforced(facts(), "anetd");
    let uid = suspect(&mut done).pod.uid.to_string();
    suspect(&mut done).labels = [("quarantine".to_owned(), "true".to_owned()), ("stanch.dev/quarantine".into(), uid.clone())].into();
    suspect(&mut done).owner_selector.clear();
    let ours = policy(&format!("stanch-quarantine-{uid}"), false, json!({ "matchLabels": { "stanch.dev/quarantine": uid } }));
    let mut done = with_policies(done, &[ours]);
    done.kubernetes.services.clear();
    let mut mirror = facts();
    suspect(&mut mirror).mirror = true;
    let (mut scaled, mut custom, mut bare, mut daemon) = (facts(), facts(), facts(), facts());
    workload(&mut scaled).replicas = Some(0);
    workload(&mut custom).above = Some("Pizza margherita (pizza.example/v1) controls it, a kind that Stanch does not know".into());
    bare.kubernetes.workload = Some(WorkloadFacts::default());
    workload(&mut daemon).chain.truncate(1);
    let scale = format!("{ISOLATE} --scale-to-zero");
    let cases = [(ISOLATE, &done), (ISOLATE, &mirror), (&scale, &scaled), (&scale, &custom), (&scale, &bare), (&scale, &daemon)];
    insta::assert_snapshot!("isolate_pod_refusals", cases.map(|(line, facts)| refusal(line, facts)).join("\n"));
}

#[test]
fn no_pod_is_labelled_before_its_policy_and_none_scaled_away_before_its_evidence() {
    let good = plan(ISOLATE, Form::Strict, &facts()).unwrap();
    let labels = |action: &KubernetesAction| matches!(action, KubernetesAction::LabelPod { .. });
    assert_eq!(
        without_requirements(&good, labels),
        ["step 6 changes something before its prior state is saved", "step 6 labels a suspect before the policy that the label selects"]
    );
    let good = plan(&format!("{ISOLATE} --scale-to-zero"), Form::Strict, &facts()).unwrap();
    let scales = |action: &KubernetesAction| matches!(action, KubernetesAction::ScaleToZero { .. });
    assert_eq!(
        without_requirements(&good, scales),
        [
            "step 5 changes something before its prior state is saved",
            "step 5 destroys before evidence is stored and the snapshots are READY"
        ]
    );
}
