//! Scenarios on Discord: the same lines, as people do them there.

use std::time::Duration;

use tokio::time::Instant;

use super::stage::{StageError, squeezed};
use crate::adapters::discord;
use crate::sandbox::discord::{DiscordEmulator, Entry, Guild, Snowflake, Typed, id};

/// What is written on the button that shows an answer which Discord does not let Stanch show by itself.
const SHOW: &str = "Show it";

/// A server, and who is in it.
pub(super) struct OnDiscord {
    pub(super) emulator: DiscordEmulator,
    pub(super) guild: Guild,
}

impl OnDiscord {
    /// The sandbox's server, which limits nothing: scenarios are played faster than people type.
    pub(super) async fn start() -> std::io::Result<Self> {
        let guild = Guild { limits: None, ..Guild::sandbox() };
        Ok(Self { emulator: DiscordEmulator::start(&guild).await?, guild })
    }

    pub(super) fn user(&self, name: &str) -> Result<Snowflake, StageError> {
        let names = || self.guild.members.iter().map(|member| member.username.as_str()).collect::<Vec<_>>().join(", ");
        self.guild.named(name).map(|member| member.id).ok_or_else(|| StageError::Nobody(name.to_owned(), names()))
    }

    /// Fills in the options of the slash command with what a line says.
    pub(super) async fn types(&self, who: &str, channel: Option<&str>, command: &str) -> Result<(), StageError> {
        let channel = match channel {
            None => id::INCIDENTS,
            Some(name) => self.guild.channel(name).map(|channel| channel.id).ok_or_else(|| StageError::NoChannel(name.to_owned()))?,
        };
        let typed = typed(command.trim_start_matches("/stanch"));
        self.emulator.use_command(self.user(who)?, channel, &typed).await?;
        Ok(())
    }

    pub(super) async fn reacts(&self, who: &str, emoji: &str, grace: Duration) -> Result<(), StageError> {
        let (plan, _) = self.newest("plan message", "Approve", grace).await?;
        Ok(self.emulator.react(self.user(who)?, plan.channel, plan.id, emoji).await?)
    }

    pub(super) async fn takes_back(&self, who: &str, emoji: &str, grace: Duration) -> Result<(), StageError> {
        let (plan, _) = self.newest("plan message", "Approve", grace).await?;
        Ok(self.emulator.unreact(self.user(who)?, plan.channel, plan.id, emoji).await?)
    }

    pub(super) async fn presses(&self, who: &str, label: &str, grace: Duration) -> Result<(), StageError> {
        let (message, custom_id) = self.newest("button", label, grace).await?;
        self.emulator.press(self.user(who)?, message.channel, message.id, &custom_id).await?;
        Ok(())
    }

    /// The newest message with a button of this label, and what the button does.
    pub(super) async fn newest(&self, what: &str, label: &str, grace: Duration) -> Result<(Entry, String), StageError> {
        let find =
            |entries: Vec<Entry>| entries.into_iter().rev().find_map(|entry| button(&entry, label).map(|custom_id| (entry, custom_id)));
        let found = self.emulator.wait_for(|view| find(view.channel_transcript(id::INCIDENTS)), grace).await;
        found.map_err(|timed_out| StageError::NotThere(format!("{what} with `{label}`"), timed_out.transcript))
    }

    /// Waits for words. Where their reader has to ask to see them, they do.
    pub(super) async fn sees(&self, words: &str, whose: Whose<'_>, patience: Duration) -> Result<(), StageError> {
        let reader = match whose {
            Whose::Reader(name) => Some(self.user(name)?),
            Whose::Channel | Whose::Thread => None,
        };
        let holds = |entry: &Entry| {
            let place = match whose {
                Whose::Channel => entry.parent.is_none() && entry.only_for.is_none(),
                Whose::Thread => entry.parent.is_some() && entry.only_for.is_none(),
                Whose::Reader(_) => entry.only_for == reader,
            };
            place && squeezed(&shown(&entry.visible_text())).contains(&squeezed(words))
        };
        let offer =
            |entry: &Entry| button(entry, SHOW).filter(|custom_id| reader.is_some_and(|reader| custom_id.ends_with(&reader.to_string())));
        let deadline = Instant::now() + patience;
        loop {
            let found = self.emulator.wait_for(
                |view| {
                    let entries: Vec<Entry> = view.channels().into_iter().flat_map(|channel| view.channel_transcript(channel)).collect();
                    match entries.iter().any(&holds) {
                        true => Some(None),
                        false => entries.into_iter().find_map(|entry| offer(&entry).map(|custom_id| Some((entry, custom_id)))),
                    }
                },
                deadline.saturating_duration_since(Instant::now()),
            );
            let offered = found.await.map_err(|timed_out| StageError::NotSo(format!("nobody sees that; {timed_out}")))?;
            let (Some((entry, custom_id)), Some(reader)) = (offered, reader) else { return Ok(()) };
            self.emulator.press(reader, entry.channel, entry.id, &custom_id).await?;
            let gone = |entries: Vec<Entry>| entries.iter().any(|other| other.id == entry.id && other.deleted);
            let parent = entry.parent.unwrap_or(entry.channel);
            let taken_away = self.emulator.wait_until(|view| gone(view.channel_transcript(parent)), patience).await;
            taken_away.map_err(|timed_out| StageError::NotSo(format!("the offer stays; {timed_out}")))?;
        }
    }
}

/// Whose eyes an expectation is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose<'n> {
    Channel,
    Thread,
    Reader(&'n str),
}

fn button(entry: &Entry, label: &str) -> Option<String> {
    let buttons = if entry.deleted { Vec::new() } else { entry.buttons() };
    buttons.into_iter().find(|button| button.label == label).map(|button| button.custom_id)
}

/// As a client shows it: without escapes and without the marks of bold text.
fn shown(text: &str) -> String {
    text.replace('\\', "").replace("**", "")
}

/// What people fill in for a line that they would type elsewhere.
pub(super) fn typed(line: &str) -> Typed {
    let words = words(line);
    let mut words = words.iter().map(String::as_str);
    let name = words.next().unwrap_or("help");
    let mut typed = Typed { path: discord::path(name).into_iter().map(ToOwned::to_owned).collect(), options: Vec::new() };
    while let Some(word) = words.next() {
        typed = match (word, word.split_once(':')) {
            ("pod" | "node", _) => typed.with(word, words.next().unwrap_or_default()),
            (switch, _) if switch.starts_with("--") => typed.with(switch.trim_start_matches("--"), "True"),
            (_, Some((key, value))) => typed.with(key, value),
            (alone, None) => typed.with(if name == "help" { "command" } else { "request" }, alone),
        };
    }
    typed
}

/// Words, with what stands in quotation marks in one.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            character if character.is_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            character => word.push(character),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_options() {
        let expected = Typed::command("stanch quarantine").with("pod", "shop/cart").with("reason", "a b").with("dry-run", "True");
        assert_eq!(typed(" quarantine pod shop/cart reason:\"a b\" --dry-run"), expected);
        assert_eq!(typed(" release r-1"), Typed::command("stanch recover release").with("request", "r-1"));
        assert_eq!(typed(" list"), Typed::command("stanch list"));
    }
}
