//! Goal: the architecture stays as it is drawn. Method: read the sources.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(under: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(under)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources under {under}");
    found
}

#[test]
fn the_core_and_the_commands_do_no_io() {
    let forbidden = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "std::time",
        "std::io",
        "tokio",
        "async fn",
        ".await",
        "kube::",
        "google_cloud",
        "slack_morphism",
        "sled",
        "getrandom",
        "Timestamp::now",
        "crate::ports",
        "crate::adapters",
        "crate::sandbox",
        "println!",
    ];
    for (path, text) in sources("src/core").into_iter().chain(sources("commands/src")) {
        for word in forbidden {
            assert!(!text.contains(word), "{} contains `{word}`", path.display());
        }
    }
}

/// A file that is longer has more than one subject.
#[test]
fn no_file_is_longer_than_600_lines() {
    for (path, text) in ["src", "commands/src", "tests/it"].into_iter().flat_map(sources) {
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}

/// A defect that both had would hide itself.
#[test]
fn the_verifier_of_the_log_shares_nothing_with_its_writer() {
    for (path, text) in sources("src/verify") {
        assert!(!text.contains("adapters"), "{} uses an adapter", path.display());
    }
    for (path, text) in sources("src/adapters/audit") {
        assert!(!text.contains("crate::verify"), "{} uses the verifier", path.display());
    }
}

#[test]
fn only_the_engine_makes_licences() {
    for (path, text) in sources("src") {
        let licensed = text.contains("Licence {") && !text.contains("struct Licence {") && !text.contains("impl Licence {");
        assert!(!licensed || path.ends_with("core/engine.rs"), "{} makes a licence", path.display());
    }
}

#[test]
fn every_command_has_a_file_of_its_own() {
    for definition in stanch_commands::CATALOGUE {
        let file = root().join("commands/src").join(format!("{}.rs", definition.name.replace('-', "_")));
        assert!(file.exists(), "{} is missing", file.display());
    }
}

#[test]
fn the_readme_shows_the_catalogue() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let table: String = stanch_commands::CATALOGUE
        .iter()
        .map(|definition| format!("| `{}` | {} | {} |\n", definition.name, definition.phase, definition.summary))
        .collect();
    assert!(readme.contains(&table), "README.md's command table should be:\n{table}");
}
