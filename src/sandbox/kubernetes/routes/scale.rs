//! `…/scale`: the number of replicas, whatever the kind.

use axum::http::{Method, StatusCode};
use k8s_openapi::api::autoscaling::v1::Scale;
use serde_json::{Value, json};

use super::request::{Query, Target, content_type, json_body, parse_json};
use super::write::perform;
use super::{Answer, Api, Call, json};
use crate::sandbox::kubernetes::failure::Failure;
use crate::sandbox::kubernetes::object::{at, entries, number, put, text, uid};
use crate::sandbox::kubernetes::patch::PatchKind;
use crate::sandbox::kubernetes::resources::check_body;

/// Reads, updates or patches the scale of an object.
pub fn handle(api: &Api, call: &Call, target: &Target<'_>, wanted: &str, query: &Query) -> Answer {
    let resource = target.resource;
    let dry_run = query.dry_run()?;
    let written = perform(api, dry_run, |state, _| {
        let owner = state.store.get(resource, target.ns(), wanted).cloned().ok_or_else(|| Failure::not_found(resource, wanted))?;
        let before = scale_of(&owner);
        let after = match call.parts.method {
            Method::PUT => json_body(&call.parts, &call.body)?,
            Method::PATCH => PatchKind::parse(content_type(&call.parts))?.apply(&before, &parse_json(&call.body)?)?,
            _ => return Ok(before),
        };
        check_body::<Scale>(&after).map_err(Failure::bad_request)?;
        let version = text(&after, &["metadata", "resourceVersion"]);
        if !version.is_empty() && version != text(&before, &["metadata", "resourceVersion"]) {
            return Err(Failure::stale(resource, wanted));
        }
        let mut owner = owner;
        put(&mut owner, &["spec", "replicas"], number(&after, &["spec", "replicas"]));
        Ok(scale_of(&state.store.replace(resource, owner)))
    })?;
    Ok(json(StatusCode::OK, &written))
}

fn scale_of(owner: &Value) -> Value {
    let metadata = at(owner, &["metadata"]);
    let selector: Vec<String> =
        entries(owner, &["spec", "selector", "matchLabels"]).map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": at(metadata, &["name"]), "namespace": at(metadata, &["namespace"]), "uid": uid(owner),
            "resourceVersion": at(metadata, &["resourceVersion"]), "creationTimestamp": at(metadata, &["creationTimestamp"]),
        },
        "spec": { "replicas": number(owner, &["spec", "replicas"]) },
        "status": { "replicas": number(owner, &["status", "replicas"]), "selector": selector.join(",") },
    })
}
