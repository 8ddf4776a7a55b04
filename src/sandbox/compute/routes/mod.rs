//! What each method does.

mod disks;
mod firewalls;
mod groups;
mod instances;
mod interfaces;

use serde_json::Value;

use super::api::Request;
use super::failure::Failure;
use super::listing;
use super::operations;
use super::state::State;

pub use firewalls::complete_rule;
pub use groups::recreate;
pub use instances::{boot_disk, metadata, set_tags};
pub use interfaces::renew;

/// What a method does: changes the state and answers.
type Handler = fn(&mut State, &Request<'_>) -> Result<Value, Failure>;

/// Every method that the emulator has.
pub const ROUTES: &[(&str, Handler)] = &[
    ("compute.addresses.aggregatedList", |state, request| aggregated(state, request, "address", "addresses")),
    ("compute.addresses.get", get),
    ("compute.addresses.list", |state, request| list(state, request, "address")),
    ("compute.disks.createSnapshot", disks::create_snapshot),
    ("compute.disks.get", get),
    ("compute.disks.list", |state, request| list(state, request, "disk")),
    ("compute.firewalls.delete", firewalls::delete),
    ("compute.firewalls.get", get),
    ("compute.firewalls.insert", firewalls::insert),
    ("compute.firewalls.list", |state, request| list(state, request, "firewall")),
    ("compute.firewalls.patch", firewalls::patch),
    ("compute.globalOperations.get", operations::get),
    ("compute.globalOperations.list", operations::list),
    ("compute.globalOperations.wait", operations::get),
    ("compute.instanceGroupManagers.abandonInstances", groups::abandon_instances),
    ("compute.instanceGroupManagers.aggregatedList", groups::aggregated),
    ("compute.instanceGroupManagers.deleteInstances", groups::delete_instances),
    ("compute.instanceGroupManagers.get", groups::get),
    ("compute.instanceGroupManagers.list", groups::list),
    ("compute.instanceGroupManagers.listManagedInstances", groups::list_managed_instances),
    ("compute.instanceGroupManagers.resize", groups::resize),
    ("compute.instances.addAccessConfig", interfaces::add_access_config),
    ("compute.instances.aggregatedList", |state, request| aggregated(state, request, "instance", "instances")),
    ("compute.instances.delete", instances::delete),
    ("compute.instances.deleteAccessConfig", interfaces::delete_access_config),
    ("compute.instances.get", get),
    ("compute.instances.getEffectiveFirewalls", firewalls::effective_of_instance),
    ("compute.instances.insert", instances::insert),
    ("compute.instances.list", |state, request| list(state, request, "instance")),
    ("compute.instances.setDeletionProtection", instances::set_deletion_protection),
    ("compute.instances.setDiskAutoDelete", instances::set_disk_auto_delete),
    ("compute.instances.setLabels", instances::set_labels),
    ("compute.instances.setMetadata", instances::set_metadata),
    ("compute.instances.setTags", instances::set_tags_of),
    ("compute.instances.updateNetworkInterface", interfaces::update_network_interface),
    ("compute.machineTypes.get", get),
    ("compute.machineTypes.list", |state, request| list(state, request, "machineType")),
    ("compute.networks.get", get),
    ("compute.networks.getEffectiveFirewalls", firewalls::effective_of_network),
    ("compute.networks.list", |state, request| list(state, request, "network")),
    ("compute.projects.get", get),
    ("compute.regionDisks.createSnapshot", disks::create_snapshot),
    ("compute.regionDisks.get", get),
    ("compute.regionDisks.list", |state, request| list(state, request, "disk")),
    ("compute.regionInstanceGroupManagers.abandonInstances", groups::abandon_instances),
    ("compute.regionInstanceGroupManagers.deleteInstances", groups::delete_instances),
    ("compute.regionInstanceGroupManagers.get", groups::get),
    ("compute.regionInstanceGroupManagers.list", groups::list),
    ("compute.regionInstanceGroupManagers.listManagedInstances", groups::list_managed_instances),
    ("compute.regionInstanceGroupManagers.resize", groups::resize),
    ("compute.regionOperations.get", operations::get),
    ("compute.regionOperations.list", operations::list),
    ("compute.regionOperations.wait", operations::get),
    ("compute.regions.get", get),
    ("compute.regions.list", |state, request| list(state, request, "region")),
    ("compute.snapshots.delete", disks::delete_snapshot),
    ("compute.snapshots.get", disks::get_snapshot),
    ("compute.snapshots.insert", disks::insert_snapshot),
    ("compute.snapshots.list", disks::list_snapshots),
    ("compute.snapshots.setLabels", instances::set_labels),
    ("compute.subnetworks.get", get),
    ("compute.subnetworks.list", |state, request| list(state, request, "subnetwork")),
    ("compute.zoneOperations.get", operations::get),
    ("compute.zoneOperations.list", operations::list),
    ("compute.zoneOperations.wait", operations::get),
    ("compute.zones.get", get),
    ("compute.zones.list", |state, request| list(state, request, "zone")),
];

/// Does what the method of a request does.
pub fn perform(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let route = ROUTES.iter().find(|(id, _)| *id == request.method.id);
    let (_, handler) = route.ok_or_else(|| Failure::unknown_route(&request.method.http_method, &request.path))?;
    handler(state, request)
}

fn get(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let path = state.resolve(&request.path)?;
    state.get(&path).cloned()
}

fn list(state: &mut State, request: &Request<'_>, kind: &str) -> Result<Value, Failure> {
    let items = state.collection(&request.path).map(|(_, resource)| resource.clone()).collect();
    listing::list(request, kind, items)
}

fn aggregated(state: &mut State, request: &Request<'_>, kind: &str, field: &str) -> Result<Value, Failure> {
    let project = format!("projects/{}/", request.project());
    let items = state.all(field).filter(|(path, _)| path.starts_with(&project)).map(|(_, resource)| resource.clone()).collect();
    listing::aggregated(request, kind, field, items)
}
