//! What is to be seen in the guild, and waiting for it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::Value;

use super::DiscordEmulator;
use super::mentions::Mentions;
use super::snowflake::Snowflake;
use super::state::{Message, MessageKind, State};

/// A look at the guild in one moment.
#[derive(Debug)]
pub struct View<'s>(&'s State);

/// A message as somebody in the channel sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Message id.
    pub id: Snowflake,
    /// Channel or thread that it is in.
    pub channel: Snowflake,
    /// Parent channel if it is in a thread.
    pub parent: Option<Snowflake>,
    /// The thread that was started from it.
    pub thread: Option<Snowflake>,
    /// User id of the author.
    pub user: Snowflake,
    /// Name of the author.
    pub name: String,
    /// Text.
    pub text: String,
    /// Embeds as stored.
    pub embeds: Vec<Value>,
    /// Components as stored.
    pub components: Vec<Value>,
    /// How often it was edited, not counting that a message which said that the bot was thinking was filled in.
    pub edits: usize,
    /// Users by emoji, in the order in which they reacted.
    pub reactions: BTreeMap<String, Vec<Snowflake>>,
    /// Files.
    pub files: Vec<Upload>,
    /// The one user who sees it, if it is ephemeral.
    pub only_for: Option<Snowflake>,
    /// People read that the bot is thinking.
    pub loading: bool,
    /// It was deleted.
    pub deleted: bool,
    /// Whom it pings: everybody whom any version of it notified or highlighted.
    pub pinged: Mentions,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// File name.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// Content.
    pub content: Vec<u8>,
}

/// A button of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    /// Its custom id; empty for a link.
    pub custom_id: String,
    /// What is written on it.
    pub label: String,
    /// It cannot be pressed.
    pub disabled: bool,
}

/// What was waited for did not happen. Shows everything that did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("waited {waited:?} in vain; the guild shows:\n{transcript}")]
pub struct TimedOut {
    /// For how long.
    pub waited: Duration,
    /// Every channel as text.
    pub transcript: String,
}

// === impl DiscordEmulator ===

impl DiscordEmulator {
    /// Every message of a channel and of its threads, ephemeral ones included, in order of time; empty if there is no such channel.
    #[must_use]
    pub fn channel_transcript(&self, channel: Snowflake) -> Vec<Entry> {
        self.look(|view| view.channel_transcript(channel))
    }

    /// A look at the guild.
    pub fn look<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        self.discord.read(|state| look(&View(state)))
    }

    /// Waits until `predicate` holds, looking again after every change.
    ///
    /// # Errors
    /// If it does not hold within `timeout`.
    pub async fn wait_until(&self, mut predicate: impl FnMut(&View<'_>) -> bool, timeout: Duration) -> Result<(), TimedOut> {
        self.wait_for(|view| predicate(view).then_some(()), timeout).await
    }

    /// Waits until `find` finds something, looking again after every change.
    ///
    /// # Errors
    /// If it finds nothing within `timeout`.
    pub async fn wait_for<T>(&self, mut find: impl FnMut(&View<'_>) -> Option<T>, timeout: Duration) -> Result<T, TimedOut> {
        let mut changes = self.discord.watch();
        let search = async {
            loop {
                if let Some(found) = self.look(&mut find) {
                    return Some(found);
                }
                changes.changed().await.ok()?;
            }
        };
        let found = tokio::time::timeout(timeout, search).await.ok().flatten();
        found.ok_or_else(|| TimedOut { waited: timeout, transcript: self.look(|view| view.to_string()) })
    }
}

// === impl View ===

impl View<'_> {
    /// Every message of a channel and of its threads, ephemeral ones included, in order of time; empty if there is no such channel.
    #[must_use]
    pub fn channel_transcript(&self, channel: Snowflake) -> Vec<Entry> {
        let of_parent = self.0.channels.values().filter(|place| place.thread.as_ref().is_some_and(|thread| thread.parent == channel));
        let places = self.0.channels.get(&channel).into_iter().chain(of_parent);
        let messages = places.flat_map(|place| place.messages.values()).filter(|message| message.kind != MessageKind::ThreadStarter);
        let mut entries: Vec<Entry> = messages.map(|message| self.entry(message)).collect();
        entries.sort_by_key(|entry| entry.id);
        entries
    }

    /// Whom the bot's messages ping, in all channels and threads, ephemeral ones included: the messages that ping anybody.
    #[must_use]
    pub fn pings(&self) -> Vec<(Snowflake, Mentions)> {
        let messages = self.0.channels.values().flat_map(|place| place.messages.values());
        let by_bot = messages.filter(|message| message.author == self.0.bot() && !message.pinged.is_empty());
        by_bot.map(|message| (message.id, message.pinged.clone())).collect()
    }

    /// Ids of all channels; threads belong to their parents.
    #[must_use]
    pub fn channels(&self) -> Vec<Snowflake> {
        self.0.channels.values().filter(|place| place.thread.is_none()).map(|place| place.id).collect()
    }

    /// Ids of the threads of a channel.
    #[must_use]
    pub fn threads(&self, channel: Snowflake) -> Vec<Snowflake> {
        let of_channel = |place: &&super::state::Channel| place.thread.as_ref().is_some_and(|thread| thread.parent == channel);
        self.0.channels.values().filter(of_channel).map(|place| place.id).collect()
    }

    /// How many gateway connections the bot has that identified themselves or resumed.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.gateway.connected()
    }

    /// Events that a mishap delays and that did not leave yet.
    #[must_use]
    pub fn delayed_events(&self) -> usize {
        self.0.gateway.delayed
    }

    /// Registered commands as Discord shows them: the guild's, or the global ones.
    #[must_use]
    pub fn commands(&self, guild: Option<Snowflake>) -> Vec<Value> {
        let of_scope = self.0.commands.values().filter(|command| command.guild == guild);
        of_scope.map(|command| super::commands::show(command, self.0.guild.application.id)).collect()
    }

    /// The modals that somebody sees: title and components as the bot sent them, by custom id.
    #[must_use]
    pub fn modals(&self, user: Snowflake) -> BTreeMap<String, (String, Vec<Value>)> {
        let shown = self.0.modals.values().filter(|modal| modal.user == user);
        shown.map(|modal| (modal.custom_id.clone(), (modal.title.clone(), modal.components.clone()))).collect()
    }

    fn entry(&self, message: &Message) -> Entry {
        let content = &message.content;
        let files = content.attachments.iter();
        let author = self.0.guild.user(message.author).map(|member| member.username.clone());
        Entry {
            id: message.id,
            channel: message.channel,
            parent: self.0.channels.get(&message.channel).and_then(|place| place.thread.as_ref()).map(|thread| thread.parent),
            thread: message.has_thread.then_some(message.id),
            user: message.author,
            name: author.unwrap_or_else(|| message.author.to_string()),
            text: content.text.clone(),
            embeds: content.embeds.clone(),
            components: content.components.clone(),
            edits: message.edits,
            reactions: message.reactions.iter().map(|reaction| (reaction.emoji.clone(), reaction.users.clone())).collect(),
            files: files
                .map(|file| Upload { name: file.name.clone(), description: file.description.clone(), content: file.bytes.clone() })
                .collect(),
            only_for: message.only_for,
            loading: message.loading,
            deleted: message.deleted,
            pinged: message.pinged.clone(),
        }
    }
}

impl fmt::Display for View<'_> {
    /// Every channel with what is written in it; a thread stands below the message that started it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for channel in self.0.channels.values().filter(|place| place.thread.is_none()) {
            let (in_threads, in_channel): (Vec<_>, Vec<_>) =
                self.channel_transcript(channel.id).into_iter().partition(|entry| entry.parent.is_some());
            if in_channel.is_empty() && in_threads.is_empty() {
                continue;
            }
            writeln!(f, "#{}", channel.name)?;
            for entry in &in_channel {
                writeln!(f, "{}", self.line(entry))?;
                for reply in in_threads.iter().filter(|reply| Some(reply.channel) == entry.thread) {
                    writeln!(f, "{}", self.line(reply))?;
                }
            }
            let alone = |reply: &&Entry| !in_channel.iter().any(|entry| entry.thread == Some(reply.channel));
            for reply in in_threads.iter().filter(alone) {
                writeln!(f, "{}", self.line(reply))?;
            }
        }
        Ok(())
    }
}

impl View<'_> {
    /// `name: text`, indented in a thread, with what hangs on the message.
    fn line(&self, entry: &Entry) -> String {
        let name = |user: Snowflake| self.0.guild.user(user).map_or_else(|| user.to_string(), |member| member.username.clone());
        let indent = if entry.parent.is_some() { "    " } else { "  " };
        let text = if entry.loading { "(thinking)".to_owned() } else { entry.visible_text() };
        let mut line = format!("{}: {text}", entry.name);
        if let Some(user) = entry.only_for {
            line = format!("(only {} sees this) {line}", name(user));
        }
        if entry.deleted {
            line.push_str(" (deleted)");
        }
        if entry.edits > 0 {
            // Writing to a string does not fail.
            let _ = write!(line, " (edited {}x)", entry.edits);
        }
        for (emoji, users) in &entry.reactions {
            let users: Vec<String> = users.iter().map(|user| name(*user)).collect();
            let _ = write!(line, " {emoji}{}", users.join(","));
        }
        for file in &entry.files {
            let _ = write!(line, " [{}]", file.name);
        }
        format!("{indent}{}", line.replace('\n', &format!("\n{indent}  ")))
    }
}

// === impl Entry ===

impl Entry {
    /// What a person reads: the text, then of each embed author, title, description, fields and footer, then the labels of buttons, line
    /// by line.
    #[must_use]
    pub fn visible_text(&self) -> String {
        let word = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut lines = vec![self.text.clone()];
        for embed in &self.embeds {
            lines.push(word(embed.get("author").and_then(|author| author.get("name"))));
            lines.push(word(embed.get("title")));
            lines.push(word(embed.get("description")));
            for field in embed.get("fields").and_then(Value::as_array).into_iter().flatten() {
                lines.push(word(field.get("name")));
                lines.push(word(field.get("value")));
            }
            lines.push(word(embed.get("footer").and_then(|footer| footer.get("text"))));
        }
        lines.extend(self.buttons().into_iter().map(|button| button.label));
        lines.retain(|line| !line.is_empty());
        lines.join("\n")
    }

    /// The buttons of the message, in order.
    #[must_use]
    pub fn buttons(&self) -> Vec<Button> {
        let rows = self.components.iter().filter_map(|row| row.get("components")?.as_array()).flatten();
        let buttons = rows.filter(|component| component.get("type").and_then(Value::as_u64) == Some(2));
        let word = |button: &Value, name: &str| button.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let button = |button: &Value| Button {
            custom_id: word(button, "custom_id"),
            label: word(button, "label"),
            disabled: button.get("disabled").and_then(Value::as_bool).unwrap_or_default(),
        };
        buttons.map(button).collect()
    }
}
