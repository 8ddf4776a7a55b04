//! Single calls whose headers matter, for which the vendors' clients have no method or hide them.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes. Those that are asked for have a few KiB.
const ANSWER_LIMIT_BYTES: usize = 1 << 20;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Seconds by which the other side's clock is ahead of this machine's, if it tells.
    #[must_use]
    pub fn ahead_s(&self) -> Option<i64> {
        ahead_s(&self.headers)
    }
}

/// Seconds by which the clock that wrote a `Date` header is ahead of this machine's.
#[must_use]
pub fn ahead_s(headers: &HeaderMap) -> Option<i64> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let there = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    // The header has whole seconds.
    Some(there.as_second().saturating_sub(Timestamp::now().as_second()))
}

/// Connections, which are kept for the next call.
#[derive(Clone, Debug)]
pub struct Calls {
    client: Client<HttpsConnector<HttpConnector>, String>,
}

impl Calls {
    /// Calls over TLS, or in plain text if the caller knows that it is this machine.
    ///
    /// # Errors
    /// Why the connection cannot be set up, for people.
    pub fn new(is_loopback: bool) -> Result<Self, String> {
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector(is_loopback)?) })
    }

    /// Calls once.
    ///
    /// # Errors
    /// Why there is no answer, for people.
    pub async fn call(&self, method: Method, url: &str, headers: HeaderMap, body: String) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(url).body(body).map_err(|error| error.to_string())?;
        *request.headers_mut() = headers;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| words(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT_BYTES).collect().await.map_err(|error| error.to_string())?;
            Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes().to_vec() })
        };
        match tokio::time::timeout(LIMIT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
        }
    }
}

/// Calls once: over TLS, or in plain text if the caller knows that it is this machine.
///
/// # Errors
/// Why there is no answer, for people.
pub async fn call(method: Method, url: &str, headers: HeaderMap, body: String, is_loopback: bool) -> Result<Answer, String> {
    Calls::new(is_loopback)?.call(method, url, headers, body).await
}

/// TLS with the roots of this machine; plain text if the caller knows that it is this machine.
///
/// # Errors
/// No roots.
pub(in crate::adapters) fn connector(is_loopback: bool) -> Result<HttpsConnector<HttpConnector>, String> {
    let provider = rustls::crypto::ring::default_provider();
    match is_loopback {
        false => {
            let roots = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider).map_err(|error| error.to_string())?;
            Ok(roots.https_only().enable_http1().build())
        }
        true => {
            // No certificate is ever looked at here, so the machine needs none.
            let tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
            let tls = tls.map_err(|error| error.to_string())?;
            let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
            Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build())
        }
    }
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}
