//! What scenarios make happen.

use serde_json::json;
use stanch::sandbox::compute::ComputeEmulatorError;

use super::{Compute, GROUP, NODE, OTHER, ZONE, instance_uri};

/// Goal: an instance that is made anew has its name and another id; links with Google's hosts name it as well.
#[tokio::test]
async fn an_instance_is_made_anew() {
    let compute = Compute::start().await;
    let before = compute.instance(NODE).await;
    let id = compute.emulator.recreate_instance(NODE).unwrap();
    compute.emulator.answer_with_google_links();
    let after = compute.instance(NODE).await;
    assert_eq!(after["id"], json!(id));
    assert_ne!(after["id"], before["id"]);
    let path = format!("projects/sandbox-project/zones/us-central1-a/instances/{NODE}");
    assert_eq!(after["selfLink"], format!("https://www.googleapis.com/compute/v1/{path}"));
    let body = json!({ "instances": [format!("https://compute.googleapis.com/compute/v1/{path}")] });
    let (status, _) = compute.send("POST", &super::group_uri("abandonInstances"), Some(&body)).await;
    assert_eq!(status, 200);
    compute.done().await;
}

/// Goal: a group can be regional, under the routes of regional groups only.
#[tokio::test]
async fn a_group_can_be_regional() {
    let compute = Compute::start().await;
    compute.emulator.make_group_regional(GROUP).unwrap();
    assert_eq!(compute.send("GET", &format!("{ZONE}/instanceGroupManagers/{GROUP}"), None).await.0, 404);
    let uri = format!("/compute/v1/projects/sandbox-project/regions/us-central1/instanceGroupManagers/{GROUP}");
    let group = compute.get(&uri).await;
    assert_eq!((group.get("zone"), &group["targetSize"]), (None, &json!(2)));
    let created_by = format!("projects/412233445566/regions/us-central1/instanceGroupManagers/{GROUP}");
    assert_eq!(compute.emulator.snapshot_state()["instances"][NODE]["metadata"]["created-by"], created_by);
    let body = json!({ "instances": [format!("zones/us-central1-a/instances/{NODE}")] });
    let operation = compute.mutate("POST", &format!("{uri}/abandonInstances"), body).await;
    assert!(operation["region"].as_str().unwrap().ends_with("/regions/us-central1"), "{operation:#}");
    let list = compute.send("POST", &format!("{uri}/listManagedInstances"), None).await.1;
    assert_eq!(list["managedInstances"][0]["currentAction"], "ABANDONING");
    compute.done().await;
}

/// Goal: regional disks have snapshots through the routes of regional disks.
#[tokio::test]
async fn a_disk_can_be_regional() {
    let compute = Compute::start().await;
    compute.emulator.make_disk_regional("pvc-orders-0").unwrap();
    assert_eq!(compute.send("GET", &format!("{ZONE}/disks/pvc-orders-0"), None).await.0, 404);
    let uri = "/compute/v1/projects/sandbox-project/regions/us-central1/disks/pvc-orders-0";
    let source = compute.instance(NODE).await["disks"][1]["source"].clone();
    assert_eq!(source, format!("{}{uri}", compute.emulator.url()));
    compute.mutate("POST", &format!("{uri}/createSnapshot"), json!({ "name": "i1-data" })).await;
    let snapshot = compute.emulator.snapshot_state()["snapshots"]["i1-data"].clone();
    assert_eq!(snapshot["sourceDisk"], "projects/sandbox-project/regions/us-central1/disks/pvc-orders-0");
    compute.done().await;
}

/// Goal: with Shared VPC the rules live in the host project, and only there.
#[tokio::test]
async fn a_network_can_be_shared_by_another_project() {
    let compute = Compute::start().await;
    compute.emulator.share_vpc_from("host-project");
    let network = "projects/host-project/global/networks/prod-vpc";
    let instance = compute.instance(NODE).await;
    assert_eq!(instance["networkInterfaces"][0]["network"], format!("{}/compute/v1/{network}", compute.emulator.url()));
    let rule = json!({ "name": "r", "network": network, "denied": [{ "IPProtocol": "all" }] });
    let insert = |project: &str| format!("/compute/v1/projects/{project}/global/firewalls");
    assert_eq!(compute.send("POST", &insert("sandbox-project"), Some(&rule)).await.0, 400);
    compute.mutate("POST", &insert("host-project"), rule).await;
    let effective = compute.get(&format!("{}/getEffectiveFirewalls?networkInterface=nic0", instance_uri(NODE))).await;
    assert_eq!(effective["firewalls"][0]["name"], "r");
    assert_eq!(compute.emulator.snapshot_state()["firewalls"]["host-project"]["r"]["network"], network);
    compute.emulator.delete_firewall("r").unwrap();
    compute.done().await;
}

/// Goal: what is not there cannot happen to anything.
#[tokio::test]
async fn what_is_not_there() {
    let compute = Compute::start().await;
    let not_there = |kind, name: &str| Err(ComputeEmulatorError::NotThere { kind, name: name.into() });
    assert_eq!(compute.emulator.touch_tags("nosuch", "t"), not_there("instances", "nosuch"));
    assert_eq!(compute.emulator.abandon("bastion"), not_there("managedInstances", "bastion"));
    compute.emulator.abandon(NODE).unwrap();
    assert_eq!(compute.emulator.set_managed_action(NODE, "RECREATING"), not_there("managedInstances", NODE));
    compute.emulator.set_managed_action(OTHER, "RECREATING").unwrap();
    assert_eq!(compute.members(GROUP).await, [(OTHER.to_owned(), "RECREATING".to_owned())]);
    compute.emulator.set_metadata(NODE, "created-by", "somebody").unwrap();
    compute.emulator.add_interface(NODE, "other-vpc", Some("203.0.113.77")).unwrap();
    let instance = compute.instance(NODE).await;
    assert_eq!(instance["networkInterfaces"][1]["accessConfigs"][0]["natIP"], "203.0.113.77");
    compute.emulator.delete_instance(NODE).unwrap();
    assert_eq!(compute.emulator.snapshot_state()["instances"].get(NODE), None);
    compute.done().await;
}

/// Goal: scenarios can compare the whole state. Method: the state at the start.
#[tokio::test]
async fn the_view_of_the_state() {
    let compute = Compute::start().await;
    let state = compute.emulator.snapshot_state();
    let members = json!({ NODE: "NONE", OTHER: "NONE" });
    assert_eq!(state["groups"][GROUP], json!({ "targetSize": 2, "members": members }));
    assert_eq!(
        state["instances"][NODE],
        json!({
            "id": "6120613059854544701", "status": "RUNNING", "tags": ["gke-sandbox-node"], "deletionProtection": false,
            "interfaces": { "nic0": {
                "network": "projects/sandbox-project/global/networks/prod-vpc",
                "accessConfigs": { "external-nat": "203.0.113.11" }, "ipv6AccessConfigs": {},
            } },
            "disks": {
                "persistent-disk-0": { "source": NODE, "boot": true, "autoDelete": true },
                "pvc-orders-0": { "source": "pvc-orders-0", "boot": false, "autoDelete": false },
            },
            "metadata": {
                "created-by": format!("projects/412233445566/zones/us-central1-a/instanceGroupManagers/{GROUP}"),
                "instance-template": "projects/412233445566/global/instanceTemplates/gke-sandbox-public-1a2b3c4d",
                "cluster-name": "sandbox",
            },
        })
    );
    assert_eq!((&state["firewalls"], &state["snapshots"], &state["addresses"]), (&json!({}), &json!({}), &json!({})));
    compute.done().await;
}
