//! `redeploy`: the pod is deleted, and its owner starts a fresh one.

use crate::action::KubernetesAction;
use crate::cordon;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{Facts, PodFacts};
use crate::guard;
use crate::label::OWN_KEY;
use crate::plan::{Consequences, Draft, Edge, Form, StepId, Steps};
use crate::refusal::Refusal;
use crate::snapshot;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "redeploy",
    phase: Phase::Eradicate,
    summary: "delete the pod, so that its owner starts a fresh one",
    details: "The guide's `kubectl delete pods POD --grace-period=10`, bound to the pod's uid. Its manifest and logs are stored as evidence \
              first, and the snapshots of its node's disks are begun; missing ones stop the deletion. --stop-now waits for neither and needs a \
              reason, which the approvers agree to. A replacement runs the same image with the same weakness.",
    arguments: &[
        Argument::Pod,
        Argument::Cluster,
        Argument::Incident,
        Argument::Reason,
        Argument::StopNow,
        Argument::IncludeStanch, Argument::DryRun,
    ],
    examples: &["pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42", "pod shop/cart-7d4b9c6f5-x2x9q --stop-now reason:\"data is leaving\""],
    does: Does::Mitigate(plan),
};

/// Seconds that the processes get to end, as in the guide: short for somebody who wants to resist, enough for a server to finish answers.
pub const GRACE_S: u32 = 10;

/// What a plan saves before it destroys a pod.
pub struct Kept {
    /// The prior state; every write requires it.
    pub saved: Edge,
    /// Evidence and snapshots: required, or with the waiver only waited for.
    pub kept: Vec<Edge>,
    /// The reason of the waiver.
    pub waiver: Option<String>,
}

impl Kept {
    /// Adds what is saved.
    pub fn add(steps: &mut Steps, facts: &Facts, context: &Context, consequences: &mut Consequences) -> Self {
        let waiver = context.arguments.reason.clone().filter(|_| context.arguments.stop_now);
        let saved = cordon::save_prior_state(steps, facts);
        let node = facts.kubernetes.node.node.clone();
        let collect = KubernetesAction::CollectEvidence { node, suspects: guard::suspects(facts.kubernetes.suspect.as_ref()) };
        let mut kept = vec![steps.add_with_deadline(collect, [], context.limits.evidence_deadline_s)];
        match (&facts.compute, context.form) {
            (Ok(compute), Form::Strict) => kept.extend(snapshot::add(steps, facts, compute, context, &mut consequences.decisions)),
            (Ok(_), Form::Guide) => consequences.decisions.push("form guide: no snapshots; `snapshot` makes them".into()),
            (Err(_), _) => consequences.decisions.push("the node's disks are out of reach: the evidence holds the API's objects and the logs, no disk".into()),
        }
        if waiver.is_some() {
            consequences.decisions.push("--stop-now: the deletion waits neither for stored evidence nor for snapshots".into());
        }
        let edge = |step: StepId| if waiver.is_some() { Edge::After(step) } else { Edge::Requires(step) };
        Self { saved: Edge::Requires(saved), kept: kept.into_iter().map(edge).collect(), waiver }
    }

    /// What a deletion needs.
    #[must_use]
    pub fn before_deletion(&self) -> Vec<Edge> {
        self.kept.iter().copied().chain([self.saved]).collect()
    }
}

/// The suspect, if the API can delete it.
///
/// # Errors
/// As [`guard::suspect`], and [`Refusal::StaticPod`].
pub fn deletable<'f>(facts: &'f Facts, context: &Context) -> Result<&'f PodFacts, Refusal> {
    match guard::suspect(facts, context)? {
        None => Err(Refusal::PodGone("none".into())),
        Some(suspect) if suspect.mirror => Err(Refusal::StaticPod(suspect.pod.to_string())),
        Some(suspect) => Ok(suspect),
    }
}

/// What is lost with a pod, and what outlives it. Its processes have `grace` left.
pub fn describe_loss(facts: &Facts, suspect: &PodFacts, grace: &str, consequences: &mut Consequences) {
    let pod = &suspect.pod;
    let mut lost = format!("{pod} loses its memory and what its containers wrote to their own file systems");
    if !suspect.empty_dirs.is_empty() {
        lost.push_str(&format!("; its emptyDir volumes too ({})", suspect.empty_dirs.join(", ")));
    }
    consequences.blast_radius.push(lost);
    let services: Vec<&str> = facts.kubernetes.services.keys().map(String::as_str).collect();
    if !services.is_empty() {
        consequences.blast_radius.push(format!("Services lose an endpoint: {}", services.join(", ")));
    }
    for budget in facts.kubernetes.budgets.iter().filter(|budget| budget.covers.contains(pod) && budget.disruptions_allowed == 0) {
        consequences.blast_radius.push(format!("budget {}/{} allows no disruption now; a deletion does not ask it", budget.namespace, budget.name));
    }
    consequences.noticeable.push(format!("its processes are told to end and have {grace} left, which an attacker can use"));
    consequences.residual_risk.push(format!("whoever broke out of the container is still on node {}", facts.kubernetes.node.node.name));
    consequences.residual_risk.push(format!("service account {}/{} and what else the pod could read stay usable until they are rotated", pod.namespace, suspect.service_account));
}

/// Who replaces the suspect, and where.
fn replacement(facts: &Facts, suspect: &PodFacts) -> String {
    let node = &facts.kubernetes.node;
    let again = if node.unschedulable { "" } else { ", perhaps on the same node: `cordon` it first to keep it away" };
    match &suspect.owner {
        None if suspect.labels.contains_key(OWN_KEY) => "nothing replaces it: Stanch detached it, and its owner has replaced it already".into(),
        None => "nothing replaces it: it has no owner".into(),
        Some(owner) => {
            let who = format!("{} {}", owner.kind, owner.name);
            match owner.kind.as_str() {
                "ReplicaSet" | "ReplicationController" => format!("{who} starts a replacement at once{again}"),
                "StatefulSet" => format!("{who} starts a replacement of the same name once it has ended{again}"),
                "DaemonSet" => format!("{who} starts a replacement on the same node, cordoned or not"),
                "Job" => format!("{who} starts another one if its backoff limit allows it{again}"),
                _ => format!("{who} decides whether and where it is replaced; Stanch does not know that kind"),
            }
        }
    }
}

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let suspect = deletable(facts, context)?;
    let mut consequences = Consequences { blast_radius: vec![format!("{}: {}", suspect.pod, replacement(facts, suspect))], ..Consequences::default() };
    let mut steps = Steps::default();
    let kept = Kept::add(&mut steps, facts, context, &mut consequences);
    describe_loss(facts, suspect, &format!("{GRACE_S} s"), &mut consequences);
    if suspect.owner.is_some() {
        consequences.residual_risk.push("the replacement runs the same image: it can be compromised in the same way".into());
    }
    if let Some(above) = facts.kubernetes.workload.as_ref().and_then(|workload| workload.above.as_ref()) {
        consequences.decisions.push(format!("above its owner: {above}"));
    }
    let delete = KubernetesAction::DeletePod { pod: suspect.pod.clone(), grace_s: GRACE_S, waiver: kept.waiver.clone() };
    steps.add(delete, kept.before_deletion());
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}
