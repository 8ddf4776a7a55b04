//! Who may do what: `config/policy.toml` as a value, and decisions with their reasons. Whatever no rule permits is denied.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use stanch_commands::definition::Phase;
use stanch_commands::inspect;

use super::identity::{Account, PersonId, Platform};

/// A role of the policy file, such as `responder`.
pub type RoleName = String;

/// The policy file. Unknown keys are errors: a misspelt rule must not silently permit or deny.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// People and their accounts.
    pub people: BTreeMap<PersonId, Accounts>,
    /// Roles and who has them.
    pub roles: BTreeMap<RoleName, Role>,
    /// What roles may request.
    pub permits: Vec<Permit>,
    /// Agreement needed, by phase.
    pub approvals: BTreeMap<Phase, Approvals>,
    /// Namespaces whose pods are never evicted, labelled or taken as suspects.
    pub protected_namespaces: BTreeSet<String>,
    /// Seconds after which an undecided request expires; 900 if absent.
    pub approval_expiry_s: Option<u32>,
}

/// The accounts of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounts {
    /// Slack user id.
    pub slack: Option<String>,
    /// Discord user id.
    pub discord: Option<String>,
}

/// Who has a role. A group gives it only to accounts that are mapped to a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Role {
    /// Persons.
    pub people: BTreeSet<PersonId>,
    /// Slack user group ids.
    pub slack_groups: BTreeSet<String>,
    /// Discord role ids.
    pub discord_roles: BTreeSet<String>,
}

/// What a role may request, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permit {
    /// Name of the rule; decisions give it as their reason.
    pub id: String,
    /// Roles.
    pub roles: BTreeSet<RoleName>,
    /// Commands; `*` for all, except `inspect --exec`, which has to be named.
    pub commands: BTreeSet<String>,
    /// Clusters; `*` for all.
    pub clusters: BTreeSet<String>,
    /// Namespaces; `*` for all. A command on a node needs `*`, since it hits every namespace.
    pub namespaces: BTreeSet<String>,
}

/// Agreement that a phase needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// Distinct eligible persons besides the requester; 1 is two-person control.
    pub needed: u8,
    /// Roles that may approve and decline.
    pub roles: BTreeSet<RoleName>,
}

/// Seconds after which an undecided request expires unless the policy says otherwise: long enough to wake somebody, short enough that
/// the survey behind the plan still describes the node.
pub const DEFAULT_APPROVAL_EXPIRY_S: u32 = 900;

/// What the platform said about the groups of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// These group ids.
    Known(BTreeSet<String>),
    /// The look-up failed: no role comes from a group.
    Unknown,
}

/// Somebody who asks or votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The account.
    pub account: Account,
    /// Its groups.
    pub groups: Groups,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Command.
    pub command: &'a str,
    /// Cluster, if the command concerns one.
    pub cluster: Option<&'a str>,
    /// Namespace of the suspect; `None` for a node.
    pub namespace: Option<&'a str>,
}

/// Yes or no, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether it is permitted.
    pub permitted: bool,
    /// Ids of the rules that permit, or what is missing.
    pub reasons: Vec<Reason>,
}

/// One reason of a decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// This permit.
    Permit(String),
    /// This role may approve.
    ApproverRole(RoleName),
    /// The account belongs to nobody.
    UnmappedAccount(String),
    /// The person has no role that any rule names here.
    NoPermit,
    /// The person has no approver role for the phase.
    NotAnApprover(Phase),
    /// The platform did not say which groups the account is in, and no role comes from elsewhere.
    GroupsUnknown,
    /// The requester cannot approve or decline their own request.
    OwnRequest,
    /// The namespace is protected.
    ProtectedNamespace(String),
}

impl Decision {
    fn yes(reasons: Vec<Reason>) -> Self {
        Self { permitted: true, reasons }
    }

    fn no(reasons: Vec<Reason>) -> Self {
        Self { permitted: false, reasons }
    }
}

impl Policy {
    /// Reads a policy file and checks it.
    ///
    /// # Errors
    /// Every problem at once, a line each.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = toml::from_str(text).map_err(|error| PolicyError(vec![error.to_string()]))?;
        match policy.problems() {
            problems if problems.is_empty() => Ok(policy),
            problems => Err(PolicyError(problems)),
        }
    }

    /// The person behind an account.
    #[must_use]
    pub fn person(&self, account: &Account) -> Option<&PersonId> {
        let holds = |accounts: &Accounts| match account.platform {
            Platform::Slack => accounts.slack.as_ref() == Some(&account.id),
            Platform::Discord => accounts.discord.as_ref() == Some(&account.id),
        };
        self.people.iter().find(|(_, accounts)| holds(accounts)).map(|(person, _)| person)
    }

    /// The account of a person on a platform.
    #[must_use]
    pub fn account(&self, person: &PersonId, platform: Platform) -> Option<Account> {
        let accounts = self.people.get(person)?;
        let id = match platform {
            Platform::Slack => accounts.slack.clone(),
            Platform::Discord => accounts.discord.clone(),
        };
        id.map(|id| Account { platform, id })
    }

    /// Whether somebody may request something.
    #[must_use]
    pub fn may_request(&self, subject: &Subject, ask: &Ask<'_>) -> Decision {
        let Some(person) = self.person(&subject.account) else {
            return Decision::no(vec![Reason::UnmappedAccount(subject.account.to_string())]);
        };
        if let Some(namespace) = ask.namespace.filter(|namespace| self.protected_namespaces.contains(*namespace)) {
            return Decision::no(vec![Reason::ProtectedNamespace(namespace.to_owned())]);
        }
        let roles = self.roles_of(person, subject);
        let permits: Vec<Reason> = self
            .permits
            .iter()
            .filter(|permit| permit.covers(ask) && !permit.roles.is_disjoint(&roles))
            .map(|permit| Reason::Permit(permit.id.clone()))
            .collect();
        match permits.is_empty() {
            false => Decision::yes(permits),
            true => Decision::no(std::iter::once(Reason::NoPermit).chain(unknown(subject)).collect()),
        }
    }

    /// Whether there is a namespace of the cluster, or the cluster as a whole, where somebody may request the command.
    #[must_use]
    pub fn reaches(&self, subject: &Subject, command: &str, cluster: &str) -> bool {
        let Some(person) = self.person(&subject.account) else { return false };
        let roles = self.roles_of(person, subject);
        let somewhere = |permit: &Permit| {
            let namespace = permit.namespaces.iter().find(|namespace| !self.protected_namespaces.contains(*namespace));
            namespace.is_some_and(|namespace| permit.covers(&Ask { command, cluster: Some(cluster), namespace: Some(namespace) }))
        };
        self.permits.iter().any(|permit| !permit.roles.is_disjoint(&roles) && somewhere(permit))
    }

    /// Whether somebody may approve or decline a request of this phase by `requester`.
    #[must_use]
    pub fn may_approve(&self, subject: &Subject, phase: Phase, requester: &PersonId) -> Decision {
        let Some(person) = self.person(&subject.account) else {
            return Decision::no(vec![Reason::UnmappedAccount(subject.account.to_string())]);
        };
        if person == requester {
            return Decision::no(vec![Reason::OwnRequest]);
        }
        let roles = self.roles_of(person, subject);
        let approvers = self.approvals.get(&phase).into_iter().flat_map(|approvals| &approvals.roles);
        let reasons: Vec<Reason> = approvers.filter(|role| roles.contains(*role)).cloned().map(Reason::ApproverRole).collect();
        match reasons.is_empty() {
            false => Decision::yes(reasons),
            true => Decision::no(std::iter::once(Reason::NotAnApprover(phase)).chain(unknown(subject)).collect()),
        }
    }

    /// Approvals that a phase needs; `None` if the policy does not provide for the phase, so that nothing of it can run.
    #[must_use]
    pub fn approvals_needed(&self, phase: Phase) -> Option<u8> {
        match phase {
            Phase::Look => Some(0),
            Phase::Preserve => Some(self.approvals.get(&phase).map_or(0, |approvals| approvals.needed)),
            Phase::Contain | Phase::Eradicate | Phase::Recover => self.approvals.get(&phase).map(|approvals| approvals.needed),
        }
    }

    fn roles_of(&self, person: &PersonId, subject: &Subject) -> BTreeSet<RoleName> {
        let in_group = |role: &Role| match &subject.groups {
            Groups::Unknown => false,
            Groups::Known(groups) => match subject.account.platform {
                Platform::Slack => !role.slack_groups.is_disjoint(groups),
                Platform::Discord => !role.discord_roles.is_disjoint(groups),
            },
        };
        self.roles.iter().filter(|(_, role)| role.people.contains(person) || in_group(role)).map(|(name, _)| name.clone()).collect()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut owners: BTreeMap<String, &PersonId> = BTreeMap::new();
        for (person, accounts) in &self.people {
            let slack = accounts.slack.iter().map(|id| Account { platform: Platform::Slack, id: id.clone() });
            let discord = accounts.discord.iter().map(|id| Account { platform: Platform::Discord, id: id.clone() });
            for account in slack.chain(discord) {
                if let Some(other) = owners.insert(account.to_string(), person) {
                    problems.push(format!("account `{account}` belongs to both `{other}` and `{person}`"));
                }
            }
        }
        for (name, role) in &self.roles {
            for person in role.people.iter().filter(|person| !self.people.contains_key(*person)) {
                problems.push(format!("role `{name}` names `{person}`, who is not under [people]"));
            }
        }
        let mut unknown_role = |place: String, role: &RoleName| {
            if !self.roles.contains_key(role) {
                problems.push(format!("{place} names role `{role}`, which is not under [roles]"));
            }
        };
        self.permits.iter().for_each(|permit| permit.roles.iter().for_each(|role| unknown_role(format!("permit `{}`", permit.id), role)));
        self.approvals
            .iter()
            .for_each(|(phase, approvals)| approvals.roles.iter().for_each(|role| unknown_role(format!("approvals.{phase}"), role)));
        problems.extend(self.permits.iter().flat_map(Permit::problems));
        problems.extend(self.approvals.iter().filter_map(|(phase, approvals)| approvals.problem(*phase)));
        if self.approval_expiry_s.is_some_and(|expiry_s| !(60..=86_400).contains(&expiry_s)) {
            problems.push("approval_expiry_s must be 60 to 86400".into());
        }
        problems
    }
}

fn unknown(subject: &Subject) -> Option<Reason> {
    match subject.groups {
        Groups::Unknown => Some(Reason::GroupsUnknown),
        Groups::Known(_) => None,
    }
}

impl Permit {
    fn covers(&self, ask: &Ask<'_>) -> bool {
        let holds = |set: &BTreeSet<String>, value: Option<&str>| set.contains("*") || value.is_some_and(|value| set.contains(value));
        // A command that concerns no cluster (help, list) concerns no namespace either.
        let placed = ask.cluster.is_none() || (holds(&self.clusters, ask.cluster) && holds(&self.namespaces, ask.namespace));
        // What can warn an attacker is permitted by its name alone.
        let commands = match ask.command {
            inspect::WITH_EXEC => self.commands.contains(inspect::WITH_EXEC),
            command => holds(&self.commands, Some(command)),
        };
        commands && placed
    }

    fn problems(&self) -> Vec<String> {
        let known = |command: &&String| *command == "*" || *command == inspect::WITH_EXEC || stanch_commands::find(command).is_some();
        let unknown = self.commands.iter().filter(|command| !known(command));
        let mut problems: Vec<String> =
            unknown.map(|command| format!("permit `{}` names command `{command}`, which does not exist", self.id)).collect();
        for (what, set) in
            [("roles", &self.roles), ("commands", &self.commands), ("clusters", &self.clusters), ("namespaces", &self.namespaces)]
        {
            if set.is_empty() {
                problems.push(format!("permit `{}` has no {what}, so it can never apply", self.id));
            }
        }
        problems
    }
}

impl Approvals {
    fn problem(&self, phase: Phase) -> Option<String> {
        let mutates = match phase {
            Phase::Look | Phase::Preserve => false,
            Phase::Contain | Phase::Eradicate | Phase::Recover => true,
        };
        match (self.needed, self.roles.is_empty()) {
            (0, _) if mutates => Some(format!("approvals.{phase}: needed = 0 would let one person act alone; 1 is two-person control")),
            (1.., true) => Some(format!("approvals.{phase}: nobody may approve, because roles is empty")),
            _ => None,
        }
    }
}

/// What is wrong with a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(pub Vec<String>);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for PolicyError {}
