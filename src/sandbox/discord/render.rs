//! People, roles, channels and the guild in JSON, as Discord shows them to the bot.

use serde_json::{Value, json};

use super::gateway::intent;
use super::guild::{Member, Role};
use super::snowflake::{Snowflake, iso};
use super::state::{Channel, State};

/// A file may be so large, in bytes: what Discord grants to a guild without boosts.
pub(super) const ATTACHMENT_BYTES: usize = 10 << 20;

pub(super) fn user(member: &Member) -> Value {
    let mut shown = json!({
        "id": member.id,
        "username": member.username,
        "global_name": member.global_name,
        "discriminator": "0",
        "avatar": null,
        "avatar_decoration_data": null,
        "collectibles": null,
        "primary_guild": null,
        "public_flags": 0,
        "flags": 0,
    });
    if let (true, Value::Object(fields)) = (member.is_bot, &mut shown) {
        fields.insert("bot".into(), json!(true));
        // Bots have no display name, and an old-style number.
        fields.insert("global_name".into(), Value::Null);
        fields.insert("discriminator".into(), json!("0042"));
    }
    shown
}

/// Somebody who may have left, or never was.
pub(super) fn user_of(state: &State, id: Snowflake) -> Value {
    let unknown = Member { id, username: format!("deleted_user_{id}"), ..Member::default() };
    user(state.guild.user(id).unwrap_or(&unknown))
}

pub(super) fn current_user(state: &State) -> Value {
    let mut shown = user_of(state, state.bot());
    if let Value::Object(fields) = &mut shown {
        fields.extend([("verified".into(), json!(true)), ("mfa_enabled".into(), json!(false)), ("email".into(), Value::Null)]);
        fields.insert("locale".into(), json!("en-US"));
    }
    shown
}

/// A member with the user in it.
pub(super) fn member(state: &State, member: &Member) -> Value {
    let mut shown = member_without_user(state, member);
    if let Value::Object(fields) = &mut shown {
        fields.insert("user".into(), user(member));
    }
    shown
}

/// As in the events about messages, which show the user beside it.
pub(super) fn member_without_user(state: &State, member: &Member) -> Value {
    // A year ahead is as good as any time.
    let timed_out = member.timed_out.then(|| iso(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 7)));
    json!({
        "avatar": null,
        "avatar_decoration_data": null,
        "banner": null,
        "collectibles": null,
        "communication_disabled_until": timed_out,
        "deaf": false,
        "flags": 0,
        "joined_at": iso(state.guild.id.created()),
        "mute": false,
        "nick": null,
        "pending": member.pending,
        "premium_since": null,
        "roles": member.roles,
    })
}

pub(super) fn role(state: &State, role: &Role, position: usize) -> Value {
    let mut shown = json!({
        "id": role.id,
        "name": role.name,
        "permissions": role.permissions.to_string(),
        "position": position,
        "color": 0,
        "colors": { "primary_color": 0, "secondary_color": null, "tertiary_color": null },
        "hoist": false,
        "managed": role.managed,
        "mentionable": role.mentionable,
        "icon": null,
        "unicode_emoji": null,
        "flags": 0,
    });
    if let (true, Value::Object(fields)) = (role.managed, &mut shown) {
        fields.insert("tags".into(), json!({ "bot_id": state.bot() }));
    }
    shown
}

pub(super) fn roles(state: &State) -> Vec<Value> {
    state.guild.roles.iter().enumerate().map(|(position, known)| role(state, known, position)).collect()
}

/// A text channel or a thread.
pub(super) fn channel(state: &State, place: &Channel) -> Value {
    let last = place.messages.values().rev().find(|message| message.only_for.is_none()).map(|message| message.id);
    let Some(thread) = &place.thread else {
        let mut overwrites = Vec::new();
        if place.denied_to_bot != 0 {
            overwrites.push(json!({ "id": state.bot(), "type": 1, "allow": "0", "deny": place.denied_to_bot.to_string() }));
        }
        return json!({
            "id": place.id,
            "type": 0,
            "guild_id": state.guild.id,
            "name": place.name,
            "position": place.position,
            "parent_id": null,
            "topic": null,
            "nsfw": false,
            "rate_limit_per_user": 0,
            "last_message_id": last,
            "last_pin_timestamp": null,
            "permission_overwrites": overwrites,
            "flags": 0,
        });
    };
    let count = place.messages.values().filter(|message| !message.deleted && message.only_for.is_none() && message.id != place.id).count();
    let mut shown = json!({
        "id": place.id,
        "type": 11,
        "guild_id": state.guild.id,
        "parent_id": thread.parent,
        "owner_id": thread.owner,
        "name": place.name,
        "last_message_id": last,
        "last_pin_timestamp": null,
        "rate_limit_per_user": thread.slow_mode_seconds,
        "message_count": count,
        "total_message_sent": count,
        "member_count": thread.members.len(),
        "flags": 0,
        "thread_metadata": {
            "archived": thread.archived,
            "auto_archive_duration": thread.auto_archive_minutes,
            "archive_timestamp": iso(thread.archive_changed),
            "create_timestamp": iso(place.id.created()),
            "locked": thread.locked,
        },
    });
    if let (true, Value::Object(fields)) = (thread.members.contains(&state.bot()), &mut shown) {
        fields.insert("member".into(), thread_member(place, state.bot()));
    }
    shown
}

pub(super) fn thread_member(place: &Channel, user: Snowflake) -> Value {
    json!({ "id": place.id, "user_id": user, "join_timestamp": iso(place.id.created()), "flags": 0 })
}

/// The guild as REST shows it.
pub(super) fn guild(state: &State) -> Value {
    let guild = &state.guild;
    json!({
        "id": guild.id,
        "name": guild.name,
        "icon": null,
        "description": null,
        "home_header": null,
        "splash": null,
        "discovery_splash": null,
        "features": [],
        "banner": null,
        "owner_id": guild.owner,
        "application_id": null,
        "region": "deprecated",
        "afk_channel_id": null,
        "afk_timeout": 300,
        "system_channel_id": null,
        "system_channel_flags": 0,
        "widget_enabled": false,
        "widget_channel_id": null,
        "verification_level": 1,
        "roles": roles(state),
        "default_message_notifications": 1,
        "mfa_level": 0,
        "explicit_content_filter": 0,
        "max_presences": null,
        "max_members": 500_000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "vanity_url_code": null,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "preferred_locale": "en-US",
        "rules_channel_id": null,
        "safety_alerts_channel_id": null,
        "public_updates_channel_id": null,
        "premium_progress_bar_enabled": false,
        "nsfw": false,
        "nsfw_level": 0,
        "emojis": [],
        "stickers": [],
        "incidents_data": null,
    })
}

/// The guild as GUILD_CREATE shows it: with its channels and threads, and, without the intent for members, with the bot alone.
pub(super) fn guild_create(state: &State, intents: u64) -> Value {
    let everybody = intents & intent::GUILD_MEMBERS != 0;
    let present = || state.guild.members.iter().filter(|member| !member.gone);
    let members: Vec<Value> = present().filter(|known| everybody || known.id == state.bot()).map(|known| member(state, known)).collect();
    let visible = |place: &&Channel| state.permissions_in(state.bot(), place.id) != 0;
    let (threads, channels): (Vec<&Channel>, Vec<&Channel>) = state.channels.values().partition(|place| place.thread.is_some());
    let shown = |places: &[&Channel]| places.iter().map(|place| channel(state, place)).collect::<Vec<_>>();
    let active: Vec<&Channel> =
        threads.into_iter().filter(visible).filter(|place| place.thread.as_ref().is_some_and(|thread| !thread.archived)).collect();
    let mut whole = guild(state);
    if let Value::Object(fields) = &mut whole {
        let extra = json!({
            "joined_at": iso(state.guild.id.created()),
            "large": false,
            "unavailable": false,
            "member_count": present().count(),
            "voice_states": [],
            "members": members,
            // Channels that the bot does not see are listed too; it is denied to look into them.
            "channels": shown(&channels),
            "threads": shown(&active),
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        });
        fields.extend(extra.as_object().cloned().unwrap_or_default());
    }
    whole
}

pub(super) fn application(state: &State) -> Value {
    let (guild, application) = (&state.guild, &state.guild.application);
    json!({
        "id": application.id,
        "name": application.name,
        "icon": null,
        "description": "",
        "type": null,
        "bot": user_of(state, application.id),
        "bot_public": false,
        "bot_require_code_grant": false,
        // The key with which HTTP deliveries would be signed. There are none.
        "verify_key": "0".repeat(64),
        "flags": 0,
        "flags_new": "0",
        "redirect_uris": [],
        "interactions_endpoint_url": null,
        "role_connections_verification_url": null,
        "owner": user_of(state, guild.owner),
        "team": null,
        "approximate_guild_count": 1,
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "eligible_oauth2_scopes": [],
        "integration_types_config": { "0": {} },
    })
}
