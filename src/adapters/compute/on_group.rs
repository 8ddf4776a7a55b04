//! Managed instance groups: membership, abandoning, and finding the group of an instance.

use google_cloud_compute_v1::model::managed_instance::CurrentAction;
use google_cloud_compute_v1::model::{
    Instance, InstanceGroupManager, InstanceGroupManagerAggregatedList, InstanceGroupManagersAbandonInstancesRequest, ManagedInstance,
    RegionInstanceGroupManagersAbandonInstancesRequest,
};
use serde_json::json;
use stanch_commands::facts::GroupFacts;
use stanch_commands::target::{ComputeId, GroupRef, InstanceRef, Place};

use super::links::{self, Link};
use super::problem::Problem;
use super::read::present;
use super::session::Session;
use super::steps::Found;
use super::write::Write;

impl Session<'_> {
    /// Whether the group lists the instance, by numeric id.
    pub async fn membership(&self, instance: &InstanceRef, group: &GroupRef) -> Result<Found, Problem> {
        self.bound(instance).await?;
        let gone = || Found::in_place(format!("instance {} is not in group {}", instance.name, group.name));
        // A group that is deleted lists nobody.
        let Some(members) = present(self.members(group).await)? else { return Ok(gone()) };
        let Some(member) = members.iter().find(|member| is(member, instance.id)) else { return Ok(gone()) };
        match &member.current_action {
            Some(CurrentAction::None) => Ok(Found::not(format!("group {} lists instance {}", group.name, instance.name))),
            Some(CurrentAction::Abandoning) => Ok(Found::UnderWay(format!("group {} is letting go of {}", group.name, instance.name))),
            other => Err(Problem::Refused {
                message: format!("group {} is busy with instance {}: {}", group.name, instance.name, action(other.as_ref())),
                hint: Some("wait until the group is done with the instance, then make a new plan".into()),
            }),
        }
    }

    /// Asks the group to let go. Done means that it is scheduled, not that it happened.
    pub async fn abandon(&self, instance: &InstanceRef, group: &GroupRef) -> Result<(), Problem> {
        let (path, project, name) = (links::group(group), group.project.as_str(), group.name.as_str());
        let instances = [links::instance(instance)];
        let body = json!({ "instances": instances });
        let (zonal, regional) = (&self.compute.groups, &self.compute.region_groups);
        match &group.place {
            Place::Zone(zone) => {
                let write = Write { method: "compute.instanceGroupManagers.abandonInstances", resource: &path, body: &body };
                let body = InstanceGroupManagersAbandonInstancesRequest::new().set_instances(instances);
                let request = || zonal.abandon_instances().set_project(project).set_zone(zone.as_str()).set_instance_group_manager(name);
                self.write(write, |id| request().set_body(body.clone()).set_request_id(id).send()).await
            }
            Place::Region(region) => {
                let write = Write { method: "compute.regionInstanceGroupManagers.abandonInstances", resource: &path, body: &body };
                let body = RegionInstanceGroupManagersAbandonInstancesRequest::new().set_instances(instances);
                let request =
                    || regional.abandon_instances().set_project(project).set_region(region.as_str()).set_instance_group_manager(name);
                self.write(write, |id| request().set_body(body.clone()).set_request_id(id).send()).await
            }
        }
    }

    /// Whether the group wants the new size. Any other than the one that the plan was made on is somebody's newer decision.
    pub async fn resized(&self, group: &GroupRef, from: u32, to: u32) -> Result<Found, Problem> {
        match self.group_size(group).await? {
            None => Err(Problem::Stale(format!("group {} is gone", group.name))),
            Some(size) if size == to => Ok(Found::in_place(format!("group {} wants {to} instances", group.name))),
            Some(size) if size == from => Ok(Found::not(format!("group {} wants {from} instances", group.name))),
            Some(size) => Err(Problem::Refused {
                message: format!("group {} wants {size} instances now, the plan was made on {from}", group.name),
                hint: Some("somebody else resized it; make a new plan".into()),
            }),
        }
    }

    pub async fn resize(&self, group: &GroupRef, to: u32) -> Result<(), Problem> {
        let (path, project, name) = (links::group(group), group.project.as_str(), group.name.as_str());
        let body = json!({ "size": to });
        let size = i32::try_from(to).map_err(|_| Problem::refused(format!("no group has {to} instances")))?;
        let (zonal, regional) = (&self.compute.groups, &self.compute.region_groups);
        match &group.place {
            Place::Zone(zone) => {
                let write = Write { method: "compute.instanceGroupManagers.resize", resource: &path, body: &body };
                let request = || zonal.resize().set_project(project).set_zone(zone.as_str()).set_instance_group_manager(name);
                self.write(write, |id| request().set_size(size).set_request_id(id).send()).await
            }
            Place::Region(region) => {
                let write = Write { method: "compute.regionInstanceGroupManagers.resize", resource: &path, body: &body };
                let request = || regional.resize().set_project(project).set_region(region.as_str()).set_instance_group_manager(name);
                self.write(write, |id| request().set_size(size).set_request_id(id).send()).await
            }
        }
    }

    /// The group that lists the instance.
    ///
    /// The metadata entry `created-by` is where Google writes it, but whoever may write metadata may write it as well, and it stays after
    /// an abandon. So it only says where to look first; if that group does not list the instance, every group of its zone and region is asked.
    pub async fn group_of(&self, instance: &InstanceRef, found: &Instance) -> Result<Option<GroupFacts>, Problem> {
        let claimed = created_by(instance, found);
        if let Some(group) = &claimed
            && let Some(facts) = self.member_facts(instance, group).await?
        {
            return Ok(Some(facts));
        }
        let region = links::region(&instance.zone);
        for group in self.groups(instance).await? {
            let near = match &group.place {
                Place::Zone(zone) => *zone == instance.zone,
                Place::Region(name) => name.as_str() == region,
            };
            if near
                && claimed.as_ref() != Some(&group)
                && let Some(facts) = self.member_facts(instance, &group).await?
            {
                return Ok(Some(facts));
            }
        }
        Ok(None)
    }

    async fn member_facts(&self, instance: &InstanceRef, group: &GroupRef) -> Result<Option<GroupFacts>, Problem> {
        let members = present(self.members(group).await)?.unwrap_or_default();
        let Some(member) = members.iter().find(|member| is(member, instance.id)) else { return Ok(None) };
        let Some(target_size) = self.group_size(group).await? else { return Ok(None) };
        Ok(Some(GroupFacts { group: group.clone(), target_size, current_action: action(member.current_action.as_ref()) }))
    }

    async fn groups(&self, instance: &InstanceRef) -> Result<Vec<GroupRef>, Problem> {
        let project = instance.project.as_str();
        let list = |token| self.compute.groups.aggregated_list().set_project(project).set_page_token(token);
        let split = |page: InstanceGroupManagerAggregatedList| {
            let missing = page.unreachables.into_iter();
            // As in the list of instances: a scope without a group warns of NO_RESULTS_ON_PAGE, and a plan without an abandon must not rest on
            // one that could not be asked.
            let warned = page.items.iter().filter_map(|(scope, list)| {
                let code = list.warning.as_ref()?.code.as_ref()?.name().unwrap_or("an unknown warning").to_owned();
                (code != "NO_RESULTS_ON_PAGE").then(|| format!("{scope}: {code}"))
            });
            let problems: Vec<Result<InstanceGroupManager, String>> = missing.chain(warned).map(Err).collect();
            let groups = page.items.into_values().flat_map(|list| list.instance_group_managers).map(Ok);
            (groups.chain(problems).collect(), page.next_page_token)
        };
        let path = format!("projects/{project}/aggregated/instanceGroupManagers");
        let method = "compute.instanceGroupManagers.aggregatedList";
        let found: Vec<Result<InstanceGroupManager, String>> = self.pages(method, &path, |token| list(token).send(), split).await?;
        let partial = |what| Problem::Unreachable(format!("Compute listed the groups of {project} only in part: {what}"));
        let found: Vec<InstanceGroupManager> = found.into_iter().collect::<Result<_, _>>().map_err(partial)?;
        Ok(found.iter().filter_map(|group| reference(instance, group.self_link.as_deref()?)).collect())
    }
}

pub fn is(member: &ManagedInstance, id: ComputeId) -> bool {
    member.id.is_some_and(|found| id == found.into())
}

pub fn action(action: Option<&CurrentAction>) -> String {
    action.and_then(CurrentAction::name).unwrap_or("UNKNOWN").to_owned()
}

fn created_by(instance: &InstanceRef, found: &Instance) -> Option<GroupRef> {
    let items = &found.metadata.as_ref()?.items;
    reference(instance, items.iter().find(|item| item.key.as_deref() == Some("created-by"))?.value.as_deref()?)
}

/// The group that a link names, in the instance's project: a group has no members in another one, and `created-by` holds the project's number.
fn reference(instance: &InstanceRef, link: &str) -> Option<GroupRef> {
    let link = Link::parse(link).filter(|link| link.kind == "instanceGroupManagers")?;
    Some(GroupRef { project: instance.project.clone(), place: link.place()?, name: link.name.parse().ok()? })
}
