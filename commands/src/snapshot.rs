//! `snapshot`: all disks of a node.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::action::ComputeAction;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{ComputeFacts, Facts};
use crate::guard;
use crate::plan::{Consequences, Draft, StepId, Steps};
use crate::refusal::Refusal;
use crate::target::{ComputeName, DiskRef};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "snapshot",
    phase: Phase::Preserve,
    summary: "snapshot every disk of the node, or of a pod's node",
    details: "Starts at once, without an approval: it only adds. A snapshot by Stanch that is a few minutes old is used again. Memory and Local SSDs are not in it.",
    arguments: &[Argument::PodOrNode, Argument::Cluster, Argument::Incident, Argument::Reason, Argument::DryRun],
    examples: &["pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42", "node gke-prod-pool-1-abcd"],
    does: Does::Mitigate(plan),
};

/// Seconds that a drain waits for the operation that starts a snapshot.
const ACCEPTED_DEADLINE_S: u32 = 60;

/// Adds one step per disk that needs a snapshot, and says what is left out.
pub fn add(steps: &mut Steps, facts: &Facts, compute: &ComputeFacts, context: &Context, notes: &mut Vec<String>) -> Vec<StepId> {
    let mut added = Vec::new();
    for disk in &compute.disks {
        match (&disk.disk, &disk.recent_snapshot) {
            (None, _) => notes.push(format!("{} is a Local SSD: no snapshot covers it, its content is lost with the VM", disk.device)),
            (Some(disk), Some((name, age_s))) if *age_s <= context.limits.snapshot_reuse_s => {
                notes.push(format!("disk {}: snapshot {name} is {age_s} s old and is used again", disk.name));
            }
            (Some(bound), _) => {
                let action = ComputeAction::SnapshotDisk {
                    disk: bound.clone(),
                    name: name(bound, context),
                    labels: labels(facts, context, if disk.boot { "boot" } else { "volume" }),
                };
                added.push(steps.add_with_deadline(action, [], ACCEPTED_DEADLINE_S));
            }
        }
    }
    added
}

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    let compute = guard::instance(facts)?;
    let (mut steps, mut notes) = (Steps::default(), Vec::new());
    if add(&mut steps, facts, compute, context, &mut notes).is_empty() {
        return Err(Refusal::AlreadySo(notes.join("; ")));
    }
    let consequences = Consequences {
        decisions: notes,
        noticeable: vec!["nothing inside the VM; the project's audit log shows the calls".into()],
        residual_risk: vec!["snapshots hold no memory; the suspect runs on".into()],
        ..Consequences::default()
    };
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}

/// `stanch-REQUEST-DISK`, cut to the 63 characters of a Compute name and made unique by a piece of the disk's id.
///
/// Deterministic, so that a retry after a lost answer meets its own snapshot. The request's id keeps two requests apart.
#[expect(clippy::expect_used, reason = "built from valid names, within the length and ending with a hex digit")]
fn name(disk: &DiskRef, context: &Context) -> ComputeName {
    let hash = Sha256::digest(format!("{}/{}", disk.project, disk.id));
    let suffix: String = hash.iter().take(3).map(|byte| format!("{byte:02x}")).collect();
    let stem: String = disk.name.as_str().chars().take(40).collect();
    format!("stanch-{}-{stem}-{suffix}", context.request).parse().expect("`stanch-`, 8, 1, 40, 1 and 6 characters are 63 at most")
}

fn labels(facts: &Facts, context: &Context, role: &str) -> BTreeMap<String, String> {
    let pod = facts.kubernetes.suspect.as_ref().map_or_else(|| "none".into(), |suspect| suspect.pod.name.to_string());
    [
        ("stanch-incident", context.incident.to_string()),
        ("stanch-request", context.request.to_string()),
        ("stanch-requester", context.requester.clone()),
        ("stanch-node", facts.kubernetes.node.node.name.to_string()),
        ("stanch-pod", pod),
        ("stanch-disk", role.into()),
    ]
    .map(|(key, value)| (key.into(), label_value(&value)))
    .into()
}

/// Google label values: at most 63 lower-case letters, digits, hyphens and underscores.
fn label_value(text: &str) -> String {
    text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(63).collect()
}
