//! Goal: copies of evidence arrive in Cloud Storage as they do in memory, with nothing sent that could overwrite. Method: the emulator, its
//! faults, and a record of everything that the store's client sends.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use stanch::adapters::evidence::{BucketExamination, EvidenceBucket, EvidenceFolder};
use stanch::core::diagnosis::{Check, Verdict};
use stanch::core::identity::PersonId;
use stanch::core::step::Artefact;
use stanch::ports::{CopyFailed, Custody, EvidenceCopies as _, EvidenceStore as _, Examined as _};
use stanch::sandbox::server::{Fault, FaultRule};
use stanch::sandbox::storage::StorageEmulator;
use stanch_commands::plan::PlanDigest;
use stanch_commands::target::RequestId;

struct Stage {
    emulator: StorageEmulator,
    folder: EvidenceFolder,
    bucket: EvidenceBucket,
    _kept: tempfile::TempDir,
}

fn request() -> RequestId {
    "r-test01".parse().unwrap()
}

impl Stage {
    async fn new() -> Self {
        let kept = tempfile::tempdir().unwrap();
        // Short pages, so that a listing has several.
        let emulator = StorageEmulator::start("example-evidence", 2).await.unwrap();
        let folder = EvidenceFolder::open(kept.path()).unwrap();
        let bucket = EvidenceBucket::in_gcs("example-evidence", "stanch/prod", Some(&emulator.url()), folder.clone()).unwrap();
        let stage = Self { emulator, folder, bucket, _kept: kept };
        for name in ["pods/shop/cart/log.txt", "node.json"] {
            stage.keep(name, name).await;
        }
        stage
    }

    async fn keep(&self, path: &str, content: &str) {
        let custody = Custody {
            at: Timestamp::UNIX_EPOCH,
            request: request(),
            incident: "inc-1".parse().unwrap(),
            requester: PersonId::new("rosa"),
            step: "collect".into(),
            digest: PlanDigest::from_hex(&"a".repeat(64)).unwrap(),
        };
        self.folder.keep(&custody, vec![Artefact { path: path.into(), content: content.into() }]).await.unwrap();
    }

    fn inject(&self, method: Method, times: usize, fault: Fault) {
        self.emulator.server.wire.inject(FaultRule { method: Some(method), uri_contains: "log".into(), skip: 0, times, fault });
    }
}

#[tokio::test]
async fn everything_arrives_created_only() {
    let stage = Stage::new().await;
    let copied = stage.bucket.copy(&request()).await.unwrap();
    assert_eq!((copied.files, stage.bucket.place()), (2, "gs://example-evidence/stanch/prod"));
    let names: Vec<String> = stage.emulator.objects().into_keys().collect();
    let manifest = format!("manifest-{}.json", copied.manifest_sha256);
    let expected = ["custody-0002.json", &manifest, "node.json", "pods/shop/cart/log.txt"];
    assert_eq!(names, expected.map(|name| format!("stanch/prod/r-test01/{name}")));
    assert_eq!(stage.bucket.pending().await.unwrap(), [].into());
    stage.keep("more.json", "{}").await;
    assert_eq!(stage.bucket.pending().await.unwrap(), [request()].into());
    // What the client sends, to the last header: no put without the precondition, no delete.
    let expected = [
        "GET BUCKET ?list-type&prefix host",
        "GET BUCKET ?list-type&prefix&continuation-token host",
        "GET BUCKET/OBJECT ? host",
        "PUT BUCKET/OBJECT ? authorization content-length content-type host x-goog-if-generation-match",
    ];
    assert_eq!(stage.emulator.sent().into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(stage.emulator.refused(), Vec::<String>::new());
    stage.emulator.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_no_conflict() {
    let stage = Stage::new().await;
    stage.inject(Method::PUT, 1, Fault::ResetAfter);
    // The client may try again by itself or not; either way the next try finds its own object.
    let first = stage.bucket.copy(&request()).await;
    assert!(first.is_ok() || matches!(first, Err(CopyFailed::Unavailable(_))), "{first:?}");
    assert_eq!(stage.bucket.copy(&request()).await.map(|copied| copied.files), Ok(2));
    assert_eq!(stage.emulator.server.wire.pending_faults().len(), 0);
    stage.emulator.stop().await;
}

#[tokio::test]
async fn a_refusal_is_told_and_nothing_is_claimed() {
    let stage = Stage::new().await;
    stage.emulator.grant_only(&["storage.objects.get", "storage.objects.list"]);
    let Err(CopyFailed::Unavailable(why)) = stage.bucket.copy(&request()).await else { panic!("it was copied") };
    assert!(why.contains("storage.objects.create"), "{why}");
    // Created, and not readable: not copied either.
    stage.emulator.grant_only(&["storage.objects.create", "storage.objects.list"]);
    let Err(CopyFailed::Unavailable(why)) = stage.bucket.copy(&request()).await else { panic!("it was copied") };
    assert!(why.contains("storage.objects.get"), "{why}");
    assert_eq!(stage.bucket.pending().await.unwrap(), [request()].into());
    stage.emulator.grant_only(&["storage.objects.create", "storage.objects.get", "storage.objects.list"]);
    assert_eq!(stage.bucket.copy(&request()).await.map(|copied| copied.files), Ok(2));
    stage.emulator.stop().await;
}

#[tokio::test]
async fn a_put_that_could_overwrite_needs_more_than_stanch_has() {
    let stage = Stage::new().await;
    let url = format!("{}/example-evidence/x", stage.emulator.url());
    let client = reqwest::Client::new();
    let put = async |content: &'static str| client.put(&url).body(content).send().await.unwrap().status();
    assert_eq!((put("A").await, put("B").await), (StatusCode::OK, StatusCode::FORBIDDEN));
    assert_eq!(client.put(&url).header("x-goog-if-generation-match", "0").body("B").send().await.unwrap().status(), 412);
    assert_eq!(client.delete(&url).send().await.unwrap().status(), 501);
    assert_eq!(client.put(&url).header("x-goog-acl", "public-read").body("B").send().await.unwrap().status(), 501);
    assert_eq!(client.get(format!("{}/another-bucket/x", stage.emulator.url())).send().await.unwrap().status(), 404);
    assert_eq!(stage.emulator.objects().get("x").unwrap().as_ref(), b"A");
    assert_eq!(stage.emulator.refused().len(), 2);
    stage.emulator.stop().await;
}

#[tokio::test]
async fn doctor_tells_what_is_missing_and_what_is_too_much() {
    let stage = Stage::new().await;
    let examination = BucketExamination::in_gcs("example-evidence", Some(&stage.emulator.url())).unwrap();
    let examined = async || examination.examine(&BTreeSet::new()).await;
    let found = "gs://example-evidence lets Stanch create and read, and not overwrite or delete";
    assert_eq!(examined().await, [Check::ok("permissions", found)]);
    let all = ["storage.objects.create", "storage.objects.get", "storage.objects.list", "storage.objects.delete"];
    for (granted, verdict, words) in [
        (&all[..], Verdict::Warn, "gs://example-evidence grants more than is needed: storage.objects.delete"),
        (&all[..1], Verdict::Fail, "gs://example-evidence does not grant: storage.objects.get, storage.objects.list"),
        (&[], Verdict::Fail, "gs://example-evidence does not grant: storage.objects.create, storage.objects.get, storage.objects.list"),
    ] {
        stage.emulator.grant_only(granted);
        let checks = examined().await;
        let told: Vec<_> = checks.iter().map(|check| (check.verdict, check.found.as_str())).collect();
        assert_eq!(told, [(verdict, words)]);
    }
    let body = json!({ "error": { "message": "The specified bucket does not exist." } });
    let fault = Fault::Answer { status: StatusCode::NOT_FOUND, headers: vec![], body };
    stage.emulator.server.wire.inject(FaultRule { method: None, uri_contains: "testPermissions".into(), skip: 0, times: 1, fault });
    let checks = examined().await;
    let expected = "gs://example-evidence: not known: Cloud Storage answers 404 Not Found: The specified bucket does not exist.";
    assert_eq!((checks[0].verdict, checks[0].found.as_str()), (Verdict::Fail, expected));
    stage.emulator.stop().await;
}

#[tokio::test]
async fn doctor_tries_a_folder_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let checks = BucketExamination::Folder(folder.path().to_owned()).examine(&BTreeSet::new()).await;
    assert_eq!(checks[0].verdict, Verdict::Ok, "{checks:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let checks = BucketExamination::Folder(folder.path().join("absent")).examine(&BTreeSet::new()).await;
    assert_eq!(checks[0].verdict, Verdict::Fail, "{checks:?}");
}
