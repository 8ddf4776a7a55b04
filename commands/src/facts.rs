//! What a survey read, as plain values. A plan is a function of these and of nothing else.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::action::AccessConfig;
use crate::firewall_rule::FirewallRule;
use crate::selector::Selector;
use crate::target::{
    ClusterName, ComputeName, DiskRef, GroupRef, InstanceRef, Location, Namespace, NetworkRef, NodeName, NodeRef, PodRef, ProjectId,
    TargetName, WorkloadRef,
};

/// What to survey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Cluster.
    pub cluster: ClusterName,
    /// Pod or node, as it was typed.
    pub target: TargetName,
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// When the survey ended.
    pub surveyed_at: Timestamp,
    /// Where the cluster is, from the configuration.
    pub cluster: ClusterFacts,
    /// The Kubernetes side.
    pub kubernetes: KubernetesFacts,
    /// The Compute side, or why there is none.
    pub compute: Result<ComputeFacts, NoInstance>,
}

/// A configured cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// Name in the configuration.
    pub name: ClusterName,
    /// Project that the configuration says it is in.
    pub project: ProjectId,
    /// Zone or region that the configuration says it is in.
    pub location: Location,
}

/// Why an instance cannot be acted on through Compute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoInstance {
    /// Autopilot: the VM is Google's.
    Autopilot,
    /// The node's `spec.providerID` is missing or is not `gce://PROJECT/ZONE/NAME`.
    NotOnCompute {
        /// What the node says.
        provider_id: String,
    },
    /// No such instance: wrong project or zone, or it is deleted.
    NotFound {
        /// `projects/P/zones/Z/instances/N`.
        instance: String,
    },
    /// An instance of that name exists, but it is another one.
    AnotherId {
        /// Id in the node's annotation `container.googleapis.com/instance_id`.
        expected: String,
        /// Id of the instance.
        found: String,
    },
}

/// The Kubernetes side of a survey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesFacts {
    /// The suspect, if the target was a pod.
    pub suspect: Option<PodFacts>,
    /// The node that hosts the target.
    pub node: NodeFacts,
    /// Every pod on that node, the suspect included, by namespace and name.
    pub pods: Vec<PodFacts>,
    /// Budgets in the namespaces of those pods.
    pub budgets: Vec<BudgetFacts>,
    /// Services that select the suspect, as `NAMESPACE/NAME`, with their selectors.
    pub services: BTreeMap<String, BTreeMap<String, String>>,
    /// NetworkPolicies that select the suspect now.
    pub policies: Vec<PolicyFacts>,
    /// How many other nodes are schedulable: where evicted pods can go.
    pub other_schedulable_nodes: usize,
    /// Every NetworkPolicy of the suspect's namespace: one that does not select it now may do so once its labels are rewritten.
    pub namespace_policies: Vec<PolicyFacts>,
    /// What keeps the suspect running.
    pub workload: Option<WorkloadFacts>,
}

/// What keeps the suspect running: its owners, and everything that they keep running with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadFacts {
    /// Controlling owners, from the suspect's own up to the highest that Stanch knows. Empty: nothing owns it.
    pub chain: Vec<WorkloadRef>,
    /// What controls the highest, and why Stanch knows no more of it. `None`: the chain is complete.
    pub above: Option<String>,
    /// The pods of the highest owner, with their nodes.
    pub pods: Vec<(PodRef, Option<NodeName>)>,
    /// `spec.replicas` of the highest owner, if its kind has it.
    pub replicas: Option<u32>,
    /// Names of HorizontalPodAutoscalers that scale one of the chain.
    pub autoscalers: Vec<String>,
    /// Who would make the highest owner, or a bare pod, again, as its marks say. A phrase each.
    pub makers: Vec<String>,
    /// Deleting the highest owner deletes the volume claims of its pods too.
    pub deletes_claims: bool,
    /// What could not be read, and why. A phrase each.
    pub unread: Vec<String>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodFacts {
    /// Which pod.
    pub pod: PodRef,
    /// `status.phase`.
    pub phase: String,
    /// It has a deletion timestamp.
    pub terminating: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The controlling owner, as kind and name.
    pub owner: Option<Owner>,
    /// Selector keys of the controlling owner: removing one detaches the pod from it.
    pub owner_selector: BTreeSet<String>,
    /// A static pod's mirror: the API cannot evict it.
    pub mirror: bool,
    /// Names of its emptyDir volumes, which are lost with the pod.
    pub empty_dirs: Vec<String>,
    /// It shares the node's network, so NetworkPolicies do not bind it.
    pub host_network: bool,
    /// Kubernetes service account.
    pub service_account: String,
    /// It would be deleted some time after its node became unreachable.
    pub deleted_when_unreachable: bool,
    /// `spec.restartPolicy`: `Always`, `OnFailure` or `Never`.
    pub restart_policy: String,
    /// Its containers as the kubelet last told of them, initial and ephemeral ones included.
    pub containers: Vec<ContainerFacts>,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFacts {
    /// Name.
    pub name: String,
    /// `containerd://ID`, empty if it was never started.
    pub runtime_id: String,
    /// It runs.
    pub running: bool,
    /// It was added to the running pod, and is not started again when it ends.
    pub ephemeral: bool,
}

impl PodFacts {
    /// Whether a drain leaves the pod: it would come back at once, or the API cannot evict it.
    #[must_use]
    pub fn stays_on_drain(&self) -> bool {
        self.mirror || self.owner.as_ref().is_some_and(|owner| owner.kind == "DaemonSet")
    }
}

/// The controlling owner of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// `ReplicaSet`, `DaemonSet`, …
    pub kind: String,
    /// Name.
    pub name: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Which node.
    pub node: NodeRef,
    /// Already cordoned.
    pub unschedulable: bool,
    /// Ready condition is True.
    pub ready: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `cloud.google.com/gke-nodepool`.
    pub pool: Option<String>,
    /// `spec.providerID`, empty if absent.
    pub provider_id: String,
    /// Annotation `container.googleapis.com/instance_id`.
    pub instance_id: Option<String>,
    /// The node belongs to an Autopilot cluster or an Autopilot node pool.
    pub autopilot: bool,
    /// Container runtime and version.
    pub runtime: String,
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetFacts {
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: String,
    /// `status.disruptionsAllowed`.
    pub disruptions_allowed: u32,
    /// Pods on the node that it covers.
    pub covers: Vec<PodRef>,
}

/// A NetworkPolicy that selects the suspect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFacts {
    /// Name, in the suspect's namespace.
    pub name: String,
    /// Label keys that its selector uses. Empty: it selects every pod of the namespace and no label can escape it.
    pub selector_keys: BTreeSet<String>,
    /// It allows some traffic.
    pub allows: bool,
    /// The whole selector.
    pub selector: Selector,
}

/// The Compute side of a survey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComputeFacts {
    /// The instance.
    pub instance: InstanceRef,
    /// `RUNNING`, …
    pub status: String,
    /// Spot or preemptible: Google may stop it at any time.
    pub preemptible: bool,
    /// Already protected.
    pub deletion_protection: bool,
    /// Network tags.
    pub tags: BTreeSet<String>,
    /// Interfaces.
    pub interfaces: Vec<InterfaceFacts>,
    /// Disks.
    pub disks: Vec<DiskFacts>,
    /// The group that lists the instance by numeric id; `None` if it is in none, or was abandoned.
    pub group: Option<GroupFacts>,
    /// Google service accounts with their scopes: they stay usable from the instance.
    pub service_accounts: BTreeMap<String, Vec<String>>,
    /// Firewall rules of the interfaces' networks whose name or target tag starts with `quarantine`.
    pub firewall: Vec<FirewallRule>,
    /// Instances on the same networks that carry a tag which starts with `quarantine`: tag → instances.
    pub tagged: BTreeMap<String, Vec<InstanceRef>>,
    /// What is evaluated before the quarantine's rules and lets something through: hierarchical or network firewall policies, and
    /// ingress rules of priority 0. A phrase each.
    pub overriding: Vec<String>,
    /// How somebody could log in.
    pub ssh: SshFacts,
}

/// What a survey of one group found: it needs no node, which may be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSurvey {
    /// The cluster whose node was in it.
    pub cluster: ClusterName,
    /// Which group was asked for.
    pub group: GroupRef,
    /// How it stands; `None` if there is no such group.
    pub found: Option<GroupState>,
}

/// Where an instance is reached, as Compute tells at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceAddresses {
    /// `RUNNING`, …
    pub status: String,
    /// Its internal IPv4 address on each of its networks.
    pub internal: BTreeMap<String, String>,
    /// Its external IPv4 address, if it has one.
    pub external: Option<String>,
}

/// A group by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// `targetSize`.
    pub target_size: u32,
    /// The Compute autoscaler that decides about the size.
    pub autoscaler: Option<String>,
}

/// How somebody could log in to an instance over SSH.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshFacts {
    /// What switches OS Login on, such as `the instance`: keys in the metadata are ignored then.
    pub os_login: Option<String>,
    /// Lines of the metadata entry `ssh-keys`.
    pub keys: Vec<String>,
    /// Other instances of the same project with an interface on one of the same networks.
    pub neighbours: Vec<NeighbourFacts>,
}

/// Another instance on the same networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourFacts {
    /// The instance.
    pub instance: InstanceRef,
    /// `RUNNING`, …
    pub status: String,
    /// Network tags.
    pub tags: BTreeSet<String>,
    /// Networks of its interfaces, with its internal address on each.
    pub networks: BTreeMap<String, String>,
    /// Its external IPv4 address, if it has one.
    pub external: Option<String>,
    /// The request that made it, if Stanch did.
    pub made_by: Option<String>,
}

impl NeighbourFacts {
    /// Its internal address on a network, if it is there.
    #[must_use]
    pub fn address_on(&self, network: &NetworkRef) -> Option<&str> {
        self.networks.get(&network.to_string()).map(String::as_str)
    }
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceFacts {
    /// `nic0`, …
    pub name: String,
    /// Its network.
    pub network: NetworkRef,
    /// Link of its subnetwork, `projects/P/regions/R/subnetworks/N`.
    pub subnetwork: String,
    /// Internal IPv4 address.
    pub internal_ip: String,
    /// It also has IPv6, so that IPv4 rules alone leave it open.
    pub dual_stack: bool,
    /// External addresses of either family.
    pub access_configs: Vec<AccessConfig>,
}

/// An attached disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    /// Device name.
    pub device: String,
    /// The persistent disk; `None` for a Local SSD, which no snapshot covers.
    pub disk: Option<DiskRef>,
    /// Boot disk.
    pub boot: bool,
    /// It is deleted with the instance.
    pub auto_delete: bool,
    /// The newest snapshot of it by Stanch that is CREATING or READY, with its age in seconds.
    pub recent_snapshot: Option<(ComputeName, u64)>,
    /// The newest snapshot of it by Stanch that is READY: what may be relied on before something is destroyed.
    pub ready_snapshot: Option<ReadySnapshot>,
}

/// A snapshot that Stanch made and that is READY.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadySnapshot {
    /// Its name.
    pub name: ComputeName,
    /// Its age in seconds.
    pub age_s: u64,
    /// The incident that it is labelled with.
    pub incident: String,
}

/// A managed instance group, as the instance's membership shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFacts {
    /// Which group.
    pub group: GroupRef,
    /// `targetSize`.
    pub target_size: u32,
    /// `currentAction` of this instance; anything but `NONE` means that the group is about to change it.
    pub current_action: String,
}
