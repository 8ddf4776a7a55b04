//! Slack's own SDKs for JavaScript as judges of the emulator (`tests/slack-sdk/`).

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use super::{App, PATIENCE};
use crate::support;

/// Where `tests/slack-sdk/install.sh` installed the SDKs, if it did so for the committed lock file.
fn installed() -> Option<PathBuf> {
    let under = |name: &str, rest: &str| std::env::var_os(name).map(|value| Path::new(&value).join(rest));
    let cache = under("STANCH_CACHE", "").or_else(|| under("XDG_CACHE_HOME", "stanch")).or_else(|| under("HOME", ".cache/stanch"))?;
    let directory = cache.join("slack-sdk");
    let lock = std::fs::read_to_string(directory.join("package-lock.json")).ok()?;
    (lock == include_str!("../../slack-sdk/package-lock.json") && directory.join("installed").exists()).then_some(directory)
}

/// Goal: `@slack/web-api` and `@slack/socket-mode` work unmodified, from the greeting to a file upload. Method: they answer a command, a
/// click and a reaction, and report what they saw.
#[tokio::test]
async fn the_javascript_sdks() {
    let Some(directory) = installed() else {
        return support::skip("slack-sdk", "run tests/slack-sdk/install.sh, which needs npm");
    };
    let app = App::start().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slack-sdk/judge.mjs");
    let judge = Command::new("node")
        .arg(script)
        .arg(directory)
        .env("SLACK_API_URL", format!("{}/", app.slack.api_url()))
        .env("SLACK_BOT_TOKEN", app.slack.bot_token())
        .env("SLACK_APP_TOKEN", app.slack.app_token())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let Ok(judge) = judge else { return support::skip("slack-sdk", "node is not installed") };

    let people = async {
        app.slack.wait_until(|view| view.connections() == 1, PATIENCE).await.expect("a connection");
        app.slack.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch quarantine pod").await.expect("an answer");
        let uploaded = app
            .slack
            .wait_for(|view| view.channel_transcript("C0INCIDENTS").into_iter().find(|entry| !entry.files.is_empty())?.thread_ts, PATIENCE);
        let plan = uploaded.await.expect("an upload");
        app.slack.click("U0APPROVER1", "C0INCIDENTS", &plan, "approve").await.expect("an answer");
        app.slack.react("U0APPROVER2", "C0INCIDENTS", &plan, "white_check_mark").await.expect("a reaction");
    };
    let (output, ()) = tokio::join!(judge.wait_with_output(), people);
    let output = output.expect("an end");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let expected = json!({
        "identity": { "user": "U0STANCH", "scopes": true },
        "users": [4, 4, 1],
        "refusals": ["channel_not_found", "invalid_blocks", "invalid_auth"],
        "command": { "command": "/stanch", "text": "quarantine pod", "user": "U0RESPONDER", "channel": "C0INCIDENTS" },
        "message": { "text": "the plan", "blocks": 3, "reactions": [{ "name": "eyes", "users": ["U0STANCH"], "count": 1 }] },
        "files": [{ "name": "events.json", "title": "Events", "size": 2 }],
        "click": { "user": "U0APPROVER1", "action": "approve", "value": "digest", "text": "the plan" },
        "reactions": [
            { "user": "U0STANCH", "reaction": "eyes", "item_user": "U0STANCH" },
            { "user": "U0APPROVER2", "reaction": "white_check_mark", "item_user": "U0STANCH" },
        ],
        "retries": [0, 0],
    });
    assert_eq!(report, expected);
    // The SDK writes what it was refused for; it has nothing else to complain about.
    assert_eq!(errors, "[ERROR]  web-api:WebClient:0 unsupported type: marquee [json-pointer:/blocks/0/type]\n");
    let seen = app.slack.channel_transcript("C0INCIDENTS");
    let seen: Vec<_> = seen.iter().map(|entry| (entry.text.as_str(), entry.only_for.is_some())).collect();
    assert_eq!(seen, vec![("working on quarantine pod", true), ("later", true), ("the plan", false), ("", false)]);
    app.finish().await;
}
