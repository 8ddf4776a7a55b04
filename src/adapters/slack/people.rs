//! Who is behind an account. Whatever cannot be told counts as no.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Slack;
use crate::core::identity::{Account, Platform};
use crate::core::policy::{Groups, Subject};

#[derive(Deserialize)]
struct Found {
    user: User,
}

/// What `users.info` says. A field without `Option` must be there: of a deactivated user Slack leaves some of them out, and an account of
/// which Slack does not say what kind it is gets no say.
#[derive(Deserialize)]
struct User {
    id: String,
    team_id: String,
    deleted: bool,
    is_bot: bool,
    is_restricted: bool,
    is_ultra_restricted: bool,
    /// Only there for people of other workspaces.
    is_stranger: Option<bool>,
    /// Only there for workflows.
    is_workflow_bot: Option<bool>,
}

#[derive(Deserialize)]
struct Listed {
    usergroups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    id: String,
    /// Seconds since 1970, 0 while the group is enabled.
    #[serde(default)]
    date_delete: i64,
    /// It comes from another organisation.
    #[serde(default)]
    is_external: bool,
    /// Absent if Slack does not tell: then nobody is known to be in it.
    #[serde(default)]
    users: BTreeSet<String>,
}

/// Slack's own user, which does not call itself a bot.
const SLACKBOT: &str = "USLACKBOT";

impl User {
    /// A full, present human member of the workspace. `is_app_user` is not asked: it says that a person has authorised this app.
    fn is_member(&self, account: &Account, team: &str) -> bool {
        let somebody_else = self.id != account.id || self.id == SLACKBOT || self.team_id != team;
        let no_human = self.is_bot || self.is_workflow_bot == Some(true);
        let no_member = self.deleted || self.is_restricted || self.is_ultra_restricted || self.is_stranger == Some(true);
        !(somebody_else || no_human || no_member)
    }
}

impl Slack {
    /// Asks Slack each time: a vote must not count by a role that was lost meanwhile.
    pub(super) async fn look_up(&self, account: &Account) -> Option<Subject> {
        if account.platform != Platform::Slack {
            return None;
        }
        let found = self.api.get("users.info", &[("user", account.id.as_str())]).await;
        let Found { user } = found.inspect_err(|failure| tracing::warn!(%account, ?failure, "an account could not be looked up")).ok()?;
        if !user.is_member(account, &self.team) {
            tracing::info!(%account, "an account that is no full, present human member of the workspace was turned away");
            return None;
        }
        let groups = match self.api.get("usergroups.list", &[("include_users", "true")]).await {
            Ok(Listed { usergroups }) => {
                let held = |group: &Group| group.date_delete == 0 && !group.is_external && group.users.contains(&account.id);
                Groups::Known(usergroups.into_iter().filter(held).map(|group| group.id).collect())
            }
            Err(failure) => {
                tracing::warn!(?failure, "the user groups could not be looked up, so nobody has a role by group");
                Groups::Unknown
            }
        };
        Some(Subject { account: account.clone(), groups })
    }
}
