//! Workloads: their manifests saved, the highest deleted by its uid, and the proof that all of it is gone.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stanch_commands::action::pods as count;
use stanch_commands::target::{PodRef, WorkloadRef};
use tokio::time::sleep;

use super::change::{gone, observation, undone};
use super::evidence::redacted;
use super::wire::{Fault, Session, word};
use super::workload::{owned_by, path};
use crate::core::step::{Artefact, Failure, FailureKind, Observation, Outcome, Receipt};

/// Between two looks. The list of a namespace's pods is the dearest call of these.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Names in a message.
const NAMED: usize = 10;

/// How a workload stands.
enum Stand {
    /// It is gone; another one of its name is there, if its uid is given.
    Gone(Option<String>),
    /// It is deleted, and waits for what it owns.
    Ending,
    /// Nobody has deleted it.
    There,
}

/// Reads the manifests into files. They are complete, but for the values of environment variables.
pub(super) async fn save(session: &mut Session, workloads: &[WorkloadRef]) -> (Outcome, Vec<Artefact>) {
    let mut files = Vec::new();
    for workload in workloads {
        let object = match session.get(&path(workload)).await {
            Ok(object) if word(&object, "/metadata/uid") == workload.uid.as_str() => object,
            Ok(_) | Err(Fault::NotFound) => return (gone(&workload.to_string()), vec![]),
            Err(fault) => return (fault.into_outcome(), vec![]),
        };
        let kind = workload.kind.as_str().to_ascii_lowercase();
        let path = format!("workloads/{}/{kind}-{}.json", workload.namespace, workload.name);
        files.push(Artefact { path, content: serde_json::to_vec_pretty(&redacted(object)).unwrap_or_default() });
    }
    let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let summary = format!("manifests are saved as {}; values of environment variables are not in them", names.join(", "));
    (Outcome::Succeeded(Receipt { summary, ..Receipt::default() }), files)
}

/// Deletes a workload.
pub(super) async fn delete(session: &mut Session, workload: &WorkloadRef) -> Outcome {
    match stand(session, workload).await {
        Ok(Stand::There) => {}
        Ok(stand) => return Outcome::Succeeded(receipt(workload, &stand, true)),
        Err(fault) => return fault.into_outcome(),
    }
    // The owner goes last: its controllers start nothing more, and nobody makes one of its name before all is gone.
    let options = json!({ "propagationPolicy": "Foreground", "preconditions": { "uid": workload.uid.as_str() } });
    match session.delete(&path(workload), &options).await {
        // A conflict is another uid: the next look tells.
        Ok(_) | Err(Fault::NotFound | Fault::Conflict(_)) => {}
        Err(fault) => return fault.into_outcome(),
    }
    match stand(session, workload).await {
        Ok(Stand::There) => undone(&format!("the deletion of {workload}")),
        Ok(stand) => Outcome::Succeeded(receipt(workload, &stand, false)),
        Err(fault) => fault.after_write(),
    }
}

/// Looks whether it is deleted.
pub(super) async fn observe(session: &mut Session, workload: &WorkloadRef) -> Observation {
    match stand(session, workload).await {
        Ok(Stand::There) => Observation::NotInPlace,
        Ok(stand) => Observation::InPlace(receipt(workload, &stand, false)),
        Err(fault) => observation(fault.into_outcome()),
    }
}

/// Looks until workloads and pods are gone, or the deadline has passed.
pub(super) async fn verify(session: &mut Session, workloads: &[WorkloadRef], pods: &[PodRef], deadline_s: u32) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(deadline_s.into());
    loop {
        let left = match left(session, workloads, pods).await {
            Ok(left) => left,
            Err(fault) => return fault.into_outcome(),
        };
        if let Some(again) = left.again {
            let message = format!("{again} is there again: something made it again after it was deleted");
            let hint = Some("stop the tool or operator that makes it (Argo CD, Flux, Helm …), then ask again".into());
            return Outcome::Failed(Failure { kind: FailureKind::Refused, message, hint });
        }
        if left.what.is_empty() {
            let names: Vec<String> = workloads.iter().map(ToString::to_string).chain([count(pods.len())]).collect();
            let summary = format!("gone, and not made again: {}", names.join(", "));
            return Outcome::Succeeded(Receipt { summary, ..Receipt::default() });
        }
        if Instant::now() >= deadline {
            let more = left.what.len().saturating_sub(NAMED);
            let more = if more == 0 { String::new() } else { format!(", and {more} more") };
            let shown = left.what.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
            let message = format!("still there after {deadline_s} s: {shown}{more}");
            let hint = Some("look for finalizers, and at nodes that do not answer; nothing was forced".into());
            return Outcome::Failed(Failure { kind: FailureKind::Deadline, message, hint });
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

/// What is still there.
struct Left {
    what: Vec<String>,
    /// A workload of the same name with another uid.
    again: Option<String>,
}

async fn left(session: &mut Session, workloads: &[WorkloadRef], pods: &[PodRef]) -> Result<Left, Fault> {
    let mut left = Left { what: vec![], again: None };
    let namespace = workloads.iter().map(|workload| &workload.namespace).chain(pods.iter().map(|pod| &pod.namespace)).next();
    let Some(namespace) = namespace else { return Ok(left) };
    for workload in workloads {
        match stand(session, workload).await? {
            Stand::Gone(None) => {}
            Stand::Gone(Some(uid)) => left.again = Some(format!("{workload} (uid {uid})")),
            Stand::Ending => left.what.push(format!("{workload} (Terminating)")),
            Stand::There => left.what.push(workload.to_string()),
        }
    }
    let owners: BTreeSet<String> = workloads.iter().map(|workload| workload.uid.to_string()).collect();
    let bound: BTreeSet<&str> = pods.iter().map(|pod| pod.uid.as_str()).collect();
    let found = session.list(&format!("/api/v1/namespaces/{namespace}/pods"), &[]).await?;
    let of_them = |pod: &&Value| bound.contains(word(pod, "/metadata/uid")) || owned_by(pod, &owners);
    left.what.extend(found.iter().filter(of_them).map(|pod| {
        let ending = if word(pod, "/metadata/deletionTimestamp").is_empty() { "" } else { "Terminating " };
        format!("pod {} ({ending}on {})", word(pod, "/metadata/name"), word(pod, "/spec/nodeName"))
    }));
    Ok(left)
}

async fn stand(session: &mut Session, workload: &WorkloadRef) -> Result<Stand, Fault> {
    match session.get(&path(workload)).await {
        Ok(found) if word(&found, "/metadata/uid") != workload.uid.as_str() => {
            Ok(Stand::Gone(Some(word(&found, "/metadata/uid").to_owned())))
        }
        Ok(found) if word(&found, "/metadata/deletionTimestamp").is_empty() => Ok(Stand::There),
        Ok(_) => Ok(Stand::Ending),
        Err(Fault::NotFound) => Ok(Stand::Gone(None)),
        Err(fault) => Err(fault),
    }
}

fn receipt(workload: &WorkloadRef, stand: &Stand, already_so: bool) -> Receipt {
    let summary = match stand {
        Stand::Gone(None) => format!("{workload} is gone"),
        Stand::Gone(Some(uid)) => format!("{workload} is gone; another one of its name is there (uid {uid})"),
        Stand::Ending | Stand::There => format!("{workload} is deleted, and goes after everything that it owns"),
    };
    Receipt { already_so, summary, ..Receipt::default() }
}
