//! Goal: attached files arrive in the thread, all or none, byte for byte. Method: the emulator, whose three calls are as strict as Slack's.

use axum::http::{Method, StatusCode};
use serde_json::json;
use stanch::adapters::slack::SlackExamination;
use stanch::core::diagnosis::Check;
use stanch::core::say::Say;
use stanch::ports::{Attachment, Chat as _, ChatError, Examined as _, Exhibit};
use stanch::sandbox::server::{Fault, FaultRule};

use super::*;

fn file(path: &str, text: &str) -> Attachment {
    Attachment { exhibit: Exhibit { path: path.into(), sha256: "0".repeat(64), bytes: text.len() as u64 }, text: text.into() }
}

fn words() -> Message {
    Say::EvidenceAttached { files: vec!["0123 pods/shop/cart/pod.json".into()], left_out: 2 }.message()
}

#[tokio::test]
async fn files_stand_in_the_thread_with_their_hashes() {
    let rig = Rig::start().await;
    let root = rig.slack.post(&incidents(), None, &Say::Catalogue.message()).await.unwrap();
    let files = [file("pods/shop/cart/pod.json", "{ \"ü\": 1 }"), file("node.json", "{}")];
    rig.slack.attach(&root, &words(), &files).await.unwrap();
    let seen = rig.emulator.channel_transcript("C0INCIDENTS");
    let last = seen.last().unwrap();
    assert_eq!(last.thread_ts.as_ref(), Some(&root.id));
    let uploads: Vec<_> = last.files.iter().map(|file| (file.name.as_str(), file.title.as_str(), file.content.as_slice())).collect();
    assert_eq!(
        uploads,
        [("pods_shop_cart_pod.json", "pods/shop/cart/pod.json", "{ \"ü\": 1 }".as_bytes()), ("node.json", "node.json", b"{}".as_slice()),]
    );
    let shown = serde_json::to_string(&last.blocks).unwrap();
    assert!(shown.contains("0123 pods/shop/cart/pod.json") && shown.contains("2 more are kept"), "{shown}");
}

/// Nothing is shown before everything is there.
#[tokio::test]
async fn half_of_the_files_is_none() {
    let rig = Rig::start().await;
    let root = rig.slack.post(&incidents(), None, &Say::Catalogue.message()).await.unwrap();
    let fault = Fault::Answer { status: StatusCode::BAD_GATEWAY, headers: vec![], body: json!({}) };
    rig.emulator.wire().inject(FaultRule { method: Some(Method::POST), uri_contains: "/upload/".into(), skip: 1, times: 1, fault });
    let files = [file("a.json", "{}"), file("b.json", "{}")];
    let failed = rig.slack.attach(&root, &words(), &files).await;
    assert_eq!(failed, Err(ChatError::Unavailable("Slack answers 502 Bad Gateway to the bytes of a file".into())));
    assert_eq!(rig.emulator.channel_transcript("C0INCIDENTS").iter().map(|entry| entry.files.len()).sum::<usize>(), 0);
    rig.slack.attach(&root, &words(), &files).await.unwrap();
    assert_eq!(rig.emulator.channel_transcript("C0INCIDENTS").iter().map(|entry| entry.files.len()).sum::<usize>(), 2);
}

#[tokio::test]
async fn the_scope_is_asked_for_only_where_it_is_used() {
    let mut workspace = workspace();
    workspace.app.bot_scopes = ["chat:write", "commands", "reactions:read", "usergroups:read", "users:read"].map(str::to_owned).into();
    let rig = Rig::of(&workspace, 100).await;
    let root = rig.slack.post(&incidents(), None, &Say::Catalogue.message()).await.unwrap();
    let refused = rig.slack.attach(&root, &words(), &[file("a.json", "{}")]).await;
    assert_eq!(refused, Err(ChatError::Refused("missing_scope (files:write)".into())));
    for (attaches, expected) in [
        (false, Check::ok("scopes", "the 5 that are needed")),
        (true, Check::fail("scopes", "missing: files:write", "add it to the app, or set attach = false in [evidence]")),
    ] {
        let settings = SlackSettings { attaches, ..settings(&rig.emulator) };
        let checks = SlackExamination { settings: settings.clone() }.examine(&[].into()).await;
        assert_eq!(checks.into_iter().find(|check| check.name == "scopes"), Some(expected));
        let (sender, _events) = channel(1);
        let connected = Slack::connect(settings, sender, Arc::<Offers>::default()).await;
        assert_eq!(connected.is_ok(), !attaches);
        if let Ok(slack) = connected {
            slack.shutdown().await;
        }
    }
}
