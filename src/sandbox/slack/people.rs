//! What people do: type, react, click, and submit modals.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::api::{Origin, emoji};
use super::delivery::{Envelope, EnvelopeKind, Failure};
use super::state::{Channel, Content, Message, State};
use super::workspace::User;
use super::{SlackEmulator, blocks, render};

/// What the app answered to a person's command or click.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Payload of the acknowledgement, if it had one. A message in it was posted already.
    pub payload: Option<Value>,
    /// Where the app may send further answers to.
    pub response_url: String,
    /// With what the app may open a modal.
    pub trigger_id: String,
}

/// Why a person could not do that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlackEmulatorError {
    /// There is no such user.
    #[error("the emulated workspace has no user `{0}`")]
    NoSuchUser(String),
    /// There is no such channel, or this user is not in it.
    #[error("`{user}` sees no channel `{channel}`")]
    NoSuchChannel {
        /// User id.
        user: String,
        /// Channel id.
        channel: String,
    },
    /// There is no such message, or this user does not see it.
    #[error("`{user}` sees no message `{ts}`")]
    NoSuchMessage {
        /// User id.
        user: String,
        /// Timestamp.
        ts: String,
    },
    /// The message has none or several such buttons.
    #[error("the message has {found} buttons `{action_id}`")]
    NoSuchButton {
        /// Action id.
        action_id: String,
        /// How many there are.
        found: usize,
    },
    /// The user has no such modal open.
    #[error("`{user}` has no modal `{view_id}` open")]
    NoSuchModal {
        /// User id.
        user: String,
        /// View id.
        view_id: String,
    },
    /// An input of a modal does not take that, or there is no such input.
    #[error("the input `{input}` of the modal: {why}")]
    BadInput {
        /// Its block id.
        input: String,
        /// Why.
        why: String,
    },
    /// The app has no such shortcut.
    #[error("`{0}` is no shortcut of the app")]
    NoSuchShortcut(String),
    /// The app has no such command.
    #[error("`{0}` is no command of the app")]
    NoSuchCommand(String),
    /// There cannot be an emoji of that name.
    #[error("there is no emoji `{0}`")]
    NoSuchEmoji(String),
    /// A deactivated user does nothing.
    #[error("`{0}` is deactivated")]
    Deactivated(String),
    /// The user has reacted so already.
    #[error("`{0}` has reacted so already")]
    AlreadyReacted(String),
    /// The user has not reacted so.
    #[error("`{0}` has not reacted so")]
    NoReaction(String),
    /// The app has no connection; people read `dispatch_failed`.
    #[error("the app has no connection (dispatch_failed)")]
    DispatchFailed,
    /// The app did not acknowledge in time; people read `operation_timeout`.
    #[error("the app did not acknowledge in time (operation_timeout)")]
    OperationTimeout,
    /// The app acknowledged with a payload that Slack does not take.
    #[error("the app answered with something that Slack refuses: {0}")]
    BadAnswer(String),
}

impl SlackEmulator {
    /// Types a slash command, such as `/stanch help`, and returns once the app has acknowledged it.
    ///
    /// # Errors
    /// If the user cannot type there, or the app does not answer; then the user reads so, as in Slack.
    pub async fn type_command(&self, user: &str, channel: &str, line: &str) -> Result<Answered, SlackEmulatorError> {
        let address = self.server.address;
        let (command, text) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (envelope, response_url, trigger_id) = self.slack.change(|state| {
            if !state.workspace.app.commands.contains(command) {
                return Err(SlackEmulatorError::NoSuchCommand(command.into()));
            }
            command_envelope(state, address, (user, channel), (command, text))
        })?;
        match self.deliver(envelope).await {
            Ok(payload) => Ok(Answered { payload, response_url, trigger_id }),
            Err(error) => {
                let reason = if error == SlackEmulatorError::DispatchFailed { "dispatch_failed" } else { "operation_timeout" };
                self.slack.change(|state| complain(state, user, channel, &format!("{command} failed with the error \"{reason}\"")));
                Err(error)
            }
        }
    }

    /// Reacts to a message. Returns at once: the event travels by itself.
    ///
    /// # Errors
    /// If the user cannot react there or has done so already.
    #[expect(clippy::unused_async, reason = "what people do is async alike, so that scenarios need not know which of it waits")]
    pub async fn react(&self, user: &str, channel: &str, ts: &str, emoji_name: &str) -> Result<(), SlackEmulatorError> {
        let name = emoji(emoji_name).ok_or_else(|| SlackEmulatorError::NoSuchEmoji(emoji_name.into()))?;
        self.slack.change(|state| {
            visible_message(state, user, channel, ts)?;
            let added = state.add_reaction(channel, ts, &name, user);
            if added { Ok(()) } else { Err(SlackEmulatorError::AlreadyReacted(user.into())) }
        })
    }

    /// Takes a reaction back.
    ///
    /// # Errors
    /// If there is none.
    #[expect(clippy::unused_async, reason = "what people do is async alike, so that scenarios need not know which of it waits")]
    pub async fn unreact(&self, user: &str, channel: &str, ts: &str, emoji_name: &str) -> Result<(), SlackEmulatorError> {
        let name = emoji(emoji_name).ok_or_else(|| SlackEmulatorError::NoSuchEmoji(emoji_name.into()))?;
        self.slack.change(|state| {
            visible_message(state, user, channel, ts)?;
            let removed = state.remove_reaction(channel, ts, &name, user);
            if removed { Ok(()) } else { Err(SlackEmulatorError::NoReaction(user.into())) }
        })
    }

    /// Clicks a button (and confirms, if asked to) and returns once the app has acknowledged it.
    ///
    /// # Errors
    /// If the user sees no such button, or the app does not answer.
    pub async fn click(&self, user: &str, channel: &str, ts: &str, action_id: &str) -> Result<Answered, SlackEmulatorError> {
        let address = self.server.address;
        let clicked = self.slack.change(|state| click_envelope(state, address, (user, channel), ts, action_id));
        let (envelope, response_url, trigger_id) = clicked?;
        let payload = self.deliver(envelope).await?;
        Ok(Answered { payload, response_url, trigger_id })
    }

    /// Writes a message and returns its timestamp. `@name` and `#channel` become links, and `&`, `<` and `>` are escaped, as a client does.
    ///
    /// # Errors
    /// If the user cannot write there.
    #[expect(clippy::unused_async, reason = "what people do is async alike, so that scenarios need not know which of it waits")]
    pub async fn post_as(&self, user: &str, channel: &str, text: &str, thread_ts: Option<&str>) -> Result<String, SlackEmulatorError> {
        self.slack.change(|state| {
            visible_channel(state, user, channel)?;
            if let Some(ts) = thread_ts {
                visible_message(state, user, channel, ts)?;
            }
            let content = Content { text: linked(state, text), ..Content::default() };
            let message = Message { thread_ts: thread_ts.map(Into::into), user: user.into(), content, ..Message::default() };
            Ok(state.post(channel, message))
        })
    }

    /// Submits a modal and returns the app's answer. `values` is `state.values`: by block id, then by action id.
    ///
    /// # Errors
    /// If the user has no such modal open, or the app does not answer.
    pub async fn submit(&self, user: &str, view_id: &str, values: Value) -> Result<Option<Value>, SlackEmulatorError> {
        let envelope = self.slack.change(|state| submission_envelope(state, user, view_id, values))?;
        let payload = self.deliver(envelope).await?;
        let action = payload.as_ref().and_then(|payload| payload.get("response_action")).and_then(Value::as_str);
        match action {
            None => self.slack.change(|state| drop(state.modals.remove(view_id))),
            Some("clear") => self.slack.change(|state| state.modals.retain(|_, modal| modal.user != user)),
            Some("errors") => {
                let modal = self.slack.read(|state| state.modals.get(view_id).map(|modal| modal.view.clone()));
                super::forms::check_errors(&modal.unwrap_or_default(), payload.as_ref().unwrap_or(&Value::Null))?;
            }
            Some(other) => return Err(SlackEmulatorError::BadAnswer(format!("response_action `{other}` is not emulated"))),
        }
        Ok(payload)
    }

    pub(super) async fn deliver(&self, envelope: Envelope) -> Result<Option<Value>, SlackEmulatorError> {
        let patience = self.slack.read(|state| state.workspace.timing.ack);
        let attempt = self.slack.change(|state| state.sockets.send(&envelope, 0));
        attempt.answer(patience).await.map_err(|failure| match failure {
            Failure::NotConnected => SlackEmulatorError::DispatchFailed,
            Failure::Unanswered => SlackEmulatorError::OperationTimeout,
        })
    }
}

/// An envelope with its response URL and trigger.
type Prepared = Result<(Envelope, String, String), SlackEmulatorError>;

fn command_envelope(state: &mut State, address: SocketAddr, (user, channel): (&str, &str), (command, text): (&str, &str)) -> Prepared {
    let name = active_user(state, user)?.name.clone();
    let place = visible_channel(state, user, channel)?;
    let channel_name = if place.is_im { "directmessage".to_owned() } else { place.name.clone() };
    let response_url = state.new_response_url(address, user, channel, None);
    let trigger_id = state.new_trigger(user);
    let payload = json!({
        "token": "verification-token",
        "team_id": state.workspace.team_id,
        "team_domain": state.workspace.domain,
        "channel_id": channel,
        "channel_name": channel_name,
        "user_id": user,
        "user_name": name,
        "command": command,
        "text": escaped(text),
        "api_app_id": state.workspace.app.id,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": trigger_id,
    });
    let origin = Some(Origin { user: user.into(), channel: channel.into(), message: None });
    Ok((Envelope { kind: EnvelopeKind::SlashCommand, payload, origin }, response_url, trigger_id))
}

fn click_envelope(state: &mut State, address: SocketAddr, (user, channel): (&str, &str), ts: &str, action_id: &str) -> Prepared {
    let message = visible_message(state, user, channel, ts)?;
    let is_it = |(_, button): &(&str, &Map<String, Value>)| button.get("action_id").and_then(Value::as_str) == Some(action_id);
    let found: Vec<_> = blocks::buttons(&message.content.blocks).into_iter().filter(is_it).collect();
    let [(block_id, button)] = found.as_slice() else {
        return Err(SlackEmulatorError::NoSuchButton { action_id: action_id.into(), found: found.len() });
    };
    let mut action: Map<String, Value> =
        button.iter().filter(|(name, _)| *name != "confirm").map(|(name, value)| (name.clone(), value.clone())).collect();
    action.insert("block_id".into(), json!(block_id));
    let (ephemeral, thread_ts) = (message.only_for.is_some(), message.thread_ts.clone());
    let mut container = json!({ "type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": ephemeral });
    if let (Some(thread_ts), Value::Object(fields)) = (thread_ts, &mut container) {
        fields.insert("thread_ts".into(), json!(thread_ts));
    }
    let place = visible_channel(state, user, channel)?;
    let shown = (!ephemeral).then(|| render::message_in(state, place, message, true));
    let channel_name = if place.is_im { "directmessage".to_owned() } else { place.name.clone() };
    action.insert("action_ts".into(), json!(state.next_ts()));
    let response_url = state.new_response_url(address, user, channel, Some(ts));
    let trigger_id = state.new_trigger(user);
    let mut payload = interaction(state, "block_actions", user, &trigger_id)?;
    payload.insert("container".into(), container);
    payload.insert("channel".into(), json!({ "id": channel, "name": channel_name }));
    payload.insert("state".into(), json!({ "values": {} }));
    payload.insert("response_url".into(), json!(response_url));
    payload.insert("actions".into(), json!([action]));
    // Of an ephemeral message the app is told nothing but where it was.
    if let Some(shown) = shown {
        payload.insert("message".into(), shown);
    }
    Ok((Envelope { kind: EnvelopeKind::Click, payload: Value::Object(payload), origin: None }, response_url, trigger_id))
}

fn submission_envelope(state: &mut State, user: &str, view_id: &str, values: Value) -> Result<Envelope, SlackEmulatorError> {
    let modal = state.modals.get(view_id).filter(|modal| modal.user == user);
    let no_modal = || SlackEmulatorError::NoSuchModal { user: user.into(), view_id: view_id.into() };
    let mut view = modal.ok_or_else(no_modal)?.view.clone();
    if let Value::Object(fields) = &mut view {
        fields.insert("state".into(), json!({ "values": values }));
    }
    let trigger_id = state.new_trigger(user);
    let mut payload = interaction(state, "view_submission", user, &trigger_id)?;
    payload.insert("view".into(), view);
    payload.insert("response_urls".into(), json!([]));
    Ok(Envelope { kind: EnvelopeKind::Submission, payload: Value::Object(payload), origin: None })
}

/// What every interaction says of who did it where.
pub(super) fn interaction(state: &State, kind: &str, user: &str, trigger_id: &str) -> Result<Map<String, Value>, SlackEmulatorError> {
    let (person, workspace) = (active_user(state, user)?, &state.workspace);
    let payload = json!({
        "type": kind,
        "user": { "id": user, "username": person.name, "name": person.name, "team_id": person.team_id },
        "api_app_id": workspace.app.id,
        "token": "verification-token",
        "team": { "id": workspace.team_id, "domain": workspace.domain },
        "enterprise": null,
        "is_enterprise_install": false,
        "trigger_id": trigger_id,
    });
    Ok(payload.as_object().cloned().unwrap_or_default())
}

/// Slack's own word to the person whose command failed.
fn complain(state: &mut State, user: &str, channel: &str, text: &str) {
    let content = Content { text: text.into(), ..Content::default() };
    let only_for = Some(user.to_owned());
    state.post(channel, Message { user: "USLACKBOT".into(), content, only_for, ..Message::default() });
}

pub(super) fn active_user<'s>(state: &'s State, user: &str) -> Result<&'s User, SlackEmulatorError> {
    let known = state.user(user).ok_or_else(|| SlackEmulatorError::NoSuchUser(user.into()))?;
    if known.deleted { Err(SlackEmulatorError::Deactivated(user.into())) } else { Ok(known) }
}

/// A channel that an active user is in.
pub(super) fn visible_channel<'s>(state: &'s State, user: &str, channel: &str) -> Result<&'s Channel, SlackEmulatorError> {
    active_user(state, user)?;
    let place = state.channels.get(channel).filter(|place| place.members.contains(user));
    place.ok_or_else(|| SlackEmulatorError::NoSuchChannel { user: user.into(), channel: channel.into() })
}

/// A message that an active user sees.
pub(super) fn visible_message<'s>(state: &'s State, user: &str, channel: &str, ts: &str) -> Result<&'s Message, SlackEmulatorError> {
    let message = visible_channel(state, user, channel)?.messages.get(ts);
    let message = message.filter(|message| !message.deleted && message.only_for.as_ref().is_none_or(|only| only == user));
    message.ok_or_else(|| SlackEmulatorError::NoSuchMessage { user: user.into(), ts: ts.into() })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What a client sends for what was typed: escaped, with the names of users, groups and channels as links.
fn linked(state: &State, text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', '.', ':', ';', '!', '?']);
        let rest = word.get(bare.len()..).unwrap_or_default();
        let link = match (bare.strip_prefix('@'), bare.strip_prefix('#')) {
            (Some(name), _) => {
                let user = state.workspace.users.iter().find(|user| user.name == name).map(|user| format!("<@{}>", user.id));
                let group = state.workspace.groups.iter().find(|group| group.handle == name);
                user.or_else(|| group.map(|group| format!("<!subteam^{}>", group.id)))
            }
            (None, Some(name)) => {
                let channel = state.channels.values().find(|channel| channel.name == name && !channel.is_im);
                channel.map(|channel| format!("<#{}|{name}>", channel.id))
            }
            (None, None) => None,
        };
        link.map_or_else(|| escaped(word), |link| format!("{link}{rest}"))
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
