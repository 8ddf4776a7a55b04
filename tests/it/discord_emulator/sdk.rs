//! discord.js as judge of the emulator (`tests/discord-sdk/`).

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use stanch::sandbox::discord::{Choice, DiscordEmulator, GatewayDrop, Guild, Response, Typed, View, id};
use tokio::process::Command;

use super::specification::Specification;
use super::{Bot, PATIENCE};
use crate::support;

/// Where requests of discord.js differ from Discord's description: it sends some fields with everything, and one thing here is too long.
const REQUESTS: &[&str] = &[
    "PATCH /channels/{channel_id}/messages/{message_id}.enforce_nonce?",
    "PATCH /channels/{channel_id}/messages/{message_id}.tts?",
    "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/@original.enforce_nonce?",
    "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/@original.tts?",
    "POST /channels/{channel_id}/messages.embeds[].title is too short or too long",
    "POST /channels/{channel_id}/messages/{message_id}/threads.type?",
    "POST /interactions/{interaction_id}/{interaction_token}/callback.data.enforce_nonce?",
    "POST /interactions/{interaction_id}/{interaction_token}/callback.data.tts?",
    "POST /webhooks/{webhook_id}/{webhook_token}.enforce_nonce?",
];

/// Where `tests/discord-sdk/install.sh` installed it, if it did so for the committed lock file.
fn installed() -> Option<PathBuf> {
    let under = |name: &str, rest: &str| std::env::var_os(name).map(|value| Path::new(&value).join(rest));
    let cache = under("STANCH_CACHE", "").or_else(|| under("XDG_CACHE_HOME", "stanch")).or_else(|| under("HOME", ".cache/stanch"))?;
    let directory = cache.join("discord-sdk");
    let lock = std::fs::read_to_string(directory.join("package-lock.json")).ok()?;
    (lock == include_str!("../../discord-sdk/package-lock.json") && directory.join("installed").exists()).then_some(directory)
}

/// Goal: discord.js works unmodified, from the login to a modal, and resumes. Method: it registers and answers a command with
/// autocompletion, a button, a modal and a reaction, under Discord's rate limits, and reports what it saw.
#[tokio::test]
async fn discord_js() {
    let Some(directory) = installed() else {
        return support::skip("discord-sdk", "run tests/discord-sdk/install.sh, which needs npm");
    };
    let bot = Bot::of(&Guild::sandbox()).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/discord-sdk/judge.mjs");
    let judge = Command::new("node")
        .arg(script)
        .arg(directory)
        .env("DISCORD_API_URL", format!("{}/api", bot.discord.url()))
        .env("DISCORD_TOKEN", bot.discord.token())
        .env("GUILD", id::GUILD.to_string())
        .env("CHANNEL", id::INCIDENTS.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let Ok(judge) = judge else { return support::skip("discord-sdk", "node is not installed") };

    let people = tokio::time::timeout(PATIENCE, people(&bot.discord));
    let (output, people) = tokio::join!(judge.wait_with_output(), people);
    let output = output.expect("an end");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors} {:?}", bot.discord.violations());
    people.expect("in time");
    assert_eq!(errors, "");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let expected = json!({
        "identity": { "user": "stanch", "guild": "Stanch Sandbox", "channels": ["elsewhere", "incidents", "random"] },
        "registered": [["stanch", 4]],
        "refusals": [[50_035, 400], [50_035, 400]],
        "autocomplete": "shop/c",
        "command": {
            "name": "stanch quarantine",
            "pod": "shop/cart",
            "minutes": 5,
            "dry": true,
            "owner": "amir",
            "user": "rosa",
            "roles": ["@everyone", "sec-responders"],
        },
        "plan": { "embed": "Plan", "thread": "inc-42", "parent": true },
        "modal": { "why": "sure", "user": "amir" },
        "reaction": { "emoji": "✅", "users": ["bea"], "member": "bea" },
        "resumed": true,
    });
    assert_eq!(report, expected);
    let transcript = "#incidents\n  stanch: ready\n  (only rosa sees this) stanch: its plan is in this channel\n  \
                      stanch: Plan\n    @everyone isolate\n    node\n    x\n    Approve (edited 2x) ✅bea 👀stanch\n    \
                      stanch: step one [events.json]\n  (only rosa sees this) stanch: later\n";
    assert_eq!(bot.discord.look(|view| view.to_string()), transcript);
    assert!(bot.discord.channel_transcript(id::INCIDENTS).iter().all(|entry| entry.pinged.is_empty()));
    let differences = Specification::read().requests(&bot.discord.wire().exchanges());
    assert_eq!(differences.into_iter().collect::<Vec<_>>(), REQUESTS);
    bot.finish().await;
}

/// What happens while the judge runs.
async fn people(discord: &DiscordEmulator) {
    discord.wait_until(|view| !view.channel_transcript(id::INCIDENTS).is_empty(), PATIENCE).await.expect("a word");
    let half = Typed::command("stanch quarantine").with("pod", "shop/c");
    let suggested = discord.autocomplete(id::RESPONDER, id::INCIDENTS, &half, "pod").await.expect("an answer").response;
    assert_eq!(suggested, Response::Choices(vec![Choice { name: "shop/cart".into(), value: json!("shop/cart") }]));
    let line = "/stanch quarantine pod:shop/cart minutes:5 dry:True owner:@amir";
    discord.type_command(id::RESPONDER, id::INCIDENTS, line).await.expect("an answer");
    let followed = |view: &View<'_>| view.channel_transcript(id::INCIDENTS).iter().any(|entry| entry.text == "later");
    discord.wait_until(followed, PATIENCE).await.expect("a followup");
    let plan = discord.channel_transcript(id::INCIDENTS).into_iter().find(|entry| !entry.buttons().is_empty()).expect("a plan").id;
    discord.press(id::APPROVER1, id::INCIDENTS, plan, "approve").await.expect("an answer");
    let submitted = discord.submit(id::APPROVER1, "reason", &[("why", "sure")]).await.expect("an answer");
    assert_eq!(submitted.response, Response::Updated);
    // What happens while the connection is down is told after the resumption.
    discord.drop_gateway(GatewayDrop::Cut);
    discord.react(id::APPROVER2, id::INCIDENTS, plan, "white_check_mark").await.expect("a reaction");
}
