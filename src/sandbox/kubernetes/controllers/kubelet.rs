//! The kubelets: pods start at once, stop after a moment, and do neither while their node cannot be reached.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{nodes, record_event, runtime};
use crate::sandbox::kubernetes::cluster::State;
use crate::sandbox::kubernetes::object::{at, items, name, namespace, put, rfc3339, set_condition, terminating, text, uid};
use crate::sandbox::kubernetes::resources::{NODES, PODS};

/// Second octets of pod addresses start here; GKE's default pod range is 10.4.0.0/14.
const POD_NETWORK: u32 = 0x0A04_0000;

/// Addresses at the start of the range that no pod gets: the bridge and its neighbours.
const RESERVED_ADDRESSES: u32 = 10;

/// When the kubelets that can be reached will be done with a pod.
pub fn due(state: &State) -> impl Iterator<Item = Timestamp> {
    let stopping = state.store.list(&PODS, None).filter(|pod| terminating(pod) && nodes::ready(state, text(pod, &["spec", "nodeName"])));
    stopping.filter_map(|pod| state.removals.get(uid(pod)).copied())
}

/// Removes the pods that have stopped.
pub fn stop_pods(state: &mut State, now: Timestamp) {
    for pod in state.store.all(&PODS).into_iter().filter(|pod| terminating(pod)) {
        let stopped = state.removals.get(uid(&pod)).is_none_or(|until| *until <= now);
        let held = !items(&pod, &["metadata", "finalizers"]).is_empty();
        if stopped && !held && nodes::ready(state, text(&pod, &["spec", "nodeName"])) {
            record_event(
                state,
                &pod,
                "kubelet",
                "Normal",
                "Killing",
                &format!("Stopping container {}", container_names(&pod).join(", ")),
                now,
            );
            state.removals.remove(uid(&pod));
            // The kubelet's last word is a deletion without grace, which watches see as a change before the end.
            let mut stopped = Arc::unwrap_or_clone(Arc::clone(&pod));
            put(&mut stopped, &["metadata", "deletionGracePeriodSeconds"], 0);
            put(&mut stopped, &["metadata", "deletionTimestamp"], rfc3339(now));
            state.store.replace(&PODS, stopped);
            state.store.remove(&PODS, namespace(&pod), name(&pod));
        }
    }
}

/// Starts the pods that were assigned, and shows static pods.
pub fn run_pods(state: &mut State, now: Timestamp) {
    for mirror in state.static_pods.clone() {
        let node = text(&mirror, &["spec", "nodeName"]);
        if nodes::ready(state, node) && state.store.get(&PODS, namespace(&mirror), name(&mirror)).is_none() {
            let mut mirror = mirror.clone();
            let owner = state
                .store
                .get(&NODES, "", node)
                .map(|n| json!({ "apiVersion": "v1", "kind": "Node", "name": name(n), "uid": uid(n), "controller": true }));
            put(&mut mirror, &["metadata", "ownerReferences"], owner.into_iter().collect::<Vec<_>>());
            state.store.create(&PODS, mirror, now);
        }
    }
    for pod in state.store.all(&PODS) {
        let node = text(&pod, &["spec", "nodeName"]).to_owned();
        if text(&pod, &["status", "phase"]) == "Pending" && !terminating(&pod) && nodes::ready(state, &node) {
            match runtime::run(state, &pod, now) {
                Some(Some((exit, output))) => {
                    let mut pod = Arc::unwrap_or_clone(pod);
                    state.logs.insert(runtime::log_key(&pod), output);
                    let status = runtime::ended_status(&pod, exit, now);
                    put(&mut pod, &["status"], status);
                    state.store.replace(&PODS, pod);
                }
                Some(None) | None => start(state, Arc::unwrap_or_clone(pod), &node, now),
            }
        }
    }
}

/// The names of a pod's containers.
pub fn container_names(pod: &Value) -> Vec<&str> {
    items(pod, &["spec", "containers"]).iter().map(|container| text(container, &["name"])).collect()
}

fn start(state: &mut State, mut pod: Value, node: &str, now: Timestamp) {
    let host_ip = state.store.get(&NODES, "", node).map(internal_ip).unwrap_or_default();
    let pod_ip = match at(&pod, &["spec", "hostNetwork"]).as_bool() {
        Some(true) => host_ip.clone(),
        Some(false) | None => {
            state.pods_started += 1;
            std::net::Ipv4Addr::from(POD_NETWORK + RESERVED_ADDRESSES + state.pods_started).to_string()
        }
    };
    for kind in ["PodReadyToStartContainers", "Initialized", "ContainersReady", "PodScheduled", "Ready"] {
        set_condition(&mut pod, json!({ "type": kind, "status": "True" }), now);
    }
    let containers: Vec<Value> = items(&pod, &["spec", "containers"]).iter().map(|c| container_status(c, uid(&pod), now)).collect();
    put(&mut pod, &["status", "containerStatuses"], containers);
    put(&mut pod, &["status", "phase"], "Running");
    put(&mut pod, &["status", "startTime"], rfc3339(now));
    put(&mut pod, &["status", "hostIP"], host_ip.clone());
    put(&mut pod, &["status", "hostIPs"], json!([{ "ip": host_ip }]));
    put(&mut pod, &["status", "podIP"], pod_ip.clone());
    put(&mut pod, &["status", "podIPs"], json!([{ "ip": pod_ip }]));
    state.store.replace(&PODS, pod);
}

fn internal_ip(node: &Value) -> String {
    let addresses = items(node, &["status", "addresses"]);
    addresses.iter().find(|a| text(a, &["type"]) == "InternalIP").map(|a| text(a, &["address"]).to_owned()).unwrap_or_default()
}

fn container_status(container: &Value, pod_uid: &str, now: Timestamp) -> Value {
    let image = text(container, &["image"]);
    json!({
        "name": at(container, &["name"]), "image": image, "imageID": hex_of_image(image),
        "containerID": format!("containerd://{}", container_id(pod_uid, text(container, &["name"]), 0)),
        "ready": true, "started": true, "restartCount": 0, "lastState": {}, "state": { "running": { "startedAt": rfc3339(now) } },
    })
}

/// How the runtime names an image.
pub fn hex_of_image(image: &str) -> String {
    let repository = image.rsplit_once(':').map_or(image, |(repository, _)| repository);
    format!("{repository}@sha256:{}", hex(&Sha256::digest(image)))
}

/// The runtime's id of a container, after so many restarts.
pub fn container_id(pod_uid: &str, container: &str, restarts: i64) -> String {
    let run = if restarts == 0 { String::new() } else { format!(" {restarts}") };
    hex(&Sha256::digest(format!("{pod_uid} {container}{run}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
