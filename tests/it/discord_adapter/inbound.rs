//! From what people do to what the app is told.

use stanch::sandbox::discord::{EventKind, Mishap, Response, Typed};

use super::*;

fn plan() -> Message {
    Message { controls: controls(), ..text("a plan") }
}

/// A command is acknowledged for its reader alone, and comes as a line; in a group too.
#[tokio::test]
async fn typed_commands() {
    let mut rig = Rig::start().await;
    for (typed, line) in [
        ("/stanch help", "help"),
        ("/stanch quarantine pod:shop/cart-1 dry-run:True reason:a \"b\"", "quarantine pod \"shop/cart-1\" --dry-run reason:\"a 'b'\""),
        ("/stanch recover release request:r-k3f9qz", "release \"r-k3f9qz\""),
    ] {
        let answered = rig.emulator.type_command(id::RESPONDER, id::INCIDENTS, typed).await.unwrap();
        let Response::Deferred(_) = answered.response else { panic!("{answered:?}") };
        let expected = Inbound {
            delivery: answered.interaction.to_string(),
            from: account(id::RESPONDER),
            channel: incidents(),
            input: Input::Typed(line.into()),
        };
        assert_eq!(rig.inbound().await, expected);
    }
    assert!(rig.read().iter().all(|(words, only_for)| words == "(thinking)" && *only_for == Some(id::RESPONDER)));
    rig.finish().await;
}

/// Every button comes back as the control that it was. In a thread its channel is the one that the thread belongs to.
#[tokio::test]
async fn pressed_buttons() {
    let mut rig = Rig::start().await;
    let posted = rig.discord.post(&incidents(), None, &plan()).await.unwrap();
    let reply = rig.discord.post(&incidents(), Some(&posted), &plan()).await.unwrap();
    for message in [&posted, &reply] {
        for control in controls() {
            let (channel, id) = (message.channel.id.parse().unwrap(), message.id.parse().unwrap());
            let answered = rig.emulator.press(id::APPROVER1, channel, id, &control.value()).await.unwrap();
            let Response::Deferred(_) = answered.response else { panic!("{answered:?}") };
            let expected = Inbound {
                delivery: answered.interaction.to_string(),
                from: account(id::APPROVER1),
                channel: incidents(),
                input: Input::Pressed(control),
            };
            assert_eq!(rig.inbound().await, expected);
        }
    }
    rig.finish().await;
}

/// Goal: reactions that vote are hints, from people, on our messages; nothing else is. Method: both kinds, and last one that is seen.
#[tokio::test]
async fn reactions() {
    let mut rig = Rig::start().await;
    let plan = rig.say("a plan").await;
    let id = plan.id.parse().unwrap();
    let somebodys = rig.emulator.post_as(id::RESPONDER, id::INCIDENTS, "a message").await.unwrap();
    rig.emulator.react(id::APPROVER1, id::INCIDENTS, id, "eyes").await.unwrap();
    rig.emulator.react(id::OTHER_BOT, id::INCIDENTS, id, "white_check_mark").await.unwrap();
    rig.emulator.react(id::APPROVER1, id::INCIDENTS, somebodys, "white_check_mark").await.unwrap();
    rig.emulator.react(id::APPROVER1, id::INCIDENTS, id, "white_check_mark").await.unwrap();
    rig.emulator.unreact(id::APPROVER1, id::INCIDENTS, id, "white_check_mark").await.unwrap();
    let (first, second) = (rig.inbound().await, rig.inbound().await);
    assert_ne!(first.delivery, second.delivery);
    for inbound in [first, second] {
        assert_eq!(inbound.from, account(id::APPROVER1));
        assert_eq!((inbound.channel, inbound.input), (incidents(), Input::Reacted(plan.clone())));
    }
    rig.finish().await;
}

/// Goal: nobody is left without an answer, and no reaction is lost, where there is no place. Method: a queue of one that is full.
#[tokio::test]
async fn no_place() {
    let mut rig = Rig::of(&guild(), 1).await;
    let plan = rig.say("a plan").await;
    let id = plan.id.parse().unwrap();
    rig.emulator.react(id::APPROVER1, id::INCIDENTS, id, "x").await.unwrap();
    let answered = loop {
        // Until the reaction has taken the place.
        let answered = rig.emulator.type_command(id::RESPONDER, id::INCIDENTS, "/stanch help").await.unwrap();
        match answered.response {
            Response::Message(_) => break answered,
            _ => assert!(matches!(rig.inbound().await.input, Input::Typed(_) | Input::Reacted(_))),
        }
    };
    assert!(matches!(answered.response, Response::Message(_)));
    let busy = "Stanch is busy and has done nothing about this. Please try again in a moment.";
    assert!(rig.read().contains(&(busy.into(), Some(id::RESPONDER))));
    rig.emulator.react(id::APPROVER2, id::INCIDENTS, id, "x").await.unwrap();
    // Events come in order: once this is answered, the reaction has been looked at.
    rig.emulator.type_command(id::RESPONDER, id::INCIDENTS, "/stanch help").await.unwrap();
    let mut events = vec![rig.event().await];
    while !events.contains(&ChatEvent::Connected) {
        events.push(rig.event().await);
    }
    rig.finish().await;
}

/// Goal: what Discord delivers twice bears the same id, so that the app drops it. Method: the emulator repeats events.
#[tokio::test]
async fn repeated_deliveries() {
    let mut rig = Rig::start().await;
    rig.emulator.disturb(Some(EventKind::InteractionCreate), Mishap::Duplicate);
    rig.emulator.type_command(id::RESPONDER, id::INCIDENTS, "/stanch help").await.unwrap();
    assert_eq!(rig.inbound().await, rig.inbound().await);
    rig.finish().await;
}

/// A value of an option cannot become another argument, whatever it holds.
#[tokio::test]
async fn hostile_values_stay_values() {
    let mut rig = Rig::start().await;
    let typed = Typed { path: vec!["stanch".into(), "status".into()], options: vec![("request".into(), "r-1\" --exec cluster:x".into())] };
    rig.emulator.use_command(id::RESPONDER, id::INCIDENTS, &typed).await.unwrap();
    assert_eq!(rig.inbound().await.input, Input::Typed("status \"'r-1' --exec cluster:x\"".into()));
    rig.finish().await;
}
