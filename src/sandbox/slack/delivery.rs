//! Envelopes on their way to the app: which connection takes one, what goes wrong on the way, and what comes back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::api::Origin;

/// Connections that one app may hold, as in Slack.
pub(super) const CONNECTIONS: usize = 10;

/// What an envelope carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeKind {
    /// A slash command; the acknowledgement may carry a message.
    SlashCommand,
    /// An event of the Events API, redelivered until it is acknowledged.
    Event,
    /// A click.
    Click,
    /// The submission of a modal; the acknowledgement may say what becomes of it.
    Submission,
    /// Somebody types into a menu; the acknowledgement has what it offers.
    Suggestion,
    /// A shortcut on a message.
    Shortcut,
}

/// What goes wrong with the delivery of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It is delivered twice, under two envelope ids.
    Duplicate,
    /// It is delivered this much later, so that what follows overtakes it.
    Delay(Duration),
    /// This attempt is lost. Slack notices that nobody acknowledged, and redelivers an event.
    Drop,
    /// An event vanishes: Slack never tries again. The same as [`Mishap::Drop`] for anything else.
    Lose,
    /// It is delivered right after the envelope that follows it.
    SwapWithNext,
}

/// Why an envelope was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The app has no connection.
    NotConnected,
    /// No acknowledgement in time, or the connection ended before.
    Unanswered,
}

/// What is to be delivered.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) kind: EnvelopeKind,
    pub(super) payload: Value,
    /// Whom a message in the acknowledgement answers.
    pub(super) origin: Option<Origin>,
}

/// What a connection's task is told to put on its wire.
pub(super) enum Frame {
    Text(String),
    /// A close frame, and the end.
    Close,
    /// The end without a word.
    Cut,
}

/// One attempt to deliver an envelope.
pub(super) enum Attempt {
    Sent {
        /// Payloads of the acknowledgements; ends when the connection does.
        answers: UnboundedReceiver<Option<Value>>,
        /// Keeps `answers` open where no connection does: Slack does not know that the frame was dropped.
        open: Option<UnboundedSender<Option<Value>>>,
        /// How much later than now it reaches the app.
        delay: Duration,
    },
    NotConnected,
    /// Nothing was sent, and Slack believes otherwise.
    Lost,
}

/// The app's connections, and the envelopes that are out.
pub(super) struct Sockets {
    connections: Vec<Connection>,
    /// Connections take turns.
    turn: usize,
    last_connection: u64,
    /// By envelope id.
    unacknowledged: BTreeMap<String, Pending>,
    /// Every envelope id that was sent.
    sent: BTreeSet<String>,
    mishaps: VecDeque<(Option<EnvelopeKind>, Mishap)>,
    /// Waits for the next envelope to go first.
    held: Option<(Outgoing, UnboundedSender<Option<Value>>)>,
    /// Events that are neither acknowledged nor given up.
    pub(super) unfinished: usize,
    pub(super) background: Background,
}

/// Tasks that end with the emulator.
#[derive(Clone, Debug, Default)]
pub(super) struct Background {
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

struct Connection {
    id: u64,
    frames: UnboundedSender<Frame>,
}

struct Pending {
    connection: u64,
    kind: EnvelopeKind,
    origin: Option<Origin>,
    answer: UnboundedSender<Option<Value>>,
}

struct Outgoing {
    id: String,
    kind: EnvelopeKind,
    origin: Option<Origin>,
    text: String,
}

// === impl EnvelopeKind ===

impl EnvelopeKind {
    fn wire_type(self) -> &'static str {
        match self {
            Self::SlashCommand => "slash_commands",
            Self::Event => "events_api",
            Self::Click | Self::Submission | Self::Suggestion | Self::Shortcut => "interactive",
        }
    }

    fn accepts_response_payload(self) -> bool {
        match self {
            Self::SlashCommand | Self::Submission | Self::Suggestion => true,
            Self::Event | Self::Click | Self::Shortcut => false,
        }
    }
}

// === impl Envelope ===

impl Envelope {
    fn outgoing(&self, retry: usize) -> Outgoing {
        let id = Uuid::new_v4().to_string();
        let mut frame = json!({
            "envelope_id": id,
            "type": self.kind.wire_type(),
            "payload": self.payload,
            "accepts_response_payload": self.kind.accepts_response_payload(),
        });
        if let (EnvelopeKind::Event, Value::Object(fields)) = (self.kind, &mut frame) {
            fields.insert("retry_attempt".into(), json!(retry));
            fields.insert("retry_reason".into(), json!(if retry > 0 { "timeout" } else { "" }));
        }
        Outgoing { id, kind: self.kind, origin: self.origin.clone(), text: frame.to_string() }
    }
}

// === impl Attempt ===

impl Attempt {
    /// Waits for the acknowledgement and returns its payload.
    pub(super) async fn answer(self, patience: Duration) -> Result<Option<Value>, Failure> {
        match self {
            Self::Lost => Ok(None),
            Self::NotConnected => Err(Failure::NotConnected),
            Self::Sent { mut answers, open, delay } => {
                let answer = tokio::time::timeout(patience + delay, answers.recv()).await;
                drop(open);
                answer.ok().flatten().ok_or(Failure::Unanswered)
            }
        }
    }
}

// === impl Sockets ===

impl Sockets {
    pub(super) fn new(background: Background) -> Self {
        Self {
            connections: Vec::new(),
            turn: 0,
            last_connection: 0,
            unacknowledged: BTreeMap::new(),
            sent: BTreeSet::new(),
            mishaps: VecDeque::new(),
            held: None,
            unfinished: 0,
            background,
        }
    }

    pub(super) fn connected(&self) -> usize {
        self.connections.len()
    }

    /// Registers a connection; what is to be sent on it comes out of the receiver, the greeting first.
    pub(super) fn connect(&mut self, greeting: String) -> (u64, UnboundedReceiver<Frame>) {
        let (frames, out) = unbounded_channel();
        let _ = frames.send(Frame::Text(greeting));
        self.last_connection += 1;
        self.connections.push(Connection { id: self.last_connection, frames });
        (self.last_connection, out)
    }

    /// Forgets a connection. What it did not acknowledge counts as not acknowledged at once.
    pub(super) fn disconnect(&mut self, id: u64) {
        self.connections.retain(|connection| connection.id != id);
        self.unacknowledged.retain(|_, pending| pending.connection != id);
    }

    /// Tells every connection something; those that end take no envelope any more.
    pub(super) fn tell_all(&mut self, frames: impl Fn() -> Vec<Frame>) {
        for connection in std::mem::take(&mut self.connections) {
            for frame in frames() {
                // A connection that is gone needs no telling.
                let _ = connection.frames.send(frame);
            }
        }
    }

    pub(super) fn disturb(&mut self, kind: Option<EnvelopeKind>, mishap: Mishap) {
        self.mishaps.push_back((kind, mishap));
    }

    pub(super) fn pending_mishaps(&self) -> Vec<Mishap> {
        self.mishaps.iter().map(|(_, mishap)| *mishap).collect()
    }

    /// Sends an envelope on the connection whose turn it is. `retry` counts redeliveries.
    pub(super) fn send(&mut self, envelope: &Envelope, retry: usize) -> Attempt {
        if self.connections.is_empty() {
            return Attempt::NotConnected;
        }
        let (answer, answers) = unbounded_channel();
        let mishap = self.next_mishap(envelope.kind);
        let sent = |open, delay| Attempt::Sent { answers, open, delay };
        match mishap {
            Some(Mishap::Lose) if envelope.kind == EnvelopeKind::Event => return Attempt::Lost,
            Some(Mishap::Drop | Mishap::Lose) => return sent(Some(answer), Duration::ZERO),
            Some(Mishap::SwapWithNext) => {
                let earlier = self.held.replace((envelope.outgoing(retry), answer));
                self.release(earlier);
                return sent(None, Duration::ZERO);
            }
            Some(Mishap::Duplicate) => self.put(envelope.outgoing(retry), answer.clone(), Duration::ZERO),
            Some(Mishap::Delay(_)) | None => {}
        }
        let delay = if let Some(Mishap::Delay(delay)) = mishap { delay } else { Duration::ZERO };
        self.put(envelope.outgoing(retry), answer, delay);
        let held = self.held.take();
        self.release(held);
        sent(None, delay)
    }

    /// Takes a frame that the app sent, and returns the message in it with whom it answers.
    ///
    /// # Errors
    /// What is wrong with it. Slack would say nothing.
    pub(super) fn receive(&mut self, frame: &str) -> Result<Option<(Origin, Value)>, String> {
        let parsed: Value = serde_json::from_str(frame).map_err(|_| format!("the app sent a frame that is no JSON: {frame}"))?;
        let id = parsed.get("envelope_id").and_then(Value::as_str);
        let id = id.ok_or_else(|| format!("the app sent a frame without an envelope_id: {frame}"))?;
        let known = ["envelope_id", "payload"];
        let strange = parsed.as_object().into_iter().flat_map(|fields| fields.keys()).find(|name| !known.contains(&name.as_str()));
        if let Some(strange) = strange {
            return Err(format!("the app acknowledged {id} with the unknown field `{strange}`"));
        }
        if !self.sent.contains(id) {
            return Err(format!("the app acknowledged {id}, which was never sent"));
        }
        // A second or a late acknowledgement is no fault.
        let Some(pending) = self.unacknowledged.remove(id) else { return Ok(None) };
        let empty = |payload: &Value| payload.is_null() || payload.as_object().is_some_and(serde_json::Map::is_empty);
        let payload = parsed.get("payload").filter(|payload| !empty(payload)).cloned();
        let refused = payload.is_some() && !pending.kind.accepts_response_payload();
        let accepted = payload.filter(|_| !refused);
        // The human may have given up.
        let _ = pending.answer.send(accepted.clone());
        if refused {
            return Err(format!("the app acknowledged {id} with a payload, which an envelope of kind {:?} does not accept", pending.kind));
        }
        Ok(pending.origin.zip(accepted))
    }

    fn next_mishap(&mut self, kind: EnvelopeKind) -> Option<Mishap> {
        let index = self.mishaps.iter().position(|(only, _)| only.is_none_or(|only| only == kind))?;
        self.mishaps.remove(index).map(|(_, mishap)| mishap)
    }

    fn release(&mut self, held: Option<(Outgoing, UnboundedSender<Option<Value>>)>) {
        if let Some((outgoing, answer)) = held {
            self.put(outgoing, answer, Duration::ZERO);
        }
    }

    fn put(&mut self, outgoing: Outgoing, answer: UnboundedSender<Option<Value>>, delay: Duration) {
        self.turn = self.turn.wrapping_add(1);
        let index = self.turn.checked_rem(self.connections.len());
        let Some(connection) = index.and_then(|index| self.connections.get(index)) else { return };
        let Outgoing { id, kind, origin, text } = outgoing;
        self.sent.insert(id.clone());
        self.unacknowledged.insert(id, Pending { connection: connection.id, kind, origin, answer });
        let frames = connection.frames.clone();
        if delay.is_zero() {
            let _ = frames.send(Frame::Text(text));
        } else {
            self.background.spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = frames.send(Frame::Text(text));
            });
        }
    }
}

// === impl Background ===

impl Background {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }

    pub(super) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
