//! Deleting an instance: through its group, by itself, and not at all.

use stanch::core::step::{FailureKind, Observation};
use stanch::ports::Surveyor as _;
use stanch_commands::action::ComputeAction;
use stanch_commands::facts::{GroupState, ReadySnapshot};
use stanch_commands::target::{GroupRef, InstanceRef, Place};

use super::{Bench, GROUP, NODE, failed, group, instance, labels, name, succeeded};

fn delete(group: Option<GroupRef>) -> ComputeAction {
    ComputeAction::DeleteInstance { instance: instance(), group, waiver: None }
}

fn methods(bench: &Bench) -> Vec<String> {
    bench.emulator.mutating_calls().into_iter().map(|call| call.method).collect()
}

/// Goal: a member goes through its group, which becomes one smaller and makes no other.
#[tokio::test]
async fn a_member_goes_through_its_group() {
    let bench = Bench::start().await;
    let receipt = bench.does(&delete(Some(group()))).await;
    assert_eq!(receipt.summary, "instance gke-sandbox-public-1a2b3c4d-x7k2 (id 6120613059854544701) is deleted");
    assert_eq!(receipt.details, [format!("group {GROUP} now wants 1 instances; `resize-group` brings the recorded size back")]);
    assert_eq!(methods(&bench), ["compute.instanceGroupManagers.deleteInstances"]);
    let state = bench.emulator.snapshot_state();
    assert_eq!((state["instances"].get(NODE), &state["groups"][GROUP]["targetSize"]), (None, &serde_json::json!(1)));
}

#[tokio::test]
async fn a_regional_group_deletes_slowly() {
    let bench = Bench::start().await;
    bench.emulator.make_group_regional(GROUP).unwrap();
    bench.emulator.set_member_looks(6);
    let regional = GroupRef { place: Place::Region("us-central1".parse().unwrap()), ..group() };
    bench.does(&delete(Some(regional))).await;
    assert_eq!(methods(&bench), ["compute.regionInstanceGroupManagers.deleteInstances"]);
}

/// Goal: an abandoned instance goes by itself, once its protection is off, and its kept boot disk stays.
#[tokio::test]
async fn an_abandoned_one_goes_by_itself() {
    let bench = Bench::start().await;
    bench.emulator.abandon(NODE).unwrap();
    bench.does(&ComputeAction::ProtectFromDeletion(instance())).await;
    let (kind, message) = failed(bench.perform(&delete(None)).await);
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("protected against deletion"), "{message}");
    bench.does(&ComputeAction::KeepBootDisk { instance: instance(), device: "persistent-disk-0".into() }).await;
    bench.does(&ComputeAction::AllowDeletion(instance())).await;
    bench.does(&delete(None)).await;
    assert_eq!(bench.emulator.calls().last().unwrap().path.rsplit('/').next(), Some(NODE), "read back by name");
    let state = bench.emulator.snapshot_state();
    assert_eq!(state["instances"].get(NODE), None);
    assert_eq!(state["disks"][NODE]["users"], serde_json::json!([]));
}

/// Goal: what was planned for a member is not done to an abandoned instance, and not the other way round: its group would replace it.
#[tokio::test]
async fn membership_is_as_planned_or_nothing_is_deleted() {
    let bench = Bench::start().await;
    let (kind, message) = failed(bench.perform(&delete(None)).await);
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("which would make it anew"), "{message}");
    bench.emulator.set_managed_action(NODE, "RECREATING").unwrap();
    assert!(failed(bench.perform(&delete(Some(group()))).await).1.contains("is busy"));
    bench.emulator.abandon(NODE).unwrap();
    let (kind, message) = failed(bench.perform(&delete(Some(group()))).await);
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("does not list"), "{message}");
    assert_eq!(bench.writes(), 0);
}

/// Goal: a namesake is left alone, and named.
#[tokio::test]
async fn a_namesake_is_not_deleted() {
    let bench = Bench::start().await;
    let id = bench.emulator.recreate_instance(NODE).unwrap();
    for action in [delete(None), delete(Some(group()))] {
        let receipt = succeeded(bench.perform(&action).await);
        assert!(receipt.already_so && receipt.details[0].contains(&id), "{receipt:?}");
        assert!(matches!(bench.observe(&action).await, Observation::InPlace(_)));
    }
    assert_eq!(failed(bench.perform(&ComputeAction::AllowDeletion(instance())).await).0, FailureKind::Stale);
    let other = InstanceRef { id: 1.into(), ..instance() };
    assert!(succeeded(bench.perform(&ComputeAction::DeleteInstance { instance: other, group: None, waiver: None }).await).already_so);
    assert_eq!(bench.writes(), 0);
}

/// Goal: a snapshot that is accepted is not one that may be relied on.
#[tokio::test]
async fn ready_is_not_creating() {
    let bench = Bench::start().await;
    bench.emulator.set_snapshot_looks(4);
    let disk = bench.facts().await.disks[0].disk.clone().unwrap();
    let mut labels = labels();
    labels.insert("stanch-incident".into(), "inc-1".into());
    succeeded(bench.perform(&ComputeAction::SnapshotDisk { disk: disk.clone(), name: name("snap-1"), labels }).await);
    let found = bench.facts().await.disks[0].clone();
    assert_eq!((found.recent_snapshot.map(|(name, _)| name), found.ready_snapshot), (Some(name("snap-1")), None));
    let verify = ComputeAction::VerifySnapshots { snapshots: vec![(disk.clone(), name("snap-1"))] };
    assert_eq!(failed(bench.perform(&verify).await).1, format!("snapshot snap-1 of disk {NODE} is CREATING"));
    for _ in 0..4 {
        bench.facts().await;
    }
    let ready = bench.facts().await.disks[0].ready_snapshot.clone().unwrap();
    assert_eq!(ready, ReadySnapshot { name: name("snap-1"), age_s: ready.age_s, incident: "inc-1".into() });
    assert!(!succeeded(bench.perform(&verify).await).already_so);
    let gone = ComputeAction::VerifySnapshots { snapshots: vec![(disk, name("snap-2"))] };
    assert_eq!(failed(bench.perform(&gone).await).1, format!("snapshot snap-2 of disk {NODE} is gone"));
}

/// Goal: a group is resized from the size of the plan to the recorded one, zonal or regional, and never over somebody else's decision.
#[tokio::test]
async fn a_group_is_brought_back_to_its_size() {
    let bench = Bench::start().await;
    let resize = |group: GroupRef, from, to| ComputeAction::ResizeGroup { group, from, to };
    bench.does(&delete(Some(group()))).await;
    assert_eq!(bench.compute.survey(&group()).await, Ok(Some(GroupState { target_size: 1, autoscaler: None })));
    let (kind, message) = failed(bench.perform(&resize(group(), 3, 4)).await);
    assert_eq!(kind, FailureKind::Refused);
    assert!(message.contains("wants 1 instances now, the plan was made on 3"), "{message}");
    bench.does(&resize(group(), 1, 2)).await;
    assert_eq!(bench.emulator.snapshot_state()["groups"][GROUP]["members"].as_object().unwrap().len(), 2);
    bench.emulator.make_group_regional(GROUP).unwrap();
    let regional = GroupRef { place: Place::Region("us-central1".parse().unwrap()), ..group() };
    bench.does(&resize(regional.clone(), 2, 3)).await;
    bench.emulator.autoscale(GROUP).unwrap();
    let state = bench.compute.survey(&regional).await.unwrap().unwrap();
    assert_eq!((state.target_size, state.autoscaler.unwrap().rsplit('/').next()), (3, Some(GROUP)));
    assert_eq!(failed(bench.perform(&resize(group(), 2, 3)).await).0, FailureKind::Stale);
    assert_eq!(bench.compute.survey(&group()).await, Ok(None));
    let expected = [
        "compute.instanceGroupManagers.deleteInstances",
        "compute.instanceGroupManagers.resize",
        "compute.regionInstanceGroupManagers.resize",
    ];
    assert_eq!(methods(&bench), expected);
}
