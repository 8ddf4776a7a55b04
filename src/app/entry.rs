//! What stands in the audit log: one JSON object an entry, and the memory that replaying them gives.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stanch_commands::action::{Action, ComputeAction, KubernetesAction, PodIsolation};
use stanch_commands::firewall_rule::FirewallRule;
use stanch_commands::plan::StepId;
use stanch_commands::prior::{Earlier, Prior};
use stanch_commands::target::{ComputeId, ComputeName, IncidentRef, NodeName, NodeRef, PodRef, RequestId};

use crate::core::engine::{IllegalRecord, State, apply};
use crate::core::identity::{Account, ChannelRef, MessageRef, PersonId};
use crate::core::record::Record;
use crate::core::request::{Ending, Request, Stage};
use crate::ports::Exhibit;

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// Stanch started.
    Started {
        /// When.
        at: Timestamp,
        /// Version of the program.
        version: String,
        /// SHA-256 of the policy file, so that every decision can be judged by the policy that it was made under.
        policy_sha256: String,
    },
    /// Something happened to a request.
    Fact(Record),
    /// Somebody typed a command.
    Heard {
        /// When.
        at: Timestamp,
        /// The platform's id of the delivery.
        delivery: String,
        /// From which account.
        account: Account,
        /// Whose account that is, if anybody's.
        person: Option<PersonId>,
        /// Where.
        channel: ChannelRef,
        /// What, as it was typed, cut to 2,000 characters.
        text: String,
    },
    /// A command, a vote or a click was not followed.
    Turned {
        /// When.
        at: Timestamp,
        /// The platform's id of the delivery.
        delivery: String,
        /// From which account.
        account: Account,
        /// Why, in the words that they were told.
        why: String,
    },
    /// A message that matters for later stands in a channel.
    Posted {
        /// When.
        at: Timestamp,
        /// Of which request.
        request: RequestId,
        /// Which one.
        what: Landmark,
        /// Where.
        message: MessageRef,
    },
    /// Evidence of a step was kept.
    Kept {
        /// When.
        at: Timestamp,
        /// Of which request.
        request: RequestId,
        /// Of which step.
        step: StepId,
        /// The files.
        exhibits: Vec<Exhibit>,
        /// SHA-256 of the manifest that lists them.
        #[serde(default)]
        manifest_sha256: String,
    },
    /// Everything that is kept of a request was read back in the second place.
    Copied {
        /// When.
        at: Timestamp,
        /// Of which request.
        request: RequestId,
        /// Which place.
        place: String,
        /// SHA-256 of the manifest that lists what is there.
        manifest_sha256: String,
    },
}

/// The messages that a request has once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Landmark {
    /// The plan, root of the thread.
    Plan,
    /// The message that is edited.
    Progress,
    /// The end.
    End,
}

/// Why an entry cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no entry.
    #[error("entry {index} is not understood: {why}; was the log written by a newer version?")]
    Form {
        /// Which.
        index: u64,
        /// Why.
        why: String,
    },
    /// It breaks the rules.
    #[error("entry {index} is not lawful: {why}")]
    Law {
        /// Which.
        index: u64,
        /// Why.
        why: IllegalRecord,
    },
}

impl Entry {
    /// As it is stored.
    #[expect(clippy::expect_used, reason = "an entry holds only strings, numbers and string-keyed maps, which JSON can always express")]
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry is always expressible as JSON")
    }
}

/// Everything that the log tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Requests.
    pub state: State,
    /// Where their messages stand.
    pub landmarks: BTreeMap<(RequestId, Landmark), MessageRef>,
}

impl Memory {
    /// Replays a log from its beginning.
    ///
    /// # Errors
    /// [`Unreadable`] at the first entry that cannot be followed.
    pub fn replay(entries: &[Vec<u8>]) -> Result<Self, Unreadable> {
        let mut memory = Self::default();
        for (index, bytes) in (0_u64..).zip(entries) {
            let entry: Entry = serde_json::from_slice(bytes).map_err(|why| Unreadable::Form { index, why: why.to_string() })?;
            memory.follow(&entry).map_err(|why| Unreadable::Law { index, why })?;
        }
        Ok(memory)
    }

    /// Takes one entry in.
    ///
    /// # Errors
    /// [`IllegalRecord`]; the requests are forgotten then, so nothing may be done any more.
    pub fn follow(&mut self, entry: &Entry) -> Result<(), IllegalRecord> {
        match entry {
            Entry::Fact(record) => self.state = apply(std::mem::take(&mut self.state), record)?,
            Entry::Posted { request, what, message, .. } => {
                self.landmarks.insert((request.clone(), *what), message.clone());
            }
            Entry::Started { .. } | Entry::Heard { .. } | Entry::Turned { .. } | Entry::Kept { .. } | Entry::Copied { .. } => {}
        }
        Ok(())
    }

    /// The request whose plan message this is.
    #[must_use]
    pub fn voted_on(&self, message: &MessageRef) -> Option<&RequestId> {
        self.landmarks.iter().find(|((_, what), at)| *what == Landmark::Plan && *at == message).map(|((id, _), _)| id)
    }

    /// The requests that are not over.
    pub fn open(&self) -> impl Iterator<Item = (&RequestId, &Request)> {
        self.state.requests.iter().filter(|(_, request)| !matches!(request.stage, Stage::Ended(_)))
    }

    /// The requests of one node, oldest first.
    fn on_node<'m>(&'m self, node: &'m NodeRef) -> Vec<(&'m RequestId, &'m Request)> {
        let mut found: Vec<_> = self.state.requests.iter().filter(|(_, request)| request.made.plan.node == *node).collect();
        found.sort_by_key(|(_, request)| request.requested_at);
        found
    }

    /// The requests that isolated a node which was not released or deleted since.
    pub fn isolating(&self) -> impl Iterator<Item = (&RequestId, &Request)> {
        self.holding().filter(|(_, request)| request.made.plan.isolates && request.stage == Stage::Ended(Ending::Completed))
    }

    /// The requests that tagged an instance which still carries the tag, whether the rest of them succeeded or not.
    fn holding(&self) -> impl Iterator<Item = (&RequestId, &Request)> {
        self.state.requests.iter().filter(|(_, request)| {
            let since = request.requested_at;
            let later = |other: &&Request| other.requested_at > since && other.made.plan.instance == request.made.plan.instance;
            let held = request.succeeded(|action| matches!(action, Action::Compute(ComputeAction::TagInstance { .. })));
            held && !self.state.requests.values().filter(later).any(|other| frees(other, request))
        })
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

    /// What was done on a request's node for its incident since the last release: what a release undoes.
    #[must_use]
    pub fn earlier(&self, id: &RequestId) -> Option<Earlier> {
        let request = self.state.requests.get(id)?;
        let (node, incident) = (&request.made.plan.node, &request.made.incident);
        let mut requests = self.on_node(node);
        requests.retain(|(_, request)| request.made.incident == *incident);
        let released = |request: &Request| request.made.plan.releases && request.stage == Stage::Ended(Ending::Completed);
        let since = requests.iter().rposition(|(_, request)| released(request)).map_or(0, |last| last.saturating_add(1));
        let requests = requests.split_off(since);
        let mut earlier = Earlier {
            incident: incident.clone(),
            node: node.clone(),
            instance: None,
            suspects: vec![],
            requests: vec![],
            touched: vec![],
            node_prior: None,
            instance_prior: None,
            rules_made: self.rules_made(),
        };
        // A release that did not complete undid some of it, and finds that again by itself.
        for (id, request) in requests.into_iter().filter(|(_, request)| !request.made.plan.releases) {
            earlier.requests.push(id.clone());
            earlier.instance = earlier.instance.or_else(|| request.made.plan.instance.clone());
            let known: BTreeSet<PodRef> = earlier.suspects.iter().cloned().collect();
            earlier.suspects.extend(request.made.plan.suspects.iter().filter(|suspect| !known.contains(suspect)).cloned());
            earlier.touched.extend(request.touched().cloned());
            for prior in request.priors().cloned() {
                match prior {
                    // The first one is what stood before; a later request finds what an earlier one did.
                    Prior::Node(prior) => earlier.node_prior = earlier.node_prior.or(Some(*prior)),
                    Prior::Instance(prior) => earlier.instance_prior = earlier.instance_prior.or(Some(*prior)),
                }
            }
        }
        Some(earlier)
    }

    /// Rules that Stanch made and did not delete since.
    fn rules_made(&self) -> BTreeSet<FirewallRule> {
        let mut requests: Vec<&Request> = self.state.requests.values().collect();
        requests.sort_by_key(|request| request.requested_at);
        let mut rules = BTreeSet::new();
        for action in requests.into_iter().flat_map(Request::touched) {
            if let Action::Compute(ComputeAction::EnsureFirewallRule(rule)) = action {
                rules.insert(rule.clone());
            } else if let Action::Compute(ComputeAction::RemoveFirewallRule { rule, .. }) = action {
                rules.remove(rule);
            }
        }
        rules
    }

    /// Pods that were isolated by themselves, or only detached, and neither given back nor seen gone since, and the requests that isolated them.
    #[must_use]
    pub fn isolated_pods(&self) -> Vec<(&PodIsolation, RequestId)> {
        let mut requests: Vec<(&RequestId, &Request)> = self.state.requests.iter().collect();
        requests.sort_by_key(|(_, request)| request.requested_at);
        let mut isolated: Vec<(&PodIsolation, RequestId)> = Vec::new();
        for (id, request) in requests {
            for action in request.done() {
                if let Action::Kubernetes(KubernetesAction::VerifyPodIsolation(isolation)) = action {
                    isolated.retain(|(earlier, _)| earlier.pod != isolation.pod);
                    isolated.push((isolation, id.clone()));
                } else if let Action::Kubernetes(action) = action {
                    isolated.retain(|(earlier, _)| !ends_isolation(action, &earlier.pod));
                }
            }
        }
        isolated
    }

    /// The incident that a node already belongs to: that of an open request on it, or of the quarantine that isolated it.
    #[must_use]
    pub fn incident_of(&self, node: &NodeName) -> Option<&IncidentRef> {
        let mut on_node: Vec<&Request> =
            self.open().chain(self.holding()).map(|(_, request)| request).filter(|request| request.made.plan.node.name == *node).collect();
        on_node.sort_by_key(|request| request.requested_at);
        on_node.last().map(|request| &request.made.incident)
    }

    /// The newest request of a channel.
    #[must_use]
    pub fn newest_in(&self, channel: &ChannelRef) -> Option<&RequestId> {
        let in_channel = self.state.requests.iter().filter(|(_, request)| request.made.channel == *channel);
        in_channel.max_by_key(|(_, request)| request.requested_at).map(|(id, _)| id)
    }
}

/// Whether a pod is not isolated any more after this: its labels or its network are back, or it is gone.
fn ends_isolation(action: &KubernetesAction, pod: &PodRef) -> bool {
    matches!(action, KubernetesAction::RestorePod { prior, .. } if prior.pod == *pod)
        || matches!(action, KubernetesAction::DeletePod { pod: other, .. } | KubernetesAction::AllowPodTraffic(other) if other == pod)
        || matches!(action, KubernetesAction::VerifyWorkloadGone { pods, .. } if pods.contains(pod))
}

/// Whether a later request took the tag of an earlier one off, or deleted its instance. Other tags come and go by `allow-ssh`.
fn frees(later: &Request, earlier: &Request) -> bool {
    let tagged = |wanted: &ComputeName| {
        earlier.succeeded(|action| matches!(action, Action::Compute(ComputeAction::TagInstance { tag, .. }) if tag == wanted))
    };
    later.succeeded(|action| match action {
        Action::Compute(ComputeAction::UntagInstance { tag, .. }) => tagged(tag),
        Action::Compute(action) => matches!(action, ComputeAction::DeleteInstance { .. }),
        Action::Kubernetes(_) => false,
    })
}
