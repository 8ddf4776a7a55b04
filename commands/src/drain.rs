//! `drain`: moves everything but the suspect to other nodes.

use std::collections::BTreeMap;

use crate::action::{Drain, KubernetesAction, pods};
use crate::cordon;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{Facts, PodFacts};
use crate::guard;
use crate::plan::{Consequences, Draft, Edge, StepId, Steps};
use crate::refusal::Refusal;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "drain",
    phase: Phase::Contain,
    summary: "cordon the node and evict everything but the suspect",
    details: "Evictions honour PodDisruptionBudgets and stop at a deadline; nothing is deleted by force. DaemonSet pods, mirror pods and protected \
              namespaces stay. Given `node NAME`, there is no suspect and everything else goes.",
    arguments: &[Argument::PodOrNode, Argument::Cluster, Argument::Incident, Argument::Reason, Argument::IncludeStanch, Argument::DryRun],
    examples: &["pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42", "node gke-prod-pool-1-abcd --dry-run"],
    does: Does::Mitigate(plan),
};

/// The pods that a drain would evict now.
pub fn evicted<'f>(facts: &'f Facts, context: &Context) -> Vec<&'f PodFacts> {
    let suspect = facts.kubernetes.suspect.as_ref().map(|suspect| &suspect.pod.uid);
    let stays = |pod: &PodFacts| {
        Some(&pod.pod.uid) == suspect || pod.stays_on_drain() || guard::is_own(&pod.pod, context) || context.protected_namespaces.contains(pod.pod.namespace.as_str())
    };
    facts.kubernetes.pods.iter().filter(|pod| !stays(pod) && !pod.terminating).collect()
}

/// Adds the drain.
pub fn add(steps: &mut Steps, facts: &Facts, context: &Context, needs: impl IntoIterator<Item = Edge>) -> StepId {
    let expected: Vec<_> = evicted(facts, context).into_iter().map(|pod| pod.pod.clone()).collect();
    let at_most = u32::try_from(expected.len()).unwrap_or(u32::MAX).saturating_add(context.limits.drain_newcomers);
    let own = facts.kubernetes.pods.iter().filter(|pod| guard::is_own(&pod.pod, context));
    let drain = Drain {
        node: facts.kubernetes.node.node.clone(),
        spare: facts.kubernetes.suspect.iter().chain(own).map(|pod| pod.pod.uid.clone()).collect(),
        protected_namespaces: context.protected_namespaces.clone(),
        expected,
        at_most,
        deadline_s: context.limits.drain_deadline_s,
    };
    steps.add_with_deadline(KubernetesAction::Drain(drain), needs, context.limits.drain_deadline_s)
}

/// Says whom the drain hits, and what was decided about pods that kubectl would stop at.
pub fn describe(facts: &Facts, context: &Context, consequences: &mut Consequences) {
    let evicted = evicted(facts, context);
    let other_nodes = facts.kubernetes.other_schedulable_nodes;
    consequences.blast_radius.push(match evicted.len() {
        0 => "no pod is evicted".into(),
        count => format!("{} evicted; {other_nodes} other schedulable nodes can take replacements", pods(count)),
    });
    for pod in &evicted {
        if pod.owner.is_none() {
            consequences.blast_radius.push(format!("{} has no owner: it is gone after the drain, nothing replaces it", pod.pod));
        }
        if !pod.empty_dirs.is_empty() {
            consequences.blast_radius.push(format!("{} loses its emptyDir data ({})", pod.pod, pod.empty_dirs.join(", ")));
        }
    }
    describe_budgets(facts, &evicted, consequences);
    let mut staying: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for pod in &facts.kubernetes.pods {
        let why = match pod {
            pod if pod.mirror => "mirror pods, which the API cannot evict",
            pod if pod.stays_on_drain() => "DaemonSet pods, which would come back at once",
            pod if guard::is_own(&pod.pod, context) => "Stanch itself",
            pod if context.protected_namespaces.contains(pod.pod.namespace.as_str()) => "pods of protected namespaces",
            _ => continue,
        };
        staying.entry(why).or_default().push(pod.pod.to_string());
    }
    consequences.decisions.extend(staying.into_iter().map(|(why, pods)| format!("left on the node, {why}: {}", pods.join(", "))));
}

/// Per budget and not per pod: a dry-run eviction would admit every one of three pods under a budget of one.
fn describe_budgets(facts: &Facts, evicted: &[&PodFacts], consequences: &mut Consequences) {
    let mut budgets_of: BTreeMap<String, u32> = BTreeMap::new();
    for budget in &facts.kubernetes.budgets {
        let covered = budget.covers.iter().filter(|covered| evicted.iter().any(|pod| pod.pod == **covered));
        let mut count = 0_usize;
        for pod in covered {
            count += 1;
            *budgets_of.entry(pod.to_string()).or_default() += 1;
        }
        let allowed = usize::try_from(budget.disruptions_allowed).unwrap_or(usize::MAX);
        if count > allowed {
            let line = format!("budget {}/{} allows {allowed} of {}: the rest waits until replacements are ready", budget.namespace, budget.name, pods(count));
            consequences.blast_radius.push(line);
        }
    }
    for (pod, _) in budgets_of.iter().filter(|(_, budgets)| **budgets > 1) {
        consequences.blast_radius.push(format!("{pod} is under two budgets: Kubernetes refuses to evict it, it stays"));
    }
}

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    guard::node(facts)?;
    guard::suspect(facts, context)?;
    if facts.kubernetes.node.unschedulable && evicted(facts, context).is_empty() {
        return Err(Refusal::AlreadySo(format!("node {} is cordoned and drained", facts.kubernetes.node.node.name)));
    }
    let mut steps = Steps::default();
    let saved = cordon::save_prior_state(&mut steps, facts);
    let cordon = cordon::add(&mut steps, facts, context, saved);
    add(&mut steps, facts, context, cordon.required());
    let mut consequences = Consequences {
        noticeable: vec!["the suspect sees its neighbours leave".into()],
        residual_risk: vec!["a drain isolates nothing: the suspect runs on and keeps its network".into()],
        ..Consequences::default()
    };
    describe(facts, context, &mut consequences);
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}
