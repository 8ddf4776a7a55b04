//! Deliveries that go wrong, and what Slack does about it.

use std::time::Duration;

use serde_json::json;
use stanch::sandbox::slack::{EnvelopeKind, Mishap, SlackEmulatorError, Timing, Workspace};

use super::{App, PATIENCE, Socket, word, workspace};

async fn react(app: &App, ts: &str, emojis: &[&str]) {
    for emoji in emojis {
        app.slack.react("U0APPROVER1", "C0INCIDENTS", ts, emoji).await.expect("a reaction");
    }
}

/// Emoji and retry number of the next event.
async fn heard(socket: &mut Socket) -> (String, u64) {
    let envelope = socket.take().await;
    (word(&envelope["payload"]["event"], "reaction"), envelope["retry_attempt"].as_u64().expect("a number"))
}

/// Goal: what is not acknowledged comes again, with a new envelope and the same event. Method: a Slack without patience; the app
/// acknowledges only the third delivery.
#[tokio::test]
async fn unacknowledged_events_come_again() {
    let timing = Timing { ack: Duration::from_millis(20), ..workspace().timing };
    let app = App::of(&Workspace { timing, ..workspace() }).await;
    let mut socket = app.connect().await;
    let ts = app.say("C0INCIDENTS", "plan").await;
    react(&app, &ts, &["eyes"]).await;
    let deliveries = [socket.next().await, socket.next().await, socket.next().await];
    let attempts = deliveries.each_ref().map(|envelope| (envelope["retry_attempt"].clone(), envelope["retry_reason"].clone()));
    assert_eq!(attempts, [(json!(0), json!("")), (json!(1), json!("timeout")), (json!(2), json!("timeout"))]);
    let ids = |name: &str| deliveries.iter().map(|envelope| envelope[name].to_string()).collect::<std::collections::BTreeSet<_>>().len();
    let events = deliveries.iter().map(|envelope| envelope["payload"].to_string()).collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!((ids("envelope_id"), events), (3, 1));
    // The last of the four deliveries may have left already: it is acknowledged too if so.
    socket.acknowledge(&deliveries[2]).await;
    app.finish().await;
}

/// The connection ends before the acknowledgement: the next connection gets the event.
#[tokio::test]
async fn an_event_survives_its_connection() {
    let timing = Timing { retries: vec![Duration::from_millis(50); 100], ..Timing::default() };
    let app = App::of(&Workspace { timing, ..workspace() }).await;
    let mut lost = app.connect().await;
    let ts = app.say("C0INCIDENTS", "plan").await;
    react(&app, &ts, &["eyes"]).await;
    let first = lost.next().await;
    drop(lost);
    app.slack.wait_until(|view| view.connections() == 0, PATIENCE).await.expect("the connection to be gone");
    let mut socket = app.connect().await;
    let second = socket.take().await;
    assert_eq!(second["payload"], first["payload"]);
    app.finish().await;
}

/// Each mishap, one after the other, on a single connection.
#[tokio::test]
async fn mishaps() {
    let timing = Timing { ack: Duration::from_secs(3), ..workspace().timing };
    let app = App::of(&Workspace { timing, ..workspace() }).await;
    let mut socket = app.connect().await;
    let ts = app.say("C0INCIDENTS", "plan").await;

    app.slack.disturb(Some(EnvelopeKind::Event), Mishap::Duplicate);
    react(&app, &ts, &["eyes"]).await;
    let (one, two) = (socket.take().await, socket.take().await);
    assert_eq!(one["payload"], two["payload"]);
    assert_ne!(one["envelope_id"], two["envelope_id"]);

    app.slack.disturb(None, Mishap::SwapWithNext);
    react(&app, &ts, &["one", "two"]).await;
    assert_eq!((heard(&mut socket).await, heard(&mut socket).await), (("two".into(), 0), ("one".into(), 0)));

    app.slack.disturb(None, Mishap::Delay(Duration::from_millis(50)));
    react(&app, &ts, &["late"]).await;
    react(&app, &ts, &["soon"]).await;
    assert_eq!((heard(&mut socket).await, heard(&mut socket).await), (("soon".into(), 0), ("late".into(), 0)));

    app.slack.disturb(None, Mishap::Lose);
    react(&app, &ts, &["never", "after"]).await;
    assert_eq!(heard(&mut socket).await, ("after".into(), 0));
    app.finish().await;
}

/// A dropped event comes again; a dropped command does not, and the person is told.
#[tokio::test]
async fn what_is_dropped() {
    let timing = Timing { ack: Duration::from_millis(20), ..workspace().timing };
    let app = App::of(&Workspace { timing, ..workspace() }).await;
    let mut socket = app.connect().await;
    let ts = app.say("C0INCIDENTS", "plan").await;
    app.slack.disturb(None, Mishap::Drop);
    react(&app, &ts, &["eyes"]).await;
    assert_eq!(heard(&mut socket).await, ("eyes".into(), 1));
    app.slack.disturb(Some(EnvelopeKind::SlashCommand), Mishap::Drop);
    let failed = app.slack.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch help").await;
    assert_eq!(failed, Err(SlackEmulatorError::OperationTimeout));
    let last = app.slack.channel_transcript("C0INCIDENTS").pop().expect("a message");
    assert_eq!(last.text, "/stanch failed with the error \"operation_timeout\"");
    app.finish().await;
}
