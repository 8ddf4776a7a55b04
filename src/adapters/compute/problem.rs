//! What can go wrong with a call, sorted by what it means for the step.

use google_cloud_compute_v1::model::Operation;
use google_cloud_gax::error::Error;
use serde_json::Value;

use crate::core::step::{Failure, FailureKind, Outcome};
use crate::ports::SurveyError;

/// Why a step or a survey went no further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// 404.
    #[error("{0}")]
    Missing(String),
    /// 412 or 409: somebody else was faster, or an earlier attempt of ours. Read again.
    #[error("{0}")]
    Conflict(String),
    /// Slowed down, or not ready yet: nothing took effect, and the same call may succeed later.
    #[error("{0}")]
    Later(String),
    /// No answer, or none with sense. A write may have taken effect.
    #[error("{0}")]
    Lost(String),
    /// It never reached the API, or the read failed for good: nothing took effect.
    #[error("{0}")]
    Unreachable(String),
    /// Refused for good.
    #[error("{message}")]
    Refused { message: String, hint: Option<String> },
    /// The bound object is gone or is another one.
    #[error("{0}")]
    Stale(String),
    /// A limit passed with part of it done.
    #[error("{0}")]
    Deadline(String),
    /// A write whose effect is not known.
    #[error("{0}")]
    Unknown(String),
}

impl Problem {
    /// A refusal without a hint.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), hint: None }
    }

    /// What a client's error means.
    pub fn of(error: &Error) -> Self {
        let payload = error.http_payload().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        let said = |pointer: &str| payload.as_ref()?.pointer(pointer)?.as_str().map(str::to_owned);
        let message =
            error.status().map(|status| status.message.clone()).or_else(|| said("/error/message")).unwrap_or_else(|| error.to_string());
        let reason = said("/error/errors/0/reason").unwrap_or_default();
        match error.http_status_code() {
            Some(status) => Self::of_status(status, &reason, message),
            None if error.is_connect() || error.is_authentication() || error.is_binding() || error.is_serialization() => {
                Self::Unreachable(format!("Compute could not be reached: {message}"))
            }
            None => Self::Lost(format!("no answer from Compute: {message}")),
        }
    }

    /// What an operation that is done says about how it went.
    pub fn of_operation(operation: Operation) -> Option<Self> {
        let status = operation.http_error_status_code.and_then(|status| u16::try_from(status).ok());
        let first = operation.error.as_ref().and_then(|error| error.errors.first()).cloned();
        let failed = operation.to_result().err()?;
        let code = first.as_ref().and_then(|first| first.code.clone()).unwrap_or_default();
        let message = first.and_then(|first| first.message).unwrap_or_else(|| failed.to_string());
        Some(match (code.as_str(), status) {
            ("CONDITION_NOT_MET" | "RESOURCE_ALREADY_EXISTS", _) => Self::Conflict(message),
            ("RESOURCE_NOT_FOUND", _) => Self::Missing(message),
            ("RESOURCE_NOT_READY" | "RESOURCE_OPERATION_RATE_EXCEEDED" | "RATE_LIMIT_EXCEEDED", _) => Self::Later(message),
            // A final state, so that nothing is unknown: it says that it had no effect.
            (_, Some(500..=599)) => Self::Later(message),
            (_, status) => Self::of_status(status.unwrap_or(400), "", message),
        })
    }

    fn of_status(status: u16, reason: &str, message: String) -> Self {
        // The Rust client drops `errors[].reason` once it understood the rest of the answer, so that the words of the message must do.
        let words = format!("{reason} {message}").to_lowercase();
        let has = |any: &[&str]| any.iter().any(|word| words.contains(word));
        match status {
            404 => Self::Missing(message),
            409 | 412 => Self::Conflict(message),
            429 => Self::Later(message),
            403 if has(&["ratelimitexceeded", "rate limit exceeded", "rate_limit_exceeded", "quotaexceeded", "quota exceeded"]) => {
                Self::Later(message)
            }
            400 if has(&["resourcenotready", "is not ready"]) => Self::Later(message),
            401 | 403 => Self::Refused { hint: permission(&message), message },
            500..=599 => Self::Lost(message),
            _ => Self::refused(message),
        }
    }

    /// How a step ends with this.
    pub fn outcome(self) -> Outcome {
        let failed = |kind, message, hint| Outcome::Failed(Failure { kind, message, hint });
        match self {
            Self::Unknown(message) => Outcome::Unknown(message),
            Self::Stale(message) | Self::Missing(message) => failed(FailureKind::Stale, message, None),
            Self::Refused { message, hint } => failed(FailureKind::Refused, message, hint),
            Self::Conflict(message) => failed(FailureKind::Refused, message, Some("somebody else keeps changing the same object".into())),
            Self::Deadline(message) => failed(FailureKind::Deadline, message, None),
            Self::Later(message) | Self::Lost(message) | Self::Unreachable(message) => failed(FailureKind::Unavailable, message, None),
        }
    }

    /// How a survey ends with this.
    pub fn survey(self) -> SurveyError {
        match self {
            Self::Missing(message) | Self::Stale(message) => SurveyError::NotFound(message),
            Self::Refused { message, hint } => SurveyError::Refused(hint.map_or(message.clone(), |hint| format!("{message} ({hint})"))),
            Self::Conflict(message) => SurveyError::Refused(message),
            Self::Deadline(message) | Self::Later(message) | Self::Lost(message) | Self::Unreachable(message) | Self::Unknown(message) => {
                SurveyError::Unavailable(message)
            }
        }
    }
}

/// What to do about a missing permission, which Google names as `Required 'compute.instances.setTags' permission`.
fn permission(message: &str) -> Option<String> {
    let name = message.split('\'').find(|part| part.starts_with("compute."))?;
    Some(format!("grant Stanch's service account the permission {name}"))
}
