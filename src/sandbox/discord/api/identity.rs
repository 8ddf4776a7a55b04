//! Who the bot is, and where the gateway is.

use axum::http::Method;
use serde_json::json;

use super::{Access, Answer, Call, Route};
use crate::sandbox::discord::limits::Bucket;
use crate::sandbox::discord::refusal::Refusal;
use crate::sandbox::discord::render;
use crate::sandbox::discord::shape::{Shape, required};

const RECIPIENT: Shape = Shape::Object(&[required("recipient_id", Shape::Id)]);

const fn get(path: &'static str, access: Access, handle: fn(&mut Call<'_>) -> Result<Answer, Refusal>) -> Route {
    Route { method: Method::GET, path, access, bucket: Bucket::Other, query: &[], body: None, handle }
}

pub(super) const ROUTES: &[Route] = &[
    get("gateway", Access::Anybody, |call| Answer::ok(json!({ "url": gateway(call) }))),
    get("gateway/bot", Access::Bot, gateway_bot),
    get("users/@me", Access::Bot, |call| Answer::ok(render::current_user(call.state))),
    get("users/{user}", Access::Bot, user),
    get("applications/@me", Access::Bot, |call| Answer::ok(render::application(call.state))),
    get("oauth2/applications/@me", Access::Bot, |call| Answer::ok(render::application(call.state))),
    Route {
        method: Method::GET,
        path: "users/@me/guilds",
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &["after", "before", "limit", "with_counts"],
        body: None,
        handle: guilds,
    },
    Route {
        method: Method::POST,
        path: "users/@me/channels",
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &[],
        body: Some(&RECIPIENT),
        // The people of the sandbox take no direct messages.
        handle: |_| Err(Refusal::CANNOT_DIRECT),
    },
];

fn gateway(call: &Call<'_>) -> String {
    format!("ws://{}", call.address)
}

fn gateway_bot(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let remaining = call.state.gateway.identifies_left;
    let session_start_limit = json!({ "total": 1000, "remaining": remaining, "reset_after": 14_400_000, "max_concurrency": 1 });
    Answer::ok(json!({ "url": gateway(call), "shards": 1, "session_start_limit": session_start_limit }))
}

fn user(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let user = call.state.guild.user(call.id("user")?).ok_or(Refusal::UNKNOWN_USER)?;
    Answer::ok(render::user(user))
}

fn guilds(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let state = &call.state;
    let permissions = state.member(state.bot()).map_or(0, |bot| state.guild.permissions(bot)).to_string();
    Answer::ok(json!([{
        "id": state.guild.id,
        "name": state.guild.name,
        "icon": null,
        "banner": null,
        "owner": false,
        "permissions": permissions,
        "features": [],
    }]))
}
