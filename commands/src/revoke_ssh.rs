//! `revoke-ssh`: takes back what `allow-ssh` gave.

use crate::abandon;
use crate::action::ComputeAction;
use crate::allow_ssh::{self, Way};
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{ComputeFacts, Facts, NeighbourFacts};
use crate::guard;
use crate::plan::{Consequences, Draft, Edge, Form, StepId, Steps};
use crate::refusal::Refusal;
use crate::ssh_key::is_ours;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "revoke-ssh",
    phase: Phase::Contain,
    summary: "take back what allow-ssh gave: the rule, the tags, the key",
    details: "Removes the keys that Stanch added (or the one that is named), and no other, and an intermediate VM that Stanch made. The rule and the tags go with the last key. Sessions \
              that are open can survive until they end.",
    arguments: &[
        Argument::PodOrNode,
        Argument::OptionalKey,
        Argument::Via,
        Argument::Cluster,
        Argument::Incident,
        Argument::Reason,
        Argument::DryRun,
    ],
    examples: &["node gke-prod-pool-1-abcd"],
    does: Does::Mitigate(plan),
};

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let compute = guard::instance(facts)?;
    guard::suspect(facts, context)?;
    let mut consequences = Consequences {
        noticeable: vec!["who is root on the VM sees the key go".into()],
        residual_risk: vec!["sessions that are open can survive until they end; what was installed through them stays".into()],
        ..Consequences::default()
    };
    let mut steps = Steps::default();
    let saved = abandon::save_prior_state(&mut steps, compute);
    let revoked = |line: &str| match &context.arguments.key {
        Some(key) => key.is_on(line),
        None => is_ours(line),
    };
    add(&mut steps, compute, context, revoked, &[Edge::Requires(saved)], &mut consequences);
    let steps = steps.finish();
    match steps.len() {
        0 | 1 => Err(Refusal::AlreadySo(format!("nothing that `allow-ssh` gave is left on {}", compute.instance.name))),
        _ => Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps)),
    }
}

/// Adds the steps that take back the keys for which `revoked` says so, and the way in if no other key by Stanch is left; none if there is nothing
/// of it.
pub fn add(
    steps: &mut Steps,
    compute: &ComputeFacts,
    context: &Context,
    revoked: impl Fn(&str) -> bool,
    needs: &[Edge],
    consequences: &mut Consequences,
) {
    let (revoked, kept): (Vec<&String>, Vec<&String>) = compute.ssh.keys.iter().partition(|line| revoked(line));
    let kept = kept.into_iter().filter(|line| is_ours(line)).count();
    let mut on_target: Vec<StepId> = Vec::new();
    match kept {
        0 => on_target.extend(close(steps, compute, context, needs, consequences)),
        kept => consequences.decisions.push(format!("{kept} more keys by Stanch stay, and so do the rule and the tags")),
    }
    for line in revoked {
        // One after the other: operations on one instance may not overlap.
        let action = ComputeAction::RemoveSshKey { instance: compute.instance.clone(), line: line.clone() };
        let after = on_target.last().map(|previous| Edge::After(*previous));
        on_target.push(steps.add(action, needs.iter().copied().chain(after)));
    }
}

/// Adds what closes the way, the rule first. Returns the steps on the instance itself.
fn close(steps: &mut Steps, compute: &ComputeFacts, context: &Context, needs: &[Edge], consequences: &mut Consequences) -> Option<StepId> {
    let ways: Vec<Way> = compute.interfaces.iter().map(|interface| allow_ssh::way(context.form, &compute.instance, &interface.network)).collect();
    let way = ways.first()?;
    let instance = &compute.instance;
    let found = compute.firewall.iter().find(|rule| rule.name == way.rule.name && ways.iter().any(|way| way.rule.network == rule.network));
    let others = others(compute, way, context);
    let mut needs = needs.to_vec();
    match found {
        Some(_) if !others.is_empty() => {
            consequences.decisions.push(format!("rule {} stays: it also lets SSH in to {}", way.rule.name, others.join(", ")));
            return None;
        }
        Some(rule) if ways.iter().any(|way| way.rule == *rule) => {
            let remove = ComputeAction::RemoveFirewallRule { rule: rule.clone(), instance: instance.clone() };
            needs.push(Edge::After(steps.add(remove, needs.iter().copied())));
        }
        Some(rule) => consequences.decisions.push(format!("rule {} is not as Stanch made it and stays: look at it", rule.name)),
        None => {}
    }
    for via in compute.ssh.neighbours.iter().filter(|via| is_intermediate(via, way, context)) {
        let intermediate = via.instance.clone();
        let action = match &via.made_by {
            Some(request) if serves_nobody_else(via, way) => {
                consequences.blast_radius.push(format!("intermediate {} is deleted with its disk: Stanch made it", intermediate.name));
                ComputeAction::DeleteIntermediate { intermediate, request: request.clone() }
            }
            Some(_) | None => ComputeAction::UntagIntermediate { intermediate, tag: way.source.clone() },
        };
        steps.add(action, needs.iter().copied());
    }
    let opened = context.form == Form::Strict && compute.tags.contains(way.target.as_str());
    opened.then(|| steps.add(ComputeAction::UntagForSsh { instance: instance.clone(), tag: way.target.clone() }, needs.iter().copied()))
}

/// Other instances that the rule lets SSH in to: under the guide's form there is one rule for all.
fn others<'f>(compute: &'f ComputeFacts, way: &Way, context: &Context) -> Vec<&'f str> {
    let tagged = |neighbour: &&NeighbourFacts| context.form == Form::Guide && neighbour.tags.contains(way.target.as_str());
    compute.ssh.neighbours.iter().filter(tagged).map(|neighbour| neighbour.instance.name.as_str()).collect()
}

/// No other instance is reached from it.
fn serves_nobody_else(via: &NeighbourFacts, way: &Way) -> bool {
    !via.tags.iter().any(|tag| tag.starts_with(allow_ssh::SOURCE_PREFIX) && *tag != way.source.as_str())
}

/// The guide's tag may be somebody else's, so under its form only a named intermediate loses it.
fn is_intermediate(neighbour: &NeighbourFacts, way: &Way, context: &Context) -> bool {
    let named = context.arguments.via.as_ref() == Some(&neighbour.instance.name);
    neighbour.tags.contains(way.source.as_str()) && (named || neighbour.made_by.is_some() || context.form == Form::Strict)
}
