//! One configured cluster: its two APIs as one target.

use std::sync::Arc;

use jiff::Timestamp;
use stanch_commands::action::{Action, ComputeAction, KubernetesAction, SshAction};
use stanch_commands::facts::{ClusterFacts, ComputeFacts, Facts, GroupState, GroupSurvey, KubernetesFacts, NoInstance};
use stanch_commands::plan::Plan;
use stanch_commands::runtime::Ending;
use stanch_commands::target::{GroupRef, PodRef, TargetName};

use crate::core::step::{Failure, FailureKind, Licence, Observation, Outcome, Performed};
use crate::ports::{Actuator, InstanceQuery, SurveyError, Surveyor};

/// The Kubernetes API of a cluster.
pub trait Kubernetes: Surveyor<TargetName, KubernetesFacts> + Actuator<KubernetesAction> {}
impl<T: Surveyor<TargetName, KubernetesFacts> + Actuator<KubernetesAction>> Kubernetes for T {}

/// The Compute Engine API.
pub trait Compute:
    Surveyor<InstanceQuery, Result<ComputeFacts, NoInstance>> + Surveyor<GroupRef, Option<GroupState>> + Actuator<ComputeAction>
{
}
impl<T> Compute for T where
    T: Surveyor<InstanceQuery, Result<ComputeFacts, NoInstance>> + Surveyor<GroupRef, Option<GroupState>> + Actuator<ComputeAction>
{
}

/// A cluster that Stanch works on.
#[derive(Clone)]
pub struct Cluster {
    /// What the configuration says of it.
    pub facts: ClusterFacts,
    /// Its Kubernetes API.
    pub kubernetes: Arc<dyn Kubernetes>,
    /// Its Compute API.
    pub compute: Arc<dyn Compute>,
    /// Its nodes over SSH, if that is configured.
    pub ssh: Option<Arc<dyn Actuator<SshAction>>>,
}

impl Cluster {
    /// Reads everything that a plan needs to know about a target.
    ///
    /// # Errors
    /// [`SurveyError`].
    pub async fn survey(&self, target: &TargetName, now: Timestamp) -> Result<Facts, SurveyError> {
        let kubernetes = self.kubernetes.survey(target).await?;
        let node = &kubernetes.node;
        let compute = match node.autopilot {
            true => Err(NoInstance::Autopilot),
            false => {
                let query = InstanceQuery { provider_id: node.provider_id.clone(), expected_id: node.instance_id.clone() };
                self.compute.survey(&query).await?
            }
        };
        Ok(Facts { surveyed_at: now, cluster: self.facts.clone(), kubernetes, compute })
    }

    /// Reads how a group stands, whose node may be gone.
    ///
    /// # Errors
    /// [`SurveyError`].
    pub async fn survey_group(&self, group: &GroupRef) -> Result<GroupSurvey, SurveyError> {
        let found = self.compute.survey(group).await?;
        Ok(GroupSurvey { cluster: self.facts.name.clone(), group: group.clone(), found })
    }

    /// What of the objects that a plan is bound to is gone or is another one now. If that cannot be told, nothing is said: every step looks
    /// at its own object again, and containment must not wait for an API that is away.
    pub async fn changed(&self, plan: &Plan, now: Timestamp) -> Option<String> {
        // A plan about a group alone is bound to its size, which its step compares; the node may be gone.
        if plan.steps().all(|(_, step)| matches!(step.action, Action::Compute(ComputeAction::ResizeGroup { .. }))) {
            return None;
        }
        let facts = match self.survey(&TargetName::Node(plan.node.name.clone()), now).await {
            Ok(facts) => facts,
            Err(SurveyError::NotFound(why)) => return Some(why),
            Err(SurveyError::Ambiguous { .. } | SurveyError::Refused(_) | SurveyError::Unavailable(_)) => return None,
        };
        let gone = |what: &str| format!("{what} is gone or is another one now");
        let (node, instance) = (&plan.node.name, facts.compute.as_ref().ok().map(|compute| &compute.instance));
        if facts.kubernetes.node.node != plan.node {
            return Some(gone(&format!("node {node}")));
        }
        if plan.instance.is_some() && instance != plan.instance.as_ref() {
            return Some(gone(&format!("the instance of node {node}")));
        }
        let missing = |suspect: &&PodRef| !facts.kubernetes.pods.iter().any(|pod| pod.pod == **suspect);
        plan.suspects.iter().find(missing).map(|suspect| gone(&format!("pod {suspect}"))).or_else(|| ended(plan, &facts))
    }

    /// Carries a step out.
    pub async fn perform(&self, action: &Action, licence: &Licence) -> Performed {
        match action {
            Action::Kubernetes(action) => self.kubernetes.perform(action, licence).await,
            Action::Compute(action) => self.compute.perform(action, licence).await,
            Action::Ssh(action) => match &self.ssh {
                Some(ssh) => ssh.perform(action, licence).await,
                None => Performed { outcome: switched_off(), calls: vec![], artefacts: vec![] },
            },
        }
    }

    /// Reads whether a step's effect is there.
    pub async fn observe(&self, action: &Action, licence: &Licence) -> Observation {
        match action {
            Action::Kubernetes(action) => self.kubernetes.observe(action, licence).await,
            Action::Compute(action) => self.compute.observe(action, licence).await,
            Action::Ssh(action) => match &self.ssh {
                Some(ssh) => ssh.observe(action, licence).await,
                None => Observation::Unclear("[ssh] is off".into()),
            },
        }
    }
}

/// The plan was made when it was on.
fn switched_off() -> Outcome {
    let hint = Some("switch [ssh] of config/stanch.toml on again, and ask again".into());
    Outcome::Failed(Failure { kind: FailureKind::Refused, message: "[ssh] is off, so that nothing was done".into(), hint })
}

/// The container that a plan ends, if that run of it has ended meanwhile.
fn ended(plan: &Plan, facts: &Facts) -> Option<String> {
    let endings = plan.steps().filter_map(|(_, step)| match &step.action {
        Action::Kubernetes(KubernetesAction::EndContainer { ending, .. }) | Action::Ssh(SshAction::EndContainer { ending, .. }) => {
            Some(ending)
        }
        Action::Kubernetes(_) | Action::Compute(_) => None,
    });
    let runs = |ending: &Ending| {
        let suffix = format!("://{}", ending.container.id.as_str());
        let pod = facts.kubernetes.pods.iter().find(|pod| pod.pod == ending.pod);
        pod.is_some_and(|pod| pod.containers.iter().any(|container| container.running && container.runtime_id.ends_with(&suffix)))
    };
    endings.into_iter().find(|ending| !runs(ending.as_ref())).map(|ending| format!("{ending} is not the same run any more"))
}
