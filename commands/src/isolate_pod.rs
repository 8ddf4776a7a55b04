//! `isolate-pod`: containment with the Kubernetes API alone, for Autopilot or where a whole node is too much.

use crate::action::{KubernetesAction, PodIsolation, pods};
use crate::cordon::save_prior_state;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{Facts, PodFacts, WorkloadFacts};
use crate::guard;
use crate::label::{self, Rewriting};
use crate::plan::{Consequences, Draft, Edge, Steps};
use crate::redeploy::{Kept, deletable, describe_loss};
use crate::refusal::Refusal;
use crate::target::WorkloadKind;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "isolate-pod",
    phase: Phase::Contain,
    summary: "cut one pod off inside Kubernetes: deny-all NetworkPolicy, detached from Services and owner, kept alive",
    details: "Works on Autopilot, where `quarantine` does not. The pod's labels are rewritten until no other NetworkPolicy selects it; what cannot \
              be escaped is named, and then the pod is not called isolated. Says whether anything enforces NetworkPolicies on its node. The \
              node, its VM and its disks are not touched. With --scale-to-zero its Deployment or StatefulSet is scaled to 0 instead: the \
              suspect ends, so its evidence is stored first.",
    arguments: &[
        Argument::Pod,
        Argument::Cluster,
        Argument::Incident,
        Argument::Reason,
        Argument::ScaleToZero,
        Argument::IncludeStanch, Argument::DryRun,
    ],
    examples: &["pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42", "pod shop/cart-7d4b9c6f5-x2x9q --scale-to-zero"],
    does: Does::Mitigate(plan),
};

/// DaemonSets of `kube-system` that enforce NetworkPolicies on the node where their pod runs, and what they are called.
const ENFORCERS: [(&str, &str, bool); 3] =
    [("anetd", "GKE Dataplane V2 (anetd)", true), ("cilium", "Cilium", true), ("calico-node", "Calico (calico-node)", false)];

/// Seconds until the pods of a workload without replicas should be gone: the usual grace period, and a kubelet on a bad day.
const ENDED_DEADLINE_S: u32 = 90;
/// What the reading of it may take beyond: the last look, and its answer.
const LAST_LOOK_S: u32 = 30;

/// Who enforces policies on the suspect's node, and whether established connections are cut too.
fn enforcer(facts: &Facts) -> Option<(&'static str, bool)> {
    let runs = |name: &str| {
        facts.kubernetes.pods.iter().any(|pod| {
            let owned = pod.owner.as_ref().is_some_and(|owner| owner.kind == "DaemonSet" && owner.name == name);
            owned && pod.pod.namespace.as_str() == "kube-system" && pod.phase == "Running"
        })
    };
    ENFORCERS.iter().find(|(name, ..)| runs(name)).map(|(_, words, cuts)| (*words, *cuts))
}

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let suspect = deletable(facts, context)?;
    match context.arguments.scale_to_zero {
        true => scale_to_zero(facts, suspect, context),
        false => isolate(facts, suspect, context),
    }
}

fn isolate(facts: &Facts, suspect: &PodFacts, context: &Context) -> Result<Draft, Refusal> {
    let rewriting = label::rewriting(facts, suspect);
    let open = open(facts, suspect, &rewriting);
    let denied = facts.kubernetes.namespace_policies.iter().any(|policy| policy.name == label::policy_name(&suspect.pod));
    let labelled = rewriting.set.iter().all(|(key, value)| suspect.labels.get(key) == Some(value)) && rewriting.remove.is_empty();
    if denied && labelled && open.is_empty() {
        return Err(Refusal::AlreadySo(format!("pod {} is isolated", suspect.pod)));
    }
    let mut consequences = Consequences::default();
    describe(facts, suspect, &rewriting, &open, &mut consequences);
    let pod = &suspect.pod;
    let mut steps = Steps::default();
    let saved = save_prior_state(&mut steps, facts);
    let node = facts.kubernetes.node.node.clone();
    let collect = KubernetesAction::CollectEvidence { node, suspects: vec![pod.clone()] };
    let evidence = steps.add_with_deadline(collect, [], context.limits.evidence_deadline_s);
    let mut kept = vec![steps.add(KubernetesAction::KeepFromAutoscaler(pod.clone()), [Edge::Requires(saved)])];
    if suspect.deleted_when_unreachable {
        kept.push(steps.add(KubernetesAction::KeepWhileUnreachable(pod.clone()), [Edge::Requires(saved)]));
    }
    let first = [Edge::Requires(saved), Edge::After(evidence)];
    // A policy that binds nobody would only look like one.
    let policy = (!suspect.host_network).then(|| steps.add(KubernetesAction::DenyPodTraffic(pod.clone()), first));
    let labelled = label::add(&mut steps, suspect, &rewriting, first.into_iter().chain(policy.map(Edge::Requires)).collect());
    let verify = KubernetesAction::VerifyPodIsolation(PodIsolation {
        pod: pod.clone(),
        labels: rewriting.set,
        removed: rewriting.remove,
        still: rewriting.still.into_iter().map(|policy| format!("NetworkPolicy {}", policy.name)).chain(rewriting.services.iter().map(|name| format!("Service {name}"))).collect(),
        enforced_by: enforcer(facts).map(|(words, _)| words.to_owned()),
        open,
    });
    steps.add(verify, kept.into_iter().chain([labelled]).map(Edge::After));
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}

/// Why the pod cannot be called isolated, whatever is done.
fn open(facts: &Facts, suspect: &PodFacts, rewriting: &Rewriting) -> Vec<String> {
    let mut open = Vec::new();
    if suspect.host_network {
        open.push("it uses the network of its node, where no NetworkPolicy binds it".to_owned());
    }
    if enforcer(facts).is_none() {
        open.push(format!(
            "nothing enforces NetworkPolicies here: neither Dataplane V2 (anetd, cilium) nor Calico (calico-node) runs on node {}",
            facts.kubernetes.node.node.name
        ));
    }
    open.extend(rewriting.allowing());
    open
}

fn describe(facts: &Facts, suspect: &PodFacts, rewriting: &Rewriting, open: &[String], consequences: &mut Consequences) {
    let pod = &suspect.pod;
    label::describe(facts, suspect, rewriting, facts.kubernetes.node.unschedulable, consequences);
    if let Some((words, cuts)) = enforcer(facts) {
        consequences.decisions.push(format!("{words} enforces NetworkPolicies on the node"));
        if !cuts && !suspect.host_network {
            consequences.residual_risk.push("connections that are established now stay open until they end: Calico does not cut them".into());
        }
    }
    let policies: Vec<&str> = facts.kubernetes.policies.iter().map(|policy| policy.name.as_str()).collect();
    if !policies.is_empty() {
        consequences.decisions.push(format!("NetworkPolicies that select it now: {}", policies.join(", ")));
    }
    let silent = rewriting.still.iter().filter(|policy| !policy.allows);
    consequences.decisions.extend(silent.map(|policy| format!("NetworkPolicy {} selects it all the same; it only denies", policy.name)));
    if !open.is_empty() {
        let instead = match facts.kubernetes.node.autopilot {
            true => "on Autopilot `redeploy`, `delete-workload` or --scale-to-zero end it",
            false => "`quarantine` isolates its node",
        };
        consequences.residual_risk.extend(open.iter().map(|why| format!("NOT isolated: {why}")));
        consequences.residual_risk.push(format!("to contain it all the same: {instead}"));
    }
    consequences.residual_risk.push("traffic between the pod and its own node is always allowed, and whoever broke out of the container is on it".into());
    consequences.residual_risk.push("CiliumNetworkPolicy, FQDNNetworkPolicy and AdminNetworkPolicy objects are not read: they could let traffic through".into());
    consequences.noticeable.push(format!("the connections of {pod} fail, its name service too"));
    consequences.noticeable.push("a process that can read the Kubernetes API sees policy and labels".into());
}

fn scale_to_zero(facts: &Facts, suspect: &PodFacts, context: &Context) -> Result<Draft, Refusal> {
    let none = WorkloadFacts::default();
    let workload = facts.kubernetes.workload.as_ref().unwrap_or(&none);
    if let Some(above) = &workload.above {
        return Err(Refusal::UnknownOwner(above.clone()));
    }
    let Some(top) = workload.chain.last() else { return Err(Refusal::NothingToScale(format!("nothing owns pod {}", suspect.pod))) };
    let from = match (top.kind, workload.replicas) {
        (WorkloadKind::Deployment | WorkloadKind::StatefulSet, Some(0)) => return Err(Refusal::AlreadySo(format!("{top} is scaled to 0"))),
        (WorkloadKind::Deployment | WorkloadKind::StatefulSet, Some(from)) => from,
        _ => return Err(Refusal::NothingToScale(format!("{top} has no number of replicas to change"))),
    };
    let mut consequences = Consequences::default();
    consequences.blast_radius.push(format!("{top} is scaled from {from} to 0: {} end, the suspect among them", pods(workload.pods.len())));
    consequences.decisions.push(format!("{from} replicas are recorded, to scale it back when it is clean"));
    let scalers = workload.autoscalers.iter();
    consequences.decisions.extend(scalers.map(|name| format!("HorizontalPodAutoscaler {name} rests while there are 0 replicas")));
    consequences.residual_risk.extend(workload.makers.iter().map(|maker| format!("{maker}: it may set the number of replicas again")));
    let mut steps = Steps::default();
    let kept = Kept::add(&mut steps, facts, context, &mut consequences);
    let scaled = steps.add(KubernetesAction::ScaleToZero { workload: top.clone(), from }, kept.before_deletion());
    let of = workload.pods.iter().map(|(pod, _)| pod.clone()).collect();
    let verify = KubernetesAction::VerifyWorkloadGone { workloads: vec![], pods: of, deadline_s: ENDED_DEADLINE_S };
    steps.add_with_deadline(verify, [Edge::After(scaled)], ENDED_DEADLINE_S + LAST_LOOK_S);
    describe_loss(facts, suspect, "the pods' own grace period", &mut consequences);
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}
