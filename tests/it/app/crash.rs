//! Deaths: before and after every append, before and after every effect. After the restart the same end, and each effect at most once.

use stanch::core::request::{Ending, Stage};
use stanch::core::say::Control;

use super::fakes::Death;
use super::{AMIR, QUARANTINE, ROSA, Theatre};

/// Plays a quarantine to its end, through a death if there is one, and says how many appends and works it took.
async fn play(death: Death) -> (usize, usize) {
    let mut theatre = Theatre::new(death);
    let dead = theatre.outside.dead.lock().unwrap().clone();
    tokio::select! {
        () = act(&theatre) => {}
        () = dead.cancelled() => {
            theatre.restart().await;
            act(&theatre).await;
        }
    }
    // It can also die on its last append, when people have nothing left to do.
    if theatre.outside.is_dead() {
        theatre.restart().await;
    }
    let request = theatre.ended().await;
    assert_eq!(request.stage, Stage::Ended(Ending::Completed), "{death:?}");
    for (action, times) in theatre.outside.effects.lock().unwrap().iter() {
        assert_eq!(*times, 1, "{death:?}: {action}");
    }
    let mutating = request.made.plan.steps.iter().filter(|step| !step.action.summary().starts_with("read ")).count();
    assert_eq!(theatre.outside.effects.lock().unwrap().len(), mutating, "{death:?}");
    let counts = (theatre.outside.appended(), theatre.outside.worked());
    theatre.kill().await;
    counts
}

/// What people do: whatever is still missing.
async fn act(theatre: &Theatre) {
    if theatre.only_request().is_none() {
        theatre.types(ROSA, QUARANTINE).await;
    }
    let (id, request, _) = theatre.plan_stands().await;
    if request.approvals.is_empty() && request.stage == Stage::Waiting {
        theatre.presses(AMIR, Control::Approve(id, request.digest)).await;
    }
    theatre.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_death_loses_or_repeats_anything() {
    let (appends, works) = play(Death::Never).await;
    assert!(appends > 30 && works > 15, "a quarantine has that many: {appends}, {works}");
    let deaths = (1..=appends)
        .flat_map(|nth| [Death::BeforeAppend(nth), Death::AfterAppend(nth)])
        .chain((1..=works).flat_map(|nth| [Death::BeforeEffect(nth), Death::AfterEffect(nth)]));
    let mut running = tokio::task::JoinSet::new();
    for death in deaths {
        running.spawn(play(death));
        // Enough to keep the cores busy while ticks pass.
        if running.len() >= 32 {
            running.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(played) = running.join_next().await {
        played.unwrap();
    }
}
