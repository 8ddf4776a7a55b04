//! The chat platforms that Stanch is connected to, as one chat.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::core::identity::{Account, ChannelRef, MessageRef, Platform};
use crate::core::policy::Subject;
use crate::core::say::Message;
use crate::ports::{Attachment, Chat, ChatError, Votes};

/// Platforms. Every call goes to the one that its channel, message or account is of.
#[derive(Clone, Default)]
pub struct Chats(BTreeMap<Platform, Arc<dyn Chat>>);

impl Chats {
    /// Adds a platform.
    #[must_use]
    pub fn with(mut self, platform: Platform, chat: Arc<dyn Chat>) -> Self {
        self.0.insert(platform, chat);
        self
    }

    fn of(&self, platform: Platform) -> Result<&dyn Chat, ChatError> {
        let name = match platform {
            Platform::Slack => "Slack",
            Platform::Discord => "Discord",
        };
        let found = self.0.get(&platform).map(AsRef::as_ref);
        found.ok_or_else(|| ChatError::Refused(format!("Stanch is not connected to {name}")))
    }
}

#[async_trait]
impl Chat for Chats {
    async fn post(&self, channel: &ChannelRef, root: Option<&MessageRef>, message: &Message) -> Result<MessageRef, ChatError> {
        self.of(channel.platform)?.post(channel, root, message).await
    }

    async fn edit(&self, posted: &MessageRef, message: &Message) -> Result<(), ChatError> {
        self.of(posted.channel.platform)?.edit(posted, message).await
    }

    async fn whisper(&self, channel: &ChannelRef, to: &Account, message: &Message) -> Result<(), ChatError> {
        self.of(channel.platform)?.whisper(channel, to, message).await
    }

    async fn votes(&self, posted: &MessageRef) -> Result<Votes, ChatError> {
        self.of(posted.channel.platform)?.votes(posted).await
    }

    async fn attach(&self, root: &MessageRef, message: &Message, files: &[Attachment]) -> Result<(), ChatError> {
        self.of(root.channel.platform)?.attach(root, message, files).await
    }

    async fn subject(&self, account: &Account) -> Result<Option<Subject>, ChatError> {
        self.of(account.platform)?.subject(account).await
    }
}
