//! Goal: under `form = "guide"` a quarantine leaves what Google's guide leaves, and the stricter default that plus a listed difference.
//! Method: unmodified kubectl and the recorded requests of gcloud on one set of emulators, Stanch on another; the states compared.
#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use stanch::sandbox::kubernetes::KubernetesEmulator;
use stanch::sandbox::scenario::{Scenario, Setting, Stage, play};
use stanch::sandbox::world::World;
use stanch_commands::plan::Form;
use tokio::process::Command;

use crate::compute_emulator::{Compute, wire};

const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";
const SUSPECT: &str = "shop/cart-7d4b9c6f5-x2x9q";

/// What both leave, without what differs from run to run: names of replacement pods, snapshots.
#[derive(Debug, PartialEq)]
struct State {
    node: Value,
    suspect: Value,
    /// Pods on the node.
    left: Vec<String>,
    policies: Value,
    instance: Value,
    groups: Value,
    firewalls: Value,
    addresses: Value,
}

impl State {
    fn of(kubernetes: &Value, compute: &Value) -> Self {
        let pods = kubernetes["pods"].as_object().unwrap();
        let mut suspect = pods.get(SUSPECT).cloned().unwrap();
        // Every emulator gives uids of its own.
        suspect.as_object_mut().unwrap().remove("uid");
        Self {
            node: kubernetes["nodes"][NODE].clone(),
            suspect,
            left: pods.iter().filter(|(_, pod)| pod["node"] == NODE).map(|(name, _)| name.clone()).collect(),
            policies: kubernetes["networkpolicies"].clone(),
            instance: compute["instances"][NODE].clone(),
            groups: compute["groups"].clone(),
            firewalls: compute["firewalls"].clone(),
            addresses: compute["addresses"].clone(),
        }
    }
}

/// The guide's "reduce access" by the vendors' tools. `None` where kubectl is not installed.
async fn by_the_guide() -> Option<State> {
    if Command::new("kubectl").arg("version").arg("--client").stdout(Stdio::null()).status().await.is_err() {
        crate::support::skip("kubectl", "the comparison with the guide needs kubectl on the PATH");
        return None;
    }
    let kubernetes = KubernetesEmulator::start(&World::compromised()).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = home.path().join("config");
    std::fs::write(&kubeconfig, kubernetes.kubeconfig()).unwrap();
    for line in [
        format!("cordon {NODE}"),
        "label pods cart-7d4b9c6f5-x2x9q quarantine=true -n shop".into(),
        // The guide's literal drain stops at DaemonSets, emptyDir and unmanaged pods; these are the decisions that the plan shows.
        format!("drain {NODE} --pod-selector=!quarantine --ignore-daemonsets --delete-emptydir-data --force --timeout=60s"),
    ] {
        let mut command = Command::new("kubectl");
        command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", home.path()).env("KUBECONFIG", &kubeconfig);
        let output = command.args(line.split_whitespace()).output().await.unwrap();
        assert!(output.status.success(), "kubectl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let compute = Compute::start().await;
    // The list is what a careful person looks at until the abandoned instance is gone from it.
    let list = "15_list_managed";
    for file in ["03_abandon", list, list, list, "05_fw_egress_deny", "06_fw_ingress_deny", "04_add_tags", "08_delete_access_config"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/wire/gcloud/{file}.json"));
        // The recorded cluster had another tag of its own, which gcloud sends back with the new one.
        let text = std::fs::read_to_string(path).unwrap().replace("gke-cluster-1-node", "gke-sandbox-node");
        let recording: Value = serde_json::from_str(&text).unwrap();
        let mut memory = wire::Memory::default();
        for exchange in recording["exchanges"].as_array().unwrap() {
            wire::replay(&compute, exchange, &mut memory).await;
        }
    }
    let state = State::of(&kubernetes.snapshot_state(), &compute.emulator.snapshot_state());
    kubernetes.stop().await;
    compute.emulator.stop().await;
    Some(state)
}

async fn by_stanch(form: Form) -> State {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(folder.path(), Setting { form, ..Setting::default() }).await.unwrap();
    let text = format!(
        "rosa: /stanch quarantine pod {SUSPECT} incident:inc-42\namir reacts white_check_mark\nexpect in thread: is isolated\nexpect isolated"
    );
    if let Err(failed) = play(&mut stage, &Scenario::parse(&text).unwrap(), |_| ()).await {
        panic!("{failed}\n{}", stage.transcript());
    }
    let state = State::of(&stage.kubernetes().snapshot_state(), &stage.compute().snapshot_state());
    stage.strike().await.unwrap();
    state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn form_guide_leaves_what_the_guide_leaves() {
    let Some(guide) = by_the_guide().await else { return };
    let mut stanch = by_stanch(Form::Guide).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    differences("suspect", &guide.suspect, &stanch.suspect, &mut ours);
    differences("instance", &guide.instance, &stanch.instance, &mut theirs);
    assert_eq!((ours, theirs), (vec![], vec![]));
    stanch.suspect = guide.suspect.clone();
    assert_eq!(stanch, guide);
    let daemon_and_mirror = ["kube-system/fluentbit-gke-4hd8s", "kube-system/kube-proxy-gke-sandbox-public-1a2b3c4d-x7k2"];
    assert_eq!(guide.left, [&daemon_and_mirror[..], &[SUSPECT]].concat());
}

/// The listed difference: every path in which the two states differ, with both values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_is_the_guide_and_a_listed_difference() {
    let Some(guide) = by_the_guide().await else { return };
    let strict = by_stanch(Form::Strict).await;
    let mut lines = Vec::new();
    for (what, guide, strict) in [
        ("node", &guide.node, &strict.node),
        ("suspect", &guide.suspect, &strict.suspect),
        ("networkpolicies", &guide.policies, &strict.policies),
        ("instance", &guide.instance, &strict.instance),
        ("groups", &guide.groups, &strict.groups),
        ("firewalls", &guide.firewalls, &strict.firewalls),
        ("addresses", &guide.addresses, &strict.addresses),
        ("left on the node", &json!(guide.left), &json!(strict.left)),
    ] {
        differences(what, guide, strict, &mut lines);
    }
    let uid = uid_of_suspect(&strict.policies);
    let text = lines.join("\n").replace(&uid, "UID");
    insta::assert_snapshot!(text);
}

/// The uid of the suspect, as the policy selects it.
fn uid_of_suspect(policies: &Value) -> String {
    let policy = policies.as_object().unwrap().values().next().unwrap();
    policy["spec"]["podSelector"]["matchLabels"]["stanch.dev/quarantine"].as_str().unwrap().to_owned()
}

fn differences(path: &str, guide: &Value, strict: &Value, lines: &mut Vec<String>) {
    if let (Some(a), Some(b)) = (guide.as_object(), strict.as_object()) {
        let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for key in keys {
            differences(&format!("{path}.{key}"), a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), lines);
        }
    } else if guide != strict {
        lines.push(format!("{path}: guide {guide}, strict {strict}"));
    }
}
