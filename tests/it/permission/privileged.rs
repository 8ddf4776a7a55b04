//! The privileged pod on a real control plane: its namespace, its admission policy and its role admit it, and nothing that is like it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};
use stanch::adapters::kubernetes::{KubernetesCluster, PrivilegedPodExamination};
use stanch::core::diagnosis::{Check, Verdict};
use stanch::ports::Examined as _;
use stanch::sandbox::world::World;

use crate::control_plane::ControlPlane;
use crate::kubernetes_adapter::{emulator, privileged};
use crate::support::skip;

/// How long policies and roles may take to be known. Only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(60);

async fn examined(client: Client) -> Check {
    let cluster = Arc::new(KubernetesCluster::new(client));
    let mut checks = PrivilegedPodExamination { cluster, through: privileged::through() }.examine(&Default::default()).await;
    checks.pop().unwrap()
}

/// The pod as `kill-container` makes it, by hand.
fn pod() -> Value {
    let command = ["nsenter", "--target", "1", "--mount", "--", "crictl", "stop", "--timeout", "10", &"a".repeat(64)];
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "stanch-test", "namespace": "stanch-privileged" },
        "spec": {
            "nodeName": "some-node", "hostPID": true, "restartPolicy": "Never", "activeDeadlineSeconds": 90,
            "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false, "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "node", "image": privileged::through().image.as_str(), "command": command,
                "securityContext": { "privileged": true, "runAsUser": 0, "readOnlyRootFilesystem": true },
            }],
        },
    })
}

/// Why the API would not take it.
async fn rehearsed(client: &Client, pod: &Value) -> Result<(), String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "stanch-privileged");
    let rehearsal = PostParams { dry_run: true, field_manager: None };
    pods.create(&rehearsal, &serde_json::from_value(pod.clone()).unwrap()).await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn only_this_pod_is_admitted_and_only_from_stanch() {
    let Some(plane) = ControlPlane::start_with(&World::compromised(), &[]) else { return };
    let Some(bot) = plane.bot_context() else {
        return skip("privileged-pod-on-control-plane", "the cluster is not ours, so there is no bot without rights");
    };
    let (bot, admin) = (plane.client(bot).await, plane.client(plane.context()).await);
    let before = examined(bot.clone()).await;
    assert_eq!((before.verdict, before.hint.contains("privileged-pod.yaml")), (Verdict::Fail, true), "{}", before.found);
    for file in ["privileged-pod.yaml", "rbac-privileged-pod.yaml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes").join(file);
        let mut kubectl = Command::new("kubectl");
        kubectl.arg("--kubeconfig").arg(plane.kubeconfig()).args(["--context", plane.context(), "apply", "-f"]).arg(file);
        let Ok(applied) = kubectl.output() else { return skip("privileged-pod-on-control-plane", "there is no kubectl") };
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        assert_eq!(String::from_utf8_lossy(&applied.stderr), "", "no warnings of wrong expressions");
    }
    let known = async {
        let refused = |told: Result<(), String>| told.is_err_and(|why| why.contains("only Stanch creates pods in this namespace"));
        while !refused(rehearsed(&admin, &pod()).await) || rehearsed(&bot, &pod()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, known).await.is_err() {
        panic!("{:?} {:?}", rehearsed(&admin, &pod()).await, rehearsed(&bot, &pod()).await);
    }
    let good = examined(bot.clone()).await;
    assert_eq!((good.verdict, good.found.as_str()), (Verdict::Ok, "namespace stanch-privileged would take it"));
    let pods: Api<Pod> = Api::namespaced(admin, "stanch-privileged");
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 0, "a rehearsal leaves nothing");

    let container = |key: &str, value: Value| (format!("/spec/containers/0/{key}"), value);
    let cases: [((String, Value), &str); 11] = [
        (container("image", json!("registry.example/node-tools:1")), "by its digest"),
        (container("command", json!(["sh", "-c", "reboot"])), "only a look at one container"),
        (container("command", json!(["nsenter", "--target", "1", "--mount", "--", "sh", "-c", "reboot"])), "only a look at one container"),
        (container("command", json!(["nsenter", "--target", "1", "--mount", "--", "crictl", "exec", "x"])), "only a look at one container"),
        (
            container("command", json!(["nsenter", "--target", "1", "--mount", "--", "crictl", "stop", "$(x)"])),
            "only a look at one container",
        ),
        (container("args", json!(["x"])), "only a look at one container"),
        (("/spec/automountServiceAccountToken".into(), json!(true)), "no token and no volume"),
        (("/spec/volumes".into(), json!([{ "name": "root", "hostPath": { "path": "/" } }])), "no token and no volume"),
        (("/spec/restartPolicy".into(), json!("Always")), "it runs once"),
        (("/spec/hostNetwork".into(), json!(true)), "nothing of the node but its processes"),
        (("/spec/initContainers".into(), json!([{ "name": "x", "image": "registry.example/x:1" }])), "one container"),
    ];
    for ((pointer, value), words) in cases {
        let (place, key) = pointer.rsplit_once('/').unwrap();
        let mut pod = pod();
        pod.pointer_mut(place).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
        let refused = rehearsed(&bot, &pod).await.expect_err(&pointer);
        assert!(refused.contains(words), "{pointer}: {refused}");
    }
}

/// The same look on the emulator, which has no policies.
#[tokio::test]
async fn a_missing_namespace_and_a_missing_right_are_found_before_an_incident() {
    let (emulator, client) = emulator().await;
    let missing = examined(client.clone()).await;
    assert_eq!((missing.verdict, missing.hint.contains("privileged-pod.yaml")), (Verdict::Fail, true), "{}", missing.found);
    privileged::namespace(&client).await;
    assert_eq!(examined(client.clone()).await.verdict, Verdict::Ok);
    let pods: Api<Pod> = Api::namespaced(client.clone(), "stanch-privileged");
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 0);
    emulator.grant_only([("", "pods", "get")]);
    let refused = examined(client).await;
    assert!(refused.verdict == Verdict::Fail && refused.found.contains("no right to create pods"), "{}", refused.found);
    emulator.stop().await;
}
