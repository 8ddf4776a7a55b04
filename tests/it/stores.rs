//! Goal: what is kept is kept, whole and once. Method: the stores on real folders, opened again and damaged.
#![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use jiff::Timestamp;
use stanch::adapters::audit::AuditWriter;
use stanch::adapters::deliveries::SeenDeliveries;
use stanch::adapters::evidence::EvidenceFolder;
use stanch::adapters::system::RandomIds;
use stanch::core::step::Artefact;
use stanch::ports::*;
use stanch_commands::target::RequestId;

fn file(path: &str, content: &str) -> Artefact {
    Artefact { path: path.into(), content: content.into() }
}

fn request() -> RequestId {
    "r-k3f9qz".parse().unwrap()
}

#[tokio::test]
async fn the_log_keeps_the_order_of_appends_and_replays_them() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, replayed) = AuditWriter::open(folder.path(), "stores.test/log").unwrap();
    assert_eq!(replayed.entries, Vec::<Vec<u8>>::new());
    let writer = Arc::new(writer);
    for number in 0..300_u32 {
        let index = writer.append(vec![number.to_string().into_bytes()]).await.unwrap();
        assert_eq!(index.get(), u64::from(number));
    }
    assert!(writer.checkpoint().await.unwrap().starts_with("stores.test/log\n300\n"));
    assert!(writer.has_room());
    drop(writer);
    let (_, replayed) = AuditWriter::open(folder.path(), "stores.test/log").unwrap();
    let expected: Vec<Vec<u8>> = (0..300_u32).map(|number| number.to_string().into_bytes()).collect();
    assert_eq!(replayed.entries, expected);
}

#[tokio::test]
async fn after_a_failure_the_log_takes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (writer, _) = AuditWriter::open(&path, "stores.test/log").unwrap();
    writer.append(vec![b"one".to_vec()]).await.unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, "no folder any more").unwrap();
    let first = writer.checkpoint().await.unwrap_err();
    assert!(first.0.contains("cannot"), "{first}");
    let later = writer.append(vec![b"two".to_vec()]).await.unwrap_err();
    assert!(later.0.contains("earlier write"), "{later}");
}

#[tokio::test]
async fn evidence_is_private_listed_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let store = EvidenceFolder::open(&folder.path().join("evidence")).unwrap();
    let kept = store.keep(&request(), vec![file("shop/cart/pod.json", "{}"), file("node.json", "{}")]).await.unwrap();
    assert_eq!(kept.len(), 2);
    let again = store.keep(&request(), vec![file("shop/cart/pod.json", "{}")]).await.unwrap();
    assert_eq!(again.first(), kept.first());
    let other = store.keep(&request(), vec![file("shop/cart/pod.json", "{\"changed\":true}")]).await.unwrap();
    assert_eq!(other.first().unwrap().path, "shop/cart/pod.json.2");

    let below = folder.path().join("evidence/r-k3f9qz");
    assert_eq!(std::fs::read_to_string(below.join("shop/cart/pod.json")).unwrap(), "{}");
    let manifest: Vec<Exhibit> = serde_json::from_slice(&std::fs::read(below.join("manifest.json")).unwrap()).unwrap();
    let paths: Vec<&str> = manifest.iter().map(|exhibit| exhibit.path.as_str()).collect();
    assert_eq!(paths, ["node.json", "shop/cart/pod.json", "shop/cart/pod.json.2"]);
    // SHA-256 of `{}`.
    assert_eq!(manifest.first().unwrap().sha256, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    let mode = |path: &str| std::fs::metadata(below.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("shop"), mode("shop/cart/pod.json")), (0o700, 0o600));
}

#[tokio::test]
async fn evidence_stays_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = EvidenceFolder::open(folder.path()).unwrap();
    for path in ["../x", "/etc/x", "a/../../x", "a//b", "", ".hidden", "a/.b", "a\\b", "a b", "manifest.json", "é"] {
        let refused = store.keep(&request(), vec![file(path, "x")]).await;
        assert!(refused.is_err(), "{path}");
    }
}

#[test]
fn deliveries_are_new_once_even_after_a_restart_or_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("derived");
    let now = Timestamp::UNIX_EPOCH;
    let seen = SeenDeliveries::open(&path).unwrap();
    assert!(seen.is_new("one", now));
    assert!(!seen.is_new("one", now));
    assert!(SeenDeliveries::open(&path).is_err(), "one process at a time");
    drop(seen);
    let seen = SeenDeliveries::open(&path).unwrap();
    assert!(!seen.is_new("one", now));
    assert!(seen.is_new("two", now));
}

#[test]
fn request_ids_are_read_aloud_and_differ() {
    let ids: std::collections::BTreeSet<String> = (0..1_000).map(|_| RandomIds.request_id().to_string()).collect();
    assert!(ids.len() > 990);
    assert!(ids.iter().all(|id| !id.contains(['0', '1', 'i', 'l', 'o', 'u'])), "no look-alikes");
}
