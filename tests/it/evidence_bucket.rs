//! Goal: what a bucket is said to hold is there, bit for bit, and nothing there is ever overwritten. Method: the crate's own stores in memory
//! and in a folder, behind one that fails or tampers on request.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use futures::TryStreamExt as _;
use jiff::Timestamp;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};
use stanch::adapters::evidence::{CustodyRecord, EvidenceBucket, EvidenceFolder};
use stanch::core::identity::PersonId;
use stanch::core::step::Artefact;
use stanch::ports::{Copied, CopyFailed, Custody, EvidenceCopies as _, EvidenceStore as _, Exhibit};
use stanch_commands::plan::PlanDigest;
use stanch_commands::target::RequestId;

fn request() -> RequestId {
    "r-test01".parse().unwrap()
}

async fn keep(folder: &EvidenceFolder, path: &str, content: &str) {
    let custody = Custody {
        at: Timestamp::UNIX_EPOCH,
        request: request(),
        incident: "inc-1".parse().unwrap(),
        requester: PersonId::new("rosa"),
        step: "collect".into(),
        digest: PlanDigest::from_hex(&"a".repeat(64)).unwrap(),
    };
    folder.keep(&custody, vec![Artefact { path: path.into(), content: content.into() }]).await.unwrap();
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn objects(store: &dyn ObjectStore) -> BTreeMap<String, Vec<u8>> {
    let names: Vec<Key> = store.list(None).map_ok(|object| object.location).try_collect().await.unwrap();
    let mut objects = BTreeMap::new();
    for name in names {
        let content = store.get_opts(&name, object_store::GetOptions::default()).await.unwrap().bytes().await.unwrap();
        objects.insert(name.to_string(), content.to_vec());
    }
    objects
}

fn in_memory(folder: &EvidenceFolder) -> (Arc<InMemory>, EvidenceBucket) {
    let store = Arc::new(InMemory::new());
    let bucket = EvidenceBucket::new(store.clone(), "stanch/prod", "memory://evidence/stanch/prod".into(), folder.clone());
    (store, bucket)
}

/// Copies twice, as two steps keep something, and checks the whole content of the bucket.
async fn check_both_states(folder: &EvidenceFolder, bucket: &EvidenceBucket, store: &dyn ObjectStore, prefix: &str) {
    keep(folder, "pod/log.txt", "A").await;
    let first = bucket.copy(&request()).await.unwrap();
    keep(folder, "node.json", "B").await;
    let second = bucket.copy(&request()).await.unwrap();
    assert_eq!(bucket.copy(&request()).await.unwrap(), second, "once more changes nothing");
    assert_eq!((first.files, second.files), (1, 2));

    let there = objects(store).await;
    let at = |name: &str| format!("{prefix}r-test01/{name}");
    let (manifest_1, manifest_2) =
        (format!("manifest-{}.json", first.manifest_sha256), format!("manifest-{}.json", second.manifest_sha256));
    let names = ["custody-0001.json", "custody-0002.json", &manifest_1, &manifest_2, "node.json", "pod/log.txt"].map(at);
    let mut expected: Vec<String> = names.to_vec();
    expected.sort();
    assert_eq!(there.keys().cloned().collect::<Vec<_>>(), expected);
    assert_eq!((there[&at("pod/log.txt")].as_slice(), there[&at("node.json")].as_slice()), (b"A".as_slice(), b"B".as_slice()));
    assert_eq!(hex(&there[&at(&manifest_2)]), second.manifest_sha256);
    let manifest: Vec<Exhibit> = serde_json::from_slice(&there[&at(&manifest_2)]).unwrap();
    assert_eq!(manifest, folder.manifest(&request()).unwrap());
    let custody: Vec<CustodyRecord> = serde_json::from_slice(&there[&at("custody-0002.json")]).unwrap();
    assert_eq!(custody, folder.custody(&request()).unwrap());
}

#[tokio::test]
async fn everything_is_there_with_a_list_for_each_state() {
    let kept = tempfile::tempdir().unwrap();
    let folder = EvidenceFolder::open(kept.path()).unwrap();
    let (store, bucket) = in_memory(&folder);
    check_both_states(&folder, &bucket, store.as_ref(), "stanch/prod/").await;
    assert_eq!(bucket.pending().await.unwrap(), [].into());
}

#[tokio::test]
async fn a_mounted_folder_is_a_bucket_too() {
    let (kept, mounted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = EvidenceFolder::open(kept.path()).unwrap();
    let bucket = EvidenceBucket::in_folder(mounted.path(), folder.clone()).unwrap();
    let store = object_store::local::LocalFileSystem::new_with_prefix(mounted.path()).unwrap();
    check_both_states(&folder, &bucket, &store, "").await;
}

#[tokio::test]
async fn another_content_is_a_conflict_and_stays() {
    let kept = tempfile::tempdir().unwrap();
    let folder = EvidenceFolder::open(kept.path()).unwrap();
    let (store, bucket) = in_memory(&folder);
    keep(&folder, "log.txt", "A").await;
    let key = Key::from("stanch/prod/r-test01/log.txt");
    // Of the same length, so that only the hash tells.
    store.put(&key, "X".into()).await.unwrap();
    let failed = bucket.copy(&request()).await.unwrap_err();
    let words = "`memory://evidence/stanch/prod/r-test01/log.txt` holds something else there: somebody wrote it, and it is not overwritten";
    assert_eq!(failed, CopyFailed::Conflict(words.into()));
    let there = objects(store.as_ref()).await;
    assert_eq!(there, [(key.to_string(), b"X".to_vec())].into(), "no list says that it is there");
    assert_eq!(bucket.pending().await.unwrap(), [request()].into());
}

#[tokio::test]
async fn the_same_content_by_somebody_else_is_fine() {
    let kept = tempfile::tempdir().unwrap();
    let folder = EvidenceFolder::open(kept.path()).unwrap();
    let (store, bucket) = in_memory(&folder);
    keep(&folder, "log.txt", "A").await;
    store.put(&Key::from("stanch/prod/r-test01/log.txt"), "A".into()).await.unwrap();
    assert_eq!(bucket.copy(&request()).await.map(|copied| copied.files), Ok(1));
}

#[tokio::test]
async fn a_file_that_was_changed_on_this_machine_is_not_copied() {
    let kept = tempfile::tempdir().unwrap();
    let folder = EvidenceFolder::open(kept.path()).unwrap();
    let (store, bucket) = in_memory(&folder);
    keep(&folder, "log.txt", "A").await;
    fs::write(kept.path().join("r-test01/log.txt"), "X").unwrap();
    let failed = bucket.copy(&request()).await.unwrap_err();
    assert_eq!(failed, CopyFailed::Conflict("`log.txt` is not what was kept: the file on this machine was changed".into()));
    assert_eq!(objects(store.as_ref()).await, [].into());
}

#[tokio::test]
async fn what_is_missing_is_found_by_comparing() {
    let kept = tempfile::tempdir().unwrap();
    let folder = EvidenceFolder::open(kept.path()).unwrap();
    let (store, bucket) = in_memory(&folder);
    assert_eq!(bucket.pending().await.unwrap(), [].into(), "nothing is kept");
    keep(&folder, "log.txt", "A").await;
    assert_eq!(bucket.pending().await.unwrap(), [request()].into());
    bucket.copy(&request()).await.unwrap();
    assert_eq!(bucket.pending().await.unwrap(), [].into());

    // Another process, which has seen nothing, finds and copies what somebody took away.
    store.delete(&Key::from("stanch/prod/r-test01/log.txt")).await.unwrap();
    let again = EvidenceBucket::new(store.clone(), "stanch/prod", "memory://evidence".into(), folder.clone());
    assert_eq!(again.pending().await.unwrap(), [request()].into());
    let Copied { files, .. } = again.copy(&request()).await.unwrap();
    assert_eq!((files, again.pending().await.unwrap()), (1, [].into()));
}

#[tokio::test]
async fn evidence_cannot_take_the_name_of_a_list() {
    let kept = tempfile::tempdir().unwrap();
    let folder = EvidenceFolder::open(kept.path()).unwrap();
    for path in ["manifest-1.json", "custody-0001.json", "custody.json"] {
        let custody = Custody {
            at: Timestamp::UNIX_EPOCH,
            request: request(),
            incident: "inc-1".parse().unwrap(),
            requester: PersonId::new("rosa"),
            step: "collect".into(),
            digest: PlanDigest::from_hex(&"a".repeat(64)).unwrap(),
        };
        let lost = folder.keep(&custody, vec![Artefact { path: path.into(), content: vec![] }]).await.unwrap_err();
        assert!(lost.0.contains("is no path of evidence"), "{lost}");
    }
}
