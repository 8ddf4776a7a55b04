//! The port [`Chat`], on the REST API.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::{Value, json};
use serenity::all::{ButtonStyle, CreateActionRow, CreateAllowedMentions, CreateButton};
use tokio::time::Instant;

use super::answers::Place;
use super::api::{Failure, code, id};
use super::inbound::{SHOW, ephemeral};
use super::{Discord, render};
use crate::core::identity::{Account, ChannelRef, MessageRef, Platform};
use crate::core::policy::Subject;
use crate::core::say::Message;
use crate::ports::{Attachment, Chat, ChatError, Votes};

/// People that one call lists, as Discord limits them.
const PAGE: usize = 100;

/// Pages that are read. More than a thousand people do not approve; whoever floods a message with reactions leaves its buttons.
const PAGES: usize = 10;

/// Characters of a thread's name, as Discord limits them.
const THREAD_NAME: usize = 100;

/// Minutes without a word after which a thread is put away: a week, the longest there is. Whoever speaks in it brings it back.
const PUT_AWAY_MINUTES: u32 = 10_080;

/// Codes by which Discord says that an interaction's window is closed.
const CLOSED: &[i64] = &[code::UNKNOWN_WEBHOOK, code::UNKNOWN_INTERACTION, code::INVALID_WEBHOOK_TOKEN, code::UNKNOWN_MESSAGE];

/// Kinds of reactions: ordinary ones, and those that somebody paid for.
const KINDS: &[(u8, &str)] = &[(0, "normal"), (1, "burst")];

#[async_trait]
impl Chat for Discord {
    async fn post(&self, channel: &ChannelRef, root: Option<&MessageRef>, message: &Message) -> Result<MessageRef, ChatError> {
        let body = render::rendered(message, &self.emoji).body();
        match root {
            None => Ok(self.post_to(&channel.id, &body).await?),
            Some(root) => self.post_under(&root.channel.id, &root.id, &body).await,
        }
    }

    async fn edit(&self, posted: &MessageRef, message: &Message) -> Result<(), ChatError> {
        let body = render::rendered(message, &self.emoji).body();
        let path = format!("/channels/{}/messages/{}", posted.channel.id, posted.id);
        match self.api.patch(&path, &body).await {
            // Somebody put the thread away. Unlike a post, an edit does not bring it back.
            Err(failure) if failure.code() == Some(code::THREAD_ARCHIVED) => {
                self.api.patch(&format!("/channels/{}", posted.channel.id), &json!({ "archived": false })).await?;
                Ok(self.api.patch(&path, &body).await.map(drop)?)
            }
            outcome => Ok(outcome.map(drop)?),
        }
    }

    /// Discord shows something to one person alone only within 15 minutes of a command or a button of theirs. Where there was none (a
    /// reaction), the answer is held, and a line that says nothing of it offers its reader a button to see it.
    async fn whisper(&self, channel: &ChannelRef, to: &Account, message: &Message) -> Result<(), ChatError> {
        let body = ephemeral(render::rendered(message, &self.emoji).body());
        let place = Place { user: to.id.clone(), channel: channel.id.clone() };
        while let Some(window) = self.answers.window(&place, Instant::now()) {
            let path = format!("/webhooks/{}/{}", self.application, window.token);
            let told = match window.is_waiting {
                true => self.api.patch(&format!("{path}/messages/@original"), &without_flags(&body)).await,
                false => self.api.post(&path, &body).await,
            };
            match told {
                Ok(_) => {
                    self.answers.answered(&place, &window.token, Instant::now());
                    return Ok(());
                }
                Err(failure) if failure.code().is_some_and(|code| CLOSED.contains(&code)) => {
                    self.answers.closed(&place, &window.token, Instant::now())
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        self.hold(place, without_flags(&body)).await
    }

    async fn votes(&self, posted: &MessageRef) -> Result<Votes, ChatError> {
        let message = format!("/channels/{}/messages/{}", posted.channel.id, posted.id);
        let found = self.api.get(&message).await?;
        let reactions = found.get("reactions").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut votes = Votes::default();
        for (emoji, side) in [(&self.emoji.yes, &mut votes.yes), (&self.emoji.no, &mut votes.no), (&self.emoji.halt, &mut votes.halt)] {
            let Some(reaction) = reactions.iter().find(|reaction| is_of(reaction, emoji)) else { continue };
            for (kind, name) in KINDS {
                let count = reaction.get("count_details").and_then(|details| details.get(name)).and_then(Value::as_u64);
                // Without details every reaction is an ordinary one.
                if count.unwrap_or(u64::from(*kind == 0)) > 0 {
                    self.voters(&message, emoji, *kind, side).await?;
                }
            }
        }
        Ok(votes)
    }

    async fn attach(&self, root: &MessageRef, message: &Message, files: &[Attachment]) -> Result<(), ChatError> {
        self.share(root, message, files).await
    }

    async fn subject(&self, account: &Account) -> Result<Option<Subject>, ChatError> {
        self.look_up(account).await
    }
}

impl Discord {
    async fn post_to(&self, channel: &str, body: &Value) -> Result<MessageRef, Failure> {
        let posted = self.api.post(&format!("/channels/{channel}/messages"), body).await?;
        let id = id(&posted).map_err(Failure::Other)?;
        Ok(MessageRef { channel: ChannelRef { platform: Platform::Discord, id: channel.to_owned() }, id })
    }

    /// Posts into the thread of a message, which bears the message's own id. The first one makes the thread.
    async fn post_under(&self, channel: &str, message: &str, body: &Value) -> Result<MessageRef, ChatError> {
        match self.post_to(message, body).await {
            Err(failure) if failure.code() == Some(code::UNKNOWN_CHANNEL) => {
                self.make_thread(channel, message).await?;
                Ok(self.post_to(message, body).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    pub(super) async fn make_thread(&self, channel: &str, message: &str) -> Result<(), ChatError> {
        let path = format!("/channels/{channel}/messages/{message}");
        let root = self.api.get(&path).await?;
        let title = root.pointer("/embeds/0/title").and_then(Value::as_str).unwrap_or("Stanch");
        let body = json!({ "name": thread_name(title), "auto_archive_duration": PUT_AWAY_MINUTES });
        match self.api.post(&format!("{path}/threads"), &body).await {
            // An earlier answer was lost.
            Err(failure) if failure.code() == Some(code::THREAD_EXISTS) => Ok(()),
            outcome => Ok(outcome.map(drop)?),
        }
    }

    /// Holds an answer, and says so where its reader will see it: in the thread of what they reacted to, or in the channel.
    async fn hold(&self, place: Place, answer: Value) -> Result<(), ChatError> {
        if self.answers.hold(&place, answer, Instant::now()) {
            return Ok(());
        }
        let show = CreateButton::new(format!("{SHOW}{}", place.user)).label("Show it").style(ButtonStyle::Secondary);
        let body = json!({
            "content": format!("<@{}>, Stanch has an answer that only you can read.", place.user),
            "components": [CreateActionRow::Buttons(vec![show])],
            "allowed_mentions": CreateAllowedMentions::new(),
        });
        let posted = match self.answers.last_reacted(&place, Instant::now()) {
            Some(message) => self.post_under(&place.channel, &message, &body).await,
            None => self.post_to(&place.channel, &body).await.map_err(Into::into),
        };
        match posted {
            Ok(_) => {
                self.answers.noticed(&place, Instant::now());
                Ok(())
            }
            // It is said again with the next try, and held once.
            Err(error) => {
                self.answers.unhold(&place, Instant::now());
                Err(error)
            }
        }
    }

    /// Everybody who reacted so, page by page.
    async fn voters(&self, message: &str, emoji: &str, kind: u8, side: &mut BTreeSet<Account>) -> Result<(), ChatError> {
        let path = format!("{message}/reactions/{}?type={kind}&limit={PAGE}", encoded(emoji));
        let mut after = String::new();
        for _ in 0..PAGES {
            let page = self.api.get(&format!("{path}{after}")).await?;
            let users = page.as_array().ok_or_else(|| ChatError::Unavailable("a list of reactions that is none".into()))?;
            for user in users {
                let id = id(user)?;
                after = format!("&after={id}");
                if id != self.bot_user {
                    side.insert(Account { platform: Platform::Discord, id });
                }
            }
            if users.len() < PAGE {
                return Ok(());
            }
        }
        // A voter who is left out would look like one who has withdrawn.
        Err(ChatError::Refused(format!("more than {} people reacted alike, so that the reactions cannot be counted", PAGE * PAGES)))
    }
}

fn is_of(reaction: &Value, emoji: &str) -> bool {
    let field = |name: &str| reaction.pointer(&format!("/emoji/{name}")).and_then(Value::as_str);
    match field("id") {
        Some(id) => field("name").is_some_and(|name| emoji == format!("{name}:{id}")),
        None => field("name") == Some(emoji),
    }
}

/// Whether an edited answer is private was decided when it was deferred.
fn without_flags(body: &Value) -> Value {
    let mut body = body.clone();
    if let Value::Object(fields) = &mut body {
        fields.remove("flags");
    }
    body
}

/// The title without its escapes: names of threads have no markup.
fn thread_name(title: &str) -> String {
    let mut characters = title.chars();
    let mut name = String::new();
    while let Some(character) = characters.next() {
        name.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    let name: String = name.chars().take(THREAD_NAME).collect();
    if name.trim().is_empty() { "Stanch".into() } else { name }
}

/// Percent encoding of everything but letters and digits.
fn encoded(emoji: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    emoji.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        assert_eq!((encoded("✅"), encoded("yes_1:12")), ("%E2%9C%85".into(), "yes_1%3A12".into()));
        assert_eq!((thread_name(r"a\_b \\ c"), thread_name(" ")), (r"a_b \ c".into(), "Stanch".into()));
        assert_eq!(thread_name(&"x".repeat(200)).len(), 100);
    }
}
