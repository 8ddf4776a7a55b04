//! What Stanch must be allowed to do: for each action and each survey the rights that its calls need, and the commands that make them.
//!
//! `deploy/kubernetes/rbac.yaml` and `deploy/gcp/role.yaml` are generated from these tables, and `doctor` checks them before an incident.
//! A new action does not compile until it has its line here. Tests run every action with exactly these rights, and again without each.

use std::collections::{BTreeMap, BTreeSet};

use crate::action::{Action, ComputeAction, KubernetesAction, SshAction};
use crate::definition::Definition;
use crate::{
    abandon, allow_ssh, cordon, delete_node, delete_workload, drain, firewall, inspect, isolate_pod, kill_container, label, locate,
    quarantine, redeploy, release, remove_external_ip, resize_group, revoke_ssh, snapshot, uncordon,
};

/// A right on the Kubernetes API, as RBAC names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterRight {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Resource in the plural, with its subresource behind a slash.
    pub resource: &'static str,
    /// Verb.
    pub verb: &'static str,
}

/// A permission of Google Cloud, such as `compute.instances.get`.
pub type ProjectRight = &'static str;

/// One line of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The action's variant, or the survey.
    pub what: &'static str,
    /// Commands whose plans can hold it.
    pub commands: &'static [&'static Definition],
    /// What its calls to the Kubernetes API need.
    pub cluster: &'static [ClusterRight],
    /// What its calls to Compute Engine need.
    pub project: &'static [ProjectRight],
}

impl Entry {
    /// What a policy names to permit it as a part of this command.
    #[must_use]
    pub fn privilege(&self, command: &Definition) -> &'static str {
        match self.what {
            "RunProbes" => inspect::WITH_EXEC,
            // Nobody types it: it belongs to the switch in the configuration.
            "EndContainer" if !self.cluster.is_empty() => kill_container::BY_PRIVILEGED_POD,
            _ => command.name,
        }
    }
}

/// Makes a table and, from the same lines, the match over the closed enum: an action without a line does not compile.
macro_rules! needs {
    ($table:ident, $actions:ident, $side:ident, $other:ident: $($variant:ident of [$($command:ident),*] needs [$($right:expr),* $(,)?];)*) => {
        /// The lines of this enum, in its order.
        pub static $table: &[Entry] = &[$(Entry {
            what: stringify!($variant), commands: &[$(&$command::DEFINITION),*], $side: &[$($right),*], $other: &[],
        }),*];

        impl $actions {
            /// Name of the variant, as the table has it.
            #[must_use]
            pub fn variant(&self) -> &'static str {
                match self { $(Self::$variant { .. } => stringify!($variant)),* }
            }
        }
    };
}

needs! { KUBERNETES, KubernetesAction, cluster, project:
    CapturePriorState of [quarantine, inspect, cordon, label, drain, isolate_pod, redeploy, delete_workload, kill_container, uncordon, release] needs [get(NODES), get(PODS)];
    CollectEvidence of [quarantine, inspect, isolate_pod, redeploy, delete_workload, kill_container, delete_node, release] needs [
        get(NODES), get(PODS), list(PODS), get(POD_LOGS), list(EVENTS), get(SERVICE_ACCOUNTS), list(NETWORK_POLICIES), get(REPLICA_SETS),
        get(DEPLOYMENTS), get(STATEFUL_SETS), get(DAEMON_SETS), get(JOBS), get(CRON_JOBS), get(REPLICATION_CONTROLLERS),
    ];
    // By WebSocket it is a GET, for which the API server asks for both.
    RunProbes of [inspect] needs [get(PODS), get(EXEC), create(EXEC)];
    Cordon of [quarantine, cordon, drain] needs [get(NODES), patch(NODES)];
    Uncordon of [uncordon, release] needs [get(NODES), patch(NODES)];
    DisableScaleDown of [quarantine, cordon, drain] needs [get(NODES), patch(NODES)];
    ExcludeFromLoadBalancers of [quarantine] needs [get(NODES), patch(NODES)];
    KeepWhileUnreachable of [quarantine, isolate_pod] needs [get(PODS), patch(PODS)];
    DenyPodTraffic of [quarantine, isolate_pod] needs [get(PODS), get(NETWORK_POLICIES), create(NETWORK_POLICIES)];
    LabelPod of [quarantine, label, isolate_pod] needs [get(PODS), patch(PODS)];
    AllowScaleDown of [release] needs [get(NODES), patch(NODES)];
    IncludeInLoadBalancers of [release] needs [get(NODES), patch(NODES)];
    RestorePod of [release] needs [get(PODS), patch(PODS)];
    AllowPodTraffic of [release] needs [get(PODS), get(NETWORK_POLICIES), delete(NETWORK_POLICIES)];
    DeletePod of [redeploy, delete_workload, release] needs [get(PODS), get(NODES), list(PODS), delete(PODS)];
    SaveManifests of [delete_workload] needs [
        get(DEPLOYMENTS), get(REPLICA_SETS), get(STATEFUL_SETS), get(DAEMON_SETS), get(JOBS), get(CRON_JOBS), get(REPLICATION_CONTROLLERS),
    ];
    KeepFromAutoscaler of [isolate_pod] needs [get(PODS), patch(PODS)];
    ScaleBack of [release] needs [get(DEPLOYMENTS), get(STATEFUL_SETS), patch(DEPLOYMENTS), patch(STATEFUL_SETS)];
    ScaleToZero of [isolate_pod] needs [get(DEPLOYMENTS), get(STATEFUL_SETS), patch(DEPLOYMENTS), patch(STATEFUL_SETS)];
    VerifyPodIsolation of [isolate_pod] needs [get(PODS), list(NETWORK_POLICIES), get(NETWORK_POLICIES), list(SERVICES)];
    DeleteWorkload of [delete_workload] needs [
        get(DEPLOYMENTS), get(REPLICA_SETS), get(STATEFUL_SETS), get(DAEMON_SETS), get(JOBS), get(CRON_JOBS), get(REPLICATION_CONTROLLERS),
        delete(DEPLOYMENTS), delete(REPLICA_SETS), delete(STATEFUL_SETS), delete(DAEMON_SETS), delete(JOBS), delete(CRON_JOBS),
        delete(REPLICATION_CONTROLLERS),
    ];
    VerifyWorkloadGone of [isolate_pod, delete_workload] needs [
        get(DEPLOYMENTS), get(REPLICA_SETS), get(STATEFUL_SETS), get(DAEMON_SETS), get(JOBS), get(CRON_JOBS), get(REPLICATION_CONTROLLERS),
        list(PODS),
    ];
    EndContainer of [kill_container] needs [get(NODES), get(PODS), create(PODS), get(POD_LOGS), delete(PODS)];
    Drain of [quarantine, drain] needs [get(NODES), get(PODS), list(PODS), create(EVICTIONS)];
    VerifyNode of [quarantine] needs [get(NODES), get(PODS), list(PODS)];
}

needs! { COMPUTE, ComputeAction, project, cluster:
    CapturePriorState of [quarantine, abandon, firewall, remove_external_ip, allow_ssh, revoke_ssh, delete_node, release] needs [
        "compute.instances.get", "compute.addresses.list", "compute.instanceGroupManagers.get",
    ];
    CollectEvidence of [quarantine, inspect] needs [
        "compute.instances.get", "compute.instances.getEffectiveFirewalls", "compute.disks.get", "compute.instanceGroupManagers.get",
        "compute.instanceGroupManagers.list",
    ];
    // Labels that come with the snapshot need the right to set labels.
    SnapshotDisk of [quarantine, snapshot, isolate_pod, redeploy, delete_workload, kill_container, delete_node] needs [
        "compute.snapshots.get", "compute.disks.get", "compute.disks.createSnapshot", "compute.snapshots.create",
        "compute.snapshots.setLabels", "compute.zoneOperations.get", "compute.regionOperations.get",
    ];
    AbandonInstance of [quarantine, abandon] needs [
        "compute.instances.get", "compute.instanceGroupManagers.get", "compute.instanceGroupManagers.update",
        "compute.zoneOperations.get", "compute.regionOperations.get",
    ];
    ProtectFromDeletion of [quarantine] needs [
        "compute.instances.get", "compute.instances.setDeletionProtection", "compute.zoneOperations.get",
    ];
    KeepBootDisk of [quarantine, delete_node] needs [
        "compute.instances.get", "compute.instances.setDiskAutoDelete", "compute.disks.update", "compute.zoneOperations.get",
    ];
    EnsureFirewallRule of [quarantine, firewall, allow_ssh] needs [
        "compute.firewalls.get", "compute.firewalls.create", "compute.networks.updatePolicy", "compute.globalOperations.get",
    ];
    // The network tells whether its firewall policies come before the rules.
    TagInstance of [quarantine, firewall] needs [
        "compute.instances.get", "compute.instances.setTags", "compute.instances.getEffectiveFirewalls", "compute.networks.get",
        "compute.zoneOperations.get",
    ];
    RemoveExternalIp of [quarantine, remove_external_ip] needs [
        "compute.instances.get", "compute.instances.deleteAccessConfig", "compute.zoneOperations.get",
    ];
    UntagInstance of [release] needs ["compute.instances.get", "compute.instances.setTags", "compute.zoneOperations.get"];
    RemoveFirewallRule of [revoke_ssh, release] needs [
        "compute.firewalls.get", "compute.instances.list", "compute.firewalls.delete", "compute.networks.updatePolicy",
        "compute.globalOperations.get",
    ];
    RestoreExternalIp of [release] needs [
        "compute.instances.get", "compute.instances.addAccessConfig", "compute.addresses.use", "compute.subnetworks.useExternalIp",
        "compute.zoneOperations.get",
    ];
    ReleaseBootDisk of [release] needs [
        "compute.instances.get", "compute.instances.setDiskAutoDelete", "compute.disks.update", "compute.zoneOperations.get",
    ];
    VerifySnapshots of [delete_node] needs ["compute.snapshots.get"];
    AllowDeletion of [delete_node, release] needs [
        "compute.instances.get", "compute.instances.setDeletionProtection", "compute.zoneOperations.get",
    ];
    // It also reads the group before there is a plan.
    ResizeGroup of [resize_group] needs [
        "compute.instanceGroupManagers.get", "compute.instanceGroupManagers.update", "compute.zoneOperations.get",
        "compute.regionOperations.get",
    ];
    // The list, because an instance that some group owns is not deleted by itself.
    DeleteInstance of [delete_node] needs [
        "compute.instances.get", "compute.instanceGroupManagers.get", "compute.instanceGroupManagers.list",
        "compute.instanceGroupManagers.update", "compute.instances.delete", "compute.zoneOperations.get", "compute.regionOperations.get",
    ];
    // Google also asks for `iam.serviceAccounts.actAs` on the instance's own service account, which is granted on that account.
    AddSshKey of [allow_ssh] needs ["compute.instances.get", "compute.instances.setMetadata", "compute.zoneOperations.get"];
    RemoveSshKey of [revoke_ssh, release] needs ["compute.instances.get", "compute.instances.setMetadata", "compute.zoneOperations.get"];
    TagForSsh of [allow_ssh] needs ["compute.instances.get", "compute.instances.setTags", "compute.zoneOperations.get"];
    UntagForSsh of [revoke_ssh, release] needs ["compute.instances.get", "compute.instances.setTags", "compute.zoneOperations.get"];
    CreateIntermediate of [allow_ssh] needs [
        "compute.instances.get", "compute.instances.create", "compute.disks.create", "compute.subnetworks.use",
        "compute.instances.setMetadata", "compute.instances.setTags", "compute.instances.setLabels", "compute.zoneOperations.get",
    ];
    DeleteIntermediate of [revoke_ssh, release] needs ["compute.instances.get", "compute.instances.delete", "compute.zoneOperations.get"];
    TagIntermediate of [allow_ssh] needs ["compute.instances.get", "compute.instances.setTags", "compute.zoneOperations.get"];
    UntagIntermediate of [revoke_ssh, release] needs ["compute.instances.get", "compute.instances.setTags", "compute.zoneOperations.get"];
    VerifySsh of [allow_ssh] needs ["compute.instances.get", "compute.instances.getEffectiveFirewalls"];
    VerifyIsolation of [quarantine, firewall] needs [
        "compute.instances.get", "compute.firewalls.get", "compute.instances.getEffectiveFirewalls", "compute.networks.get",
        "compute.instanceGroupManagers.get",
    ];
}

needs! { SSH, SshAction, project, cluster:
    // Where the two machines are, by their ids.
    EndContainer of [kill_container] needs ["compute.instances.get"];
}

/// What is read before there is a plan.
pub static SURVEYS: &[Entry] = &[
    Entry {
        what: "survey of the cluster",
        commands: SURVEYING,
        cluster: &[
            get(NODES),
            list(NODES),
            get(PODS),
            list(PODS),
            list(SERVICES),
            list(NETWORK_POLICIES),
            list(BUDGETS),
            get(REPLICA_SETS),
            get(STATEFUL_SETS),
            get(DAEMON_SETS),
            get(JOBS),
            get(REPLICATION_CONTROLLERS),
            get(DEPLOYMENTS),
            get(CRON_JOBS),
            list(REPLICA_SETS),
            list(JOBS),
            list(AUTOSCALERS),
        ],
        project: &[],
    },
    Entry {
        // Offered while somebody types a command that surveys.
        what: "names of the cluster",
        commands: SURVEYING,
        cluster: &[list(NODES), list(PODS)],
        project: &[],
    },
    Entry {
        what: "survey of the project",
        commands: SURVEYING,
        cluster: &[],
        project: &[
            "compute.instances.get",
            "compute.instances.list",
            "compute.instances.getEffectiveFirewalls",
            "compute.addresses.list",
            "compute.disks.get",
            "compute.snapshots.list",
            "compute.instanceGroupManagers.get",
            "compute.instanceGroupManagers.list",
            "compute.firewalls.list",
            "compute.networks.get",
            // Whether the project switches OS Login on.
            "compute.projects.get",
        ],
    },
];

/// Commands that survey.
const SURVEYING: &[&Definition] = &[
    &locate::DEFINITION,
    &inspect::DEFINITION,
    &snapshot::DEFINITION,
    &quarantine::DEFINITION,
    &cordon::DEFINITION,
    &label::DEFINITION,
    &drain::DEFINITION,
    &abandon::DEFINITION,
    &firewall::DEFINITION,
    &remove_external_ip::DEFINITION,
    &allow_ssh::DEFINITION,
    &revoke_ssh::DEFINITION,
    &uncordon::DEFINITION,
    &isolate_pod::DEFINITION,
    &redeploy::DEFINITION,
    &delete_workload::DEFINITION,
    &kill_container::DEFINITION,
    &delete_node::DEFINITION,
    &release::DEFINITION,
];

impl Action {
    /// Its line of the tables.
    #[must_use]
    pub fn entry(&self) -> Option<&'static Entry> {
        let (table, variant) = match self {
            Self::Kubernetes(action) => (KUBERNETES, action.variant()),
            Self::Compute(action) => (COMPUTE, action.variant()),
            Self::Ssh(action) => (SSH, action.variant()),
        };
        table.iter().find(|entry| entry.what == variant)
    }
}

/// Every line.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    SURVEYS.iter().chain(KUBERNETES).chain(COMPUTE).chain(SSH)
}

/// Every right on the Kubernetes API that some of these commands need, with those commands.
#[must_use]
pub fn cluster_rights(commands: &BTreeSet<&str>) -> BTreeMap<ClusterRight, BTreeSet<&'static str>> {
    rights(commands, |entry| entry.cluster)
}

/// Every permission in the project that some of these commands need, with those commands.
#[must_use]
pub fn project_rights(commands: &BTreeSet<&str>) -> BTreeMap<ProjectRight, BTreeSet<&'static str>> {
    rights(commands, |entry| entry.project)
}

/// The commands behind a right, for a comment; nothing for one that every survey needs.
#[must_use]
pub fn beyond_surveys(commands: &BTreeSet<&'static str>) -> Option<String> {
    let surveys = commands.contains(locate::DEFINITION.name);
    (!surveys).then(|| commands.iter().copied().collect::<Vec<_>>().join(", "))
}

fn rights<R: Ord + Copy + 'static>(
    commands: &BTreeSet<&str>,
    of: fn(&'static Entry) -> &'static [R],
) -> BTreeMap<R, BTreeSet<&'static str>> {
    let mut all: BTreeMap<R, BTreeSet<&'static str>> = BTreeMap::new();
    for entry in entries() {
        let needing = entry.commands.iter().map(|command| entry.privilege(command)).filter(|name| commands.contains(name));
        let needing: BTreeSet<&'static str> = needing.collect();
        for right in of(entry).iter().filter(|_| !needing.is_empty()) {
            all.entry(*right).or_default().extend(&needing);
        }
    }
    all
}

/// A resource: its group and its plural.
type Resource = (&'static str, &'static str);

const NODES: Resource = ("", "nodes");
const PODS: Resource = ("", "pods");
const EXEC: Resource = ("", "pods/exec");
const POD_LOGS: Resource = ("", "pods/log");
const EVICTIONS: Resource = ("", "pods/eviction");
const EVENTS: Resource = ("", "events");
const SERVICES: Resource = ("", "services");
const SERVICE_ACCOUNTS: Resource = ("", "serviceaccounts");
const REPLICATION_CONTROLLERS: Resource = ("", "replicationcontrollers");
const REPLICA_SETS: Resource = ("apps", "replicasets");
const DEPLOYMENTS: Resource = ("apps", "deployments");
const STATEFUL_SETS: Resource = ("apps", "statefulsets");
const DAEMON_SETS: Resource = ("apps", "daemonsets");
const JOBS: Resource = ("batch", "jobs");
const CRON_JOBS: Resource = ("batch", "cronjobs");
const NETWORK_POLICIES: Resource = ("networking.k8s.io", "networkpolicies");
const AUTOSCALERS: Resource = ("autoscaling", "horizontalpodautoscalers");
const BUDGETS: Resource = ("policy", "poddisruptionbudgets");

const fn get(resource: Resource) -> ClusterRight {
    right("get", resource)
}

const fn list(resource: Resource) -> ClusterRight {
    right("list", resource)
}

const fn create(resource: Resource) -> ClusterRight {
    right("create", resource)
}

const fn delete(resource: Resource) -> ClusterRight {
    right("delete", resource)
}

const fn patch(resource: Resource) -> ClusterRight {
    right("patch", resource)
}

const fn right(verb: &'static str, (group, resource): Resource) -> ClusterRight {
    ClusterRight { group, resource, verb }
}
