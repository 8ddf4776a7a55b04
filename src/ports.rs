//! The doors to the world, as the app uses them. Adapters implement them against real services, fakes in memory.

use async_trait::async_trait;

use crate::core::step::{Licence, Observation, Performed};

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
