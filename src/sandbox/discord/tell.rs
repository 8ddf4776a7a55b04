//! What the bot is told of what happens. It hears only of channels that it sees.

use serde_json::{Map, Value, json};

use super::gateway::{Event, EventKind};
use super::render;
use super::render_message::message_event;
use super::snowflake::Snowflake;
use super::state::State;

impl State {
    fn emit(&mut self, kind: EventKind, data: Value) {
        self.emitted.push(Event::new(kind, data));
    }

    fn bot_sees(&self, channel: Snowflake) -> bool {
        self.permissions_in(self.bot(), channel) != 0
    }

    pub(super) fn tell_interaction(&mut self, data: Value) {
        self.emit(EventKind::InteractionCreate, data);
    }

    pub(super) fn tell_message_created(&mut self, channel: Snowflake, id: Snowflake) {
        self.tell_message(EventKind::MessageCreate, channel, id);
    }

    pub(super) fn tell_message_updated(&mut self, channel: Snowflake, id: Snowflake) {
        self.tell_message(EventKind::MessageUpdate, channel, id);
    }

    fn tell_message(&mut self, kind: EventKind, channel: Snowflake, id: Snowflake) {
        let Some(message) = self.message(channel, id).filter(|_| self.bot_sees(channel)) else { return };
        let bot = self.bot();
        let own = message.author == bot || message.content.mentions.users.contains(&bot);
        let event = Event::new(kind, message_event(self, message));
        self.emitted.push(if own { event } else { event.private() });
    }

    pub(super) fn tell_message_deleted(&mut self, channel: Snowflake, id: Snowflake) {
        if self.bot_sees(channel) {
            self.emit(EventKind::MessageDelete, json!({ "id": id, "channel_id": channel, "guild_id": self.guild.id }));
        }
    }

    /// Only the event about a new reaction shows the member: a bot has to look up who takes one back.
    pub(super) fn tell_reaction(&mut self, added: bool, channel: Snowflake, id: Snowflake, emoji: &str, user: Snowflake) {
        let Some(message) = self.message(channel, id).filter(|_| self.bot_sees(channel)) else { return };
        let author = message.author;
        let mut data = json!({
            "user_id": user,
            "channel_id": channel,
            "message_id": id,
            "guild_id": self.guild.id,
            "emoji": { "id": null, "name": emoji },
            "burst": false,
            "type": 0,
        });
        if let (true, Value::Object(fields)) = (added, &mut data) {
            fields.insert("message_author_id".into(), json!(author));
            if let Some(member) = self.member(user) {
                fields.insert("member".into(), render::member(self, member));
            }
        }
        self.emit(if added { EventKind::MessageReactionAdd } else { EventKind::MessageReactionRemove }, data);
    }

    pub(super) fn tell_thread_created(&mut self, thread: Snowflake) {
        self.tell_thread(EventKind::ThreadCreate, thread, |fields| drop(fields.insert("newly_created".into(), json!(true))));
    }

    pub(super) fn tell_thread_changed(&mut self, thread: Snowflake) {
        self.tell_thread(EventKind::ThreadUpdate, thread, |_| ());
    }

    fn tell_thread(&mut self, kind: EventKind, thread: Snowflake, add: impl FnOnce(&mut Map<String, Value>)) {
        let Some(place) = self.channels.get(&thread).filter(|_| self.bot_sees(thread)) else { return };
        let mut data = render::channel(self, place);
        if let Value::Object(fields) = &mut data {
            add(fields);
        }
        self.emit(kind, data);
    }

    /// Tells how somebody is now, after they joined, changed or left.
    pub(super) fn tell_member(&mut self, kind: EventKind, user: Snowflake) {
        let Some(known) = self.guild.user(user) else { return };
        let mut data = match kind == EventKind::GuildMemberRemove {
            true => json!({ "user": render::user(known) }),
            false => render::member(self, known),
        };
        if let Value::Object(fields) = &mut data {
            fields.insert("guild_id".into(), json!(self.guild.id));
        }
        self.emit(kind, data);
    }
}
