//! Pods and workloads that are deleted: what holds on every cluster, and what only the emulator can make happen.

use http::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch};
use serde_json::json;
use stanch::core::step::{Observation, Outcome};
use stanch::sandbox::kubernetes::KubernetesEmulator;
use stanch::sandbox::server::{Fault, FaultRule};
use stanch::sandbox::world::World;
use stanch_commands::action::KubernetesAction;

use super::contract::name_of_suspect;
use super::{NODE, Subject, emulator, writes};
use crate::control_plane::ControlPlane;

const SUSPECT: &str = "pod shop/cart-7d4b9c6f5-x2x9q";

#[tokio::test]
async fn pods_are_redeployed_on_the_emulator() {
    let (emulator, client) = emulator().await;
    redeploys(client, NODE).await;
    emulator.stop().await;
}

#[tokio::test]
async fn pods_are_redeployed_on_a_real_control_plane() {
    let Some(plane) = ControlPlane::start_with(&World::compromised(), &[]) else { return };
    redeploys(plane.client(plane.context()).await, plane.node(NODE)).await;
}

fn delete(subject: &Subject, grace_s: u32) -> KubernetesAction {
    KubernetesAction::DeletePod { pod: subject.facts.suspect.as_ref().unwrap().pod.clone(), grace_s, waiver: None }
}

/// A pod of a Deployment, of a StatefulSet, of a DaemonSet, and one of nobody.
async fn redeploys(client: Client, node: &str) {
    let cart = name_of_suspect(&client, node).await;
    let daemon = Subject::of(client.clone(), &format!("node {node}")).await.facts.pods.into_iter();
    let daemon = daemon.map(|pod| pod.pod).find(|pod| pod.name.as_str().starts_with("fluentbit-gke-")).unwrap();
    for (target, replacement) in [
        (format!("pod shop/{cart}"), Some("ReplicaSet cart-")),
        ("pod shop/orders-0".to_owned(), Some("StatefulSet orders replaced it by orders-0")),
        (format!("pod {daemon}"), Some("DaemonSet fluentbit-gke replaced it by fluentbit-gke-")),
        ("pod shop/one-off".to_owned(), None),
    ] {
        let subject = Subject::of(client.clone(), &target).await;
        let action = delete(&subject, 1);
        assert_eq!(subject.observe(&action).await, Observation::NotInPlace, "{target}");
        let receipt = subject.succeeds(&action).await;
        assert!(!receipt.already_so && receipt.summary.ends_with(" is gone"), "{receipt:?}");
        let [detail] = receipt.details.as_slice() else { panic!("{receipt:?}") };
        match replacement {
            Some(words) => assert!(detail.starts_with(words) && detail.contains(" replaced it by "), "{detail}"),
            None => assert_eq!(detail, "it had no owner: nothing replaces it"),
        }
        assert!(matches!(subject.observe(&action).await, Observation::InPlace(_)), "{target}");
        // A namesake is another pod: it is left alone.
        let again = subject.perform(&action).await;
        let Outcome::Succeeded(receipt) = again.outcome else { panic!("{target}: {:?}", again.outcome) };
        assert!(receipt.already_so && again.calls.iter().all(|call| call.method.starts_with("GET")), "{:?}", again.calls);
    }
}

async fn suspect() -> (KubernetesEmulator, Subject) {
    let (emulator, client) = emulator().await;
    let subject = Subject::of(client, SUSPECT).await;
    (emulator, subject)
}

#[tokio::test]
async fn a_namesake_is_not_deleted() {
    let (emulator, subject) = suspect().await;
    emulator.recreate_pod("shop", "cart-7d4b9c6f5-x2x9q").unwrap();
    assert!(subject.succeeds(&delete(&subject, 1)).await.already_so);
    assert_eq!(writes(&emulator), Vec::<String>::new());
    emulator.stop().await;
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_is_observed() {
    let (emulator, subject) = suspect().await;
    let action = delete(&subject, 1);
    let lost = FaultRule { method: Some(Method::DELETE), uri_contains: "/pods/".into(), skip: 0, times: 1, fault: Fault::ResetAfter };
    emulator.wire().inject(lost);
    assert!(matches!(subject.perform(&action).await.outcome, Outcome::Unknown(_)));
    // Within a moment it is gone; until then it is ending, and nothing is repeated.
    while let Observation::Unclear(_) = subject.observe(&action).await {
        tokio::task::yield_now().await;
    }
    assert!(matches!(subject.observe(&action).await, Observation::InPlace(_)));
    assert_eq!(writes(&emulator).len(), 1);
    emulator.stop().await;
}

#[tokio::test]
async fn a_deletion_on_a_node_that_does_not_answer_is_accepted_and_told() {
    let (emulator, subject) = suspect().await;
    emulator.set_node_unreachable(NODE).unwrap();
    let receipt = subject.succeeds(&delete(&subject, 1)).await;
    assert_eq!(
        receipt.summary,
        "pod shop/cart-7d4b9c6f5-x2x9q is deleted; it ends when node gke-sandbox-public-1a2b3c4d-x7k2, which does not answer, is back"
    );
    assert!(subject.succeeds(&delete(&subject, 1)).await.already_so);
    assert_eq!(writes(&emulator).len(), 1, "nothing is forced");
    emulator.stop().await;
}

/// A finalizer holds the pod, so that it is still ending when Stanch comes.
#[tokio::test]
async fn a_pod_that_somebody_gave_more_patience_is_deleted_again() {
    let (emulator, client) = emulator().await;
    let subject = Subject::of(client.clone(), SUSPECT).await;
    let pods: Api<Pod> = Api::namespaced(client, "shop");
    let name = "cart-7d4b9c6f5-x2x9q";
    let finalizers = |list: serde_json::Value| Patch::Merge(json!({ "metadata": { "finalizers": list } }));
    pods.patch(name, &Default::default(), &finalizers(json!(["example.com/hold"]))).await.unwrap();
    pods.delete(name, &DeleteParams { grace_period_seconds: Some(600), ..Default::default() }).await.unwrap();
    let action = delete(&subject, 1);
    let deletions = || writes(&emulator).iter().filter(|call| call.starts_with("DELETE")).count();
    let let_go = async {
        while deletions() < 2 {
            tokio::task::yield_now().await;
        }
        pods.patch(name, &Default::default(), &finalizers(json!(null))).await.unwrap();
    };
    let (receipt, ()) = tokio::join!(subject.succeeds(&action), let_go);
    assert!(!receipt.already_so && receipt.summary.ends_with(" is gone"), "{receipt:?}");
    assert_eq!(deletions(), 2);
    emulator.stop().await;
}
