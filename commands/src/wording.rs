//! What each action is called in a plan, and whether it can be undone.

use crate::action::{Action, ComputeAction, KubernetesAction, SshAction, Undo};
use crate::runtime::{Ending, Verb};
use crate::target::{PodRef, WorkloadRef};

impl Action {
    /// Whether and how the action can be undone.
    #[must_use]
    pub fn undo(&self) -> Undo {
        match self {
            Self::Kubernetes(action) => action.undo(),
            Self::Compute(action) => action.undo(),
            Self::Ssh(SshAction::EndContainer { ending, .. }) => end_is_final(ending),
        }
    }

    /// One line for a plan, in the imperative, without markup.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Kubernetes(action) => action.summary(),
            Self::Compute(action) => action.summary(),
            Self::Ssh(SshAction::EndContainer { ending, via, .. }) => end(ending, &format!("over SSH through {}", via.name)),
        }
    }
}

impl KubernetesAction {
    fn undo(&self) -> Undo {
        match self {
            Self::CapturePriorState { .. }
            | Self::CollectEvidence { .. }
            | Self::RunProbes { .. }
            | Self::SaveManifests(_)
            | Self::VerifyWorkloadGone { .. }
            | Self::VerifyPodIsolation(_)
            | Self::VerifyNode { .. } => Undo::Nothing,
            Self::DeletePod { .. } => {
                Undo::Impossible("the pod's memory and its emptyDir volumes are lost; its manifest is kept as evidence")
            }
            Self::ScaleToZero { .. } => {
                Undo::Impossible("its pods end with their memory; scaling back to the recorded number starts fresh ones")
            }
            Self::DeleteWorkload { .. } => Undo::Impossible(
                "its pods end for good; its manifests are kept as evidence, without the values of environment variables, to make it again by hand",
            ),
            Self::EndContainer { ending, .. } => end_is_final(ending),
            Self::Drain(_) => Undo::Impossible("evicted pods are replaced elsewhere, or gone if nothing owns them"),
            Self::Cordon(_)
            | Self::Uncordon(_)
            | Self::DisableScaleDown(_)
            | Self::ExcludeFromLoadBalancers(_)
            | Self::KeepFromAutoscaler(_)
            | Self::KeepWhileUnreachable(_)
            | Self::DenyPodTraffic(_)
            | Self::LabelPod { .. }
            | Self::AllowScaleDown(_)
            | Self::IncludeInLoadBalancers(_)
            | Self::RestorePod { .. }
            | Self::ScaleBack { .. }
            | Self::AllowPodTraffic(_) => Undo::Possible,
        }
    }

    fn summary(&self) -> String {
        match self {
            Self::CapturePriorState { node, .. } => format!("save the prior state of node {} and its suspects", node.name),
            Self::CollectEvidence { node, suspects } if suspects.is_empty() => format!("collect objects and events of node {}", node.name),
            Self::CollectEvidence { suspects, .. } => format!("collect objects, events and logs of {}", list(suspects)),
            Self::RunProbes { pod, probes } => {
                let names = probes.iter().map(|probe| probe.name()).collect::<Vec<_>>().join(", ");
                format!("run read-only programs in the containers of {pod}: {names}")
            }
            Self::Cordon(node) => format!("cordon node {}", node.name),
            Self::Uncordon(node) => format!("uncordon node {}", node.name),
            Self::DisableScaleDown(node) => format!("keep the autoscaler from removing node {}", node.name),
            Self::ExcludeFromLoadBalancers(node) => format!("take node {} out of external load balancers", node.name),
            Self::KeepWhileUnreachable(pod) => format!("keep pod {pod} while its node is unreachable"),
            Self::DenyPodTraffic(pod) => format!("deny all traffic of pod {pod} (NetworkPolicy)"),
            Self::LabelPod { pod, set, remove } => {
                let set = set.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
                match remove.is_empty() {
                    true => format!("label pod {pod}: {set}"),
                    false => {
                        let keys = remove.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                        format!("label pod {pod}: {set}; detach it by removing {keys}")
                    }
                }
            }
            Self::AllowScaleDown(node) => format!("let the autoscaler remove node {} again", node.name),
            Self::IncludeInLoadBalancers(node) => format!("put node {} back into external load balancers", node.name),
            Self::RestorePod { prior, .. } => format!("give pod {} its labels and tolerations back", prior.pod),
            Self::DeletePod { pod, grace_s, waiver } => {
                let waived = waiver.as_ref().map_or_else(String::new, |reason| format!(", without waiting for evidence: {reason}"));
                format!("delete pod {pod} (grace period {grace_s} s){waived}")
            }
            Self::KeepFromAutoscaler(pod) => format!("keep the autoscaler from removing pod {pod}"),
            Self::ScaleBack { workload, to } => format!("scale {workload} from 0 back to {to}"),
            Self::ScaleToZero { workload, from } => format!("scale {workload} from {from} to 0"),
            Self::VerifyPodIsolation(isolation) => format!("read pod {}, its policies and its Services back", isolation.pod),
            Self::SaveManifests(workloads) => format!("save the manifests of {}", words(workloads)),
            Self::DeleteWorkload { workload, waiver } => {
                let waived = waiver.as_ref().map_or_else(String::new, |reason| format!(", without waiting for evidence: {reason}"));
                format!("delete {workload} with everything that it owns{waived}")
            }
            Self::VerifyWorkloadGone { workloads, pods: of, deadline_s } => {
                let what: Vec<String> = workloads.iter().map(ToString::to_string).chain([pods(of.len())]).collect();
                format!("read that {} are gone (at most {deadline_s} s)", what.join(" and "))
            }
            Self::EndContainer { ending, through } => end(ending, &format!("by a privileged pod in {}", through.namespace)),
            Self::AllowPodTraffic(pod) => format!("delete the NetworkPolicy that denies the traffic of pod {pod}"),
            Self::Drain(drain) => {
                format!(
                    "drain node {}: evict {} (at most {}, {} s)",
                    drain.node.name,
                    pods(drain.expected.len()),
                    drain.at_most,
                    drain.deadline_s
                )
            }
            Self::VerifyNode { node, .. } => format!("read node {} and its suspects back", node.name),
        }
    }
}

impl ComputeAction {
    fn undo(&self) -> Undo {
        match self {
            Self::CapturePriorState { .. }
            | Self::CollectEvidence { .. }
            | Self::VerifyIsolation { .. }
            | Self::VerifySnapshots { .. }
            | Self::VerifySsh(_) => Undo::Nothing,
            Self::SnapshotDisk { .. } => Undo::Kept,
            Self::AbandonInstance { .. } => Undo::Impossible("no call puts an instance back into its group"),
            Self::ResizeGroup { .. } => Undo::Impossible("a group that is made smaller again chooses by itself which instance it deletes"),
            Self::DeleteInstance { .. } => Undo::Impossible(
                "a deleted VM does not come back: its memory and Local SSDs are lost; disks can be made from the snapshots",
            ),
            Self::RemoveExternalIp { access, .. } if !access.reserved => {
                Undo::Impossible("the address is ephemeral and goes back to Google's pool")
            }
            Self::ProtectFromDeletion(_)
            | Self::UntagInstance { .. }
            | Self::RemoveFirewallRule { .. }
            | Self::RestoreExternalIp { .. }
            | Self::AllowDeletion(_)
            | Self::ReleaseBootDisk { .. }
            | Self::KeepBootDisk { .. }
            | Self::EnsureFirewallRule(_)
            | Self::TagInstance { .. }
            | Self::AddSshKey { .. }
            | Self::RemoveSshKey { .. }
            | Self::TagForSsh { .. }
            | Self::CreateIntermediate(_)
            | Self::DeleteIntermediate { .. }
            | Self::TagIntermediate { .. }
            | Self::UntagIntermediate { .. }
            | Self::UntagForSsh { .. }
            | Self::RemoveExternalIp { .. } => Undo::Possible,
        }
    }

    fn summary(&self) -> String {
        match self {
            Self::CapturePriorState { instance, .. } => format!("save the prior state of instance {}", instance.name),
            Self::CollectEvidence { instance } => {
                format!("collect interfaces, disks and effective firewalls of instance {}", instance.name)
            }
            Self::SnapshotDisk { disk, name, .. } => format!("snapshot disk {} as {name}", disk.name),
            Self::AbandonInstance { instance, group } => format!("abandon instance {} from group {}", instance.name, group.name),
            Self::ProtectFromDeletion(instance) => format!("protect instance {} from deletion", instance.name),
            Self::KeepBootDisk { instance, .. } => format!("keep the boot disk if instance {} is deleted", instance.name),
            Self::UntagInstance { instance, tag } => format!("remove tag {tag} from instance {}", instance.name),
            Self::RemoveFirewallRule { rule, .. } => format!("delete firewall rule {}", rule.name),
            Self::RestoreExternalIp { instance, access } => {
                format!(
                    "give instance {} its reserved address {} back ({} {})",
                    instance.name, access.address, access.interface, access.name
                )
            }
            Self::AllowDeletion(instance) => format!("switch the deletion protection of instance {} off", instance.name),
            Self::ReleaseBootDisk { instance, .. } => format!("let the boot disk be deleted with instance {} again", instance.name),
            Self::EnsureFirewallRule(rule) => format!("ensure firewall rule {}", rule.summary()),
            Self::TagInstance { instance, tag, .. } => {
                format!("tag instance {} with {tag} and read the effective firewall back", instance.name)
            }
            Self::RemoveExternalIp { instance, access } => {
                let address = if access.address.is_empty() { "none assigned" } else { &access.address };
                format!("remove external address {address} ({} {}) from {}", access.interface, access.name, instance.name)
            }
            Self::AddSshKey { instance, key, .. } => format!("add SSH key {} to the metadata of {}", key.short(), instance.name),
            Self::RemoveSshKey { instance, line } => {
                let user = line.split(':').next().unwrap_or_default();
                let comment = line.split_whitespace().last().unwrap_or_default();
                format!("remove the SSH key of {user} ({comment}) from the metadata of {}", instance.name)
            }
            Self::UntagForSsh { instance, tag } => format!("remove tag {tag} from instance {}", instance.name),
            Self::TagForSsh { instance, tag } => format!("tag instance {} with {tag}", instance.name),
            Self::CreateIntermediate(new) => {
                format!("create intermediate {} ({}, no external address, tag {})", new.name, new.machine_type, new.tag)
            }
            Self::DeleteIntermediate { intermediate, request } => {
                format!("delete intermediate {}, which {request} made", intermediate.name)
            }
            Self::TagIntermediate { intermediate, tag } => format!("tag intermediate {} with {tag}", intermediate.name),
            Self::UntagIntermediate { intermediate, tag } => format!("remove tag {tag} from intermediate {}", intermediate.name),
            Self::VerifySsh(access) => {
                format!("read key, tags and rule back: SSH to {} through {}", access.instance.name, access.intermediate.name())
            }
            Self::VerifySnapshots { snapshots } => {
                let names: Vec<&str> = snapshots.iter().map(|(_, name)| name.as_str()).collect();
                format!("read that the snapshots are READY: {}", if names.is_empty() { "none".into() } else { names.join(", ") })
            }
            Self::ResizeGroup { group, from, to } => format!("resize group {} from {from} to {to}", group.name),
            Self::DeleteInstance { instance, group, waiver } => {
                let how = group.as_ref().map_or_else(String::new, |group| format!(" through group {}", group.name));
                let waived =
                    waiver.as_ref().map_or_else(String::new, |reason| format!(", without waiting for snapshots or evidence: {reason}"));
                format!("delete instance {} (id {}){how}{waived}", instance.name, instance.id)
            }
            Self::VerifyIsolation { instance, addresses_gone, .. } => {
                let what = if *addresses_gone { "tag, firewall, addresses and group" } else { "tag and firewall" };
                format!("read {what} of {} back", instance.name)
            }
        }
    }
}

fn end_is_final(ending: &Ending) -> Undo {
    Undo::Impossible(match ending.removes() {
        true => "the container's memory, its file system and its log on the node are lost",
        false => "the container's memory is lost; its file system stays on the node until the kubelet clears it away",
    })
}

fn end(ending: &Ending, way: &str) -> String {
    let climbed = ending.ladder.iter().enumerate().map(|(at, verb)| {
        let only_if = match (at, verb) {
            (0, _) => "",
            (_, Verb::Stop { .. } | Verb::Kill) => ", if it still runs ",
            (_, Verb::Remove) => ", then ",
        };
        format!("{only_if}{}", command(ending, *verb))
    });
    let verbs: String = climbed.collect();
    let waived = ending.waiver.as_ref().map_or_else(String::new, |reason| format!(", without waiting for evidence: {reason}"));
    format!("end {ending} on node {} {way}: {verbs}{waived}", ending.node.name)
}

/// `crictl rm -f 4f1c0d7a9e2b`: people compare the first twelve digits.
fn command(ending: &Ending, verb: Verb) -> String {
    let mut argv = ending.argv(verb);
    let id: String = argv.pop().unwrap_or_default().chars().take(12).collect();
    format!("`{} {id}`", argv.join(" "))
}

fn words(workloads: &[WorkloadRef]) -> String {
    workloads.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn list(pods: &[PodRef]) -> String {
    pods.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `1 pod`, `2 pods`.
#[must_use]
pub fn pods(count: usize) -> String {
    format!("{count} pod{}", if count == 1 { "" } else { "s" })
}
