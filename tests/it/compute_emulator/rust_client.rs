//! Google's Rust client against the emulator.

use google_cloud_auth::credentials::anonymous;
use google_cloud_compute_v1::client::{Disks, Firewalls, GlobalOperations, InstanceGroupManagers, Instances, Snapshots, ZoneOperations};
use google_cloud_compute_v1::model::managed_instance::CurrentAction;
use google_cloud_compute_v1::model::{
    Firewall, InstanceGroupManagersAbandonInstancesRequest, Operation, Snapshot, firewall, operation, snapshot,
};
use google_cloud_gax::options::RequestOptionsBuilder as _;
use stanch::sandbox::compute::ComputeEmulator;

use super::{Compute, GROUP, NODE};

const PROJECT: &str = "sandbox-project";
const ZONE: &str = "us-central1-a";
const REQUEST_ID: &str = "1d0b9f2e-62a8-4c0f-8b0e-6f7f0a8d4c11";

macro_rules! client {
    ($client:ty, $emulator:expr) => {
        <$client>::builder().with_endpoint($emulator.url()).with_credentials(anonymous::Builder::new().build()).build().await.unwrap()
    };
}

async fn wait_in_zone(emulator: &ComputeEmulator, mut operation: Operation) -> Operation {
    let operations = client!(ZoneOperations, emulator);
    while operation.status != Some(operation::Status::Done) {
        let name = operation.name.clone().unwrap();
        operation = operations.wait().set_project(PROJECT).set_zone(ZONE).set_operation(name).send().await.unwrap();
    }
    operation
}

/// Goal: tags are written under a fingerprint and a request id, once; a stale fingerprint is seen as 412.
#[tokio::test]
async fn tags_are_written_under_a_fingerprint() {
    let compute = Compute::start().await;
    compute.emulator.set_operation_looks(3);
    let instances = client!(Instances, compute.emulator);
    let instance = instances.get().set_project(PROJECT).set_zone(ZONE).set_instance(NODE).send().await.unwrap();
    assert_eq!((instance.id, instance.deletion_protection), (Some(6_120_613_059_854_544_701), Some(false)));
    let mut tags = instance.tags.clone().unwrap();
    tags.items.push("quarantine".into());
    let write = || {
        let request = instances.set_tags().set_project(PROJECT).set_zone(ZONE).set_instance(NODE).set_body(tags.clone());
        request.set_request_id(REQUEST_ID).with_idempotency(true)
    };
    let first = write().send().await.unwrap();
    let second = write().send().await.unwrap();
    assert_eq!(first.name, second.name);
    let done = wait_in_zone(&compute.emulator, first).await;
    assert!(done.to_result().is_ok());
    let stale =
        instances.set_tags().set_project(PROJECT).set_zone(ZONE).set_instance(NODE).set_body(tags.clone()).send().await.unwrap_err();
    assert_eq!(stale.http_status_code(), Some(412));
    assert_eq!(compute.emulator.snapshot_state()["instances"][NODE]["tags"], serde_json::json!(["gke-sandbox-node", "quarantine"]));
    compute.done().await;
}

/// Goal: a rule is inserted, read back as it counts, and shown as effective.
#[tokio::test]
async fn a_firewall_rule_is_inserted() {
    let compute = Compute::start().await;
    let firewalls = client!(Firewalls, compute.emulator);
    let network = format!("projects/{PROJECT}/global/networks/prod-vpc");
    let denied = firewall::Denied::new().set_ip_protocol("all");
    let rule = Firewall::new().set_name("quarantine-ingress-deny").set_network(network).set_direction(firewall::Direction::Ingress);
    let rule = rule.set_priority(1).set_denied([denied]).set_source_ranges(["0.0.0.0/0"]);
    let operation = firewalls.insert().set_project(PROJECT).set_body(rule).set_request_id(REQUEST_ID).send().await.unwrap();
    let operations = client!(GlobalOperations, compute.emulator);
    let done = operations.wait().set_project(PROJECT).set_operation(operation.name.unwrap()).send().await.unwrap();
    assert_eq!(done.status, Some(operation::Status::Done));
    let rule = firewalls.get().set_project(PROJECT).set_firewall("quarantine-ingress-deny").send().await.unwrap();
    assert_eq!((rule.priority, rule.disabled), (Some(1), Some(false)));
    let missing = firewalls.get().set_project(PROJECT).set_firewall("nosuch").send().await.unwrap_err();
    assert_eq!(missing.http_status_code(), Some(404));
    let instances = client!(Instances, compute.emulator);
    let effective =
        instances.get_effective_firewalls().set_project(PROJECT).set_zone(ZONE).set_instance(NODE).set_network_interface("nic0");
    assert_eq!(effective.send().await.unwrap().firewalls.len(), 1);
    compute.done().await;
}

/// Goal: an abandoned member is seen to go. Method: list the members until it is not among them.
#[tokio::test]
async fn an_abandoned_member_is_seen_to_go() {
    let compute = Compute::start().await;
    let groups = client!(InstanceGroupManagers, compute.emulator);
    let link = format!("https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances/{NODE}");
    let body = InstanceGroupManagersAbandonInstancesRequest::new().set_instances([link]);
    let request = groups.abandon_instances().set_project(PROJECT).set_zone(ZONE).set_instance_group_manager(GROUP).set_body(body);
    let operation = wait_in_zone(&compute.emulator, request.set_request_id(REQUEST_ID).send().await.unwrap()).await;
    assert!(operation.to_result().is_ok());
    let mut seen = Vec::new();
    loop {
        let list = groups.list_managed_instances().set_project(PROJECT).set_zone(ZONE).set_instance_group_manager(GROUP);
        let members = list.send().await.unwrap().managed_instances;
        match members.into_iter().find(|member| member.id == Some(6_120_613_059_854_544_701)) {
            Some(member) => seen.push(member.current_action.unwrap()),
            None => break,
        }
    }
    assert_eq!(seen, [CurrentAction::Abandoning, CurrentAction::Abandoning]);
    compute.done().await;
}

/// Goal: a snapshot is taken and waited for.
#[tokio::test]
async fn a_snapshot_is_taken() {
    let compute = Compute::start().await;
    let disks = client!(Disks, compute.emulator);
    let body = Snapshot::new().set_name("i1-boot").set_labels([("incident", "i1")]);
    let request = disks.create_snapshot().set_project(PROJECT).set_zone(ZONE).set_disk(NODE).set_body(body).set_request_id(REQUEST_ID);
    let operation = wait_in_zone(&compute.emulator, request.send().await.unwrap()).await;
    assert!(operation.to_result().is_ok());
    let snapshots = client!(Snapshots, compute.emulator);
    let mut seen = Vec::new();
    while seen.last() != Some(&Some(snapshot::Status::Ready)) {
        seen.push(snapshots.get().set_project(PROJECT).set_snapshot("i1-boot").send().await.unwrap().status);
    }
    assert_eq!(seen, [Some(snapshot::Status::Creating), Some(snapshot::Status::Ready)]);
    compute.done().await;
}
