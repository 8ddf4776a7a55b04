//! REST: which routes there are, who may call them how often, and with what. The routes themselves are in one module per family.

mod body;
mod call;
mod channels;
mod commands;
mod guilds;
mod identity;
mod interactions;
mod messages;
mod reactions;
mod threads;
mod webhooks;
mod write;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::Value;
use tokio::time::Instant;
use url::form_urlencoded;

use self::body::Upload;
pub(super) use self::reactions::{EMOJI_PER_MESSAGE, emoji};
use super::limits::{Bucket, Standing};
use super::refusal::{Refusal, Scope, seconds};
use super::shape::Shape;
use super::state::State;
use super::{Discord, gateway};

/// What every handler gets.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) discord: Discord,
    pub(super) address: SocketAddr,
}

/// A route of the API.
struct Route {
    method: Method,
    /// Below `/api/v10`, with parameters in braces.
    path: &'static str,
    access: Access,
    bucket: Bucket,
    /// Query parameters.
    query: &'static [&'static str],
    /// Shape of the body; no body if `None`.
    body: Option<&'static Shape>,
    handle: fn(&mut Call<'_>) -> Result<Answer, Refusal>,
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Anybody,
    /// Whoever has the bot token.
    Bot,
    /// Whoever has the token in the path.
    Token,
}

/// One call under way.
struct Call<'s> {
    state: &'s mut State,
    address: SocketAddr,
    parameters: BTreeMap<&'static str, String>,
    query: BTreeMap<String, String>,
    body: Value,
    files: Vec<Upload>,
}

/// A successful answer.
struct Answer(StatusCode, Option<Value>);

/// Every route.
const FAMILIES: &[&[Route]] = &[
    identity::ROUTES,
    guilds::ROUTES,
    channels::ROUTES,
    messages::ROUTES,
    reactions::ROUTES,
    threads::ROUTES,
    commands::ROUTES,
    interactions::ROUTES,
    webhooks::ROUTES,
];

pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/", get(gateway::open))
        .route("/attachments/{*path}", get(messages::attachment))
        .fallback(call)
        // The server has its own.
        .layer(DefaultBodyLimit::disable())
        .with_state(api)
}

impl Api {
    /// Address of the gateway.
    pub(super) fn gateway_url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

async fn call(Shared(api): Shared<Api>, uri: Uri, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let (result, standing) = api.discord.change(|state| run(state, api.address, &uri, &method, &headers, &body));
    respond(&result, standing.as_ref())
}

fn run(
    state: &mut State,
    address: SocketAddr,
    uri: &Uri,
    method: &Method,
    headers: &HeaderMap,
    body: &[u8],
) -> (Result<Answer, Refusal>, Option<Standing>) {
    let (limits, now) = (state.guild.limits, Instant::now());
    if let Some(refusal) = limits.and_then(|limits| state.meters.banned(&limits, now)) {
        return (Err(refusal), None);
    }
    let found = find(method, uri.path()).and_then(|(route, parameters)| {
        authorise(state, route, headers)?;
        Ok((route, parameters))
    });
    let (result, standing) = match found {
        Err(refusal) => (Err(refusal), None),
        Ok((route, parameters)) => {
            // Channel, guild, or the interaction's token: Discord counts each for itself.
            let major = ["channel", "guild", "token"].iter().find_map(|name| parameters.get(name)).cloned().unwrap_or_default();
            let counted = limits.map(|limits| state.meters.count(&limits, (route.bucket, route.path, &major), now));
            let (counted, standing) = counted.unwrap_or((Ok(()), None));
            let result = counted.and_then(|()| {
                let query = query(route, uri.query().unwrap_or_default())?;
                let (body, files) = body::parse(headers, body)?;
                match route.body {
                    // A body that is left out is an empty one.
                    Some(shape) if body.is_null() => shape.check(&serde_json::json!({}))?,
                    Some(shape) => shape.check(&body)?,
                    None if body.is_null() || body.as_object().is_some_and(serde_json::Map::is_empty) => {}
                    None => return Err(Refusal::field("", "UNKNOWN_BODY", "The emulator expects no body here.")),
                }
                (route.handle)(&mut Call { state, address, parameters, query, body, files })
            });
            (result, standing)
        }
    };
    let invalid = result.as_ref().err().is_some_and(|refusal| [401, 403, 429].contains(&refusal.status().as_u16()));
    if let (true, Some(limits)) = (invalid, limits) {
        state.meters.count_invalid(&limits, now);
    }
    (result, standing)
}

fn find(method: &Method, path: &str) -> Result<(&'static Route, BTreeMap<&'static str, String>), Refusal> {
    let path = path.strip_prefix("/api/v10/").ok_or(Refusal::NOT_FOUND)?;
    let mut matching = FAMILIES.iter().copied().flatten().filter_map(|route| Some((route, parameters(route.path, path)?))).peekable();
    matching.peek().ok_or(Refusal::NOT_FOUND)?;
    // A literal segment goes before a parameter: the more parameters, the later.
    let of_method: Vec<_> = matching.filter(|(route, _)| route.method == method).collect();
    of_method.into_iter().min_by_key(|(_, parameters)| parameters.len()).ok_or(Refusal::METHOD_NOT_ALLOWED)
}

fn parameters(pattern: &'static str, path: &str) -> Option<BTreeMap<&'static str, String>> {
    let (wanted, given): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    if wanted.len() != given.len() {
        return None;
    }
    let mut found = BTreeMap::new();
    for (wanted, given) in wanted.into_iter().zip(given) {
        match wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => drop(found.insert(name, decoded(given))),
            // Some clients encode the `@` of `@me` and `@original`.
            None if decoded(given) == wanted => {}
            None => return None,
        }
    }
    Some(found)
}

/// A segment of a path without its percent encoding, in which a plus sign is a plus sign.
fn decoded(segment: &str) -> String {
    let pair = format!("x={}", segment.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn authorise(state: &State, route: &Route, headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|given| given.strip_prefix("Bot "));
    match route.access {
        Access::Bot if token != Some(state.guild.application.token.as_str()) => Err(Refusal::UNAUTHORIZED),
        Access::Anybody | Access::Bot | Access::Token => Ok(()),
    }
}

fn query(route: &Route, query: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let given: BTreeMap<String, String> =
        form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    match given.keys().find(|name| !route.query.contains(&name.as_str())) {
        Some(name) => Err(Refusal::field(name, "UNKNOWN_FIELD", "The emulator knows no such query parameter.")),
        None => Ok(given),
    }
}

fn respond(result: &Result<Answer, Refusal>, standing: Option<&Standing>) -> Response {
    let (status, body) = match result {
        Ok(Answer(status, body)) => (*status, body.as_ref().map(Value::to_string)),
        // Who is banned talks to the machine in front of the API.
        Err(Refusal::RateLimited { scope: Scope::Ban, .. }) => (StatusCode::TOO_MANY_REQUESTS, Some("error code: 1015".into())),
        Err(refusal) => (refusal.status(), Some(refusal.body().to_string())),
    };
    let json = !matches!(result, Err(Refusal::RateLimited { scope: Scope::Ban, .. }));
    let mut response = (status, body.clone().unwrap_or_default()).into_response();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    put(header::CONTENT_TYPE.as_str(), if json { "application/json" } else { "text/plain" });
    for (name, value) in standing.map(Standing::headers).unwrap_or_default() {
        put(name, &value);
    }
    if let Err(Refusal::RateLimited { scope, retry_after }) = result {
        put(header::RETRY_AFTER.as_str(), &seconds(*retry_after).ceil().to_string());
        match scope {
            Scope::User => put("x-ratelimit-scope", "user"),
            Scope::Global => {
                put("x-ratelimit-scope", "global");
                put("x-ratelimit-global", "true");
            }
            Scope::Ban => {}
        }
    }
    if body.is_none() {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    response
}

// === impl Answer ===

impl Answer {
    #[expect(clippy::unnecessary_wraps, reason = "every handler ends with it")]
    fn ok(body: Value) -> Result<Self, Refusal> {
        Ok(Self(StatusCode::OK, Some(body)))
    }

    #[expect(clippy::unnecessary_wraps, reason = "every handler ends with it")]
    fn empty() -> Result<Self, Refusal> {
        Ok(Self(StatusCode::NO_CONTENT, None))
    }
}
