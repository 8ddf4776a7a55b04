//! Reactions.

use axum::http::Method;

use super::{Access, Answer, Call, Route};
use crate::sandbox::discord::guild::permission;
use crate::sandbox::discord::limits::Bucket;
use crate::sandbox::discord::refusal::Refusal;
use crate::sandbox::discord::render;
use crate::sandbox::discord::snowflake::Snowflake;

/// Different emoji on one message.
pub(in crate::sandbox::discord) const EMOJI_PER_MESSAGE: usize = 20;

const ONE: &str = "channels/{channel}/messages/{message}/reactions/{emoji}";
const OWN: &str = "channels/{channel}/messages/{message}/reactions/{emoji}/@me";
const OF_USER: &str = "channels/{channel}/messages/{message}/reactions/{emoji}/{user}";

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: ONE,
        access: Access::Bot,
        bucket: Bucket::Other,
        query: &["after", "limit", "type"],
        body: None,
        handle: users,
    },
    Route { method: Method::PUT, path: OWN, access: Access::Bot, bucket: Bucket::Reactions, query: &[], body: None, handle: add },
    Route { method: Method::DELETE, path: OWN, access: Access::Bot, bucket: Bucket::Reactions, query: &[], body: None, handle: remove_own },
    Route { method: Method::DELETE, path: OF_USER, access: Access::Bot, bucket: Bucket::Reactions, query: &[], body: None, handle: remove },
];

/// An emoji as Discord writes it: the characters themselves. Names between colons and custom emoji are none here.
pub(in crate::sandbox::discord) fn emoji(given: &str) -> Option<String> {
    let symbol = |c: char| !c.is_ascii() || c.is_ascii_digit() || ['#', '*'].contains(&c);
    let fits = (1..=16).contains(&given.chars().count())
        && given.chars().all(symbol)
        && given.chars().any(|c| !c.is_ascii() && !c.is_alphanumeric());
    fits.then(|| given.to_owned())
}

fn target(call: &Call<'_>, needed: u64) -> Result<(Snowflake, Snowflake, String), Refusal> {
    let message = call.message(permission::VIEW_CHANNEL | permission::READ_MESSAGE_HISTORY | needed)?;
    let emoji = emoji(call.parameter("emoji")).ok_or(Refusal::UNKNOWN_EMOJI)?;
    Ok((message.channel, message.id, emoji))
}

/// Users by rising id, as Discord pages them.
fn users(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let (channel, id, emoji) = target(call, 0)?;
    let limit = call.number("limit", 1..=100, 25)?;
    let after = call.id_in_query("after")?.unwrap_or_default();
    // Type 1 is a "super" reaction, of which there are none.
    if call.number("type", 0..=1, 0)? == 1 {
        return Answer::ok(serde_json::json!([]));
    }
    let reactions = call.state.message(channel, id).map(|message| message.reactions.as_slice()).unwrap_or_default();
    let mut users: Vec<Snowflake> =
        reactions.iter().filter(|reaction| reaction.emoji == emoji).flat_map(|reaction| reaction.users.clone()).collect();
    users.sort_unstable();
    let page = users.into_iter().filter(|user| *user > after).take(limit);
    Answer::ok(page.map(|user| render::user_of(call.state, user)).collect())
}

fn add(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let (channel, id, emoji) = target(call, 0)?;
    let message = call.message(0)?;
    let known = message.reactions.iter().any(|reaction| reaction.emoji == emoji);
    if !known && message.reactions.len() >= EMOJI_PER_MESSAGE {
        return Err(Refusal::TOO_MANY_REACTIONS);
    }
    if !known {
        call.channel(permission::ADD_REACTIONS)?;
    }
    let bot = call.state.bot();
    // A second one is no error.
    call.state.add_reaction(channel, id, &emoji, bot);
    Answer::empty()
}

fn remove_own(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let (channel, id, emoji) = target(call, 0)?;
    let bot = call.state.bot();
    take_back(call, channel, id, &emoji, bot)
}

fn remove(call: &mut Call<'_>) -> Result<Answer, Refusal> {
    let (channel, id, emoji) = target(call, permission::MANAGE_MESSAGES)?;
    let user = call.id("user")?;
    take_back(call, channel, id, &emoji, user)
}

fn take_back(call: &mut Call<'_>, channel: Snowflake, id: Snowflake, emoji: &str, user: Snowflake) -> Result<Answer, Refusal> {
    match call.state.remove_reaction(channel, id, emoji, user) {
        true => Answer::empty(),
        false => Err(Refusal::UNKNOWN_EMOJI),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_are_characters() {
        for good in ["✅", "👍", "👍🏽", "❌", "🛑", "1️⃣"] {
            assert_eq!(emoji(good).as_deref(), Some(good));
        }
        for bad in ["", "white_check_mark", ":+1:", "x", "1", "é", "name:1234"] {
            assert_eq!(emoji(bad), None, "{bad}");
        }
    }
}
