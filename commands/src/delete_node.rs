//! `delete-node`: the VM is destroyed, once what it held is kept.

use crate::abandon;
use crate::action::{ComputeAction, KubernetesAction, pods};
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{ComputeFacts, DiskFacts, Facts, ReadySnapshot};
use crate::firewall_rule::FirewallRule;
use crate::guard;
use crate::plan::{Consequences, Draft, Edge, Form, StepId, Steps};
use crate::refusal::Refusal;
use crate::snapshot;
use crate::target::{ComputeName, DiskRef};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "delete-node",
    phase: Phase::Eradicate,
    summary: "delete the VM of a node, through its group or, once abandoned, by itself",
    details: "Refused until every persistent disk has a READY snapshot of this incident; the evidence bundle is stored before anything is \
              deleted. --stop-now waits for neither and needs a reason, which the approvers agree to. Deletion protection is switched off right \
              before; the boot disk is kept. The group becomes one smaller and makes no replacement: `resize-group` adds a fresh node.",
    arguments: &[
        Argument::PodOrNode,
        Argument::Cluster,
        Argument::Incident,
        Argument::Reason,
        Argument::StopNow,
        Argument::IncludeStanch, Argument::DryRun,
    ],
    examples: &["node gke-prod-pool-1-abcd incident:inc-42", "pod shop/cart-7d4b9c6f5-x2x9q --stop-now reason:\"data is leaving\""],
    does: Does::Mitigate(plan),
};

/// Seconds for a deletion: pods get a grace period and load balancers drain before the VM goes, minutes in all.
const DELETED_DEADLINE_S: u32 = 600;
/// Oldest snapshot of another incident that still counts: half a day is one shift that names the incident later than its first snapshot.
const OTHER_INCIDENT_S: u64 = 12 * 3600;

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let compute = guard::settled_instance(facts)?;
    guard::suspect(facts, context)?;
    let waiver = context.arguments.reason.clone().filter(|_| context.arguments.stop_now);
    let mut consequences = describe(facts, compute, context);
    let mut steps = Steps::default();
    let saved = abandon::save_prior_state(&mut steps, compute);
    let kept = match &waiver {
        None => keep(&mut steps, facts, compute, context, &mut consequences)?,
        Some(_) => try_to_keep(&mut steps, facts, compute, context, &mut consequences),
    };
    let mut needs: Vec<Edge> = kept.into_iter().chain([Edge::Requires(saved)]).collect();
    if context.form == Form::Strict {
        // One after the other: operations on one instance may not overlap.
        for boot in compute.disks.iter().filter(|disk| disk.boot && disk.auto_delete) {
            let action = ComputeAction::KeepBootDisk { instance: compute.instance.clone(), device: boot.device.clone() };
            let kept = steps.add(action, [Edge::Requires(saved)]);
            needs.push(if waiver.is_some() { Edge::After(kept) } else { Edge::Requires(kept) });
        }
    }
    if compute.deletion_protection {
        let allowed = steps.add(ComputeAction::AllowDeletion(compute.instance.clone()), needs.iter().copied());
        needs.push(Edge::Requires(allowed));
    }
    let group = compute.group.as_ref().map(|group| group.group.clone());
    let delete = ComputeAction::DeleteInstance { instance: compute.instance.clone(), group, waiver };
    steps.add_with_deadline(delete, needs, DELETED_DEADLINE_S);
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}

/// What must be there before anything is destroyed: a READY snapshot of each disk, and the evidence.
fn keep(steps: &mut Steps, facts: &Facts, compute: &ComputeFacts, context: &Context, consequences: &mut Consequences) -> Result<Vec<Edge>, Refusal> {
    let (mut snapshots, mut missing) = (Vec::new(), Vec::new());
    for facts in &compute.disks {
        let Some(disk) = &facts.disk else { continue };
        match usable(facts, context) {
            Ok(ready) => {
                consequences.decisions.push(format!("disk {}: snapshot {} is READY, {} old", disk.name, ready.name, age(ready.age_s)));
                snapshots.push((disk.clone(), ready.name.clone()));
            }
            Err(why) => missing.push(format!("disk {}: {why}", disk.name)),
        }
    }
    if !missing.is_empty() {
        return Err(Refusal::NotKept(missing));
    }
    let evidence = collect(steps, facts, context);
    Ok(vec![Edge::Requires(evidence), Edge::Requires(verify(steps, snapshots))])
}

/// With the waiver: the same is begun, and nothing waits for it beyond its deadline.
fn try_to_keep(steps: &mut Steps, facts: &Facts, compute: &ComputeFacts, context: &Context, consequences: &mut Consequences) -> Vec<Edge> {
    let evidence = collect(steps, facts, context);
    let snapshots = snapshot::add(steps, facts, compute, context, &mut consequences.decisions);
    consequences.decisions.push("--stop-now: the deletion waits neither for READY snapshots nor for stored evidence".into());
    std::iter::once(evidence).chain(snapshots).map(Edge::After).collect()
}

fn collect(steps: &mut Steps, facts: &Facts, context: &Context) -> StepId {
    let node = facts.kubernetes.node.node.clone();
    let action = KubernetesAction::CollectEvidence { node, suspects: guard::suspects(facts.kubernetes.suspect.as_ref()) };
    steps.add_with_deadline(action, [], context.limits.evidence_deadline_s)
}

fn verify(steps: &mut Steps, snapshots: Vec<(DiskRef, ComputeName)>) -> StepId {
    steps.add(ComputeAction::VerifySnapshots { snapshots }, [])
}

/// The snapshot that may be relied on, or why there is none.
fn usable<'f>(disk: &'f DiskFacts, context: &Context) -> Result<&'f ReadySnapshot, String> {
    match (&disk.ready_snapshot, &disk.recent_snapshot) {
        (Some(ready), _) if ready.incident == context.incident.as_str() || ready.age_s <= OTHER_INCIDENT_S => Ok(ready),
        (_, Some((name, _))) if disk.ready_snapshot.as_ref().is_none_or(|ready| ready.name != *name) => {
            Err(format!("its snapshot {name} is not READY yet"))
        }
        (Some(ready), _) => Err(format!("snapshot {} is of incident {}, {} old", ready.name, ready.incident, age(ready.age_s))),
        (None, _) => Err("no snapshot by Stanch".into()),
    }
}

fn describe(facts: &Facts, compute: &ComputeFacts, context: &Context) -> Consequences {
    let mut consequences = Consequences {
        noticeable: vec!["the suspect is shut down with its VM; whoever drives it sees it go".into()],
        residual_risk: vec!["what the attacker took along, or left elsewhere, is not touched".into()],
        ..Consequences::default()
    };
    let name = &compute.instance.name;
    consequences.blast_radius.push(match &compute.group {
        Some(group) => format!(
            "group {} deletes its member {name}, shrinks from {} to {} and makes no replacement by itself; `resize-group` adds a fresh node",
            group.group.name,
            group.target_size,
            group.target_size.saturating_sub(1)
        ),
        None => format!("instance {name} is in no group (abandoned): it is deleted by itself, and nothing replaces it"),
    });
    let suspect = facts.kubernetes.suspect.as_ref().map(|suspect| &suspect.pod);
    let dying: Vec<_> = facts.kubernetes.pods.iter().filter(|pod| !pod.stays_on_drain() && Some(&pod.pod) != suspect).collect();
    if !dying.is_empty() {
        consequences.blast_radius.push(format!("{} end with the VM; `drain` the node first to move what is innocent away", pods(dying.len())));
    }
    for pod in dying {
        match (&pod.owner, pod.empty_dirs.as_slice()) {
            (None, _) => consequences.blast_radius.push(format!("{} has no owner: nothing replaces it", pod.pod)),
            (Some(_), []) => {}
            (Some(_), lost) => consequences.blast_radius.push(format!("{} loses its emptyDir data ({})", pod.pod, lost.join(", "))),
        }
    }
    // With the waiver, what starts the snapshots names the Local SSDs.
    let named = compute.disks.iter().filter(|disk| disk.disk.is_some() || !context.arguments.stop_now);
    named.for_each(|disk| describe_disk(disk, context, &mut consequences));
    if compute.deletion_protection {
        consequences.decisions.push("the instance is protected from deletion; the protection is switched off right before".into());
    }
    let isolates_only_it = |rule: &&FirewallRule| {
        let others = |tag: &String| compute.tagged.get(tag).into_iter().flatten().any(|other| other.id != compute.instance.id);
        rule.target_tags.iter().any(|tag| compute.tags.contains(tag)) && !rule.target_tags.iter().any(others)
    };
    let rules: Vec<&str> = compute.firewall.iter().filter(isolates_only_it).map(|rule| rule.name.as_str()).collect();
    if !rules.is_empty() {
        consequences.decisions.push(format!("firewall rules that isolated it stay, and then isolate nothing: {}", rules.join(", ")));
    }
    let identities: Vec<&str> = compute.service_accounts.keys().map(String::as_str).collect();
    if !identities.is_empty() {
        consequences.residual_risk.push(format!("tokens that were taken from the VM work until they expire; watch or revoke: {}", identities.join(", ")));
    }
    consequences
}

/// What becomes of a disk.
fn describe_disk(disk: &DiskFacts, context: &Context, consequences: &mut Consequences) {
    let keeps_boot = disk.boot && context.form == Form::Strict;
    consequences.decisions.push(match &disk.disk {
        None => format!("{} is a Local SSD: its content is lost with the VM, no snapshot covers it", disk.device),
        Some(bound) if disk.auto_delete && keeps_boot => format!("disk {} is set to be kept, and outlives the VM", bound.name),
        Some(bound) if disk.auto_delete => format!("disk {} is deleted with the VM; only snapshots of it stay", bound.name),
        Some(bound) => format!("disk {} outlives the VM", bound.name),
    });
}

/// `45 s`, `12 min`, `3 h`, `2 days`.
fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
