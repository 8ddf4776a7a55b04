//! Discord, by the gateway and the REST API, in one server.
//!
//! # Guarantees
//! Whatever arrives has been delivered by Discord to this application; it is acknowledged and handed over at once, under an id that is the
//! same on every delivery. Words that Stanch did not choose itself neither ping nor format nor link. No error and no log line of this
//! module holds a token.
//!
//! # Assumptions
//! A crypto provider of rustls is installed for the process before [`Discord::connect`].
//!
//! # Caveats
//! Commands and buttons are handed over once they are acknowledged, so that they can arrive in another order than people did them.
//! After a restart the windows for private answers are forgotten: what is still thinking then stays so until Discord gives it up.
//! What serenity is used for: commands, buttons, embeds and mentions are made, and interactions are read with its types. Its transports
//! are not: they bring a second, outdated TLS stack (see ARCHITECTURE.md).

mod answers;
mod api;
mod chat;
mod commands;
mod completion;
mod error;
mod examine;
mod files;
mod gateway;
mod inbound;
mod markup;
mod people;
mod render;
mod settings;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::answers::Answers;
use self::api::{Api, Failure};
use self::gateway::Gateway;
use self::inbound::{Inlet, Inner};
use self::settings::Endpoint;
use crate::ports::{ChatError, ChatEvent, Suggest};

pub use self::commands::{definition, path};
pub use self::error::DiscordError;
pub use self::examine::{DiscordExamination, NEEDED};
pub use self::render::{Rendered, rendered};
pub use self::settings::{CommandScope, DiscordSettings, Emoji, is_emoji, is_snowflake};

/// A directive for the log filter: the WebSocket's own log shows what is sent, and the introduction holds the token.
pub const QUIET: &str = "tungstenite=off";

/// How long the first session may take to come up. It takes a second; an operator at a terminal waits no longer than this for an answer.
const FIRST_SESSION: Duration = Duration::from_secs(30);

/// How long a shutdown waits for the connection to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// A connected server. It has to be shut down: the connection lives in a task of its own.
pub struct Discord {
    api: Api,
    guild: String,
    application: String,
    /// Our own user id.
    bot_user: String,
    emoji: Emoji,
    answers: Arc<Answers>,
    shutdown: CancellationToken,
    connection: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Discord {
    /// Checks the token and the server, registers the slash command, and connects. Everything that comes in goes to `events`, whose length
    /// bounds what can wait: people are told if there is no place, and reactions are read back later. What people are offered while they
    /// type comes from `suggest`.
    ///
    /// # Errors
    /// [`DiscordError`], with a hint. Once this has succeeded, a lost connection is made again for ever.
    pub async fn connect(settings: DiscordSettings, events: Sender<ChatEvent>, suggest: Arc<dyn Suggest>) -> Result<Self, DiscordError> {
        settings.emoji.check()?;
        for id in [&settings.application, &settings.guild] {
            is_snowflake(id).then_some(()).ok_or_else(|| DiscordError::Id(id.clone()))?;
        }
        let endpoint = Endpoint::of(settings.api_url.as_deref())?;
        let api = Api::new(&endpoint, &settings.bot_token)?;
        let bot_user = identify(&api, &settings).await?;
        register(&api, &settings).await?;
        let answers = Arc::new(Answers::default());
        let inner = Inner {
            api: api.clone(),
            events,
            guild: settings.guild.clone(),
            bot_user: bot_user.clone(),
            application: settings.application.clone(),
            emoji: settings.emoji.clone(),
            answers: answers.clone(),
            suggest,
            telling: AtomicBool::new(false),
        };
        let inlet = Inlet(Arc::new(inner));
        let handler = Box::new(move |event: gateway::Event<'_>| inlet.take(event));
        let gateway = Gateway { api: api.clone(), endpoint, token: settings.bot_token, handler };
        let (ready, outcome) = oneshot::channel();
        let shutdown = CancellationToken::new();
        let connection = tokio::spawn(gateway.run(ready, shutdown.clone()));
        let discord = Self {
            api,
            guild: settings.guild,
            application: settings.application,
            bot_user,
            emoji: settings.emoji,
            answers,
            shutdown,
            connection: tokio::sync::Mutex::new(Some(connection)),
        };
        let unreachable = |why: &str| DiscordError::Unreachable(ChatError::Unavailable(why.into()));
        let outcome = match tokio::time::timeout(FIRST_SESSION, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(unreachable("the connection ended")),
            Err(_) => Err(unreachable("no session came up in time")),
        };
        match outcome {
            Ok(()) => Ok(discord),
            Err(error) => {
                discord.shutdown().await;
                Err(error)
            }
        }
    }

    /// Ends the connection. Discord tells people who do something from then on that Stanch did not respond.
    pub async fn shutdown(&self) {
        self.shutdown.cancel();
        if let Some(connection) = self.connection.lock().await.take() {
            // It ends by itself soon after.
            let _ = tokio::time::timeout(FAREWELL, connection).await;
        }
    }
}

impl Drop for Discord {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl fmt::Debug for Discord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discord").field("guild", &self.guild).field("bot_user", &self.bot_user).finish_non_exhaustive()
    }
}

/// The bot's own user id, once token, application and server are the right ones.
async fn identify(api: &Api, settings: &DiscordSettings) -> Result<String, DiscordError> {
    let own = api.get("/users/@me").await.map_err(rejected)?;
    let application = api.get("/applications/@me").await.map_err(rejected)?;
    let found = api::id(&application).map_err(DiscordError::Unreachable)?;
    if found != settings.application {
        return Err(DiscordError::Application { expected: settings.application.clone(), found });
    }
    match api.get(&format!("/guilds/{}", settings.guild)).await {
        Ok(_) => api::id(&own).map_err(DiscordError::Unreachable),
        Err(failure) if matches!(failure.status(), Some(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN)) => {
            Err(DiscordError::Guild(settings.guild.clone()))
        }
        Err(failure) => Err(rejected(failure)),
    }
}

/// Where the slash command is registered.
fn commands_path(settings: &DiscordSettings) -> String {
    match settings.scope {
        CommandScope::Guild => format!("/applications/{}/guilds/{}/commands", settings.application, settings.guild),
        CommandScope::Global => format!("/applications/{}/commands", settings.application),
    }
}

/// The slash command as it is sent: serenity says of every field that it is not there.
fn wanted() -> Value {
    commands::essence(&json!(definition()))
}

/// Whether the slash command is registered as it should be.
async fn is_registered(api: &Api, settings: &DiscordSettings) -> Result<bool, Failure> {
    let registered = api.get(&commands_path(settings)).await?;
    let ours = |command: &&Value| command.get("name").and_then(Value::as_str) == Some(commands::NAME);
    let found = registered.as_array().into_iter().flatten().find(ours).map(commands::essence);
    Ok(found.as_ref() == Some(&wanted()))
}

/// Registers the slash command, unless it stands already as it should: Discord counts writes, and clients show a new one late.
async fn register(api: &Api, settings: &DiscordSettings) -> Result<(), DiscordError> {
    let cannot = |failure: Failure| DiscordError::Commands(failure.into());
    if is_registered(api, settings).await.map_err(cannot)? {
        return Ok(());
    }
    // One command of that name there is at most, and other commands of the application stay.
    api.post(&commands_path(settings), &wanted()).await.map_err(cannot)?;
    tracing::info!("the slash command is registered");
    Ok(())
}

fn rejected(failure: Failure) -> DiscordError {
    match failure.status() {
        Some(StatusCode::UNAUTHORIZED) => DiscordError::Token,
        _ => DiscordError::Unreachable(failure.into()),
    }
}
