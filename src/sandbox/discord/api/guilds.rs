//! The guild, its members, roles and channels.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Access, Answer, Call, Route};
use crate::sandbox::discord::gateway::intent;
use crate::sandbox::discord::limits::Bucket;
use crate::sandbox::discord::refusal::Refusal;
use crate::sandbox::discord::render;

const fn get(path: &'static str, query: &'static [&'static str], handle: fn(&mut Call<'_>) -> Result<Answer, Refusal>) -> Route {
    Route { method: Method::GET, path, access: Access::Bot, bucket: Bucket::Other, query, body: None, handle }
}

pub(super) const ROUTES: &[Route] = &[
    get("guilds/{guild}", &["with_counts"], guild),
    get("guilds/{guild}/channels", &[], channels),
    get("guilds/{guild}/roles", &[], roles),
    get("guilds/{guild}/roles/{role}", &[], role),
    get("guilds/{guild}/members", &["after", "limit"], members),
    get("guilds/{guild}/members/{user}", &[], member),
    get("guilds/{guild}/threads/active", &[], active_threads),
];

fn guild(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    call.own_guild()?;
    let mut guild = render::guild(call.state);
    if let (true, Value::Object(fields)) = (call.flag("with_counts")?, &mut guild) {
        let count = call.state.guild.members.iter().filter(|member| !member.gone).count();
        fields.insert("approximate_member_count".into(), json!(count));
        fields.insert("approximate_presence_count".into(), json!(count));
    }
    Answer::ok(guild)
}

fn channels(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    call.own_guild()?;
    let places = call.state.channels.values().filter(|place| place.thread.is_none());
    Answer::ok(places.map(|place| render::channel(call.state, place)).collect())
}

fn roles(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    call.own_guild()?;
    Answer::ok(json!(render::roles(call.state)))
}

fn role(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    call.own_guild()?;
    let wanted = call.id("role")?;
    let roles = call.state.guild.roles.iter().enumerate();
    let found = roles.into_iter().find(|(_, role)| role.id == wanted).ok_or(Refusal::UNKNOWN_ROLE)?;
    Answer::ok(render::role(call.state, found.1, found.0))
}

/// The list of everybody takes the privileged intent for members, one member does not.
fn members(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    call.own_guild()?;
    if call.state.guild.application.privileged_intents & intent::GUILD_MEMBERS == 0 {
        return Err(Refusal::MISSING_ACCESS);
    }
    let limit = call.number("limit", 1..=1000, 1)?;
    let after = call.id_in_query("after")?.unwrap_or_default();
    let mut present: Vec<_> = call.state.guild.members.iter().filter(|member| !member.gone && member.id > after).collect();
    present.sort_unstable_by_key(|member| member.id);
    Answer::ok(present.into_iter().take(limit).map(|member| render::member(call.state, member)).collect())
}

fn member(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    call.own_guild()?;
    let user = call.id("user")?;
    call.state.guild.user(user).ok_or(Refusal::UNKNOWN_USER)?;
    let member = call.state.member(user).ok_or(Refusal::UNKNOWN_MEMBER)?;
    Answer::ok(render::member(call.state, member))
}

fn active_threads(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    call.own_guild()?;
    let (state, bot) = (&call.state, call.state.bot());
    let active = state
        .channels
        .values()
        .filter(|place| place.thread.as_ref().is_some_and(|thread| !thread.archived) && state.permissions_in(bot, place.id) != 0);
    let (mut threads, mut members) = (Vec::new(), Vec::new());
    for place in active {
        threads.push(render::channel(state, place));
        if place.thread.as_ref().is_some_and(|thread| thread.members.contains(&bot)) {
            members.push(render::thread_member(place, bot));
        }
    }
    Answer::ok(json!({ "threads": threads, "members": members, "has_more": false }))
}
