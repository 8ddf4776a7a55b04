//! Names that reach an API, parsed once. A value of one of these types is syntactically what the vendor accepts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no valid {what}: {rule}")]
pub struct InvalidName {
    /// What was given, cut to 80 characters.
    pub text: String,
    /// What it should have named.
    pub what: &'static str,
    /// The rule that it breaks.
    pub rule: &'static str,
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $what:literal, $rule:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                match $rule.admits(text) {
                    true => Ok(Self(text.to_owned())),
                    false => Err(InvalidName { text: text.chars().take(80).collect(), what: $what, rule: $rule.words }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// A cluster as `config/stanch.toml` names it.
    ClusterName: "cluster name", LABEL;
    /// A Kubernetes namespace.
    Namespace: "namespace", LABEL;
    /// A Kubernetes pod.
    PodName: "pod name", SUBDOMAIN;
    /// A Kubernetes workload, such as a Deployment.
    WorkloadName: "workload name", SUBDOMAIN;
    /// A Kubernetes node.
    NodeName: "node name", SUBDOMAIN;
    /// A container of a pod.
    ContainerName: "container name", LABEL;
    /// The id that a container runtime gave a container. A container that is started again has another one.
    ContainerId: "container id", HEX;
    /// A user of Linux.
    UserName: "user name", USER;
    /// The `metadata.uid` of a Kubernetes object.
    Uid: "uid", UID;
    /// A Google Cloud project id, with the domain prefix of legacy projects if there is one.
    ProjectId: "project id", PROJECT;
    /// A Compute zone or region, such as `us-central1-a` or `us-central1`.
    Location: "zone or region", RFC1035;
    /// A Compute resource: instance, disk, group, network, firewall rule, snapshot or network tag.
    ComputeName: "Compute resource name", RFC1035;
    /// What people call the incident, such as `inc-42`. Stanch does not own incidents, it only refers to them.
    IncidentRef: "incident", INCIDENT;
    /// A Stanch request, such as `r-k3f9qz`.
    RequestId: "request id", REQUEST;
}

struct Rule {
    words: &'static str,
    shortest: usize,
    longest: usize,
    first: fn(char) -> bool,
    inner: fn(char) -> bool,
    last: fn(char) -> bool,
}

impl Rule {
    fn admits(&self, text: &str) -> bool {
        (self.shortest..=self.longest).contains(&text.len())
            && text.starts_with(self.first)
            && text.ends_with(self.last)
            && text.chars().all(self.inner)
    }
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase()
}
fn lower_or_digit(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}
fn lower_digit_hyphen(c: char) -> bool {
    lower_or_digit(c) || c == '-'
}

const LABEL: Rule = Rule {
    words: "at most 63 lower-case letters, digits and hyphens, no hyphen at either end (RFC 1123 label)",
    shortest: 1,
    longest: 63,
    first: lower_or_digit,
    inner: lower_digit_hyphen,
    last: lower_or_digit,
};
const SUBDOMAIN: Rule = Rule {
    words: "at most 253 lower-case letters, digits, hyphens and dots (RFC 1123 subdomain)",
    shortest: 1,
    longest: 253,
    first: lower_or_digit,
    inner: |c| lower_digit_hyphen(c) || c == '.',
    last: lower_or_digit,
};
const RFC1035: Rule = Rule {
    words: "1 to 63 lower-case letters, digits and hyphens that start with a letter (RFC 1035)",
    shortest: 1,
    longest: 63,
    first: lower,
    inner: lower_digit_hyphen,
    last: lower_or_digit,
};
const PROJECT: Rule = Rule {
    words: "lower-case letters, digits and hyphens that start with a letter",
    shortest: 1,
    longest: 63,
    first: lower,
    inner: |c| lower_digit_hyphen(c) || c == '.' || c == ':',
    last: lower_or_digit,
};
const UID: Rule = Rule {
    words: "letters, digits and hyphens",
    shortest: 1,
    longest: 63,
    first: |c| c.is_ascii_alphanumeric(),
    inner: |c| c.is_ascii_alphanumeric() || c == '-',
    last: |c| c.is_ascii_alphanumeric(),
};
// An incident becomes part of network tags and rule names: `quarantine-` + 32 + `-ingress-deny-v6-n9` is 62 of the 63 characters that
// Compute allows. Lower case only, so that two incidents can never fold into one tag.
const INCIDENT: Rule = Rule {
    words: "1 to 32 lower-case letters, digits and hyphens that end with a letter or digit",
    shortest: 1,
    longest: 32,
    first: lower_or_digit,
    inner: lower_digit_hyphen,
    last: lower_or_digit,
};
const HEX: Rule = Rule {
    words: "64 lower-case hexadecimal digits",
    shortest: 64,
    longest: 64,
    first: |c| c.is_ascii_digit() || ('a'..='f').contains(&c),
    inner: |c| c.is_ascii_digit() || ('a'..='f').contains(&c),
    last: |c| c.is_ascii_digit() || ('a'..='f').contains(&c),
};
const USER: Rule = Rule {
    words: "1 to 32 lower-case letters, digits, hyphens and underscores that start with a letter or an underscore",
    shortest: 1,
    longest: 32,
    first: |c| lower(c) || c == '_',
    inner: |c| lower_digit_hyphen(c) || c == '_',
    last: |c| lower_digit_hyphen(c) || c == '_',
};
const REQUEST: Rule = Rule {
    words: "`r-` and six letters or digits",
    shortest: 1,
    longest: 8,
    first: |c| c == 'r',
    inner: lower_digit_hyphen,
    last: lower_or_digit,
};

/// The numeric id of a Compute instance or disk. Names are reused, ids are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ComputeId(u64);

impl From<u64> for ComputeId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

// As text, because the Compute API writes 64-bit ids as strings and JSON numbers lose them.
impl From<ComputeId> for String {
    fn from(id: ComputeId) -> Self {
        id.0.to_string()
    }
}

impl TryFrom<String> for ComputeId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse().map(Self).map_err(|_| InvalidName { text, what: "numeric id", rule: "a decimal number" })
    }
}

impl fmt::Display for ComputeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One pod, not its namesake: an action on it carries the uid as a precondition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodRef {
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: PodName,
    /// Uid.
    pub uid: Uid,
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A kind of object that keeps pods running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadKind {
    /// `apps/v1`.
    Deployment,
    /// `apps/v1`.
    ReplicaSet,
    /// `apps/v1`.
    StatefulSet,
    /// `apps/v1`.
    DaemonSet,
    /// `batch/v1`.
    Job,
    /// `batch/v1`.
    CronJob,
    /// `v1`.
    ReplicationController,
}

impl WorkloadKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Deployment, Self::ReplicaSet, Self::StatefulSet, Self::DaemonSet, Self::Job, Self::CronJob, Self::ReplicationController];

    /// As the API spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::ReplicationController => "ReplicationController",
        }
    }

    /// Group and version of the API that serves it.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::ReplicaSet | Self::StatefulSet | Self::DaemonSet => "apps/v1",
            Self::Job | Self::CronJob => "batch/v1",
            Self::ReplicationController => "v1",
        }
    }
}

/// One workload, not its namesake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkloadRef {
    /// Kind.
    pub kind: WorkloadKind,
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: WorkloadName,
    /// Uid.
    pub uid: Uid,
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// One node, not its namesake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeRef {
    /// Name.
    pub name: NodeName,
    /// Uid.
    pub uid: Uid,
}

/// One Compute instance, not its namesake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceRef {
    /// Project.
    pub project: ProjectId,
    /// Zone.
    pub zone: Location,
    /// Name.
    pub name: ComputeName,
    /// Numeric id.
    pub id: ComputeId,
}

/// Where a Compute resource lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In one zone.
    Zone(Location),
    /// In a region.
    Region(Location),
}

/// One persistent disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiskRef {
    /// Project.
    pub project: ProjectId,
    /// Zone, or region of a regional disk.
    pub place: Place,
    /// Name.
    pub name: ComputeName,
    /// Numeric id.
    pub id: ComputeId,
}

/// One managed instance group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupRef {
    /// Project.
    pub project: ProjectId,
    /// GKE's groups are zonal even in regional clusters; regional groups exist elsewhere.
    pub place: Place,
    /// Name.
    pub name: ComputeName,
}

/// A VPC network. Under Shared VPC its project is the host project, not the instance's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkRef {
    /// Project that owns the network and its firewall rules.
    pub project: ProjectId,
    /// Name.
    pub name: ComputeName,
}

impl fmt::Display for NetworkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.name)
    }
}

/// What a responder typed as the target of a command; the survey resolves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetName {
    /// `pod [NAMESPACE/]NAME`; without a namespace every namespace is searched and an ambiguous name is refused.
    Pod {
        /// Namespace, if it was given.
        namespace: Option<Namespace>,
        /// Name.
        name: PodName,
    },
    /// `node NAME`.
    Node(NodeName),
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { namespace: Some(namespace), name } => write!(f, "pod {namespace}/{name}"),
            Self::Pod { namespace: None, name } => write!(f, "pod {name}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_admit_what_the_vendors_admit_and_nothing_else() {
        fn admitted<T: FromStr>(texts: &[&'static str]) -> Vec<&'static str> {
            texts.iter().copied().filter(|text| text.parse::<T>().is_ok()).collect()
        }
        let texts = ["a", "a-b", "1a", "-a", "a-", "A", "", "a.b", "a/b", "a b", "a\n", "é", "a:b", "--project=x", "../x"];
        assert_eq!(admitted::<Namespace>(&texts), ["a", "a-b", "1a"]);
        assert_eq!(admitted::<PodName>(&texts), ["a", "a-b", "1a", "a.b"]);
        assert_eq!(admitted::<ComputeName>(&texts), ["a", "a-b"]);
        assert_eq!(admitted::<ProjectId>(&texts), ["a", "a-b", "a.b", "a:b"]);
        assert!("x".repeat(64).parse::<ComputeName>().is_err());
        let ids = ["a".repeat(64), "a".repeat(63), "a".repeat(65), "A".repeat(64), format!("{}g", "a".repeat(63)), String::new()];
        let admitted: Vec<bool> = ids.iter().map(|id| id.parse::<ContainerId>().is_ok()).collect();
        assert_eq!(admitted, [true, false, false, false, false, false]);
    }
}
