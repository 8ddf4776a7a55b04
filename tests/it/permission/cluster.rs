//! The Kubernetes side: exactly the stated rights, and none of them in vain.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use stanch::adapters::kubernetes::KubernetesCluster;
use stanch::core::step::Outcome;
use stanch::ports::{Actuator as _, SurveyError, Surveyor as _};
use stanch::sandbox::kubernetes::KubernetesEmulator;
use stanch::sandbox::world::World;
use stanch_commands::action::{Drain, KubernetesAction};
use stanch_commands::facts::KubernetesFacts;
use stanch_commands::permission::{ClusterRight, Entry, KUBERNETES, SURVEYS};
use stanch_commands::target::TargetName;

use crate::kubernetes_adapter::emulator;
use crate::support::licensed;

const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";

/// Every pod of the node as the suspect, so that every kind of owner is looked at.
const TARGETS: &[&str] = &["pod shop/cart-7d4b9c6f5-x2x9q", "pod cart-7d4b9c6f5-x2x9q", "node gke-sandbox-public-1a2b3c4d-x7k2"];

async fn started() -> (KubernetesEmulator, KubernetesCluster) {
    let (emulator, client): (KubernetesEmulator, Client) = emulator().await;
    (emulator, KubernetesCluster::new(client))
}

fn grant(emulator: &KubernetesEmulator, rights: &BTreeSet<ClusterRight>) {
    emulator.grant_only(rights.iter().map(|right| (right.group, right.resource, right.verb)));
}

fn target(text: &str) -> TargetName {
    stanch_commands::parse::parse(&format!("locate {text}")).unwrap().arguments.target.unwrap()
}

/// One of each variant, in an order in which a fresh cluster takes them. A variant that is missing here fails `every_action_is_tried`.
fn every_action(facts: &KubernetesFacts) -> Vec<KubernetesAction> {
    let (node, suspect) = (facts.node.node.clone(), facts.suspect.clone().unwrap().pod);
    let label = BTreeMap::from([("stanch.dev/quarantine".to_owned(), suspect.uid.to_string())]);
    let drain = Drain {
        node: node.clone(),
        spare: [suspect.uid.clone()].into(),
        protected_namespaces: BTreeSet::new(),
        expected: vec![],
        at_most: 100,
        deadline_s: 20,
    };
    vec![
        KubernetesAction::CapturePriorState { node: node.clone(), suspects: vec![suspect.clone()] },
        KubernetesAction::CollectEvidence { node: node.clone(), suspects: vec![suspect.clone()] },
        KubernetesAction::Cordon(node.clone()),
        KubernetesAction::DisableScaleDown(node.clone()),
        KubernetesAction::ExcludeFromLoadBalancers(node.clone()),
        KubernetesAction::KeepWhileUnreachable(suspect.clone()),
        KubernetesAction::DenyPodTraffic(suspect.clone()),
        KubernetesAction::LabelPod { pod: suspect.clone(), set: label.clone(), remove: BTreeSet::new() },
        KubernetesAction::Drain(drain),
        KubernetesAction::VerifyNode { node: node.clone(), suspects: vec![(suspect, label)] },
        KubernetesAction::Uncordon(node),
    ]
}
