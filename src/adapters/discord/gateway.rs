//! The gateway: one connection on which Discord tells what happens, kept up for ever. serenity's own client for it brings a TLS stack
//! with open advisories, so that only its models are used.
//!
//! # Guarantees
//! A session that can be resumed is, and Discord sends what was missed. Events come in Discord's order. A connection on which nobody
//! answers is noticed within two heartbeats.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use hyper_rustls::ConfigBuilderExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use serenity::all::GatewayIntents;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::error::DiscordError;
use super::settings::Endpoint;
use crate::ports::ChatError;

/// What Stanch asks to be told: reactions in servers. Interactions come without asking. None of it is privileged.
const INTENTS: GatewayIntents = GatewayIntents::GUILD_MESSAGE_REACTIONS;

/// How long making a connection may take, to Discord's first word.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the last word may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Largest message that is read, in bytes. READY and interactions have a few KiB, an interaction with every option filled in a few dozen.
const MESSAGE_LIMIT_BYTES: usize = 4 << 20;

/// Pauses between attempts: the first, and the longest. Discord permits 1,000 new sessions a day, which one every 90 s is.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(90);

/// A pause before a session is begun anew because Discord declared the old one invalid: it asks for one to five seconds.
const ANEW_S: (f64, f64) = (1.0, 4.0);

/// Heartbeats that are believed, in milliseconds. Discord's is 41,250.
const HEARTBEATS_MS: (u64, u64) = (50, 300_000);

/// Opcodes of the gateway.
mod op {
    pub(super) const DISPATCH: u64 = 0;
    pub(super) const HEARTBEAT: u64 = 1;
    pub(super) const IDENTIFY: u64 = 2;
    pub(super) const RESUME: u64 = 6;
    pub(super) const RECONNECT: u64 = 7;
    pub(super) const INVALID_SESSION: u64 = 9;
    pub(super) const HELLO: u64 = 10;
    pub(super) const HEARTBEAT_ACK: u64 = 11;
}

/// Close codes after which connecting again cannot help: the token, the shard, the version or the intents are refused.
const FATAL: &[u16] = &[4004, 4010, 4011, 4012, 4013, 4014];

/// Close codes after which the session is gone: not authenticated, a wrong sequence number, a session that timed out, and an ordinary end.
const ANEW: &[u16] = &[1000, 1001, 4003, 4007, 4009];

/// With this code our own end of a connection leaves the session alive. An ordinary one would end it.
const KEEP: u16 = 4900;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An event, with what makes it one of a kind: the session, and the number in it. Discord repeats both if it delivers again.
pub(super) struct Event<'e> {
    pub(super) name: &'e str,
    pub(super) data: Value,
    pub(super) delivery: String,
}

/// Takes events, one after the other. It has to return at once.
pub(super) type Handler = Box<dyn Fn(Event<'_>) + Send + Sync>;

/// What the connection needs.
pub(super) struct Gateway {
    pub(super) api: Api,
    pub(super) endpoint: Endpoint,
    pub(super) token: SecretString,
    pub(super) handler: Handler,
}

/// What is needed to go on with a session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    id: String,
    url: String,
    /// Number of the newest event.
    seq: u64,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The session lives, perhaps.
    Resume(&'static str),
    /// Discord has forgotten the session.
    Anew(&'static str),
    /// Discord refuses the bot.
    Fatal(u16),
    /// It was asked to end.
    Shutdown,
}

impl Gateway {
    /// Connects, tells `ready` once how the first attempt ended that cannot be tried again or succeeded, and goes on until `shutdown`.
    pub(super) async fn run(self, ready: oneshot::Sender<Result<(), DiscordError>>, shutdown: CancellationToken) {
        let mut life = Life { gateway: &self, ready: Some(ready), session: None, pause: PAUSE };
        loop {
            let end = match shutdown.run_until_cancelled(life.connect()).await {
                None => return,
                Some(Ok(socket)) => life.listen(socket, &shutdown).await,
                // The address of the session may be gone with it.
                Some(Err(why)) if life.pause > PAUSE.saturating_mul(8) => End::Anew(why),
                Some(Err(why)) => End::Resume(why),
            };
            let wait = match end {
                End::Shutdown => return,
                End::Fatal(code) => {
                    tracing::error!(
                        code,
                        "Discord's gateway refuses the bot; it is tried again, but somebody has to look at the application"
                    );
                    life.tell(Err(if code == 4004 { DiscordError::Token } else { DiscordError::Gateway(code) }));
                    life.session = None;
                    LONGEST_PAUSE
                }
                End::Anew(why) => {
                    tracing::info!(why, "the session with Discord is over; another one follows");
                    life.session = None;
                    Duration::from_secs_f64(ANEW_S.0 + ANEW_S.1 * chance()).max(life.next_pause())
                }
                End::Resume(why) => {
                    tracing::info!(why, "the connection to Discord ended");
                    life.next_pause().mul_f64(0.5 + chance() / 2.0)
                }
            };
            if shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }
}

/// The connections, one after the other.
struct Life<'g> {
    gateway: &'g Gateway,
    ready: Option<oneshot::Sender<Result<(), DiscordError>>>,
    session: Option<Session>,
    pause: Duration,
}

impl Life<'_> {
    fn tell(&mut self, outcome: Result<(), DiscordError>) {
        if let Some(ready) = self.ready.take() {
            // Whoever asked may have given up.
            let _ = ready.send(outcome);
        }
    }

    /// Doubles up to the limit, until a session is up.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        pause
    }

    /// Opens the WebSocket, of the session or of a new one.
    async fn connect(&self) -> Result<Socket, &'static str> {
        let gateway = self.gateway;
        let address = match &self.session {
            Some(session) => session.url.clone(),
            None => {
                let found = gateway.api.get("/gateway/bot").await;
                let found = found.map_err(|failure| log_why("Discord does not name its gateway", failure.into()))?;
                found.get("url").and_then(Value::as_str).unwrap_or_default().to_owned()
            }
        };
        let address = gateway.endpoint.gateway(&address).ok_or("Discord named an address that tokens may not be sent to")?;
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT_BYTES)).max_frame_size(Some(MESSAGE_LIMIT_BYTES));
        let connector = connector(&gateway.endpoint).ok_or("the certificates of this machine cannot be read")?;
        let handshake = tokio_tungstenite::connect_async_tls_with_config(address, Some(config), true, Some(connector));
        match tokio::time::timeout(CONNECT, handshake).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the gateway's handshake failed");
                Err("the gateway does not open a connection")
            }
            Err(_) => Err("the gateway did not open a connection in time"),
        }
    }

    /// Speaks until the connection ends.
    async fn listen(&mut self, mut socket: Socket, shutdown: &CancellationToken) -> End {
        let hello = tokio::time::timeout(CONNECT, next(&mut socket)).await;
        let interval = match hello {
            Ok(Ok(hello)) if hello.get("op") == Some(&json!(op::HELLO)) => heartbeat_interval(&hello),
            Ok(Ok(_)) | Err(_) => None,
            Ok(Err(end)) => return end,
        };
        let Some(interval) = interval else { return End::Resume("no greeting") };
        if socket.send(Message::text(self.introduction().to_string())).await.is_err() {
            return End::Resume("the introduction could not be sent");
        }
        // The first one at any time of the interval, so that many bots do not beat as one.
        let mut beat = Instant::now() + interval.mul_f64(chance());
        let mut acknowledged = true;
        loop {
            let end = tokio::select! {
                () = shutdown.cancelled() => {
                    close(&mut socket, 1000).await;
                    return End::Shutdown;
                }
                () = tokio::time::sleep_until(beat) => {
                    beat = Instant::now() + interval;
                    match std::mem::replace(&mut acknowledged, false) {
                        true => self.heartbeat(&mut socket).await,
                        false => Some(End::Resume("no heartbeat came back")),
                    }
                }
                message = next(&mut socket) => match message {
                    Err(end) => Some(end),
                    Ok(message) => match message.get("op").and_then(Value::as_u64) {
                        Some(op::HEARTBEAT) => self.heartbeat(&mut socket).await,
                        Some(op::HEARTBEAT_ACK) => {
                            acknowledged = true;
                            None
                        }
                        _ => self.take(message),
                    },
                },
            };
            if let Some(end) = end {
                // Discord keeps the session for a while if the end was not an ordinary one.
                close(&mut socket, KEEP).await;
                return end;
            }
        }
    }

    /// RESUME where there is a session, IDENTIFY where there is none.
    fn introduction(&self) -> Value {
        let token = self.gateway.token.expose_secret();
        match &self.session {
            Some(Session { id, seq, .. }) => json!({ "op": op::RESUME, "d": { "token": token, "session_id": id, "seq": seq } }),
            None => {
                let properties = json!({ "os": std::env::consts::OS, "browser": "stanch", "device": "stanch" });
                json!({ "op": op::IDENTIFY, "d": { "token": token, "intents": INTENTS.bits(), "properties": properties } })
            }
        }
    }

    async fn heartbeat(&self, socket: &mut Socket) -> Option<End> {
        let seq = self.session.as_ref().map(|session| session.seq);
        let beat = json!({ "op": op::HEARTBEAT, "d": seq }).to_string();
        socket.send(Message::text(beat)).await.is_err().then_some(End::Resume("a heartbeat could not be sent"))
    }

    /// Takes a message in. Tells how the connection ends, if it does.
    fn take(&mut self, mut message: Value) -> Option<End> {
        let data = message.get_mut("d").map(Value::take).unwrap_or_default();
        match message.get("op").and_then(Value::as_u64) {
            Some(op::DISPATCH) => {
                let (name, seq) = (message.get("t").and_then(Value::as_str), message.get("s").and_then(Value::as_u64));
                let (Some(name), Some(seq)) = (name, seq) else { return None };
                self.dispatch(name, seq, data)
            }
            Some(op::RECONNECT) => Some(End::Resume("Discord asks to connect again")),
            Some(op::INVALID_SESSION) if data == json!(true) && self.session.is_some() => Some(End::Resume("Discord asks to resume")),
            Some(op::INVALID_SESSION) => Some(End::Anew("Discord declared the session invalid")),
            // Discord adds opcodes, and none is sent that was not asked for.
            _ => None,
        }
    }

    fn dispatch(&mut self, name: &str, seq: u64, data: Value) -> Option<End> {
        match (name, &mut self.session) {
            ("READY", session) => {
                let text = |field: &str| data.get(field).and_then(Value::as_str).map(str::to_owned);
                let (Some(id), Some(url)) = (text("session_id"), text("resume_gateway_url")) else {
                    return Some(End::Anew("a READY that makes no sense"));
                };
                *session = Some(Session { id, url, seq });
            }
            (_, Some(session)) => session.seq = seq,
            (_, None) => return Some(End::Anew("an event before READY")),
        }
        if name == "READY" || name == "RESUMED" {
            self.pause = PAUSE;
            self.tell(Ok(()));
        }
        let session = self.session.as_ref().map_or("", |session| session.id.as_str());
        (self.gateway.handler)(Event { name, data, delivery: format!("{session}/{seq}") });
        None
    }
}

/// The next message in JSON, or how the connection ended.
async fn next(socket: &mut Socket) -> Result<Value, End> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                Ok(message) => return Ok(message),
                // What was in it is read back after the connection is made again.
                Err(_) => return Err(End::Resume("a message that makes no sense")),
            },
            Some(Ok(Message::Close(frame))) => return Err(closed(frame.map(|frame| frame.code.into()))),
            Some(Ok(Message::Binary(_))) => return Err(End::Resume("a message that was not asked for")),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(_)) => return Err(End::Resume("the connection broke")),
            None => return Err(End::Resume("the connection ended")),
        }
    }
}

fn closed(code: Option<u16>) -> End {
    match code {
        Some(code) if FATAL.contains(&code) => End::Fatal(code),
        Some(code) if ANEW.contains(&code) => End::Anew("Discord closed the session"),
        Some(_) | None => End::Resume("Discord closed the connection"),
    }
}

fn heartbeat_interval(hello: &Value) -> Option<Duration> {
    let interval_ms = hello.get("d")?.get("heartbeat_interval")?.as_u64()?;
    Some(Duration::from_millis(interval_ms.clamp(HEARTBEATS_MS.0, HEARTBEATS_MS.1)))
}

async fn close(socket: &mut Socket, code: u16) {
    let frame = CloseFrame { code: code.into(), reason: "".into() };
    let _ = tokio::time::timeout(FAREWELL, socket.close(Some(frame))).await;
}

fn connector(endpoint: &Endpoint) -> Option<Connector> {
    if endpoint.is_loopback() {
        return Some(Connector::Plain);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(Connector::Rustls(Arc::new(config.with_native_roots().ok()?.with_no_client_auth())))
}

fn log_why(what: &'static str, error: ChatError) -> &'static str {
    tracing::warn!(%error, what);
    what
}

/// Between 0 and 1.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes() {
        let resume = End::Resume("Discord closed the connection");
        let anew = || End::Anew("Discord closed the session");
        assert_eq!((closed(Some(4000)), closed(None)), (resume, End::Resume("Discord closed the connection")));
        assert_eq!((closed(Some(4009)), closed(Some(4007)), closed(Some(1000))), (anew(), anew(), anew()));
        assert_eq!((closed(Some(4004)), closed(Some(4014))), (End::Fatal(4004), End::Fatal(4014)));
    }

    #[test]
    fn heartbeats_are_neither_a_flood_nor_never() {
        let of =
            |interval: Value| heartbeat_interval(&json!({ "d": { "heartbeat_interval": interval } })).map(|interval| interval.as_millis());
        assert_eq!([of(json!(41_250)), of(json!(0)), of(json!(u64::MAX)), of(json!("x"))], [Some(41_250), Some(50), Some(300_000), None]);
    }
}
