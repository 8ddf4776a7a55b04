//! Copies of evidence: containment does not wait for them, failures are told and tried again, and a restart finds what is missing.

use stanch::app::Entry;
use stanch::core::request::{Ending, Stage};
use stanch::ports::CopyFailed;

use super::{AMIR, QUARANTINE, ROSA, Theatre, account};

const INSPECT: &str = "inspect pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42";

fn down() -> CopyFailed {
    CopyFailed::Unavailable("the bucket is away".into())
}

fn copies(theatre: &Theatre) -> usize {
    theatre.outside.entries().iter().filter(|entry| matches!(entry, Entry::Copied { .. })).count()
}

/// A theatre whose comparing at the start is over: an answer comes after it was begun, and the fake answers at once.
async fn started() -> Theatre {
    let theatre = Theatre::copying([]);
    theatre.types(ROSA, "help").await;
    theatre.whispered(ROSA, "/stanch").await;
    theatre
}

#[tokio::test]
async fn what_is_kept_is_copied_recorded_and_told() {
    let theatre = Theatre::copying([]);
    theatre.types(ROSA, INSPECT).await;
    theatre.posted("Evidence is copied to gs://evidence/prod: 1 files").await;
    assert_eq!((copies(&theatre), theatre.outside.uncopied.lock().unwrap().len()), (1, 0));
    theatre.types(ROSA, "list").await;
    let list = theatre.whispered(ROSA, "Isolated").await;
    assert!(!format!("{:?}", list.blocks).contains("not copied"), "{list:?}");
}

#[tokio::test]
async fn a_failed_copy_is_told_once_and_tried_again() {
    // The first one hits the comparing at the start.
    let theatre = Theatre::copying([down(), down(), down()]);
    theatre.types(ROSA, INSPECT).await;
    theatre
        .posted("Evidence is NOT copied to gs://evidence/prod: the bucket is away. It is kept in the data folder. It is tried again")
        .await;
    theatre.posted("Evidence is copied to gs://evidence/prod: 1 files").await;
    let told =
        theatre.outside.chat.lock().unwrap().posts.iter().filter(|(.., message)| format!("{message:?}").contains("NOT copied")).count();
    assert_eq!((told, copies(&theatre)), (1, 1));
}

#[tokio::test]
async fn containment_does_not_wait_and_the_end_says_what_is_missing() {
    let theatre = started().await;
    let conflict = CopyFailed::Conflict("`gs://evidence/prod/x` holds something else".into());
    theatre.outside.copy_faults.lock().unwrap().extend([conflict]);
    theatre.types(ROSA, QUARANTINE).await;
    let (_, _, plan) = theatre.plan_stands().await;
    theatre.posted("NOT copied to gs://evidence/prod: `gs://evidence/prod/x` holds something else. It is kept in the data folder. It is not tried again").await;
    theatre.reacts(AMIR, &plan, |votes| _ = votes.yes.insert(account(AMIR))).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
    theatre.posted("Not copied yet: the evidence of this request is in the data folder, and not in gs://evidence/prod").await;
    theatre.types(ROSA, "status").await;
    theatre.whispered(ROSA, "Not copied yet").await;
    theatre.types(ROSA, "list").await;
    theatre.whispered(ROSA, "Evidence not copied yet").await;
    assert_eq!(copies(&theatre), 0);
}

#[tokio::test]
async fn a_restart_finds_what_is_missing() {
    let mut theatre = started().await;
    theatre.outside.copy_faults.lock().unwrap().push_back(CopyFailed::Conflict("another content".into()));
    theatre.types(ROSA, INSPECT).await;
    theatre.posted("NOT copied").await;
    theatre.restart().await;
    theatre.posted("Evidence is copied to gs://evidence/prod: 1 files").await;
    assert_eq!((copies(&theatre), theatre.outside.uncopied.lock().unwrap().len()), (1, 0));
}

#[tokio::test]
async fn redacted_files_are_shown_only_where_that_is_set() {
    let theatre = Theatre::copying([]);
    theatre.types(ROSA, INSPECT).await;
    theatre.posted("Evidence is copied").await;
    assert_eq!(theatre.outside.chat.lock().unwrap().files, vec![]);

    let mut theatre = Theatre::copying([]);
    *theatre.outside.attach.lock().unwrap() = true;
    theatre.restart().await;
    theatre.types(ROSA, INSPECT).await;
    let message = theatre.posted("Attached, with values of variables, headers and metadata taken out").await;
    let words = format!("{message:?}");
    assert!(words.contains("node.json") && words.contains("2 more are kept and not attached") && !words.contains("app.log"), "{words}");
    // The shortest first; the log never, and what goes beyond the limit neither.
    let shown = theatre.outside.chat.lock().unwrap().files.clone();
    assert_eq!(shown, [("node.json".to_owned(), "{}".to_owned()), ("list.json".into(), "[1]".into())]);
}

#[tokio::test]
async fn a_chat_that_takes_no_files_is_told_of_and_nothing_else_suffers() {
    let mut theatre = Theatre::copying([]);
    *theatre.outside.attach.lock().unwrap() = true;
    theatre.outside.chat.lock().unwrap().refuses_files = Some("missing_scope (files:write)".into());
    theatre.restart().await;
    theatre.types(ROSA, INSPECT).await;
    theatre.posted("Evidence could not be attached: missing_scope (files:write)").await;
    theatre.posted("Evidence is copied").await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
}
