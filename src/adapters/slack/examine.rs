//! Whether Slack takes the tokens, what they may do, and what time Slack has. No connection of Socket Mode is made: it would take a share of
//! what the running bot has to hear.

use std::collections::BTreeSet;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::files;
use super::manifest::SCOPES;
use super::settings::{Endpoint, SlackSettings};
use crate::adapters::http::{Answer, call};
use crate::core::diagnosis::Check;
use crate::ports::Examined;

/// A workspace by its settings.
#[derive(Clone, Debug)]
pub struct SlackExamination {
    /// As the bot has them.
    pub settings: SlackSettings,
}

const REINSTALL: &str = "install the app again from deploy/slack/manifest.json, and give Stanch its tokens";

/// `apps.connections.open` may be called about once a minute, and the bot itself calls it whenever it connects.
const TOO_FAST: &str = "Slack was asked too often";

#[async_trait]
impl Examined for SlackExamination {
    async fn examine(&self, _commands: &BTreeSet<&'static str>) -> Vec<Check> {
        let asked = self.ask("auth.test", &self.settings.bot_token).await;
        let (answer, body) = match asked {
            Ok(answer) => answer,
            Err(why) => return vec![Check::fail("API", why, "look at the network")],
        };
        let mut checks = vec![Check::ok("API", "Slack answers"), Check::clock(answer.ahead_s()), self.bot(&body)];
        if body.get("ok") == Some(&Value::Bool(true)) {
            checks.push(scopes(&answer.headers, self.settings.attaches));
        }
        checks.push(match self.ask("apps.connections.open", &self.settings.app_token).await {
            Ok((_, body)) if body.get("ok") == Some(&Value::Bool(true)) => Check::ok("app token", "Socket Mode is open to it"),
            Ok((_, body)) => {
                Check::fail("app token", format!("Slack refuses it: {}", code(&body)), "make an app-level token with connections:write")
            }
            Err(why) if why == TOO_FAST => Check::warn("app token", why, "ask again in a minute"),
            Err(why) => Check::fail("app token", why, "look at the network"),
        });
        checks
    }
}

impl SlackExamination {
    fn bot(&self, body: &Value) -> Check {
        let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
        let team = text("team_id");
        match (body.get("ok") == Some(&Value::Bool(true)), &self.settings.team_id) {
            (false, _) => Check::fail("bot token", format!("Slack refuses it: {}", code(body)), REINSTALL),
            (true, _) if text("bot_id").is_empty() => Check::fail("bot token", "it is no bot's", REINSTALL),
            (true, Some(expected)) if expected != team => Check::fail(
                "bot token",
                format!("it is of workspace {team}, not of {expected}"),
                "correct the token, or `team_id` in config/stanch.toml",
            ),
            (true, _) => Check::ok("bot token", format!("it is {} of workspace {team}", text("user"))),
        }
    }

    async fn ask(&self, method: &str, token: &SecretString) -> Result<(Answer, Value), String> {
        let endpoint = Endpoint::of(self.settings.api_url.as_deref()).map_err(|error| error.to_string())?;
        let (base, is_loopback) = match endpoint {
            Endpoint::Tls(base) => (base, false),
            Endpoint::Loopback(base) => (base, true),
        };
        let mut bearer =
            HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| "the token holds odd characters")?;
        bearer.set_sensitive(true);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, bearer), (header::CONTENT_TYPE, form)]);
        let answer = call(Method::POST, &format!("{base}/{method}"), headers, String::new(), is_loopback).await?;
        match serde_json::from_slice(&answer.body) {
            Ok(body) if answer.status.is_success() => Ok((answer, body)),
            Ok(_) | Err(_) if answer.status == StatusCode::TOO_MANY_REQUESTS => Err(TOO_FAST.to_owned()),
            Ok(_) | Err(_) => Err(format!("Slack answers {}", answer.status)),
        }
    }
}

/// What the bot token may do, as Slack says beside every answer.
fn scopes(headers: &HeaderMap, attaches: bool) -> Check {
    let Some(granted) = headers.get("x-oauth-scopes").and_then(|value| value.to_str().ok()) else {
        return Check::warn("scopes", "Slack does not name them", "compare the app's scopes with deploy/slack/manifest.json");
    };
    let granted: BTreeSet<&str> = granted.split(',').map(str::trim).filter(|scope| !scope.is_empty()).collect();
    let needed: BTreeSet<&str> = SCOPES.iter().copied().chain(attaches.then_some(files::SCOPE)).collect();
    let list = |scopes: Vec<&str>| scopes.join(", ");
    let missing: Vec<&str> = needed.difference(&granted).copied().collect();
    let more: Vec<&str> = granted.difference(&needed).copied().collect();
    match (missing.is_empty(), more.is_empty()) {
        (false, _) => {
            let hint = if missing == [files::SCOPE] { "add it to the app, or set attach = false in [evidence]" } else { REINSTALL };
            Check::fail("scopes", format!("missing: {}", list(missing)), hint)
        }
        (true, false) => {
            Check::warn("scopes", format!("more than needed: {}", list(more)), "take them from the app: a stolen token could use them")
        }
        (true, true) => Check::ok("scopes", format!("the {} that are needed", needed.len())),
    }
}

/// Slack's word for what is wrong, with the scope if it is one.
fn code(body: &Value) -> String {
    let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
    match text("needed") {
        "" => text("error").to_owned(),
        scope => format!("{} ({scope})", text("error")),
    }
}
