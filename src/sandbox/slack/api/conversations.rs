//! `conversations.*`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::arguments::instant;
use super::refusal::Refusal;
use super::{Call, Method, Token};
use crate::sandbox::slack::render;
use crate::sandbox::slack::state::{Channel, Message, State};

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "conversations.info",
        token: Token::Bot,
        scope: None,
        arguments: &["channel", "include_locale", "include_num_members"],
        handle: info,
    },
    Method {
        name: "conversations.history",
        token: Token::Bot,
        scope: None,
        arguments: &["channel", "cursor", "limit", "oldest", "latest", "inclusive", "include_all_metadata"],
        handle: history,
    },
    Method {
        name: "conversations.replies",
        token: Token::Bot,
        scope: None,
        arguments: &["channel", "ts", "cursor", "limit", "oldest", "latest", "inclusive", "include_all_metadata"],
        handle: replies,
    },
    Method { name: "conversations.members", token: Token::Bot, scope: None, arguments: &["channel", "cursor", "limit"], handle: members },
    Method {
        name: "conversations.open",
        token: Token::Bot,
        scope: Some("im:write"),
        arguments: &["channel", "users", "return_im", "prevent_creation"],
        handle: open,
    },
    Method { name: "conversations.join", token: Token::Bot, scope: Some("channels:join"), arguments: &["channel"], handle: join },
];

/// Most messages or members of one page.
const PAGE: usize = 1000;

/// A page if no limit is given.
const DEFAULT_PAGE: usize = 100;

fn info(call: &mut Call<'_>) -> Result<Value, Refusal> {
    call.arguments.flag("include_locale")?;
    let channel = call.visible_channel()?;
    call.require_scope_in(channel, "read")?;
    let mut value = render::channel(call.state, channel);
    if let (true, Value::Object(fields)) = (call.arguments.flag("include_num_members")?, &mut value) {
        fields.insert("num_members".into(), json!(channel.members.len()));
    }
    Ok(json!({ "channel": value }))
}

fn history(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let channel = call.own_channel()?;
    call.require_scope_in(channel, "history")?;
    let in_range = range(call)?;
    let top_level = |message: &&Message| {
        let visible = message.only_for.is_none() && (!message.deleted || channel.replies(&message.ts).next().is_some());
        visible && (message.thread_ts.is_none() || message.subtype == Some("thread_broadcast")) && in_range(&message.ts)
    };
    let messages: Vec<&Message> = channel.messages.values().rev().filter(top_level).collect();
    let (page, cursor) = call.arguments.page(messages, DEFAULT_PAGE, PAGE)?;
    let shown: Vec<Value> = page.into_iter().map(|message| render::message_in(call.state, channel, message, true)).collect();
    let mut answer = json!({
        "messages": shown,
        "has_more": !cursor.is_empty(),
        "pin_count": 0,
        "channel_actions_ts": null,
        "channel_actions_count": 0,
    });
    add_cursor(&mut answer, cursor);
    Ok(answer)
}

fn replies(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let channel = call.own_channel()?;
    call.require_scope_in(channel, "history")?;
    let ts = call.arguments.ts("ts", "thread_not_found")?.ok_or(Refusal::Code("thread_not_found"))?;
    let parent = channel.messages.get(&ts).filter(|message| message.only_for.is_none());
    let parent = parent.filter(|message| !message.deleted || channel.replies(&ts).next().is_some());
    let parent = parent.ok_or(Refusal::Code("thread_not_found"))?;
    let in_range = range(call)?;
    let messages: Vec<&Message> = channel.replies(&ts).filter(|message| in_range(&message.ts)).collect();
    let (page, cursor) = call.arguments.page(messages, PAGE, PAGE)?;
    let thread = std::iter::once(parent).chain(page);
    let shown: Vec<Value> = thread.map(|message| render::message_in(call.state, channel, message, true)).collect();
    let mut answer = json!({ "messages": shown, "has_more": !cursor.is_empty() });
    add_cursor(&mut answer, cursor);
    Ok(answer)
}

fn members(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let channel = call.visible_channel()?;
    call.require_scope_in(channel, "read")?;
    let (page, cursor) = call.arguments.page(channel.members.iter().collect(), DEFAULT_PAGE, PAGE)?;
    Ok(json!({ "members": page, "response_metadata": { "next_cursor": cursor } }))
}

fn open(call: &mut Call<'_>) -> Result<Value, Refusal> {
    call.arguments.flag("prevent_creation")?;
    let (id, already_open) = if call.arguments.has("channel") {
        let channel = call.visible_channel()?;
        if !channel.is_im {
            return Err(Refusal::Code("method_not_supported_for_channel_type"));
        }
        (channel.id.clone(), true)
    } else {
        let users = call.arguments.names("users")?;
        match users.as_slice() {
            [] => return Err(Refusal::Code("users_list_not_supplied")),
            [user] => direct_message(call.state, user)?,
            // Group direct messages are not emulated.
            _ => return Err(Refusal::Code("too_many_users")),
        }
    };
    let full = call.arguments.flag("return_im")?;
    let shown = match call.state.channels.get(&id) {
        Some(channel) if full => render::channel(call.state, channel),
        Some(_) | None => json!({ "id": id }),
    };
    Ok(match already_open {
        true => json!({ "channel": shown, "already_open": true, "no_op": true }),
        false => json!({ "channel": shown }),
    })
}

fn join(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let channel = call.visible_channel()?;
    if channel.is_im || channel.is_private {
        return Err(Refusal::Code("method_not_supported_for_channel_type"));
    }
    let (id, bot) = (channel.id.clone(), call.bot());
    let joined = call.state.channels.get_mut(&id).is_some_and(|channel| channel.members.insert(bot));
    let shown = call.state.channels.get(&id).map(|channel| render::channel(call.state, channel));
    Ok(match joined {
        true => json!({ "channel": shown }),
        false => json!({
            "channel": shown,
            "warning": "already_in_channel",
            "response_metadata": { "warnings": ["already_in_channel"] },
        }),
    })
}

/// The direct message of the bot with `user`, opened if need be, and whether it was open already.
pub(super) fn direct_message(state: &mut State, user: &str) -> Result<(String, bool), Refusal> {
    let known = state.user(user).ok_or(Refusal::Code("user_not_found"))?;
    if known.deleted {
        return Err(Refusal::Code("user_disabled"));
    }
    let members = BTreeSet::from([user.to_owned(), state.workspace.app.bot_user.clone()]);
    if let Some(channel) = state.channels.values().find(|channel| channel.is_im && channel.members == members) {
        return Ok((channel.id.clone(), true));
    }
    let (id, created) = (state.next_id("D0"), Timestamp::now().as_second());
    let channel =
        Channel { id: id.clone(), name: String::new(), is_im: true, is_private: false, created, members, messages: BTreeMap::new() };
    state.channels.insert(id.clone(), channel);
    Ok((id, false))
}

/// Whether a timestamp is between `oldest` and `latest`, which count only if `inclusive`.
fn range(call: &Call<'_>) -> Result<impl Fn(&str) -> bool + use<>, Refusal> {
    let (arguments, inclusive) = (&call.arguments, call.arguments.flag("inclusive")?);
    arguments.flag("include_all_metadata")?;
    let oldest = arguments.ts("oldest", "invalid_ts_oldest")?.map_or(SignedDuration::MIN, |ts| instant(&ts));
    let latest = arguments.ts("latest", "invalid_ts_latest")?.map_or(SignedDuration::MAX, |ts| instant(&ts));
    Ok(move |ts: &str| {
        let at = instant(ts);
        (oldest < at && at < latest) || (inclusive && (at == oldest || at == latest))
    })
}

fn add_cursor(answer: &mut Value, cursor: String) {
    if let (false, Value::Object(fields)) = (cursor.is_empty(), answer) {
        fields.insert("response_metadata".into(), json!({ "next_cursor": cursor }));
    }
}
