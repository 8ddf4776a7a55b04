//! What a scenario makes happen: other people, Google, and bad luck.

use std::sync::MutexGuard;

use serde_json::{Value, json};

use super::failure::Failure;
use super::operations::OperationFailure;
use super::state::{Behaviour, Member, State, Then, field, items, items_mut, put, remove, text, texts};
use super::{ComputeEmulator, ComputeEmulatorError, links, routes, seed};

impl From<Failure> for ComputeEmulatorError {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure.message)
    }
}

impl State {
    /// The path of the one resource of this kind and name.
    fn named(&self, kind: &'static str, name: &str) -> Result<String, ComputeEmulatorError> {
        let found = self.all(kind).find(|(path, _)| links::name(path) == name);
        found.map(|(path, _)| path.to_owned()).ok_or_else(|| ComputeEmulatorError::NotThere { kind, name: name.to_owned() })
    }

    fn member_mut(&mut self, instance: &str) -> Result<&mut Member, ComputeEmulatorError> {
        let path = self.named("instances", instance)?;
        let member = self.members.values_mut().flatten().find(|member| member.instance == path);
        member.ok_or_else(|| ComputeEmulatorError::NotThere { kind: "managedInstances", name: instance.to_owned() })
    }
}

/// Speed and luck.
impl ComputeEmulator {
    /// How many looks (`get` or `wait`) it takes until an operation is done, for operations that begin after this. 1 is the default; with 0
    /// an operation is done when it is accepted.
    pub fn set_operation_looks(&self, looks: usize) {
        self.behaviour(|behaviour| behaviour.operation_looks = looks);
    }

    /// The same for one method by its own name, such as `setTags`.
    pub fn set_operation_looks_of(&self, method: &str, looks: usize) {
        self.behaviour(|behaviour| {
            behaviour.operation_looks_of.insert(method.to_owned(), looks);
        });
    }

    /// The next operation of this method (such as `setTags`) is accepted and then fails, without effect.
    pub fn fail_next_operation(&self, method: &str, failure: OperationFailure) {
        self.behaviour(|behaviour| behaviour.failing.push((method.to_owned(), failure)));
    }

    /// Failures of [`ComputeEmulator::fail_next_operation`] that nobody ran into, by method.
    #[must_use]
    pub fn pending_operation_failures(&self) -> Vec<String> {
        self.state().behaviour.failing.iter().map(|(method, _)| method.clone()).collect()
    }

    /// How many looks at a snapshot still find it CREATING after its operation is done. 1 is the default.
    pub fn set_snapshot_looks(&self, looks: usize) {
        self.behaviour(|behaviour| behaviour.snapshot_looks = looks);
    }

    /// How many `listManagedInstances` still show a member that was abandoned or deleted after that operation is done. 2 is the default.
    pub fn set_member_looks(&self, looks: usize) {
        self.behaviour(|behaviour| behaviour.member_looks = looks);
    }

    /// Everything that was accepted is done.
    pub fn settle(&self) {
        self.state().settle();
    }

    /// Answers carry links under `https://www.googleapis.com`, as Google's do, and not under the emulator's own address.
    pub fn answer_with_google_links(&self) {
        self.state().link_base = links::CANONICAL.into();
    }

    fn behaviour(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state().behaviour);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.api.state()
    }
}

/// Instances.
impl ComputeEmulator {
    /// Replaces an instance by one of the same name with another id, as a repair does. Returns the new id.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn recreate_instance(&self, name: &str) -> Result<String, ComputeEmulatorError> {
        let mut state = self.state();
        let path = state.named("instances", name)?;
        Ok(routes::recreate(&mut state, &path)?)
    }

    /// An instance is gone, protected or not. Its group does not make it anew.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn delete_instance(&self, name: &str) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let path = state.named("instances", name)?;
        state.remove_instance(&path);
        Ok(())
    }

    /// Somebody else adds a network tag, so that a fingerprint that was read before is stale.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn touch_tags(&self, name: &str, tag: &str) -> Result<(), ComputeEmulatorError> {
        self.instance(name, |instance| {
            let mut tags: Vec<String> = texts(field(instance, "tags"), "items").map(str::to_owned).collect();
            if !tags.iter().any(|old| old == tag) {
                tags.push(tag.to_owned());
            }
            routes::set_tags(instance, &tags);
        })
    }

    /// Somebody takes a tag off the instance by hand.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn untag(&self, name: &str, tag: &str) -> Result<(), ComputeEmulatorError> {
        self.instance(name, |instance| {
            let left: Vec<String> = texts(field(instance, "tags"), "items").filter(|old| *old != tag).map(str::to_owned).collect();
            routes::set_tags(instance, &left);
        })
    }

    /// Somebody sets a metadata entry, such as a false `created-by`.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn set_metadata(&self, name: &str, key: &str, value: &str) -> Result<(), ComputeEmulatorError> {
        self.instance(name, |instance| {
            let mut entries = items(field(instance, "metadata"), "items").to_vec();
            entries.retain(|entry| text(entry, "key") != key);
            entries.push(json!({ "key": key, "value": value }));
            put(instance, "metadata", routes::metadata(&entries));
        })
    }

    /// Somebody sets a metadata entry of the project, such as `enable-oslogin`.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn set_project_metadata(&self, project: &str, key: &str, value: &str) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let project = state.get_mut(&format!("projects/{project}"))?;
        let mut entries = items(field(project, "commonInstanceMetadata"), "items").to_vec();
        entries.retain(|entry| text(entry, "key") != key);
        entries.push(json!({ "key": key, "value": value }));
        put(project, "commonInstanceMetadata", routes::metadata(&entries));
        Ok(())
    }

    /// An instance carries this label.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn label_instance(&self, name: &str, label: &str, value: &str) -> Result<(), ComputeEmulatorError> {
        self.instance(name, |instance| {
            let mut labels = instance.get("labels").cloned().unwrap_or_else(|| json!({}));
            put(&mut labels, label, json!(value));
            put(instance, "labels", labels);
        })
    }

    /// An instance is in this state, such as `TERMINATED`.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn set_instance_status(&self, name: &str, status: &str) -> Result<(), ComputeEmulatorError> {
        self.instance(name, |instance| put(instance, "status", json!(status)))
    }

    /// An instance gets a second interface, `nic1`, on another network of its project, with an external address if one is given.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn add_interface(&self, name: &str, network: &str, external: Option<&str>) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let path = state.named("instances", name)?;
        let project = format!("projects/{}", links::project(&path));
        let zone = path.split('/').nth(3).unwrap_or_default();
        let region = zone.rsplit_once('-').map_or(zone, |(region, _)| region).to_owned();
        let network_path = format!("{project}/global/networks/{network}");
        if !state.resources.contains_key(&network_path) {
            seed::seed_network(&mut state, &project, network, &region);
        }
        let mut interface = json!({
            "kind": "compute#networkInterface", "name": "nic1", "networkIP": "10.132.0.11", "stackType": "IPV4_ONLY",
            "network": links::link(&network_path),
            "subnetwork": links::link(&format!("{project}/regions/{region}/subnetworks/{network}")),
        });
        if let Some(address) = external {
            let config = json!({
                "kind": "compute#accessConfig", "type": "ONE_TO_ONE_NAT", "name": "External NAT", "natIP": address, "networkTier": "PREMIUM",
            });
            put(&mut interface, "accessConfigs", json!([config]));
        }
        routes::renew(&mut interface);
        let instance = state.get_mut(&path)?;
        items_mut(instance, "networkInterfaces").into_iter().for_each(|list| list.push(interface.clone()));
        Ok(())
    }

    fn instance(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let path = state.named("instances", name)?;
        change(state.get_mut(&path)?);
        Ok(())
    }
}

/// Groups.
impl ComputeEmulator {
    /// An instance is in no group any more, at once and confirmed.
    ///
    /// # Errors
    /// If it is in none, or there is no such instance.
    pub fn abandon(&self, instance: &str) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let path = state.member_mut(instance)?.instance.clone();
        let group = state.membership(&path).map(|(group, _)| group.to_owned()).unwrap_or_default();
        state.members.values_mut().for_each(|members| members.retain(|member| member.instance != path));
        let size = state.members.get(&group).map_or(0, Vec::len);
        put(state.get_mut(&group)?, "targetSize", json!(size));
        Ok(())
    }

    /// The group of an instance does this to it (`currentAction`, such as `RECREATING`, or `NONE`) until the next call.
    ///
    /// # Errors
    /// If it is in no group, or there is no such instance.
    pub fn set_managed_action(&self, instance: &str, action: &str) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let member = state.member_mut(instance)?;
        *member = Member { instance: member.instance.clone(), action: action.to_owned(), looks: None, then: Then::Stays };
        Ok(())
    }

    /// An autoscaler decides about the size of a group.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn autoscale(&self, group: &str) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let path = state.named("instanceGroupManagers", group)?;
        let autoscaler = path.replace("/instanceGroupManagers/", "/autoscalers/");
        state.autoscalers.insert(path, autoscaler);
        Ok(())
    }

    /// A group becomes a regional one of the same name and members.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn make_group_regional(&self, name: &str) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let old = state.named("instanceGroupManagers", name)?;
        let new = regional(&old)?;
        let mut group = state.resources.remove(&old).unwrap_or_default();
        let zone = remove(&mut group, "zone").unwrap_or_default();
        put(&mut group, "region", json!(links::link(links::parent(links::parent(&new)))));
        put(&mut group, "selfLink", json!(links::link(&new)));
        let instance_group = new.replace("/instanceGroupManagers/", "/instanceGroups/");
        put(&mut group, "instanceGroup", json!(links::link(&instance_group)));
        if let Some(policy) = group.get_mut("updatePolicy") {
            put(policy, "instanceRedistributionType", json!("NONE"));
        }
        put(&mut group, "distributionPolicy", json!({ "zones": [{ "zone": zone }], "targetShape": "EVEN" }));
        state.resources.insert(new.clone(), group);
        let (members, template) = (state.members.remove(&old), state.templates.remove(&old));
        state.members.insert(new.clone(), members.unwrap_or_default());
        state.templates.insert(new, template.unwrap_or_default());
        let created_by = |instance: &mut Value| {
            let entries = instance.get_mut("metadata").and_then(|metadata| items_mut(metadata, "items")).into_iter().flatten();
            for entry in entries.filter(|entry| text(entry, "key") == "created-by" && text(entry, "value").ends_with(&format!("/{name}"))) {
                let value = regional(text(entry, "value")).unwrap_or_default();
                put(entry, "value", json!(value));
            }
        };
        state.resources.iter_mut().filter(|(path, _)| path.contains("/instances/")).for_each(|(_, instance)| created_by(instance));
        Ok(())
    }
}

/// Disks, networks and firewalls.
impl ComputeEmulator {
    /// A disk becomes a regional one of the same name.
    ///
    /// # Errors
    /// If there is no such disk.
    pub fn make_disk_regional(&self, name: &str) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let old = state.named("disks", name)?;
        let new = regional(&old)?;
        let mut disk = state.resources.remove(&old).unwrap_or_default();
        let zone = remove(&mut disk, "zone").unwrap_or_default();
        put(&mut disk, "region", json!(links::link(links::parent(links::parent(&new)))));
        put(&mut disk, "selfLink", json!(links::link(&new)));
        put(&mut disk, "replicaZones", json!([zone]));
        state.resources.insert(new.clone(), disk);
        for (_, instance) in state.resources.iter_mut().filter(|(path, _)| path.contains("/instances/")) {
            let attached = items_mut(instance, "disks").into_iter().flatten();
            attached.filter(|disk| links::path(text(disk, "source")) == old).for_each(|disk| put(disk, "source", json!(links::link(&new))));
        }
        Ok(())
    }

    /// Every snapshot of a disk is gone.
    ///
    /// # Errors
    /// If the disk has none.
    pub fn delete_snapshots(&self, disk: &str) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let of_disk = |(_, snapshot): &(&str, &Value)| links::name(text(snapshot, "sourceDisk")) == disk;
        let paths: Vec<String> = state.all("snapshots").filter(of_disk).map(|(path, _)| path.to_owned()).collect();
        if paths.is_empty() {
            return Err(ComputeEmulatorError::NotThere { kind: "snapshots", name: disk.to_owned() });
        }
        paths.iter().for_each(|path| drop(state.resources.remove(path)));
        Ok(())
    }

    /// The network of every interface moves to another project, as with Shared VPC, with its firewall rules.
    pub fn share_vpc_from(&self, host_project: &str) {
        let mut state = self.state();
        let host = format!("projects/{host_project}");
        seed::seed_project(&mut state, host_project, HOST_PROJECT_NUMBER);
        let moved = |path: &str| path.contains("/networks/") || path.contains("/subnetworks/") || path.contains("/firewalls/");
        let old: Vec<String> = state.resources.keys().filter(|path| moved(path) && !path.starts_with(&host)).cloned().collect();
        let regions: Vec<String> = state.all("regions").map(|(path, _)| links::name(path).to_owned()).collect();
        for region in regions {
            state.create("region", &format!("{host}/regions/{region}"), json!({ "status": "UP", "description": region }));
        }
        let new: Vec<String> = old.iter().map(|path| path.replacen(&format!("projects/{}", links::project(path)), &host, 1)).collect();
        for (old, new) in old.iter().zip(&new) {
            if let Some(resource) = state.resources.remove(old) {
                state.resources.insert(new.clone(), resource);
            }
        }
        let renamed: Vec<(String, String)> = old.iter().zip(&new).map(|(old, new)| (links::link(old), links::link(new))).collect();
        state.resources.values_mut().for_each(|resource| replace_links(resource, &renamed));
        state.templates.values_mut().for_each(|template| replace_links(template, &renamed));
    }

    /// Puts a firewall rule in place that somebody else wrote, in the project of its network. The body is that of an insert.
    ///
    /// # Errors
    /// If the API would refuse it.
    pub fn insert_firewall(&self, body: &Value) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let network = state.linked("network", text(body, "network"), "")?;
        let project = links::project(&network).to_owned();
        let path = format!("projects/{project}/global/firewalls/{}", text(body, "name"));
        if state.get(&path).is_ok() {
            return Err(Failure::already_exists(&path).into());
        }
        let rule = routes::complete_rule(&state, &project, body)?;
        state.create("firewall", &path, rule);
        Ok(())
    }

    /// Takes a firewall rule away.
    ///
    /// # Errors
    /// If there is no such rule.
    pub fn delete_firewall(&self, name: &str) -> Result<(), ComputeEmulatorError> {
        let mut state = self.state();
        let path = state.named("firewalls", name)?;
        state.resources.remove(&path);
        Ok(())
    }

    /// What `getEffectiveFirewalls` of every instance shows as `firewallPolicys`.
    pub fn set_effective_policies(&self, policies: Vec<Value>) {
        self.state().policies = policies;
    }
}

/// Number of a Shared VPC's host project.
const HOST_PROJECT_NUMBER: &str = "998877665544";

/// The path of a zonal resource, were it regional.
fn regional(path: &str) -> Result<String, ComputeEmulatorError> {
    let zone = path.split('/').nth(3).unwrap_or_default();
    match zone.rsplit_once('-') {
        Some((region, _)) if path.contains("/zones/") => Ok(path.replacen(&format!("zones/{zone}"), &format!("regions/{region}"), 1)),
        Some(_) | None => Err(ComputeEmulatorError::Refused(format!("`{path}` is not zonal"))),
    }
}

fn replace_links(value: &mut Value, renamed: &[(String, String)]) {
    match value {
        Value::String(text) => {
            if let Some((_, new)) = renamed.iter().find(|(old, _)| old == text) {
                text.clone_from(new);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_links(item, renamed)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace_links(field, renamed)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
