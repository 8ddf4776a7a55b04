//! Names that are offered while somebody types.

use stanch::ports::{LiveField, Typing};
use stanch::sandbox::discord::{Answered, Choice, DiscordEmulatorError, Response, Typed};

use super::*;

fn typing(command: &str, field: LiveField, prefix: &str) -> Typing {
    Typing {
        account: account(id::RESPONDER),
        channel: incidents(),
        command: command.into(),
        field,
        cluster: None,
        prefix: prefix.into(),
        most: 25,
        patience: Duration::from_millis(1_500),
    }
}

/// Goal: whoever fills in a pod, a node or a cluster is offered names, in a group too, and the app hears nothing of it; a name that
/// Discord has no room for is left out, not cut. Method: options in the middle of being typed.
#[tokio::test]
async fn names_are_offered() {
    let rig = Rig::start().await;
    let offered = Response::Choices(["shop/cart-1", "shop/cart-2"].map(|name| Choice { name: name.into(), value: name.into() }).into());
    let quarantine = Typed::command("stanch quarantine");
    for (typed, focused, expected) in [
        (quarantine.clone().with("pod", "shop/c"), "pod", typing("quarantine", LiveField::Pod, "shop/c")),
        (quarantine.clone().with("node", ""), "node", typing("quarantine", LiveField::Node, "")),
        (
            quarantine.with("pod", "cart").with("cluster", "prod"),
            "pod",
            Typing { cluster: Some("prod".into()), ..typing("quarantine", LiveField::Pod, "cart") },
        ),
        (Typed::command("stanch eradicate delete-node").with("cluster", "p"), "cluster", typing("delete-node", LiveField::Cluster, "p")),
    ] {
        let Answered { response, .. } = rig.emulator.autocomplete(id::RESPONDER, id::INCIDENTS, &typed, focused).await.unwrap();
        assert_eq!(response, offered);
        assert_eq!(rig.offers.asked.lock().unwrap().pop(), Some(expected));
    }
    rig.finish().await;
}

/// What does not live is not offered: Discord does not even ask.
#[tokio::test]
async fn other_options_are_not_completed() {
    let rig = Rig::start().await;
    for option in ["reason", "incident"] {
        let typed = Typed::command("stanch quarantine").with(option, "x");
        let outcome = rig.emulator.autocomplete(id::RESPONDER, id::INCIDENTS, &typed, option).await;
        assert!(matches!(outcome, Err(DiscordEmulatorError::NoSuchOption { .. } | DiscordEmulatorError::BadOption { .. })), "{outcome:?}");
    }
    assert_eq!(rig.offers.asked.lock().unwrap().len(), 0);
    rig.finish().await;
}
