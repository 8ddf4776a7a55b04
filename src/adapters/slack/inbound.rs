//! What comes in over Socket Mode. The library acknowledges a delivery after its callback has returned, one after the other, so the
//! callbacks only translate and hand over.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use slack_morphism::errors::SlackClientError;
use slack_morphism::prelude::*;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::api::{Api, Client};
use super::forms::{self, Form, Prefilled, Wanted};
use super::settings::Emoji;
use crate::core::identity::{Account, ChannelRef, MessageRef, Platform};
use crate::core::say::Control;
use crate::ports::{ChatEvent, Inbound, Input, Suggest};

/// The library's listener.
pub(super) type Listener = SlackClientSocketModeListener<SlackClientHyperHttpsConnector>;

/// Connections at a time. Slack renews each of them every few hours, and a command typed in the gap of the only one would fail.
const CONNECTIONS: u32 = 2;

/// Seconds between the first connection and the second, so that Slack does not renew both at once. Renewing one takes about a second.
const STAGGER_S: u64 = 3;

/// Seconds between attempts to connect. Slack's own clients begin with 5; with two connections this makes 12 attempts a minute.
const RECONNECT_S: u64 = 10;

/// How long the word that Stanch is busy may take.
const BUSY: Duration = Duration::from_secs(5);

/// What a person reads whose input found no place in the queue.
pub(super) const BUSY_WORDS: &str = "Stanch is busy and has done nothing about this. Please try again in a moment.";

/// What a person reads whose form did not open. It has to open within three seconds.
pub(super) const NO_FORM: &str =
    "The form did not open, and nothing was done. Please try again, or type the whole command: `/stanch help` shows how.";

/// What a person reads who asked for a form of no command.
const WHICH_FORM: &str = "Type `/stanch form COMMAND`, such as `/stanch form quarantine`. `/stanch help` lists the commands.";

/// Forms that are opened at a time. Each is one call; more than these are a flood.
pub(super) const OPENING: usize = 16;

type Failed = Box<dyn Error + Send + Sync>;

/// The queue has no place. Slack delivers an event again that is not acknowledged.
#[derive(Debug, thiserror::Error)]
#[error("the queue of inputs is full")]
pub(super) struct Full;

/// A callback panicked.
#[derive(Debug, thiserror::Error)]
#[error("a callback panicked")]
struct Panicked;

/// Where inputs go, and what tells which of them matter.
pub(super) struct Inlet {
    pub(super) events: Sender<ChatEvent>,
    /// Our own user id.
    pub(super) bot_user: String,
    pub(super) emoji: Emoji,
    pub(super) api: Api,
    pub(super) suggest: Arc<dyn Suggest>,
    /// Forms that are being opened.
    pub(super) opening: Arc<Semaphore>,
}

/// Connects, and hands everything over from then on. Connections that end are replaced.
pub(super) async fn listen(client: Arc<Client>, token: &SlackApiToken, inlet: Inlet) -> Result<Listener, SlackClientError> {
    let environment = SlackClientEventsListenerEnvironment::new(client).with_error_handler(failed);
    let config = SlackClientSocketModeConfig::new()
        .with_max_connections_count(CONNECTIONS)
        .with_initial_backoff_in_seconds(STAGGER_S)
        .with_reconnect_timeout_in_seconds(RECONNECT_S);
    let listener = SlackClientSocketModeListener::new(&config, Arc::new(environment), callbacks(Arc::new(inlet)));
    listener.listen_for(token).await?;
    listener.start().await;
    Ok(listener)
}

fn callbacks(inlet: Arc<Inlet>) -> SlackSocketModeListenerCallbacks<SlackClientHyperHttpsConnector> {
    let mut callbacks = SlackSocketModeListenerCallbacks::new();
    let to = inlet.clone();
    callbacks.hello_callback = Box::new(move |_, _: Arc<Client>, _: SlackClientEventsUserState| {
        to.connected();
        std::future::ready(())
    });
    let to = inlet.clone();
    callbacks.command_callback = Box::new(move |event: SlackCommandEvent, client: Arc<Client>, _: SlackClientEventsUserState| {
        std::future::ready(guarded(|| Ok(to.command(event, client))))
    });
    let to = inlet.clone();
    callbacks.interaction_callback = Box::new(move |event: SlackInteractionEvent, client: Arc<Client>, _: SlackClientEventsUserState| {
        let to = to.clone();
        async move {
            if let SlackInteractionEvent::BlockSuggestion(typed) = event {
                return Ok(to.offer_names(&typed).await.into());
            }
            guarded(|| Ok(to.interaction(event, client)))
        }
    });
    callbacks.push_events_callback = Box::new(move |event: SlackPushEventCallback, _: Arc<Client>, _: SlackClientEventsUserState| {
        std::future::ready(guarded(|| inlet.event(event)))
    });
    callbacks
}

/// A panic would leave the connection deaf for more than a minute.
fn guarded<T>(act: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| Err(Panicked.into()))
}

/// Whatever went wrong on a connection is logged here, and a delivery that was not taken is not acknowledged. The library's errors hold
/// whole payloads, with tokens and response URLs in them, so none of their own words is used.
fn failed(error: Failed, _: Arc<Client>, _: SlackClientEventsUserState) -> HttpStatusCode {
    match error.downcast_ref::<SlackClientError>() {
        Some(SlackClientError::ProtocolError(error)) => {
            tracing::warn!(category = ?error.json_error.classify(), "a delivery from Slack could not be read and is left out");
        }
        Some(SlackClientError::SocketModeProtocolError(_)) => tracing::info!("a connection to Slack ended"),
        Some(_) => tracing::warn!("a connection to Slack failed"),
        None => tracing::warn!(%error, "a delivery from Slack was not taken"),
    }
    HttpStatusCode::SERVICE_UNAVAILABLE
}

impl Inlet {
    /// The connection is new. This is never left out: reactions that came before are read back because of it.
    fn connected(&self) {
        tracing::info!("connected to Slack");
        if let Err(TrySendError::Full(event)) = self.events.try_send(ChatEvent::Connected) {
            let events = self.events.clone();
            tokio::spawn(async move { events.send(event).await });
        }
    }

    /// A slash command. The acknowledgement carries the answer if there is no place, and if a form is asked for of no command.
    fn command(&self, event: SlackCommandEvent, client: Arc<Client>) -> SlackCommandEventResponse {
        let text = unescaped(event.text.as_deref().unwrap_or_default());
        let told = |words: &str| {
            SlackCommandEventResponse::new(SlackMessageContent::new().with_text(words.into()))
                .with_response_type(SlackMessageResponseType::Ephemeral)
        };
        match forms::wanted(&text) {
            Wanted::Nothing => {}
            Wanted::Which => return told(WHICH_FORM),
            Wanted::Form(definition) => {
                let form = Form { definition, channel: event.channel_id.value().clone() };
                let opened = self.open(&form, &Prefilled::default(), &event.user_id, event.trigger_id, (client, event.response_url));
                return opened.map_or_else(|Full| told(BUSY_WORDS), |()| SlackCommandEventResponse::new(SlackMessageContent::new()));
            }
        }
        let inbound = Inbound {
            delivery: event.trigger_id.value().clone(),
            from: account(&event.user_id),
            channel: channel(&event.channel_id),
            input: Input::Typed(text),
        };
        self.offer(inbound).map_or_else(|Full| told(BUSY_WORDS), |()| SlackCommandEventResponse::new(SlackMessageContent::new()))
    }

    /// A button. Its acknowledgement can carry no answer, so if there is no place, the person is told by the response URL.
    pub(super) fn click(&self, event: SlackInteractionBlockActionsEvent, client: Arc<Client>) {
        let in_container = match event.container {
            SlackInteractionActionContainer::Message(container) => container.channel_id,
            SlackInteractionActionContainer::MessageAttachment(_) | SlackInteractionActionContainer::View(_) => None,
        };
        let place = event.channel.map(|channel| channel.id).or(in_container);
        let value = event.actions.into_iter().flatten().next().and_then(|action| action.value);
        let control = value.as_deref().and_then(Control::from_value);
        let (Some(user), Some(place), Some(control)) = (event.user, place, control) else {
            tracing::warn!("a button of Slack was pressed that means nothing");
            return;
        };
        let inbound = Inbound {
            delivery: event.trigger_id.value().clone(),
            from: account(&user.id),
            channel: channel(&place),
            input: Input::Pressed(control),
        };
        if let (Err(Full), Some(response_url)) = (self.offer(inbound), event.response_url) {
            tell(client, response_url, BUSY_WORDS);
        }
    }

    /// An event. If there is no place for a reaction, it is not acknowledged, and Slack delivers it again.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum may grow at any time; the app subscribes to two events")]
    fn event(&self, push: SlackPushEventCallback) -> Result<(), Failed> {
        let (user, reaction, item_user, item) = match push.event {
            SlackEventCallbackBody::ReactionAdded(event) => (event.user, event.reaction, event.item_user, event.item),
            SlackEventCallbackBody::ReactionRemoved(event) => (event.user, event.reaction, event.item_user, event.item),
            SlackEventCallbackBody::Unknown(_) => {
                tracing::warn!(event_id = push.event_id.value(), "an event from Slack could not be read and is left out");
                return Ok(());
            }
            _ => return Ok(()),
        };
        let ours = item_user.is_none_or(|author| *author.value() == self.bot_user);
        let votes = ours && *user.value() != self.bot_user && self.emoji.votes(reaction.value());
        let SlackReactionsItem::Message(message) = item else { return Ok(()) };
        let Some(place) = message.origin.channel.filter(|_| votes) else { return Ok(()) };
        let place = channel(&place);
        let inbound = Inbound {
            delivery: push.event_id.value().clone(),
            from: account(&user),
            channel: place.clone(),
            input: Input::Reacted(MessageRef { channel: place, id: message.origin.ts.value().clone() }),
        };
        Ok(self.offer(inbound)?)
    }

    pub(super) fn offer(&self, inbound: Inbound) -> Result<(), Full> {
        self.events.try_send(ChatEvent::Inbound(inbound)).map_err(|_| Full)
    }
}

/// Tells the person who did something, and nobody else.
pub(super) fn tell(client: Arc<Client>, response_url: SlackResponseUrl, words: &'static str) {
    tokio::spawn(tokio::time::timeout(BUSY, async move {
        let words = SlackMessageContent::new().with_text(words.into());
        let answer = SlackApiPostWebhookMessageRequest::new(words).with_replace_original(false);
        if client.respond_to_event(&response_url, &answer).await.is_err() {
            tracing::warn!("a person could not be told that nothing was done");
        }
    }));
}

pub(super) fn account(user: &SlackUserId) -> Account {
    Account { platform: Platform::Slack, id: user.value().clone() }
}

pub(super) fn channel(channel: &SlackChannelId) -> ChannelRef {
    ChannelRef { platform: Platform::Slack, id: channel.value().clone() }
}

/// Slack escapes three characters in what people type.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

    use async_trait::async_trait;

    use super::super::api;
    use super::super::settings::Endpoint;
    use super::*;
    use crate::ports::Typing;

    struct Nothing;

    #[async_trait]
    impl Suggest for Nothing {
        async fn suggest(&self, _: &Typing) -> Vec<String> {
            vec![]
        }
    }

    #[test]
    fn what_people_type_comes_as_they_typed_it() {
        assert_eq!(unescaped("a &lt;b&gt; &amp;&amp; &amp;lt; c"), "a <b> && &lt; c");
    }

    /// Goal: a reaction that finds no place is not acknowledged, so that Slack delivers it again; one that does not matter is. Method:
    /// a queue of one that is full, and events as Slack sends them.
    #[test]
    fn reactions_without_a_place() {
        let (events, _taken) = tokio::sync::mpsc::channel(1);
        events.try_send(ChatEvent::Connected).unwrap();
        let endpoint = Endpoint::of(Some("http://127.0.0.1:1/api")).unwrap();
        let api = Api::new(api::client(&endpoint).unwrap(), api::token(&"xoxb-none".into()));
        let (suggest, opening) = (Arc::new(Nothing), Arc::new(Semaphore::new(OPENING)));
        let inlet = Inlet { events, bot_user: "U0STANCH".into(), emoji: Emoji::default(), api, suggest, opening };
        let outcome = |user: &str, reaction: &str| {
            let item = serde_json::json!({ "type": "message", "channel": "C1", "ts": "1.000001" });
            let event = serde_json::json!({
                "type": "reaction_added", "user": user, "reaction": reaction, "item_user": "U0STANCH", "item": item, "event_ts": "2.000001",
            });
            let push = serde_json::json!({
                "team_id": "T1", "api_app_id": "A1", "event": event, "event_id": "Ev1", "event_time": 1_700_000_000,
            });
            inlet.event(serde_json::from_value(push).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(outcome("U1", "x"), Err("the queue of inputs is full".to_owned()));
        assert_eq!([outcome("U1", "eyes"), outcome("U0STANCH", "x")], [Ok(()), Ok(())]);
    }

    /// A callback that panics becomes an error, and the connection lives on.
    #[test]
    fn panics_end_at_the_callback() {
        let outcome: Result<(), Failed> = guarded(|| panic!("a bug"));
        assert_eq!(outcome.map_err(|error| error.to_string()), Err("a callback panicked".to_owned()));
    }
}
