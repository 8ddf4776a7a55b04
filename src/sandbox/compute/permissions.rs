//! What IAM asks of each method, and what is granted.
//!
//! Written from Google's reference pages and from roles in use, not from recordings: no project was asked.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::ComputeEmulator;
use super::api::Request;
use super::failure::Failure;
use super::state::State;

/// Most permissions that one question may name.
const MOST_TESTED: usize = 100;

/// What is granted; `None` for everything.
#[derive(Clone, Debug, Default)]
pub struct Grants(Option<BTreeSet<String>>);

impl Grants {
    /// Refuses a request that needs more.
    ///
    /// # Errors
    /// 403 that names the first missing permission.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        let missing = needed(&request.method.id, &request.body).into_iter().find(|permission| !self.has(permission));
        match missing {
            None => Ok(()),
            Some(permission) => Err(Failure::permission(&permission, &subject(request))),
        }
    }

    /// Whether this permission is granted.
    pub fn has(&self, permission: &str) -> bool {
        self.0.as_ref().is_none_or(|granted| granted.contains(permission))
    }
}

/// What the permission is missing on: the resource, or the project of a list.
fn subject(request: &Request<'_>) -> String {
    let verb = request.method.verb();
    match verb {
        "list" | "aggregatedList" | "insert" => format!("projects/{}", request.project()),
        verb => request.path.trim_end_matches(verb).trim_end_matches('/').to_owned(),
    }
}

/// What Resource Manager answers to `POST /v1/projects/PROJECT:testIamPermissions`; `None` for another path.
pub fn tested(state: &State, method: &str, path: &str, body: &[u8]) -> Option<(StatusCode, Value)> {
    let project = path.strip_prefix("/v1/projects/")?.strip_suffix(":testIamPermissions")?;
    let refused = |code: StatusCode, status: &str, message: &str| {
        Some((code, json!({ "error": { "code": code.as_u16(), "message": message, "status": status } })))
    };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let asked: Option<Vec<&str>> =
        body.get("permissions").and_then(Value::as_array).and_then(|all| all.iter().map(Value::as_str).collect());
    let only = body.as_object().is_some_and(|fields| fields.len() == 1);
    match asked {
        _ if method != "POST" => refused(StatusCode::NOT_FOUND, "NOT_FOUND", "Method not found."),
        _ if !state.resources.contains_key(&format!("projects/{project}")) => {
            refused(StatusCode::FORBIDDEN, "PERMISSION_DENIED", "The caller does not have permission")
        }
        Some(asked) if only && (1..=MOST_TESTED).contains(&asked.len()) && !asked.iter().any(|permission| permission.contains('*')) => {
            let granted: Vec<&str> = asked.into_iter().filter(|permission| state.grants.has(permission)).collect();
            Some((StatusCode::OK, if granted.is_empty() { json!({}) } else { json!({ "permissions": granted }) }))
        }
        Some(_) | None => refused(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    }
}

/// The permissions that a method needs with this body.
pub fn needed(method: &str, body: &Value) -> Vec<String> {
    let mut parts = method.split('.').skip(1);
    let (Some(resource), Some(verb)) = (parts.next(), parts.next()) else { return vec![method.to_owned()] };
    let resource = match resource {
        "regionDisks" => "disks",
        "regionInstanceGroupManagers" => "instanceGroupManagers",
        other => other,
    };
    let has = |field: &str| body.get(field).is_some_and(|value| !value.is_null());
    let mut needed = match (resource, verb) {
        ("disks", "createSnapshot") | ("snapshots", "insert") => {
            let labels = has("labels").then_some("snapshots.setLabels");
            ["disks.createSnapshot", "snapshots.create"].into_iter().chain(labels).collect()
        }
        ("firewalls", "insert") => vec!["firewalls.create", "networks.updatePolicy"],
        ("firewalls", "patch" | "update") => vec!["firewalls.update", "networks.updatePolicy"],
        ("firewalls", "delete") => vec!["firewalls.delete", "networks.updatePolicy"],
        ("instanceGroupManagers", "listManagedInstances") => vec!["instanceGroupManagers.get"],
        ("instanceGroupManagers", "abandonInstances" | "deleteInstances" | "resize") => vec!["instanceGroupManagers.update"],
        ("instances", "setDiskAutoDelete") => vec!["instances.setDiskAutoDelete", "disks.update"],
        ("instances", "addAccessConfig") => {
            let reserved = has("natIP").then_some("addresses.use");
            ["instances.addAccessConfig", "subnetworks.useExternalIp"].into_iter().chain(reserved).collect()
        }
        ("instances", "insert") => {
            let metadata = has("metadata").then_some("instances.setMetadata");
            let more = metadata.into_iter().chain(has("tags").then_some("instances.setTags"));
            let more = more.chain(has("labels").then_some("instances.setLabels"));
            ["instances.create", "disks.create", "subnetworks.use"].into_iter().chain(more).collect()
        }
        _ => vec![],
    };
    let plain = match verb {
        "wait" => format!("{resource}.get"),
        "aggregatedList" => format!("{resource}.list"),
        "insert" => format!("{resource}.create"),
        "patch" => format!("{resource}.update"),
        verb => format!("{resource}.{verb}"),
    };
    if needed.is_empty() {
        needed.push(&plain);
    }
    needed.into_iter().map(|permission| format!("compute.{permission}")).collect()
}

impl ComputeEmulator {
    /// From now on only these permissions are granted, such as `compute.instances.get`, in every project.
    pub fn grant_only<'a>(&self, permissions: impl IntoIterator<Item = &'a str>) {
        self.grants(Grants(Some(permissions.into_iter().map(str::to_owned).collect())));
    }

    /// From now on everything is allowed, as at the start.
    pub fn grant_everything(&self) {
        self.grants(Grants::default());
    }

    fn grants(&self, grants: Grants) {
        let mut state = self.api.state();
        let state: &mut State = &mut state;
        state.grants = grants;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_ask_for_permissions() {
        let labels = json!({ "labels": { "a": "b" } });
        for (method, body, permissions) in [
            ("compute.instances.get", &json!({}), &["compute.instances.get"] as &[&str]),
            ("compute.instances.aggregatedList", &json!({}), &["compute.instances.list"]),
            ("compute.zoneOperations.wait", &json!({}), &["compute.zoneOperations.get"]),
            ("compute.regionDisks.createSnapshot", &json!({}), &["compute.disks.createSnapshot", "compute.snapshots.create"]),
            (
                "compute.disks.createSnapshot",
                &labels,
                &["compute.disks.createSnapshot", "compute.snapshots.create", "compute.snapshots.setLabels"],
            ),
            ("compute.regionInstanceGroupManagers.resize", &json!({}), &["compute.instanceGroupManagers.update"]),
        ] {
            assert_eq!(needed(method, body), permissions, "{method}");
        }
    }
}
