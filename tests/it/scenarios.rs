//! Goal: every scenario of `tests/scenarios` holds. Method: each is played on emulators of its own, with the production bot.
#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Node, Pod};
use stanch::sandbox::scenario::{ChatChoice, Scenario, Setting, Stage, play};
use stanch::sandbox::world::World;

use crate::control_plane::ControlPlane;

const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn plays(file: PathBuf, chat: ChatChoice) {
    let scenario = Scenario::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(folder.path(), Setting { chat, ..Setting::default() }).await.unwrap();
    if let Err(failed) = play(&mut stage, &scenario, |_| ()).await {
        panic!("{}: {failed}\n{}", file.display(), stage.transcript());
    }
    assert_eq!(stage.slack().violations(), Vec::<String>::new(), "{}", file.display());
    let of_discord = stage.discord().map(|discord| discord.violations()).unwrap_or_default();
    assert_eq!(of_discord, Vec::<String>::new(), "{}", file.display());
    assert_eq!(stage.compute().overlapping_operations(), Vec::<String>::new(), "{}", file.display());
    stage.strike().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_holds() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert!(scenarios().len() >= 9);
    // Most of the time is waiting for paces, polls and deadlines.
    let mut playing: tokio::task::JoinSet<()> = scenarios().into_iter().map(|file| plays(file, ChatChoice::Slack)).collect();
    while let Some(played) = playing.join_next().await {
        played.unwrap();
    }
}

/// The same files on Discord, where people fill in options, press "Show it" for what cannot be shown to them alone otherwise, and see the
/// same; but for what Slack alone lets them type.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_holds_on_discord() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let files = scenarios().into_iter().filter(|file| !file.to_string_lossy().ends_with("-on-slack.txt"));
    let mut playing: tokio::task::JoinSet<()> = files.map(|file| plays(file, ChatChoice::Discord)).collect();
    let mut failed = Vec::new();
    while let Some(played) = playing.join_next().await {
        failed.extend(played.err().map(|error| error.to_string().lines().take(4).collect::<Vec<_>>().join("\n")));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// A real control plane with its API server, controllers and scheduler, whose nodes have the emulated Compute project's instances. Its controllers
/// name pods themselves, so the scenarios' names are replaced.
struct Real {
    plane: ControlPlane,
    suspect: String,
    replica_set: String,
}

impl Real {
    async fn start() -> Option<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = ControlPlane::start_with(&World::compromised(), &[])?;
        // Another cluster's nodes are not those of the emulated project.
        if !plane.is_ours() {
            crate::support::skip(
                "scenarios on a control plane",
                "the nodes of the cluster of STANCH_TEST_KUBECONFIG are not those of the emulated project",
            );
            return None;
        }
        let pods: kube::Api<Pod> = kube::Api::namespaced(plane.client(plane.context()).await, "shop");
        let on_node = kube::api::ListParams::default().labels("app=cart").fields(&format!("spec.nodeName={NODE}"));
        let suspect = pods.list(&on_node).await.unwrap().items.remove(0).metadata.name.unwrap();
        let replica_set = suspect.rsplit_once('-').unwrap().0.to_owned();
        Some(Self { plane, suspect, replica_set })
    }

    async fn plays(&self, text: &str) {
        let text = text.replace("cart-7d4b9c6f5-x2x9q", &self.suspect).replace("cart-7d4b9c6f5", &self.replica_set);
        let folder = tempfile::tempdir().unwrap();
        let cluster = Some((self.plane.kubeconfig().to_owned(), self.plane.context().to_owned()));
        let mut stage = Stage::set(folder.path(), Setting { cluster, ..Setting::default() }).await.unwrap();
        if let Err(failed) = play(&mut stage, &Scenario::parse(&text).unwrap(), |_| ()).await {
            panic!("{failed}\n{}", stage.transcript());
        }
        stage.strike().await.unwrap();
    }
}

/// The guide's Kubernetes commands one by one on a real control plane: the same scenario files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guides_steps_on_a_real_control_plane() {
    let Some(real) = Real::start().await else { return };
    // The drain takes this one away.
    real.plays(
        "rosa: /stanch delete-workload pod shop/one-off --stop-now reason:\"it sends spam\"\n\
         expect in channel: shop/one-off alone is deleted\namir reacts white_check_mark\nexpect amir reads: Counted: 1 of 2\n\
         bea reacts white_check_mark\nexpect in thread: pod shop/one-off is gone",
    )
    .await;
    real.plays(include_str!("../scenarios/step-by-step.txt")).await;
    real.plays(include_str!("../scenarios/redeploy.txt")).await;
    let pods: kube::Api<Pod> = kube::Api::namespaced(real.plane.client(real.plane.context()).await, "shop");
    assert_eq!(pods.get_opt(&real.suspect).await.unwrap(), None);
}

/// The whole quarantine on a real control plane.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_on_a_real_control_plane() {
    let Some(real) = Real::start().await else { return };
    real.plays(
        "rosa: /stanch quarantine pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42\namir reacts white_check_mark\n\
         expect in thread: is isolated: tag, firewall, addresses and group were read back",
    )
    .await;
    let (client, suspect) = (real.plane.client(real.plane.context()).await, real.suspect);
    let pods: kube::Api<Pod> = kube::Api::namespaced(client.clone(), "shop");

    let nodes: kube::Api<Node> = kube::Api::all(client.clone());
    assert_eq!(nodes.get(NODE).await.unwrap().spec.unwrap().unschedulable, Some(true));
    let all: kube::Api<Pod> = kube::Api::all(client);
    let left = all.list(&kube::api::ListParams::default().fields(&format!("spec.nodeName={NODE}"))).await.unwrap().items;
    let stays = |pod: &Pod| {
        let daemon = pod.metadata.owner_references.iter().flatten().any(|owner| owner.kind == "DaemonSet" || owner.kind == "Node");
        daemon || pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key("kubernetes.io/config.mirror"))
    };
    let names: Vec<_> = left.iter().filter(|pod| !stays(pod)).map(|pod| pod.metadata.name.clone().unwrap()).collect();
    assert_eq!(names, std::slice::from_ref(&suspect));
    let labels = pods.get(&suspect).await.unwrap().metadata.labels.unwrap();
    // Kubernetes adds the zone's labels by itself.
    let ours: Vec<_> = labels.keys().filter(|key| !key.starts_with("topology.kubernetes.io/")).collect();
    assert_eq!(ours, ["quarantine", "stanch.dev/quarantine"]);
}
