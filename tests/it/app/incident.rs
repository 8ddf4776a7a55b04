//! One incident with its people: votes by button and by reaction, refusals, halts, faults of the world and of the chat.

use std::sync::atomic::Ordering;

use stanch::app::{Entry, Landmark};
use stanch::core::record::Fact;
use stanch::core::request::{Ending, Stage};
use stanch::core::say::{Block, Control};
use stanch::core::step::FailureKind;
use stanch_commands::action::ActionClass;

use super::fakes::{Death, Mood};
use super::{AMIR, BEA, QUARANTINE, ROSA, Theatre, account};

async fn proposed() -> (Theatre, stanch_commands::target::RequestId, stanch::core::request::Request, stanch::core::identity::MessageRef) {
    let theatre = Theatre::new(Death::Never);
    theatre.types(ROSA, QUARANTINE).await;
    let (id, request, plan) = theatre.plan_stands().await;
    (theatre, id, request, plan)
}

fn written(theatre: &Theatre) -> Vec<String> {
    let memory = theatre.outside.memory();
    let class = |name: &String| {
        memory
            .state
            .requests
            .values()
            .flat_map(|request| &request.made.plan.steps)
            .any(|step| step.action.summary() == *name && step.action.class() != ActionClass::Preserve)
    };
    theatre.outside.effects.lock().unwrap().keys().filter(|name| class(name)).cloned().collect()
}

#[tokio::test]
async fn a_reaction_of_an_approver_starts_the_run_and_the_node_is_isolated() {
    let (theatre, _, _, plan) = proposed().await;
    theatre.reacts(AMIR, &plan, |votes| _ = votes.yes.insert(account(AMIR))).await;
    let request = theatre.ended().await;
    assert_eq!(request.stage, Stage::Ended(Ending::Completed));
    theatre.whispered(AMIR, "Counted: 1 of 1.").await;
    let end = theatre.landmark(Landmark::End).unwrap();
    let chat = theatre.outside.chat.lock().unwrap();
    let (_, root, message) = chat.posts.iter().find(|(at, ..)| *at == end).unwrap();
    assert_eq!(root.as_ref(), Some(&plan));
    let isolated = |block: &Block| matches!(block, Block::Text(words) if words.contains("is isolated"));
    assert!(message.blocks.iter().any(isolated), "{message:?}");
}

#[tokio::test]
async fn nothing_is_written_without_a_quorum() {
    let (theatre, id, request, plan) = proposed().await;
    let digest = request.digest.clone();
    theatre.presses(ROSA, Control::Approve(id.clone(), digest.clone())).await;
    theatre.whispered(ROSA, "your own request").await;
    theatre.presses("U0NOBODY", Control::Approve(id.clone(), digest.clone())).await;
    theatre.whispered("U0NOBODY", "belongs to nobody").await;
    theatre.outside.strangers.lock().unwrap().insert(AMIR.into());
    theatre.presses(AMIR, Control::Approve(id.clone(), digest)).await;
    theatre.whispered(AMIR, "does not say that you are a full member").await;
    theatre.reacts(ROSA, &plan, |votes| _ = votes.yes.insert(account(ROSA))).await;
    theatre.presses(BEA, Control::Decline(id)).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Declined(stanch::core::identity::PersonId::new("bea"))));
    assert_eq!(written(&theatre), Vec::<String>::new());
    let turned = theatre.outside.entries().into_iter().filter(|entry| matches!(entry, Entry::Turned { .. })).count();
    assert!(turned >= 3, "every no is on record: {turned}");
}

#[tokio::test]
async fn an_undecided_request_reminds_expires_and_can_be_asked_again() {
    let (theatre, id, _, _) = proposed().await;
    theatre.outside.pass(460);
    theatre
        .until("a reminder", |theatre| {
            let chat = theatre.outside.chat.lock().unwrap();
            chat.posts.iter().any(|(_, _, message)| format!("{:?}", message.blocks).contains("still missing")).then_some(())
        })
        .await;
    theatre.outside.pass(460);
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Expired));
    assert_eq!(written(&theatre), Vec::<String>::new());
    theatre.presses(ROSA, Control::Resubmit(id)).await;
    theatre.until("a second request", |theatre| (theatre.outside.memory().state.requests.len() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_removed_reaction_takes_the_vote_back_before_the_start_only() {
    let theatre = Theatre::new(Death::Never);
    // The node is busy with another request, so that the vote waits.
    theatre.outside.moods.lock().unwrap().insert("cordon node gke-sandbox-public-1a2b3c4d-x7k2".into(), vec![Mood::LosesTheRequest; 1]);
    theatre.types(ROSA, QUARANTINE).await;
    let (_, _, plan) = theatre.plan_stands().await;
    theatre.reacts(AMIR, &plan, |votes| _ = votes.yes.insert(account(AMIR))).await;
    theatre.until("it runs", |theatre| (theatre.only_request()?.1.stage != Stage::Waiting).then_some(())).await;
    theatre.reacts(AMIR, &plan, |votes| votes.yes.clear()).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
}

#[tokio::test]
async fn a_failed_step_withholds_only_what_requires_it() {
    let (theatre, id, request, _) = proposed().await;
    let abandon = request.made.plan.steps.iter().map(|step| step.action.summary()).find(|name| name.starts_with("abandon")).unwrap();
    theatre.outside.moods.lock().unwrap().insert(abandon.clone(), vec![Mood::Fails(FailureKind::Refused)]);
    theatre.presses(AMIR, Control::Approve(id, request.digest)).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Incomplete));
    let written = written(&theatre);
    assert!(written.iter().any(|name| name.starts_with("drain")), "{written:?}");
    assert!(!written.iter().any(|name| name.starts_with("tag") || name.starts_with("remove external")), "{written:?}");
}

#[tokio::test]
async fn a_lost_answer_is_observed_before_anything_is_repeated() {
    for mood in [Mood::LosesTheAnswer, Mood::LosesTheRequest] {
        let (theatre, id, request, _) = proposed().await;
        for step in &request.made.plan.steps {
            theatre.outside.moods.lock().unwrap().insert(step.action.summary(), vec![mood]);
        }
        theatre.presses(AMIR, Control::Approve(id, request.digest)).await;
        assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed), "{mood:?}");
        for (action, times) in theatre.outside.effects.lock().unwrap().iter() {
            assert_eq!(*times, 1, "{mood:?}: {action}");
        }
    }
}

#[tokio::test]
async fn a_log_that_fails_stops_everything_and_says_so() {
    let (theatre, id, request, _) = proposed().await;
    theatre.until("evidence is kept", |theatre| (theatre.outside.worked() >= 5).then_some(())).await;
    *theatre.outside.log_broken.lock().unwrap() = true;
    theatre.presses(AMIR, Control::Approve(id, request.digest)).await;
    theatre
        .until("the thread is told", |theatre| {
            let chat = theatre.outside.chat.lock().unwrap();
            chat.posts.iter().any(|(_, _, message)| format!("{:?}", message.blocks).contains("Stanch has stopped")).then_some(())
        })
        .await;
    assert_eq!(written(&theatre), Vec::<String>::new());
    assert_eq!(theatre.shut_down().await.unwrap_err().0, "no space left on device");
}

#[tokio::test]
async fn a_chat_that_fails_delays_nothing_and_loses_nothing() {
    let theatre = Theatre::new(Death::Never);
    theatre.outside.chat.lock().unwrap().failing = 5;
    theatre.types(ROSA, QUARANTINE).await;
    let (id, request, _) = theatre.plan_stands().await;
    theatre.outside.chat.lock().unwrap().failing = 5;
    theatre.presses(AMIR, Control::Approve(id, request.digest)).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
}

#[tokio::test]
async fn questions_are_answered_privately_and_change_nothing() {
    let theatre = Theatre::new(Death::Never);
    for (text, answer) in [
        ("", "Type /stanch COMMAND"),
        ("help", "quarantine"),
        ("help quarantine", "--isolate-first"),
        ("quarantin pod a/b", "did you mean `quarantine`"),
        ("locate pod shop/cart-7d4b9c6f5-x2x9q", "gke-sandbox-public-1a2b3c4d-grp"),
        ("locate pod no-such-pod", "There is no pod"),
        ("quarantine pod shop/cart-7d4b9c6f5-x2x9q --dry-run", "Nothing was changed and nobody was asked"),
        ("list", "Isolated"),
        ("status", "There is no such request"),
        ("cancel r-zzzzzz", "There is no such request"),
        ("locate node gke-x cluster:other", "There is no cluster `other`"),
    ] {
        theatre.types(ROSA, text).await;
        theatre.whispered(ROSA, answer).await;
        theatre.outside.chat.lock().unwrap().whispers.clear();
    }
    assert_eq!(theatre.outside.effects.lock().unwrap().len(), 0);
    assert_eq!(theatre.outside.chat.lock().unwrap().posts.len(), 0);
}

#[tokio::test]
async fn a_flood_of_commands_is_slowed_and_a_vote_still_counts() {
    let (theatre, id, request, _) = proposed().await;
    for _ in 0..40 {
        theatre.types(AMIR, "list").await;
    }
    theatre.whispered(AMIR, "sending faster").await;
    theatre.presses(AMIR, Control::Approve(id, request.digest)).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
    let heard = theatre.outside.entries().into_iter().filter(|entry| matches!(entry, Entry::Heard { .. })).count();
    assert!(heard < 40, "a flood does not fill the log: {heard}");
}

#[tokio::test]
async fn nothing_is_begun_when_the_disk_is_almost_full() {
    let theatre = Theatre::new(Death::Never);
    *theatre.outside.disk_full.lock().unwrap() = true;
    theatre.types(ROSA, QUARANTINE).await;
    theatre.whispered(ROSA, "almost full").await;
    assert_eq!(theatre.only_request(), None);
}

#[tokio::test]
async fn a_vote_whose_look_up_fails_is_lost_and_counts_again_when_it_works() {
    let (theatre, _, _, plan) = proposed().await;
    theatre.outside.flaky.lock().unwrap().insert(AMIR.into());
    theatre.reacts(AMIR, &plan, |votes| _ = votes.yes.insert(account(AMIR))).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
}

/// Goal: no vote is lost because it came before the record of the message that it stands on. Method: it stands there from the beginning, and
/// nobody hints at it; the first readings fail.
#[tokio::test]
async fn a_vote_that_came_before_the_message_was_known_counts() {
    let theatre = Theatre::new(Death::Never);
    {
        let mut chat = theatre.outside.chat.lock().unwrap();
        chat.unreadable = 2;
        let plan = stanch::core::identity::MessageRef { channel: super::channel(), id: "m0".into() };
        chat.votes.entry(plan).or_default().yes.insert(account(AMIR));
    }
    theatre.types(ROSA, QUARANTINE).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
}

/// Goal: a reaction that was taken back before the authorisation does not count, though nobody told. Method: it stands at the first reading and
/// is gone at the one before the authorisation.
#[tokio::test]
async fn a_reaction_that_is_gone_at_the_authorisation_does_not_count() {
    let (theatre, id, _, plan) = proposed().await;
    theatre.outside.chat.lock().unwrap().readings = Some(1);
    theatre.reacts(AMIR, &plan, |votes| _ = votes.yes.insert(account(AMIR))).await;
    theatre.whispered(AMIR, "Your approval was taken back").await;
    assert_eq!(theatre.outside.memory().state.requests[&id].stage, Stage::Waiting);
    assert_eq!(written(&theatre), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_starts_while_a_halt_stands_on_the_plan() {
    let (theatre, id, _, plan) = proposed().await;
    theatre
        .reacts(AMIR, &plan, |votes| {
            votes.halt.insert(account(ROSA));
            votes.yes.insert(account(AMIR));
        })
        .await;
    theatre
        .until("the thread knows why", |stage| {
            let chat = stage.outside.chat.lock().unwrap();
            chat.posts.iter().any(|(.., message)| format!("{:?}", message.blocks).contains("while the halt reaction")).then_some(())
        })
        .await;
    assert_eq!(theatre.outside.memory().state.requests[&id].stage, Stage::Waiting);
    assert_eq!(written(&theatre), Vec::<String>::new());
}

/// Goal: nobody is asked for what cannot be done any more, and the node is free for others.
#[tokio::test]
async fn a_request_whose_prior_state_cannot_be_saved_ends() {
    let theatre = Theatre::new(Death::Never);
    let saved = "save the prior state of node gke-sandbox-public-1a2b3c4d-x7k2 and its suspects";
    theatre.outside.moods.lock().unwrap().insert(saved.into(), vec![Mood::Fails(FailureKind::Refused)]);
    theatre.types(ROSA, "cordon node gke-sandbox-public-1a2b3c4d-x7k2").await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Incomplete));
    assert_eq!(written(&theatre), Vec::<String>::new());
}

#[tokio::test]
async fn an_outcome_without_end_is_cut_and_stops_nothing() {
    let theatre = Theatre::new(Death::Never);
    let saved = "save the prior state of node gke-sandbox-public-1a2b3c4d-x7k2 and its suspects";
    theatre.outside.moods.lock().unwrap().insert(saved.into(), vec![Mood::Rambles]);
    theatre.types(ROSA, QUARANTINE).await;
    let (_, _, plan) = theatre.plan_stands().await;
    theatre.reacts(AMIR, &plan, |votes| _ = votes.yes.insert(account(AMIR))).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
}

#[tokio::test]
async fn a_role_that_was_lost_since_the_vote_starts_nothing() {
    let (theatre, id, request, plan) = proposed().await;
    theatre.outside.vanishing.lock().unwrap().insert(AMIR.into());
    theatre.reacts(AMIR, &plan, |votes| _ = votes.yes.insert(account(AMIR))).await;
    theatre
        .until("the vote is withdrawn", |theatre| {
            let withdrawn = |entry: &Entry| matches!(entry, Entry::Fact(record) if matches!(record.fact, Fact::Withdrawn { .. }));
            theatre.outside.entries().iter().any(withdrawn).then_some(())
        })
        .await;
    assert_eq!(written(&theatre), Vec::<String>::new());
    theatre.presses(BEA, Control::Approve(id, request.digest)).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
}

#[tokio::test]
async fn a_suspect_that_was_replaced_ends_the_request_before_anything_is_written() {
    let (theatre, id, request, _) = proposed().await;
    {
        let mut facts = theatre.outside.facts.lock().unwrap();
        let suspect = facts.kubernetes.suspect.as_ref().unwrap().pod.clone();
        facts.kubernetes.pods.iter_mut().filter(|pod| pod.pod == suspect).for_each(|pod| pod.pod.uid = "another-uid".parse().unwrap());
    }
    theatre.presses(AMIR, Control::Approve(id, request.digest)).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Stale));
    assert_eq!(written(&theatre), Vec::<String>::new());
}

/// Goal: a no that cannot be confirmed is not passed over. Method: whoever says no is not looked up at first.
#[tokio::test]
async fn nothing_starts_over_a_no_of_somebody_whom_the_platform_does_not_confirm() {
    let (theatre, id, request, plan) = proposed().await;
    theatre.outside.silent.lock().unwrap().insert(BEA.into());
    theatre.reacts(BEA, &plan, |votes| _ = votes.no.insert(account(BEA))).await;
    theatre.presses(AMIR, Control::Approve(id.clone(), request.digest)).await;
    theatre
        .until("the thread knows why", |stage| {
            let chat = stage.outside.chat.lock().unwrap();
            chat.posts.iter().any(|(.., message)| format!("{:?}", message.blocks).contains("who objects")).then_some(())
        })
        .await;
    assert_eq!(written(&theatre), Vec::<String>::new());
    theatre.outside.silent.lock().unwrap().clear();
    assert!(matches!(theatre.ended().await.stage, Stage::Ended(Ending::Declined(_))));
}

/// Goal: who left the company long ago stops nothing. Method: their reaction stands on the plan, and the chat knows that they are no member.
#[tokio::test]
async fn a_no_and_a_halt_of_an_account_that_was_deactivated_stop_nothing() {
    let (theatre, id, request, plan) = proposed().await;
    theatre.outside.strangers.lock().unwrap().insert(BEA.into());
    theatre
        .reacts(BEA, &plan, |votes| {
            votes.no.insert(account(BEA));
            votes.halt.insert(account(BEA));
        })
        .await;
    theatre.presses(AMIR, Control::Approve(id, request.digest)).await;
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
}

/// Goal: whoever agrees while everything is asked again has agreed. Method: the objects are looked at for long, and a second person agrees.
#[tokio::test]
async fn a_yes_that_comes_while_everything_is_asked_again_is_not_taken_away() {
    let (theatre, id, request, _) = proposed().await;
    theatre.outside.surveys_held.store(true, Ordering::SeqCst);
    theatre.presses(AMIR, Control::Approve(id.clone(), request.digest.clone())).await;
    theatre.whispered(AMIR, "Counted: 1 of 1.").await;
    theatre.presses(BEA, Control::Approve(id, request.digest)).await;
    theatre.whispered(BEA, "Counted: 2 of 1.").await;
    theatre.outside.surveys_held.store(false, Ordering::SeqCst);
    let ended = theatre.ended().await;
    assert_eq!((ended.stage, ended.approvals.len()), (Stage::Ended(Ending::Completed), 2));
    let withdrawn = |entry: &Entry| matches!(entry, Entry::Fact(record) if matches!(record.fact, Fact::Withdrawn { .. }));
    assert!(!theatre.outside.entries().iter().any(withdrawn));
}

/// Goal: an approval that the chat cannot confirm for the moment is neither counted nor taken away.
#[tokio::test]
async fn a_yes_whose_account_cannot_be_looked_up_waits() {
    let (theatre, id, request, _) = proposed().await;
    theatre.outside.surveys_held.store(true, Ordering::SeqCst);
    theatre.presses(AMIR, Control::Approve(id.clone(), request.digest)).await;
    theatre.whispered(AMIR, "Counted: 1 of 1.").await;
    theatre.outside.silent.lock().unwrap().insert(AMIR.into());
    theatre.outside.surveys_held.store(false, Ordering::SeqCst);
    theatre.posted("who agrees and who objects").await;
    assert_eq!(theatre.outside.memory().state.requests[&id].approvals.len(), 1);
    assert_eq!(written(&theatre), Vec::<String>::new());
    theatre.outside.silent.lock().unwrap().clear();
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
}

/// Goal: a storm of reactions keeps nothing from starting. Method: it comes while everything is asked again; the chat counts how often it is read.
#[tokio::test]
async fn a_storm_of_reactions_costs_one_reading() {
    let (theatre, id, request, plan) = proposed().await;
    theatre.outside.surveys_held.store(true, Ordering::SeqCst);
    theatre.presses(AMIR, Control::Approve(id, request.digest)).await;
    theatre.whispered(AMIR, "Counted: 1 of 1.").await;
    let read = || theatre.outside.chat.lock().unwrap().asked_for_votes;
    let before = read();
    for who in [ROSA, "U0NOBODY"] {
        for _ in 0..20 {
            theatre.reacts(who, &plan, |_| ()).await;
        }
    }
    // Events are followed one after the other.
    theatre.whispered("U0NOBODY", "belongs to nobody").await;
    assert_eq!(read(), before);
    theatre.outside.surveys_held.store(false, Ordering::SeqCst);
    assert_eq!(theatre.ended().await.stage, Stage::Ended(Ending::Completed));
    assert!(read() <= before + 2, "{} and {before}", read());
}

/// Goal: the reactions that stand right before the authorisation decide. Method: while the objects are looked at, which takes long, somebody
/// else reacts; then a reaction goes away without a word.
#[tokio::test]
async fn a_reaction_that_went_away_while_the_objects_were_looked_at_does_not_count() {
    let (theatre, id, _, plan) = proposed().await;
    theatre.outside.surveys_held.store(true, Ordering::SeqCst);
    theatre.reacts(AMIR, &plan, |votes| _ = votes.yes.insert(account(AMIR))).await;
    theatre.whispered(AMIR, "Counted: 1 of 1.").await;
    theatre.reacts(ROSA, &plan, |votes| _ = votes.yes.insert(account(ROSA))).await;
    theatre.outside.chat.lock().unwrap().votes.clear();
    theatre.outside.surveys_held.store(false, Ordering::SeqCst);
    theatre.whispered(AMIR, "Your approval was taken back").await;
    assert_eq!(theatre.outside.memory().state.requests[&id].stage, Stage::Waiting);
    assert_eq!(written(&theatre), Vec::<String>::new());
}
