//! Garbage collection: what has no owner any more, foreground deletion, dying namespaces, and pods of nodes that are gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sandbox::kubernetes::cluster::State;
use crate::sandbox::kubernetes::deletion::{FOREGROUND, Options, delete};
use crate::sandbox::kubernetes::object::{items, name, namespace, put, terminating, text, uid};
use crate::sandbox::kubernetes::resources::{ALL, NAMESPACES, NODES, PODS, Resource};

/// Collects.
pub fn react(state: &mut State, now: Timestamp) {
    empty_namespaces(state, now);
    let owners: BTreeSet<String> = state.store.everything().map(|(_, object)| uid(object).to_owned()).collect();
    for resource in ALL {
        for object in state.store.all(resource) {
            collect(state, resource, object, &owners, now);
        }
    }
    pods_without_node(state);
}

fn collect(state: &mut State, resource: &'static Resource, mut object: Arc<Value>, owners: &BTreeSet<String>, now: Timestamp) {
    let references = items(&object, &["metadata", "ownerReferences"]);
    let kept: Vec<Value> = references.iter().filter(|owner| owners.contains(text(owner, &["uid"]))).cloned().collect();
    if !references.is_empty() && kept.is_empty() {
        if !terminating(&object) {
            // It may be gone already, because of another owner.
            let _ = delete(state, resource, namespace(&object), name(&object), &Options::default(), now);
        }
        return;
    }
    if kept.len() != references.len() {
        let mut freed = Arc::unwrap_or_clone(object);
        put(&mut freed, &["metadata", "ownerReferences"], kept);
        object = Arc::new(state.store.replace(resource, freed));
    }
    let finalizers = items(&object, &["metadata", "finalizers"]);
    if !terminating(&object) || (!finalizers.is_empty() && !finalizers.contains(&json!(FOREGROUND))) {
        return;
    }
    if finalizers.is_empty() {
        if ![&NAMESPACES, &PODS].iter().any(|other| resource.is(other)) {
            state.store.remove(resource, namespace(&object), name(&object));
        }
        return;
    }
    if !delete_dependents(state, uid(&object), now) {
        let left: Vec<Value> = finalizers.iter().filter(|f| **f != json!(FOREGROUND)).cloned().collect();
        let mut freed = Arc::unwrap_or_clone(object);
        put(&mut freed, &["metadata", "finalizers"], left);
        state.store.replace(resource, freed);
    }
}

/// Deletes what has this owner, and says whether there still is something.
fn delete_dependents(state: &mut State, owner: &str, now: Timestamp) -> bool {
    let mut any = false;
    for resource in ALL {
        for object in state.store.all(resource) {
            if items(&object, &["metadata", "ownerReferences"]).iter().any(|o| text(o, &["uid"]) == owner) {
                any = true;
                if !terminating(&object) {
                    let foreground = Options { propagation: Some("Foreground".into()), ..Options::default() };
                    let _ = delete(state, resource, namespace(&object), name(&object), &foreground, now);
                }
            }
        }
    }
    any
}

fn empty_namespaces(state: &mut State, now: Timestamp) {
    for dying in state.store.all(&NAMESPACES).iter().filter(|ns| terminating(ns)) {
        let mut empty = true;
        for resource in ALL.iter().filter(|r| r.namespaced) {
            for object in state.store.all(resource).iter().filter(|object| namespace(object) == name(dying)) {
                empty = false;
                if !terminating(object) {
                    let _ = delete(state, resource, namespace(object), name(object), &Options::default(), now);
                }
            }
        }
        if empty {
            state.store.remove(&NAMESPACES, "", name(dying));
        }
    }
}

fn pods_without_node(state: &mut State) {
    for pod in state.store.all(&PODS) {
        let node = text(&pod, &["spec", "nodeName"]);
        if !node.is_empty() && state.store.get(&NODES, "", node).is_none() {
            state.removals.remove(uid(&pod));
            state.store.remove(&PODS, namespace(&pod), name(&pod));
        }
    }
}
