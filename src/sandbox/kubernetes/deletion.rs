//! Deleting: preconditions, grace, and what happens to the things that an object owns.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cluster::State;
use super::failure::Failure;
use super::object::{at, items, items_mut, name, namespace, put, rfc3339, terminating, text, uid};
use super::resources::{ALL, NAMESPACES, PODS, Resource};

/// How long an emulated kubelet takes to stop a pod. Long enough that a client sees the pod terminate, short enough that nobody waits.
const KUBELET: SignedDuration = SignedDuration::from_millis(300);

/// Grace of a pod that does not name one, in seconds: the API's default.
const DEFAULT_GRACE_S: i64 = 30;

/// The finalizer that keeps an owner until what it owns is gone.
pub const FOREGROUND: &str = "foregroundDeletion";

/// What a delete request asks for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// Only the object in this version.
    pub resource_version: Option<String>,
    /// Seconds that a pod may take to stop.
    pub grace_s: Option<i64>,
    /// `Background`, `Foreground` or `Orphan`.
    pub propagation: Option<String>,
}

/// What became of the object.
pub enum Deleted {
    /// It is gone.
    Gone(Value),
    /// It is terminating.
    Going(Value),
}

impl Options {
    /// Reads `DeleteOptions`.
    pub fn from_body(body: &Value) -> Self {
        let owned = |path: &[&str]| at(body, path).as_str().map(str::to_owned);
        Self {
            uid: owned(&["preconditions", "uid"]),
            resource_version: owned(&["preconditions", "resourceVersion"]),
            grace_s: at(body, &["gracePeriodSeconds"]).as_i64(),
            propagation: owned(&["propagationPolicy"]),
        }
    }

    fn check(&self, resource: &Resource, object: &Value) -> Result<(), Failure> {
        let found = (uid(object), text(object, &["metadata", "resourceVersion"]));
        if let Some(wanted) = self.uid.as_deref().filter(|wanted| *wanted != found.0) {
            let why = format!(
                "the UID in the precondition ({wanted}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                found.0
            );
            return Err(Failure::conflict(resource, resource.kind, name(object), &why));
        }
        if let Some(wanted) = self.resource_version.as_deref().filter(|wanted| *wanted != found.1) {
            let why = format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({}). The object might have been modified",
                found.1
            );
            return Err(Failure::conflict(resource, resource.kind, name(object), &why));
        }
        Ok(())
    }
}

/// Deletes an object as the API does. The caller lets the controllers react.
///
/// # Errors
/// 404 if there is none, 409 if it is another one than the options mean.
pub fn delete(
    state: &mut State,
    resource: &Resource,
    ns: &str,
    called: &str,
    options: &Options,
    now: Timestamp,
) -> Result<Deleted, Failure> {
    let Some(mut object) = state.store.get(resource, ns, called).cloned() else {
        return Err(Failure::not_found(resource, called));
    };
    options.check(resource, &object)?;
    if resource.is(&PODS) {
        return Ok(delete_pod(state, object, options, now));
    }
    match options.propagation.as_deref() {
        Some("Orphan") => orphan_dependents(state, uid(&object)),
        Some("Foreground") if !items(&object, &["metadata", "finalizers"]).contains(&json!(FOREGROUND)) => {
            if let Some(finalizers) = items_mut(&mut object, &["metadata", "finalizers"]) {
                finalizers.push(json!(FOREGROUND));
            }
        }
        _ => {}
    }
    let stays = !items(&object, &["metadata", "finalizers"]).is_empty() || resource.is(&NAMESPACES);
    if !stays {
        let gone = state.store.remove(resource, ns, called);
        return Ok(Deleted::Gone(gone.unwrap_or(object)));
    }
    if !terminating(&object) {
        put(&mut object, &["metadata", "deletionTimestamp"], rfc3339(now));
        put(&mut object, &["metadata", "deletionGracePeriodSeconds"], 0);
    }
    if resource.is(&NAMESPACES) {
        put(&mut object, &["status", "phase"], "Terminating");
    }
    Ok(Deleted::Going(state.store.replace(resource, object)))
}

fn delete_pod(state: &mut State, mut pod: Value, options: &Options, now: Timestamp) -> Deleted {
    let own_grace = at(&pod, &["spec", "terminationGracePeriodSeconds"]).as_i64().unwrap_or(DEFAULT_GRACE_S);
    let never_ran = text(&pod, &["spec", "nodeName"]).is_empty();
    let ended = matches!(text(&pod, &["status", "phase"]), "Succeeded" | "Failed");
    let grace_s = if never_ran || ended { 0 } else { options.grace_s.unwrap_or(own_grace) };
    if grace_s == 0 && items(&pod, &["metadata", "finalizers"]).is_empty() {
        let gone = state.store.remove(&PODS, namespace(&pod), name(&pod));
        state.removals.remove(uid(&pod));
        return Deleted::Gone(gone.unwrap_or(pod));
    }
    let pending = at(&pod, &["metadata", "deletionGracePeriodSeconds"]).as_i64();
    if terminating(&pod) && pending.is_some_and(|pending| grace_s >= pending) {
        return Deleted::Going(pod);
    }
    let until = now.checked_add(SignedDuration::from_secs(grace_s)).unwrap_or(now);
    put(&mut pod, &["metadata", "deletionTimestamp"], rfc3339(until));
    put(&mut pod, &["metadata", "deletionGracePeriodSeconds"], grace_s);
    state.removals.insert(uid(&pod).into(), now.checked_add(KUBELET).unwrap_or(now));
    Deleted::Going(state.store.replace(&PODS, pod))
}

/// Takes the owner out of everything that it owns.
fn orphan_dependents(state: &mut State, owner: &str) {
    for resource in ALL {
        for object in state.store.all(resource) {
            let owners = items(&object, &["metadata", "ownerReferences"]);
            let kept: Vec<Value> = owners.iter().filter(|o| text(o, &["uid"]) != owner).cloned().collect();
            if kept.len() != owners.len() {
                let mut object = Arc::unwrap_or_clone(object);
                put(&mut object, &["metadata", "ownerReferences"], kept);
                state.store.replace(resource, object);
            }
        }
    }
}
