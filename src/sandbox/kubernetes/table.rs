//! `Table` answers: what `kubectl get` prints.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::object::{at, condition_is, entries, items, name, number, terminating, text, time};
use super::resources::{self, Resource};

/// What a row carries besides its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Metadata only.
    Metadata,
    /// The whole object.
    Object,
}

/// A column: its name, and whether it is shown by `-o wide` only.
type Column = (&'static str, bool);

const SHOWN: bool = false;
const WIDE: bool = true;

/// The objects as a table. A watch names the columns once, so later ones can be left out.
pub fn table(resource: &Resource, objects: &[Value], include: Include, with_columns: bool, now: Timestamp) -> Value {
    let columns: Vec<Value> = columns(resource).iter().map(column_definition).collect();
    let row = |object: &Value| {
        let mut row = json!({ "cells": cells(resource, object, now) });
        match include {
            Include::None => {}
            Include::Metadata => super::object::put(&mut row, &["object"], metadata_only(object)),
            Include::Object => super::object::put(&mut row, &["object"], object.clone()),
        }
        row
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": if with_columns { json!(columns) } else { Value::Null },
        "rows": objects.iter().map(row).collect::<Vec<_>>(),
    })
}

/// A `PartialObjectMetadata` of the object.
pub fn metadata_only(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": at(object, &["metadata"]) })
}

fn column_definition((name, wide): &Column) -> Value {
    let format = if *name == "Name" { "name" } else { "" };
    json!({ "name": name, "type": "string", "format": format, "description": name, "priority": i32::from(*wide) })
}

fn columns(resource: &Resource) -> &'static [Column] {
    match resource.kind {
        "Pod" => &[
            ("Name", SHOWN),
            ("Ready", SHOWN),
            ("Status", SHOWN),
            ("Restarts", SHOWN),
            ("Age", SHOWN),
            ("IP", WIDE),
            ("Node", WIDE),
            ("Nominated Node", WIDE),
            ("Readiness Gates", WIDE),
        ],
        "Node" => &[
            ("Name", SHOWN),
            ("Status", SHOWN),
            ("Roles", SHOWN),
            ("Age", SHOWN),
            ("Version", SHOWN),
            ("Internal-IP", WIDE),
            ("External-IP", WIDE),
            ("OS-Image", WIDE),
            ("Kernel-Version", WIDE),
            ("Container-Runtime", WIDE),
        ],
        "Deployment" => &[
            ("Name", SHOWN),
            ("Ready", SHOWN),
            ("Up-to-date", SHOWN),
            ("Available", SHOWN),
            ("Age", SHOWN),
            ("Containers", WIDE),
            ("Images", WIDE),
            ("Selector", WIDE),
        ],
        "ReplicaSet" => &[
            ("Name", SHOWN),
            ("Desired", SHOWN),
            ("Current", SHOWN),
            ("Ready", SHOWN),
            ("Age", SHOWN),
            ("Containers", WIDE),
            ("Images", WIDE),
            ("Selector", WIDE),
        ],
        "StatefulSet" => &[("Name", SHOWN), ("Ready", SHOWN), ("Age", SHOWN), ("Containers", WIDE), ("Images", WIDE)],
        "DaemonSet" => &[
            ("Name", SHOWN),
            ("Desired", SHOWN),
            ("Current", SHOWN),
            ("Ready", SHOWN),
            ("Up-to-date", SHOWN),
            ("Available", SHOWN),
            ("Node Selector", SHOWN),
            ("Age", SHOWN),
            ("Containers", WIDE),
            ("Images", WIDE),
            ("Selector", WIDE),
        ],
        "Namespace" => &[("Name", SHOWN), ("Status", SHOWN), ("Age", SHOWN)],
        "Service" => &[
            ("Name", SHOWN),
            ("Type", SHOWN),
            ("Cluster-IP", SHOWN),
            ("External-IP", SHOWN),
            ("Port(s)", SHOWN),
            ("Age", SHOWN),
            ("Selector", WIDE),
        ],
        "Event" => &[("Last Seen", SHOWN), ("Type", SHOWN), ("Reason", SHOWN), ("Object", SHOWN), ("Message", SHOWN), ("Name", WIDE)],
        "PodDisruptionBudget" => {
            &[("Name", SHOWN), ("Min Available", SHOWN), ("Max Unavailable", SHOWN), ("Allowed Disruptions", SHOWN), ("Age", SHOWN)]
        }
        "NetworkPolicy" => &[("Name", SHOWN), ("Pod-Selector", SHOWN), ("Age", SHOWN)],
        "PersistentVolumeClaim" => &[("Name", SHOWN), ("Status", SHOWN), ("Volume", SHOWN), ("Capacity", SHOWN), ("Age", SHOWN)],
        "PersistentVolume" => &[("Name", SHOWN), ("Capacity", SHOWN), ("Status", SHOWN), ("Claim", SHOWN), ("Age", SHOWN)],
        "EndpointSlice" => &[("Name", SHOWN), ("AddressType", SHOWN), ("Endpoints", SHOWN), ("Age", SHOWN)],
        "Secret" => &[("Name", SHOWN), ("Type", SHOWN), ("Data", SHOWN), ("Age", SHOWN)],
        "ConfigMap" => &[("Name", SHOWN), ("Data", SHOWN), ("Age", SHOWN)],
        _ => &[("Name", SHOWN), ("Age", SHOWN)],
    }
}

fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    columns(resource).iter().map(|(column, _)| json!(cell(resource, object, column, now))).collect()
}

/// The text of one cell. Columns of the same name mean the same in every kind, unless a kind says otherwise.
fn cell(resource: &Resource, object: &Value, column: &str, now: Timestamp) -> String {
    let field = |path: &[&str]| plain(at(object, path));
    let count = |path: &[&str]| number(object, path).to_string();
    match (resource.kind, column) {
        (_, "Name") => name(object).to_owned(),
        (_, "Age") => age(object, &["metadata", "creationTimestamp"], now),
        ("Pod", "Ready") => {
            let containers = items(object, &["status", "containerStatuses"]);
            let ready = containers.iter().filter(|c| at(c, &["ready"]) == &json!(true)).count();
            format!("{ready}/{}", items(object, &["spec", "containers"]).len())
        }
        ("Pod", "Status") => {
            if terminating(object) {
                "Terminating".into()
            } else {
                field(&["status", "phase"])
            }
        }
        ("Pod", "Restarts") => {
            items(object, &["status", "containerStatuses"]).iter().map(|c| number(c, &["restartCount"])).sum::<i64>().to_string()
        }
        ("Pod", "IP") => field(&["status", "podIP"]),
        ("Pod", "Node") => field(&["spec", "nodeName"]),
        ("Node", "Status") => node_status(object),
        ("Node", "Version") => field(&["status", "nodeInfo", "kubeletVersion"]),
        ("Node", "Internal-IP") => address(object, "InternalIP"),
        ("Node", "External-IP") => address(object, "ExternalIP"),
        ("Node", "OS-Image") => field(&["status", "nodeInfo", "osImage"]),
        ("Node", "Kernel-Version") => field(&["status", "nodeInfo", "kernelVersion"]),
        ("Node", "Container-Runtime") => field(&["status", "nodeInfo", "containerRuntimeVersion"]),
        ("Deployment" | "StatefulSet", "Ready") => {
            format!("{}/{}", number(object, &["status", "readyReplicas"]), number(object, &["spec", "replicas"]))
        }
        ("Deployment", "Up-to-date") => count(&["status", "updatedReplicas"]),
        ("Deployment", "Available") => count(&["status", "availableReplicas"]),
        ("ReplicaSet", "Desired") => count(&["spec", "replicas"]),
        ("ReplicaSet", "Current") => count(&["status", "replicas"]),
        ("ReplicaSet", "Ready") => count(&["status", "readyReplicas"]),
        ("DaemonSet", "Desired") => count(&["status", "desiredNumberScheduled"]),
        ("DaemonSet", "Current") => count(&["status", "currentNumberScheduled"]),
        ("DaemonSet", "Ready") => count(&["status", "numberReady"]),
        ("DaemonSet", "Up-to-date") => count(&["status", "updatedNumberScheduled"]),
        ("DaemonSet", "Available") => count(&["status", "numberAvailable"]),
        ("DaemonSet", "Node Selector") => labels(at(object, &["spec", "template", "spec", "nodeSelector"])),
        (_, "Containers") => containers(object, "name"),
        (_, "Images") => containers(object, "image"),
        ("Service", "Selector") => labels(at(object, &["spec", "selector"])),
        (_, "Selector") => labels(at(object, &["spec", "selector", "matchLabels"])),
        ("Namespace" | "PersistentVolumeClaim" | "PersistentVolume", "Status") => field(&["status", "phase"]),
        ("Service" | "Secret" | "Event", "Type") if resource.is(&resources::SERVICES) => field(&["spec", "type"]),
        ("Secret" | "Event", "Type") => field(&["type"]),
        ("Service", "Cluster-IP") => field(&["spec", "clusterIP"]),
        ("Service", "Port(s)") => {
            let port = |port: &Value| format!("{}/{}", number(port, &["port"]), text(port, &["protocol"]));
            items(object, &["spec", "ports"]).iter().map(port).collect::<Vec<_>>().join(",")
        }
        ("Event", "Last Seen") => age(object, &["lastTimestamp"], now),
        ("Event", "Reason") => field(&["reason"]),
        ("Event", "Object") => {
            format!("{}/{}", text(object, &["involvedObject", "kind"]).to_lowercase(), text(object, &["involvedObject", "name"]))
        }
        ("Event", "Message") => field(&["message"]),
        ("PodDisruptionBudget", "Min Available") => or_not_available(at(object, &["spec", "minAvailable"])),
        ("PodDisruptionBudget", "Max Unavailable") => or_not_available(at(object, &["spec", "maxUnavailable"])),
        ("PodDisruptionBudget", "Allowed Disruptions") => count(&["status", "disruptionsAllowed"]),
        ("NetworkPolicy", "Pod-Selector") => labels(at(object, &["spec", "podSelector", "matchLabels"])),
        ("PersistentVolumeClaim", "Volume") => field(&["spec", "volumeName"]),
        ("PersistentVolumeClaim", "Capacity") => field(&["status", "capacity", "storage"]),
        ("PersistentVolume", "Capacity") => field(&["spec", "capacity", "storage"]),
        ("PersistentVolume", "Claim") => {
            format!("{}/{}", text(object, &["spec", "claimRef", "namespace"]), text(object, &["spec", "claimRef", "name"]))
        }
        ("EndpointSlice", "AddressType") => field(&["addressType"]),
        ("EndpointSlice", "Endpoints") => {
            items(object, &["endpoints"]).iter().flat_map(|e| items(e, &["addresses"])).map(plain).collect::<Vec<_>>().join(",")
        }
        (_, "Data") => entries(object, &["data"]).count().to_string(),
        _ => "<none>".into(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<none>".into(),
        Value::String(text) if text.is_empty() => "<none>".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn or_not_available(value: &Value) -> String {
    if value.is_null() { "N/A".into() } else { plain(value) }
}

fn labels(map: &Value) -> String {
    let pairs: Vec<String> = entries(map, &[]).map(|(key, value)| format!("{key}={}", plain(value))).collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

fn containers(owner: &Value, field: &str) -> String {
    items(owner, &["spec", "template", "spec", "containers"]).iter().map(|c| text(c, &[field])).collect::<Vec<_>>().join(",")
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

fn age(object: &Value, path: &[&str], now: Timestamp) -> String {
    time(object, path).map_or("<unknown>".into(), |since| human_duration(now.duration_since(since).as_secs().max(0)))
}

/// A duration in two units at most, as `kubectl` shows ages.
fn human_duration(seconds: i64) -> String {
    let pair = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let shown = [5, 119, 125, 600, 7_200, 10_860, 90_000, 183_600, 864_000].map(human_duration);
        assert_eq!(shown, ["5s", "119s", "2m5s", "10m", "120m", "3h1m", "25h", "2d3h", "10d"]);
    }
}
