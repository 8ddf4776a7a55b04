//! Calls of Slack's Web API: under a time limit, with errors that the caller can act upon and that give nothing away.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slack_morphism::errors::SlackClientError;
use slack_morphism::prelude::{SlackClientHyperConnector, SlackClientHyperHttpsConnector};
use slack_morphism::{ClientResult, SlackApiToken, SlackClient};

use super::error::SlackError;
use super::settings::Endpoint;
use crate::ports::ChatError;

/// The library's client.
pub(super) type Client = SlackClient<SlackClientHyperHttpsConnector>;

/// How long one call may take; the library knows no limit. Slack answers within a second or two, and whoever waits for an answer can
/// act on "unavailable", but not on silence.
const CALL: Duration = Duration::from_secs(10);

/// How long the other end of a connection may leave what it was sent without a sign of having received it. On a network that works, a
/// packet and its repetitions take a few seconds; the system alone would wait for a quarter of an hour.
const SILENCE: Duration = Duration::from_secs(20);

/// How long to wait if Slack limits a call and does not say for how long. It always says so; tier 2, the slowest in use, refills every 3 s.
const RETRY_AFTER: Duration = Duration::from_secs(3);

/// Most of Slack's own explanations that an error repeats. A refused message can name every one of its blocks.
const EXPLANATIONS: usize = 3;

/// Codes that come with `"ok": false` although the call was fine.
const PASSING: &[&str] = &["internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"];

/// Codes by which Slack says that a call came too fast, where it does not say so with a status.
const TOO_FAST: &[&str] = &["ratelimited", "rate_limited"];

/// The Web API with one token. Clones share connections.
#[derive(Clone)]
pub(super) struct Api {
    client: Arc<Client>,
    token: SlackApiToken,
    limit: Duration,
}

/// Why a call failed, as Slack said it.
#[derive(Debug)]
pub(super) enum Failure {
    /// `"ok": false` for good, with Slack's code.
    Refused {
        /// Slack's code.
        code: String,
        /// What more Slack says: fields of a message that it refuses, or a scope that is missing.
        details: Vec<String>,
    },
    /// Anything else.
    Other(ChatError),
}

/// Makes a client.
pub(super) fn client(endpoint: &Endpoint) -> Result<Arc<Client>, SlackError> {
    let provider = rustls::crypto::ring::default_provider();
    let (url, https) = match endpoint {
        Endpoint::Tls(url) => {
            let roots = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider).map_err(SlackError::Certificates)?;
            // HTTP/2 would put every call on one connection, and if that one is dead, every call would time out until somebody notices. With
            // HTTP/1.1 a call that times out takes its connection with it.
            (url, roots.https_only().enable_http1().wrap_connector(patient()))
        }
        Endpoint::Loopback(url) => {
            // No certificate is ever looked at here, so the machine needs none.
            let tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
            let tls = tls.map_err(|error| SlackError::Certificates(std::io::Error::other(error)))?;
            let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
            (url, HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(patient()))
        }
    };
    Ok(Arc::new(SlackClient::new(SlackClientHyperConnector::from(https).with_slack_api_url(url))))
}

/// Connections that notice when nobody is there any more. The library asks for the addresses of Socket Mode through them, without a limit of
/// its own, and would be deaf for as long as that call hangs.
fn patient() -> HttpConnector {
    let mut connector = HttpConnector::new();
    // The connector around this one decides about schemes.
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CALL));
    connector.set_keepalive(Some(SILENCE));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(SILENCE));
    connector
}

/// The library's form of a token. Its `Debug` shows only the length.
pub(super) fn token(secret: &SecretString) -> SlackApiToken {
    SlackApiToken::new(secret.expose_secret().into())
}

impl Api {
    pub(super) fn new(client: Arc<Client>, token: SlackApiToken) -> Self {
        Self { client, token, limit: CALL }
    }

    /// Calls a method that reads.
    ///
    /// Answers are read only as far as they are needed: a field that Slack changes elsewhere must not make a call fail that succeeded.
    pub(super) async fn get<Answer>(&self, method: &str, parameters: &[(&str, &str)]) -> Result<Answer, Failure>
    where
        Answer: DeserializeOwned + Send,
    {
        let parameters: Vec<(&str, Option<&str>)> = parameters.iter().map(|(name, value)| (*name, Some(*value))).collect();
        let session = self.client.open_session(&self.token);
        self.limited(session.http_session_api.http_get(method, &parameters, None)).await
    }

    /// Calls a method that writes.
    pub(super) async fn post<Answer>(&self, method: &str, body: &(impl Serialize + Send + Sync)) -> Result<Answer, Failure>
    where
        Answer: DeserializeOwned + Send,
    {
        let session = self.client.open_session(&self.token);
        self.limited(session.http_session_api.http_post(method, body, None)).await
    }

    async fn limited<Answer>(&self, call: impl Future<Output = ClientResult<Answer>>) -> Result<Answer, Failure> {
        match tokio::time::timeout(self.limit, call).await {
            Ok(answer) => answer.map_err(|error| Failure::of(&error)),
            Err(_) => Err(Failure::Other(ChatError::Unavailable(format!("no answer within {:?}", self.limit)))),
        }
    }
}

impl Failure {
    /// The library's errors hold whole response bodies, so none of their own words is used.
    fn of(error: &SlackClientError) -> Self {
        let unavailable = |why: String| Self::Other(ChatError::Unavailable(why));
        let too_fast = |wait: Option<Duration>| {
            let retry_after_ms = u64::try_from(wait.unwrap_or(RETRY_AFTER).as_millis()).unwrap_or(u64::MAX);
            Self::Other(ChatError::RateLimited { retry_after_ms })
        };
        match error {
            SlackClientError::RateLimitError(limit) => too_fast(limit.retry_after),
            SlackClientError::ApiError(refused) if TOO_FAST.contains(&refused.code.as_str()) => too_fast(None),
            SlackClientError::ApiError(refused) if PASSING.contains(&refused.code.as_str()) => unavailable(refused.code.clone()),
            SlackClientError::ApiError(refused) => Self::Refused {
                code: refused.code.clone(),
                details: details(refused.errors.as_deref(), refused.http_response_body.as_deref()),
            },
            SlackClientError::HttpError(http) => unavailable(format!("HTTP status {}", http.status_code.as_u16())),
            SlackClientError::HttpProtocolError(protocol) => {
                unavailable(protocol.cause.as_ref().map_or_else(|| "the connection failed".into(), |cause| chain(&**cause)))
            }
            SlackClientError::ProtocolError(_) => unavailable("an answer that makes no sense".into()),
            SlackClientError::SystemError(_) | SlackClientError::EndOfStream(_) | SlackClientError::SocketModeProtocolError(_) => {
                unavailable("the connection ended".into())
            }
        }
    }

    /// Slack's code, if it refused.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Other(_) => None,
        }
    }
}

impl From<Failure> for ChatError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { code, details } if details.is_empty() => Self::Refused(code),
            Failure::Refused { code, details } => Self::Refused(format!("{code} ({})", details.join("; "))),
            Failure::Other(error) => error,
        }
    }
}

fn details(errors: Option<&[String]>, body: Option<&str>) -> Vec<String> {
    let body: Option<Value> = body.and_then(|body| serde_json::from_str(body).ok());
    let needed = body.as_ref().and_then(|body| body.get("needed")).and_then(Value::as_str).map(str::to_owned);
    needed.into_iter().chain(errors.unwrap_or_default().iter().cloned()).take(EXPLANATIONS).collect()
}

/// An error with its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

#[cfg(all(test, feature = "sandbox"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

    use super::*;
    use crate::sandbox::server::{Fault, FaultRule};
    use crate::sandbox::slack::{SlackEmulator, Workspace};

    /// A Slack that says nothing is given up on. Method: an answer that comes long after the limit.
    #[tokio::test]
    async fn silence_is_an_error() {
        let slack = SlackEmulator::start(&Workspace::sandbox()).await.unwrap();
        let fault = Fault::Delay(Duration::from_secs(600));
        slack.wire().inject(FaultRule { method: None, uri_contains: "auth.test".into(), skip: 0, times: 1, fault });
        let client = client(&Endpoint::Loopback(slack.api_url())).unwrap();
        let api = Api { limit: Duration::from_millis(20), ..Api::new(client, token(&slack.bot_token().into())) };
        let answer: Result<Value, Failure> = api.get("auth.test", &[]).await;
        assert_eq!(answer.map_err(ChatError::from), Err(ChatError::Unavailable("no answer within 20ms".into())));
    }
}
