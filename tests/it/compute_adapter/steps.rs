//! Each step: before, after, again, and on the wrong object.

use std::collections::BTreeSet;

use serde_json::json;
use stanch::core::step::{FailureKind, Observation};
use stanch_commands::action::ComputeAction;
use stanch_commands::firewall_rule::Direction;
use stanch_commands::prior::Prior;
use stanch_commands::target::{DiskRef, GroupRef, Place};

use super::{Bench, GROUP, NODE, TAG, failed, group, instance, labels, name, rule_on, rules, succeeded, tag};

async fn every_action(bench: &Bench) -> Vec<ComputeAction> {
    let facts = bench.facts().await;
    let disk = facts.disks[0].disk.clone().unwrap();
    let access = facts.interfaces[0].access_configs[0].clone();
    let instance = instance();
    vec![
        ComputeAction::CapturePriorState { instance: instance.clone(), group: Some(group()) },
        ComputeAction::SnapshotDisk { disk, name: name("snap-1"), labels: labels() },
        ComputeAction::AbandonInstance { instance: instance.clone(), group: group() },
        ComputeAction::ProtectFromDeletion(instance.clone()),
        ComputeAction::KeepBootDisk { instance: instance.clone(), device: "persistent-disk-0".into() },
        tag(rules()),
        ComputeAction::RemoveExternalIp { instance: instance.clone(), access },
        ComputeAction::VerifyIsolation {
            instance: instance.clone(),
            tag: name(TAG),
            rules: rules(),
            group: Some(group()),
            addresses_gone: true,
        },
        ComputeAction::CollectEvidence { instance },
    ]
}

/// Goal: the whole quarantine, step by step, each observed before and after and repeated without a write.
#[tokio::test]
async fn a_quarantine_step_by_step() {
    let bench = Bench::start().await;
    let actions = every_action(&bench).await;
    let Some(Prior::Instance(prior)) = succeeded(bench.perform(&actions[0]).await).prior else { panic!("no prior state") };
    assert_eq!(prior.tags, BTreeSet::from(["gke-sandbox-node".to_owned()]));
    assert_eq!(prior.group.unwrap().target_size, 2);
    assert_eq!(prior.access_configs[0].address, "203.0.113.11");
    let (kind, open) = failed(bench.perform(&actions[7]).await);
    assert_eq!(kind, FailureKind::Refused);
    assert!(open.contains("does not carry") && open.contains("203.0.113.11") && open.contains("lists instance"), "{open}");
    assert_eq!(bench.writes(), 0);
    for action in &actions[1..5] {
        bench.does(action).await;
    }
    for rule in rules() {
        bench.does(&ComputeAction::EnsureFirewallRule(rule)).await;
    }
    bench.does(&actions[5]).await;
    bench.does(&actions[6]).await;
    assert!(!succeeded(bench.perform(&actions[7]).await).already_so);
    let state = bench.emulator.snapshot_state();
    let node = &state["instances"][NODE];
    assert_eq!((&node["tags"], &node["deletionProtection"]), (&json!(["gke-sandbox-node", TAG]), &json!(true)));
    assert_eq!(node["disks"]["persistent-disk-0"]["autoDelete"], false);
    assert_eq!(node["interfaces"]["nic0"]["accessConfigs"], json!({}));
    assert_eq!(state["groups"][GROUP]["members"].get(NODE), None);
    assert_eq!(bench.emulator.overlapping_operations(), Vec::<String>::new());
}

/// Goal: an instance that was made anew, or is gone, gets no write from any step.
#[tokio::test]
async fn another_instance_of_that_name_is_left_alone() {
    let bench = Bench::start().await;
    let actions = every_action(&bench).await;
    bench.emulator.recreate_instance(NODE).unwrap();
    for action in &actions {
        assert_eq!(failed(bench.perform(action).await).0, FailureKind::Stale, "{action:?}");
        assert!(matches!(bench.observe(action).await, Observation::Gone(_)), "{action:?}");
    }
    bench.emulator.delete_instance(NODE).unwrap();
    for action in &actions {
        assert_eq!(failed(bench.perform(action).await).0, FailureKind::Stale, "{action:?}");
    }
    assert_eq!(bench.writes(), 0);
}

/// Goal: a group that is busy with the instance is not interfered with.
#[tokio::test]
async fn a_busy_group_is_left_alone() {
    let bench = Bench::start().await;
    bench.emulator.set_managed_action(NODE, "RECREATING").unwrap();
    let action = ComputeAction::AbandonInstance { instance: instance(), group: group() };
    let (kind, message) = failed(bench.perform(&action).await);
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("RECREATING"), "{message}");
    assert_eq!(bench.writes(), 0);
}

/// Goal: a member that is slow to go is waited for, in a regional group.
#[tokio::test]
async fn a_regional_group_lets_go_slowly() {
    let bench = Bench::start().await;
    bench.emulator.make_group_regional(GROUP).unwrap();
    bench.emulator.set_member_looks(6);
    let group = GroupRef { place: Place::Region("us-central1".parse().unwrap()), ..group() };
    assert_eq!(bench.facts().await.group.unwrap().group, group);
    bench.does(&ComputeAction::AbandonInstance { instance: instance(), group }).await;
}

/// Goal: a regional disk has its snapshot; a snapshot of that name that is not ours is no success.
#[tokio::test]
async fn snapshots_of_regional_disks_and_of_others() {
    let bench = Bench::start().await;
    bench.emulator.make_disk_regional("pvc-orders-0").unwrap();
    let disks: Vec<DiskRef> = bench.facts().await.disks.into_iter().filter_map(|disk| disk.disk).collect();
    assert_eq!(disks[1].place, Place::Region("us-central1".parse().unwrap()));
    let snapshot = |disk: &DiskRef| ComputeAction::SnapshotDisk { disk: disk.clone(), name: name("snap-1"), labels: labels() };
    bench.does(&snapshot(&disks[1])).await;
    let (kind, message) = failed(bench.perform(&snapshot(&disks[0])).await);
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("is of disk id"), "{message}");
    let foreign = ComputeAction::SnapshotDisk { disk: disks[1].clone(), name: name("snap-1"), labels: [("a".into(), "b".into())].into() };
    assert_eq!(failed(bench.perform(&foreign).await).0, FailureKind::Refused);
    assert_eq!(bench.writes(), 1);
    let recent = bench.facts().await.disks[1].recent_snapshot.clone().unwrap();
    assert_eq!(recent.0, name("snap-1"));
}

/// Goal: a rule of that name with another body is shown and left; with Shared VPC rules go to the host project.
#[tokio::test]
async fn rules_of_others_and_in_a_host_project() {
    let bench = Bench::start().await;
    bench.emulator.share_vpc_from("host-project");
    let rule = rule_on("host-project", "prod-vpc", Direction::Egress);
    bench.does(&ComputeAction::EnsureFirewallRule(rule.clone())).await;
    assert!(bench.emulator.snapshot_state()["firewalls"]["host-project"].get(rule.name.as_str()).is_some());
    assert_eq!(bench.facts().await.firewall, std::slice::from_ref(&rule));
    let mut other = rule;
    other.priority = 7;
    let (kind, message) = failed(bench.perform(&ComputeAction::EnsureFirewallRule(other)).await);
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("priority: wanted 7, found 0"), "{message}");
    assert_eq!(bench.writes(), 1);
}

/// Goal: with a second interface the tag alone does not cut it off; with rules of both networks it does.
#[tokio::test]
async fn every_interface_counts() {
    let bench = Bench::start().await;
    bench.emulator.add_interface(NODE, "other-vpc", None).unwrap();
    for rule in rules() {
        bench.does(&ComputeAction::EnsureFirewallRule(rule)).await;
    }
    let (kind, message) = failed(bench.perform(&tag(rules())).await);
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("nic1: no rule for network other-vpc"), "{message}");
    let mut both = rules();
    both.push(rule_on("sandbox-project", "other-vpc", Direction::Egress));
    let (_, message) = failed(bench.perform(&tag(both.clone())).await);
    assert!(message.contains("nic1: quarantine-inc-1-egress-deny-other-vpc is not in force"), "{message}");
    bench.does(&ComputeAction::EnsureFirewallRule(both[2].clone())).await;
    assert!(succeeded(bench.perform(&tag(both)).await).already_so);
}

/// Goal: what is evaluated before the denies keeps the tag from being called a success.
#[tokio::test]
async fn an_overriding_policy_is_no_success() {
    let bench = Bench::start().await;
    for rule in rules() {
        bench.does(&ComputeAction::EnsureFirewallRule(rule)).await;
    }
    let allow = json!({ "priority": 10, "action": "allow", "direction": "INGRESS", "disabled": false });
    bench.emulator.set_effective_policies(vec![json!({ "name": "1234", "shortName": "org", "type": "HIERARCHY", "rules": [allow] })]);
    let (kind, message) = failed(bench.perform(&tag(rules())).await);
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("firewall policy org: allow ingress, priority 10"), "{message}");
    assert_eq!(bench.facts().await.overriding, ["firewall policy org: allow ingress, priority 10"]);
}

/// Goal: only the address that the plan bound is removed.
#[tokio::test]
async fn another_address_is_not_removed() {
    let bench = Bench::start().await;
    let mut access = bench.facts().await.interfaces[0].access_configs[0].clone();
    access.address = "198.51.100.1".into();
    let (kind, message) = failed(bench.perform(&ComputeAction::RemoveExternalIp { instance: instance(), access }).await);
    assert_eq!((kind, bench.writes()), (FailureKind::Refused, 0));
    assert!(message.contains("203.0.113.11"), "{message}");
}

/// Goal: the evidence of an instance is whole, reads only, and holds no value of its metadata; what cannot be read is named.
#[tokio::test]
async fn evidence_of_an_instance() {
    let bench = Bench::start().await;
    bench.emulator.set_metadata(NODE, "startup-script", "hunter2").unwrap();
    bench.emulator.add_interface(NODE, "other-vpc", None).unwrap();
    let collect = ComputeAction::CollectEvidence { instance: instance() };
    assert_eq!(bench.observe(&collect).await, Observation::NotInPlace);
    let performed = bench.perform(&collect).await;
    let files: Vec<&str> = performed.artefacts.iter().map(|file| file.path.as_str()).collect();
    let boot = format!("instance/disks/{NODE}.json");
    let expected = [
        "instance/instance.json",
        "instance/effective-firewalls-nic0.json",
        "instance/effective-firewalls-nic1.json",
        &boot,
        "instance/disks/pvc-orders-0.json",
        "instance/group.json",
    ];
    assert_eq!(files, expected);
    let found: serde_json::Value = serde_json::from_slice(&performed.artefacts[0].content).unwrap();
    let entries = found["metadata"]["items"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["key"] == "startup-script"), "{entries:?}");
    assert!(entries.iter().all(|entry| entry["value"] == "[redacted by Stanch]"), "{entries:?}");
    let receipt = succeeded(performed);
    assert_eq!((receipt.already_so, receipt.details.len(), bench.writes()), (false, 1, 0));

    bench.emulator.grant_only(["compute.instances.get", "compute.disks.get"]);
    let performed = bench.perform(&collect).await;
    assert_eq!(performed.artefacts.len(), 3);
    let missing = succeeded(performed).details.split_off(1);
    assert!(
        missing.len() == 3 && missing.iter().all(|line| line.starts_with("missing: ") && line.contains("Required 'compute.")),
        "{missing:?}"
    );
}
