//! Goal: the cluster reacts as a real one does to a containment. Method: act through the API and compare who runs where.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Cluster, NODE, OTHER, SUSPECT, node_uri, pod_uri};

const CART: &str = "shop/cart-7d4b9c6f5-";

async fn cordon(cluster: &Cluster, node: &str) {
    assert_eq!(cluster.merge(&node_uri(node), json!({ "spec": { "unschedulable": true } })).await.status, 200);
}

fn gone(name: &str) -> impl Fn(&Value) -> bool {
    let name = name.to_owned();
    move |state| state["pods"].get(&name).is_none()
}

#[tokio::test]
async fn an_evicted_pod_is_replaced_at_once_and_never_on_a_cordoned_node() {
    let cluster = Cluster::start().await;
    cordon(&cluster, NODE).await;
    assert_eq!(cluster.evict(SUSPECT, json!({})).await.status, 201);
    let pods = cluster.pods_like(CART);
    assert_eq!(pods.len(), 3, "{pods:?}");
    assert!(cluster.pods()[format!("shop/{SUSPECT}")]["terminating"].as_bool().unwrap());
    cluster.until("the evicted pod is gone", gone(&format!("shop/{SUSPECT}"))).await;
    assert!(cluster.pods_like(CART).iter().all(|(_, node)| node != NODE));
    cluster.done().await;
}

#[tokio::test]
async fn a_detached_pod_is_released_and_replaced_and_taken_back_with_its_labels() {
    let cluster = Cluster::start().await;
    cordon(&cluster, NODE).await;
    let relabel = json!({ "metadata": { "labels": { "app": "quarantined", "example.com/app": "cart" } } });
    assert_eq!(cluster.merge(&pod_uri(SUSPECT), relabel).await.status, 200);
    let suspect = cluster.pods()[format!("shop/{SUSPECT}")].clone();
    assert_eq!(suspect["owner"], Value::Null);
    let pods = cluster.pods_like(CART);
    assert_eq!(pods.len(), 3, "{pods:?}");
    let slice = cluster.get("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/cart-endpoints").await.body;
    let behind: Vec<&str> = slice["endpoints"].as_array().unwrap().iter().map(|e| e["targetRef"]["name"].as_str().unwrap()).collect();
    assert!(behind.len() == 2 && !behind.contains(&SUSPECT), "{behind:?}");
    let replacement = pods.into_iter().find(|(name, _)| !name.ends_with("x2x9q") && !name.ends_with("b8n5z")).unwrap().0;
    assert_eq!(cluster.merge(&pod_uri(SUSPECT), json!({ "metadata": { "labels": { "app": "cart" } } })).await.status, 200);
    cluster.until("the clean replacement is gone", gone(&replacement)).await;
    assert_eq!(cluster.pods()[format!("shop/{SUSPECT}")]["owner"], "ReplicaSet/cart-7d4b9c6f5");
    cluster.done().await;
}

#[tokio::test]
async fn daemon_and_mirror_pods_come_back_on_the_cordoned_node() {
    let cluster = Cluster::start().await;
    cordon(&cluster, NODE).await;
    let mirror = "kube-system/kube-proxy-gke-sandbox-public-1a2b3c4d-x7k2";
    let mirror_uid = cluster.pods()[mirror]["uid"].clone();
    for pod in ["fluentbit-gke-4hd8s", "kube-proxy-gke-sandbox-public-1a2b3c4d-x7k2"] {
        assert_eq!(cluster.delete(&format!("/api/v1/namespaces/kube-system/pods/{pod}"), json!({})).await.status, 200);
    }
    cluster.until("the daemon pod is gone", gone("kube-system/fluentbit-gke-4hd8s")).await;
    cluster
        .until("the mirror is another", |state| state["pods"][mirror]["uid"].is_string() && state["pods"][mirror]["uid"] != mirror_uid)
        .await;
    let daemons = cluster.pods_like("kube-system/fluentbit-gke-");
    assert!(daemons.len() == 3 && daemons.iter().any(|(_, node)| node == NODE), "{daemons:?}");
    cluster.done().await;
}

#[tokio::test]
async fn a_stateful_pod_waits_for_its_name_and_its_node() {
    let cluster = Cluster::start().await;
    cordon(&cluster, NODE).await;
    let uid = cluster.uid("orders-0");
    cluster.emulator.set_node_unreachable(NODE).unwrap();
    assert_eq!(cluster.evict("orders-0", json!({})).await.status, 201);
    cluster.emulator.elapse(Duration::from_secs(60));
    let waiting = cluster.pods()["shop/orders-0"].clone();
    assert_eq!((&waiting["terminating"], waiting["uid"].as_str()), (&json!(true), Some(uid.as_str())));
    cluster.emulator.set_node_ready(NODE).unwrap();
    cluster
        .until("its successor runs elsewhere", |state| {
            let pod = &state["pods"]["shop/orders-0"];
            pod["uid"].as_str().is_some_and(|new| new != uid) && pod["node"] != NODE && pod["phase"] == "Running"
        })
        .await;
    cluster.done().await;
}

#[tokio::test]
async fn an_unreachable_node_keeps_only_what_tolerates_it() {
    let cluster = Cluster::start().await;
    let tolerations: Vec<Value> = cluster.pods()[format!("shop/{SUSPECT}")]["tolerations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| json!({ "key": t["key"], "operator": t["operator"], "effect": t["effect"] }))
        .collect();
    cluster.emulator.set_node_unreachable(NODE).unwrap();
    cluster.emulator.elapse(Duration::from_secs(200));
    // Even now, with the eviction planned already, taking the limit away calls it off.
    assert_eq!(cluster.merge(&pod_uri(SUSPECT), json!({ "spec": { "tolerations": tolerations } })).await.status, 200);
    cluster.emulator.elapse(Duration::from_secs(200));
    let pods = cluster.pods();
    let terminating: Vec<(&str, bool)> = [SUSPECT, "one-off", "orders-0", "search-5b8d7f9c44-k6m2p"]
        .map(|pod| (pod, pods[format!("shop/{pod}")]["terminating"].as_bool().unwrap()))
        .into();
    assert_eq!(terminating, [(SUSPECT, false), ("one-off", true), ("orders-0", true), ("search-5b8d7f9c44-k6m2p", true)]);
    assert!(!pods["kube-system/fluentbit-gke-4hd8s"]["terminating"].as_bool().unwrap());
    assert!(cluster.pods_like("shop/search-").iter().any(|(_, node)| node != NODE));
    let refused = cluster.get(&format!("{}/log", pod_uri(SUSPECT))).await;
    assert_eq!((refused.status, &refused.body["reason"]), (500, &json!("InternalError")));
    cluster.done().await;
}

#[tokio::test]
async fn deleting_a_deployment_deletes_what_it_made() {
    let cluster = Cluster::start().await;
    let deployment = "/apis/apps/v1/namespaces/shop/deployments/cart";
    assert_eq!(cluster.delete(deployment, json!({ "propagationPolicy": "Background" })).await.status, 200);
    assert_eq!(cluster.get(deployment).await.status, 404);
    cluster.until("its pods are gone", |state| !state["pods"].as_object().unwrap().keys().any(|name| name.starts_with(CART))).await;
    assert_eq!(cluster.get("/apis/apps/v1/namespaces/shop/replicasets/cart-7d4b9c6f5").await.status, 404);

    let checkout = "/apis/apps/v1/namespaces/shop/deployments/checkout";
    assert_eq!(cluster.delete(checkout, json!({ "propagationPolicy": "Orphan" })).await.status, 200);
    assert_eq!(cluster.get("/apis/apps/v1/namespaces/shop/replicasets/checkout-66c9d8b7f5").await.status, 200);

    let search = "/apis/apps/v1/namespaces/shop/deployments/search";
    let foreground = cluster.delete(search, json!({ "propagationPolicy": "Foreground" })).await;
    assert_eq!(foreground.body["kind"], "Deployment");
    assert!(foreground.body["metadata"]["deletionTimestamp"].is_string());
    cluster
        .until("its pods are gone", |state| !state["pods"].as_object().unwrap().keys().any(|name| name.starts_with("shop/search-")))
        .await;
    assert_eq!(cluster.get(search).await.status, 404);
    cluster.done().await;
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_waits_for_an_uncordon() {
    let cluster = Cluster::start().await;
    for node in [NODE, OTHER, "gke-sandbox-private-5e6f7a8b-t3w1"] {
        cordon(&cluster, node).await;
    }
    cluster.emulator.delete_pod("shop", SUSPECT).unwrap();
    let waiting: Vec<_> = cluster.pods_like(CART).into_iter().filter(|(_, node)| node.is_empty()).collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!(cluster.merge(&node_uri(OTHER), json!({ "spec": { "unschedulable": null } })).await.status, 200);
    let pod = cluster.pods()[&waiting[0].0].clone();
    assert_eq!((&pod["node"], &pod["phase"]), (&json!(OTHER), &json!("Running")));
    cluster.done().await;
}

#[tokio::test]
async fn scenarios_can_fill_and_remove_a_node() {
    let cluster = Cluster::start().await;
    cordon(&cluster, NODE).await;
    let added = cluster.emulator.add_pods("shop", "late", NODE, 3).unwrap();
    assert!(added.iter().all(|pod| cluster.pods()[format!("shop/{pod}")]["node"] == NODE));
    cluster.emulator.set_logs("shop", &added[0], "one\ntwo\n").unwrap();
    assert_eq!(cluster.get(&format!("{}/log?tailLines=1", pod_uri(&added[0]))).await.text, "two\n");
    cluster.emulator.delete_node(NODE).unwrap();
    let state = cluster.emulator.snapshot_state();
    assert!(state["nodes"].get(NODE).is_none());
    assert!(!state["pods"].as_object().unwrap().values().any(|pod| pod["node"] == NODE));
    assert_eq!(cluster.pods_like("shop/late-").len(), 3);
    assert_eq!(cluster.emulator.delete_node(NODE).unwrap_err().to_string(), format!("the emulated cluster has no node `{NODE}`"));
    cluster.done().await;
}

#[tokio::test]
async fn the_same_requests_lead_to_the_same_state() {
    let mut ends = Vec::new();
    for _ in 0..2 {
        let cluster = Cluster::start().await;
        cordon(&cluster, NODE).await;
        for pod in [SUSPECT, "search-5b8d7f9c44-k6m2p", "one-off"] {
            assert_eq!(cluster.evict(pod, json!({})).await.status, 201);
        }
        cluster
            .until("all three are gone", |state| !state["pods"].as_object().unwrap().values().any(|pod| pod["terminating"] == true))
            .await;
        ends.push(cluster.emulator.snapshot_state());
        cluster.done().await;
    }
    assert_eq!(ends[0], ends[1]);
}

#[tokio::test]
async fn a_full_node_drains() {
    let cluster = Cluster::start().await;
    cordon(&cluster, NODE).await;
    let added = cluster.emulator.add_pods("shop", "batch", NODE, 100).unwrap();
    assert_eq!(
        cluster.emulator.add_pods("shop", "batch", NODE, 1).unwrap_err().to_string(),
        "the emulated cluster already has a workload `shop/batch`"
    );
    for pod in &added {
        assert_eq!(cluster.evict(pod, json!({})).await.status, 201);
    }
    cluster.until("all are elsewhere", |state| !added.iter().any(|pod| state["pods"].get(format!("shop/{pod}")).is_some())).await;
    let pods = cluster.pods_like("shop/batch-");
    assert!(pods.len() == 100 && pods.iter().all(|(_, node)| node != NODE), "{pods:?}");
    cluster.done().await;
}
