//! Answers that are errors, in the shape that the Compute API gives them.

use axum::http::StatusCode;
use serde_json::{Value, json};

/// A refused request. Nothing took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status.
    pub status: StatusCode,
    /// Google's word for the kind of error.
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Failure {
    /// There is no such resource.
    pub fn not_found(path: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, reason: "notFound", message: format!("The resource '{path}' was not found") }
    }

    /// There is such a resource.
    pub fn already_exists(path: &str) -> Self {
        Self { status: StatusCode::CONFLICT, reason: "alreadyExists", message: format!("The resource '{path}' already exists") }
    }

    /// A value that cannot be.
    pub fn invalid(field: &str, value: &str, why: &str) -> Self {
        Self::bad_request("invalid", format!("Invalid value for field '{field}': '{value}'. {why}"))
    }

    /// A field or parameter that must be given.
    pub fn required(field: &str) -> Self {
        Self::bad_request("required", format!("Required field '{field}' not specified"))
    }

    /// Something that this resource does not allow in its state.
    pub fn usage(why: &str) -> Self {
        Self::bad_request("invalidResourceUsage", format!("Invalid resource usage: '{why}'."))
    }

    /// Any other reason for a 400.
    pub fn bad_request(reason: &'static str, message: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason, message }
    }

    /// A fingerprint that is not the current one.
    pub fn stale(message: &str) -> Self {
        Self { status: StatusCode::PRECONDITION_FAILED, reason: "conditionNotMet", message: message.to_owned() }
    }

    /// A permission that is not granted.
    pub fn permission(permission: &str, subject: &str) -> Self {
        let message = format!("Required '{permission}' permission for '{subject}'");
        Self { status: StatusCode::FORBIDDEN, reason: "forbidden", message }
    }

    /// A route that the emulator does not have, whether or not Google has it.
    pub fn unknown_route(method: &str, path: &str) -> Self {
        let message = format!("The Compute emulator has no method for {method} {path}");
        Self { status: StatusCode::NOT_FOUND, reason: "unknownRoute", message }
    }

    /// An answer of the emulator's own that is not what the discovery document promises.
    pub fn wrong_answer(method: &str, problems: &[String]) -> Self {
        let message = format!("The Compute emulator's answer to {method} is not what the discovery document says: {}", problems.join("; "));
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, reason: "internalError", message }
    }

    /// The body of the answer.
    pub fn body(&self) -> Value {
        let mut error = json!({ "message": self.message, "domain": "global", "reason": self.reason });
        if self.status == StatusCode::PRECONDITION_FAILED
            && let Some(error) = error.as_object_mut()
        {
            error.insert("locationType".into(), json!("header"));
            error.insert("location".into(), json!("If-Match"));
        }
        json!({ "error": { "code": self.status.as_u16(), "message": self.message, "errors": [error] } })
    }
}
