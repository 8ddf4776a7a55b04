//! Reading back what the Kubernetes steps left.

use std::collections::BTreeMap;

use serde_json::Value;
use stanch_commands::action::pods as count;
use stanch_commands::target::{NodeRef, PodRef};

use super::change::{bound_node, bound_pod};
use super::selectors::map;
use super::survey::{is_mirror, owner, pod_ref, pods_on};
use super::wire::Session;
use crate::core::step::{Failure, FailureKind, Outcome, Receipt};

/// The node must be cordoned and the suspects must be there as they should be. What else is left on the node is named.
pub(super) async fn verify(session: &mut Session, node: &NodeRef, suspects: &[(PodRef, BTreeMap<String, String>)]) -> Outcome {
    let mut wrong = Vec::new();
    match bound_node(session, node).await {
        Ok(object) if object.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) => {}
        Ok(_) => wrong.push(format!("node {} is not cordoned", node.name)),
        Err(outcome) => return *outcome,
    }
    for (suspect, labels) in suspects {
        let found = match bound_pod(session, suspect).await {
            Ok(pod) => map(pod.pointer("/metadata/labels")),
            Err(outcome) => return *outcome,
        };
        let missing = labels.iter().filter(|(key, value)| found.get(*key) != Some(*value));
        wrong.extend(missing.map(|(key, value)| format!("pod {suspect} does not carry {key}={value}")));
    }
    let on_node = match pods_on(session, &node.name).await {
        Ok(pods) => pods,
        Err(fault) => return fault.into_outcome(),
    };
    let stays = |pod: &Value| is_mirror(pod) || owner(pod).is_some_and(|owner| owner.kind == "DaemonSet");
    let strangers: Vec<(PodRef, bool)> = on_node
        .iter()
        .filter(|pod| !stays(pod))
        .filter_map(|pod| Some((pod_ref(pod)?, pod.pointer("/metadata/deletionTimestamp").is_some())))
        .filter(|(pod, _)| !suspects.iter().any(|(suspect, _)| suspect == pod))
        .collect();
    if !wrong.is_empty() {
        return Outcome::Failed(Failure { kind: FailureKind::Refused, message: wrong.join("; "), hint: None });
    }
    let left = match strangers.len() {
        0 => "only the suspect and pods that stay are on it".to_owned(),
        others => format!("{} are still on it", count(others)),
    };
    let details = strangers.into_iter().map(|(pod, terminating)| match terminating {
        true => format!("still on the node, Terminating: {pod}"),
        false => format!("still on the node: {pod}"),
    });
    let summary = format!("node {} is cordoned, {left}", node.name);
    Outcome::Succeeded(Receipt { summary, details: details.collect(), ..Receipt::default() })
}
