//! Who is behind an account. Nobody has a role of whom Slack does not tell it.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::Slack;
use super::api::Failure;
use crate::core::identity::{Account, Platform};
use crate::core::policy::{Groups, Subject};
use crate::ports::ChatError;

#[derive(Deserialize)]
struct Found {
    user: Value,
}

/// What `users.info` says of a user who is not deactivated. A field without `Option` must be there: an account of which Slack does not say what
/// kind it is gets no say.
#[derive(Deserialize)]
struct User {
    id: String,
    team_id: String,
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
/// What Slack says of an id that is nobody's in this workspace.
const STRANGERS: [&str; 2] = ["user_not_found", "user_not_visible"];

impl User {
    /// A full, present human member of the workspace. `is_app_user` is not asked: it says that a person has authorised this app.
    fn is_member(&self, account: &Account, team: &str) -> bool {
        let somebody_else = self.id != account.id || self.id == SLACKBOT || self.team_id != team;
        let no_human = self.is_bot || self.is_workflow_bot == Some(true);
        let no_member = self.is_restricted || self.is_ultra_restricted || self.is_stranger == Some(true);
        !(somebody_else || no_human || no_member)
    }
}

impl Slack {
    /// Asks Slack each time: a vote must not count by a role that was lost meanwhile.
    pub(super) async fn look_up(&self, account: &Account) -> Result<Option<Subject>, ChatError> {
        if account.platform != Platform::Slack {
            return Ok(None);
        }
        if !self.is_member(account).await.inspect_err(|error| tracing::warn!(%account, %error, "an account could not be looked up"))? {
            tracing::info!(%account, "an account that is no full, present human member of the workspace was turned away");
            return Ok(None);
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
        Ok(Some(Subject { account: account.clone(), groups }))
    }

    async fn is_member(&self, account: &Account) -> Result<bool, ChatError> {
        let user = match self.api.get("users.info", &[("user", account.id.as_str())]).await {
            Ok(Found { user }) => user,
            Err(Failure::Refused { code, .. }) if STRANGERS.contains(&code.as_str()) => return Ok(false),
            Err(failure) => return Err(failure.into()),
        };
        // Slack leaves most out of what it says of a deactivated user.
        if user.get("deleted") == Some(&Value::Bool(true)) {
            return Ok(false);
        }
        match User::deserialize(user) {
            Ok(user) => Ok(user.is_member(account, &self.team)),
            Err(error) => Err(ChatError::Unavailable(format!("users.info is not understood: {error}"))),
        }
    }
}
