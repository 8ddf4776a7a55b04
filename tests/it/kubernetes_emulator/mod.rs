//! The Kubernetes emulator: recorded requests, contracts, controllers, and the vendors' own clients.
#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod contracts;
mod controllers;
mod kube_client;
mod kubectl;
mod wire;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use stanch::sandbox::kubernetes::KubernetesEmulator;
use stanch::sandbox::world::World;

/// The node of the suspect.
const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";
/// The other node of its pool.
const OTHER: &str = "gke-sandbox-public-1a2b3c4d-m4q9";
/// The suspect.
const SUSPECT: &str = "cart-7d4b9c6f5-x2x9q";

/// How long a state may take to come. Only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// An emulator and a plain HTTP client for it.
struct Cluster {
    emulator: KubernetesEmulator,
    http: reqwest::Client,
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
    text: String,
}

impl Cluster {
    async fn start() -> Self {
        // The client insists on a provider even for plain HTTP. Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let emulator = KubernetesEmulator::start(&World::compromised()).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { emulator, http }
    }

    async fn send(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Reply {
        let mut request = self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{uri}", self.emulator.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Reply { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
    }

    async fn get(&self, uri: &str) -> Reply {
        self.send("GET", uri, &[], None).await
    }

    async fn post(&self, uri: &str, body: Value) -> Reply {
        self.send("POST", uri, &[("content-type", "application/json")], Some(&body)).await
    }

    async fn delete(&self, uri: &str, body: Value) -> Reply {
        self.send("DELETE", uri, &[("content-type", "application/json")], Some(&body)).await
    }

    async fn merge(&self, uri: &str, body: Value) -> Reply {
        self.send("PATCH", uri, &[("content-type", "application/merge-patch+json")], Some(&body)).await
    }

    async fn evict(&self, pod: &str, delete_options: Value) -> Reply {
        let body = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod, "namespace": "shop" }, "deleteOptions": delete_options });
        self.post(&format!("{}/eviction", pod_uri(pod)), body).await
    }

    /// The uid of a pod in `shop`.
    fn uid(&self, pod: &str) -> String {
        self.pods()[format!("shop/{pod}")]["uid"].as_str().unwrap().to_owned()
    }

    fn pods(&self) -> Value {
        self.emulator.snapshot_state()["pods"].clone()
    }

    /// The pods whose name starts so, with their nodes.
    fn pods_like(&self, prefix: &str) -> Vec<(String, String)> {
        let pods = self.pods();
        let chosen = pods.as_object().unwrap().iter().filter(|(name, _)| name.starts_with(prefix));
        chosen.map(|(name, pod)| (name.clone(), pod["node"].as_str().unwrap_or_default().to_owned())).collect()
    }

    /// Waits until the state is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !wanted(&self.emulator.snapshot_state()) {
            assert!(tokio::time::Instant::now() < deadline, "never: {what}\n{:#}", self.pods());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the test: nothing that it injected is left over.
    async fn done(self) {
        assert!(self.emulator.wire().pending_faults().is_empty());
        self.emulator.stop().await;
    }
}

fn pod_uri(pod: &str) -> String {
    format!("/api/v1/namespaces/shop/pods/{pod}")
}

fn node_uri(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}
