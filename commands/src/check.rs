//! The plan linter: what every plan must satisfy, whoever made it. A planner with a defect is caught here, before people are asked.

use std::collections::BTreeSet;

use crate::action::{Action, ActionClass, ComputeAction, KubernetesAction, PodIsolation, SshAction};
use crate::firewall_rule::{Direction, FirewallRule, Verdict};
use crate::plan::{Draft, Edge, Plan, StepId};
use crate::refusal::Refusal;
use crate::target::{ComputeName, InstanceRef, NodeRef, PodRef};

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
    destruction_requires_what_is_kept,
    what_lets_in_is_narrow_and_comes_last,
    network_returns_after_the_suspect_and_before_the_rules_go,
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
            | KubernetesAction::ExcludeFromLoadBalancers(node)
            | KubernetesAction::AllowScaleDown(node)
            | KubernetesAction::IncludeInLoadBalancers(node) => (vec![node], vec![], vec![]),
            KubernetesAction::KeepWhileUnreachable(pod)
            | KubernetesAction::RunProbes { pod, .. }
            | KubernetesAction::DenyPodTraffic(pod)
            | KubernetesAction::LabelPod { pod, .. } => (vec![], vec![], vec![pod]),
            KubernetesAction::DeletePod { pod, .. }
            | KubernetesAction::KeepFromAutoscaler(pod)
            | KubernetesAction::VerifyPodIsolation(PodIsolation { pod, .. }) => (vec![], vec![], vec![pod]),
            // Workloads are bound by what the survey found above the suspect; the plan names none of its own. A policy may outlive its pod.
            KubernetesAction::AllowPodTraffic(_)
            | KubernetesAction::SaveManifests(_)
            | KubernetesAction::ScaleToZero { .. }
            | KubernetesAction::ScaleBack { .. }
            | KubernetesAction::DeleteWorkload { .. }
            | KubernetesAction::VerifyWorkloadGone { .. } => (vec![], vec![], vec![]),
            KubernetesAction::EndContainer { ending, .. } => (vec![&ending.node], vec![], vec![&ending.pod]),
            KubernetesAction::RestorePod { prior, .. } => (vec![], vec![], vec![&prior.pod]),
            KubernetesAction::Drain(drain) => (vec![&drain.node], vec![], vec![]),
            KubernetesAction::VerifyNode { node, suspects } => (vec![node], vec![], suspects.iter().map(|(pod, _)| pod).collect()),
        },
        Action::Compute(action) => match action {
            ComputeAction::SnapshotDisk { .. }
            | ComputeAction::VerifySnapshots { .. }
            | ComputeAction::EnsureFirewallRule(_)
            | ComputeAction::ResizeGroup { .. }
            | ComputeAction::CreateIntermediate(_)
            | ComputeAction::DeleteIntermediate { .. }
            | ComputeAction::TagIntermediate { .. }
            | ComputeAction::UntagIntermediate { .. } => (vec![], vec![], vec![]),
            ComputeAction::VerifySsh(access) => (vec![], vec![&access.instance], vec![]),
            ComputeAction::CapturePriorState { instance, .. }
            | ComputeAction::CollectEvidence { instance }
            | ComputeAction::AbandonInstance { instance, .. }
            | ComputeAction::ProtectFromDeletion(instance)
            | ComputeAction::KeepBootDisk { instance, .. }
            | ComputeAction::TagInstance { instance, .. }
            | ComputeAction::RemoveExternalIp { instance, .. }
            | ComputeAction::AddSshKey { instance, .. }
            | ComputeAction::RemoveSshKey { instance, .. }
            | ComputeAction::TagForSsh { instance, .. }
            | ComputeAction::UntagForSsh { instance, .. }
            | ComputeAction::UntagInstance { instance, .. }
            | ComputeAction::RemoveFirewallRule { instance, .. }
            | ComputeAction::RestoreExternalIp { instance, .. }
            | ComputeAction::ReleaseBootDisk { instance, .. }
            | ComputeAction::AllowDeletion(instance)
            | ComputeAction::DeleteInstance { instance, .. }
            | ComputeAction::VerifyIsolation { instance, .. } => (vec![], vec![instance], vec![]),
        },
        Action::Ssh(SshAction::EndContainer { ending, instance, .. }) => (vec![&ending.node], vec![instance], vec![&ending.pod]),
    }
}

fn writes_follow_the_saved_state(plan: &Plan) -> Vec<String> {
    let kubernetes = find(plan, |action| matches!(action, Action::Kubernetes(KubernetesAction::CapturePriorState { .. })));
    let compute = find(plan, |action| matches!(action, Action::Compute(ComputeAction::CapturePriorState { .. })));
    let mutating = plan.steps().filter(|(_, step)| step.action.class() == ActionClass::Mutate);
    mutating
        .filter(|(id, step)| {
            let saved = match &step.action {
                // Its prior state is in the step itself.
                Action::Compute(ComputeAction::ResizeGroup { .. }) => return false,
                // What runs on a node belongs to its pods.
                Action::Kubernetes(_) | Action::Ssh(_) => &kubernetes,
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
                Action::Kubernetes(
                    KubernetesAction::CollectEvidence { .. } | KubernetesAction::SaveManifests(_) | KubernetesAction::Drain(_)
                ) | Action::Compute(ComputeAction::CollectEvidence { .. } | ComputeAction::SnapshotDisk { .. })
            )
        })
    };
    plan.steps()
        .flat_map(|(id, step)| step.needs.iter().map(move |edge| (id, *edge)))
        .filter(|(id, edge)| matches!(edge, Edge::Requires(needed) if kept(*needed)) && !destroys(plan, *id))
        .map(|(id, edge)| {
            format!("step {id} requires step {}: missing evidence or a blocked drain must never leave a node open", edge.step())
        })
        .collect()
}

/// Missing evidence blocks destruction, unless the waiver is part of what people agree to.
fn destruction_requires_what_is_kept(plan: &Plan) -> Vec<String> {
    let evidence = find(plan, |action| {
        matches!(action, Action::Kubernetes(KubernetesAction::CollectEvidence { .. } | KubernetesAction::SaveManifests(_)))
    });
    let snapshots = find(plan, |action| matches!(action, Action::Compute(ComputeAction::VerifySnapshots { .. })));
    let waived = |action: &Action| match action {
        Action::Compute(ComputeAction::DeleteInstance { waiver, .. })
        | Action::Kubernetes(KubernetesAction::DeletePod { waiver, .. } | KubernetesAction::DeleteWorkload { waiver, .. }) => {
            waiver.is_some()
        }
        Action::Kubernetes(KubernetesAction::EndContainer { ending, .. }) | Action::Ssh(SshAction::EndContainer { ending, .. }) => {
            ending.waiver.is_some()
        }
        Action::Kubernetes(_) | Action::Compute(_) => false,
    };
    if !find(plan, waived).is_empty() {
        return vec![];
    }
    let destroying: Vec<StepId> = plan.steps().map(|(id, _)| id).filter(|id| destroys(plan, *id)).collect();
    let of_instances = |id: &StepId| plan.step(*id).is_some_and(|step| matches!(step.action, Action::Compute(_)));
    let instances: Vec<StepId> = destroying.iter().copied().filter(of_instances).collect();
    [(evidence, destroying), (snapshots, instances)]
        .iter()
        .flat_map(|(kept, destroying)| match kept.is_empty() {
            true => destroying.iter().map(|step| format!("step {step} destroys without evidence, and without a waiver")).collect(),
            false => must_require(plan, destroying, kept, "destroys before evidence is stored and the snapshots are READY"),
        })
        .collect()
}

/// A rule that lets something in admits SSH alone, from a tag and never from a range, and a stranger is tagged only as its source. The tag
/// of the target, which opens the door, comes after the rule is read back.
fn what_lets_in_is_narrow_and_comes_last(plan: &Plan) -> Vec<String> {
    let ssh = |rule: &FirewallRule| {
        rule.protocols.iter().map(String::as_str).eq(["tcp:22"])
            && rule.direction == Direction::Ingress
            && rule.ranges.is_empty()
            && rule.source_tags.len() == 1
            && rule.target_tags.len() == 1
    };
    let rules: Vec<(StepId, &FirewallRule)> = plan
        .steps()
        .filter_map(|(id, step)| match &step.action {
            Action::Compute(ComputeAction::EnsureFirewallRule(rule)) if rule.verdict == Verdict::Allow => Some((id, rule)),
            Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
        })
        .collect();
    let mut findings: Vec<String> =
        rules.iter().filter(|(_, rule)| !ssh(rule)).map(|(id, _)| format!("step {id} lets in more than SSH from one tag")).collect();
    let stranger = |tag: &ComputeName| !rules.iter().any(|(_, rule)| rule.source_tags.contains(tag.as_str()));
    for (id, step) in plan.steps() {
        match &step.action {
            Action::Compute(ComputeAction::TagIntermediate { tag, .. }) if stranger(tag) => {
                findings.push(format!("step {id} tags an instance that no rule of the plan lets in"));
            }
            Action::Compute(ComputeAction::CreateIntermediate(new)) if stranger(&new.tag) => {
                findings.push(format!("step {id} makes an instance that no rule of the plan lets in"));
            }
            Action::Compute(ComputeAction::TagForSsh { .. }) => {
                let rules: Vec<StepId> = rules.iter().map(|(id, _)| *id).collect();
                findings.extend(must_require(plan, &[id], &rules, "opens the instance before the rule is read back"));
            }
            Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => {}
        }
    }
    findings
}

fn network_returns_after_the_suspect_and_before_the_rules_go(plan: &Plan) -> Vec<String> {
    // A rule that lets in is removed first: that closes the door.
    let denies = |rule: &FirewallRule| rule.verdict == Verdict::Deny;
    let removed = find(plan, |action| matches!(action, Action::Compute(ComputeAction::RemoveFirewallRule { rule, .. }) if denies(rule)));
    let untagged = find(plan, |action| matches!(action, Action::Compute(ComputeAction::UntagInstance { .. })));
    let addresses = find(plan, |action| matches!(action, Action::Compute(ComputeAction::RestoreExternalIp { .. })));
    let returns: Vec<StepId> = removed.iter().chain(&untagged).chain(&addresses).copied().collect();
    let mut findings = must_require(plan, &removed, &untagged, "deletes a rule whose tag is still on the instance");
    for suspect in &plan.suspects {
        let ended = find(plan, |action| match action {
            Action::Kubernetes(KubernetesAction::DeletePod { pod, .. }) => pod == suspect,
            Action::Kubernetes(KubernetesAction::RestorePod { prior, .. }) => prior.pod == *suspect,
            Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => false,
        });
        let opened = find(plan, |action| matches!(action, Action::Kubernetes(KubernetesAction::AllowPodTraffic(pod)) if pod == suspect));
        let reopened: Vec<StepId> = returns.iter().chain(&opened).copied().collect();
        match ended.is_empty() {
            true => findings
                .extend(reopened.iter().map(|step| format!("step {step} gives the network back, and nothing ends or clears {suspect}"))),
            false => findings.extend(must_require(
                plan,
                &reopened,
                &ended,
                "gives the network back while a suspect is neither deleted nor cleared",
            )),
        }
    }
    let stranger = |action: &Action| matches!(action, Action::Kubernetes(KubernetesAction::AllowPodTraffic(_))) && !plan.releases;
    findings.extend(find(plan, stranger).iter().map(|step| format!("step {step} opens a pod, and the plan is no release")));
    findings
}

/// Whether a step destroys, or clears the way for what does.
fn destroys(plan: &Plan, step: StepId) -> bool {
    let deletes = |action: &Action| {
        matches!(
            action,
            Action::Compute(ComputeAction::DeleteInstance { .. })
                | Action::Kubernetes(
                    KubernetesAction::DeletePod { .. }
                        | KubernetesAction::DeleteWorkload { .. }
                        | KubernetesAction::ScaleToZero { .. }
                        | KubernetesAction::EndContainer { .. }
                )
                | Action::Ssh(SshAction::EndContainer { .. })
        )
    };
    plan.step(step).is_some_and(|step| match &step.action {
        Action::Compute(ComputeAction::AllowDeletion(_)) => {
            plan.steps().any(|(_, step)| matches!(step.action, Action::Compute(ComputeAction::DeleteInstance { .. })))
        }
        action @ (Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_)) => deletes(action),
    })
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
