//! Recorded requests, replayed: those of gcloud.

use std::path::Path;

use serde_json::Value;
use stanch::sandbox::world::{Node, World};

use super::{Compute, problems};

/// What the replay remembers from one exchange to the next.
#[derive(Default)]
pub struct Memory {
    /// Names of the operations of this file, in order.
    operations: Vec<String>,
    /// Fingerprint of the tags (or labels) that were read last.
    fingerprint: String,
    /// Labels are written, not tags.
    labels: bool,
}

impl Memory {
    /// For a recording in which labels are written.
    pub fn of_labels() -> Self {
        Self { labels: true, ..Self::default() }
    }

    fn fill_in(&self, compute: &Compute, text: &str) -> String {
        let authority = compute.emulator.server.address.to_string();
        let mut text = text.replace("{host}", &compute.emulator.url()).replace("{authority}", &authority);
        text = text.replace("{fingerprint}", &self.fingerprint);
        for (index, name) in self.operations.iter().enumerate() {
            text = text.replace(&format!("{{operation{index}}}"), name);
        }
        assert!(!text.contains("{operation"), "an operation is missing: {text}");
        text
    }

    fn learn(&mut self, answer: &Value) {
        if let (Some("compute#operation"), Some(name)) = (answer["kind"].as_str(), answer["name"].as_str())
            && !self.operations.iter().any(|known| known == name)
        {
            self.operations.push(name.to_owned());
        }
        // The recordings write either tags or labels, never both.
        let field = if self.labels { &answer["labelFingerprint"] } else { &answer["tags"]["fingerprint"] };
        if let Some(fingerprint) = field.as_str() {
            fingerprint.clone_into(&mut self.fingerprint);
        }
    }
}

/// The recordings, in order.
fn recordings() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire/gcloud");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    let read = |file: &Path| (file.display().to_string(), serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap());
    files.iter().map(|file| read(file)).collect()
}

/// The world of the recordings: there the bastion looked like a node and had an external address.
fn world() -> World {
    let mut world = World::compromised();
    let bastion = world.other_instances.iter_mut().find(|node| node.name == "bastion").unwrap();
    *bastion = Node { pool: "public".into(), ..bastion.clone().external("203.0.113.90", "external-nat") };
    world
}

pub async fn replay(compute: &Compute, exchange: &Value, memory: &mut Memory) -> Vec<String> {
    if let Some(batch) = exchange.get("batch") {
        return replay_batch(compute, batch, &exchange["parts"], memory).await;
    }
    let request = &exchange["request"];
    let (method, uri) = (request["method"].as_str().unwrap(), memory.fill_in(compute, request["uri"].as_str().unwrap()));
    let body = request.get("body").map(|body| serde_json::from_str(&memory.fill_in(compute, &body.to_string())).unwrap());
    let (status, answer) = compute.send(method, &uri, body.as_ref()).await;
    memory.learn(&answer);
    compare(exchange, status, &answer, &format!("{method} {uri}"))
}

fn compare(recorded: &Value, status: u16, answer: &Value, what: &str) -> Vec<String> {
    if recorded["status"] != status {
        return vec![format!("{what}: {status} {answer}")];
    }
    match recorded.get("shape") {
        Some(shape) => problems(shape, answer, what),
        None if recorded["answer"] == *answer => Vec::new(),
        None => vec![format!("{what}: {answer} is not {}", recorded["answer"])],
    }
}

async fn replay_batch(compute: &Compute, batch: &Value, parts: &Value, memory: &mut Memory) -> Vec<String> {
    let uri = format!("{}{}", compute.emulator.url(), batch["uri"].as_str().unwrap());
    let body = memory.fill_in(compute, batch["body"].as_str().unwrap());
    let request = compute.http.post(uri).header("content-type", batch["content_type"].as_str().unwrap()).body(body.clone());
    let response = request.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let boundary = response.headers()["content-type"].to_str().unwrap().strip_prefix("multipart/mixed; boundary=").unwrap().to_owned();
    let text = response.text().await.unwrap();
    let chunks: Vec<&str> = text.split(&format!("--{boundary}")).filter(|chunk| !chunk.is_empty() && *chunk != "--\r\n").collect();
    let ids: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("Content-ID: <")).collect();
    assert_eq!(chunks.len(), parts.as_array().unwrap().len(), "{text}");
    let mut found = Vec::new();
    for ((chunk, recorded), id) in chunks.iter().zip(parts.as_array().unwrap()).zip(ids) {
        let [head, http, body] = chunk.splitn(3, "\r\n\r\n").collect::<Vec<_>>()[..] else { panic!("{chunk}") };
        assert!(head.contains(&format!("Content-ID: <response-{id}")), "{head}");
        let status: u16 = http.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let answer: Value = serde_json::from_str(body.trim()).unwrap();
        memory.learn(&answer);
        found.extend(compare(recorded, status, &answer, "a part of a batch"));
    }
    found
}

/// Goal: everything that gcloud is known to send gets an answer of the recorded status and shape. Method: all recordings in order against one
/// emulator.
#[tokio::test]
async fn recorded_requests_of_gcloud_get_the_recorded_answers() {
    let compute = Compute::start_with(&world()).await;
    let recordings = recordings();
    assert_eq!(recordings.len(), 20);
    let mut found = Vec::new();
    for (file, recording) in recordings {
        let mut memory = Memory::default();
        for exchange in recording["exchanges"].as_array().unwrap() {
            let problems = replay(&compute, exchange, &mut memory).await;
            found.extend(problems.into_iter().map(|problem| format!("{file}: {problem}")));
        }
    }
    assert_eq!(found, Vec::<String>::new());
    compute.done().await;
}
