//! Changes of one object: read, compare, write under the bound uid, read back. The same comparison serves before, after, and when a lost
//! answer or a restart makes us look.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use stanch_commands::action::KubernetesAction;
pub(super) use stanch_commands::label::policy_name;
use stanch_commands::prior::{PodPrior, Toleration};
use stanch_commands::target::{NodeRef, PodRef, Uid};

use super::evidence::tolerations;
use super::selectors::map;
use super::wire::{Fault, Session, items, word};
use super::workload;
use crate::core::step::{Failure, FailureKind, Observation, Outcome, Receipt};

/// Writes under a changed resourceVersion before it is given up: kubelets write a node's status every few seconds.
const CONFLICTS: u32 = 5;
/// Keeps the autoscaler from removing a node.
pub(super) const SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
/// Takes a node out of load balancers.
pub(super) const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Keeps the autoscaler from removing a pod's node with it.
pub(super) const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
/// The labels that a suspect had, as JSON.
pub(super) const ORIGINAL_LABELS: &str = "stanch.dev/original-labels";
/// Selects exactly one suspect.
pub(super) const QUARANTINE: &str = "stanch.dev/quarantine";
/// Taints of a node that does not answer.
const UNREACHABLE: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// A wanted state of one object.
pub(super) struct Change<'a> {
    path: String,
    what: String,
    uid: &'a Uid,
    holds: Box<dyn Fn(&Value) -> bool + Send + Sync + 'a>,
    patch: Box<dyn Fn(&Value) -> Value + Send + Sync + 'a>,
    /// Why no patch can bring the object there.
    impossible: fn(&Value) -> Option<&'static str>,
    done: String,
}

impl<'a> Change<'a> {
    /// The change that an action is, if it is one of a single object that exists.
    pub(super) fn of(action: &'a KubernetesAction) -> Option<Self> {
        match action {
            KubernetesAction::Cordon(node) => Some(Self::schedulability(node, true)),
            KubernetesAction::Uncordon(node) => Some(Self::schedulability(node, false)),
            KubernetesAction::DisableScaleDown(node) => {
                Some(Self::mark(node, "annotations", SCALE_DOWN_DISABLED, true, "is kept by the autoscaler"))
            }
            KubernetesAction::AllowScaleDown(node) => {
                Some(Self::mark(node, "annotations", SCALE_DOWN_DISABLED, false, "may be removed by the autoscaler"))
            }
            KubernetesAction::ExcludeFromLoadBalancers(node) => {
                Some(Self::mark(node, "labels", EXCLUDED, true, "is out of external load balancers"))
            }
            KubernetesAction::IncludeInLoadBalancers(node) => {
                Some(Self::mark(node, "labels", EXCLUDED, false, "may be in external load balancers"))
            }
            KubernetesAction::RestorePod { prior, remove } => Some(Self {
                holds: Box::new(|pod| restored(pod, prior, remove)),
                patch: Box::new(|pod| restoring(pod, prior, remove)),
                ..Self::on_pod(&prior.pod, format!("pod {} has its labels and tolerations back", prior.pod))
            }),
            KubernetesAction::KeepWhileUnreachable(pod) => Some(Self {
                holds: Box::new(|pod| !deleted_when_unreachable(pod)),
                patch: Box::new(|pod| json!({ "spec": { "tolerations": patient_tolerations(pod) } })),
                impossible: intolerant,
                ..Self::on_pod(pod, format!("pod {pod} is kept while its node is unreachable"))
            }),
            KubernetesAction::KeepFromAutoscaler(pod) => Some(Self {
                holds: Box::new(|pod| map(pod.pointer("/metadata/annotations")).get(SAFE_TO_EVICT).is_some_and(|value| value == "false")),
                patch: Box::new(|_| json!({ "metadata": { "annotations": { SAFE_TO_EVICT: "false" } } })),
                ..Self::on_pod(pod, format!("pod {pod} is kept by the autoscaler"))
            }),
            KubernetesAction::ScaleToZero { workload, from } => Some(Self {
                path: workload::path(workload),
                what: workload.to_string(),
                uid: &workload.uid,
                holds: Box::new(|object| object.pointer("/spec/replicas") == Some(&json!(0))),
                patch: Box::new(|_| json!({ "spec": { "replicas": 0 } })),
                impossible: |_| None,
                done: format!("{workload} is scaled to 0; it had {from} replicas"),
            }),
            KubernetesAction::ScaleBack { workload, to } => Some(Self {
                path: workload::path(workload),
                what: workload.to_string(),
                uid: &workload.uid,
                holds: Box::new(|object| object.pointer("/spec/replicas").is_none_or(|replicas| *replicas != 0)),
                patch: Box::new(move |_| json!({ "spec": { "replicas": to } })),
                impossible: |_| None,
                done: format!("{workload} is scaled back to {to}"),
            }),
            KubernetesAction::LabelPod { pod, set, remove } => Some(Self {
                holds: Box::new(|object| labelled(object, set, remove)),
                patch: Box::new(|object| label_patch(object, set, remove)),
                ..Self::on_pod(pod, label_words(pod, set, remove))
            }),
            KubernetesAction::EndContainer { .. }
            | KubernetesAction::CapturePriorState { .. }
            | KubernetesAction::CollectEvidence { .. }
            | KubernetesAction::RunProbes { .. }
            | KubernetesAction::DenyPodTraffic(_)
            | KubernetesAction::AllowPodTraffic(_)
            | KubernetesAction::DeletePod { .. }
            | KubernetesAction::SaveManifests(_)
            | KubernetesAction::DeleteWorkload { .. }
            | KubernetesAction::VerifyPodIsolation(_)
            | KubernetesAction::VerifyWorkloadGone { .. }
            | KubernetesAction::Drain(_)
            | KubernetesAction::VerifyNode { .. } => None,
        }
    }

    fn on_node(node: &'a NodeRef, done: String) -> Self {
        let (path, what) = (format!("/api/v1/nodes/{}", node.name), format!("node {}", node.name));
        Self { path, what, uid: &node.uid, holds: Box::new(|_| false), patch: Box::new(|_| json!({})), impossible: |_| None, done }
    }

    fn on_pod(pod: &'a PodRef, done: String) -> Self {
        let (path, what) = (pod_path(pod), format!("pod {pod}"));
        Self { path, what, uid: &pod.uid, holds: Box::new(|_| false), patch: Box::new(|_| json!({})), impossible: |_| None, done }
    }

    fn schedulability(node: &'a NodeRef, unschedulable: bool) -> Self {
        let words = if unschedulable { "is cordoned" } else { "takes pods" };
        Self {
            holds: Box::new(move |node| (node.pointer("/spec/unschedulable") == Some(&Value::Bool(true))) == unschedulable),
            patch: Box::new(move |_| json!({ "spec": { "unschedulable": unschedulable } })),
            ..Self::on_node(node, format!("node {} {words}", node.name))
        }
    }

    /// A label or annotation of a node that is `true`, or not there.
    fn mark(node: &'a NodeRef, field: &'static str, key: &'static str, there: bool, words: &str) -> Self {
        let wanted = there.then_some("true");
        Self {
            holds: Box::new(move |node| map(node.pointer(&format!("/metadata/{field}"))).get(key).map(String::as_str) == wanted),
            patch: Box::new(move |_| json!({ "metadata": { field: { key: wanted } } })),
            ..Self::on_node(node, format!("node {} {words}", node.name))
        }
    }

    /// Brings the object into the wanted state.
    pub(super) async fn make(&self, session: &mut Session) -> Outcome {
        for attempt in 0..CONFLICTS {
            let object = match self.read(session).await {
                Ok(object) => object,
                Err(outcome) => return *outcome,
            };
            if (self.holds)(&object) {
                return self.succeeded(attempt == 0);
            }
            if let Some(why) = (self.impossible)(&object) {
                let message = format!("{}: {why}", self.what);
                return Outcome::Failed(Failure { kind: FailureKind::Refused, message, hint: None });
            }
            match session.patch(&self.path, &self.guarded(&object)).await {
                Ok(_) => return self.read_back(session).await,
                // The object changed since it was read: the bound facts are checked again.
                Err(Fault::Conflict(_)) => {}
                // A uid that does not match is answered like an invalid object; reading tells which it was.
                Err(Fault::Invalid(message)) => match self.read(session).await {
                    Ok(_) => return Fault::Invalid(message).into_outcome(),
                    Err(outcome) => return *outcome,
                },
                Err(fault) => return self.gone_or(fault),
            }
        }
        Fault::Conflict(format!("{} was changed {CONFLICTS} times meanwhile", self.what)).into_outcome()
    }

    /// Looks whether it is in the wanted state.
    pub(super) async fn observe(&self, session: &mut Session) -> Observation {
        match self.read(session).await {
            Ok(object) if (self.holds)(&object) => Observation::InPlace(self.receipt(false)),
            Ok(_) => Observation::NotInPlace,
            Err(outcome) => observation(*outcome),
        }
    }

    /// Reads the object; it must be the bound one.
    async fn read(&self, session: &mut Session) -> Result<Value, Box<Outcome>> {
        match session.get(&self.path).await {
            Ok(object) if word(&object, "/metadata/uid") == self.uid.as_str() => Ok(object),
            Ok(object) => Err(Box::new(another(&self.what, word(&object, "/metadata/uid")))),
            Err(fault) => Err(Box::new(self.gone_or(fault))),
        }
    }

    fn gone_or(&self, fault: Fault) -> Outcome {
        if fault == Fault::NotFound { gone(&self.what) } else { fault.into_outcome() }
    }

    /// The patch, bound to the object that was read: a namesake answers 422, a changed one 409.
    fn guarded(&self, object: &Value) -> Value {
        let mut patch = (self.patch)(object);
        if let Some(metadata) = patch.as_object_mut().map(|patch| patch.entry("metadata").or_insert_with(|| json!({})))
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.insert("uid".into(), json!(self.uid.as_str()));
            metadata.insert("resourceVersion".into(), json!(word(object, "/metadata/resourceVersion")));
        }
        patch
    }

    async fn read_back(&self, session: &mut Session) -> Outcome {
        match session.get(&self.path).await {
            Ok(object) if word(&object, "/metadata/uid") != self.uid.as_str() => another(&self.what, word(&object, "/metadata/uid")),
            Ok(object) if (self.holds)(&object) => self.succeeded(false),
            Ok(_) => undone(&self.what),
            Err(Fault::NotFound) => gone(&self.what),
            Err(fault) => fault.after_write(),
        }
    }

    fn receipt(&self, already_so: bool) -> Receipt {
        Receipt { already_so, summary: self.done.clone(), ..Receipt::default() }
    }

    fn succeeded(&self, already_so: bool) -> Outcome {
        Outcome::Succeeded(self.receipt(already_so))
    }
}

/// A NetworkPolicy that selects exactly this pod and lets nothing through.
pub(super) async fn deny_traffic(session: &mut Session, pod: &PodRef) -> Outcome {
    if let Err(outcome) = bound_pod(session, pod).await {
        return *outcome;
    }
    let (path, name) = (policies_path(pod), policy_name(pod));
    let done = |already_so| Outcome::Succeeded(policy_receipt(pod, already_so));
    match existing_policy(session, pod).await {
        Ok(Some(())) => return done(true),
        Ok(None) => {}
        Err(outcome) => return *outcome,
    }
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": name, "namespace": pod.namespace.as_str(), "labels": { "app.kubernetes.io/managed-by": "stanch" } },
        "spec": policy_spec(pod),
    });
    match session.post(&path, &policy).await {
        // Created by somebody else meanwhile: what counts is what it says.
        Ok(_) | Err(Fault::Conflict(_)) => {}
        Err(Fault::NotFound) => return gone(&format!("namespace {}", pod.namespace)),
        Err(fault) => return fault.into_outcome(),
    }
    match session.get(&format!("{path}/{name}")).await {
        Ok(found) => judged(&found, pod).map_or_else(|outcome| *outcome, |()| done(false)),
        Err(Fault::NotFound) => undone(&format!("NetworkPolicy {name}")),
        Err(fault) => fault.after_write(),
    }
}

/// Looks for that policy.
pub(super) async fn observe_denied_traffic(session: &mut Session, pod: &PodRef) -> Observation {
    if let Err(outcome) = bound_pod(session, pod).await {
        return observation(*outcome);
    }
    match existing_policy(session, pod).await {
        Ok(Some(())) => Observation::InPlace(policy_receipt(pod, false)),
        Ok(None) => Observation::NotInPlace,
        Err(outcome) => observation(*outcome),
    }
}

/// Whether the policy is there. One with another spec is an error: somebody else's, or tampered with.
pub(super) async fn existing_policy(session: &mut Session, pod: &PodRef) -> Result<Option<()>, Box<Outcome>> {
    let name = policy_name(pod);
    let found = match session.get(&format!("{}/{name}", policies_path(pod))).await {
        Ok(found) => found,
        Err(Fault::NotFound) => return Ok(None),
        Err(fault) => return Err(Box::new(fault.into_outcome())),
    };
    judged(&found, pod).map(Some)
}

/// Whether a policy of our name is ours to the letter.
pub(super) fn judged(found: &Value, pod: &PodRef) -> Result<(), Box<Outcome>> {
    let name = policy_name(pod);
    let (wanted, spec) = (policy_spec(pod), found.get("spec").cloned().unwrap_or_default());
    match spec == wanted {
        true => Ok(()),
        false => Err(Box::new(Outcome::Failed(Failure {
            kind: FailureKind::Refused,
            message: format!("NetworkPolicy {}/{name} exists with another spec: wanted {wanted}, found {spec}", pod.namespace),
            hint: Some("delete or correct that policy, then ask again".into()),
        }))),
    }
}

fn policy_spec(pod: &PodRef) -> Value {
    json!({ "podSelector": { "matchLabels": { QUARANTINE: pod.uid.as_str() } }, "policyTypes": ["Ingress", "Egress"] })
}

pub(super) fn policies_path(pod: &PodRef) -> String {
    format!("/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies", pod.namespace)
}

fn policy_receipt(pod: &PodRef, already_so: bool) -> Receipt {
    let summary = format!("NetworkPolicy {} denies all traffic of {pod} once it carries the label", policy_name(pod));
    Receipt { already_so, summary, ..Receipt::default() }
}

pub(super) fn pod_path(pod: &PodRef) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name)
}

/// The pod, which must be the bound one.
pub(super) async fn bound_pod(session: &mut Session, pod: &PodRef) -> Result<Value, Box<Outcome>> {
    bound(session, &pod_path(pod), &format!("pod {pod}"), &pod.uid).await
}

/// The node, which must be the bound one.
pub(super) async fn bound_node(session: &mut Session, node: &NodeRef) -> Result<Value, Box<Outcome>> {
    bound(session, &format!("/api/v1/nodes/{}", node.name), &format!("node {}", node.name), &node.uid).await
}

async fn bound(session: &mut Session, path: &str, what: &str, uid: &Uid) -> Result<Value, Box<Outcome>> {
    match session.get(path).await {
        Ok(object) if word(&object, "/metadata/uid") == uid.as_str() => Ok(object),
        Ok(object) => Err(Box::new(another(what, word(&object, "/metadata/uid")))),
        Err(Fault::NotFound) => Err(Box::new(gone(what))),
        Err(fault) => Err(Box::new(fault.into_outcome())),
    }
}

pub(super) fn gone(what: &str) -> Outcome {
    stale(format!("{what} is gone"))
}

fn another(what: &str, uid: &str) -> Outcome {
    stale(format!("{what} is another one now (uid {uid})"))
}

fn stale(message: String) -> Outcome {
    Outcome::Failed(Failure { kind: FailureKind::Stale, message, hint: Some("ask again, to plan on what is there now".into()) })
}

pub(super) fn undone(what: &str) -> Outcome {
    let message = format!("{what} was written, but reads back differently: something changes it back");
    Outcome::Failed(Failure { kind: FailureKind::Refused, message, hint: Some("look for a controller or GitOps tool that owns it".into()) })
}

/// What a failed reading means to somebody who only looks.
pub(super) fn observation(outcome: Outcome) -> Observation {
    match outcome {
        Outcome::Succeeded(receipt) => Observation::InPlace(receipt),
        Outcome::Failed(Failure { kind: FailureKind::Stale, message, .. }) => Observation::Gone(message),
        Outcome::Failed(failure) => Observation::Unclear(failure.message),
        Outcome::Unknown(why) => Observation::Unclear(why),
    }
}

fn labelled(object: &Value, set: &BTreeMap<String, String>, remove: &BTreeSet<String>) -> bool {
    let labels = map(object.pointer("/metadata/labels"));
    set.iter().all(|(key, value)| labels.get(key) == Some(value)) && !remove.iter().any(|key| labels.contains_key(key))
}

/// Sets and removes labels in one patch; what is removed or overwritten is kept, unless an earlier patch has kept it already.
fn label_patch(object: &Value, set: &BTreeMap<String, String>, remove: &BTreeSet<String>) -> Value {
    let labels = map(object.pointer("/metadata/labels"));
    let mut patch: Map<String, Value> = set.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    patch.extend(remove.iter().filter(|key| labels.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
    let mut kept: BTreeMap<String, String> = map(object.pointer("/metadata/annotations"))
        .get(ORIGINAL_LABELS)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let lost = labels.into_iter().filter(|(key, value)| remove.contains(key) || set.get(key).is_some_and(|new| new != value));
    for (key, value) in lost {
        kept.entry(key).or_insert(value);
    }
    match kept.is_empty() {
        true => json!({ "metadata": { "labels": patch } }),
        false => json!({ "metadata": { "labels": patch, "annotations": { ORIGINAL_LABELS: json!(kept).to_string() } } }),
    }
}

/// The labels that a release removes: those that Stanch set and the pod did not have.
fn strange<'l>(prior: &PodPrior, remove: &'l BTreeSet<String>) -> impl Iterator<Item = &'l String> {
    remove.iter().filter(|key| !prior.labels.contains_key(*key))
}

fn restored(pod: &Value, prior: &PodPrior, remove: &BTreeSet<String>) -> bool {
    let labels = map(pod.pointer("/metadata/labels"));
    let annotated = map(pod.pointer("/metadata/annotations")).contains_key(ORIGINAL_LABELS);
    prior.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && !strange(prior, remove).any(|key| labels.contains_key(key))
        && !annotated
        && map(pod.pointer("/metadata/annotations")).get(SAFE_TO_EVICT) == prior.annotations.get(SAFE_TO_EVICT)
        && tolerations(pod) == with_ends(pod, prior)
}

fn restoring(pod: &Value, prior: &PodPrior, remove: &BTreeSet<String>) -> Value {
    let mut labels: Map<String, Value> = prior.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    labels.extend(strange(prior, remove).map(|key| (key.clone(), Value::Null)));
    json!({
        "metadata": { "labels": labels, "annotations": { ORIGINAL_LABELS: null, SAFE_TO_EVICT: prior.annotations.get(SAFE_TO_EVICT) } },
        "spec": { "tolerations": with_ends(pod, prior) },
    })
}

/// The pod's tolerations, each with the end that it had. None is added or removed: the API refuses the second, and neither is ours to do.
fn with_ends(pod: &Value, prior: &PodPrior) -> Vec<Toleration> {
    let endless = |toleration: &Toleration| Toleration { toleration_seconds: None, ..toleration.clone() };
    let end = |found: &Toleration| prior.tolerations.iter().find(|before| endless(before) == endless(found));
    tolerations(pod).into_iter().map(|found| end(&found).cloned().unwrap_or(found)).collect()
}

fn label_words(pod: &PodRef, set: &BTreeMap<String, String>, remove: &BTreeSet<String>) -> String {
    let set = set.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
    match remove.is_empty() {
        true => format!("pod {pod} carries {set}"),
        false => format!("pod {pod} carries {set} and left its Services and owner"),
    }
}

/// Whether the pod is deleted some time after its node stopped to answer: for one of the two taints, the first toleration that matches
/// has an end, or none matches.
pub(super) fn deleted_when_unreachable(pod: &Value) -> bool {
    let list: Vec<&Value> = items(pod, "/spec/tolerations").collect();
    UNREACHABLE.iter().any(|taint| {
        list.iter().find(|toleration| tolerates(toleration, taint)).is_none_or(|first| first.get("tolerationSeconds").is_some())
    })
}

/// The tolerations without an end for the two taints. Nothing is added or reordered: only the first match counts, and an added toleration
/// can never be removed.
fn patient_tolerations(pod: &Value) -> Vec<Value> {
    let mut list: Vec<Value> = items(pod, "/spec/tolerations").cloned().collect();
    for taint in UNREACHABLE {
        if let Some(Value::Object(first)) = list.iter_mut().find(|toleration| tolerates(toleration, taint)) {
            first.remove("tolerationSeconds");
        }
    }
    list
}

/// A taint that nothing tolerates deletes the pod, and a toleration that was added could never be removed again.
fn intolerant(pod: &Value) -> Option<&'static str> {
    let tolerated = |taint: &&str| items(pod, "/spec/tolerations").any(|toleration| tolerates(toleration, taint));
    let all = UNREACHABLE.iter().all(tolerated);
    (!all).then_some(
        "it tolerates no unreachable node at all, so it is deleted soon after the node is cut off, and no change can prevent that",
    )
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let effect = matches!(word(toleration, "/effect"), "" | "NoExecute");
    let exists = word(toleration, "/operator") == "Exists";
    let (key, value) = (word(toleration, "/key"), word(toleration, "/value"));
    effect && ((key.is_empty() && exists) || (key == taint && (exists || value.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_are_lost_are_kept_once() {
        let object = json!({ "metadata": { "labels": { "app": "cart", "tier": "web" } } });
        let set = BTreeMap::from([("tier".to_owned(), "quarantine".to_owned())]);
        let remove = BTreeSet::from(["app".to_owned(), "absent".to_owned()]);
        let patch = label_patch(&object, &set, &remove);
        let kept = "{\"app\":\"cart\",\"tier\":\"web\"}";
        assert_eq!(
            patch,
            json!({ "metadata": { "labels": { "tier": "quarantine", "app": null }, "annotations": { ORIGINAL_LABELS: kept } } })
        );
        // The second time there is nothing to lose but our own label, and the originals stay.
        let again = json!({ "metadata": { "labels": { "tier": "other" }, "annotations": { ORIGINAL_LABELS: kept } } });
        assert_eq!(label_patch(&again, &set, &remove).pointer("/metadata/annotations"), Some(&json!({ ORIGINAL_LABELS: kept })));
    }

    #[test]
    fn only_the_first_matching_toleration_counts() {
        let ends = |list: Value| deleted_when_unreachable(&json!({ "spec": { "tolerations": list } }));
        let toleration = |key: &str, seconds: Option<u32>| match seconds {
            Some(seconds) => json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds }),
            None => json!({ "key": key, "operator": "Exists", "effect": "NoExecute" }),
        };
        let [not_ready, unreachable] = UNREACHABLE;
        assert!(ends(json!([])));
        assert!(ends(json!([toleration(not_ready, Some(300)), toleration(unreachable, None)])));
        assert!(!ends(json!([toleration(not_ready, None), toleration(unreachable, None)])));
        assert!(!ends(json!([{ "operator": "Exists" }, toleration(unreachable, Some(300))])));
        let patient = patient_tolerations(
            &json!({ "spec": { "tolerations": [toleration(not_ready, Some(300)), toleration(unreachable, Some(300))] } }),
        );
        assert_eq!(patient, [toleration(not_ready, None), toleration(unreachable, None)]);
    }
}
