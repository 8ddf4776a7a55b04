//! Who is behind an account. Nobody has a role of whom Discord does not tell it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::Discord;
use super::api::Failure;
use crate::core::identity::{Account, Platform};
use crate::core::policy::{Groups, Subject};
use crate::ports::ChatError;

/// Flags of members that Discord's or the server's own guards have shut out: quarantined for their name, or for their server tag.
const SHUT_OUT: u64 = (1 << 7) | (1 << 10);

/// What Discord says of an id that is nobody's on this server: unknown member, unknown user.
const STRANGERS: [i64; 2] = [10_007, 10_013];

impl Discord {
    /// Asks Discord each time: a vote must not count by a role that was lost meanwhile. Membership and roles come in one answer, so that
    /// there is no case in which only the roles are unknown.
    pub(super) async fn look_up(&self, account: &Account) -> Result<Option<Subject>, ChatError> {
        if account.platform != Platform::Discord || !super::is_snowflake(&account.id) {
            return Ok(None);
        }
        let member = match self.api.get(&format!("/guilds/{}/members/{}", self.guild, account.id)).await {
            Ok(member) => Some(member),
            Err(Failure::Refused { code, .. }) if STRANGERS.contains(&code) => None,
            Err(failure) => {
                let error = ChatError::from(failure);
                tracing::warn!(%account, %error, "an account could not be looked up");
                return Err(error);
            }
        };
        let Some(member) = member.filter(|member| is_member(member, &account.id, Timestamp::now())) else {
            tracing::info!(%account, "an account that is no full, present human member of the server was turned away");
            return Ok(None);
        };
        let roles = roles(&member).ok_or_else(|| ChatError::Unavailable("the roles of a member are not understood".into()))?;
        Ok(Some(Subject { account: account.clone(), groups: Groups::Known(roles) }))
    }
}

fn roles(member: &Value) -> Option<BTreeSet<String>> {
    member.get("roles")?.as_array()?.iter().map(|role| role.as_str().map(str::to_owned)).collect()
}

/// A human who has passed the server's screening and may speak in it. What Discord says of every member has to be there.
fn is_member(member: &Value, id: &str, now: Timestamp) -> bool {
    let user = member.get("user").unwrap_or(&Value::Null);
    // Discord leaves these out of people.
    let is_no_human = ["bot", "system"].iter().any(|field| user.get(field).is_some_and(|flag| *flag != Value::Bool(false)));
    let is_pending = member.get("pending").is_some_and(|pending| *pending != Value::Bool(false));
    let is_shut_out = member.get("flags").is_some_and(|flags| flags.as_u64().is_none_or(|flags| flags & SHUT_OUT != 0));
    let may_speak = match member.get("communication_disabled_until") {
        None | Some(Value::Null) => true,
        Some(until) => until.as_str().and_then(|until| until.parse::<Timestamp>().ok()).is_some_and(|until| until <= now),
    };
    user.get("id").and_then(Value::as_str) == Some(id) && !is_no_human && !is_pending && !is_shut_out && may_speak
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_full_human_members() {
        let now = Timestamp::from_second(1_800_000_000).unwrap_or(Timestamp::MAX);
        let base = json!({ "user": { "id": "7" }, "roles": ["1"], "flags": 2, "pending": false, "communication_disabled_until": null });
        let with = |pointer: &str, value: Value| {
            let mut member = base.clone();
            let (parent, field) = pointer.rsplit_once('/').unwrap_or_default();
            if let Some(Value::Object(fields)) = member.pointer_mut(parent) {
                fields.insert(field.into(), value);
            }
            is_member(&member, "7", now)
        };
        assert!(is_member(&base, "7", now) && !is_member(&base, "8", now) && !is_member(&json!({}), "7", now));
        assert!(with("/user/bot", json!(false)) && with("/communication_disabled_until", json!("2020-01-01T00:00:00+00:00")));
        for (pointer, value) in [
            ("/user/bot", json!(true)),
            ("/user/bot", json!("yes")),
            ("/user/system", json!(true)),
            ("/pending", json!(true)),
            ("/flags", json!(128)),
            ("/flags", json!(1024)),
            ("/communication_disabled_until", json!("2090-01-01T00:00:00+00:00")),
            ("/communication_disabled_until", json!(5)),
        ] {
            assert!(!with(pointer, value.clone()), "{pointer} {value}");
        }
    }
}
