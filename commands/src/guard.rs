//! Guards that several planners share: each turns a dangerous fact into a refusal.

use crate::action::{Action, ActionClass, KubernetesAction};
use crate::definition::{Context, Definition, Phase, Planner};
use crate::facts::{ComputeFacts, Facts, NoInstance, PodFacts};
use crate::plan::{Consequences, Draft, Step};
use crate::refusal::Refusal;
use crate::target::{NodeName, PodRef, TargetName};

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

/// Plans a command, and asks what every plan on a node or pod is asked: whether Stanch itself would be hit, whether a pod of the system was
/// named on purpose, and what it means that the node does not answer.
///
/// # Errors
/// Those of the planner, [`Refusal::Unnamed`] and [`Refusal::Own`].
pub fn planned(definition: &Definition, planner: Planner, facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let mut draft = planner(facts, context)?;
    if draft.steps.iter().any(|step| step.action.class() == ActionClass::Mutate) {
        named_on_purpose(facts, context)?;
        // What gives something back hits nobody.
        if definition.phase != Phase::Recover {
            spare_stanch(facts, context, &mut draft)?;
        }
    }
    if !facts.kubernetes.node.ready {
        draft.consequences.decisions.extend(not_ready(&facts.kubernetes.node.node.name, &draft.steps));
    }
    Ok(draft)
}

/// A pod whose name happened to be unique is not a decision about the cluster's own parts.
fn named_on_purpose(facts: &Facts, context: &Context) -> Result<(), Refusal> {
    let Some(suspect) = &facts.kubernetes.suspect else { return Ok(()) };
    let namespace = suspect.pod.namespace.as_str();
    let of_system = ["kube-", "gke-", "gmp-"].iter().any(|prefix| namespace.starts_with(prefix));
    match &context.arguments.target {
        Some(TargetName::Pod { namespace: None, .. }) if of_system => Err(Refusal::Unnamed(suspect.pod.to_string())),
        Some(TargetName::Pod { .. } | TargetName::Node(_)) | None => Ok(()),
    }
}

/// Whether this is the pod that Stanch runs in: a drain leaves it, since it must not evict itself in the middle of a run.
pub fn is_own(pod: &PodRef, context: &Context) -> bool {
    context.own.pod.as_ref().is_some_and(|(namespace, name)| pod.namespace == *namespace && pod.name == *name)
}

/// Where Stanch runs of what the plan hits, if it does.
fn own_place(facts: &Facts, context: &Context) -> Option<String> {
    let own = |pod: &PodRef| is_own(pod, context);
    let (suspect, node) = (&facts.kubernetes.suspect, &facts.kubernetes.node.node.name);
    match suspect {
        Some(suspect) if own(&suspect.pod) => Some(format!("in pod {}", suspect.pod)),
        Some(_) | None => {
            let hosted = facts.kubernetes.pods.iter().any(|pod| own(&pod.pod)) || context.own.node.as_ref() == Some(node);
            hosted.then(|| format!("on node {node}"))
        }
    }
}

/// What hits Stanch itself is said on purpose, and stands first.
fn spare_stanch(facts: &Facts, context: &Context, draft: &mut Draft) -> Result<(), Refusal> {
    let Some(place) = own_place(facts, context) else { return Ok(()) };
    if !context.arguments.include_stanch {
        return Err(Refusal::Own(place));
    }
    let warning =
        format!("WARNING: Stanch itself runs {place}: it may be cut off or end, and then nobody finishes, verifies or reports this run");
    draft.consequences.blast_radius.insert(0, warning);
    Ok(())
}

/// What a node that does not answer means for each kind of step. Compute needs no kubelet.
fn not_ready(node: &NodeName, steps: &[Step]) -> Vec<String> {
    let mut lines = vec![format!(
        "node {node} is not Ready: its kubelet does not answer, or not in time; steps on Compute and on objects work all the same"
    )];
    let has = |wanted: fn(&KubernetesAction) -> bool| {
        steps.iter().any(|step| matches!(&step.action, Action::Kubernetes(action) if wanted(action)))
    };
    for (is_there, line) in [
        (
            has(|action| matches!(action, KubernetesAction::CollectEvidence { .. })),
            "not Ready: logs are not to be had, objects and events are",
        ),
        (has(|action| matches!(action, KubernetesAction::RunProbes { .. })), "not Ready: no program can be started in a container"),
        (
            has(|action| matches!(action, KubernetesAction::DenyPodTraffic(_))),
            "not Ready: a new NetworkPolicy may take hold only when the node is back",
        ),
        (
            has(|action| matches!(action, KubernetesAction::Drain(_))),
            "not Ready: evicted pods stay Terminating until the node is back; Deployments replace them at once, StatefulSets and DaemonSets wait",
        ),
        (
            has(|action| {
                matches!(
                    action,
                    KubernetesAction::DeletePod { .. } | KubernetesAction::DeleteWorkload { .. } | KubernetesAction::ScaleToZero { .. }
                )
            }),
            "not Ready: the deletion is accepted, and containers run on until the node is back",
        ),
        (
            has(|action| matches!(action, KubernetesAction::KeepWhileUnreachable(_))),
            "not Ready: the suspect is deleted 300 s after the node was lost, unless its tolerations are rewritten before",
        ),
    ] {
        if is_there {
            lines.push(line.into());
        }
    }
    lines
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
    if context.arguments.include_stanch {
        line.push_str(" --include-stanch");
    }
    if context.arguments.exec {
        line.push_str(" --exec");
    }
    if let Some(reason) = &context.arguments.reason {
        line.push_str(&format!(" reason:\"{reason}\""));
    }
    line
}
