//! The Compute side: exactly the stated permissions, and none of them in vain.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::json;
use stanch::core::step::Outcome;
use stanch::ports::Actuator as _;
use stanch_commands::action::{Action, ComputeAction};
use stanch_commands::facts::ComputeFacts;
use stanch_commands::permission::{COMPUTE, Entry, ProjectRight, SURVEYS};
use stanch_commands::target::InstanceRef;

use crate::compute_adapter::{Bench, NODE, TAG, group, instance, labels, name, rules, tag};
use crate::support::licensed;

/// The other member of the group.
const OTHER: &str = "gke-sandbox-public-1a2b3c4d-m4q9";

/// One of each variant, in an order in which a fresh project takes them. A variant that is missing here fails the test below.
fn every_action(facts: &ComputeFacts) -> Vec<ComputeAction> {
    let disk = |index: usize| facts.disks.get(index).and_then(|disk| disk.disk.clone()).unwrap();
    let access = facts.interfaces.first().unwrap().access_configs.first().unwrap().clone();
    let (instance, group) = (instance(), facts.group.clone().unwrap().group);
    let mut actions = vec![
        ComputeAction::CapturePriorState { instance: instance.clone(), group: Some(group.clone()) },
        ComputeAction::CollectEvidence { instance: instance.clone() },
        ComputeAction::SnapshotDisk { disk: disk(0), name: name("snap-1"), labels: labels() },
        ComputeAction::SnapshotDisk { disk: disk(1), name: name("snap-2"), labels: labels() },
        ComputeAction::AbandonInstance { instance: instance.clone(), group: group.clone() },
        ComputeAction::ProtectFromDeletion(instance.clone()),
        ComputeAction::KeepBootDisk { instance: instance.clone(), device: "persistent-disk-0".into() },
    ];
    actions.extend(rules().into_iter().map(ComputeAction::EnsureFirewallRule));
    actions.push(tag(rules()));
    actions.push(ComputeAction::RemoveExternalIp { instance: instance.clone(), access: access.clone() });
    actions.push(ComputeAction::VerifyIsolation {
        instance: instance.clone(),
        tag: name(TAG),
        rules: rules(),
        group: Some(group.clone()),
        addresses_gone: true,
    });
    actions.push(ComputeAction::CollectEvidence { instance: instance.clone() });
    actions.extend(crate::compute_adapter::ssh::every_action());
    let removed = |rule| ComputeAction::RemoveFirewallRule { rule, instance: instance.clone() };
    actions.push(ComputeAction::UntagInstance { instance: instance.clone(), tag: name(TAG) });
    actions.extend(rules().into_iter().map(removed));
    actions.push(ComputeAction::RestoreExternalIp { instance: instance.clone(), access });
    actions.push(ComputeAction::ReleaseBootDisk { instance: instance.clone(), device: "persistent-disk-0".into() });
    // The other member goes through the group, the abandoned instance by itself.
    let other = InstanceRef { name: name(OTHER), id: 6_120_613_059_854_544_702.into(), ..instance.clone() };
    let delete = |instance: &InstanceRef, group| ComputeAction::DeleteInstance { instance: instance.clone(), group, waiver: None };
    actions.push(ComputeAction::VerifySnapshots { snapshots: vec![(disk(0), name("snap-1")), (disk(1), name("snap-2"))] });
    actions.push(ComputeAction::AllowDeletion(instance.clone()));
    actions.extend([delete(&other, Some(group.clone())), delete(&instance, None)]);
    actions.push(ComputeAction::ResizeGroup { group, from: 0, to: 1 });
    actions
}

/// A node with a regional disk, and with a firewall policy of its network, whose place in the order has to be asked for. Where it is about a
/// regional group, the node is in one.
async fn started(regional: bool) -> Bench {
    let bench = Bench::start().await;
    bench.emulator.make_disk_regional("pvc-orders-0").unwrap();
    bench.emulator.label_instance("bastion", "stanch-request", "r-k3f9qz").unwrap();
    if regional {
        bench.emulator.make_group_regional(group().name.as_str()).unwrap();
    }
    let allow = json!({ "priority": 10, "action": "allow", "direction": "INGRESS", "disabled": false });
    bench.emulator.set_effective_policies(vec![json!({ "name": "1234", "shortName": "net", "type": "NETWORK", "rules": [allow] })]);
    bench
}

/// Does what the line is about, with these permissions alone. Everything that comes before it is done with every permission.
async fn tried(entry: &Entry, permissions: &BTreeSet<ProjectRight>, regional: bool) -> Result<(), String> {
    let bench = started(regional).await;
    if SURVEYS.iter().any(|survey| survey.what == entry.what) {
        bench.emulator.grant_only(permissions.iter().copied());
        bench.survey(None).await.map_err(|error| error.to_string())?.map_err(|none| format!("{none:?}"))?;
        // In no group: every one is asked.
        bench.emulator.grant_everything();
        let facts = bench.facts().await;
        let abandon = ComputeAction::AbandonInstance { instance: instance(), group: facts.group.unwrap().group };
        assert!(matches!(bench.perform(&abandon).await.outcome, Outcome::Succeeded(_)));
        bench.emulator.grant_only(permissions.iter().copied());
        return bench.survey(None).await.map(|_| ()).map_err(|error| error.to_string());
    }
    let facts = bench.facts().await;
    let mut found = false;
    for action in every_action(&facts) {
        let this = action.variant() == entry.what;
        match this {
            true => bench.emulator.grant_only(permissions.iter().copied()),
            false => bench.emulator.grant_everything(),
        }
        found |= this;
        let licence = licensed(Action::Compute(action.clone()), "one");
        match (this, bench.compute.perform(&action, &licence).await.outcome) {
            (true, Outcome::Succeeded(receipt)) if receipt.details.iter().any(|line| line.starts_with("missing: ")) => {
                return Err(receipt.details.join("; "));
            }
            (_, Outcome::Succeeded(_)) => {}
            (true, outcome) => return Err(format!("{outcome:?}")),
            (false, outcome) => panic!("{action:?}: {outcome:?}"),
        }
    }
    assert!(found, "{} is not tried: add it to `every_action`", entry.what);
    Ok(())
}

#[tokio::test]
async fn every_line_needs_each_of_its_permissions_and_no_other() {
    let lines: Vec<&Entry> = SURVEYS.iter().filter(|survey| !survey.project.is_empty()).chain(COMPUTE).collect();
    let checks = lines.iter().map(|entry| async move {
        let all: BTreeSet<ProjectRight> = entry.project.iter().copied().collect();
        assert_eq!(all.len(), entry.project.len(), "{}: a permission is stated twice", entry.what);
        for regional in [false, true] {
            assert_eq!(tried(entry, &all, regional).await, Ok(()), "{} with all that it states", entry.what);
        }
        let without = |permission: ProjectRight| all.iter().copied().filter(move |kept| *kept != permission).collect::<BTreeSet<_>>();
        let needless = join_all(entry.project.iter().map(|permission| async {
            // In one of the two worlds it is missed.
            let (zonal, regional) = (tried(entry, &without(*permission), false).await, tried(entry, &without(*permission), true).await);
            (zonal.is_ok() && regional.is_ok()).then_some(*permission)
        }));
        let needless: Vec<ProjectRight> = needless.await.into_iter().flatten().collect();
        assert_eq!(needless, Vec::<ProjectRight>::new(), "{} does without them", entry.what);
    });
    join_all(checks).await;
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let bench = Bench::start().await;
    bench.emulator.grant_only(["compute.instances.get"]);
    let protect = ComputeAction::ProtectFromDeletion(instance());
    let Outcome::Failed(failure) = bench.perform(&protect).await.outcome else { panic!("it is not refused") };
    let of = format!("projects/sandbox-project/zones/us-central1-a/instances/{NODE}");
    assert_eq!(failure.message, format!("Required 'compute.instances.setDeletionProtection' permission for '{of}'"));
    assert_eq!(failure.hint.as_deref(), Some("grant Stanch's service account the permission compute.instances.setDeletionProtection"));
}
