//! Goal: nothing of the guide has to be done by hand. Method: every command line of the guide, which command of Stanch does it, and which
//! test shows that; the test has to be there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use stanch_commands::CATALOGUE;

/// A line of the guide, by how it begins and what it holds; Stanch's command; file and name of the test.
struct Row(&'static [&'static str], &'static str, &'static str, &'static str);

const QUARANTINE: (&str, &str) = ("guide.rs", "form_guide_leaves_what_the_guide_leaves");
const SSH: (&str, &str) = ("guide_compute.rs", "allow_ssh_leaves_what_the_tag_and_the_rule_leave");
const KILL: (&str, &str) = ("ssh_adapter/mod.rs", "what_arrives_is_what_the_guide_says");
const SURVEY: (&str, &str) = ("compute_adapter/survey.rs", "the_compromised_node");

const ROWS: &[Row] = &[
    Row(&["gcloud compute instances describe", "[disks]"], "locate", SURVEY.0, SURVEY.1),
    Row(&["gcloud compute disks snapshot"], "snapshot", "compute_adapter/steps.rs", "snapshots_of_regional_disks_and_of_others"),
    Row(&["kubectl cordon"], "cordon", QUARANTINE.0, QUARANTINE.1),
    Row(&["kubectl label pods"], "label", QUARANTINE.0, QUARANTINE.1),
    Row(&["kubectl drain"], "drain", QUARANTINE.0, QUARANTINE.1),
    Row(&["gcloud compute instance-groups managed abandon-instances"], "abandon", QUARANTINE.0, QUARANTINE.1),
    Row(&["gcloud compute instances add-tags", "--tags quarantine"], "firewall", QUARANTINE.0, QUARANTINE.1),
    Row(&["gcloud compute firewall-rules create quarantine-egress-deny"], "firewall", QUARANTINE.0, QUARANTINE.1),
    Row(&["gcloud compute firewall-rules create quarantine-ingress-deny"], "firewall", QUARANTINE.0, QUARANTINE.1),
    Row(&["gcloud compute instances describe", "[networkInterfaces]"], "locate", SURVEY.0, SURVEY.1),
    Row(&["gcloud compute instances delete-access-config"], "remove-external-ip", QUARANTINE.0, QUARANTINE.1),
    Row(&["gcloud compute instances add-tags", "--tags intermediate"], "allow-ssh", SSH.0, SSH.1),
    Row(&["gcloud compute firewall-rules create quarantine-ingress-allow"], "allow-ssh", SSH.0, SSH.1),
    Row(&["ssh -i"], "allow-ssh", SSH.0, SSH.1),
    Row(&["kubectl delete pods"], "redeploy", "guide_kubernetes.rs", "redeploy_leaves_what_delete_pods_leaves"),
    Row(&["kubectl delete deployments"], "delete-workload", "guide_kubernetes.rs", "delete_workload_leaves_what_delete_deployments_leaves"),
    Row(&["docker stop --time"], "kill-container", KILL.0, KILL.1),
    Row(&["docker kill"], "kill-container", KILL.0, KILL.1),
    Row(&["docker rm -f"], "kill-container", KILL.0, KILL.1),
    Row(&["crictl stop"], "kill-container", KILL.0, KILL.1),
    Row(&["crictl rm -f"], "kill-container", KILL.0, KILL.1),
    Row(
        &["kubectl get pods --all-namespaces", "INSTANCE_NAME:.spec.nodeName"],
        "locate",
        "kubernetes_adapter/contract.rs",
        "the_contract_holds_on_the_emulator",
    ),
    Row(
        &["gcloud compute instance-groups managed delete-instances"],
        "delete-node",
        "guide_compute.rs",
        "delete_node_leaves_what_delete_instances_leaves",
    ),
    Row(&["gcloud compute instance-groups managed resize"], "resize-group", "guide_compute.rs", "resize_group_leaves_what_resize_leaves"),
];

/// Commands that the guide needs and that are not in the catalogue yet. Empty when everything is built.
const NOT_BUILT: &[&str] = &["kill-container"];

impl Row {
    fn is_of(&self, line: &str) -> bool {
        let Self([start, parts @ ..], ..) = self else { return false };
        line.starts_with(start) && parts.iter().all(|part| line.contains(part))
    }
}

fn lines() -> Vec<&'static str> {
    include_str!("../fixtures/guide/commands.txt").lines().filter(|line| !line.is_empty()).collect()
}

#[test]
fn every_command_of_the_guide_is_covered() {
    let lines = lines();
    assert_eq!(lines.len(), 24, "the guide has so many commands");
    for line in &lines {
        let rows = ROWS.iter().filter(|row| row.is_of(line)).count();
        assert_eq!(rows, 1, "`{line}` of the guide is covered by {rows} rows, and should be by one");
    }
    for Row(words, ..) in ROWS {
        assert!(lines.iter().any(|line| Row(words, "", "", "").is_of(line)), "no line of the guide is {words:?}");
    }
}

#[test]
fn what_covers_it_is_there() {
    let catalogue: BTreeSet<&str> = CATALOGUE.iter().map(|definition| definition.name).collect();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for Row(words, command, file, name) in ROWS {
        if !catalogue.contains(command) {
            assert!(NOT_BUILT.contains(command), "{words:?} needs the command `{command}`, which is not there");
            continue;
        }
        let text = std::fs::read_to_string(tests.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let is_test = text.split("#[").any(|part| {
            let is_attribute = part.starts_with("test]") || part.starts_with("tokio::test");
            is_attribute && part.contains(&format!("fn {name}("))
        });
        assert!(is_test, "{words:?} is said to be covered by the test {name} of {file}, which is not there");
    }
}
