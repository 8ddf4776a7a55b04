//! Tokens, the server, the registered command, and connections that come and go.

use std::error::Error;

use serde_json::json;
use stanch::sandbox::discord::GatewayDrop;

use super::*;
use crate::slack_adapter::connecting::Log;

/// What an operator reads: the error with its causes, and the hint.
async fn failure(settings: DiscordSettings) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (sender, _events) = channel(1);
    let error: DiscordError =
        Discord::connect(settings, sender, Arc::<Offers>::default()).await.map(|discord| format!("{discord:?}")).expect_err("an error");
    assert!(!format!("{error:?}").contains("bot-token"), "{error:?}");
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    format!("{words}; hint: {}", error.hint())
}

/// Goal: an operator with a wrong setting reads which one and what to do. Method: each of them wrong.
#[tokio::test]
async fn wrong_settings() {
    let emulator = DiscordEmulator::start(&guild()).await.unwrap();
    let right = || settings(&emulator);
    let cases = [
        (DiscordSettings { bot_token: "wrong".into(), ..right() }, "Discord does not accept the bot token; hint: take the token from"),
        (
            DiscordSettings { application: id::GUILD.to_string(), ..right() },
            "the bot token belongs to the application `1181250100008388610`, not to `1181250000004194305`; hint: correct `application_id`",
        ),
        (DiscordSettings { guild: "1".into(), ..right() }, "the bot is not in the server `1`; hint: invite the bot"),
        (DiscordSettings { guild: "home".into(), ..right() }, "`home` is no id of Discord; hint: switch on the developer mode"),
        (
            DiscordSettings { emoji: Emoji { no: "✅".into(), ..Emoji::default() }, ..right() },
            "`✅` cannot be a reaction that votes; hint: give three different emoji",
        ),
        (
            DiscordSettings { api_url: Some("http://192.0.2.1/api".into()), ..right() },
            "`http://192.0.2.1/api` is no address that tokens may be sent to; hint: leave the address out",
        ),
    ];
    for (settings, expected) in cases {
        let words = failure(settings).await;
        assert!(words.starts_with(expected), "{words}");
    }
    assert_eq!(emulator.look(|view| view.connections()), 0);
    emulator.change_application(|application| assert!(application.scopes.remove("applications.commands")));
    let words = failure(right()).await;
    assert!(words.starts_with("`/stanch` cannot be registered: the platform refuses: "), "{words}");
    emulator.stop().await;
}

/// Goal: the command is registered once, and not written again while it is as it should be. Method: three starts, a foreign change before
/// the third.
#[tokio::test]
async fn the_command_is_registered_with_a_diff() {
    let rig = Rig::start().await;
    let path = format!("/applications/{}/guilds/{}/commands", id::STANCH, id::GUILD);
    let writes = |emulator: &DiscordEmulator| {
        let calls = emulator.wire().exchanges().into_iter().filter(|call| call.path.ends_with(&path) && call.method == "POST");
        calls.count()
    };
    assert_eq!(writes(&rig.emulator), 1);
    let registered = rig.emulator.look(|view| view.commands(Some(id::GUILD)));
    assert_eq!(registered.iter().map(|command| command["name"].clone()).collect::<Vec<_>>(), ["stanch"]);
    let again = async || {
        let (sender, _events) = channel(10);
        Discord::connect(settings(&rig.emulator), sender, Arc::<Offers>::default()).await.unwrap().shutdown().await;
    };
    again().await;
    assert_eq!(writes(&rig.emulator), 1);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let changed = http
        .post(format!("{}/api/v10{path}", rig.emulator.url()))
        .header("authorization", format!("Bot {}", rig.emulator.token()))
        .json(&json!({ "name": "stanch", "description": "something else" }));
    assert!(changed.send().await.unwrap().status().is_success());
    again().await;
    assert_eq!(writes(&rig.emulator), 3);
    assert_eq!(rig.emulator.look(|view| view.commands(Some(id::GUILD))).len(), 1);
    rig.finish().await;
}

impl Rig {
    /// A reaction, and what comes of it.
    async fn hears_a_reaction(&mut self, by: Snowflake, emoji: &str) {
        let plan = self.say("a plan").await;
        self.emulator.react(by, id::INCIDENTS, plan.id.parse().unwrap(), emoji).await.unwrap();
        assert_eq!(self.inbound().await.input, Input::Reacted(plan));
    }
}

/// Goal: however the connection ends, it is made again, and the app is told to read reactions back; what happened meanwhile in a session
/// that lives comes by itself, once. Method: every way in which Discord lets go, with a reaction in between.
#[tokio::test]
async fn connections_that_end() {
    let mut rig = Rig::start().await;
    let resumed = [GatewayDrop::Reconnect, GatewayDrop::InvalidSession { resumable: true }, GatewayDrop::Close(4000), GatewayDrop::Cut];
    for how in resumed {
        let plan = rig.say("a plan").await;
        rig.emulator.drop_gateway(how);
        rig.emulator.react(id::APPROVER1, id::INCIDENTS, plan.id.parse().unwrap(), "x").await.unwrap();
        let mut seen = vec![rig.event().await, rig.event().await];
        seen.sort_by_key(|event| *event != ChatEvent::Connected);
        assert_eq!(seen[0], ChatEvent::Connected, "{how:?}");
        let ChatEvent::Inbound(inbound) = &seen[1] else { panic!("{how:?}: {seen:?}") };
        assert_eq!(inbound.input, Input::Reacted(plan), "{how:?}");
    }
    for how in [GatewayDrop::InvalidSession { resumable: false }, GatewayDrop::Close(4009), GatewayDrop::Forget] {
        let plan = rig.say("a plan").await;
        rig.emulator.drop_gateway(how);
        // Nobody will ever tell of this one: it is read back.
        rig.emulator.react(id::APPROVER2, id::INCIDENTS, plan.id.parse().unwrap(), "x").await.unwrap();
        assert_eq!(rig.event().await, ChatEvent::Connected, "{how:?}");
        assert_eq!(rig.discord.votes(&plan).await.unwrap().no, [account(id::APPROVER2)].into(), "{how:?}");
        rig.hears_a_reaction(id::APPROVER1, "x").await;
    }
    rig.finish().await;
}

/// Goal: a connection on which nobody answers is noticed and replaced, and a heartbeat that is asked for is given. Method: short
/// heartbeats, not acknowledged for a while.
#[tokio::test]
async fn a_dead_connection_is_noticed() {
    let timing = Timing { heartbeat: Duration::from_millis(100), ..guild().timing };
    let mut rig = Rig::of(&Guild { timing, ..guild() }, 100).await;
    rig.emulator.request_heartbeats();
    rig.hears_a_reaction(id::APPROVER1, "x").await;
    rig.emulator.acknowledge_heartbeats(false);
    assert_eq!(rig.event().await, ChatEvent::Connected);
    rig.emulator.acknowledge_heartbeats(true);
    rig.hears_a_reaction(id::APPROVER2, "x").await;
    rig.finish().await;
}

/// A token that is revoked while Stanch runs ends the connection, and nothing else.
#[tokio::test]
async fn a_refused_session() {
    let rig = Rig::start().await;
    rig.emulator.drop_gateway(GatewayDrop::Close(4004));
    rig.emulator.wait_until(|view| view.connections() == 0, PATIENCE).await.unwrap();
    assert_eq!(rig.say("still here").await.channel, incidents());
    rig.finish().await;
}

#[tokio::test]
async fn shutting_down() {
    let rig = Rig::start().await;
    assert_eq!(rig.emulator.look(|view| view.connections()), 1);
    rig.discord.shutdown().await;
    rig.emulator.wait_until(|view| view.connections() == 0, PATIENCE).await.expect("no connection");
    let printed = format!("{:?} {:?}", rig.discord, settings(&rig.emulator));
    assert!(!printed.contains(&rig.emulator.token()), "{printed}");
    rig.finish().await;
}

/// Goal: no log line shows a token: neither the bot's, nor that of an interaction. Method: the whole log of a life, with the filter that
/// the program sets.
#[tokio::test]
async fn nothing_logs_a_token() {
    let (log, guard) = Log::of(&format!("trace,{}", stanch::adapters::discord::QUIET));
    let mut rig = Rig::start().await;
    let answered = rig.emulator.type_command(id::RESPONDER, id::INCIDENTS, "/stanch help").await.unwrap();
    rig.inbound().await;
    rig.discord.whisper(&incidents(), &account(id::RESPONDER), &text("for you")).await.unwrap();
    assert_eq!(rig.discord.subject(&account(id::GONE)).await, Ok(None));
    rig.emulator.drop_gateway(GatewayDrop::Cut);
    assert_eq!(rig.event().await, ChatEvent::Connected);
    let bot = rig.emulator.token();
    rig.finish().await;
    drop(guard);
    let text = log.text();
    assert!(text.contains("connected to Discord") && text.contains("was turned away"), "{text}");
    for secret in [bot.as_str(), &answered.token] {
        // What the emulator itself logs of a request's path is not ours.
        let shown = text.lines().filter(|line| line.contains(secret) && !line.contains("stanch::sandbox")).collect::<Vec<_>>();
        assert!(shown.is_empty(), "{shown:#?}");
    }
}
