//! Intermediate VMs that Stanch makes and deletes.

use google_cloud_compute_v1::model::{
    AttachedDisk, AttachedDiskInitializeParams, Instance, Metadata, NetworkInterface, Tags, instance::Status, metadata::Items,
};
use stanch_commands::action::NewIntermediate;
use stanch_commands::target::InstanceRef;

use super::on_ssh::{KEYS, OS_LOGIN};
use super::problem::Problem;
use super::read::present;
use super::session::Session;
use super::steps::Found;
use super::survey::REQUEST_LABEL;
use super::write::Write;

/// The smallest boot disk that Debian's image fits on.
const DISK_GB: i64 = 10;

impl Session<'_> {
    /// Whether the intermediate runs. One of that name that another request made, or nobody's, is not taken for it.
    pub async fn intermediate_runs(&self, new: &NewIntermediate) -> Result<Found, Problem> {
        let Some(found) = present(self.instance(&new.project, &new.zone, &new.name).await)? else {
            return Ok(Found::not(format!("there is no instance {}", new.name)));
        };
        if !is_ours(&found, new) {
            return Err(Problem::Refused {
                message: format!("instance {} is there and is another one: it does not carry the labels of this request", new.name),
                hint: Some("name another intermediate with `via:`, or delete that one by hand".into()),
            });
        }
        match &found.status {
            Some(Status::Running) => Ok(Found::in_place(format!("intermediate {} runs, without an external address", new.name))),
            Some(Status::Provisioning | Status::Staging) => Ok(Found::UnderWay(format!("intermediate {} is starting", new.name))),
            other => {
                let status = other.as_ref().and_then(Status::name).unwrap_or("of unknown status");
                Err(Problem::refused(format!("intermediate {} is {status}", new.name)))
            }
        }
    }

    /// The intermediate of the plan, or that it is gone.
    pub async fn made(&self, new: &NewIntermediate) -> Result<Instance, Problem> {
        match self.instance(&new.project, &new.zone, &new.name).await {
            Err(Problem::Missing(_)) => Err(Problem::Stale(format!("intermediate {} is gone", new.name))),
            Ok(found) if !is_ours(&found, new) => Err(Problem::Stale(format!("intermediate {} is another one now", new.name))),
            result => result,
        }
    }

    pub async fn create_intermediate(&self, new: &NewIntermediate) -> Result<(), Problem> {
        let (project, zone) = (new.project.as_str(), new.zone.as_str());
        let disk = AttachedDiskInitializeParams::new().set_source_image(new.image.as_str()).set_disk_size_gb(DISK_GB);
        let entry = |key: &str, value: String| Items::new().set_key(key).set_value(value);
        // OS Login would ignore the key; keys of the project would let others in.
        let entries =
            [entry(KEYS, new.key.line(&new.request)), entry(OS_LOGIN, "FALSE".into()), entry("block-project-ssh-keys", "TRUE".into())];
        let body = Instance::new()
            .set_name(new.name.as_str())
            .set_machine_type(format!("projects/{project}/zones/{zone}/machineTypes/{}", new.machine_type))
            .set_labels(new.labels.clone())
            .set_tags(Tags::new().set_items([new.tag.as_str()]))
            .set_metadata(Metadata::new().set_items(entries))
            // No access config: no external address. No service account: nothing to steal there.
            .set_network_interfaces([NetworkInterface::new().set_subnetwork(new.subnetwork.as_str())])
            .set_disks([AttachedDisk::new().set_boot(true).set_auto_delete(true).set_initialize_params(disk)]);
        let path = format!("projects/{project}/zones/{zone}/instances/{}", new.name);
        let write = Write { method: "compute.instances.insert", resource: &path, body: &body };
        let request = || self.compute.instances.insert().set_project(project).set_zone(zone).set_body(body.clone());
        self.write(write, |id| request().set_request_id(id).send()).await
    }

    /// Whether the intermediate is gone. One that does not carry the label of the request that made it is not Stanch's to delete.
    pub async fn intermediate_is_gone(&self, intermediate: &InstanceRef, request: &str) -> Result<Found, Problem> {
        let gone = || Found::in_place(format!("intermediate {} is deleted", intermediate.name));
        let Some(found) = present(self.instance(&intermediate.project, &intermediate.zone, &intermediate.name).await)? else {
            return Ok(gone());
        };
        match found.id {
            Some(id) if intermediate.id != id.into() => Ok(gone()),
            Some(_) | None if found.labels.get(REQUEST_LABEL).map(String::as_str) != Some(request) => {
                Err(Problem::refused(format!("instance {} does not carry the label {REQUEST_LABEL}={request}", intermediate.name)))
            }
            Some(_) | None => Ok(Found::not(format!("intermediate {} is there", intermediate.name))),
        }
    }
}

fn is_ours(found: &Instance, new: &NewIntermediate) -> bool {
    new.labels.iter().all(|(label, value)| found.labels.get(label) == Some(value))
}
