//! `quarantine`: the guide's whole "reduce access" sequence, and what it leaves out, as one plan.
//!
//! Whatever has no edge runs in parallel. Evidence, snapshots and the drain are `After` edges: they delay containment by their deadlines
//! at most, and never prevent it.

use crate::action::{ComputeAction, KubernetesAction};
use crate::cordon::Cordon;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{ComputeFacts, Facts, PodFacts};
use crate::firewall::Cut;
use crate::label::Rewriting;
use crate::plan::{Consequences, Draft, Edge, Form, StepId, Steps};
use crate::refusal::Refusal;
use crate::{abandon, cordon, drain, firewall, guard, label, remove_external_ip, snapshot};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "quarantine",
    phase: Phase::Contain,
    summary: "isolate the node of a compromised pod: evidence, snapshots, cordon, drain, abandon, firewall, external addresses",
    details: "Keeps the suspect running for forensics and moves everything else away. Snapshots and evidence start at once; the rest waits for \
              the approval. With --isolate-first the network is cut before the drain: use it when data is leaving right now.",
    arguments: &[
        Argument::PodOrNode,
        Argument::Cluster,
        Argument::Incident,
        Argument::Reason,
        Argument::IsolateFirst,
        Argument::IncludeStanch, Argument::DryRun,
    ],
    examples: &[
        "pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42 reason:\"crypto miner\"",
        "pod shop/cart-7d4b9c6f5-x2x9q --isolate-first",
        "node gke-prod-pool-1-abcd --dry-run",
    ],
    does: Does::Mitigate(plan),
};

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let compute = guard::settled_instance(facts)?;
    let suspect = guard::suspect(facts, context)?;
    let cut = firewall::cut(compute, context)?;
    // The log says what Stanch did, and somebody may have undone it since: only the survey says what is so.
    let was_isolated = context.isolated_instances.contains(&compute.instance.id);
    let missing = if was_isolated { missing(facts, compute) } else { vec![] };
    if was_isolated && missing.is_empty() {
        return Err(Refusal::AlreadySo(still_isolated(facts, compute)));
    }

    let suspect = suspect.map(|suspect| (suspect, rewriting(facts, suspect, context.form)));
    let mut consequences = describe(facts, compute, suspect.as_ref(), context);
    if !missing.is_empty() {
        let undone = format!("Stanch isolated this node, and somebody undid part of it: {}; what is still in place is left as it is", missing.join("; "));
        consequences.decisions.insert(0, undone);
    }
    let mut steps = Steps::default();
    let preserved = Preserved::add(&mut steps, facts, compute, context, &mut consequences.decisions);
    let cordon = cordon::add(&mut steps, facts, context, preserved.saved_node);
    let kept = keep_while_unreachable(&mut steps, suspect.as_ref().map(|(suspect, _)| *suspect), context, preserved.saved_node);
    let rules = firewall::add_rules(&mut steps, &cut, preserved.saved_instance);
    let settled = Settled::add(&mut steps, compute, context, preserved.saved_instance);
    let labelled = suspect.as_ref().map(|suspect| detach(&mut steps, suspect, context, &preserved, cordon));

    let before_tag: Vec<Edge> = rules
        .into_iter()
        .chain(settled.abandoned)
        .map(Edge::Requires)
        .chain(settled.serial.into_iter().chain(kept).chain(labelled).map(Edge::After))
        .collect();
    let before_drain: Vec<Edge> = cordon
        .required()
        .chain(labelled.map(Edge::After))
        .chain(preserved.kept().map(Edge::After))
        .collect();
    let network = Network { facts, compute, cut: &cut, context, evidence: [preserved.evidence, preserved.instance_evidence] };
    let last = match context.arguments.isolate_first {
        false => {
            let drained = drain::add(&mut steps, facts, context, before_drain);
            network.cut_off(&mut steps, preserved.saved_node, before_tag, Some(drained))
        }
        true => {
            let cut_off = network.cut_off(&mut steps, preserved.saved_node, before_tag, None);
            let drained = drain::add(&mut steps, facts, context, before_drain.into_iter().chain(cut_off.iter().map(|step| Edge::After(*step))));
            cut_off.into_iter().chain([drained]).collect()
        }
    };
    verify(&mut steps, facts, suspect.as_ref(), labelled.into_iter().chain(last.iter().copied()));
    firewall::add_verification(&mut steps, compute, &cut, true, last);
    Ok(Draft { isolates: true, ..guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()) })
}

/// What a quarantine leaves and the survey did not find: a phrase each.
fn missing(facts: &Facts, compute: &ComputeFacts) -> Vec<String> {
    let mut missing = firewall::missing(compute);
    let addresses = compute.interfaces.iter().flat_map(|interface| &interface.access_configs);
    missing.extend(addresses.map(|access| match access.address.as_str() {
        "" => format!("{} has an access config for an external address", access.interface),
        address => format!("{} has the external address {address}", access.interface),
    }));
    missing.extend(compute.group.iter().map(|group| format!("group {} lists the instance", group.group.name)));
    if !facts.kubernetes.node.unschedulable {
        missing.push(format!("node {} is schedulable", facts.kubernetes.node.node.name));
    }
    missing
}

/// What was found just now, and what is evaluated before it.
fn still_isolated(facts: &Facts, compute: &ComputeFacts) -> String {
    let node = &facts.kubernetes.node.node.name;
    let before: Vec<String> = compute.overriding.iter().map(|what| format!("; but this is evaluated before its rules: {what}")).collect();
    format!("Stanch isolated node {node}, and its tag, rules, addresses and group were read just now and are as it left them{}", before.concat())
}

/// What may start before the approval.
struct Preserved {
    saved_node: StepId,
    saved_instance: StepId,
    evidence: StepId,
    instance_evidence: StepId,
    snapshots: Vec<StepId>,
}

impl Preserved {
    fn add(steps: &mut Steps, facts: &Facts, compute: &ComputeFacts, context: &Context, notes: &mut Vec<String>) -> Self {
        let saved_node = cordon::save_prior_state(steps, facts);
        let saved_instance = abandon::save_prior_state(steps, compute);
        let node = facts.kubernetes.node.node.clone();
        let collect = KubernetesAction::CollectEvidence { node, suspects: guard::suspects(facts.kubernetes.suspect.as_ref()) };
        let evidence = steps.add_with_deadline(collect, [], context.limits.evidence_deadline_s);
        // The effective firewalls and the group as they are before Stanch changes them.
        let collect = ComputeAction::CollectEvidence { instance: compute.instance.clone() };
        let instance_evidence = steps.add_with_deadline(collect, [], context.limits.evidence_deadline_s);
        let snapshots = snapshot::add(steps, facts, compute, context, notes);
        Self { saved_node, saved_instance, evidence, instance_evidence, snapshots }
    }

    /// Evidence and snapshots: the drain detaches volumes, so it waits for both.
    fn kept(&self) -> impl Iterator<Item = StepId> {
        std::iter::once(self.evidence).chain(self.snapshots.iter().copied())
    }
}

/// The instance, made safe from its group and from deletion. One operation after the other: they may not overlap on one instance.
struct Settled {
    abandoned: Option<StepId>,
    serial: Vec<StepId>,
}

impl Settled {
    fn add(steps: &mut Steps, compute: &ComputeFacts, context: &Context, saved: StepId) -> Self {
        let abandoned = abandon::add(steps, compute, saved);
        let mut serial: Vec<StepId> = Vec::new();
        if context.form == Form::Strict {
            let base: Vec<Edge> = abandoned.into_iter().chain([saved]).map(Edge::Requires).collect();
            if !compute.deletion_protection {
                serial.push(steps.add(ComputeAction::ProtectFromDeletion(compute.instance.clone()), base.iter().copied()));
            }
            for boot in compute.disks.iter().filter(|disk| disk.boot && disk.auto_delete) {
                let action = ComputeAction::KeepBootDisk { instance: compute.instance.clone(), device: boot.device.clone() };
                let previous = serial.last().map(|previous| Edge::After(*previous));
                serial.push(steps.add(action, base.iter().copied().chain(previous)));
            }
        }
        Self { abandoned, serial }
    }
}

fn keep_while_unreachable(steps: &mut Steps, suspect: Option<&PodFacts>, context: &Context, saved: StepId) -> Option<StepId> {
    let suspect = suspect.filter(|suspect| suspect.deleted_when_unreachable && context.form == Form::Strict)?;
    Some(steps.add(KubernetesAction::KeepWhileUnreachable(suspect.pod.clone()), [Edge::Requires(saved)]))
}

/// The policy first, then the label that it selects, in one patch with the removal of the selector labels, after the cordon.
fn detach(steps: &mut Steps, (suspect, rewriting): &(&PodFacts, Rewriting), context: &Context, preserved: &Preserved, cordon: Cordon) -> StepId {
    let saved = [Edge::Requires(preserved.saved_node), Edge::After(preserved.evidence)];
    // A policy that binds nobody would only look like one.
    let denied = context.form == Form::Strict && !suspect.host_network;
    let policy = denied.then(|| steps.add(KubernetesAction::DenyPodTraffic(suspect.pod.clone()), saved));
    let needs = saved.into_iter().chain([Edge::Requires(cordon.cordon)]).chain(policy.map(Edge::Requires)).collect();
    label::add(steps, suspect, rewriting, needs)
}

/// What the suspect's labels become.
fn rewriting(facts: &Facts, suspect: &PodFacts, form: Form) -> Rewriting {
    match form {
        Form::Guide => Rewriting::only_labels(suspect, form),
        Form::Strict => label::rewriting(facts, suspect),
    }
}

struct Network<'p> {
    facts: &'p Facts,
    compute: &'p ComputeFacts,
    cut: &'p Cut,
    context: &'p Context,
    evidence: [StepId; 2],
}

impl Network<'_> {
    /// Load balancers, tag, external addresses; returns every step that was added.
    fn cut_off(&self, steps: &mut Steps, saved_node: StepId, before_tag: Vec<Edge>, drained: Option<StepId>) -> Vec<StepId> {
        let after_drain = drained.map(Edge::After);
        let excluded = match self.context.form {
            Form::Guide => None,
            Form::Strict => {
                let action = KubernetesAction::ExcludeFromLoadBalancers(self.facts.kubernetes.node.node.clone());
                Some(steps.add(action, [Edge::Requires(saved_node)].into_iter().chain(after_drain)))
            }
        };
        let needs = before_tag.into_iter().chain(self.evidence.map(Edge::After)).chain(excluded.map(Edge::After)).chain(after_drain);
        let tagged = firewall::add_tag(steps, self.compute, self.cut, needs);
        let removed = remove_external_ip::add(steps, self.compute, &[Edge::Requires(tagged)]);
        excluded.into_iter().chain([tagged]).chain(removed).chain(drained).collect()
    }
}

fn verify(steps: &mut Steps, facts: &Facts, suspect: Option<&(&PodFacts, Rewriting)>, after: impl Iterator<Item = StepId>) {
    let suspects = suspect.map(|(suspect, rewriting)| (suspect.pod.clone(), rewriting.set.clone())).into_iter().collect();
    steps.add(KubernetesAction::VerifyNode { node: facts.kubernetes.node.node.clone(), suspects }, after.map(Edge::After));
}

fn describe(facts: &Facts, compute: &ComputeFacts, suspect: Option<&(&PodFacts, Rewriting)>, context: &Context) -> Consequences {
    let mut consequences = Consequences::default();
    drain::describe(facts, context, &mut consequences);
    abandon::describe(compute, &mut consequences);
    remove_external_ip::describe(compute, &mut consequences);
    firewall::describe(compute, context.form, &mut consequences);
    if let Some(suspect) = suspect {
        describe_suspect(facts, suspect, context, &mut consequences);
    }
    if compute.preemptible {
        consequences.residual_risk.push("Spot VM: Google may stop it at any time, and its memory is lost then".into());
    }
    if context.arguments.isolate_first {
        consequences.decisions.push("--isolate-first: the network is cut before the drain; evicted pods may stay Terminating, none is deleted by force".into());
    }
    consequences.decisions.push(match context.form {
        Form::Strict => "form strict: all protocols, IPv4 and IPv6, tag and rules of this incident alone".into(),
        Form::Guide => "form guide: Google's guide to the letter, TCP over IPv4 only, one tag for every quarantine".into(),
    });
    consequences
}

fn describe_suspect(facts: &Facts, (suspect, rewriting): &(&PodFacts, Rewriting), context: &Context, consequences: &mut Consequences) {
    if suspect.host_network {
        consequences.residual_risk.push(format!("{} uses the host network: no NetworkPolicy binds it", suspect.pod));
    }
    if context.form == Form::Guide {
        consequences.residual_risk.push("form = \"guide\": the suspect keeps its Services, its owner and pod-to-pod traffic on its node".into());
        return;
    }
    label::describe(facts, suspect, rewriting, true, consequences);
    consequences.residual_risk.extend(rewriting.allowing().map(|why| format!("{}: {why}", suspect.pod)));
}
