//! What the emulated guild holds, and the few ways in which it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::commands::Command;
use super::gateway::{Event, Gateway};
use super::guild::{Guild, Member, permission};
use super::interaction::{Interaction, Modal};
use super::limits::Meters;
use super::mentions::Mentions;
use super::snowflake::{Snowflake, Snowflakes};

/// Everything behind the emulator's one lock.
pub(super) struct State {
    pub(super) guild: Guild,
    /// Text channels and threads.
    pub(super) channels: BTreeMap<Snowflake, Channel>,
    /// Registered commands of the application, global ones and the guild's.
    pub(super) commands: BTreeMap<Snowflake, Command>,
    /// Commands that were created, of which a day allows only so many.
    pub(super) command_creates: usize,
    pub(super) interactions: BTreeMap<Snowflake, Interaction>,
    /// Modals that people see, by the interaction that they answered.
    pub(super) modals: BTreeMap<Snowflake, Modal>,
    pub(super) gateway: Gateway,
    pub(super) meters: Meters,
    pub(super) ids: Snowflakes,
    /// Events that the change under way leads to, in order.
    pub(super) emitted: Vec<Event>,
    /// What the application did wrong and Discord would swallow silently.
    pub(super) violations: Vec<String>,
}

/// A text channel or a thread, with its messages.
pub(super) struct Channel {
    pub(super) id: Snowflake,
    pub(super) name: String,
    pub(super) position: usize,
    /// Permissions that the bot lacks here.
    pub(super) denied_to_bot: u64,
    pub(super) thread: Option<Thread>,
    /// By id, whose order is the order in time.
    pub(super) messages: BTreeMap<Snowflake, Message>,
}

/// What makes a channel a thread.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) parent: Snowflake,
    pub(super) owner: Snowflake,
    pub(super) members: BTreeSet<Snowflake>,
    pub(super) archived: bool,
    pub(super) locked: bool,
    pub(super) auto_archive_minutes: u64,
    pub(super) slow_mode_seconds: u64,
    pub(super) archive_changed: Timestamp,
}

/// A message, ephemeral or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) id: Snowflake,
    pub(super) channel: Snowflake,
    pub(super) author: Snowflake,
    pub(super) kind: MessageKind,
    pub(super) content: Content,
    /// The interaction that it answers.
    pub(super) origin: Option<Origin>,
    /// The message that it replies to, or that started the thread.
    pub(super) reference: Option<(Snowflake, Snowflake)>,
    pub(super) edited: Option<Timestamp>,
    pub(super) edits: usize,
    pub(super) reactions: Vec<Reaction>,
    /// The one user who sees it; `None` for everybody.
    pub(super) only_for: Option<Snowflake>,
    /// People read that the bot is thinking.
    pub(super) loading: bool,
    pub(super) deleted: bool,
    pub(super) has_thread: bool,
    /// Whom any version of it notified or highlighted.
    pub(super) pinged: Mentions,
    pub(super) nonce: Option<Value>,
}

/// Discord's types of messages, as far as they occur here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MessageKind {
    #[default]
    Default,
    Reply,
    Command,
    ThreadStarter,
}

/// What a message says.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) embeds: Vec<Value>,
    pub(super) components: Vec<Value>,
    pub(super) attachments: Vec<Attachment>,
    /// Those bits of the flags that a bot may set.
    pub(super) flags: u64,
    /// Whom it mentions, as far as `allowed_mentions` lets it.
    pub(super) mentions: Mentions,
}

/// A file of a message.
#[derive(Clone, Debug)]
pub(super) struct Attachment {
    pub(super) id: Snowflake,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) bytes: Vec<u8>,
}

/// The interaction that a message answers.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) interaction: Snowflake,
    pub(super) kind: u64,
    pub(super) user: Snowflake,
    pub(super) name: Option<String>,
    /// The message whose component was used.
    pub(super) message: Option<Snowflake>,
}

/// An emoji and who reacted with it, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reaction {
    pub(super) emoji: String,
    pub(super) users: Vec<Snowflake>,
}

// === impl State ===

impl State {
    pub(super) fn new(guild: Guild) -> Self {
        let channel = |(position, seed): (usize, &super::guild::TextChannel)| {
            let (id, name) = (seed.id, seed.name.clone());
            (id, Channel { id, name, position, denied_to_bot: seed.denied_to_bot, thread: None, messages: BTreeMap::new() })
        };
        Self {
            channels: guild.channels.iter().enumerate().map(channel).collect(),
            guild,
            commands: BTreeMap::new(),
            command_creates: 0,
            interactions: BTreeMap::new(),
            modals: BTreeMap::new(),
            gateway: Gateway::default(),
            meters: Meters::new(Instant::now()),
            ids: Snowflakes::default(),
            emitted: Vec::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn bot(&self) -> Snowflake {
        self.guild.application.id
    }

    /// Somebody who has not left.
    pub(super) fn member(&self, id: Snowflake) -> Option<&Member> {
        self.guild.user(id).filter(|member| !member.gone)
    }

    /// What a member may do in a channel or thread; nothing if there is no such member or channel.
    pub(super) fn permissions_in(&self, user: Snowflake, channel: Snowflake) -> u64 {
        let (Some(member), Some(place)) = (self.member(user), self.channels.get(&channel)) else { return 0 };
        let place = place.thread.as_ref().and_then(|thread| self.channels.get(&thread.parent)).unwrap_or(place);
        let denied = if user == self.bot() { place.denied_to_bot } else { 0 };
        let granted = self.guild.permissions(member) & !denied;
        if granted & permission::VIEW_CHANNEL == 0 { 0 } else { granted }
    }

    pub(super) fn bot_may(&self, channel: Snowflake, needed: u64) -> bool {
        self.permissions_in(self.bot(), channel) & needed == needed
    }

    pub(super) fn message(&self, channel: Snowflake, id: Snowflake) -> Option<&Message> {
        self.channels.get(&channel)?.messages.get(&id).filter(|message| !message.deleted)
    }

    pub(super) fn message_mut(&mut self, channel: Snowflake, id: Snowflake) -> Option<&mut Message> {
        self.channels.get_mut(&channel)?.messages.get_mut(&id).filter(|message| !message.deleted)
    }

    /// Adds a message and tells of it. Ephemeral messages tell nobody. A thread wakes up when somebody writes in it.
    pub(super) fn post(&mut self, mut message: Message) -> Snowflake {
        let id = self.ids.next();
        message.id = id;
        message.pinged = message.content.mentions.clone();
        let (channel, author, silent) = (message.channel, message.author, message.only_for.is_some());
        let asleep = self.channels.get_mut(&channel).and_then(|place| {
            place.messages.insert(id, message);
            place.thread.as_mut().map(|thread| {
                thread.members.insert(author);
                std::mem::take(&mut thread.archived)
            })
        });
        if asleep == Some(true) {
            self.tell_thread_changed(channel);
        }
        if !silent {
            self.tell_message_created(channel, id);
        }
        id
    }

    /// Changes what a message says, and tells of it. The first content of a message that was loading is no edit.
    pub(super) fn edit(&mut self, channel: Snowflake, id: Snowflake, content: Content) {
        let Some(message) = self.message_mut(channel, id) else { return };
        message.pinged.extend(&content.mentions);
        message.content = content;
        if std::mem::take(&mut message.loading) {
            message.edited = None;
        } else {
            message.edited = Some(Timestamp::now());
            message.edits += 1;
        }
        if message.only_for.is_none() {
            self.tell_message_updated(channel, id);
        }
    }

    pub(super) fn delete(&mut self, channel: Snowflake, id: Snowflake) {
        let Some(message) = self.message_mut(channel, id) else { return };
        message.deleted = true;
        if message.only_for.is_none() {
            self.tell_message_deleted(channel, id);
        }
    }

    /// Adds a reaction; `false` if the user has reacted so already.
    pub(super) fn add_reaction(&mut self, channel: Snowflake, id: Snowflake, emoji: &str, user: Snowflake) -> bool {
        let Some(message) = self.message_mut(channel, id) else { return false };
        match message.reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
            Some(reaction) if reaction.users.contains(&user) => return false,
            Some(reaction) => reaction.users.push(user),
            None => message.reactions.push(Reaction { emoji: emoji.into(), users: vec![user] }),
        }
        self.tell_reaction(true, channel, id, emoji, user);
        true
    }

    /// Removes a reaction; `false` if there was none.
    pub(super) fn remove_reaction(&mut self, channel: Snowflake, id: Snowflake, emoji: &str, user: Snowflake) -> bool {
        let Some(message) = self.message_mut(channel, id) else { return false };
        let Some(reaction) = message.reactions.iter_mut().find(|reaction| reaction.emoji == emoji) else { return false };
        let before = reaction.users.len();
        reaction.users.retain(|other| *other != user);
        let removed = reaction.users.len() < before;
        message.reactions.retain(|reaction| !reaction.users.is_empty());
        if removed {
            self.tell_reaction(false, channel, id, emoji, user);
        }
        removed
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("guild", &self.guild.id).finish_non_exhaustive()
    }
}

// === impl MessageKind ===

impl MessageKind {
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Default => 0,
            Self::Reply => 19,
            Self::Command => 20,
            Self::ThreadStarter => 21,
        }
    }
}
