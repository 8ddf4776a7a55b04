//! Creating, updating, patching and deleting.

use std::sync::Arc;

use axum::http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};

use super::read::{Selection, present, without_kind};
use super::request::{Query, Target, content_type, json_body, parse_json};
use super::{Answer, Api, Call, json};
use crate::sandbox::kubernetes::cluster::State;
use crate::sandbox::kubernetes::deletion::{self, Deleted, Options};
use crate::sandbox::kubernetes::failure::Failure;
use crate::sandbox::kubernetes::object::{at, name, namespace, put, take, terminating, text, uid};
use crate::sandbox::kubernetes::patch::PatchKind;
use crate::sandbox::kubernetes::resources::{ACCESS_REVIEWS, NAMESPACES, PODS, Resource, check_body};
use crate::sandbox::kubernetes::{defaults, validate};

/// Metadata that only the server writes. A client that leaves it out means it unchanged.
const SERVERS_METADATA: &[&str] =
    &["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"];

/// Does it, or only says what would happen.
pub fn perform<T>(api: &Api, dry_run: bool, change: impl FnOnce(&mut State, Timestamp) -> T) -> T {
    if dry_run { api.cluster.rehearse(change) } else { api.cluster.write(change) }
}

/// `POST` to a collection.
pub fn create(api: &Api, call: &Call, target: &Target<'_>, query: &Query) -> Answer {
    let resource = target.resource;
    let mut object = json_body(&call.parts, &call.body)?;
    if !object.is_object() {
        return Err(Failure::bad_request("the body must be an object"));
    }
    adopt_path(target, &mut object)?;
    resource.check(&object).map_err(Failure::bad_request)?;
    if resource.is(&ACCESS_REVIEWS) {
        let status = api.cluster.read(|state| state.grants.review(&object));
        put(&mut object, &["status"], status);
        return present(api, call, resource, StatusCode::CREATED, &object);
    }
    if !text(&object, &["metadata", "resourceVersion"]).is_empty() {
        return Err(Failure::bad_request("resourceVersion should not be set on objects to be created"));
    }
    for field in SERVERS_METADATA.iter().chain(&["managedFields"]) {
        take(&mut object, &["metadata", field]);
    }
    if resource.subresources.iter().any(|sub| sub.name == "status") {
        take(&mut object, &["status"]);
    }
    let created = perform(api, query.dry_run()?, |state, now| -> Result<Value, Failure> {
        if resource.namespaced {
            let ns = state.store.get(&NAMESPACES, "", target.ns()).ok_or_else(|| Failure::not_found(&NAMESPACES, target.ns()))?;
            if terminating(ns) {
                let why = format!("unable to create new content in namespace {} because it is being terminated", target.ns());
                return Err(Failure::forbidden(resource, name(&object), &why));
            }
        }
        let prefix = text(&object, &["metadata", "generateName"]).to_owned();
        if name(&object).is_empty() && !prefix.is_empty() {
            let generated = state.store.generate_name(resource, target.ns(), &prefix);
            put(&mut object, &["metadata", "name"], generated);
        }
        if state.store.get(resource, target.ns(), name(&object)).is_some() {
            return Err(Failure::already_exists(resource, name(&object)));
        }
        defaults::apply(resource, &mut object);
        validate::creation(resource, &object)?;
        Ok(state.store.create(resource, object, now))
    })?;
    present(api, call, resource, StatusCode::CREATED, &created)
}

/// `PUT` of an object or of its status.
pub fn update(api: &Api, call: &Call, target: &Target<'_>, wanted: &str, query: &Query) -> Answer {
    let mut object = json_body(&call.parts, &call.body)?;
    adopt_path(target, &mut object)?;
    same_name(&object, wanted)?;
    target.resource.check(&object).map_err(Failure::bad_request)?;
    let written = perform(api, query.dry_run()?, |state, _| {
        let before = current(state, target, wanted)?;
        let claimed = uid(&object);
        if !claimed.is_empty() && claimed != uid(&before) {
            let why = format!("Precondition failed: UID in precondition: {claimed}, UID in object meta: {}", uid(&before));
            return Err(Failure::conflict(target.resource, target.resource.plural, wanted, &why));
        }
        commit(state, target, before, object)
    })?;
    present(api, call, target.resource, StatusCode::OK, &written)
}

/// `PATCH` of an object or of its status.
pub fn patch(api: &Api, call: &Call, target: &Target<'_>, wanted: &str, query: &Query) -> Answer {
    let kind = PatchKind::parse(content_type(&call.parts))?;
    let body = parse_json(&call.body)?;
    let written = perform(api, query.dry_run()?, |state, _| {
        let before = current(state, target, wanted)?;
        let after = kind.apply(&before, &body)?;
        same_name(&after, wanted)?;
        target.resource.check(&after).map_err(Failure::bad_request)?;
        commit(state, target, before, after)
    })?;
    present(api, call, target.resource, StatusCode::OK, &written)
}

/// `DELETE` of an object.
pub fn delete(api: &Api, call: &Call, target: &Target<'_>, wanted: &str, query: &Query) -> Answer {
    let (options, dry_run) = delete_options(call, query)?;
    let deleted = perform(api, dry_run, |state, now| deletion::delete(state, target.resource, target.ns(), wanted, &options, now))?;
    match deleted {
        Deleted::Gone(object) if !target.resource.is(&PODS) => {
            let mut details = target.resource.details(target.resource.plural, wanted);
            put(&mut details, &["uid"], uid(&object));
            let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
            Ok(json(StatusCode::OK, &status))
        }
        Deleted::Gone(object) | Deleted::Going(object) => present(api, call, target.resource, StatusCode::OK, &object),
    }
}

/// `DELETE` of a collection.
pub fn delete_collection(api: &Api, call: &Call, target: &Target<'_>, query: &Query) -> Answer {
    let (options, dry_run) = delete_options(call, query)?;
    let selection = Selection::parse(target, query)?;
    let resource = target.resource;
    let (items, version) = perform(api, dry_run, |state, now| {
        let all: Vec<Arc<Value>> =
            state.store.list(resource, target.namespace).filter(|object| selection.covers(object)).cloned().collect();
        let mut deleted = Vec::new();
        for object in all {
            match deletion::delete(state, resource, namespace(&object), name(&object), &options, now)? {
                Deleted::Gone(object) | Deleted::Going(object) => deleted.push(without_kind(object)),
            }
        }
        Ok::<_, Failure>((deleted, state.store.version()))
    })?;
    let metadata = json!({ "resourceVersion": version.to_string() });
    let list =
        json!({ "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(), "metadata": metadata, "items": items });
    Ok(json(StatusCode::OK, &list))
}

/// Fills in what the path says, and refuses a body that says something else.
fn adopt_path(target: &Target<'_>, object: &mut Value) -> Result<(), Failure> {
    if at(object, &["kind"]).is_null() {
        put(object, &["kind"], target.resource.kind);
    }
    if at(object, &["apiVersion"]).is_null() {
        put(object, &["apiVersion"], target.resource.api_version());
    }
    if let Some(ns) = target.namespace {
        if namespace(object).is_empty() {
            put(object, &["metadata", "namespace"], ns);
        }
        if namespace(object) != ns {
            return Err(Failure::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
        }
    }
    Ok(())
}

fn same_name(object: &Value, wanted: &str) -> Result<(), Failure> {
    if name(object) == wanted {
        return Ok(());
    }
    Err(Failure::bad_request(format!("the name of the object ({}) does not match the name on the URL ({wanted})", name(object))))
}

fn current(state: &State, target: &Target<'_>, wanted: &str) -> Result<Value, Failure> {
    state.store.get(target.resource, target.ns(), wanted).cloned().ok_or_else(|| Failure::not_found(target.resource, wanted))
}

/// Writes the part of the object that this route may write.
fn commit(state: &mut State, target: &Target<'_>, before: Value, mut after: Value) -> Result<Value, Failure> {
    for field in SERVERS_METADATA {
        let old = at(&before, &["metadata", field]);
        if at(&after, &["metadata", field]).is_null() && !old.is_null() {
            put(&mut after, &["metadata", field], old.clone());
        }
    }
    take(&mut after, &["metadata", "managedFields"]);
    put(&mut after, &["metadata", "generation"], at(&before, &["metadata", "generation"]).clone());
    if at(&after, &["metadata", "generation"]).is_null() {
        take(&mut after, &["metadata", "generation"]);
    }
    if text(&after, &["metadata", "resourceVersion"]) != text(&before, &["metadata", "resourceVersion"]) {
        return Err(Failure::stale(target.resource, name(&before)));
    }
    let kept = match target.subresource.map(|sub| sub.name) {
        Some("status") => "spec",
        _ => "status",
    };
    if has_status(target.resource) {
        match before.get(kept) {
            Some(old) => put(&mut after, &[kept], old.clone()),
            None => {
                take(&mut after, &[kept]);
            }
        }
    }
    drop_nulls(&mut after);
    validate::update(target.resource, &before, &after)?;
    Ok(state.store.replace(target.resource, after))
}

fn has_status(resource: &Resource) -> bool {
    resource.subresources.iter().any(|sub| sub.name == "status")
}

/// A null is the same as nothing, as for every typed server.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The options of a delete request, from its body and its query.
fn delete_options(call: &Call, query: &Query) -> Result<(Options, bool), Failure> {
    let body = json_body(&call.parts, &call.body)?;
    if !body.is_null() {
        check_body::<DeleteOptions>(&body).map_err(Failure::bad_request)?;
    }
    let mut options = Options::from_body(&body);
    if let Some(grace) = query.number("gracePeriodSeconds")? {
        options.grace_s = i64::try_from(grace).ok();
    }
    if let Some(policy) = query.get("propagationPolicy") {
        options.propagation = Some(policy.to_owned());
    }
    let known = matches!(options.propagation.as_deref(), None | Some("Background" | "Foreground" | "Orphan"));
    if !known {
        return Err(Failure::bad_request(
            "propagationPolicy: Unsupported value: supported values: \"Foreground\", \"Background\", \"Orphan\"",
        ));
    }
    let dry_run = query.dry_run()? || at(&body, &["dryRun"]) == &json!(["All"]);
    Ok((options, dry_run))
}
