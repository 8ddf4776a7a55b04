//! What a plan needs to know about an instance.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use async_trait::async_trait;
use google_cloud_compute_v1::model::snapshot::Status as SnapshotStatus;
use google_cloud_compute_v1::model::{AttachedDisk, Instance, NetworkInterface, Snapshot, attached_disk, network_interface, scheduling};
use jiff::Timestamp;
use stanch_commands::action::AccessConfig;
use stanch_commands::facts::{
    ComputeFacts, DiskFacts, GroupState, InstanceAddresses, InterfaceFacts, NeighbourFacts, NoInstance, ReadySnapshot, SshFacts,
};
use stanch_commands::firewall::PREFIX;
use stanch_commands::firewall_rule::{Direction, FirewallRule};
use stanch_commands::target::{ComputeName, DiskRef, GroupRef, InstanceRef, NetworkRef, ProjectId};

use super::client::Compute;
use super::links::{self, Link};
use super::on_instance::addresses;
use super::on_network::precedes;
use super::on_ssh::keys;
use super::problem::Problem;
use super::rule;
use super::session::Session;
use crate::ports::{InstanceQuery, SurveyError, Surveyor};

/// Label that every snapshot and every intermediate of Stanch carries.
pub const REQUEST_LABEL: &str = "stanch-request";

/// Label with the incident that a snapshot belongs to.
const INCIDENT_LABEL: &str = "stanch-incident";

/// Priorities of the quarantine's denies, as the command `firewall` sets them.
const DENIES: [(Direction, u16); 2] = [(Direction::Ingress, 1), (Direction::Egress, 0)];

#[async_trait]
impl Surveyor<InstanceQuery, Result<ComputeFacts, NoInstance>> for Compute {
    async fn survey(&self, query: &InstanceQuery) -> Result<Result<ComputeFacts, NoInstance>, SurveyError> {
        Session::new(self, "").facts(query).await.map_err(Problem::survey)
    }
}

#[async_trait]
impl Surveyor<GroupRef, Option<GroupState>> for Compute {
    async fn survey(&self, group: &GroupRef) -> Result<Option<GroupState>, SurveyError> {
        Session::new(self, "").group_state(group).await.map_err(Problem::survey)
    }
}

#[async_trait]
impl Surveyor<InstanceRef, Option<InstanceAddresses>> for Compute {
    /// `None` if the instance is gone or is another one now.
    async fn survey(&self, instance: &InstanceRef) -> Result<Option<InstanceAddresses>, SurveyError> {
        match Session::new(self, "").bound(instance).await {
            Ok(found) => Ok(Some(instance_addresses(&found))),
            Err(Problem::Stale(_)) => Ok(None),
            Err(problem) => Err(problem.survey()),
        }
    }
}

impl Session<'_> {
    async fn facts(&self, query: &InstanceQuery) -> Result<Result<ComputeFacts, NoInstance>, Problem> {
        let Some((project, zone, name)) = links::provider_id(&query.provider_id) else {
            return Ok(Err(NoInstance::NotOnCompute { provider_id: query.provider_id.clone() }));
        };
        let found = match self.instance(&project, &zone, &name).await {
            Err(Problem::Missing(_)) => {
                return Ok(Err(NoInstance::NotFound { instance: format!("projects/{project}/zones/{zone}/instances/{name}") }));
            }
            result => result?,
        };
        let id = found.id.ok_or_else(|| Problem::Unreachable(format!("Compute answered with instance {name} without an id")))?;
        if let Some(expected) = query.expected_id.as_ref().filter(|expected| **expected != id.to_string()) {
            return Ok(Err(NoInstance::AnotherId { expected: expected.clone(), found: id.to_string() }));
        }
        let instance = InstanceRef { project, zone, name, id: id.into() };
        self.facts_of(instance, &found).await.map(Ok)
    }

    async fn facts_of(&self, instance: InstanceRef, found: &Instance) -> Result<ComputeFacts, Problem> {
        let access_configs = self.access_configs(&instance, found).await?;
        let interfaces: Vec<InterfaceFacts> =
            found.network_interfaces.iter().map(|interface| interface_facts(interface, &access_configs)).collect::<Result<_, _>>()?;
        let networks: BTreeSet<NetworkRef> = interfaces.iter().map(|interface| interface.network.clone()).collect();
        let all = self.instances(&instance.project).await?;
        let scheduling = found.scheduling.clone().unwrap_or_default();
        Ok(ComputeFacts {
            status: found.status.as_ref().and_then(|status| status.name()).unwrap_or("UNKNOWN").to_owned(),
            preemptible: scheduling.preemptible == Some(true) || scheduling.provisioning_model == Some(scheduling::ProvisioningModel::Spot),
            deletion_protection: found.deletion_protection.unwrap_or_default(),
            tags: found.tags.iter().flat_map(|tags| tags.items.clone()).collect(),
            disks: self.disk_facts(&instance, found).await?,
            group: self.group_of(&instance, found).await?,
            service_accounts: found
                .service_accounts
                .iter()
                .map(|account| (account.email.clone().unwrap_or_default(), account.scopes.clone()))
                .collect(),
            firewall: self.quarantine_rules(&networks).await?,
            tagged: tagged_among(&all, &networks)?,
            overriding: self.overriding(&instance, &interfaces).await?,
            ssh: self.ssh_facts(&instance, found, &all, &networks).await?,
            interfaces,
            instance,
        })
    }

    /// External addresses of every interface, and which of them are reserved.
    pub async fn access_configs(&self, instance: &InstanceRef, found: &Instance) -> Result<Vec<AccessConfig>, Problem> {
        let configs: Vec<AccessConfig> = found.network_interfaces.iter().flat_map(addresses).collect();
        if configs.is_empty() {
            return Ok(configs);
        }
        let reserved = self.addresses(&instance.project, &links::region(&instance.zone)).await?;
        // Parsed, because IPv6 has several spellings.
        let reserved: BTreeSet<IpAddr> = reserved.iter().filter_map(|address| address.address.as_deref()?.parse().ok()).collect();
        let is_reserved = |config: &AccessConfig| config.address.parse().is_ok_and(|address: IpAddr| reserved.contains(&address));
        Ok(configs.into_iter().map(|config| AccessConfig { reserved: is_reserved(&config), ..config }).collect())
    }

    async fn disk_facts(&self, instance: &InstanceRef, found: &Instance) -> Result<Vec<DiskFacts>, Problem> {
        let snapshots = self.snapshots(&instance.project).await?;
        let mut disks = Vec::new();
        for attached in &found.disks {
            let disk = self.persistent(attached).await?;
            disks.push(DiskFacts {
                device: attached.device_name.clone().unwrap_or_default(),
                boot: attached.boot.unwrap_or_default(),
                auto_delete: attached.auto_delete.unwrap_or_default(),
                recent_snapshot: disk.as_ref().and_then(|disk| recent(disk, &snapshots)),
                ready_snapshot: disk.as_ref().and_then(|disk| ready(disk, &snapshots)),
                disk,
            });
        }
        Ok(disks)
    }

    async fn persistent(&self, attached: &AttachedDisk) -> Result<Option<DiskRef>, Problem> {
        if attached.r#type == Some(attached_disk::Type::Scratch) {
            return Ok(None);
        }
        let source = attached.source.as_deref().unwrap_or_default();
        let strange = || Problem::Unreachable(format!("Compute names a disk as `{source}`"));
        let link = Link::parse(source).filter(|link| link.kind == "disks").ok_or_else(strange)?;
        let place = link.place().ok_or_else(strange)?;
        let id = self.disk(link.project, &place, link.name).await?.id.ok_or_else(strange)?;
        let (project, name) = (link.project.parse().map_err(|_| strange())?, link.name.parse().map_err(|_| strange())?);
        Ok(Some(DiskRef { project, place, name, id: id.into() }))
    }

    async fn quarantine_rules(&self, networks: &BTreeSet<NetworkRef>) -> Result<Vec<FirewallRule>, Problem> {
        let projects: BTreeSet<&ProjectId> = networks.iter().map(|network| &network.project).collect();
        let mut rules = Vec::new();
        for project in projects {
            for found in self.firewalls(project).await? {
                let found = rule::read(&found)?;
                let ours = found.name.as_str().starts_with(PREFIX) || found.target_tags.iter().any(|tag| tag.starts_with(PREFIX));
                // A rule of our name on another network of the project stands in the way as well: names are unique in the project.
                if ours {
                    rules.push(found);
                }
            }
        }
        rules.sort();
        Ok(rules)
    }

    /// Instances on these networks that carry a quarantine's tag.
    pub async fn quarantined(
        &self,
        project: &ProjectId,
        networks: &BTreeSet<NetworkRef>,
    ) -> Result<BTreeMap<String, Vec<InstanceRef>>, Problem> {
        tagged_among(&self.instances(project).await?, networks)
    }

    async fn ssh_facts(
        &self,
        instance: &InstanceRef,
        found: &Instance,
        all: &[Instance],
        networks: &BTreeSet<NetworkRef>,
    ) -> Result<SshFacts, Problem> {
        let mut neighbours: Vec<NeighbourFacts> = Vec::new();
        for other in all {
            if other.id.is_some_and(|id| instance.id != id.into()) {
                neighbours.extend(neighbour(other, networks)?);
            }
        }
        neighbours.sort_by(|a, b| a.instance.cmp(&b.instance));
        Ok(SshFacts { os_login: self.os_login(&instance.project, found).await?, keys: keys(found), neighbours })
    }

    async fn overriding(&self, instance: &InstanceRef, interfaces: &[InterfaceFacts]) -> Result<Vec<String>, Problem> {
        let mut phrases = BTreeSet::new();
        for interface in interfaces {
            let effective = self.effective(instance, &interface.name).await?;
            phrases.extend(self.overriding_policies(&interface.network, &effective).await?);
            for found in &effective.firewalls {
                let found = rule::read(found)?;
                if DENIES.iter().any(|(direction, priority)| precedes(&found, *direction, *priority)) {
                    phrases.insert(format!("firewall rule {}", found.summary()));
                }
            }
        }
        Ok(phrases.into_iter().collect())
    }
}

fn interface_facts(interface: &NetworkInterface, access_configs: &[AccessConfig]) -> Result<InterfaceFacts, Problem> {
    let name = interface.name.clone().unwrap_or_default();
    let strange = || Problem::Unreachable(format!("Compute names the network of {name} as {:?}", interface.network));
    let network = interface.network.as_deref().and_then(links::network).ok_or_else(strange)?;
    let ipv6 = matches!(interface.stack_type, Some(network_interface::StackType::Ipv4Ipv6 | network_interface::StackType::Ipv6Only));
    Ok(InterfaceFacts {
        network,
        subnetwork: interface.subnetwork.as_deref().map(links::path).unwrap_or_default().to_owned(),
        internal_ip: interface.network_ip.clone().unwrap_or_default(),
        dual_stack: ipv6 || !interface.ipv_6_access_configs.is_empty(),
        access_configs: access_configs.iter().filter(|config| config.interface == name).cloned().collect(),
        name,
    })
}

/// The instances on these networks that carry a quarantine's tag, by tag.
fn tagged_among(instances: &[Instance], networks: &BTreeSet<NetworkRef>) -> Result<BTreeMap<String, Vec<InstanceRef>>, Problem> {
    let mut tagged: BTreeMap<String, Vec<InstanceRef>> = BTreeMap::new();
    let on =
        |interface: &NetworkInterface| interface.network.as_deref().and_then(links::network).is_some_and(|net| networks.contains(&net));
    for found in instances {
        let tags: Vec<&String> = found.tags.iter().flat_map(|tags| &tags.items).filter(|tag| tag.starts_with(PREFIX)).collect();
        if tags.is_empty() || !found.network_interfaces.iter().any(on) {
            continue;
        }
        let strange = || Problem::Unreachable(format!("Compute listed an instance as `{:?}`", found.self_link));
        let instance = reference(found).ok_or_else(strange)?;
        tags.into_iter().for_each(|tag| tagged.entry(tag.clone()).or_default().push(instance.clone()));
    }
    tagged.values_mut().for_each(|instances| instances.sort());
    Ok(tagged)
}

/// An instance as a neighbour, if it is on one of the networks.
fn instance_addresses(found: &Instance) -> InstanceAddresses {
    let internal = |interface: &NetworkInterface| {
        let network = interface.network.as_deref().and_then(links::network)?;
        Some((network.to_string(), interface.network_ip.clone()?))
    };
    let external = found.network_interfaces.iter().flat_map(addresses).find(|config| !config.ipv6 && !config.address.is_empty());
    InstanceAddresses {
        status: found.status.as_ref().and_then(|status| status.name()).unwrap_or("UNKNOWN").to_owned(),
        internal: found.network_interfaces.iter().filter_map(internal).collect(),
        external: external.map(|config| config.address),
    }
}

fn neighbour(found: &Instance, networks: &BTreeSet<NetworkRef>) -> Result<Option<NeighbourFacts>, Problem> {
    let address = |interface: &NetworkInterface| {
        let network = interface.network.as_deref().and_then(links::network).filter(|network| networks.contains(network))?;
        Some((network.to_string(), interface.network_ip.clone().unwrap_or_default()))
    };
    let shared: BTreeMap<String, String> = found.network_interfaces.iter().filter_map(address).collect();
    if shared.is_empty() {
        return Ok(None);
    }
    let instance =
        reference(found).ok_or_else(|| Problem::Unreachable(format!("Compute listed an instance as `{:?}`", found.self_link)))?;
    let external = found.network_interfaces.iter().flat_map(addresses).find(|config| !config.ipv6 && !config.address.is_empty());
    Ok(Some(NeighbourFacts {
        instance,
        status: found.status.as_ref().and_then(|status| status.name()).unwrap_or("UNKNOWN").to_owned(),
        tags: found.tags.iter().flat_map(|tags| tags.items.clone()).collect(),
        networks: shared,
        external: external.map(|config| config.address),
        made_by: found.labels.get(REQUEST_LABEL).cloned(),
    }))
}

fn reference(found: &Instance) -> Option<InstanceRef> {
    let link = Link::parse(found.self_link.as_deref()?)?;
    let (_, zone) = link.scope?;
    Some(InstanceRef { project: link.project.parse().ok()?, zone: zone.parse().ok()?, name: link.name.parse().ok()?, id: found.id?.into() })
}

/// The newest snapshot of the disk that is of use, and its age in seconds.
fn recent(disk: &DiskRef, snapshots: &[Snapshot]) -> Option<(ComputeName, u64)> {
    let of_use = [SnapshotStatus::Creating, SnapshotStatus::Uploading, SnapshotStatus::Ready];
    newest(disk, snapshots, &of_use).map(|(name, age, _)| (name, age))
}

/// The newest snapshot of the disk that is complete.
fn ready(disk: &DiskRef, snapshots: &[Snapshot]) -> Option<ReadySnapshot> {
    let (name, age_s, snapshot) = newest(disk, snapshots, &[SnapshotStatus::Ready])?;
    Some(ReadySnapshot { name, age_s, incident: snapshot.labels.get(INCIDENT_LABEL).cloned().unwrap_or_default() })
}

/// The newest snapshot by Stanch of exactly this disk in one of these states, with its age in seconds.
fn newest<'s>(disk: &DiskRef, snapshots: &'s [Snapshot], states: &[SnapshotStatus]) -> Option<(ComputeName, u64, &'s Snapshot)> {
    let now = Timestamp::now();
    let of_disk = |snapshot: &&Snapshot| {
        snapshot.source_disk_id.as_deref() == Some(disk.id.to_string().as_str())
            && snapshot.labels.contains_key(REQUEST_LABEL)
            && snapshot.status.as_ref().is_some_and(|status| states.contains(status))
    };
    let dated = snapshots.iter().filter(of_disk).filter_map(|snapshot| {
        let created: Timestamp = snapshot.creation_timestamp.as_deref()?.parse().ok()?;
        let age = u64::try_from(now.duration_since(created).as_secs()).unwrap_or_default();
        Some((snapshot.name.as_deref()?.parse().ok()?, age, snapshot))
    });
    dated.min_by_key(|(_, age, _)| *age)
}
