//! Goal: evidence is whole, provable, and holds no secret. Method: a suspect full of canaries on the emulators, inspected by the production
//! bot; then every file that the bot wrote, and everything that it said.
#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stanch::adapters::evidence::EvidenceFolder;
use stanch::config::{Bucket, Evidence};
use stanch::sandbox::scenario::{Scenario, Setting, Stage, play};
use stanch::sandbox::storage::StorageEmulator;
use stanch_commands::check;
use stanch_commands::definition::Phase;
use stanch_commands::facts::Facts;
use stanch_commands::plan::{Draft, Form, Step};
use stanch_commands::refusal::Refusal;
use stanch_commands::target::RequestId;

use crate::plans::{SUSPECT, facts, plan};

const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";
const CANARY: &str = "canary-7f3a9c";

async fn plays(stage: &mut Stage, text: &str) {
    if let Err(failed) = play(stage, &Scenario::parse(text).unwrap(), |_| ()).await {
        panic!("{failed}\n{}", stage.transcript());
    }
}

/// A pod whose secrets are wherever a pod can have some, with the Google account of its own.
async fn plant(stage: &Stage) {
    let base = stage.kubernetes().url();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let create = |kind: &'static str, body: Value| {
        let request = http.post(format!("{base}/api/v1/namespaces/shop/{kind}")).json(&body);
        async move {
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        }
    };
    create("secrets", json!({ "metadata": { "name": "leaky" }, "stringData": { "password": CANARY } })).await;
    let google = json!({ "iam.gke.io/gcp-service-account": "cart@sandbox-project.iam.gserviceaccount.com" });
    create("serviceaccounts", json!({ "metadata": { "name": "leaky", "annotations": google } })).await;
    let header = json!([{ "name": "Authorization", "value": CANARY }]);
    let container = json!({
        "name": "main", "image": "registry.example/app:1",
        "env": [{ "name": "PASSWORD", "value": CANARY }, { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "leaky", "key": "password" } } }],
        "livenessProbe": { "httpGet": { "port": 80, "httpHeaders": header } },
    });
    let applied = json!({ "kubectl.kubernetes.io/last-applied-configuration": CANARY });
    let spec = json!({ "nodeName": NODE, "serviceAccountName": "leaky", "containers": [container] });
    create("pods", json!({ "metadata": { "name": "leaky", "annotations": applied }, "spec": spec })).await;
    stage.compute().set_metadata(NODE, "startup-script", CANARY).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_is_whole_provable_and_without_secrets() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(folder.path(), Setting::default()).await.unwrap();
    plant(&stage).await;
    let text = "rosa: /stanch inspect pod shop/leaky incident:inc-7\nexpect in thread: instance/instance.json\n\
                expect in thread: acts as shop/leaky, cart@sandbox-project.iam.gserviceaccount.com\n\
                expect in thread: pods/shop/leaky/pod.json";
    plays(&mut stage, text).await;
    let transcript = stage.transcript();
    stage.strike().await.unwrap();

    let data = folder.path().join("data");
    let evidence = data.join("evidence");
    let request: RequestId = fs::read_dir(&evidence).unwrap().next().unwrap().unwrap().file_name().to_str().unwrap().parse().unwrap();
    let store = EvidenceFolder::open(&evidence).unwrap();
    let bundle = evidence.join(request.as_str());
    let manifest = store.manifest(&request).unwrap();
    for exhibit in &manifest {
        let content = fs::read(bundle.join(&exhibit.path)).unwrap();
        assert_eq!((sha256(&content), content.len() as u64), (exhibit.sha256.clone(), exhibit.bytes), "{}", exhibit.path);
    }
    let listed: BTreeSet<String> = manifest.into_iter().map(|exhibit| exhibit.path).collect();
    let expected = [
        "node.json",
        "node-events.json",
        "pods-on-node.json",
        "pods/shop/leaky/pod.json",
        "pods/shop/leaky/events.json",
        "pods/shop/leaky/images.json",
        "pods/shop/leaky/identity.json",
        "pods/shop/leaky/service-account.json",
        "pods/shop/leaky/network-policies.json",
        "pods/shop/leaky/secret-names.json",
        "pods/shop/leaky/logs/main.log",
        "instance/instance.json",
        "instance/effective-firewalls-nic0.json",
        "instance/group.json",
        "instance/disks/gke-sandbox-public-1a2b3c4d-x7k2.json",
        "instance/disks/pvc-orders-0.json",
    ];
    assert_eq!(listed, expected.map(str::to_owned).into());

    // Whoever gets the folder learns who asked, and the thread has the hash of what it must list.
    let custody = store.custody(&request).unwrap();
    assert_eq!(custody.len(), 2);
    for record in &custody {
        let who = (record.custody.request.as_str(), record.custody.incident.as_str(), record.custody.requester.to_string());
        assert_eq!(who, (request.as_str(), "inc-7", "rosa".to_owned()));
        assert!(transcript.contains(&record.manifest_sha256), "{transcript}");
    }
    let last = custody.iter().map(|record| record.manifest_sha256.clone()).next_back().unwrap();
    assert_eq!(last, sha256(&fs::read(bundle.join("manifest.json")).unwrap()));

    assert!(!transcript.contains(CANARY), "{transcript}");
    for file in files(&data) {
        let content = fs::read(&file).unwrap();
        assert!(!content.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{} holds a secret", file.display());
    }
    let names: Value = serde_json::from_slice(&fs::read(bundle.join("pods/shop/leaky/secret-names.json")).unwrap()).unwrap();
    assert_eq!(names, json!(["leaky"]));
}

/// Goal: copies and attachments are what the folder keeps, without its secrets. Method: the same suspect, a bucket that is emulated, and files
/// in the thread as people can download them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_and_attachments_are_provable_and_without_secrets() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let storage = StorageEmulator::start("example-evidence", 1_000).await.unwrap();
    let evidence = Evidence {
        bucket: Some(Bucket::Gcs { bucket: "example-evidence".into(), prefix: "prod".into() }),
        attach_limit_bytes: Some(256 << 10),
        endpoint: Some(storage.url().parse().unwrap()),
    };
    let mut stage = Stage::set(folder.path(), Setting { evidence, ..Setting::default() }).await.unwrap();
    plant(&stage).await;
    let text = "rosa: /stanch inspect pod shop/leaky incident:inc-7\n\
                expect in thread: Attached, with values of variables, headers and metadata taken out\n\
                expect in thread: Evidence is copied to gs://example-evidence/prod: 16 files, each read back there\n\
                rosa: /stanch doctor\nexpect rosa reads: gs://example-evidence lets Stanch create and read, and not overwrite or delete";
    plays(&mut stage, text).await;
    let entries = stage.slack().look(|view| view.channel_transcript("C0INCIDENTS"));
    stage.strike().await.unwrap();

    let kept = EvidenceFolder::open(&folder.path().join("data/evidence")).unwrap();
    let request: RequestId =
        fs::read_dir(folder.path().join("data/evidence")).unwrap().next().unwrap().unwrap().file_name().to_str().unwrap().parse().unwrap();
    let manifest: BTreeMap<String, String> =
        kept.manifest(&request).unwrap().into_iter().map(|exhibit| (exhibit.path, exhibit.sha256)).collect();
    let objects = storage.objects();
    for (path, hash) in &manifest {
        assert_eq!(sha256(&objects[&format!("prod/{request}/{path}")]), *hash, "{path}");
    }
    assert_eq!(
        objects[&format!("prod/{request}/custody-0002.json")],
        fs::read(folder.path().join(format!("data/evidence/{request}/custody.json"))).unwrap()
    );
    for (name, content) in &objects {
        assert!(!content.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{name} holds a secret");
    }
    let attached: Vec<_> = entries.into_iter().flat_map(|entry| entry.files).collect();
    assert_eq!(attached.len(), 15, "everything but the log");
    for file in attached {
        assert_eq!(sha256(&file.content), manifest[&file.title], "{}", file.title);
        assert!(
            file.name.ends_with(".json") && !file.content.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()),
            "{}",
            file.name
        );
    }
    assert_eq!(storage.refused(), Vec::<String>::new());
    storage.stop().await;
}

/// The steps of a plan: class, what they need, summary.
fn steps(line: &str, facts: &Facts) -> Result<Vec<String>, Refusal> {
    let plan = plan(line, Form::Strict, facts)?;
    let needs = |step: &Step| step.needs.iter().map(|edge| edge.step().to_string()).collect::<Vec<_>>().join(" ");
    Ok(plan.steps().map(|(id, step)| format!("{id} <- {}: {:?}: {}", needs(step), step.action.class(), step.action.summary())).collect())
}

#[test]
fn an_inspection_only_preserves() {
    let of_pod = plan(&format!("inspect {SUSPECT}"), Form::Strict, &facts()).unwrap();
    assert!(of_pod.only_preserves());
    assert_eq!((of_pod.phase(Phase::Preserve), of_pod.phase(Phase::Contain)), (Phase::Preserve, Phase::Contain));
    assert_eq!(
        steps(&format!("inspect {SUSPECT}"), &facts()).unwrap(),
        [
            "1 <- : Preserve: collect objects, events and logs of shop/cart-7d4b9c6f5-x2x9q",
            &format!("2 <- : Preserve: collect interfaces, disks and effective firewalls of instance {NODE}"),
        ]
    );
    // Where there is no instance to read, the cluster is read all the same.
    let mut autopilot = facts();
    autopilot.kubernetes.node.autopilot = true;
    assert_eq!(steps(&format!("inspect {SUSPECT}"), &autopilot).unwrap().len(), 1);
}

#[test]
fn programs_wait_for_an_approval_and_come_last() {
    let line = format!("inspect {SUSPECT} --exec");
    let plan = plan(&line, Form::Strict, &facts()).unwrap();
    assert_eq!(plan.phase(Phase::Preserve), Phase::Contain);
    assert!(plan.consequences.noticeable.iter().any(|line| line.starts_with("WARNING: ")));
    assert!(plan.command.ends_with(" --exec"), "{}", plan.command);
    assert_eq!(
        steps(&line, &facts()).unwrap().split_off(2),
        [
            &format!("3 <- : Preserve: save the prior state of node {NODE} and its suspects"),
            "4 <- 3 1 2: Mutate: run read-only programs in the containers of shop/cart-7d4b9c6f5-x2x9q: processes, sockets, mounts",
        ]
    );
    let mut node = facts();
    node.kubernetes.suspect = None;
    assert_eq!(steps(&format!("inspect node {NODE} --exec"), &node), Err(Refusal::ExecNeedsPod));
}

/// Without either edge to the evidence the plan is refused.
#[test]
fn programs_never_come_before_the_evidence() {
    let good = plan(&format!("inspect {SUSPECT} --exec"), Form::Strict, &facts()).unwrap();
    for dropped in 0..2 {
        let mut draft: Draft = good.clone().into();
        let probes = draft.steps.last_mut().unwrap();
        probes.needs.retain(|edge| edge.step().index() != dropped);
        let found = check::checked(draft).unwrap_err().to_string();
        assert!(found.contains("step 4 warns the attacker before the evidence that nobody notices is there"), "{found}");
    }
}
