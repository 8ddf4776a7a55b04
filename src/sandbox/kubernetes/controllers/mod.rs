//! What a cluster does by itself after every change: controllers, scheduler and kubelets, as reactions on the store.
//!
//! They run synchronously and in a fixed order until nothing changes any more, so the same requests always lead to the same state.

pub mod budgets;
pub mod garbage;
pub mod kubelet;
pub mod nodes;
pub mod pods;
pub mod runtime;
pub mod scheduler;
pub mod services;
pub mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::State;
use super::object::{at, name, namespace, put, rfc3339, uid};
use super::resources::EVENTS;

/// Rounds after which the reactions must have settled. The longest real chain (Deployment, ReplicaSet, pod, node, endpoints, budget,
/// and back by garbage collection) is eight; reaching the limit only postpones the rest to the next change.
const ROUNDS: usize = 32;

/// Lets every controller act until nothing changes.
pub fn react(state: &mut State, now: Timestamp) {
    for _ in 0..ROUNDS {
        let version = state.store.version();
        garbage::react(state, now);
        nodes::react(state, now);
        kubelet::stop_pods(state, now);
        workloads::react(state, now);
        scheduler::react(state, now);
        kubelet::run_pods(state, now);
        services::react(state, now);
        budgets::react(state, now);
        if state.store.version() == version {
            return;
        }
    }
}

/// When something will happen by time alone.
pub fn next_due(state: &State, now: Timestamp) -> Option<Timestamp> {
    let removals = kubelet::due(state);
    let evictions = state.taint_evictions.values().copied();
    let disruptions = budgets::due(state);
    removals.chain(evictions).chain(disruptions).filter(|due| *due > now).min()
}

/// Writes an event about an object.
pub fn record_event(state: &mut State, about: &Value, component: &str, kind: &str, reason: &str, message: &str, now: Timestamp) {
    let ns = if namespace(about).is_empty() { "default" } else { namespace(about) };
    let event_name = state.store.generate_name(&EVENTS, ns, &format!("{}.", name(about)));
    let mut event = json!({
        "metadata": { "name": event_name, "namespace": ns },
        "involvedObject": {
            "kind": at(about, &["kind"]), "name": name(about), "uid": uid(about), "apiVersion": at(about, &["apiVersion"]),
            "resourceVersion": at(about, &["metadata", "resourceVersion"]),
        },
        "reason": reason, "message": message, "type": kind, "count": 1,
        "firstTimestamp": rfc3339(now), "lastTimestamp": rfc3339(now),
        "source": { "component": component }, "reportingComponent": component, "reportingInstance": "",
    });
    if !namespace(about).is_empty() {
        put(&mut event, &["involvedObject", "namespace"], ns);
    }
    state.store.create(&EVENTS, event, now);
}
