//! What `doctor` finds of Discord.

use stanch::adapters::discord::DiscordExamination;
use stanch::core::diagnosis::Verdict;
use stanch::ports::Examined as _;
use stanch::sandbox::discord::{TextChannel, permission};

use super::*;

/// What is not in order, as `VERDICT CHECK: FOUND`.
async fn findings(settings: DiscordSettings) -> Vec<String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let found = DiscordExamination { settings }.examine(&BTreeSet::new()).await;
    let wrong = found.into_iter().filter(|check| check.verdict != Verdict::Ok);
    wrong
        .map(|check| {
            assert!(!check.hint.is_empty(), "{check:?} has no hint");
            format!("{} {}: {}", check.verdict, check.name, check.found)
        })
        .collect()
}

/// Goal: what would go wrong in an incident shows before. Method: nothing wrong, and then each thing.
#[tokio::test]
async fn what_is_wrong_is_found() {
    let denied = permission::SEND_MESSAGES | permission::CREATE_PUBLIC_THREADS;
    let deny = |channel: TextChannel| TextChannel {
        denied_to_bot: if channel.id == id::RANDOM { denied } else { channel.denied_to_bot },
        ..channel
    };
    let guild = Guild { channels: guild().channels.into_iter().map(deny).collect(), ..guild() };
    let emulator = DiscordEmulator::start(&guild).await.unwrap();
    let right = settings(&emulator);
    assert_eq!(findings(right.clone()).await, ["warn slash command: it is not registered as this version has it"]);
    let (sender, _events) = channel(10);
    Discord::connect(right.clone(), sender, Arc::<Offers>::default()).await.unwrap().shutdown().await;
    assert_eq!(findings(right.clone()).await, Vec::<String>::new());
    assert_eq!(emulator.look(|view| view.connections()), 0, "an examination begins no session");

    let channels = [id::RANDOM, id::ELSEWHERE].map(|channel| channel.to_string()).into();
    let found = findings(DiscordSettings { channels, ..right.clone() }).await;
    assert_eq!(found[0], format!("fail channel: missing in {}: send messages, create public threads", id::RANDOM));
    assert!(found.len() == 2 && found[1].starts_with(&format!("fail channel: {}: the platform refuses: ", id::ELSEWHERE)), "{found:?}");

    let found = findings(DiscordSettings { guild: "1".into(), ..right.clone() }).await;
    assert!(found.iter().any(|line| line.starts_with("fail server: 1: ")), "{found:?}");
    let found = findings(DiscordSettings { application: "7".into(), ..right.clone() }).await;
    assert!(found.iter().any(|line| line == &format!("fail bot token: it is of application {}, not of 7", id::STANCH)), "{found:?}");
    let found = findings(DiscordSettings { bot_token: "wrong".into(), ..right.clone() }).await;
    assert!(found.len() == 1 && found[0].starts_with("fail bot token: Discord refuses it: "), "{found:?}");
    emulator.stop().await;
    let found = findings(right).await;
    assert!(found.len() == 1 && found[0].starts_with("fail API: "), "{found:?}");
}
