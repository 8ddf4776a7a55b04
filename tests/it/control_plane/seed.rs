//! The manifests of a [`World`], for a cluster whose controllers create the pods themselves.

use serde_json::{Value, json};
use stanch::sandbox::world::{Node, Workload, WorkloadKind, World};

/// A `List` that `up` can seed a cluster with: nodes first, then everything in the order in which it is needed.
pub fn manifests(world: &World) -> Value {
    let mut items: Vec<Value> = world.nodes.iter().enumerate().map(|(index, n)| node(world, index, n)).collect();
    let mut namespaces: Vec<&str> = world.workloads.iter().map(|w| w.namespace.as_str()).filter(|ns| *ns != "kube-system").collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    items.extend(namespaces.iter().map(|ns| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": ns } })));
    for budget in &world.budgets {
        items.push(json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": budget.name, "namespace": budget.namespace },
            "spec": { "minAvailable": budget.min_available, "selector": { "matchLabels": budget.match_labels } },
        }));
    }
    for service in &world.services {
        items.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": service.name, "namespace": service.namespace },
            "spec": { "selector": service.selector, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
        }));
    }
    items.extend(world.workloads.iter().flat_map(|w| workload(world, w)));
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

// === nodes ===

fn node(world: &World, index: usize, node: &Node) -> Value {
    let (project, zone, name) = (&world.project, &world.zone, &node.name);
    let region = zone.rsplit_once('-').map_or(zone.as_str(), |(region, _)| region);
    let host = format!("{name}.{zone}.c.{project}.internal");
    let mut addresses = vec![json!({ "type": "InternalIP", "address": node.internal_ip })];
    addresses.extend(node.external_ip.iter().map(|ip| json!({ "type": "ExternalIP", "address": ip.address })));
    addresses.extend(["InternalDNS", "Hostname"].map(|kind| json!({ "type": kind, "address": host })));
    let range = format!("10.4.{index}.0/24");
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "cloud.google.com/gke-boot-disk": "pd-balanced",
                "cloud.google.com/gke-container-runtime": "containerd",
                "cloud.google.com/gke-nodepool": node.pool,
                "cloud.google.com/gke-os-distribution": "cos",
                "cloud.google.com/machine-family": "e2",
                "cloud.google.com/private-node": node.external_ip.is_none().to_string(),
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": "e2-standard-4",
                "topology.gke.io/zone": zone,
                "topology.kubernetes.io/region": region,
                "topology.kubernetes.io/zone": zone,
            },
            "annotations": {
                "container.googleapis.com/instance_id": node.instance_id.to_string(),
                "csi.volume.kubernetes.io/nodeid":
                    json!({ "pd.csi.storage.gke.io": format!("projects/{project}/zones/{zone}/instances/{name}") }).to_string(),
            },
        },
        "spec": { "podCIDR": range, "podCIDRs": [range], "providerID": format!("gce://{project}/{zone}/{name}") },
        "status": {
            "addresses": addresses,
            "allocatable": { "cpu": "3920m", "memory": "13590444Ki", "pods": "110" },
            "capacity": { "cpu": "4", "memory": "16380844Ki", "pods": "110" },
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
        },
    })
}

// === workloads ===

/// The workload, after what its pods need.
fn workload(world: &World, workload: &Workload) -> Vec<Value> {
    match workload.kind {
        WorkloadKind::Deployment => {
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": credentials(workload), "namespace": workload.namespace },
                "stringData": { "password": "sandbox" },
            });
            vec![secret, owner("Deployment", world, workload)]
        }
        WorkloadKind::DaemonSet => vec![owner("DaemonSet", world, workload)],
        WorkloadKind::StatefulSet => {
            let mut items = Vec::new();
            let mut set = owner("StatefulSet", world, workload);
            set["spec"]["serviceName"] = json!(workload.name);
            for (pod, _) in &workload.pods {
                items.extend(disk_of(world, pod).map(|disk| volume(world, &workload.namespace, pod, disk)));
            }
            if !items.is_empty() {
                let resources = json!({ "requests": { "storage": "10Gi" } });
                let spec = json!({ "accessModes": ["ReadWriteOnce"], "storageClassName": "standard-rwo", "resources": resources });
                set["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": "data" }, "spec": spec }]);
            }
            items.push(set);
            items
        }
        WorkloadKind::Bare | WorkloadKind::Mirror => workload.pods.iter().map(|(pod, node)| single(world, workload, pod, node)).collect(),
    }
}

fn owner(kind: &str, world: &World, workload: &Workload) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": { "name": workload.name, "namespace": workload.namespace, "labels": workload.labels },
        "spec": {
            "selector": { "matchLabels": workload.labels },
            "template": { "metadata": { "labels": workload.labels }, "spec": pod(world, workload) },
        },
    });
    // One pod of a DaemonSet goes to each node by itself.
    if workload.kind != WorkloadKind::DaemonSet {
        let nodes: Vec<&str> = workload.pods.iter().map(|(_, node)| node.as_str()).collect();
        object["metadata"]["annotations"] = json!({ "stanch.test/nodes": nodes.join(",") });
        object["spec"]["replicas"] = json!(workload.pods.len());
    }
    object
}

fn single(world: &World, workload: &Workload, name: &str, node: &str) -> Value {
    let mut spec = pod(world, workload);
    spec["nodeName"] = json!(node);
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": workload.namespace, "labels": workload.labels },
        "spec": spec,
    });
    if workload.kind == WorkloadKind::Mirror {
        object["metadata"]["annotations"] =
            json!({ "kubernetes.io/config.mirror": "0f343b0931126a20f133d67c2b018a3b", "kubernetes.io/config.source": "file" });
        // `up` fills in the uid, which a cluster gives only when it has the node.
        object["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "v1", "kind": "Node", "name": node, "uid": "", "controller": true }]);
    }
    object
}

fn pod(world: &World, workload: &Workload) -> Value {
    let mut volumes = Vec::new();
    if workload.empty_dir {
        volumes.push(json!({ "name": "scratch", "emptyDir": {} }));
    }
    if workload.kind == WorkloadKind::Deployment {
        volumes.push(json!({ "name": "credentials", "secret": { "secretName": credentials(workload) } }));
    }
    // On the host's network a port is the node's: two such pods with the same one exclude each other.
    let ports = if workload.host_network { json!([]) } else { json!([{ "containerPort": 8080 }]) };
    let image = format!("us-docker.pkg.dev/{}/apps/{}:1.4.2", world.project, workload.name);
    let mut spec = json!({
        "containers": [{ "name": workload.name, "image": image, "ports": ports }],
        "hostNetwork": workload.host_network,
        "serviceAccountName": workload.service_account,
        // A drain in a test should not last half a minute per pod.
        "terminationGracePeriodSeconds": 1,
        "volumes": volumes,
    });
    if matches!(workload.kind, WorkloadKind::DaemonSet | WorkloadKind::Mirror) {
        spec["tolerations"] = json!([{ "operator": "Exists" }]);
    }
    spec
}

fn credentials(workload: &Workload) -> String {
    format!("{}-credentials", workload.name)
}

// === disks ===

/// The data disk of a pod of a StatefulSet bears the pod's name.
fn disk_of<'a>(world: &'a World, pod: &str) -> Option<&'a str> {
    let name = format!("pvc-{pod}");
    world.nodes.iter().flat_map(|node| &node.data_disks).find(|disk| **disk == name).map(String::as_str)
}

/// A volume on that disk, promised to the claim that the StatefulSet will make.
fn volume(world: &World, namespace: &str, pod: &str, disk: &str) -> Value {
    let handle = format!("projects/{}/zones/{}/disks/{disk}", world.project, world.zone);
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": disk },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "10Gi" }, "storageClassName": "standard-rwo",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": format!("data-{pod}") },
            "csi": { "driver": "pd.csi.storage.gke.io", "fsType": "ext4", "volumeHandle": handle },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file is for those who start `up` by hand. `STANCH_UPDATE_FILES=1` writes it again.
    #[test]
    fn the_committed_seed_is_the_compromised_world() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control-plane/seed.json");
        let current = format!("{:#}\n", manifests(&World::compromised()));
        if std::env::var("STANCH_UPDATE_FILES").is_ok_and(|value| value == "1") {
            std::fs::write(path, &current).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), current, "run this test once with STANCH_UPDATE_FILES=1");
    }
}
