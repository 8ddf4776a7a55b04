//! The HTTP side: from a request to an answer.

mod exec;
mod pods;
mod read;
mod request;
mod scale;
mod watch;
mod write;

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::authorisation::Attempt;
use super::cluster::Cluster;
use super::discovery;
use super::failure::Failure;
use request::{Query, Target};

/// What every handler needs.
#[derive(Clone, Debug)]
pub struct Api {
    /// The cluster.
    pub cluster: Cluster,
    /// Cancelled when the emulator stops: watches must end.
    pub stop: CancellationToken,
    /// Where the emulator listens, for old discovery.
    pub address: SocketAddr,
}

/// A request with its body read.
#[derive(Debug)]
struct Call {
    parts: Parts,
    body: Bytes,
}

type Answer = Result<Response<Body>, Failure>;

/// The router: one handler, because the paths follow one rule that a parser states better than a table.
pub fn router(api: Api) -> Router {
    Router::new().fallback(handle).with_state(api)
}

async fn handle(Shared(api): Shared<Api>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(header::UPGRADE) && parts.uri.path().ends_with("/exec") {
        return exec::exec(api, parts).await;
    }
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Failure::bad_request(format!("the body cannot be read: {error}")).response(),
    };
    dispatch(&api, Call { parts, body }).unwrap_or_else(|failure| failure.response())
}

fn dispatch(api: &Api, call: Call) -> Answer {
    let path = call.parts.uri.path().to_owned();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["api", "v1", rest @ ..] if !rest.is_empty() => resource(api, &call, Target::parse("", "v1", rest)?),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => resource(api, &call, Target::parse(group, version, rest)?),
        other => describe(api, &call, other),
    }
}

/// Everything that is not about objects.
fn describe(api: &Api, call: &Call, segments: &[&str]) -> Answer {
    let accept = call.parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let aggregated = discovery::wants_aggregated(accept);
    let found = match segments {
        ["healthz" | "livez" | "readyz"] => return Ok(text("ok".into())),
        ["version"] => Some(discovery::version()),
        ["api"] | ["apis"] if aggregated => {
            let body = discovery::aggregated(segments == ["api"]);
            return known(call, json_as(&body, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"));
        }
        ["api"] => Some(discovery::core_versions(&api.address.to_string())),
        ["apis"] => Some(discovery::groups()),
        ["apis", group] => discovery::group(group),
        ["api", version] => discovery::resources("", version),
        ["apis", group, version] => discovery::resources(group, version),
        // `kubectl` reads version 2 as protobuf only, and falls back on nothing when it gets anything else.
        ["openapi", "v2"] if accept.contains("protobuf") && !accept.contains("application/json") => return Err(Failure::not_acceptable()),
        ["openapi", "v2"] => Some(discovery::openapi_v2()),
        ["openapi", "v3"] => Some(discovery::openapi_v3_index()),
        ["openapi", "v3", "api", version] => discovery::openapi_v3("", version),
        ["openapi", "v3", "apis", group, version] => discovery::openapi_v3(group, version),
        _ => None,
    };
    known(call, json(StatusCode::OK, &found.ok_or_else(Failure::unknown_route)?))
}

/// Discovery is read only and takes few parameters.
fn known(call: &Call, answer: Response<Body>) -> Answer {
    Query::parse(call.parts.uri.query(), request::DISCOVERY)?;
    if call.parts.method == Method::GET { Ok(answer) } else { Err(Failure::method_not_allowed()) }
}

fn resource(api: &Api, call: &Call, target: Target<'_>) -> Answer {
    authorise(api, call, &target)?;
    let deletes = call.parts.method == Method::DELETE;
    let reads = call.parts.method == Method::GET;
    let known = match (reads, target.name, target.subresource) {
        _ if deletes => request::DELETE,
        (true, _, Some(sub)) if sub.name == "log" => request::LOG,
        (true, _, Some(sub)) if sub.name == "exec" => return pods::exec(),
        (true, Some(_), _) => request::READ,
        (true, None, _) => request::LIST,
        (false, _, _) => request::WRITE,
    };
    if target.subresource.is_some_and(|sub| sub.name == "exec") {
        return pods::exec();
    }
    let query = Query::parse(call.parts.uri.query(), known)?;
    target.allow(&call.parts.method, &query)?;
    match (target.subresource.map(|sub| sub.name), target.name) {
        (Some("log"), Some(name)) => pods::log(api, &target, name, &query),
        (Some("eviction"), Some(name)) => pods::evict(api, call, &target, name, &query),
        (Some("scale"), Some(name)) => scale::handle(api, call, &target, name, &query),
        (_, Some(name)) if reads => read::get(api, call, &target, name),
        (_, None) if reads && query.flag("watch") => watch::watch(api, call, &target, &query),
        (_, None) if reads => read::list(api, call, &target, &query),
        (_, Some(name)) if deletes => write::delete(api, call, &target, name, &query),
        (_, None) if deletes => write::delete_collection(api, call, &target, &query),
        (_, Some(name)) if call.parts.method == Method::PUT => write::update(api, call, &target, name, &query),
        (_, Some(name)) => write::patch(api, call, &target, name, &query),
        (_, None) => write::create(api, call, &target, &query),
    }
}

/// Before anything else is looked at, as the API server does.
fn authorise(api: &Api, call: &Call, target: &Target<'_>) -> Result<(), Failure> {
    let watches = call.parts.uri.query().is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")));
    authorise_as(api, target, target.verb(&call.parts.method, watches))
}

fn authorise_as(api: &Api, target: &Target<'_>, verb: &str) -> Result<(), Failure> {
    let attempt = Attempt {
        resource: target.resource,
        subresource: target.subresource.map(|sub| sub.name),
        verb,
        namespace: target.namespace,
        name: target.name.unwrap_or_default(),
    };
    api.cluster.read(|state| state.grants.check(&attempt))
}

fn json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = json_as(body, "application/json");
    *response.status_mut() = status;
    response
}

fn json_as(body: &Value, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn text(body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
