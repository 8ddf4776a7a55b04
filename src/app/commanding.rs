//! From a typed command to an answer or a proposed request: look up, survey, judge, plan, propose.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use stanch_commands::action::{Action, ComputeAction, KubernetesAction, PodIsolation};
use stanch_commands::check;
use stanch_commands::definition::{Context, Does};
use stanch_commands::guard;
use stanch_commands::locate;
use stanch_commands::parse::{Parsed, parse};
use stanch_commands::plan::Draft;
use stanch_commands::refusal::Refusal;
use stanch_commands::target::{ClusterName, GroupRef, IncidentRef, Namespace, NodeName, RequestId, TargetName};

use super::voting::{command_of, may_request, patiently};
use super::work::{Answer, Looked, Report, Surveyed};
use super::{Cluster, Entry, Stanch};
use crate::core::engine::Event;
use crate::core::engine::Rejection;
use crate::core::identity::{Account, ChannelRef, PersonId};
use crate::core::policy::{Ask, DEFAULT_APPROVAL_EXPIRY_S, Decision, Policy, Reason, Subject};
use crate::core::record::Requested;
use crate::core::request::{Run, Stage};
use crate::core::say::Say;
use crate::core::step::Outcome;
use crate::ports::{Chat, ENTRY_LIMIT_BYTES, Inbound, SurveyError};

impl Stanch {
    /// A command was typed: it is recorded, understood, and looked into beside the app.
    pub(super) async fn hear(&mut self, inbound: Inbound, text: &str) {
        let person = self.parts.policy.person(&inbound.from).cloned();
        let heard = Entry::Heard {
            at: self.now(),
            delivery: inbound.delivery.clone(),
            account: inbound.from.clone(),
            person: person.clone(),
            channel: inbound.channel.clone(),
            text: text.chars().take(2_000).collect(),
        };
        self.commit(vec![heard]).await;
        let Some(person) = person else { return self.turn_away(&inbound, unmapped(&inbound.from)).await };
        let parsed = match parse(text) {
            Ok(parsed) => parsed,
            Err(error) => return self.turn_away(&inbound, Say::Usage(error)).await,
        };
        let place = match self.target(&inbound, &parsed) {
            Ok(place) => place,
            Err(answer) => return self.turn_away(&inbound, *answer).await,
        };
        if place.is_some() {
            self.outbox.private(&inbound.channel, &inbound.from, Say::Surveying { command: text.trim().to_owned() });
        }
        let look = Look { policy: self.parts.policy.clone(), chat: self.parts.chat.clone(), now: self.now() };
        let reports = self.reports.clone();
        self.asked = self.asked.saturating_add(1);
        self.tasks.spawn(async move {
            let report = match look.up(&inbound, &parsed, place).await {
                Ok((subject, surveyed)) => Report::Looked(Box::new(Looked { inbound, parsed, person, subject, surveyed })),
                Err(answer) => Report::TurnedAway { inbound, answer },
            };
            let _ = reports.send(report);
        });
    }

    /// What is to be surveyed, if anything.
    fn target(&self, inbound: &Inbound, parsed: &Parsed) -> Result<Option<Place>, Answer> {
        let mutates = match parsed.definition.does {
            Does::Help | Does::Status | Does::List | Does::Doctor | Does::Cancel | Does::Halt => return Ok(None),
            Does::Locate => false,
            Does::Mitigate(_) | Does::Resize(_) => !parsed.arguments.dry_run,
        };
        if mutates && !self.parts.settings.channels.contains_key(&inbound.channel) {
            return Err(trouble(
                "Stanch changes nothing from here",
                "ask in an incident channel of config/stanch.toml; --dry-run works everywhere",
            ));
        }
        if let Some(earlier) = &parsed.arguments.request {
            let place = self.place_of(earlier)?;
            return match matches!(parsed.definition.does, Does::Resize(_)) {
                true => self.group_of(earlier).map(|group| Some(Place { group: Some(group), namespace: None, ..place })),
                false => Ok(Some(place)),
            };
        }
        let Some(target) = parsed.arguments.target.clone() else {
            return Err(trouble("the command names no target", "name a pod or a node"));
        };
        let default = self.parts.settings.channels.get(&inbound.channel).cloned();
        let namespace = match &target {
            TargetName::Pod { namespace, .. } => namespace.clone(),
            TargetName::Node(_) => None,
        };
        let cluster = self.cluster(parsed.arguments.cluster.clone().or(default))?;
        Ok(Some(Place { cluster, target, namespace, group: None }))
    }

    /// Where an earlier request was: its node, since its suspect may be gone or run elsewhere under the same name.
    fn place_of(&self, earlier: &RequestId) -> Result<Place, Answer> {
        let Some(request) = self.memory.state.requests.get(earlier) else { return Err(Box::new(Say::Rejected(Rejection::UnknownRequest))) };
        if !matches!(request.stage, Stage::Ended(_)) {
            return Err(trouble(&format!("request {earlier} is still open"), "halt or cancel it first, or wait for its end"));
        }
        let plan = &request.made.plan;
        let suspect = plan.suspects.first();
        Ok(Place {
            cluster: self.cluster(Some(plan.cluster.clone()))?,
            target: TargetName::Node(plan.node.name.clone()),
            namespace: suspect.map(|suspect| suspect.namespace.clone()),
            group: None,
        })
    }

    /// The group whose size the requests on that node recorded.
    fn group_of(&self, earlier: &RequestId) -> Result<GroupRef, Answer> {
        let recorded = self.memory.standing().earlier(earlier).and_then(|earlier| earlier.group);
        recorded.map(|recorded| recorded.group).ok_or_else(|| Box::new(Say::Refused(Refusal::NoRecordedSize)))
    }

    /// The named cluster, or the only one there is.
    fn cluster(&self, named: Option<ClusterName>) -> Result<Cluster, Answer> {
        let clusters = &self.parts.clusters;
        let choices = || clusters.keys().map(ClusterName::as_str).collect::<Vec<_>>().join(", ");
        let found = match &named {
            Some(name) => clusters.get(name),
            None if clusters.len() == 1 => clusters.values().next(),
            None => None,
        };
        found.cloned().ok_or_else(|| match named {
            Some(name) => trouble(&format!("there is no cluster `{name}`"), &format!("configured are: {}", choices())),
            None => trouble("this channel has no default cluster", &format!("add cluster:NAME, one of: {}", choices())),
        })
    }

    /// Everything is looked up: decide.
    pub(super) async fn answer(&mut self, looked: Looked) {
        let Looked { inbound, parsed, person, subject, surveyed } = looked;
        let request = parsed.arguments.request.clone();
        let say = match (parsed.definition.does, request, surveyed) {
            (Does::Help, _, _) => help(&parsed),
            (Does::List, _, _) => self.list(),
            (Does::Doctor, _, _) => return self.examine(inbound),
            (Does::Status, request, _) => self.status(&inbound, request),
            (Does::Cancel, Some(id), _) => self.cancel(&id, person).await,
            (Does::Halt, Some(id), _) => self.halt(&id, &person, &subject, parsed.arguments.reason.clone()).await,
            (Does::Locate, _, Some(Surveyed::Node(facts))) => Say::Located(locate::findings(&facts)),
            (Does::Mitigate(planner), _, Some(Surveyed::Node(facts))) => {
                let node = facts.kubernetes.node.node.name.clone();
                let planned = |context: &Context| guard::planned(parsed.definition, planner, &facts, context);
                self.propose(&inbound, &parsed, (person, &subject), Some(&node), planned).await
            }
            (Does::Resize(planner), _, Some(Surveyed::Group(survey))) => {
                self.propose(&inbound, &parsed, (person, &subject), None, |context| planner(&survey, context)).await
            }
            // The parser asks for the request and `target` for the target, so these have them.
            (Does::Cancel | Does::Halt | Does::Locate | Does::Mitigate(_) | Does::Resize(_), _, _) => {
                Say::Rejected(Rejection::UnknownRequest)
            }
        };
        self.answer_privately(&inbound, say).await;
    }

    async fn propose(
        &mut self,
        inbound: &Inbound,
        parsed: &Parsed,
        (person, subject): (PersonId, &Subject),
        node: Option<&NodeName>,
        planned: impl FnOnce(&Context) -> Result<Draft, Refusal>,
    ) -> Say {
        let id = self.parts.ids.request_id();
        let context = self.context(&id, parsed, &person, node);
        let plan = match planned(&context).and_then(check::checked) {
            Ok(plan) => plan,
            Err(refusal) => return Say::Refused(refusal),
        };
        // The same question as right before the writes: a plan that could never be authorised is not put before people.
        let decision = may_request(&self.parts.policy, subject, command_of(&plan), &plan);
        if !decision.permitted {
            return Say::Denied(decision);
        }
        let phase = plan.phase(parsed.definition.phase);
        let Some(approvals_needed) = self.parts.policy.approvals_needed(phase) else {
            return Say::Rejected(Rejection::NoApprovalsConfigured);
        };
        if parsed.arguments.dry_run {
            return Say::DryRun { plan: Box::new(plan), phase, approvals_needed };
        }
        if !self.parts.log.has_room() {
            return *trouble(
                "the disk of the audit log is almost full, so nothing new is begun",
                "make room; runs that were authorised go on",
            );
        }
        let expiry_s = self.parts.policy.approval_expiry_s.unwrap_or(DEFAULT_APPROVAL_EXPIRY_S);
        let expires_at = self.now().saturating_add(SignedDuration::from_secs(expiry_s.into())).unwrap_or(Timestamp::MAX);
        let channel = inbound.channel.clone();
        let requested = Requested { requester: person, channel, incident: context.incident, phase, plan, approvals_needed, expires_at };
        if serde_json::to_vec(&requested).is_ok_and(|bytes| bytes.len() > ENTRY_LIMIT_BYTES / 2) {
            return *trouble("the plan is too long for one record", "drain the node in parts, or use the guide's manual steps");
        }
        match self.send(&id, Event::Propose(Box::new(requested))).await {
            Ok(()) => Say::Proposed { id },
            Err(rejection) => Say::Rejected(rejection),
        }
    }

    fn context(&self, id: &RequestId, parsed: &Parsed, person: &PersonId, node: Option<&NodeName>) -> Context {
        let standing = self.memory.standing();
        let earlier = parsed.arguments.request.as_ref().and_then(|earlier| standing.earlier(earlier));
        let known = parsed
            .arguments
            .incident
            .clone()
            .or_else(|| earlier.as_ref().map(|earlier| earlier.incident.clone()))
            .or_else(|| standing.incident_of(node?).cloned());
        Context {
            request: id.clone(),
            incident: known.unwrap_or_else(|| incident_of(id)),
            requester: person.to_string(),
            arguments: parsed.arguments.clone(),
            form: self.parts.settings.form,
            limits: self.parts.settings.limits,
            node_access: self.parts.settings.node_access.clone(),
            protected_namespaces: self.parts.policy.protected_namespaces.clone(),
            own: self.parts.settings.own.clone(),
            isolated_instances: standing.isolated_instances(),
            tagged_instances: standing.tagged_instances(),
            earlier,
            isolated_nodes: standing.isolated_nodes().into_keys().collect(),
            now: self.now(),
        }
    }

    /// Looks at everything beside the app, which may take a while.
    fn examine(&mut self, inbound: Inbound) {
        self.outbox.private(&inbound.channel, &inbound.from, Say::Examining);
        let (doctor, reports) = (self.parts.doctor.clone(), self.reports.clone());
        self.asked = self.asked.saturating_add(1);
        self.tasks.spawn(async move {
            let diagnoses = doctor.examine().await;
            let _ = reports.send(Report::Examined { inbound, diagnoses });
        });
    }

    fn list(&self) -> Say {
        let nodes = self.memory.standing().isolated_nodes().into_iter().map(|(node, by)| (format!("node {node}"), by));
        let read_back = |(what, by): (String, RequestId)| {
            let at = self.last_read_back(&by);
            (what, by, at)
        };
        let open = |isolation: &PodIsolation| if isolation.isolates() { "" } else { " (detached, but NOT isolated)" };
        let pods = self.memory.isolated_pods().into_iter().map(|(isolation, by)| (format!("pod {}{}", isolation.pod, open(isolation)), by));
        let open = self.memory.open().map(|(id, request)| (id.clone(), request.clone())).collect();
        Say::List { open, isolated: nodes.chain(pods).map(read_back).collect(), not_copied: self.all_not_copied() }
    }

    /// When a request last read back what isolates: the start of that step, so that nobody takes it for later than it was.
    fn last_read_back(&self, id: &RequestId) -> Timestamp {
        let Some(request) = self.memory.state.requests.get(id) else { return Timestamp::MIN };
        let reads = |action: &Action| {
            matches!(
                action,
                Action::Compute(ComputeAction::TagInstance { .. } | ComputeAction::VerifyIsolation { .. })
                    | Action::Kubernetes(KubernetesAction::VerifyPodIsolation(_))
            )
        };
        let succeeded = |run: &Run| matches!(run.outcome, Some(Outcome::Succeeded(_)));
        let read_back = request.runs().filter(|(action, run)| reads(action) && succeeded(run)).map(|(_, run)| run.started_at).max();
        read_back.unwrap_or(request.requested_at)
    }

    fn status(&self, inbound: &Inbound, named: Option<RequestId>) -> Say {
        let id = named.or_else(|| self.memory.newest_in(&self.same(&inbound.channel)).cloned());
        match id.and_then(|id| self.memory.state.requests.get(&id).map(|request| (id, request.clone()))) {
            Some((id, request)) => Say::Status { not_copied: self.not_copied(&id), id, request: Box::new(request) },
            None => Say::Rejected(Rejection::UnknownRequest),
        }
    }

    /// The channel, and the one that shows the same requests.
    fn same(&self, channel: &ChannelRef) -> Vec<ChannelRef> {
        std::iter::once(channel).chain(self.parts.settings.shared.get(channel)).cloned().collect()
    }

    async fn cancel(&mut self, id: &RequestId, person: PersonId) -> Say {
        match self.send(id, Event::Cancel { person }).await {
            Ok(()) => Say::Stopped("Cancelled. Snapshots and evidence that were started are kept."),
            Err(rejection) => Say::Rejected(rejection),
        }
    }

    /// Stops a run, or objects to one that has not begun, if the person has a role in its scope.
    pub(super) async fn halt(&mut self, id: &RequestId, person: &PersonId, subject: &Subject, reason: Option<String>) -> Say {
        let Some(request) = self.memory.state.requests.get(id) else { return Say::Rejected(Rejection::UnknownRequest) };
        let decision = may_request(&self.parts.policy, subject, "halt", &request.made.plan);
        if let Err(rejection) = self.send(id, Event::Halt { person: person.clone(), reason, decision }).await {
            return Say::Rejected(rejection);
        }
        let objects = self.memory.state.requests.get(id).is_some_and(|request| request.objections.contains(person));
        Say::Stopped(match objects {
            true => {
                "It does not run yet, and your halt stands: nothing starts, whoever agrees. `Take my halt back` on the progress message lifts it; \
                 an approver can decline it, the requester can cancel it."
            }
            false => "Halted. What is in place stays; nothing further starts.",
        })
    }

    /// Takes an objection back.
    pub(super) async fn lift(&mut self, id: &RequestId, person: PersonId) -> Say {
        match self.send(id, Event::Lift { person }).await {
            Ok(()) => Say::Stopped("Your halt is taken back: it starts as soon as enough people agree."),
            Err(rejection) => Say::Rejected(rejection),
        }
    }

    /// Answers, and records it if the answer is a no.
    pub(super) async fn answer_privately(&mut self, inbound: &Inbound, say: Say) {
        match say.is_a_no() {
            true => self.turn_away(inbound, say).await,
            false => self.outbox.private(&inbound.channel, &inbound.from, say),
        }
    }

    /// Records that something was not followed, and says why.
    pub(super) async fn turn_away(&mut self, inbound: &Inbound, say: Say) {
        let turned =
            Entry::Turned { at: self.now(), delivery: inbound.delivery.clone(), account: inbound.from.clone(), why: say.message().gist() };
        self.commit(vec![turned]).await;
        self.outbox.private(&inbound.channel, &inbound.from, say);
    }
}

/// Where a command acts.
pub(super) struct Place {
    cluster: Cluster,
    target: TargetName,
    /// The namespace that the permission is asked for, as far as it is known before the survey.
    namespace: Option<Namespace>,
    /// The group, for a command about one: its node may be gone.
    group: Option<GroupRef>,
}

/// What a look-up needs.
struct Look {
    policy: Arc<Policy>,
    chat: Arc<dyn Chat>,
    now: Timestamp,
}

impl Look {
    /// Who asks, whether they may, and what is there. The policy is asked before anything is read: a refused command reads nothing.
    async fn up(&self, inbound: &Inbound, parsed: &Parsed, place: Option<Place>) -> Result<(Subject, Option<Surveyed>), Answer> {
        let subject = patiently(&*self.chat, &inbound.from).await.ok().flatten().ok_or_else(|| Box::new(unknown()))?;
        let command = parsed.privilege();
        let Some(Place { cluster, target, namespace, group }) = place else {
            self.permit(&subject, &Ask { command, cluster: None, namespace: None })?;
            return Ok((subject, None));
        };
        let named = namespace.as_ref().map(Namespace::as_str);
        let ask = |namespace| Ask { command, cluster: Some(cluster.facts.name.as_str()), namespace };
        self.permit(&subject, &ask(named))?;
        if let Some(group) = group {
            let survey = cluster.survey_group(&group).await.map_err(|error| Box::new(unread(&error)))?;
            return Ok((subject, Some(Surveyed::Group(survey))));
        }
        let facts = cluster.survey(&target, self.now).await.map_err(|error| Box::new(unread(&error)))?;
        // Without a namespace in the command, only the survey knows which one it is.
        let found = facts.kubernetes.suspect.as_ref().map(|suspect| suspect.pod.namespace.as_str());
        self.permit(&subject, &ask(found.or(named)))?;
        Ok((subject, Some(Surveyed::Node(Box::new(facts)))))
    }

    fn permit(&self, subject: &Subject, ask: &Ask<'_>) -> Result<(), Answer> {
        let decision = self.policy.may_request(subject, ask);
        if decision.permitted { Ok(()) } else { Err(Box::new(Say::Denied(decision))) }
    }
}

/// The account is somebody's, but the platform does not confirm that.
pub(super) fn unknown() -> Say {
    Say::Trouble {
        what: "the chat does not say that you are a full member at present, so this does not count".into(),
        hint: "try again; if it stays so, an administrator looks at your account (deactivated? a guest?)".into(),
    }
}

pub(super) fn unmapped(account: &Account) -> Say {
    Say::Denied(Decision { permitted: false, reasons: vec![Reason::UnmappedAccount(account.to_string())] })
}

fn trouble(what: &str, hint: &str) -> Answer {
    Box::new(Say::Trouble { what: what.to_owned(), hint: hint.to_owned() })
}

fn unread(error: &SurveyError) -> Say {
    let hint = match error {
        SurveyError::NotFound(_) => "check the spelling; `locate` finds pods by name in every namespace",
        SurveyError::Ambiguous { .. } => "add the namespace, as in pod NAMESPACE/NAME",
        SurveyError::Refused(_) => "Stanch lacks a right there: an administrator compares deploy/ with what is granted",
        SurveyError::Unavailable(_) => "try again; nothing was changed",
    };
    Say::Trouble { what: error.to_string(), hint: hint.to_owned() }
}

fn help(parsed: &Parsed) -> Say {
    match parsed.arguments.topic.as_deref().and_then(stanch_commands::find) {
        Some(definition) => Say::Help(definition.help()),
        None => Say::Catalogue,
    }
}

/// Without a name, the incident is called as the request that opened it.
#[expect(clippy::expect_used, reason = "every request id is an admitted incident: lower case, digits and one hyphen")]
fn incident_of(id: &RequestId) -> IncidentRef {
    id.as_str().parse().expect("a request id is a valid incident")
}
