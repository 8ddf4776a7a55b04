//! The toleration guard, judged by the real taint-eviction controller: a suspect outlives the loss of its node, and who is not guarded does not.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use stanch::sandbox::world::World;
use stanch_commands::action::{Action, KubernetesAction};
use stanch_commands::definition::Does;
use stanch_commands::facts::{ClusterFacts, Facts, NoInstance};
use stanch_commands::plan::{Form, Plan};
use stanch_commands::{check, guard, parse};

use super::ControlPlane;
use super::contracts::eventually;
use super::lifecycle::reach;
use crate::kubernetes_adapter::Subject;
use crate::plans::context;

const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// The suspect is guarded before its node is lost, a late one after the taint is there. Both would be deleted before the neighbour is, which
/// tolerates the taint the longest and is not guarded: once that one is, the others were spared and not merely forgotten.
#[tokio::test]
async fn a_guarded_suspect_outlives_its_node() {
    let Some(plane) = ControlPlane::start_with(&World::compromised(), &["--taint-eviction"]) else { return };
    let client = plane.client(plane.context()).await;
    let node = plane.node(NODE).to_owned();
    for (name, seconds) in [("suspect", 2), ("unguarded", 2), ("late", 12), ("neighbour", 16)] {
        create(&client, name, &node, seconds).await;
    }

    let suspect = Subject::of(client.clone(), "pod shop/suspect").await;
    let plan = isolation(&suspect);
    for (_, step) in plan.steps() {
        match &step.action {
            // There is no kubelet to read logs from.
            Action::Kubernetes(KubernetesAction::CollectEvidence { .. }) | Action::Compute(_) | Action::Ssh(_) => {}
            Action::Kubernetes(action) => drop(suspect.succeeds(action).await),
        }
    }
    let guarded = get(&client, "suspect").await;
    assert_as_planned(&plan, &guarded);

    reach(&client, &node, false).await;
    eventually("the taint", async || is_tainted(&client, &node).await.then_some(())).await;
    eventually("the deletion of the unguarded pod", async || is_ending(&client, "unguarded").await.then_some(())).await;
    let late = Subject::of(client.clone(), "pod shop/late").await;
    late.succeeds(&KubernetesAction::KeepWhileUnreachable(late.facts.suspect.clone().unwrap().pod)).await;
    eventually("the deletion of the neighbour", async || is_ending(&client, "neighbour").await.then_some(())).await;

    for name in ["suspect", "late"] {
        let pod = get(&client, name).await;
        assert_eq!(pod.metadata.deletion_timestamp, None, "{name} was evicted");
    }
    let still = get(&client, "suspect").await;
    assert_eq!(still.uid(), guarded.uid());
    assert_as_planned(&plan, &still);
    reach(&client, &node, true).await;
}

/// `isolate-pod`, planned on what the adapter found.
fn isolation(suspect: &Subject) -> Plan {
    let cluster = ClusterFacts {
        name: "sandbox".parse().unwrap(),
        project: "sandbox-project".parse().unwrap(),
        location: "us-central1-a".parse().unwrap(),
    };
    let facts =
        Facts { surveyed_at: Timestamp::UNIX_EPOCH, cluster, kubernetes: suspect.facts.clone(), compute: Err(NoInstance::Autopilot) };
    let line = "isolate-pod pod shop/suspect incident:inc-42";
    let (does, context) = context(line, Form::Strict);
    let Does::Mitigate(planner) = does else { panic!("it makes no plan") };
    check::checked(guard::planned(parse::parse(line).unwrap().definition, planner, &facts, &context).unwrap()).unwrap()
}

/// Labels, annotations and tolerations are those that the plan says.
fn assert_as_planned(plan: &Plan, pod: &Pod) {
    let (set, remove) = plan
        .steps()
        .find_map(|(_, step)| match &step.action {
            Action::Kubernetes(KubernetesAction::LabelPod { set, remove, .. }) => Some((set.clone(), remove.clone())),
            Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
        })
        .unwrap();
    assert!(remove.contains("app"), "{remove:?}");
    // Kubernetes adds the zone's labels by itself.
    let labels: BTreeMap<_, _> = pod.labels().clone().into_iter().filter(|(key, _)| !key.starts_with("topology.kubernetes.io/")).collect();
    assert_eq!(labels, set);
    let original: Value = serde_json::from_str(&pod.annotations()["stanch.dev/original-labels"]).unwrap();
    assert_eq!(original["app"], json!("cart"));
    assert_eq!(pod.annotations()["cluster-autoscaler.kubernetes.io/safe-to-evict"], "false");
    let tolerations = pod.spec.as_ref().unwrap().tolerations.clone().unwrap_or_default();
    let tolerated = tolerations.iter().find(|toleration| toleration.key.as_deref() == Some(UNREACHABLE)).unwrap();
    assert_eq!(tolerated.toleration_seconds, None, "{tolerated:?}");
}

/// A pod without an owner, so that nothing but the eviction deletes it.
async fn create(client: &Client, name: &str, node: &str, tolerated_s: i64) {
    let tolerated = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": tolerated_s });
    let pod = json!({
        "metadata": { "name": name, "labels": { "app": "cart" } },
        "spec": {
            "nodeName": node,
            "containers": [{ "name": "main", "image": "registry.k8s.io/pause:3.10" }],
            "tolerations": [tolerated(UNREACHABLE), tolerated("node.kubernetes.io/not-ready")],
            "terminationGracePeriodSeconds": 1,
        },
    });
    let pods: Api<Pod> = Api::namespaced(client.clone(), "shop");
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    eventually("the start of the pod", async || {
        let phase = get(client, name).await.status?.phase?;
        (phase == "Running").then_some(())
    })
    .await;
}

async fn get(client: &Client, name: &str) -> Pod {
    Api::<Pod>::namespaced(client.clone(), "shop").get(name).await.unwrap()
}

/// It is deleted, or is being deleted: no kubelet answers there, so that it may stay Terminating.
async fn is_ending(client: &Client, name: &str) -> bool {
    let found = Api::<Pod>::namespaced(client.clone(), "shop").get_opt(name).await.unwrap();
    found.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
}

async fn is_tainted(client: &Client, node: &str) -> bool {
    let taints = Api::<Node>::all(client.clone()).get(node).await.unwrap().spec.unwrap().taints.unwrap_or_default();
    taints.iter().any(|taint| taint.key == UNREACHABLE && taint.effect == "NoExecute")
}
