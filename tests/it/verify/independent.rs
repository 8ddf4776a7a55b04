//! Goal: somebody who knows the specifications and nothing of Stanch comes to the same judgement. Method: a verifier in Go on packages that
//! others wrote (`tests/log-verifier`), on logs of whole scenarios and on logs that were tampered with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use stanch::adapters::audit::Log;
use stanch::verify::{Expected, prove, verify};

use super::logs::{ORIGIN, Tampering, append, entry, log_of, public_tamperings, with_key_of};
use crate::support;

/// The verifier, if it was built.
fn independent() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/log-verifier/build.sh");
    let check = Command::new(script).arg("--check").output().unwrap();
    if check.status.success() {
        return Some(String::from_utf8(check.stdout).unwrap().trim_end().into());
    }
    support::skip("log-verifier", String::from_utf8_lossy(&check.stderr).trim_end());
    None
}

/// What it says of a log and of earlier checkpoints.
fn judged(verifier: &Path, folder: &Path, earlier: &[&Path]) -> Result<String, String> {
    let judged = Command::new(verifier).arg(folder.join("verifier-key")).arg(folder).args(earlier).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim_end().to_owned();
    if judged.status.success() { Ok(text(judged.stdout)) } else { Err(text(judged.stderr)) }
}

#[test]
fn both_accept_a_log_of_any_size() {
    let Some(verifier) = independent() else { return };
    for size in [1, 2, 255, 256, 257, 300, 512, 700] {
        let folder = log_of(size, 5);
        let said = judged(&verifier, folder.path(), &[]).unwrap();
        assert!(said.starts_with(&format!("{size} entries, root ")), "{said}");
        assert_eq!(verify(folder.path(), &Expected::default()).problems, []);
    }
}

#[test]
fn both_reject_every_tampering() {
    let Some(verifier) = independent() else { return };
    for Tampering { name, tamper, .. } in public_tamperings() {
        let folder = log_of(300, 10);
        judged(&verifier, folder.path(), &[]).unwrap();
        tamper(folder.path());
        assert!(judged(&verifier, folder.path(), &[]).is_err(), "{name}");
        assert_ne!(verify(folder.path(), &Expected::default()).problems, [], "{name}");
    }
}

#[test]
fn both_tell_rollback_and_fork_by_what_chat_saw() {
    let Some(verifier) = independent() else { return };
    let (folder, chat) = (log_of(1, 0), tempfile::tempdir().unwrap());
    let files: Vec<PathBuf> = (0..3)
        .map(|number| {
            let file = chat.path().join(number.to_string());
            fs::write(&file, append(folder.path(), 150, "ours")).unwrap();
            file
        })
        .collect();
    let all: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    judged(&verifier, folder.path(), &all).unwrap();
    let older = with_key_of(folder.path());
    append(older.path(), 151, "ours");
    assert!(judged(&verifier, older.path(), &all).unwrap_err().ends_with("it covers 301 entries, the log has 151"));
    append(older.path(), 500, "theirs");
    judged(&verifier, older.path(), &[]).unwrap();
    assert!(judged(&verifier, older.path(), &all).is_err());
}

#[test]
fn proofs_are_those_of_the_specification() {
    let Some(verifier) = independent() else { return };
    let (folder, files) = (log_of(300, 10), tempfile::tempdir().unwrap());
    let (proof, stored) = (files.path().join("proof"), files.path().join("entry"));
    let check = |text: &str, bytes: &[u8]| {
        fs::write(&proof, text).unwrap();
        fs::write(&stored, bytes).unwrap();
        let key = folder.path().join("verifier-key");
        Command::new(&verifier).arg("-proof").args([&proof, &key, &stored]).output().unwrap().status.success()
    };
    for index in [0, 1, 118, 255, 256, 298, 299] {
        let text = prove(folder.path(), index as u64).unwrap().to_string();
        assert!(check(&text, &entry(index, "1")), "{text}");
        assert!(!check(&text, &entry(index + 1, "1")), "{text}");
    }
}

/// A whole quarantine: every checkpoint that stands in the thread agrees with the log, in both verifiers' eyes.
#[cfg(feature = "sandbox")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_accept_the_log_of_a_quarantine_and_what_chat_saw_of_it() {
    use stanch::sandbox::scenario::{Scenario, Setting, Stage, play};

    let _ = rustls::crypto::ring::default_provider().install_default();
    let scenario = Scenario::parse(include_str!("../../scenarios/quarantine.txt")).unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(state.path(), Setting::default()).await.unwrap();
    play(&mut stage, &scenario, |_| ()).await.unwrap();
    let log = state.path().join("data/log");
    // While it runs.
    assert_eq!(verify(&log, &Expected::default()).problems, []);
    let slack = stage.slack();
    let messages: Vec<_> = slack.look(|view| view.channels()).iter().flat_map(|channel| slack.channel_transcript(channel)).collect();
    let export = messages.iter().map(|message| serde_json::json!({"ts": message.ts, "text": message.text, "blocks": message.blocks}));
    let export = serde_json::Value::Array(export.collect()).to_string();
    let transcript = stage.transcript();
    stage.strike().await.unwrap();

    for anchors in [export, transcript] {
        let report = verify(&log, &Expected { anchors: Some(anchors), key: None });
        assert_eq!(report.problems, []);
        let seen = report.witnessed.unwrap();
        assert!(seen.agreeing >= 3 && seen.newest <= report.entries, "{seen:?}");
        assert_eq!((report.requests, report.open), (1, 0));
    }
    let Some(verifier) = independent() else { return };
    judged(&verifier, &log, &[]).unwrap();
    // The log goes on where it was.
    let (mut reopened, _) = Log::open(&log, "stanch.dev/audit-log").unwrap();
    let before = state.path().join("before");
    fs::copy(log.join("checkpoint"), &before).unwrap();
    reopened.append(&[entry(0, ORIGIN)]).unwrap();
    reopened.checkpoint().unwrap();
    judged(&verifier, &log, &[&before]).unwrap();
}
