//! A plan: what will be done, in which order, bound to exactly these objects. Approvers agree to its digest.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::action::{Action, ActionClass, ComputeAction};
use crate::definition::Phase;
use crate::firewall_rule::FirewallRule;
use crate::target::{ClusterName, InstanceRef, NodeRef, PodRef};

/// Most steps of a plan. A quarantine of a node with 4 interfaces and 16 disks has about 50; more would no longer be read by an approver.
pub const MAX_STEPS: usize = 64;

/// Position of a step in its plan, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(u8);

impl StepId {
    /// The position as a number.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for StepId {
    /// As people count: from 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", u16::from(self.0) + 1)
    }
}

/// How a step depends on an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// The earlier step must have succeeded.
    Requires(StepId),
    /// The earlier step must have ended, in whatever way, or its deadline must have passed.
    After(StepId),
}

impl Edge {
    /// The earlier step.
    #[must_use]
    pub fn step(self) -> StepId {
        match self {
            Self::Requires(step) | Self::After(step) => step,
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// What comes before it.
    pub needs: Vec<Edge>,
    /// Seconds after its start from which `After` edges no longer wait for it.
    pub deadline_s: u32,
}

/// Which form of the procedure the plan follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Stricter than Google's guide: all protocols, both address families, tag and rules per incident, NetworkPolicy, protection.
    #[default]
    Strict,
    /// Google's guide to the letter: its names, TCP and IPv4 only, one tag for everything.
    Guide,
}

/// What people must know before they agree, and what remains afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consequences {
    /// Whom it hits.
    pub blast_radius: Vec<String>,
    /// Decisions that the planner took, such as pods that are left on the node.
    pub decisions: Vec<String>,
    /// What an attacker could notice.
    pub noticeable: Vec<String>,
    /// What stays open when everything succeeded.
    pub residual_risk: Vec<String>,
}

/// What a plan is made of before it is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The command with all its arguments, resolved.
    pub command: String,
    /// The cluster.
    pub cluster: ClusterName,
    /// The node that is locked while the plan runs.
    pub node: NodeRef,
    /// The instance, unless nothing touches it.
    pub instance: Option<InstanceRef>,
    /// The suspects.
    pub suspects: Vec<PodRef>,
    /// Form.
    pub form: Form,
    /// The plan leaves the node isolated if it succeeds.
    pub isolates: bool,
    /// The plan undoes what earlier requests did on the node for the incident, if it succeeds.
    pub releases: bool,
    /// What people must know.
    pub consequences: Consequences,
    /// Steps, each after the ones that it needs.
    pub steps: Vec<Step>,
}

/// A checked plan.
///
/// # Guarantees
/// 1 to [`MAX_STEPS`] steps; every edge points to an earlier step, so there is no cycle; steps of class `Preserve` need only such steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Draft", into = "Draft")]
pub struct Plan(Draft);

/// Why a draft is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// Nothing to do, or too much.
    #[error("a plan has 1 to {MAX_STEPS} steps, not {0}")]
    StepCount(usize),
    /// An edge to a later step or to itself.
    #[error("step {step} needs step {needs}, which does not come before it")]
    Order {
        /// The step.
        step: usize,
        /// What it needs.
        needs: usize,
    },
    /// A step that may run before the quorum waits for one that may not.
    #[error("step {step} may start before the approval, but needs step {needs}, which may not")]
    Gate {
        /// The step.
        step: usize,
        /// What it needs.
        needs: usize,
    },
}

impl TryFrom<Draft> for Plan {
    type Error = InvalidPlan;

    fn try_from(draft: Draft) -> Result<Self, InvalidPlan> {
        if draft.steps.is_empty() || draft.steps.len() > MAX_STEPS {
            return Err(InvalidPlan::StepCount(draft.steps.len()));
        }
        for (position, step) in draft.steps.iter().enumerate() {
            for edge in &step.needs {
                let needs = edge.step().index();
                let Some(earlier) = draft.steps.get(needs).filter(|_| needs < position) else {
                    return Err(InvalidPlan::Order { step: position + 1, needs: needs + 1 });
                };
                if step.action.class() == ActionClass::Preserve && earlier.action.class() != ActionClass::Preserve {
                    return Err(InvalidPlan::Gate { step: position + 1, needs: needs + 1 });
                }
            }
        }
        Ok(Self(draft))
    }
}

impl From<Plan> for Draft {
    fn from(plan: Plan) -> Self {
        plan.0
    }
}

impl std::ops::Deref for Plan {
    type Target = Draft;
    fn deref(&self) -> &Draft {
        &self.0
    }
}

impl Plan {
    /// Steps with their ids, in order.
    pub fn steps(&self) -> impl Iterator<Item = (StepId, &Step)> {
        (0..).map(StepId).zip(&self.0.steps)
    }

    /// One step.
    #[must_use]
    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.0.steps.get(id.index())
    }

    /// Whether everything in the plan may run without an approval.
    #[must_use]
    pub fn only_preserves(&self) -> bool {
        self.0.steps.iter().all(|step| step.action.class() == ActionClass::Preserve)
    }

    /// The phase whose approvals the plan needs, for a command of this phase: what is more than preserving is never less than containing.
    #[must_use]
    pub fn phase(&self, of_command: Phase) -> Phase {
        if self.only_preserves() { of_command } else { of_command.max(Phase::Contain) }
    }

    /// Whether both are about the same node or instance.
    #[must_use]
    pub fn shares_target_with(&self, other: &Self) -> bool {
        let same_node = self.cluster == other.cluster && self.node.uid == other.node.uid;
        same_node || (self.instance.is_some() && self.instance == other.instance)
    }

    /// Whether both must not run at the same time: they share a target, or one removes a firewall rule that the other one relies on.
    #[must_use]
    pub fn contends_with(&self, other: &Self) -> bool {
        self.shares_target_with(other) || self.removes_rule_of(other) || other.removes_rule_of(self)
    }

    fn removes_rule_of(&self, other: &Self) -> bool {
        let removed = self.0.steps.iter().filter_map(|step| match &step.action {
            Action::Compute(ComputeAction::RemoveFirewallRule { rule, .. }) => Some(rule),
            Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
        });
        let ensures = |removed: &FirewallRule| {
            other.0.steps.iter().any(|step| {
                matches!(&step.action, Action::Compute(ComputeAction::EnsureFirewallRule(rule))
                    if (&rule.network.project, &rule.name) == (&removed.network.project, &removed.name))
            })
        };
        removed.into_iter().any(ensures)
    }

    /// The digest that an approval names.
    #[must_use]
    pub fn digest(&self) -> PlanDigest {
        // Canonical: fields in declaration order, maps and sets ordered, no floats. The prefix keeps it apart from every other hash of ours.
        let mut hash = Sha256::new_with_prefix(b"stanch plan v1\n");
        hash.update(canonical(&self.0));
        PlanDigest(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[expect(clippy::expect_used, reason = "a draft holds only strings, numbers and string-keyed maps, which JSON can always express")]
fn canonical(draft: &Draft) -> Vec<u8> {
    serde_json::to_vec(draft).expect("a draft is always expressible as JSON")
}

/// SHA-256 of a plan in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanDigest(String);

impl PlanDigest {
    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A digest from its 64 lower-case hex digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        (text.len() == 64 && text.chars().all(digit)).then(|| Self(text.to_owned()))
    }

    /// The first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// Collects steps in order.
#[derive(Debug, Default)]
pub struct Steps(Vec<Step>);

/// Seconds that a single API write may take before `After` edges stop waiting: operations of Compute usually end within 30 s.
pub const WRITE_DEADLINE_S: u32 = 120;

impl Steps {
    /// Adds a step with the usual deadline.
    pub fn add(&mut self, action: impl Into<Action>, needs: impl IntoIterator<Item = Edge>) -> StepId {
        self.add_with_deadline(action, needs, WRITE_DEADLINE_S)
    }

    /// Adds a step with its own deadline.
    pub fn add_with_deadline(&mut self, action: impl Into<Action>, needs: impl IntoIterator<Item = Edge>, deadline_s: u32) -> StepId {
        // Saturates far above MAX_STEPS, where `Plan` refuses the draft.
        let id = StepId(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        let needs: BTreeSet<Edge> = needs.into_iter().collect();
        self.0.push(Step { action: action.into(), needs: needs.into_iter().collect(), deadline_s });
        id
    }

    /// The steps so far.
    pub fn ids(&self) -> impl Iterator<Item = StepId> + use<> {
        (0..).map(StepId).take(self.0.len())
    }

    /// The steps.
    #[must_use]
    pub fn finish(self) -> Vec<Step> {
        self.0
    }
}

impl From<crate::action::KubernetesAction> for Action {
    fn from(action: crate::action::KubernetesAction) -> Self {
        Self::Kubernetes(action)
    }
}

impl From<ComputeAction> for Action {
    fn from(action: ComputeAction) -> Self {
        Self::Compute(action)
    }
}

impl From<crate::action::SshAction> for Action {
    fn from(action: crate::action::SshAction) -> Self {
        Self::Ssh(action)
    }
}
