//! Which pods stand behind a Service: Endpoints and EndpointSlices.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sandbox::kubernetes::cluster::State;
use crate::sandbox::kubernetes::object::{at, condition_is, controller_reference, items, name, namespace, put, terminating, text, uid};
use crate::sandbox::kubernetes::resources::{ENDPOINT_SLICES, ENDPOINTS, PODS, Resource, SERVICES};
use crate::sandbox::kubernetes::selectors::LabelSelector;

/// Keeps both in step with the pods.
pub fn react(state: &mut State, now: Timestamp) {
    for service in state.store.all(&SERVICES) {
        let selector = LabelSelector::from_map(at(&service, &["spec", "selector"]));
        if selector.is_empty() {
            continue;
        }
        let pods: Vec<Arc<Value>> = state
            .store
            .list(&PODS, Some(namespace(&service)))
            .filter(|pod| selector.matches(pod) && !text(pod, &["status", "podIP"]).is_empty() && !super::pods::has_ended(pod))
            .cloned()
            .collect();
        write(state, &ENDPOINT_SLICES, slice(&service, &pods), now);
        write(state, &ENDPOINTS, endpoints(&service, &pods), now);
    }
    for endpoints in state.store.all(&ENDPOINTS) {
        // An Endpoints object has no owner; it goes with the Service of its name.
        if state.store.get(&SERVICES, namespace(&endpoints), name(&endpoints)).is_none() {
            state.store.remove(&ENDPOINTS, namespace(&endpoints), name(&endpoints));
        }
    }
}

fn write(state: &mut State, resource: &Resource, mut wanted: Value, now: Timestamp) {
    match state.store.get(resource, namespace(&wanted), name(&wanted)).cloned() {
        None => {
            state.store.create(resource, wanted, now);
        }
        Some(mut current) => {
            for field in ["endpoints", "subsets", "ports"] {
                let value = at(&wanted, &[field]).clone();
                if !value.is_null() {
                    put(&mut current, &[field], value);
                }
            }
            wanted = current;
            state.store.replace(resource, wanted);
        }
    }
}

fn target(pod: &Value) -> Value {
    json!({ "kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": uid(pod) })
}

fn is_ready(pod: &Value) -> bool {
    condition_is(pod, "Ready", "True") && !terminating(pod)
}

fn slice(service: &Value, pods: &[Arc<Value>]) -> Value {
    let endpoint = |pod: &Value| {
        json!({
            "addresses": [text(pod, &["status", "podIP"])], "nodeName": at(pod, &["spec", "nodeName"]), "targetRef": target(pod),
            "conditions": { "ready": is_ready(pod), "serving": condition_is(pod, "Ready", "True"), "terminating": terminating(pod) },
        })
    };
    json!({
        "metadata": {
            "name": format!("{}-endpoints", name(service)), "namespace": namespace(service),
            "labels": {
                "kubernetes.io/service-name": name(service),
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [controller_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": pods.iter().map(|pod| endpoint(pod)).collect::<Vec<_>>(),
        "ports": ports(service),
    })
}

fn endpoints(service: &Value, pods: &[Arc<Value>]) -> Value {
    let addresses = |ready: bool| -> Vec<Value> {
        let chosen = pods.iter().filter(|pod| !terminating(pod) && is_ready(pod) == ready);
        chosen.map(|pod| json!({ "ip": text(pod, &["status", "podIP"]), "nodeName": at(pod, &["spec", "nodeName"]), "targetRef": target(pod) })).collect()
    };
    let mut subset = json!({ "ports": ports(service) });
    for (field, ready) in [("addresses", true), ("notReadyAddresses", false)] {
        let addresses = addresses(ready);
        if !addresses.is_empty() {
            put(&mut subset, &[field], addresses);
        }
    }
    let empty = subset.get("addresses").is_none() && subset.get("notReadyAddresses").is_none();
    let subsets = if empty { Vec::new() } else { vec![subset] };
    json!({ "metadata": { "name": name(service), "namespace": namespace(service) }, "subsets": subsets })
}

fn ports(service: &Value) -> Vec<Value> {
    let port = |port: &Value| json!({ "name": text(port, &["name"]), "port": at(port, &["targetPort"]), "protocol": "TCP" });
    items(service, &["spec", "ports"]).iter().map(port).collect()
}
