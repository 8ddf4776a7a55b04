//! The Compute side of the sandbox's world.

use serde_json::{Value, json};

use super::links;
use super::routes::{boot_disk, metadata, renew, set_tags};
use super::state::{Member, State, items_mut, put, text};
use crate::sandbox::world::{Node, World};

/// The number of the world's project. Google names projects by number in some links, such as `created-by`.
pub const PROJECT_NUMBER: &str = "412233445566";

/// Zones of the region besides the world's own, so that a wrong zone is found empty and not unknown.
const OTHER_ZONES: [&str; 3] = ["a", "b", "f"];

/// Scopes of a node's service account that GKE gives by default.
const SCOPES: [&str; 3] = [
    "https://www.googleapis.com/auth/devstorage.read_only",
    "https://www.googleapis.com/auth/logging.write",
    "https://www.googleapis.com/auth/monitoring",
];

/// The state at the start.
pub fn seed(world: &World) -> State {
    let mut state = State::default();
    let project = format!("projects/{}", world.project);
    seed_places(&mut state, world);
    seed_network(&mut state, &project, &world.network, &region(world));
    for node in world.nodes.iter().chain(&world.other_instances).filter(|node| !node.autopilot) {
        seed_instance(&mut state, world, node);
    }
    state
}

/// The region of the world's zone.
pub fn region(world: &World) -> String {
    world.zone.rsplit_once('-').map_or(world.zone.clone(), |(region, _)| region.to_owned())
}

fn seed_places(state: &mut State, world: &World) {
    let (project, region) = (&world.project, region(world));
    seed_project(state, project, PROJECT_NUMBER);
    let mut zones: Vec<String> = OTHER_ZONES.iter().map(|letter| format!("{region}-{letter}")).collect();
    zones.push(world.zone.clone());
    for zone in zones {
        let path = format!("projects/{project}/zones/{zone}");
        let link = links::link(&format!("projects/{project}/regions/{region}"));
        state.create("zone", &path, json!({ "status": "UP", "region": link, "description": zone }));
    }
    let machine_type = json!({ "zone": world.zone, "guestCpus": 2, "memoryMb": 4096, "description": "2 vCPU, 4 GB RAM" });
    state.create("machineType", &format!("projects/{project}/zones/{}/machineTypes/e2-medium", world.zone), machine_type);
}

/// Puts a project in place.
pub fn seed_project(state: &mut State, project: &str, number: &str) {
    let fields = json!({ "defaultNetworkTier": "PREMIUM", "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS" });
    state.create_as("project", &format!("projects/{project}"), number, fields);
}

/// Puts a network with one subnetwork in place, and the region that the subnetwork is in.
pub fn seed_network(state: &mut State, project: &str, network: &str, region: &str) {
    let region = format!("{project}/regions/{region}");
    if !state.resources.contains_key(&region) {
        state.create("region", &region, json!({ "status": "UP", "description": links::name(&region) }));
    }
    let (network_path, subnetwork) = (format!("{project}/global/networks/{network}"), format!("{region}/subnetworks/{network}"));
    let fields = json!({
        "autoCreateSubnetworks": false, "networkFirewallPolicyEnforcementOrder": "AFTER_CLASSIC_FIREWALL",
        "routingConfig": { "routingMode": "REGIONAL" }, "subnetworks": [links::link(&subnetwork)], "selfLinkWithId": links::link(&network_path),
    });
    state.create("network", &network_path, fields);
    let fields = json!({
        "network": links::link(&network_path), "region": links::link(&region), "ipCidrRange": "10.128.0.0/20", "gatewayAddress": "10.128.0.1",
        "privateIpGoogleAccess": true, "purpose": "PRIVATE", "stackType": "IPV4_ONLY", "state": "READY",
        "privateIpv6GoogleAccess": "DISABLE_GOOGLE_ACCESS", "fingerprint": links::fingerprint(&json!(network_path)),
    });
    state.create("subnetwork", &subnetwork, fields);
}

fn seed_instance(state: &mut State, world: &World, node: &Node) {
    let zone = format!("projects/{}/zones/{}", world.project, world.zone);
    let path = format!("{zone}/instances/{}", node.name);
    let mut instance = json!({
        "status": "RUNNING", "zone": links::link(&zone), "machineType": links::link(&format!("{zone}/machineTypes/e2-medium")),
        "canIpForward": true, "deletionProtection": false, "startRestricted": false, "cpuPlatform": "Intel Broadwell",
        "labelFingerprint": links::fingerprint(&json!(node.name)), "lastStartTimestamp": super::state::now(),
        "scheduling": { "automaticRestart": true, "onHostMaintenance": "MIGRATE", "preemptible": false, "provisioningModel": "STANDARD" },
        "serviceAccounts": [{ "email": format!("{PROJECT_NUMBER}-compute@developer.gserviceaccount.com"), "scopes": SCOPES }],
        "metadata": metadata(&node_metadata(world, node)), "networkInterfaces": [interface(world, node)],
    });
    let tags = if node.pool.is_empty() { Vec::new() } else { vec![format!("gke-{}-node", world.cluster)] };
    set_tags(&mut instance, &tags);
    if !node.pool.is_empty() {
        let labels = json!({ "goog-gke-node": "", "goog-k8s-cluster-name": world.cluster, "goog-k8s-node-pool-name": node.pool });
        put(&mut instance, "labels", labels);
    }
    seed_address(state, world, node, &path);
    let template = instance.clone();
    put(&mut instance, "disks", seed_disks(state, &zone, node, &path).into());
    state.create_as("instance", &path, &node.instance_id.to_string(), instance);
    if let Some(group) = &node.group {
        seed_member(state, &zone, group, &path, template);
    }
}

fn node_metadata(world: &World, node: &Node) -> Vec<Value> {
    if node.pool.is_empty() {
        return Vec::new();
    }
    let stem = node.name.rsplit_once('-').map_or(node.name.as_str(), |(stem, _)| stem);
    let group = node.group.clone().unwrap_or_else(|| format!("{stem}-grp"));
    vec![
        json!({ "key": "created-by", "value": format!("projects/{PROJECT_NUMBER}/zones/{}/instanceGroupManagers/{group}", world.zone) }),
        json!({ "key": "instance-template", "value": format!("projects/{PROJECT_NUMBER}/global/instanceTemplates/{stem}") }),
        json!({ "key": "cluster-name", "value": world.cluster }),
    ]
}

fn interface(world: &World, node: &Node) -> Value {
    let project = format!("projects/{}", world.project);
    let mut interface = json!({
        "kind": "compute#networkInterface", "name": "nic0", "networkIP": node.internal_ip, "stackType": "IPV4_ONLY",
        "network": links::link(&format!("{project}/global/networks/{}", world.network)),
        "subnetwork": links::link(&format!("{project}/regions/{}/subnetworks/{}", region(world), world.network)),
    });
    if let Some(external) = &node.external_ip {
        let config = json!({
            "kind": "compute#accessConfig", "type": "ONE_TO_ONE_NAT", "name": external.access_config, "natIP": external.address,
            "networkTier": "PREMIUM",
        });
        put(&mut interface, "accessConfigs", json!([config]));
    }
    if let Some(address) = &node.external_ipv6 {
        let config = json!({
            "kind": "compute#accessConfig", "type": "DIRECT_IPV6", "name": "external-ipv6", "externalIpv6": address,
            "externalIpv6PrefixLength": 96, "networkTier": "PREMIUM",
        });
        put(&mut interface, "stackType", json!("IPV4_IPV6"));
        put(&mut interface, "ipv6AccessType", json!("EXTERNAL"));
        put(&mut interface, "ipv6AccessConfigs", json!([config]));
    }
    renew(&mut interface);
    interface
}

fn seed_address(state: &mut State, world: &World, node: &Node, instance: &str) {
    let Some(external) = node.external_ip.as_ref().filter(|external| external.reserved) else { return };
    let region = format!("projects/{}/regions/{}", world.project, region(world));
    let fields = json!({
        "address": external.address, "addressType": "EXTERNAL", "networkTier": "PREMIUM", "status": "IN_USE", "region": links::link(&region),
        "users": [links::link(instance)], "description": "",
    });
    state.create("address", &format!("{region}/addresses/{}", node.name), fields);
}

/// The disks of a node as they are attached: boot, data, local.
fn seed_disks(state: &mut State, zone: &str, node: &Node, instance: &str) -> Vec<Value> {
    let boot = boot_disk(instance);
    state.create_boot_disk(links::path(text(&boot, "source")), instance);
    let mut attached = vec![boot];
    for name in &node.data_disks {
        let disk = format!("{zone}/disks/{name}");
        state.create_disk(&disk, "10", Some(instance));
        attached.push(json!({
            "kind": "compute#attachedDisk", "type": "PERSISTENT", "mode": "READ_WRITE", "source": links::link(&disk), "deviceName": name,
            "index": attached.len(), "boot": false, "autoDelete": false, "interface": "SCSI", "diskSizeGb": "10",
        }));
    }
    for number in 0..node.local_ssds {
        attached.push(json!({
            "kind": "compute#attachedDisk", "type": "SCRATCH", "mode": "READ_WRITE", "deviceName": format!("local-ssd-{number}"),
            "index": attached.len(), "boot": false, "autoDelete": true, "interface": "NVME", "diskSizeGb": "375",
        }));
    }
    attached
}

fn seed_member(state: &mut State, zone: &str, group: &str, instance: &str, template: Value) {
    let path = format!("{zone}/instanceGroupManagers/{group}");
    let base = group.strip_suffix("-grp").unwrap_or(group);
    if !state.resources.contains_key(&path) {
        let instance_template = links::link(&format!("projects/{}/global/instanceTemplates/{base}", links::project(zone)));
        let policy = json!({ "fixed": 1, "calculated": 1 });
        let fields = json!({
            "baseInstanceName": base, "fingerprint": links::fingerprint(&json!(path)), "zone": links::link(zone), "targetSize": 0,
            "instanceGroup": links::link(&format!("{zone}/instanceGroups/{group}")), "instanceTemplate": instance_template,
            "versions": [{ "instanceTemplate": instance_template, "targetSize": { "calculated": 0 } }],
            "instanceLifecyclePolicy": { "defaultActionOnFailure": "REPAIR", "forceUpdateOnRepair": "YES" },
            "updatePolicy": {
                "type": "OPPORTUNISTIC", "minimalAction": "REPLACE", "replacementMethod": "SUBSTITUTE", "maxSurge": policy,
                "maxUnavailable": policy,
            },
        });
        state.create("instanceGroupManager", &path, fields);
        state.templates.insert(path.clone(), template);
    }
    let members = state.members.entry(path.clone()).or_default();
    members.push(Member::idle(instance.to_owned()));
    let size = members.len();
    if let Some(group) = state.resources.get_mut(&path) {
        put(group, "targetSize", json!(size));
        items_mut(group, "versions").into_iter().flatten().for_each(|version| put(version, "targetSize", json!({ "calculated": size })));
    }
}
