//! What stood before Stanch changed it, as the steps that save prior state read it; and what Stanch did since. A release is planned from these.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::action::{AccessConfig, Action, KubernetesAction};
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
    /// The suspects: none of them may live on when the network comes back, unless they are cleared.
    pub suspects: Vec<Suspect>,
    /// The requests, in the order in which they acted.
    pub requests: Vec<RequestId>,
    /// What they changed, or may have changed: the steps that found their effect in place, and those that were withheld, are not here.
    pub touched: Vec<Action>,
    /// What is in place, or may be, for other incidents on the node, and which request relies on it.
    pub relied_on: Vec<(RequestId, Action)>,
    /// The node before the first of the requests, with every suspect before the first one that knew it.
    pub node_prior: Option<NodePrior>,
    /// The instance before the first of the requests.
    pub instance_prior: Option<InstancePrior>,
    /// The group that the instance was in, as a request of the incident read it last while the instance was a member.
    pub group: Option<GroupPrior>,
    /// The firewall rules that isolate the node for the incident, as far as Stanch made them and did not remove them.
    pub rules: BTreeSet<FirewallRule>,
}

/// A pod that was marked as a suspect, or named as one when the node lost its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Which pod.
    pub pod: PodRef,
    /// Its marks, whoever set them first: also those that a request found in place.
    pub marks: Vec<Action>,
}

impl Suspect {
    /// The label keys that its marks set.
    #[must_use]
    pub fn label_keys(&self) -> BTreeSet<String> {
        let set = self.marks.iter().filter_map(|mark| match mark {
            Action::Kubernetes(KubernetesAction::LabelPod { set, .. }) => Some(set.keys().cloned()),
            Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
        });
        set.flatten().collect()
    }
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
        self.relied_on.iter().find(|(_, other)| other == action).map(|(id, _)| id)
    }

    /// Whether the pod is a suspect of another incident too.
    #[must_use]
    pub fn is_marked_elsewhere(&self, pod: &PodRef) -> bool {
        self.relied_on.iter().any(|(_, action)| action.marks() == Some(pod))
    }

    /// The request of another incident that keeps the node without its network, or has a suspect among these pods.
    #[must_use]
    pub fn isolated_by(&self, alive: &[&PodRef]) -> Option<&RequestId> {
        let isolates = |action: &Action| action.takes_network() || action.marks().is_some_and(|pod| alive.contains(&pod));
        self.relied_on.iter().find(|(_, action)| isolates(action)).map(|(id, _)| id)
    }
}
