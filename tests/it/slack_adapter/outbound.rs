//! From messages to what people read, and what comes of it if Slack does not play along.

use axum::http::StatusCode;
use serde_json::{Value, json};
use stanch::sandbox::server::{Fault, FaultRule};
use stanch::sandbox::slack::{Limit, RateLimits};

use super::*;

impl Rig {
    /// Lets something go wrong with the next call of a method.
    fn fault(&self, method: &str, fault: Fault) {
        self.emulator.wire().inject(FaultRule { method: None, uri_contains: method.into(), skip: 0, times: 1, fault });
    }

    /// The last body that was sent to a method.
    fn sent(&self, method: &str) -> Value {
        let exchanges = self.emulator.wire().exchanges().into_iter().rev();
        exchanges.filter(|exchange| exchange.path.ends_with(method)).find_map(|exchange| exchange.body).expect("a call")
    }
}

fn answer(status: StatusCode, headers: &[(&str, &str)], body: Value) -> Fault {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Fault::Answer { status, headers, body }
}

/// Goal: a message is posted, answered in its thread, edited, and whispered next to. Method: read the channel as people see it.
#[tokio::test]
async fn posting_editing_whispering() {
    let rig = Rig::start().await;
    let root = rig.say("a plan").await;
    let reply = rig.slack.post(&incidents(), Some(&root), &text("step 1")).await.unwrap();
    rig.slack.edit(&reply, &text("step 2")).await.unwrap();
    rig.slack.whisper(&incidents(), &account("U0RESPONDER"), &text("for you")).await.unwrap();
    let (posted, edited) = (rig.entry(&root), rig.entry(&reply));
    assert_eq!((posted.visible_text().as_str(), posted.thread_ts, posted.edits), ("a plan", None, 0));
    assert_eq!(
        (edited.visible_text().as_str(), edited.text.as_str(), edited.thread_ts, edited.edits),
        ("step 2", "step 2", Some(root.id), 1)
    );
    let read = vec![("a plan".into(), None), ("step 2".into(), None), ("for you".into(), Some("U0RESPONDER".into()))];
    assert_eq!(rig.read("C0INCIDENTS"), read);
    let flags = |body: &Value| (body["unfurl_links"].clone(), body["unfurl_media"].clone());
    assert_eq!(flags(&rig.sent("chat.postMessage")), (json!(false), json!(false)));
    rig.finish().await;
}

/// An edit replaces buttons and blocks too, down to nothing.
#[tokio::test]
async fn an_edit_takes_away() {
    let rig = Rig::start().await;
    let halt = Message { controls: vec![Control::Halt("r-test01".parse().unwrap())], ..text("running") };
    let posted = rig.slack.post(&incidents(), None, &halt).await.unwrap();
    assert_eq!(rig.entry(&posted).buttons().len(), 1);
    rig.slack.edit(&posted, &text("done")).await.unwrap();
    assert_eq!((rig.entry(&posted).buttons().len(), rig.entry(&posted).visible_text().as_str()), (0, "done"));
    rig.slack.edit(&posted, &Message::default()).await.unwrap();
    assert_eq!((rig.entry(&posted).blocks.len(), rig.entry(&posted).visible_text().as_str()), (0, "(no words)"));
    rig.finish().await;
}

/// Goal: whatever is whispered is read by that person alone, wherever they typed. Method: a channel with and without the bot, a direct
/// message with it, and one that it is not in.
#[tokio::test]
async fn whispering_where_the_person_is() {
    let rig = Rig::start().await;
    let rosa = account("U0RESPONDER");
    for (channel, words) in [("C0INCIDENTS", "one"), ("D0RESPONDER", "two"), ("C0ELSEWHERE", "three"), ("D0OTHERS", "four")] {
        rig.slack.whisper(&place(channel), &rosa, &text(words)).await.unwrap();
    }
    assert_eq!(rig.read("C0INCIDENTS"), [("one".to_owned(), Some("U0RESPONDER".to_owned()))]);
    assert_eq!(rig.read("C0ELSEWHERE"), []);
    assert_eq!(rig.read("D0RESPONDER"), ["two", "three", "four"].map(|words| (words.to_owned(), None)));
    rig.finish().await;
}

/// What Slack refuses for good says so with Slack's own code.
#[tokio::test]
async fn refusals() {
    let rig = Rig::start().await;
    let refused = |code: &str| ChatError::Refused(code.to_owned());
    assert_eq!(rig.slack.post(&place("C0NOWHERE"), None, &text("x")).await, Err(refused("channel_not_found")));
    assert_eq!(rig.slack.post(&place("C0ELSEWHERE"), None, &text("x")).await, Err(refused("not_in_channel")));
    let theirs = rig.emulator.post_as("U0BYSTANDER", "C0INCIDENTS", "lunch?", None).await.unwrap();
    let theirs = MessageRef { channel: incidents(), id: theirs };
    assert_eq!(rig.slack.edit(&theirs, &text("x")).await, Err(refused("cant_update_message")));
    let nowhere = MessageRef { channel: incidents(), id: "1.000001".into() };
    assert_eq!(rig.slack.post(&incidents(), Some(&nowhere), &text("x")).await, Err(refused("thread_not_found")));
    assert_eq!(rig.slack.votes(&nowhere).await, Err(refused("message_not_found")));
    let scope = json!({ "ok": false, "error": "missing_scope", "needed": "chat:write", "provided": "xoxb-this-is-no-token" });
    rig.fault("chat.update", answer(StatusCode::OK, &[], scope));
    assert_eq!(rig.slack.edit(&theirs, &text("x")).await, Err(refused("missing_scope (chat:write)")));
    rig.finish().await;
}

/// Limits are passed on with the time to wait, however Slack puts them, and the call is not made again.
#[tokio::test]
async fn limits() {
    let rig = Rig::start().await;
    let posted = rig.say("a plan").await;
    let limited = |retry_after_ms| Err(ChatError::RateLimited { retry_after_ms });
    let too_fast = || json!({ "ok": false, "error": "ratelimited" });
    rig.fault("chat.update", answer(StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "7")], too_fast()));
    assert_eq!(rig.slack.edit(&posted, &text("x")).await, limited(7000));
    rig.fault("chat.update", answer(StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "soon")], too_fast()));
    assert_eq!(rig.slack.edit(&posted, &text("x")).await, limited(3000));
    rig.fault("chat.update", answer(StatusCode::OK, &[], too_fast()));
    assert_eq!(rig.slack.edit(&posted, &text("x")).await, limited(3000));
    let one = Limit { burst: 1, every: Duration::from_secs(3600) };
    rig.emulator.set_limits(Some(RateLimits { post: one, tier3: one, tier4: one }));
    rig.say("one").await;
    match rig.slack.post(&incidents(), None, &text("two")).await {
        Err(ChatError::RateLimited { retry_after_ms: 3_000_000..=3_600_000 }) => {}
        other => panic!("not limited: {other:?}"),
    }
    assert_eq!(rig.read("C0INCIDENTS"), [("a plan".to_owned(), None), ("one".to_owned(), None)]);
    rig.finish().await;
}

/// No answer, or none that makes sense, is neither success nor refusal.
#[tokio::test]
async fn outages() {
    let rig = Rig::start().await;
    let posted = rig.say("a plan").await;
    let html = answer(StatusCode::OK, &[("content-type", "text/html")], json!("<html>"));
    let nonsense = json!({ "ok": true });
    for (method, fault, words) in [
        ("chat.update", answer(StatusCode::BAD_GATEWAY, &[], json!({})), "HTTP status 502"),
        ("chat.update", answer(StatusCode::OK, &[], json!({ "ok": false, "error": "internal_error" })), "internal_error"),
        ("chat.update", answer(StatusCode::OK, &[], json!(["xoxb-"])), "an answer that makes no sense"),
        ("chat.postMessage", answer(StatusCode::OK, &[], nonsense.clone()), "an answer that makes no sense"),
        ("reactions.get", answer(StatusCode::OK, &[], nonsense), "an answer that makes no sense"),
    ] {
        rig.fault(method, fault);
        let error = match method {
            "chat.update" => rig.slack.edit(&posted, &text("x")).await.unwrap_err(),
            "chat.postMessage" => rig.slack.post(&incidents(), None, &text("x")).await.unwrap_err(),
            _ => rig.slack.votes(&posted).await.unwrap_err(),
        };
        assert_eq!(error, ChatError::Unavailable(words.into()));
    }
    rig.fault("chat.update", html);
    assert!(matches!(rig.slack.edit(&posted, &text("x")).await, Err(ChatError::Unavailable(_))));
    for fault in [Fault::ResetBefore, Fault::ResetAfter] {
        rig.fault("chat.update", fault);
        assert!(matches!(rig.slack.edit(&posted, &text("y")).await, Err(ChatError::Unavailable(_))));
    }
    assert_eq!((rig.entry(&posted).visible_text().as_str(), rig.entry(&posted).edits), ("y", 1));
    rig.finish().await;
}

/// Voters whom Slack counts and does not name would look as if they had withdrawn.
#[tokio::test]
async fn votes_that_slack_leaves_out() {
    let rig = Rig::start().await;
    let posted = rig.say("a plan").await;
    let reactions = json!([{ "name": "white_check_mark", "count": 2, "users": ["U0APPROVER1"] }]);
    rig.fault("reactions.get", answer(StatusCode::OK, &[], json!({ "ok": true, "message": { "reactions": reactions } })));
    let error = ChatError::Unavailable("Slack did not name everybody who reacted".into());
    assert_eq!(rig.slack.votes(&posted).await, Err(error));
    rig.finish().await;
}
