//! The Discord emulator, judged by plain HTTP and WebSocket clients, by Discord's own description, and by discord.js.
#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test code fails by panicking"
)]

mod gateway;
mod interactions;
mod limits;
mod messages;
mod people;
mod sdk;
pub(crate) mod specification;

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use stanch::sandbox::discord::{DiscordEmulator, Guild, Snowflake, id};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long a test waits for what must happen. Long enough for a busy machine: nothing waits for it in a test that passes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Guilds, messages and reactions.
const INTENTS: u64 = 1 | (1 << 9) | (1 << 10);

/// An emulator and the bot's side of it.
struct Bot {
    discord: DiscordEmulator,
    http: Client,
}

impl Bot {
    /// The sandbox's guild without rate limits.
    async fn start() -> Self {
        Self::of(&Guild { limits: None, ..Guild::sandbox() }).await
    }

    async fn of(guild: &Guild) -> Self {
        // The clients ask for one even where they speak plain HTTP. Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let discord = DiscordEmulator::start(guild).await.expect("a loopback port");
        Self { discord, http: Client::builder().no_proxy().build().expect("a client") }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let request = self.http.request(method, format!("{}/api/v10/{path}", self.discord.url()));
        let request = request.header("authorization", format!("Bot {}", self.discord.token()));
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        request.send().await.expect("an answer")
    }

    /// Calls a route that must succeed; `null` for an empty answer.
    async fn ok(&self, method: Method, path: &str, body: Value) -> Value {
        let response = self.send(method.clone(), path, (!body.is_null()).then_some(body)).await;
        let (status, text) = (response.status(), response.text().await.expect("a body"));
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") }
    }

    async fn get(&self, path: &str) -> Value {
        self.ok(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ok(Method::POST, path, body).await
    }

    /// Calls a route that must fail, and returns status, code and the tree of errors.
    async fn refusal(&self, method: Method, path: &str, body: Value) -> (u16, u64, Value) {
        let response = self.send(method.clone(), path, (!body.is_null()).then_some(body)).await;
        let (status, body) = (response.status(), json_of(response).await);
        assert!(!status.is_success(), "{method} {path}: {body}");
        (status.as_u16(), body["code"].as_u64().expect("a code"), body["errors"].clone())
    }

    /// Posts a text in a channel and returns the message's id.
    async fn say(&self, channel: Snowflake, text: &str) -> Snowflake {
        snowflake(&self.post(&format!("channels/{channel}/messages"), json!({ "content": text })).await["id"])
    }

    /// Registers a command of the guild with a subcommand, an option of each common kind, and autocompletion.
    async fn register(&self) -> Value {
        let path = format!("applications/{}/guilds/{}/commands", id::STANCH, id::GUILD);
        self.ok(Method::PUT, &path, json!([command()])).await
    }

    /// Identifies with these intents, and takes READY and, if it comes, GUILD_CREATE.
    async fn connect(&self, intents: u64) -> (Gateway, Value) {
        let mut gateway = self.open().await;
        gateway.identify(&self.discord.token(), intents).await;
        let ready = gateway.event("READY").await;
        if intents & 1 != 0 {
            gateway.event("GUILD_CREATE").await;
        }
        (gateway, ready)
    }

    /// A connection that was greeted.
    async fn open(&self) -> Gateway {
        let url = format!("{}/?v=10&encoding=json", self.discord.url().replace("http", "ws"));
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("a connection");
        let mut gateway = Gateway { socket, sequence: None };
        assert_eq!(gateway.next().await.expect("a greeting")["op"], json!(10));
        gateway
    }

    /// Ends everything, and asserts that nothing is left over.
    async fn finish(self) {
        assert_eq!(self.discord.violations(), Vec::<String>::new());
        assert_eq!(self.discord.pending_mishaps(), vec![]);
        assert!(self.discord.wire().pending_faults().is_empty());
        self.discord.stop().await;
    }
}

/// The bot's end of a gateway connection.
struct Gateway {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Number of the last event.
    sequence: Option<u64>,
}

impl Gateway {
    /// The next payload, or the code of the close frame; 0 for an end without one.
    async fn next(&mut self) -> Result<Value, u16> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a payload in time");
            match next {
                Some(Ok(Message::Text(text))) => {
                    let payload: Value = serde_json::from_str(&text).expect("JSON");
                    self.sequence = payload["s"].as_u64().or(self.sequence);
                    return Ok(payload);
                }
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(0, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(0),
            }
        }
    }

    /// The next event, which must be of this name.
    async fn event(&mut self, name: &str) -> Value {
        let payload = self.next().await.expect("an event");
        assert_eq!(payload["t"], json!(name), "{payload}");
        payload["d"].clone()
    }

    async fn send(&mut self, op: u64, data: Value) {
        self.socket.send(Message::text(json!({ "op": op, "d": data }).to_string())).await.expect("a connection");
    }

    async fn identify(&mut self, token: &str, intents: u64) {
        let properties = json!({ "os": "linux", "browser": "test", "device": "test" });
        self.send(2, json!({ "token": token, "intents": intents, "properties": properties })).await;
    }

    /// Asserts that nothing was sent up to now: a heartbeat is answered next.
    async fn quiet(&mut self) {
        self.send(1, json!(self.sequence)).await;
        assert_eq!(self.next().await.expect("an answer")["op"], json!(11));
    }
}

/// A command such as the bot registers.
fn command() -> Value {
    let option = |kind: u64, name: &str, rest: Value| {
        let mut option = json!({ "type": kind, "name": name, "description": format!("The {name}.") });
        option.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        option
    };
    let options = json!([
        option(3, "pod", json!({ "required": true, "autocomplete": true })),
        option(3, "form", json!({ "choices": [{ "name": "Strict", "value": "strict" }, { "name": "Guide", "value": "guide" }] })),
        option(4, "minutes", json!({ "min_value": 1, "max_value": 60 })),
        option(5, "dry", json!({})),
        option(6, "owner", json!({})),
        option(3, "reason", json!({ "max_length": 20 })),
    ]);
    json!({
        "name": "stanch",
        "description": "Contains incidents.",
        "options": [
            option(1, "quarantine", json!({ "options": options })),
            option(1, "list", json!({})),
        ],
    })
}

async fn json_of(response: Response) -> Value {
    let text = response.text().await.expect("a body");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

fn snowflake(value: &Value) -> Snowflake {
    value.as_str().expect("an id").parse().expect("a snowflake")
}
