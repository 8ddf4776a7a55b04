//! Recorded answers of the API, compared in shape. That an answer has no field that Google does not know is checked by the emulator itself.

use std::path::Path;

use serde_json::Value;

use super::wire::{Memory, replay};
use super::{Compute, GROUP};

async fn check(compute: &Compute, name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compute/recorded").join(name).with_extension("json");
    let recording: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut memory = Memory::of_labels();
    let mut found = Vec::new();
    for exchange in recording["exchanges"].as_array().unwrap() {
        found.extend(replay(compute, exchange, &mut memory).await);
    }
    assert_eq!(found, Vec::<String>::new(), "{name}");
}

/// Goal: what is always in an answer of the API is in the emulator's.
#[tokio::test]
async fn recorded_answers_have_the_same_shape() {
    let compute = Compute::start().await;
    for name in ["firewall", "instance", "disk", "group"] {
        check(&compute, name).await;
    }
    compute.emulator.make_group_regional(GROUP).unwrap();
    check(&compute, "regional").await;
    compute.emulator.make_disk_regional("pvc-orders-0").unwrap();
    check(&compute, "regional_disk").await;
    compute.done().await;
}
