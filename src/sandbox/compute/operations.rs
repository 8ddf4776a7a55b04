//! Operations: what is accepted at once and done a little later.
//!
//! An operation takes effect when it is done. It is done when somebody has looked at it often enough, or by itself after
//! [`LONGEST`]. So a client that does not wait reads the state from before, and one that waits in a loop needs more than one turn if
//! the test wants that.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::api::Request;
use super::failure::Failure;
use super::links;
use super::state::{State, now, put, text};

/// After this time an operation is done even if nobody looks. Far longer than a client that waits takes between two looks, so that it does
/// not decide how often a test must look; short enough for a person who uses the emulator by hand.
const LONGEST: Duration = Duration::from_secs(5);

/// Whom the operations name as their author.
const USER: &str = "responder@example.com";

/// An operation.
pub struct Operation {
    /// As the API shows it.
    pub json: Value,
    looks: usize,
    since: Instant,
    /// What happens when it is done. `None`: it is done.
    effect: Option<Effect>,
}

/// What an operation does when it is done.
pub type Effect = Box<dyn FnOnce(&mut State) -> Result<(), OperationFailure> + Send>;

/// How an operation that was accepted ends without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationFailure {
    /// Google's word for the error, such as `RESOURCE_NOT_READY`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// The HTTP status that the operation shows, and its phrase.
    pub http_error: (u16, String),
}

/// An operation to begin.
pub struct Begin {
    /// Path of the resource that it is about.
    pub target: String,
    /// Id of that resource.
    pub target_id: String,
    /// What happens when it is done.
    pub effect: Effect,
}

/// The first request with a `requestId`, and the operation that it began.
#[derive(Clone, Debug)]
pub struct Replay {
    digest: [u8; 32],
    operation: String,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").field("json", &self.json).field("looks", &self.looks).finish_non_exhaustive()
    }
}

impl OperationFailure {
    /// A failure of the kind that answers with 400.
    pub fn bad_request(code: &str, message: &str) -> Self {
        Self { code: code.into(), message: message.into(), http_error: (400, "BAD REQUEST".into()) }
    }
}

impl From<Failure> for OperationFailure {
    /// What would have refused the request, had it been known then.
    fn from(failure: Failure) -> Self {
        let code = match failure.reason {
            "notFound" => "RESOURCE_NOT_FOUND",
            "alreadyExists" => "RESOURCE_ALREADY_EXISTS",
            "conditionNotMet" => "CONDITION_NOT_MET",
            _ => "INVALID_USAGE",
        };
        let phrase = failure.status.canonical_reason().unwrap_or_default().to_uppercase();
        Self { code: code.into(), message: failure.message, http_error: (failure.status.as_u16(), phrase) }
    }
}

impl State {
    /// Accepts an operation. The answer shows it running, or done if the behaviour says so.
    pub fn begin(&mut self, request: &Request<'_>, begin: Begin) -> Value {
        let Begin { target, target_id, effect } = begin;
        let verb = request.method.verb();
        if self.operations.values().any(|other| other.effect.is_some() && links::path(text(&other.json, "targetLink")) == target) {
            self.overlaps.push(format!("{verb} {target}"));
        }
        let effect = match self.take_failure(verb) {
            Some(failure) => Box::new(|_: &mut Self| Err(failure)),
            None => effect,
        };
        let path = format!("{}/operations/{}", request.scope(), self.operation_name(&request.path));
        let mut json = json!({
            "kind": "compute#operation", "id": self.new_id(&path), "name": links::name(&path), "operationType": operation_type(&request.method.id),
            "targetLink": links::link(&target), "targetId": target_id, "status": "RUNNING", "user": USER, "progress": 0,
            "insertTime": now(), "startTime": now(), "selfLink": links::link(&path),
        });
        for (segment, field) in [("/zones/", "zone"), ("/regions/", "region")] {
            if path.contains(segment) {
                put(&mut json, field, json!(links::link(&request.scope())));
            }
        }
        let looks = self.behaviour.operation_looks_of.get(verb).copied().unwrap_or(self.behaviour.operation_looks);
        self.operations.insert(path.clone(), Operation { json, looks, since: Instant::now(), effect: Some(effect) });
        if let Some(id) = request.parameters.get("requestId") {
            let replay = Replay { digest: digest(request), operation: path.clone() };
            self.replays.insert((request.project().to_owned(), id.clone()), replay);
        }
        if looks == 0 {
            self.finish(&path);
        }
        self.operations.get(&path).map(|operation| operation.json.clone()).unwrap_or_default()
    }

    /// The operation that an earlier request with the same `requestId` began.
    ///
    /// # Errors
    /// If that was another request, or the id is not one.
    pub fn replayed(&self, request: &Request<'_>) -> Result<Option<Value>, Failure> {
        let Some(id) = request.parameters.get("requestId") else { return Ok(None) };
        if uuid::Uuid::try_parse(id).ok().is_none_or(|id| id.is_nil()) {
            return Err(Failure::invalid("requestId", id, "Must be a valid UUID, not zero."));
        }
        let Some(replay) = self.replays.get(&(request.project().to_owned(), id.clone())) else { return Ok(None) };
        if replay.digest != digest(request) {
            return Err(Failure::invalid("requestId", id, "The request id was used before with another request."));
        }
        Ok(self.operations.get(&replay.operation).map(|operation| operation.json.clone()))
    }

    /// Whether an operation that will create this resource is not done.
    pub fn is_being_created(&self, path: &str) -> bool {
        let creates = |operation: &Operation| text(&operation.json, "operationType") == "insert";
        let about = |operation: &Operation| links::path(text(&operation.json, "targetLink")) == path;
        self.operations.values().any(|operation| operation.effect.is_some() && creates(operation) && about(operation))
    }

    /// Whether the next operation of this method will fail.
    pub fn will_fail(&self, verb: &str) -> bool {
        self.behaviour.failing.iter().any(|(failing, _)| failing == verb)
    }

    /// Everything that was accepted is done.
    pub fn settle(&mut self) {
        self.finish_where(|_| true);
    }

    /// What was accepted long ago is done.
    pub fn settle_old(&mut self) {
        self.finish_where(|operation| operation.since.elapsed() >= LONGEST);
    }

    fn finish_where(&mut self, chosen: impl Fn(&Operation) -> bool) {
        let due = |(_, operation): &(&String, &Operation)| operation.effect.is_some() && chosen(operation);
        let mut due: Vec<_> = self.operations.iter().filter(due).map(|(path, operation)| (operation.since, path.clone())).collect();
        due.sort();
        due.iter().for_each(|(_, path)| self.finish(path));
    }

    fn finish(&mut self, path: &str) {
        let Some(effect) = self.operations.get_mut(path).and_then(|operation| operation.effect.take()) else { return };
        let result = effect(self);
        let Some(operation) = self.operations.get_mut(path) else { return };
        put(&mut operation.json, "status", json!("DONE"));
        put(&mut operation.json, "progress", json!(100));
        put(&mut operation.json, "endTime", json!(now()));
        if let Err(OperationFailure { code, message, http_error: (status, phrase) }) = result {
            put(&mut operation.json, "error", json!({ "errors": [{ "code": code, "message": message }] }));
            put(&mut operation.json, "httpErrorStatusCode", json!(status));
            put(&mut operation.json, "httpErrorMessage", json!(phrase));
        }
    }

    fn look(&mut self, path: &str) -> Result<Value, Failure> {
        let operation = self.operations.get_mut(path).ok_or_else(|| Failure::not_found(path))?;
        operation.looks = operation.looks.saturating_sub(1);
        if operation.looks == 0 {
            self.finish(path);
        }
        self.operations.get(path).map(|operation| operation.json.clone()).ok_or_else(|| Failure::not_found(path))
    }

    fn take_failure(&mut self, verb: &str) -> Option<OperationFailure> {
        let index = self.behaviour.failing.iter().position(|(failing, _)| failing == verb)?;
        Some(self.behaviour.failing.remove(index).1)
    }

    fn operation_name(&self, path: &str) -> String {
        let digest = Sha256::digest(format!("{path} {}", self.operations.len()));
        let hex: String = digest.iter().take(15).map(|byte| format!("{byte:02x}")).collect();
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        format!("operation-{}-{}-{}-{}", jiff::Timestamp::now().as_millisecond(), part(0, 13), part(13, 21), part(21, 29))
    }
}

/// Google's name for what an operation does: some methods are named in full.
fn operation_type(method: &str) -> &str {
    match method.strip_prefix("compute.") {
        Some("firewalls.patch" | "instances.updateNetworkInterface") => method,
        Some(rest) if rest.starts_with("instanceGroupManagers.") || rest.starts_with("regionInstanceGroupManagers.") => method,
        Some(_) | None => method.rsplit('.').next().unwrap_or(method),
    }
}

fn digest(request: &Request<'_>) -> [u8; 32] {
    Sha256::digest(format!("{} {} {:?} {}", request.method.id, request.path, request.parameters, request.body)).into()
}

// === the methods ===

/// `…Operations.get` and `.wait`.
pub fn get(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    match request.method.verb() {
        "wait" => state.look(links::parent(&request.path)),
        _ => state.look(&request.path),
    }
}

/// `…Operations.list`.
pub fn list(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let operations = state.operations.iter().filter(|(path, _)| links::parent(path) == request.path);
    let operations = operations.map(|(_, operation)| operation.json.clone()).collect();
    super::listing::list(request, "operation", operations)
}
