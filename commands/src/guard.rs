//! Guards that several planners share: each turns a dangerous fact into a refusal.

use crate::definition::Context;
use crate::facts::{ComputeFacts, Facts, NoInstance, PodFacts};
use crate::plan::{Consequences, Draft, Step};
use crate::refusal::Refusal;
use crate::target::PodRef;

/// The node may be cordoned, drained and labelled.
///
/// # Errors
/// [`Refusal::Autopilot`].
pub fn node(facts: &Facts) -> Result<(), Refusal> {
    match facts.kubernetes.node.autopilot {
        true => Err(Refusal::Autopilot),
        false => Ok(()),
    }
}

/// The node's instance, if it may be acted on: it is where the configuration says and the very one that the node names.
///
/// # Errors
/// [`Refusal::Autopilot`], [`Refusal::NoInstance`] or [`Refusal::WrongPlace`].
pub fn instance(facts: &Facts) -> Result<&ComputeFacts, Refusal> {
    node(facts)?;
    let compute = facts.compute.as_ref().map_err(|why| match why {
        NoInstance::Autopilot => Refusal::Autopilot,
        NoInstance::NotOnCompute { provider_id } => Refusal::NoInstance(format!("its spec.providerID is `{provider_id}`")),
        NoInstance::NotFound { instance } => Refusal::NoInstance(format!("`{instance}` does not exist")),
        NoInstance::AnotherId { expected, found } => {
            Refusal::NoInstance(format!("the node belongs to instance {expected}, but the instance of that name is {found}"))
        }
    })?;
    let (cluster, instance) = (&facts.cluster, &compute.instance);
    let (zone, location) = (instance.zone.as_str(), cluster.location.as_str());
    // A cluster's location is its zone, or the region of its zones.
    let inside = zone == location || zone.rsplit_once('-').is_some_and(|(region, _)| region == location);
    if instance.project != cluster.project || !inside {
        return Err(Refusal::WrongPlace {
            configured: format!("{}/{location}", cluster.project),
            found: format!("{}/{zone}", instance.project),
        });
    }
    Ok(compute)
}

/// The instance may be changed: additionally its group leaves it alone.
///
/// # Errors
/// As [`instance`], and [`Refusal::GroupBusy`].
pub fn settled_instance(facts: &Facts) -> Result<&ComputeFacts, Refusal> {
    let compute = instance(facts)?;
    match &compute.group {
        Some(group) if group.current_action != "NONE" => {
            Err(Refusal::GroupBusy { group: group.group.name.to_string(), action: group.current_action.clone() })
        }
        Some(_) | None => Ok(compute),
    }
}

/// The suspect, if the target was a pod: alive, and in no protected namespace.
///
/// # Errors
/// [`Refusal::Protected`] or [`Refusal::PodGone`].
pub fn suspect<'f>(facts: &'f Facts, context: &Context) -> Result<Option<&'f PodFacts>, Refusal> {
    let Some(suspect) = &facts.kubernetes.suspect else { return Ok(None) };
    if context.protected_namespaces.contains(suspect.pod.namespace.as_str()) {
        return Err(Refusal::Protected(suspect.pod.to_string()));
    }
    if suspect.terminating || suspect.phase == "Succeeded" || suspect.phase == "Failed" {
        return Err(Refusal::PodGone(suspect.pod.to_string()));
    }
    Ok(Some(suspect))
}

/// The suspects of a plan, as references.
#[must_use]
pub fn suspects(suspect: Option<&PodFacts>) -> Vec<PodRef> {
    suspect.map(|suspect| suspect.pod.clone()).into_iter().collect()
}

/// A draft of `command` on the surveyed target.
#[must_use]
pub fn draft(command: &str, facts: &Facts, context: &Context, consequences: Consequences, steps: Vec<Step>) -> Draft {
    Draft {
        command: command_line(command, facts, context),
        cluster: facts.cluster.name.clone(),
        node: facts.kubernetes.node.node.clone(),
        instance: facts.compute.as_ref().ok().map(|compute| compute.instance.clone()),
        suspects: suspects(facts.kubernetes.suspect.as_ref()),
        form: context.form,
        isolates: false,
        releases: false,
        consequences,
        steps,
    }
}

/// The command with everything that was left out filled in, so that the record shows what was meant.
fn command_line(command: &str, facts: &Facts, context: &Context) -> String {
    let target = match &facts.kubernetes.suspect {
        Some(suspect) => format!("pod {}", suspect.pod),
        None => format!("node {}", facts.kubernetes.node.node.name),
    };
    let mut line = format!("{command} {target} cluster:{} incident:{}", facts.cluster.name, context.incident);
    if let Some(container) = &context.arguments.container {
        line.push_str(&format!(" container:{container}"));
    }
    if let Some(via) = &context.arguments.via {
        line.push_str(&format!(" via:{via}"));
    }
    if let Some(key) = &context.arguments.key {
        line.push_str(&format!(" key:\"{key}\""));
    }
    if context.arguments.create_intermediate {
        line.push_str(" --create-intermediate");
    }
    if context.arguments.isolate_first {
        line.push_str(" --isolate-first");
    }
    if context.arguments.scale_to_zero {
        line.push_str(" --scale-to-zero");
    }
    if context.arguments.stop_now {
        line.push_str(" --stop-now");
    }
    if context.arguments.force {
        line.push_str(" --force");
    }
    if context.arguments.exec {
        line.push_str(" --exec");
    }
    if let Some(reason) = &context.arguments.reason {
        line.push_str(&format!(" reason:\"{reason}\""));
    }
    line
}
