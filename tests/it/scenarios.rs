//! Goal: every scenario of `tests/scenarios` holds. Method: each is played on emulators of its own, with the production bot.
#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::path::{Path, PathBuf};

use stanch::sandbox::scenario::{Scenario, Stage, play};

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn plays(file: PathBuf) {
    let scenario = Scenario::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(folder.path()).await.unwrap();
    if let Err(failed) = play(&mut stage, &scenario, |_| ()).await {
        panic!("{}: {failed}\n{}", file.display(), stage.transcript());
    }
    assert_eq!(stage.slack().violations(), Vec::<String>::new(), "{}", file.display());
    assert_eq!(stage.compute().overlapping_operations(), Vec::<String>::new(), "{}", file.display());
    stage.strike().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_holds() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert!(scenarios().len() >= 7);
    // Most of the time is waiting for paces, polls and deadlines.
    let mut playing: tokio::task::JoinSet<()> = scenarios().into_iter().map(plays).collect();
    while let Some(played) = playing.join_next().await {
        played.unwrap();
    }
}
