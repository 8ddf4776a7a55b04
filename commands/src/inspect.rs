//! `inspect`: the evidence of a pod or a node, without touching a container.

use crate::action::{ComputeAction, KubernetesAction, Probe};
use crate::cordon;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::Facts;
use crate::guard;
use crate::plan::{Consequences, Draft, Edge, Steps};
use crate::refusal::Refusal;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "inspect",
    phase: Phase::Preserve,
    summary: "collect the evidence of a pod, or of a node: objects, events, logs, images, identities, interfaces, firewalls",
    details: "Starts at once, without an approval: it only reads, through the APIs, into Stanch's own evidence folder. No container is touched. \
              Values of secrets and of environment variables stay in the cluster; logs may hold some. Memory and disks are not in it: `snapshot` \
              saves disks. With --exec it also runs `ps` and reads tables of /proc in each container, which the attacker can notice: that needs \
              a permit of its own, `inspect --exec`, and the approval of a containment.",
    arguments: &[Argument::PodOrNode, Argument::Cluster, Argument::Incident, Argument::Reason, Argument::Exec, Argument::DryRun],
    examples: &["pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42", "node gke-prod-pool-1-abcd", "pod shop/cart-7d4b9c6f5-x2x9q --exec"],
    does: Does::Mitigate(plan),
};

/// What a policy names to permit `--exec`; `*` does not.
pub const WITH_EXEC: &str = "inspect --exec";

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
    if context.arguments.exec {
        add_probes(&mut steps, &mut consequences, facts, context)?;
    }
    consequences.decisions.push("values of secrets and of environment variables stay in the cluster; logs are kept as they are".into());
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}

/// The probes come after everything that nobody can notice.
fn add_probes(steps: &mut Steps, consequences: &mut Consequences, facts: &Facts, context: &Context) -> Result<(), Refusal> {
    let Some(suspect) = guard::suspect(facts, context)? else { return Err(Refusal::ExecNeedsPod) };
    let unnoticed: Vec<Edge> = steps.ids().map(Edge::After).collect();
    let saved = cordon::save_prior_state(steps, facts);
    let probes = KubernetesAction::RunProbes { pod: suspect.pod.clone(), probes: Probe::ALL.into() };
    let needs = unnoticed.into_iter().chain([Edge::Requires(saved)]);
    steps.add_with_deadline(probes, needs, COLLECTED_DEADLINE_S);
    consequences.noticeable = vec!["WARNING: processes start inside the container; whoever watches it sees them and their times".into()];
    consequences.residual_risk.push("what the programs print is made by the suspect's own image: an attacker can have replaced them".into());
    consequences.residual_risk.push("arguments of processes are kept as they are: some programs take secrets there".into());
    Ok(())
}
