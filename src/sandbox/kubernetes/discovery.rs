//! What the API offers: discovery in both forms, the version, and as much OpenAPI as `kubectl` needs.

use serde_json::{Value, json};

use super::object::{put, take};
use super::resources::{ALL, Resource, Subresource, group_version, group_versions};
use super::seed::GIT_VERSION;

/// The parameter by which `kubectl` sees that the server checks fields itself.
const FIELD_VALIDATION: &str = "fieldValidation";

/// `/version`.
pub fn version() -> Value {
    let mut parts = GIT_VERSION.trim_start_matches('v').split('.');
    json!({
        "major": parts.next(), "minor": parts.next(), "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.24", "compiler": "gc", "platform": "linux/amd64",
    })
}

/// Whether a client asks for aggregated discovery.
pub fn wants_aggregated(accept: &str) -> bool {
    accept.split(',').any(|range| range.contains("as=APIGroupDiscoveryList") && range.contains("v=v2") && !range.contains("v=v2beta1"))
}

/// `/api` or `/apis` in the aggregated form.
pub fn aggregated(core: bool) -> Value {
    let items: Vec<Value> = group_versions()
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, version)| {
            let resources: Vec<Value> = in_version(group, version).map(aggregated_resource).collect();
            let metadata = if core { json!({}) } else { json!({ "name": group }) };
            json!({ "metadata": metadata, "versions": [{ "version": version, "resources": resources, "freshness": "Current" }] })
        })
        .collect();
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items })
}

/// `/api` in the old form.
pub fn core_versions(host: &str) -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": host }],
    })
}

/// `/apis` in the old form.
pub fn groups() -> Value {
    let groups: Vec<Value> =
        group_versions().into_iter().filter(|(group, _)| !group.is_empty()).filter_map(|(name, _)| group(name)).collect();
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|mut group| {
            take(&mut group, &["kind"]);
            take(&mut group, &["apiVersion"]);
            group
        })
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/GROUP`.
pub fn group(name: &str) -> Option<Value> {
    let (_, version) = group_versions().into_iter().find(|(group, _)| *group == name && !group.is_empty())?;
    let this = json!({ "groupVersion": group_version(name, version), "version": version });
    Some(json!({ "kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [this], "preferredVersion": this }))
}

/// `/api/v1` or `/apis/GROUP/VERSION`.
pub fn resources(group: &str, version: &str) -> Option<Value> {
    let mut listed = Vec::new();
    for resource in in_version(group, version) {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced, "kind": resource.kind,
            "verbs": resource.verbs,
        });
        add_names(&mut entry, resource);
        listed.push(entry);
        listed.extend(resource.subresources.iter().map(|sub| listed_subresource(resource, sub)));
    }
    let found = !listed.is_empty();
    found.then(
        || json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version(group, version), "resources": listed }),
    )
}

fn in_version(group: &str, version: &str) -> impl Iterator<Item = &'static Resource> {
    ALL.iter().copied().filter(move |r| r.group == group && r.version == version)
}

fn add_names(entry: &mut Value, resource: &Resource) {
    if !resource.short.is_empty() {
        put(entry, &["shortNames"], json!(resource.short));
    }
    if !resource.categories.is_empty() {
        put(entry, &["categories"], json!(resource.categories));
    }
}

fn listed_subresource(resource: &Resource, sub: &Subresource) -> Value {
    let (group, version, kind) = sub.body;
    let mut entry = json!({
        "name": format!("{}/{}", resource.plural, sub.name), "singularName": "", "namespaced": resource.namespaced, "kind": kind,
        "verbs": sub.verbs,
    });
    if (group, version) != (resource.group, resource.version) {
        put(&mut entry, &["group"], group);
        put(&mut entry, &["version"], version);
    }
    entry
}

fn aggregated_resource(resource: &'static Resource) -> Value {
    let kind = |(group, version, kind): (&str, &str, &str)| json!({ "group": group, "version": version, "kind": kind });
    let mut entry = json!({
        "resource": resource.plural, "responseKind": kind((resource.group, resource.version, resource.kind)),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" }, "singularResource": resource.singular, "verbs": resource.verbs,
    });
    add_names(&mut entry, resource);
    if !resource.subresources.is_empty() {
        let sub = |sub: &Subresource| json!({ "subresource": sub.name, "responseKind": kind(sub.body), "verbs": sub.verbs });
        put(&mut entry, &["subresources"], resource.subresources.iter().map(sub).collect::<Vec<_>>());
    }
    entry
}

/// `/openapi/v2`, for clients that take JSON.
pub fn openapi_v2() -> Value {
    let paths: serde_json::Map<String, Value> = ALL.iter().map(|resource| (path(resource), operations(resource))).collect();
    json!({ "swagger": "2.0", "info": { "title": "Kubernetes", "version": GIT_VERSION }, "paths": paths, "definitions": {} })
}

/// `/openapi/v3`: where the documents are.
pub fn openapi_v3_index() -> Value {
    let document = |(group, version): (&str, &str)| {
        let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
        (path.clone(), json!({ "serverRelativeURL": format!("/openapi/v3/{path}") }))
    };
    json!({ "paths": group_versions().into_iter().map(document).collect::<serde_json::Map<_, _>>() })
}

/// `/openapi/v3/api/v1` or `/openapi/v3/apis/GROUP/VERSION`.
pub fn openapi_v3(group: &str, version: &str) -> Option<Value> {
    let paths: serde_json::Map<String, Value> = in_version(group, version).map(|resource| (path(resource), operations(resource))).collect();
    let found = !paths.is_empty();
    found.then(|| json!({ "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": GIT_VERSION }, "paths": paths, "components": { "schemas": {} } }))
}

fn path(resource: &Resource) -> String {
    let root = if resource.group.is_empty() { "/api/v1".into() } else { format!("/apis/{}/{}", resource.group, resource.version) };
    let namespace = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    format!("{root}{namespace}/{}/{{name}}", resource.plural)
}

fn operations(resource: &Resource) -> Value {
    json!({ "patch": {
        "parameters": [{ "name": FIELD_VALIDATION, "in": "query", "schema": { "type": "string", "uniqueItems": true } }],
        "responses": { "200": { "description": "OK" } },
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": { "group": resource.group, "version": resource.version, "kind": resource.kind },
    } })
}
