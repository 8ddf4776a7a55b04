//! What is to be seen in the workspace, and waiting for it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::Value;

use super::state::{Message, State};
use super::{SlackEmulator, blocks};

/// A look at the workspace in one moment.
#[derive(Debug)]
pub struct View<'s>(&'s State);

/// A message as somebody in the channel sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Timestamp, which is also the message's id in its channel.
    pub ts: String,
    /// Timestamp of the parent if this is a reply.
    pub thread_ts: Option<String>,
    /// User id of the author.
    pub user: String,
    /// Name of the author, as shown.
    pub name: String,
    /// Text as it was sent, escaped. Clients show the blocks if there are any, and use this for notifications.
    pub text: String,
    /// Blocks as stored, with the ids that Slack filled in.
    pub blocks: Vec<Value>,
    /// How often it was edited.
    pub edits: usize,
    /// Users by emoji, in the order in which they reacted.
    pub reactions: BTreeMap<String, Vec<String>>,
    /// Files shared with it.
    pub files: Vec<Upload>,
    /// The one user who sees it, if it is ephemeral.
    pub only_for: Option<String>,
    /// It was deleted.
    pub deleted: bool,
}

/// A shared file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// File name.
    pub name: String,
    /// Title.
    pub title: String,
    /// Content.
    pub content: Vec<u8>,
}

/// A button of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    /// Its action id.
    pub action_id: String,
    /// What is written on it.
    pub text: String,
    /// Its value, empty if it has none.
    pub value: String,
}

/// What was waited for did not happen. Shows everything that did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("waited {waited:?} in vain; the workspace shows:\n{transcript}")]
pub struct TimedOut {
    /// For how long.
    pub waited: Duration,
    /// Every channel as text.
    pub transcript: String,
}

// === impl SlackEmulator ===

impl SlackEmulator {
    /// Every message of a channel, ephemeral ones included, in order; empty if there is no such channel.
    #[must_use]
    pub fn channel_transcript(&self, channel: &str) -> Vec<Entry> {
        self.look(|view| view.channel_transcript(channel))
    }

    /// A look at the workspace.
    pub fn look<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        self.slack.read(|state| look(&View(state)))
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
        let mut changes = self.slack.watch();
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
    /// Every message of a channel, ephemeral ones included, in order; empty if there is no such channel.
    #[must_use]
    pub fn channel_transcript(&self, channel: &str) -> Vec<Entry> {
        let messages = self.0.channels.get(channel).into_iter().flat_map(|channel| channel.messages.values());
        messages.map(|message| self.entry(message)).collect()
    }

    /// Ids of all channels, direct messages that were opened meanwhile included.
    #[must_use]
    pub fn channels(&self) -> Vec<String> {
        self.0.channels.keys().cloned().collect()
    }

    /// How many Socket Mode connections the app holds.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.sockets.connected()
    }

    /// Events that the app has neither acknowledged nor missed for good.
    #[must_use]
    pub fn unfinished_events(&self) -> usize {
        self.0.sockets.unfinished
    }

    /// Modals that a user has open, as the app sees them.
    #[must_use]
    pub fn modals(&self, user: &str) -> Vec<Value> {
        self.0.modals.values().filter(|modal| modal.user == user).map(|modal| modal.view.clone()).collect()
    }

    fn entry(&self, message: &Message) -> Entry {
        let author = self.0.user(&message.user).map_or(message.user.as_str(), |user| &user.name);
        let content = &message.content;
        let files = content.files.iter().filter_map(|id| self.0.files.get(id));
        Entry {
            ts: message.ts.clone(),
            thread_ts: message.thread_ts.clone(),
            user: message.user.clone(),
            name: content.username.clone().unwrap_or_else(|| author.to_owned()),
            text: content.text.clone(),
            blocks: content.blocks.clone(),
            edits: message.edits,
            reactions: message.reactions.iter().map(|reaction| (reaction.name.clone(), reaction.users.clone())).collect(),
            files: files
                .map(|file| Upload {
                    name: file.name.clone(),
                    title: file.title.clone(),
                    content: file.content.clone().unwrap_or_default(),
                })
                .collect(),
            only_for: message.only_for.clone(),
            deleted: message.deleted,
        }
    }
}

impl fmt::Display for View<'_> {
    /// Every channel with what is written in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for channel in self.0.channels.values().filter(|channel| !channel.messages.is_empty()) {
            let name = if channel.name.is_empty() { &channel.id } else { &channel.name };
            writeln!(f, "#{name}")?;
            for message in channel.messages.values() {
                writeln!(f, "{}", self.entry(message))?;
            }
        }
        Ok(())
    }
}

// === impl Entry ===

impl Entry {
    /// What a person reads: the texts of the blocks, line by line, or the text if there are none.
    #[must_use]
    pub fn visible_text(&self) -> String {
        fn collect(value: &Value, lines: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
                    if RICH_LINES.contains(&kind) {
                        return lines.push(rich_line(value));
                    }
                    if kind == "rich_text_list" {
                        let items = fields.get("elements").and_then(Value::as_array).into_iter().flatten();
                        return lines.extend(items.map(|item| format!("• {}", rich_line(item))));
                    }
                    if let Some(text) = fields.get("text").and_then(Value::as_str) {
                        lines.push(text.to_owned());
                    }
                    let order = ["text", "fields", "accessory", "elements", "title", "label"];
                    for inner in order.into_iter().filter_map(|name| fields.get(name)) {
                        collect(inner, lines);
                    }
                }
                Value::Array(values) => values.iter().for_each(|value| collect(value, lines)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let mut lines = Vec::new();
        self.blocks.iter().for_each(|block| collect(block, &mut lines));
        if lines.is_empty() { self.text.clone() } else { lines.join("\n") }
    }

    /// The buttons of the message, in order.
    #[must_use]
    pub fn buttons(&self) -> Vec<Button> {
        let word = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let buttons = blocks::buttons(&self.blocks).into_iter();
        let button = |(_, fields): (&str, &serde_json::Map<String, Value>)| Button {
            action_id: word(fields.get("action_id")),
            text: word(fields.get("text").and_then(|text| text.get("text"))),
            value: word(fields.get("value")),
        };
        buttons.map(button).collect()
    }
}

/// Parts of rich text whose elements stand in one line.
const RICH_LINES: [&str; 3] = ["rich_text_section", "rich_text_quote", "rich_text_preformatted"];

/// The elements of a part of rich text, one behind the other; emoji and mentions as people type them.
fn rich_line(part: &Value) -> String {
    let word = |element: &Value, name: &str| element.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let show = |element: &Value| match word(element, "type").as_str() {
        "emoji" => format!(":{}:", word(element, "name")),
        "user" => format!("<@{}>", word(element, "user_id")),
        "usergroup" => format!("<!subteam^{}>", word(element, "usergroup_id")),
        _ => word(element, "text"),
    };
    part.get("elements").and_then(Value::as_array).into_iter().flatten().map(show).collect()
}

impl fmt::Display for Entry {
    /// `name: text`, indented in a thread, with what hangs on the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = if self.thread_ts.is_some() { "    " } else { "  " };
        let mut line = format!("{}: {}", self.name, self.visible_text());
        if let Some(user) = &self.only_for {
            line = format!("(only {user} sees this) {line}");
        }
        if self.deleted {
            line.push_str(" (deleted)");
        }
        if self.edits > 0 {
            write!(line, " (edited {}x)", self.edits)?;
        }
        for (name, users) in &self.reactions {
            write!(line, " :{name}:{}", users.join(","))?;
        }
        for file in &self.files {
            write!(line, " [{}]", file.name)?;
        }
        write!(f, "{indent}{}", line.replace('\n', &format!("\n{indent}  ")))
    }
}
