//! `inspect`: the evidence of a pod or a node, without touching a container.

use crate::action::{ComputeAction, KubernetesAction};
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::Facts;
use crate::guard;
use crate::plan::{Consequences, Draft, Steps};
use crate::refusal::Refusal;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "inspect",
    phase: Phase::Preserve,
    summary: "collect the evidence of a pod, or of a node: objects, events, logs, images, identities, interfaces, firewalls",
    details: "Starts at once, without an approval: it only reads, through the APIs, into Stanch's own evidence folder. No container is touched. \
              Values of secrets and of environment variables stay in the cluster; logs may hold some. Memory and disks are not in it: `snapshot` \
              saves disks.",
    arguments: &[Argument::PodOrNode, Argument::Cluster, Argument::Incident, Argument::Reason, Argument::DryRun],
    examples: &["pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42", "node gke-prod-pool-1-abcd"],
    does: Does::Mitigate(plan),
};

/// What a collection may take: logs of 4 MiB a container over a slow link, of a pod with a dozen containers.
const COLLECTED_DEADLINE_S: u32 = 120;

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let mut steps = Steps::default();
    let mut consequences = Consequences {
        noticeable: vec!["nothing inside the container or the VM; the audit logs of cluster and project show the calls".into()],
        residual_risk: vec!["the suspect runs on and keeps its network; its memory and its disks are not in the evidence".into()],
        ..Consequences::default()
    };
    let node = facts.kubernetes.node.node.clone();
    let collect = KubernetesAction::CollectEvidence { node, suspects: guard::suspects(facts.kubernetes.suspect.as_ref()) };
    steps.add_with_deadline(collect, [], COLLECTED_DEADLINE_S);
    match guard::instance(facts) {
        Ok(compute) => {
            let collect = ComputeAction::CollectEvidence { instance: compute.instance.clone() };
            steps.add_with_deadline(collect, [], COLLECTED_DEADLINE_S);
        }
        Err(refusal) => consequences.decisions.push(format!("the instance is left out: {refusal}")),
    }
    consequences.decisions.push("values of secrets and of environment variables stay in the cluster; logs are kept as they are".into());
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}
