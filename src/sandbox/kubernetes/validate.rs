//! What the API server refuses when an object is written: names, labels, immutable fields, and the little of a pod that may change.

use serde_json::{Value, json};

use super::failure::{Cause, Failure};
use super::object::{at, entries, items, items_mut, name, put, take, text};
use super::resources::{DAEMON_SETS, DEPLOYMENTS, JOBS, NODES, PODS, REPLICA_SETS, Resource, STATEFUL_SETS};
use super::selectors::LabelSelector;

/// Longest object name and label prefix: a DNS subdomain.
const SUBDOMAIN_LIMIT: usize = 253;

/// Longest label name and label value.
const LABEL_LIMIT: usize = 63;

/// Most bytes of all annotations of one object.
const ANNOTATIONS_LIMIT_BYTES: usize = 256 << 10;

const LABEL_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
     an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with \
     an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const KEY_RULE: &str =
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const POD_RULE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
     `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
     (allow it to be set to 1 if it was previously negative)";
const TOLERATION_RULE: &str = "existing toleration can not be modified except its tolerationSeconds";

/// Checks a new object.
///
/// # Errors
/// 422 with every cause.
pub fn creation(resource: &Resource, object: &Value) -> Result<(), Failure> {
    let mut causes = metadata(object);
    if !is_subdomain(name(object)) {
        causes.insert(0, Cause::invalid("metadata.name", &json!(name(object)), NAME_RULE));
    }
    causes.extend(selector_fits_template(resource, object));
    refuse(resource, object, &causes)
}

/// Checks a new state of an object against the old one.
///
/// # Errors
/// 422 with every cause.
pub fn update(resource: &Resource, before: &Value, after: &Value) -> Result<(), Failure> {
    let mut causes = Vec::new();
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (old, new) = (at(before, &["metadata", field]), at(after, &["metadata", field]));
        if old != new {
            causes.push(Cause::invalid(format!("metadata.{field}"), new, "field is immutable"));
        }
    }
    causes.extend(metadata(after));
    if resource.is(&PODS) {
        causes.extend(pod(before, after));
    }
    let selectors = [&DEPLOYMENTS, &REPLICA_SETS, &DAEMON_SETS, &JOBS, &STATEFUL_SETS];
    if selectors.iter().any(|r| resource.is(r)) && at(before, &["spec", "selector"]) != at(after, &["spec", "selector"]) {
        causes.push(Cause::invalid("spec.selector", at(after, &["spec", "selector"]), "field is immutable"));
    }
    if resource.is(&NODES) && !text(before, &["spec", "providerID"]).is_empty() {
        let (old, new) = (at(before, &["spec", "providerID"]), at(after, &["spec", "providerID"]));
        if old != new {
            causes.push(Cause::forbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid"));
        }
    }
    causes.extend(selector_fits_template(resource, after));
    refuse(resource, before, &causes)
}

fn refuse(resource: &Resource, object: &Value, causes: &[Cause]) -> Result<(), Failure> {
    if causes.is_empty() { Ok(()) } else { Err(Failure::invalid(resource, name(object), causes)) }
}

fn metadata(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in entries(object, &["metadata", "labels"]) {
        if !is_key(key) {
            causes.push(Cause::invalid("metadata.labels", &json!(key), KEY_RULE));
        }
        if !value.as_str().is_some_and(is_label_value) {
            causes.push(Cause::invalid("metadata.labels", value, LABEL_RULE));
        }
    }
    let annotations = || entries(object, &["metadata", "annotations"]);
    for (key, _) in annotations().filter(|(key, _)| !is_key(key)) {
        causes.push(Cause::invalid("metadata.annotations", &json!(key), KEY_RULE));
    }
    let size: usize = annotations().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > ANNOTATIONS_LIMIT_BYTES {
        causes.push(Cause::forbidden("metadata.annotations", &format!("may not be more than {ANNOTATIONS_LIMIT_BYTES} bytes")));
    }
    causes
}

fn selector_fits_template(resource: &Resource, object: &Value) -> Option<Cause> {
    let owners = [&DEPLOYMENTS, &REPLICA_SETS, &DAEMON_SETS, &STATEFUL_SETS];
    if !owners.iter().any(|r| resource.is(r)) {
        return None;
    }
    let selector = LabelSelector::from_object(at(object, &["spec", "selector"])).filter(|s| !s.is_empty());
    let Some(selector) = selector else { return Some(Cause::required("spec.selector", "")) };
    let labels = at(object, &["spec", "template", "metadata", "labels"]);
    let fits = selector.matches(at(object, &["spec", "template"]));
    (!fits).then(|| Cause::invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"))
}

fn pod(before: &Value, after: &Value) -> Option<Cause> {
    let tolerations = |pod| items(pod, &["spec", "tolerations"]);
    if tolerations(before) != tolerations(after) {
        let kept = |old: &Value| tolerations(after).iter().any(|new| without_seconds(new) == without_seconds(old));
        if !tolerations(before).iter().all(kept) {
            return Some(Cause::forbidden("spec.tolerations", TOLERATION_RULE));
        }
        let seconds_without_no_execute = |t: &&Value| at(t, &["tolerationSeconds"]).is_number() && text(t, &["effect"]) != "NoExecute";
        if let Some(wrong) = tolerations(after).iter().find(seconds_without_no_execute) {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            return Some(Cause::invalid("spec.tolerations.effect", at(wrong, &["effect"]), why));
        }
    }
    (fixed_part(before) != fixed_part(after)).then(|| Cause::forbidden("spec", POD_RULE))
}

fn without_seconds(toleration: &Value) -> Value {
    let mut rest = toleration.clone();
    take(&mut rest, &["tolerationSeconds"]);
    rest
}

/// A pod's spec without what may change.
fn fixed_part(pod: &Value) -> Value {
    let mut spec = at(pod, &["spec"]).clone();
    for field in ["tolerations", "activeDeadlineSeconds"] {
        take(&mut spec, &[field]);
    }
    for list in ["containers", "initContainers"] {
        if spec.get(list).is_some() {
            items_mut(&mut spec, &[list]).into_iter().flatten().for_each(|container| put(container, &["image"], ""));
        }
    }
    spec
}

fn is_subdomain(text: &str) -> bool {
    let label = |part: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        edge(part.chars().next())
            && edge(part.chars().last())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    text.len() <= SUBDOMAIN_LIMIT && text.split('.').all(label)
}

fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_key_name(text)
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, rest)) => is_subdomain(prefix) && is_key_name(rest),
        None => is_key_name(key),
    }
}

fn is_key_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= LABEL_LIMIT
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod_with(tolerations: &Value) -> Value {
        json!({ "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "c", "image": "i" }], "tolerations": tolerations } })
    }

    #[test]
    fn only_the_seconds_of_a_toleration_change_and_only_new_ones_come() {
        let old = pod_with(&json!([{ "key": "a", "effect": "NoExecute", "tolerationSeconds": 300 }]));
        let check = |new: Value| update(&PODS, &old, &pod_with(&new)).map_err(|failure| failure.to_string());
        assert_eq!(check(json!([{ "key": "a", "effect": "NoExecute" }])), Ok(()));
        assert_eq!(check(json!([{ "key": "b" }, { "key": "a", "effect": "NoExecute", "tolerationSeconds": 300 }])), Ok(()));
        let refused = format!("Pod \"p\" is invalid: spec.tolerations: Forbidden: {TOLERATION_RULE}");
        assert_eq!(check(json!([])), Err(refused.clone()));
        assert_eq!(check(json!([{ "key": "a", "effect": "NoSchedule" }])), Err(refused));
    }

    #[test]
    fn a_pods_spec_is_fixed_and_labels_have_rules() {
        let old = pod_with(&json!([]));
        let mut moved = old.clone();
        put(&mut moved, &["spec", "nodeName"], "elsewhere");
        assert!(update(&PODS, &old, &moved).is_err());
        let mut labelled = old.clone();
        put(&mut labelled, &["metadata", "labels", "stanch/incident"], "INC 42");
        assert!(update(&PODS, &old, &labelled).is_err());
        put(&mut labelled, &["metadata", "labels", "stanch/incident"], "INC-42");
        assert!(update(&PODS, &old, &labelled).is_ok());
    }
}
