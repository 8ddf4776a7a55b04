//! Reading what is to be restored later, and what an investigation needs. Nothing here touches a container or changes an object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stanch_commands::prior::{NodePrior, PodPrior, Prior, Toleration};
use stanch_commands::target::{NodeRef, PodRef};

use super::change::{EXCLUDED, ORIGINAL_LABELS, SAFE_TO_EVICT, SCALE_DOWN_DISABLED, bound_node, bound_pod, pod_path};
use super::selectors::map;
use super::survey::pods_on;
use super::wire::{Fault, Session, items, word};
use crate::core::step::{Artefact, Outcome, Receipt};

/// Log lines of one container, newest first to be kept: a day of a chatty service.
const LOG_LINES: u32 = 20_000;
/// Log bytes of one container: what 20,000 lines of 200 characters are.
const LOG_LIMIT_BYTES: u32 = 4 << 20;
/// Owners of owners: Pod, ReplicaSet, Deployment, and one for an operator.
const LONGEST_CHAIN: usize = 4;
/// Bytes of a suspect's labels that are kept: 250 labels of the usual length.
const LABELS_LIMIT_BYTES: usize = 12 << 10;
/// Bytes of an annotation that is kept: the original labels of a pod.
const LONGEST_ANNOTATION: usize = 4 << 10;
/// Tolerations that are kept; a pod has two to ten.
const MOST_TOLERATIONS: usize = 50;
/// An environment variable's value may be a secret.
const REDACTED: &str = "[redacted by Stanch]";

/// Reads what later steps will change.
pub(super) async fn capture(session: &mut Session, node: &NodeRef, suspects: &[PodRef]) -> Outcome {
    let object = match bound_node(session, node).await {
        Ok(object) => object,
        Err(outcome) => return *outcome,
    };
    let mut pods = Vec::new();
    for suspect in suspects {
        match bound_pod(session, suspect).await {
            Ok(pod) => pods.push(PodPrior {
                pod: suspect.clone(),
                labels: bounded(map(pod.pointer("/metadata/labels"))),
                annotations: only(map(pod.pointer("/metadata/annotations")), &[SAFE_TO_EVICT, ORIGINAL_LABELS]),
                tolerations: tolerations(&pod).into_iter().take(MOST_TOLERATIONS).collect(),
            }),
            Err(outcome) => return *outcome,
        }
    }
    let prior = NodePrior {
        node: node.clone(),
        unschedulable: object.pointer("/spec/unschedulable") == Some(&Value::Bool(true)),
        labels: only(map(object.pointer("/metadata/labels")), &[EXCLUDED]),
        annotations: only(map(object.pointer("/metadata/annotations")), &[SCALE_DOWN_DISABLED]),
        suspects: pods,
    };
    let summary = format!("prior state of node {} and {} is saved", node.name, stanch_commands::action::pods(suspects.len()));
    Outcome::Succeeded(Receipt { summary, prior: Some(Prior::Node(Box::new(prior))), ..Receipt::default() })
}

/// What Stanch changes, and nothing else: whoever owns the node or the pod can write 256 KiB of annotations, more than a record takes.
fn only(all: BTreeMap<String, String>, keys: &[&str]) -> BTreeMap<String, String> {
    all.into_iter().filter(|(key, value)| keys.contains(&key.as_str()) && value.len() <= LONGEST_ANNOTATION).collect()
}

/// The labels up to a limit, in order: a prior state that is not complete must not keep anybody from containing the pod.
fn bounded(all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut bytes = 0_usize;
    all.into_iter()
        .take_while(|(key, value)| {
            bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
            bytes <= LABELS_LIMIT_BYTES
        })
        .collect()
}

pub(super) fn tolerations(pod: &Value) -> Vec<Toleration> {
    items(pod, "/spec/tolerations").filter_map(|toleration| serde_json::from_value(toleration.clone()).ok()).collect()
}

/// Reads objects, events and logs. What is missing is named, and does not fail the rest.
pub(super) async fn collect(session: &mut Session, node: &NodeRef, suspects: &[PodRef]) -> (Outcome, Vec<Artefact>) {
    let mut bundle = Bundle::default();
    match bound_node(session, node).await {
        Ok(object) => bundle.object("node.json".into(), &redacted(object)),
        Err(outcome) => return (*outcome, vec![]),
    }
    let about = format!("involvedObject.kind=Node,involvedObject.name={}", node.name);
    let events = session.list("/api/v1/namespaces/default/events", &[("fieldSelector", &about)]).await;
    bundle.list("node-events.json".into(), events);
    bundle.list("pods-on-node.json".into(), pods_on(session, &node.name).await);
    for suspect in suspects {
        let pod = match bound_pod(session, suspect).await {
            Ok(pod) => pod,
            Err(outcome) => return (*outcome, bundle.files),
        };
        suspect_files(session, suspect, pod, &mut bundle).await;
    }
    let missing = if bundle.missing.is_empty() { String::new() } else { format!(", {} not to be had", bundle.missing.len()) };
    let summary = format!("{} files of evidence{missing}", bundle.files.len());
    let missing = bundle.missing.into_iter().map(|what| format!("missing: {what}"));
    let details = bundle.findings.into_iter().chain(missing).collect();
    (Outcome::Succeeded(Receipt { summary, details, ..Receipt::default() }), bundle.files)
}

async fn suspect_files(session: &mut Session, suspect: &PodRef, pod: Value, bundle: &mut Bundle) {
    let folder = format!("pods/{}/{}", suspect.namespace, suspect.name);
    let namespace = format!("/api/v1/namespaces/{}", suspect.namespace);
    let about = format!("involvedObject.uid={}", suspect.uid);
    let events = session.list(&format!("{namespace}/events"), &[("fieldSelector", &about)]).await;
    bundle.list(format!("{folder}/events.json"), events);
    let account = session.get(&format!("{namespace}/serviceaccounts/{}", word(&pod, "/spec/serviceAccountName"))).await;
    identity(suspect, &pod, account.as_ref().ok(), folder.as_str(), bundle);
    bundle.answer(format!("{folder}/service-account.json"), account);
    bundle.object(format!("{folder}/images.json"), &images(&pod));
    let policies = format!("/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies", suspect.namespace);
    bundle.list(format!("{folder}/network-policies.json"), session.list(&policies, &[]).await);
    for container in ["/spec/initContainers", "/spec/containers"].into_iter().flat_map(|list| items(&pod, list)) {
        logs(session, suspect, &folder, word(container, "/name"), bundle).await;
    }
    owners(session, suspect, &folder, &pod, bundle).await;
    bundle.object(format!("{folder}/secret-names.json"), &json!(secret_names(&pod)));
    bundle.object(format!("{folder}/pod.json"), &redacted(pod));
}

/// As whom the pod acts: its Kubernetes account, and the Google account that Workload Identity binds to that. Both stay usable.
fn identity(suspect: &PodRef, pod: &Value, account: Option<&Value>, folder: &str, bundle: &mut Bundle) {
    let name = word(pod, "/spec/serviceAccountName");
    let google = account.map(|account| word(account, "/metadata/annotations/iam.gke.io~1gcp-service-account")).unwrap_or_default();
    let bound = if google.is_empty() { "bound to no Google account" } else { google };
    bundle.findings.push(format!("{suspect} acts as {}/{name}, {bound}", suspect.namespace));
    bundle.object(
        format!("{folder}/identity.json"),
        &json!({
            "service_account": format!("{}/{name}", suspect.namespace),
            "google_service_account": (!google.is_empty()).then_some(google),
            "mounts_token": pod.pointer("/spec/automountServiceAccountToken") != Some(&Value::Bool(false)),
        }),
    );
}

/// What runs, by digest: the tag may mean something else by now.
fn images(pod: &Value) -> Value {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses", "/status/ephemeralContainerStatuses"];
    let image = |status: &Value| json!({ "container": status.get("name"), "image": status.get("image"), "digest": status.get("imageID") });
    lists.into_iter().flat_map(|list| items(pod, list)).map(image).collect()
}

/// The present log and the one before the last restart, if there was one.
async fn logs(session: &mut Session, suspect: &PodRef, folder: &str, container: &str, bundle: &mut Bundle) {
    let query = format!("container={container}&timestamps=true&tailLines={LOG_LINES}&limitBytes={LOG_LIMIT_BYTES}");
    let path = format!("{}/log?{query}", pod_path(suspect));
    bundle.text(format!("{folder}/logs/{container}.log"), session.text(&path).await);
    match session.text(&format!("{path}&previous=true")).await {
        // 400: there was no earlier container.
        Err(Fault::Refused { status: 400, .. }) => {}
        previous => bundle.text(format!("{folder}/logs/{container}.previous.log"), previous),
    }
}

/// Controllers up to the top one.
async fn owners(session: &mut Session, suspect: &PodRef, folder: &str, pod: &Value, bundle: &mut Bundle) {
    let mut object = pod.clone();
    for _ in 0..LONGEST_CHAIN {
        let controller = items(&object, "/metadata/ownerReferences").find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
        let Some(controller) = controller.cloned() else { return };
        let (kind, name) = (word(&controller, "/kind").to_owned(), word(&controller, "/name").to_owned());
        let plural = match kind.as_str() {
            "ReplicaSet" | "Deployment" | "StatefulSet" | "DaemonSet" | "Job" | "CronJob" | "ReplicationController" => {
                format!("{}s", kind.to_ascii_lowercase())
            }
            _ => return bundle.missing.push(format!("owner {kind} {name}: Stanch does not know how to read that kind")),
        };
        let api = match word(&controller, "/apiVersion") {
            "v1" => "api/v1".to_owned(),
            version => format!("apis/{version}"),
        };
        match session.get(&format!("/{api}/namespaces/{}/{plural}/{name}", suspect.namespace)).await {
            Ok(owner) => {
                bundle.object(format!("{folder}/owners/{}-{name}.json", kind.to_ascii_lowercase()), &redacted(owner.clone()));
                object = owner;
            }
            Err(fault) => return bundle.missing.push(format!("owner {kind} {name}: {}", fault.words())),
        }
    }
}

/// What was read so far.
#[derive(Default)]
struct Bundle {
    files: Vec<Artefact>,
    findings: Vec<String>,
    missing: Vec<String>,
}

impl Bundle {
    fn object(&mut self, path: String, object: &Value) {
        let content = serde_json::to_vec_pretty(object).unwrap_or_default();
        self.files.push(Artefact { path, content });
    }

    fn answer(&mut self, path: String, answer: Result<Value, Fault>) {
        match answer {
            Ok(object) => self.object(path, &redacted(object)),
            Err(fault) => self.missing.push(format!("{path}: {}", fault.words())),
        }
    }

    fn list(&mut self, path: String, answer: Result<Vec<Value>, Fault>) {
        self.answer(path, answer.map(Value::Array));
    }

    fn text(&mut self, path: String, answer: Result<Vec<u8>, Fault>) {
        match answer {
            Ok(content) => self.files.push(Artefact { path, content }),
            Err(fault) => self.missing.push(format!("{path}: {}", fault.words())),
        }
    }
}

/// Names of secrets that the pod can read; never their content.
fn secret_names(pod: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut add = |name: &str| {
        if !name.is_empty() {
            names.insert(name.to_owned());
        }
    };
    for volume in items(pod, "/spec/volumes") {
        add(word(volume, "/secret/secretName"));
        items(volume, "/projected/sources").for_each(|source| add(word(source, "/secret/name")));
    }
    items(pod, "/spec/imagePullSecrets").for_each(|secret| add(word(secret, "/name")));
    for container in ["/spec/initContainers", "/spec/containers"].into_iter().flat_map(|list| items(pod, list)) {
        items(container, "/envFrom").for_each(|source| add(word(source, "/secretRef/name")));
        items(container, "/env").for_each(|variable| add(word(variable, "/valueFrom/secretKeyRef/name")));
    }
    names
}

/// The object without the values of environment variables and of headers, and without the annotation that repeats them.
pub(super) fn redacted(mut object: Value) -> Value {
    redact(&mut object);
    object
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields.iter_mut() {
                match (key.as_str(), &mut *inner) {
                    // Headers of probes and hooks carry tokens now and then.
                    ("env" | "httpHeaders", Value::Array(variables)) => {
                        for variable in variables.iter_mut().filter_map(|variable| variable.get_mut("value")) {
                            *variable = json!(REDACTED);
                        }
                    }
                    ("kubectl.kubernetes.io/last-applied-configuration", _) => *inner = json!(REDACTED),
                    (_, inner) => redact(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_variables_never_leave_the_cluster() {
        let pod = json!({
            "metadata": { "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{\"env\":\"hunter2\"}" } },
            "spec": { "containers": [{ "name": "a", "livenessProbe": { "httpGet": { "httpHeaders": [{ "name": "Authorization", "value": "hunter2" }] } }, "env": [{ "name": "PASSWORD", "value": "hunter2" }, { "name": "B", "valueFrom": { "secretKeyRef": { "name": "s" } } }] }] },
        });
        assert_eq!(secret_names(&pod), BTreeSet::from(["s".to_owned()]));
        let text = redacted(pod).to_string();
        assert!(!text.contains("hunter2") && text.contains("PASSWORD"), "{text}");
    }
}
