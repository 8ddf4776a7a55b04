//! Why Discord refuses a request: its status, code and words, and for a malformed body the tree of what is wrong where.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// One thing that is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Field names and indices on the way to it.
    pub(super) path: Vec<String>,
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// Whom a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The bot, on one route.
    User,
    /// The bot, on every route.
    Global,
    /// The machine: too many invalid requests.
    Ban,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A code of Discord's list with its status.
    Code(u16, u32, &'static str),
    /// `Invalid Form Body`.
    Invalid(Vec<Problem>),
    RateLimited {
        scope: Scope,
        retry_after: Duration,
    },
}

impl Refusal {
    pub(super) const UNAUTHORIZED: Self = Self::Code(401, 0, "401: Unauthorized");
    pub(super) const NOT_FOUND: Self = Self::Code(404, 0, "404: Not Found");
    pub(super) const METHOD_NOT_ALLOWED: Self = Self::Code(405, 0, "405: Method Not Allowed");
    pub(super) const UNKNOWN_CHANNEL: Self = Self::Code(404, 10_003, "Unknown Channel");
    pub(super) const UNKNOWN_GUILD: Self = Self::Code(404, 10_004, "Unknown Guild");
    pub(super) const UNKNOWN_MEMBER: Self = Self::Code(404, 10_007, "Unknown Member");
    pub(super) const UNKNOWN_MESSAGE: Self = Self::Code(404, 10_008, "Unknown Message");
    pub(super) const UNKNOWN_ROLE: Self = Self::Code(404, 10_011, "Unknown Role");
    pub(super) const UNKNOWN_USER: Self = Self::Code(404, 10_013, "Unknown User");
    pub(super) const UNKNOWN_EMOJI: Self = Self::Code(400, 10_014, "Unknown Emoji");
    pub(super) const UNKNOWN_WEBHOOK: Self = Self::Code(404, 10_015, "Unknown Webhook");
    pub(super) const UNKNOWN_INTERACTION: Self = Self::Code(404, 10_062, "Unknown interaction");
    pub(super) const UNKNOWN_COMMAND: Self = Self::Code(404, 10_063, "Unknown application command");
    pub(super) const NOT_AUTHORIZED_ON_APPLICATION: Self =
        Self::Code(403, 20_012, "You are not authorized to perform this action on this application");
    pub(super) const TOO_MANY_REACTIONS: Self = Self::Code(400, 30_010, "Maximum number of reactions reached (20)");
    pub(super) const TOO_MANY_COMMANDS: Self = Self::Code(400, 30_032, "Maximum number of application commands reached (100)");
    pub(super) const TOO_MANY_COMMAND_CREATES: Self =
        Self::Code(400, 30_034, "Max number of daily application command creates has been reached (200)");
    pub(super) const TOO_LARGE: Self = Self::Code(413, 40_005, "Request entity too large");
    pub(super) const ALREADY_ACKNOWLEDGED: Self = Self::Code(400, 40_060, "Interaction has already been acknowledged.");
    pub(super) const MISSING_ACCESS: Self = Self::Code(403, 50_001, "Missing Access");
    pub(super) const OF_ANOTHER_USER: Self = Self::Code(403, 50_005, "Cannot edit a message authored by another user");
    pub(super) const EMPTY_MESSAGE: Self = Self::Code(400, 50_006, "Cannot send an empty message");
    pub(super) const CANNOT_DIRECT: Self = Self::Code(403, 50_007, "Cannot send messages to this user");
    pub(super) const MISSING_PERMISSIONS: Self = Self::Code(403, 50_013, "Missing Permissions");
    pub(super) const WRONG_CHANNEL_TYPE: Self = Self::Code(400, 50_024, "Cannot execute action on this channel type");
    pub(super) const BAD_WEBHOOK_TOKEN: Self = Self::Code(401, 50_027, "Invalid Webhook Token");
    pub(super) const ARCHIVED: Self = Self::Code(400, 50_083, "Thread is archived");
    pub(super) const NO_JSON: Self = Self::Code(400, 50_109, "The request body contains invalid JSON.");
    pub(super) const THREAD_EXISTS: Self = Self::Code(400, 160_004, "A thread has already been created for this message");
    pub(super) const THREAD_LOCKED: Self = Self::Code(403, 160_005, "Thread is locked");

    /// One thing wrong with the field at `path`, whose parts have dots between them.
    pub(super) fn field(path: &str, code: &'static str, message: impl Into<String>) -> Self {
        let path = path.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self::Invalid(vec![Problem { path, code, message: message.into() }])
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Code(status, _, _) => StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    pub(super) fn body(&self) -> Value {
        match self {
            Self::Code(_, code, message) => json!({ "message": message, "code": code }),
            Self::Invalid(problems) => {
                let mut tree = json!({});
                problems.iter().for_each(|problem| grow(&mut tree, &problem.path, problem));
                json!({ "message": "Invalid Form Body", "code": 50_035, "errors": tree })
            }
            Self::RateLimited { scope, retry_after } => {
                let global = *scope == Scope::Global;
                json!({ "message": "You are being rate limited.", "retry_after": seconds(*retry_after), "global": global, "code": 0 })
            }
        }
    }
}

/// Seconds with three digits, and never "now".
pub(super) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).ceil().max(1.0) / 1000.0
}

fn grow(node: &mut Value, path: &[String], problem: &Problem) {
    if !node.is_object() {
        *node = Value::Object(Map::new());
    }
    let Value::Object(fields) = node else { return };
    if let Some((first, rest)) = path.split_first() {
        return grow(fields.entry(first.clone()).or_insert_with(|| json!({})), rest, problem);
    }
    let error = json!({ "code": problem.code, "message": problem.message });
    if let Value::Array(errors) = fields.entry("_errors").or_insert_with(|| json!([])) {
        errors.push(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_form_a_tree() {
        let problem = |path: &[&str], code| Problem { path: path.iter().map(|part| (*part).into()).collect(), code, message: "m".into() };
        let refusal = Refusal::Invalid(vec![
            problem(&["embeds", "0", "title"], "A"),
            problem(&["embeds", "0", "title"], "B"),
            problem(&["embeds", "1"], "C"),
            problem(&[], "D"),
        ]);
        let leaf = |code: &str| json!({ "code": code, "message": "m" });
        let expected = json!({
            "embeds": { "0": { "title": { "_errors": [leaf("A"), leaf("B")] } }, "1": { "_errors": [leaf("C")] } },
            "_errors": [leaf("D")],
        });
        assert_eq!(refusal.body()["errors"], expected);
    }
}
