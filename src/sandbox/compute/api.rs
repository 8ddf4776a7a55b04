//! From an HTTP request to its answer: find the method, check the request, do it, check the answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{Request as HttpRequest, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::discovery::{Document, Method};
use super::failure::Failure;
use super::state::{Call, State, text};
use super::{batch, links, permissions, routes};
use crate::sandbox::server::Wire;

/// Where the API lives under a host.
pub const BASE_PATH: &str = "/compute/v1/";

/// Where batches go.
const BATCH_PATH: &str = "/batch/compute/v1";

/// The door to the state. Clones share it.
#[derive(Clone, Debug)]
pub struct Api {
    document: Arc<Document>,
    state: Arc<Mutex<State>>,
    wire: Wire,
}

/// A request whose form is right.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path under [`BASE_PATH`].
    pub path: String,
    /// Parameters of path and query.
    pub parameters: BTreeMap<String, String>,
    /// Body, an empty object if there was none.
    pub body: Value,
}

impl Request<'_> {
    /// A parameter, empty if it was not given.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A yes-or-no parameter, no if it was not given.
    pub fn flag(&self, name: &str) -> bool {
        self.parameter(name).eq_ignore_ascii_case("true")
    }

    /// The project.
    pub fn project(&self) -> &str {
        self.parameter("project")
    }

    /// The zone or region, or `global`: `projects/P/zones/Z`.
    pub fn scope(&self) -> String {
        let project = self.project();
        match (self.parameters.get("zone"), self.parameters.get("region")) {
            (Some(zone), _) => format!("projects/{project}/zones/{zone}"),
            (None, Some(region)) => format!("projects/{project}/regions/{region}"),
            (None, None) => format!("projects/{project}/global"),
        }
    }
}

impl Api {
    /// The API on this state.
    pub fn new(document: Document, state: State, wire: Wire) -> Self {
        Self { document: Arc::new(document), state: Arc::new(Mutex::new(state)), wire }
    }

    /// The HTTP side of it.
    pub fn router(self) -> Router {
        Router::new().fallback(serve).with_state(self)
    }

    /// The state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where requests of a batch are recorded one by one.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Answers a request for `path?query`.
    pub fn answer(&self, method: &str, path: &str, query: &str, body: &[u8]) -> (StatusCode, Value) {
        match self.try_answer(method, path, query, body) {
            Ok(answer) => (StatusCode::OK, answer),
            Err(failure) => (failure.status, failure.body()),
        }
    }

    fn try_answer(&self, http_method: &str, path: &str, query: &str, body: &[u8]) -> Result<Value, Failure> {
        let unknown = || Failure::unknown_route(http_method, path);
        let (method, mut parameters) =
            path.strip_prefix(BASE_PATH).and_then(|path| self.document.find(http_method, path)).ok_or_else(unknown)?;
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if parameters.insert(name.to_string(), value.to_string()).is_some() {
                return Err(Failure::bad_request("invalidParameter", format!("Parameter `{name}` is given twice")));
            }
        }
        refuse("invalidParameter", &self.document.parameter_problems(method, &parameters))?;
        let body = read_body(body)?;
        refuse("badRequest", &self.document.request_problems(method, &body))?;

        let mut state = self.state();
        state.settle_old();
        let path = path.strip_prefix(BASE_PATH).ok_or_else(unknown)?;
        let request = state.locate(Request { method, path: path.to_owned(), parameters, body });
        let result = request.and_then(|request| self.perform(&mut state, &request));
        let status = result.as_ref().map_or_else(|failure| failure.status, |_| StatusCode::OK).as_u16();
        state.calls.push(Call { method: method.id.clone(), path: path.to_owned(), status, mutates: method.mutates() });
        result
    }

    fn perform(&self, state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
        state.grants.check(request)?;
        let mut answer = match state.replayed(request)? {
            Some(operation) => operation,
            None => routes::perform(state, request)?,
        };
        links::render(&mut answer, &state.link_base);
        let problems = self.document.answer_problems(request.method, &answer);
        if problems.is_empty() { Ok(answer) } else { Err(Failure::wrong_answer(&request.method.id, &problems)) }
    }
}

impl State {
    /// Checks that the project, zone or region of a request exists, and replaces a project's number by its id.
    fn locate<'a>(&self, mut request: Request<'a>) -> Result<Request<'a>, Failure> {
        let given = request.project().to_owned();
        let project = self.project(&given).ok_or_else(|| Failure::not_found(&format!("projects/{given}")))?;
        if project != given {
            request.path = request.path.replacen(&format!("projects/{given}"), &format!("projects/{project}"), 1);
            request.parameters.insert("project".into(), project.clone());
        }
        for (parameter, kind) in [("zone", "zones"), ("region", "regions")] {
            // A zone or region that is itself asked for is simply not found.
            if let Some(place) = request.parameters.get(parameter)
                && !request.path.ends_with(&format!("/{kind}/{place}"))
                && !self.resources.contains_key(&format!("projects/{project}/{kind}/{place}"))
            {
                return Err(Failure::invalid(parameter, place, &format!("Unknown {parameter}.")));
            }
        }
        Ok(request)
    }

    /// The id of a project that is named by id or number.
    fn project(&self, given: &str) -> Option<String> {
        let named = |path: &&String| path.split('/').count() == 2;
        let project = self
            .resources
            .keys()
            .filter(named)
            .find(|path| links::name(path) == given || self.resources.get(*path).is_some_and(|project| text(project, "id") == given))?;
        Some(links::name(project).to_owned())
    }

    /// The path of the resource that a field of a request links to.
    ///
    /// # Errors
    /// If it is no link to this API.
    pub fn linked(&self, field: &str, link: &str, project: &str) -> Result<String, Failure> {
        let path = links::parse(link, &self.own_base, project).ok_or_else(|| Failure::invalid(field, link, "The URL is malformed."))?;
        let given = links::project(&path);
        let known = self.project(given).unwrap_or_else(|| given.to_owned());
        Ok(path.replacen(&format!("projects/{given}"), &format!("projects/{known}"), 1))
    }
}

fn refuse(reason: &'static str, problems: &[String]) -> Result<(), Failure> {
    if problems.is_empty() { Ok(()) } else { Err(Failure::bad_request(reason, format!("Invalid request: {}", problems.join("; ")))) }
}

fn read_body(body: &[u8]) -> Result<Value, Failure> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    let mut body: Value =
        serde_json::from_slice(body).map_err(|error| Failure::bad_request("parseError", format!("Parse error: {error}")))?;
    // To the API a null is a field that is not there.
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    Ok(body)
}

async fn serve(Shared(api): Shared<Api>, request: HttpRequest<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    // The server in front of this has read the body already, within its limit.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.path();
    if path == BATCH_PATH {
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        return batch::answer(&api, content_type, &body);
    }
    if let Some((status, answer)) = permissions::tested(&api.state(), parts.method.as_str(), path, &body) {
        return json_response(status, &answer);
    }
    let (status, answer) = api.answer(parts.method.as_str(), path, parts.uri.query().unwrap_or_default(), &body);
    json_response(status, &answer)
}

/// A JSON answer.
pub fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json; charset=UTF-8"));
    response
}
