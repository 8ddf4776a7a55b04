//! What Stanch did and nobody took back since: what is isolated, and what a release undoes.

use std::collections::{BTreeMap, BTreeSet};

use stanch_commands::action::{Action, ActionClass, ComputeAction, KubernetesAction, PodIsolation, Undo};
use stanch_commands::firewall_rule::{FirewallRule, Verdict};
use stanch_commands::prior::{Earlier, GroupPrior, InstancePrior, NodePrior, Prior, Suspect};
use stanch_commands::target::{ComputeId, IncidentRef, NodeName, NodeRef, PodRef, RequestId};

use super::Memory;
use crate::core::request::{Ending, Request, Run, Stage};
use crate::core::step::Outcome;

/// A step that was started, and everything about it.
#[derive(Clone, Copy)]
struct Started<'m> {
    id: &'m RequestId,
    request: &'m Request,
    action: &'m Action,
    run: &'m Run,
}

impl Started<'_> {
    /// It is in place, as far as its step knows.
    fn is_sure(&self) -> bool {
        matches!(self.run.outcome, Some(Outcome::Succeeded(_)))
    }

    /// It is not in place, as far as its step knows.
    fn is_failed(&self) -> bool {
        matches!(self.run.outcome, Some(Outcome::Failed(_)))
    }

    /// Stanch did it, or may have done it: the step did not find it in place.
    fn is_ours(&self) -> bool {
        !matches!(&self.run.outcome, Some(Outcome::Succeeded(receipt)) if receipt.already_so)
    }

    fn isolates(&self) -> bool {
        self.is_sure() && matches!(self.action, Action::Compute(ComputeAction::TagInstance { .. }))
    }

    fn is_on(&self, node: &NodeRef) -> bool {
        self.request.made.plan.node == *node
    }
}

/// Every change that stands. It is derived from every step of every request, so it is made once for everything that one command asks of it.
pub struct Standing<'m> {
    memory: &'m Memory,
    /// In the order in which the changes were begun.
    changes: Vec<Started<'m>>,
}

impl Memory {
    /// What stands now.
    #[must_use]
    pub fn standing(&self) -> Standing<'_> {
        let mut changes: Vec<Started<'_>> = vec![];
        for change in self.steps().into_iter().filter(|step| step.action.class() == ActionClass::Mutate) {
            if change.is_sure() && change.action.takes_something_back() {
                changes.retain(|earlier| !change.action.takes_back(earlier.action));
            }
            // What a release gave back is how things are without Stanch.
            if !change.request.made.plan.releases {
                changes.push(change);
            }
        }
        Standing { memory: self, changes }
    }

    /// Pods that were isolated by themselves, or only detached, and neither given back nor seen gone since, and the requests that isolated them.
    #[must_use]
    pub fn isolated_pods(&self) -> Vec<(&PodIsolation, RequestId)> {
        let mut isolated: Vec<(&PodIsolation, RequestId)> = Vec::new();
        for step in self.steps().into_iter().filter(Started::is_sure) {
            if let Action::Kubernetes(KubernetesAction::VerifyPodIsolation(isolation)) = step.action {
                isolated.retain(|(earlier, _)| earlier.pod != isolation.pod);
                isolated.push((isolation, step.id.clone()));
            } else if let Action::Kubernetes(action) = step.action {
                isolated.retain(|(earlier, _)| !ends_isolation(action, &earlier.pod));
            }
        }
        isolated
    }

    /// Every step that was started, in that order.
    fn steps(&self) -> Vec<Started<'_>> {
        let requests = self.state.requests.iter();
        let steps = requests.flat_map(|(id, request)| request.runs().map(move |(action, run)| Started { id, request, action, run }));
        let mut steps: Vec<Started<'_>> = steps.collect();
        steps.sort_by_key(|step| step.run.turn);
        steps
    }

    /// Whether a release that completed passed over this change.
    fn was_released(&self, standing: &Started<'_>) -> bool {
        let made = &standing.request.made;
        self.state.requests.values().any(|other| {
            other.made.plan.releases
                && other.made.plan.node == made.plan.node
                && other.made.incident == made.incident
                && other.stage == Stage::Ended(Ending::Completed)
                && other.runs().any(|(_, run)| run.turn > standing.run.turn)
        })
    }

    /// The group of a node's instance, as the incident read it last while the instance was a member.
    fn recorded_group(&self, node: &NodeRef, incident: &IncidentRef) -> Option<GroupPrior> {
        let mut on_node: Vec<&Request> =
            self.state.requests.values().filter(|request| request.made.plan.node == *node && request.made.incident == *incident).collect();
        on_node.sort_by_key(|request| request.runs().map(|(_, run)| run.turn).max());
        on_node.into_iter().rev().flat_map(Request::priors).find_map(|prior| match prior {
            Prior::Instance(prior) => prior.group.clone(),
            Prior::Node(_) => None,
        })
    }
}

impl<'m> Standing<'m> {
    /// The requests that isolated a node which was not released or deleted since.
    pub fn isolating(&self) -> impl Iterator<Item = (&'m RequestId, &'m Request)> {
        self.holding().filter(|(_, request)| request.made.plan.isolates && request.stage == Stage::Ended(Ending::Completed))
    }

    /// Instances that are isolated.
    #[must_use]
    pub fn isolated_instances(&self) -> BTreeSet<ComputeId> {
        self.isolating().filter_map(|(_, request)| request.made.plan.instance.as_ref().map(|instance| instance.id)).collect()
    }

    /// Instances that carry a quarantine's tag.
    #[must_use]
    pub fn tagged_instances(&self) -> BTreeSet<ComputeId> {
        self.holding().filter_map(|(_, request)| request.made.plan.instance.as_ref().map(|instance| instance.id)).collect()
    }

    /// Nodes without their network, and the request that took it.
    #[must_use]
    pub fn isolated_nodes(&self) -> BTreeMap<NodeName, RequestId> {
        self.holding().map(|(id, request)| (request.made.plan.node.name.clone(), id.clone())).collect()
    }

    /// The incident that a node already belongs to: that of an open request on it, or of the quarantine that isolated it.
    #[must_use]
    pub fn incident_of(&self, node: &NodeName) -> Option<&'m IncidentRef> {
        let mut on_node: Vec<&Request> = self
            .memory
            .open()
            .chain(self.holding())
            .map(|(_, request)| request)
            .filter(|request| request.made.plan.node.name == *node)
            .collect();
        on_node.sort_by_key(|request| request.requested_at);
        on_node.last().map(|request| &request.made.incident)
    }

    /// What was done on a request's node for its incident and stands: what a release undoes.
    ///
    /// What the release of another incident left in place for this one is undone with this one.
    #[must_use]
    pub fn earlier(&self, id: &RequestId) -> Option<Earlier> {
        let request = self.memory.state.requests.get(id)?;
        let (node, incident) = (&request.made.plan.node, &request.made.incident);
        let (mut mine, mut others) = (vec![], vec![]);
        for change in self.changes.iter().filter(|change| change.is_on(node)) {
            match (self.memory.was_released(change), change.request.made.incident == *incident) {
                (true, _) if change.action.undo() == Undo::Possible => mine.push(*change),
                (false, true) => mine.push(*change),
                (false, false) if !change.is_failed() => others.push(*change),
                (true | false, _) => {}
            }
        }
        let mut requests: Vec<(&RequestId, &Request)> = vec![];
        let mut touched: Vec<Action> = vec![];
        for change in &mine {
            if !requests.iter().any(|(id, _)| *id == change.id) {
                requests.push((change.id, change.request));
            }
            if change.is_ours() && !touched.contains(change.action) {
                touched.push(change.action.clone());
            }
        }
        let (node_prior, instance_prior) = priors(&requests);
        Some(Earlier {
            incident: incident.clone(),
            node: node.clone(),
            suspects: suspects(&mine),
            requests: requests.into_iter().map(|(id, _)| id.clone()).collect(),
            touched,
            relied_on: others.into_iter().map(|change| (change.id.clone(), change.action.clone())).collect(),
            node_prior,
            instance_prior,
            group: self.memory.recorded_group(node, incident),
            rules: self.rules(&mine),
        })
    }

    /// The requests that tagged an instance which still carries the tag, whether the rest of them succeeded or not.
    fn holding(&self) -> impl Iterator<Item = (&'m RequestId, &'m Request)> {
        let holding: BTreeMap<&'m RequestId, &'m Request> =
            self.changes.iter().filter(|change| change.isolates()).map(|change| (change.id, change.request)).collect();
        holding.into_iter()
    }

    /// The rules that these changes ensured, as far as Stanch made them, whichever request did, on whichever node.
    fn rules(&self, mine: &[Started<'_>]) -> BTreeSet<FirewallRule> {
        let made: BTreeSet<&FirewallRule> =
            self.changes.iter().filter(|change| change.is_ours()).filter_map(|change| isolating_rule(change.action)).collect();
        mine.iter().filter_map(|change| isolating_rule(change.action)).filter(|rule| made.contains(rule)).cloned().collect()
    }
}

/// The rule that an action ensures, if it takes network away: what lets SSH in is another matter.
fn isolating_rule(action: &Action) -> Option<&FirewallRule> {
    match action {
        Action::Compute(ComputeAction::EnsureFirewallRule(rule)) if rule.verdict == Verdict::Deny => Some(rule),
        Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
    }
}

/// Whom these changes mark, and whom the requests named that took the network.
fn suspects(mine: &[Started<'_>]) -> Vec<Suspect> {
    let mut suspects: Vec<Suspect> = vec![];
    let mut add = |pod: &PodRef, mark: Option<&Action>| {
        if !suspects.iter().any(|suspect| suspect.pod == *pod) {
            suspects.push(Suspect { pod: pod.clone(), marks: vec![] });
        }
        if let Some(suspect) = suspects.iter_mut().find(|suspect| suspect.pod == *pod) {
            suspect.marks.extend(mark.cloned());
        }
    };
    for change in mine {
        if let Some(pod) = change.action.marks() {
            add(pod, Some(change.action));
        }
        if change.action.takes_network() {
            change.request.made.plan.suspects.iter().for_each(|pod| add(pod, None));
        }
    }
    suspects
}

/// What stood before. What the first request read is that; a later one finds what an earlier one did, and may name other suspects.
fn priors(requests: &[(&RequestId, &Request)]) -> (Option<NodePrior>, Option<InstancePrior>) {
    let (mut node, mut instance): (Option<NodePrior>, Option<InstancePrior>) = (None, None);
    for prior in requests.iter().flat_map(|(_, request)| request.priors()) {
        match (prior, &mut node) {
            (Prior::Node(prior), Some(first)) => merge(first, prior),
            (Prior::Node(prior), first @ None) => *first = Some((**prior).clone()),
            (Prior::Instance(prior), _) => instance = instance.take().or_else(|| Some((**prior).clone())),
        }
    }
    (node, instance)
}

fn merge(first: &mut NodePrior, later: &NodePrior) {
    for suspect in &later.suspects {
        if !first.suspects.iter().any(|known| known.pod == suspect.pod) {
            first.suspects.push(suspect.clone());
        }
    }
}

/// Whether a pod is not isolated any more after this: its labels or its network are back, or it is gone.
fn ends_isolation(action: &KubernetesAction, pod: &PodRef) -> bool {
    matches!(action, KubernetesAction::RestorePod { prior, .. } if prior.pod == *pod)
        || matches!(action, KubernetesAction::DeletePod { pod: other, .. } | KubernetesAction::AllowPodTraffic(other) if other == pod)
        || matches!(action, KubernetesAction::VerifyWorkloadGone { pods, .. } if pods.contains(pod))
}
