//! What the steps and the survey read.

use std::future::Future;

use google_cloud_compute_v1::model::{
    Address, Disk, Firewall, Instance, InstancesGetEffectiveFirewallsResponse, ManagedInstance, Snapshot,
};
use google_cloud_gax::error::Error;
use stanch_commands::facts::GroupState;
use stanch_commands::target::{ComputeName, DiskRef, GroupRef, InstanceRef, Location, Place, ProjectId};

use super::links;
use super::problem::Problem;
use super::session::Session;

/// Pages of one list: 200 of 500 entries are more than the instances that a project may have by default quota.
const MOST_PAGES: usize = 200;

impl Session<'_> {
    /// The instance of this name.
    pub async fn instance(&self, project: &ProjectId, zone: &Location, name: &ComputeName) -> Result<Instance, Problem> {
        let path = format!("projects/{project}/zones/{zone}/instances/{name}");
        let get = || self.compute.instances.get().set_project(project.as_str()).set_zone(zone.as_str()).set_instance(name.as_str());
        self.read("compute.instances.get", &path, || get().send()).await
    }

    /// The bound instance, or that it is gone or another one.
    pub async fn bound(&self, instance: &InstanceRef) -> Result<Instance, Problem> {
        let found = match self.instance(&instance.project, &instance.zone, &instance.name).await {
            Err(Problem::Missing(_)) => return Err(Problem::Stale(format!("instance {} is gone", instance.name))),
            result => result?,
        };
        match found.id {
            Some(id) if instance.id == id.into() => Ok(found),
            Some(id) => {
                Err(Problem::Stale(format!("instance {} now has the id {id}, it was {}: it is another one", instance.name, instance.id)))
            }
            None => Err(Problem::Unreachable(format!("Compute answered with instance {} without an id", instance.name))),
        }
    }

    /// The bound disk, or that it is gone or another one.
    pub async fn bound_disk(&self, disk: &DiskRef) -> Result<Disk, Problem> {
        let found = match self.disk(disk.project.as_str(), &disk.place, disk.name.as_str()).await {
            Err(Problem::Missing(_)) => return Err(Problem::Stale(format!("disk {} is gone", disk.name))),
            result => result?,
        };
        match found.id {
            Some(id) if disk.id == id.into() => Ok(found),
            Some(id) => Err(Problem::Stale(format!("disk {} now has the id {id}, it was {}: it is another one", disk.name, disk.id))),
            None => Err(Problem::Unreachable(format!("Compute answered with disk {} without an id", disk.name))),
        }
    }

    /// A disk, zonal or regional.
    pub async fn disk(&self, project: &str, place: &Place, name: &str) -> Result<Disk, Problem> {
        let path = format!("projects/{project}/{}/disks/{name}", links::place(place));
        let (disks, region_disks) = (&self.compute.disks, &self.compute.region_disks);
        match place {
            Place::Zone(zone) => {
                self.read("compute.disks.get", &path, || disks.get().set_project(project).set_zone(zone.as_str()).set_disk(name).send())
                    .await
            }
            Place::Region(region) => {
                let get = || region_disks.get().set_project(project).set_region(region.as_str()).set_disk(name);
                self.read("compute.regionDisks.get", &path, || get().send()).await
            }
        }
    }

    /// The snapshot of this name, if there is one.
    pub async fn snapshot(&self, project: &ProjectId, name: &ComputeName) -> Result<Option<Snapshot>, Problem> {
        let get = || self.compute.snapshots.get().set_project(project.as_str()).set_snapshot(name.as_str());
        present(self.read("compute.snapshots.get", &links::global(project, "snapshots", name), || get().send()).await)
    }

    /// Every snapshot of a project.
    pub async fn snapshots(&self, project: &ProjectId) -> Result<Vec<Snapshot>, Problem> {
        let list = |token| self.compute.snapshots.list().set_project(project.as_str()).set_page_token(token);
        let path = format!("projects/{project}/global/snapshots");
        self.pages("compute.snapshots.list", &path, |token| list(token).send(), |page| (page.items, page.next_page_token)).await
    }

    /// The rule of this name, if there is one.
    pub async fn firewall(&self, project: &ProjectId, name: &ComputeName) -> Result<Option<Firewall>, Problem> {
        let get = || self.compute.firewalls.get().set_project(project.as_str()).set_firewall(name.as_str());
        present(self.read("compute.firewalls.get", &links::global(project, "firewalls", name), || get().send()).await)
    }

    /// Every rule of a project.
    pub async fn firewalls(&self, project: &ProjectId) -> Result<Vec<Firewall>, Problem> {
        let list = |token| self.compute.firewalls.list().set_project(project.as_str()).set_page_token(token);
        let path = format!("projects/{project}/global/firewalls");
        self.pages("compute.firewalls.list", &path, |token| list(token).send(), |page| (page.items, page.next_page_token)).await
    }

    /// Every reserved address of a region.
    pub async fn addresses(&self, project: &ProjectId, region: &str) -> Result<Vec<Address>, Problem> {
        let list = |token| self.compute.addresses.list().set_project(project.as_str()).set_region(region).set_page_token(token);
        let path = format!("projects/{project}/regions/{region}/addresses");
        self.pages("compute.addresses.list", &path, |token| list(token).send(), |page| (page.items, page.next_page_token)).await
    }

    /// Every instance of a project. A list that is not complete is an error.
    pub async fn instances(&self, project: &ProjectId) -> Result<Vec<Instance>, Problem> {
        let list = |token| self.compute.instances.aggregated_list().set_project(project.as_str()).set_page_token(token);
        let path = format!("projects/{project}/aggregated/instances");
        let split = |page: google_cloud_compute_v1::model::InstanceAggregatedList| {
            let missing = page.unreachables.into_iter();
            // Every zone without an instance warns of NO_RESULTS_ON_PAGE; an unreachable one warns of something else.
            let warned = page.items.iter().filter_map(|(scope, list)| {
                let code = list.warning.as_ref()?.code.as_ref()?.name().unwrap_or("an unknown warning").to_owned();
                (code != "NO_RESULTS_ON_PAGE").then(|| format!("{scope}: {code}"))
            });
            let problems: Vec<Result<Instance, String>> = missing.chain(warned).map(Err).collect();
            let found = page.items.into_values().flat_map(|list| list.instances).map(Ok);
            (found.chain(problems).collect(), page.next_page_token)
        };
        let entries = self.pages("compute.instances.aggregatedList", &path, |token| list(token).send(), split).await?;
        let partial = |what| Problem::Unreachable(format!("Compute listed the instances of {project} only in part: {what}"));
        entries.into_iter().collect::<Result<_, String>>().map_err(partial)
    }

    /// The members of a group.
    pub async fn members(&self, group: &GroupRef) -> Result<Vec<ManagedInstance>, Problem> {
        let (path, project, name) = (links::group(group), group.project.as_str(), group.name.as_str());
        let (zonal, regional) = (&self.compute.groups, &self.compute.region_groups);
        match &group.place {
            Place::Zone(zone) => {
                let list = |token: String| {
                    zonal
                        .list_managed_instances()
                        .set_project(project)
                        .set_zone(zone.as_str())
                        .set_instance_group_manager(name)
                        .set_page_token(token)
                };
                let method = "compute.instanceGroupManagers.listManagedInstances";
                self.pages(method, &path, |token| list(token).send(), |page| (page.managed_instances, page.next_page_token)).await
            }
            Place::Region(region) => {
                let list = |token: String| {
                    let request = regional.list_managed_instances().set_project(project).set_region(region.as_str());
                    request.set_instance_group_manager(name).set_page_token(token)
                };
                let method = "compute.regionInstanceGroupManagers.listManagedInstances";
                self.pages(method, &path, |token| list(token).send(), |page| (page.managed_instances, page.next_page_token)).await
            }
        }
    }

    /// How many instances a group wants; `None` if there is no such group.
    pub async fn group_size(&self, group: &GroupRef) -> Result<Option<u32>, Problem> {
        Ok(self.group_state(group).await?.map(|state| state.target_size))
    }

    /// How a group stands; `None` if there is no such group.
    pub async fn group_state(&self, group: &GroupRef) -> Result<Option<GroupState>, Problem> {
        let (path, project, name) = (links::group(group), group.project.as_str(), group.name.as_str());
        let (zonal, regional) = (&self.compute.groups, &self.compute.region_groups);
        let found = match &group.place {
            Place::Zone(zone) => {
                let get = || zonal.get().set_project(project).set_zone(zone.as_str()).set_instance_group_manager(name);
                self.read("compute.instanceGroupManagers.get", &path, || get().send()).await
            }
            Place::Region(region) => {
                let get = || regional.get().set_project(project).set_region(region.as_str()).set_instance_group_manager(name);
                self.read("compute.regionInstanceGroupManagers.get", &path, || get().send()).await
            }
        };
        Ok(present(found)?.map(|group| GroupState {
            target_size: group.target_size.and_then(|size| u32::try_from(size).ok()).unwrap_or_default(),
            autoscaler: group.status.and_then(|status| status.autoscaler).filter(|link| !link.is_empty()),
        }))
    }

    /// What is in force on one interface.
    pub async fn effective(&self, instance: &InstanceRef, interface: &str) -> Result<InstancesGetEffectiveFirewallsResponse, Problem> {
        let get = || {
            let request = self.compute.instances.get_effective_firewalls().set_project(instance.project.as_str());
            request.set_zone(instance.zone.as_str()).set_instance(instance.name.as_str()).set_network_interface(interface)
        };
        self.read("compute.instances.getEffectiveFirewalls", &links::instance(instance), || get().send()).await
    }

    pub async fn pages<Page, Item, F>(
        &self,
        method: &str,
        path: &str,
        fetch: impl Fn(String) -> F,
        split: impl Fn(Page) -> (Vec<Item>, Option<String>),
    ) -> Result<Vec<Item>, Problem>
    where
        F: Future<Output = Result<Page, Error>>,
    {
        let (mut items, mut token) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let (page, next) = split(self.read(method, path, || fetch(token.clone())).await?);
            items.extend(page);
            match next.filter(|next| !next.is_empty()) {
                Some(next) => token = next,
                None => return Ok(items),
            }
        }
        Err(Problem::Unreachable(format!("{path} has more than {MOST_PAGES} pages")))
    }
}

/// `None` instead of 404.
pub fn present<T>(found: Result<T, Problem>) -> Result<Option<T>, Problem> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Problem::Missing(_)) => Ok(None),
        Err(problem) => Err(problem),
    }
}
