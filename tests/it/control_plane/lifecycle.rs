//! The control plane itself: what it leaves behind, what it refuses, and what its nodes do when they are cut off.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use stanch::sandbox::world::World;

use super::contracts::{assert_looks_like, eventually, evict, gone, pod_of, replacement_of};
use super::{ControlPlane, built};

/// Nothing is left of a control plane that was dropped; of one that was killed there is a directory, until the next one starts.
#[tokio::test]
async fn nothing_is_left_behind() {
    let Some(mut plane) = ControlPlane::launch(&World::compromised(), &[], None) else { return };
    let killed = directory(&plane);
    assert_eq!(processes_of(&killed), ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
    plane.up.kill().unwrap();
    drop(plane);
    eventually("the end of all processes", async || processes_of(&killed).is_empty().then_some(())).await;
    // Only what is older than a minute is taken for abandoned.
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    File::open(&killed).unwrap().set_modified(long_ago).unwrap();
    let Some(plane) = ControlPlane::launch(&World::compromised(), &[], None) else { return };
    let dropped = directory(&plane);
    assert_eq!((killed.exists(), dropped.exists()), (false, true));
    drop(plane);
    assert_eq!((dropped.exists(), processes_of(&dropped)), (false, Vec::new()));
}

/// A cluster that is not marked as disposable is refused before anything in it is changed; a marked one is seeded afresh.
#[tokio::test]
async fn another_cluster_must_be_disposable() {
    let world = World::compromised();
    let Some(plane) = ControlPlane::launch(&world, &[], None) else { return };
    let client = plane.client(plane.context()).await;
    let before = pod_of(&plane, &client, "cart").await;

    mark(&client, Value::Null).await;
    let refused = seed_other(&plane);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("refused: the namespace kube-system of this cluster is not annotated"), "{said}");
    assert_looks_like(&plane, &client, &world).await;
    assert_eq!(pod_of(&plane, &client, "cart").await.uid(), before.uid());

    mark(&client, json!("true")).await;
    let seeded = seed_other(&plane);
    assert!(seeded.status.success(), "{}", String::from_utf8_lossy(&seeded.stderr));
    assert_ne!(pod_of(&plane, &client, "cart").await.uid(), before.uid());
}

/// A node that is cut off is tainted, what is evicted from it stays Terminating while its Deployment goes on elsewhere, and all ends when it
/// is back.
#[tokio::test]
async fn an_unreachable_node_finishes_no_deletion() {
    let options = ["--taint-eviction"];
    let Some(plane) = ControlPlane::launch(&World::compromised(), &options, None) else { return };
    let client = plane.client(plane.context()).await;
    let pod = pod_of(&plane, &client, "search").await;
    let node = pod.spec.as_ref().unwrap().node_name.clone().unwrap();
    reach(&client, &node, false).await;
    evict(&client, &pod, &pod.uid().unwrap()).await.unwrap();
    eventually("the taint of an unreachable node", async || {
        let taints = Api::<Node>::all(client.clone()).get(&node).await.unwrap().spec.unwrap().taints.unwrap_or_default();
        taints.iter().any(|t| t.key == "node.kubernetes.io/unreachable" && t.effect == "NoExecute").then_some(())
    })
    .await;
    let replacement = replacement_of(&client, &pod).await;
    assert_ne!(replacement.spec.unwrap().node_name.unwrap(), node);
    // Its grace period of one second ended long before the taint came.
    let still = Api::<Pod>::namespaced(client.clone(), "shop").get(&pod.name_any()).await.unwrap();
    assert_eq!((still.uid(), still.metadata.deletion_timestamp.is_some()), (pod.uid(), true));
    reach(&client, &node, true).await;
    gone(&client, &pod).await;
}

// === helpers ===

fn directory(plane: &ControlPlane) -> PathBuf {
    plane.kubeconfig().parent().unwrap().to_owned()
}

/// Names of the running programs that were started with this directory.
fn processes_of(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        // Processes come and go while they are looked at.
        let Ok(line) = std::fs::read(entry.unwrap().path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains(directory.to_str().unwrap()) {
            let program = line.split('\0').next().unwrap();
            names.push(Path::new(program).file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    names.sort();
    names
}

fn seed_other(plane: &ControlPlane) -> Output {
    let seed = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control-plane/seed.json");
    Command::new(built().unwrap()).args(["--seed", seed, "--kubeconfig"]).arg(plane.kubeconfig()).output().unwrap()
}

async fn mark(client: &Client, value: Value) {
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { "stanch.dev/disposable": value } } }));
    Api::<Namespace>::all(client.clone()).patch("kube-system", &PatchParams::default(), &patch).await.unwrap();
}

pub(super) async fn reach(client: &Client, node: &str, reachable: bool) {
    let value = if reachable { Value::Null } else { json!("true") };
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { "stanch.test/unreachable": value } } }));
    Api::<Node>::all(client.clone()).patch(node, &PatchParams::default(), &patch).await.unwrap();
}
