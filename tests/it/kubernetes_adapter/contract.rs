//! What holds on every cluster.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use stanch::core::step::{Observation, Outcome};
use stanch::sandbox::world::World;
use stanch_commands::action::KubernetesAction;
use stanch_commands::prior::{NodePrior, Prior};

use super::{NODE, Subject, emulator};
use crate::control_plane::ControlPlane;

#[tokio::test]
async fn the_contract_holds_on_the_emulator() {
    let (emulator, client) = emulator().await;
    contract(client, NODE).await;
    emulator.stop().await;
}

#[tokio::test]
async fn the_contract_holds_on_a_real_control_plane() {
    let Some(plane) = ControlPlane::start_with(&World::compromised(), &[]) else { return };
    contract(plane.client(plane.context()).await, plane.node(NODE)).await;
}

/// The Kubernetes side of a quarantine, step by step, each once and once more.
pub async fn contract(client: Client, node_name: &str) {
    let suspect_name = name_of_suspect(&client, node_name).await;
    let subject = Subject::of(client.clone(), &format!("pod shop/{suspect_name}")).await;
    surveys(&subject, node_name);
    let node = subject.facts.node.node.clone();
    let suspect = subject.facts.suspect.clone().unwrap();
    let pod = suspect.pod.clone();

    let saved = subject.succeeds(&KubernetesAction::CapturePriorState { node: node.clone(), suspects: vec![pod.clone()] }).await;
    let Some(Prior::Node(prior)) = saved.prior else { panic!("{:?}", saved.prior) };
    assert!(!prior.unschedulable);
    let label = prior.suspects.first().and_then(|suspect| suspect.labels.get("app"));
    assert_eq!(label.map(String::as_str), Some("cart"));

    evidence(&subject).await;

    let labels = BTreeMap::from([("quarantine".to_owned(), "true".to_owned()), ("stanch.dev/quarantine".into(), pod.uid.to_string())]);
    let remove: BTreeSet<String> = BTreeSet::from(["app".into(), "pod-template-hash".into()]);
    for action in [
        KubernetesAction::Cordon(node.clone()),
        KubernetesAction::DisableScaleDown(node.clone()),
        KubernetesAction::KeepWhileUnreachable(pod.clone()),
        KubernetesAction::DenyPodTraffic(pod.clone()),
        KubernetesAction::LabelPod { pod: pod.clone(), set: labels.clone(), remove },
        KubernetesAction::ExcludeFromLoadBalancers(node.clone()),
    ] {
        once_and_again(&subject, &action).await;
    }
    drains_and_verifies(&subject, &labels).await;

    released(&subject, *prior).await;
}

/// What a release with --false-alarm does on this side; the owner adopts the suspect again, and the labels are those of before.
async fn released(subject: &Subject, prior: NodePrior) {
    let node = prior.node;
    let suspect = prior.suspects.into_iter().next().unwrap();
    let remove = BTreeSet::from(["quarantine".to_owned(), "stanch.dev/quarantine".to_owned()]);
    for action in [
        KubernetesAction::IncludeInLoadBalancers(node.clone()),
        KubernetesAction::AllowScaleDown(node.clone()),
        KubernetesAction::RestorePod { prior: Box::new(suspect.clone()), remove },
        KubernetesAction::AllowPodTraffic(suspect.pod.clone()),
        KubernetesAction::Uncordon(node.clone()),
    ] {
        once_and_again(subject, &action).await;
    }
    let again = subject.succeeds(&KubernetesAction::CapturePriorState { node, suspects: vec![suspect.pod.clone()] }).await;
    let Some(Prior::Node(now)) = again.prior else { panic!("{:?}", again.prior) };
    assert!(!now.unschedulable && now.annotations.is_empty() && now.labels.is_empty(), "{now:?}");
    assert_eq!(now.suspects, vec![suspect]);
}

/// A change: not there, made, seen, and made again without a write.
async fn once_and_again(subject: &Subject, action: &KubernetesAction) {
    assert_eq!(subject.observe(action).await, Observation::NotInPlace, "{action:?}");
    let performed = subject.perform(action).await;
    let Outcome::Succeeded(receipt) = &performed.outcome else { panic!("{action:?}: {performed:?}") };
    assert!(!receipt.already_so && !receipt.summary.is_empty(), "{receipt:?}");
    assert!(performed.calls.iter().any(|call| !call.method.starts_with("GET") && call.status.is_some()), "{:?}", performed.calls);
    let Observation::InPlace(_) = subject.observe(action).await else { panic!("{action:?} is not observed") };
    let again = subject.perform(action).await;
    let Outcome::Succeeded(receipt) = again.outcome else { panic!("{action:?}: {:?}", again.outcome) };
    assert!(receipt.already_so, "{action:?}");
    assert!(again.calls.iter().all(|call| call.method.starts_with("GET")), "{:?}", again.calls);
}

/// On a cluster of somebody else the suspect's pod has a name of its own.
pub(super) async fn name_of_suspect(client: &Client, node: &str) -> String {
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::namespaced(client.clone(), "shop");
    let list = kube::api::ListParams::default().labels("app=cart").fields(&format!("spec.nodeName={node}"));
    pods.list(&list).await.unwrap().items.into_iter().next().unwrap().metadata.name.unwrap()
}

fn surveys(subject: &Subject, node_name: &str) {
    let facts = &subject.facts;
    let suspect = facts.suspect.as_ref().unwrap();
    assert_eq!(facts.node.node.name.as_str(), node_name);
    assert!(facts.node.ready && !facts.node.unschedulable && !facts.node.autopilot);
    assert_eq!(suspect.owner.as_ref().unwrap().kind, "ReplicaSet");
    assert!(suspect.owner_selector.contains("app"), "{:?}", suspect.owner_selector);
    assert!(suspect.deleted_when_unreachable);
    assert_eq!(facts.services.keys().collect::<Vec<_>>(), ["shop/cart"]);
    assert_eq!(facts.other_schedulable_nodes, 2);
    let owners: BTreeSet<&str> = facts.pods.iter().map(|pod| pod.owner.as_ref().map_or("none", |owner| owner.kind.as_str())).collect();
    assert!(owners.is_superset(&["DaemonSet", "ReplicaSet", "StatefulSet", "none"].into()), "{owners:?}");
    let search = facts.pods.iter().find(|pod| pod.labels.get("app").is_some_and(|app| app == "search")).unwrap();
    assert_eq!(search.empty_dirs.len(), 1);
    let budget = facts.budgets.iter().find(|budget| budget.name == "checkout").unwrap();
    assert_eq!((budget.disruptions_allowed, budget.covers.len()), (1, 1));
}

async fn evidence(subject: &Subject) {
    let suspects = vec![subject.facts.suspect.as_ref().unwrap().pod.clone()];
    let collect = KubernetesAction::CollectEvidence { node: subject.facts.node.node.clone(), suspects };
    let performed = subject.perform(&collect).await;
    let Outcome::Succeeded(receipt) = &performed.outcome else { panic!("{performed:?}") };
    let paths: Vec<&str> = performed.artefacts.iter().map(|file| file.path.as_str()).collect();
    for ending in [
        "node.json",
        "pods-on-node.json",
        "/pod.json",
        "/events.json",
        "/secret-names.json",
        "/network-policies.json",
        "/images.json",
        "/identity.json",
    ] {
        assert!(paths.iter().any(|path| path.ends_with(ending)), "{ending} is not among {paths:?}; missing: {:?}", receipt.details);
    }
    // A control plane without kubelets has no logs, and makes service accounts when it comes to it: what is missing is named.
    for ending in ["/service-account.json", ".log"] {
        let named = receipt.details.iter().any(|line| line.contains(&format!("{ending}: ")));
        assert!(named || paths.iter().any(|path| path.ends_with(ending)), "{ending}: {paths:?}; missing: {:?}", receipt.details);
    }
    assert!(paths.iter().any(|path| path.contains("/owners/deployment-")), "{paths:?}");
    assert!(performed.calls.iter().all(|call| call.method.starts_with("GET")), "evidence only reads");
}

async fn drains_and_verifies(subject: &Subject, labels: &BTreeMap<String, String>) {
    let suspect = subject.facts.suspect.as_ref().unwrap().pod.clone();
    let drain = subject.drain(90);
    let expected = drain.expected.len();
    let action = KubernetesAction::Drain(drain);
    assert_eq!(subject.observe(&action).await, Observation::NotInPlace);
    let receipt = subject.succeeds(&action).await;
    assert_eq!(receipt.details.iter().filter(|line| line.starts_with("evicted ")).count(), expected, "{receipt:?}");
    assert!(subject.succeeds(&action).await.already_so);
    let verify = KubernetesAction::VerifyNode { node: subject.facts.node.node.clone(), suspects: vec![(suspect, labels.clone())] };
    let receipt = subject.succeeds(&verify).await;
    assert_eq!(receipt.details, Vec::<String>::new(), "{}", receipt.summary);
}
