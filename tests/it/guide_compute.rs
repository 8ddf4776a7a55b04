//! Goal: under `form = "guide"` a command leaves what the guide's own gcloud command leaves. Method: the recorded requests of gcloud on one
//! emulator, Stanch on another; the states compared.
#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

use std::path::Path;

use serde_json::Value;
use stanch::sandbox::scenario::{Scenario, Setting, Stage, play};
use stanch_commands::plan::Form;

use crate::compute_emulator::{Compute, wire};

/// What is compared: everything but snapshots, which Stanch adds and the guide's commands do not.
const PARTS: [&str; 5] = ["instances", "groups", "firewalls", "disks", "addresses"];

/// The listing that a careful person looks at until a member is gone.
const LIST: &str = "15_list_managed";

/// What the recorded commands leave. `names` are replaced in the recordings, as they were made in another project.
async fn by_gcloud(files: &[&str], names: &[(&str, &str)]) -> Value {
    let compute = Compute::start().await;
    for file in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/wire/gcloud/{file}.json"));
        let text = std::fs::read_to_string(path).unwrap();
        let text = names.iter().fold(text, |text, (old, new)| text.replace(old, new));
        let recording: Value = serde_json::from_str(&text).unwrap();
        let mut memory = wire::Memory::default();
        for exchange in recording["exchanges"].as_array().unwrap() {
            wire::replay(&compute, exchange, &mut memory).await;
        }
    }
    let state = compute.emulator.snapshot_state();
    compute.emulator.stop().await;
    state
}

/// What a scenario leaves.
async fn by_stanch(text: &str) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(folder.path(), Setting { form: Form::Guide, ..Setting::default() }).await.unwrap();
    if let Err(failed) = play(&mut stage, &Scenario::parse(text).unwrap(), |_| ()).await {
        panic!("{failed}\n{}", stage.transcript());
    }
    let state = stage.compute().snapshot_state();
    stage.strike().await.unwrap();
    state
}

fn assert_same(guide: &Value, stanch: &Value) {
    for part in PARTS {
        assert_eq!(stanch[part], guide[part], "{part}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_node_leaves_what_delete_instances_leaves() {
    let guide = by_gcloud(&["11_delete_instances", LIST, LIST, LIST], &[]).await;
    let stanch = by_stanch(
        "rosa: /stanch delete-node node gke-sandbox-public-1a2b3c4d-m4q9 --stop-now reason:\"as the guide\"\n\
         expect in channel: Needs 2 approvals\namir reacts white_check_mark\nexpect amir reads: Counted: 1 of 2\n\
         bea reacts white_check_mark\nexpect in thread: is deleted",
    )
    .await;
    assert!(guide["instances"].get("gke-sandbox-public-1a2b3c4d-m4q9").is_none());
    assert_same(&guide, &stanch);
}

/// The key itself is not compared: the guide leaves to the reader how it is added.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn allow_ssh_leaves_what_the_tag_and_the_rule_leave() {
    let names = [("\"gke-cluster-1-node\", \"intermediate\"", "\"intermediate\""), ("gke-cluster-1-node", "gke-sandbox-node")];
    let files = ["05_fw_egress_deny", "06_fw_ingress_deny", "04_add_tags", "09_add_tags_intermediate", "10_fw_ingress_allow"];
    let guide = by_gcloud(&files, &names).await;
    let mut stanch = by_stanch(
        "rosa: /stanch firewall node gke-sandbox-public-1a2b3c4d-x7k2\nexpect in channel: Needs 1 approval\n\
         amir reacts white_check_mark\nexpect in thread: carries quarantine and its 2 rules are in force\n\
         rosa: /stanch allow-ssh node gke-sandbox-public-1a2b3c4d-x7k2 via:bastion \
         key:\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f rosa\"\n\
         expect in channel: intermediate: bastion\namir reacts white_check_mark\n\
         expect in thread: ssh -J rosa@10.128.0.90 rosa@10.128.0.11",
    )
    .await;
    let metadata = stanch["instances"]["gke-sandbox-public-1a2b3c4d-x7k2"]["metadata"].as_object_mut().unwrap();
    assert!(metadata.remove("ssh-keys").is_some());
    assert!(guide["firewalls"]["sandbox-project"].get("quarantine-ingress-allow").is_some());
    assert_same(&guide, &stanch);
}
