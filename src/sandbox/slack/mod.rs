//! An emulator of Slack: the Web API and Socket Mode for the app under test, and the human side for tests and scenarios.
//!
//! A workspace ([`Workspace`]) behind the methods that the app calls, and the people in it, who type commands, react and click
//! ([`SlackEmulator::type_command`] and its neighbours). What they do reaches the app over Socket Mode as Slack delivers it, with
//! the mishaps that a test asks for. Everything that is posted can be read back ([`SlackEmulator::channel_transcript`]) and waited
//! for ([`SlackEmulator::wait_until`]).
//!
//! # Guarantees
//! One lock: a request is answered after everything that follows from it at once has happened, and events leave in the order of
//! their causes. Message timestamps are unique and rise.
//!
//! # Caveats
//! Stricter than Slack: unknown arguments are refused (`invalid_arguments`), channels are addressed by id only, a reply needs an
//! existing parent. Not emulated: HTTP event delivery, OAuth, user tokens, group direct messages, unfurling, attachments beyond being
//! stored, the newer block types (`table`, `video`, …), threads of ephemeral messages beyond their `thread_ts`.

mod api;
mod blocks;
mod delivery;
mod forms;
mod limits;
mod people;
mod render;
mod socket;
mod state;
mod transcript;
mod workspace;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use self::api::Api;
use self::delivery::{Attempt, Background, Envelope, Frame, Sockets};
use self::state::State;
use super::server::{Server, Wire};

pub use self::delivery::{EnvelopeKind, Mishap};
pub use self::people::{Answered, SlackEmulatorError};
pub use self::transcript::{Button, Entry, TimedOut, Upload, View};
pub use self::workspace::{App, Channel, Group, Limit, RateLimits, Timing, User, Workspace};

/// A running emulator of one Slack workspace.
#[derive(Debug)]
pub struct SlackEmulator {
    /// The HTTP server, with its request log.
    pub server: Server,
    slack: Slack,
    /// Ends the background tasks of an emulator that is dropped without having been stopped.
    _end: DropGuard,
}

/// Why Slack ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The connection will end soon; a new one should be opened.
    Warning,
    /// The connection is renewed, as happens every few hours.
    RefreshRequested,
    /// Socket Mode was switched off.
    LinkDisabled,
}

/// The workspace behind its lock. Clones share it.
#[derive(Clone)]
pub(in crate::sandbox::slack) struct Slack(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Counts changes, so that whoever waits looks again.
    version: watch::Sender<u64>,
    background: Background,
}

// === impl SlackEmulator ===

impl SlackEmulator {
    /// Starts the workspace on a free loopback port.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn start(workspace: &Workspace) -> io::Result<Self> {
        let slack = Slack::new(workspace.clone());
        let shared = slack.clone();
        let server = Server::start(Wire::default(), move |address| api::router(Api { slack: shared, address })).await?;
        let end = slack.background().stop.clone().drop_guard();
        Ok(Self { server, slack, _end: end })
    }

    /// `http://127.0.0.1:PORT/api`, without a slash at the end.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("{}/api", self.server.url())
    }

    /// The bot token, `xoxb-…`.
    #[must_use]
    pub fn bot_token(&self) -> String {
        self.slack.read(|state| state.workspace.app.bot_token.clone())
    }

    /// The app-level token for Socket Mode, `xapp-…`.
    #[must_use]
    pub fn app_token(&self) -> String {
        self.slack.read(|state| state.workspace.app.app_token.clone())
    }

    /// The request log, and the faults to come.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.server.wire
    }

    /// Lets something go wrong with the next envelope of `kind`, or of any kind. Every attempt counts, redeliveries too.
    pub fn disturb(&self, kind: Option<EnvelopeKind>, mishap: Mishap) {
        self.slack.change(|state| state.sockets.disturb(kind, mishap));
    }

    /// Mishaps that were ordered and did not happen yet, so that a test can assert that nothing is left over.
    #[must_use]
    pub fn pending_mishaps(&self) -> Vec<Mishap> {
        self.slack.read(|state| state.sockets.pending_mishaps())
    }

    /// What the app did wrong on its connections, which Slack would swallow silently.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.slack.read(|state| state.violations.clone())
    }

    /// Tells every connection to disconnect and closes it, as Slack does every few hours.
    pub fn disconnect_sockets(&self, reason: DisconnectReason) {
        let word = match reason {
            DisconnectReason::Warning => "warning",
            DisconnectReason::RefreshRequested => "refresh_requested",
            DisconnectReason::LinkDisabled => "link_disabled",
        };
        let notice = json!({ "type": "disconnect", "reason": word, "debug_info": socket::debug_info(false) }).to_string();
        self.slack.change(|state| state.sockets.tell_all(|| vec![Frame::Text(notice.clone()), Frame::Close]));
    }

    /// Cuts every connection without a word, as a network does.
    pub fn cut_sockets(&self) {
        self.slack.change(|state| state.sockets.tell_all(|| vec![Frame::Cut]));
    }

    /// Replaces the rate limits; `None` switches them off.
    pub fn set_limits(&self, limits: Option<RateLimits>) {
        self.slack.change(|state| state.workspace.limits = limits);
    }

    /// Replaces the members of a user group; `false` if there is no such group.
    pub fn set_group_members(&self, group: &str, members: &[&str]) -> bool {
        self.slack.change(|state| {
            let found = state.workspace.groups.iter_mut().find(|known| known.id == group);
            found.map(|found| found.members = members.iter().map(|id| (*id).to_owned()).collect()).is_some()
        })
    }

    /// Changes what is known of a user, such as that the account was deactivated; `false` if there is no such user.
    pub fn change_user(&self, user: &str, change: impl FnOnce(&mut User)) -> bool {
        self.slack.change(|state| state.workspace.users.iter_mut().find(|known| known.id == user).map(change).is_some())
    }

    /// Ends every connection and every redelivery.
    pub async fn stop(self) {
        self.slack.background().end().await;
        self.server.stop().await;
    }
}

// === impl Slack ===

impl Slack {
    fn new(workspace: Workspace) -> Self {
        let background = Background::default();
        let state = Mutex::new(State::new(workspace, Sockets::new(background.clone())));
        Self(Arc::new(Inner { state, version: watch::Sender::new(0), background }))
    }

    pub(in crate::sandbox::slack) fn background(&self) -> &Background {
        &self.0.background
    }

    /// Wakes whenever something changed.
    pub(in crate::sandbox::slack) fn watch(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    pub(in crate::sandbox::slack) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state, sends the events that follow from it, and wakes everybody who waits.
    pub(in crate::sandbox::slack) fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let (result, under_way) = {
            let mut state = self.lock();
            let result = act(&mut state);
            let emitted = std::mem::take(&mut state.emitted);
            state.sockets.unfinished += emitted.len();
            let send = |event: Envelope| {
                let attempt = state.sockets.send(&event, 0);
                (event, attempt)
            };
            let under_way: Vec<(Envelope, Attempt)> = emitted.into_iter().map(send).collect();
            (result, under_way)
        };
        for (event, attempt) in under_way {
            self.0.background.spawn(self.clone().see_through(event, attempt));
        }
        self.0.version.send_modify(|version| *version += 1);
        result
    }

    /// Redelivers an event until it is acknowledged or Slack gives up.
    async fn see_through(self, event: Envelope, mut attempt: Attempt) {
        let timing = self.read(|state| state.workspace.timing.clone());
        let mut retries: Vec<Duration> = timing.retries.iter().rev().copied().collect();
        let mut retry = 0;
        while attempt.answer(timing.ack).await.is_err() {
            let Some(wait) = retries.pop() else { break };
            tokio::time::sleep(wait).await;
            retry += 1;
            attempt = self.change(|state| state.sockets.send(&event, retry));
        }
        self.change(|state| state.sockets.unfinished -= 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slack").finish()
    }
}
