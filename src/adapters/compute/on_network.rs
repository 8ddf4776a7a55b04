//! Firewall rules: making them, and whether they are in force.

use std::collections::BTreeSet;

use google_cloud_compute_v1::model::instances_get_effective_firewalls_response_effective_firewall_policy::Type;
use google_cloud_compute_v1::model::{Instance, InstancesGetEffectiveFirewallsResponse, network};
use stanch_commands::firewall_rule::{Direction, FirewallRule, Verdict};
use stanch_commands::target::{ComputeName, GroupRef, InstanceRef, NetworkRef};

use super::on_instance::{addresses, has_tag};
use super::problem::Problem;
use super::session::Session;
use super::steps::Found;
use super::write::Write;
use super::{links, rule};

impl Session<'_> {
    pub async fn rule(&self, wanted: &FirewallRule) -> Result<Found, Problem> {
        let Some(found) = self.firewall(&wanted.network.project, &wanted.name).await? else {
            return Ok(Found::not(format!("there is no rule {}", wanted.name)));
        };
        let differences = wanted.differences(&rule::read(&found)?);
        match differences.is_empty() {
            true => Ok(Found::in_place(format!("firewall rule {}", wanted.summary()))),
            false => Err(Problem::Refused {
                message: format!("a rule {} exists and is another one: {}", wanted.name, differences.join("; ")),
                hint: Some("rename or delete that rule, or choose another incident".into()),
            }),
        }
    }

    pub async fn insert_rule(&self, wanted: &FirewallRule) -> Result<(), Problem> {
        let body = rule::body(wanted);
        let path = links::global(&wanted.network.project, "firewalls", &wanted.name);
        let write = Write { method: "compute.firewalls.insert", resource: &path, body: &body };
        let request = || self.compute.firewalls.insert().set_project(wanted.network.project.as_str()).set_body(body.clone());
        self.write(write, |id| request().set_request_id(id).send()).await
    }

    /// Whether the rule is gone. One with another body is somebody else's, and one whose tag is in use still isolates: neither is deleted.
    pub async fn no_rule(&self, unwanted: &FirewallRule) -> Result<Found, Problem> {
        let Some(found) = self.firewall(&unwanted.network.project, &unwanted.name).await? else {
            return Ok(Found::in_place(format!("firewall rule {} is gone", unwanted.name)));
        };
        let differences = unwanted.differences(&rule::read(&found)?);
        match differences.is_empty() {
            true => Ok(Found::not(format!("firewall rule {} is there", unwanted.name))),
            false => Err(Problem::Refused {
                message: format!("rule {} is not as Stanch made it: {}", unwanted.name, differences.join("; ")),
                hint: Some("somebody changed it: delete it by hand if nothing needs it".into()),
            }),
        }
    }

    pub async fn delete_rule(&self, instance: &InstanceRef, unwanted: &FirewallRule) -> Result<(), Problem> {
        let networks = BTreeSet::from([unwanted.network.clone()]);
        let tagged = self.quarantined(&instance.project, &networks).await?;
        // A rule that lets the instance itself be reached protects nobody; a deny of it does, as long as it carries the tag.
        let needs = |user: &&InstanceRef| unwanted.verdict == Verdict::Deny || **user != *instance;
        let users = unwanted.target_tags.iter().filter_map(|tag| tagged.get(tag)).flatten().filter(needs);
        let users: Vec<String> = users.map(|user| user.name.to_string()).collect();
        if !users.is_empty() {
            return Err(Problem::Refused {
                message: format!("rule {} is still for {}", unwanted.name, users.join(", ")),
                hint: Some("release those nodes too; the last release deletes the rule".into()),
            });
        }
        let path = links::global(&unwanted.network.project, "firewalls", &unwanted.name);
        let write = Write { method: "compute.firewalls.delete", resource: &path, body: &() };
        let request = || self.compute.firewalls.delete().set_project(unwanted.network.project.as_str());
        let request = || request().set_firewall(unwanted.name.as_str());
        self.write(write, |id| request().set_request_id(id).send()).await
    }

    /// Everything that is still open.
    pub async fn isolation(
        &self,
        instance: &InstanceRef,
        (tag, rules): (&ComputeName, &[FirewallRule]),
        group: Option<&GroupRef>,
        addresses_gone: bool,
    ) -> Result<Found, Problem> {
        let found = self.bound(instance).await?;
        let mut open = Vec::new();
        if !has_tag(&found, tag) {
            open.push(format!("instance {} does not carry {tag}", instance.name));
        }
        for wanted in rules {
            match self.rule(wanted).await {
                Ok(Found::InPlace(_)) => {}
                Ok(Found::Not(what)) => open.extend(what),
                Ok(Found::UnderWay(what)) | Err(Problem::Refused { message: what, .. }) => open.push(what),
                Err(problem) => return Err(problem),
            }
        }
        open.extend(self.open_interfaces(instance, &found, rules).await?);
        let external = found.network_interfaces.iter().flat_map(addresses).filter(|_| addresses_gone);
        open.extend(external.map(|access| format!("{} has the external address {} ({})", access.interface, access.address, access.name)));
        if let Some(group) = group {
            match self.membership(instance, group).await {
                Ok(Found::InPlace(_)) => {}
                Ok(Found::Not(what)) => open.extend(what),
                Ok(Found::UnderWay(what)) | Err(Problem::Refused { message: what, .. }) => open.push(what),
                Err(problem) => return Err(problem),
            }
        }
        Ok(match open.is_empty() {
            true => Found::in_place(format!(
                "instance {} is cut off: {tag}, {} rules in force{}",
                instance.name,
                rules.len(),
                if addresses_gone { ", no external address" } else { "" }
            )),
            false => Found::Not(open),
        })
    }

    /// What the effective firewall of each interface leaves open.
    pub async fn open_interfaces(&self, instance: &InstanceRef, found: &Instance, rules: &[FirewallRule]) -> Result<Vec<String>, Problem> {
        let mut open = Vec::new();
        for interface in &found.network_interfaces {
            let name = interface.name.clone().unwrap_or_default();
            let Some(network) = interface.network.as_deref().and_then(links::network) else {
                open.push(format!("{name}: its network is not known"));
                continue;
            };
            let wanted: Vec<&FirewallRule> = rules.iter().filter(|rule| rule.network == network).collect();
            if wanted.is_empty() {
                open.push(format!("{name}: no rule for network {}", network.name));
                continue;
            }
            let effective = self.effective(instance, &name).await?;
            let in_force: Vec<FirewallRule> = effective.firewalls.iter().map(rule::read).collect::<Result<_, _>>()?;
            let missing =
                wanted.iter().filter(|rule| !in_force.iter().any(|found| rule.name == found.name && rule.differences(found).is_empty()));
            open.extend(missing.map(|rule| format!("{name}: {} is not in force", rule.name)));
            let weaker = |found: &FirewallRule| wanted.iter().any(|rule| precedes(found, rule.direction, rule.priority));
            let before = in_force.iter().filter(|found| weaker(found) && !wanted.contains(found));
            open.extend(before.map(|found| format!("{name}: {} is evaluated first", found.summary())));
            open.extend(self.overriding_policies(&network, &effective).await?.into_iter().map(|what| format!("{name}: {what}")));
        }
        Ok(open)
    }

    /// Rules of firewall policies that are evaluated before VPC rules and let something through.
    pub async fn overriding_policies(
        &self,
        network: &NetworkRef,
        effective: &InstancesGetEffectiveFirewallsResponse,
    ) -> Result<Vec<String>, Problem> {
        let mut found = Vec::new();
        let mut network_policies_first = None;
        for policy in &effective.firewall_policys {
            let rules = policy.rules.iter().filter(|rule| rule.disabled != Some(true));
            let passing: Vec<_> = rules.filter(|rule| !matches!(rule.action.as_deref(), Some("deny" | "goto_next"))).collect();
            if passing.is_empty() {
                continue;
            }
            let of_network = matches!(policy.r#type, Some(Type::Network | Type::NetworkRegional));
            if of_network && network_policies_first.is_none() {
                network_policies_first = Some(self.network_policies_first(network).await?);
            }
            if of_network && network_policies_first == Some(false) {
                continue;
            }
            let name = policy.short_name.as_ref().or(policy.name.as_ref()).cloned().unwrap_or_default();
            let phrase = |rule: &google_cloud_compute_v1::model::FirewallPolicyRule| {
                let direction = rule.direction.as_ref().and_then(|direction| direction.name()).unwrap_or("any direction").to_lowercase();
                let action = rule.action.as_deref().unwrap_or("an unknown action");
                format!("firewall policy {name}: {action} {direction}, priority {}", rule.priority.unwrap_or_default())
            };
            found.extend(passing.into_iter().map(phrase));
        }
        Ok(found)
    }

    async fn network_policies_first(&self, network: &NetworkRef) -> Result<bool, Problem> {
        let get = || self.compute.networks.get().set_project(network.project.as_str()).set_network(network.name.as_str());
        let path = links::global(&network.project, "networks", &network.name);
        let found = self.read("compute.networks.get", &path, || get().send()).await?;
        Ok(matches!(
            found.network_firewall_policy_enforcement_order,
            Some(network::NetworkFirewallPolicyEnforcementOrder::BeforeClassicFirewall)
        ))
    }
}

/// Whether a rule lets traffic through before a deny of this direction and priority is asked. At equal priority deny wins.
pub fn precedes(found: &FirewallRule, direction: Direction, priority: u16) -> bool {
    found.verdict == Verdict::Allow && !found.disabled && found.direction == direction && found.priority < priority
}
