//! What the API server says when it refuses: `Status` bodies with its words, reasons and codes.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde_json::{Value, json};

use super::object::put;
use super::resources::Resource;

/// A refusal.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    code: StatusCode,
    reason: Option<&'static str>,
    message: String,
    details: Value,
    retry_after_s: Option<u64>,
    /// Priority and fairness answers before any handler could, so in plain text.
    plain: bool,
}

/// One thing that is wrong with a field, for [`Failure::invalid`].
pub struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

impl Cause {
    /// The field may not have this value.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self { reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {why}"), field: field.into() }
    }

    /// The change is not allowed.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {why}"), field: field.into() }
    }

    /// The field is missing.
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueRequired", message: format!("Required value: {why}"), field: field.into() }
    }
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>, details: Value) -> Self {
        Self { code, reason: Some(reason), message: message.into(), details, retry_after_s: None, plain: false }
    }

    /// No such object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message, resource.details(resource.plural, name))
    }

    /// No such route.
    pub fn unknown_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource", json!({}))
    }

    /// The route exists, the method does not.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message, json!({}))
    }

    /// There is an object of this name.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message, resource.details(resource.plural, name))
    }

    /// Somebody wrote in between, or the object is another one by now. The server calls the object by its resource when it
    /// writes, and by its kind when it deletes.
    pub fn conflict(resource: &Resource, called: &str, name: &str, why: &str) -> Self {
        let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        let message = format!("Operation cannot be fulfilled on {called}{group} \"{name}\": {why}");
        Self::new(StatusCode::CONFLICT, "Conflict", message, resource.details(called, name))
    }

    /// A stale resourceVersion on a write.
    pub fn stale(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, resource.plural, name, why)
    }

    /// The object is well formed and yet wrong.
    pub fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Self {
        let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        let all: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let said = if let [one] = all.as_slice() { one.clone() } else { format!("[{}]", all.join(", ")) };
        let mut details = resource.details(resource.kind, name);
        let causes: Vec<Value> = causes.iter().map(|c| json!({ "reason": c.reason, "message": c.message, "field": c.field })).collect();
        put(&mut details, &["causes"], causes);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", format!("{}{group} \"{name}\" is invalid: {said}", resource.kind), details)
    }

    /// A patch that does not fit the object.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message, json!({}))
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message, Value::Null)
    }

    /// The request is understood and not allowed.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = match name {
            "" => format!("{} is forbidden: {why}", resource.qualified()),
            name => format!("{} \"{name}\" is forbidden: {why}", resource.qualified()),
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message, resource.details(resource.plural, name))
    }

    /// No representation that the client accepts.
    pub fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message, json!({}))
    }

    /// A body of another type than these.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message, json!({}))
    }

    /// The history from which a watch wants to start is gone.
    pub fn expired(wanted: u64, oldest: u64) -> Self {
        Self::new(StatusCode::GONE, "Expired", format!("too old resource version: {wanted} ({oldest})"), Value::Null)
    }

    /// The server failed at something.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let details = json!({ "causes": [{ "message": message }] });
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", format!("Internal error occurred: {message}"), details)
    }

    /// A pod under two budgets. The server writes this one by hand, so it has no reason.
    pub fn two_budgets() -> Self {
        let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        Self { reason: None, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message, Value::Null) }
    }

    /// A budget refuses an eviction.
    pub fn disruption_budget(cause: &str, retry_after_s: Option<u64>) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let mut details = json!({ "causes": [{ "reason": "DisruptionBudget", "message": cause }] });
        if let Some(seconds) = retry_after_s {
            put(&mut details, &["retryAfterSeconds"], seconds);
        }
        Self { retry_after_s, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message, details) }
    }

    /// API priority and fairness refuses the request.
    pub fn too_many_requests(retry_after_s: u64) -> Self {
        let message = "Too many requests, please try again later.";
        let failure = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message, Value::Null);
        Self { retry_after_s: Some(retry_after_s), plain: true, ..failure }
    }

    /// Whether it is a 409 that says that something else was meant.
    pub fn is_conflict(&self) -> bool {
        self.reason == Some("Conflict")
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code.as_u16(),
        });
        if let Some(reason) = self.reason {
            put(&mut status, &["reason"], reason);
        }
        if !self.details.is_null() {
            put(&mut status, &["details"], self.details.clone());
        }
        status
    }

    /// The answer on the wire.
    pub fn response(&self) -> Response<Body> {
        let (content_type, body) = match self.plain {
            true => ("text/plain; charset=utf-8", format!("{}\n", self.message)),
            false => ("application/json", self.status().to_string()),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.code;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
        }
        response
    }
}
