//! One WebSocket connection of the bot.

use std::collections::HashMap;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State as Shared};
use axum::response::Response;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Duration;

use super::protocol::Connection;
use super::{Frame, payload};
use crate::sandbox::discord::Discord;
use crate::sandbox::discord::api::Api;

/// The gateway's address, as `GET /gateway` tells it.
pub(in crate::sandbox::discord) async fn open(
    Shared(api): Shared<Api>,
    Query(query): Query<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let token = api.discord.background().tasks.token();
    let url = api.gateway_url();
    upgrade.on_upgrade(async move |socket| {
        serve(&api.discord, socket, &query, url).await;
        drop(token);
    })
}

async fn serve(discord: &Discord, mut socket: WebSocket, query: &HashMap<String, String>, url: String) {
    // JSON without transport compression is what every client can; another wish is an error of the test's set-up.
    let wishes = [("v", "10"), ("encoding", "json")];
    let refused = query.iter().find(|(name, value)| !wishes.contains(&(name.as_str(), value.as_str())));
    if let Some((name, value)) = refused {
        discord.change(|state| state.violations.push(format!("the gateway takes no {name}={value}")));
        return close(&mut socket, 4012, "Invalid API version.").await;
    }
    let (frames, out) = unbounded_channel();
    let (id, interval) = discord.change(|state| (state.gateway.connect(frames), state.guild.timing.heartbeat));
    let mut connection = Connection::new(id, url);
    let greeting = payload(10, &json!({ "heartbeat_interval": interval.as_millis(), "_trace": ["[\"gateway-sandbox\"]"] }));
    let greeted = match greeting {
        Frame::Text(text) => socket.send(Message::Text(text.into())).await.is_ok(),
        Frame::Close(..) | Frame::Cut => false,
    };
    let farewell = greeted && converse(discord, &mut socket, out, &mut connection, interval).await;
    discord.change(|state| state.gateway.disconnect(id, farewell));
}

/// Talks until the connection ends; `true` if the bot closed it for good.
async fn converse(
    discord: &Discord,
    socket: &mut WebSocket,
    mut out: UnboundedReceiver<Frame>,
    connection: &mut Connection,
    interval: Duration,
) -> bool {
    let stop = discord.background().stop.clone();
    loop {
        // A bot that is late by half an interval is a zombie.
        let deadline = connection.heard + interval.mul_f64(1.5);
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                close(socket, 1001, "Going away.").await;
                return false;
            }
            frame = out.recv() => match frame {
                Some(Frame::Text(text)) => if socket.send(Message::Text(text.into())).await.is_err() { return false },
                Some(Frame::Close(code, reason)) => {
                    close(socket, code, reason).await;
                    return false;
                }
                Some(Frame::Cut) | None => return false,
            },
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => {
                    let answers = discord.change(|state| connection.hear(state, &text));
                    for answer in answers {
                        match answer {
                            Frame::Text(text) => if socket.send(Message::Text(text.into())).await.is_err() { return false },
                            Frame::Close(code, reason) => {
                                close(socket, code, reason).await;
                                return false;
                            }
                            Frame::Cut => return false,
                        }
                    }
                }
                Some(Ok(Message::Binary(_))) => {
                    discord.change(|state| state.violations.push("the bot sent a binary frame".into()));
                    close(socket, 4002, "Error while decoding payload.").await;
                    return false;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                // These two codes end a session; after any other, and after none, it can be resumed.
                Some(Ok(Message::Close(frame))) => return frame.is_some_and(|frame| [1000, 1001].contains(&frame.code)),
                Some(Err(_)) | None => return false,
            },
            () = tokio::time::sleep_until(deadline) => {
                discord.change(|state| state.violations.push("the bot sent no heartbeat in time".into()));
                close(socket, 4009, "Session timed out.").await;
                return false;
            }
        }
    }
}

/// Sends a close frame and takes what still comes, for a little while.
async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
    let rest = async { while let Some(Ok(_)) = socket.recv().await {} };
    let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
}
