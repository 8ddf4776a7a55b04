//! The Slack adapter against the Slack emulator.
#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test code fails by panicking"
)]

pub(crate) mod connecting;
mod files;
mod forms;
mod inbound;
mod manifest;
mod outbound;
mod people;
mod rendering;

use std::sync::Arc;
use std::time::Duration;

use stanch::adapters::slack::{Emoji, Slack, SlackError, SlackSettings};
use stanch::core::identity::{Account, ChannelRef, MessageRef, Platform};
use stanch::core::say::{Block, Control, Message};
use stanch::ports::{Chat as _, ChatError, ChatEvent, Inbound, Input, Votes};
use stanch::sandbox::slack::{Entry, SlackEmulator, Timing, Workspace};
use tokio::sync::mpsc::{Receiver, channel};

use crate::support::Offers;

/// How long a test waits for what must happen. Long enough for a busy machine: nothing waits for it in a test that passes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A workspace with the connected adapter.
struct Rig {
    emulator: SlackEmulator,
    slack: Slack,
    events: Receiver<ChatEvent>,
    offers: Arc<Offers>,
}

/// The sandbox's workspace, with a Slack that redelivers at once and limits nothing.
fn workspace() -> Workspace {
    let timing = Timing { retries: vec![Duration::ZERO; 3], ..Timing::default() };
    Workspace { timing, limits: None, ..Workspace::sandbox() }
}

fn settings(emulator: &SlackEmulator) -> SlackSettings {
    SlackSettings {
        api_url: Some(emulator.api_url()),
        bot_token: emulator.bot_token().into(),
        app_token: emulator.app_token().into(),
        team_id: Some("T0SANDBOX".into()),
        emoji: Emoji::default(),
        attaches: false,
    }
}

impl Rig {
    async fn start() -> Self {
        Self::of(&workspace(), 100).await
    }

    /// With one connection up. The other one follows when it follows.
    async fn of(workspace: &Workspace, queue: usize) -> Self {
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let emulator = SlackEmulator::start(workspace).await.expect("a loopback port");
        let (sender, events) = channel(queue);
        let names = ["shop/cart-1", "shop/cart-2", "shop/"].map(ToOwned::to_owned).into();
        let offers = Arc::new(Offers { names, ..Offers::default() });
        let slack = Slack::connect(settings(&emulator), sender, offers.clone()).await.expect("a connection");
        let mut rig = Self { emulator, slack, events, offers };
        assert_eq!(rig.event().await, ChatEvent::Connected);
        rig
    }

    /// With both connections up.
    async fn with_both(queue: usize) -> Self {
        let mut rig = Self::of(&workspace(), queue).await;
        assert_eq!(rig.event().await, ChatEvent::Connected);
        rig.emulator.wait_until(|view| view.connections() == 2, PATIENCE).await.expect("two connections");
        rig
    }

    /// Waits until both connections are up again.
    async fn connected_again(&mut self) {
        for _ in 0..2 {
            assert_eq!(self.event().await, ChatEvent::Connected);
        }
        self.emulator.wait_until(|view| view.connections() == 2, PATIENCE).await.expect("two connections");
    }

    async fn event(&mut self) -> ChatEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a connection")
    }

    /// The next input.
    async fn inbound(&mut self) -> Inbound {
        loop {
            if let ChatEvent::Inbound(inbound) = self.event().await {
                return inbound;
            }
        }
    }

    /// Posts a text to the channel for incidents.
    async fn say(&self, words: &str) -> MessageRef {
        self.slack.post(&incidents(), None, &text(words)).await.expect("a message")
    }

    /// The only message of a channel that has this id.
    fn entry(&self, message: &MessageRef) -> Entry {
        let found = self.emulator.channel_transcript(&message.channel.id).into_iter().find(|entry| entry.ts == message.id);
        found.expect("the message")
    }

    /// What is to be read in a channel, and by whom.
    fn read(&self, channel: &str) -> Vec<(String, Option<String>)> {
        let entries = self.emulator.channel_transcript(channel).into_iter();
        entries.map(|entry| (entry.visible_text(), entry.only_for)).collect()
    }

    /// Ends everything, and asserts that nothing is left over and that nothing went wrong unseen.
    async fn finish(mut self) {
        self.emulator.wait_until(|view| view.unfinished_events() == 0, PATIENCE).await.expect("all events to be finished");
        while let Ok(event) = self.events.try_recv() {
            assert_eq!(event, ChatEvent::Connected, "an input is left over");
        }
        assert_eq!(self.emulator.violations(), Vec::<String>::new());
        assert_eq!(self.emulator.pending_mishaps(), vec![]);
        assert_eq!(self.emulator.wire().pending_faults().len(), 0);
        self.slack.shutdown().await;
        self.emulator.stop().await;
    }
}

fn account(id: &str) -> Account {
    Account { platform: Platform::Slack, id: id.into() }
}

fn place(id: &str) -> ChannelRef {
    ChannelRef { platform: Platform::Slack, id: id.into() }
}

fn incidents() -> ChannelRef {
    place("C0INCIDENTS")
}

fn text(words: &str) -> Message {
    Message { blocks: vec![Block::Text(words.into())], ..Message::default() }
}
