//! What the adapters rely on, asked of the real thing. They are the facts that preconditions rest on, so that a new Kubernetes
//! release that changes one is noticed here first.

use std::future::Future;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use stanch::sandbox::world::{WorkloadKind, World};

use super::ControlPlane;

const SUSPECT_NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test]
async fn a_real_control_plane_does_what_the_adapters_expect() {
    let Some(plane) = ControlPlane::start() else { return };
    let client = plane.client(plane.context()).await;
    assert_looks_like(&plane, &client, &World::compromised()).await;
    eviction_of_a_namesake_conflicts(&plane, &client).await;
    a_patch_for_a_namesake_is_refused(&plane, &client).await;
    a_budget_refuses_with_its_own_cause(&plane, &client).await;
    an_evicted_pod_is_replaced_off_the_cordoned_node(&plane, &client).await;
    the_bot_may_nothing_by_itself(&plane).await;
}

/// Nodes are ready and open, and each pod of `world` runs where it belongs.
pub(super) async fn assert_looks_like(plane: &ControlPlane, client: &Client, world: &World) {
    let nodes: Api<Node> = Api::all(client.clone());
    for wanted in &world.nodes {
        let node = nodes.get(plane.node(&wanted.name)).await.unwrap();
        let (spec, status) = (node.spec.clone().unwrap(), node.status.clone().unwrap());
        let ready = status.conditions.unwrap().iter().any(|c| c.type_ == "Ready" && c.status == "True");
        assert_eq!((ready, spec.unschedulable.unwrap_or_default(), spec.taints), (true, false, None), "{}", wanted.name);
        if plane.is_ours() {
            let id = node.annotations().get("container.googleapis.com/instance_id").cloned();
            let provider = format!("gce://{}/{}/{}", world.project, world.zone, wanted.name);
            assert_eq!((id, spec.provider_id), (Some(wanted.instance_id.to_string()), Some(provider)));
        }
    }
    let mut wanted = Vec::new();
    // The kubelets of another cluster know of no such static pod.
    for workload in world.workloads.iter().filter(|w| plane.is_ours() || w.kind != WorkloadKind::Mirror) {
        for (_, node) in &workload.pods {
            wanted.push((workload.namespace.clone(), workload.name.clone(), plane.node(node).to_owned(), Some("Running".to_owned())));
        }
    }
    let mut found = Vec::new();
    for pod in Api::<Pod>::all(client.clone()).list(&ListParams::default().labels("app")).await.unwrap() {
        let app = pod.labels().get("app").cloned().unwrap();
        found.push((pod.namespace().unwrap(), app, node_of(&pod), pod.status.clone().unwrap().phase));
        if plane.is_ours() {
            let container = pod.status.unwrap().container_statuses.unwrap().remove(0);
            assert!(container.ready && container.image_id.contains("@sha256:"), "{container:?}");
        }
    }
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
}

async fn eviction_of_a_namesake_conflicts(plane: &ControlPlane, client: &Client) {
    let pod = pod_of(plane, client, "search").await;
    let refused = evict(client, &pod, NOBODY).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (409, "Conflict"));
    let still = pod_of(plane, client, "search").await;
    assert_eq!((still.uid(), still.metadata.deletion_timestamp), (pod.uid(), None));
}

async fn a_patch_for_a_namesake_is_refused(plane: &ControlPlane, client: &Client) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "shop");
    let suspect = pod_of(plane, client, "cart").await;
    let label = |uid: &str| Patch::Merge(json!({ "metadata": { "uid": uid, "labels": { "quarantine": "true" } } }));
    let refused = status(pods.patch(&suspect.name_any(), &PatchParams::default(), &label(NOBODY)).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"));
    assert_eq!(pod_of(plane, client, "cart").await.labels(), suspect.labels());
    let labelled = pods.patch(&suspect.name_any(), &PatchParams::default(), &label(&suspect.uid().unwrap())).await.unwrap();
    assert_eq!(labelled.labels().get("quarantine").map(String::as_str), Some("true"));
}

async fn a_budget_refuses_with_its_own_cause(plane: &ControlPlane, client: &Client) {
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), "shop");
    set_budget(&budgets, 2, 0).await;
    let pod = pod_of(plane, client, "checkout").await;
    let refused = evict(client, &pod, &pod.uid().unwrap()).await.unwrap_err();
    let causes: Vec<String> = refused.details.unwrap().causes.into_iter().map(|cause| cause.reason).collect();
    assert_eq!((refused.code, causes), (429, vec!["DisruptionBudget".to_owned()]));
    set_budget(&budgets, 1, 1).await;
}

async fn an_evicted_pod_is_replaced_off_the_cordoned_node(plane: &ControlPlane, client: &Client) {
    let node = plane.node(SUSPECT_NODE);
    cordon(client, node, true).await;
    let pod = pod_of(plane, client, "search").await;
    evict(client, &pod, &pod.uid().unwrap()).await.unwrap();
    let replacement = replacement_of(client, &pod).await;
    assert_ne!(node_of(&replacement), node);
    gone(client, &pod).await;
    cordon(client, node, false).await;
}

async fn the_bot_may_nothing_by_itself(plane: &ControlPlane) {
    let Some(context) = plane.bot_context() else { return };
    let pods: Api<Pod> = Api::all(plane.client(context).await);
    let refused = status(pods.list(&ListParams::default()).await.unwrap_err());
    assert_eq!((refused.code, refused.message.contains("system:serviceaccount:stanch:stanch")), (403, true), "{}", refused.message);
}

// === helpers ===

/// The pod of an app on the suspect's node.
pub(super) async fn pod_of(plane: &ControlPlane, client: &Client, app: &str) -> Pod {
    let filter = ListParams::default().labels(&format!("app={app}")).fields(&format!("spec.nodeName={}", plane.node(SUSPECT_NODE)));
    let mut pods = Api::<Pod>::all(client.clone()).list(&filter).await.unwrap().items;
    assert_eq!(pods.len(), 1, "pods of {app}");
    pods.remove(0)
}

/// Evicts a pod if it has this uid.
pub(super) async fn evict(client: &Client, pod: &Pod, uid: &str) -> Result<(), Box<Status>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
    let eviction = Eviction {
        metadata: ObjectMeta { name: pod.metadata.name.clone(), ..ObjectMeta::default() },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteOptions::default()
        }),
    };
    // `Api::evict` would send the options under a name that the server does not know.
    let answer = pods.create_subresource::<Eviction, Value>("eviction", &pod.name_any(), &PostParams::default(), &eviction).await;
    answer.map(|_| ()).map_err(status)
}

/// Waits for the running pod that a controller made in place of `pod`, which was the only one of its app.
pub(super) async fn replacement_of(client: &Client, pod: &Pod) -> Pod {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
    let filter = ListParams::default().labels(&format!("app={}", pod.labels()["app"]));
    eventually("a replacement", async || {
        let all = pods.list(&filter).await.unwrap().items;
        all.into_iter().find(|other| {
            let running = other.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
            running && other.uid() != pod.uid()
        })
    })
    .await
}

/// Waits until a pod is gone.
pub(super) async fn gone(client: &Client, pod: &Pod) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
    eventually("the end of the pod", async || {
        let now = pods.get_opt(&pod.name_any()).await.unwrap();
        now.is_none_or(|other| other.uid() != pod.uid()).then_some(())
    })
    .await;
}

/// Asks until there is an answer.
pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    // Not a claim about speed: whatever is waited for takes seconds, and a machine can be busy.
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) fn status(error: kube::Error) -> Box<Status> {
    match error {
        kube::Error::Api(status) => status,
        other => panic!("not an answer of the server: {other}"),
    }
}

fn node_of(pod: &Pod) -> String {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default()
}

async fn cordon(client: &Client, node: &str, on: bool) {
    let patch = Patch::Merge(json!({ "spec": { "unschedulable": on } }));
    Api::<Node>::all(client.clone()).patch(node, &PatchParams::default(), &patch).await.unwrap();
}

/// Changes the budget of `checkout`, and waits until its controller has computed how many disruptions it allows.
async fn set_budget(budgets: &Api<PodDisruptionBudget>, min_available: i32, allowed: i32) {
    let patch = Patch::Merge(json!({ "spec": { "minAvailable": min_available } }));
    let generation = budgets.patch("checkout", &PatchParams::default(), &patch).await.unwrap().metadata.generation;
    eventually("the budget", async || {
        let status = budgets.get("checkout").await.unwrap().status.unwrap();
        (status.observed_generation == generation && status.disruptions_allowed == allowed).then_some(())
    })
    .await;
}
