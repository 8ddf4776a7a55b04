//! Goal: whatever Stanch says is shown within Slack's limits, in its own words, and nothing in it pings, formats or fakes. Method:
//! every message is posted to the emulator, which checks blocks as strictly as Slack, and looked at as a snapshot.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;
use stanch::adapters::slack::rendered;
use stanch::core::diagnosis::{Check, Diagnosis};
use stanch::core::engine::{Event, State, apply, decide};
use stanch::core::identity::PersonId;
use stanch::core::policy::{Decision, Reason};
use stanch::core::record::Requested;
use stanch::core::request::{Ending, Request, Run, Stage};
use stanch::core::say::{Mark, Mention, Say};
use stanch::core::step::{Failure, FailureKind, Outcome, Receipt, StepKey};
use stanch_commands::definition::Phase;
use stanch_commands::parse::parse;
use stanch_commands::plan::{Form, PlanDigest, StepId};
use stanch_commands::target::RequestId;

use super::*;
use crate::plans;

fn id() -> RequestId {
    "r-k3f9qz".parse().unwrap()
}

fn digest() -> PlanDigest {
    PlanDigest::from_hex(&"0f".repeat(32)).unwrap()
}

fn blocks(message: &Message) -> String {
    let rendered = rendered(message, &Emoji::default());
    format!("{}\n\n{}", rendered.text, serde_json::to_string_pretty(&rendered.blocks).unwrap())
}

/// Posts every message, edits it into itself (which has narrower limits) and whispers it, and returns it as people read it.
async fn posted(messages: &[Message]) -> Vec<Entry> {
    let rig = Rig::start().await;
    let mut entries = Vec::new();
    for message in messages {
        let sent = rig.slack.post(&incidents(), None, message).await.expect("a post");
        rig.slack.edit(&sent, message).await.expect("an edit");
        rig.slack.whisper(&incidents(), &account("U0RESPONDER"), message).await.expect("a whisper");
        entries.push(rig.entry(&sent));
    }
    rig.finish().await;
    entries
}

/// What people read of a message, its buttons in a line below.
async fn shown(says: &[Say]) -> String {
    let messages: Vec<Message> = says.iter().map(Say::message).collect();
    let entry = |entry: Entry| {
        let buttons: Vec<String> = entry.buttons().into_iter().map(|button| format!("[{}]", button.text)).collect();
        let words = entry.visible_text();
        let lines = words.lines().filter(|line| !buttons.contains(&format!("[{line}]"))).collect::<Vec<_>>().join("\n");
        format!("{lines}\n{}", buttons.join(" ")).trim_end().to_owned()
    };
    posted(&messages).await.into_iter().map(entry).collect::<Vec<_>>().join("\n\n---\n\n")
}

/// Every character of all texts together, as Slack counts them.
fn characters(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| value.as_str().filter(|_| name == "text").map_or_else(|| characters(value), |text| text.chars().count()))
            .sum(),
        Value::Array(values) => values.iter().map(characters).sum(),
        _ => 0,
    }
}

/// One of each kind of block, and every button.
fn one_of_each() -> Message {
    Message {
        blocks: vec![
            Block::Heading("r-k3f9qz: quarantine pod shop/cart".into()),
            Block::Text("First paragraph.\nSecond paragraph.".into()),
            Block::List { title: "Whom it hits", items: vec!["one".into(), "two".into()] },
            Block::Steps(vec![
                (Mark::Pending, "1. pending".into()),
                (Mark::Running, "2. running".into()),
                (Mark::Done, "3. done".into()),
                (Mark::Failed, "4. failed".into()),
                (Mark::Withheld, "5. withheld".into()),
            ]),
            Block::Table(vec![("asked by", "rosa".into()), ("incident", "inc-42".into())]),
            Block::Code("name   phase\n\nhelp   look".into()),
            Block::Voting,
            Block::Fine("plan 0f0f".into()),
        ],
        controls: vec![Control::Approve(id(), digest()), Control::Decline(id()), Control::Halt(id()), Control::Resubmit(id())],
        mentions: [Mention::Group("S0APPROVERS".into()), Mention::Account(account("U0APPROVER1"))].into(),
    }
}

#[tokio::test]
async fn every_kind_of_block() {
    insta::assert_snapshot!("every_kind_of_block", blocks(&one_of_each()));
    posted(&[one_of_each()]).await;
}

/// Goal: words from a cluster stay words. Method: in each kind of block, text that tries to ping, format, link, fake a mark, hide,
/// reorder, or begin a line of its own; and mentions that are none.
#[tokio::test]
async fn hostile_words() {
    let evil =
        "<!channel> <@U0APPROVER1> *b* _i_ ~s~ `c` ```f``` :white_check_mark: https://evil.example & \u{202E}txt\u{200B}.\n2. done\ttab";
    let message = Message {
        blocks: vec![
            Block::Heading(evil.into()),
            Block::Text(evil.into()),
            Block::List { title: "Details", items: vec![evil.into()] },
            Block::Steps(vec![(Mark::Failed, evil.into())]),
            Block::Table(vec![("label", evil.into())]),
            Block::Code(evil.into()),
            Block::Fine(evil.into()),
        ],
        controls: vec![],
        mentions: [
            Mention::Group("S1> <!channel".into()),
            Mention::Account(account("u0lower")),
            Mention::Account(Account { platform: Platform::Discord, id: "123".into() }),
        ]
        .into(),
    };
    insta::assert_snapshot!("hostile_words", blocks(&message));
    posted(&[message]).await;
}

/// Goal: a message of any size is taken, what is cut can be seen, and heading, voting, digest, mentions and buttons are whole.
/// Method: each kind of block far too long, all of them together, and texts in which every character has to be escaped.
#[tokio::test]
async fn far_too_long() {
    let lines = |count: usize| (1..=count).map(|n| format!("{n}. {}", "word ".repeat(12).trim_end())).collect::<Vec<_>>();
    let frame = |middle: Vec<Block>| {
        let around = one_of_each();
        let (heading, end) = (around.blocks[0].clone(), around.blocks[6..].to_vec());
        Message { blocks: std::iter::once(heading).chain(middle).chain(end).collect(), ..around }
    };
    let steps = || Block::Steps(lines(300).into_iter().map(|line| (Mark::Pending, line)).collect());
    let list = || Block::List { title: "Whom it hits", items: lines(300) };
    let escaped = "<&>".repeat(5_000);
    let cases = vec![
        frame(vec![steps()]),
        frame(vec![list()]),
        frame(vec![Block::Text(lines(300).join("\n"))]),
        frame(vec![Block::Text("x".repeat(50_000))]),
        frame(vec![Block::Code(lines(300).join("\n"))]),
        frame(vec![Block::Table(lines(300).into_iter().map(|line| ("label", line)).collect())]),
        frame(vec![Block::Text("a short one".into()), steps(), list(), Block::Code(lines(300).join("\n")), Block::Text(escaped.clone())]),
        frame((0..200).map(|n| Block::Text(format!("part {n}"))).collect()),
        frame((0..60).map(|_| steps()).collect()),
        Message { blocks: vec![Block::Heading("<".repeat(500)), Block::Fine("&".repeat(5000))], ..Message::default() },
        Message { blocks: (0..100).map(|_| Block::Fine(escaped.clone())).collect(), ..Message::default() },
        Message { blocks: (0..100).map(|_| Block::Heading("x".repeat(150))).collect(), ..Message::default() },
        Message { controls: vec![Control::Halt(id()); 60], ..text("buttons") },
        Message { mentions: (0..500).map(|n| Mention::Group(format!("S{n}"))).collect(), ..text("mentions") },
    ];
    for message in &cases[..9] {
        let whole = rendered(&frame(vec![]), &Emoji::default()).blocks;
        let rendered = rendered(message, &Emoji::default());
        assert_eq!(rendered.blocks.first(), whole.first());
        assert!(rendered.blocks.ends_with(&whole[1..]), "{:?}", rendered.blocks.last());
        assert!(rendered.blocks.len() <= 50 && characters(&Value::Array(rendered.blocks.clone())) <= 9_500);
        let letters = rendered.text.chars().count();
        assert!(letters < 3_000 || (letters == 3_000 && rendered.text.ends_with('…')), "{}", rendered.text);
    }
    let read: Vec<String> = posted(&cases).await.iter().map(Entry::visible_text).collect();
    let notes = |text: &String| text.lines().filter(|line| line.starts_with('…')).map(str::to_owned).collect::<Vec<_>>();
    insta::assert_snapshot!("what_is_left_out", read.iter().map(|text| notes(text).join(" | ")).collect::<Vec<_>>().join("\n"));
}

/// Every text, wherever it stands.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("text").and_then(Value::as_str);
            own.into_iter().chain(fields.values().flat_map(texts)).collect()
        }
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        _ => vec![],
    }
}

fn any_block() -> impl Strategy<Value = Block> {
    let words = || ("[a-z<>& \n]{0,9}", prop_oneof![0..5_usize, 0..900_usize]).prop_map(|(piece, times)| piece.repeat(times));
    prop_oneof![
        words().prop_map(Block::Heading),
        words().prop_map(Block::Text),
        prop::collection::vec(words(), 0..20).prop_map(|items| Block::List { title: "What stays open afterwards", items }),
        prop::collection::vec(words(), 0..40).prop_map(|steps| Block::Steps(steps.into_iter().map(|step| (Mark::Running, step)).collect())),
        prop::collection::vec(words(), 0..20).prop_map(|rows| Block::Table(rows.into_iter().map(|row| ("label", row)).collect())),
        words().prop_map(Block::Code),
        Just(Block::Voting),
        words().prop_map(Block::Fine),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever a message holds, it keeps Slack's limits, and no text in it is empty or could be markup.
    #[test]
    fn any_message_keeps_the_limits(blocks in prop::collection::vec(any_block(), 0..80)) {
        let rendered = rendered(&Message { blocks, ..one_of_each() }, &Emoji::default());
        let all = Value::Array(rendered.blocks.clone());
        prop_assert!(rendered.blocks.len() <= 50, "{} blocks", rendered.blocks.len());
        prop_assert!(characters(&all) <= 9_600, "{} characters", characters(&all));
        prop_assert!(rendered.blocks.iter().all(|block| characters(block) <= 3_000));
        prop_assert!((1..=3_000).contains(&rendered.text.chars().count()));
        let markup = "<!subteam^S0APPROVERS> <@U0APPROVER1>";
        for text in texts(&all) {
            prop_assert!(!text.is_empty() && (text == markup || !text.contains(['<', '>'])), "{text}");
        }
    }
}

/// Nothing to say is still something that Slack takes.
#[tokio::test]
async fn empty_parts() {
    let empty = vec![
        Block::Heading(String::new()),
        Block::Text(String::new()),
        Block::List { title: "Details", items: vec![] },
        Block::List { title: "Details", items: vec![String::new(), "one".into()] },
        Block::Steps(vec![]),
        Block::Steps(vec![(Mark::Done, String::new())]),
        Block::Table(vec![("label", String::new())]),
        Block::Code(String::new()),
        Block::Fine(String::new()),
    ];
    let message = Message { blocks: empty, ..Message::default() };
    let read = posted(&[message, Message::default()]).await;
    assert_eq!(read.iter().map(Entry::visible_text).collect::<Vec<_>>(), ["Details\n• one\n:white_check_mark: \nlabel: ", "(no words)"]);
}

// === what Stanch really says ===

fn request() -> Request {
    let plan = plans::plan(&format!("quarantine {}", plans::SUSPECT), Form::Strict, &plans::facts()).unwrap();
    let requested = Requested {
        requester: PersonId::new("rosa"),
        channel: incidents(),
        incident: "inc-42".parse().unwrap(),
        phase: Phase::Contain,
        plan,
        approvals_needed: 1,
        expires_at: Timestamp::from_second(1_800_000_900).unwrap(),
    };
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let records = decide(&State::default(), &id(), Event::Propose(Box::new(requested)), now).unwrap();
    let state = records.iter().fold(State::default(), |state, record| apply(state, record).unwrap());
    state.requests[&id()].clone()
}

/// The request while it runs: a step done, one that was so already, one failed, one unknown, one under way.
fn running() -> Request {
    let mut request = request();
    request.stage = Stage::Executing;
    let receipt = |already_so, summary: &str| Receipt { already_so, summary: summary.into(), ..Receipt::default() };
    let refused = Failure {
        kind: FailureKind::Refused,
        message: "`compute.snapshots.create` is missing on <project>".into(),
        hint: Some("grant it".into()),
    };
    let outcomes = [
        Some(Outcome::Succeeded(receipt(false, "kept"))),
        Some(Outcome::Succeeded(receipt(true, "cordoned"))),
        Some(Outcome::Failed(refused)),
        Some(Outcome::Unknown("the connection was lost".into())),
        None,
    ];
    for ((step, _), outcome) in
        request.made.plan.steps().map(|(step, _)| (step, ())).collect::<Vec<(StepId, ())>>().into_iter().zip(outcomes)
    {
        request.steps.insert(step, Run { key: StepKey::new(format!("key-{step}")), started_at: Timestamp::UNIX_EPOCH, turn: 0, outcome });
    }
    request
}

#[tokio::test]
async fn the_life_of_a_request() {
    let boxed = |request: &Request| Box::new(request.clone());
    let (waiting, running) = (request(), running());
    let ended = Request { stage: Stage::Ended(Ending::Incomplete), ..running.clone() };
    let calls: BTreeSet<Mention> = [Mention::Group("S0APPROVERS".into())].into();
    let says = [
        Say::Surveying { command: "quarantine pod shop/cart-7d4b9c6f5-x2x9q".into() },
        Say::Plan { id: id(), request: boxed(&waiting), roles: ["approver".to_owned()].into(), mentions: calls.clone() },
        Say::Proposed { id: id() },
        Say::Reminder { missing: 1, expires_at: waiting.made.expires_at, mentions: calls },
        Say::Counted { have: 1, needed: 1 },
        Say::Progress { id: id(), request: boxed(&running) },
        Say::StepDetails { title: "drain".into(), lines: vec!["shop/search-1 was evicted".into()] },
        Say::Restarted { observing: vec!["2. cordon".into()] },
        Say::Unclear { title: "cordon".into(), why: "The answer was lost.".into() },
        Say::Ended { id: id(), request: boxed(&ended), not_copied: Some("gs://evidence/prod".into()) },
        Say::Status { id: id(), request: boxed(&ended), not_copied: None },
        Say::Checkpoint { moment: "the end", note: "stanch.example/audit\n42\nq83vEg==\n\n— stanch.example/audit AAAA\n".into() },
        Say::DryRun { plan: Box::new(waiting.made.plan.clone()), phase: Phase::Contain, approvals_needed: 1 },
    ];
    insta::assert_snapshot!("the_life_of_a_request", shown(&says).await);
}

#[tokio::test]
async fn examinations_and_evidence() {
    let of = |part: &str, check| Diagnosis { part: part.into(), check };
    let says = [
        Say::Examining,
        Say::Examined(vec![
            of("cluster prod", Check::ok("API", "Kubernetes v1.36.2")),
            of(
                "cluster prod",
                Check::fail("rights", "missing: create pods/eviction (drain, quarantine)", "apply deploy/kubernetes/rbac.yaml"),
            ),
            of("Slack", Check::clock(Some(7))),
        ]),
        Say::EvidenceKept {
            files: vec!["559aead08264 pods/shop/cart/pod.json (2048 bytes)".into(), "df7e70e50215 node.json (10 bytes)".into()],
            bytes: 2_058,
            manifest_sha256: "0123456789abcdef".repeat(4),
        },
        Say::EvidenceCopied { files: 2, place: "gs://evidence/prod".into(), manifest_sha256: "0123456789abcdef".repeat(4) },
        Say::EvidenceNotCopied { place: "gs://evidence/prod".into(), why: "no answer within 60 s".into(), again: true },
        Say::EvidenceNotCopied { place: "gs://evidence/prod".into(), why: "another content is there".into(), again: false },
    ];
    insta::assert_snapshot!("examinations_and_evidence", shown(&says).await);
}

#[tokio::test]
async fn answers() {
    let denied = Decision { permitted: false, reasons: vec![Reason::NoPermit, Reason::GroupsUnknown] };
    let says = [
        Say::Catalogue,
        Say::Help(stanch_commands::find("quarantine").unwrap().help()),
        Say::Usage(parse("quarantin pod shop/cart").unwrap_err()),
        Say::Denied(denied),
        Say::Trouble { what: "the cluster `a&b` does not answer".into(), hint: "see the log".into() },
        Say::Located(vec![("node", "gke-1".into()), ("instance", "sandbox-project/us-central1-a/gke-1".into())]),
        Say::List {
            open: vec![(id(), request())],
            isolated: vec![("node gke-1".into(), id(), Timestamp::UNIX_EPOCH), ("pod shop/cart-1".into(), id(), Timestamp::UNIX_EPOCH)],
            not_copied: vec![id()],
        },
        Say::LogFailed { why: "no space left".into() },
        Say::Withdrawn,
        Say::TooLateToWithdraw,
        Say::Stopped("You declined."),
    ];
    insta::assert_snapshot!("answers", shown(&says).await);
}
