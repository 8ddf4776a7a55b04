//! The node life cycle: taints that follow from a node's state, and eviction by `NoExecute` taints.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{pods, record_event};
use crate::sandbox::kubernetes::cluster::State;
use crate::sandbox::kubernetes::deletion::{Options, delete};
use crate::sandbox::kubernetes::object::{
    at, condition_is, items, name, namespace, put, rfc3339, set_condition, take, terminating, text, time, uid,
};
use crate::sandbox::kubernetes::resources::{NODES, PODS};

/// Whether the node's kubelet can be reached and is well.
pub fn is_ready(node: &Value) -> bool {
    condition_is(node, "Ready", "True")
}

/// Whether the named node exists and is ready.
pub fn ready(state: &State, node: &str) -> bool {
    state.store.get(&NODES, "", node).is_some_and(is_ready)
}

/// Keeps taints and conditions true, and evicts.
pub fn react(state: &mut State, now: Timestamp) {
    for node in state.store.all(&NODES) {
        let mut node = Arc::unwrap_or_clone(node);
        set_taints(&mut node, now);
        state.store.replace(&NODES, node.clone());
        let well = is_ready(&node);
        for pod in state.store.all(&PODS).into_iter().filter(|pod| text(pod, &["spec", "nodeName"]) == name(&node)) {
            follow_node(state, &pod, well, now);
            evict_by_taint(state, &pod, &node, now);
        }
    }
    let State { store, taint_evictions, .. } = state;
    taint_evictions.retain(|uid_, _| store.list(&PODS, None).any(|pod| uid(pod) == uid_ && !terminating(pod)));
}

fn set_taints(node: &mut Value, now: Timestamp) {
    let unreachable = condition_is(node, "Ready", "Unknown");
    let not_ready = condition_is(node, "Ready", "False");
    let wanted = [
        ("node.kubernetes.io/unreachable", "NoSchedule", unreachable),
        ("node.kubernetes.io/unreachable", "NoExecute", unreachable),
        ("node.kubernetes.io/not-ready", "NoSchedule", not_ready),
        ("node.kubernetes.io/not-ready", "NoExecute", not_ready),
        ("node.kubernetes.io/unschedulable", "NoSchedule", at(node, &["spec", "unschedulable"]) == &json!(true)),
    ];
    let mut taints = items(node, &["spec", "taints"]).to_vec();
    for (key, effect, wanted) in wanted {
        let is_it = |taint: &Value| text(taint, &["key"]) == key && text(taint, &["effect"]) == effect;
        match (wanted, taints.iter().any(is_it)) {
            (true, false) => taints.push(json!({ "key": key, "effect": effect, "timeAdded": rfc3339(now) })),
            (false, true) => taints.retain(|taint| !is_it(taint)),
            (true, true) | (false, false) => {}
        }
    }
    match taints.is_empty() {
        true => {
            take(node, &["spec", "taints"]);
        }
        false => put(node, &["spec", "taints"], taints),
    }
}

/// A pod is not ready on a node that is not, and is ready again with it.
fn follow_node(state: &mut State, pod: &Value, well: bool, now: Timestamp) {
    if text(pod, &["status", "phase"]) != "Running" || terminating(pod) || condition_is(pod, "Ready", if well { "True" } else { "False" }) {
        return;
    }
    let ready = if well {
        json!({ "type": "Ready", "status": "True" })
    } else {
        json!({ "type": "Ready", "status": "False", "reason": "NodeNotReady" })
    };
    let mut pod = pod.clone();
    set_condition(&mut pod, ready, now);
    state.store.replace(&PODS, pod);
}

fn evict_by_taint(state: &mut State, pod: &Value, node: &Value, now: Timestamp) {
    if terminating(pod) {
        return;
    }
    let taints = || items(node, &["spec", "taints"]).iter().filter(|taint| text(taint, &["effect"]) == "NoExecute");
    let Some(patience) = taints().map(|taint| patience(pod, taint, now)).min() else {
        state.taint_evictions.remove(uid(pod));
        return;
    };
    let Patience::Until(until) = patience else {
        // Removing the limit calls an eviction off even when it is already planned; a longer limit does not.
        state.taint_evictions.remove(uid(pod));
        return;
    };
    let due = state.taint_evictions.get(uid(pod)).map_or(until, |planned| until.min(*planned));
    if due > now {
        state.taint_evictions.insert(uid(pod).into(), due);
        return;
    }
    state.taint_evictions.remove(uid(pod));
    record_event(state, pod, "taint-eviction-controller", "Normal", "TaintManagerEviction", "Marking for deletion Pod", now);
    let _ = delete(state, &PODS, namespace(pod), name(pod), &Options::default(), now);
}

/// How long a pod stays despite a taint; the shortest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Patience {
    Until(Timestamp),
    Forever,
}

fn patience(pod: &Value, taint: &Value, now: Timestamp) -> Patience {
    let since = time(taint, &["timeAdded"]).unwrap_or(now);
    match pods::toleration_of(pod, taint).map(|toleration| at(toleration, &["tolerationSeconds"]).as_i64()) {
        None => Patience::Until(now),
        Some(None) => Patience::Forever,
        Some(Some(seconds)) => Patience::Until(since.checked_add(SignedDuration::from_secs(seconds.max(0))).unwrap_or(Timestamp::MAX)),
    }
}
