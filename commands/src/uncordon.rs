//! `uncordon`: the node takes pods again.

use crate::action::KubernetesAction;
use crate::cordon::save_prior_state;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::Facts;
use crate::guard;
use crate::plan::{Consequences, Draft, Edge, Steps};
use crate::refusal::Refusal;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "uncordon",
    phase: Phase::Recover,
    summary: "let the node take pods again",
    details: "Refused while Stanch keeps the node isolated: pods scheduled there would have no network.",
    arguments: &[Argument::Node, Argument::Cluster, Argument::Incident, Argument::Reason, Argument::DryRun],
    examples: &["node gke-prod-pool-1-abcd"],
    does: Does::Mitigate(plan),
};

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let node = &facts.kubernetes.node;
    if context.isolated_nodes.contains(&node.node.name) {
        return Err(Refusal::Isolated(node.node.name.to_string()));
    }
    if !node.unschedulable {
        return Err(Refusal::AlreadySo(format!("node {} is schedulable", node.node.name)));
    }
    let mut steps = Steps::default();
    let saved = save_prior_state(&mut steps, facts);
    steps.add(KubernetesAction::Uncordon(node.node.clone()), [Edge::Requires(saved)]);
    let consequences = Consequences {
        blast_radius: vec![format!("pods can be scheduled onto {}", node.node.name)],
        residual_risk: vec!["Stanch did not check that the node is clean".into()],
        ..Consequences::default()
    };
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}
