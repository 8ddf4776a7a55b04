//! Reading back what the Kubernetes steps left.

use std::collections::BTreeMap;

use serde_json::Value;
use stanch_commands::action::{PodIsolation, pods as count};
use stanch_commands::target::{NodeRef, PodRef};

use super::change::{bound_node, bound_pod, existing_policy, policies_path, policy_name};
use super::selectors::{map, selects};
use super::survey::{is_mirror, owner, pod_ref, pods_on};
use super::wire::{Fault, Session, word};
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

/// The pod must carry its labels, our policy must be there, and nobody else may select the pod but those that the plan named.
pub(super) async fn verify_pod(session: &mut Session, isolation: &PodIsolation) -> Outcome {
    let pod = &isolation.pod;
    let object = match bound_pod(session, pod).await {
        Ok(object) => object,
        Err(outcome) => return *outcome,
    };
    let labels = map(object.pointer("/metadata/labels"));
    let mut wrong: Vec<String> = Vec::new();
    let missing = isolation.labels.iter().filter(|(key, value)| labels.get(*key) != Some(*value));
    wrong.extend(missing.map(|(key, value)| format!("pod {pod} does not carry {key}={value}")));
    let back = isolation.removed.iter().filter(|key| labels.contains_key(*key));
    wrong.extend(back.map(|key| format!("pod {pod} carries the label {key} again")));
    // On the network of its node no policy binds it, and the plan made none.
    if object.pointer("/spec/hostNetwork") != Some(&Value::Bool(true)) {
        match existing_policy(session, pod).await {
            Ok(Some(())) => {}
            Ok(None) => wrong.push(format!("NetworkPolicy {} is not there", policy_name(pod))),
            Err(outcome) => return *outcome,
        }
    }
    let others = match selecting(session, pod, &labels).await {
        Ok(others) => others,
        Err(fault) => return fault.into_outcome(),
    };
    wrong.extend(others.into_iter().filter(|other| !isolation.still.contains(other)).map(|other| format!("{other} selects pod {pod}")));
    if !wrong.is_empty() {
        let hint = Some("ask for `isolate-pod` again: it plans on what selects the pod now".into());
        return Outcome::Failed(Failure { kind: FailureKind::Refused, message: wrong.join("; "), hint });
    }
    let summary = match (isolation.open.as_slice(), &isolation.enforced_by) {
        ([], Some(enforcer)) => {
            format!("pod {pod} is isolated: no other NetworkPolicy and no Service selects it, and {enforcer} enforces ours")
        }
        (open, _) => format!("pod {pod} is detached, but NOT isolated: {}", open.join("; ")),
    };
    Outcome::Succeeded(Receipt { summary, ..Receipt::default() })
}

/// Policies other than ours, and Services, that select these labels.
async fn selecting(session: &mut Session, pod: &PodRef, labels: &BTreeMap<String, String>) -> Result<Vec<String>, Fault> {
    let name = |object: &Value| word(object, "/metadata/name").to_owned();
    let everything = Value::Object(Default::default());
    let policies = session.list(&policies_path(pod), &[]).await?;
    let policies = policies
        .iter()
        .filter(|policy| name(policy) != policy_name(pod) && selects(policy.pointer("/spec/podSelector").or(Some(&everything)), labels))
        .map(|policy| format!("NetworkPolicy {}", name(policy)));
    let mut others: Vec<_> = policies.collect();
    let services = session.list(&format!("/api/v1/namespaces/{}/services", pod.namespace), &[]).await?;
    let serves = |service: &&Value| {
        let selector = map(service.pointer("/spec/selector"));
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    others.extend(services.iter().filter(serves).map(|service| format!("Service {}/{}", pod.namespace, name(service))));
    Ok(others)
}
