//! The closed list of everything that Stanch can do to a cluster or a project. Every value is fully bound: nothing in it is left to
//! choose when it is carried out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::firewall_rule::FirewallRule;
use crate::prior::PodPrior;
use crate::runtime::{Ending, PrivilegedPod, SshRoute};
use crate::ssh_key::SshKey;
use crate::target::{ComputeName, DiskRef, GroupRef, InstanceRef, Location, NodeRef, PodRef, ProjectId, RequestId, Uid, WorkloadRef};
pub use crate::wording::pods;

/// One step's action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// On the Kubernetes API of the plan's cluster.
    Kubernetes(KubernetesAction),
    /// On the Compute Engine API.
    Compute(ComputeAction),
    /// On a node itself, over SSH.
    Ssh(SshAction),
}

/// An action on the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KubernetesAction {
    /// Reads what later steps will change, so that the record can restore it: cordon, labels, annotations, tolerations.
    CapturePriorState {
        /// The node.
        node: NodeRef,
        /// The suspect pods.
        suspects: Vec<PodRef>,
    },
    /// Reads API objects, events and logs of the suspects and their node into the evidence store. Does not touch a container.
    CollectEvidence {
        /// The node.
        node: NodeRef,
        /// The suspect pods.
        suspects: Vec<PodRef>,
    },
    /// Runs programs that only read, in every container of a suspect, into the evidence store. Who watches the container can notice.
    RunProbes {
        /// The pod.
        pod: PodRef,
        /// Which.
        probes: BTreeSet<Probe>,
    },
    /// `spec.unschedulable = true`.
    Cordon(NodeRef),
    /// `spec.unschedulable = false`.
    Uncordon(NodeRef),
    /// Annotation `cluster-autoscaler.kubernetes.io/scale-down-disabled=true`, or the autoscaler deletes the emptied node and its disk.
    DisableScaleDown(NodeRef),
    /// Label `node.kubernetes.io/exclude-from-external-load-balancers=true`: a cordoned node stays a backend otherwise.
    ExcludeFromLoadBalancers(NodeRef),
    /// Removes `tolerationSeconds` from the first matching not-ready and unreachable tolerations, or the suspect is deleted 300 s after
    /// its node lost the control plane.
    KeepWhileUnreachable(PodRef),
    /// A NetworkPolicy that selects exactly this pod by `stanch.dev/quarantine=<uid>` and denies both directions.
    DenyPodTraffic(PodRef),
    /// Rewrites the labels of a suspect in one patch. Removed ones are kept in the annotation `stanch.dev/original-labels`.
    LabelPod {
        /// The pod.
        pod: PodRef,
        /// Labels to set.
        set: BTreeMap<String, String>,
        /// Labels to remove, so that the pod leaves its Services and its owner.
        remove: BTreeSet<String>,
    },
    /// Removes the annotation of [`Self::DisableScaleDown`].
    AllowScaleDown(NodeRef),
    /// Removes the label of [`Self::ExcludeFromLoadBalancers`].
    IncludeInLoadBalancers(NodeRef),
    /// Gives a suspect its labels and the ends of its tolerations back. Its owner adopts it again and deletes the clean replacement.
    RestorePod {
        /// The suspect as it was.
        prior: Box<PodPrior>,
        /// The labels that Stanch set: removed, unless the suspect had them before.
        remove: BTreeSet<String>,
    },
    /// Deletes the NetworkPolicy of [`Self::DenyPodTraffic`], once the suspect is gone or no longer carries the label that it selects.
    AllowPodTraffic(PodRef),
    /// Deletes a pod. On a node that does not answer the deletion is accepted, and carried out when the node is back; nothing is forced.
    DeletePod {
        /// The pod.
        pod: PodRef,
        /// Seconds that its processes get to end.
        grace_s: u32,
        /// Why it may go without stored evidence. `None`: the plan requires it.
        waiver: Option<String>,
    },
    /// Annotation `cluster-autoscaler.kubernetes.io/safe-to-evict=false`, or the autoscaler removes the suspect's node with it.
    KeepFromAutoscaler(PodRef),
    /// `spec.replicas = 0` of a Deployment or StatefulSet: every pod of it ends.
    ScaleToZero {
        /// The workload.
        workload: WorkloadRef,
        /// How many replicas it wanted, to scale it back.
        from: u32,
    },
    /// `spec.replicas` of a workload that [`Self::ScaleToZero`] scaled, if it still is 0.
    ScaleBack {
        /// The workload.
        workload: WorkloadRef,
        /// How many replicas it wanted before.
        to: u32,
    },
    /// Reads back that the suspect carries its labels, that our policy is there, and who else selects it.
    VerifyPodIsolation(PodIsolation),
    /// Reads the manifests of these workloads into the evidence store. One that cannot be read fails the step.
    SaveManifests(Vec<WorkloadRef>),
    /// Deletes a workload with everything that it owns, owner last (`propagationPolicy=Foreground`), so that nothing is started again
    /// meanwhile. Succeeds when the API has accepted it.
    DeleteWorkload {
        /// The workload.
        workload: WorkloadRef,
        /// Why it may go without stored evidence. `None`: the plan requires it.
        waiver: Option<String>,
    },
    /// Reads, until a deadline, that workloads and pods are gone and that nothing made them again.
    VerifyWorkloadGone {
        /// The chain of owners.
        workloads: Vec<WorkloadRef>,
        /// The pods.
        pods: Vec<PodRef>,
        /// Seconds until what is left is named.
        deadline_s: u32,
    },
    /// Ends one container by its runtime's tool, which short-lived privileged pods run on the node.
    EndContainer {
        /// What ends, and how.
        ending: Box<Ending>,
        /// Where those pods are, and what they are made of.
        through: PrivilegedPod,
    },
    /// Evicts the pods on a node through the eviction API, until it is empty or the deadline passed.
    Drain(Drain),
    /// Reads back what the Kubernetes steps left.
    VerifyNode {
        /// The node.
        node: NodeRef,
        /// The suspects that must still be there, with the labels that they must carry.
        suspects: Vec<(PodRef, BTreeMap<String, String>)>,
    },
}

/// What must be so around an isolated pod, and what cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodIsolation {
    /// The pod.
    pub pod: PodRef,
    /// Labels that it must carry.
    pub labels: BTreeMap<String, String>,
    /// Labels that it must not carry.
    pub removed: BTreeSet<String>,
    /// Who is known to select it all the same: `NetworkPolicy NAME` or `Service NAMESPACE/NAME`.
    pub still: BTreeSet<String>,
    /// What enforces policies on its node; `None` if nothing does.
    pub enforced_by: Option<String>,
    /// Why the pod cannot be called isolated even then. A phrase each.
    pub open: Vec<String>,
}

impl PodIsolation {
    /// Whether the pod may be called isolated once everything else is so.
    #[must_use]
    pub fn isolates(&self) -> bool {
        self.open.is_empty() && self.enforced_by.is_some()
    }
}

/// A program that only reads, with every argument. Nothing of it comes from outside, and no shell is between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// What runs, with its arguments.
    Processes,
    /// Sockets and their peers, by the kernel's own tables: hardly any image has `ss`.
    Sockets,
    /// What is mounted where.
    Mounts,
}

impl Probe {
    /// Every probe.
    pub const ALL: [Self; 3] = [Self::Processes, Self::Sockets, Self::Mounts];

    /// Program and arguments.
    #[must_use]
    pub fn argv(self) -> &'static [&'static str] {
        match self {
            Self::Processes => &["ps", "-ef"],
            Self::Sockets => &["cat", "/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6", "/proc/net/unix"],
            Self::Mounts => &["cat", "/proc/self/mountinfo"],
        }
    }

    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Sockets => "sockets",
            Self::Mounts => "mounts",
        }
    }
}

/// Which pods a drain evicts: a rule, bound to the node's uid, since pods come and go until it runs.
///
/// Everything on the node is evicted except the suspects, DaemonSet pods, mirror pods, and pods of protected namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// The node.
    pub node: NodeRef,
    /// Suspects, and Stanch itself, spared by uid and not by label alone.
    pub spare: BTreeSet<Uid>,
    /// Namespaces whose pods are never evicted.
    pub protected_namespaces: BTreeSet<String>,
    /// The pods that the approvers saw; newcomers are named in the thread.
    pub expected: Vec<PodRef>,
    /// The most pods that this approval covers. One more ends the drain, not the containment.
    pub at_most: u32,
    /// Seconds after which what is left stays.
    pub deadline_s: u32,
}

/// An action on the Compute Engine API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComputeAction {
    /// Reads what later steps will change: tags, access configs and whether their addresses are reserved, protection, disks, group size.
    CapturePriorState {
        /// The instance.
        instance: InstanceRef,
        /// Its group, if it is a member.
        group: Option<GroupRef>,
    },
    /// Reads the instance, its interfaces, disks and effective firewalls into the evidence store. Values of its metadata stay where they are.
    CollectEvidence {
        /// The instance.
        instance: InstanceRef,
    },
    /// Starts a snapshot. Succeeds when the operation is done: the content is fixed then, even if the snapshot is not READY yet.
    SnapshotDisk {
        /// The disk.
        disk: DiskRef,
        /// Deterministic name, so that a retry finds its own snapshot.
        name: ComputeName,
        /// Incident, node, pod, role of the disk, request.
        labels: BTreeMap<String, String>,
    },
    /// Removes the instance from its group without deleting it, and waits until the group no longer lists it.
    AbandonInstance {
        /// The instance.
        instance: InstanceRef,
        /// The group.
        group: GroupRef,
    },
    /// `deletionProtection = true`. Refused by Compute for members of a group.
    ProtectFromDeletion(InstanceRef),
    /// `autoDelete = false` on the boot disk.
    KeepBootDisk {
        /// The instance.
        instance: InstanceRef,
        /// Device name of the boot disk.
        device: String,
    },
    /// Creates the rule, or accepts an existing one whose whole body is equal.
    EnsureFirewallRule(FirewallRule),
    /// Removes a network tag.
    UntagInstance {
        /// The instance.
        instance: InstanceRef,
        /// The tag.
        tag: ComputeName,
    },
    /// Deletes a rule, if its whole body is what Stanch made and no instance of its network carries its tag.
    RemoveFirewallRule {
        /// The rule.
        rule: FirewallRule,
        /// The instance that was isolated: others of its project may still be.
        instance: InstanceRef,
    },
    /// Gives a reserved external IPv4 address back.
    RestoreExternalIp {
        /// The instance.
        instance: InstanceRef,
        /// Where it was, and which one.
        access: AccessConfig,
    },
    /// `autoDelete = true` on the boot disk.
    ReleaseBootDisk {
        /// The instance.
        instance: InstanceRef,
        /// Device name of the boot disk.
        device: String,
    },
    /// Adds a network tag and reads it back, together with the effective firewall of each interface.
    TagInstance {
        /// The instance.
        instance: InstanceRef,
        /// The tag.
        tag: ComputeName,
        /// What the effective firewall must contain afterwards.
        rules: Vec<FirewallRule>,
    },
    /// Deletes one access config.
    RemoveExternalIp {
        /// The instance.
        instance: InstanceRef,
        /// Which one.
        access: AccessConfig,
    },
    /// Adds a public key to the metadata entry `ssh-keys`, under the fingerprint of the metadata, beside every other key.
    AddSshKey {
        /// The instance.
        instance: InstanceRef,
        /// The key.
        key: SshKey,
        /// The request that the line is marked with.
        request: RequestId,
    },
    /// Removes exactly one line from `ssh-keys`.
    RemoveSshKey {
        /// The instance.
        instance: InstanceRef,
        /// The line.
        line: String,
    },
    /// Adds a network tag that lets something in: the target of an allow rule.
    TagForSsh {
        /// The instance.
        instance: InstanceRef,
        /// The tag.
        tag: ComputeName,
    },
    /// Removes the tag of [`Self::TagForSsh`].
    UntagForSsh {
        /// The instance.
        instance: InstanceRef,
        /// The tag.
        tag: ComputeName,
    },
    /// Makes an instance from which the target is reached, tagged for it from the start.
    CreateIntermediate(Box<NewIntermediate>),
    /// Deletes an intermediate that Stanch made.
    DeleteIntermediate {
        /// The instance.
        intermediate: InstanceRef,
        /// The request that made it, as its label says.
        request: String,
    },
    /// Adds the tag from which an allow rule admits traffic.
    TagIntermediate {
        /// The instance from which the target is reached. It is no target of the plan.
        intermediate: InstanceRef,
        /// The tag.
        tag: ComputeName,
    },
    /// Removes that tag.
    UntagIntermediate {
        /// The instance from which the target was reached.
        intermediate: InstanceRef,
        /// The tag.
        tag: ComputeName,
    },
    /// Reads back everything that an SSH connection through an intermediate needs.
    VerifySsh(Box<SshAccess>),
    /// Reads that each of these snapshots is of that disk, by id, and READY: what must be so before the disk is destroyed.
    VerifySnapshots {
        /// Disk and snapshot.
        snapshots: Vec<(DiskRef, ComputeName)>,
    },
    /// `deletionProtection = false`.
    AllowDeletion(InstanceRef),
    /// Changes the size of a group, from exactly the one that the plan was made on.
    ResizeGroup {
        /// The group.
        group: GroupRef,
        /// Its size until then, which is its prior state.
        from: u32,
        /// Its size afterwards.
        to: u32,
    },
    /// Deletes the instance.
    DeleteInstance {
        /// The instance.
        instance: InstanceRef,
        /// The group that deletes its member and becomes one smaller; `None` for an instance that is in no group.
        group: Option<GroupRef>,
        /// Why it may go without READY snapshots and stored evidence. `None`: the plan requires both.
        waiver: Option<String>,
    },
    /// Reads back tag, rules, effective firewall, access configs and group membership.
    VerifyIsolation {
        /// The instance.
        instance: InstanceRef,
        /// The tag.
        tag: ComputeName,
        /// What must be in force.
        rules: Vec<FirewallRule>,
        /// The group that must not list the instance.
        group: Option<GroupRef>,
        /// Whether every external address must be gone.
        addresses_gone: bool,
    },
}

/// An action on a node itself, over SSH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SshAction {
    /// Ends one container by its runtime's tool.
    EndContainer {
        /// What ends, and how.
        ending: Box<Ending>,
        /// The instance under the node.
        instance: InstanceRef,
        /// The instance from which it is reached. It is no target of the plan.
        via: InstanceRef,
        /// From where, and as whom.
        route: SshRoute,
    },
}

/// A way into an isolated instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshAccess {
    /// The instance.
    pub instance: InstanceRef,
    /// Its interface that the intermediate reaches.
    pub interface: String,
    /// The key that it admits.
    pub key: SshKey,
    /// The rule that lets the intermediate in.
    pub rule: FirewallRule,
    /// The instance from which it is reached.
    pub intermediate: Intermediate,
}

/// An instance from which another one is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intermediate {
    /// One that was there when the plan was made.
    There(InstanceRef),
    /// One that the plan makes, and whose id nobody knows yet.
    Made(Box<NewIntermediate>),
}

impl Intermediate {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ComputeName {
        match self {
            Self::There(instance) => &instance.name,
            Self::Made(made) => &made.name,
        }
    }
}

/// An instance to be made: no external address, no service account, the boot disk deleted with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewIntermediate {
    /// Project.
    pub project: ProjectId,
    /// Zone.
    pub zone: Location,
    /// Name.
    pub name: ComputeName,
    /// Machine type, such as `e2-micro`.
    pub machine_type: String,
    /// Image family, as `projects/P/global/images/family/F`.
    pub image: String,
    /// Subnetwork, as `projects/P/regions/R/subnetworks/N`.
    pub subnetwork: String,
    /// The tag from which the rule admits traffic.
    pub tag: ComputeName,
    /// Labels; `stanch-request` tells whose it is.
    pub labels: BTreeMap<String, String>,
    /// The key that may log in to it as well, so that one key makes both hops.
    pub key: SshKey,
    /// The request that the key is marked with.
    pub request: RequestId,
}

/// An external address of a network interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccessConfig {
    /// Interface, such as `nic0`.
    pub interface: String,
    /// Name of the access config, such as `external-nat`.
    pub name: String,
    /// The address; empty if none is assigned at present.
    pub address: String,
    /// IPv6 access configs are a list of their own.
    pub ipv6: bool,
    /// A reserved address can be given back on release; an ephemeral one is lost.
    pub reserved: bool,
}

/// How much agreement an action needs at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionClass {
    /// New snapshots, and reading into our own store. The only class that may run before a quorum.
    Preserve,
    /// Reads that verify. They run inside an authorised plan.
    Verify,
    /// Writes.
    Mutate,
}

impl Action {
    /// The class of the action.
    #[must_use]
    pub fn class(&self) -> ActionClass {
        match self {
            Self::Kubernetes(
                KubernetesAction::CapturePriorState { .. } | KubernetesAction::CollectEvidence { .. } | KubernetesAction::SaveManifests(_),
            )
            | Self::Compute(
                ComputeAction::CapturePriorState { .. } | ComputeAction::CollectEvidence { .. } | ComputeAction::SnapshotDisk { .. },
            ) => ActionClass::Preserve,
            Self::Kubernetes(
                KubernetesAction::VerifyNode { .. } | KubernetesAction::VerifyWorkloadGone { .. } | KubernetesAction::VerifyPodIsolation(_),
            )
            | Self::Compute(ComputeAction::VerifyIsolation { .. } | ComputeAction::VerifySnapshots { .. } | ComputeAction::VerifySsh(_)) => {
                ActionClass::Verify
            }
            // A probe changes nothing that Stanch knows of, but warns whoever watches the container: two people decide that.
            Self::Kubernetes(
                KubernetesAction::RunProbes { .. }
                | KubernetesAction::Cordon(_)
                | KubernetesAction::Uncordon(_)
                | KubernetesAction::DisableScaleDown(_)
                | KubernetesAction::ExcludeFromLoadBalancers(_)
                | KubernetesAction::KeepWhileUnreachable(_)
                | KubernetesAction::DenyPodTraffic(_)
                | KubernetesAction::LabelPod { .. }
                | KubernetesAction::AllowScaleDown(_)
                | KubernetesAction::IncludeInLoadBalancers(_)
                | KubernetesAction::RestorePod { .. }
                | KubernetesAction::AllowPodTraffic(_)
                | KubernetesAction::DeletePod { .. }
                | KubernetesAction::DeleteWorkload { .. }
                | KubernetesAction::EndContainer { .. }
                | KubernetesAction::KeepFromAutoscaler(_)
                | KubernetesAction::ScaleToZero { .. }
                | KubernetesAction::ScaleBack { .. }
                | KubernetesAction::Drain(_),
            )
            | Self::Compute(
                ComputeAction::AbandonInstance { .. }
                | ComputeAction::UntagInstance { .. }
                | ComputeAction::RemoveFirewallRule { .. }
                | ComputeAction::RestoreExternalIp { .. }
                | ComputeAction::AllowDeletion(_)
                | ComputeAction::ReleaseBootDisk { .. }
                | ComputeAction::ProtectFromDeletion(_)
                | ComputeAction::KeepBootDisk { .. }
                | ComputeAction::EnsureFirewallRule(_)
                | ComputeAction::TagInstance { .. }
                | ComputeAction::RemoveExternalIp { .. }
                | ComputeAction::AddSshKey { .. }
                | ComputeAction::RemoveSshKey { .. }
                | ComputeAction::TagForSsh { .. }
                | ComputeAction::UntagForSsh { .. }
                | ComputeAction::CreateIntermediate(_)
                | ComputeAction::DeleteIntermediate { .. }
                | ComputeAction::TagIntermediate { .. }
                | ComputeAction::UntagIntermediate { .. }
                | ComputeAction::ResizeGroup { .. }
                | ComputeAction::DeleteInstance { .. },
            )
            | Self::Ssh(SshAction::EndContainer { .. }) => ActionClass::Mutate,
        }
    }
}

/// What an undo can do about an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// It changes nothing.
    Nothing,
    /// It adds something that is meant to stay.
    Kept,
    /// The captured prior state restores it.
    Possible,
    /// It cannot be undone, and why.
    Impossible(&'static str),
}
