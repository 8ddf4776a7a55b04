//! Rate limits at the wire.

use serde_json::json;

use super::{App, body};

/// The sixth message at once is refused with a time to wait and leaves no trace; another channel and an edit pass, and switched off nothing
/// is limited.
#[tokio::test]
async fn one_message_a_second_and_channel() {
    let app = App::start().await;
    let message = json!({ "channel": "C0INCIDENTS", "text": "x" });
    let mut refused = None;
    // A slow machine earns further messages while it works, so the number that passes is not asserted.
    for _ in 0..100 {
        let response = app.post("chat.postMessage", message.clone()).await;
        if response.status() != 200 {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("a limit");
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().expect("text")), (429, "1"));
    assert_eq!(body(refused).await, json!({ "ok": false, "error": "ratelimited" }));
    let posted = app.slack.channel_transcript("C0INCIDENTS");
    app.ok("chat.postMessage", json!({ "channel": "C0RANDOM", "text": "x" })).await;
    app.ok("chat.update", json!({ "channel": "C0INCIDENTS", "ts": posted[0].ts, "text": "y" })).await;

    app.slack.set_limits(None);
    for _ in 0..20 {
        app.ok("chat.postMessage", message.clone()).await;
    }
    assert_eq!(app.slack.channel_transcript("C0INCIDENTS").len(), posted.len() + 20);
    app.finish().await;
}
