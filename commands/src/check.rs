//! The plan linter: what every plan must satisfy, whoever made it. A planner with a defect is caught here, before people are asked.

use std::collections::BTreeSet;

use crate::action::{Action, ActionClass, ComputeAction, KubernetesAction};
use crate::plan::{Draft, Edge, Plan, StepId};
use crate::refusal::Refusal;
use crate::target::{InstanceRef, NodeRef, PodRef};

type Rule = fn(&Plan) -> Vec<String>;

const RULES: &[Rule] = &[
    targets_are_the_plans,
    writes_follow_the_saved_state,
    tag_follows_rules_and_abandon,
    protection_follows_abandon,
    addresses_go_after_the_tag,
    labels_follow_the_policy,
    drain_is_bounded_and_spares_suspects,
    containment_waits_for_evidence_only_as_long_as_allowed,
    probes_follow_what_nobody_notices,
];

/// What is wrong with a plan; empty if nothing is.
#[must_use]
pub fn lint(plan: &Plan) -> Vec<String> {
    RULES.iter().flat_map(|rule| rule(plan)).collect()
}

fn targets_are_the_plans(plan: &Plan) -> Vec<String> {
    let mut findings = Vec::new();
    for (id, step) in plan.steps() {
        let (nodes, instances, pods) = targets(&step.action);
        let strangers = nodes.iter().any(|node| **node != plan.node)
            || instances.iter().any(|instance| Some(*instance) != plan.instance.as_ref())
            || pods.iter().any(|pod| !plan.suspects.contains(pod));
        if strangers {
            findings.push(format!("step {id} acts on something that is no target of the plan"));
        }
    }
    findings
}

fn targets(action: &Action) -> (Vec<&NodeRef>, Vec<&InstanceRef>, Vec<&PodRef>) {
    match action {
        Action::Kubernetes(action) => match action {
            KubernetesAction::CapturePriorState { node, suspects } | KubernetesAction::CollectEvidence { node, suspects } => {
                (vec![node], vec![], suspects.iter().collect())
            }
            KubernetesAction::Cordon(node)
            | KubernetesAction::Uncordon(node)
            | KubernetesAction::DisableScaleDown(node)
            | KubernetesAction::ExcludeFromLoadBalancers(node) => (vec![node], vec![], vec![]),
            KubernetesAction::KeepWhileUnreachable(pod)
            | KubernetesAction::RunProbes { pod, .. }
            | KubernetesAction::DenyPodTraffic(pod)
            | KubernetesAction::LabelPod { pod, .. } => (vec![], vec![], vec![pod]),
            KubernetesAction::Drain(drain) => (vec![&drain.node], vec![], vec![]),
            KubernetesAction::VerifyNode { node, suspects } => (vec![node], vec![], suspects.iter().map(|(pod, _)| pod).collect()),
        },
        Action::Compute(action) => match action {
            ComputeAction::SnapshotDisk { .. } | ComputeAction::EnsureFirewallRule(_) => (vec![], vec![], vec![]),
            ComputeAction::CapturePriorState { instance, .. }
            | ComputeAction::CollectEvidence { instance }
            | ComputeAction::AbandonInstance { instance, .. }
            | ComputeAction::ProtectFromDeletion(instance)
            | ComputeAction::KeepBootDisk { instance, .. }
            | ComputeAction::TagInstance { instance, .. }
            | ComputeAction::RemoveExternalIp { instance, .. }
            | ComputeAction::VerifyIsolation { instance, .. } => (vec![], vec![instance], vec![]),
        },
    }
}

fn writes_follow_the_saved_state(plan: &Plan) -> Vec<String> {
    let kubernetes = find(plan, |action| matches!(action, Action::Kubernetes(KubernetesAction::CapturePriorState { .. })));
    let compute = find(plan, |action| matches!(action, Action::Compute(ComputeAction::CapturePriorState { .. })));
    let mutating = plan.steps().filter(|(_, step)| step.action.class() == ActionClass::Mutate);
    mutating
        .filter(|(id, step)| {
            let saved = match &step.action {
                Action::Kubernetes(_) => &kubernetes,
                Action::Compute(_) => &compute,
            };
            !saved.iter().any(|saved| requires(plan, *id, *saved))
        })
        .map(|(id, _)| format!("step {id} changes something before its prior state is saved"))
        .collect()
}

fn tag_follows_rules_and_abandon(plan: &Plan) -> Vec<String> {
    let needed = find(plan, |action| {
        matches!(action, Action::Compute(ComputeAction::EnsureFirewallRule(_) | ComputeAction::AbandonInstance { .. }))
    });
    must_require(plan, &tags(plan), &needed, "tags the instance before the rules are in force and the group let go of it")
}

fn protection_follows_abandon(plan: &Plan) -> Vec<String> {
    let protections =
        find(plan, |action| matches!(action, Action::Compute(ComputeAction::ProtectFromDeletion(_) | ComputeAction::KeepBootDisk { .. })));
    let abandons = find(plan, |action| matches!(action, Action::Compute(ComputeAction::AbandonInstance { .. })));
    must_require(plan, &protections, &abandons, "changes an instance that its group may still revert")
}

fn addresses_go_after_the_tag(plan: &Plan) -> Vec<String> {
    let removals = find(plan, |action| matches!(action, Action::Compute(ComputeAction::RemoveExternalIp { .. })));
    must_require(plan, &removals, &tags(plan), "removes an external address before the egress deny is verified: Cloud NAT could take over")
}

fn labels_follow_the_policy(plan: &Plan) -> Vec<String> {
    let labels = find(plan, |action| matches!(action, Action::Kubernetes(KubernetesAction::LabelPod { .. })));
    let policies = find(plan, |action| matches!(action, Action::Kubernetes(KubernetesAction::DenyPodTraffic(_))));
    let mut findings = must_require(plan, &labels, &policies, "labels a suspect before the policy that the label selects");
    let cordons = find(plan, |action| matches!(action, Action::Kubernetes(KubernetesAction::Cordon(_))));
    let detaching =
        find(plan, |action| matches!(action, Action::Kubernetes(KubernetesAction::LabelPod { remove, .. }) if !remove.is_empty()));
    findings.extend(must_require(
        plan,
        &detaching,
        &cordons,
        "detaches a suspect before the cordon: its replacement could land on the same node",
    ));
    findings
}

fn drain_is_bounded_and_spares_suspects(plan: &Plan) -> Vec<String> {
    let mut findings = Vec::new();
    for (id, step) in plan.steps() {
        let Action::Kubernetes(KubernetesAction::Drain(drain)) = &step.action else { continue };
        if plan.suspects.iter().any(|suspect| !drain.spare.contains(&suspect.uid)) {
            findings.push(format!("step {id} would evict a suspect"));
        }
        if usize::try_from(drain.at_most).is_ok_and(|at_most| at_most < drain.expected.len()) {
            findings.push(format!("step {id} expects more pods than it may evict"));
        }
        let cordons = find(plan, |action| matches!(action, Action::Kubernetes(KubernetesAction::Cordon(_))));
        findings.extend(must_require(plan, &[id], &cordons, "drains before the cordon"));
    }
    findings
}

fn containment_waits_for_evidence_only_as_long_as_allowed(plan: &Plan) -> Vec<String> {
    let kept = |id: StepId| {
        plan.step(id).is_some_and(|step| {
            matches!(
                step.action,
                Action::Kubernetes(KubernetesAction::CollectEvidence { .. } | KubernetesAction::Drain(_))
                    | Action::Compute(ComputeAction::CollectEvidence { .. } | ComputeAction::SnapshotDisk { .. })
            )
        })
    };
    plan.steps()
        .flat_map(|(id, step)| step.needs.iter().map(move |edge| (id, *edge)))
        .filter(|(_, edge)| matches!(edge, Edge::Requires(needed) if kept(*needed)))
        .map(|(id, edge)| {
            format!("step {id} requires step {}: missing evidence or a blocked drain must never leave a node open", edge.step())
        })
        .collect()
}

fn probes_follow_what_nobody_notices(plan: &Plan) -> Vec<String> {
    let probes = find(plan, |action| matches!(action, Action::Kubernetes(KubernetesAction::RunProbes { .. })));
    let unnoticed = find(plan, |action| {
        matches!(
            action,
            Action::Kubernetes(KubernetesAction::CollectEvidence { .. }) | Action::Compute(ComputeAction::CollectEvidence { .. })
        )
    });
    let early = |step: &&StepId| {
        let needs = plan.step(**step).map(|step| step.needs.as_slice()).unwrap_or_default();
        unnoticed.iter().any(|collected| !needs.iter().any(|edge| edge.step() == *collected))
    };
    probes
        .iter()
        .filter(early)
        .map(|step| format!("step {step} warns the attacker before the evidence that nobody notices is there"))
        .collect()
}

fn tags(plan: &Plan) -> Vec<StepId> {
    find(plan, |action| matches!(action, Action::Compute(ComputeAction::TagInstance { .. })))
}

fn find(plan: &Plan, wanted: impl Fn(&Action) -> bool) -> Vec<StepId> {
    plan.steps().filter(|(_, step)| wanted(&step.action)).map(|(id, _)| id).collect()
}

fn must_require(plan: &Plan, steps: &[StepId], needed: &[StepId], finding: &str) -> Vec<String> {
    steps
        .iter()
        .filter(|step| needed.iter().any(|needed| !requires(plan, **step, *needed)))
        .map(|step| format!("step {step} {finding}"))
        .collect()
}

/// Whether `step` can only run if `needed` succeeded, directly or through other steps.
fn requires(plan: &Plan, step: StepId, needed: StepId) -> bool {
    let mut open = vec![step];
    let mut seen = BTreeSet::new();
    while let Some(current) = open.pop() {
        for edge in plan.step(current).map(|step| step.needs.as_slice()).unwrap_or_default() {
            if let Edge::Requires(earlier) = *edge
                && seen.insert(earlier)
            {
                open.push(earlier);
            }
        }
    }
    seen.contains(&needed)
}

/// Checks a draft and lints the plan.
///
/// # Errors
/// [`Refusal::Unsound`] with every finding.
pub fn checked(draft: Draft) -> Result<Plan, Refusal> {
    let plan = Plan::try_from(draft).map_err(|invalid| Refusal::Unsound(vec![invalid.to_string()]))?;
    match lint(&plan) {
        findings if findings.is_empty() => Ok(plan),
        findings => Err(Refusal::Unsound(findings)),
    }
}
