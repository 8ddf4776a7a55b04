//! The nodes' container runtime, as far as a privileged pod reaches it: `nsenter` into the node, and `crictl` there.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kubelet::{container_id, hex_of_image};
use crate::sandbox::kubernetes::cluster::State;
use crate::sandbox::kubernetes::object::{at, items, items_mut, name, namespace, number, put, rfc3339, text, uid};
use crate::sandbox::kubernetes::resources::PODS;

/// What a process that SIGKILL ended leaves.
const KILLED: i64 = 137;

/// A container that has ended and is not removed.
#[derive(Clone, Debug)]
pub struct Remains {
    node: String,
    pod_uid: String,
    container: String,
}

/// What a program printed, and its exit status; `None` if it never ends.
pub type Ended = Option<(i64, String)>;

/// Runs the program of a pod's only container, if it is one that works on the node.
pub fn run(state: &mut State, pod: &Value, now: Timestamp) -> Option<Ended> {
    let [container] = items(pod, &["spec", "containers"]) else { return None };
    let command: Vec<String> = items(container, &["command"]).iter().filter_map(|word| word.as_str().map(str::to_owned)).collect();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let ["nsenter", entering @ ..] = command.as_slice() else { return None };
    let privileged = at(container, &["securityContext", "privileged"]) == &json!(true) && at(pod, &["spec", "hostPID"]) == &json!(true);
    let node = text(pod, &["spec", "nodeName"]);
    Some(match entering {
        _ if !privileged => failed(1, "nsenter: cannot open /proc/1/ns/mnt: Permission denied"),
        ["--target", "1", "--mount", "--", "crictl", ..] if state.hung_runtimes.contains(node) => None,
        ["--target", "1", "--mount", "--", "crictl", words @ ..] => crictl(state, node, words, now),
        ["--target", "1", "--mount", "--", program, ..] => {
            failed(127, &format!("nsenter: failed to execute {program}: No such file or directory"))
        }
        _ => failed(1, "nsenter: bad usage"),
    })
}

fn failed(exit: i64, words: &str) -> Ended {
    Some((exit, format!("{words}\n")))
}

fn crictl(state: &mut State, node: &str, words: &[&str], now: Timestamp) -> Ended {
    let (id, seconds, removes) = match words {
        ["ps", "-a", "--id", id, "-o", "json"] => return Some((0, listed(state, node, id))),
        ["stop", id] => (*id, 0, false),
        ["stop", "--timeout", seconds, id] => match seconds.parse::<u32>() {
            Ok(seconds) => (*id, seconds, false),
            Err(_) => return failed(1, "Incorrect Usage: invalid value for flag -timeout"),
        },
        ["rm", "-f", id] => (*id, 0, true),
        _ => return failed(1, "No help topic for that"),
    };
    if running(state, node, id).is_none() && state.remains.get(id).is_none_or(|remains| remains.node != node) {
        let what = if removes { "removing" } else { "stopping" };
        let words =
            format!("FATA[0000] {what} the container \"{id}\": rpc error: code = NotFound desc = could not find container \"{id}\"");
        return failed(1, &words);
    }
    // Whoever resists is only killed.
    if seconds == 0 || !state.resisting.contains(id) {
        end(state, node, id, now);
    }
    if removes {
        state.remains.remove(id);
    }
    Some((0, format!("{id}\n")))
}

/// The pod of a running container, and its name there.
fn running(state: &State, node: &str, id: &str) -> Option<(Arc<Value>, String)> {
    let pods = state.store.list(&PODS, None).filter(|pod| text(pod, &["spec", "nodeName"]) == node);
    let mut found = pods.flat_map(|pod| items(pod, &["status", "containerStatuses"]).iter().map(move |status| (pod, status)));
    let ours =
        |status: &Value| text(status, &["containerID"]).ends_with(&format!("://{id}")) && !at(status, &["state", "running"]).is_null();
    let (pod, status) = found.find(|(_, status)| ours(status))?;
    Some((Arc::clone(pod), text(status, &["name"]).to_owned()))
}

fn listed(state: &State, node: &str, id: &str) -> String {
    let show = |pod_uid: &str, container: &str, as_is: &str| {
        let labels = json!({ "io.kubernetes.pod.uid": pod_uid, "io.kubernetes.container.name": container });
        json!({ "id": id, "metadata": { "name": container, "attempt": 0 }, "state": as_is, "labels": labels, "annotations": {} })
    };
    let found = match (running(state, node, id), state.remains.get(id).filter(|remains| remains.node == node)) {
        (Some((pod, container)), _) => vec![show(uid(&pod), &container, "CONTAINER_RUNNING")],
        (None, Some(remains)) => vec![show(&remains.pod_uid, &remains.container, "CONTAINER_EXITED")],
        (None, None) => vec![],
    };
    let list = serde_json::to_string_pretty(&json!({ "containers": found })).unwrap_or_default();
    format!("WARN[0000] runtime connect using default endpoints: [unix:///run/containerd/containerd.sock]\n{list}\n")
}

/// The container ends, and the kubelet starts it again where the pod wants that.
fn end(state: &mut State, node: &str, id: &str, now: Timestamp) {
    let Some((pod, container)) = running(state, node, id) else { return };
    let mut pod = Arc::unwrap_or_clone(pod);
    let remains = Remains { node: node.to_owned(), pod_uid: uid(&pod).to_owned(), container: container.clone() };
    state.remains.insert(id.to_owned(), remains);
    let (again, pod_uid) = (text(&pod, &["spec", "restartPolicy"]) != "Never", uid(&pod).to_owned());
    let statuses = items_mut(&mut pod, &["status", "containerStatuses"]).into_iter().flatten();
    for status in statuses.filter(|status| text(status, &["name"]) == container) {
        let terminated = json!({ "terminated": {
            "exitCode": KILLED, "reason": "Error", "containerID": format!("containerd://{id}"), "finishedAt": rfc3339(now),
            "startedAt": at(status, &["state", "running", "startedAt"]),
        } });
        if again {
            let count = number(status, &["restartCount"]) + 1;
            put(status, &["lastState"], terminated);
            put(status, &["restartCount"], count);
            put(status, &["containerID"], format!("containerd://{}", container_id(&pod_uid, &container, count)));
            put(status, &["state"], json!({ "running": { "startedAt": rfc3339(now) } }));
        } else {
            put(status, &["state"], terminated);
            put(status, &["ready"], false);
        }
    }
    if !again {
        put(&mut pod, &["status", "phase"], "Failed");
    }
    state.store.replace(&PODS, pod);
}

/// What the kubelet says of a pod whose program has ended already.
pub fn ended_status(pod: &Value, exit: i64, now: Timestamp) -> Value {
    let container = items(pod, &["spec", "containers"]).first().cloned().unwrap_or_default();
    let (image, reason) = (text(&container, &["image"]), if exit == 0 { "Completed" } else { "Error" });
    let id = format!("containerd://{}", container_id(uid(pod), text(&container, &["name"]), 0));
    json!({
        "phase": if exit == 0 { "Succeeded" } else { "Failed" }, "qosClass": "BestEffort", "startTime": rfc3339(now),
        "containerStatuses": [{
            "name": at(&container, &["name"]), "image": image, "imageID": hex_of_image(image), "containerID": id, "ready": false,
            "started": false, "restartCount": 0, "lastState": {},
            "state": { "terminated": {
                "exitCode": exit, "reason": reason, "containerID": id, "startedAt": rfc3339(now), "finishedAt": rfc3339(now),
            } },
        }],
    })
}

/// Where a pod's log is kept.
pub fn log_key(pod: &Value) -> (String, String) {
    let container = items(pod, &["spec", "containers"]).first().map(|container| text(container, &["name"]).to_owned());
    (uid(pod).to_owned(), container.unwrap_or_default())
}

/// The id of a pod's running container.
pub fn id_of(state: &State, ns: &str, pod: &str, container: &str) -> Option<String> {
    let found = state.store.list(&PODS, Some(ns)).find(|found| name(found) == pod && namespace(found) == ns)?;
    let status = items(found, &["status", "containerStatuses"]).iter().find(|status| text(status, &["name"]) == container)?;
    text(status, &["containerID"]).split_once("://").map(|(_, id)| id.to_owned())
}
