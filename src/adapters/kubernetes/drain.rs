//! Moving everything but the suspects off a node, by the eviction API and within a deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use stanch_commands::action::{Drain, pods as count};
use stanch_commands::target::{PodRef, Uid};

use super::change::{bound_node, observation, pod_path};
use super::survey::{is_mirror, owner, pod_ref, pods_on};
use super::wire::{Fault, Session, word};
use crate::core::step::{Failure, FailureKind, Observation, Outcome, Receipt};

/// Evictions at one time. The API server's own work per eviction is small; kubectl, unthrottled, sends all at once.
const AT_ONCE: usize = 8;
/// Between two looks at the node.
const LOOK: Duration = Duration::from_secs(1);
/// Before a pod that a budget protects is tried again: as kubectl does.
const BUDGET_PAUSE: Duration = Duration::from_secs(5);
/// Names in a message.
const NAMED: usize = 10;

/// What has happened so far.
#[derive(Default)]
struct Tally {
    /// Every pod that was to leave, ever.
    seen: BTreeMap<Uid, PodRef>,
    /// Whose eviction was admitted.
    evicted: BTreeSet<Uid>,
    /// Why a pod is still there, and when to try again; `None` for never.
    held: BTreeMap<Uid, (String, Option<Instant>)>,
}

/// How one try ended.
enum Tried {
    Evicted,
    Gone,
    /// The answer was lost.
    Perhaps(String, Duration),
    Later(String, Duration),
    Never(String),
}

pub(super) async fn drain(session: &mut Session, drain: &Drain) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(drain.deadline_s.into());
    let mut tally = Tally::default();
    let mut first = true;
    loop {
        let leaving = match leaving(session, drain).await {
            Ok(leaving) => leaving,
            // What is known so far stands; a read that got no answer is made again.
            Err(Outcome::Failed(Failure { kind: FailureKind::Unavailable, message, .. })) if !first => {
                if Instant::now() >= deadline {
                    return unread(drain, &tally, &message);
                }
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(outcome) => return outcome,
        };
        if leaving.is_empty() {
            return Outcome::Succeeded(receipt(drain, &tally, first));
        }
        first = false;
        tally.seen.extend(leaving.iter().map(|(pod, _)| (pod.uid.clone(), pod.clone())));
        if tally.seen.len() > usize::try_from(drain.at_most).unwrap_or(usize::MAX) {
            return excess(drain, &tally);
        }
        if Instant::now() >= deadline {
            return late(drain, &leaving, &tally);
        }
        evict_due(session, &leaving, &mut tally).await;
        if leaving.iter().all(|(pod, _)| matches!(tally.held.get(&pod.uid), Some((_, None)))) {
            return stuck(drain, &leaving, &tally);
        }
        tokio::time::sleep(LOOK.min(deadline.saturating_duration_since(Instant::now()))).await;
    }
}

/// Looks whether the node is drained.
pub(super) async fn observe(session: &mut Session, drain: &Drain) -> Observation {
    match leaving(session, drain).await {
        Ok(leaving) if leaving.is_empty() => Observation::InPlace(receipt(drain, &Tally::default(), true)),
        Ok(leaving) if leaving.iter().all(|(_, pod)| pod.pointer("/metadata/deletionTimestamp").is_some()) => {
            Observation::Unclear(format!("{} still Terminating", count(leaving.len())))
        }
        Ok(_) => Observation::NotInPlace,
        Err(outcome) => observation(outcome),
    }
}

/// The pods that are on the node now and have to leave, by the approved rule.
async fn leaving(session: &mut Session, drain: &Drain) -> Result<Vec<(PodRef, Value)>, Outcome> {
    bound_node(session, &drain.node).await.map_err(|outcome| *outcome)?;
    let pods = pods_on(session, &drain.node.name).await.map_err(Fault::into_outcome)?;
    let stays = |pod: &PodRef, object: &Value| {
        drain.spare.contains(&pod.uid)
            || drain.protected_namespaces.contains(pod.namespace.as_str())
            || is_mirror(object)
            || owner(object).is_some_and(|owner| owner.kind == "DaemonSet")
    };
    Ok(pods.into_iter().filter_map(|object| Some((pod_ref(&object)?, object))).filter(|(pod, object)| !stays(pod, object)).collect())
}

/// Tries every pod whose time has come.
async fn evict_due(session: &mut Session, leaving: &[(PodRef, Value)], tally: &mut Tally) {
    let due = |pod: &PodRef, object: &Value| {
        let waits = match tally.held.get(&pod.uid) {
            Some((_, Some(again))) => Instant::now() < *again,
            Some((_, None)) => true,
            None => false,
        };
        object.pointer("/metadata/deletionTimestamp").is_none() && !waits
    };
    let tries: Vec<_> = leaving
        .iter()
        .filter(|(pod, object)| due(pod, object))
        .map(|(pod, _)| {
            let (mut fork, pod) = (session.fork(), pod.clone());
            async move {
                let tried = evict(&mut fork, &pod).await;
                (pod, tried, fork)
            }
        })
        .collect();
    let mut tried = stream::iter(tries).buffer_unordered(AT_ONCE);
    while let Some((pod, outcome, fork)) = tried.next().await {
        session.join(fork);
        match outcome {
            Tried::Evicted => {
                tally.held.remove(&pod.uid);
                tally.evicted.insert(pod.uid);
            }
            Tried::Gone => {}
            Tried::Perhaps(why, pause) => {
                tally.evicted.insert(pod.uid.clone());
                tally.held.insert(pod.uid, (why, Some(Instant::now() + pause)));
            }
            Tried::Later(why, pause) => drop(tally.held.insert(pod.uid, (why, Some(Instant::now() + pause)))),
            Tried::Never(why) => drop(tally.held.insert(pod.uid, (why, None))),
        }
    }
}

/// Asks to evict one pod. Its uid is compared first: under a budget that blocks, a wrong one is answered like a right one, and spends it.
async fn evict(session: &mut Session, pod: &PodRef) -> Tried {
    let path = pod_path(pod);
    let object = match session.get(&path).await {
        Ok(object) if word(&object, "/metadata/uid") == pod.uid.as_str() => object,
        Ok(_) | Err(Fault::NotFound) => return Tried::Gone,
        Err(fault) => return Tried::Later(fault.words(), LOOK),
    };
    let mut preconditions = json!({ "uid": pod.uid.as_str() });
    // A pending pod is deleted without its budget; unless its version is bound too, a conflict takes the server ten seconds.
    if word(&object, "/status/phase") == "Pending"
        && let Some(preconditions) = preconditions.as_object_mut()
    {
        preconditions.insert("resourceVersion".into(), json!(word(&object, "/metadata/resourceVersion")));
    }
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": { "name": pod.name.as_str(), "namespace": pod.namespace.as_str() },
        "deleteOptions": { "preconditions": preconditions },
    });
    match session.post_once(&format!("{path}/eviction"), &eviction).await {
        Ok(()) => Tried::Evicted,
        Err((Fault::NotFound, _)) => Tried::Gone,
        Err((Fault::Budget(why), _)) => Tried::Later(why, BUDGET_PAUSE),
        // The next look at the node tells what became of it; the uid is compared again before the next try.
        Err((fault @ (Fault::Conflict(_) | Fault::Unavailable(_)), pause)) => Tried::Later(fault.words(), pause.unwrap_or(LOOK)),
        Err((fault @ Fault::Lost(_), pause)) => Tried::Perhaps(fault.words(), pause.unwrap_or(LOOK)),
        Err((fault @ (Fault::Invalid(_) | Fault::Refused { .. }), _)) => Tried::Never(fault.words()),
    }
}

fn receipt(drain: &Drain, tally: &Tally, already_so: bool) -> Receipt {
    let expected: BTreeSet<&Uid> = drain.expected.iter().map(|pod| &pod.uid).collect();
    let details = tally.seen.iter().map(|(uid, pod)| {
        let newcomer = if expected.contains(uid) { "" } else { " (came after the plan was made)" };
        let how = if tally.evicted.contains(uid) { "evicted" } else { "left" };
        format!("{how} {pod}{newcomer}")
    });
    let summary = format!("node {} is drained, {} evicted", drain.node.name, count(tally.evicted.len()));
    Receipt { already_so, summary, details: details.collect(), prior: None }
}

fn failed(kind: FailureKind, message: String, hint: &str) -> Outcome {
    Outcome::Failed(Failure { kind, message, hint: Some(hint.to_owned()) })
}

fn excess(drain: &Drain, tally: &Tally) -> Outcome {
    let message =
        format!("{} would have to leave node {}, but the approval covers {}", count(tally.seen.len()), drain.node.name, drain.at_most);
    failed(FailureKind::Refused, message, "ask again: the new plan names every pod")
}

fn late(drain: &Drain, leaving: &[(PodRef, Value)], tally: &Tally) -> Outcome {
    let message =
        format!("{} still on node {} after {} s: {}", count(leaving.len()), drain.node.name, drain.deadline_s, names(leaving, tally));
    failed(FailureKind::Deadline, message, "nothing is deleted by force; ask for `drain` again when the budgets allow it")
}

fn unread(drain: &Drain, tally: &Tally, why: &str) -> Outcome {
    let message = format!("{} evicted from node {}; what is left could not be read: {why}", count(tally.evicted.len()), drain.node.name);
    failed(FailureKind::Deadline, message, "ask for `drain` again: pods that left are not evicted twice")
}

fn stuck(drain: &Drain, leaving: &[(PodRef, Value)], tally: &Tally) -> Outcome {
    let message = format!("{} cannot be evicted from node {}: {}", count(leaving.len()), drain.node.name, names(leaving, tally));
    failed(FailureKind::Refused, message, "nothing is deleted by force; correct the cause and ask for `drain` again")
}

fn names(leaving: &[(PodRef, Value)], tally: &Tally) -> String {
    let name = |(pod, object): &(PodRef, Value)| match tally.held.get(&pod.uid) {
        _ if object.pointer("/metadata/deletionTimestamp").is_some() => format!("{pod} (Terminating)"),
        Some((why, _)) => format!("{pod} ({why})"),
        None => pod.to_string(),
    };
    let mut names: Vec<String> = leaving.iter().take(NAMED).map(name).collect();
    if leaving.len() > NAMED {
        names.push(format!("and {} more", leaving.len() - NAMED));
    }
    names.join(", ")
}
