//! Pods that are isolated or scaled away: what holds on every cluster, and what only the emulator can make happen.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Client;
use kube::api::{Api, Patch};
use serde_json::json;
use stanch::core::step::{Failure, FailureKind, Observation, Outcome};
use stanch::sandbox::world::World;
use stanch_commands::action::{Action, ActionClass, KubernetesAction};
use stanch_commands::facts::{ClusterFacts, Facts, NoInstance};
use stanch_commands::plan::Form;

use super::contract::name_of_suspect;
use super::{NODE, Subject, emulator, writes};
use crate::control_plane::ControlPlane;
use crate::plans;

#[tokio::test]
async fn pods_are_isolated_on_the_emulator() {
    let (emulator, client) = emulator().await;
    isolates(client, NODE).await;
    emulator.stop().await;
}

#[tokio::test]
async fn pods_are_isolated_on_a_real_control_plane() {
    let Some(plane) = ControlPlane::start_with(&World::compromised(), &[]) else { return };
    isolates(plane.client(plane.context()).await, plane.node(NODE)).await;
}

/// The plan of a command line on what the subject found, as on a node without a Compute instance: its Kubernetes actions in order.
fn planned(subject: &Subject, line: &str) -> Vec<KubernetesAction> {
    let facts = Facts {
        surveyed_at: Timestamp::UNIX_EPOCH,
        cluster: ClusterFacts {
            name: "sandbox".parse().unwrap(),
            project: "sandbox-project".parse().unwrap(),
            location: "us-central1-a".parse().unwrap(),
        },
        kubernetes: subject.facts.clone(),
        compute: Err(NoInstance::Autopilot),
    };
    let plan = plans::plan(line, Form::Strict, &facts).unwrap();
    let kubernetes = |action: &Action| match action {
        Action::Kubernetes(action) => action.clone(),
        other => panic!("{other:?}"),
    };
    plan.steps().map(|(_, step)| kubernetes(&step.action)).collect()
}

async fn policy(client: &Client, name: &str, spec: serde_json::Value) {
    let object = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": name }, "spec": spec });
    let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), "shop");
    api.create(&Default::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// Carries every step out; those that change something once more.
async fn carried_out(subject: &Subject, actions: &[KubernetesAction]) -> Vec<String> {
    let mut summaries = Vec::new();
    for action in actions {
        let mutates = Action::Kubernetes(action.clone()).class() == ActionClass::Mutate;
        if mutates {
            assert_eq!(subject.observe(action).await, Observation::NotInPlace, "{action:?}");
        }
        let receipt = subject.succeeds(action).await;
        assert!(!receipt.already_so, "{receipt:?}");
        summaries.push(receipt.summary);
        if mutates {
            assert!(matches!(subject.observe(action).await, Observation::InPlace(_)), "{action:?}");
            assert!(subject.succeeds(action).await.already_so, "{action:?}");
        }
    }
    summaries
}

async fn isolates(client: Client, node: &str) {
    policy(&client, "by-app", json!({ "podSelector": { "matchLabels": { "app": "cart" } }, "ingress": [{}] })).await;
    let labelless =
        json!({ "matchExpressions": [{ "key": "app", "operator": "DoesNotExist" }, { "key": "public", "operator": "DoesNotExist" }] });
    policy(&client, "labelless", json!({ "podSelector": labelless, "policyTypes": ["Egress"], "egress": [{}] })).await;
    let cart = name_of_suspect(&client, node).await;
    let target = format!("pod shop/{cart}");
    let subject = Subject::of(client.clone(), &target).await;
    assert_eq!(subject.facts.policies.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["by-app"]);
    assert_eq!(subject.facts.namespace_policies.len(), 2);

    let summaries = carried_out(&subject, &planned(&subject, &format!("isolate-pod {target}"))).await;
    // Neither cluster has a data plane, and so neither is said to isolate.
    let verdict = summaries.last().unwrap();
    assert!(verdict.contains("is detached, but NOT isolated: nothing enforces NetworkPolicies here"), "{verdict}");

    let pods: Api<Pod> = Api::namespaced(client.clone(), "shop");
    let pod = pods.get(&cart).await.unwrap().metadata;
    let labels = pod.labels.unwrap();
    let ours: Vec<_> = labels.keys().filter(|key| !key.starts_with("topology.kubernetes.io/")).collect();
    assert_eq!(ours, ["public", "quarantine", "stanch.dev/quarantine"]);
    let annotations = pod.annotations.unwrap();
    assert_eq!(annotations.get("cluster-autoscaler.kubernetes.io/safe-to-evict").unwrap(), "false");
    assert!(annotations.get("stanch.dev/original-labels").unwrap().contains("\"app\":\"cart\""), "{annotations:?}");
    let again = Subject::of(client.clone(), &target).await;
    assert_eq!(again.facts.policies.len(), 1, "ours alone");
    assert!(again.facts.services.is_empty());

    scales_to_zero(client).await;
}

/// The pod of a StatefulSet is scaled away.
async fn scales_to_zero(client: Client) {
    let subject = Subject::of(client.clone(), "pod shop/orders-0").await;
    let summaries = carried_out(&subject, &planned(&subject, "isolate-pod pod shop/orders-0 --scale-to-zero")).await;
    assert_eq!(
        summaries.get(2..).unwrap(),
        ["StatefulSet shop/orders is scaled to 0; it had 1 replicas", "gone, and not made again: 1 pod"]
    );
    let sets: Api<k8s_openapi::api::apps::v1::StatefulSet> = Api::namespaced(client, "shop");
    assert_eq!(sets.get("orders").await.unwrap().spec.unwrap().replicas, Some(0));
}

const SUSPECT: &str = "pod shop/cart-7d4b9c6f5-x2x9q";

fn refused(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) if failure.kind == FailureKind::Refused => failure,
        other => panic!("it was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_pod_is_called_isolated_where_something_enforces_policies() {
    let (emulator, client) = emulator().await;
    emulator.add_daemon_set("kube-system", "anetd").unwrap();
    let subject = Subject::of(client.clone(), SUSPECT).await;
    let actions = planned(&subject, &format!("isolate-pod {SUSPECT}"));
    let summaries = carried_out(&subject, &actions).await;
    let verdict = "pod shop/cart-7d4b9c6f5-x2x9q is isolated: no other NetworkPolicy and no Service selects it, and GKE Dataplane V2 (anetd) enforces ours";
    assert_eq!(summaries.last().unwrap(), verdict);
    let verify = actions.last().unwrap();

    // Somebody opens it again: the reading finds each of the ways.
    emulator.allow_all("shop", "allow-all");
    let failure = refused(subject.perform(verify).await.outcome);
    assert_eq!(failure.message, "NetworkPolicy allow-all selects pod shop/cart-7d4b9c6f5-x2x9q");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "shop");
    let labels = json!({ "metadata": { "labels": { "app": "cart", "quarantine": null } } });
    pods.patch("cart-7d4b9c6f5-x2x9q", &Default::default(), &Patch::Merge(labels)).await.unwrap();
    let failure = refused(subject.perform(verify).await.outcome);
    for words in ["does not carry quarantine=true", "carries the label app again", "Service shop/cart selects"] {
        assert!(failure.message.contains(words), "{failure}");
    }
    let policies: Api<NetworkPolicy> = Api::namespaced(client, "shop");
    let ours = format!("stanch-quarantine-{}", subject.facts.suspect.as_ref().unwrap().pod.uid);
    policies.delete(&ours, &Default::default()).await.unwrap();
    assert!(refused(subject.perform(verify).await.outcome).message.contains("is not there"));
    emulator.stop().await;
}

#[tokio::test]
async fn what_the_plan_named_as_open_stays_named() {
    let (emulator, client) = emulator().await;
    emulator.add_daemon_set("kube-system", "calico-node").unwrap();
    emulator.allow_all("shop", "allow-all");
    let subject = Subject::of(client, SUSPECT).await;
    let summaries = carried_out(&subject, &planned(&subject, &format!("isolate-pod {SUSPECT}"))).await;
    assert_eq!(
        summaries.last().unwrap(),
        "pod shop/cart-7d4b9c6f5-x2x9q is detached, but NOT isolated: NetworkPolicy allow-all selects it whatever its labels are, and lets traffic through"
    );
    emulator.stop().await;
}

#[tokio::test]
async fn a_namesake_is_neither_isolated_nor_its_workload_scaled() {
    let (emulator, client) = emulator().await;
    let subject = Subject::of(client, SUSPECT).await;
    let actions = planned(&subject, &format!("isolate-pod {SUSPECT}"));
    emulator.recreate_pod("shop", "cart-7d4b9c6f5-x2x9q").unwrap();
    for action in actions {
        let Outcome::Failed(failure) = subject.perform(&action).await.outcome else { panic!("{action:?}") };
        assert_eq!(failure.kind, FailureKind::Stale, "{action:?}");
    }
    let mut other = subject.facts.workload.clone().unwrap().chain.pop().unwrap();
    other.uid = "another".parse().unwrap();
    let scale = KubernetesAction::ScaleToZero { workload: other, from: 2 };
    let Outcome::Failed(failure) = subject.perform(&scale).await.outcome else { panic!("another uid") };
    assert_eq!(failure.kind, FailureKind::Stale);
    assert_eq!(writes(&emulator), Vec::<String>::new());
    emulator.stop().await;
}
