//! Deletions: of a pod, and of the NetworkPolicy that denied its traffic. Each names the uid that it means.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use stanch_commands::target::PodRef;
use tokio::time::sleep;

use super::change::{QUARANTINE, judged, observation, pod_path, policies_path, policy_name, undone};
use super::selectors::map;
use super::wire::{Fault, Session, items, word};
use crate::core::step::{Failure, FailureKind, Observation, Outcome, Receipt};

/// Between two looks at what is ending.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Looks beyond the grace period: a kubelet kills, unmounts and reports within some seconds, and within a minute on a bad day.
const LOOKS: u32 = 60;

/// Looks for the replacement of a pod that is gone: controllers act within a second.
const REPLACEMENT_LOOKS: u32 = 5;
/// What the pods of one controller have in common, so that a look at them is not one at the whole namespace.
const SHARED_LABELS: [&str; 2] = ["pod-template-hash", "controller-revision-hash"];

/// How a deleted pod stands.
enum End {
    /// It is gone, or its name is another pod's.
    Gone,
    /// It ends within so many seconds; its kubelet answers.
    Ending { grace_s: u64 },
    /// It ends as soon as its node answers again: nothing else can end it without force.
    Waiting(String),
    /// Nobody has deleted it.
    Alive,
}

/// Deletes a pod and looks until it is gone.
pub(super) async fn delete_pod(session: &mut Session, pod: &PodRef, grace_s: u32) -> Outcome {
    let (end, found) = match end_of(session, pod).await {
        Ok(looked) => looked,
        Err(fault) => return fault.into_outcome(),
    };
    let late = match end {
        End::Gone => return Outcome::Succeeded(removed(format!("pod {pod} is gone"), true)),
        End::Waiting(node) => return Outcome::Succeeded(removed(awaiting(pod, &node), true)),
        End::Ending { grace_s: given } => given > grace_s.into(),
        End::Alive => true,
    };
    let succession = match Succession::of(session, &found).await {
        Ok(succession) => succession,
        Err(fault) => return fault.into_outcome(),
    };
    // One that somebody else deleted with more patience is deleted again: the API takes the shorter grace period.
    if late {
        let options = json!({ "gracePeriodSeconds": grace_s, "preconditions": { "uid": pod.uid.as_str() } });
        match session.delete(&pod_path(pod), &options).await {
            // A conflict is another uid: the next look tells.
            Ok(_) | Err(Fault::NotFound | Fault::Conflict(_)) => {}
            Err(fault) => return fault.into_outcome(),
        }
    }
    let outcome = ended(session, pod, grace_s).await;
    match outcome {
        Outcome::Succeeded(receipt) => {
            let details = vec![replacement(session, succession.as_ref()).await];
            Outcome::Succeeded(Receipt { already_so: !late, details, ..receipt })
        }
        Outcome::Failed(_) | Outcome::Unknown(_) => outcome,
    }
}

/// Looks whether it is deleted.
pub(super) async fn observe_deleted_pod(session: &mut Session, pod: &PodRef) -> Observation {
    match end_of(session, pod).await.map(|(end, _)| end) {
        Ok(End::Gone) => Observation::InPlace(removed(format!("pod {pod} is gone"), false)),
        Ok(End::Waiting(node)) => Observation::InPlace(removed(awaiting(pod, &node), false)),
        Ok(End::Ending { .. }) => Observation::Unclear(format!("pod {pod} is ending")),
        Ok(End::Alive) => Observation::NotInPlace,
        Err(fault) => observation(fault.into_outcome()),
    }
}

async fn ended(session: &mut Session, pod: &PodRef, grace_s: u32) -> Outcome {
    for _ in 0..LOOKS.saturating_add(grace_s) {
        match end_of(session, pod).await.map(|(end, _)| end) {
            Ok(End::Gone) => return Outcome::Succeeded(removed(format!("pod {pod} is gone"), false)),
            Ok(End::Waiting(node)) => return Outcome::Succeeded(removed(awaiting(pod, &node), false)),
            Ok(End::Alive) => return undone(&format!("the deletion of pod {pod}")),
            Ok(End::Ending { .. }) => sleep(BETWEEN_LOOKS).await,
            Err(fault) => return fault.after_write(),
        }
    }
    let message = format!("pod {pod} is deleted, but does not end: its kubelet answers and has not removed it");
    let hint = Some("look for finalizers and for a process that cannot be killed; nothing was forced".into());
    Outcome::Failed(Failure { kind: FailureKind::Deadline, message, hint })
}

/// How the pod stands, and the pod itself while it is there.
async fn end_of(session: &mut Session, pod: &PodRef) -> Result<(End, Value), Fault> {
    let found = match session.get(&pod_path(pod)).await {
        Ok(found) => found,
        Err(Fault::NotFound) => return Ok((End::Gone, Value::Null)),
        Err(fault) => return Err(fault),
    };
    if word(&found, "/metadata/uid") != pod.uid.as_str() {
        return Ok((End::Gone, Value::Null));
    }
    if word(&found, "/metadata/deletionTimestamp").is_empty() {
        return Ok((End::Alive, found));
    }
    let node = word(&found, "/spec/nodeName").to_owned();
    let end = match session.get(&format!("/api/v1/nodes/{node}")).await {
        Ok(host) if !ready(&host) => End::Waiting(node),
        Ok(_) | Err(Fault::NotFound) => {
            let grace_s = found.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_u64).unwrap_or_default();
            End::Ending { grace_s }
        }
        Err(fault) => return Err(fault),
    };
    Ok((end, found))
}

/// The pods of the same controller, so that a new one among them is known for the replacement.
struct Succession {
    path: String,
    query: Option<String>,
    controller: String,
    words: String,
    before: BTreeSet<String>,
}

impl Succession {
    /// Reads them; a pod without a controller has no successor.
    async fn of(session: &mut Session, pod: &Value) -> Result<Option<Self>, Fault> {
        let controller = items(pod, "/metadata/ownerReferences").find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
        let Some(controller) = controller else { return Ok(None) };
        let labels = map(pod.pointer("/metadata/labels"));
        let shared = SHARED_LABELS.iter().find_map(|key| labels.get(*key).map(|value| format!("{key}={value}")));
        let mut succession = Self {
            path: format!("/api/v1/namespaces/{}/pods", word(pod, "/metadata/namespace")),
            query: shared,
            controller: word(controller, "/uid").to_owned(),
            words: format!("{} {}", word(controller, "/kind"), word(controller, "/name")),
            before: BTreeSet::new(),
        };
        succession.before = succession.members(session).await?.iter().map(|pod| word(pod, "/metadata/uid").to_owned()).collect();
        Ok(Some(succession))
    }

    async fn members(&self, session: &mut Session) -> Result<Vec<Value>, Fault> {
        let selector = self.query.as_deref().map(|selector| ("labelSelector", selector));
        let mut pods = session.list(&self.path, selector.as_slice()).await?;
        pods.retain(|pod| items(pod, "/metadata/ownerReferences").any(|owner| word(owner, "/uid") == self.controller));
        Ok(pods)
    }
}

/// Names the replacement, if one is seen soon. What cannot be read now does not undo that the pod is gone.
async fn replacement(session: &mut Session, succession: Option<&Succession>) -> String {
    let Some(succession) = succession else { return "it had no owner: nothing replaces it".into() };
    for look in 0..REPLACEMENT_LOOKS {
        if look > 0 {
            sleep(BETWEEN_LOOKS).await;
        }
        let pods = match succession.members(session).await {
            Ok(pods) => pods,
            Err(fault) => return format!("its replacement could not be looked for: {}", fault.words()),
        };
        if let Some(new) = pods.iter().find(|pod| !succession.before.contains(word(pod, "/metadata/uid"))) {
            let node = match word(new, "/spec/nodeName") {
                "" => "not scheduled yet".to_owned(),
                node => format!("on node {node}"),
            };
            return format!("{} replaced it by {}, {node}", succession.words, word(new, "/metadata/name"));
        }
    }
    format!("{} has not replaced it yet", succession.words)
}

fn ready(node: &Value) -> bool {
    items(node, "/status/conditions").any(|condition| word(condition, "/type") == "Ready" && word(condition, "/status") == "True")
}

fn awaiting(pod: &PodRef, node: &str) -> String {
    format!("pod {pod} is deleted; it ends when node {node}, which does not answer, is back")
}

fn removed(summary: String, already_so: bool) -> Receipt {
    Receipt { already_so, summary, ..Receipt::default() }
}

/// Deletes the policy of a suspect, once nothing carries the label that it selects.
pub(super) async fn allow_traffic(session: &mut Session, pod: &PodRef) -> Outcome {
    for _ in 0..LOOKS.saturating_mul(2) {
        match needs_policy(session, pod).await {
            Ok(false) => return delete_policy(session, pod).await,
            Ok(true) => sleep(BETWEEN_LOOKS).await,
            Err(fault) => return fault.into_outcome(),
        }
    }
    Outcome::Failed(Failure {
        kind: FailureKind::Deadline,
        message: format!("pod {pod} is still there, so its NetworkPolicy {} stays", policy_name(pod)),
        hint: Some("look at the pod and its node, then ask for the release again".into()),
    })
}

/// Looks whether it is gone.
pub(super) async fn observe_allowed_traffic(session: &mut Session, pod: &PodRef) -> Observation {
    match session.get(&format!("{}/{}", policies_path(pod), policy_name(pod))).await {
        Ok(_) => Observation::NotInPlace,
        Err(Fault::NotFound) => Observation::InPlace(lifted(pod, false)),
        Err(fault) => observation(fault.into_outcome()),
    }
}

/// Whether the suspect is there and carries the label.
async fn needs_policy(session: &mut Session, pod: &PodRef) -> Result<bool, Fault> {
    match session.get(&pod_path(pod)).await {
        Ok(found) => {
            Ok(word(&found, "/metadata/uid") == pod.uid.as_str() && map(found.pointer("/metadata/labels")).contains_key(QUARANTINE))
        }
        Err(Fault::NotFound) => Ok(false),
        Err(fault) => Err(fault),
    }
}

async fn delete_policy(session: &mut Session, pod: &PodRef) -> Outcome {
    let path = format!("{}/{}", policies_path(pod), policy_name(pod));
    let found = match session.get(&path).await {
        Ok(found) => found,
        Err(Fault::NotFound) => return Outcome::Succeeded(lifted(pod, true)),
        Err(fault) => return fault.into_outcome(),
    };
    if let Err(outcome) = judged(&found, pod) {
        return *outcome;
    }
    let options = json!({ "preconditions": { "uid": word(&found, "/metadata/uid") } });
    match session.delete(&path, &options).await {
        Ok(_) | Err(Fault::NotFound) => {}
        Err(fault) => return fault.into_outcome(),
    }
    match session.get(&path).await {
        Err(Fault::NotFound) => Outcome::Succeeded(lifted(pod, false)),
        Ok(_) => undone(&format!("NetworkPolicy {}", policy_name(pod))),
        Err(fault) => fault.after_write(),
    }
}

fn lifted(pod: &PodRef, already_so: bool) -> Receipt {
    removed(format!("NetworkPolicy {} is gone", policy_name(pod)), already_so)
}
