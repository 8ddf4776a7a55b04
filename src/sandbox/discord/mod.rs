//! An emulator of Discord: REST and gateway for the bot under test, and the human side for tests and scenarios.
//!
//! A guild ([`Guild`]) behind the routes that a bot calls, and the people in it, who type commands, press buttons, fill in modals and
//! react ([`DiscordEmulator::type_command`] and its neighbours). What they do reaches the bot over the gateway as Discord delivers it, with
//! the mishaps that a test asks for. Everything that is posted can be read back ([`DiscordEmulator::channel_transcript`]), with whom it
//! pings, and waited for ([`DiscordEmulator::wait_until`]).
//!
//! # Guarantees
//! One lock: a request is answered after everything that follows from it at once has happened, and events leave in the order of
//! their causes. Ids are unique, rise, and tell their time. A session hears of nothing that its intents did not ask for.
//!
//! # Caveats
//! Stricter than Discord: unknown fields and query parameters are refused, mentions count inside code too. Not emulated: direct
//! messages (refused), HTTP delivery of interactions, OAuth2, voice, webhooks besides those of interactions, custom emoji, transport
//! compression, several shards, components of the second version, and events that [`EventKind`] does not list.

mod acting;
mod api;
mod commands;
mod content;
mod gateway;
mod guild;
mod interaction;
mod limits;
mod mentions;
mod modal;
mod people;
mod refusal;
mod render;
mod render_message;
mod sandbox_guild;
mod shape;
mod snowflake;
mod state;
mod tell;
mod transcript;
mod typing;
mod world;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::api::Api;
use self::gateway::Event;
use self::state::State;
use super::server::{Server, Wire};

pub use self::gateway::{EventKind, Mishap};
pub use self::guild::{Application, Guild, Limit, Member, RateLimits, Role, TextChannel, Timing, permission};
pub use self::interaction::{Answered, Choice, Response};
pub use self::mentions::Mentions;
pub use self::people::DiscordEmulatorError;
pub use self::sandbox_guild::id;
pub use self::snowflake::Snowflake;
pub use self::transcript::{Button, Entry, TimedOut, Upload, View};
pub use self::typing::Typed;
pub use self::world::GatewayDrop;

/// A running emulator of one guild.
#[derive(Debug)]
pub struct DiscordEmulator {
    /// The HTTP server, with its request log.
    pub server: Server,
    discord: Discord,
    /// Ends the background tasks of an emulator that is dropped without having been stopped.
    _end: DropGuard,
}

/// The guild behind its lock. Clones share it.
#[derive(Clone)]
pub(in crate::sandbox::discord) struct Discord(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Counts changes, so that whoever waits looks again.
    version: watch::Sender<u64>,
    background: Background,
}

/// Tasks that end with the emulator.
#[derive(Clone, Debug, Default)]
pub(in crate::sandbox::discord) struct Background {
    pub(in crate::sandbox::discord) tasks: TaskTracker,
    pub(in crate::sandbox::discord) stop: CancellationToken,
}

// === impl DiscordEmulator ===

impl DiscordEmulator {
    /// Starts the guild on a free loopback port.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn start(guild: &Guild) -> io::Result<Self> {
        let discord = Discord::new(guild.clone());
        let shared = discord.clone();
        let server = Server::start(Wire::default(), move |address| api::router(Api { discord: shared, address })).await?;
        let end = discord.background().stop.clone().drop_guard();
        Ok(Self { server, discord, _end: end })
    }

    /// `http://127.0.0.1:PORT`: what serenity takes as `proxy`. The API is under `/api/v10`.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The bot token.
    #[must_use]
    pub fn token(&self) -> String {
        self.discord.read(|state| state.guild.application.token.clone())
    }

    /// The request log, and the faults to come.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.server.wire
    }

    /// What the bot did wrong that Discord would swallow silently, and why the gateway closed a connection on it.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.discord.read(|state| state.violations.clone())
    }

    /// Ends every connection.
    pub async fn stop(self) {
        let background = self.discord.background();
        background.stop.cancel();
        background.tasks.close();
        background.tasks.wait().await;
        self.server.stop().await;
    }
}

// === impl Discord ===

impl Discord {
    fn new(guild: Guild) -> Self {
        let state = Mutex::new(State::new(guild));
        Self(Arc::new(Inner { state, version: watch::Sender::new(0), background: Background::default() }))
    }

    pub(in crate::sandbox::discord) fn background(&self) -> &Background {
        &self.0.background
    }

    /// Wakes whenever something changed.
    pub(in crate::sandbox::discord) fn watch(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    pub(in crate::sandbox::discord) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state, sends the events that follow from it, and wakes everybody who waits.
    pub(in crate::sandbox::discord) fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let (result, late) = {
            let mut state = self.lock();
            let result = act(&mut state);
            let emitted = std::mem::take(&mut state.emitted);
            let late: Vec<_> = emitted.into_iter().filter_map(|event| state.gateway.send(event)).collect();
            (result, late)
        };
        for (event, delay) in late {
            self.background().spawn(self.clone().deliver_late(event, delay));
        }
        self.0.version.send_modify(|version| *version += 1);
        result
    }

    async fn deliver_late(self, event: Event, delay: Duration) {
        tokio::time::sleep(delay).await;
        {
            let gateway = &mut self.lock().gateway;
            gateway.put(&event);
            gateway.delayed -= 1;
        }
        self.0.version.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Discord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Discord").finish()
    }
}

// === impl Background ===

impl Background {
    pub(in crate::sandbox::discord) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }
}
