//! The Slack emulator, judged by plain HTTP and WebSocket clients, by the library that the bot uses, and by Slack's own SDKs.
#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test code fails by panicking"
)]

mod chat;
mod forms;
mod limits;
mod methods;
mod mishaps;
mod morphism;
mod people;
mod sdk;
mod socket_mode;
mod specification;

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use stanch::sandbox::slack::{SlackEmulator, Timing, Workspace};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long a test waits for what must happen. Long enough for a busy machine: nothing waits for it in a test that passes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The sandbox's workspace, with a Slack that redelivers at once, so that no test waits for minutes.
fn workspace() -> Workspace {
    let timing = Timing { retries: vec![Duration::ZERO; 3], ..Timing::default() };
    Workspace { timing, ..Workspace::sandbox() }
}

/// An emulator and the app's side of it.
struct App {
    slack: SlackEmulator,
    http: Client,
}

impl App {
    /// The sandbox's workspace.
    async fn start() -> Self {
        Self::of(&workspace()).await
    }

    async fn of(workspace: &Workspace) -> Self {
        // The clients ask for one even where they speak plain HTTP. Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let slack = SlackEmulator::start(workspace).await.expect("a loopback port");
        Self { slack, http: Client::builder().no_proxy().build().expect("a client") }
    }

    /// Without rate limits.
    async fn unlimited() -> Self {
        Self::of(&Workspace { limits: None, ..workspace() }).await
    }

    fn url(&self, method: &str) -> String {
        format!("{}/{method}", self.slack.api_url())
    }

    /// Calls a method with a JSON body and the bot token.
    async fn call(&self, method: &str, arguments: Value) -> Value {
        body(self.post(method, arguments).await).await
    }

    async fn post(&self, method: &str, arguments: Value) -> Response {
        let request = self.http.post(self.url(method)).bearer_auth(self.slack.bot_token());
        let request = request.header("content-type", "application/json; charset=utf-8").body(arguments.to_string());
        request.send().await.expect("an answer")
    }

    /// Calls a method that must succeed.
    async fn ok(&self, method: &str, arguments: Value) -> Value {
        let answer = self.call(method, arguments).await;
        assert_eq!(answer["ok"], json!(true), "{method}: {answer}");
        answer
    }

    /// Calls a method that must fail, and returns the error's code.
    async fn error(&self, method: &str, arguments: Value) -> String {
        let answer = self.call(method, arguments).await;
        assert_eq!(answer["ok"], json!(false), "{method}: {answer}");
        answer["error"].as_str().expect("a code").to_owned()
    }

    /// Posts a text and returns the message's timestamp.
    async fn say(&self, channel: &str, text: &str) -> String {
        word(&self.ok("chat.postMessage", json!({ "channel": channel, "text": text })).await, "ts")
    }

    async fn open_url(&self) -> String {
        let answer = self.http.post(self.url("apps.connections.open")).bearer_auth(self.slack.app_token()).send().await;
        word(&body(answer.expect("an answer")).await, "url")
    }

    /// Opens a connection and takes the greeting, which is sent once the connection takes envelopes.
    async fn connect(&self) -> Socket {
        let (socket, _) = tokio_tungstenite::connect_async(self.open_url().await).await.expect("a connection");
        let mut socket = Socket(socket);
        assert_eq!(socket.next().await["type"], json!("hello"));
        socket
    }

    /// Ends everything, and asserts that nothing is left over.
    async fn finish(self) {
        self.slack.wait_until(|view| view.unfinished_events() == 0, PATIENCE).await.expect("all events to be finished");
        assert_eq!(self.slack.violations(), Vec::<String>::new());
        assert_eq!(self.slack.pending_mishaps(), vec![]);
        self.slack.stop().await;
    }
}

/// The app's end of a Socket Mode connection.
struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// The next text frame.
    async fn next(&mut self) -> Value {
        self.try_next().await.expect("a frame")
    }

    /// The next text frame, or `None` at the end.
    async fn try_next(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame in time");
            match next? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).expect("JSON")),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.expect("a connection");
    }

    async fn acknowledge(&mut self, envelope: &Value) {
        self.send(&json!({ "envelope_id": envelope["envelope_id"] })).await;
    }

    /// Takes and acknowledges the next envelope.
    async fn take(&mut self) -> Value {
        let envelope = self.next().await;
        self.acknowledge(&envelope).await;
        envelope
    }
}

async fn body(response: Response) -> Value {
    let text = response.text().await.expect("a body");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

/// A field that must be a string.
fn word(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// The value without fields that differ from run to run.
fn without(mut value: Value, names: &[&str]) -> Value {
    let fields = value.as_object_mut().expect("an object");
    for name in names {
        assert!(fields.remove(*name).is_some(), "no {name} to leave out");
    }
    value
}
