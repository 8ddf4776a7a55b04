//! What stands in the audit log: one JSON object an entry, and the memory that replaying them gives.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stanch_commands::plan::StepId;
use stanch_commands::target::RequestId;

use crate::core::engine::{IllegalRecord, State, apply};
use crate::core::identity::{Account, ChannelRef, MessageRef, PersonId};
use crate::core::record::Record;
use crate::core::request::{Request, Stage};
use crate::ports::Exhibit;

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// Stanch started.
    Started {
        /// When.
        at: Timestamp,
        /// Version of the program.
        version: String,
        /// SHA-256 of the policy file, so that every decision can be judged by the policy that it was made under.
        policy_sha256: String,
    },
    /// The log was handed over to another signing key: what comes from here on is signed by that.
    KeyRotated {
        /// When.
        at: Timestamp,
        /// The verifier key before.
        from: String,
        /// The verifier key after.
        to: String,
    },
    /// Something happened to a request.
    Fact(Record),
    /// Somebody typed a command.
    Heard {
        /// When.
        at: Timestamp,
        /// The platform's id of the delivery.
        delivery: String,
        /// From which account.
        account: Account,
        /// Whose account that is, if anybody's.
        person: Option<PersonId>,
        /// Where.
        channel: ChannelRef,
        /// What, as it was typed, cut to 2,000 characters.
        text: String,
    },
    /// A command, a vote or a click was not followed.
    Turned {
        /// When.
        at: Timestamp,
        /// The platform's id of the delivery.
        delivery: String,
        /// From which account.
        account: Account,
        /// Why, in the words that they were told.
        why: String,
    },
    /// A message that matters for later stands in a channel.
    Posted {
        /// When.
        at: Timestamp,
        /// Of which request.
        request: RequestId,
        /// Which one.
        what: Landmark,
        /// Where.
        message: MessageRef,
    },
    /// Evidence of a step was kept.
    Kept {
        /// When.
        at: Timestamp,
        /// Of which request.
        request: RequestId,
        /// Of which step.
        step: StepId,
        /// The files.
        exhibits: Vec<Exhibit>,
        /// SHA-256 of the manifest that lists them.
        #[serde(default)]
        manifest_sha256: String,
    },
    /// Everything that is kept of a request was read back in the second place.
    Copied {
        /// When.
        at: Timestamp,
        /// Of which request.
        request: RequestId,
        /// Which place.
        place: String,
        /// SHA-256 of the manifest that lists what is there.
        manifest_sha256: String,
    },
}

/// The messages that a request has once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Landmark {
    /// The plan, root of the thread.
    Plan,
    /// The message that is edited.
    Progress,
    /// The end.
    End,
}

/// Why an entry cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no entry.
    #[error("entry {index} is not understood: {why}; was the log written by a newer version?")]
    Form {
        /// Which.
        index: u64,
        /// Why.
        why: String,
    },
    /// It breaks the rules.
    #[error("entry {index} is not lawful: {why}")]
    Law {
        /// Which.
        index: u64,
        /// Why.
        why: IllegalRecord,
    },
}

impl Entry {
    /// As it is stored.
    #[expect(clippy::expect_used, reason = "an entry holds only strings, numbers and string-keyed maps, which JSON can always express")]
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry is always expressible as JSON")
    }
}

/// Everything that the log tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Requests.
    pub state: State,
    /// Where their messages stand.
    pub landmarks: BTreeMap<(RequestId, Landmark), MessageRef>,
    /// Where those of shared channels stand a second time, on the other platform.
    pub mirrors: BTreeMap<(RequestId, Landmark), MessageRef>,
}

impl Memory {
    /// Replays a log from its beginning.
    ///
    /// # Errors
    /// [`Unreadable`] at the first entry that cannot be followed.
    pub fn replay(entries: &[Vec<u8>]) -> Result<Self, Unreadable> {
        let mut memory = Self::default();
        for (index, bytes) in (0_u64..).zip(entries) {
            let entry: Entry = serde_json::from_slice(bytes).map_err(|why| Unreadable::Form { index, why: why.to_string() })?;
            memory.follow(&entry).map_err(|why| Unreadable::Law { index, why })?;
        }
        Ok(memory)
    }

    /// Takes one entry in.
    ///
    /// # Errors
    /// [`IllegalRecord`]; the requests are forgotten then, so nothing may be done any more.
    pub fn follow(&mut self, entry: &Entry) -> Result<(), IllegalRecord> {
        match entry {
            Entry::Fact(record) => self.state = apply(std::mem::take(&mut self.state), record)?,
            Entry::Posted { request, what, message, .. } => {
                let home = self.state.requests.get(request).map(|request| request.made.channel.platform);
                let is_mirror = home.is_some_and(|home| home != message.channel.platform);
                let landmarks = if is_mirror { &mut self.mirrors } else { &mut self.landmarks };
                landmarks.insert((request.clone(), *what), message.clone());
            }
            Entry::Started { .. }
            | Entry::KeyRotated { .. }
            | Entry::Heard { .. }
            | Entry::Turned { .. }
            | Entry::Kept { .. }
            | Entry::Copied { .. } => {}
        }
        Ok(())
    }

    /// The request whose plan message this is.
    #[must_use]
    pub fn voted_on(&self, message: &MessageRef) -> Option<&RequestId> {
        self.landmarks.iter().chain(&self.mirrors).find(|((_, what), at)| *what == Landmark::Plan && *at == message).map(|((id, _), _)| id)
    }

    /// The requests that are not over.
    pub fn open(&self) -> impl Iterator<Item = (&RequestId, &Request)> {
        self.state.requests.iter().filter(|(_, request)| !matches!(request.stage, Stage::Ended(_)))
    }

    /// The newest request of some channels.
    #[must_use]
    pub fn newest_in(&self, channels: &[ChannelRef]) -> Option<&RequestId> {
        let in_channel = self.state.requests.iter().filter(|(_, request)| channels.contains(&request.made.channel));
        in_channel.max_by_key(|(_, request)| request.requested_at).map(|(id, _)| id)
    }
}
