//! Commands that people fill in field by field, choosing from what they are offered: options in Discord, forms in Slack.

use std::time::Duration;

use serde_json::Value;

use super::on_discord::{OnDiscord, typed};
use super::stage::{Stage, StageError};
use crate::sandbox::discord::{Response, Typed, id};
use crate::sandbox::slack::SlackEmulator;

/// Fields for which names are offered.
const LIVE: &[&str] = &["pod", "node", "cluster"];

/// Fields that are boxes of one block of a form.
const SWITCHES: &str = "switches";

/// How long a form may take to open.
const GRACE: Duration = Duration::from_secs(40);

/// How often a name is looked for: the first listing may take longer than a menu waits, and whoever sees nothing types another letter.
const LETTERS: usize = 40;

const CHANNEL: &str = "C0INCIDENTS";

impl Stage {
    /// Fills a command in, choosing names from what is offered for their first half.
    pub(super) async fn fills_in(&self, who: &str, line: &str) -> Result<(), StageError> {
        let filled = typed(line);
        match self.played_on_discord() {
            Some(server) => server.fills_in(who, &filled).await,
            None => {
                let user = self.user(who)?;
                let command = filled.path.last().map(String::as_str).unwrap_or_default();
                self.slack().type_command(&user, CHANNEL, &format!("/stanch form {command}")).await?;
                let options: Vec<(&str, &str)> = filled.options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                send(self.slack(), &user, &options).await
            }
        }
    }

    /// Proposes something for the pod that an alert names, and sends the form as it opens.
    pub(super) async fn proposes(&self, who: &str, alert: &str) -> Result<(), StageError> {
        let user = self.user(who)?;
        let ts = self.slack().post_as("U0OTHERBOT", CHANNEL, alert, None).await?;
        self.slack().use_shortcut(&user, CHANNEL, &ts, "propose-quarantine").await?;
        send(self.slack(), &user, &[]).await
    }
}

impl OnDiscord {
    async fn fills_in(&self, who: &str, filled: &Typed) -> Result<(), StageError> {
        let user = self.user(who)?;
        for (index, (name, value)) in filled.options.iter().enumerate().filter(|(_, (name, _))| LIVE.contains(&name.as_str())) {
            let mut begun = filled.clone();
            begun.options.truncate(index.saturating_add(1));
            begun.options.last_mut().map(|(_, begun)| half(value).clone_into(begun)).unwrap_or_default();
            let mut offered = Vec::new();
            for _ in 0..LETTERS {
                let answered = self.emulator.autocomplete(user, id::INCIDENTS, &begun, name).await?;
                let Response::Choices(choices) = answered.response else {
                    return Err(StageError::NotSo(format!("no choices for `{name}`: {:?}", answered.response)));
                };
                offered = choices.into_iter().map(|choice| choice.name).collect();
                if offered.contains(value) {
                    break;
                }
            }
            check(name, value, &offered)?;
        }
        self.emulator.use_command(user, id::INCIDENTS, filled).await?;
        Ok(())
    }
}

async fn send(slack: &SlackEmulator, user: &str, options: &[(&str, &str)]) -> Result<(), StageError> {
    let opened = slack.wait_for(|view| view.modals(user).into_iter().next(), GRACE).await;
    let form = opened.map_err(|timed_out| StageError::NotThere("form".into(), timed_out.transcript))?;
    let view = form.get("id").and_then(Value::as_str).unwrap_or_default();
    for (name, value) in options.iter().filter(|(name, _)| LIVE.contains(name)) {
        let mut offered = Vec::new();
        for _ in 0..LETTERS {
            offered = slack.type_into(user, view, name, half(value)).await?;
            if offered.iter().any(|name| name == value) {
                break;
            }
        }
        check(name, value, &offered)?;
    }
    let boxed = options.iter().map(|(name, value)| if *value == "True" { (SWITCHES, *name) } else { (*name, *value) });
    match slack.fill_in(user, view, &boxed.collect::<Vec<_>>()).await? {
        None => Ok(()),
        Some(answer) => Err(StageError::NotSo(format!("the form is not taken: {answer}"))),
    }
}

fn check(name: &str, value: &str, offered: &[String]) -> Result<(), StageError> {
    let found = offered.iter().any(|offered| offered == value);
    if found { Ok(()) } else { Err(StageError::NotSo(format!("`{value}` is not offered for `{name}`, but: {}", offered.join(", ")))) }
}

fn half(value: &str) -> &str {
    value.char_indices().nth(value.chars().count() / 2).map_or(value, |(end, _)| value.get(..end).unwrap_or(value))
}
