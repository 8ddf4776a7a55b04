//! The columns of each kind in `kubectl get`.

use serde_json::{Value, json};

use super::object::{at, condition_is, entries, items, number, terminating, text};
use super::resources::Resource;

/// A column.
#[derive(Clone, Copy)]
pub struct Column {
    /// Its head.
    pub name: &'static str,
    /// Shown by `-o wide` only.
    pub wide: bool,
    /// What is in it.
    pub content: Content,
}

/// Where the text of a cell comes from.
#[derive(Clone, Copy)]
pub enum Content {
    /// A field.
    Field(&'static [&'static str]),
    /// A counter, 0 if it is not there.
    Count(&'static [&'static str]),
    /// The time since then.
    Age(&'static [&'static str]),
    /// A map of labels.
    Labels(&'static [&'static str]),
    /// Anything else.
    From(fn(&Value) -> String),
}

use Content::{Age, Count, Field, From, Labels};

const NAME: Column = column("Name", Field(&["metadata", "name"]));
const AGE: Column = column("Age", Age(&["metadata", "creationTimestamp"]));
const CONTAINERS: Column = wide("Containers", From(|owner| containers(owner, "name")));
const IMAGES: Column = wide("Images", From(|owner| containers(owner, "image")));
const SELECTOR: Column = wide("Selector", Labels(&["spec", "selector", "matchLabels"]));
const PHASE: Column = column("Status", Field(&["status", "phase"]));

const fn column(name: &'static str, content: Content) -> Column {
    Column { name, wide: false, content }
}

const fn wide(name: &'static str, content: Content) -> Column {
    Column { name, wide: true, content }
}

/// The columns of this resource.
pub fn of(resource: &Resource) -> &'static [Column] {
    match resource.kind {
        "Deployment" => DEPLOYMENT,
        "ReplicaSet" => REPLICA_SET,
        "DaemonSet" => DAEMON_SET,
        "Pod" => POD,
        "Node" => NODE,
        "Service" => SERVICE,
        "Event" => EVENT,
        "PersistentVolumeClaim" => PERSISTENT_VOLUME_CLAIM,
        "PersistentVolume" => PERSISTENT_VOLUME,
        "Namespace" => NAMESPACE,
        "Secret" => SECRET,
        "ConfigMap" => CONFIG_MAP,
        "PodDisruptionBudget" => POD_DISRUPTION_BUDGET,
        "NetworkPolicy" => NETWORK_POLICY,
        "EndpointSlice" => ENDPOINT_SLICE,
        "StatefulSet" => STATEFUL_SET,
        _ => ANY,
    }
}

const DEPLOYMENT: &[Column] = &[
    NAME,
    column("Ready", From(ready_replicas)),
    column("Up-to-date", Count(&["status", "updatedReplicas"])),
    column("Available", Count(&["status", "availableReplicas"])),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const REPLICA_SET: &[Column] = &[
    NAME,
    column("Desired", Count(&["spec", "replicas"])),
    column("Current", Count(&["status", "replicas"])),
    column("Ready", Count(&["status", "readyReplicas"])),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const DAEMON_SET: &[Column] = &[
    NAME,
    column("Desired", Count(&["status", "desiredNumberScheduled"])),
    column("Current", Count(&["status", "currentNumberScheduled"])),
    column("Ready", Count(&["status", "numberReady"])),
    column("Up-to-date", Count(&["status", "updatedNumberScheduled"])),
    column("Available", Count(&["status", "numberAvailable"])),
    column("Node Selector", Labels(&["spec", "template", "spec", "nodeSelector"])),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const POD: &[Column] = &[
    NAME,
    column("Ready", From(ready_containers)),
    column("Status", From(pod_status)),
    column("Restarts", From(restarts)),
    AGE,
    wide("IP", Field(&["status", "podIP"])),
    wide("Node", Field(&["spec", "nodeName"])),
    wide("Nominated Node", Field(&["status", "nominatedNodeName"])),
    wide("Readiness Gates", Field(&["spec", "readinessGates"])),
];

const NODE: &[Column] = &[
    NAME,
    column("Status", From(node_status)),
    column("Roles", Field(&["metadata", "labels", "kubernetes.io/role"])),
    AGE,
    column("Version", Field(&["status", "nodeInfo", "kubeletVersion"])),
    wide("Internal-IP", From(|node| address(node, "InternalIP"))),
    wide("External-IP", From(|node| address(node, "ExternalIP"))),
    wide("OS-Image", Field(&["status", "nodeInfo", "osImage"])),
    wide("Kernel-Version", Field(&["status", "nodeInfo", "kernelVersion"])),
    wide("Container-Runtime", Field(&["status", "nodeInfo", "containerRuntimeVersion"])),
];

const SERVICE: &[Column] = &[
    NAME,
    column("Type", Field(&["spec", "type"])),
    column("Cluster-IP", Field(&["spec", "clusterIP"])),
    column("External-IP", Field(&["spec", "externalIPs"])),
    column("Port(s)", From(ports)),
    AGE,
    wide("Selector", Labels(&["spec", "selector"])),
];

const EVENT: &[Column] = &[
    column("Last Seen", Age(&["lastTimestamp"])),
    column("Type", Field(&["type"])),
    column("Reason", Field(&["reason"])),
    column("Object", From(involved)),
    column("Message", Field(&["message"])),
    Column { wide: true, ..NAME },
];

const PERSISTENT_VOLUME_CLAIM: &[Column] =
    &[NAME, PHASE, column("Volume", Field(&["spec", "volumeName"])), column("Capacity", Field(&["status", "capacity", "storage"])), AGE];

const PERSISTENT_VOLUME: &[Column] =
    &[NAME, column("Capacity", Field(&["spec", "capacity", "storage"])), PHASE, column("Claim", Field(&["spec", "claimRef", "name"])), AGE];

const NAMESPACE: &[Column] = &[NAME, PHASE, AGE];

const SECRET: &[Column] = &[NAME, column("Type", Field(&["type"])), column("Data", From(data)), AGE];

const CONFIG_MAP: &[Column] = &[NAME, column("Data", From(data)), AGE];

const POD_DISRUPTION_BUDGET: &[Column] = &[
    NAME,
    column("Min Available", From(|budget| limit(at(budget, &["spec", "minAvailable"])))),
    column("Max Unavailable", From(|budget| limit(at(budget, &["spec", "maxUnavailable"])))),
    column("Allowed Disruptions", Count(&["status", "disruptionsAllowed"])),
    AGE,
];

const NETWORK_POLICY: &[Column] = &[NAME, column("Pod-Selector", Labels(&["spec", "podSelector", "matchLabels"])), AGE];

const ENDPOINT_SLICE: &[Column] = &[NAME, column("AddressType", Field(&["addressType"])), column("Endpoints", From(endpoints)), AGE];

const STATEFUL_SET: &[Column] = &[NAME, column("Ready", From(ready_replicas)), AGE, CONTAINERS, IMAGES];

const ANY: &[Column] = &[NAME, AGE];

/// A value as a cell shows it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<none>".into(),
        Value::String(text) if text.is_empty() => "<none>".into(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A map of labels as a cell shows it.
pub fn labels(map: &Value) -> String {
    let pairs: Vec<String> = entries(map, &[]).map(|(key, value)| format!("{key}={}", plain(value))).collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

fn limit(value: &Value) -> String {
    if value.is_null() { "N/A".into() } else { plain(value) }
}

fn ready_replicas(owner: &Value) -> String {
    format!("{}/{}", number(owner, &["status", "readyReplicas"]), number(owner, &["spec", "replicas"]))
}

fn containers(owner: &Value, field: &str) -> String {
    items(owner, &["spec", "template", "spec", "containers"]).iter().map(|c| text(c, &[field])).collect::<Vec<_>>().join(",")
}

fn ready_containers(pod: &Value) -> String {
    let statuses = items(pod, &["status", "containerStatuses"]);
    let ready = statuses.iter().filter(|c| at(c, &["ready"]) == &json!(true)).count();
    format!("{ready}/{}", items(pod, &["spec", "containers"]).len())
}

fn pod_status(pod: &Value) -> String {
    if terminating(pod) { "Terminating".into() } else { plain(at(pod, &["status", "phase"])) }
}

fn restarts(pod: &Value) -> String {
    items(pod, &["status", "containerStatuses"]).iter().map(|c| number(c, &["restartCount"])).sum::<i64>().to_string()
}

fn node_status(node: &Value) -> String {
    let ready = if condition_is(node, "Ready", "True") { "Ready" } else { "NotReady" };
    let cordoned = if at(node, &["spec", "unschedulable"]) == &json!(true) { ",SchedulingDisabled" } else { "" };
    format!("{ready}{cordoned}")
}

fn address(node: &Value, kind: &str) -> String {
    let addresses = items(node, &["status", "addresses"]);
    addresses.iter().find(|a| text(a, &["type"]) == kind).map_or("<none>".into(), |a| text(a, &["address"]).to_owned())
}

fn ports(service: &Value) -> String {
    let port = |port: &Value| format!("{}/{}", number(port, &["port"]), text(port, &["protocol"]));
    items(service, &["spec", "ports"]).iter().map(port).collect::<Vec<_>>().join(",")
}

fn involved(event: &Value) -> String {
    format!("{}/{}", text(event, &["involvedObject", "kind"]).to_lowercase(), text(event, &["involvedObject", "name"]))
}

fn endpoints(slice: &Value) -> String {
    items(slice, &["endpoints"]).iter().flat_map(|e| items(e, &["addresses"])).map(plain).collect::<Vec<_>>().join(",")
}

fn data(object: &Value) -> String {
    entries(object, &["data"]).count().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::kubernetes::object::name;
    use crate::sandbox::kubernetes::resources::ALL;

    #[test]
    fn every_kind_shows_its_name() {
        let object = json!({ "metadata": { "name": "n" } });
        for resource in ALL {
            let shows = of(resource)
                .iter()
                .any(|column| column.name == "Name" && matches!(column.content, Field(path) if plain(at(&object, path)) == name(&object)));
            assert!(shows, "{}", resource.kind);
        }
    }
}
