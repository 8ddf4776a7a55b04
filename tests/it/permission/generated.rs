//! The committed files are the ones that the code makes.

use std::path::Path;

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
fn the_custom_role_is_up_to_date() {
    is_current("deploy/gcp/role.yaml", &stanch::adapters::compute::role());
}
