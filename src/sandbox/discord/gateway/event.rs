//! Events, and the intents with which a bot asks for them.

use serde_json::{Value, json};

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The session has begun.
    Ready,
    /// The session goes on.
    Resumed,
    /// A guild, after READY.
    GuildCreate,
    /// Somebody used a command, a component or a modal.
    InteractionCreate,
    /// A new message.
    MessageCreate,
    /// A message was edited, or a thread started from it.
    MessageUpdate,
    /// A message was deleted.
    MessageDelete,
    /// A reaction; it carries the member.
    MessageReactionAdd,
    /// A reaction is gone; it carries no member.
    MessageReactionRemove,
    /// A new thread.
    ThreadCreate,
    /// A thread was renamed, archived or locked, or woke up.
    ThreadUpdate,
    /// Somebody joined.
    GuildMemberAdd,
    /// Somebody's roles or names changed.
    GuildMemberUpdate,
    /// Somebody left.
    GuildMemberRemove,
}

/// Intent bits.
pub(in crate::sandbox::discord) mod intent {
    pub(in crate::sandbox::discord) const GUILDS: u64 = 1;
    pub(in crate::sandbox::discord) const GUILD_MEMBERS: u64 = 1 << 1;
    pub(in crate::sandbox::discord) const GUILD_PRESENCES: u64 = 1 << 8;
    pub(in crate::sandbox::discord) const GUILD_MESSAGES: u64 = 1 << 9;
    pub(in crate::sandbox::discord) const GUILD_MESSAGE_REACTIONS: u64 = 1 << 10;
    pub(in crate::sandbox::discord) const MESSAGE_CONTENT: u64 = 1 << 15;
    /// Those that must be switched on in the application's settings.
    pub(in crate::sandbox::discord) const PRIVILEGED: u64 = GUILD_MEMBERS | GUILD_PRESENCES | MESSAGE_CONTENT;
    /// Every intent that exists.
    pub(in crate::sandbox::discord) const ALL: u64 = 0x1FFFF | (1 << 20) | (1 << 21) | (1 << 24) | (1 << 25);
}

/// An event on its way.
#[derive(Clone, Debug)]
pub(in crate::sandbox::discord) struct Event {
    pub(super) kind: EventKind,
    data: Value,
    /// It tells what somebody else wrote, which takes the intent `MESSAGE_CONTENT`.
    private: bool,
}

impl EventKind {
    /// As in `t` of a payload.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Resumed => "RESUMED",
            Self::GuildCreate => "GUILD_CREATE",
            Self::InteractionCreate => "INTERACTION_CREATE",
            Self::MessageCreate => "MESSAGE_CREATE",
            Self::MessageUpdate => "MESSAGE_UPDATE",
            Self::MessageDelete => "MESSAGE_DELETE",
            Self::MessageReactionAdd => "MESSAGE_REACTION_ADD",
            Self::MessageReactionRemove => "MESSAGE_REACTION_REMOVE",
            Self::ThreadCreate => "THREAD_CREATE",
            Self::ThreadUpdate => "THREAD_UPDATE",
            Self::GuildMemberAdd => "GUILD_MEMBER_ADD",
            Self::GuildMemberUpdate => "GUILD_MEMBER_UPDATE",
            Self::GuildMemberRemove => "GUILD_MEMBER_REMOVE",
        }
    }

    /// The intent that a bot must have asked for; 0 for what every bot gets.
    fn intent(self) -> u64 {
        match self {
            Self::Ready | Self::Resumed | Self::InteractionCreate => 0,
            Self::GuildCreate | Self::ThreadCreate | Self::ThreadUpdate => intent::GUILDS,
            Self::MessageCreate | Self::MessageUpdate | Self::MessageDelete => intent::GUILD_MESSAGES,
            Self::MessageReactionAdd | Self::MessageReactionRemove => intent::GUILD_MESSAGE_REACTIONS,
            Self::GuildMemberAdd | Self::GuildMemberUpdate | Self::GuildMemberRemove => intent::GUILD_MEMBERS,
        }
    }
}

impl Event {
    pub(in crate::sandbox::discord) fn new(kind: EventKind, data: Value) -> Self {
        Self { kind, data, private: false }
    }

    /// An event about what somebody else than the bot wrote.
    pub(in crate::sandbox::discord) fn private(self) -> Self {
        Self { private: true, ..self }
    }

    pub(super) fn is_for(&self, intents: u64) -> bool {
        let needed = self.kind.intent();
        needed == 0 || intents & needed != 0
    }

    /// What a session with these intents is told.
    pub(super) fn data_for(&self, intents: u64) -> Value {
        let mut data = self.data.clone();
        if let (true, 0, Value::Object(fields)) = (self.private, intents & intent::MESSAGE_CONTENT, &mut data) {
            fields.insert("content".into(), json!(""));
            for name in ["embeds", "attachments", "components"] {
                fields.insert(name.into(), json!([]));
            }
        }
        data
    }
}
