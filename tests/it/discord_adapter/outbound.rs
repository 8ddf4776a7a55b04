//! What Stanch says, where, and to whom; and votes that are read back.

use axum::http::{Method, StatusCode};
use serde_json::json;
use stanch::core::policy::{Groups, Subject};
use stanch::core::say::Mention;
use stanch::ports::{Attachment, Exhibit};
use stanch::sandbox::discord::RateLimits;
use stanch::sandbox::server::{Fault, FaultRule};

use super::*;

/// The plan, its thread, and an edit of what stands there; the thread bears the plan's name, and wakes up for an edit.
#[tokio::test]
async fn a_thread_for_a_plan() {
    let rig = Rig::start().await;
    let heading = Message { blocks: vec![Block::Heading("quarantine a_b".into())], ..Message::default() };
    let plan = rig.discord.post(&incidents(), None, &heading).await.unwrap();
    let first = rig.discord.post(&incidents(), Some(&plan), &text("first")).await.unwrap();
    let second = rig.discord.post(&incidents(), Some(&plan), &text("second")).await.unwrap();
    assert_eq!((first.channel.id.as_str(), &second.channel), (plan.id.as_str(), &first.channel));
    rig.discord.edit(&first, &text("first, edited")).await.unwrap();
    assert!(rig.emulator.archive_thread(plan.id.parse().unwrap(), false));
    rig.discord.edit(&second, &text("second, edited")).await.unwrap();
    let read: Vec<String> = rig.read().into_iter().map(|(words, _)| words).collect();
    assert_eq!(read, [r"quarantine a\_b", "first, edited", "second, edited"]);
    let named = rig.emulator.wire().exchanges().into_iter().filter(|call| call.path.ends_with("/threads")).count();
    assert_eq!(named, 1);
    rig.finish().await;
}

/// Goal: only whom a message calls is pinged, whatever its words say. Method: words that name everybody, with and without a call.
#[tokio::test]
async fn pings() {
    let rig = Rig::of(&Guild { roles: guild().roles.into_iter().map(mentionable).collect(), ..guild() }, 100).await;
    let hostile = format!("@everyone @here <@{}> <@&{}>", id::RESPONDER, id::APPROVERS);
    let silent = rig.say(&hostile).await;
    assert!(rig.entry(&silent).pinged.is_empty());
    let mentions =
        [Mention::Group(id::APPROVERS.to_string()), Mention::Account(account(id::APPROVER1)), Mention::Group("@everyone".into())];
    let calling = rig.discord.post(&incidents(), None, &Message { mentions: mentions.into(), ..text(&hostile) }).await.unwrap();
    let pinged = rig.entry(&calling).pinged;
    assert_eq!((pinged.everyone, pinged.users, pinged.roles), (false, [id::APPROVER1].into(), [id::APPROVERS].into()));
    rig.finish().await;
}

fn mentionable(role: stanch::sandbox::discord::Role) -> stanch::sandbox::discord::Role {
    stanch::sandbox::discord::Role { mentionable: true, ..role }
}

/// Goal: every command and button gets private answers, the first in place of "thinking". Method: two commands, three answers; then
/// the windows close.
#[tokio::test]
async fn private_answers() {
    let mut rig = Rig::start().await;
    for _ in 0..2 {
        rig.emulator.type_command(id::RESPONDER, id::INCIDENTS, "/stanch help").await.unwrap();
        rig.inbound().await;
    }
    for words in ["one", "two", "three"] {
        rig.discord.whisper(&incidents(), &account(id::RESPONDER), &text(words)).await.unwrap();
    }
    let alone = |words: &str| (words.to_owned(), Some(id::RESPONDER));
    assert_eq!(rig.read(), [alone("one"), alone("two"), alone("three")]);
    rig.finish().await;
}

/// Goal: an answer to a reaction stays private: its reader is offered a button, which nobody else can use, and the offer is gone
/// afterwards. Method: two answers after a reaction, a wrong reader, the right one, and one who asks again.
#[tokio::test]
async fn held_answers() {
    let mut rig = Rig::start().await;
    let plan = rig.say("a plan").await;
    rig.emulator.react(id::APPROVER1, id::INCIDENTS, plan.id.parse().unwrap(), "white_check_mark").await.unwrap();
    rig.inbound().await;
    for words in ["a secret", "another"] {
        rig.discord.whisper(&incidents(), &account(id::APPROVER1), &text(words)).await.unwrap();
    }
    let offer = rig.emulator.channel_transcript(id::INCIDENTS).into_iter().find(|entry| entry.text.contains("only you can read")).unwrap();
    assert_eq!(offer.text, format!("<@{}>, Stanch has an answer that only you can read.", id::APPROVER1));
    assert_eq!((offer.channel.to_string(), offer.pinged.is_empty()), (plan.id.clone(), true));
    let button = offer.buttons()[0].custom_id.clone();
    rig.emulator.press(id::BYSTANDER, offer.channel, offer.id, &button).await.unwrap();
    rig.emulator.press(id::APPROVER1, offer.channel, offer.id, &button).await.unwrap();
    rig.emulator.wait_until(|view| view.channel_transcript(id::INCIDENTS).iter().any(|entry| entry.deleted), PATIENCE).await.unwrap();
    let read: BTreeSet<(String, Option<Snowflake>)> = rig.read().into_iter().collect();
    let expected = [
        ("a plan".to_owned(), None),
        ("This answer is for somebody else.".to_owned(), Some(id::BYSTANDER)),
        ("a secret".to_owned(), Some(id::APPROVER1)),
        ("another".to_owned(), Some(id::APPROVER1)),
    ];
    assert_eq!(read, expected.into());
    rig.finish().await;
}

/// What stands on a message is read back, whoever told of it; our own reactions and other emoji are left out.
#[tokio::test]
async fn votes() {
    let mut rig = Rig::start().await;
    let plan = rig.say("a plan").await;
    assert_eq!(rig.discord.votes(&plan).await.unwrap(), Votes::default());
    for (user, emoji) in
        [(id::APPROVER1, "white_check_mark"), (id::APPROVER2, "x"), (id::BYSTANDER, "octagonal_sign"), (id::BYSTANDER, "eyes")]
    {
        rig.emulator.react(user, id::INCIDENTS, plan.id.parse().unwrap(), emoji).await.unwrap();
    }
    let of = |user| BTreeSet::from([account(user)]);
    let expected = Votes { yes: of(id::APPROVER1), no: of(id::APPROVER2), halt: of(id::BYSTANDER) };
    assert_eq!(rig.discord.votes(&plan).await.unwrap(), expected);
    for _ in 0..3 {
        rig.inbound().await;
    }
    let gone = MessageRef { id: "1".into(), ..plan };
    assert!(matches!(rig.discord.votes(&gone).await, Err(ChatError::Refused(_))));
    rig.finish().await;
}

/// Goal: people have the roles of the server, and whoever is no full, present human member is nobody. Method: each kind of account.
#[tokio::test]
async fn people() {
    let rig = Rig::start().await;
    let amir = rig.discord.subject(&account(id::APPROVER1)).await;
    let groups = Groups::Known([id::APPROVERS, id::RESPONDERS].map(|role| role.to_string()).into());
    assert_eq!(amir, Ok(Some(Subject { account: account(id::APPROVER1), groups })));
    for nobody in [id::GUEST, id::OTHER_BOT, id::GONE, id::STANCH, Snowflake::new(1)] {
        assert_eq!(rig.discord.subject(&account(nobody)).await, Ok(None), "{nobody}");
    }
    let slack = Account { platform: Platform::Slack, id: id::APPROVER1.to_string() };
    assert_eq!(rig.discord.subject(&slack).await, Ok(None));
    assert_eq!(rig.discord.subject(&Account { id: "../../..".into(), ..account(id::APPROVER1) }).await, Ok(None));
    rig.emulator.change_member(id::APPROVER1, |member| member.timed_out = true);
    assert_eq!(rig.discord.subject(&account(id::APPROVER1)).await, Ok(None));
    rig.finish().await;
}

/// Goal: limits are kept, and said with how long to wait; refusals and outages differ. Method: the emulator's own limits, and faults.
#[tokio::test]
async fn limits_and_faults() {
    let rig = Rig::of(&Guild { limits: Some(RateLimits::default()), ..guild() }, 100).await;
    let mut outcomes = Vec::new();
    for _ in 0..7 {
        outcomes.push(rig.discord.post(&incidents(), None, &text("quick")).await.map(drop));
    }
    let limited = outcomes.iter().filter(|outcome| matches!(outcome, Err(ChatError::RateLimited { retry_after_ms: 1..=5_000 }))).count();
    assert_eq!((limited, outcomes.iter().filter(|outcome| outcome.is_ok()).count()), (2, 5), "{outcomes:?}");
    let answered_429 = rig.emulator.wire().exchanges().iter().filter(|call| call.status == Some(StatusCode::TOO_MANY_REQUESTS)).count();
    assert_eq!(answered_429, 0, "what the headers forbid was not sent");
    rig.emulator.set_limits(None);
    let elsewhere = rig.discord.post(&place(id::ELSEWHERE), None, &text("x")).await;
    assert!(matches!(&elsewhere, Err(ChatError::Refused(why)) if why.contains("50001")), "{elsewhere:?}");
    for (status, body, expected) in [
        (503, json!({}), ChatError::Unavailable("HTTP status 503".into())),
        (429, json!({ "retry_after": 2.5, "global": false }), ChatError::RateLimited { retry_after_ms: 2_500 }),
    ] {
        let fault = Fault::Answer { status: StatusCode::from_u16(status).unwrap(), headers: vec![], body };
        let uri_contains = id::RANDOM.to_string();
        rig.emulator.wire().inject(FaultRule { method: None, uri_contains, skip: 0, times: 1, fault });
        assert_eq!(rig.discord.post(&place(id::RANDOM), None, &text("x")).await, Err(expected));
    }
    rig.finish().await;
}

/// Files of evidence come into the thread as they are, in as many messages as they need, or not at all.
#[tokio::test]
async fn files() {
    let rig = Rig::start().await;
    let plan = rig.say("a plan").await;
    let file = |path: &str, text: &str| {
        let exhibit = Exhibit { path: path.into(), sha256: "0f".repeat(32), bytes: text.len().try_into().unwrap() };
        Attachment { exhibit, text: text.into() }
    };
    let both = [file("pods/shop/cart.json", "{\"a\": 1}\r\n--x\r\n"), file("log.txt", "ä\n")];
    rig.discord.attach(&plan, &text("the evidence"), &both).await.unwrap();
    let posted = rig.emulator.channel_transcript(id::INCIDENTS).into_iter().find(|entry| entry.parent.is_some()).unwrap();
    let files: Vec<(&str, &[u8])> = posted.files.iter().map(|file| (file.name.as_str(), file.content.as_slice())).collect();
    assert_eq!(posted.visible_text(), "the evidence");
    assert_eq!(files, [("pods_shop_cart.json", both[0].text.as_bytes()), ("log.txt", both[1].text.as_bytes())]);
    let many = vec![both[1].clone(); 13];
    let fault = Fault::Answer { status: StatusCode::BAD_GATEWAY, headers: vec![], body: json!({}) };
    let uri_contains = format!("{}/messages", plan.id);
    rig.emulator.wire().inject(FaultRule { method: Some(Method::POST), uri_contains, skip: 1, times: 1, fault });
    assert!(matches!(rig.discord.attach(&plan, &text("many"), &many).await, Err(ChatError::Unavailable(_))));
    let shown = || {
        let in_thread = rig.emulator.channel_transcript(id::INCIDENTS).into_iter().filter(|entry| entry.parent.is_some() && !entry.deleted);
        in_thread.map(|entry| (entry.visible_text(), entry.files.len())).collect::<Vec<_>>()
    };
    assert_eq!(shown(), [("the evidence".to_owned(), 2)]);
    rig.discord.attach(&plan, &text("many"), &many).await.unwrap();
    assert_eq!(shown(), [("the evidence".to_owned(), 2), ("many".to_owned(), 10), (String::new(), 3)]);
    rig.finish().await;
}
