//! What the emulated workspace holds, and the few ways in which it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::delivery::{Envelope, EnvelopeKind, Sockets};
use super::limits::Meters;
use super::render;
use super::workspace::{Group, User, Workspace};

/// A response URL takes this many messages, as Slack's.
const RESPONSE_URL_USES: u32 = 5;

/// A response URL lives this long, as Slack's.
const RESPONSE_URL_SECONDS: i64 = 30 * 60;

/// Everything behind the emulator's one lock.
pub(super) struct State {
    pub(super) workspace: Workspace,
    pub(super) channels: BTreeMap<String, Channel>,
    pub(super) files: BTreeMap<String, File>,
    pub(super) modals: BTreeMap<String, Modal>,
    /// Triggers that were handed out, by id.
    pub(super) triggers: BTreeMap<String, Trigger>,
    /// Response URLs that were handed out, by path.
    pub(super) response_urls: BTreeMap<String, ResponseUrl>,
    /// Tickets of `apps.connections.open` that were not used yet.
    pub(super) tickets: BTreeSet<String>,
    pub(super) sockets: Sockets,
    pub(super) meters: Meters,
    /// Events that the change under way leads to, in order.
    pub(super) emitted: Vec<Envelope>,
    /// What the app did wrong and Slack would swallow silently.
    pub(super) violations: Vec<String>,
    last_ts_us: i64,
    serial: u64,
}

/// A conversation with its messages.
pub(super) struct Channel {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) is_im: bool,
    pub(super) is_private: bool,
    pub(super) created: i64,
    /// Everybody in it, the bot included.
    pub(super) members: BTreeSet<String>,
    /// By `ts`, whose text order is the order in time.
    pub(super) messages: BTreeMap<String, Message>,
}

/// A message, ephemeral or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) ts: String,
    pub(super) thread_ts: Option<String>,
    pub(super) user: String,
    /// Posted by the app rather than by a person.
    pub(super) by_app: bool,
    pub(super) content: Content,
    pub(super) subtype: Option<&'static str>,
    /// Who edited it last, and when.
    pub(super) edited: Option<(String, String)>,
    pub(super) edits: usize,
    pub(super) reactions: Vec<Reaction>,
    /// The one user who sees it; `None` for everybody.
    pub(super) only_for: Option<String>,
    pub(super) deleted: bool,
}

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) blocks: Vec<Value>,
    pub(super) attachments: Vec<Value>,
    pub(super) metadata: Option<Value>,
    pub(super) files: Vec<String>,
    pub(super) username: Option<String>,
    pub(super) icons: Option<Value>,
}

/// An emoji and who reacted with it, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reaction {
    pub(super) name: String,
    pub(super) users: Vec<String>,
}

/// An upload on its way to a message.
pub(super) struct File {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) title: String,
    pub(super) length: usize,
    pub(super) created: i64,
    /// Secret part of the upload URL.
    pub(super) token: String,
    pub(super) content: Option<Vec<u8>>,
    pub(super) shared: bool,
}

/// A modal that somebody sees.
pub(super) struct Modal {
    pub(super) user: String,
    /// The view as Slack shows it to the app.
    pub(super) view: Value,
    /// What the app offered last in each of its menus, by block.
    pub(super) offered: BTreeMap<String, Vec<Value>>,
}

/// What a `trigger_id` stands for.
pub(super) struct Trigger {
    pub(super) user: String,
    pub(super) born: Instant,
    pub(super) used: bool,
}

/// What a response URL answers to.
pub(super) struct ResponseUrl {
    pub(super) channel: String,
    pub(super) user: String,
    /// The message whose button was clicked.
    pub(super) origin: Option<String>,
    pub(super) uses_left: u32,
    pub(super) expires: i64,
}

// === impl State ===

impl State {
    pub(super) fn new(workspace: Workspace, sockets: Sockets) -> Self {
        let bot = &workspace.app.bot_user;
        let created = Timestamp::now().as_second();
        let channels = workspace.channels.iter().map(|seed| {
            let mut members: BTreeSet<String> = seed.members.iter().cloned().collect();
            if seed.is_member {
                members.insert(bot.clone());
            }
            let (id, name) = (seed.id.clone(), seed.name.clone());
            let channel = Channel { id, name, is_im: seed.is_im, is_private: seed.is_private, created, members, messages: BTreeMap::new() };
            (seed.id.clone(), channel)
        });
        Self {
            channels: channels.collect(),
            workspace,
            files: BTreeMap::new(),
            modals: BTreeMap::new(),
            triggers: BTreeMap::new(),
            response_urls: BTreeMap::new(),
            tickets: BTreeSet::new(),
            sockets,
            meters: Meters::default(),
            emitted: Vec::new(),
            violations: Vec::new(),
            last_ts_us: 0,
            serial: 0,
        }
    }

    pub(super) fn user(&self, id: &str) -> Option<&User> {
        self.workspace.users.iter().find(|user| user.id == id)
    }

    pub(super) fn group(&self, id: &str) -> Option<&Group> {
        self.workspace.groups.iter().find(|group| group.id == id)
    }

    /// A fresh message timestamp, later than every one before.
    pub(super) fn next_ts(&mut self) -> String {
        self.last_ts_us = Timestamp::now().as_microsecond().max(self.last_ts_us + 1);
        format!("{}.{:06}", self.last_ts_us / 1_000_000, self.last_ts_us % 1_000_000)
    }

    /// A short id that this emulator did not hand out before.
    pub(super) fn next_id(&mut self, prefix: &str) -> String {
        self.serial += 1;
        format!("{prefix}{:05X}", self.serial)
    }

    pub(super) fn new_trigger(&mut self, user: &str) -> String {
        let id = format!("{}.{}", self.next_id(""), Uuid::new_v4().simple());
        self.triggers.insert(id.clone(), Trigger { user: user.into(), born: Instant::now(), used: false });
        id
    }

    /// A URL to answer `user` in `channel` with; `origin` is the message that holds the button.
    pub(super) fn new_response_url(&mut self, address: SocketAddr, user: &str, channel: &str, origin: Option<&str>) -> String {
        let family = if origin.is_some() { "actions" } else { "commands" };
        let path = format!("/{family}/{}/{}", self.workspace.team_id, Uuid::new_v4().simple());
        let url = format!("http://{address}{path}");
        let expires = Timestamp::now().as_second() + RESPONSE_URL_SECONDS;
        let (user, channel, origin) = (user.into(), channel.into(), origin.map(Into::into));
        self.response_urls.insert(path, ResponseUrl { channel, user, origin, uses_left: RESPONSE_URL_USES, expires });
        url
    }

    /// Adds a message and tells the app if it subscribed to that. Ephemeral messages tell nobody.
    pub(super) fn post(&mut self, channel: &str, message: Message) -> String {
        let ts = self.next_ts();
        let message = Message { ts: ts.clone(), ..message };
        let silent = message.only_for.is_some();
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.messages.insert(ts.clone(), message);
        }
        if !silent {
            self.tell_message(channel, &ts);
        }
        ts
    }

    /// Replaces what a message says, as an edit by the bot.
    pub(super) fn edit(&mut self, channel: &str, ts: &str, content: Content) {
        let (now, bot) = (self.next_ts(), self.workspace.app.bot_user.clone());
        self.alter(channel, ts, "message_changed", |message| {
            message.content = content;
            message.edited = Some((bot, now));
            message.edits += 1;
        });
    }

    pub(super) fn delete(&mut self, channel: &str, ts: &str) {
        self.alter(channel, ts, "message_deleted", |message| message.deleted = true);
    }

    /// Alters a message and tells the app if it hears of messages there and can see this one.
    fn alter(&mut self, channel: &str, ts: &str, subtype: &str, change: impl FnOnce(&mut Message)) {
        let message = |state: &Self| state.channels.get(channel).and_then(|channel| channel.messages.get(ts)).cloned();
        let Some(before) = message(self) else { return };
        let previous = render::message(self, &before, true);
        if let Some(message) = self.channels.get_mut(channel).and_then(|channel| channel.messages.get_mut(ts)) {
            change(message);
        }
        let (Some(after), Some(kind)) = (message(self), self.hears_messages(channel)) else { return };
        if after.only_for.is_some() {
            return;
        }
        let event_ts = self.next_ts();
        let mut event = json!({
            "type": "message",
            "subtype": subtype,
            "hidden": true,
            "channel": channel,
            "channel_type": kind,
            "previous_message": previous,
            "ts": event_ts,
            "event_ts": event_ts,
        });
        if let Value::Object(fields) = &mut event {
            match after.deleted {
                true => fields.insert("deleted_ts".into(), json!(ts)),
                false => fields.insert("message".into(), render::message(self, &after, true)),
            };
        }
        self.emit(event);
    }

    /// Queues an event for the app, wrapped as the Events API does.
    pub(super) fn emit(&mut self, event: Value) {
        let (workspace, now) = (&self.workspace, Timestamp::now().as_second());
        let payload = json!({
            "token": "verification-token",
            "team_id": workspace.team_id,
            "context_team_id": workspace.team_id,
            "context_enterprise_id": null,
            "api_app_id": workspace.app.id,
            "event": event,
            "type": "event_callback",
            "event_id": format!("Ev{}", Uuid::new_v4().simple().to_string().to_uppercase().get(..10).unwrap_or_default()),
            "event_time": now,
            "authorizations": [{
                "enterprise_id": null,
                "team_id": workspace.team_id,
                "user_id": workspace.app.bot_user,
                "is_bot": true,
                "is_enterprise_install": false,
            }],
            "is_ext_shared_channel": false,
            "event_context": Uuid::new_v4().simple().to_string(),
        });
        self.emitted.push(Envelope { kind: EnvelopeKind::Event, payload, origin: None });
    }

    /// The app hears of a channel if its bot is in it, and of an event if it subscribed to it.
    pub(super) fn hears(&self, channel: &str, event: &str) -> bool {
        let app = &self.workspace.app;
        app.events.contains(event) && self.channels.get(channel).is_some_and(|channel| channel.members.contains(&app.bot_user))
    }

    /// The kind of a channel whose messages the app hears of.
    fn hears_messages(&self, channel: &str) -> Option<&'static str> {
        let kind = self.channels.get(channel)?.kind();
        let event = if kind == "im" { "message.im".to_owned() } else { format!("message.{kind}s") };
        self.hears(channel, &event).then_some(kind)
    }

    fn tell_message(&mut self, channel: &str, ts: &str) {
        let bot = &self.workspace.app.bot_user;
        let Some(place) = self.channels.get(channel) else { return };
        let Some(message) = place.messages.get(ts) else { return };
        let mention = !message.by_app && message.content.text.contains(&format!("<@{bot}>")) && !place.is_im;
        let mut event = render::message(self, message, true);
        if let Value::Object(fields) = &mut event {
            fields.insert("channel".into(), json!(channel));
            fields.insert("event_ts".into(), json!(ts));
        }
        if mention && self.hears(channel, "app_mention") {
            let mut event = event.clone();
            if let Value::Object(fields) = &mut event {
                fields.insert("type".into(), json!("app_mention"));
            }
            self.emit(event);
        }
        if let Some(kind) = self.hears_messages(channel) {
            if let Value::Object(fields) = &mut event {
                fields.insert("channel_type".into(), json!(kind));
            }
            self.emit(event);
        }
    }

    /// Adds a reaction; `false` if the user has reacted so already.
    pub(super) fn add_reaction(&mut self, channel: &str, ts: &str, name: &str, user: &str) -> bool {
        let Some(message) = self.channels.get_mut(channel).and_then(|channel| channel.messages.get_mut(ts)) else { return false };
        match message.reactions.iter_mut().find(|reaction| reaction.name == name) {
            Some(reaction) if reaction.users.iter().any(|other| other == user) => return false,
            Some(reaction) => reaction.users.push(user.into()),
            None => message.reactions.push(Reaction { name: name.into(), users: vec![user.into()] }),
        }
        self.tell_reaction("reaction_added", channel, ts, name, user);
        true
    }

    /// Removes a reaction; `false` if there was none.
    pub(super) fn remove_reaction(&mut self, channel: &str, ts: &str, name: &str, user: &str) -> bool {
        let Some(message) = self.channels.get_mut(channel).and_then(|channel| channel.messages.get_mut(ts)) else { return false };
        let Some(reaction) = message.reactions.iter_mut().find(|reaction| reaction.name == name) else { return false };
        let before = reaction.users.len();
        reaction.users.retain(|other| other != user);
        let removed = reaction.users.len() < before;
        message.reactions.retain(|reaction| !reaction.users.is_empty());
        if removed {
            self.tell_reaction("reaction_removed", channel, ts, name, user);
        }
        removed
    }

    /// Such an event says nothing of what kind of user it was: a bot has to look that up.
    fn tell_reaction(&mut self, kind: &str, channel: &str, ts: &str, name: &str, user: &str) {
        let message = self.channels.get(channel).and_then(|channel| channel.messages.get(ts));
        let author = message.map(|message| message.user.clone());
        if self.hears(channel, kind) {
            let event_ts = self.next_ts();
            self.emit(json!({
                "type": kind,
                "user": user,
                "reaction": name,
                "item": { "type": "message", "channel": channel, "ts": ts },
                "item_user": author,
                "event_ts": event_ts,
            }));
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("team_id", &self.workspace.team_id).finish_non_exhaustive()
    }
}

// === impl Channel ===

impl Channel {
    /// As in `channel_type` of an event.
    pub(super) fn kind(&self) -> &'static str {
        match (self.is_im, self.is_private) {
            (true, _) => "im",
            (false, true) => "group",
            (false, false) => "channel",
        }
    }

    /// A message that everybody in the channel sees.
    pub(super) fn public_message(&self, ts: &str) -> Option<&Message> {
        self.messages.get(ts).filter(|message| message.only_for.is_none() && !message.deleted)
    }

    /// Replies of the thread of `ts`, oldest first, without their parent.
    pub(super) fn replies(&self, ts: &str) -> impl Iterator<Item = &Message> {
        self.messages.values().filter(move |message| {
            message.only_for.is_none() && !message.deleted && message.ts != ts && message.thread_ts.as_deref() == Some(ts)
        })
    }
}
