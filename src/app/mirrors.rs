//! Requests that are shown in two channels, one of each platform: votes of both plan messages are read back as one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use stanch_commands::target::RequestId;

use super::entry::{Landmark, Memory};
use crate::core::identity::{Account, ChannelRef, MessageRef};
use crate::core::policy::Subject;
use crate::core::say::Message;
use crate::ports::{Attachment, Chat, ChatError, Votes};

/// A chat whose votes on a plan are those on each of its messages. Everything else is the chat's.
pub(super) struct Mirrors {
    chat: Arc<dyn Chat>,
    /// Plan messages that are one, both ways.
    other: Mutex<BTreeMap<MessageRef, MessageRef>>,
}

impl Mirrors {
    pub(super) fn new(chat: Arc<dyn Chat>, memory: &Memory) -> Self {
        let mirrors = Self { chat, other: Mutex::default() };
        memory.open().for_each(|(id, _)| mirrors.learn(memory, id));
        mirrors
    }

    /// Takes in where the plan of a request stands.
    pub(super) fn learn(&self, memory: &Memory, id: &RequestId) {
        let plan = (id.clone(), Landmark::Plan);
        if let (Some(home), Some(mirror)) = (memory.landmarks.get(&plan), memory.mirrors.get(&plan)) {
            let mut other = self.lock();
            other.insert(home.clone(), mirror.clone());
            other.insert(mirror.clone(), home.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<MessageRef, MessageRef>> {
        self.other.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Chat for Mirrors {
    async fn post(&self, channel: &ChannelRef, root: Option<&MessageRef>, message: &Message) -> Result<MessageRef, ChatError> {
        self.chat.post(channel, root, message).await
    }

    async fn edit(&self, posted: &MessageRef, message: &Message) -> Result<(), ChatError> {
        self.chat.edit(posted, message).await
    }

    async fn whisper(&self, channel: &ChannelRef, to: &Account, message: &Message) -> Result<(), ChatError> {
        self.chat.whisper(channel, to, message).await
    }

    /// All of them or none: a platform that does not answer may hold a halt, and a yes of its own that is not there would look taken back.
    async fn votes(&self, posted: &MessageRef) -> Result<Votes, ChatError> {
        let other = self.lock().get(posted).cloned();
        let Some(other) = other else { return self.chat.votes(posted).await };
        let (mut votes, more) = tokio::try_join!(self.chat.votes(posted), self.chat.votes(&other))?;
        votes.yes.extend(more.yes);
        votes.no.extend(more.no);
        votes.halt.extend(more.halt);
        Ok(votes)
    }

    async fn attach(&self, root: &MessageRef, message: &Message, files: &[Attachment]) -> Result<(), ChatError> {
        self.chat.attach(root, message, files).await
    }

    async fn subject(&self, account: &Account) -> Result<Option<Subject>, ChatError> {
        self.chat.subject(account).await
    }
}
