//! Goal: the format on disk stays what it is. Method: files in `tests/fixtures/log`, compared byte by byte with what is written today, and
//! followed as a log that an earlier version wrote. `UPDATE=1` writes them again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use stanch::adapters::audit::Log;
use stanch::verify::{Expected, Key, Proof, prove, verify};
use tempfile::TempDir;

use super::logs::{ORIGIN, entries, entry, files};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/log").join(name)
}

fn update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// The public files of a log, by path.
fn public(log: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let relative = files(log).into_iter().map(|file| file.strip_prefix(log).unwrap().to_owned());
    let public = relative.filter(|file| !["signing-key", "lock", "reserve"].map(Path::new).contains(&file.as_path()));
    public.map(|file| (file.clone(), fs::read(log.join(file)).unwrap())).collect()
}

fn replace(name: &str, log: &Path) {
    let _ = fs::remove_dir_all(fixture(name));
    for (file, bytes) in public(log) {
        let target = fixture(name).join(file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
}

/// 260 signed entries and two more, under the key whose secret is 32 times the byte 7.
fn plain() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("signing-key");
    fs::write(&key, SigningKey::from_bytes(&[7; 32]).to_pkcs8_der().unwrap().as_bytes()).unwrap();
    fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (mut log, _) = Log::open(folder.path(), ORIGIN).unwrap();
    log.append(&entries(0..260)).unwrap();
    log.checkpoint().unwrap();
    log.append(&entries(260..262)).unwrap();
    folder
}

#[test]
fn a_log_is_written_as_ever() {
    let written = plain();
    if update() {
        replace("plain", written.path());
    }
    let (expected, found) = (public(&fixture("plain")), public(written.path()));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (file, bytes) in expected {
        assert!(found[&file] == bytes, "{} is written in another way", file.display());
    }
    let report = verify(&fixture("plain"), &Expected::default());
    assert_eq!((report.problems, report.entries), (vec![], 262));
}

#[test]
fn a_proof_is_written_as_ever() {
    let file = fixture("118.tlog-proof");
    let proof = prove(&fixture("plain"), 118).unwrap();
    if update() {
        fs::write(&file, proof.to_string()).unwrap();
    }
    assert_eq!(proof.to_string(), fs::read_to_string(&file).unwrap());
    let key: Key = fs::read_to_string(fixture("plain/verifier-key")).unwrap().trim_end().parse().unwrap();
    assert_eq!(Proof::parse(&proof.to_string()).unwrap().check(&entry(118, "1"), &key).map(|signed| signed.size), Ok(260));
}

/// Every kind of record in the midst of a real incident. If this fails, so does the next start of everybody who has such a log.
#[cfg(feature = "sandbox")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_an_earlier_quarantine_is_still_followed() {
    use stanch::sandbox::scenario::{Scenario, Setting, Stage, play};

    if update() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let scenario = Scenario::parse(include_str!("../../scenarios/quarantine.txt")).unwrap();
        let state = tempfile::tempdir().unwrap();
        let mut stage = Stage::set(state.path(), Setting::default()).await.unwrap();
        play(&mut stage, &scenario, |_| ()).await.unwrap();
        stage.strike().await.unwrap();
        replace("quarantine", &state.path().join("data/log"));
    }
    let report = verify(&fixture("quarantine"), &Expected::default());
    assert_eq!((report.problems, report.requests, report.open), (vec![], 1, 0));
    assert_eq!(report.checkpoint.map(|checkpoint| checkpoint.size), Some(report.entries), "at rest everything is signed");
}
