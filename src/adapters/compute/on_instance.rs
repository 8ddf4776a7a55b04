//! Steps on the instance itself: protection, boot disk, tag, external addresses.

use google_cloud_compute_v1::model::{AttachedDisk, Instance, NetworkInterface, Tags};
use serde_json::json;
use stanch_commands::action::AccessConfig;
use stanch_commands::firewall_rule::FirewallRule;
use stanch_commands::target::{ComputeName, InstanceRef};

use super::links;
use super::problem::Problem;
use super::session::Session;
use super::steps::Found;
use super::write::Write;

impl Session<'_> {
    pub async fn protection(&self, instance: &InstanceRef) -> Result<Found, Problem> {
        Ok(match self.bound(instance).await?.deletion_protection {
            Some(true) => Found::in_place(format!("instance {} is protected from deletion", instance.name)),
            Some(false) | None => Found::not("deletion protection is off"),
        })
    }

    pub async fn deletion_allowed(&self, instance: &InstanceRef) -> Result<Found, Problem> {
        Ok(match self.bound(instance).await?.deletion_protection {
            Some(true) => Found::not("deletion protection is on"),
            Some(false) | None => Found::in_place(format!("instance {} may be deleted", instance.name)),
        })
    }

    pub async fn protect(&self, instance: &InstanceRef, on: bool) -> Result<(), Problem> {
        let path = links::instance(instance);
        let write =
            Write { method: "compute.instances.setDeletionProtection", resource: &path, body: &json!({ "deletionProtection": on }) };
        let request = || self.compute.instances.set_deletion_protection().set_project(instance.project.as_str());
        let request = || request().set_zone(instance.zone.as_str()).set_resource(instance.name.as_str()).set_deletion_protection(on);
        self.write(write, |id| request().set_request_id(id).send()).await
    }

    pub async fn boot_disk(&self, instance: &InstanceRef, device: &str) -> Result<Found, Problem> {
        Ok(match self.boot_disk_goes(instance, device).await? {
            false => Found::in_place(format!("boot disk {device} outlives the instance")),
            true => Found::not(format!("boot disk {device} is deleted with the instance")),
        })
    }

    pub async fn released_disk(&self, instance: &InstanceRef, device: &str) -> Result<Found, Problem> {
        Ok(match self.boot_disk_goes(instance, device).await? {
            true => Found::in_place(format!("boot disk {device} is deleted with the instance")),
            false => Found::not(format!("boot disk {device} outlives the instance")),
        })
    }

    /// Whether the boot disk is deleted with the instance.
    async fn boot_disk_goes(&self, instance: &InstanceRef, device: &str) -> Result<bool, Problem> {
        let found = self.bound(instance).await?;
        let matches = |disk: &&AttachedDisk| disk.device_name.as_deref() == Some(device);
        match found.disks.iter().find(matches) {
            None => Err(Problem::Stale(format!("instance {} has no device {device} any more", instance.name))),
            Some(disk) if disk.boot != Some(true) => Err(Problem::refused(format!("{device} is not the boot disk of {}", instance.name))),
            // What is not said is taken for the worse.
            Some(disk) => Ok(disk.auto_delete != Some(false)),
        }
    }

    pub async fn set_auto_delete(&self, instance: &InstanceRef, device: &str, auto_delete: bool) -> Result<(), Problem> {
        let path = links::instance(instance);
        let body = json!({ "deviceName": device, "autoDelete": auto_delete });
        let write = Write { method: "compute.instances.setDiskAutoDelete", resource: &path, body: &body };
        let request = || self.compute.instances.set_disk_auto_delete().set_project(instance.project.as_str());
        let request = || request().set_zone(instance.zone.as_str()).set_instance(instance.name.as_str());
        self.write(write, |id| request().set_device_name(device).set_auto_delete(auto_delete).set_request_id(id).send()).await
    }

    pub async fn tagged(&self, instance: &InstanceRef, tag: &ComputeName, rules: &[FirewallRule]) -> Result<Found, Problem> {
        let found = self.bound(instance).await?;
        if !has_tag(&found, tag) {
            return Ok(Found::not(format!("instance {} does not carry {tag}", instance.name)));
        }
        let open = self.open_interfaces(instance, &found, rules).await?;
        Ok(match open.is_empty() {
            true => Found::in_place(format!("instance {} carries {tag} and its {} rules are in force", instance.name, rules.len())),
            false => Found::Not(open),
        })
    }

    /// Adds the tag to those that are there now, under their fingerprint, so that a tag that somebody else adds meanwhile is not lost.
    pub async fn add_tag(&self, instance: &InstanceRef, tag: &ComputeName) -> Result<(), Problem> {
        let found = self.bound(instance).await?;
        if has_tag(&found, tag) {
            return Ok(());
        }
        let mut tags: Tags = found.tags.unwrap_or_default();
        tags.items.push(tag.to_string());
        self.set_tags(instance, &tags).await
    }

    pub async fn untagged(&self, instance: &InstanceRef, tag: &ComputeName) -> Result<Found, Problem> {
        Ok(match has_tag(&self.bound(instance).await?, tag) {
            true => Found::not(format!("instance {} carries {tag}", instance.name)),
            false => Found::in_place(format!("instance {} does not carry {tag}", instance.name)),
        })
    }

    /// Removes the tag from those that are there now, under their fingerprint.
    pub async fn remove_tag(&self, instance: &InstanceRef, tag: &ComputeName) -> Result<(), Problem> {
        let mut tags: Tags = self.bound(instance).await?.tags.unwrap_or_default();
        tags.items.retain(|item| item != tag.as_str());
        self.set_tags(instance, &tags).await
    }

    async fn set_tags(&self, instance: &InstanceRef, tags: &Tags) -> Result<(), Problem> {
        let path = links::instance(instance);
        let write = Write { method: "compute.instances.setTags", resource: &path, body: tags };
        let request = || self.compute.instances.set_tags().set_project(instance.project.as_str()).set_zone(instance.zone.as_str());
        let request = || request().set_instance(instance.name.as_str()).set_body(tags.clone());
        self.write(write, |id| request().set_request_id(id).send()).await
    }

    /// Whether the access config is gone.
    ///
    /// One of the same name with another address is somebody's newer decision, which nobody approved to undo: it is refused, not removed.
    /// An access config that had no address when the plan was made has none to compare: whatever it got since is what the plan bound.
    pub async fn access(&self, instance: &InstanceRef, access: &AccessConfig) -> Result<Found, Problem> {
        let found = self.bound(instance).await?;
        let interface = found.network_interfaces.iter().find(|interface| interface.name.as_deref() == Some(&access.interface));
        let current = interface.map(addresses).unwrap_or_default();
        let here = |config: &&AccessConfig| config.name == access.name && config.ipv6 == access.ipv6;
        let what = format!("external address {} of {} {}", access.address, instance.name, access.interface);
        match current.iter().find(here) {
            None => Ok(Found::in_place(format!("{what} is removed"))),
            Some(config) if access.address.is_empty() || config.address == access.address => Ok(Found::not(format!("{what} is there"))),
            Some(config) => Err(Problem::Refused {
                message: format!("{} of {} now is {}, the plan bound {}", access.name, access.interface, config.address, access.address),
                hint: Some("somebody gave the instance another address; make a new plan".into()),
            }),
        }
    }

    /// Whether the interface has its reserved address back. Another address there is somebody's newer decision: it is not touched.
    pub async fn restored_access(&self, instance: &InstanceRef, access: &AccessConfig) -> Result<Found, Problem> {
        let found = self.bound(instance).await?;
        let interface = found.network_interfaces.iter().find(|interface| interface.name.as_deref() == Some(&access.interface));
        let current = interface.map(addresses).unwrap_or_default();
        match current.iter().find(|config| config.ipv6 == access.ipv6) {
            Some(config) if config.address == access.address => {
                Ok(Found::in_place(format!("instance {} has external address {}", instance.name, access.address)))
            }
            None => Ok(Found::not(format!("{} {} has no external address", instance.name, access.interface))),
            Some(config) => Err(Problem::refused(format!("{} has another external address now: {}", access.interface, config.address))),
        }
    }

    pub async fn add_access(&self, instance: &InstanceRef, access: &AccessConfig) -> Result<(), Problem> {
        let path = links::instance(instance);
        let config = google_cloud_compute_v1::model::AccessConfig::new().set_name(access.name.as_str()).set_nat_ip(access.address.as_str());
        let body = json!({ "networkInterface": access.interface, "accessConfig": config });
        let write = Write { method: "compute.instances.addAccessConfig", resource: &path, body: &body };
        let request = || self.compute.instances.add_access_config().set_project(instance.project.as_str());
        let request = || request().set_zone(instance.zone.as_str()).set_instance(instance.name.as_str());
        let request = || request().set_network_interface(access.interface.as_str()).set_body(config.clone());
        self.write(write, |id| request().set_request_id(id).send()).await
    }

    pub async fn delete_access(&self, instance: &InstanceRef, access: &AccessConfig) -> Result<(), Problem> {
        let path = links::instance(instance);
        let body = json!({ "accessConfig": access.name, "networkInterface": access.interface });
        let write = Write { method: "compute.instances.deleteAccessConfig", resource: &path, body: &body };
        let request = || self.compute.instances.delete_access_config().set_project(instance.project.as_str());
        let request = || request().set_zone(instance.zone.as_str()).set_instance(instance.name.as_str());
        let request = || request().set_access_config(access.name.as_str()).set_network_interface(access.interface.as_str());
        self.write(write, |id| request().set_request_id(id).send()).await
    }
}

/// Whether the instance carries the tag.
pub fn has_tag(instance: &Instance, tag: &ComputeName) -> bool {
    instance.tags.iter().flat_map(|tags| &tags.items).any(|item| item == tag.as_str())
}

/// External addresses of an interface, both families; nothing is known about reservation yet.
pub fn addresses(interface: &NetworkInterface) -> Vec<AccessConfig> {
    let name = interface.name.clone().unwrap_or_default();
    let config = |config: &google_cloud_compute_v1::model::AccessConfig, ipv6: bool| AccessConfig {
        interface: name.clone(),
        name: config.name.clone().unwrap_or_default(),
        address: if ipv6 { config.external_ipv_6.clone() } else { config.nat_ip.clone() }.unwrap_or_default(),
        ipv6,
        reserved: false,
    };
    let four = interface.access_configs.iter().map(|found| config(found, false));
    four.chain(interface.ipv_6_access_configs.iter().map(|found| config(found, true))).collect()
}
