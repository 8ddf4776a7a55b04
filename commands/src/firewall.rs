//! `firewall`: cuts the VM off by tag and deny rules.

use std::collections::{BTreeMap, BTreeSet};

use crate::abandon;
use crate::action::ComputeAction;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{ComputeFacts, Facts};
use crate::firewall_rule::{Direction, FirewallRule, Verdict};
use crate::guard;
use crate::plan::{Consequences, Draft, Edge, Form, StepId, Steps};
use crate::refusal::Refusal;
use crate::target::{ComputeName, IncidentRef, NetworkRef};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "firewall",
    phase: Phase::Contain,
    summary: "deny all traffic to and from the VM by firewall rules and a network tag",
    details: "Creates the deny rules on every network of the VM, then tags it and reads the effective firewall back. The instance stays in its group: \
              GKE may recreate the cut-off node after about 10 minutes, so `abandon` it first, or use `quarantine`.",
    arguments: &[Argument::PodOrNode, Argument::Cluster, Argument::Incident, Argument::Reason, Argument::IncludeStanch, Argument::DryRun],
    examples: &["node gke-prod-pool-1-abcd incident:inc-42"],
    does: Does::Mitigate(plan),
};

/// Tag and rules of one quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The tag.
    pub tag: ComputeName,
    /// The rules, for every network of the instance.
    pub rules: Vec<FirewallRule>,
}

/// The prefix of every tag and rule of a quarantine; under form = "guide" the tag itself.
pub const PREFIX: &str = "quarantine";

/// Tag and rules that cut the instance off, checked against what exists.
///
/// # Errors
/// [`Refusal::DifferentRule`], [`Refusal::TagInUse`] or [`Refusal::SeveralNetworks`].
pub fn cut(compute: &ComputeFacts, context: &Context) -> Result<Cut, Refusal> {
    let tag = tag(context.form, &context.incident);
    let networks = networks(compute);
    if context.form == Form::Guide && networks.len() > 1 {
        return Err(Refusal::SeveralNetworks(networks.keys().map(|network| network.name.to_string()).collect()));
    }
    let rules = all_rules(compute, &tag, context.form);
    for wanted in &rules {
        let found = compute.firewall.iter().find(|rule| rule.name == wanted.name && rule.network.project == wanted.network.project);
        match found.map(|found| wanted.differences(found)) {
            Some(differences) if !differences.is_empty() => {
                return Err(Refusal::DifferentRule { wanted: Box::new(wanted.clone()), differences });
            }
            Some(_) | None => {}
        }
    }
    let ours = |id| id == compute.instance.id || context.tagged_instances.contains(&id);
    let strangers: Vec<_> = compute.tagged.get(tag.as_str()).into_iter().flatten().filter(|instance| !ours(instance.id)).cloned().collect();
    match strangers.is_empty() {
        true => Ok(Cut { tag, rules }),
        false => Err(Refusal::TagInUse { tag: tag.to_string(), instances: strangers }),
    }
}

/// What is missing for the instance to be cut off, as it was surveyed: a phrase each. Empty: it carries a tag of a quarantine, and every rule that
/// belongs to the tag is as a quarantine makes it.
#[must_use]
pub fn missing(compute: &ComputeFacts) -> Vec<String> {
    let mut nearest: Option<Vec<String>> = None;
    for tag in compute.tags.iter().filter(|tag| tag.starts_with(PREFIX)).filter_map(|tag| tag.parse::<ComputeName>().ok()) {
        let form = if tag.as_str() == PREFIX { Form::Guide } else { Form::Strict };
        let in_force = |wanted: &FirewallRule| {
            compute.firewall.iter().any(|found| found.name == wanted.name && wanted.differences(found).is_empty())
        };
        let absent = all_rules(compute, &tag, form).into_iter().filter(|wanted| !in_force(wanted));
        let absent: Vec<String> = absent.map(|wanted| format!("firewall rule {} is not there as Stanch makes it", wanted.name)).collect();
        // The tag of another quarantine may be left over: one that cuts the instance off is enough.
        if nearest.as_ref().is_none_or(|known| absent.len() < known.len()) {
            nearest = Some(absent);
        }
    }
    nearest.unwrap_or_else(|| vec![format!("instance {} carries no tag of a quarantine", compute.instance.name)])
}

/// The instance's networks, and whether an interface on each has IPv6.
fn networks(compute: &ComputeFacts) -> BTreeMap<&NetworkRef, bool> {
    let mut networks: BTreeMap<&NetworkRef, bool> = BTreeMap::new();
    for interface in &compute.interfaces {
        *networks.entry(&interface.network).or_default() |= interface.dual_stack;
    }
    networks
}

/// The rules of a tag on every network of the instance.
fn all_rules(compute: &ComputeFacts, tag: &ComputeName, form: Form) -> Vec<FirewallRule> {
    let networks = networks(compute).into_iter().enumerate();
    networks.flat_map(|(position, (network, dual_stack))| rules(network, position, dual_stack, tag, form)).collect()
}

/// One tag per incident, so that two quarantines never share rules; under the guide's form the guide's single tag.
#[expect(clippy::expect_used, reason = "`quarantine-` and an incident of at most 32 admitted characters are a valid name")]
#[must_use]
pub fn tag(form: Form, incident: &IncidentRef) -> ComputeName {
    match form {
        Form::Guide => PREFIX.parse(),
        Form::Strict => format!("{PREFIX}-{incident}").parse(),
    }
    .expect("the prefix and an incident make a valid name")
}

#[expect(clippy::expect_used, reason = "the longest name has 62 characters, see the incident's rule in `target`")]
fn rules(network: &NetworkRef, position: usize, dual_stack: bool, tag: &ComputeName, form: Form) -> Vec<FirewallRule> {
    let network_suffix = if position == 0 { String::new() } else { format!("-n{position}") };
    let rule = |direction: Direction, ipv6: bool| {
        // The deny of ingress is one below the highest, so that an exception for SSH can stand above it; egress has no exception.
        let (word, priority) = match direction {
            Direction::Egress => ("egress", 0),
            Direction::Ingress => ("ingress", 1),
        };
        let (family_suffix, range) = if ipv6 { ("-v6", "::/0") } else { ("", "0.0.0.0/0") };
        let protocol = match form {
            Form::Strict => "all",
            Form::Guide => "tcp",
        };
        FirewallRule {
            network: network.clone(),
            name: format!("{tag}-{word}-deny{family_suffix}{network_suffix}").parse().expect("within the length of a name"),
            direction,
            verdict: Verdict::Deny,
            protocols: BTreeSet::from([protocol.to_owned()]),
            ranges: BTreeSet::from([range.to_owned()]),
            source_tags: BTreeSet::new(),
            target_tags: BTreeSet::from([tag.to_string()]),
            priority,
            disabled: false,
            unusual: BTreeSet::new(),
        }
    };
    let mut rules = vec![rule(Direction::Egress, false), rule(Direction::Ingress, false)];
    if dual_stack && form == Form::Strict {
        rules.extend([rule(Direction::Egress, true), rule(Direction::Ingress, true)]);
    }
    rules
}

/// Adds one step per rule.
pub fn add_rules(steps: &mut Steps, cut: &Cut, saved: StepId) -> Vec<StepId> {
    cut.rules.iter().map(|rule| steps.add(ComputeAction::EnsureFirewallRule(rule.clone()), [Edge::Requires(saved)])).collect()
}

/// Adds the tag.
pub fn add_tag(steps: &mut Steps, compute: &ComputeFacts, cut: &Cut, needs: impl IntoIterator<Item = Edge>) -> StepId {
    let action = ComputeAction::TagInstance { instance: compute.instance.clone(), tag: cut.tag.clone(), rules: cut.rules.clone() };
    steps.add(action, needs)
}

/// Adds the step that reads everything back.
pub fn add_verification(
    steps: &mut Steps,
    compute: &ComputeFacts,
    cut: &Cut,
    addresses_gone: bool,
    after: impl IntoIterator<Item = StepId>,
) -> StepId {
    let action = ComputeAction::VerifyIsolation {
        instance: compute.instance.clone(),
        tag: cut.tag.clone(),
        rules: cut.rules.clone(),
        group: compute.group.as_ref().map(|group| group.group.clone()),
        addresses_gone,
    };
    steps.add(action, after.into_iter().map(Edge::After))
}

/// Says what the rules leave open.
pub fn describe(compute: &ComputeFacts, form: Form, consequences: &mut Consequences) {
    let risks = &mut consequences.residual_risk;
    risks.push("established connections can survive the rules until they end".into());
    risks.push("the metadata server (169.254.169.254) with its DNS and NTP stays reachable: tokens of the VM's service account can still be minted".into());
    if form == Form::Guide {
        risks.push("form = \"guide\": UDP, ICMP and other protocols stay open".into());
        if compute.interfaces.iter().any(|interface| interface.dual_stack) {
            risks.push("form = \"guide\": IPv6 stays open".into());
        }
    }
    risks.extend(compute.overriding.iter().map(|what| format!("evaluated before these rules: {what}")));
    let identities: Vec<&str> = compute.service_accounts.keys().map(String::as_str).collect();
    if !identities.is_empty() {
        risks.push(format!("revoke or watch these identities: {}", identities.join(", ")));
    }
    consequences.noticeable.push("the suspect's new connections fail".into());
}

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let compute = guard::settled_instance(facts)?;
    let cut = cut(compute, context)?;
    if compute.tags.contains(cut.tag.as_str()) && cut.rules.iter().all(|rule| compute.firewall.contains(rule)) {
        return Err(Refusal::AlreadySo(format!("instance {} carries {} and its rules are in force", compute.instance.name, cut.tag)));
    }
    let mut steps = Steps::default();
    let saved = abandon::save_prior_state(&mut steps, compute);
    let rules = add_rules(&mut steps, &cut, saved);
    let tag = add_tag(&mut steps, compute, &cut, rules.into_iter().map(Edge::Requires));
    // The group is not asked to let go here, so its membership is not part of what is verified.
    let ungrouped = ComputeFacts { group: None, ..compute.clone() };
    add_verification(&mut steps, &ungrouped, &cut, false, [tag]);
    let mut consequences = Consequences {
        blast_radius: vec![format!("every pod on {} loses its network", facts.kubernetes.node.node.name)],
        ..Consequences::default()
    };
    if let Some(group) = &compute.group {
        consequences.blast_radius.push(format!("the instance stays in group {}, which may recreate the unreachable node", group.group.name));
    }
    describe(compute, context.form, &mut consequences);
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}
