//! A real Kubernetes control plane for contract tests: see `tests/control-plane/README.md`.
#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod contracts;
mod eviction;
mod lifecycle;
pub mod seed;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use stanch::sandbox::world::World;

use crate::support;

/// Names a kubeconfig whose current context is used instead of a control plane of our own.
const OTHER_CLUSTER: &str = "STANCH_TEST_KUBECONFIG";

/// A cluster that looks like a [`World`], on a real kube-apiserver with the real controllers and scheduler.
///
/// Guarantees: there is one at a time on this machine's target directory, nodes and pods are ready, budgets are computed, and when it is dropped
/// nothing of it is left. A cluster named by `STANCH_TEST_KUBECONFIG` is seeded afresh by each start, and must be marked as disposable.
///
/// Caveats: pods bear the names their controllers gave them, so find them by label and node; logs and exec do not work, as no kubelet answers.
pub struct ControlPlane {
    up: Child,
    ready: Ready,
    /// Two at a time would be 1 GB and starve each other on two cores.
    _alone: File,
}

/// What `up` prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    kubeconfig: PathBuf,
    context: String,
    bot_context: Option<String>,
    nodes: BTreeMap<String, String>,
}

impl ControlPlane {
    /// Starts a cluster that looks like [`World::compromised`]; `None`, after saying so, where that cannot be done.
    pub fn start() -> Option<Self> {
        Self::start_with(&World::compromised(), &[])
    }

    /// Starts a cluster that looks like `world`, with further options of `up`. Those are about our own control plane, so a test that
    /// needs them is skipped on another cluster.
    pub fn start_with(world: &World, options: &[&str]) -> Option<Self> {
        let other = std::env::var_os(OTHER_CLUSTER);
        if other.is_some() && !options.is_empty() {
            support::skip("control-plane", &format!("{} cannot be asked of the cluster of {OTHER_CLUSTER}", options.join(" ")));
            return None;
        }
        Self::launch(world, options, other)
    }

    /// Seeds the cluster of the kubeconfig `other`, or else starts one of our own.
    fn launch(world: &World, options: &[&str], other: Option<OsString>) -> Option<Self> {
        let up = built()?;
        let alone = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("control-plane.lock")).unwrap();
        alone.lock().unwrap();
        let mut command = Command::new(up);
        command.args(["--seed", "-"]).args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(kubeconfig) = other {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        let mut up = command.spawn().unwrap();
        // It stays open: its end is the sign to stop.
        up.stdin.as_mut().unwrap().write_all(&serde_json::to_vec(&seed::manifests(world)).unwrap()).unwrap();
        let mut line = String::new();
        BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let status = up.wait().unwrap();
            panic!("the control plane did not start ({status}); what it said is on standard error");
        }
        Some(Self { up, ready: serde_json::from_str(&line).unwrap(), _alone: alone })
    }

    /// Path of a kubeconfig for this cluster.
    pub fn kubeconfig(&self) -> &Path {
        &self.ready.kubeconfig
    }

    /// Name of the administrator's context.
    pub fn context(&self) -> &str {
        &self.ready.context
    }

    /// Name of the context of `system:serviceaccount:stanch:stanch`, which has no rights until a test grants them; only on our own cluster.
    pub fn bot_context(&self) -> Option<&str> {
        self.ready.bot_context.as_deref()
    }

    /// Whether the cluster was made for this, rather than named by `STANCH_TEST_KUBECONFIG`.
    pub fn is_ours(&self) -> bool {
        self.bot_context().is_some()
    }

    /// Name of the node that plays a node of the world: the same, except on another cluster.
    pub fn node(&self, of_world: &str) -> &str {
        &self.ready.nodes[of_world]
    }

    /// A client for one of the contexts.
    pub async fn client(&self, context: &str) -> kube::Client {
        // Another test may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let content = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
        let mut config = kube::Config::from_custom_kubeconfig(content, &options).await.unwrap();
        config.default_retry = false;
        config.read_timeout = Some(Duration::from_secs(30));
        kube::Client::try_from(config).unwrap()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.up.stdin.take());
        let _ = self.up.wait();
    }
}

/// The program that runs a control plane, if it and all it needs are there.
fn built() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane/build.sh");
    let check = Command::new(script).arg("--check").output().unwrap();
    if check.status.success() {
        return Some(String::from_utf8(check.stdout).unwrap().trim_end().into());
    }
    support::skip("control-plane", String::from_utf8_lossy(&check.stderr).trim_end());
    None
}
