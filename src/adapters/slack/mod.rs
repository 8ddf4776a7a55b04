//! Slack, by Socket Mode and the Web API.
//!
//! # Guarantees
//! Whatever arrives has been delivered by Slack to this app; it is handed over at once, under the id that Slack gives it on every
//! delivery. Words that Stanch did not choose itself neither ping nor format. No error and no log line of this module holds a token.
//!
//! # Assumptions
//! A crypto provider of rustls is installed for the process before [`Slack::connect`].
//!
//! # Caveats
//! There are two connections, so what people do can arrive in another order than they did it.
//! The library sets no time limit on the last step of making a connection, the WebSocket's handshake. One that hangs there is noticed when
//! the system gives it up; the other goes on.
//! The library logs addresses of connections, which hold one-time tickets, under the target `slack_morphism`: see [`QUIET`].
//! Accounts whose home is another workspace of the same organisation (Enterprise Grid) count as strangers.

mod alert;
mod api;
mod chat;
mod cut;
mod error;
mod examine;
mod files;
mod filling;
mod forms;
mod inbound;
mod manifest;
mod people;
mod render;
mod settings;

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use slack_morphism::SlackApiToken;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;

use self::api::{Api, Failure};
use self::inbound::{Inlet, Listener};
use self::settings::Endpoint;
use crate::ports::{ChatError, ChatEvent, Suggest};

pub use self::error::SlackError;
pub use self::examine::SlackExamination;
pub use self::manifest::manifest;
pub use self::render::{Rendered, rendered};
pub use self::settings::{Emoji, SlackSettings};

/// A directive for the log filter: the library's own log shows one-time tickets, and this adapter logs what an operator needs.
pub const QUIET: &str = "slack_morphism=off";

/// A connected workspace. It has to be shut down: the connections live in tasks of their own.
pub struct Slack {
    api: Api,
    /// Our own user id.
    bot_user: String,
    /// Our workspace.
    team: String,
    emoji: Emoji,
    /// Slack is on this machine.
    is_loopback: bool,
    listener: Listener,
}

/// What Slack says of a bot token.
#[derive(Deserialize)]
struct Identity {
    user_id: String,
    team_id: String,
    bot_id: Option<String>,
    #[serde(default)]
    is_enterprise_install: bool,
}

/// Codes by which Slack rejects a token itself.
const TOKEN_CODES: &[&str] =
    &["invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type", "no_permission"];

impl Slack {
    /// Checks the tokens and what they may do, and connects. Everything that comes in goes to `events`, whose length bounds what can
    /// wait: people are told if there is no place, and Slack delivers reactions again. What forms offer comes from `suggest`.
    ///
    /// # Errors
    /// [`SlackError`], with a hint. Once this has succeeded, lost connections are made again for ever.
    pub async fn connect(settings: SlackSettings, events: Sender<ChatEvent>, suggest: Arc<dyn Suggest>) -> Result<Self, SlackError> {
        settings.emoji.check()?;
        let endpoint = Endpoint::of(settings.api_url.as_deref())?;
        let (client, is_loopback) = (api::client(&endpoint)?, matches!(endpoint, Endpoint::Loopback(_)));
        let api = Api::new(client.clone(), api::token(&settings.bot_token));
        let identity = identify(&api).await?;
        if let Some(expected) = settings.team_id.filter(|expected| *expected != identity.team_id) {
            return Err(SlackError::Team { expected, found: identity.team_id });
        }
        check_scopes(&api, &identity.user_id).await?;
        if settings.attaches {
            permitted(api.post("files.completeUploadExternal", &json!({})).await)?;
        }
        let app_token: SlackApiToken = api::token(&settings.app_token);
        let opened: Result<Value, Failure> = Api::new(client.clone(), app_token.clone()).post("apps.connections.open", &json!({})).await;
        opened.map_err(|failure| rejected("app", failure))?;
        let inlet = Inlet {
            events,
            bot_user: identity.user_id.clone(),
            emoji: settings.emoji.clone(),
            api: api.clone(),
            suggest,
            opening: Arc::new(Semaphore::new(inbound::OPENING)),
        };
        let listener = inbound::listen(client, &app_token, inlet).await;
        let listener = listener.map_err(|_| SlackError::Unreachable(ChatError::Unavailable("the listener did not start".into())))?;
        Ok(Self { api, bot_user: identity.user_id, team: identity.team_id, emoji: settings.emoji, is_loopback, listener })
    }

    /// Ends the connections. What Slack has not had acknowledged by then, it delivers again later.
    pub async fn shutdown(&self) {
        self.listener.shutdown().await;
    }
}

impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slack").field("team", &self.team).field("bot_user", &self.bot_user).finish_non_exhaustive()
    }
}

async fn identify(api: &Api) -> Result<Identity, SlackError> {
    let identity: Identity = api.get("auth.test", &[]).await.map_err(|failure| rejected("bot", failure))?;
    match identity.bot_id.is_some() && !identity.is_enterprise_install {
        true => Ok(identity),
        false => Err(SlackError::NotABot),
    }
}

/// Calls what needs the scopes, in ways that change nothing, so that a missing scope shows now and not in an incident. A call that is
/// refused for its arguments was permitted.
async fn check_scopes(api: &Api, bot_user: &str) -> Result<(), SlackError> {
    let reads: [(&str, &[(&str, &str)]); 3] = [("users.info", &[("user", bot_user)]), ("usergroups.list", &[]), ("reactions.get", &[])];
    for (method, parameters) in reads {
        permitted(api.get(method, parameters).await)?;
    }
    permitted(api.post("chat.postMessage", &json!({})).await)
}

fn permitted(probe: Result<Value, Failure>) -> Result<(), SlackError> {
    match probe {
        Err(failure) if failure.code().is_none_or(|code| code == "missing_scope" || TOKEN_CODES.contains(&code)) => {
            Err(rejected("bot", failure))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn rejected(token: &'static str, failure: Failure) -> SlackError {
    match failure {
        Failure::Refused { code, details } if code == "missing_scope" => {
            SlackError::Scope { token, scope: details.into_iter().next().unwrap_or_default() }
        }
        Failure::Refused { code, .. } => SlackError::Token { token, code },
        Failure::Other(error) => SlackError::Unreachable(error),
    }
}
