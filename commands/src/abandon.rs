//! `abandon`: takes the instance out of its group, so that nothing repairs or recreates it.

use crate::action::ComputeAction;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{ComputeFacts, Facts};
use crate::guard;
use crate::plan::{Consequences, Draft, Edge, StepId, Steps};
use crate::refusal::Refusal;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "abandon",
    phase: Phase::Contain,
    summary: "take the VM out of its managed instance group, so that it is not repaired away",
    details: "Cannot be undone: no call puts an instance back. The group becomes one smaller; `resize-group` adds a fresh node later.",
    arguments: &[Argument::PodOrNode, Argument::Cluster, Argument::Incident, Argument::Reason, Argument::IncludeStanch, Argument::DryRun],
    examples: &["node gke-prod-pool-1-abcd incident:inc-42"],
    does: Does::Mitigate(plan),
};

/// Seconds for the operation and for the group to let go: 60 s more with connection draining.
const CONFIRMED_DEADLINE_S: u32 = 180;

/// Adds the step that saves what Compute steps will change.
pub fn save_prior_state(steps: &mut Steps, compute: &ComputeFacts) -> StepId {
    let group = compute.group.as_ref().map(|group| group.group.clone());
    steps.add(ComputeAction::CapturePriorState { instance: compute.instance.clone(), group }, [])
}

/// Adds the abandon, if the instance is in a group.
pub fn add(steps: &mut Steps, compute: &ComputeFacts, saved: StepId) -> Option<StepId> {
    let group = compute.group.as_ref()?;
    let action = ComputeAction::AbandonInstance { instance: compute.instance.clone(), group: group.group.clone() };
    Some(steps.add_with_deadline(action, [Edge::Requires(saved)], CONFIRMED_DEADLINE_S))
}

/// Says what the abandon does to the group.
pub fn describe(compute: &ComputeFacts, consequences: &mut Consequences) {
    match &compute.group {
        Some(group) => consequences.blast_radius.push(format!(
            "group {} shrinks from {} to {}; the instance cannot be put back",
            group.group.name,
            group.target_size,
            group.target_size.saturating_sub(1)
        )),
        None => consequences.decisions.push("the instance is in no group (abandoned already): nothing to abandon".into()),
    }
}

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let compute = guard::settled_instance(facts)?;
    let mut steps = Steps::default();
    let saved = save_prior_state(&mut steps, compute);
    if add(&mut steps, compute, saved).is_none() {
        return Err(Refusal::AlreadySo(format!("instance {} is in no group", compute.instance.name)));
    }
    let mut consequences = Consequences {
        noticeable: vec!["nothing inside the VM".into()],
        residual_risk: vec!["the node stays in the cluster and keeps its network".into()],
        ..Consequences::default()
    };
    describe(compute, &mut consequences);
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}
