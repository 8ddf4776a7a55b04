//! Calls of Discord's REST API: under a time limit, within its rate limits, with errors that the caller can act upon and that give nothing
//! away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use super::error::DiscordError;
use super::files::Form;
use super::settings::Endpoint;
use crate::adapters::http::{Answer, Calls};
use crate::ports::ChatError;

/// Discord refuses clients that do not name themselves in this form.
const USER_AGENT: &str = concat!("DiscordBot (stanch, ", env!("CARGO_PKG_VERSION"), ")");

/// How long a call waits in place for a limit that is used up: most of Discord's windows are shorter. Whoever needs more patience has it
/// behind [`ChatError::RateLimited`].
const IN_PLACE: Duration = Duration::from_millis(1_500);

/// How long to wait if Discord limits a call and does not say for how long. It always says so; its windows have one to five seconds.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Routes whose limits are remembered: a route per channel, thread and kind of call. Those that are open again are forgotten.
const ROUTES: usize = 1_000;

/// Characters of Discord's own explanation that an error repeats.
const EXPLANATION: usize = 300;

/// Discord's codes that the adapter acts upon.
pub(super) mod code {
    pub(in super::super) const UNKNOWN_CHANNEL: i64 = 10_003;
    pub(in super::super) const UNKNOWN_MESSAGE: i64 = 10_008;
    pub(in super::super) const UNKNOWN_WEBHOOK: i64 = 10_015;
    pub(in super::super) const UNKNOWN_INTERACTION: i64 = 10_062;
    pub(in super::super) const INVALID_WEBHOOK_TOKEN: i64 = 50_027;
    pub(in super::super) const THREAD_ARCHIVED: i64 = 50_083;
    pub(in super::super) const THREAD_EXISTS: i64 = 160_004;
}

/// The REST API with the bot's token. Clones share connections and what is known of limits.
#[derive(Clone)]
pub(super) struct Api {
    calls: Calls,
    base: String,
    token: SecretString,
    limits: Arc<Mutex<Limits>>,
}

/// Why a call failed, as Discord said it.
#[derive(Debug)]
pub(super) enum Failure {
    /// Discord refuses the call for good.
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// Discord's code; 0 without one.
        code: i64,
        /// Discord's words.
        message: String,
    },
    /// Anything else.
    Other(ChatError),
}

/// Until when routes are closed.
#[derive(Debug, Default)]
struct Limits {
    everything: Option<Instant>,
    routes: BTreeMap<String, Instant>,
}

impl Api {
    pub(super) fn new(endpoint: &Endpoint, token: &SecretString) -> Result<Self, DiscordError> {
        let calls = Calls::new(endpoint.is_loopback()).map_err(DiscordError::SetUp)?;
        Ok(Self { calls, base: endpoint.base().to_owned(), token: token.clone(), limits: Arc::default() })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::DELETE, path, None).await
    }

    /// Posts a message with files.
    pub(super) async fn post_form(&self, path: &str, form: &Form) -> Result<Value, Failure> {
        let kind = format!("multipart/form-data; boundary={}", form.boundary);
        self.limited(Method::POST, path, Some((kind, form.body.clone()))).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.limited(method, path, body.map(json)).await
    }

    async fn limited(&self, method: Method, path: &str, body: Option<(String, String)>) -> Result<Value, Failure> {
        let route = route(&method, path);
        self.admit(&route).await?;
        let answer = self.send(method, path, body).await?;
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).learn(&route, &answer, Instant::now());
        read(&answer)
    }

    /// The answer, whatever it is.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        self.send(method, path, body.map(json)).await
    }

    /// Sends a body with its kind.
    async fn send(&self, method: Method, path: &str, body: Option<(String, String)>) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static(USER_AGENT))]);
        let mut token = HeaderValue::from_str(&format!("Bot {}", self.token.expose_secret()))
            .map_err(|_| Failure::refused(StatusCode::UNAUTHORIZED, "the token holds odd characters"))?;
        token.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, token);
        let (kind, body) = body.unwrap_or_default();
        if !kind.is_empty() {
            let kind = HeaderValue::from_str(&kind).map_err(|_| Failure::refused(StatusCode::BAD_REQUEST, "a body of an odd kind"))?;
            headers.insert(header::CONTENT_TYPE, kind);
        }
        let answer = self.calls.call(method, &format!("{}{path}", self.base), headers, body).await;
        answer.map_err(|why| Failure::Other(ChatError::Unavailable(why)))
    }

    /// Waits until a route is open, or says how long it is not. Calls beyond a limit would count as invalid, and too many of those are a ban.
    async fn admit(&self, route: &str) -> Result<(), Failure> {
        let wait = self.limits.lock().unwrap_or_else(PoisonError::into_inner).wait(route, Instant::now());
        if wait > IN_PLACE {
            return Err(too_fast(wait));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

impl Limits {
    /// How long a route is closed.
    fn wait(&self, route: &str, now: Instant) -> Duration {
        let until = self.routes.get(route).copied().max(self.everything);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Takes in what an answer says.
    fn learn(&mut self, route: &str, answer: &Answer, now: Instant) {
        let refused = answer.status == StatusCode::TOO_MANY_REQUESTS;
        let used_up = text(&answer.headers, "x-ratelimit-remaining") == Some("0");
        let reset = seconds(&answer.headers, "x-ratelimit-reset-after").filter(|_| used_up);
        let Some(wait) = (if refused { Some(retry_after(answer)) } else { reset }) else { return };
        if refused && text(&answer.headers, "x-ratelimit-global").is_some() {
            self.everything = Some(now + wait);
        }
        if self.routes.len() >= ROUTES {
            self.routes.retain(|_, until| *until > now);
        }
        self.routes.insert(route.to_owned(), now + wait);
    }
}

impl Failure {
    fn refused(status: StatusCode, message: &str) -> Self {
        Self::Refused { status, code: 0, message: message.into() }
    }

    /// Discord's code, if it refused.
    pub(super) fn code(&self) -> Option<i64> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Other(_) => None,
        }
    }

    /// The status, if Discord refused.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Other(_) => None,
        }
    }
}

impl From<Failure> for ChatError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { code: 0, message, .. } => Self::Refused(message),
            Failure::Refused { code, message, .. } => Self::Refused(format!("{message} ({code})")),
            Failure::Other(error) => error,
        }
    }
}

/// A body in JSON, with its kind.
fn json(body: &Value) -> (String, String) {
    ("application/json".into(), body.to_string())
}

/// An id in an answer. Answers are read only as far as they are needed: a field that Discord changes elsewhere must not make a call fail
/// that succeeded.
pub(super) fn id(answer: &Value) -> Result<String, ChatError> {
    let id = answer.get("id").and_then(Value::as_str).map(str::to_owned);
    id.ok_or_else(|| ChatError::Unavailable("an answer that makes no sense".into()))
}

/// What an answer says, in one of three ways: yes, no, or nothing that helps.
pub(super) fn read(answer: &Answer) -> Result<Value, Failure> {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let status = answer.status;
    let said = |field: &str| body.as_ref().and_then(|body| body.get(field)).cloned().unwrap_or(Value::Null);
    match status {
        StatusCode::NO_CONTENT => Ok(Value::Null),
        _ if status.is_success() => body.ok_or_else(|| Failure::Other(ChatError::Unavailable("an answer that makes no sense".into()))),
        StatusCode::TOO_MANY_REQUESTS => Err(too_fast(retry_after(answer))),
        _ if status.is_client_error() => {
            let explained = problems(&said("errors"));
            let words = said("message").as_str().map_or_else(|| format!("HTTP status {}", status.as_u16()), str::to_owned);
            let words = if explained.is_empty() { words } else { format!("{words}: {explained}") };
            let message = words.chars().take(EXPLANATION).collect();
            Err(Failure::Refused { status, code: said("code").as_i64().unwrap_or_default(), message })
        }
        _ => Err(Failure::Other(ChatError::Unavailable(format!("HTTP status {}", status.as_u16())))),
    }
}

/// Discord's nested explanations, the paths in front.
fn problems(errors: &Value) -> String {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), errors)];
    while let Some((path, errors)) = open.pop() {
        let Value::Object(fields) = errors else { continue };
        for (name, inner) in fields {
            match (name.as_str(), inner) {
                ("_errors", Value::Array(list)) => {
                    found.extend(list.iter().filter_map(|one| Some(format!("{path} {}", one.get("message")?.as_str()?))));
                }
                _ => open.push((if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, inner)),
            }
        }
    }
    found.join("; ")
}

fn too_fast(wait: Duration) -> Failure {
    Failure::Other(ChatError::RateLimited { retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1) })
}

/// The body says it exactly, the header in whole seconds.
fn retry_after(answer: &Answer) -> Duration {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let exact = body.and_then(|body| body.get("retry_after")?.as_f64()).and_then(|wait| Duration::try_from_secs_f64(wait).ok());
    exact.or_else(|| seconds(&answer.headers, "retry-after")).unwrap_or(RETRY_AFTER)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text(headers, name)?.parse().ok()?).ok()
}

/// What shares a limit: the method and the path, in which only the first id (the channel, guild or interaction) counts.
fn route(method: &Method, path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let mut route = method.to_string();
    let (mut ids, mut after_reactions) = (0, false);
    for part in path.split('/').skip(1) {
        let is_id = part.bytes().all(|byte| byte.is_ascii_digit());
        ids += usize::from(is_id);
        route.push('/');
        route.push_str(match part {
            _ if after_reactions => ":emoji",
            _ if is_id && ids > 1 => ":id",
            // The token of an interaction.
            long if long.len() > 32 => ":token",
            part => part,
        });
        after_reactions = part == "reactions";
    }
    route
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)));
        Answer { status: StatusCode::from_u16(status).unwrap(), headers: headers.collect(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn routes_differ_by_their_first_id_alone() {
        let of = |path: &str| route(&Method::GET, path);
        assert_eq!(of("/channels/1/messages/2/reactions/%E2%9C%85?limit=100"), "GET/channels/1/messages/:id/reactions/:emoji");
        assert_eq!(of("/guilds/1/members/2"), "GET/guilds/1/members/:id");
        assert_eq!(of(&format!("/webhooks/1/{}/messages/@original", "t".repeat(60))), "GET/webhooks/1/:token/messages/@original");
    }

    #[test]
    fn refusals_say_why_and_outages_do_not() {
        let error =
            |status, headers: &[(&'static str, &'static str)], body: &str| read(&answer(status, headers, body)).map_err(ChatError::from);
        let refused = |words: &str| Err(ChatError::Refused(words.into()));
        assert_eq!(error(200, &[], r#"{"id":"1"}"#), Ok(serde_json::json!({ "id": "1" })));
        assert_eq!(error(204, &[], ""), Ok(Value::Null));
        assert_eq!(error(404, &[], r#"{"message":"Unknown Channel","code":10003}"#), refused("Unknown Channel (10003)"));
        let form = r#"{"message":"Invalid Form Body","code":50035,"errors":{"embeds":{"0":{"title":{"_errors":[{"code":"X","message":"too long"}]}}}}}"#;
        assert_eq!(error(400, &[], form), refused("Invalid Form Body: embeds.0.title too long (50035)"));
        assert_eq!(error(401, &[], "<html>"), refused("HTTP status 401"));
        assert_eq!(error(502, &[], "<html>"), Err(ChatError::Unavailable("HTTP status 502".into())));
        let limited = |ms| Err(ChatError::RateLimited { retry_after_ms: ms });
        assert_eq!(error(429, &[("retry-after", "7")], r#"{"retry_after":6.25,"global":false}"#), limited(6_250));
        assert_eq!((error(429, &[("retry-after", "7")], ""), error(429, &[], "")), (limited(7_000), limited(5_000)));
    }

    /// Goal: a route whose limit is used up is closed for as long as Discord says, and no other; but all of them are after a refusal that
    /// says so. Method: answers as Discord gives them.
    #[test]
    fn routes_that_are_closed() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        let used_up = |left| answer(200, &[("x-ratelimit-remaining", left), ("x-ratelimit-reset-after", "4.0")], "");
        limits.learn("a", &used_up("0"), start);
        limits.learn("b", &used_up("1"), start);
        let after = |limits: &Limits, s| ["a", "b"].map(|route| limits.wait(route, start + Duration::from_secs(s)).as_secs());
        assert_eq!([after(&limits, 0), after(&limits, 3), after(&limits, 9)], [[4, 0], [1, 0], [0, 0]]);
        limits.learn("a", &answer(429, &[("x-ratelimit-global", "true")], r#"{"retry_after":9.0,"global":true}"#), start);
        assert_eq!(after(&limits, 0), [9, 9]);
        (0..ROUTES + 50)
            .for_each(|number| limits.learn(&number.to_string(), &used_up("0"), start + Duration::from_secs(10 * number as u64)));
        assert!(limits.routes.len() <= ROUTES);
    }
}
