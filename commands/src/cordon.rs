//! `cordon`: no more pods on the node.

use crate::action::KubernetesAction;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::Facts;
use crate::guard;
use crate::plan::{Consequences, Draft, Edge, Form, StepId, Steps};
use crate::refusal::Refusal;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "cordon",
    phase: Phase::Contain,
    summary: "keep new pods off the node",
    details: "Also tells the cluster autoscaler to keep the node (not under form = \"guide\"). Refused on Autopilot, where a cordoned node is recreated.",
    arguments: &[Argument::PodOrNode, Argument::Cluster, Argument::Incident, Argument::Reason, Argument::IncludeStanch, Argument::DryRun],
    examples: &["node gke-prod-pool-1-abcd", "pod shop/cart-7d4b9c6f5-x2x9q --dry-run"],
    does: Does::Mitigate(plan),
};

/// The steps that a plan takes from here.
#[derive(Clone, Copy, Debug)]
pub struct Cordon {
    /// The cordon itself.
    pub cordon: StepId,
    /// The note to the autoscaler.
    pub scale_down_disabled: Option<StepId>,
}

impl Cordon {
    /// Edges for what must come after both.
    pub fn required(self) -> impl Iterator<Item = Edge> {
        std::iter::once(self.cordon).chain(self.scale_down_disabled).map(Edge::Requires)
    }
}

/// Adds the cordon.
pub fn add(steps: &mut Steps, facts: &Facts, context: &Context, saved: StepId) -> Cordon {
    let node = &facts.kubernetes.node.node;
    let cordon = steps.add(KubernetesAction::Cordon(node.clone()), [Edge::Requires(saved)]);
    let scale_down_disabled = match context.form {
        // The autoscaler deletes an empty node, and its boot disk with it.
        Form::Strict => Some(steps.add(KubernetesAction::DisableScaleDown(node.clone()), [Edge::Requires(saved)])),
        Form::Guide => None,
    };
    Cordon { cordon, scale_down_disabled }
}

/// Adds the step that saves what Kubernetes steps will change.
pub fn save_prior_state(steps: &mut Steps, facts: &Facts) -> StepId {
    let node = facts.kubernetes.node.node.clone();
    steps.add(KubernetesAction::CapturePriorState { node, suspects: guard::suspects(facts.kubernetes.suspect.as_ref()) }, [])
}

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    guard::node(facts)?;
    let node = &facts.kubernetes.node;
    if node.unschedulable {
        return Err(Refusal::AlreadySo(format!("node {} is cordoned", node.node.name)));
    }
    let mut steps = Steps::default();
    let saved = save_prior_state(&mut steps, facts);
    add(&mut steps, facts, context, saved);
    let consequences = Consequences {
        blast_radius: vec![format!("no new pods on {}; running pods stay ({} other nodes are schedulable)", node.node.name, facts.kubernetes.other_schedulable_nodes)],
        noticeable: vec!["a process that can read the Kubernetes API sees the cordon".into()],
        residual_risk: vec!["a cordon isolates nothing: the suspect runs on and keeps its network".into()],
        ..Consequences::default()
    };
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}
