//! From what people do to what the app is told.

use serde_json::{Value, json};
use stanch::sandbox::slack::{DisconnectReason, EnvelopeKind, Mishap};
use stanch_commands::plan::PlanDigest;

use super::*;

const BUSY: &str = "Stanch is busy and has done nothing about this. Please try again in a moment.";

fn controls() -> Vec<Control> {
    let id = || "r-test01".parse().unwrap();
    let digest = PlanDigest::from_hex(&"0f".repeat(32)).unwrap();
    vec![Control::Approve(id(), digest), Control::Decline(id()), Control::Halt(id()), Control::Resubmit(id())]
}

fn plan() -> Message {
    Message { controls: controls(), ..text("a plan") }
}

fn typed(delivery: &str, words: &str) -> Inbound {
    Inbound { delivery: delivery.into(), from: account("U0RESPONDER"), channel: incidents(), input: Input::Typed(words.into()) }
}

/// Who reacted to which message.
fn hint(inbound: Inbound) -> (String, MessageRef) {
    match inbound.input {
        Input::Reacted(message) => (inbound.from.id, message),
        other => panic!("no reaction: {other:?}"),
    }
}

impl Rig {
    async fn type_help(&self) -> String {
        self.emulator.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch help").await.unwrap().trigger_id
    }

    async fn react(&self, user: &str, message: &MessageRef, emoji: &str) {
        self.emulator.react(user, &message.channel.id, &message.id, emoji).await.unwrap();
    }

    /// A call by the bot beside the adapter.
    async fn call(&self, method: &str, arguments: Value) -> Value {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.post(format!("{}/{method}", self.emulator.api_url())).bearer_auth(self.emulator.bot_token()).json(&arguments);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["ok"], json!(true), "{answer}");
        answer
    }
}

/// A command, with what Slack escapes in it, and one in a direct message.
#[tokio::test]
async fn typed_commands() {
    let mut rig = Rig::start().await;
    let answered = rig.emulator.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch help <a & b>").await.unwrap();
    assert_eq!((rig.inbound().await, answered.payload), (typed(&answered.trigger_id, "help <a & b>"), None));
    let answered = rig.emulator.type_command("U0RESPONDER", "D0RESPONDER", "/stanch").await.unwrap();
    assert_eq!(rig.inbound().await, Inbound { channel: place("D0RESPONDER"), ..typed(&answered.trigger_id, "") });
    rig.finish().await;
}

/// Every button comes back as the control that it was, from a message and from a whisper.
#[tokio::test]
async fn pressed_buttons() {
    let mut rig = Rig::start().await;
    let posted = rig.slack.post(&incidents(), None, &plan()).await.unwrap();
    for (action_id, control) in ["approve", "decline", "halt", "resubmit"].into_iter().zip(controls()) {
        let answered = rig.emulator.click("U0APPROVER1", "C0INCIDENTS", &posted.id, action_id).await.unwrap();
        let input = Input::Pressed(control);
        let expected = Inbound { delivery: answered.trigger_id, from: account("U0APPROVER1"), channel: incidents(), input };
        assert_eq!(rig.inbound().await, expected);
    }
    rig.slack.whisper(&incidents(), &account("U0BYSTANDER"), &plan()).await.unwrap();
    let whispered = rig.emulator.channel_transcript("C0INCIDENTS").pop().unwrap();
    let answered = rig.emulator.click("U0BYSTANDER", "C0INCIDENTS", &whispered.ts, "halt").await.unwrap();
    let input = Input::Pressed(controls()[2].clone());
    assert_eq!(rig.inbound().await, Inbound { delivery: answered.trigger_id, from: account("U0BYSTANDER"), channel: incidents(), input });
    rig.finish().await;
}

/// A button whose value means nothing is acknowledged and goes no further.
#[tokio::test]
async fn buttons_that_mean_nothing() {
    let mut rig = Rig::start().await;
    let button =
        json!({ "type": "button", "action_id": "approve", "text": { "type": "plain_text", "text": "x" }, "value": "approve r-test01" });
    let blocks = json!([{ "type": "actions", "elements": [button] }]);
    let posted = rig.call("chat.postMessage", json!({ "channel": "C0INCIDENTS", "text": "x", "blocks": blocks })).await;
    rig.emulator.click("U0APPROVER1", "C0INCIDENTS", posted["ts"].as_str().unwrap(), "approve").await.unwrap();
    let delivery = rig.type_help().await;
    assert_eq!(rig.inbound().await, typed(&delivery, "help"));
    rig.finish().await;
}

/// Goal: a reaction is a hint if it votes, and the votes are what stands on the message. Method: votes of three kinds among reactions
/// that must not count: another emoji, a skin tone, the bot's own, and votes on somebody else's message.
#[tokio::test]
async fn reactions() {
    let mut rig = Rig::start().await;
    let plan = rig.say("a plan").await;
    let theirs = rig.emulator.post_as("U0BYSTANDER", "C0INCIDENTS", "lunch?", None).await.unwrap();
    rig.react("U0BYSTANDER", &MessageRef { id: theirs, ..plan.clone() }, "white_check_mark").await;
    rig.react("U0BYSTANDER", &plan, "eyes").await;
    rig.react("U0BYSTANDER", &plan, "white_check_mark::skin-tone-2").await;
    rig.call("reactions.add", json!({ "channel": "C0INCIDENTS", "timestamp": plan.id, "name": "white_check_mark" })).await;

    rig.react("U0APPROVER1", &plan, "white_check_mark").await;
    rig.react("U0APPROVER2", &plan, "white_check_mark").await;
    rig.react("U0APPROVER2", &plan, "x").await;
    rig.react("U0OTHERBOT", &plan, "octagonal_sign").await;
    let mut hints = Vec::new();
    for _ in 0..4 {
        hints.push(hint(rig.inbound().await));
    }
    hints.sort();
    let voters = ["U0APPROVER1", "U0APPROVER2", "U0APPROVER2", "U0OTHERBOT"];
    assert_eq!(hints, voters.map(|user| (user.to_owned(), plan.clone())));
    let set = |users: &[&str]| users.iter().copied().map(account).collect();
    let votes = Votes { yes: set(&["U0APPROVER1", "U0APPROVER2"]), no: set(&["U0APPROVER2"]), halt: set(&["U0OTHERBOT"]) };
    assert_eq!(rig.slack.votes(&plan).await, Ok(votes.clone()));

    rig.emulator.unreact("U0APPROVER2", "C0INCIDENTS", &plan.id, "white_check_mark").await.unwrap();
    assert_eq!(hint(rig.inbound().await), ("U0APPROVER2".into(), plan.clone()));
    assert_eq!(rig.slack.votes(&plan).await, Ok(Votes { yes: set(&["U0APPROVER1"]), ..votes }));
    rig.finish().await;
}

/// More voters than Slack lists unasked are all read back.
#[tokio::test]
async fn many_votes() {
    let mut workspace = workspace();
    let crowd: Vec<String> = (0..60).map(|n| format!("U0CROWD{n:02}")).collect();
    let template = workspace.users[1].clone();
    workspace.users.extend(crowd.iter().map(|id| stanch::sandbox::slack::User { id: id.clone(), ..template.clone() }));
    workspace.channels[0].members.extend(crowd.iter().cloned());
    let mut rig = Rig::of(&workspace, 100).await;
    let plan = rig.say("a plan").await;
    for user in &crowd {
        rig.react(user, &plan, "white_check_mark").await;
    }
    assert_eq!(rig.slack.votes(&plan).await.unwrap().yes.len(), 60);
    for _ in &crowd {
        hint(rig.inbound().await);
    }
    rig.finish().await;
}

/// Goal: whatever goes wrong on the way, a delivery that comes twice has one id. Method: each mishap for each kind of input.
#[tokio::test]
async fn duplicates_have_one_id() {
    let mut rig = Rig::start().await;
    let plan = rig.slack.post(&incidents(), None, &plan()).await.unwrap();
    rig.emulator.disturb(Some(EnvelopeKind::SlashCommand), Mishap::Duplicate);
    let delivery = rig.type_help().await;
    assert_eq!([rig.inbound().await, rig.inbound().await], [typed(&delivery, "help"), typed(&delivery, "help")]);

    rig.emulator.disturb(Some(EnvelopeKind::Click), Mishap::Duplicate);
    let delivery = rig.emulator.click("U0APPROVER1", "C0INCIDENTS", &plan.id, "halt").await.unwrap().trigger_id;
    let (one, two) = (rig.inbound().await, rig.inbound().await);
    assert_eq!((&one.delivery, &one), (&delivery, &two));

    rig.emulator.disturb(Some(EnvelopeKind::Event), Mishap::Duplicate);
    rig.react("U0APPROVER1", &plan, "x").await;
    let (one, two) = (rig.inbound().await, rig.inbound().await);
    assert_eq!((one.delivery.is_empty(), &one), (false, &two));
    rig.finish().await;
}

/// What Slack delivers late, in another order, or again because it was lost, arrives once and under an id of its own.
#[tokio::test]
async fn late_swapped_and_lost_deliveries() {
    let timing = Timing { ack: Duration::from_secs(2), ..workspace().timing };
    let mut rig = Rig::of(&Workspace { timing, ..workspace() }, 100).await;
    let plan = rig.say("a plan").await;
    rig.emulator.disturb(Some(EnvelopeKind::Event), Mishap::Drop);
    rig.react("U0APPROVER1", &plan, "x").await;
    let dropped = rig.inbound().await;
    rig.emulator.disturb(Some(EnvelopeKind::Event), Mishap::Delay(Duration::from_millis(50)));
    rig.react("U0APPROVER1", &plan, "white_check_mark").await;
    let delayed = rig.inbound().await;
    rig.emulator.disturb(Some(EnvelopeKind::Event), Mishap::SwapWithNext);
    rig.react("U0APPROVER1", &plan, "octagonal_sign").await;
    rig.react("U0APPROVER2", &plan, "octagonal_sign").await;
    let (one, two) = (rig.inbound().await, rig.inbound().await);
    let all = [dropped, delayed, one, two];
    let mut users: Vec<_> = all.iter().map(|inbound| inbound.from.id.as_str()).collect();
    users.sort_unstable();
    assert_eq!(users, ["U0APPROVER1", "U0APPROVER1", "U0APPROVER1", "U0APPROVER2"]);
    let ids: std::collections::BTreeSet<_> = all.iter().map(|inbound| inbound.delivery.as_str()).collect();
    assert_eq!(ids.len(), 4);
    rig.finish().await;
}

/// Goal: a new connection says so, because a reaction may have been lost before it; the votes are there all the same. Method: an event
/// that vanishes, then connections that are renewed, announced to end, and cut.
#[tokio::test]
async fn reconnecting() {
    let mut rig = Rig::with_both(100).await;
    let plan = rig.say("a plan").await;
    rig.emulator.disturb(Some(EnvelopeKind::Event), Mishap::Lose);
    rig.react("U0APPROVER1", &plan, "white_check_mark").await;
    rig.emulator.disconnect_sockets(DisconnectReason::RefreshRequested);
    rig.connected_again().await;
    rig.emulator.disconnect_sockets(DisconnectReason::Warning);
    rig.connected_again().await;
    rig.emulator.cut_sockets();
    rig.connected_again().await;
    assert_eq!(rig.slack.votes(&plan).await.unwrap().yes, [account("U0APPROVER1")].into());
    let delivery = rig.type_help().await;
    assert_eq!(rig.inbound().await, typed(&delivery, "help"));
    rig.finish().await;
}

/// Goal: what finds no place in the queue is not lost silently. Method: a queue of one; a second command and a click. (That a reaction
/// is not acknowledged then is tested beside the code, and that Slack delivers it again above.)
#[tokio::test]
async fn a_full_queue() {
    let mut rig = Rig::with_both(1).await;
    let posted = rig.slack.post(&incidents(), None, &plan()).await.unwrap();
    let delivery = rig.type_help().await;
    let refused = rig.emulator.type_command("U0APPROVER1", "C0INCIDENTS", "/stanch list").await.unwrap();
    assert_eq!(refused.payload, Some(json!({ "response_type": "ephemeral", "text": BUSY })));
    rig.emulator.click("U0APPROVER2", "C0INCIDENTS", &posted.id, "halt").await.unwrap();
    let told = rig.emulator.wait_until(|view| view.channel_transcript("C0INCIDENTS").len() == 3, PATIENCE).await;
    told.expect("both to be told");
    let told: Vec<_> = rig.read("C0INCIDENTS").split_off(1);
    assert_eq!(told, [(BUSY.to_owned(), Some("U0APPROVER1".to_owned())), (BUSY.to_owned(), Some("U0APPROVER2".to_owned()))]);
    assert_eq!(rig.inbound().await, typed(&delivery, "help"));
    rig.finish().await;
}

/// A new connection is told of even if the queue is full at that moment.
#[tokio::test]
async fn a_new_connection_waits_for_its_place() {
    let mut rig = Rig::with_both(1).await;
    let delivery = rig.type_help().await;
    rig.emulator.disconnect_sockets(DisconnectReason::RefreshRequested);
    rig.emulator.wait_until(|view| view.connections() == 2, PATIENCE).await.expect("two connections");
    assert_eq!(rig.inbound().await, typed(&delivery, "help"));
    rig.connected_again().await;
    rig.finish().await;
}
