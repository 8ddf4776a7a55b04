//! Firewall rules, as the API has them and as the core compares them.

use std::collections::BTreeSet;

use google_cloud_compute_v1::model::{Firewall, firewall};
use stanch_commands::firewall_rule::{Direction, FirewallRule, Verdict};

use super::links;
use super::problem::Problem;

/// What the API has if a rule does not say: Google's default.
const DEFAULT_PRIORITY: u16 = 1000;

/// The body of an insert.
pub fn body(rule: &FirewallRule) -> Firewall {
    let network = format!("projects/{}/global/networks/{}", rule.network.project, rule.network.name);
    let body = Firewall::new()
        .set_name(rule.name.as_str())
        .set_network(network)
        .set_priority(i32::from(rule.priority))
        .set_disabled(rule.disabled)
        .set_target_tags(rule.target_tags.iter())
        .set_source_tags(rule.source_tags.iter());
    let split = |protocol: &String| match protocol.split_once(':') {
        Some((protocol, ports)) => (protocol.to_owned(), ports.split(',').map(str::to_owned).collect()),
        None => (protocol.clone(), Vec::new()),
    };
    let protocols = rule.protocols.iter().map(split);
    let body = match rule.verdict {
        Verdict::Allow => body.set_allowed(protocols.map(|(name, ports)| firewall::Allowed::new().set_ip_protocol(name).set_ports(ports))),
        Verdict::Deny => body.set_denied(protocols.map(|(name, ports)| firewall::Denied::new().set_ip_protocol(name).set_ports(ports))),
    };
    match rule.direction {
        Direction::Ingress => body.set_direction(firewall::Direction::Ingress).set_source_ranges(rule.ranges.iter()),
        Direction::Egress => body.set_direction(firewall::Direction::Egress).set_destination_ranges(rule.ranges.iter()),
    }
}

/// The rule that the API shows, complete.
///
/// # Errors
/// If it has no name, or its network has none.
pub fn read(found: &Firewall) -> Result<FirewallRule, Problem> {
    let strange = || Problem::Unreachable(format!("Compute answered with a firewall rule without a name or network: {:?}", found.name));
    let name = found.name.as_deref().and_then(|name| name.parse().ok()).ok_or_else(strange)?;
    let network = found.network.as_deref().and_then(links::network).ok_or_else(strange)?;
    let direction = match &found.direction {
        Some(firewall::Direction::Egress) => Direction::Egress,
        _ => Direction::Ingress,
    };
    let (ranges, unexpected) = match direction {
        Direction::Ingress => (&found.source_ranges, &found.destination_ranges),
        Direction::Egress => (&found.destination_ranges, &found.source_ranges),
    };
    let entry = |name: &Option<String>, ports: &[String]| {
        let name = name.as_deref().unwrap_or("all").to_lowercase();
        if ports.is_empty() { name } else { format!("{name}:{}", ports.join(",")) }
    };
    let allowed: BTreeSet<String> = found.allowed.iter().map(|entry_| entry(&entry_.ip_protocol, &entry_.ports)).collect();
    let denied: BTreeSet<String> = found.denied.iter().map(|entry_| entry(&entry_.ip_protocol, &entry_.ports)).collect();
    let unusual = [
        ("targetServiceAccounts", &found.target_service_accounts),
        ("sourceServiceAccounts", &found.source_service_accounts),
        ("ranges of the other direction", unexpected),
    ];
    Ok(FirewallRule {
        network,
        name,
        direction,
        verdict: if denied.is_empty() { Verdict::Allow } else { Verdict::Deny },
        protocols: if denied.is_empty() { allowed } else { denied },
        ranges: ranges.iter().cloned().collect(),
        source_tags: found.source_tags.iter().cloned().collect(),
        target_tags: found.target_tags.iter().cloned().collect(),
        priority: found.priority.map_or(DEFAULT_PRIORITY, |priority| u16::try_from(priority).unwrap_or(u16::MAX)),
        disabled: found.disabled.unwrap_or_default(),
        unusual: unusual
            .iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(name, values)| format!("{name} {}", values.join(" ")))
            .collect(),
    })
}
