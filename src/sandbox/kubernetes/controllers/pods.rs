//! How a pod is made: from a template by an owner, and what admission adds to every pod.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::sandbox::kubernetes::object::{at, controller_reference, items, items_mut, name, namespace, put, terminating, text};
use crate::sandbox::kubernetes::store::safe_text;

/// Seconds that a pod stays on a node that is not ready or unreachable, unless it says otherwise: the API's default.
const TAINT_PATIENCE_S: i64 = 300;

/// The pod that `owner` makes under this name.
pub fn from_template(owner: &Value, pod_name: &str) -> Value {
    let template = at(owner, &["spec", "template"]);
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod_name, "generateName": format!("{}-", name(owner)), "namespace": namespace(owner),
            "labels": at(template, &["metadata", "labels"]), "ownerReferences": [controller_reference(owner)],
        },
        "spec": at(template, &["spec"]),
    });
    if let Some(annotations) = at(template, &["metadata", "annotations"]).as_object() {
        put(&mut pod, &["metadata", "annotations"], Value::Object(annotations.clone()));
    }
    admit(&mut pod);
    pod
}

/// Fills in what the API server and its admission plugins fill in.
pub fn admit(pod: &mut Value) {
    default(pod, &["spec", "restartPolicy"], json!("Always"));
    default(pod, &["spec", "terminationGracePeriodSeconds"], json!(30));
    default(pod, &["spec", "dnsPolicy"], json!("ClusterFirst"));
    default(pod, &["spec", "serviceAccountName"], json!("default"));
    default(pod, &["spec", "securityContext"], json!({}));
    default(pod, &["spec", "schedulerName"], json!("default-scheduler"));
    default(pod, &["spec", "enableServiceLinks"], json!(true));
    default(pod, &["spec", "preemptionPolicy"], json!("PreemptLowerPriority"));
    default(pod, &["spec", "priority"], json!(0));
    let account = at(pod, &["spec", "serviceAccountName"]).clone();
    default(pod, &["spec", "serviceAccount"], account);
    for container in items_mut(pod, &["spec", "containers"]).into_iter().flatten() {
        default(container, &["imagePullPolicy"], json!("IfNotPresent"));
        default(container, &["resources"], json!({}));
        default(container, &["terminationMessagePath"], json!("/dev/termination-log"));
        default(container, &["terminationMessagePolicy"], json!("File"));
    }
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covers = |t: &Value| matches!(text(t, &["key"]), "" | "all") || text(t, &["key"]) == key;
        let any_effect = |t: &Value| matches!(text(t, &["effect"]), "" | "NoExecute");
        if !items(pod, &["spec", "tolerations"]).iter().any(|t| covers(t) && any_effect(t)) {
            let toleration = json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TAINT_PATIENCE_S });
            items_mut(pod, &["spec", "tolerations"]).into_iter().for_each(|all| all.push(toleration.clone()));
        }
    }
    mount_token(pod);
    put(pod, &["status"], json!({ "phase": "Pending", "qosClass": "BestEffort" }));
}

/// Writes a value where there is none.
pub fn default(object: &mut Value, path: &[&str], value: Value) {
    if at(object, path).is_null() {
        put(object, path, value);
    }
}

fn mount_token(pod: &mut Value) {
    if at(pod, &["spec", "automountServiceAccountToken"]) == &json!(false) || is_mirror(pod) {
        return;
    }
    let volume = format!("kube-api-access-{}", safe_text(&Sha256::digest(name(pod)), 5));
    let sources = json!([
        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }] } },
    ]);
    for container in items_mut(pod, &["spec", "containers"]).into_iter().flatten() {
        let mount = json!({ "name": volume, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" });
        items_mut(container, &["volumeMounts"]).into_iter().for_each(|mounts| mounts.push(mount.clone()));
    }
    let projected = json!({ "name": volume, "projected": { "sources": sources, "defaultMode": 420 } });
    items_mut(pod, &["spec", "volumes"]).into_iter().for_each(|volumes| volumes.push(projected.clone()));
}

/// Whether the pod only mirrors one that a kubelet runs from a file.
pub fn is_mirror(pod: &Value) -> bool {
    at(pod, &["metadata", "annotations", "kubernetes.io/config.mirror"]).is_string()
}

/// Whether the pod is neither ended nor ending.
pub fn is_active(pod: &Value) -> bool {
    !terminating(pod) && !has_ended(pod)
}

/// Whether the pod will never run again.
pub fn has_ended(pod: &Value) -> bool {
    matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed")
}

/// Whether the pod's tolerations contain one for this taint; the first that fits is the one that counts.
pub fn toleration_of<'a>(pod: &'a Value, taint: &Value) -> Option<&'a Value> {
    items(pod, &["spec", "tolerations"]).iter().find(|toleration| {
        let (key, effect) = (text(toleration, &["key"]), text(toleration, &["effect"]));
        let same_value = text(toleration, &["operator"]) == "Exists" || text(toleration, &["value"]) == text(taint, &["value"]);
        (key.is_empty() || key == text(taint, &["key"])) && (effect.is_empty() || effect == text(taint, &["effect"])) && same_value
    })
}
