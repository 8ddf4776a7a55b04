//! One step of a run: the licence to carry it out, and what came of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use stanch_commands::plan::{PlanDigest, StepId};
use stanch_commands::prior::Prior;
use stanch_commands::target::RequestId;

/// Idempotency key of a step: durable before the first call, the same for every retry and after a restart.
///
/// Adapters derive from it what the vendor takes: a Compute `requestId` from the key and the body that is sent, so that the same body is
/// the same request and another body (a new fingerprint) is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepKey(String);

impl StepKey {
    /// A key from a text that the id source made unique.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The right to carry out one step now. Only the engine makes one, from a quorum (or the class `Preserve`) and a durable record.
#[derive(Clone, Debug)]
pub struct Licence {
    pub(in crate::core) request: RequestId,
    pub(in crate::core) step: StepId,
    pub(in crate::core) digest: PlanDigest,
    pub(in crate::core) key: StepKey,
}

impl Licence {
    /// The idempotency key.
    #[must_use]
    pub fn key(&self) -> &StepKey {
        &self.key
    }

    /// The request, for logs and for labels.
    #[must_use]
    pub fn request(&self) -> &RequestId {
        &self.request
    }

    /// The step.
    #[must_use]
    pub fn step(&self) -> StepId {
        self.step
    }

    /// The plan that was agreed to.
    #[must_use]
    pub fn digest(&self) -> &PlanDigest {
        &self.digest
    }
}

/// What an adapter reports after it tried a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Performed {
    /// How it ended.
    pub outcome: Outcome,
    /// Every call that was made, in order, for the record.
    pub calls: Vec<Call>,
    /// Files for the evidence store.
    pub artefacts: Vec<Artefact>,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// In place, and read back.
    Succeeded(Receipt),
    /// Not in place, and the vendor said so.
    Failed(Failure),
    /// Nobody knows: the answer was lost. Observe before anything else.
    Unknown(String),
}

/// What was read back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// It was so before the step: nothing was written.
    pub already_so: bool,
    /// One line for people: what is now true, past or present tense, no markup.
    pub summary: String,
    /// More lines for the thread, such as each evicted pod.
    pub details: Vec<String>,
    /// The prior state that a later release needs. Only `CapturePriorState` fills it.
    pub prior: Option<Prior>,
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// What happened, for people; never a secret, never a Rust type.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Kinds of failure that are treated differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The bound object is gone or is another one: the request is stale.
    Stale,
    /// The vendor refused for good: rights, validation, a rule with another body.
    Refused,
    /// The deadline passed with part of it done.
    Deadline,
    /// The vendor could not be reached, or kept failing, and nothing was changed.
    Unavailable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What observing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The step's effect is there.
    InPlace(Receipt),
    /// It is not, and nothing of it is under way.
    NotInPlace,
    /// The bound object is gone or is another one.
    Gone(String),
    /// It could not be read, or is under way.
    Unclear(String),
}

/// One call to a vendor's API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The API's name of the method, such as `compute.instances.setTags` or `PATCH nodes`.
    pub method: String,
    /// The resource, such as `zones/us-central1-a/instances/gke-1`.
    pub resource: String,
    /// Compute `requestId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Compute operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// HTTP status, or the exit status of a program on a node; `None` if no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Milliseconds until the answer.
    pub latency_ms: u64,
}

/// A file for the evidence store.
#[derive(Clone, PartialEq, Eq)]
pub struct Artefact {
    /// Relative path with forward slashes, made of `[A-Za-z0-9._-]` and no leading dot.
    pub path: String,
    /// Content.
    pub content: Vec<u8>,
}

impl Artefact {
    /// Whether values that could be secrets were taken out of it: adapters write objects as JSON, and redact every object before. Logs and the
    /// output of programs are kept as they came.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.path.ends_with(".json")
    }
}

impl fmt::Debug for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Evidence can hold what a workload logged, secrets included.
        f.debug_struct("Artefact").field("path", &self.path).field("bytes", &self.content.len()).finish()
    }
}
