//! From what people do to what the app is told.

use super::*;

/// A command, with what Slack escapes in it.
#[tokio::test]
async fn a_typed_command() {
    let mut rig = Rig::start().await;
    let answered = rig.emulator.type_command("U0RESPONDER", "C0INCIDENTS", "/stanch help <a & b>").await.unwrap();
    let expected = Inbound {
        delivery: answered.trigger_id,
        from: account("U0RESPONDER"),
        channel: incidents(),
        input: Input::Typed("help <a & b>".into()),
    };
    assert_eq!((rig.inbound().await, answered.payload), (expected, None));
    rig.finish().await;
}
