//! Goal: kube-rs works as the production adapter uses it. Method: its typed API against the emulator.

use futures::{StreamExt as _, TryStreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Config};
use serde_json::json;

use super::{Cluster, NODE, SUSPECT};

async fn client(cluster: &Cluster) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(&cluster.emulator.kubeconfig()).unwrap();
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions { context: Some("sandbox".into()), ..Default::default() })
            .await
            .unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.reason.clone()),
        other => panic!("{other}"),
    }
}

fn eviction(pod: &str, uid: &str) -> Eviction {
    serde_json::from_value(json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod, "namespace": "shop" },
        "deleteOptions": { "preconditions": { "uid": uid } },
    }))
    .unwrap()
}

#[tokio::test]
async fn evictions_carry_the_uid() {
    let cluster = Cluster::start().await;
    let pods: Api<Pod> = Api::namespaced(client(&cluster).await, "shop");
    let uid = cluster.uid("one-off");
    let evict = async |uid: &str| {
        pods.create_subresource::<Eviction, Status>("eviction", "one-off", &PostParams::default(), &eviction("one-off", uid)).await
    };
    assert_eq!(refusal(evict("wrong").await), (409, "Conflict".into()));
    cluster.emulator.refuse_evictions(1, 1);
    assert_eq!(refusal(evict(&uid).await).0, 429);
    evict(&uid).await.unwrap();
    await_condition(pods.clone(), "one-off", is_deleted(&uid)).await.unwrap();
    assert!(pods.get_opt("one-off").await.unwrap().is_none());
    cluster.done().await;
}

#[tokio::test]
async fn metadata_is_patched_under_a_version() {
    let cluster = Cluster::start().await;
    let client = client(&cluster).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let node = nodes.get_metadata(NODE).await.unwrap();
    let version = node.metadata.resource_version.clone().unwrap();
    let patch =
        json!({ "metadata": { "resourceVersion": version, "uid": node.metadata.uid, "annotations": { "example.com/incident": "INC-1" } } });
    let patched = nodes.patch_metadata(NODE, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(patched.metadata.annotations.unwrap()["example.com/incident"], "INC-1");
    let again = json!({ "metadata": { "resourceVersion": version, "annotations": { "example.com/incident": "INC-2" } } });
    assert_eq!(refusal(nodes.patch_metadata(NODE, &PatchParams::default(), &Patch::Merge(&again)).await), (409, "Conflict".into()));
    let wrong_uid = json!({ "metadata": { "uid": "wrong", "labels": { "a": "b" } } });
    assert_eq!(refusal(nodes.patch_metadata(NODE, &PatchParams::default(), &Patch::Merge(&wrong_uid)).await), (422, "Invalid".into()));
    nodes.cordon(NODE).await.unwrap();
    assert_eq!(nodes.get(NODE).await.unwrap().spec.unwrap().unschedulable, Some(true));

    let pods: Api<Pod> = Api::all(client);
    let on_node = pods.list_metadata(&ListParams::default().fields(&format!("spec.nodeName={NODE}")).limit(3)).await.unwrap();
    assert_eq!((on_node.items.len(), on_node.metadata.continue_.is_some()), (3, true));
    cluster.done().await;
}

#[tokio::test]
async fn deletes_carry_preconditions() {
    let cluster = Cluster::start().await;
    let pods: Api<Pod> = Api::namespaced(client(&cluster).await, "shop");
    let pod = pods.get(SUSPECT).await.unwrap();
    let under = |uid: Option<String>, resource_version: Option<String>| {
        DeleteParams::default().preconditions(Preconditions { uid, resource_version })
    };
    let is_conflict = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.is_conflict());
    assert!(is_conflict(&pods.delete(SUSPECT, &under(Some("wrong".into()), None)).await.unwrap_err()));
    assert!(is_conflict(&pods.delete(SUSPECT, &under(None, Some("1".into()))).await.unwrap_err()));
    let right = under(pod.metadata.uid.clone(), pod.metadata.resource_version.clone());
    let deleted = pods.delete(SUSPECT, &right).await.unwrap();
    assert!(deleted.left().unwrap().metadata.deletion_timestamp.is_some());
    await_condition(pods, SUSPECT, is_deleted(&pod.metadata.uid.unwrap())).await.unwrap();
    cluster.done().await;
}

#[tokio::test]
async fn watches_lists_and_logs() {
    let cluster = Cluster::start().await;
    let client = client(&cluster).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "shop");
    let version = pods.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let watch = pods.watch(&WatchParams::default().labels("quarantine").timeout(20), &version).await.unwrap();
    pin_mut!(watch);
    pods.patch(SUSPECT, &PatchParams::default(), &Patch::Merge(json!({ "metadata": { "labels": { "quarantine": "true" } } })))
        .await
        .unwrap();
    match watch.try_next().await.unwrap().unwrap() {
        WatchEvent::Added(pod) => assert_eq!(pod.metadata.name.as_deref(), Some(SUSPECT)),
        other => panic!("{other:?}"),
    }
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let stream = watcher(pods.clone(), config.labels("app=cart")).applied_objects().take(2);
        let mut names: Vec<String> = stream.map_ok(|pod| pod.metadata.name.unwrap()).try_collect().await.unwrap();
        names.sort();
        assert_eq!(names, ["cart-7d4b9c6f5-b8n5z", SUSPECT]);
    }
    let logs = pods.logs(SUSPECT, &LogParams { tail_lines: Some(1), ..LogParams::default() }).await.unwrap();
    assert!(logs.contains("xmrig"), "{logs}");

    let policies: Api<NetworkPolicy> = Api::namespaced(client, "shop");
    let policy: NetworkPolicy = serde_json::from_value(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "quarantine" },
        "spec": { "podSelector": { "matchLabels": { "quarantine": "true" } } },
    }))
    .unwrap();
    let created = policies.create(&PostParams::default(), &policy).await.unwrap();
    assert_eq!(created.spec.unwrap().policy_types, Some(vec!["Ingress".into()]));
    assert_eq!(refusal(policies.create(&PostParams::default(), &policy).await), (409, "AlreadyExists".into()));
    cluster.done().await;
}
