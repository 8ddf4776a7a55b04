//! The Compute emulator: recorded requests and answers, contracts, and the vendor's own clients.
#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod contracts;
mod gcloud;
mod operations;
mod recorded;
mod rust_client;
mod scenarios;
pub mod wire;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use stanch::sandbox::compute::ComputeEmulator;
use stanch::sandbox::world::World;

/// The instance of the suspect's node.
const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";
/// The other instance of its group.
const OTHER: &str = "gke-sandbox-public-1a2b3c4d-m4q9";
/// Their group.
const GROUP: &str = "gke-sandbox-public-1a2b3c4d-grp";

const ZONE: &str = "/compute/v1/projects/sandbox-project/zones/us-central1-a";
const GLOBAL: &str = "/compute/v1/projects/sandbox-project/global";

/// How long an answer may take. Only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// An emulator and a plain HTTP client for it.
pub struct Compute {
    pub emulator: ComputeEmulator,
    http: reqwest::Client,
}

impl Compute {
    pub async fn start() -> Self {
        Self::start_with(&World::compromised()).await
    }

    async fn start_with(world: &World) -> Self {
        // The client insists on a provider even for plain HTTP. Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let emulator = ComputeEmulator::start(world).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { emulator, http }
    }

    async fn send(&self, method: &str, uri: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{uri}", self.emulator.url()));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    /// The body of a good answer.
    async fn get(&self, uri: &str) -> Value {
        let (status, body) = self.send("GET", uri, None).await;
        assert_eq!(status, 200, "{uri}: {body:#}");
        body
    }

    /// Sends a mutation and waits for its operation. The body of the operation that is done.
    async fn mutate(&self, method: &str, uri: &str, body: Value) -> Value {
        let (status, operation) = self.send(method, uri, Some(&body)).await;
        assert_eq!(status, 200, "{uri}: {operation:#}");
        self.wait(&operation).await
    }

    /// Waits for an operation.
    async fn wait(&self, operation: &Value) -> Value {
        let path = operation["selfLink"].as_str().unwrap().strip_prefix(&self.emulator.url()).unwrap().to_owned();
        loop {
            let (status, operation) = self.send("POST", &format!("{path}/wait"), None).await;
            assert_eq!(status, 200, "{operation:#}");
            if operation["status"] == "DONE" {
                return operation;
            }
        }
    }

    async fn instance(&self, name: &str) -> Value {
        self.get(&format!("{ZONE}/instances/{name}")).await
    }

    /// Members of a group with what is done to them.
    async fn members(&self, group: &str) -> Vec<(String, String)> {
        let (status, list) = self.send("POST", &format!("{ZONE}/instanceGroupManagers/{group}/listManagedInstances"), None).await;
        assert_eq!(status, 200, "{list:#}");
        let members = list["managedInstances"].as_array().cloned().unwrap_or_default();
        let text = |member: &Value, field: &str| member[field].as_str().unwrap().to_owned();
        members.iter().map(|member| (text(member, "name"), text(member, "currentAction"))).collect()
    }

    /// Looks at the members until this one has gone.
    async fn until_gone(&self, group: &str, instance: &str) {
        for _ in 0..10 {
            if self.members(group).await.iter().all(|(name, _)| name != instance) {
                return;
            }
        }
        panic!("{instance} never left {group}");
    }

    /// Ends the test: nothing that it injected is left over.
    async fn done(self) {
        assert!(self.emulator.wire().pending_faults().is_empty());
        assert_eq!(self.emulator.pending_operation_failures(), Vec::<String>::new());
        self.emulator.stop().await;
    }
}

/// The shape of the API's errors.
fn error(status: u16, reason: &str, message: &str) -> Value {
    let mut error = json!({ "message": message, "domain": "global", "reason": reason });
    if status == 412 {
        error["locationType"] = json!("header");
        error["location"] = json!("If-Match");
    }
    json!({ "error": { "code": status, "message": message, "errors": [error] } })
}

fn instance_uri(name: &str) -> String {
    format!("{ZONE}/instances/{name}")
}

fn group_uri(method: &str) -> String {
    format!("{ZONE}/instanceGroupManagers/{GROUP}/{method}")
}

/// Whether an answer has at least this shape: field names, JSON types, and the values that a shape writes out.
fn problems(shape: &Value, answer: &Value, at: &str) -> Vec<String> {
    match (shape, answer) {
        (Value::Object(fields), Value::Object(answer)) => fields
            .iter()
            .flat_map(|(name, shape)| match answer.get(name) {
                Some(value) => problems(shape, value, &format!("{at}.{name}")),
                None => vec![format!("{at}.{name} is missing")],
            })
            .collect(),
        (Value::Array(shapes), Value::Array(items)) => match (shapes.first(), items.as_slice()) {
            (Some(_), []) => vec![format!("{at} is empty")],
            (Some(shape), items) => items.iter().flat_map(|item| problems(shape, item, &format!("{at}[]"))).collect(),
            (None, _) => Vec::new(),
        },
        (Value::String(kind), answer) => {
            let right = match kind.as_str() {
                "string" => answer.is_string(),
                "number" => answer.is_number(),
                "boolean" => answer.is_boolean(),
                "object" => answer.is_object(),
                literal => answer == literal,
            };
            if right { Vec::new() } else { vec![format!("{at} is {answer}, not {kind}")] }
        }
        (shape, answer) => vec![format!("{at} is {answer}, not like {shape}")],
    }
}
