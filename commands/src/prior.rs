//! What stood before Stanch changed it, as the steps that save prior state read it; and what Stanch did since. A release is planned from these.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::action::{AccessConfig, Action, ComputeAction};
use crate::firewall_rule::FirewallRule;
use crate::target::{GroupRef, IncidentRef, InstanceRef, NodeRef, PodRef, RequestId};

/// A prior state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prior {
    /// Of a node and its suspects.
    Node(Box<NodePrior>),
    /// Of an instance.
    Instance(Box<InstancePrior>),
}

/// A node as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePrior {
    /// Which node.
    pub node: NodeRef,
    /// It was cordoned.
    pub unschedulable: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The suspects on it.
    pub suspects: Vec<PodPrior>,
}

/// A suspect as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodPrior {
    /// Which pod.
    pub pod: PodRef,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations, without the ones that repeat the whole object.
    pub annotations: BTreeMap<String, String>,
    /// Tolerations, in order: only the first match of a taint counts.
    pub tolerations: Vec<Toleration>,
}

/// A toleration, as the Kubernetes API spells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// Taint key; empty with `Exists` for every taint.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// `Equal` or `Exists`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub operator: String,
    /// Taint value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoExecute`, …; empty for every effect.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub effect: String,
    /// Seconds that a `NoExecute` taint is tolerated; for ever without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// An instance as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancePrior {
    /// Which instance.
    pub instance: InstanceRef,
    /// Network tags.
    pub tags: BTreeSet<String>,
    /// External addresses.
    pub access_configs: Vec<AccessConfig>,
    /// It was protected from deletion.
    pub deletion_protection: bool,
    /// Disks.
    pub disks: Vec<DiskPrior>,
    /// The group that it was a member of.
    pub group: Option<GroupPrior>,
}

/// An attached disk as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskPrior {
    /// Device name.
    pub device: String,
    /// Link of the disk; empty for a Local SSD.
    pub source: String,
    /// Boot disk.
    pub boot: bool,
    /// It was to be deleted with the instance.
    pub auto_delete: bool,
}

/// A managed instance group as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPrior {
    /// Which group.
    pub group: GroupRef,
    /// `targetSize` while the instance was a member.
    pub target_size: u32,
}

/// What Stanch did on one node for one incident and nobody took back since, over every request: a quarantine that was asked again finds in
/// place what an earlier request changed, so that one request alone does not know what is to be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The incident.
    pub incident: IncidentRef,
    /// The node.
    pub node: NodeRef,
    /// Its instance, if a request touched it.
    pub instance: Option<InstanceRef>,
    /// The suspects.
    pub suspects: Vec<PodRef>,
    /// The requests, in the order in which they acted.
    pub requests: Vec<RequestId>,
    /// What they changed, or may have changed: the steps that found their effect in place, and those that were withheld, are not here.
    pub touched: Vec<Action>,
    /// What is in place for other incidents on the node, and which request relies on it.
    pub relied_on: Vec<(RequestId, Action)>,
    /// The node before the first of the requests, with every suspect before the first one that knew it.
    pub node_prior: Option<NodePrior>,
    /// The instance before the first of the requests.
    pub instance_prior: Option<InstancePrior>,
    /// The group that the instance was in, whichever request of the incident recorded it first.
    pub group: Option<GroupPrior>,
    /// Firewall rules that Stanch made and did not remove, whichever request made them.
    pub rules_made: BTreeSet<FirewallRule>,
}

impl Earlier {
    /// The suspect as it was.
    #[must_use]
    pub fn pod_prior(&self, pod: &PodRef) -> Option<&PodPrior> {
        self.node_prior.as_ref()?.suspects.iter().find(|prior| prior.pod == *pod)
    }

    /// The request of another incident that relies on an action.
    #[must_use]
    pub fn held_by(&self, action: &Action) -> Option<&RequestId> {
        // An instance that another incident isolates stays without its addresses, whoever removed them.
        let isolates = |other: &Action| {
            matches!(action, Action::Compute(ComputeAction::RemoveExternalIp { .. }))
                && matches!(other, Action::Compute(ComputeAction::TagInstance { .. }))
        };
        self.relied_on.iter().find(|(_, other)| other == action || isolates(other)).map(|(id, _)| id)
    }
}
