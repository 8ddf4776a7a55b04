//! Why Slack refuses a call, in its words.

use std::time::Duration;

use serde_json::{Value, json};

/// An answer with `"ok": false`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::sandbox::slack) enum Refusal {
    /// Just the error's code.
    Code(&'static str),
    /// There is no such method.
    UnknownMethod(String),
    /// The token lacks a scope.
    MissingScope {
        /// The scope.
        needed: String,
        /// The token's scopes, with commas.
        provided: String,
    },
    /// Something in the arguments is wrong in these ways.
    Invalid {
        /// The error's code.
        code: &'static str,
        /// What is wrong.
        problems: Vec<String>,
    },
    /// Too many calls.
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
}

impl Refusal {
    pub(super) fn argument(problem: String) -> Self {
        Self::Invalid { code: "invalid_arguments", problems: vec![problem] }
    }

    /// The body, without `ok`.
    pub(super) fn body(&self) -> Value {
        match self {
            Self::Code(code) => json!({ "error": code }),
            Self::UnknownMethod(name) => json!({ "error": "unknown_method", "req_method": name }),
            Self::MissingScope { needed, provided } => json!({ "error": "missing_scope", "needed": needed, "provided": provided }),
            Self::RateLimited { .. } => json!({ "error": "ratelimited" }),
            Self::Invalid { code, problems } => {
                let messages: Vec<String> = problems.iter().map(|problem| format!("[ERROR] {problem}")).collect();
                let mut body = json!({ "error": code, "response_metadata": { "messages": messages } });
                if let (true, Value::Object(fields)) = (code.starts_with("invalid_blocks"), &mut body) {
                    fields.insert("errors".into(), json!(problems));
                }
                body
            }
        }
    }

    /// For a person who reads a log.
    pub(in crate::sandbox::slack) fn words(&self) -> String {
        self.body().to_string()
    }
}
