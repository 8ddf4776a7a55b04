//! Operations: when they are done, how they fail, and what a repeated request does.

use axum::http::StatusCode;
use serde_json::{Value, json};
use stanch::sandbox::compute::OperationFailure;
use stanch::sandbox::server::{Fault, FaultRule};

use super::{Compute, GLOBAL, NODE, ZONE, error, instance_uri};

const REQUEST_ID: &str = "7b1c7c3e-2f0a-4b8e-9a55-0d5a3c6f1e01";

fn snapshot_uri(query: &str) -> String {
    format!("{ZONE}/disks/{NODE}/createSnapshot{query}")
}

async fn tags(compute: &Compute, tags: Value) -> Value {
    json!({ "items": tags, "fingerprint": compute.instance(NODE).await["tags"]["fingerprint"] })
}

/// Goal: a request that is repeated under its id does nothing twice. Method: the same request again, another one under the same id, no id.
#[tokio::test]
async fn a_request_id_makes_a_request_idempotent() {
    let compute = Compute::start().await;
    let (uri, body) = (snapshot_uri(&format!("?requestId={REQUEST_ID}")), json!({ "name": "i1-boot" }));
    let (_, first) = compute.send("POST", &uri, Some(&body)).await;
    let (status, second) = compute.send("POST", &uri, Some(&body)).await;
    assert_eq!((status, &second), (200, &first));
    compute.wait(&first).await;
    let (_, done) = compute.send("POST", &uri, Some(&body)).await;
    assert_eq!((&done["name"], &done["status"]), (&first["name"], &json!("DONE")));
    let (status, answer) = compute.send("POST", &uri, Some(&json!({ "name": "i2-boot" }))).await;
    assert_eq!((status, &answer["error"]["errors"][0]["reason"]), (400, &json!("invalid")));
    let exists = "The resource 'projects/sandbox-project/global/snapshots/i1-boot' already exists";
    assert_eq!(compute.send("POST", &snapshot_uri(""), Some(&body)).await, (409, error(409, "alreadyExists", exists)));
    for bad in ["not-a-uuid", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(compute.send("POST", &snapshot_uri(&format!("?requestId={bad}")), Some(&body)).await.0, 400);
    }
    assert_eq!(compute.emulator.snapshot_state()["snapshots"].as_object().unwrap().len(), 1);
    compute.done().await;
}

/// Goal: an answer that was lost can be had again. Method: the connection breaks after the effect, the client repeats.
#[tokio::test]
async fn a_lost_answer_is_had_again() {
    let compute = Compute::start().await;
    let uri = snapshot_uri(&format!("?requestId={REQUEST_ID}"));
    compute.emulator.wire().inject(FaultRule {
        method: None,
        uri_contains: "createSnapshot".into(),
        skip: 0,
        times: 1,
        fault: Fault::ResetAfter,
    });
    let body = json!({ "name": "i1-boot" });
    let lost = compute.http.post(format!("{}{uri}", compute.emulator.url())).body(body.to_string()).send().await;
    assert!(lost.is_err());
    assert_eq!(compute.mutate("POST", &uri, body).await["status"], "DONE");
    assert_eq!(compute.emulator.mutating_calls().len(), 2);
    assert_eq!(compute.emulator.snapshot_state()["snapshots"].as_object().unwrap().len(), 1);
    compute.done().await;
}

/// Goal: who does not wait reads the past. Method: an operation that takes three looks.
#[tokio::test]
async fn an_operation_takes_effect_when_it_is_done() {
    let compute = Compute::start().await;
    compute.emulator.set_operation_looks_of("setTags", 3);
    let body = tags(&compute, json!(["quarantine"])).await;
    let (_, operation) = compute.send("POST", &format!("{}/setTags", instance_uri(NODE)), Some(&body)).await;
    assert_eq!((&operation["status"], &operation["progress"]), (&json!("RUNNING"), &json!(0)));
    let uri = format!("{ZONE}/operations/{}", operation["name"].as_str().unwrap());
    assert_eq!(compute.get(&uri).await["status"], "RUNNING");
    assert_eq!(compute.instance(NODE).await["tags"]["items"], json!(["gke-sandbox-node"]));
    assert_eq!(compute.send("POST", &format!("{uri}/wait"), None).await.1["status"], "RUNNING");
    assert_eq!(compute.send("POST", &format!("{uri}/wait"), None).await.1["status"], "DONE");
    assert_eq!(compute.instance(NODE).await["tags"]["items"], json!(["quarantine"]));
    assert_eq!(compute.get(&format!("{ZONE}/operations")).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(compute.emulator.overlapping_operations(), Vec::<String>::new());
    compute.done().await;
}

/// Goal: of two writers under one fingerprint one fails, at the latest in its operation; the overlap is noted.
#[tokio::test]
async fn two_writers_cannot_both_win() {
    let compute = Compute::start().await;
    let uri = format!("{}/setTags", instance_uri(NODE));
    let (one, other) = (tags(&compute, json!(["one"])).await, tags(&compute, json!(["other"])).await);
    let (_, first) = compute.send("POST", &uri, Some(&one)).await;
    let (_, second) = compute.send("POST", &uri, Some(&other)).await;
    assert_eq!(compute.wait(&first).await.get("error"), None);
    let failed = compute.wait(&second).await;
    assert_eq!((&failed["httpErrorStatusCode"], &failed["error"]["errors"][0]["code"]), (&json!(412), &json!("CONDITION_NOT_MET")));
    assert_eq!(compute.instance(NODE).await["tags"]["items"], json!(["one"]));
    let path = format!("projects/sandbox-project/zones/us-central1-a/instances/{NODE}");
    assert_eq!(compute.emulator.overlapping_operations(), [format!("setTags {path}")]);
    compute.done().await;
}

/// Goal: an operation that was accepted can fail, and then nothing has happened.
#[tokio::test]
async fn a_failed_operation_has_no_effect() {
    let compute = Compute::start().await;
    let failure = OperationFailure::bad_request("RESOURCE_OPERATION_RATE_EXCEEDED", "Operation rate exceeded for the disk.");
    compute.emulator.fail_next_operation("createSnapshot", failure);
    let failed = compute.mutate("POST", &snapshot_uri(""), json!({ "name": "i1-boot" })).await;
    let errors = json!([{ "code": "RESOURCE_OPERATION_RATE_EXCEEDED", "message": "Operation rate exceeded for the disk." }]);
    assert_eq!((&failed["status"], &failed["httpErrorStatusCode"], &failed["error"]["errors"]), (&json!("DONE"), &json!(400), &errors));
    assert_eq!(compute.emulator.snapshot_state()["snapshots"], json!({}));
    compute.mutate("POST", &snapshot_uri(""), json!({ "name": "i1-boot" })).await;
    compute.done().await;
}

/// Goal: a snapshot that was taken is not yet one that can be used. Method: look at it before and after its operation.
#[tokio::test]
async fn a_snapshot_is_ready_some_time_after_its_operation() {
    let compute = Compute::start().await;
    compute.emulator.set_snapshot_looks(2);
    let body = json!({ "name": "i1-boot", "labels": { "incident": "i1" } });
    let (_, operation) = compute.send("POST", &snapshot_uri("?guestFlush=False"), Some(&body)).await;
    let uri = format!("{GLOBAL}/snapshots/i1-boot");
    assert_eq!(compute.get(&uri).await["status"], "CREATING");
    compute.wait(&operation).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let snapshot = compute.get(&uri).await;
        seen.push(snapshot["status"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["CREATING", "CREATING", "READY"]);
    let listed = compute.get(&format!("{GLOBAL}/snapshots?filter=labels.incident%3Di1")).await;
    assert_eq!(listed["items"][0]["sourceDiskId"], compute.get(&format!("{ZONE}/disks/{NODE}")).await["id"]);
    let insert = json!({ "name": "i1-data", "sourceDisk": format!("{}{ZONE}/disks/pvc-orders-0", compute.emulator.url()) });
    compute.mutate("POST", &format!("{GLOBAL}/snapshots"), insert).await;
    compute.mutate("DELETE", &format!("{GLOBAL}/snapshots/i1-data"), json!({})).await;
    assert_eq!(compute.emulator.snapshot_state()["snapshots"].as_object().unwrap().len(), 1);
    compute.done().await;
}

/// Goal: throttling and missing rights can be played at the wire.
#[tokio::test]
async fn throttling_comes_from_the_wire() {
    let compute = Compute::start().await;
    let body = error(403, "rateLimitExceeded", "Rate Limit Exceeded");
    let fault = Fault::Answer { status: StatusCode::FORBIDDEN, headers: Vec::new(), body: body.clone() };
    compute.emulator.wire().inject(FaultRule { method: None, uri_contains: "/instances/".into(), skip: 0, times: 1, fault });
    assert_eq!(compute.send("GET", &instance_uri(NODE), None).await, (403, body));
    assert_eq!(compute.instance(NODE).await["name"], NODE);
    compute.done().await;
}
