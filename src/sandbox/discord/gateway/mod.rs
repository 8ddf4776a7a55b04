//! The gateway: sessions of the bot, the events that each asked for, and what goes wrong on the way.

mod event;
mod protocol;
mod socket;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use uuid::Uuid;

pub use self::event::EventKind;
pub(super) use self::event::{Event, intent};
pub(super) use self::socket::open;

/// Events that a session keeps for a resumption. Discord names no number; a session that missed more starts anew.
const KEPT_EVENTS: usize = 1000;

/// What goes wrong with the delivery of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It is delivered twice.
    Duplicate,
    /// It is delivered this much later, so that what follows overtakes it.
    Delay(Duration),
    /// It is lost.
    Lose,
    /// It is delivered right after the event that follows it.
    SwapWithNext,
}

/// What a connection's task is told to put on its wire.
#[derive(Debug)]
pub(super) enum Frame {
    Text(String),
    /// A close frame with code and reason, and the end.
    Close(u16, &'static str),
    /// The end without a word.
    Cut,
}

/// Sessions, and events on their way.
#[derive(Debug)]
pub(super) struct Gateway {
    /// By session id.
    sessions: BTreeMap<String, Session>,
    /// Every connection, identified or not.
    connections: BTreeMap<u64, UnboundedSender<Frame>>,
    last_connection: u64,
    mishaps: VecDeque<(Option<EventKind>, Mishap)>,
    /// Waits for the next event to go first.
    held: Option<Event>,
    /// Events that a mishap delays.
    pub(super) delayed: usize,
    /// Heartbeats are answered.
    pub(super) acknowledges: bool,
    /// How often the bot may still identify today.
    pub(super) identifies_left: u32,
}

#[derive(Debug)]
struct Session {
    intents: u64,
    /// Sequence number of the last event.
    sequence: u64,
    /// Events with their sequence numbers, for a resumption.
    kept: VecDeque<(u64, String)>,
    connection: Option<u64>,
    /// When it lost its connection.
    lost: Option<Instant>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            last_connection: 0,
            mishaps: VecDeque::new(),
            held: None,
            delayed: 0,
            acknowledges: true,
            // A day's, as Discord grants to a small bot.
            identifies_left: 1000,
        }
    }
}

impl Gateway {
    /// Sessions with a connection.
    pub(super) fn connected(&self) -> usize {
        self.sessions.values().filter(|session| session.connection.is_some()).count()
    }

    /// Sessions that take events, now or after a resumption.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn connect(&mut self, frames: UnboundedSender<Frame>) -> u64 {
        self.last_connection += 1;
        self.connections.insert(self.last_connection, frames);
        self.last_connection
    }

    /// Forgets a connection. Its session stays for a resumption, unless the bot said farewell.
    fn disconnect(&mut self, connection: u64, farewell: bool) {
        self.connections.remove(&connection);
        if farewell {
            self.sessions.retain(|_, session| session.connection != Some(connection));
        }
        for session in self.sessions.values_mut().filter(|session| session.connection == Some(connection)) {
            session.connection = None;
            session.lost = Some(Instant::now());
        }
    }

    /// A session with its first events, which nobody can disturb.
    fn begin(&mut self, connection: u64, intents: u64, first: impl FnOnce(&str) -> Vec<Event>) {
        let id = Uuid::new_v4().simple().to_string();
        let events = first(&id);
        let session = Session { intents, sequence: 0, kept: VecDeque::new(), connection: Some(connection), lost: None };
        self.sessions.insert(id.clone(), session);
        for event in events {
            self.put_on(&id, &event);
        }
    }

    /// Gives a session another connection and sends what it missed; `false` if it cannot be resumed.
    fn resume(&mut self, connection: u64, id: &str, sequence: u64, patience: Duration) -> bool {
        let expired = |session: &Session| session.lost.is_some_and(|lost| lost.elapsed() > patience);
        self.sessions.retain(|_, session| !expired(session));
        let Some(session) = self.sessions.get_mut(id) else { return false };
        let oldest = session.kept.front().map_or(session.sequence + 1, |(number, _)| *number);
        if sequence > session.sequence || sequence + 1 < oldest {
            return false;
        }
        if let Some(other) = session.connection.replace(connection) {
            self.connections.remove(&other);
        }
        session.lost = None;
        if let Some(frames) = self.connections.get(&connection) {
            for (_, text) in session.kept.iter().filter(|(number, _)| *number > sequence) {
                let _ = frames.send(Frame::Text(text.clone()));
            }
        }
        self.put_on(id, &Event::new(EventKind::Resumed, json!({ "_trace": [] })));
        true
    }

    pub(super) fn disturb(&mut self, kind: Option<EventKind>, mishap: Mishap) {
        self.mishaps.push_back((kind, mishap));
    }

    pub(super) fn pending_mishaps(&self) -> Vec<Mishap> {
        self.mishaps.iter().map(|(_, mishap)| *mishap).collect()
    }

    /// Sends an event to every session that asked for it. What a mishap delays is given back, with the time.
    pub(super) fn send(&mut self, event: Event) -> Option<(Event, Duration)> {
        let index = self.mishaps.iter().position(|(only, _)| only.is_none_or(|only| only == event.kind));
        match index.and_then(|index| self.mishaps.remove(index)).map(|(_, mishap)| mishap) {
            Some(Mishap::Lose) => return None,
            Some(Mishap::Delay(time)) => {
                self.delayed += 1;
                return Some((event, time));
            }
            Some(Mishap::SwapWithNext) => {
                if let Some(earlier) = self.held.replace(event) {
                    self.put(&earlier);
                }
                return None;
            }
            Some(Mishap::Duplicate) => self.put(&event),
            None => {}
        }
        self.put(&event);
        if let Some(held) = self.held.take() {
            self.put(&held);
        }
        None
    }

    /// Sends an event to every session that asked for it.
    pub(super) fn put(&mut self, event: &Event) {
        let ids: Vec<String> =
            self.sessions.iter().filter(|(_, session)| event.is_for(session.intents)).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.put_on(id, event));
    }

    fn put_on(&mut self, id: &str, event: &Event) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.sequence += 1;
        let payload = json!({ "op": 0, "t": event.kind.name(), "s": session.sequence, "d": event.data_for(session.intents) });
        let text = payload.to_string();
        session.kept.push_back((session.sequence, text.clone()));
        if session.kept.len() > KEPT_EVENTS {
            session.kept.pop_front();
        }
        if let Some(frames) = session.connection.and_then(|connection| self.connections.get(&connection)) {
            // A connection that is gone will be noticed by its task.
            let _ = frames.send(Frame::Text(text));
        }
    }

    /// Tells every connection something.
    pub(super) fn tell_all(&self, frames: impl Fn() -> Vec<Frame>) {
        for connection in self.connections.values() {
            for frame in frames() {
                let _ = connection.send(frame);
            }
        }
    }

    /// Takes every session off its connection. Those that are kept can be resumed; for the others, what happens from now on is lost.
    pub(super) fn let_go(&mut self, keeps: bool) {
        if !keeps {
            self.sessions.clear();
        }
        for session in self.sessions.values_mut() {
            if session.connection.take().is_some() {
                session.lost = Some(Instant::now());
            }
        }
    }

    /// Forgets the sessions without a connection.
    pub(super) fn forget_lost(&mut self) {
        self.sessions.retain(|_, session| session.connection.is_some());
    }

    /// The number that the session on a connection has reached.
    fn sequence_on(&self, connection: u64) -> Option<u64> {
        self.sessions.values().find(|session| session.connection == Some(connection)).map(|session| session.sequence)
    }
}

/// A payload that is no event.
pub(super) fn payload(op: u64, data: &Value) -> Frame {
    Frame::Text(json!({ "op": op, "d": data, "s": null, "t": null }).to_string())
}
