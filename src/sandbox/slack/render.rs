//! The workspace's objects as Slack writes them in JSON.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::state::{Channel, File, Message, State};
use super::workspace::{Group, User};

/// Without `full`, `reactions.get` may leave out users of a reaction, while `count` stays right. Slack names no number; this one is
/// small enough to be met by a test.
pub(super) const USERS_PER_REACTION: usize = 25;

/// A message as in `conversations.history`; `full` lists every user of every reaction.
pub(super) fn message(state: &State, message: &Message, full: bool) -> Value {
    let app = &state.workspace.app;
    let (content, mut fields) = (&message.content, Map::new());
    let mut put = |name: &str, value: Value| fields.insert(name.into(), value);
    put("type", json!("message"));
    put("user", json!(message.user));
    put("ts", json!(message.ts));
    put("text", json!(content.text));
    put("team", json!(state.user(&message.user).map_or(&state.workspace.team_id, |user| &user.team_id)));
    if message.by_app {
        put("bot_id", json!(app.bot_id));
        put("app_id", json!(app.id));
        put("bot_profile", bot_profile(state));
    }
    let optional = [
        ("subtype", message.subtype.map(Into::into)),
        ("thread_ts", message.thread_ts.as_deref().map(Into::into)),
        ("metadata", content.metadata.clone()),
        ("username", content.username.as_deref().map(Into::into)),
        ("icons", content.icons.clone()),
        ("edited", message.edited.as_ref().map(|(user, ts)| json!({ "user": user, "ts": ts }))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            put(name, value);
        }
    }
    let files = content.files.iter().filter_map(|id| state.files.get(id)).map(|upload| file(state, upload));
    let lists = [
        ("blocks", content.blocks.clone()),
        ("attachments", content.attachments.clone()),
        ("files", files.collect()),
        ("reactions", reactions(message, full)),
    ];
    for (name, values) in lists {
        if !values.is_empty() {
            put(name, Value::Array(values));
        }
    }
    Value::Object(fields)
}

/// A message with what a thread adds to its parent and its replies.
pub(super) fn message_in(state: &State, channel: &Channel, one: &Message, full: bool) -> Value {
    let mut value = if one.deleted { tombstone(one) } else { message(state, one, full) };
    let Value::Object(fields) = &mut value else { return value };
    let replies: Vec<&Message> = channel.replies(&one.ts).collect();
    if let Some(last) = replies.last() {
        let mut users: Vec<&str> = Vec::new();
        for reply in &replies {
            if !users.contains(&reply.user.as_str()) {
                users.push(&reply.user);
            }
        }
        fields.insert("thread_ts".into(), json!(one.ts));
        fields.insert("reply_count".into(), json!(replies.len()));
        fields.insert("reply_users_count".into(), json!(users.len()));
        fields.insert("latest_reply".into(), json!(last.ts));
        fields.insert("reply_users".into(), json!(users));
        fields.insert("subscribed".into(), json!(false));
    } else if let Some(parent) = one.thread_ts.as_ref().filter(|parent| **parent != one.ts).and_then(|ts| channel.messages.get(ts)) {
        fields.insert("parent_user_id".into(), json!(parent.user));
    }
    value
}

/// What stays of a deleted message that has replies.
fn tombstone(message: &Message) -> Value {
    json!({ "type": "message", "subtype": "tombstone", "user": "USLACKBOT", "ts": message.ts, "text": "This message was deleted.", "hidden": true })
}

fn reactions(message: &Message, full: bool) -> Vec<Value> {
    let most = if full { usize::MAX } else { USERS_PER_REACTION };
    let show = message.reactions.iter().map(|reaction| {
        let users: Vec<&String> = reaction.users.iter().take(most).collect();
        json!({ "name": reaction.name, "users": users, "count": reaction.users.len() })
    });
    show.collect()
}

fn bot_profile(state: &State) -> Value {
    let app = &state.workspace.app;
    let image = |size: u32| format!("https://a.slack-edge.com/80588/img/plugins/app/bot_{size}.png");
    json!({
        "id": app.bot_id,
        "app_id": app.id,
        "name": state.user(&app.bot_user).map_or("", |user| &user.name),
        "deleted": false,
        "updated": 1_700_000_000,
        "team_id": state.workspace.team_id,
        "icons": { "image_36": image(36), "image_48": image(48), "image_72": image(72) },
    })
}

/// A user as in `users.info`. Of a deactivated user Slack leaves out what kind of member it was.
pub(super) fn user(user: &User) -> Value {
    let image = |size: u32| (format!("image_{size}"), json!(format!("https://secure.gravatar.com/avatar/{}-{size}.png", user.id)));
    let mut profile: Map<String, Value> = [24, 32, 48, 72, 192, 512].into_iter().map(image).collect();
    let words = [
        ("real_name", user.real_name.as_str()),
        ("real_name_normalized", &user.real_name),
        ("display_name", &user.name),
        ("display_name_normalized", &user.name),
        ("team", &user.team_id),
        ("avatar_hash", "ge3b51ca72de"),
        ("status_text", ""),
        ("status_emoji", ""),
        ("title", ""),
        ("phone", ""),
        ("skype", ""),
    ];
    profile.extend(words.map(|(name, value)| (name.to_owned(), json!(value))));
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.into(), value);
    put("id", json!(user.id));
    put("team_id", json!(user.team_id));
    put("name", json!(user.name));
    put("deleted", json!(user.deleted));
    put("profile", Value::Object(profile));
    put("is_bot", json!(user.is_bot));
    put("is_app_user", json!(false));
    put("updated", json!(1_700_000_000));
    if !user.deleted {
        let offset = TimeZone::get(&user.tz).map_or(0, |zone| zone.to_offset(Timestamp::now()).seconds());
        put("color", json!("9f69e7"));
        put("real_name", json!(user.real_name));
        put("tz", json!(user.tz));
        put("tz_label", json!(user.tz));
        put("tz_offset", json!(offset));
        for flag in ["is_admin", "is_owner", "is_primary_owner"] {
            put(flag, json!(false));
        }
        put("is_restricted", json!(user.is_restricted || user.is_ultra_restricted));
        put("is_ultra_restricted", json!(user.is_ultra_restricted));
        put("is_email_confirmed", json!(true));
        put("who_can_share_contact_card", json!("EVERYONE"));
    }
    if user.is_stranger {
        put("is_stranger", json!(true));
    }
    Value::Object(fields)
}

/// A user group as in `usergroups.list`.
pub(super) fn group(state: &State, group: &Group, users: bool, count: bool) -> Value {
    let mut value = json!({
        "id": group.id,
        "team_id": state.workspace.team_id,
        "is_usergroup": true,
        "is_subteam": true,
        "name": group.handle,
        "description": "",
        "handle": group.handle,
        "is_external": false,
        "date_create": 1_700_000_000,
        "date_update": 1_700_000_000,
        "date_delete": 0,
        "auto_type": null,
        "auto_provision": false,
        "enterprise_subteam_id": "",
        "created_by": "USLACKBOT",
        "updated_by": "USLACKBOT",
        "deleted_by": null,
        "prefs": { "channels": [], "groups": [] },
        "user_count": group.members.len(),
    });
    if let Value::Object(fields) = &mut value {
        if users {
            fields.insert("users".into(), json!(group.members));
        }
        if count {
            fields.insert("channel_count".into(), json!(0));
        }
    }
    value
}

/// A conversation as in `conversations.info`.
pub(super) fn channel(state: &State, channel: &Channel) -> Value {
    let (bot, team) = (&state.workspace.app.bot_user, &state.workspace.team_id);
    if channel.is_im {
        let user = channel.members.iter().find(|member| *member != bot);
        let deleted = user.and_then(|id| state.user(id)).is_some_and(|user| user.deleted);
        return json!({
            "id": channel.id,
            "created": channel.created,
            "is_archived": false,
            "is_im": true,
            "is_org_shared": false,
            "context_team_id": team,
            "updated": channel.created,
            "user": user,
            "is_user_deleted": deleted,
            "is_open": true,
            "priority": 0,
        });
    }
    let note = json!({ "value": "", "creator": "", "last_set": 0 });
    json!({
        "id": channel.id,
        "name": channel.name,
        "name_normalized": channel.name,
        "is_channel": !channel.is_private,
        "is_group": channel.is_private,
        "is_im": false,
        "is_mpim": false,
        "is_private": channel.is_private,
        "created": channel.created,
        "is_archived": false,
        "is_general": false,
        "unlinked": 0,
        "is_shared": false,
        "is_org_shared": false,
        "is_ext_shared": false,
        "is_pending_ext_shared": false,
        "pending_shared": [],
        "context_team_id": team,
        "updated": channel.created,
        "creator": "USLACKBOT",
        "is_member": channel.members.contains(bot),
        "topic": note,
        "purpose": note,
        "previous_names": [],
        "shared_team_ids": [team],
    })
}

/// An uploaded file.
pub(super) fn file(state: &State, file: &File) -> Value {
    let base = format!("https://{}.slack.com/files", state.workspace.domain);
    let kind = file.name.rsplit_once('.').map_or("text", |(_, extension)| extension);
    json!({
        "id": file.id,
        "created": file.created,
        "timestamp": file.created,
        "name": file.name,
        "title": file.title,
        "mimetype": "application/octet-stream",
        "filetype": kind,
        "pretty_type": kind.to_uppercase(),
        "user": state.workspace.app.bot_user,
        "editable": false,
        "size": file.length,
        "mode": "hosted",
        "is_external": false,
        "external_type": "",
        "is_public": true,
        "public_url_shared": false,
        "display_as_bot": false,
        "username": "",
        "url_private": format!("{base}-pri/{}/{}", file.id, file.name),
        "url_private_download": format!("{base}-pri/{}/download/{}", file.id, file.name),
        "permalink": format!("{base}/{}/{}", state.workspace.app.bot_user, file.id),
    })
}

/// The permanent address of a message.
pub(super) fn permalink(state: &State, channel: &str, message: &Message) -> String {
    let thread = message.thread_ts.as_ref().filter(|thread| **thread != message.ts);
    let suffix = thread.map(|thread| format!("?thread_ts={thread}&cid={channel}")).unwrap_or_default();
    format!("https://{}.slack.com/archives/{channel}/p{}{suffix}", state.workspace.domain, message.ts.replace('.', ""))
}
