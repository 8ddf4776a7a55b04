//! Goal: what must not happen does not, and the refusals are the real server's. Method: send the wrong thing and compare whole bodies.

use serde_json::{Value, json};

use super::{Cluster, NODE, SUSPECT, node_uri, pod_uri};

const BUDGETS: &str = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets";

fn conflict(kind: &str, name: &str, why: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Conflict", "code": 409,
        "message": format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}"), "details": { "name": name, "kind": kind },
    })
}

fn budget(name: &str, app: &str, min_available: i32) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "minAvailable": min_available, "selector": { "matchLabels": { "app": app } } } })
}

#[tokio::test]
async fn a_wrong_uid_deletes_nothing() {
    let cluster = Cluster::start().await;
    let uid = cluster.uid(SUSPECT);
    let before = cluster.emulator.snapshot_state();
    let wrong = json!({ "preconditions": { "uid": "00000000-0000-4000-8000-000000000000" } });
    let expected = conflict(
        "Pod",
        SUSPECT,
        &format!(
            "the UID in the precondition (00000000-0000-4000-8000-000000000000) does not match the UID in record ({uid}). The object might \
             have been deleted and then recreated"
        ),
    );
    assert_eq!(cluster.delete(&pod_uri(SUSPECT), wrong.clone()).await.body, expected);
    assert_eq!(cluster.evict(SUSPECT, wrong).await.body, expected);
    assert_eq!(cluster.emulator.snapshot_state(), before);
    let right = cluster.evict(SUSPECT, json!({ "preconditions": { "uid": uid } })).await;
    assert_eq!(
        (right.status, right.body),
        (201, json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }))
    );
    cluster.done().await;
}

#[tokio::test]
async fn a_recreated_namesake_is_another_pod() {
    let cluster = Cluster::start().await;
    let old = cluster.uid("one-off");
    let new = cluster.emulator.recreate_pod("shop", "one-off").unwrap();
    assert_ne!(old, new);
    assert_eq!(cluster.uid("one-off"), new);
    assert_eq!(cluster.delete(&pod_uri("one-off"), json!({ "preconditions": { "uid": old } })).await.status, 409);
    assert_eq!(cluster.merge(&pod_uri("one-off"), json!({ "metadata": { "uid": old, "labels": { "a": "b" } } })).await.status, 422);
    assert_eq!(cluster.uid("one-off"), new);
    cluster.done().await;
}

#[tokio::test]
async fn a_patch_with_another_uid_is_invalid_and_a_stale_one_conflicts() {
    let cluster = Cluster::start().await;
    let before = cluster.emulator.snapshot_state();
    let wrong = cluster.merge(&node_uri(NODE), json!({ "metadata": { "uid": "other" }, "spec": { "unschedulable": true } })).await;
    let field =
        json!({ "reason": "FieldValueInvalid", "message": "Invalid value: \"other\": field is immutable", "field": "metadata.uid" });
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422,
        "message": format!("Node \"{NODE}\" is invalid: metadata.uid: Invalid value: \"other\": field is immutable"),
        "details": { "name": NODE, "kind": "Node", "causes": [field] },
    });
    assert_eq!(wrong.body, expected);
    let stale = cluster.merge(&pod_uri(SUSPECT), json!({ "metadata": { "resourceVersion": "1", "labels": { "a": "b" } } })).await;
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    assert_eq!(stale.body, conflict("pods", SUSPECT, why));
    assert_eq!(cluster.emulator.snapshot_state(), before);
    cluster.done().await;
}

#[tokio::test]
async fn a_budget_refuses_before_it_looks_at_the_uid() {
    let cluster = Cluster::start().await;
    cluster.emulator.set_min_available("shop", "checkout", 2).unwrap();
    let before = cluster.emulator.snapshot_state();
    let pod = "checkout-66c9d8b7f5-q4w7e";
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "TooManyRequests", "code": 429,
        "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "details": { "causes": [{ "reason": "DisruptionBudget", "message": "The disruption budget checkout needs 2 healthy pods and has 2 currently" }] },
    });
    for options in [json!({}), json!({ "preconditions": { "uid": "wrong" } })] {
        let reply = cluster.evict(pod, options).await;
        assert_eq!(reply.body, expected);
        assert_eq!(reply.headers.get("retry-after"), None);
    }
    assert_eq!(cluster.emulator.snapshot_state(), before);
    cluster.done().await;
}

#[tokio::test]
async fn a_wrong_uid_spends_a_yielding_budget_for_two_minutes() {
    let cluster = Cluster::start().await;
    let before = cluster.pods();
    let allowed = async || cluster.get(&format!("{BUDGETS}/checkout")).await.body["status"]["disruptionsAllowed"].clone();
    assert_eq!(allowed().await, 1);
    assert_eq!(cluster.evict("checkout-66c9d8b7f5-q4w7e", json!({ "preconditions": { "uid": "wrong" } })).await.status, 409);
    assert_eq!((cluster.pods(), allowed().await), (before, json!(0)));
    cluster.emulator.elapse(std::time::Duration::from_secs(125));
    assert_eq!(allowed().await, 1);
    cluster.done().await;
}

#[tokio::test]
async fn two_budgets_are_an_error_of_the_server() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.post(BUDGETS, budget("second", "checkout", 0)).await.status, 201);
    let reply = cluster.evict("checkout-66c9d8b7f5-q4w7e", json!({})).await;
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500,
        "message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    });
    assert_eq!((reply.status, reply.body), (500, expected));
    cluster.done().await;
}

#[tokio::test]
async fn priority_and_fairness_is_another_429() {
    let cluster = Cluster::start().await;
    cluster.emulator.refuse_evictions(1, 3);
    let reply = cluster.evict("one-off", json!({})).await;
    assert_eq!((reply.status, reply.text.as_str()), (429, "Too many requests, please try again later.\n"));
    assert_eq!(reply.headers["retry-after"], "3");
    assert_eq!(cluster.evict("one-off", json!({})).await.status, 201);
    cluster.done().await;
}

#[tokio::test]
async fn dry_runs_change_nothing_and_ask_for_each_pod_alone() {
    let cluster = Cluster::start().await;
    let before = cluster.emulator.snapshot_state();
    let version = async || cluster.get("/api/v1/pods").await.body["metadata"]["resourceVersion"].clone();
    let first = version().await;
    for pod in ["checkout-66c9d8b7f5-q4w7e", "checkout-66c9d8b7f5-r9t2y"] {
        assert_eq!(cluster.evict(pod, json!({ "dryRun": ["All"] })).await.status, 201);
    }
    assert_eq!(cluster.delete(&format!("{}?dryRun=All", pod_uri(SUSPECT)), json!({})).await.status, 200);
    let patched = cluster.merge(&format!("{}?dryRun=All", pod_uri(SUSPECT)), json!({ "metadata": { "labels": { "a": "b" } } })).await;
    assert_eq!(patched.body["metadata"]["labels"]["a"], "b");
    assert_eq!((version().await, cluster.emulator.snapshot_state()), (first, before));
    cluster.done().await;
}

#[tokio::test]
async fn tolerations_only_grow_and_only_their_seconds_change() {
    let cluster = Cluster::start().await;
    let tolerations = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut all = cluster.pods()[format!("shop/{SUSPECT}")]["tolerations"].as_array().unwrap().clone();
        change(&mut all);
        json!({ "spec": { "tolerations": all } })
    };
    let unlimited = tolerations(&|all| {
        all.iter_mut().for_each(|t| {
            t.as_object_mut().unwrap().remove("tolerationSeconds");
        });
    });
    assert_eq!(cluster.merge(&pod_uri(SUSPECT), unlimited).await.status, 200);
    let added = tolerations(&|all| all.push(json!({ "key": "example.com/x", "operator": "Exists" })));
    assert_eq!(cluster.merge(&pod_uri(SUSPECT), added).await.status, 200);
    let removed = tolerations(&|all| {
        all.pop();
    });
    let refused = cluster.merge(&pod_uri(SUSPECT), removed).await;
    let message = format!(
        "Pod \"{SUSPECT}\" is invalid: spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    );
    assert_eq!((refused.status, refused.body["message"].as_str().unwrap()), (422, message.as_str()));
    cluster.done().await;
}

#[tokio::test]
async fn nothing_unknown_is_accepted() {
    let cluster = Cluster::start().await;
    let pods = "/api/v1/namespaces/shop/pods";
    let statuses = [
        (404, cluster.get("/api/v1/nonsense").await),
        (404, cluster.get("/apis/nonsense.example.com/v1/things").await),
        (404, cluster.get(&format!("{pods}/{SUSPECT}/nonsense")).await),
        (404, cluster.get(&format!("{pods}/nosuch")).await),
        (400, cluster.get(&format!("{pods}?nonsense=1")).await),
        (400, cluster.get(&format!("{pods}?fieldSelector=spec.nonsense%3D1")).await),
        (400, cluster.get(&format!("{pods}?labelSelector=a+b")).await),
        (400, cluster.delete(&pod_uri(SUSPECT), json!({ "nonsense": 1 })).await),
        (400, cluster.merge(&pod_uri(SUSPECT), json!({ "nonsense": 1 })).await),
        (400, cluster.evict(SUSPECT, json!({ "nonsense": 1 })).await),
        (400, cluster.post(BUDGETS, json!({ "metadata": { "name": "b" }, "spec": {}, "nonsense": 1 })).await),
        (404, cluster.post("/api/v1/namespaces/nosuch/configmaps", json!({ "metadata": { "name": "c" } })).await),
        (409, cluster.post(BUDGETS, budget("checkout", "checkout", 1)).await),
        (422, cluster.merge(&pod_uri(SUSPECT), json!({ "metadata": { "labels": { "a": "no spaces" } } })).await),
        (422, cluster.merge(&pod_uri(SUSPECT), json!({ "spec": { "nodeName": "elsewhere" } })).await),
        (405, cluster.post("/api/v1/pods", json!({})).await),
        (405, cluster.send("PUT", pods, &[], None).await),
        (415, cluster.send("PATCH", &pod_uri(SUSPECT), &[("content-type", "application/apply-patch+yaml")], Some(&json!({}))).await),
        (406, cluster.send("GET", pods, &[("accept", "application/vnd.kubernetes.protobuf")], None).await),
    ];
    for (expected, reply) in statuses {
        assert_eq!(
            (expected, expected),
            (reply.status, reply.body["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap()),
            "{}",
            reply.text
        );
        assert_eq!(reply.body["kind"], "Status");
    }
    let unknown = cluster.get("/api/v1/nonsense").await.body;
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404, "details": {},
        "message": "the server could not find the requested resource",
    });
    assert_eq!(unknown, expected);
    cluster.done().await;
}

#[tokio::test]
async fn lists_come_in_pages_and_forms() {
    let cluster = Cluster::start().await;
    let all = cluster.get("/api/v1/pods").await.body;
    let names = |list: &Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let page = cluster.get(&format!("/api/v1/pods?limit=4&continue={token}")).await.body;
        paged.extend(names(&page));
        match page["metadata"]["continue"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!(paged, names(&all));
    let on_node = cluster
        .get(&format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{NODE}&labelSelector=app+in+(cart,search),!quarantine"))
        .await
        .body;
    assert_eq!(names(&on_node), [SUSPECT, "search-5b8d7f9c44-k6m2p"]);
    let accept = [("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")];
    let metadata = cluster.send("GET", "/api/v1/nodes", &accept, None).await.body;
    assert_eq!((metadata["kind"].as_str(), metadata["items"][0].get("spec")), (Some("PartialObjectMetadataList"), None));
    cluster.done().await;
}

#[tokio::test]
async fn a_watch_tells_what_comes_into_and_goes_out_of_its_selection() {
    let cluster = Cluster::start().await;
    let version = cluster.get("/api/v1/pods").await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    for value in [json!("true"), json!("again"), Value::Null] {
        cluster.merge(&pod_uri(SUSPECT), json!({ "metadata": { "labels": { "quarantine": value } } })).await;
    }
    let watch = format!(
        "/api/v1/namespaces/shop/pods?watch=true&labelSelector=quarantine&resourceVersion={version}&timeoutSeconds=1&allowWatchBookmarks=true"
    );
    let text = cluster.get(&watch).await.text;
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<(&str, &str)> =
        events.iter().map(|e| (e["type"].as_str().unwrap(), e["object"]["metadata"]["name"].as_str().unwrap_or_default())).collect();
    assert_eq!(told, [("ADDED", SUSPECT), ("MODIFIED", SUSPECT), ("DELETED", SUSPECT), ("BOOKMARK", "")]);
    cluster.done().await;
}

#[tokio::test]
async fn nodes_say_where_their_instances_are() {
    let cluster = Cluster::start().await;
    let node = cluster.get(&node_uri(NODE)).await.body;
    let facts = json!([
        node["spec"]["providerID"],
        node["metadata"]["annotations"]["container.googleapis.com/instance_id"],
        node["metadata"]["labels"]["cloud.google.com/gke-nodepool"],
        node["status"]["nodeInfo"]["containerRuntimeVersion"],
        node["status"]["addresses"][1],
    ]);
    let expected = json!([
        format!("gce://sandbox-project/us-central1-a/{NODE}"), "6120613059854544701", "public", "containerd://1.7.28",
        { "type": "ExternalIP", "address": "203.0.113.11" },
    ]);
    assert_eq!(facts, expected);
    let logs = cluster.get(&format!("{}/log?container=cart&tailLines=1", pod_uri(SUSPECT))).await.text;
    assert!(logs.contains("xmrig"), "{logs}");
    let events = cluster.get(&format!("/api/v1/namespaces/shop/events?fieldSelector=involvedObject.name%3D{SUSPECT}")).await.body;
    assert_eq!(events["items"].as_array().unwrap().len(), 2);
    let review = json!({ "spec": { "resourceAttributes": { "verb": "create", "resource": "pods", "subresource": "eviction" } } });
    let allowed = cluster.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review).await;
    assert_eq!((allowed.status, &allowed.body["status"]["allowed"]), (201, &json!(true)));
    cluster.done().await;
}
