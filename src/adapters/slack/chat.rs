//! The port [`Chat`], on the Web API.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::Failure;
use super::{Slack, render};
use crate::core::identity::{Account, ChannelRef, MessageRef, Platform};
use crate::core::policy::Subject;
use crate::core::say::Message;
use crate::ports::{Attachment, Chat, ChatError, Votes};

/// A message was posted.
#[derive(Deserialize)]
struct Posted {
    channel: String,
    ts: String,
}

/// A call was carried out. Slack always says so; an answer that does not is none.
#[derive(Deserialize)]
struct Done {
    #[serde(rename = "ok")]
    _ok: bool,
}

#[derive(Deserialize)]
struct Reacted {
    message: ReactedMessage,
}

#[derive(Deserialize)]
struct ReactedMessage {
    #[serde(default)]
    reactions: Vec<Reaction>,
}

#[derive(Deserialize)]
struct Reaction {
    name: String,
    count: usize,
    users: BTreeSet<String>,
}

/// Codes by which Slack says that a person cannot be shown something in a channel: the bot or the person is not in it.
const OUT_OF_SIGHT: &[&str] = &["not_in_channel", "channel_not_found", "user_not_in_channel", "is_archived"];

#[async_trait]
impl Chat for Slack {
    async fn post(&self, channel: &ChannelRef, root: Option<&MessageRef>, message: &Message) -> Result<MessageRef, ChatError> {
        let posted = self.post_to(&channel.id, root, message).await?;
        Ok(MessageRef { channel: ChannelRef { platform: Platform::Slack, id: posted.channel }, id: posted.ts })
    }

    async fn edit(&self, posted: &MessageRef, message: &Message) -> Result<(), ChatError> {
        let rendered = render::rendered(message, &self.emoji);
        // Without blocks in the call Slack would keep the old ones.
        let body = json!({ "channel": posted.channel.id, "ts": posted.id, "text": rendered.text, "blocks": rendered.blocks });
        let Done { .. } = self.api.post("chat.update", &body).await?;
        Ok(())
    }

    /// Where the person cannot be shown it in the channel, it goes to the direct message with the bot: an answer that nobody gets is
    /// worse than one in another place, and both are private.
    async fn whisper(&self, channel: &ChannelRef, to: &Account, message: &Message) -> Result<(), ChatError> {
        // In a direct message an ordinary post is as private, and is still there tomorrow.
        if channel.id.starts_with('D') {
            return match self.post_to(&channel.id, None, message).await {
                // A direct message of two other people.
                Err(failure) if out_of_sight(&failure) => Ok(self.post_to(&to.id, None, message).await.map(drop)?),
                outcome => Ok(outcome.map(drop)?),
            };
        }
        let rendered = render::rendered(message, &self.emoji);
        let body = json!({ "channel": channel.id, "user": to.id, "text": rendered.text, "blocks": rendered.blocks });
        match self.api.post("chat.postEphemeral", &body).await {
            Ok(Done { .. }) => Ok(()),
            Err(failure) if out_of_sight(&failure) => Ok(self.post_to(&to.id, None, message).await.map(drop)?),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn attach(&self, root: &MessageRef, message: &Message, files: &[Attachment]) -> Result<(), ChatError> {
        self.share(root, message, files).await
    }

    async fn votes(&self, posted: &MessageRef) -> Result<Votes, ChatError> {
        let parameters = [("channel", posted.channel.id.as_str()), ("timestamp", &posted.id), ("full", "true")];
        let Reacted { message } = self.api.get("reactions.get", &parameters).await?;
        let mut votes = Votes::default();
        for reaction in message.reactions {
            let side = match reaction.name {
                name if name == self.emoji.yes => &mut votes.yes,
                name if name == self.emoji.no => &mut votes.no,
                name if name == self.emoji.halt => &mut votes.halt,
                _ => continue,
            };
            // A voter that Slack leaves out would look like one who has withdrawn.
            if reaction.users.len() != reaction.count {
                return Err(ChatError::Unavailable("Slack did not name everybody who reacted".into()));
            }
            let people = reaction.users.into_iter().filter(|user| *user != self.bot_user);
            side.extend(people.map(|id| Account { platform: Platform::Slack, id }));
        }
        Ok(votes)
    }

    async fn subject(&self, account: &Account) -> Result<Option<Subject>, ChatError> {
        self.look_up(account).await
    }
}

impl Slack {
    async fn post_to(&self, channel: &str, root: Option<&MessageRef>, message: &Message) -> Result<Posted, Failure> {
        let rendered = render::rendered(message, &self.emoji);
        let mut body = json!({
            "channel": channel,
            "text": rendered.text,
            "blocks": rendered.blocks,
            "unfurl_links": false,
            "unfurl_media": false,
        });
        if let (Some(root), Value::Object(fields)) = (root, &mut body) {
            fields.insert("thread_ts".into(), json!(root.id));
        }
        self.api.post("chat.postMessage", &body).await
    }
}

fn out_of_sight(failure: &Failure) -> bool {
    failure.code().is_some_and(|code| OUT_OF_SIGHT.contains(&code))
}
