//! The doors to the world, as the app uses them. Adapters implement them against real services, fakes in memory.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stanch_commands::plan::PlanDigest;
use stanch_commands::target::{IncidentRef, Namespace, NodeName, PodName, RequestId};

use crate::core::diagnosis::Check;
use crate::core::engine::DurableIndex;
use crate::core::identity::{Account, ChannelRef, MessageRef, PersonId};
use crate::core::policy::Subject;
use crate::core::say::{Control, Message};
use crate::core::step::{Artefact, Licence, Observation, Performed, StepKey};

/// Reads the world. Changes nothing.
#[async_trait]
pub trait Surveyor<Query: Sync, Found>: Send + Sync {
    /// Answers a query.
    ///
    /// # Errors
    /// [`SurveyError`]; a survey is all or nothing, since a plan on half of the facts would be a guess.
    async fn survey(&self, query: &Query) -> Result<Found, SurveyError>;
}

/// Which Compute instance a node claims to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceQuery {
    /// The node's `spec.providerID`, empty if absent.
    pub provider_id: String,
    /// The node's annotation `container.googleapis.com/instance_id`.
    pub expected_id: Option<String>,
}

/// Why a survey failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SurveyError {
    /// No such pod or node.
    #[error("{0}")]
    NotFound(String),
    /// Several pods bear the name.
    #[error("several pods are called `{name}`: {}", choices.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// `NAMESPACE/NAME` of each.
        choices: Vec<String>,
    },
    /// The API refused the read.
    #[error("{0}")]
    Refused(String),
    /// The API did not answer, or not with sense.
    #[error("{0}")]
    Unavailable(String),
}

/// Changes the world, one licensed step at a time.
#[async_trait]
pub trait Actuator<Action: Sync>: Send + Sync {
    /// Carries out one step: precondition, write, read back.
    ///
    /// # Guarantees
    /// A bound object that is gone or is another one gets no write. `Succeeded` is said only of what was read back. A lost answer is
    /// `Unknown`, never a guess. A conflict (412, 409) is read again and, if the bound facts still hold, retried a limited number of times.
    async fn perform(&self, action: &Action, licence: &Licence) -> Performed;

    /// Reads whether the step's effect is there. Writes nothing.
    async fn observe(&self, action: &Action, licence: &Licence) -> Observation;
}

/// What comes in from a chat. The adapter has verified that the platform sent it; everything in it is still hostile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The platform's own id of this delivery, the same when it delivers again.
    pub delivery: String,
    /// Who.
    pub from: Account,
    /// Where; a direct message has a channel too.
    pub channel: ChannelRef,
    /// What.
    pub input: Input,
}

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Typed this behind the slash command.
    Typed(String),
    /// Pressed a button.
    Pressed(Control),
    /// Added or removed a reaction that votes, on a message of ours. A hint: the message's reactions are read back before anything counts.
    Reacted(MessageRef),
}

/// What an adapter tells the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChatEvent {
    /// Somebody did something.
    Inbound(Inbound),
    /// The connection is new: deliveries may have been lost, so reactions are to be read back.
    Connected,
}

/// The votes that stand on a message, by reaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Votes {
    /// Yes.
    pub yes: BTreeSet<Account>,
    /// No.
    pub no: BTreeSet<Account>,
    /// Halt.
    pub halt: BTreeSet<Account>,
}

/// A chat platform. Messages arrive in words; the adapter renders, escapes and cuts them to the platform's limits.
///
/// # Guarantees
/// Calls are made once: retrying, pacing and coalescing are the caller's.
#[async_trait]
pub trait Chat: Send + Sync {
    /// Posts to a channel, or into the thread under `root`.
    ///
    /// # Errors
    /// [`ChatError`].
    async fn post(&self, channel: &ChannelRef, root: Option<&MessageRef>, message: &Message) -> Result<MessageRef, ChatError>;

    /// Replaces the content of a message of ours.
    ///
    /// # Errors
    /// [`ChatError`].
    async fn edit(&self, posted: &MessageRef, message: &Message) -> Result<(), ChatError>;

    /// Shows a message to one person alone.
    ///
    /// # Errors
    /// [`ChatError`].
    async fn whisper(&self, channel: &ChannelRef, to: &Account, message: &Message) -> Result<(), ChatError>;

    /// Reads the reactions of a message back.
    ///
    /// # Errors
    /// [`ChatError`].
    async fn votes(&self, posted: &MessageRef) -> Result<Votes, ChatError>;

    /// Puts files of evidence into the thread under `root`, with a message.
    ///
    /// # Guarantees
    /// All of them, or none: in one message, or in as few as the platform takes them in. Every byte arrives as it is, so that the hashes in
    /// the message hold.
    ///
    /// # Caveats
    /// Whoever reads the channel can read and keep the files, and the platform keeps them by its own rules: the caller decides what may be
    /// shown. If the answer was lost, the files may be there, and a repetition shows them twice.
    ///
    /// # Errors
    /// [`ChatError`]; `Refused` on a platform that takes no files from Stanch.
    async fn attach(&self, _root: &MessageRef, _message: &Message, _files: &[Attachment]) -> Result<(), ChatError> {
        Err(ChatError::Refused("this platform takes no files from Stanch".into()))
    }

    /// Looks an account up: `None` if the platform says that it is no full, present human member of the workspace (a bot, a guest, a stranger,
    /// deactivated). Groups that cannot be told are `Groups::Unknown`.
    ///
    /// # Errors
    /// [`ChatError`] if who that is cannot be told. Nobody has a role then, and nobody has lost one either.
    async fn subject(&self, account: &Account) -> Result<Option<Subject>, ChatError>;
}

/// Why a chat call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// Too fast: again after this many milliseconds.
    #[error("the platform asks to wait {retry_after_ms} ms")]
    RateLimited {
        /// Milliseconds.
        retry_after_ms: u64,
    },
    /// The platform refuses this call for good, such as an unknown channel. Trying again does not help.
    #[error("the platform refuses: {0}")]
    Refused(String),
    /// No answer, or not with sense. It may have been carried out.
    #[error("the platform does not answer: {0}")]
    Unavailable(String),
}

/// Longest entry of the log, in bytes: `tlog-tiles` bundles store lengths in 16 bits.
pub const ENTRY_LIMIT_BYTES: usize = 65_535;

/// The append-only log.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Appends entries in order; returns when all of them are durable.
    ///
    /// # Errors
    /// [`LogFailed`]: nothing may be done that these entries were to record.
    async fn append(&self, entries: Vec<Vec<u8>>) -> Result<DurableIndex, LogFailed>;

    /// Signs the present head.
    ///
    /// # Errors
    /// [`LogFailed`].
    async fn checkpoint(&self) -> Result<String, LogFailed>;

    /// Whether there is room for the records of another run: if not, nothing new is begun, so that what was authorised can still be recorded.
    fn has_room(&self) -> bool;
}

/// The log cannot take records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LogFailed(pub String);

/// Keeps evidence.
#[async_trait]
pub trait EvidenceStore: Send + Sync {
    /// Keeps files of a request; returns when they are durable, and so is the record of who had them kept. The same content under the same
    /// path is kept once.
    ///
    /// # Errors
    /// [`EvidenceLost`].
    async fn keep(&self, custody: &Custody, artefacts: Vec<Artefact>) -> Result<Kept, EvidenceLost>;
}

/// For whom evidence is kept, and why: what stands beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custody {
    /// When the collection ended.
    pub at: Timestamp,
    /// The request.
    pub request: RequestId,
    /// Its incident.
    pub incident: IncidentRef,
    /// Who asked for it.
    pub requester: PersonId,
    /// The step that collected it.
    pub step: String,
    /// The digest of the plan that the step belongs to.
    pub digest: PlanDigest,
}

/// What was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The files.
    pub exhibits: Vec<Exhibit>,
    /// SHA-256 of the manifest that now lists every file of the request, in lower-case hex.
    pub manifest_sha256: String,
}

/// A kept file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exhibit {
    /// Path in the evidence folder of the request.
    pub path: String,
    /// SHA-256 of the content, in lower-case hex.
    pub sha256: String,
    /// Length.
    pub bytes: u64,
}

/// A kept file for the chat.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Which file.
    pub exhibit: Exhibit,
    /// Its content.
    pub text: String,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment").field("exhibit", &self.exhibit).finish_non_exhaustive()
    }
}

/// Evidence could not be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvidenceLost(pub String);

/// A second place for evidence, beside the store that keeps it first.
#[async_trait]
pub trait EvidenceCopies: Send + Sync {
    /// The place, for people, such as `gs://BUCKET/PREFIX`.
    fn place(&self) -> &str;

    /// Copies what is kept of a request and is not there yet.
    ///
    /// # Guarantees
    /// Nothing there is overwritten. `Ok` is said after every file was read back there and has the hash that it was kept with; the manifest
    /// and the chain of custody come last.
    ///
    /// # Errors
    /// [`CopyFailed`]. What was copied so far stays; copying again goes on from there.
    async fn copy(&self, request: &RequestId) -> Result<Copied, CopyFailed>;

    /// Requests that are not completely there, as names and lengths tell.
    ///
    /// # Errors
    /// [`CopyFailed`].
    async fn pending(&self) -> Result<BTreeSet<RequestId>, CopyFailed>;
}

/// Everything that is kept of a request is in the second place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How many files, the lists aside.
    pub files: usize,
    /// SHA-256 of the manifest that lists them.
    pub manifest_sha256: String,
}

/// Evidence is not in the second place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyFailed {
    /// Something else is there, or here: trying again does not help, somebody has to look.
    #[error("{0}")]
    Conflict(String),
    /// Trying again may help.
    #[error("{0}")]
    Unavailable(String),
}

/// Every name that a cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EveryName;

/// The names of a cluster, as they were a moment ago. Whoever shows them asks the policy first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveNames {
    /// Pods with their namespaces, sorted.
    pub pods: Vec<(Namespace, PodName)>,
    /// Nodes, sorted.
    pub nodes: Vec<NodeName>,
}

/// What a field of a command takes that lives: it can be offered while somebody types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LiveField {
    /// A cluster of the configuration.
    Cluster,
    /// `NAMESPACE/NAME`.
    Pod,
    /// A node.
    Node,
}

/// Somebody is typing a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typing {
    /// Who.
    pub account: Account,
    /// Where.
    pub channel: ChannelRef,
    /// The command that it is for.
    pub command: String,
    /// What is being filled in.
    pub field: LiveField,
    /// The cluster, if that is filled in already.
    pub cluster: Option<String>,
    /// What is typed so far.
    pub prefix: String,
    /// Most names that the platform shows.
    pub most: usize,
    /// How long the answer may take.
    pub patience: Duration,
}

/// Offers live names while somebody types.
#[async_trait]
pub trait Suggest: Send + Sync {
    /// Names that fit, the nearest first.
    ///
    /// # Guarantees
    /// Nothing is offered in a scope where the person behind the account may not request the command, and nothing to an account that is
    /// nobody's. The answer comes within the given patience; what is not known by then is left out. Nothing here is a permission: what is
    /// chosen is judged as if it had been typed.
    async fn suggest(&self, typing: &Typing) -> Vec<String>;
}

/// Remembers what was delivered, over restarts.
pub trait Deliveries: Send + Sync {
    /// Whether this delivery is new; it is remembered from now on. Deliveries older than a day may be forgotten.
    fn is_new(&self, delivery: &str, now: Timestamp) -> bool;
}

/// A part of Stanch that can be looked at before it is needed.
#[async_trait]
pub trait Examined: Send + Sync {
    /// Looks at everything that these commands need of it. Nothing that it writes stays. A part that does not answer says so in a check.
    async fn examine(&self, commands: &BTreeSet<&'static str>) -> Vec<Check>;
}

/// The time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Fresh names.
pub trait IdSource: Send + Sync {
    /// A request id.
    fn request_id(&self) -> RequestId;
    /// An idempotency key.
    fn step_key(&self) -> StepKey;
}
