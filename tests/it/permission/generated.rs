//! The committed files are the ones that the code makes.

use std::collections::BTreeSet;
use std::path::Path;

use axum::Router;
use serde_json::{Value, json};
use stanch::sandbox::server::{Server, Wire};
use stanch_commands::permission::{Entry, entries, project_rights};
use tokio::process::Command;

use crate::support::skip;

/// Rewrites it with `UPDATE=1 cargo test --test it permission::generated`.
fn is_current(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var("UPDATE").is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{file} is out of date: UPDATE=1 cargo test --test it permission::generated");
}

#[test]
fn the_cluster_role_is_up_to_date() {
    is_current("deploy/kubernetes/rbac.yaml", &stanch::adapters::kubernetes::rbac());
}

#[test]
fn the_role_for_exec_is_up_to_date() {
    is_current("deploy/kubernetes/rbac-exec.yaml", &stanch::adapters::kubernetes::rbac_exec());
}

#[test]
fn the_role_for_privileged_pods_is_up_to_date() {
    is_current("deploy/kubernetes/rbac-privileged-pod.yaml", &stanch::adapters::kubernetes::rbac_privileged_pod());
    // No right to create pods is given anywhere else.
    assert!(!stanch::adapters::kubernetes::rbac().contains("resources: [pods]\n  verbs: [create"));
}

/// Nothing is granted wholesale, no right reads a Secret or gives rights, and running programs in pods is a file of its own.
#[test]
fn no_right_is_more_than_it_seems() {
    let entries: Vec<&Entry> = entries().collect();
    for right in entries.iter().flat_map(|entry| entry.cluster) {
        let names = [right.group, right.resource, right.verb];
        let odd = names.iter().any(|name| name.contains('*')) || ["secrets", "clusterroles", "roles"].contains(&right.resource);
        assert!(!odd && !["escalate", "bind", "impersonate"].contains(&right.verb), "{right:?}");
    }
    for permission in entries.iter().flat_map(|entry| entry.project) {
        assert!(permission.starts_with("compute.") && !permission.contains('*') && !permission.ends_with("IamPolicy"), "{permission}");
    }
    assert!(!stanch::adapters::kubernetes::rbac().contains("pods/exec"));
    assert!(stanch::adapters::kubernetes::rbac_exec().contains("resources: [pods/exec]\n  verbs: [create, get]"));
}

#[test]
fn the_custom_role_is_up_to_date() {
    is_current("deploy/gcp/role.yaml", &stanch::adapters::compute::role());
}

/// gcloud takes the file and sends all of it. Method: its own command against a server that answers any role with itself.
#[tokio::test]
async fn gcloud_takes_the_custom_role() {
    let config = tempfile::tempdir().unwrap();
    let server = Server::start(Wire::default(), |_| Router::new().fallback(|body: String| async move { body })).await.unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/gcp/role.yaml");
    let mut gcloud = Command::new("gcloud");
    gcloud.args(["iam", "roles", "create", "stanch", "--project", "sandbox-project", "--quiet", "--file"]).arg(&file);
    gcloud
        .env("CLOUDSDK_CONFIG", config.path())
        .env("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAM", format!("{}/", server.url()))
        .env("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "true")
        .env("CLOUDSDK_CORE_DISABLE_PROMPTS", "1")
        .env("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "true");
    let Ok(output) = gcloud.output().await else { return skip("gcloud", "gcloud is not installed") };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sent: Vec<Value> = server.wire.exchanges().into_iter().filter(|call| call.method == "POST").filter_map(|call| call.body).collect();
    let [sent] = sent.as_slice() else { panic!("{sent:?}") };
    let every: BTreeSet<&str> = stanch_commands::CATALOGUE.iter().map(|definition| definition.name).collect();
    let expected: Vec<&str> = project_rights(&every).into_keys().collect();
    assert_eq!((&sent["roleId"], &sent["role"]["includedPermissions"]), (&json!("stanch"), &json!(expected)));
    server.stop().await;
}
