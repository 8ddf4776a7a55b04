//! Goal: a request that is asked for on one platform is shown, agreed to, taken back and halted on both. Method: the production bot connected
//! to both emulators, with their incident channels shared.
#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code fails by panicking")]

use stanch::sandbox::discord::id;
use stanch::sandbox::scenario::{ChatChoice, Scenario, Setting, Stage, play};
use tempfile::TempDir;

const ASK: &str = "rosa: /stanch quarantine pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42\nexpect in thread: waiting for approval\n";

/// Needs two others.
const ASK_MORE: &str = "rosa: /stanch redeploy pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42\nexpect in channel: Needs 2 approvals\n";

const ISOLATED: &str = "expect in thread: is isolated: tag, firewall, addresses and group were read back\n";

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

    async fn plays(&mut self, text: &str) {
        if let Err(failed) = play(&mut self.stage, &Scenario::parse(text).unwrap(), |_| ()).await {
            panic!("{failed}\n{}", self.stage.transcript());
        }
    }

    async fn finish(self) {
        assert_eq!(self.stage.slack().violations(), Vec::<String>::new());
        assert_eq!(self.stage.discord().unwrap().violations(), Vec::<String>::new());
        self.stage.strike().await.unwrap();
    }
}

/// Asked for on Slack, agreed to on Discord, done on both; whoever reacted is answered where they are, and the requester is the requester
/// from whichever account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agreed_to_on_the_other_platform() {
    let mut rig = Rig::start(true).await;
    rig.plays(&format!(
        "{ASK}on discord\nexpect in channel: Needs 1 approval\nrosa reacts white_check_mark\n\
         expect rosa reads: You cannot decide about your own request\nexpect no writes\n\
         amir reacts white_check_mark\nexpect amir reads: Counted: 1 of 1\n{ISOLATED}on slack\n{ISOLATED}expect isolated\n\
         on discord\nrosa: /stanch status\nexpect rosa reads: Approvals: 1 of 1 (amir)."
    ))
    .await;
    rig.finish().await;
}

/// The other way round: asked for on Discord, agreed to and halted on Slack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn halted_on_the_other_platform() {
    let mut rig = Rig::start(true).await;
    // A budget holds the drain up.
    rig.plays(&format!(
        "happens: budget shop/checkout needs 2\non discord\n{ASK}on slack\nexpect in channel: budget shop/checkout allows 0 of 1 pod\n\
         amir presses Approve\nexpect in thread: node gke-sandbox-public-1a2b3c4d-x7k2 is cordoned\n\
         bea reacts octagonal_sign\nexpect bea reads: Halted\nexpect in thread: bea halted the run. What is in place stays\n\
         on discord\nexpect in thread: bea halted the run. What is in place stays"
    ))
    .await;
    rig.finish().await;
}

/// One human is one vote: who agreed on both platforms counts once. A no on the other platform ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_human_is_one_vote() {
    let mut rig = Rig::start(true).await;
    rig.plays(&format!(
        "{ASK_MORE}amir reacts white_check_mark\nexpect amir reads: Counted: 1 of 2\non discord\n\
         amir reacts white_check_mark\nexpect amir reads: already\nexpect in thread: 1 of 2 (amir)\nexpect no writes\n\
         bea reacts x\nexpect in thread: declined\non slack\nexpect in thread: declined\nexpect no writes"
    ))
    .await;
    rig.finish().await;
}

/// A vote that is taken back is taken back, although the other platform says nothing of it; and both messages are known after a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_are_read_back() {
    let mut rig = Rig::start(true).await;
    rig.plays(&format!(
        "{ASK_MORE}on discord\nexpect in channel: Needs 2 approvals\namir reacts white_check_mark\nexpect amir reads: Counted: 1 of 2\n\
         crash\namir takes back white_check_mark\nexpect amir reads: taken back\n\
         on slack\nbea reacts white_check_mark\nexpect bea reads: Counted: 1 of 2\nexpect in thread: 1 of 2 (bea)\nexpect no writes"
    ))
    .await;
    rig.finish().await;
}

/// Without the setting a request is shown where it was asked for, and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_shared_by_default() {
    let mut rig = Rig::start(false).await;
    rig.plays(&format!("{ASK}amir reacts x\nexpect in thread: declined")).await;
    let said = rig.stage.discord().unwrap().channel_transcript(id::INCIDENTS);
    assert_eq!(said.into_iter().map(|entry| entry.visible_text()).collect::<Vec<_>>(), Vec::<String>::new());
    rig.finish().await;
}
