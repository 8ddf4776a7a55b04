//! What Stanch did and nobody took back since: what is isolated, and what a release undoes.

use std::collections::{BTreeMap, BTreeSet};

use stanch_commands::action::{Action, ActionClass, ComputeAction, KubernetesAction, PodIsolation, Undo};
use stanch_commands::firewall_rule::FirewallRule;
use stanch_commands::prior::{Earlier, GroupPrior, NodePrior, Prior};
use stanch_commands::target::{ComputeId, IncidentRef, NodeName, NodeRef, PodRef, RequestId};

use super::Memory;
use crate::core::request::{Ending, Request, Run, Stage};
use crate::core::step::Outcome;

/// A step that was started, and everything about it.
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

    /// Stanch did it, or may have done it: the step did not find it in place.
    fn is_ours(&self) -> bool {
        !matches!(&self.run.outcome, Some(Outcome::Succeeded(receipt)) if receipt.already_so)
    }

    fn isolates(&self) -> bool {
        self.is_sure() && matches!(self.action, Action::Compute(ComputeAction::TagInstance { .. }))
    }
}

impl Memory {
    /// The requests that isolated a node which was not released or deleted since.
    pub fn isolating(&self) -> impl Iterator<Item = (&RequestId, &Request)> {
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
    pub fn incident_of(&self, node: &NodeName) -> Option<&IncidentRef> {
        let mut on_node: Vec<&Request> =
            self.open().chain(self.holding()).map(|(_, request)| request).filter(|request| request.made.plan.node.name == *node).collect();
        on_node.sort_by_key(|request| request.requested_at);
        on_node.last().map(|request| &request.made.incident)
    }

    /// What was done on a request's node for its incident and stands: what a release undoes.
    ///
    /// What the release of another incident left in place for this one is undone with this one.
    #[must_use]
    pub fn earlier(&self, id: &RequestId) -> Option<Earlier> {
        let request = self.state.requests.get(id)?;
        let (node, incident) = (&request.made.plan.node, &request.made.incident);
        let standing = self.standing();
        let on_node = || standing.iter().filter(|standing| standing.request.made.plan.node == *node);
        let undone_here = |standing: &&Started<'_>| match self.was_released(standing) {
            true => standing.action.undo() == Undo::Possible,
            false => standing.request.made.incident == *incident,
        };
        let (mine, others): (Vec<&Started<'_>>, Vec<_>) = on_node().partition(undone_here);
        let relied_on = others.into_iter().filter(|standing| standing.is_sure() && !self.was_released(standing));
        let mine: Vec<_> = mine.into_iter().filter(|standing| standing.is_ours()).collect();
        let mut requests: Vec<(&RequestId, &Request)> = vec![];
        for standing in &mine {
            if !requests.iter().any(|(id, _)| *id == standing.id) {
                requests.push((standing.id, standing.request));
            }
        }
        let mut earlier = Earlier {
            incident: incident.clone(),
            node: node.clone(),
            instance: None,
            suspects: vec![],
            requests: requests.iter().map(|(id, _)| (*id).clone()).collect(),
            touched: vec![],
            relied_on: relied_on.map(|standing| (standing.id.clone(), standing.action.clone())).collect(),
            node_prior: None,
            instance_prior: None,
            group: self.recorded_group(node, incident),
            rules_made: standing.iter().filter_map(made_rule).collect(),
        };
        for standing in mine {
            if !earlier.touched.contains(standing.action) {
                earlier.touched.push(standing.action.clone());
            }
        }
        requests.iter().for_each(|(_, request)| add(&mut earlier, request));
        Some(earlier)
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

    /// The requests that tagged an instance which still carries the tag, whether the rest of them succeeded or not.
    fn holding(&self) -> impl Iterator<Item = (&RequestId, &Request)> {
        let holding: BTreeMap<&RequestId, &Request> =
            self.standing().into_iter().filter(Started::isolates).map(|standing| (standing.id, standing.request)).collect();
        holding.into_iter()
    }

    /// Every change that stands, in the order in which the changes were begun.
    fn standing(&self) -> Vec<Started<'_>> {
        let mut standing: Vec<Started<'_>> = vec![];
        for change in self.steps().into_iter().filter(|step| step.action.class() == ActionClass::Mutate) {
            if change.is_sure() {
                standing.retain(|earlier| !change.action.takes_back(earlier.action));
            }
            // What a release gave back is how things are without Stanch.
            if !change.request.made.plan.releases {
                standing.push(change);
            }
        }
        standing
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

    /// The group that a node's instance was in when an incident came to it.
    fn recorded_group(&self, node: &NodeRef, incident: &IncidentRef) -> Option<GroupPrior> {
        let mut on_node: Vec<&Request> =
            self.state.requests.values().filter(|request| request.made.plan.node == *node && request.made.incident == *incident).collect();
        on_node.sort_by_key(|request| request.runs().map(|(_, run)| run.turn).min());
        on_node.into_iter().flat_map(Request::priors).find_map(|prior| match prior {
            Prior::Instance(prior) => prior.group.clone(),
            Prior::Node(_) => None,
        })
    }
}

/// Whether a pod is not isolated any more after this: its labels or its network are back, or it is gone.
fn ends_isolation(action: &KubernetesAction, pod: &PodRef) -> bool {
    matches!(action, KubernetesAction::RestorePod { prior, .. } if prior.pod == *pod)
        || matches!(action, KubernetesAction::DeletePod { pod: other, .. } | KubernetesAction::AllowPodTraffic(other) if other == pod)
        || matches!(action, KubernetesAction::VerifyWorkloadGone { pods, .. } if pods.contains(pod))
}

/// A rule that Stanch made.
fn made_rule(standing: &Started<'_>) -> Option<FirewallRule> {
    match standing.action {
        Action::Compute(ComputeAction::EnsureFirewallRule(rule)) if standing.is_ours() => Some(rule.clone()),
        Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
    }
}

/// Adds what a request knew. What the first one read is what stood before; a later one finds what an earlier one did, and may name other
/// suspects.
fn add(earlier: &mut Earlier, request: &Request) {
    let plan = &request.made.plan;
    earlier.instance = earlier.instance.take().or_else(|| plan.instance.clone());
    let new: Vec<PodRef> = plan.suspects.iter().filter(|suspect| !earlier.suspects.contains(suspect)).cloned().collect();
    earlier.suspects.extend(new);
    for prior in request.priors() {
        match (prior, &mut earlier.node_prior) {
            (Prior::Node(prior), Some(first)) => merge(first, prior),
            (Prior::Node(prior), first @ None) => *first = Some((**prior).clone()),
            (Prior::Instance(prior), _) => earlier.instance_prior = earlier.instance_prior.take().or_else(|| Some((**prior).clone())),
        }
    }
}

fn merge(first: &mut NodePrior, later: &NodePrior) {
    for suspect in &later.suspects {
        if !first.suspects.iter().any(|known| known.pod == suspect.pod) {
            first.suspects.push(suspect.clone());
        }
    }
}
