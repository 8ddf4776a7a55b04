//! Votes: buttons, and reactions that are read back from the message before they count.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stanch_commands::action::{Action, KubernetesAction};
use stanch_commands::inspect;
use stanch_commands::plan::{Plan, PlanDigest};
use stanch_commands::target::RequestId;

use super::commanding::{unknown, unmapped};
use super::work::{AskedAgain, Report, Subjects, Voted};
use super::{Landmark, Stanch};
use crate::core::engine::{Event, Rejection, waits_for};
use crate::core::identity::{Account, Ballot, Means, MessageRef, PersonId};
use crate::core::policy::{Ask, Decision, Groups, Policy, Reason, Subject};
use crate::core::request::{Request, Stage};
use crate::core::say::{Control, Say};
use crate::ports::{Chat, ChatError, Inbound, Votes};

/// Look-ups of an account before it counts as nobody's, and the pause between them: a moment of bad network, not an outage.
const LOOK_UPS: u32 = 3;
const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);
/// Readings of a message's reactions before they wait for the next hint, and the first pause between them, which doubles: about half a
/// minute in all, which a restart of the platform's edge takes.
const READS: u32 = 6;
const READ_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait that the platform can ask for.
const READ_PAUSE_LIMIT: Duration = Duration::from_secs(30);

/// The reading of one request's votes. There is one at a time, so that a storm of reactions costs no more than one reading after the other,
/// and none while everything is asked again: that reads last, and what it reads must be the newest.
#[derive(Default)]
pub(super) struct Reading {
    /// Tasks that read.
    tasks: u8,
    /// Something came that the tasks may not see.
    again: bool,
    /// Who is to be answered then.
    hinted: BTreeSet<Account>,
}

impl Stanch {
    /// A button was pressed: who was that?
    pub(super) fn look_up_for(&mut self, inbound: Inbound, control: Control) {
        let (chat, reports) = (self.parts.chat.clone(), self.reports.clone());
        self.asked = self.asked.saturating_add(1);
        self.tasks.spawn(async move {
            let subject = patiently(chat.as_ref(), &inbound.from).await.ok().flatten();
            let _ = reports.send(Report::Pressed { inbound, control, subject });
        });
    }

    /// A button counts.
    pub(super) async fn press(&mut self, inbound: Inbound, control: Control, subject: Option<Subject>) {
        let person = self.parts.policy.person(&inbound.from).cloned();
        let Some(person) = person else { return self.turn_away(&inbound, unmapped(&inbound.from)).await };
        let Some(subject) = subject else { return self.turn_away(&inbound, unknown()).await };
        let say = match control {
            Control::Approve(id, digest) => self.approve(&id, person, &subject, digest, Means::Button).await,
            Control::Decline(id) => self.decline(&id, person, &subject).await,
            Control::Halt(id) => self.halt(&id, &person, &subject, None).await,
            Control::Resubmit(_) if self.commands.check_key(&inbound.from).is_err() => {
                Say::Trouble { what: "you are asking faster than Stanch follows".into(), hint: "wait a moment; nothing was done".into() }
            }
            Control::Resubmit(id) => match self.memory.state.requests.get(&id) {
                Some(request) => {
                    let command = request.made.plan.command.clone();
                    return self.hear(inbound, &command).await;
                }
                None => Say::Rejected(Rejection::UnknownRequest),
            },
        };
        self.answer_privately(&inbound, say).await;
    }

    async fn approve(&mut self, id: &RequestId, person: PersonId, subject: &Subject, digest: PlanDigest, means: Means) -> Say {
        let Some(decision) = self.may_approve(id, subject) else { return Say::Rejected(Rejection::UnknownRequest) };
        let ballot = Ballot { account: subject.account.clone(), means };
        if let Err(rejection) = self.send(id, Event::Approve { person, digest, ballot, decision }).await {
            return Say::Rejected(rejection);
        }
        match self.memory.state.requests.get(id) {
            Some(request) => Say::Counted { have: request.approvals.len(), needed: request.made.approvals_needed },
            None => Say::Rejected(Rejection::UnknownRequest),
        }
    }

    async fn decline(&mut self, id: &RequestId, person: PersonId, subject: &Subject) -> Say {
        let Some(decision) = self.may_approve(id, subject) else { return Say::Rejected(Rejection::UnknownRequest) };
        match self.send(id, Event::Decline { person, decision }).await {
            Ok(()) => Say::Stopped("Declined. The request has ended, nothing was changed."),
            Err(rejection) => Say::Rejected(rejection),
        }
    }

    fn may_approve(&self, id: &RequestId, subject: &Subject) -> Option<Decision> {
        let made = &self.memory.state.requests.get(id)?.made;
        Some(self.parts.policy.may_approve(subject, made.phase, &made.requester))
    }

    /// Somebody reacted to one of our messages: read what stands there. Nobody's reaction changes nothing, so it is not looked for.
    pub(super) async fn read_votes_for(&mut self, inbound: Inbound, message: &MessageRef) {
        let Some(id) = self.memory.voted_on(message).cloned() else { return };
        match self.parts.policy.person(&inbound.from) {
            Some(_) => self.read_votes(id, message.clone(), [inbound.from].into()),
            None => self.outbox.private(&inbound.channel, &inbound.from, unmapped(&inbound.from)),
        }
    }

    /// Deliveries may have been lost: read the votes of every open request.
    pub(super) fn read_every_vote(&mut self) {
        let open: Vec<RequestId> = self.memory.open().map(|(id, _)| id.clone()).collect();
        for id in open {
            if let Some(message) = self.memory.landmarks.get(&(id.clone(), Landmark::Plan)).cloned() {
                self.read_votes(id, message, BTreeSet::new());
            }
        }
    }

    pub(super) fn read_votes(&mut self, id: RequestId, message: MessageRef, hinted: BTreeSet<Account>) {
        let reading = self.reading.entry(id.clone()).or_default();
        if reading.tasks > 0 {
            reading.again = true;
            return reading.hinted.extend(hinted);
        }
        reading.tasks = 1;
        let (chat, reports, policy) = (self.parts.chat.clone(), self.reports.clone(), self.parts.policy.clone());
        let readings = self.readings.clone();
        self.tasks.spawn(async move {
            let (reading, votes) = match read_patiently(&*chat, &message, &readings).await {
                Ok(read) => read,
                // The reaction stays where it is, and is read again at the next hint or reconnect.
                Err(error) => {
                    tracing::warn!(request = %id, %error, "the votes could not be read back");
                    let _ = reports.send(Report::NotRead { id });
                    return;
                }
            };
            let subjects = look_up_voters(&*chat, &policy, &votes, Subjects::default()).await;
            let _ = reports.send(Report::Voted(Voted { id, reading, hinted, votes, subjects }));
        });
    }

    /// A task that read votes has reported: what came meanwhile is read now.
    pub(super) fn was_read(&mut self, id: &RequestId) {
        let Some(reading) = self.reading.get_mut(id) else { return };
        reading.tasks = reading.tasks.saturating_sub(1);
        if reading.tasks > 0 {
            return;
        }
        let Some(Reading { again: true, hinted, .. }) = self.reading.remove(id) else { return };
        if let Some(message) = self.memory.landmarks.get(&(id.clone(), Landmark::Plan)).cloned() {
            self.read_votes(id.clone(), message, hinted);
        }
    }

    /// The reactions of a plan message were read back: a no before a yes, then what was taken back.
    pub(super) async fn count(&mut self, voted: Voted) {
        let Some(request) = self.memory.state.requests.get(&voted.id) else { return };
        let digest = request.digest.clone();
        let newest = self.counted.entry(voted.id.clone()).or_default();
        if voted.reading < *newest {
            return;
        }
        *newest = voted.reading;
        for account in &voted.votes.halt {
            if let Some((person, subject)) = self.voter(&voted, account).await {
                let say = self.halt(&voted.id, &person, &subject, None).await;
                self.tell_voter(&voted, account, say).await;
            }
        }
        for account in &voted.votes.no {
            if let Some((person, subject)) = self.voter(&voted, account).await {
                let say = self.decline(&voted.id, person, &subject).await;
                self.tell_voter(&voted, account, say).await;
            }
        }
        for account in &voted.votes.yes {
            if let Some((person, subject)) = self.voter(&voted, account).await
                && !voted.votes.no.contains(account)
            {
                let say = self.approve(&voted.id, person, &subject, digest.clone(), Means::Reaction).await;
                self.tell_voter(&voted, account, say).await;
            }
        }
        self.withdraw_missing(&voted).await;
    }

    /// The person behind a vote, if it is to be counted now.
    async fn voter(&mut self, voted: &Voted, account: &Account) -> Option<(PersonId, Subject)> {
        let person = self.parts.policy.person(account).cloned();
        let subject = voted.subjects.member(account).cloned();
        if let (Some(person), Some(subject)) = (person, subject) {
            return Some((person, subject));
        }
        let say = if self.parts.policy.person(account).is_some() { unknown() } else { unmapped(account) };
        self.tell_voter(voted, account, say).await;
        None
    }

    /// A yes that counted and is no longer there is taken back; one that was given by button stays.
    async fn withdraw_missing(&mut self, voted: &Voted) {
        let Some(request) = self.memory.state.requests.get(&voted.id) else { return };
        let missing: Vec<(PersonId, Account)> = request
            .approvals
            .iter()
            .filter(|(_, ballot)| ballot.means == Means::Reaction && !voted.votes.yes.contains(&ballot.account))
            .map(|(person, ballot)| (person.clone(), ballot.account.clone()))
            .collect();
        for (person, account) in missing {
            let say = match self.send(&voted.id, Event::Withdraw { person }).await {
                Ok(()) => Say::Withdrawn,
                Err(Rejection::Started) => Say::TooLateToWithdraw,
                Err(rejection) => Say::Rejected(rejection),
            };
            self.tell_voter(voted, &account, say).await;
        }
    }

    /// Whoever reacted gets an answer; others only if their vote was news.
    async fn tell_voter(&mut self, voted: &Voted, account: &Account, say: Say) {
        let news = matches!(say, Say::Counted { .. } | Say::Stopped(_) | Say::Withdrawn);
        if !voted.hinted.contains(account) && !news {
            return;
        }
        if let Some(channel) = self.memory.state.requests.get(&voted.id).map(|request| request.made.channel.clone()) {
            self.outbox.private(&channel, account, say);
        }
    }

    /// Before anything is written, everything is asked again: the objects that the plan is bound to, the reactions on the plan, and who everybody
    /// is. The reactions come last, so that one that was taken back meanwhile does not count.
    pub(super) async fn look_up_again(&mut self, id: &RequestId) {
        if let Some(holder) = waits_for(&self.memory.state, id) {
            return self.rechecked(id, Err(Rejection::Locked(holder))).await;
        }
        let Some(request) = self.memory.state.requests.get(id) else { return };
        let agreed: BTreeSet<Account> = request.approvals.values().map(|ballot| ballot.account.clone()).collect();
        let requester = self.parts.policy.account(&request.made.requester, request.made.channel.platform);
        let message = self.memory.landmarks.get(&(id.clone(), Landmark::Plan)).cloned();
        let (chat, reports, policy, id) = (self.parts.chat.clone(), self.reports.clone(), self.parts.policy.clone(), id.clone());
        let (cluster, plan, now) = (self.parts.clusters.get(&request.made.plan.cluster).cloned(), request.made.plan.clone(), self.now());
        let readings = self.readings.clone();
        let reading = self.reading.entry(id.clone()).or_default();
        reading.tasks = reading.tasks.saturating_add(1);
        self.tasks.spawn(async move {
            let changed = match cluster {
                Some(cluster) => cluster.changed(&plan, now).await,
                None => Some(format!("cluster {} is no longer configured", plan.cluster)),
            };
            let mut subjects = Subjects::default();
            for account in agreed.into_iter().chain(requester.clone()) {
                let found = patiently(chat.as_ref(), &account).await;
                subjects.0.insert(account, found);
            }
            let votes = match message {
                Some(message) => read_patiently(chat.as_ref(), &message, &readings).await.ok(),
                // Nobody can have reacted to what does not stand yet.
                None => Some((next(&readings), Votes::default())),
            };
            if let Some((_, votes)) = &votes {
                subjects = look_up_voters(chat.as_ref(), &policy, votes, subjects).await;
            }
            let asked_again = AskedAgain { id, votes, subjects, requester, changed };
            let _ = reports.send(Report::Rechecked(Box::new(asked_again)));
        });
    }

    /// Counts what stands on the plan now, and asks the policy again; writes begin if the quorum stands.
    pub(super) async fn recheck(&mut self, asked_again: AskedAgain) {
        let AskedAgain { id, votes, subjects, requester, changed } = asked_again;
        let Some((reading, votes)) = votes else { return self.rechecked(&id, Err(Rejection::VotersUnclear)).await };
        // What is older than a reading that was counted says nothing of now.
        if self.counted.get(&id).is_some_and(|counted| reading < *counted) {
            return self.rechecked(&id, Err(Rejection::VotersUnclear)).await;
        }
        let voted = Voted { id: id.clone(), reading, hinted: BTreeSet::new(), votes: votes.clone(), subjects: subjects.clone() };
        self.count(voted).await;
        let Some(request) = self.memory.state.requests.get(&id).filter(|request| request.stage == Stage::Waiting) else {
            return self.rechecked(&id, Ok(())).await;
        };
        let found = |account: &Account| subjects.member(account);
        if let Some(objector) = votes.halt.iter().filter_map(found).find_map(|subject| self.may_halt(request, subject)) {
            return self.rechecked(&id, Err(Rejection::HaltStands(objector))).await;
        }
        // A no or a halt of somebody whom the platform does not confirm at present may be one that counts.
        let mut objections = votes.no.iter().chain(&votes.halt).filter(|account| self.parts.policy.person(account).is_some());
        if objections.any(|account| subjects.is_unclear(account)) {
            return self.rechecked(&id, Err(Rejection::VotersUnclear)).await;
        }
        let made = &request.made;
        let permitted = |subject: &Subject| self.parts.policy.may_approve(subject, made.phase, &made.requester).permitted;
        let mut agreed = request.approvals.values().map(|ballot| &ballot.account);
        // Somebody agreed while everything was asked again: they are asked about too.
        if agreed.clone().any(|account| !subjects.0.contains_key(account)) {
            return self.look_up_again(&id).await;
        }
        // Of whom the platform does not tell who they are, or in which groups, is not known to have lost a role: nothing starts, and nothing is
        // taken away.
        let unclear = |account: &Account| subjects.is_unclear(account) && !found(account).is_some_and(permitted);
        if agreed.any(unclear) || requester.as_ref().is_some_and(|account| found(account).is_none() && subjects.is_unclear(account)) {
            return self.rechecked(&id, Err(Rejection::VotersUnclear)).await;
        }
        let stands = |person: &PersonId, ballot: &Ballot| {
            let named = self.parts.policy.person(&ballot.account) == Some(person);
            named && found(&ballot.account).is_some_and(permitted)
        };
        let eligible: BTreeSet<PersonId> =
            request.approvals.iter().filter(|(person, ballot)| stands(person, ballot)).map(|(person, _)| person.clone()).collect();
        let lost: Vec<Account> =
            request.approvals.iter().filter(|(person, _)| !eligible.contains(*person)).map(|(_, ballot)| ballot.account.clone()).collect();
        let requester = match requester.as_ref().and_then(found) {
            Some(subject) => may_request(&self.parts.policy, subject, command_of(&made.plan), &made.plan),
            None => Decision { permitted: false, reasons: vec![Reason::UnmappedAccount(made.requester.to_string())] },
        };
        let channel = made.channel.clone();
        let outcome = self.send(&id, Event::Rechecked { eligible, requester, changed }).await;
        if outcome.is_ok() {
            lost.into_iter().for_each(|account| self.outbox.private(&channel, &account, Say::Withdrawn));
        }
        self.rechecked(&id, outcome).await;
    }

    /// The person, if they may halt this request.
    fn may_halt(&self, request: &Request, subject: &Subject) -> Option<PersonId> {
        let person = self.parts.policy.person(&subject.account)?;
        may_request(&self.parts.policy, subject, "halt", &request.made.plan).permitted.then(|| person.clone())
    }
}

/// The votes on a message, with the number of the reading; a chat that fails is asked again, since nobody reacts twice.
async fn read_patiently(chat: &dyn Chat, message: &MessageRef, readings: &AtomicU64) -> Result<(u64, Votes), ChatError> {
    let mut pause = READ_PAUSE;
    for _ in 1..READS {
        let reading = next(readings);
        match chat.votes(message).await {
            Err(ChatError::Unavailable(_)) => tokio::time::sleep(pause).await,
            Err(ChatError::RateLimited { retry_after_ms }) => {
                tokio::time::sleep(Duration::from_millis(retry_after_ms).min(READ_PAUSE_LIMIT)).await;
            }
            answer => return answer.map(|votes| (reading, votes)),
        }
        pause = pause.saturating_mul(2);
    }
    let reading = next(readings);
    chat.votes(message).await.map(|votes| (reading, votes))
}

/// The number of a reading that begins now: of two, the one with the higher number began later.
fn next(readings: &AtomicU64) -> u64 {
    readings.fetch_add(1, Ordering::SeqCst).saturating_add(1)
}

/// Looks an account up again if that fails: nobody reacts twice.
pub(super) async fn patiently(chat: &dyn Chat, account: &Account) -> Result<Option<Subject>, ChatError> {
    for _ in 1..LOOK_UPS {
        match chat.subject(account).await {
            Ok(Some(Subject { groups: Groups::Unknown, .. })) | Err(_) => tokio::time::sleep(LOOK_UP_PAUSE).await,
            told => return told,
        }
    }
    chat.subject(account).await
}

/// Looks those up who voted and are somebody's account, and were not looked up yet: a channel full of reactions costs no look-ups.
async fn look_up_voters(chat: &dyn Chat, policy: &Policy, votes: &Votes, mut subjects: Subjects) -> Subjects {
    for account in votes.yes.iter().chain(&votes.no).chain(&votes.halt) {
        if policy.person(account).is_some() && !subjects.0.contains_key(account) {
            let found = patiently(chat, account).await;
            subjects.0.insert(account.clone(), found);
        }
    }
    subjects
}

/// The command whose permission a plan needs.
pub(super) fn command_of(plan: &Plan) -> &str {
    let probes = |action: &Action| matches!(action, Action::Kubernetes(KubernetesAction::RunProbes { .. }));
    match plan.steps().any(|(_, step)| probes(&step.action)) {
        true => inspect::WITH_EXEC,
        false => plan.command.split(' ').next().unwrap_or_default(),
    }
}

/// Whether somebody may ask for a command on a plan's targets: in the namespace of every suspect. Of several answers, a no.
pub(super) fn may_request(policy: &Policy, subject: &Subject, command: &str, plan: &Plan) -> Decision {
    let cluster = Some(plan.cluster.as_str());
    let namespaces: BTreeSet<&str> = plan.suspects.iter().map(|suspect| suspect.namespace.as_str()).collect();
    let asked = |namespace| policy.may_request(subject, &Ask { command, cluster, namespace });
    let mut decisions: Vec<Decision> = namespaces.into_iter().map(|namespace| asked(Some(namespace))).collect();
    let no = decisions.iter().position(|decision| !decision.permitted);
    match no.or_else(|| decisions.len().checked_sub(1)) {
        Some(telling) => decisions.swap_remove(telling),
        None => asked(None),
    }
}
