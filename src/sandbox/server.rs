//! What the emulators share: one HTTP server with a request log, faults that a test injects at the wire, and a clean stop.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// The largest request body that an emulator reads, in bytes. The largest real one is a Discord message with a file of 10 MiB; one that is a
/// little larger must reach the emulator too, which refuses it in Discord's words.
const BODY_LIMIT_BYTES: usize = 12 << 20;

/// One request that an emulator received, and what became of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Upper-case HTTP method.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Raw query, empty if there was none.
    pub query: String,
    /// The body if it was JSON, otherwise `None`.
    pub body: Option<Value>,
    /// Status that was (or, for [`Fault::ResetAfter`], would have been) answered. `None` if the request never reached the emulator's logic.
    pub status: Option<StatusCode>,
}

/// What goes wrong with a request that a [`FaultRule`] matches.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is closed before anything happens.
    ResetBefore,
    /// The request takes effect, then the connection is closed without an answer.
    ResetAfter,
    /// This answer instead of the emulator's; nothing takes effect.
    Answer {
        /// HTTP status.
        status: StatusCode,
        /// Extra headers, such as `retry-after`.
        headers: Vec<(String, String)>,
        /// JSON body.
        body: Value,
    },
    /// The answer comes this much later.
    Delay(Duration),
}

/// A fault and the requests that it hits.
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// Only this method, or any.
    pub method: Option<Method>,
    /// Only where `path?query` contains this text.
    pub uri_contains: String,
    /// How many matching requests are let through first.
    pub skip: usize,
    /// How many are hit after that.
    pub times: usize,
    /// What happens to them.
    pub fault: Fault,
}

/// The request log and the pending faults of one emulator. Clones share state.
#[derive(Clone, Debug, Default)]
pub struct Wire(Arc<Mutex<WireState>>);

#[derive(Debug, Default)]
struct WireState {
    exchanges: Vec<Exchange>,
    faults: VecDeque<FaultRule>,
}

impl Wire {
    /// Everything received so far, in the order in which answers were decided.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.state().exchanges.clone()
    }

    /// Adds a fault; earlier rules win.
    pub fn inject(&self, rule: FaultRule) {
        self.state().faults.push_back(rule);
    }

    /// Faults that were injected and not yet used up, so that a test can assert that nothing is left over.
    #[must_use]
    pub fn pending_faults(&self) -> Vec<FaultRule> {
        self.state().faults.iter().cloned().collect()
    }

    fn next_fault(&self, method: &Method, uri: &str) -> Option<Fault> {
        let mut state = self.state();
        let hit = |rule: &FaultRule| rule.method.as_ref().is_none_or(|m| m == method) && uri.contains(&rule.uri_contains);
        let index = state.faults.iter().position(hit)?;
        let rule = state.faults.get_mut(index)?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times = rule.times.saturating_sub(1);
        let (fault, used_up) = (rule.fault.clone(), rule.times == 0);
        if used_up {
            state.faults.remove(index);
        }
        Some(fault)
    }

    /// Adds what came in another way than as an HTTP request of its own, such as a part of a batch.
    pub(in crate::sandbox) fn record(&self, exchange: Exchange) {
        self.state().exchanges.push(exchange);
    }

    fn state(&self) -> MutexGuard<'_, WireState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running emulator: its address, its wire, and its stop.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, always loopback.
    pub address: SocketAddr,
    /// What went over its wire.
    pub wire: Wire,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Binds a free loopback port and serves `router` on it until [`Server::stop`].
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn start(wire: Wire, router: impl FnOnce(SocketAddr) -> Router) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(accept_loop(listener, router(address), wire.clone(), stop.clone(), tasks.clone()));
        Ok(Self { address, wire, stop, tasks })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cancelled when the server stops; long-lived answers (watches, WebSockets) must end with it.
    #[must_use]
    pub fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Closes every connection and waits for them.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept_loop(listener: TcpListener, router: Router, wire: Wire, stop: CancellationToken, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (router, wire, stop) = (router.clone(), wire.clone(), stop.clone());
        tasks.spawn(async move {
            let service = service_fn(move |request| answer(request, router.clone(), wire.clone()));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
            tokio::select! {
                () = stop.cancelled() => {}
                // A reset is how a fault shows itself, and a client may leave at any time: neither is an error of the emulator.
                _ = connection => {}
            }
        });
    }
}

async fn answer(request: Request<Incoming>, router: Router, wire: Wire) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let upgrade = parts.headers.contains_key(header::UPGRADE);
    let bytes = match upgrade {
        true => Bytes::new(),
        false => Limited::new(body, BODY_LIMIT_BYTES).collect().await.map_err(io::Error::other)?.to_bytes(),
    };
    let json = serde_json::from_slice(&bytes).ok();
    let exchange = |status| Exchange { method: method.to_string(), path: path.clone(), query: query.clone(), body: json, status };

    let fault = wire.next_fault(&method, &format!("{path}?{query}"));
    match &fault {
        Some(Fault::ResetBefore) => {
            wire.record(exchange(None));
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(Fault::Answer { status, headers, body }) => {
            wire.record(exchange(Some(*status)));
            let mut response = Response::builder().status(*status).header(header::CONTENT_TYPE, "application/json");
            for (name, value) in headers {
                response = response.header(name, value);
            }
            return response.body(Body::from(body.to_string())).map_err(io::Error::other);
        }
        Some(Fault::ResetAfter | Fault::Delay(_)) | None => {}
    }
    let Ok(response) = router.oneshot(Request::from_parts(parts, Body::from(bytes))).await;
    wire.record(exchange(Some(response.status())));
    match fault {
        Some(Fault::ResetAfter) => Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            Ok(response)
        }
        Some(Fault::ResetBefore | Fault::Answer { .. }) | None => Ok(response),
    }
}
