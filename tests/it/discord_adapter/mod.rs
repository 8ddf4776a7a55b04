//! The Discord adapter against the Discord emulator.
#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test code fails by panicking"
)]

mod commands;
mod completion;
mod connecting;
mod examining;
mod inbound;
mod outbound;
mod rendering;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stanch::adapters::discord::{CommandScope, Discord, DiscordError, DiscordSettings, Emoji};
use stanch::core::identity::{Account, ChannelRef, MessageRef, Platform};
use stanch::core::say::{Block, Control, Message};
use stanch::ports::{Chat as _, ChatError, ChatEvent, Inbound, Input, Votes};
use stanch::sandbox::discord::{DiscordEmulator, Entry, Guild, Snowflake, Timing, id};
use stanch_commands::plan::PlanDigest;
use tokio::sync::mpsc::{Receiver, channel};

use crate::discord_emulator::specification::Specification;
use crate::support::Offers;

/// How long a test waits for what must happen. Long enough for a busy machine: nothing waits for it in a test that passes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with the connected adapter.
struct Rig {
    emulator: DiscordEmulator,
    discord: Discord,
    events: Receiver<ChatEvent>,
    offers: Arc<Offers>,
}

/// The sandbox's server, which limits nothing.
fn guild() -> Guild {
    Guild { limits: None, timing: Timing { respond: PATIENCE, ..Timing::default() }, ..Guild::sandbox() }
}

fn settings(emulator: &DiscordEmulator) -> DiscordSettings {
    DiscordSettings {
        api_url: Some(format!("{}/api/v10", emulator.url())),
        bot_token: emulator.token().into(),
        application: id::STANCH.to_string(),
        guild: id::GUILD.to_string(),
        scope: CommandScope::Guild,
        channels: [id::INCIDENTS.to_string()].into(),
        emoji: Emoji::default(),
        attaches: false,
    }
}

impl Rig {
    async fn start() -> Self {
        Self::of(&guild(), 100).await
    }

    async fn of(guild: &Guild, queue: usize) -> Self {
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let emulator = DiscordEmulator::start(guild).await.expect("a loopback port");
        let (sender, events) = channel(queue);
        let names = ["shop/cart-1", "shop/cart-2", &"x".repeat(101)].map(ToOwned::to_owned).into();
        let offers = Arc::new(Offers { names, ..Offers::default() });
        let discord = Discord::connect(settings(&emulator), sender, offers.clone()).await.expect("a connection");
        let mut rig = Self { emulator, discord, events, offers };
        assert_eq!(rig.event().await, ChatEvent::Connected);
        rig
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
        self.discord.post(&incidents(), None, &text(words)).await.expect("a message")
    }

    /// The message of that id, wherever it is.
    fn entry(&self, message: &MessageRef) -> Entry {
        let id: Snowflake = message.id.parse().unwrap();
        let found = self.emulator.channel_transcript(id::INCIDENTS).into_iter().find(|entry| entry.id == id);
        found.expect("the message")
    }

    /// What is to be read in the channel for incidents and its threads, and by whom.
    fn read(&self) -> Vec<(String, Option<Snowflake>)> {
        let entries = self.emulator.channel_transcript(id::INCIDENTS).into_iter().filter(|entry| !entry.deleted);
        entries.map(|entry| (if entry.loading { "(thinking)".into() } else { entry.visible_text() }, entry.only_for)).collect()
    }

    /// Ends everything, and asserts that nothing is left over, that nothing went wrong unseen, and that every request is one of Discord's.
    async fn finish(mut self) {
        self.discord.shutdown().await;
        while let Ok(event) = self.events.try_recv() {
            assert_eq!(event, ChatEvent::Connected, "an input is left over");
        }
        assert_eq!(self.emulator.violations(), Vec::<String>::new());
        assert_eq!(self.emulator.pending_mishaps(), vec![]);
        let differences = Specification::read().requests(&self.emulator.wire().exchanges());
        assert_eq!(differences, BTreeSet::new(), "requests that Discord's own description does not know");
        assert_eq!(self.emulator.wire().pending_faults().len(), 0);
        self.emulator.stop().await;
    }
}

fn account(id: Snowflake) -> Account {
    Account { platform: Platform::Discord, id: id.to_string() }
}

fn place(id: Snowflake) -> ChannelRef {
    ChannelRef { platform: Platform::Discord, id: id.to_string() }
}

fn incidents() -> ChannelRef {
    place(id::INCIDENTS)
}

fn text(words: &str) -> Message {
    Message { blocks: vec![Block::Text(words.into())], ..Message::default() }
}

fn controls() -> Vec<Control> {
    let id = || "r-test01".parse().unwrap();
    let digest = PlanDigest::from_hex(&"0f".repeat(32)).unwrap();
    vec![Control::Approve(id(), digest), Control::Decline(id()), Control::Halt(id()), Control::Resubmit(id())]
}
