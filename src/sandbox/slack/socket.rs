//! Socket Mode: one WebSocket connection of the app.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Slack;
use super::api::{Api, Arguments, respond};
use super::delivery::{CONNECTIONS, Frame};

/// How often the server pings. Slack's own clients give a connection up after 30 seconds without a ping.
const PING_EVERY: Duration = Duration::from_secs(10);

/// What Slack tells of how long a connection will last, in seconds.
const CONNECTION_TIME_SECONDS: u64 = 18_060;

/// The far end of `apps.connections.open`'s URL.
pub(super) async fn link(Shared(api): Shared<Api>, Query(query): Query<HashMap<String, String>>, upgrade: WebSocketUpgrade) -> Response {
    let known = ["ticket", "app_id", "debug_reconnects"];
    let ticket = query.get("ticket").cloned().unwrap_or_default();
    let strange = query.keys().any(|name| !known.contains(&name.as_str()));
    if strange || !api.slack.change(|state| state.tickets.remove(&ticket)) {
        return (StatusCode::FORBIDDEN, "this ticket was never given out, or was used").into_response();
    }
    let token = api.slack.background().tasks.token();
    upgrade.on_upgrade(async move |socket| {
        serve(api.slack, socket).await;
        drop(token);
    })
}

pub(super) fn debug_info(detailed: bool) -> Value {
    let mut info = json!({ "host": "applink-sandbox" });
    if let (true, Value::Object(fields)) = (detailed, &mut info) {
        fields.insert("started".into(), json!(Timestamp::now().strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()));
        fields.insert("build_number".into(), json!(1));
        fields.insert("approximate_connection_time".into(), json!(CONNECTION_TIME_SECONDS));
    }
    info
}

async fn serve(slack: Slack, mut socket: WebSocket) {
    if slack.read(|state| state.sockets.connected()) >= CONNECTIONS {
        let refusal = json!({ "type": "disconnect", "reason": "too_many_websockets", "debug_info": debug_info(false) });
        // The app is told as far as it listens.
        let _ = socket.send(Message::Text(refusal.to_string().into())).await;
        let _ = socket.send(Message::Close(None)).await;
        return;
    }
    let (id, frames) = slack.change(|state| {
        let hello = json!({
            "type": "hello",
            "num_connections": state.sockets.connected() + 1,
            "debug_info": debug_info(true),
            "connection_info": { "app_id": state.workspace.app.id },
        });
        state.sockets.connect(hello.to_string())
    });
    converse(&slack, &mut socket, frames).await;
    slack.change(|state| state.sockets.disconnect(id));
}

async fn converse(slack: &Slack, socket: &mut WebSocket, mut frames: UnboundedReceiver<Frame>) {
    let mut pings: Interval = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stop = slack.background().stop.clone();
    loop {
        let sent = tokio::select! {
            () = stop.cancelled() => {
                let _ = socket.send(Message::Close(None)).await;
                return;
            }
            frame = frames.recv() => match frame {
                Some(Frame::Text(text)) => socket.send(Message::Text(text.into())).await,
                Some(Frame::Close) => {
                    let _ = socket.send(Message::Close(None)).await;
                    return hear_out(slack, socket).await;
                }
                Some(Frame::Cut) | None => return,
            },
            received = socket.recv() => match received {
                Some(Ok(message)) => match hear(slack, message) {
                    true => Ok(()),
                    false => return hear_out(slack, socket).await,
                },
                Some(Err(_)) | None => return,
            },
            _ = pings.tick() => socket.send(Message::Ping("Ping from applink-sandbox".into())).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Takes what the app sent; `false` once it closes.
fn hear(slack: &Slack, message: Message) -> bool {
    let violation = match message {
        Message::Text(text) => slack
            .change(|state| {
                // The message in an acknowledgement is posted before anything else happens, such as the app's use of the response URL.
                let answer = state.sockets.receive(&text)?;
                let posted = answer.map(|(origin, message)| respond(state, &origin, &Arguments::of(&message)));
                posted
                    .unwrap_or(Ok(()))
                    .map_err(|refusal| format!("the app acknowledged with a message that Slack refuses: {}", refusal.words()))
            })
            .err(),
        Message::Binary(_) => Some("the app sent a binary frame".to_owned()),
        // Pings are answered by the library.
        Message::Ping(_) | Message::Pong(_) => None,
        Message::Close(_) => return false,
    };
    if let Some(violation) = violation {
        slack.change(|state| state.violations.push(violation));
    }
    true
}

/// Finishes the close handshake, whoever began it, and takes the app's last acknowledgements, for a little while.
async fn hear_out(slack: &Slack, socket: &mut WebSocket) {
    let rest = async {
        while let Some(Ok(message)) = socket.recv().await {
            hear(slack, message);
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
}
