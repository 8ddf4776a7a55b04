//! Snapshots, and the prior state that a release needs.

use std::collections::BTreeMap;

use google_cloud_compute_v1::model::{AttachedDisk, Snapshot, snapshot::Status};
use stanch_commands::prior::{DiskPrior, GroupPrior, InstancePrior, Prior};
use stanch_commands::target::{ComputeName, DiskRef, GroupRef, InstanceRef, Place};

use super::links;
use super::problem::Problem;
use super::session::Session;
use super::steps::Found;
use super::write::Write;
use crate::core::step::Receipt;

impl Session<'_> {
    /// Whether the snapshot of this name is the one that the action asks for.
    pub async fn snapshot_state(&self, disk: &DiskRef, name: &ComputeName, labels: &BTreeMap<String, String>) -> Result<Found, Problem> {
        let Some(found) = self.snapshot(&disk.project, name).await? else {
            self.bound_disk(disk).await?;
            return Ok(Found::not(format!("there is no snapshot {name}")));
        };
        let refused = |why: String| Err(Problem::refused(format!("snapshot {name} {why}")));
        if found.source_disk_id.as_deref() != Some(disk.id.to_string().as_str()) {
            return refused(format!(
                "is of disk id {}, not of {} ({})",
                found.source_disk_id.as_deref().unwrap_or("none"),
                disk.name,
                disk.id
            ));
        }
        if let Some((label, value)) = labels.iter().find(|(label, value)| found.labels.get(*label) != Some(value)) {
            return refused(format!("does not carry the label {label}={value}: it is somebody else's"));
        }
        match &found.status {
            Some(Status::Failed) => refused("has failed".into()),
            Some(Status::Deleting) => refused("is being deleted".into()),
            status => {
                let status = status.as_ref().and_then(Status::name).unwrap_or("of unknown status");
                Ok(Found::in_place(format!("snapshot {name} of disk {} is {status}, its content is fixed", disk.name)))
            }
        }
    }

    pub async fn start_snapshot(&self, disk: &DiskRef, name: &ComputeName, labels: &BTreeMap<String, String>) -> Result<(), Problem> {
        let body = Snapshot::new().set_name(name.as_str()).set_labels(labels.clone());
        let (path, project) = (links::disk(disk), disk.project.as_str());
        match &disk.place {
            Place::Zone(zone) => {
                let write = Write { method: "compute.disks.createSnapshot", resource: &path, body: &body };
                let request = || self.compute.disks.create_snapshot().set_project(project).set_zone(zone.as_str());
                let request = || request().set_disk(disk.name.as_str()).set_body(body.clone());
                self.write(write, |id| request().set_request_id(id).send()).await
            }
            Place::Region(region) => {
                let write = Write { method: "compute.regionDisks.createSnapshot", resource: &path, body: &body };
                let request = || self.compute.region_disks.create_snapshot().set_project(project).set_region(region.as_str());
                let request = || request().set_disk(disk.name.as_str()).set_body(body.clone());
                self.write(write, |id| request().set_request_id(id).send()).await
            }
        }
    }

    /// Everything that later steps change, as a release needs it.
    pub async fn prior_state(&self, instance: &InstanceRef, group: Option<&GroupRef>) -> Result<Found, Problem> {
        let found = self.bound(instance).await?;
        let tags = found.tags.clone().unwrap_or_default().items;
        let access_configs = self.access_configs(instance, &found).await?;
        let disk = |disk: &AttachedDisk| DiskPrior {
            device: disk.device_name.clone().unwrap_or_default(),
            source: disk.source.clone().unwrap_or_default(),
            boot: disk.boot.unwrap_or_default(),
            auto_delete: disk.auto_delete.unwrap_or_default(),
        };
        let disks: Vec<DiskPrior> = found.disks.iter().map(disk).collect();
        let group = match group {
            Some(group) => self.group_size(group).await?.map(|target_size| GroupPrior { group: group.clone(), target_size }),
            None => None,
        };
        let summary = format!(
            "read tags ({}), external addresses ({}) and disks ({}) of {}",
            tags.len(),
            access_configs.len(),
            disks.len(),
            instance.name
        );
        let prior = InstancePrior {
            instance: instance.clone(),
            tags: tags.into_iter().collect(),
            access_configs,
            deletion_protection: found.deletion_protection.unwrap_or_default(),
            disks,
            group,
        };
        Ok(Found::InPlace(Receipt { summary, prior: Some(Prior::Instance(Box::new(prior))), ..Receipt::default() }))
    }
}
