//! Who would be pinged: what a text mentions, and how much of that `allowed_mentions` and the author's permissions let through.
//!
//! Stricter than Discord: mentions count in code and behind a backslash too, since a client shows some of those.

use std::collections::BTreeSet;

use serde_json::Value;

use super::guild::{Guild, permission};
use super::refusal::Refusal;
use super::shape::{self, Shape, list, optional};
use super::snowflake::Snowflake;

/// Whom a message pings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// `@everyone` or `@here`.
    pub everyone: bool,
    /// User ids.
    pub users: BTreeSet<Snowflake>,
    /// Role ids.
    pub roles: BTreeSet<Snowflake>,
}

/// `allowed_mentions`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    everyone: bool,
    all_users: bool,
    all_roles: bool,
    users: BTreeSet<Snowflake>,
    roles: BTreeSet<Snowflake>,
    pub(super) replied_user: bool,
}

pub(super) const SHAPE: Shape = Shape::Object(&[
    optional("parse", list(3, &Shape::Word(&["roles", "users", "everyone"]))),
    optional("users", list(100, &Shape::Id)),
    optional("roles", list(100, &Shape::Id)),
    optional("replied_user", Shape::Flag),
]);

impl Mentions {
    /// Nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.everyone && self.users.is_empty() && self.roles.is_empty()
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.everyone |= other.everyone;
        self.users.extend(&other.users);
        self.roles.extend(&other.roles);
    }

    /// Everybody whom the text names.
    fn named_in(text: &str) -> Self {
        let mut found = Self { everyone: text.contains("@everyone") || text.contains("@here"), ..Self::default() };
        for part in text.split("<@").skip(1) {
            let Some((inside, _)) = part.split_once('>') else { continue };
            match inside.strip_prefix('&') {
                Some(role) => found.roles.extend(role.parse::<Snowflake>()),
                None => found.users.extend(inside.strip_prefix('!').unwrap_or(inside).parse::<Snowflake>()),
            }
        }
        found
    }

    /// Whom a text pings that somebody with these permissions wrote.
    pub(super) fn of(guild: &Guild, text: &str, allowed: &Allowed, permissions: u64) -> Self {
        let named = Self::named_in(text);
        let may = permissions & permission::MENTION_EVERYONE != 0;
        let user = |id: &Snowflake| (allowed.all_users || allowed.users.contains(id)) && guild.user(*id).is_some();
        let role = |id: &Snowflake| {
            let known = guild.roles.iter().find(|role| role.id == *id && role.id != guild.id);
            (allowed.all_roles || allowed.roles.contains(id)) && known.is_some_and(|role| may || role.mentionable)
        };
        Self {
            everyone: named.everyone && allowed.everyone && may,
            users: named.users.into_iter().filter(user).collect(),
            roles: named.roles.into_iter().filter(role).collect(),
        }
    }
}

impl Allowed {
    /// Without `allowed_mentions` everything is.
    pub(super) const ALL: Self =
        Self { everyone: true, all_users: true, all_roles: true, users: BTreeSet::new(), roles: BTreeSet::new(), replied_user: true };

    /// Reads the field of a body whose shape was checked.
    ///
    /// # Errors
    /// If it names users (or roles) and allows all of them too.
    pub(super) fn parse(field: Option<&Value>) -> Result<Self, Refusal> {
        let Some(given) = field.filter(|value| !value.is_null()) else { return Ok(Self::ALL) };
        let elements = |name: &str| given.get(name).and_then(Value::as_array).into_iter().flatten();
        let parses = |word: &str| elements("parse").any(|value| value.as_str() == Some(word));
        let ids = |name: &str| elements(name).filter_map(shape::id).collect::<BTreeSet<_>>();
        for kind in ["users", "roles"] {
            if parses(kind) && elements(kind).next().is_some() {
                let message = format!("parse:[\"{kind}\"] and {kind}: [ids...] are mutually exclusive.");
                return Err(Refusal::field("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message));
            }
        }
        Ok(Self {
            everyone: parses("everyone"),
            all_users: parses("users"),
            all_roles: parses("roles"),
            users: ids("users"),
            roles: ids("roles"),
            replied_user: given.get("replied_user").and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sandbox_guild::id;
    use super::*;

    fn pinged(text: &str, allowed: &Value, permissions: u64) -> Mentions {
        Mentions::of(&Guild::sandbox(), text, &Allowed::parse(Some(allowed)).unwrap(), permissions)
    }

    #[test]
    fn nobody_is_pinged_unless_allowed() {
        let text = format!("@everyone @here <@{}> <@!{}> <@&{}> <@1>", id::RESPONDER, id::APPROVER1, id::APPROVERS);
        for nobody in [json!({ "parse": [] }), json!({}), json!({ "parse": [], "users": [], "replied_user": false })] {
            assert_eq!(pinged(&text, &nobody, u64::MAX), Mentions::default());
        }
        let users = BTreeSet::from([id::RESPONDER, id::APPROVER1]);
        assert_eq!(pinged(&text, &Value::Null, 0), Mentions { users: users.clone(), ..Mentions::default() });
        let everybody = Mentions { everyone: true, users, roles: [id::APPROVERS].into() };
        assert_eq!(pinged(&text, &Value::Null, u64::MAX), everybody);
        let one = json!({ "users": [id::APPROVER1] });
        assert_eq!(pinged(&text, &one, u64::MAX), Mentions { users: [id::APPROVER1].into(), ..Mentions::default() });
        let both = json!({ "parse": ["users"], "users": [id::APPROVER1] });
        assert!(matches!(Allowed::parse(Some(&both)), Err(Refusal::Invalid(_))));
    }
}
