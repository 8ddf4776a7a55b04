//! From messages to what people read.

use super::*;

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
    rig.finish().await;
}
