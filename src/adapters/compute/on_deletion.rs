//! Deleting an instance, and reading before that what is kept of it.

use google_cloud_compute_v1::model::managed_instance::CurrentAction;
use google_cloud_compute_v1::model::{
    Instance, InstanceGroupManagersDeleteInstancesRequest, RegionInstanceGroupManagersDeleteInstancesRequest, instance::Status,
    snapshot::Status as SnapshotStatus,
};
use serde_json::json;
use stanch_commands::target::{ComputeName, DiskRef, GroupRef, InstanceRef, Place};

use super::links;
use super::on_group::{action, is};
use super::problem::Problem;
use super::read::present;
use super::session::Session;
use super::steps::Found;
use super::write::Write;
use crate::core::step::Receipt;

impl Session<'_> {
    /// Whether each snapshot is of its disk, by id, and READY.
    pub async fn all_ready(&self, snapshots: &[(DiskRef, ComputeName)]) -> Result<Found, Problem> {
        let mut open = Vec::new();
        for (disk, name) in snapshots {
            match self.snapshot(&disk.project, name).await? {
                None => open.push(format!("snapshot {name} of disk {} is gone", disk.name)),
                Some(found) if found.source_disk_id.as_deref() != Some(disk.id.to_string().as_str()) => {
                    open.push(format!("snapshot {name} is not of disk {} ({})", disk.name, disk.id));
                }
                Some(found) if found.status == Some(SnapshotStatus::Ready) => {}
                Some(found) => {
                    let status = found.status.as_ref().and_then(SnapshotStatus::name).unwrap_or("of unknown status").to_owned();
                    open.push(format!("snapshot {name} of disk {} is {status}", disk.name));
                }
            }
        }
        Ok(match open.is_empty() {
            true => Found::in_place(format!("snapshots of {} disks are READY", snapshots.len())),
            false => Found::Not(open),
        })
    }

    /// Whether the instance is gone: no instance of that name, or another one.
    pub async fn deletion(&self, instance: &InstanceRef, group: Option<&GroupRef>) -> Result<Found, Problem> {
        // Before the instance: a member that vanishes between the two looks is then still known as one that its group deletes.
        let members = match group {
            Some(group) => Some(present(self.members(group).await)?.unwrap_or_default()),
            None => None,
        };
        let Some(found) = present(self.instance(&instance.project, &instance.zone, &instance.name).await)? else {
            return self.deleted(instance, group, None).await;
        };
        match found.id {
            Some(id) if instance.id != id.into() => return self.deleted(instance, group, Some(id)).await,
            Some(_) => {}
            None => return Err(Problem::Unreachable(format!("Compute answered with instance {} without an id", instance.name))),
        }
        let there = || format!("instance {} is there", instance.name);
        let (Some(members), Some(group)) = (members, group) else {
            return self.outside_of_groups(instance, &found, there()).await;
        };
        // The API shows an instance that is being deleted as STOPPING.
        let leaving = self.has_written() || matches!(found.status, Some(Status::Stopping | Status::Deprovisioning));
        match members.iter().find(|member| is(member, instance.id)).map(|member| member.current_action.as_ref()) {
            Some(Some(CurrentAction::None)) => Ok(Found::not(there())),
            Some(Some(CurrentAction::Deleting)) => Ok(Found::UnderWay(format!("group {} is deleting {}", group.name, instance.name))),
            None if leaving => Ok(Found::UnderWay(format!("instance {} is shutting down", instance.name))),
            None => Err(Problem::Refused {
                message: format!("group {} does not list instance {} any more, and can not delete it", group.name, instance.name),
                hint: Some("make a new plan, which deletes the instance by itself".into()),
            }),
            Some(other) => Err(Problem::Refused {
                message: format!("group {} is busy with instance {}: {}", group.name, instance.name, action(other)),
                hint: Some("wait until the group is done with the instance, then make a new plan".into()),
            }),
        }
    }

    /// The instance of a plan without a group is there. A group that owns it would make it anew, under the same name and unwatched.
    async fn outside_of_groups(&self, instance: &InstanceRef, found: &Instance, there: String) -> Result<Found, Problem> {
        if self.has_written() {
            return Ok(Found::UnderWay(there));
        }
        match self.group_of(instance, found).await? {
            None => Ok(Found::not(there)),
            Some(owner) => Err(Problem::Refused {
                message: format!("instance {} is a member of group {}, which would make it anew", instance.name, owner.group.name),
                hint: Some("make a new plan, which deletes it through its group".into()),
            }),
        }
    }

    async fn deleted(&self, instance: &InstanceRef, group: Option<&GroupRef>, another: Option<u64>) -> Result<Found, Problem> {
        let mut details = Vec::new();
        if let Some(id) = another {
            details.push(format!("an instance of the same name is there, with the id {id}: somebody or a group made it anew"));
        }
        if let Some(group) = group
            && let Some(size) = self.group_size(group).await?
        {
            details.push(format!("group {} now wants {size} instances; `resize-group` brings the recorded size back", group.name));
        }
        let summary = format!("instance {} (id {}) is deleted", instance.name, instance.id);
        Ok(Found::InPlace(Receipt { summary, details, ..Receipt::default() }))
    }

    /// Deletes the instance: a member through its group, which becomes one smaller; any other by its id, so that no namesake can be hit.
    pub async fn delete(&self, instance: &InstanceRef, group: Option<&GroupRef>) -> Result<(), Problem> {
        match group {
            Some(group) => self.delete_member(instance, group).await,
            None => {
                let (zone, id) = (instance.zone.as_str(), instance.id.to_string());
                let path = links::instance(instance);
                let write = Write { method: "compute.instances.delete", resource: &path, body: &json!({ "id": id }) };
                let request = || self.compute.instances.delete().set_project(instance.project.as_str()).set_zone(zone);
                let sent = self.write(write, |request_id| request().set_instance(id.as_str()).set_request_id(request_id).send()).await;
                // Somebody else was faster: the look that follows says whether it is gone.
                present(sent).map(drop)
            }
        }
    }

    async fn delete_member(&self, instance: &InstanceRef, group: &GroupRef) -> Result<(), Problem> {
        let (path, project, name) = (links::group(group), group.project.as_str(), group.name.as_str());
        let instances = [links::instance(instance)];
        let body = json!({ "instances": instances });
        let (zonal, regional) = (&self.compute.groups, &self.compute.region_groups);
        match &group.place {
            Place::Zone(zone) => {
                let write = Write { method: "compute.instanceGroupManagers.deleteInstances", resource: &path, body: &body };
                let body = InstanceGroupManagersDeleteInstancesRequest::new().set_instances(instances);
                let request = || zonal.delete_instances().set_project(project).set_zone(zone.as_str()).set_instance_group_manager(name);
                self.write(write, |id| request().set_body(body.clone()).set_request_id(id).send()).await
            }
            Place::Region(region) => {
                let write = Write { method: "compute.regionInstanceGroupManagers.deleteInstances", resource: &path, body: &body };
                let body = RegionInstanceGroupManagersDeleteInstancesRequest::new().set_instances(instances);
                let request =
                    || regional.delete_instances().set_project(project).set_region(region.as_str()).set_instance_group_manager(name);
                self.write(write, |id| request().set_body(body.clone()).set_request_id(id).send()).await
            }
        }
    }
}
