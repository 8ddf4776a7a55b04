//! Workloads that are deleted: what holds on every cluster, and what only the emulator can make happen.

use http::Method;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, Patch};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use stanch::core::step::{FailureKind, Observation, Outcome};
use stanch::sandbox::server::{Fault, FaultRule};
use stanch::sandbox::world::World;
use stanch_commands::action::KubernetesAction;
use stanch_commands::facts::WorkloadFacts;

use super::contract::name_of_suspect;
use super::{NODE, Subject, emulator, writes};
use crate::control_plane::ControlPlane;

#[tokio::test]
async fn workloads_are_deleted_on_the_emulator() {
    let (emulator, client) = emulator().await;
    deletes(client, NODE).await;
    emulator.stop().await;
}

#[tokio::test]
async fn workloads_are_deleted_on_a_real_control_plane() {
    let Some(plane) = ControlPlane::start_with(&World::compromised(), &[]) else { return };
    deletes(plane.client(plane.context()).await, plane.node(NODE)).await;
}

fn workload(subject: &Subject) -> WorkloadFacts {
    subject.facts.workload.clone().unwrap()
}

/// Kinds of the chain, and names of what bears on its top.
fn shape(facts: &WorkloadFacts) -> (Vec<&'static str>, usize, Option<&str>) {
    (facts.chain.iter().map(|owner| owner.kind.as_str()).collect(), facts.pods.len(), facts.above.as_deref())
}

async fn deletes(client: Client, node: &str) {
    marks(&client).await;
    let cart = name_of_suspect(&client, node).await;
    let subject = Subject::of(client.clone(), &format!("pod shop/{cart}")).await;
    let facts = workload(&subject);
    assert_eq!(shape(&facts), (vec!["ReplicaSet", "Deployment"], 2, None));
    assert_eq!((facts.replicas, facts.autoscalers.clone(), facts.unread.clone()), (Some(2), vec!["cart".to_owned()], vec![]));
    assert_eq!(facts.makers, ["Flux Kustomization shop"]);
    assert!(facts.pods.iter().all(|(_, node)| node.is_some()), "{:?}", facts.pods);
    gone(&subject, "workloads/shop/deployment-cart.json").await;

    let daemon = Subject::of(client.clone(), &format!("node {node}")).await.facts.pods.into_iter();
    let daemon = daemon.map(|pod| pod.pod).find(|pod| pod.name.as_str().starts_with("fluentbit-gke-")).unwrap();
    for (target, kind, pods, file) in [
        (format!("pod {daemon}"), "DaemonSet", 3, "workloads/kube-system/daemonset-fluentbit-gke.json"),
        ("pod shop/orders-0".to_owned(), "StatefulSet", 1, "workloads/shop/statefulset-orders.json"),
    ] {
        let subject = Subject::of(client.clone(), &target).await;
        assert_eq!(shape(&workload(&subject)), (vec![kind], pods, None));
        gone(&subject, file).await;
    }
    let bare = Subject::of(client, "pod shop/one-off").await;
    assert_eq!(workload(&bare), WorkloadFacts::default());
}

/// An autoscaler, and the label of a tool that would make the Deployment again.
async fn marks(client: &Client) {
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "cart" },
        "spec": { "maxReplicas": 3, "minReplicas": 2, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "cart" } },
    });
    let scalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), "shop");
    scalers.create(&Default::default(), &serde_json::from_value(scaler).unwrap()).await.unwrap();
    let label = json!({ "metadata": { "labels": { "kustomize.toolkit.fluxcd.io/name": "shop" } } });
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "shop");
    deployments.patch("cart", &Default::default(), &Patch::Merge(label)).await.unwrap();
}

/// Saves the chain, deletes its top, and reads that it is gone; each once and once more.
async fn gone(subject: &Subject, file: &str) {
    let facts = workload(subject);
    let (chain, top) = (facts.chain.clone(), facts.chain.last().cloned().unwrap());
    let saved = subject.perform(&KubernetesAction::SaveManifests(chain.clone())).await;
    assert!(matches!(saved.outcome, Outcome::Succeeded(_)), "{saved:?}");
    assert_eq!(saved.artefacts.len(), chain.len());
    assert_eq!(saved.artefacts.last().unwrap().path, file);
    let manifest: serde_json::Value = serde_json::from_slice(&saved.artefacts.last().unwrap().content).unwrap();
    assert_eq!(manifest.pointer("/metadata/uid"), Some(&json!(top.uid.as_str())));

    let action = KubernetesAction::DeleteWorkload { workload: top.clone(), waiver: None };
    assert_eq!(subject.observe(&action).await, Observation::NotInPlace);
    assert!(!subject.succeeds(&action).await.already_so);
    assert!(matches!(subject.observe(&action).await, Observation::InPlace(_)));
    let again = subject.perform(&action).await;
    let Outcome::Succeeded(receipt) = again.outcome else { panic!("{:?}", again.outcome) };
    assert!(receipt.already_so && again.calls.iter().all(|call| call.method.starts_with("GET")), "{:?}", again.calls);
    let pods = facts.pods.iter().map(|(pod, _)| pod.clone()).collect();
    let verify = KubernetesAction::VerifyWorkloadGone { workloads: chain, pods, deadline_s: 90 };
    let receipt = subject.succeeds(&verify).await;
    assert!(receipt.summary.starts_with("gone, and not made again: ") && receipt.summary.contains(&format!("{top}, ")), "{receipt:?}");
}

const SUSPECT: &str = "pod shop/cart-7d4b9c6f5-x2x9q";

#[tokio::test]
async fn a_workload_that_was_made_again_is_not_touched_and_told() {
    let (emulator, client) = emulator().await;
    let subject = Subject::of(client.clone(), SUSPECT).await;
    let facts = workload(&subject);
    let deployments: Api<Deployment> = Api::namespaced(client, "shop");
    let mut fresh = deployments.get("cart").await.unwrap();
    deployments.delete("cart", &Default::default()).await.unwrap();
    fresh.metadata = kube::core::ObjectMeta { name: Some(fresh.name_any()), ..Default::default() };
    deployments.create(&Default::default(), &fresh).await.unwrap();
    let before = writes(&emulator).len();

    let action = KubernetesAction::DeleteWorkload { workload: facts.chain.last().cloned().unwrap(), waiver: None };
    let receipt = subject.succeeds(&action).await;
    assert!(receipt.already_so && receipt.summary.contains("another one of its name is there"), "{receipt:?}");
    assert_eq!(writes(&emulator).len(), before, "the namesake is left alone");
    let verify = KubernetesAction::VerifyWorkloadGone { workloads: facts.chain, pods: vec![], deadline_s: 5 };
    let Outcome::Failed(failure) = subject.perform(&verify).await.outcome else { panic!("it is there") };
    assert!(failure.kind == FailureKind::Refused && failure.message.contains("is there again"), "{failure:?}");
    emulator.stop().await;
}

#[tokio::test]
async fn what_does_not_end_is_named_at_the_deadline() {
    let (emulator, client) = emulator().await;
    let subject = Subject::of(client, SUSPECT).await;
    let facts = workload(&subject);
    emulator.set_node_unreachable(NODE).unwrap();
    subject.succeeds(&KubernetesAction::DeleteWorkload { workload: facts.chain.last().cloned().unwrap(), waiver: None }).await;
    let pods = facts.pods.into_iter().map(|(pod, _)| pod).collect();
    let verify = KubernetesAction::VerifyWorkloadGone { workloads: facts.chain, pods, deadline_s: 2 };
    let Outcome::Failed(failure) = subject.perform(&verify).await.outcome else { panic!("its node does not answer") };
    assert_eq!(failure.kind, FailureKind::Deadline);
    assert!(failure.message.contains("pod cart-7d4b9c6f5-x2x9q (Terminating on gke-sandbox-public-1a2b3c4d-x7k2)"), "{failure}");
    assert!(failure.message.contains("Deployment shop/cart (Terminating)"), "{failure}");
    emulator.stop().await;
}

#[tokio::test]
async fn what_is_beyond_the_pods_own_owner_does_not_stop_a_survey() {
    let (emulator, client) = emulator().await;
    let gone = |part: &str| FaultRule {
        method: Some(Method::GET),
        uri_contains: part.into(),
        skip: 0,
        times: 1,
        fault: Fault::Answer { status: http::StatusCode::FORBIDDEN, headers: vec![], body: json!({ "message": "no" }) },
    };
    emulator.wire().inject(gone("/horizontalpodautoscalers"));
    emulator.wire().inject(gone("/replicasets?"));
    let facts = workload(&Subject::of(client.clone(), SUSPECT).await);
    assert_eq!(
        facts.unread,
        ["its pods: no right to read replicasets: no", "its autoscalers: no right to read horizontalpodautoscalers: no"]
    );
    emulator.wire().inject(gone("/deployments/"));
    let facts = workload(&Subject::of(client, SUSPECT).await);
    assert_eq!(facts.above.unwrap(), "Deployment cart controls it, but cannot be read: no right to read deployments: no");
    emulator.stop().await;
}
