//! What a command is: its words, its help, its arguments, and what it does. Help, parsing and documentation are generated from these values.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use crate::facts::{Facts, GroupSurvey};
use crate::plan::{Draft, Form};
use crate::prior::Earlier;
use crate::refusal::Refusal;
use crate::runtime::NodeAccess;
use crate::ssh_key::SshKey;
use crate::target::{ClusterName, ComputeId, ComputeName, ContainerName, IncidentRef, Namespace, NodeName, PodName, RequestId, TargetName};

/// A phase of incident response, in order. Policy gives each its approvals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reads only.
    Look,
    /// Saves what could be lost.
    Preserve,
    /// Takes access away.
    Contain,
    /// Destroys.
    Eradicate,
    /// Restores.
    Recover,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Look => "look",
            Self::Preserve => "preserve",
            Self::Contain => "contain",
            Self::Eradicate => "eradicate",
            Self::Recover => "recover",
        })
    }
}

/// An argument that a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// `pod [NAMESPACE/]NAME`.
    Pod,
    /// `node NAME`.
    Node,
    /// `pod …` or `node …`.
    PodOrNode,
    /// A request id.
    Request,
    /// A request id that may be left out.
    OptionalRequest,
    /// The name of a command, may be left out.
    Topic,
    /// `cluster:NAME`.
    Cluster,
    /// `incident:REF`.
    Incident,
    /// `reason:"TEXT"`.
    Reason,
    /// `--isolate-first`.
    IsolateFirst,
    /// `--scale-to-zero`.
    ScaleToZero,
    /// `container:NAME`.
    Container,
    /// `--force`.
    Force,
    /// `via:INSTANCE`.
    Via,
    /// `key:"PUBLIC KEY"`.
    Key,
    /// `key:"PUBLIC KEY"`, may be left out.
    OptionalKey,
    /// `--create-intermediate`.
    CreateIntermediate,
    /// `--stop-now`.
    StopNow,
    /// `--false-alarm`.
    FalseAlarm,
    /// `--exec`.
    Exec,
    /// `--include-stanch`.
    IncludeStanch,
    /// `--dry-run`.
    DryRun,
}

impl Argument {
    /// As it stands in a usage line.
    #[must_use]
    pub fn usage(self) -> &'static str {
        match self {
            Self::Pod => "pod [NAMESPACE/]NAME",
            Self::Node => "node NAME",
            Self::PodOrNode => "pod [NAMESPACE/]NAME | node NAME",
            Self::Request => "REQUEST",
            Self::OptionalRequest => "[REQUEST]",
            Self::Topic => "[COMMAND]",
            Self::Cluster => "[cluster:NAME]",
            Self::Incident => "[incident:REF]",
            Self::Reason => "[reason:\"TEXT\"]",
            Self::IsolateFirst => "[--isolate-first]",
            Self::ScaleToZero => "[--scale-to-zero]",
            Self::Container => "[container:NAME]",
            Self::Force => "[--force]",
            Self::Via => "[via:INSTANCE]",
            Self::Key => "key:\"ALGORITHM BASE64 USER\"",
            Self::OptionalKey => "[key:\"ALGORITHM BASE64 USER\"]",
            Self::CreateIntermediate => "[--create-intermediate]",
            Self::StopNow => "[--stop-now]",
            Self::FalseAlarm => "[--false-alarm]",
            Self::Exec => "[--exec]",
            Self::IncludeStanch => "[--include-stanch]",
            Self::DryRun => "[--dry-run]",
        }
    }

    /// One sentence about it.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::Pod => "the compromised pod; without a namespace the name must be unique in the cluster",
            Self::Node => "the node",
            Self::PodOrNode => "the compromised pod (its node is looked up), or a node",
            Self::Request => "a request id such as r-k3f9qz, as shown in its plan",
            Self::OptionalRequest => "a request id; without it, the newest request of this channel",
            Self::Topic => "the command to explain",
            Self::Cluster => "a cluster of config/stanch.toml; this channel's default otherwise",
            Self::Incident => "what you call the incident; the open incident on that node, or the request's id otherwise",
            Self::Reason => "why, for the record",
            Self::IsolateFirst => "cut the network before draining: for active exfiltration; evicted pods may then stay Terminating",
            Self::Container => "the container; may be left out if the pod has only one that runs",
            Self::Force => "if it does not stop, kill it, and then remove it: its file system and its log on the node are lost",
            Self::Via => "the intermediate VM, from which the node is reached: running, in the same network and project",
            Self::Key => "the public key to let in, as its .pub file has it; the last word is the user",
            Self::OptionalKey => "the public key to take back; without it, every key that Stanch added",
            Self::FalseAlarm => "the suspect is innocent: give it its labels back instead of deleting it",
            Self::CreateIntermediate => {
                "make the intermediate VM: smallest shape, no external address, reached through IAP; `revoke-ssh` deletes it"
            }
            Self::ScaleToZero => {
                "instead of isolating the pod, scale its Deployment or StatefulSet to 0: every pod of it ends, the suspect too"
            }
            Self::StopNow => "do not wait for snapshots and evidence, because stopping the attack matters more; needs a reason",
            Self::Exec => "also run ps and read /proc in the containers: whoever watches them can notice, so it needs an approval",
            Self::IncludeStanch => "do it although Stanch itself runs there: it may not live to finish it",
            Self::DryRun => "show the plan, ask nobody, change nothing",
        }
    }
}

/// Everything that a command line can say. A command refuses what its definition does not list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arguments {
    /// `pod …` or `node …`.
    pub target: Option<TargetName>,
    /// `cluster:`.
    pub cluster: Option<ClusterName>,
    /// `incident:`.
    pub incident: Option<IncidentRef>,
    /// `reason:`.
    pub reason: Option<String>,
    /// A request id.
    pub request: Option<RequestId>,
    /// The command that `help` explains.
    pub topic: Option<String>,
    /// `--isolate-first`.
    pub isolate_first: bool,
    /// `--scale-to-zero`.
    #[serde(default)]
    pub scale_to_zero: bool,
    /// `container:`.
    #[serde(default)]
    pub container: Option<ContainerName>,
    /// `--force`.
    #[serde(default)]
    pub force: bool,
    /// `via:`.
    #[serde(default)]
    pub via: Option<ComputeName>,
    /// `key:`.
    #[serde(default)]
    pub key: Option<SshKey>,
    /// `--create-intermediate`.
    #[serde(default)]
    pub create_intermediate: bool,
    /// `--stop-now`.
    #[serde(default)]
    pub stop_now: bool,
    /// `--false-alarm`.
    pub false_alarm: bool,
    /// `--exec`.
    #[serde(default)]
    pub exec: bool,
    /// `--include-stanch`.
    #[serde(default)]
    pub include_stanch: bool,
    /// `--dry-run`.
    pub dry_run: bool,
}

/// Where Stanch itself runs, as far as it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Its pod.
    pub pod: Option<(Namespace, PodName)>,
    /// Its node.
    pub node: Option<NodeName>,
}

/// What planning needs besides the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The request that the plan will belong to.
    pub request: RequestId,
    /// The incident.
    pub incident: IncidentRef,
    /// Who asked, as a person id of the policy.
    pub requester: String,
    /// What was typed.
    pub arguments: Arguments,
    /// Form of the procedure.
    pub form: Form,
    /// Limits.
    pub limits: Limits,
    /// Ways onto a node.
    pub node_access: NodeAccess,
    /// Namespaces whose pods are never evicted, labelled or taken as suspects.
    pub protected_namespaces: BTreeSet<String>,
    /// Where Stanch itself runs.
    pub own: Own,
    /// Instances that Stanch isolated and did not release.
    pub isolated_instances: BTreeSet<ComputeId>,
    /// Instances that carry a quarantine's tag by Stanch, those of runs that did not complete included.
    pub tagged_instances: BTreeSet<ComputeId>,
    /// The nodes of tagged instances.
    pub isolated_nodes: BTreeSet<NodeName>,
    /// What earlier requests did, for a command that takes one.
    pub earlier: Option<Earlier>,
    /// When planning happens.
    pub now: Timestamp,
}

/// Limits that a plan writes into its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Seconds that containment waits for evidence.
    pub evidence_deadline_s: u32,
    /// Seconds that a drain may take.
    pub drain_deadline_s: u32,
    /// Pods that a drain may evict beyond those that the approvers saw.
    pub drain_newcomers: u32,
    /// A snapshot by Stanch that is younger than this many seconds is used again.
    pub snapshot_reuse_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Objects and logs of one pod take a second or two; 20 s is the most that a missing log stream may cost an open node.
            evidence_deadline_s: 20,
            // kubectl's own client limit needs 50 s for 256 pods; 120 s leaves room for grace periods of 30 s and one retry of a budget.
            drain_deadline_s: 120,
            // Pods scheduled between survey and cordon. More than that means that the node changed, and people should look again.
            drain_newcomers: 5,
            // Long enough to cover propose, approve and a second request; short enough that the disk is as it was.
            snapshot_reuse_s: 600,
        }
    }
}

/// Makes a plan from facts.
pub type Planner = fn(&Facts, &Context) -> Result<Draft, Refusal>;

/// Makes a plan about a group, whose node may be gone.
pub type GroupPlanner = fn(&GroupSurvey, &Context) -> Result<Draft, Refusal>;

/// What a command does.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    /// Explains commands.
    Help,
    /// Shows one request.
    Status,
    /// Shows what is open and isolated.
    List,
    /// Examines what Stanch depends on.
    Doctor,
    /// Withdraws a request of one's own.
    Cancel,
    /// Stops a run.
    Halt,
    /// Surveys the target and shows the facts.
    Locate,
    /// Surveys the target, plans, asks for approvals, carries out.
    Mitigate(Planner),
    /// The same for the group that an earlier request recorded.
    Resize(GroupPlanner),
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The word that is typed.
    pub name: &'static str,
    /// Phase, which decides the approvals.
    pub phase: Phase,
    /// One line for lists, lower case, no full stop.
    pub summary: &'static str,
    /// What people should know before they use it; sentences.
    pub details: &'static str,
    /// What it takes, in usage order.
    pub arguments: &'static [Argument],
    /// Example arguments, each of which parses.
    pub examples: &'static [&'static str],
    /// What it does.
    pub does: Does,
}

impl Definition {
    /// `quarantine pod [NAMESPACE/]NAME | node NAME [cluster:NAME] …`.
    #[must_use]
    pub fn usage(&self) -> String {
        std::iter::once(self.name).chain(self.arguments.iter().map(|argument| argument.usage())).collect::<Vec<_>>().join(" ")
    }

    /// Everything about the command, for people: usage, what it does, every argument, examples.
    #[must_use]
    pub fn help(&self) -> String {
        let mut text = format!("{}\n\n{}.\n{}\n", self.usage(), self.summary, self.details);
        for argument in self.arguments {
            text.push_str(&format!("\n  {:<32} {}", argument.usage(), argument.help()));
        }
        text.push('\n');
        for example in self.examples {
            text.push_str(format!("\n  /stanch {} {example}", self.name).trim_end());
        }
        text
    }
}
