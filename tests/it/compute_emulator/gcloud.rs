//! Unmodified `gcloud`: every gcloud command of Google's guide, in the guide's order.

use std::path::Path;

use stanch::sandbox::compute::ComputeEmulator;
use stanch::sandbox::world::World;
use tokio::process::Command;

use crate::support;

const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";
const GROUP: &str = "gke-sandbox-public-1a2b3c4d-grp";

struct Gcloud<'a> {
    url: String,
    config: &'a Path,
}

impl Gcloud<'_> {
    /// Runs a command that must succeed, and returns what it prints.
    async fn run(&self, line: &str) -> String {
        let (succeeded, text) = self.try_run(line).await;
        assert!(succeeded, "gcloud {line}\n{text}");
        text
    }

    async fn try_run(&self, line: &str) -> (bool, String) {
        let output = Command::new("gcloud")
            .args(line.split_whitespace())
            .env("CLOUDSDK_CONFIG", self.config)
            .env("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", format!("{}/compute/v1/", self.url))
            .env("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "true")
            .env("CLOUDSDK_CORE_PROJECT", "sandbox-project")
            .env("CLOUDSDK_COMPUTE_ZONE", "us-central1-a")
            .env("CLOUDSDK_CORE_DISABLE_PROMPTS", "1")
            .env("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "true")
            .output()
            .await
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }
}

#[tokio::test]
async fn gcloud_completes_the_commands_of_the_guide() {
    if Command::new("gcloud").arg("--help").output().await.is_err() {
        return support::skip("gcloud", "gcloud is not installed");
    }
    let emulator = ComputeEmulator::start(&World::compromised()).await.unwrap();
    let config = tempfile::tempdir().unwrap();
    let gcloud = Gcloud { url: emulator.url(), config: config.path() };
    let before = emulator.snapshot_state();

    let disks = gcloud.run(&format!("compute instances describe {NODE} --zone us-central1-a --format=flattened([disks])")).await;
    assert!(disks.contains(&format!("/zones/us-central1-a/disks/{NODE}")), "{disks}");
    gcloud.run(&format!("compute disks snapshot {NODE}")).await;
    gcloud.run(&format!("compute instance-groups managed abandon-instances {GROUP} --instances={NODE}")).await;
    gcloud.run(&format!("compute instances add-tags {NODE} --zone us-central1-a --tags quarantine")).await;
    let rule = "--network prod-vpc --action deny --rules tcp --target-tags quarantine";
    let egress = format!(
        "compute firewall-rules create quarantine-egress-deny {rule} --direction egress --destination-ranges 0.0.0.0/0 --priority 0"
    );
    gcloud.run(&egress).await;
    gcloud
        .run(&format!(
            "compute firewall-rules create quarantine-ingress-deny {rule} --direction ingress --source-ranges 0.0.0.0/0 --priority 1"
        ))
        .await;
    let interfaces =
        gcloud.run(&format!("compute instances describe {NODE} --zone us-central1-a --format=flattened([networkInterfaces])")).await;
    assert!(interfaces.contains("external-nat") && interfaces.contains("203.0.113.11"), "{interfaces}");
    gcloud.run(&format!("compute instances delete-access-config {NODE} --access-config-name external-nat")).await;
    gcloud.run("compute instances add-tags bastion --zone us-central1-a --tags intermediate").await;
    gcloud
        .run("compute firewall-rules create quarantine-ingress-allow --network prod-vpc --action allow --direction ingress --rules tcp:22 --source-tags intermediate --priority 0 --target-tags quarantine")
        .await;
    gcloud.run(&format!("compute instance-groups managed resize {GROUP} --size=2")).await;

    let (again, text) = gcloud.try_run(&egress).await;
    assert!(!again && text.contains("already exists"), "{text}");
    let interfaces =
        gcloud.run(&format!("compute instances describe {NODE} --zone us-central1-a --format=flattened([networkInterfaces])")).await;
    assert!(!interfaces.contains("203.0.113.11"), "the external address is gone: {interfaces}");
    let tags = gcloud.run(&format!("compute instances describe {NODE} --zone us-central1-a --format=value(tags.items)")).await;
    assert!(tags.contains("quarantine"), "{tags}");
    assert_ne!(emulator.snapshot_state(), before);
    emulator.stop().await;
}
