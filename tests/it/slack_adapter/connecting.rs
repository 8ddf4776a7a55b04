//! Tokens, scopes and addresses.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use serde_json::json;
use stanch::sandbox::server::{Fault, FaultRule};
use stanch::sandbox::slack::App;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

use super::*;

/// What an operator reads: the error with its causes, and the hint.
async fn failure(settings: SlackSettings) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (sender, _events) = channel(1);
    let error: SlackError =
        Slack::connect(settings, sender, Arc::<Offers>::default()).await.map(|slack| format!("{slack:?}")).expect_err("an error");
    assert!(!format!("{error:?}").contains("xoxb-") && !format!("{error:?}").contains("xapp-"), "{error:?}");
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    format!("{words}; hint: {}", error.hint())
}

const INSTALL: &str = "take the bot token (xoxb-…) from \"OAuth & Permissions\" of the installed Slack app";
const APP_LEVEL: &str = "take the app-level token (xapp-…) from \"Basic Information\" of the Slack app; it needs connections:write";

/// Goal: an operator with a wrong token reads which one and what to do. Method: each token wrong, swapped, and of another team.
#[tokio::test]
async fn wrong_tokens() {
    let emulator = SlackEmulator::start(&workspace()).await.unwrap();
    let right = || settings(&emulator);
    let cases = [
        (
            SlackSettings { bot_token: "xoxb-wrong".into(), ..right() },
            format!("Slack does not accept the bot token: invalid_auth; hint: {INSTALL}"),
        ),
        (
            SlackSettings { bot_token: emulator.app_token().into(), ..right() },
            format!("Slack does not accept the bot token: not_allowed_token_type; hint: {INSTALL}"),
        ),
        (
            SlackSettings { app_token: "xapp-wrong".into(), ..right() },
            format!("Slack does not accept the app token: invalid_auth; hint: {APP_LEVEL}"),
        ),
        (
            SlackSettings { app_token: emulator.bot_token().into(), ..right() },
            format!("Slack does not accept the app token: not_allowed_token_type; hint: {APP_LEVEL}"),
        ),
        (
            SlackSettings { team_id: Some("T0OTHER".into()), ..right() },
            "the bot token belongs to the workspace `T0SANDBOX`, not to `T0OTHER`; hint: use the tokens of the app as installed in that \
             workspace, or correct the team id"
                .into(),
        ),
        (
            SlackSettings { emoji: Emoji { no: "white_check_mark".into(), ..Emoji::default() }, ..right() },
            "`white_check_mark` cannot be the name of a reaction that votes; hint: give three different names without colons and without \
             skin tones, such as white_check_mark"
                .into(),
        ),
    ];
    for (settings, expected) in cases {
        assert_eq!(failure(settings).await, expected);
    }
    assert_eq!(emulator.look(|view| view.connections()), 0);
    emulator.stop().await;
}

/// Each scope that the calls need shows at the start if it is missing.
#[tokio::test]
async fn missing_scopes() {
    for scope in ["chat:write", "reactions:read", "usergroups:read", "users:read"] {
        let mut workspace = workspace();
        assert!(workspace.app.bot_scopes.remove(scope));
        let emulator = SlackEmulator::start(&workspace).await.unwrap();
        let hint = "apply deploy/slack/manifest.json to the Slack app and install it again";
        assert_eq!(failure(settings(&emulator)).await, format!("the bot token lacks the scope `{scope}`; hint: {hint}"));
        emulator.stop().await;
    }
}

/// What the manifest asks for is enough, and the scopes are ones that the emulator knows.
#[tokio::test]
async fn the_manifest_is_enough() {
    let manifest = stanch::adapters::slack::manifest();
    let words = |pointer: &str| -> std::collections::BTreeSet<String> {
        manifest.pointer(pointer).unwrap().as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let (scopes, events) = (words("/oauth_config/scopes/bot"), words("/settings/event_subscriptions/bot_events"));
    let full = workspace();
    assert!(scopes.is_subset(&full.app.bot_scopes) && events.is_subset(&full.app.events));
    let app = App { bot_scopes: scopes, events, ..full.app.clone() };
    let mut rig = Rig::of(&Workspace { app, ..full }, 100).await;
    let plan = rig.say("a plan").await;
    rig.slack.edit(&plan, &text("the plan")).await.unwrap();
    rig.slack.whisper(&incidents(), &account("U0RESPONDER"), &text("for you")).await.unwrap();
    rig.slack.whisper(&place("C0ELSEWHERE"), &account("U0RESPONDER"), &text("for you")).await.unwrap();
    rig.emulator.react("U0APPROVER1", "C0INCIDENTS", &plan.id, "x").await.unwrap();
    assert_eq!(rig.inbound().await.from, account("U0APPROVER1"));
    assert_eq!(rig.slack.votes(&plan).await.unwrap().no.len(), 1);
    assert!(rig.slack.subject(&account("U0APPROVER1")).await.is_ok_and(|found| found.is_some()));
    rig.finish().await;
}

/// Nobody there, somebody who is ill, and an address to which no token may go.
#[tokio::test]
async fn unreachable() {
    let emulator = SlackEmulator::start(&workspace()).await.unwrap();
    let right = settings(&emulator);
    let fault = |status| Fault::Answer { status, headers: vec![], body: json!({}) };
    let ill = fault(StatusCode::SERVICE_UNAVAILABLE);
    emulator.wire().inject(FaultRule { method: None, uri_contains: "auth.test".into(), skip: 0, times: 1, fault: ill });
    let hint = "hint: check the network, the proxy rules and https://slack-status.com";
    let expected = format!("Slack cannot be reached: the platform does not answer: HTTP status 503; {hint}");
    assert_eq!(failure(right.clone()).await, expected);
    emulator.stop().await;
    let words = failure(right.clone()).await;
    assert!(words.starts_with("Slack cannot be reached: the platform does not answer: ") && words.ends_with(hint), "{words}");
    let words = failure(SlackSettings { api_url: Some("http://192.0.2.1/api".into()), ..right }).await;
    let hint = "leave the address out for Slack itself; without https it must be on this machine";
    assert_eq!(words, format!("`http://192.0.2.1/api` is no address that tokens may be sent to; hint: {hint}"));
}

/// A user's token, and one for a whole organisation.
#[tokio::test]
async fn tokens_of_another_kind() {
    let emulator = SlackEmulator::start(&workspace()).await.unwrap();
    let user = json!({ "ok": true, "user_id": "U0RESPONDER", "team_id": "T0SANDBOX" });
    let organisation = json!({ "ok": true, "user_id": "U0STANCH", "team_id": "T0SANDBOX", "bot_id": "B1", "is_enterprise_install": true });
    for body in [user, organisation] {
        let fault = Fault::Answer { status: StatusCode::OK, headers: vec![], body };
        emulator.wire().inject(FaultRule { method: None, uri_contains: "auth.test".into(), skip: 0, times: 1, fault });
        let expected = format!("the bot token is not the token of a bot in one workspace; hint: {INSTALL}");
        assert_eq!(failure(settings(&emulator)).await, expected);
    }
    emulator.stop().await;
}

/// No token shows where settings and the adapter are printed.
#[tokio::test]
async fn nothing_prints_a_token() {
    let rig = Rig::start().await;
    let printed = format!("{:?} {:?}", rig.slack, settings(&rig.emulator));
    assert!(!printed.contains(&rig.emulator.bot_token()) && !printed.contains(&rig.emulator.app_token()), "{printed}");
    rig.finish().await;
}

/// Goal: after a shutdown nobody listens. Method: a command over each connection, so that the library has both in its loop; one that it
/// has only just made would stay open until something comes over it.
#[tokio::test]
async fn shutting_down() {
    let mut rig = Rig::with_both(100).await;
    for _ in 0..2 {
        rig.emulator.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch help").await.unwrap();
        rig.inbound().await;
    }
    rig.slack.shutdown().await;
    rig.emulator.wait_until(|view| view.connections() == 0, PATIENCE).await.expect("no connection");
    rig.finish().await;
}

/// A log that is kept.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Keeps what this thread logs, which is everything in a test on one thread. The second subscriber does nothing: where there is only
    /// one, `tracing` asks the thread that comes first by a log line whether anybody wants it, and the threads of other tests do not.
    pub(crate) fn of(filter: &str) -> (Self, (DefaultGuard, Dispatch)) {
        let second = Dispatch::new(tracing_subscriber::registry());
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(move || writer.clone());
        (log, (tracing::subscriber::set_default(subscriber.finish()), second))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What goes right and wrong in the life of a connection.
async fn a_life() -> (String, String) {
    let mut rig = Rig::with_both(100).await;
    let tokens = (rig.emulator.bot_token(), rig.emulator.app_token());
    rig.emulator.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch help").await.unwrap();
    rig.inbound().await;
    let fault = Fault::Answer { status: StatusCode::OK, headers: vec![], body: json!({ "ok": false, "error": "x", "token": tokens.0 }) };
    rig.emulator.wire().inject(FaultRule { method: None, uri_contains: "users.info".into(), skip: 0, times: 1, fault });
    let _ = rig.slack.subject(&account("U0APPROVER1")).await;
    let _ = rig.slack.subject(&account("U0GUEST")).await;
    rig.emulator.cut_sockets();
    rig.connected_again().await;
    rig.finish().await;
    tokens
}

/// Goal: no log line shows a token, and with the recommended filter none shows a connection's ticket or a response URL. Method: the
/// whole log, the library's included, and then the filtered one.
#[tokio::test]
async fn nothing_logs_a_token() {
    let (log, guard) = Log::of("trace");
    let (bot, app) = a_life().await;
    drop(guard);
    let text = log.text();
    assert!(text.contains("connected to Slack") && text.contains("an account could not be looked up"));
    assert!(!text.contains(&app) && !text.contains(&format!("Bearer {bot}")));
    let (log, guard) = Log::of(&format!("debug,tungstenite=off,tokio_tungstenite=off,{}", stanch::adapters::slack::QUIET));
    a_life().await;
    drop(guard);
    let text = log.text();
    assert!(text.contains("connected to Slack") && text.contains("a connection to Slack ended"), "{text}");
    for secret in [bot.as_str(), &app, "ticket=", "/commands/", "verification-token"] {
        assert!(!text.contains(secret), "`{secret}` is in the log:\n{text}");
    }
}
