//! `delete-workload`: the highest owner of the pod goes, and every pod with it.

use std::collections::BTreeMap;

use crate::action::{KubernetesAction, pods};
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{Facts, PodFacts, WorkloadFacts};
use crate::guard;
use crate::label::OWN_KEY;
use crate::plan::{Consequences, Draft, Edge, Steps};
use crate::redeploy::{GRACE_S, Kept, deletable, describe_loss};
use crate::refusal::Refusal;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "delete-workload",
    phase: Phase::Eradicate,
    summary: "delete the workload of the pod: its highest owner and all of its pods",
    details: "The guide's `kubectl delete deployments NAME`, for Deployment, DaemonSet, StatefulSet, ReplicaSet, Job, CronJob and bare pods, bound \
              to the owner's uid. The manifests of the whole chain of owners and the evidence are stored first; the owner goes last, so that \
              nothing is started again meanwhile. Refused where something that Stanch does not know makes the workload. --stop-now waits for \
              no evidence and needs a reason, which the approvers agree to.",
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

/// Seconds until everything should be gone: the usual grace period of 30 s for each level of two, and kubelets on a bad day.
const GONE_DEADLINE_S: u32 = 120;
/// What the reading of it may take beyond: the last look, and its answer.
const LAST_LOOK_S: u32 = 30;
/// Pods that are named; more are counted.
const NAMED: usize = 10;

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let suspect = deletable(facts, context)?;
    let none = WorkloadFacts::default();
    let workload = facts.kubernetes.workload.as_ref().unwrap_or(&none);
    if let Some(above) = &workload.above {
        return Err(Refusal::UnknownOwner(above.clone()));
    }
    let mut consequences = Consequences::default();
    describe(suspect, workload, &mut consequences);
    let mut steps = Steps::default();
    let mut kept = Kept::add(&mut steps, facts, context, &mut consequences);
    let delete_pod = KubernetesAction::DeletePod { pod: suspect.pod.clone(), grace_s: GRACE_S, waiver: kept.waiver.clone() };
    match workload.chain.last() {
        None => {
            steps.add(delete_pod, kept.before_deletion());
        }
        Some(top) => {
            let manifests = steps.add(KubernetesAction::SaveManifests(workload.chain.clone()), []);
            kept.kept.push(if kept.waiver.is_some() { Edge::After(manifests) } else { Edge::Requires(manifests) });
            let delete = KubernetesAction::DeleteWorkload { workload: top.clone(), waiver: kept.waiver.clone() };
            let deleted = steps.add(delete, kept.before_deletion());
            // The suspect's own grace period may be an hour; its workload's deletion leaves it that.
            let ended = steps.add(delete_pod, kept.before_deletion().into_iter().chain([Edge::Requires(deleted)]));
            let of = workload.pods.iter().map(|(pod, _)| pod.clone()).collect();
            let verify = KubernetesAction::VerifyWorkloadGone { workloads: workload.chain.clone(), pods: of, deadline_s: GONE_DEADLINE_S };
            steps.add_with_deadline(verify, [Edge::After(deleted), Edge::After(ended)], GONE_DEADLINE_S + LAST_LOOK_S);
        }
    }
    describe_loss(facts, suspect, &format!("{GRACE_S} s"), &mut consequences);
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}

fn describe(suspect: &PodFacts, workload: &WorkloadFacts, consequences: &mut Consequences) {
    let radius = &mut consequences.blast_radius;
    match workload.chain.last() {
        None if suspect.labels.contains_key(OWN_KEY) => {
            radius.push(format!("{} alone is deleted: Stanch detached it", suspect.pod));
            consequences.decisions.push("its former workload runs on: name one of that workload's pods to delete it".into());
        }
        None => radius.push(format!("{} alone is deleted: nothing owns it, and nothing replaces it", suspect.pod)),
        Some(top) => {
            let below: Vec<String> = workload.chain.iter().rev().skip(1).map(ToString::to_string).collect();
            let below = if below.is_empty() { String::new() } else { format!("{} and ", below.join(", ")) };
            radius.push(format!("{top} goes, with {below}{}", pods(workload.pods.len())));
            radius.push(on_nodes(workload));
        }
    }
    if workload.deletes_claims {
        radius.push("its volume claims are deleted with it (persistentVolumeClaimRetentionPolicy)".into());
    } else if workload.chain.iter().any(|owner| owner.kind == crate::target::WorkloadKind::StatefulSet) {
        consequences.decisions.push("the volume claims of the StatefulSet stay, with their disks".into());
    }
    let autoscalers = workload.autoscalers.iter();
    consequences.decisions.extend(autoscalers.map(|name| format!("HorizontalPodAutoscaler {name} scales it; it stays and has nothing to scale")));
    consequences.residual_risk.extend(workload.makers.iter().map(|maker| format!("{maker}: it makes the workload again unless it is stopped there")));
    consequences.decisions.extend(workload.unread.iter().map(|what| format!("not known, because it could not be read: {what}")));
}

/// Which pods end on which nodes.
fn on_nodes(workload: &WorkloadFacts) -> String {
    let mut nodes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (pod, node) in workload.pods.iter().take(NAMED) {
        nodes.entry(node.as_ref().map_or("no node yet", |node| node.as_str())).or_default().push(pod.name.as_str());
    }
    let more = workload.pods.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    let lines: Vec<String> = nodes.into_iter().map(|(node, pods)| format!("{} on {node}", pods.join(", "))).collect();
    format!("pods that end: {}{more}", if lines.is_empty() { "none".into() } else { lines.join("; ") })
}
