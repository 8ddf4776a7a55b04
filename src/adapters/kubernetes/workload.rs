//! What keeps a pod running: the chain of its owners, all of their pods, and who else has a hand in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stanch_commands::facts::WorkloadFacts;
use stanch_commands::target::{NodeName, PodRef, WorkloadKind, WorkloadRef};

use super::selectors::{keys, map};
use super::survey::pod_ref;
use super::wire::{Fault, Session, items, word};

/// Owners of owners: a pod has at most two that Kubernetes makes itself; more would be a circle.
const LONGEST_CHAIN: usize = 4;

/// Marks of tools that make objects again: where, which key, and whose it is.
const MARKS: [(&str, &str, &str); 9] = [
    ("labels", "argocd.argoproj.io/instance", "Argo CD application"),
    ("annotations", "argocd.argoproj.io/tracking-id", "Argo CD, tracked as"),
    ("labels", "kustomize.toolkit.fluxcd.io/name", "Flux Kustomization"),
    ("labels", "helm.toolkit.fluxcd.io/name", "Flux HelmRelease"),
    ("annotations", "configsync.gke.io/resource-id", "Config Sync, as"),
    ("annotations", "configmanagement.gke.io/managed", "Config Sync, managed"),
    ("labels", "addonmanager.kubernetes.io/mode", "GKE's addon manager, mode"),
    ("annotations", "meta.helm.sh/release-name", "Helm release (with the next upgrade)"),
    ("labels", "app.kubernetes.io/instance", "perhaps Argo CD, whose oldest way of tracking is this label:"),
];

/// The workload of a pod, and the label keys by which the pod's own controller holds it.
///
/// # Errors
/// If the pod's own controller cannot be read: without its selector nobody knows how to detach the pod. What is beyond is named in
/// [`WorkloadFacts::unread`] instead, because a containment does not need it.
pub(super) async fn survey(session: &mut Session, pod: &Value) -> Result<(WorkloadFacts, BTreeSet<String>), Fault> {
    let mut facts = WorkloadFacts::default();
    let (mut object, mut selector) = (pod.clone(), BTreeSet::new());
    while let Some(owner) = controller(&object) {
        let named = format!("{} {}", word(&owner, "/kind"), word(&owner, "/name"));
        let Some(bound) = reference(&owner, word(pod, "/metadata/namespace")).filter(|_| facts.chain.len() < LONGEST_CHAIN) else {
            facts.above = Some(format!("{named} ({}) controls it, a kind that Stanch does not know", word(&owner, "/apiVersion")));
            break;
        };
        let found = match session.get(&path(&bound)).await {
            Ok(found) if word(&found, "/metadata/uid") == bound.uid.as_str() => found,
            Ok(_) | Err(Fault::NotFound) => {
                facts.above = Some(format!("{named} controls it, but is gone: Kubernetes is about to delete what it owned"));
                break;
            }
            Err(fault) if facts.chain.is_empty() => return Err(fault),
            Err(fault) => {
                facts.above = Some(format!("{named} controls it, but cannot be read: {}", fault.words()));
                break;
            }
        };
        if facts.chain.is_empty() {
            selector = match bound.kind == WorkloadKind::ReplicationController {
                true => map(found.pointer("/spec/selector")).into_keys().collect(),
                false => keys(found.pointer("/spec/selector")),
            };
        }
        facts.chain.push(bound);
        object = found;
    }
    facts.makers = makers(&object, facts.above.is_none());
    if let Some(top) = facts.chain.last().cloned() {
        beyond(session, &top, &object, &mut facts).await;
    }
    Ok((facts, selector))
}

/// Everything else that bears on the highest owner.
async fn beyond(session: &mut Session, top: &WorkloadRef, object: &Value, facts: &mut WorkloadFacts) {
    facts.replicas = object.pointer("/spec/replicas").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
    facts.deletes_claims = word(object, "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted") == "Delete";
    match pods(session, top, object).await {
        Ok(pods) => facts.pods = pods,
        Err(fault) => facts.unread.push(format!("its pods: {}", fault.words())),
    }
    let scalers = format!("/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers", top.namespace);
    match session.list(&scalers, &[]).await {
        Ok(scalers) => {
            let scales = |scaler: &&Value| {
                facts.chain.iter().any(|owner| {
                    word(scaler, "/spec/scaleTargetRef/kind") == owner.kind.as_str()
                        && word(scaler, "/spec/scaleTargetRef/name") == owner.name.as_str()
                })
            };
            facts.autoscalers = scalers.iter().filter(scales).map(|scaler| word(scaler, "/metadata/name").to_owned()).collect();
        }
        Err(fault) => facts.unread.push(format!("its autoscalers: {}", fault.words())),
    }
}

/// The pods that the highest owner keeps, directly or through what it owns.
async fn pods(session: &mut Session, top: &WorkloadRef, object: &Value) -> Result<Vec<(PodRef, Option<NodeName>)>, Fault> {
    let namespace = &top.namespace;
    let labels = match top.kind == WorkloadKind::ReplicationController {
        // Its selector is a plain map.
        true => map(object.pointer("/spec/selector")),
        false => map(object.pointer("/spec/selector/matchLabels")),
    };
    let selector = labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    let query: &[(&str, &str)] = if selector.is_empty() { &[] } else { &[("labelSelector", &selector)] };
    let between = match top.kind {
        WorkloadKind::Deployment => Some(format!("/apis/apps/v1/namespaces/{namespace}/replicasets")),
        WorkloadKind::CronJob => Some(format!("/apis/batch/v1/namespaces/{namespace}/jobs")),
        WorkloadKind::ReplicaSet
        | WorkloadKind::StatefulSet
        | WorkloadKind::DaemonSet
        | WorkloadKind::Job
        | WorkloadKind::ReplicationController => None,
    };
    let mut owners = BTreeSet::from([top.uid.to_string()]);
    if let Some(path) = between {
        let found = session.list(&path, query).await?;
        owners.extend(
            found
                .iter()
                .filter(|object| owned_by(object, &owners))
                .map(|object| word(object, "/metadata/uid").to_owned())
                .collect::<Vec<_>>(),
        );
    }
    let found = session.list(&format!("/api/v1/namespaces/{namespace}/pods"), query).await?;
    let mut pods: Vec<(PodRef, Option<NodeName>)> = found
        .iter()
        .filter(|pod| owned_by(pod, &owners))
        .filter_map(|pod| Some((pod_ref(pod)?, word(pod, "/spec/nodeName").parse().ok())))
        .collect();
    pods.sort();
    Ok(pods)
}

/// Whether its controller is one of these, by uid.
pub(super) fn owned_by(object: &Value, owners: &BTreeSet<String>) -> bool {
    controller(object).is_some_and(|owner| owners.contains(word(&owner, "/uid")))
}

fn controller(object: &Value) -> Option<Value> {
    items(object, "/metadata/ownerReferences").find(|owner| owner.get("controller") == Some(&Value::Bool(true))).cloned()
}

/// An owner reference as a workload, if it is of a kind that Kubernetes itself brings.
fn reference(owner: &Value, namespace: &str) -> Option<WorkloadRef> {
    let known = |kind: &&WorkloadKind| word(owner, "/kind") == kind.as_str() && word(owner, "/apiVersion") == kind.api_version();
    Some(WorkloadRef {
        kind: *WorkloadKind::ALL.iter().find(known)?,
        namespace: namespace.parse().ok()?,
        name: word(owner, "/name").parse().ok()?,
        uid: word(owner, "/uid").parse().ok()?,
    })
}

/// Path of a workload.
pub(super) fn path(workload: &WorkloadRef) -> String {
    let version = workload.kind.api_version();
    let api = if version.contains('/') { "apis" } else { "api" };
    let plural = format!("{}s", workload.kind.as_str().to_ascii_lowercase());
    format!("/{api}/{version}/namespaces/{}/{plural}/{}", workload.namespace, workload.name)
}

/// Who would make the object again, as its marks say, and who owns it besides its controller.
fn makers(object: &Value, complete: bool) -> Vec<String> {
    let fields: BTreeMap<&str, BTreeMap<String, String>> =
        ["labels", "annotations"].into_iter().map(|field| (field, map(object.pointer(&format!("/metadata/{field}"))))).collect();
    let by_helm = fields.get("annotations").is_some_and(|annotations| annotations.contains_key("meta.helm.sh/release-name"));
    let marked = MARKS.iter().filter_map(|(field, key, whose)| {
        let value = fields.get(field)?.get(*key)?;
        // Charts set this label too; the release says more.
        let vague = *key == "app.kubernetes.io/instance" && by_helm;
        (!vague).then(|| format!("{whose} {value}"))
    });
    let owners = items(object, "/metadata/ownerReferences").filter(|_| complete);
    let owners =
        owners.map(|owner| format!("its owner {} {} ({})", word(owner, "/kind"), word(owner, "/name"), word(owner, "/apiVersion")));
    marked.chain(owners).collect()
}
