//! Every call to the API goes through here: it is timed, recorded, retried if that is safe, and its failure is told apart.

use std::error::Error as _;
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use url::form_urlencoded;

use crate::core::step::{Call, Failure, FailureKind, Outcome};
use crate::ports::SurveyError;

/// Tries of a call that may be repeated.
const TRIES: u32 = 4;
/// First pause between tries, doubled each time.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest pause that the server may ask for within one call.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// What an answer may be. Logs are plain text.
const PLAIN: &str = "application/json, text/plain";
/// Objects without spec and status: a few hundred bytes each instead of ten thousand.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json";
/// Objects of one page.
const PAGE: &str = "500";
/// Largest answer in bytes: a page of 500 pods is about 5 MB.
const ANSWER_LIMIT_BYTES: usize = 64 << 20;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// 404.
    NotFound,
    /// 409: the object changed, exists already, or is another one.
    Conflict(String),
    /// 422: invalid, or a uid that does not match.
    Invalid(String),
    /// 429 by a PodDisruptionBudget.
    Budget(String),
    /// Refused for good.
    Refused { status: u16, message: String },
    /// 429 or 5xx after every try, or nothing was sent.
    Unavailable(String),
    /// It was sent, and no answer came.
    Lost(String),
}

/// The calls of one step or survey.
pub(super) struct Session {
    client: Client,
    calls: Vec<Call>,
    accept: &'static str,
}

/// Whether a call may be repeated when its answer is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self { client, calls: Vec::new(), accept: PLAIN }
    }

    /// A session whose lists hold no more than the objects' metadata.
    pub(super) fn of_metadata(client: Client) -> Self {
        Self { accept: METADATA, ..Self::new(client) }
    }

    /// Another session on the same client, whose calls are added later.
    pub(super) fn fork(&self) -> Self {
        Self { accept: self.accept, ..Self::new(self.client.clone()) }
    }

    pub(super) fn join(&mut self, other: Self) {
        self.calls.extend(other.calls);
    }

    /// The client, for a call that is no exchange of one request and one answer; it has to be recorded.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) fn record(&mut self, call: Call) {
        self.calls.push(call);
    }

    pub(super) fn into_calls(self) -> Vec<Call> {
        self.calls
    }

    /// Reads an object.
    pub(super) async fn get(&mut self, path: &str) -> Result<Value, Fault> {
        self.call(Kind::Read, &Method::GET, path, None).await.and_then(|text| parsed(&text))
    }

    /// Reads text, such as a log.
    pub(super) async fn text(&mut self, path: &str) -> Result<Vec<u8>, Fault> {
        self.call(Kind::Read, &Method::GET, path, None).await
    }

    /// Reads a list, page by page.
    pub(super) async fn list(&mut self, path: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, Fault> {
        self.list_up_to(path, query, usize::MAX).await
    }

    /// Reads a list, page by page, until there are this many objects.
    pub(super) async fn list_up_to(&mut self, path: &str, query: &[(&str, &str)], most: usize) -> Result<Vec<Value>, Fault> {
        let (mut items, mut token) = (Vec::new(), String::new());
        loop {
            let mut page = self.get(&format!("{path}?{}", encoded(query, &token))).await?;
            if let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) {
                items.extend(found);
            }
            token = word(&page, "/metadata/continue").to_owned();
            if token.is_empty() || items.len() >= most {
                return Ok(items);
            }
        }
    }

    /// Changes an object by a merge patch.
    pub(super) async fn patch(&mut self, path: &str, patch: &Value) -> Result<Value, Fault> {
        // What was written is read back anyway, so an answer that is no JSON says enough.
        self.call(Kind::Write, &Method::PATCH, path, Some(patch)).await.map(|text| parsed(&text).unwrap_or_default())
    }

    /// Creates an object, or a subresource.
    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Fault> {
        self.call(Kind::Write, &Method::POST, path, Some(body)).await.map(|text| parsed(&text).unwrap_or_default())
    }

    /// Deletes an object; the options carry the uid that it must have.
    pub(super) async fn delete(&mut self, path: &str, options: &Value) -> Result<Value, Fault> {
        self.call(Kind::Write, &Method::DELETE, path, Some(options)).await.map(|text| parsed(&text).unwrap_or_default())
    }

    /// Asks once, for what has its own rule of asking again; with a failure comes how long the server wants to be left alone.
    pub(super) async fn post_once(&mut self, path: &str, body: &Value) -> Result<(), (Fault, Option<Duration>)> {
        match self.attempt(&Method::POST, path, Some(body)).await {
            Ok(_) => Ok(()),
            Err(Trouble::Answer { fault, status, retry_after }) => Err((fault.of(Kind::Write, status), retry_after)),
            Err(Trouble::NotSent(why)) => Err((Fault::Unavailable(why), None)),
            Err(Trouble::NoAnswer(why)) => Err((Fault::Lost(why), None)),
        }
    }

    async fn call(&mut self, kind: Kind, method: &Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>, Fault> {
        let mut pause = PAUSE;
        // A write that one try may have brought about stays a riddle, whatever the tries after it say.
        let mut perhaps = None;
        for attempt in 1.. {
            let (again, fault) = match self.attempt(method, path, body).await {
                Ok(text) => return Ok(text),
                Err(Trouble::Answer { fault, status, retry_after }) => {
                    pause = retry_after.unwrap_or(pause).min(LONGEST_PAUSE);
                    (matches!(fault, Fault::Unavailable(_)), fault.of(kind, status))
                }
                Err(Trouble::NotSent(why)) => (true, Fault::Unavailable(why)),
                Err(Trouble::NoAnswer(why)) if kind == Kind::Read => (true, Fault::Unavailable(why)),
                Err(Trouble::NoAnswer(why)) => (false, Fault::Lost(why)),
            };
            if let Fault::Lost(why) = &fault {
                perhaps = Some(why.clone());
            }
            if !again || attempt >= TRIES {
                let no_answer_to_it = matches!(fault, Fault::Unavailable(_) | Fault::Refused { .. });
                return Err(perhaps.filter(|_| no_answer_to_it).map_or(fault, Fault::Lost));
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
        Err(Fault::Unavailable("no try was made".into()))
    }

    /// One request, recorded.
    async fn attempt(&mut self, method: &Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>, Trouble> {
        let begun = Instant::now();
        let outcome = exchange(&self.client, self.accept, method, path, body).await;
        let status = match &outcome {
            Ok((status, ..)) => Some(status.as_u16()),
            Err(_) => None,
        };
        self.calls.push(Call {
            method: format!("{method} {}", kind_of(path)),
            resource: resource_of(path).to_owned(),
            status,
            latency_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..Call::default()
        });
        let (status, retry_after, text) = outcome?;
        match status.is_success() {
            true => Ok(text),
            false => Err(Trouble::Answer { fault: fault(status, method, path, &text), status, retry_after }),
        }
    }
}

fn encoded(query: &[(&str, &str)], token: &str) -> String {
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    encoded.append_pair("limit", PAGE).extend_pairs(query);
    if !token.is_empty() {
        encoded.append_pair("continue", token);
    }
    encoded.finish()
}

enum Trouble {
    Answer { fault: Fault, status: StatusCode, retry_after: Option<Duration> },
    NotSent(String),
    NoAnswer(String),
}

async fn exchange(
    client: &Client,
    accept: &str,
    method: &Method,
    path: &str,
    body: Option<&Value>,
) -> Result<(StatusCode, Option<Duration>, Vec<u8>), Trouble> {
    let content = if *method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
    let request = request.header(header::CONTENT_TYPE, content).body(Body::from(bytes));
    let request = request.map_err(|error| Trouble::NotSent(error.to_string()))?;
    let response: Response<Body> = client.send(request).await.map_err(|error| unanswered(&error))?;
    let status = response.status();
    let retry_after =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
    let limited = http_body_util::Limited::new(response.into_body(), ANSWER_LIMIT_BYTES);
    let text = limited.collect().await.map_err(|error| Trouble::NoAnswer(error.to_string()))?;
    Ok((status, retry_after.map(Duration::from_secs), text.to_bytes().to_vec()))
}

/// Whether anything was sent. hyper's client says "client error (Connect)" if it never had a connection; everything else may have arrived.
fn unanswered(error: &kube::Error) -> Trouble {
    let mut words = vec![error.to_string()];
    let mut source = error.source();
    while let Some(inner) = source {
        words.push(inner.to_string());
        source = inner.source();
    }
    words.dedup();
    let not_sent = words.iter().any(|word| word.contains("client error (Connect)"));
    let text = words.pop().unwrap_or_default();
    if not_sent { Trouble::NotSent(format!("the API cannot be reached: {text}")) } else { Trouble::NoAnswer(format!("no answer: {text}")) }
}

fn fault(status: StatusCode, method: &Method, path: &str, text: &[u8]) -> Fault {
    let answer: Value = serde_json::from_slice(text).unwrap_or_default();
    let message = match word(&answer, "/message") {
        "" => String::from_utf8_lossy(text).chars().take(200).collect(),
        message => message.to_owned(),
    };
    let budget = answer.pointer("/details/causes").and_then(Value::as_array).into_iter().flatten();
    let budget = budget.into_iter().any(|cause| word(cause, "/reason") == "DisruptionBudget");
    match status.as_u16() {
        404 => Fault::NotFound,
        409 => Fault::Conflict(message),
        422 => Fault::Invalid(message),
        429 if budget => Fault::Budget(message),
        // Two budgets select the pod: the server says so with a 500 at once and always.
        500 if path.ends_with("/eviction") && message.contains("more than one PodDisruptionBudget") => {
            Fault::Refused { status: 500, message }
        }
        429 | 500 | 502 | 503 | 504 => Fault::Unavailable(format!("the API answered {status}: {message}")),
        401 | 403 => {
            Fault::Refused { status: status.as_u16(), message: format!("no right to {} {}: {message}", verb(method), kind_of(path)) }
        }
        other => Fault::Refused { status: other, message },
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::PATCH => "patch",
        Method::POST => "create",
        _ => "read",
    }
}

/// `/api/v1/namespaces/shop/pods/cart/eviction` → `namespaces/shop/pods/cart/eviction`.
fn resource_of(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or(path);
    let parts = if path.starts_with("/apis/") { 4 } else { 3 };
    path.splitn(parts + 1, '/').nth(parts).unwrap_or(path)
}

/// The kind of resource, with its subresource: `pods`, `pods/eviction`.
fn kind_of(path: &str) -> String {
    let parts: Vec<&str> = resource_of(path).split('/').collect();
    match parts.as_slice() {
        ["namespaces", _, kind] | ["namespaces", _, kind, _] | [kind] | [kind, _] => (*kind).to_owned(),
        ["namespaces", _, kind, _, sub] | [kind, _, sub] => format!("{kind}/{sub}"),
        _ => String::new(),
    }
}

fn parsed(text: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(text).map_err(|error| Fault::Unavailable(format!("the API's answer is no JSON: {error}")))
}

/// A text at a JSON pointer, empty if there is none.
pub(super) fn word<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of an array at a JSON pointer.
pub(super) fn items<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

impl Fault {
    /// A write that the server failed at may have taken effect.
    fn of(self, kind: Kind, status: StatusCode) -> Self {
        match self {
            Self::Unavailable(why) if kind == Kind::Write && status.is_server_error() => Self::Lost(why),
            Self::NotFound
            | Self::Conflict(_)
            | Self::Invalid(_)
            | Self::Budget(_)
            | Self::Refused { .. }
            | Self::Unavailable(_)
            | Self::Lost(_) => self,
        }
    }

    /// As the end of a step in which nothing was written yet, or in which this write is what failed.
    pub(super) fn into_outcome(self) -> Outcome {
        let failed = |kind, message, hint: Option<&str>| Outcome::Failed(Failure { kind, message, hint: hint.map(ToOwned::to_owned) });
        match self {
            Self::NotFound => failed(FailureKind::Stale, "the object is gone".into(), None),
            Self::Conflict(message) => failed(FailureKind::Unavailable, format!("the object keeps changing: {message}"), Some("ask again")),
            Self::Invalid(message) => failed(FailureKind::Refused, message, None),
            Self::Budget(message) => failed(FailureKind::Deadline, message, Some("a PodDisruptionBudget allows no eviction now")),
            Self::Refused { status: 401 | 403, message } => {
                failed(FailureKind::Refused, message, Some("compare the bot's ClusterRole with deploy/"))
            }
            Self::Refused { message, .. } => failed(FailureKind::Refused, message, None),
            Self::Unavailable(message) => failed(FailureKind::Unavailable, message, Some("nothing was changed; ask again")),
            Self::Lost(message) => Outcome::Unknown(message),
        }
    }

    /// As the end of a read after something was written: what is in place is not known.
    pub(super) fn after_write(self) -> Outcome {
        match self == Self::NotFound {
            true => self.into_outcome(),
            false => Outcome::Unknown(format!("it could not be read back: {}", self.words())),
        }
    }

    /// As the end of a survey.
    pub(super) fn into_survey(self) -> SurveyError {
        match self {
            Self::NotFound => SurveyError::NotFound("it does not exist".into()),
            Self::Refused { message, .. } | Self::Invalid(message) => SurveyError::Refused(message),
            Self::Conflict(_) | Self::Budget(_) | Self::Unavailable(_) | Self::Lost(_) => SurveyError::Unavailable(self.words()),
        }
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::NotFound => "it does not exist".into(),
            Self::Conflict(message)
            | Self::Invalid(message)
            | Self::Budget(message)
            | Self::Refused { message, .. }
            | Self::Unavailable(message)
            | Self::Lost(message) => message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_named_by_their_resources() {
        for (path, resource, kind) in [
            ("/api/v1/nodes/a", "nodes/a", "nodes"),
            ("/api/v1/pods?fieldSelector=x/y", "pods", "pods"),
            ("/api/v1/namespaces/shop/pods/cart/eviction", "namespaces/shop/pods/cart/eviction", "pods/eviction"),
            ("/apis/apps/v1/namespaces/shop/replicasets/cart", "namespaces/shop/replicasets/cart", "replicasets"),
            ("/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies", "namespaces/shop/networkpolicies", "networkpolicies"),
        ] {
            assert_eq!((resource_of(path), kind_of(path).as_str()), (resource, kind));
        }
    }
}
