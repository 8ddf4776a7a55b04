//! `remove-external-ip`: takes the VM's external addresses away.

use crate::abandon;
use crate::action::ComputeAction;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{ComputeFacts, Facts};
use crate::guard;
use crate::plan::{Consequences, Draft, Edge, StepId, Steps};
use crate::refusal::Refusal;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "remove-external-ip",
    phase: Phase::Contain,
    summary: "remove every external address of the VM, IPv4 and IPv6",
    details: "Breaks connections from outside the VPC. An ephemeral address is lost for good. Where Cloud NAT serves the subnet the VM can then \
              reach out through it, unless egress is denied: run `firewall` first, or use `quarantine`.",
    arguments: &[Argument::PodOrNode, Argument::Cluster, Argument::Incident, Argument::Reason, Argument::IncludeStanch, Argument::DryRun],
    examples: &["node gke-prod-pool-1-abcd"],
    does: Does::Mitigate(plan),
};

/// Adds one step per address, one after the other: operations on one instance may not overlap.
pub fn add(steps: &mut Steps, compute: &ComputeFacts, needs: &[Edge]) -> Vec<StepId> {
    let mut added: Vec<StepId> = Vec::new();
    for access in compute.interfaces.iter().flat_map(|interface| &interface.access_configs) {
        let action = ComputeAction::RemoveExternalIp { instance: compute.instance.clone(), access: access.clone() };
        let previous = added.last().map(|previous| Edge::After(*previous));
        added.push(steps.add(action, needs.iter().copied().chain(previous)));
    }
    added
}

/// Says which addresses go, and which of them for good.
pub fn describe(compute: &ComputeFacts, consequences: &mut Consequences) {
    let mut none = true;
    for access in compute.interfaces.iter().flat_map(|interface| &interface.access_configs) {
        none = false;
        let fate = if access.reserved { "reserved: it can be given back" } else { "ephemeral: it is lost for good" };
        let address = if access.address.is_empty() { "an unassigned access config" } else { &access.address };
        consequences.blast_radius.push(format!("external address {address} is removed ({fate})"));
    }
    if none {
        consequences.decisions.push("private node: it has no external address to remove".into());
    }
}

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let compute = guard::settled_instance(facts)?;
    let mut steps = Steps::default();
    let saved = abandon::save_prior_state(&mut steps, compute);
    if add(&mut steps, compute, &[Edge::Requires(saved)]).is_empty() {
        return Err(Refusal::AlreadySo(format!("private node: instance {} has no external address", compute.instance.name)));
    }
    let mut consequences = Consequences {
        noticeable: vec!["connections from and to the internet break".into()],
        residual_risk: vec!["where Cloud NAT serves the subnet, the VM reaches the internet through it unless egress is denied".into()],
        ..Consequences::default()
    };
    describe(compute, &mut consequences);
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}
