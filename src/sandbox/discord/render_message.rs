//! Messages in JSON, as Discord shows them to the bot.

use serde_json::{Map, Value, json};

use super::render;
use super::snowflake::iso;
use super::state::{Attachment, Message, MessageKind, Origin, State};

/// Flag of a message from which a thread was started.
const HAS_THREAD: u64 = 1 << 5;

/// Flag of a message that only one person sees.
pub(super) const EPHEMERAL: u64 = 1 << 6;

/// Flag of a message that says that the bot is thinking.
const LOADING: u64 = 1 << 7;

/// A message as REST shows it.
pub(super) fn message(state: &State, message: &Message) -> Value {
    let content = &message.content;
    let flags = content.flags
        | if message.has_thread { HAS_THREAD } else { 0 }
        | if message.only_for.is_some() { EPHEMERAL } else { 0 }
        | if message.loading { LOADING } else { 0 };
    let reference = |(channel, id)| json!({ "type": 0, "channel_id": channel, "message_id": id, "guild_id": state.guild.id });
    let mut shown = json!({
        "id": message.id,
        "channel_id": message.channel,
        "type": message.kind.number(),
        "author": render::user_of(state, message.author),
        "content": content.text,
        "mentions": content.mentions.users.iter().map(|id| render::user_of(state, *id)).collect::<Vec<_>>(),
        "mention_roles": content.mentions.roles,
        "mention_everyone": content.mentions.everyone,
        "attachments": content.attachments.iter().map(|file| attachment(message, file)).collect::<Vec<_>>(),
        "embeds": content.embeds,
        "components": content.components,
        "timestamp": iso(message.id.created()),
        "edited_timestamp": message.edited.map(iso),
        "flags": flags,
        "pinned": false,
        "tts": false,
    });
    let Value::Object(fields) = &mut shown else { return shown };
    if !message.reactions.is_empty() {
        fields.insert("reactions".into(), json!(reactions(state, message)));
    }
    if let Some(nonce) = &message.nonce {
        fields.insert("nonce".into(), nonce.clone());
    }
    if let Some(origin) = &message.origin {
        put_origin(state, fields, origin);
    }
    if let Some(of) = message.reference {
        fields.insert("message_reference".into(), reference(of));
        let original = state.message(of.0, of.1);
        if message.kind != MessageKind::Default {
            fields.insert("referenced_message".into(), original.map_or(Value::Null, |original| referenced(state, original)));
        }
    }
    if let Some(thread) = state.channels.get(&message.id).filter(|place| message.has_thread && place.thread.is_some()) {
        fields.insert("thread".into(), render::channel(state, thread));
    }
    shown
}

/// A message inside of another one, which shows less of it.
fn referenced(state: &State, original: &Message) -> Value {
    let mut shown = message(state, original);
    if let Value::Object(fields) = &mut shown {
        fields.retain(|name, _| name != "reactions" && name != "referenced_message");
    }
    shown
}

/// A message as events show it: with the guild and the member.
pub(super) fn message_event(state: &State, of: &Message) -> Value {
    let mut shown = message(state, of);
    if let Value::Object(fields) = &mut shown {
        fields.insert("guild_id".into(), json!(state.guild.id));
        if let Some(member) = state.member(of.author) {
            fields.insert("member".into(), render::member_without_user(state, member));
        }
    }
    shown
}

fn put_origin(state: &State, fields: &mut Map<String, Value>, origin: &Origin) {
    let mut metadata = json!({
        "id": origin.interaction,
        "type": origin.kind,
        "user": render::user_of(state, origin.user),
        "authorizing_integration_owners": { "0": state.guild.id },
    });
    if let Value::Object(metadata) = &mut metadata {
        if let Some(name) = &origin.name {
            let user = render::user_of(state, origin.user);
            // Deprecated, and still sent for commands.
            fields.insert("interaction".into(), json!({ "id": origin.interaction, "type": origin.kind, "name": name, "user": user }));
        }
        if let Some(message) = origin.message {
            metadata.insert("interacted_message_id".into(), json!(message));
        }
    }
    fields.insert("interaction_metadata".into(), metadata);
    fields.insert("webhook_id".into(), json!(state.guild.application.id));
    fields.insert("application_id".into(), json!(state.guild.application.id));
}

fn reactions(state: &State, message: &Message) -> Vec<Value> {
    let shown = message.reactions.iter().map(|reaction| {
        json!({
            "emoji": { "id": null, "name": reaction.emoji },
            "count": reaction.users.len(),
            "count_details": { "burst": 0, "normal": reaction.users.len() },
            "burst_colors": [],
            "me_burst": false,
            "me": reaction.users.contains(&state.bot()),
        })
    });
    shown.collect()
}

/// The path under which the emulator serves a file, as Discord's content network does.
pub(super) fn attachment_path(message: &Message, file: &Attachment) -> String {
    format!("/attachments/{}/{}/{}", message.channel, file.id, file.name)
}

fn attachment(message: &Message, file: &Attachment) -> Value {
    let url = format!("https://cdn.discordapp.com{}", attachment_path(message, file));
    let proxy = format!("https://media.discordapp.net{}", attachment_path(message, file));
    let mut shown = json!({ "id": file.id, "filename": file.name, "size": file.bytes.len(), "url": url, "proxy_url": proxy });
    if let Value::Object(fields) = &mut shown {
        if let Some(description) = &file.description {
            fields.insert("description".into(), json!(description));
        }
        if let Some(content_type) = &file.content_type {
            fields.insert("content_type".into(), json!(content_type));
        }
        if message.only_for.is_some() {
            fields.insert("ephemeral".into(), json!(true));
        }
    }
    shown
}
