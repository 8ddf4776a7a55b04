//! Goal: a command leaves what the guide's own kubectl command leaves. Method: unmodified kubectl on one emulator, Stanch on another; the
//! states compared.
#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::{Value, json};
use stanch::sandbox::kubernetes::KubernetesEmulator;
use stanch::sandbox::scenario::{Scenario, Setting, Stage, play};
use stanch::sandbox::world::World;
use stanch_commands::plan::Form;
use tokio::process::Command;

/// Pods of the namespace by owner, node and phase; names of replacements differ from run to run.
type Pods = BTreeMap<String, usize>;

fn pods(state: &Value) -> Pods {
    let mut pods = Pods::new();
    for pod in state["pods"].as_object().unwrap().values() {
        let key = json!([pod["owner"], pod["labels"], pod["phase"], pod["terminating"]]).to_string();
        *pods.entry(key).or_default() += 1;
    }
    pods
}

/// What kubectl leaves. `None` where it is not installed.
async fn by_kubectl(line: &str) -> Option<Value> {
    if Command::new("kubectl").arg("version").arg("--client").stdout(Stdio::null()).status().await.is_err() {
        crate::support::skip("kubectl", "the comparison with the guide needs kubectl on the PATH");
        return None;
    }
    let kubernetes = KubernetesEmulator::start(&World::compromised()).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = home.path().join("config");
    std::fs::write(&kubeconfig, kubernetes.kubeconfig()).unwrap();
    let mut command = Command::new("kubectl");
    command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", home.path()).env("KUBECONFIG", &kubeconfig);
    let output = command.args(line.split_whitespace()).output().await.unwrap();
    assert!(output.status.success(), "kubectl {line}: {}", String::from_utf8_lossy(&output.stderr));
    settle(&kubernetes).await;
    let state = kubernetes.snapshot_state();
    kubernetes.stop().await;
    Some(state)
}

/// Until nothing ends or starts any more.
async fn settle(kubernetes: &KubernetesEmulator) {
    loop {
        let state = kubernetes.snapshot_state();
        let restless = |pod: &Value| pod["terminating"] == true || pod["phase"] == "Pending";
        if !state["pods"].as_object().unwrap().values().any(restless) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// What a command leaves, agreed to by two people.
async fn by_stanch(line: &str) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(folder.path(), Setting { form: Form::Guide, ..Setting::default() }).await.unwrap();
    let text = format!(
        "rosa: /stanch {line}\nexpect in channel: Needs 2 approvals\namir reacts white_check_mark\nexpect amir reads: Counted: 1 of 2\n\
         bea reacts white_check_mark\nexpect in thread: Every step is in place and was read back"
    );
    if let Err(failed) = play(&mut stage, &Scenario::parse(&text).unwrap(), |_| ()).await {
        panic!("{failed}\n{}", stage.transcript());
    }
    settle(stage.kubernetes()).await;
    let state = stage.kubernetes().snapshot_state();
    stage.strike().await.unwrap();
    state
}

fn assert_same(guide: &Value, stanch: &Value) {
    assert_eq!(pods(stanch), pods(guide));
    for part in ["nodes", "networkpolicies"] {
        assert_eq!(stanch[part], guide[part], "{part}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redeploy_leaves_what_delete_pods_leaves() {
    let Some(guide) = by_kubectl("delete pods cart-7d4b9c6f5-x2x9q --grace-period=10 -n shop").await else { return };
    let stanch = by_stanch("redeploy pod shop/cart-7d4b9c6f5-x2x9q").await;
    assert!(guide["pods"].get("shop/cart-7d4b9c6f5-x2x9q").is_none());
    assert_same(&guide, &stanch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_workload_leaves_what_delete_deployments_leaves() {
    let Some(guide) = by_kubectl("delete deployments cart -n shop").await else { return };
    let stanch = by_stanch("delete-workload pod shop/cart-7d4b9c6f5-x2x9q").await;
    assert!(pods(&guide).keys().all(|pod| !pod.contains("\"cart\"")), "{:?}", pods(&guide));
    assert_same(&guide, &stanch);
}
