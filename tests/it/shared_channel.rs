//! Goal: a request that is asked for on one platform is shown, agreed to, taken back and halted on both. Method: the production bot connected
//! to both emulators, with their incident channels shared.
#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code fails by panicking")]

use std::time::Duration;

use stanch::sandbox::discord::{DiscordEmulator, Entry, Snowflake, View, id};
use stanch::sandbox::scenario::{ChatChoice, Scenario, Setting, Stage, play};
use tempfile::TempDir;

/// How long a test waits for what must happen. Long enough for a busy machine: nothing waits for it in a test that passes.
const PATIENCE: Duration = Duration::from_secs(120);

const ASK: &str = "rosa: /stanch quarantine pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42\nexpect in thread: waiting for approval";

struct Rig {
    stage: Stage,
    _folder: TempDir,
}

impl Rig {
    async fn start(is_shared: bool) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let setting = Setting { chat: ChatChoice::Both, is_shared, ..Setting::default() };
        Self { stage: Stage::set(folder.path(), setting).await.unwrap(), _folder: folder }
    }

    /// On Slack.
    async fn plays(&mut self, text: &str) {
        if let Err(failed) = play(&mut self.stage, &Scenario::parse(text).unwrap(), |_| ()).await {
            panic!("{failed}\n{}\n{}", self.stage.transcript(), self.discord().look(|view| view.to_string()));
        }
    }

    fn discord(&self) -> &DiscordEmulator {
        self.stage.discord().unwrap()
    }

    /// The first message of Discord, in the channel or a thread of it, that holds these words.
    async fn shown(&self, words: &str) -> Entry {
        let find = |view: &View<'_>| {
            let every = view.channels().into_iter().flat_map(|channel| view.channel_transcript(channel));
            every.into_iter().find(|entry| !entry.deleted && entry.visible_text().replace(['\\', '*'], "").contains(words))
        };
        match self.discord().wait_for(find, PATIENCE).await {
            Ok(entry) => entry,
            Err(timed_out) => panic!("`{words}`: {timed_out}\n{}", self.stage.transcript()),
        }
    }

    async fn reacts(&self, who: Snowflake, to: &Entry, emoji: &str) {
        self.discord().react(who, to.channel, to.id, emoji).await.unwrap();
    }

    async fn finish(self) {
        assert_eq!(self.stage.slack().violations(), Vec::<String>::new());
        assert_eq!(self.discord().violations(), Vec::<String>::new());
        self.stage.strike().await.unwrap();
    }
}

/// Asked for on Slack, agreed to on Discord, done on both; whoever reacted is answered where they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agreed_to_on_the_other_platform() {
    let mut rig = Rig::start(true).await;
    rig.plays(ASK).await;
    let plan = rig.shown("Needs 1 approval").await;
    assert_eq!((plan.parent, plan.buttons().len()), (None, 2));
    // The requester is the requester from whichever account.
    rig.reacts(id::RESPONDER, &plan, "white_check_mark").await;
    rig.shown("cannot decide about your own request").await;
    rig.plays("expect no writes").await;
    rig.reacts(id::APPROVER1, &plan, "white_check_mark").await;
    rig.shown("is isolated: tag, firewall, addresses and group were read back").await;
    rig.plays("expect in thread: is isolated: tag, firewall, addresses and group were read back\nexpect isolated").await;
    rig.finish().await;
}

/// One human is one vote: who agreed on both platforms counts once. A no on the other platform ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_human_is_one_vote() {
    let mut rig = Rig::start(true).await;
    let ask = "rosa: /stanch redeploy pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42\nexpect in channel: Needs 2 approvals";
    rig.plays(ask).await;
    let plan = rig.shown("Needs 2 approvals").await;
    rig.plays("amir reacts white_check_mark\nexpect amir reads: Counted: 1 of 2").await;
    rig.reacts(id::APPROVER1, &plan, "white_check_mark").await;
    rig.shown("already").await;
    rig.plays("expect no writes").await;
    rig.reacts(id::APPROVER2, &plan, "x").await;
    rig.plays("expect in thread: declined\nexpect no writes").await;
    rig.shown("declined").await;
    rig.finish().await;
}

/// A vote on one platform is taken back although one on the other platform is looked at, and outlives a crash in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_are_read_back() {
    let mut rig = Rig::start(true).await;
    rig.plays("rosa: /stanch redeploy pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42\nexpect in channel: Needs 2 approvals").await;
    let plan = rig.shown("Needs 2 approvals").await;
    rig.reacts(id::APPROVER1, &plan, "white_check_mark").await;
    rig.shown("Counted: 1 of 2").await;
    rig.plays("crash").await;
    rig.discord().unreact(id::APPROVER1, plan.channel, plan.id, "white_check_mark").await.unwrap();
    rig.shown("Your approval was taken back").await;
    rig.plays("bea reacts white_check_mark\nexpect bea reads: Counted: 1 of 2\nexpect no writes").await;
    rig.finish().await;
}

/// Without the setting a request is shown where it was asked for, and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_shared_by_default() {
    let mut rig = Rig::start(false).await;
    rig.plays(&format!("{ASK}\namir reacts x\nexpect in thread: declined")).await;
    let said = rig.discord().channel_transcript(id::INCIDENTS);
    assert_eq!(said.into_iter().map(|entry| entry.visible_text()).collect::<Vec<_>>(), Vec::<String>::new());
    rig.finish().await;
}
