//! What comes in over the gateway. Events come one after the other, so that they are only translated here; whatever takes a call is done
//! beside them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use serenity::all::{CommandDataOption, CommandDataOptionValue, CommandInteraction, ComponentInteraction, Interaction, PartialChannel};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use super::answers::{Answers, Place};
use super::api::{self, Api};
use super::commands;
use super::completion;
use super::gateway::Event;
use super::settings::Emoji;
use crate::adapters::fields::{self, Filled};
use crate::core::identity::{Account, ChannelRef, MessageRef, Platform};
use crate::core::say::Control;
use crate::ports::{ChatError, ChatEvent, Inbound, Input, Suggest, Typing};

/// How long an acknowledgement may take: after three seconds Discord tells the person that Stanch did not respond.
const ACKNOWLEDGE: Duration = Duration::from_millis(2_900);

/// What people read where there is nothing to hand over.
const BUSY: &str = "Stanch is busy and has done nothing about this. Please try again in a moment.";
const ELSEWHERE: &str = "Stanch works in another server. It has done nothing about this.";
const UNREADABLE: &str = "Stanch could not read this and has done nothing about it. Please restart Discord and try again: its list of commands \
                          may be an older one.";
const NOT_YOURS: &str = "This answer is for somebody else.";
const NOTHING_HELD: &str = "There is nothing left to show. `/stanch status` says how it stands.";

/// The type of an interaction in which somebody is typing.
const TYPING: u64 = 4;

/// The flag of a message for one person alone.
const EPHEMERAL: u64 = 1 << 6;

/// Custom id of the button that shows held answers; the reader follows.
pub(super) const SHOW: &str = "answer ";

/// Where inputs go, and what tells which of them matter.
#[derive(Clone)]
pub(super) struct Inlet(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) api: Api,
    pub(super) events: Sender<ChatEvent>,
    pub(super) guild: String,
    /// Our own user id.
    pub(super) bot_user: String,
    pub(super) application: String,
    pub(super) emoji: Emoji,
    pub(super) answers: Arc<Answers>,
    pub(super) suggest: Arc<dyn Suggest>,
    /// The app will be told to read everything back.
    pub(super) telling: AtomicBool,
}

/// An interaction to answer.
#[derive(Clone, Debug)]
struct Open {
    id: String,
    token: String,
}

impl Inlet {
    /// Takes an event. A panic would end the connection for good.
    pub(super) fn take(&self, event: Event<'_>) {
        let name = event.name.to_owned();
        if catch_unwind(AssertUnwindSafe(|| self.handle(event))).is_err() {
            tracing::error!(event = name, "an event from Discord was lost, because its handler panicked");
        }
    }

    fn handle(&self, event: Event<'_>) {
        match event.name {
            "READY" | "RESUMED" => {
                tracing::info!("connected to Discord");
                self.read_back();
            }
            "INTERACTION_CREATE" => self.interaction(event.data),
            "MESSAGE_REACTION_ADD" | "MESSAGE_REACTION_REMOVE" => self.reaction(&event.data, event.delivery),
            // A moderator took away what others had said: nobody's hint, so that everything is read back.
            "MESSAGE_REACTION_REMOVE_ALL" | "MESSAGE_REACTION_REMOVE_EMOJI" if self.is_ours(&event.data) => self.read_back(),
            _ => {}
        }
    }

    /// Reactions may have been missed. This is never left out, and told once if it is told already.
    fn read_back(&self) {
        if self.0.telling.swap(true, Ordering::AcqRel) {
            return;
        }
        match self.0.events.try_send(ChatEvent::Connected) {
            Err(TrySendError::Full(event)) => {
                let inlet = self.clone();
                tokio::spawn(async move {
                    // The flag goes first: whatever is missed from here on is told anew.
                    if let Ok(place) = inlet.0.events.reserve().await {
                        inlet.0.telling.store(false, Ordering::Release);
                        place.send(event);
                    }
                });
            }
            Ok(()) | Err(TrySendError::Closed(_)) => self.0.telling.store(false, Ordering::Release),
        }
    }

    fn is_ours(&self, data: &Value) -> bool {
        text(data, "guild_id") == Some(&self.0.guild)
    }

    /// A reaction. Discord does not deliver it again: if there is no place for it, everything is read back once there is.
    fn reaction(&self, data: &Value, delivery: String) {
        let (Some(user), Some(channel), Some(message)) = (text(data, "user_id"), text(data, "channel_id"), text(data, "message_id")) else {
            return tracing::warn!("a reaction from Discord could not be read; it is read back with the next one");
        };
        let emoji = data.get("emoji").unwrap_or(&Value::Null);
        let votes = text(emoji, "name").is_some_and(|name| self.0.emoji.votes(name, text(emoji, "id")));
        let by_bot = data.pointer("/member/user/bot") == Some(&Value::Bool(true)) || user == self.0.bot_user;
        let on_ours = text(data, "message_author_id").is_none_or(|author| author == self.0.bot_user);
        if !votes || by_bot || !on_ours || !self.is_ours(data) {
            return;
        }
        self.0.answers.reacted(&Place { user: user.into(), channel: channel.into() }, message, Instant::now());
        let place = self::channel(channel);
        let inbound = Inbound {
            delivery,
            from: account(user),
            channel: place.clone(),
            input: Input::Reacted(MessageRef { channel: place, id: message.into() }),
        };
        if let Err(TrySendError::Full(_)) = self.0.events.try_send(ChatEvent::Inbound(inbound)) {
            self.read_back();
        }
    }

    /// A command or a button: acknowledged whatever comes of it.
    fn interaction(&self, data: Value) {
        let (Some(id), Some(token)) = (text(&data, "id"), text(&data, "token")) else {
            return tracing::warn!("an interaction from Discord could not be read and is left out");
        };
        let open = Open { id: id.to_owned(), token: token.to_owned() };
        if !self.is_ours(&data) {
            // Whoever types elsewhere is told when they send it.
            let is_typing = data.get("type") == Some(&json!(TYPING));
            return if is_typing { self.offer(open, std::future::ready(Vec::new())) } else { self.say(open, ELSEWHERE) };
        }
        match serde_json::from_value(data) {
            Ok(Interaction::Command(command)) => self.command(open, &command),
            Ok(Interaction::Component(component)) => self.component(open, &component),
            Ok(Interaction::Autocomplete(typed)) => self.complete(open, &typed),
            Ok(Interaction::Ping(_) | Interaction::Modal(_)) => {}
            Err(error) => {
                tracing::warn!(category = ?error.classify(), "an interaction from Discord could not be read");
                self.say(open, UNREADABLE);
            }
            Ok(_) => self.say(open, UNREADABLE),
        }
    }

    fn command(&self, open: Open, command: &CommandInteraction) {
        let words = filled(&command.data.options).filter(|_| command.data.name == commands::NAME);
        let Some(line) = words.and_then(|(name, options)| fields::line(name, &options)) else { return self.say(open, UNREADABLE) };
        let channel = parent(&command.channel_id.to_string(), command.channel.as_ref());
        self.accept(open, &command.user.id.to_string(), channel, Input::Typed(line));
    }

    fn component(&self, open: Open, component: &ComponentInteraction) {
        let channel = parent(&component.channel_id.to_string(), component.channel.as_ref());
        let user = component.user.id.to_string();
        let pressed = component.data.custom_id.as_str();
        match (pressed.strip_prefix(SHOW), Control::from_value(pressed)) {
            (Some(reader), _) if reader == user => {
                let notice = format!("/channels/{}/messages/{}", component.channel_id, component.message.id);
                self.show(open, Place { user, channel }, notice);
            }
            (Some(_), _) => self.say(open, NOT_YOURS),
            (None, Some(control)) => self.accept(open, &user, channel, Input::Pressed(control)),
            (None, None) => self.say(open, UNREADABLE),
        }
    }

    /// Acknowledges, and hands over, or says that there is no place.
    fn accept(&self, open: Open, user: &str, channel: String, input: Input) {
        let Ok(permit) = self.0.events.clone().try_reserve_owned() else { return self.say(open, BUSY) };
        let place = Place { user: user.to_owned(), channel };
        let inbound = Inbound { delivery: open.id.clone(), from: account(user), channel: self::channel(&place.channel), input };
        let inlet = self.clone();
        tokio::spawn(async move {
            // "Stanch is thinking", for this person alone.
            match inlet.respond(&open, json!({ "type": 5, "data": { "flags": EPHEMERAL } })).await {
                Ok(()) => inlet.0.answers.open(&place, open.token, Instant::now()),
                // What they did counts all the same; the answer finds another way.
                Err(error) => tracing::warn!(%error, "an interaction could not be acknowledged"),
            }
            permit.send(ChatEvent::Inbound(inbound));
        });
    }

    /// Offers names for the option that somebody is typing. What cannot be understood gets an empty answer: nothing was done yet.
    fn complete(&self, open: Open, typed: &CommandInteraction) {
        let channel = parent(&typed.channel_id.to_string(), typed.channel.as_ref());
        let typing = completion::typing(&typed.data.options).filter(|_| typed.data.name == commands::NAME).map(|typing| Typing {
            account: account(&typed.user.id.to_string()),
            channel: self::channel(&channel),
            ..typing
        });
        let suggest = self.0.suggest.clone();
        self.offer(open, async move {
            match typing {
                Some(typing) => suggest.suggest(&typing).await,
                None => Vec::new(),
            }
        });
    }

    /// Shows names to choose from.
    fn offer(&self, open: Open, names: impl Future<Output = Vec<String>> + Send + 'static) {
        let inlet = self.clone();
        tokio::spawn(async move {
            let choices = completion::choices(names.await);
            // Whoever went on typing needs this answer no more.
            if let Err(error) = inlet.respond(&open, json!({ "type": 8, "data": { "choices": choices } })).await {
                tracing::debug!(%error, "names could not be offered");
            }
        });
    }

    /// Answers with words that Stanch chose itself.
    fn say(&self, open: Open, words: &'static str) {
        let inlet = self.clone();
        tokio::spawn(async move {
            if let Err(error) = inlet.respond(&open, json!({ "type": 4, "data": { "content": words, "flags": EPHEMERAL } })).await {
                tracing::warn!(%error, "a person could not be told why nothing was done");
            }
        });
    }

    /// Shows what is held for somebody, and takes the notice away.
    fn show(&self, open: Open, place: Place, notice: String) {
        let held = self.0.answers.take(&place, Instant::now());
        let inlet = self.clone();
        tokio::spawn(async move {
            let mut answers = held.iter().cloned();
            let nothing = || json!({ "content": NOTHING_HELD });
            let first = ephemeral(answers.next().unwrap_or_else(nothing));
            if let Err(error) = inlet.respond(&open, json!({ "type": 4, "data": first })).await {
                tracing::warn!(%error, "a held answer could not be shown, and is held further");
                held.into_iter().for_each(|answer| _ = inlet.0.answers.hold(&place, answer, Instant::now()));
                return inlet.0.answers.noticed(&place, Instant::now());
            }
            inlet.0.answers.open(&place, open.token.clone(), Instant::now());
            inlet.0.answers.answered(&place, &open.token, Instant::now());
            for answer in answers {
                let path = format!("/webhooks/{}/{}", inlet.0.application, open.token);
                if inlet.0.api.post(&path, &ephemeral(answer)).await.is_err() {
                    tracing::warn!("a held answer could not be shown");
                }
            }
            // It may be gone already.
            let _ = inlet.0.api.delete(&notice).await;
        });
    }

    /// The first answer to an interaction, which no limit holds back.
    async fn respond(&self, open: &Open, response: Value) -> Result<(), ChatError> {
        let path = format!("/interactions/{}/{}/callback", open.id, open.token);
        let call = self.0.api.ask(Method::POST, &path, Some(&response));
        match tokio::time::timeout(ACKNOWLEDGE, call).await {
            Ok(answer) => answer.and_then(|answer| api::read(&answer)).map(drop).map_err(ChatError::from),
            Err(_) => Err(ChatError::Unavailable(format!("no answer within {ACKNOWLEDGE:?}"))),
        }
    }
}

/// A message for one person alone.
pub(super) fn ephemeral(mut body: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        fields.insert("flags".into(), json!(EPHEMERAL));
    }
    body
}

/// Name of the subcommand, and its options.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum may grow; the definition has texts and switches alone")]
fn filled(options: &[CommandDataOption]) -> Option<(&str, Vec<(String, Filled)>)> {
    let [option] = options else { return None };
    let inner = match &option.value {
        CommandDataOptionValue::SubCommandGroup(inner) => return filled(inner),
        CommandDataOptionValue::SubCommand(inner) => inner,
        _ => return None,
    };
    let value = |option: &CommandDataOption| match &option.value {
        CommandDataOptionValue::String(text) => Some((option.name.clone(), Filled::Text(text.clone()))),
        CommandDataOptionValue::Boolean(flag) => Some((option.name.clone(), Filled::Flag(*flag))),
        _ => None,
    };
    Some((&option.name, inner.iter().map(value).collect::<Option<_>>()?))
}

/// A thread belongs to the channel that it hangs from.
fn parent(channel: &str, partial: Option<&PartialChannel>) -> String {
    let parent = partial.filter(|partial| partial.thread_metadata.is_some()).and_then(|partial| partial.parent_id);
    parent.map_or_else(|| channel.to_owned(), |parent| parent.to_string())
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field)?.as_str()
}

fn account(user: &str) -> Account {
    Account { platform: Platform::Discord, id: user.into() }
}

fn channel(id: &str) -> ChannelRef {
    ChannelRef { platform: Platform::Discord, id: id.into() }
}
