//! `users.*` and `usergroups.*`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::{Call, Method, Token};
use crate::sandbox::slack::render;
use crate::sandbox::slack::workspace::User;

pub(super) const METHODS: &[Method] = &[
    Method { name: "users.info", token: Token::Bot, scope: Some("users:read"), arguments: &["user", "include_locale"], handle: info },
    Method {
        name: "users.list",
        token: Token::Bot,
        scope: Some("users:read"),
        arguments: &["cursor", "limit", "include_locale", "team_id"],
        handle: list,
    },
    Method {
        name: "usergroups.list",
        token: Token::Bot,
        scope: Some("usergroups:read"),
        arguments: &["include_count", "include_disabled", "include_users", "team_id"],
        handle: groups,
    },
    Method {
        name: "usergroups.users.list",
        token: Token::Bot,
        scope: Some("usergroups:read"),
        arguments: &["usergroup", "include_disabled", "team_id"],
        handle: group_users,
    },
];

/// Most users of one page; without a limit Slack tries to list all.
const PAGE: usize = 1000;

fn info(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let locale = call.arguments.flag("include_locale")?;
    let id = call.arguments.required("user").map_err(|_| Refusal::Code("user_not_found"))?;
    let user = call.state.user(&id).ok_or(Refusal::Code("user_not_found"))?;
    Ok(json!({ "user": show(user, locale) }))
}

fn list(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let locale = call.arguments.flag("include_locale")?;
    let (page, cursor) = call.arguments.page(call.state.workspace.users.iter().collect(), PAGE, PAGE)?;
    let members: Vec<Value> = page.into_iter().map(|user| show(user, locale)).collect();
    Ok(json!({ "members": members, "cache_ts": Timestamp::now().as_second(), "response_metadata": { "next_cursor": cursor } }))
}

fn groups(call: &mut Call<'_>) -> Result<Value, Refusal> {
    call.arguments.flag("include_disabled")?;
    let (users, count) = (call.arguments.flag("include_users")?, call.arguments.flag("include_count")?);
    let state = &*call.state;
    let groups: Vec<Value> = state.workspace.groups.iter().map(|group| render::group(state, group, users, count)).collect();
    Ok(json!({ "usergroups": groups }))
}

fn group_users(call: &mut Call<'_>) -> Result<Value, Refusal> {
    call.arguments.flag("include_disabled")?;
    let id = call.arguments.required("usergroup")?;
    let group = call.state.group(&id).ok_or(Refusal::Code("no_such_subteam"))?;
    Ok(json!({ "users": group.members }))
}

fn show(user: &User, locale: bool) -> Value {
    let mut value = render::user(user);
    if let (true, Value::Object(fields)) = (locale, &mut value) {
        fields.insert("locale".into(), json!("en-US"));
    }
    value
}
