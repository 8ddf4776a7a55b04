//! `api.test`, `auth.test`, `team.info` and `apps.connections.open`.

use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::Refusal;
use super::{Call, Method, Token};

pub(super) const METHODS: &[Method] = &[
    Method { name: "api.test", token: Token::None, scope: None, arguments: &["foo", "error"], handle: api_test },
    Method { name: "auth.test", token: Token::Bot, scope: None, arguments: &[], handle: auth_test },
    Method { name: "team.info", token: Token::Bot, scope: Some("team:read"), arguments: &["team"], handle: team_info },
    Method {
        name: "apps.connections.open",
        token: Token::App,
        scope: Some("connections:write"),
        arguments: &[],
        handle: apps_connections_open,
    },
];

fn api_test(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let (echo, error) = (call.arguments.text("foo")?, call.arguments.text("error")?);
    match (error, echo) {
        // Slack echoes the error that one asks for; this emulator knows one.
        (Some(_), _) => Err(Refusal::Code("my_error")),
        (None, Some(echo)) => Ok(json!({ "args": { "foo": echo } })),
        (None, None) => Ok(json!({})),
    }
}

fn auth_test(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let workspace = &call.state.workspace;
    Ok(json!({
        "url": format!("https://{}.slack.com/", workspace.domain),
        "team": workspace.team_name,
        "user": call.state.user(&workspace.app.bot_user).map(|user| &user.name),
        "team_id": workspace.team_id,
        "user_id": workspace.app.bot_user,
        "bot_id": workspace.app.bot_id,
        "is_enterprise_install": false,
    }))
}

fn team_info(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let workspace = &call.state.workspace;
    if call.arguments.text("team")?.is_some_and(|team| team != workspace.team_id) {
        return Err(Refusal::Code("team_not_found"));
    }
    let image = |size: u32| format!("https://a.slack-edge.com/80588/img/avatars-teams/ava_0001-{size}.png");
    Ok(json!({ "team": {
        "id": workspace.team_id,
        "name": workspace.team_name,
        "url": format!("https://{}.slack.com/", workspace.domain),
        "domain": workspace.domain,
        "email_domain": "",
        "icon": { "image_34": image(34), "image_44": image(44), "image_68": image(68), "image_default": true },
    } }))
}

fn apps_connections_open(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let ticket = Uuid::new_v4().to_string();
    call.state.tickets.insert(ticket.clone());
    Ok(json!({ "url": format!("ws://{}/link/?ticket={ticket}&app_id={}", call.address, call.state.workspace.app.id) }))
}
