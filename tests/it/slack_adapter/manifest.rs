//! The committed manifest is the one that the code makes.

use std::path::Path;

/// Rewrites it with `UPDATE=1 cargo test --test it slack_adapter::manifest`.
#[test]
fn the_manifest_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/slack/manifest.json");
    let expected = format!("{}\n", serde_json::to_string_pretty(&stanch::adapters::slack::manifest()).unwrap());
    if std::env::var("UPDATE").is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "deploy/slack/manifest.json is out of date: UPDATE=1 cargo test --test it slack_adapter::manifest");
}
