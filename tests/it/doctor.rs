//! Goal: `doctor` finds what would fail in an incident. Method: everything in order on the emulators; then each thing broken alone, and nothing
//! else is found.
#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stanch::adapters::audit::Log;
use stanch::adapters::system::SystemClock;
use stanch::bot::Bot;
use stanch::config::{Access, Config, SecretSource};
use stanch::core::diagnosis::{Verdict, table};
use stanch::sandbox::compute::ComputeEmulator;
use stanch::sandbox::kubernetes::KubernetesEmulator;
use stanch::sandbox::server::{Fault, FaultRule, Wire};
use stanch::sandbox::slack::{SlackEmulator, Workspace};
use stanch::sandbox::world::World;
use stanch_commands::permission::{cluster_rights, project_rights};
use stanch_commands::{CATALOGUE, inspect};

/// Everything that a bot depends on.
struct Clinic {
    kubernetes: KubernetesEmulator,
    compute: ComputeEmulator,
    slack: SlackEmulator,
    folder: tempfile::TempDir,
    config: Config,
    policy: String,
}

impl Clinic {
    async fn open() -> Self {
        Self::with(&workspace()).await
    }

    async fn with(workspace: &Workspace) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let world = World::compromised();
        let kubernetes = KubernetesEmulator::start(&world).await.unwrap();
        let compute = ComputeEmulator::start(&world).await.unwrap();
        let slack = SlackEmulator::start(workspace).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let mut config = Config::from_toml(include_str!("../../config/sandbox.toml")).unwrap();
        let path = file("kubeconfig", &kubernetes.kubeconfig());
        for cluster in config.clusters.values_mut() {
            cluster.access = Access::Kubeconfig { path: path.clone(), context: "sandbox".into() };
        }
        config.discord = None;
        let settings = config.slack.as_mut().unwrap();
        settings.bot_token = SecretSource::File(file("bot-token", &slack.bot_token()));
        settings.app_token = SecretSource::File(file("app-token", &slack.app_token()));
        config.compute_endpoint = Some(compute.url().parse().unwrap());
        let policy = include_str!("../../config/policy.toml").to_owned();
        Self { kubernetes, compute, slack, folder, config, policy }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A log as a first start makes it.
    fn log(&self) -> Log {
        let (mut log, _) = Log::open(&self.data().join("log"), "stanch.dev/audit-log").unwrap();
        log.append(&[b"{}".to_vec()]).unwrap();
        log.checkpoint().unwrap();
        log
    }

    /// What is not in order, as `VERDICT PART, CHECK: FOUND`, without what depends on the disk of this machine.
    async fn findings(&self) -> Vec<String> {
        let bot = Bot {
            config: self.config.clone(),
            policy: self.policy.clone(),
            data: self.data(),
            slack_api: Some(self.slack.api_url()),
            discord_api: None,
            clock: Arc::new(SystemClock),
            pace: Duration::ZERO,
        };
        let diagnoses = bot.examine().await.unwrap();
        let wrong = diagnoses.iter().filter(|diagnosis| diagnosis.check.verdict != Verdict::Ok && diagnosis.check.name != "disk");
        wrong
            .map(|found| {
                assert!(!found.check.hint.is_empty(), "{found:?} has no hint");
                format!("{} {}, {}: {}", found.check.verdict, found.part, found.check.name, found.check.found)
            })
            .collect()
    }
}

/// The sandbox's, with an app that was made from the manifest.
fn workspace() -> Workspace {
    let mut workspace = Workspace::sandbox();
    let manifest = stanch::adapters::slack::manifest();
    let scopes = manifest.pointer("/oauth_config/scopes/bot").unwrap().as_array().unwrap().iter();
    workspace.app.bot_scopes = scopes.map(|scope| scope.as_str().unwrap().to_owned()).collect();
    workspace
}

fn inject(wire: &Wire, uri_contains: &str, status: u16, headers: &[(&str, String)], body: Value) {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let fault = Fault::Answer { status: StatusCode::from_u16(status).unwrap(), headers, body };
    wire.inject(FaultRule { method: None, uri_contains: uri_contains.into(), skip: 0, times: 1_000, fault });
}

/// The `Date` of a server whose clock is two minutes ahead.
fn ahead() -> [(&'static str, String); 1] {
    let there = Timestamp::now() + SignedDuration::from_secs(120);
    [("date", there.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())]
}

fn every_command() -> BTreeSet<&'static str> {
    CATALOGUE.iter().map(|definition| definition.name).chain([inspect::WITH_EXEC]).collect()
}

#[tokio::test]
async fn everything_is_in_order() {
    let clinic = Clinic::open().await;
    assert_eq!(clinic.findings().await, ["warn data folder, audit log: there is none yet"]);
    assert!(!clinic.data().exists(), "nothing that it writes stays");
    drop(clinic.log());
    assert_eq!(clinic.findings().await, Vec::<String>::new());
    // With exactly the rights of the generated files as well.
    let (rights, permissions) = (cluster_rights(&every_command()), project_rights(&every_command()));
    clinic.kubernetes.grant_only(rights.keys().map(|right| (right.group, right.resource, right.verb)));
    clinic.compute.grant_only(permissions.keys().copied());
    assert_eq!(clinic.findings().await, Vec::<String>::new());
    assert!(clinic.compute.mutating_calls().is_empty());
}

#[tokio::test]
async fn what_a_cluster_lacks_is_found() {
    let clinic = Clinic::open().await;
    drop(clinic.log());
    let rights = cluster_rights(&every_command());
    let kept = rights.keys().filter(|right| !(right.resource == "pods/eviction" || right.resource == "poddisruptionbudgets"));
    clinic.kubernetes.grant_only(kept.map(|right| (right.group, right.resource, right.verb)));
    let [found] = clinic.findings().await.try_into().unwrap();
    assert!(found.starts_with("fail cluster sandbox, rights: missing: create pods/eviction (drain, quarantine); list poddisr"), "{found}");
    clinic.kubernetes.grant_everything();

    inject(clinic.kubernetes.wire(), "/version", 200, &ahead(), json!({ "gitVersion": "v1.36.2" }));
    let [found] = clinic.findings().await.try_into().unwrap();
    assert!(found.starts_with("fail cluster sandbox, clock: 1") && found.ends_with(" s behind"), "{found}");
}

/// What nobody may ask for needs no right.
#[tokio::test]
async fn rights_are_those_of_the_permitted_commands() {
    let mut clinic = Clinic::open().await;
    drop(clinic.log());
    clinic.kubernetes.grant_only(
        cluster_rights(&every_command())
            .keys()
            .filter(|right| right.resource != "pods/exec")
            .map(|right| (right.group, right.resource, right.verb)),
    );
    let missing = "fail cluster sandbox, rights: missing: create pods/exec (inspect --exec); get pods/exec (inspect --exec)";
    assert_eq!(clinic.findings().await, [missing]);
    clinic.policy = clinic.policy.replace("\"inspect --exec\"", "\"inspect\"");
    assert_eq!(clinic.findings().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cluster_that_does_not_tell_is_doubtful() {
    let clinic = Clinic::open().await;
    drop(clinic.log());
    let status = json!({ "kind": "Status", "message": "reviews are off" });
    inject(clinic.kubernetes.wire(), "selfsubjectaccessreviews", 403, &[], status);
    let told = "no right to create selfsubjectaccessreviews: reviews are off";
    assert_eq!(clinic.findings().await, [format!("warn cluster sandbox, rights: not known: {told}")]);
}

/// Every API server tells its version to strangers.
#[tokio::test]
async fn credentials_that_a_cluster_does_not_take_are_found() {
    let clinic = Clinic::open().await;
    drop(clinic.log());
    inject(clinic.kubernetes.wire(), "selfsubjectaccessreviews", 401, &[], json!({ "kind": "Status", "message": "Unauthorized" }));
    assert_eq!(clinic.findings().await, ["fail cluster sandbox, rights: the cluster does not take Stanch's credentials"]);
}

#[tokio::test]
async fn what_cannot_be_reached_is_found() {
    let mut clinic = Clinic::open().await;
    drop(clinic.log());
    inject(clinic.kubernetes.wire(), "/version", 503, &[], json!({}));
    inject(clinic.compute.wire(), "aggregated", 503, &[], json!({}));
    inject(clinic.slack.wire(), "auth.test", 503, &[], json!({}));
    let found = clinic.findings().await;
    let starts = ["fail cluster sandbox, API: it answers 503", "fail project sandbox-project, API:", "fail Slack, API: Slack answers 503"];
    assert!(found.len() == 3 && found.iter().zip(starts).all(|(found, start)| found.starts_with(start)), "{found:#?}");

    // What cannot be set up does not hide the rest.
    for cluster in clinic.config.clusters.values_mut() {
        cluster.access = Access::Kubeconfig { path: "/nowhere".into(), context: "sandbox".into() };
    }
    clinic.config.slack.as_mut().unwrap().bot_token = SecretSource::File("/nowhere".into());
    let found = clinic.findings().await;
    let starts = ["fail Slack, settings: ", "fail cluster sandbox, settings: cannot set up cluster `sandbox`"];
    assert!(found.len() == 2 && found.iter().zip(starts).all(|(found, start)| found.starts_with(start)), "{found:#?}");
}

#[tokio::test]
async fn what_a_project_lacks_is_found() {
    let mut clinic = Clinic::open().await;
    drop(clinic.log());
    let permissions = project_rights(&every_command());
    clinic.compute.grant_only(permissions.keys().copied().filter(|permission| *permission != "compute.instances.setTags"));
    let missing = "fail project sandbox-project, permissions: sandbox-project does not grant: compute.instances.setTags (allow-ssh, firewall, quarantine, release, revoke-ssh)";
    assert_eq!(clinic.findings().await, [missing]);
    clinic.compute.grant_everything();

    let disabled = json!({ "error": { "code": 403, "message": "Cloud Resource Manager API has not been used in project 1 before", "status": "PERMISSION_DENIED" } });
    inject(clinic.compute.wire(), "testIamPermissions", 403, &[], disabled);
    assert_eq!(
        clinic.findings().await,
        [
            "warn project sandbox-project, clock: the other side tells no time",
            "warn project sandbox-project, permissions: sandbox-project: not known: Resource Manager answers 403 Forbidden: Cloud Resource Manager API has not \
             been used in project 1 before",
        ]
    );
    for cluster in clinic.config.clusters.values_mut() {
        cluster.project = "another-project".parse().unwrap();
    }
    let found = clinic.findings().await;
    assert_eq!(
        found.first().map(String::as_str),
        Some("fail project another-project, API: The resource 'projects/another-project' was not found")
    );
}

/// The rules of a Shared VPC are in another project, which has to grant what they need.
#[tokio::test]
async fn the_project_of_a_shared_network_is_asked() {
    let clinic = Clinic::open().await;
    drop(clinic.log());
    clinic.compute.share_vpc_from("host-project");
    assert_eq!(clinic.findings().await, Vec::<String>::new());
    inject(clinic.compute.wire(), "host-project:testIamPermissions", 200, &[], json!({ "permissions": ["compute.firewalls.get"] }));
    let [found] = clinic.findings().await.try_into().unwrap();
    let start = "fail project sandbox-project, host project: host-project does not grant: compute.firewalls.create (allow-ssh, firewall, quarantine); ";
    assert!(found.starts_with(start) && !found.contains("compute.instances."), "{found}");
}

#[tokio::test]
async fn googles_clock_is_compared() {
    let clinic = Clinic::open().await;
    drop(clinic.log());
    let all: Vec<&str> = project_rights(&every_command()).into_keys().collect();
    inject(clinic.compute.wire(), "testIamPermissions", 200, &ahead(), json!({ "permissions": all }));
    let [found] = clinic.findings().await.try_into().unwrap();
    assert!(found.starts_with("fail project sandbox-project, clock: 1"), "{found}");
}

#[tokio::test]
async fn what_slack_refuses_is_found() {
    let mut workspace = workspace();
    workspace.app.bot_scopes.remove("reactions:read");
    let mut clinic = Clinic::with(&workspace).await;
    drop(clinic.log());
    assert_eq!(clinic.findings().await, ["fail Slack, scopes: missing: reactions:read"]);
    clinic.config.slack.as_mut().unwrap().team_id = Some("T0ANOTHER".into());
    let found = clinic.findings().await;
    assert!(found.iter().any(|line| line.starts_with("fail Slack, bot token: it is of workspace T")), "{found:#?}");
    for name in ["bot-token", "app-token"] {
        std::fs::write(clinic.folder.path().join(name), "xoxb-wrong").unwrap();
    }
    assert_eq!(
        clinic.findings().await,
        ["fail Slack, bot token: Slack refuses it: invalid_auth", "fail Slack, app token: Slack refuses it: invalid_auth"]
    );
}

#[tokio::test]
async fn a_slack_that_was_asked_too_often_is_doubtful() {
    let clinic = Clinic::open().await;
    drop(clinic.log());
    inject(
        clinic.slack.wire(),
        "apps.connections.open",
        429,
        &[("retry-after", "30".into())],
        json!({ "ok": false, "error": "ratelimited" }),
    );
    assert_eq!(clinic.findings().await, ["warn Slack, app token: Slack was asked too often"]);
}

#[tokio::test]
async fn more_scopes_than_needed_are_doubtful() {
    let mut workspace = workspace();
    workspace.app.bot_scopes.insert("files:write".into());
    let clinic = Clinic::with(&workspace).await;
    drop(clinic.log());
    let found = clinic.findings().await;
    assert!(found.len() == 1 && found.iter().all(|line| line.starts_with("warn Slack, scopes: more than needed: ")), "{found:#?}");
}

#[tokio::test]
async fn what_is_wrong_with_the_data_folder_is_found() {
    let clinic = Clinic::open().await;
    let log = clinic.log();
    assert_eq!(clinic.findings().await, ["warn data folder, audit log: a running Stanch holds it"]);
    drop(log);
    std::fs::write(clinic.data().join("evidence"), "a file").unwrap();
    let [found] = clinic.findings().await.try_into().unwrap();
    assert!(found.starts_with("fail data folder, evidence: ") && found.contains("cannot be written"), "{found}");
    std::fs::remove_file(clinic.data().join("evidence")).unwrap();

    let checkpoint = clinic.data().join("log/checkpoint");
    let note = std::fs::read_to_string(&checkpoint).unwrap();
    std::fs::write(&checkpoint, note.replacen("\n1\n", "\n2\n", 1)).unwrap();
    let [found] = clinic.findings().await.try_into().unwrap();
    assert!(found.starts_with("fail data folder, audit log: "), "{found}");
}

#[test]
fn the_table_is_for_people() {
    use stanch::core::diagnosis::{Check, Diagnosis};
    let of = |part: &str, check| Diagnosis { part: part.into(), check };
    let diagnoses = [
        of("cluster prod", Check::ok("API", "Kubernetes v1.36.2")),
        of("Slack", Check::fail("scopes", "missing: users:read", "install the app again")),
        of("data folder", Check::warn("disk", "700 MiB free", "make room")),
    ];
    insta::assert_snapshot!(table(&diagnoses), @r"
    ok    cluster prod  API     Kubernetes v1.36.2
    fail  Slack         scopes  missing: users:read
          hint: install the app again
    warn  data folder   disk    700 MiB free
          hint: make room
    1 failed, 1 doubtful, 1 ok
    ");
}

/// The program prints the table and fails. It would ask Slack itself, so that here it has no token to ask with.
#[tokio::test]
async fn the_program_ends_with_a_status() {
    let clinic = Clinic::open().await;
    drop(clinic.log());
    let file = |name: &str| clinic.folder.path().join(name).display().to_string();

    let config = format!(
        "[compute]\nendpoint = \"{}\"\n[clusters.sandbox]\nproject = \"sandbox-project\"\nlocation = \"us-central1-a\"\nkubeconfig = \"{}\"\n\
         context = \"sandbox\"\n[slack]\nbot_token_file = \"/nowhere\"\napp_token_file = \"/nowhere\"\n[[channels]]\nslack = \"C0INCIDENTS\"\n",
        clinic.compute.url(),
        file("kubeconfig")
    );
    std::fs::write(file("stanch.toml"), config).unwrap();
    std::fs::write(file("policy.toml"), &clinic.policy).unwrap();
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_stanch"));
    program.args(["doctor", "--config", &file("stanch.toml"), "--policy", &file("policy.toml"), "--data-dir", &file("data")]);
    let output = program.output().await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "ok    cluster sandbox          rights",
        "ok    project sandbox-project  permissions",
        "fail  Slack                    settings",
        "hint: ",
    ] {
        assert!(printed.contains(line), "{line} is not in:\n{printed}");
    }
    assert!(printed.lines().last().unwrap().starts_with("1 failed, "), "{printed}");
}
