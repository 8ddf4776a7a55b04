//! The way in over SSH: keys in the metadata, tags that let in, and whether all of it is in force.

use google_cloud_compute_v1::model::{Instance, Metadata, metadata::Items};
use stanch_commands::action::SshAccess;
use stanch_commands::firewall_rule::{Direction, FirewallRule, Verdict};
use stanch_commands::ssh_key::SshKey;
use stanch_commands::target::{ComputeName, InstanceRef, ProjectId, RequestId};

use super::on_instance::has_tag;
use super::problem::Problem;
use super::session::Session;
use super::steps::Found;
use super::write::Write;
use super::{links, rule};
use crate::core::step::Receipt;

/// The metadata entry with the keys of an instance: a line each, `USER:KEY`.
const KEYS: &str = "ssh-keys";
/// The metadata entry that switches OS Login on.
const OS_LOGIN: &str = "enable-oslogin";

impl Session<'_> {
    pub async fn key_is_there(&self, instance: &InstanceRef, key: &SshKey) -> Result<Found, Problem> {
        let found = self.bound(instance).await?;
        if switched(found.metadata.as_ref()) == Some(true) {
            return Err(Problem::Refused {
                message: format!("OS Login was switched on for {}: it ignores keys in the metadata", instance.name),
                hint: Some("make a new plan, which says what to do instead".into()),
            });
        }
        Ok(match keys(&found).iter().any(|line| key.is_on(line)) {
            true => Found::in_place(format!("SSH key {} is in the metadata of {}", key.short(), instance.name)),
            false => Found::not(format!("SSH key {} is not in the metadata of {}", key.short(), instance.name)),
        })
    }

    /// Adds a line to those that are there now, under the fingerprint of the metadata, so that nobody's other key or entry is lost.
    pub async fn add_key(&self, instance: &InstanceRef, key: &SshKey, request: &RequestId) -> Result<(), Problem> {
        let found = self.bound(instance).await?;
        let lines = keys(&found).into_iter().chain([key.line(request)]).collect();
        self.set_keys(instance, &found, lines).await
    }

    pub async fn key_is_gone(&self, instance: &InstanceRef, line: &str) -> Result<Found, Problem> {
        let found = self.bound(instance).await?;
        let user = line.split(':').next().unwrap_or_default();
        Ok(match keys(&found).iter().any(|found| found == line) {
            true => Found::not(format!("the SSH key of {user} is in the metadata of {}", instance.name)),
            false => Found::in_place(format!("the SSH key of {user} is removed from the metadata of {}", instance.name)),
        })
    }

    /// Removes exactly this line from those that are there now.
    pub async fn remove_key(&self, instance: &InstanceRef, line: &str) -> Result<(), Problem> {
        let found = self.bound(instance).await?;
        let lines = keys(&found).into_iter().filter(|found| found != line).collect();
        self.set_keys(instance, &found, lines).await
    }

    async fn set_keys(&self, instance: &InstanceRef, found: &Instance, lines: Vec<String>) -> Result<(), Problem> {
        let mut metadata: Metadata = found.metadata.clone().unwrap_or_default();
        let value = lines.join("\n");
        let here = metadata.items.iter_mut().find(|item| item.key.as_deref() == Some(KEYS));
        match here {
            _ if lines.is_empty() => metadata.items.retain(|item| item.key.as_deref() != Some(KEYS)),
            Some(item) => item.value = Some(value),
            None => metadata.items.push(Items::new().set_key(KEYS).set_value(value)),
        }
        let path = links::instance(instance);
        let write = Write { method: "compute.instances.setMetadata", resource: &path, body: &metadata };
        let request = || self.compute.instances.set_metadata().set_project(instance.project.as_str()).set_zone(instance.zone.as_str());
        let request = || request().set_instance(instance.name.as_str()).set_body(metadata.clone());
        self.write(write, |id| request().set_request_id(id).send()).await
    }

    pub async fn carries(&self, instance: &InstanceRef, tag: &ComputeName) -> Result<Found, Problem> {
        Ok(match has_tag(&self.bound(instance).await?, tag) {
            true => Found::in_place(format!("instance {} carries {tag}", instance.name)),
            false => Found::not(format!("instance {} does not carry {tag}", instance.name)),
        })
    }

    /// Everything that keeps the connection from coming about, as far as Compute knows it.
    pub async fn ssh(&self, access: &SshAccess) -> Result<Found, Problem> {
        let (target, via) = (self.bound(&access.instance).await?, self.bound(&access.intermediate).await?);
        let mut open = Vec::new();
        if !keys(&target).iter().any(|line| access.key.is_on(line)) {
            open.push(format!("the key is not in the metadata of {}", access.instance.name));
        }
        let missing = |tags: &std::collections::BTreeSet<String>, instance: &Instance| {
            let carried: Vec<&String> = instance.tags.iter().flat_map(|tags| &tags.items).collect();
            tags.iter().find(|tag| !carried.contains(tag)).cloned()
        };
        for (tags, instance) in [(&access.rule.target_tags, &target), (&access.rule.source_tags, &via)] {
            if let Some(tag) = missing(tags, instance) {
                open.push(format!("{} does not carry {tag}", instance.name.as_deref().unwrap_or_default()));
            }
        }
        if via.status != Some(google_cloud_compute_v1::model::instance::Status::Running) {
            open.push(format!("intermediate {} is not running", access.intermediate.name));
        }
        open.extend(self.closed_by(access).await?);
        let summary = format!("{} can log in to {} from {}", access.key.user(), access.instance.name, access.intermediate.name);
        Ok(match open.is_empty() {
            true => Found::InPlace(Receipt { summary, details: access.commands.clone(), ..Receipt::default() }),
            false => Found::Not(open),
        })
    }

    /// What of the effective firewall keeps SSH out: our rule is not in force, or a deny is asked before it.
    async fn closed_by(&self, access: &SshAccess) -> Result<Vec<String>, Problem> {
        let effective = self.effective(&access.instance, &access.interface).await?;
        let in_force: Vec<FirewallRule> = effective.firewalls.iter().map(rule::read).collect::<Result<_, _>>()?;
        let mut closed = Vec::new();
        if !in_force.contains(&access.rule) {
            closed.push(format!("{} is not in force on {}", access.rule.name, access.interface));
        }
        // At equal priority deny beats allow.
        let denies = |found: &&FirewallRule| {
            found.verdict == Verdict::Deny
                && found.direction == Direction::Ingress
                && !found.disabled
                && found.priority <= access.rule.priority
                && found.protocols.iter().any(|protocol| matches!(protocol.as_str(), "all" | "tcp" | "tcp:22"))
        };
        closed.extend(in_force.iter().filter(denies).map(|found| format!("{} is evaluated first", found.summary())));
        Ok(closed)
    }

    /// What switches OS Login on. The entry of the instance overrides that of its project.
    pub async fn os_login(&self, project: &ProjectId, found: &Instance) -> Result<Option<String>, Problem> {
        if let Some(on) = switched(found.metadata.as_ref()) {
            return Ok(on.then(|| "the instance".to_owned()));
        }
        let get = || self.compute.projects.get().set_project(project.as_str());
        let found = self.read("compute.projects.get", &format!("projects/{project}"), || get().send()).await?;
        let on = switched(found.common_instance_metadata.as_ref()) == Some(true);
        Ok(on.then(|| format!("project {project}")))
    }
}

/// The lines of `ssh-keys`.
pub fn keys(instance: &Instance) -> Vec<String> {
    let value = instance.metadata.as_ref().and_then(|metadata| entry(metadata, KEYS)).unwrap_or_default();
    value.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

fn switched(metadata: Option<&Metadata>) -> Option<bool> {
    entry(metadata?, OS_LOGIN).map(|value| matches!(value.trim().to_ascii_lowercase().as_str(), "true" | "1" | "y" | "yes"))
}

fn entry<'m>(metadata: &'m Metadata, key: &str) -> Option<&'m str> {
    metadata.items.iter().find(|item| item.key.as_deref() == Some(key))?.value.as_deref()
}
