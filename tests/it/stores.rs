//! Goal: what a store said it keeps is there after a restart, and what it could not keep it said so. Method: real files, opened again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _};
use sha2::{Digest as _, Sha256};
use stanch::adapters::audit::AuditWriter;
use stanch::adapters::deliveries::{DeliveriesError, SeenDeliveries};
use stanch::adapters::evidence::{CustodyRecord, EvidenceFolder};
use stanch::adapters::system::RandomIds;
use stanch::core::identity::PersonId;
use stanch::core::step::Artefact;
use stanch::ports::{AuditLog as _, Custody, Deliveries as _, EvidenceStore as _, Exhibit, IdSource as _, Kept};
use stanch_commands::plan::PlanDigest;
use stanch_commands::target::RequestId;

use crate::support::skip;

const ORIGIN: &str = "stanch.test/log";

fn request() -> RequestId {
    "r-test01".parse().unwrap()
}

fn custody() -> Custody {
    Custody {
        at: Timestamp::UNIX_EPOCH,
        request: request(),
        incident: "inc-1".parse().unwrap(),
        requester: PersonId::new("rosa"),
        step: "collect".into(),
        digest: PlanDigest::from_hex(&"a".repeat(64)).unwrap(),
    }
}

fn artefact(path: &str, content: &[u8]) -> Artefact {
    Artefact { path: path.into(), content: content.to_vec() }
}

/// `printf A | sha256sum`, and of B.
const SHA256_A: &str = "559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd";
const SHA256_B: &str = "df7e70e5021544f4834bbee64a9e3789febc4be81470df629cad6ddb03320a5c";

fn exhibit(path: &str, sha256: &str) -> Exhibit {
    Exhibit { path: path.into(), sha256: sha256.into(), bytes: 1 }
}

#[tokio::test]
async fn concurrent_appends_are_contiguous_and_replayed_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, opened, entries) = AuditWriter::open(folder.path(), ORIGIN).unwrap();
    assert_eq!((opened.entries, entries.len()), (0, 0));
    let writer = Arc::new(writer);
    let tasks: Vec<_> = (0..150_u32)
        .map(|number| {
            let writer = Arc::clone(&writer);
            tokio::spawn(async move {
                let pair = vec![format!("{number} first").into_bytes(), format!("{number} second").into_bytes()];
                (writer.append(pair.clone()).await.unwrap().get(), pair)
            })
        })
        .collect();
    let mut expected = vec![Vec::new(); 300];
    for task in tasks {
        let (last, pair) = task.await.unwrap();
        let last = usize::try_from(last).unwrap();
        for (index, entry) in [last - 1, last].into_iter().zip(pair) {
            assert_eq!(std::mem::replace(&mut expected[index], entry), Vec::<u8>::new());
        }
    }
    writer.checkpoint().await.unwrap();
    Arc::into_inner(writer).unwrap().close();

    let (_writer, opened, entries) = AuditWriter::open(folder.path(), ORIGIN).unwrap();
    assert_eq!((opened.entries, opened.torn_bytes), (300, 0));
    assert_eq!(entries, expected);
}

#[tokio::test]
async fn a_failed_log_says_the_same_to_everybody_after() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, ..) = AuditWriter::open(folder.path(), ORIGIN).unwrap();
    let too_long = writer.append(vec![vec![0; 65_536]]).await.unwrap_err();
    assert_eq!(too_long.0, "an entry of 65536 bytes is too long");
    assert_eq!(writer.append(vec![b"fits".to_vec()]).await.unwrap().get(), 0);

    // A file where the folder of tiles should come makes a checkpoint fail, for root too.
    fs::write(folder.path().join("tile"), "").unwrap();
    let first = writer.checkpoint().await.unwrap_err();
    fs::remove_file(folder.path().join("tile")).unwrap();
    assert_eq!(writer.append(vec![b"later".to_vec()]).await.unwrap_err(), first);
    assert_eq!(writer.checkpoint().await.unwrap_err(), first);
    assert!(writer.has_reserve(), "only a full disk uses the reserve");
    drop(writer);

    let (_writer, _, entries) = AuditWriter::open(folder.path(), ORIGIN).unwrap();
    assert_eq!(entries, [b"fits".to_vec()]);
}

/// Method: this test runs itself again in a mount namespace of its own, on a tmpfs of 6 MiB.
#[test]
fn a_full_disk_uses_the_reserve_and_then_poisons() {
    const INSIDE: &str = "STANCH_TEST_SMALL_DISK";
    if let Ok(folder) = std::env::var(INSIDE) {
        return tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(fill(Path::new(&folder)));
    }
    let folder = tempfile::tempdir().unwrap();
    let namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(folder.path());
        command
    };
    let possible = namespace("mount -t tmpfs -o size=6m none \"$1\"").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        return skip("a_full_disk_uses_the_reserve_and_then_poisons", "no user namespace with a tmpfs here");
    }
    let output = namespace("mount -t tmpfs -o size=6m none \"$1\" && STANCH_TEST_SMALL_DISK=\"$1\" exec \"$2\" --exact \"$3\" --nocapture")
        .arg(std::env::current_exe().unwrap())
        .arg("stores::a_full_disk_uses_the_reserve_and_then_poisons")
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

async fn fill(folder: &Path) {
    let (writer, ..) = AuditWriter::open(folder, ORIGIN).unwrap();
    let mut expected = Vec::new();
    let mut after_reserve = 0_usize;
    let failure = loop {
        let batch: Vec<_> = (0..3_usize).map(|at| vec![u8::try_from((expected.len() + at) % 251).unwrap(); 30_000]).collect();
        match writer.append(batch.clone()).await {
            Ok(index) => {
                expected.extend(batch);
                assert_eq!(usize::try_from(index.get()).unwrap(), expected.len() - 1);
                after_reserve += usize::from(!writer.has_reserve());
            }
            Err(failure) => break failure,
        }
        assert!(expected.len() < 1_000, "the disk never became full");
    };
    assert!(after_reserve > 10, "the reserve gave {after_reserve} appends");
    assert!(!writer.has_reserve());
    assert!(failure.0.contains("No space left on device"), "{failure}");
    assert_eq!(writer.append(vec![]).await.unwrap_err(), failure);
    drop(writer);

    // On a disk with room, everything that was acknowledged is there; of the failed batch at most whole entries.
    let roomy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-a").arg(folder).arg(roomy.path().join("log")).status().unwrap();
    assert!(copied.success());
    let (_writer, _, entries) = AuditWriter::open(&roomy.path().join("log"), ORIGIN).unwrap();
    assert!(entries.starts_with(&expected) && entries.len() < expected.len() + 3, "{} entries", entries.len());
}

#[tokio::test]
async fn evidence_is_kept_once_listed_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evidence");
    let store = EvidenceFolder::open(&path).unwrap();
    let kept = store.keep(&custody(), vec![artefact("logs/app.txt", b"A"), artefact("pod.json", b"A")]).await.unwrap();
    assert_eq!(kept.exhibits, [exhibit("logs/app.txt", SHA256_A), exhibit("pod.json", SHA256_A)]);
    drop(store);

    let store = EvidenceFolder::open(&path).unwrap();
    let again = store.keep(&custody(), vec![artefact("pod.json", b"B"), artefact("pod.json", b"A"), artefact("pod.json", b"B")]).await;
    let (a, b) = (exhibit("pod.json", SHA256_A), exhibit("pod.json.2", SHA256_B));
    let again = again.unwrap();
    assert_eq!(again.exhibits, [b.clone(), a.clone(), b.clone()]);
    let manifest = Sha256::digest(fs::read(path.join("r-test01/manifest.json")).unwrap());
    assert_eq!(again.manifest_sha256, manifest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    // Who had what kept, in order, each with the manifest as it then was.
    let record =
        |kept: &Kept| CustodyRecord { custody: custody(), exhibits: kept.exhibits.clone(), manifest_sha256: kept.manifest_sha256.clone() };
    assert_eq!(store.custody(&request()).unwrap(), [record(&kept), record(&again)]);
    assert_eq!(EvidenceFolder::open(&path).unwrap().manifest(&request()).unwrap(), [exhibit("logs/app.txt", SHA256_A), a, b]);
    assert_eq!(fs::read(path.join("r-test01/pod.json")).unwrap(), b"A");
    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        [mode("r-test01"), mode("r-test01/logs"), mode("r-test01/pod.json"), mode("r-test01/manifest.json")],
        [0o700, 0o700, 0o600, 0o600]
    );
}

#[tokio::test]
async fn paths_that_leave_the_folder_are_refused_with_everything_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = EvidenceFolder::open(&folder.path().join("evidence")).unwrap();
    let long = "a/".repeat(600) + "a";
    for path in [
        "../x",
        "/etc/x",
        "a/../../x",
        "a//b",
        "",
        ".",
        "a/.hidden",
        "a b",
        "a\\b",
        "ä",
        "a\0b",
        "a/",
        "manifest.json",
        "custody.json",
        &long,
    ] {
        let refused = store.keep(&custody(), vec![artefact("good.txt", b"A"), artefact(path, b"A")]).await.unwrap_err();
        assert!(refused.0.contains("is no path of evidence"), "{path:?}: {refused}");
    }
    assert_eq!(fs::read_dir(folder.path().join("evidence")).unwrap().count(), 0);
}

#[test]
fn deliveries_are_remembered_over_restarts_for_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let seen = SeenDeliveries::open(folder.path()).unwrap();
    assert!(matches!(SeenDeliveries::open(folder.path()), Err(DeliveriesError::InUse(_))));
    assert_eq!([seen.is_new("a", now), seen.is_new("a", now), seen.is_new("b", now)], [true, false, true]);
    drop(seen);
    let seen = SeenDeliveries::open(folder.path()).unwrap();
    assert_eq!([seen.is_new("a", now), seen.is_new("c", now)], [false, true]);
    drop(seen);
    // The first delivery after opening prunes.
    let seen = SeenDeliveries::open(folder.path()).unwrap();
    assert!(seen.is_new("a", now.checked_add(25.hours()).unwrap()));
}

#[test]
fn a_damaged_database_of_deliveries_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    drop(SeenDeliveries::open(folder.path()).unwrap());
    for round in 0..2 {
        fs::write(folder.path().join("sled/conf"), format!("damaged {round}")).unwrap();
        let seen = SeenDeliveries::open(folder.path()).unwrap();
        assert_eq!([seen.is_new("a", now), seen.is_new("a", now)], [true, false]);
        assert_eq!(fs::read(folder.path().join("sled.damaged/conf")).unwrap(), format!("damaged {round}").into_bytes());
    }
}

#[test]
fn ids_are_fresh_and_well_formed() {
    let ids: std::collections::BTreeSet<_> = (0..100).map(|_| RandomIds.request_id()).collect();
    assert!(ids.len() > 95);
    let mistakable = |c: char| "01lo".contains(c);
    assert!(ids.iter().all(|id| id.as_str().len() == 8 && !id.as_str().contains(mistakable)));
    assert_ne!(RandomIds.step_key(), RandomIds.step_key());
}
