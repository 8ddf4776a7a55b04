//! Why a command makes no plan, in words for the person who asked.

use std::fmt;

use crate::firewall_rule::FirewallRule;
use crate::target::InstanceRef;

/// No plan, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is left to do.
    AlreadySo(String),
    /// The node is Google's; cordoning it gets it recreated.
    Autopilot,
    /// The node has no Compute instance that Stanch may act on.
    NoInstance(String),
    /// The survey found another project or location than the configuration.
    WrongPlace {
        /// What the configuration says.
        configured: String,
        /// What the node says.
        found: String,
    },
    /// The suspect is in a protected namespace.
    Protected(String),
    /// The suspect is in a namespace of the system, and nobody said so.
    Unnamed(String),
    /// Stanch itself runs there.
    Own(String),
    /// Nothing above the suspect can be scaled to zero.
    NothingToScale(String),
    /// The suspect's workload is made by something that Stanch does not know.
    UnknownOwner(String),
    /// The suspect is the mirror of a static pod.
    StaticPod(String),
    /// Nobody said which container.
    WhichContainer {
        /// The pod.
        pod: String,
        /// The containers that run.
        choices: Vec<String>,
    },
    /// The container cannot be ended, and why.
    NoContainer(String),
    /// No way leads onto the node. What is in the way of each, a phrase each.
    NoWayOntoNode(Vec<String>),
    /// The suspect has ended or is being deleted.
    PodGone(String),
    /// The group is about to change the instance.
    GroupBusy {
        /// Group.
        group: String,
        /// `currentAction`.
        action: String,
    },
    /// A rule of that name exists, but says something else.
    DifferentRule {
        /// The rule that the plan needs.
        wanted: Box<FirewallRule>,
        /// What differs.
        differences: Vec<String>,
    },
    /// Somebody else's instances would be cut off.
    TagInUse {
        /// The tag.
        tag: String,
        /// Who carries it.
        instances: Vec<InstanceRef>,
    },
    /// The guide's fixed rule names cannot cover several networks.
    SeveralNetworks(Vec<String>),
    /// Others carry the tag that would open the instance.
    OpensOthers {
        /// The tag.
        tag: String,
        /// Who carries it.
        instances: Vec<InstanceRef>,
    },
    /// No request saved how the suspect was.
    NoPriorState(String),
    /// No request recorded the size of a group.
    NoRecordedSize,
    /// The group is gone.
    GroupGone(String),
    /// An autoscaler decides about the size of the group.
    Autoscaled {
        /// The group.
        group: String,
        /// The autoscaler.
        autoscaler: String,
    },
    /// OS Login is on, by what: keys in the metadata would be ignored.
    OsLogin(String),
    /// There is no instance from which the node could be reached, and why.
    NoIntermediate(String),
    /// Under the guide's form, SSH is let in beside the guide's deny rules only.
    NotQuarantined(String),
    /// Something would be destroyed that is not kept anywhere. What is missing, a phrase each.
    NotKept(Vec<String>),
    /// `--exec` without a container to run in.
    ExecNeedsPod,
    /// The node is isolated by Stanch.
    Isolated(String),
    /// The node of the earlier request is gone or is another one now.
    NodeReplaced(String),
    /// The plan breaks a rule of the linter: a defect of Stanch, never the user's.
    Unsound(Vec<String>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadySo(what) => write!(f, "nothing to do: {what}"),
            Self::Autopilot => f.write_str("this is an Autopilot node: its VM is not reachable through Compute, and GKE recreates a node that stays cordoned for about 10 minutes, which destroys the evidence"),
            Self::NoInstance(why) => write!(f, "the node's Compute instance cannot be used: {why}"),
            Self::WrongPlace { configured, found } => write!(f, "the node is in `{found}`, but this cluster is configured for `{configured}`"),
            Self::Unnamed(pod) => write!(f, "pod `{pod}` belongs to the system, and the command does not name its namespace"),
            Self::Own(place) => write!(f, "Stanch itself runs {place}, and would be hit"),
            Self::Protected(pod) => write!(f, "pod `{pod}` is in a protected namespace"),
            Self::NothingToScale(what) => write!(f, "nothing can be scaled to 0: {what}"),
            Self::UnknownOwner(what) => write!(f, "the pod's workload is not its own master: {what}"),
            Self::StaticPod(pod) => write!(f, "pod `{pod}` is a static pod: a file on its node makes it, and deleting its mirror in the API ends no process"),
            Self::WhichContainer { pod, choices } => write!(f, "pod `{pod}` has several containers that run: {}", choices.join(", ")),
            Self::NoContainer(why) => write!(f, "there is no container to end: {why}"),
            Self::NoWayOntoNode(why) => write!(f, "no way leads onto the node: {}", why.join("; ")),
            Self::PodGone(pod) => write!(f, "pod `{pod}` has ended or is being deleted"),
            Self::GroupBusy { group, action } => write!(f, "group `{group}` is about to change the instance (currentAction {action})"),
            Self::DifferentRule { wanted, differences } => write!(f, "firewall rule `{}` exists with another body: {}", wanted.name, differences.join("; ")),
            Self::TagInUse { tag, instances } => {
                let names: Vec<String> = instances.iter().map(|instance| format!("{}/{}", instance.zone, instance.name)).collect();
                write!(f, "tag `{tag}` is on instances that Stanch did not quarantine, and the rules would cut them off: {}", names.join(", "))
            }
            Self::SeveralNetworks(networks) => write!(f, "the instance is in several networks ({}), and the guide's fixed rule names can cover only one", networks.join(", ")),
            Self::OpensOthers { tag, instances } => {
                let names: Vec<String> = instances.iter().map(|instance| format!("{}/{}", instance.zone, instance.name)).collect();
                write!(f, "tag `{tag}` is meant for one instance alone, but these carry it too: {}", names.join(", "))
            }
            Self::NoPriorState(pod) => write!(f, "no request saved how pod `{pod}` was, so its labels cannot be given back"),
            Self::NoRecordedSize => f.write_str("no request on that node for that incident recorded the size of a group"),
            Self::GroupGone(group) => write!(f, "group `{group}` does not exist any more"),
            Self::Autoscaled { group, autoscaler } => write!(f, "autoscaler `{autoscaler}` decides about the size of group `{group}`"),
            Self::OsLogin(by) => write!(f, "OS Login is switched on by {by}: the VM ignores SSH keys in its metadata"),
            Self::NoIntermediate(why) => write!(f, "there is no intermediate VM to come from: {why}"),
            Self::NotQuarantined(tag) => write!(f, "the instance does not carry the tag `{tag}`, and the guide's rule would admit nobody to it"),
            Self::NotKept(missing) => write!(f, "deleting the VM would destroy what is not kept yet: {}", missing.join("; ")),
            Self::ExecNeedsPod => f.write_str("--exec runs in the containers of a pod, and a node has no suspect"),
            Self::Isolated(node) => write!(f, "node `{node}` is isolated: pods scheduled there would have no network"),
            Self::NodeReplaced(node) => write!(f, "node `{node}` is not the one that the request was about: it was deleted and made again"),
            Self::Unsound(findings) => write!(f, "the plan is unsound and was not proposed: {}", findings.join("; ")),
        }
    }
}

impl Refusal {
    /// What the person can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::AlreadySo(_) => "`status` and `list` show what Stanch did; `locate` reads the target again",
            Self::Autopilot => {
                "contain the pod on the Kubernetes side instead (`isolate-pod`): a deny-all NetworkPolicy for it, and its selector labels removed"
            }
            Self::NoInstance(_) => "check the node with `locate`; the node may be gone, or Stanch may lack rights in that project",
            Self::WrongPlace { .. } => "correct the cluster's project and location in config/stanch.toml, or name another `cluster:`",
            Self::Unnamed(_) => "write `pod NAMESPACE/NAME` if you mean that one: the cluster may depend on it",
            Self::Own(_) => {
                "move Stanch first: cordon that node with kubectl and delete Stanch's pod, so that it starts elsewhere; or add --include-stanch and \
                 finish by hand what it cannot"
            }
            Self::Protected(_) => "an administrator decides about protected namespaces in config/policy.toml",
            Self::NothingToScale(_) => "leave --scale-to-zero out to isolate the pod; `redeploy` and `delete-workload` end it",
            Self::UnknownOwner(_) => {
                "delete that owner with its own tool, or it makes the workload again; `redeploy` deletes the pod alone, `quarantine` and `isolate-pod` contain it"
            }
            Self::StaticPod(_) => "contain its node with `quarantine`; the container runtime or `delete-node` ends it",
            Self::WhichContainer { .. } => "add container:NAME; `redeploy` ends all of them with the pod",
            Self::NoContainer(_) => "`locate` shows the pod; `redeploy` deletes it with all of its containers",
            Self::NoWayOntoNode(_) => {
                "switch one on in config/stanch.toml: [privileged_pod] for nodes that answer, [ssh] with a `via:` intermediate for those that do not; without either, `redeploy` or `delete-node`"
            }
            Self::PodGone(_) => "use `node NAME` to work on its node, or `locate` its replacement",
            Self::GroupBusy { .. } => "wait until the group has finished, then ask again",
            Self::DifferentRule { .. } => "delete or correct that rule, or use another `incident:`, which has rule names of its own",
            Self::TagInUse { .. } => "take the tag off those instances, or use another `incident:`, which has a tag of its own",
            Self::SeveralNetworks(_) => "use form = \"strict\" in config/stanch.toml",
            Self::OpensOthers { .. } => "take the tag off those instances; `revoke-ssh` does it for an earlier intermediate",
            Self::NoPriorState(_) => "leave --false-alarm out: the pod is deleted and its owner starts a clean one",
            Self::NoRecordedSize => {
                "name the request that abandoned or deleted the node; by hand: `gcloud compute instance-groups managed resize`"
            }
            Self::GroupGone(_) => "the node pool may have been deleted or made anew; look at it with `gcloud container node-pools list`",
            Self::Autoscaled { .. } => "it makes a fresh instance when it wants one; change its limits if it does not",
            Self::OsLogin(_) => {
                "grant the responder roles/compute.osAdminLogin and add the key with `gcloud compute os-login ssh-keys add`, or set the metadata entry enable-oslogin=FALSE of this instance and ask again"
            }
            Self::NoIntermediate(_) => {
                "name a running VM of the same network and project with `via:`, or have one made with --create-intermediate"
            }
            Self::NotQuarantined(_) => "`quarantine` or `firewall` the node first, or use form = \"strict\" in config/stanch.toml",
            Self::NotKept(_) => {
                "start the snapshots with `snapshot` and ask again when they are READY; --stop-now with a reason plans a waiver instead"
            }
            Self::ExecNeedsPod => "name the pod, as in `inspect pod NAMESPACE/NAME --exec`",
            Self::Isolated(_) => "`release` undoes the quarantine",
            Self::NodeReplaced(_) => {
                "what Stanch did to it is gone with it; firewall rules named quarantine-… may remain: delete them by hand"
            }
            Self::Unsound(_) => {
                "this is a defect of Stanch: please report it with the request's facts; the guide's manual steps still work"
            }
        }
    }
}
