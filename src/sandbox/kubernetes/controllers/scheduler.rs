//! The scheduler: an unassigned pod goes to the emptiest node that may take it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{nodes, pods, record_event};
use crate::sandbox::kubernetes::cluster::State;
use crate::sandbox::kubernetes::object::{
    at, condition_is, controller_of, entries, items, name, namespace, put, set_condition, terminating, text,
};
use crate::sandbox::kubernetes::resources::{NODES, PODS};

/// Pods that fit on one node: GKE's default.
pub const PODS_PER_NODE: usize = 110;

/// Assigns every pod that has no node, if it can.
pub fn react(state: &mut State, now: Timestamp) {
    for pod in state.store.all(&PODS) {
        if !text(&pod, &["spec", "nodeName"]).is_empty() || terminating(&pod) {
            continue;
        }
        match choose(state, &pod) {
            Some(node) => assign(state, Arc::unwrap_or_clone(pod), &node, now),
            None => refuse(state, Arc::unwrap_or_clone(pod), now),
        }
    }
}

/// Puts a pod on a node.
pub fn bind(pod: &mut Value, node: &str, now: Timestamp) {
    put(pod, &["spec", "nodeName"], node);
    set_condition(pod, json!({ "type": "PodScheduled", "status": "True" }), now);
}

/// Whether the node may take the pod: cordon, taints, selector.
pub fn fits(node: &Value, pod: &Value) -> bool {
    let taints = items(node, &["spec", "taints"]);
    let tolerated = taints.iter().filter(|t| text(t, &["effect"]) != "PreferNoSchedule").all(|t| pods::toleration_of(pod, t).is_some());
    let unschedulable = json!({ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" });
    let open = at(node, &["spec", "unschedulable"]) != &json!(true) || pods::toleration_of(pod, &unschedulable).is_some();
    let selected = entries(pod, &["spec", "nodeSelector"]).all(|(key, value)| at(node, &["metadata", "labels", key]) == value);
    tolerated && open && selected
}

fn choose(state: &State, pod: &Value) -> Option<String> {
    let owner = controller_of(pod).map(|owner| text(owner, &["uid"]));
    let load = |node: &Value| {
        let here = || state.store.list(&PODS, None).filter(|p| text(p, &["spec", "nodeName"]) == name(node));
        let siblings = here().filter(|p| owner.is_some() && controller_of(p).map(|o| text(o, &["uid"])) == owner).count();
        (siblings, here().count())
    };
    let candidates = state.store.list(&NODES, None).filter(|node| nodes::is_ready(node) && fits(node, pod));
    let with_load = candidates.map(|node| (load(node), name(node))).filter(|((_, all), _)| *all < PODS_PER_NODE);
    with_load.min().map(|(_, node)| node.to_owned())
}

fn assign(state: &mut State, mut pod: Value, node: &str, now: Timestamp) {
    bind(&mut pod, node, now);
    let message = format!("Successfully assigned {}/{} to {node}", namespace(&pod), name(&pod));
    let pod = state.store.replace(&PODS, pod);
    record_event(state, &pod, "default-scheduler", "Normal", "Scheduled", &message, now);
}

fn refuse(state: &mut State, mut pod: Value, now: Timestamp) {
    if condition_is(&pod, "PodScheduled", "False") {
        return;
    }
    let all = state.store.list(&NODES, None).count();
    let message = format!("0/{all} nodes are available: {all} node(s) were unschedulable or had untolerated taint(s).");
    set_condition(&mut pod, json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message }), now);
    let pod = state.store.replace(&PODS, pod);
    record_event(state, &pod, "default-scheduler", "Warning", "FailedScheduling", &message, now);
}
