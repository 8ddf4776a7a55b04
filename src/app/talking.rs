//! What is said when something has happened. Where a message must stand is a function of the state, so a restart makes up for what was
//! not said.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use stanch_commands::target::RequestId;

use super::{Landmark, Stanch};
use crate::core::identity::Platform;
use crate::core::policy::DEFAULT_APPROVAL_EXPIRY_S;
use crate::core::record::{Fact, Record};
use crate::core::request::{Fate, Request, Stage};
use crate::core::say::{Mention, Say};
use crate::core::step::Outcome;

impl Stanch {
    /// Says what a record means.
    pub(super) async fn announce(&mut self, record: &Record, before: Option<&Stage>) {
        let id = &record.request;
        let Some(request) = self.memory.state.requests.get(id).cloned() else { return };
        let channel = request.made.channel.clone();
        if let Fact::Requested(_) = &record.fact {
            let plan = self.plan_message(id, &request);
            self.outbox.landmark(&channel, id, Landmark::Plan, plan);
            self.witness(id, &request, "request").await;
        }
        if let Fact::Approved { .. } = &record.fact {
            self.witness(id, &request, "approval").await;
        }
        if let Fact::ExecutionAuthorised { .. } = &record.fact {
            self.witness(id, &request, "start").await;
        }
        if let Fact::Objected { person, reason } = &record.fact {
            self.outbox.thread(&channel, id, Say::Objected { person: person.clone(), reason: reason.clone() });
        }
        if let Fact::TargetChanged { why } = &record.fact {
            let say = Say::Trouble { what: why.clone(), hint: "nothing was written; ask again to plan on what is there".into() };
            self.outbox.thread(&channel, id, say);
        }
        if let Fact::StepEnded { step, outcome: Outcome::Succeeded(receipt), .. } = &record.fact
            && !receipt.details.is_empty()
        {
            let title = request.made.plan.step(*step).map(|body| body.action.summary()).unwrap_or_default();
            self.outbox.thread(&channel, id, Say::StepDetails { title, lines: receipt.details.clone() });
        }
        self.outbox.landmark(&channel, id, Landmark::Progress, Say::Progress { id: id.clone(), request: Box::new(request.clone()) });
        let was_over = matches!(before, Some(Stage::Ended(_)));
        if matches!(request.stage, Stage::Ended(_)) && !was_over {
            self.say_end(id, &request).await;
        }
    }

    async fn say_end(&mut self, id: &RequestId, request: &Request) {
        let end = Say::Ended { id: id.clone(), request: Box::new(request.clone()), not_copied: self.not_copied(id) };
        self.outbox.landmark(&request.made.channel, id, Landmark::End, end);
        self.witness(id, request, "end").await;
        self.reminded.remove(id);
        self.told_waiting.remove(id);
    }

    fn plan_message(&self, id: &RequestId, request: &Request) -> Say {
        let roles = self.parts.policy.approvals.get(&request.made.phase).map(|approvals| approvals.roles.clone()).unwrap_or_default();
        Say::Plan { id: id.clone(), request: Box::new(request.clone()), roles, mentions: self.approvers(request) }
    }

    /// Posts the signed head of the log, so that the channel witnesses it.
    async fn witness(&mut self, id: &RequestId, request: &Request, moment: &'static str) {
        match self.parts.log.checkpoint().await {
            Ok(note) => self.outbox.thread(&request.made.channel, id, Say::Checkpoint { moment, note }),
            Err(failed) => self.stop_for(failed),
        }
    }

    /// Posts the signed head of the log, once a day (UTC) and at every start, where nobody who works on incidents needs a right: what the
    /// incident channels saw may be deleted there.
    pub(super) async fn witness_daily(&mut self, now: Timestamp) {
        let today = now.to_zoned(TimeZone::UTC).date();
        if self.parts.settings.witnesses.is_empty() || self.broken.is_some() || self.witnessed_on.replace(today) == Some(today) {
            return;
        }
        match self.parts.log.checkpoint().await {
            Ok(note) => {
                for channel in &self.parts.settings.witnesses {
                    self.outbox.channel(channel, Say::Checkpoint { moment: "a start or a new day", note: note.clone() });
                }
            }
            Err(failed) => self.stop_for(failed),
        }
    }

    /// Groups that may approve; the people themselves where no group may.
    fn approvers(&self, request: &Request) -> BTreeSet<Mention> {
        let policy = &self.parts.policy;
        // Each platform leaves out what is the other's.
        let mirror = self.parts.settings.shared.get(&request.made.channel);
        let platforms: BTreeSet<Platform> = std::iter::once(&request.made.channel).chain(mirror).map(|channel| channel.platform).collect();
        let roles = policy.approvals.get(&request.made.phase).into_iter().flat_map(|approvals| &approvals.roles);
        let roles: Vec<_> = roles.filter_map(|role| policy.roles.get(role)).collect();
        let groups: BTreeSet<Mention> = roles
            .iter()
            .flat_map(|role| platforms.iter().map(move |platform| (role, platform)))
            .flat_map(|(role, platform)| match platform {
                Platform::Slack => &role.slack_groups,
                Platform::Discord => &role.discord_roles,
            })
            .cloned()
            .map(Mention::Group)
            .collect();
        match groups.is_empty() || request.made.approvals_needed == 0 {
            false => groups,
            true if request.made.approvals_needed == 0 => BTreeSet::new(),
            true => {
                let people = roles.iter().flat_map(|role| &role.people).filter(|person| **person != request.made.requester);
                let accounts = people.flat_map(|person| platforms.iter().filter_map(|platform| policy.account(person, *platform)));
                accounts.map(Mention::Account).collect()
            }
        }
    }

    /// Once, at half of the time to approve.
    pub(super) fn remind(&mut self, id: &RequestId, now: Timestamp) {
        let Some(request) = self.memory.state.requests.get(id) else { return };
        let made = &request.made;
        let missing = usize::from(made.approvals_needed).saturating_sub(request.approvals.len());
        let expiry_s = i64::from(self.parts.policy.approval_expiry_s.unwrap_or(DEFAULT_APPROVAL_EXPIRY_S));
        let half = made.expires_at.saturating_sub(SignedDuration::from_secs(expiry_s / 2)).unwrap_or(Timestamp::MIN);
        if request.stage != Stage::Waiting || missing == 0 || now < half || !self.reminded.insert(id.clone()) {
            return;
        }
        let say = Say::Reminder { missing, expires_at: made.expires_at, mentions: self.approvers(request) };
        self.outbox.thread(&made.channel, id, say);
    }

    /// The requester was told that the plan is in the channel, and it is not.
    pub(super) fn tell_unseen(&mut self, id: &RequestId, why: &str) {
        let Some(request) = self.memory.state.requests.get(id) else { return };
        let made = &request.made;
        let Some(account) = self.parts.policy.account(&made.requester, made.channel.platform) else { return };
        let what = format!("the chat refuses to show the plan of {id} in the channel ({why}), so nobody can agree to it");
        let hint = "invite Stanch to the channel, cancel the request and ask again".into();
        self.outbox.private(&made.channel, &account, Say::Trouble { what, hint });
    }

    /// After a restart: open requests hear of it, and landmarks that were not posted are.
    pub(super) fn resume_talking(&mut self) {
        for (id, request) in &self.memory.state.requests {
            let channel = &request.made.channel;
            let over = matches!(request.stage, Stage::Ended(_));
            let stands = |what| self.memory.landmarks.contains_key(&(id.clone(), what));
            let mirrored = |what| self.memory.mirrors.contains_key(&(id.clone(), what));
            // What was not shared when it was open is not shown elsewhere afterwards.
            let is_shared = self.parts.settings.shared.contains_key(channel) && (!over || mirrored(Landmark::Plan));
            let posted = |what| stands(what) && (!is_shared || mirrored(what));
            let boxed = || Box::new(request.clone());
            if !posted(Landmark::Plan) && !over {
                self.outbox.landmark(channel, id, Landmark::Plan, self.plan_message(id, request));
            }
            if !over {
                let observing = request.fates().into_iter().filter(|(_, fate)| *fate == Fate::Running);
                let observing = observing.filter_map(|(step, _)| request.made.plan.step(step).map(|body| body.action.summary())).collect();
                self.outbox.thread(channel, id, Say::Restarted { observing });
                self.outbox.landmark(channel, id, Landmark::Progress, Say::Progress { id: id.clone(), request: boxed() });
            } else if !posted(Landmark::End) {
                self.outbox.landmark(channel, id, Landmark::Progress, Say::Progress { id: id.clone(), request: boxed() });
                self.outbox.landmark(channel, id, Landmark::End, Say::Ended { id: id.clone(), request: boxed(), not_copied: None });
            }
        }
    }
}
