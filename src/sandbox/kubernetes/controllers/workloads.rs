//! Deployments, ReplicaSets, StatefulSets and DaemonSets: adopting, releasing, replacing and removing pods.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{pods, record_event, scheduler};
use crate::sandbox::kubernetes::cluster::State;
use crate::sandbox::kubernetes::deletion::{Options, delete};
use crate::sandbox::kubernetes::object::{
    at, condition_is, controlled_by, controller_of, controller_reference, items, items_mut, name, namespace, number, put, set_condition,
    take, terminating, text, uid,
};
use crate::sandbox::kubernetes::resources::{DAEMON_SETS, DEPLOYMENTS, NODES, PODS, REPLICA_SETS, Resource, STATEFUL_SETS};
use crate::sandbox::kubernetes::selectors::LabelSelector;
use crate::sandbox::kubernetes::store::safe_text;

/// The label that tells the pods of a Deployment's revisions apart.
const HASH_LABEL: &str = "pod-template-hash";

/// Taints under which a DaemonSet's pods stay and start.
const DAEMON_TOLERATIONS: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ("node.kubernetes.io/network-unavailable", "NoSchedule"),
];

/// Lets all of them act once.
pub fn react(state: &mut State, now: Timestamp) {
    each(state, &DEPLOYMENTS, now, deployment);
    each(state, &REPLICA_SETS, now, replica_set);
    each(state, &STATEFUL_SETS, now, stateful_set);
    each(state, &DAEMON_SETS, now, daemon_set);
}

fn each(state: &mut State, resource: &'static Resource, now: Timestamp, act: fn(&mut State, Value, Timestamp)) {
    for owner in state.store.all(resource).into_iter().filter(|owner| !terminating(owner)) {
        act(state, Arc::unwrap_or_clone(owner), now);
    }
}

// === Deployment ===

fn deployment(state: &mut State, mut deployment: Value, now: Timestamp) {
    let sets: Vec<Arc<Value>> =
        state.store.list(&REPLICA_SETS, Some(namespace(&deployment))).filter(|s| controlled_by(s, uid(&deployment))).cloned().collect();
    let is_current = |set: &&Arc<Value>| template_without_hash(set) == template_without_hash(&deployment);
    let current = match sets.iter().find(is_current) {
        Some(set) => name(set).to_owned(),
        None => new_replica_set(state, &deployment, sets.len() + 1, now),
    };
    let wanted = number(&deployment, &["spec", "replicas"]);
    for set in state.store.all(&REPLICA_SETS).into_iter().filter(|set| controlled_by(set, uid(&deployment))) {
        let replicas = if name(&set) == current { wanted } else { 0 };
        let mut scaled = Arc::unwrap_or_clone(set);
        put(&mut scaled, &["spec", "replicas"], replicas);
        state.store.replace(&REPLICA_SETS, scaled);
    }
    let total = |path: &[&str]| -> i64 {
        state
            .store
            .list(&REPLICA_SETS, Some(namespace(&deployment)))
            .filter(|s| controlled_by(s, uid(&deployment)))
            .map(|s| number(s, path))
            .sum()
    };
    let (replicas, ready) = (total(&["status", "replicas"]), total(&["status", "readyReplicas"]));
    let generation = number(&deployment, &["metadata", "generation"]);
    set_counts(&mut deployment, &[("observedGeneration", generation), ("replicas", replicas), ("updatedReplicas", replicas)]);
    set_counts(
        &mut deployment,
        &[("readyReplicas", ready), ("availableReplicas", ready), ("unavailableReplicas", (wanted - ready).max(0))],
    );
    let (status, reason) = if ready >= wanted { ("True", "MinimumReplicasAvailable") } else { ("False", "MinimumReplicasUnavailable") };
    set_condition(&mut deployment, json!({ "type": "Available", "status": status, "reason": reason }), now);
    set_condition(&mut deployment, json!({ "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" }), now);
    state.store.replace(&DEPLOYMENTS, deployment);
}

fn new_replica_set(state: &mut State, deployment: &Value, revision: usize, now: Timestamp) -> String {
    let hash = safe_text(&Sha256::digest(template_without_hash(deployment).to_string()), 10);
    let set_name = format!("{}-{hash}", name(deployment));
    let mut set = json!({
        "metadata": {
            "name": set_name, "namespace": namespace(deployment), "labels": at(deployment, &["spec", "template", "metadata", "labels"]),
            "annotations": { "deployment.kubernetes.io/revision": revision.to_string() },
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": { "replicas": 0, "selector": at(deployment, &["spec", "selector"]), "template": at(deployment, &["spec", "template"]) },
    });
    for path in [&["metadata", "labels"][..], &["spec", "selector", "matchLabels"], &["spec", "template", "metadata", "labels"]] {
        put(&mut set, &[path, &[HASH_LABEL]].concat(), hash.clone());
    }
    if state.store.get(&REPLICA_SETS, namespace(deployment), &set_name).is_none() {
        state.store.create(&REPLICA_SETS, set, now);
    }
    set_name
}

fn template_without_hash(owner: &Value) -> Value {
    let mut template = at(owner, &["spec", "template"]).clone();
    take(&mut template, &["metadata", "labels", HASH_LABEL]);
    template
}

// === ReplicaSet ===

fn replica_set(state: &mut State, mut set: Value, now: Timestamp) {
    let members = claim(state, &set);
    let wanted = usize::try_from(number(&set, &["spec", "replicas"])).unwrap_or_default();
    let active: Vec<Arc<Value>> = members.into_iter().filter(|pod| pods::is_active(pod)).collect();
    for _ in active.len()..wanted {
        let pod_name = state.store.generate_name(&PODS, namespace(&set), &format!("{}-", name(&set)));
        create_pod(state, &set, pods::from_template(&set, &pod_name), "replicaset-controller", now);
    }
    for victim in surplus(&active, wanted) {
        let _ = delete(state, &PODS, namespace(&victim), name(&victim), &Options::default(), now);
        record_event(state, &set, "replicaset-controller", "Normal", "SuccessfulDelete", &format!("Deleted pod: {}", name(&victim)), now);
    }
    let (all, ready) = count(state, &set);
    let generation = number(&set, &["metadata", "generation"]);
    set_counts(&mut set, &[("observedGeneration", generation), ("replicas", all), ("fullyLabeledReplicas", all)]);
    set_counts(&mut set, &[("readyReplicas", ready), ("availableReplicas", ready)]);
    state.store.replace(&REPLICA_SETS, set);
}

/// The pods to delete when there are too many: those that do not run, then those that share a node, then the youngest.
fn surplus(active: &[Arc<Value>], wanted: usize) -> Vec<Arc<Value>> {
    if active.len() <= wanted {
        return Vec::new();
    }
    let sharing = |pod: &Value| active.iter().filter(|other| at(other, &["spec", "nodeName"]) == at(pod, &["spec", "nodeName"])).count();
    let mut ranked: Vec<&Arc<Value>> = active.iter().collect();
    ranked.sort_by_cached_key(|pod| {
        let age = std::cmp::Reverse(text(pod, &["metadata", "creationTimestamp"]).to_owned());
        (text(pod, &["status", "phase"]) == "Running", condition_is(pod, "Ready", "True"), std::cmp::Reverse(sharing(pod)), age)
    });
    ranked.into_iter().take(active.len().saturating_sub(wanted)).cloned().collect()
}

/// Releases the pods that no longer match, adopts orphans that do, and says which pods belong to the owner.
fn claim(state: &mut State, owner: &Value) -> Vec<Arc<Value>> {
    let Some(selector) = LabelSelector::from_object(at(owner, &["spec", "selector"])).filter(|s| !s.is_empty()) else { return Vec::new() };
    let mut members = Vec::new();
    for pod in state.store.list(&PODS, Some(namespace(owner))).cloned().collect::<Vec<_>>() {
        let (mine, matching) = (controlled_by(&pod, uid(owner)), selector.matches(&pod));
        if mine && !matching {
            let others: Vec<Value> =
                items(&pod, &["metadata", "ownerReferences"]).iter().filter(|o| text(o, &["uid"]) != uid(owner)).cloned().collect();
            let mut pod = Arc::unwrap_or_clone(pod);
            match others.is_empty() {
                true => {
                    take(&mut pod, &["metadata", "ownerReferences"]);
                }
                false => put(&mut pod, &["metadata", "ownerReferences"], others),
            }
            state.store.replace(&PODS, pod);
        } else if mine {
            members.push(pod);
        } else if matching && controller_of(&pod).is_none() && pods::is_active(&pod) {
            let (reference, mut pod) = (controller_reference(owner), Arc::unwrap_or_clone(pod));
            items_mut(&mut pod, &["metadata", "ownerReferences"]).into_iter().for_each(|owners| owners.push(reference.clone()));
            members.push(Arc::new(state.store.replace(&PODS, pod)));
        }
    }
    members
}

// === StatefulSet ===

fn stateful_set(state: &mut State, mut set: Value, now: Timestamp) {
    let members = claim(state, &set);
    let wanted = number(&set, &["spec", "replicas"]);
    for ordinal in 0..wanted {
        let pod_name = format!("{}-{ordinal}", name(&set));
        // A pod of that name blocks its successor, whoever owns it and even while it terminates.
        if state.store.get(&PODS, namespace(&set), &pod_name).is_none() {
            create_pod(state, &set, stateful_pod(&set, ordinal), "statefulset-controller", now);
        }
    }
    for pod in members.iter().filter(|pod| pods::is_active(pod) && ordinal(pod).is_some_and(|n| n >= wanted)) {
        let _ = delete(state, &PODS, namespace(pod), name(pod), &Options::default(), now);
    }
    let (all, ready) = count(state, &set);
    let generation = number(&set, &["metadata", "generation"]);
    set_counts(&mut set, &[("observedGeneration", generation), ("replicas", all), ("currentReplicas", all), ("updatedReplicas", all)]);
    set_counts(&mut set, &[("readyReplicas", ready), ("availableReplicas", ready), ("collisionCount", 0)]);
    state.store.replace(&STATEFUL_SETS, set);
}

/// The pod of a StatefulSet with this ordinal, with its claims.
pub fn stateful_pod(set: &Value, ordinal: i64) -> Value {
    let pod_name = format!("{}-{ordinal}", name(set));
    let mut pod = pods::from_template(set, &pod_name);
    put(&mut pod, &["metadata", "labels", "statefulset.kubernetes.io/pod-name"], pod_name.clone());
    put(&mut pod, &["metadata", "labels", "apps.kubernetes.io/pod-index"], ordinal.to_string());
    put(&mut pod, &["spec", "hostname"], pod_name.clone());
    for claim in items(set, &["spec", "volumeClaimTemplates"]) {
        let volume = json!({ "name": name(claim), "persistentVolumeClaim": { "claimName": format!("{}-{pod_name}", name(claim)) } });
        items_mut(&mut pod, &["spec", "volumes"]).into_iter().for_each(|volumes| volumes.insert(0, volume.clone()));
    }
    pod
}

fn ordinal(pod: &Value) -> Option<i64> {
    name(pod).rsplit_once('-')?.1.parse().ok()
}

// === DaemonSet ===

fn daemon_set(state: &mut State, mut set: Value, now: Timestamp) {
    let members = claim(state, &set);
    let mut desired = 0;
    for node in state.store.all(&NODES) {
        // A pod that still terminates counts: its successor waits for the kubelet.
        let here = members.iter().filter(|pod| text(pod, &["spec", "nodeName"]) == name(&node)).count();
        let candidate = daemon_pod(&set, "candidate", name(&node), now);
        if !scheduler::fits(&node, &candidate) && here == 0 {
            continue;
        }
        desired += 1;
        if here == 0 {
            let pod_name = state.store.generate_name(&PODS, namespace(&set), &format!("{}-", name(&set)));
            create_pod(state, &set, daemon_pod(&set, &pod_name, name(&node), now), "daemonset-controller", now);
        }
    }
    let (all, ready) = count(state, &set);
    let generation = number(&set, &["metadata", "generation"]);
    set_counts(&mut set, &[("observedGeneration", generation), ("desiredNumberScheduled", desired), ("currentNumberScheduled", all)]);
    set_counts(&mut set, &[("updatedNumberScheduled", all), ("numberReady", ready), ("numberAvailable", ready), ("numberMisscheduled", 0)]);
    state.store.replace(&DAEMON_SETS, set);
}

/// The pod of a DaemonSet on this node, whether that is cordoned or not.
pub fn daemon_pod(set: &Value, pod_name: &str, node: &str, now: Timestamp) -> Value {
    let mut set = set.clone();
    for (key, effect) in DAEMON_TOLERATIONS {
        let toleration = json!({ "key": key, "operator": "Exists", "effect": effect });
        items_mut(&mut set, &["spec", "template", "spec", "tolerations"]).into_iter().for_each(|all| all.push(toleration.clone()));
    }
    let mut pod = pods::from_template(&set, pod_name);
    let terms = json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": [node] }] }]);
    put(&mut pod, &["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"], terms);
    scheduler::bind(&mut pod, node, now);
    pod
}

// === shared ===

fn create_pod(state: &mut State, owner: &Value, pod: Value, component: &str, now: Timestamp) {
    let message = format!("Created pod: {}", name(&pod));
    state.store.create(&PODS, pod, now);
    record_event(state, owner, component, "Normal", "SuccessfulCreate", &message, now);
}

/// How many active pods an owner has, and how many of them are ready.
fn count(state: &State, owner: &Value) -> (i64, i64) {
    let active = || state.store.list(&PODS, Some(namespace(owner))).filter(|pod| controlled_by(pod, uid(owner)) && pods::is_active(pod));
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    (number(active().count()), number(active().filter(|pod| condition_is(pod, "Ready", "True")).count()))
}

/// Writes counters; the API leaves out those that are 0, except the ones that `kubectl` always wants.
fn set_counts(owner: &mut Value, counts: &[(&str, i64)]) {
    const ALWAYS: &[&str] =
        &["replicas", "currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady", "collisionCount"];
    for (field, value) in counts {
        if *value == 0 && !ALWAYS.contains(field) {
            take(owner, &["status", field]);
        } else {
            put(owner, &["status", field], *value);
        }
    }
}
