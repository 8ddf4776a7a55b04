//! The Web API: who may call which method with which arguments. The methods themselves are in one module per family.

mod arguments;
mod chat;
mod content;
mod conversations;
mod files;
mod identity;
mod reactions;
mod refusal;
mod response;
mod users;
mod views;

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method as HttpMethod, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};
use uuid::Uuid;

use self::refusal::Refusal;
use super::state::{Channel, State};
use super::{Slack, socket};

pub(super) use self::arguments::Arguments;
pub(super) use self::reactions::emoji;
pub(super) use self::response::{Origin, respond};

/// What every handler gets.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) slack: Slack,
    pub(super) address: SocketAddr,
}

/// A method of the Web API.
struct Method {
    name: &'static str,
    token: Token,
    /// Scope that the token must have. Where it depends on the kind of conversation, the method asks for it itself.
    scope: Option<&'static str>,
    /// Names of all arguments besides `token`.
    arguments: &'static [&'static str],
    handle: fn(&mut Call<'_>) -> Result<Value, Refusal>,
}

/// The kind of token that a method takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    None,
    Bot,
    App,
}

/// One call under way.
struct Call<'s> {
    state: &'s mut State,
    arguments: Arguments,
    address: SocketAddr,
}

/// Every method.
const FAMILIES: &[&[Method]] =
    &[identity::METHODS, chat::METHODS, conversations::METHODS, reactions::METHODS, users::METHODS, views::METHODS, files::METHODS];

pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/api/{method}", any(call))
        .route("/link/", get(socket::link))
        .route("/upload/v1/{token}", post(files::upload))
        .route("/commands/{*rest}", post(response_url))
        .route("/actions/{*rest}", post(response_url))
        .with_state(api)
}

async fn call(
    Shared(api): Shared<Api>,
    Path(name): Path<String>,
    uri: Uri,
    http_method: HttpMethod,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let method = FAMILIES.iter().copied().flatten().find(|method| method.name == name);
    let Some(method) = method else { return answer(&Err(Refusal::UnknownMethod(name)), Vec::new()) };
    let parsed = Arguments::parse(&http_method, uri.query().unwrap_or_default(), &headers, &body);
    let (arguments, warning) = match parsed {
        Ok(parsed) => parsed,
        Err(refusal) => return answer(&Err(refusal), Vec::new()),
    };
    let result = api.slack.change(|state| run(state, method, arguments, &headers, api.address));
    let scopes = api.slack.read(|state| scopes_of(state, method.token));
    let mut response_headers = vec![("x-oauth-scopes", scopes)];
    if let Some(scope) = method.scope {
        response_headers.push(("x-accepted-oauth-scopes", scope.to_owned()));
    }
    let result = result.map(|mut value| {
        if let (Some(warning), Value::Object(fields)) = (warning, &mut value) {
            fields.insert("warning".into(), json!(warning));
            let metadata = fields.entry("response_metadata").or_insert_with(|| json!({}));
            if let Value::Object(metadata) = metadata {
                metadata.insert("warnings".into(), json!([warning]));
            }
        }
        value
    });
    answer(&result, response_headers)
}

fn run(
    state: &mut State,
    method: &'static Method,
    mut arguments: Arguments,
    headers: &HeaderMap,
    address: SocketAddr,
) -> Result<Value, Refusal> {
    authorise(state, method, arguments.take_token(headers).as_deref())?;
    arguments.only(method.arguments)?;
    if let Some(limits) = state.workspace.limits {
        let channel = arguments.text("channel")?.unwrap_or_default();
        let counted = state.meters.count(&limits, method.name, &channel, tokio::time::Instant::now());
        counted.map_err(|wait| Refusal::RateLimited { retry_after: wait })?;
    }
    (method.handle)(&mut Call { state, arguments, address })
}

/// Checks kind and scope of the token.
fn authorise(state: &State, method: &Method, token: Option<&str>) -> Result<(), Refusal> {
    if method.token == Token::None {
        return Ok(());
    }
    let app = &state.workspace.app;
    let given = match token {
        None => return Err(Refusal::Code("not_authed")),
        Some(token) if token == app.bot_token => Token::Bot,
        Some(token) if token == app.app_token => Token::App,
        Some(_) => return Err(Refusal::Code("invalid_auth")),
    };
    if given != method.token {
        return Err(Refusal::Code("not_allowed_token_type"));
    }
    method.scope.map_or(Ok(()), |scope| require_scope(state, given, scope))
}

fn require_scope(state: &State, token: Token, needed: &str) -> Result<(), Refusal> {
    let provided = scopes_of(state, token);
    match provided.split(',').any(|scope| scope == needed) {
        true => Ok(()),
        false => Err(Refusal::MissingScope { needed: needed.into(), provided }),
    }
}

fn scopes_of(state: &State, token: Token) -> String {
    match token {
        Token::None => String::new(),
        Token::App => "connections:write".into(),
        Token::Bot => state.workspace.app.bot_scopes.iter().cloned().collect::<Vec<_>>().join(","),
    }
}

/// A message for a response URL.
async fn response_url(Shared(api): Shared<Api>, uri: Uri, http_method: HttpMethod, headers: HeaderMap, body: Bytes) -> Response {
    let parsed = Arguments::parse(&http_method, uri.query().unwrap_or_default(), &headers, &body);
    let result = parsed.and_then(|(arguments, _)| api.slack.change(|state| response::post(state, uri.path(), arguments)));
    match result {
        Ok(()) => answer(&Ok(json!({})), Vec::new()),
        Err(refusal @ Refusal::Code("used_url" | "expired_url")) => {
            (StatusCode::NOT_FOUND, answer(&Err(refusal), Vec::new())).into_response()
        }
        Err(refusal) => (StatusCode::BAD_REQUEST, answer(&Err(refusal), Vec::new())).into_response(),
    }
}

fn answer(result: &Result<Value, Refusal>, headers: Vec<(&'static str, String)>) -> Response {
    let mut body = match result {
        Ok(value) => value.clone(),
        Err(refusal) => refusal.body(),
    };
    if let Value::Object(fields) = &mut body {
        fields.insert("ok".into(), json!(result.is_ok()));
    }
    let mut response = body.to_string().into_response();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    put(header::CONTENT_TYPE.as_str(), "application/json; charset=utf-8");
    put("x-slack-req-id", &Uuid::new_v4().simple().to_string());
    for (name, value) in headers {
        put(name, &value);
    }
    if let Err(Refusal::RateLimited { retry_after }) = result {
        // Whole seconds, and never "now": Slack names no fractions.
        put(header::RETRY_AFTER.as_str(), &retry_after.as_secs_f64().ceil().max(1.0).to_string());
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    }
    response
}

// === impl Call ===

impl Call<'_> {
    fn bot(&self) -> String {
        self.state.workspace.app.bot_user.clone()
    }

    /// The conversation that `channel` names, if the bot can see it.
    fn visible_channel(&self) -> Result<&Channel, Refusal> {
        let id = self.arguments.required("channel")?;
        let bot = &self.state.workspace.app.bot_user;
        let visible = |channel: &&Channel| (!channel.is_private && !channel.is_im) || channel.members.contains(bot);
        self.state.channels.get(&id).filter(visible).ok_or(Refusal::Code("channel_not_found"))
    }

    /// The conversation that `channel` names, if the bot is in it.
    fn own_channel(&self) -> Result<&Channel, Refusal> {
        let channel = self.visible_channel()?;
        match channel.members.contains(&self.state.workspace.app.bot_user) {
            true => Ok(channel),
            false => Err(Refusal::Code("not_in_channel")),
        }
    }

    /// Asks for the scope of a kind of conversation, such as `im:history`.
    fn require_scope_in(&self, channel: &Channel, right: &str) -> Result<(), Refusal> {
        let family = match channel.kind() {
            "im" => "im",
            "group" => "groups",
            _ => "channels",
        };
        require_scope(self.state, Token::Bot, &format!("{family}:{right}"))
    }
}
