//! Goal: the program itself ends as it promises, also where nothing can be done. Method: run it, and read its status and its words.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn stanch() -> Command {
    Command::new(env!("CARGO_BIN_EXE_stanch"))
}

fn failed(output: &Output, words: &str) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains(words), "{complaint}");
}

fn sandbox(state: &Path, scenario: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.txt");
    std::fs::write(&file, scenario).unwrap();
    stanch().arg("sandbox").arg("--state").arg(state).arg("--scenario").arg(file).output().unwrap()
}

/// Sends a signal as a terminal does, without unsafe code.
fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_scenario_without_a_step_proves_nothing_and_fails() {
    let state = tempfile::tempdir().unwrap();
    failed(&sandbox(state.path(), "# nothing yet\n"), "no line says what to do");
}

#[test]
fn a_scenario_that_cannot_be_played_fails_at_its_line() {
    let state = tempfile::tempdir().unwrap();
    let output = sandbox(&state.path().join("new"), "rosa: /stanch list\nexpect compute groups/nowhere/targetSize: 7\n");
    failed(&output, "line 2: expect compute groups/nowhere/targetSize: 7");
    assert!(String::from_utf8_lossy(&output.stdout).contains("What people saw"));
}

#[test]
fn a_sandbox_takes_no_folder_with_something_in_it() {
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("mine"), "precious").unwrap();
    failed(&sandbox(state.path(), "rosa: /stanch list\n"), "is not empty");
    assert_eq!(std::fs::read_to_string(state.path().join("mine")).unwrap(), "precious");
}

/// What the environment says of proxies, clusters and credentials leads nowhere, since the sandbox begins again without it.
#[test]
fn a_sandbox_ignores_the_environment_and_ends_cleanly_on_both_signals() {
    for name in ["INT", "TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let mut sandbox = stanch()
            .arg("sandbox")
            .arg("--state")
            .arg(folder.path())
            .envs([("HTTPS_PROXY", "http://192.0.2.1:1"), ("HTTP_PROXY", "http://192.0.2.1:1")])
            .envs([("KUBECONFIG", "/nowhere"), ("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let process = sandbox.id();
        let mut lines = BufReader::new(sandbox.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("Ctrl-C ends it")), "it never said that it is up");
        signal(name, process);
        assert!(sandbox.wait().unwrap().success(), "SIG{name}");
    }
}

#[test]
fn a_scenario_that_is_interrupted_fails_and_shows_what_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.txt");
    std::fs::write(&file, "rosa: /stanch list\nexpect in channel: words that nobody says\n").unwrap();
    let state = folder.path().join("state");
    let mut sandbox = stanch()
        .args(["sandbox", "--scenario"])
        .arg(&file)
        .arg("--state")
        .arg(&state)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(sandbox.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("> expect in channel")), "it never came to the expectation");
    signal("INT", sandbox.id());
    assert!(lines.any(|line| line.contains("What people saw")), "it did not show the transcript");
    failed(&sandbox.wait_with_output().unwrap(), "interrupted");
}

/// A start that cannot work must leave nothing that looks like an installation.
#[test]
fn a_run_with_a_wrong_cluster_leaves_no_folder_and_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let output = stanch()
        .args(["run", "--policy", "config/policy.toml", "--config", "config/sandbox.toml", "--data-dir"])
        .arg(&data)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("HOME", folder.path())
        .env_remove("GOOGLE_APPLICATION_CREDENTIALS")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!data.exists(), "{}", String::from_utf8_lossy(&output.stderr));
}
