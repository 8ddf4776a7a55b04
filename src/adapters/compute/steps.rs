//! Steps: look, write if needed, look again.

use async_trait::async_trait;
use stanch_commands::action::ComputeAction;

use super::client::Compute;
use super::problem::Problem;
use super::session::{ATTEMPTS, Session};
use crate::core::step::{Licence, Observation, Outcome, Performed, Receipt};
use crate::ports::Actuator;

/// How often a step starts again because somebody else changed the object in between. Four people in a row within seconds are a fight that
/// a person has to settle.
const ROUNDS: u32 = 5;

/// What a look at a step's effect found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The effect is there.
    InPlace(Receipt),
    /// It is not. What is missing, a phrase each.
    Not(Vec<String>),
    /// It was begun and is not there yet.
    UnderWay(String),
}

impl Found {
    /// In place, with one line for people.
    pub fn in_place(summary: String) -> Self {
        Self::InPlace(Receipt { summary, ..Receipt::default() })
    }

    /// Not in place, for one reason.
    pub fn not(what: impl Into<String>) -> Self {
        Self::Not(vec![what.into()])
    }
}

#[async_trait]
impl Actuator<ComputeAction> for Compute {
    async fn perform(&self, action: &ComputeAction, licence: &Licence) -> Performed {
        let session = Session::new(self, licence.key().as_str());
        let outcome = match session.carry_out(action).await {
            Ok(receipt) => Outcome::Succeeded(receipt),
            // The write was accepted: whether it is in force is what could not be read.
            Err(Problem::Later(message) | Problem::Lost(message) | Problem::Unreachable(message)) if session.has_written() => {
                Outcome::Unknown(format!("written, but it could not be read back: {message}"))
            }
            Err(problem) => problem.outcome(),
        };
        let artefacts = session.take_artefacts();
        Performed { outcome, calls: session.into_calls(), artefacts }
    }

    async fn observe(&self, action: &ComputeAction, licence: &Licence) -> Observation {
        let session = Session::new(self, licence.key().as_str());
        // What a collection read before is not known to be kept: it is read again.
        if let ComputeAction::CollectEvidence { instance } = action {
            return match session.bound(instance).await {
                Ok(_) => Observation::NotInPlace,
                Err(Problem::Stale(message)) => Observation::Gone(message),
                Err(problem) => Observation::Unclear(problem.to_string()),
            };
        }
        match session.look_at(action).await {
            Ok(Found::InPlace(receipt)) => Observation::InPlace(receipt),
            Ok(Found::Not(_)) => Observation::NotInPlace,
            Ok(Found::UnderWay(what)) => Observation::Unclear(what),
            Err(Problem::Stale(message) | Problem::Missing(message)) => Observation::Gone(message),
            Err(problem) => Observation::Unclear(problem.to_string()),
        }
    }
}

impl Session<'_> {
    async fn carry_out(&self, action: &ComputeAction) -> Result<Receipt, Problem> {
        let mut round = 1;
        loop {
            match self.round(action).await {
                Err(Problem::Conflict(_)) if round < ROUNDS => self.pause(round).await,
                result => return result,
            }
            round = round.saturating_add(1);
        }
    }

    async fn round(&self, action: &ComputeAction) -> Result<Receipt, Problem> {
        match self.look_at(action).await? {
            Found::InPlace(receipt) => {
                let already_so = !self.has_written() && !reads_only(action);
                return Ok(Receipt { already_so, ..receipt });
            }
            Found::Not(open) if reads_only(action) => return Err(Problem::refused(open.join("; "))),
            Found::Not(_) => self.change(action).await?,
            // A look at a group that is already letting go is not answered by another write.
            Found::UnderWay(_) => {}
        }
        self.read_back(action).await
    }

    /// Looks until the effect is there. More than once, because what Compute answers can lag behind an operation that is done.
    async fn read_back(&self, action: &ComputeAction) -> Result<Receipt, Problem> {
        let started = std::time::Instant::now();
        let mut looks = 0_u32;
        loop {
            looks = looks.saturating_add(1);
            match self.look_at(action).await? {
                Found::InPlace(receipt) => return Ok(receipt),
                Found::Not(open) if looks >= ATTEMPTS => return Err(Problem::refused(format!("after the write: {}", open.join("; ")))),
                Found::UnderWay(what) if started.elapsed() > self.patience(action) => return Err(Problem::Deadline(what)),
                Found::Not(_) | Found::UnderWay(_) => self.pause(looks).await,
            }
        }
    }

    /// How long what a group does may be under way.
    fn patience(&self, action: &ComputeAction) -> std::time::Duration {
        match matches!(action, ComputeAction::DeleteInstance { .. }) {
            true => self.compute.options.delete_limit,
            false => self.compute.options.abandon_limit,
        }
    }

    /// Whether the effect is there. Reads only.
    async fn look_at(&self, action: &ComputeAction) -> Result<Found, Problem> {
        match action {
            ComputeAction::CapturePriorState { instance, group } => self.prior_state(instance, group.as_ref()).await,
            ComputeAction::CollectEvidence { instance } => self.evidence(instance).await,
            ComputeAction::SnapshotDisk { disk, name, labels } => self.snapshot_state(disk, name, labels).await,
            ComputeAction::AbandonInstance { instance, group } => self.membership(instance, group).await,
            ComputeAction::ProtectFromDeletion(instance) => self.protection(instance).await,
            ComputeAction::KeepBootDisk { instance, device } => self.boot_disk(instance, device).await,
            ComputeAction::EnsureFirewallRule(rule) => self.rule(rule).await,
            ComputeAction::TagInstance { instance, tag, rules } => self.tagged(instance, tag, rules).await,
            ComputeAction::RemoveExternalIp { instance, access } => self.access(instance, access).await,
            ComputeAction::AddSshKey { instance, key, .. } => self.key_is_there(instance, key).await,
            ComputeAction::RemoveSshKey { instance, line } => self.key_is_gone(instance, line).await,
            ComputeAction::TagForSsh { instance, tag } | ComputeAction::TagIntermediate { intermediate: instance, tag } => {
                self.carries(instance, tag).await
            }
            ComputeAction::CreateIntermediate(new) => self.intermediate_runs(new).await,
            ComputeAction::DeleteIntermediate { intermediate, request } => self.intermediate_is_gone(intermediate, request).await,
            ComputeAction::UntagForSsh { instance, tag } | ComputeAction::UntagIntermediate { intermediate: instance, tag } => {
                self.untagged(instance, tag).await
            }
            ComputeAction::VerifySsh(access) => self.ssh(access).await,
            ComputeAction::UntagInstance { instance, tag } => self.untagged(instance, tag).await,
            ComputeAction::RemoveFirewallRule { rule, .. } => self.no_rule(rule).await,
            ComputeAction::RestoreExternalIp { instance, access } => self.restored_access(instance, access).await,
            ComputeAction::ReleaseBootDisk { instance, device } => self.released_disk(instance, device).await,
            ComputeAction::VerifySnapshots { snapshots } => self.all_ready(snapshots).await,
            ComputeAction::AllowDeletion(instance) => self.deletion_allowed(instance).await,
            ComputeAction::ResizeGroup { group, from, to } => self.resized(group, *from, *to).await,
            ComputeAction::DeleteInstance { instance, group, .. } => self.deletion(instance, group.as_ref()).await,
            ComputeAction::VerifyIsolation { instance, tag, rules, group, addresses_gone } => {
                self.isolation(instance, (tag, rules), group.as_ref(), *addresses_gone).await
            }
        }
    }

    async fn change(&self, action: &ComputeAction) -> Result<(), Problem> {
        match action {
            ComputeAction::CapturePriorState { .. }
            | ComputeAction::CollectEvidence { .. }
            | ComputeAction::VerifyIsolation { .. }
            | ComputeAction::VerifySnapshots { .. }
            | ComputeAction::VerifySsh(_) => Ok(()),
            ComputeAction::AddSshKey { instance, key, request } => self.add_key(instance, key, request).await,
            ComputeAction::RemoveSshKey { instance, line } => self.remove_key(instance, line).await,
            ComputeAction::TagForSsh { instance, tag } | ComputeAction::TagIntermediate { intermediate: instance, tag } => {
                self.add_tag(instance, tag).await
            }
            ComputeAction::CreateIntermediate(new) => self.create_intermediate(new).await,
            ComputeAction::DeleteIntermediate { intermediate, .. } => self.delete(intermediate, None).await,
            ComputeAction::UntagForSsh { instance, tag } | ComputeAction::UntagIntermediate { intermediate: instance, tag } => {
                self.remove_tag(instance, tag).await
            }
            ComputeAction::SnapshotDisk { disk, name, labels } => self.start_snapshot(disk, name, labels).await,
            ComputeAction::AbandonInstance { instance, group } => self.abandon(instance, group).await,
            ComputeAction::ResizeGroup { group, to, .. } => self.resize(group, *to).await,
            ComputeAction::DeleteInstance { instance, group, .. } => self.delete(instance, group.as_ref()).await,
            ComputeAction::ProtectFromDeletion(instance) => self.protect(instance, true).await,
            ComputeAction::AllowDeletion(instance) => self.protect(instance, false).await,
            ComputeAction::KeepBootDisk { instance, device } => self.set_auto_delete(instance, device, false).await,
            ComputeAction::ReleaseBootDisk { instance, device } => self.set_auto_delete(instance, device, true).await,
            ComputeAction::EnsureFirewallRule(rule) => self.insert_rule(rule).await,
            ComputeAction::TagInstance { instance, tag, .. } => self.add_tag(instance, tag).await,
            ComputeAction::RemoveExternalIp { instance, access } => self.delete_access(instance, access).await,
            ComputeAction::UntagInstance { instance, tag } => self.remove_tag(instance, tag).await,
            ComputeAction::RemoveFirewallRule { rule, instance } => self.delete_rule(instance, rule).await,
            ComputeAction::RestoreExternalIp { instance, access } => self.add_access(instance, access).await,
        }
    }
}

fn reads_only(action: &ComputeAction) -> bool {
    matches!(
        action,
        ComputeAction::CapturePriorState { .. }
            | ComputeAction::CollectEvidence { .. }
            | ComputeAction::VerifyIsolation { .. }
            | ComputeAction::VerifySnapshots { .. }
            | ComputeAction::VerifySsh(_)
    )
}
