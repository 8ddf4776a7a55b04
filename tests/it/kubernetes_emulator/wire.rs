//! Goal: the emulator answers what a real API server answered to kubectl. Method: replay the recorded requests and compare statuses,
//! content types, kinds, columns, and whole `Status` bodies.

use std::path::Path;

use serde_json::{Value, json};

use super::{Cluster, NODE, PATIENCE, SUSPECT, node_uri, pod_uri};

/// Keeps a terminating pod until the recording sees it gone, so that nothing depends on time.
const HOLD: &str = "example.com/hold";

#[tokio::test]
async fn recorded_requests_get_the_recorded_answers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire/kubectl");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert_eq!(files.len(), 17);
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let recording: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let cluster = Cluster::start().await;
        arrange(&cluster, &name, &recording).await;
        let mut last_version = String::new();
        for exchange in recording["exchanges"].as_array().unwrap() {
            replay(&cluster, &name, exchange, &mut last_version).await;
        }
        cluster.done().await;
    }
}

/// Brings the cluster to where the recorded one was.
async fn arrange(cluster: &Cluster, name: &str, recording: &Value) {
    if ["01b", "03", "04", "07", "13"].iter().any(|prefix| name.starts_with(prefix)) {
        cluster.merge(&node_uri(NODE), json!({ "spec": { "unschedulable": true } })).await;
    }
    if ["02b", "02c"].iter().any(|prefix| name.starts_with(prefix)) {
        cluster.merge(&pod_uri(SUSPECT), json!({ "metadata": { "labels": { "quarantine": "true" } } })).await;
    }
    if name.starts_with("11") {
        let spec = json!({ "minAvailable": 1, "selector": { "matchLabels": { "app": "search" } } });
        let budget = json!({ "metadata": { "name": "guarded" }, "spec": spec });
        assert_eq!(cluster.post("/apis/policy/v1/namespaces/shop/poddisruptionbudgets", budget).await.status, 201);
    }
    for exchange in recording["exchanges"].as_array().unwrap() {
        let request = &exchange["request"];
        let path = request["uri"].as_str().unwrap();
        let ends = request["method"] == "DELETE" || path.ends_with("/eviction");
        if let Some(pod) = path.strip_suffix("/eviction").or(Some(path)).filter(|path| ends && path.contains("/pods/")) {
            cluster.merge(pod, json!({ "metadata": { "finalizers": [HOLD] } })).await;
        }
    }
}

async fn replay(cluster: &Cluster, name: &str, exchange: &Value, last_version: &mut String) {
    let request = &exchange["request"];
    let method = request["method"].as_str().unwrap();
    let uri = request["uri"].as_str().unwrap().replace("LAST", last_version);
    let mut headers = vec![("accept", request["accept"].as_str().unwrap())];
    headers.extend(request["content_type"].as_str().map(|media| ("content-type", media)));
    let gone = exchange["status"] == 404 && uri.contains("/pods/");
    if gone || uri.contains("watch=true") {
        let watched = uri.split_once("metadata.name%3D").map(|(_, rest)| pod_uri(rest.split('&').next().unwrap()));
        cluster.merge(watched.as_deref().unwrap_or(&uri), json!({ "metadata": { "finalizers": null } })).await;
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let reply = loop {
        let reply = cluster.send(method, &uri, &headers, request.get("body")).await;
        if !gone || exchange["status"] == reply.status || tokio::time::Instant::now() > deadline {
            break reply;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let context = format!("{name}: {method} {uri}\n{}", reply.text);
    assert_eq!(exchange["status"], reply.status, "{context}");
    assert_eq!(exchange["content_type"], reply.headers["content-type"].to_str().unwrap(), "{context}");
    if let Some(recorded) = exchange.get("body") {
        let mut body = reply.body.clone();
        if body["details"]["uid"].is_string() {
            body["details"]["uid"] = json!("UID");
        }
        assert_eq!(*recorded, body, "{context}");
    }
    if let Some(shape) = exchange.get("shape") {
        compare_shape(shape, &reply.text, &context);
    }
    if let Some(version) = reply.body["metadata"]["resourceVersion"].as_str() {
        version.clone_into(last_version);
    }
}

fn compare_shape(shape: &Value, text: &str, context: &str) {
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let object = if shape.get("type").is_some() { &first["object"] } else { &first };
    if let Some(event) = shape.get("type") {
        assert_eq!(*event, first["type"], "{context}");
    }
    assert_eq!(shape["kind"], object["kind"], "{context}");
    if let Some(api_version) = shape.get("apiVersion") {
        assert_eq!(*api_version, object["apiVersion"], "{context}");
    }
    if let Some(keys) = shape.get("keys") {
        let found: Vec<&String> = object.as_object().unwrap().keys().collect();
        assert_eq!(*keys, json!(found), "{context}");
    }
    if let Some(columns) = shape["columns"].as_array() {
        let found: Vec<&Value> =
            object["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]).take(columns.len()).collect();
        assert_eq!(json!(columns), json!(found), "{context}");
    }
}
