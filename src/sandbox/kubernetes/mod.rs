//! An emulator of the Kubernetes API, good enough for unmodified `kubectl` and kube-rs.
//!
//! A generic store of objects ([`store`]) behind the API server's rules ([`routes`], [`validate`], [`deletion`], [`eviction`]), with
//! controllers, scheduler and kubelets that react to every change ([`controllers`]).
//!
//! # Guarantees
//! A request is answered after everything that follows from it at once has happened. The same requests lead to the same names and
//! uids. Only a pod's end takes a moment, so that clients see it terminate.
//!
//! # Caveats
//! Bodies are JSON: protobuf, which `kubectl auth can-i` and a few generators of `kubectl create` send, is refused with 415.
//! Not emulated: authentication (authorisation only as [`KubernetesEmulator::grant_only`] says), field ownership and server-side apply, admission webhooks,
//! `attach` and port forwarding, what `exec` reads from its standard input, following logs, Jobs that run, and autoscaling.

mod authorisation;
mod cluster;
mod columns;
mod controllers;
mod defaults;
mod deletion;
mod discovery;
mod eviction;
mod failure;
mod object;
mod patch;
mod resources;
mod routes;
mod seed;
mod selectors;
mod store;
mod table;
mod validate;

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::cluster::{Cluster, State};
use self::controllers::kubelet::container_names;
use self::object::{at, items, name, namespace, put, set_condition, take, terminating, text, uid};
use self::resources::{BUDGETS, DAEMON_SETS, DEPLOYMENTS, NETWORK_POLICIES, NODES, PODS, Resource, STATEFUL_SETS};
use self::routes::Api;
use super::server::{Server, Wire};
use super::world::{Workload, WorkloadKind, World};

/// What a scenario asks of something that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubernetesEmulatorError {
    /// The emulated cluster has no such object.
    #[error("the emulated cluster has no {kind} `{name}`")]
    NotThere {
        /// Kind of the object.
        kind: &'static str,
        /// Name, with its namespace if it has one.
        name: String,
    },
    /// The emulated cluster has one already.
    #[error("the emulated cluster already has a workload `{namespace}/{name}`")]
    AlreadyThere {
        /// Namespace.
        namespace: String,
        /// Name of the workload.
        name: String,
    },
}

/// A running emulator of a cluster's API server.
#[derive(Debug)]
pub struct KubernetesEmulator {
    /// The HTTP server, with its request log.
    pub server: Server,
    cluster: Cluster,
    world: World,
    /// Ends the task that keeps the time, and the watches.
    time: DropGuard,
}

impl KubernetesEmulator {
    /// Starts the cluster of `world` on a free loopback port.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn start(world: &World) -> io::Result<Self> {
        let cluster = Cluster::new(seed::seed(world, Timestamp::now()));
        let time = CancellationToken::new();
        let (api, stop) = (cluster.clone(), time.clone());
        let server = Server::start(Wire::default(), move |address| routes::router(Api { cluster: api, stop, address })).await?;
        tokio::spawn(cluster.clone().keep_time(time.clone()));
        Ok(Self { server, cluster, world: world.clone(), time: time.drop_guard() })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The request log, and the faults to come.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.server.wire
    }

    /// A kubeconfig with the one context `sandbox`, and no credentials.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: sandbox\n  cluster:\n    server: {}\nusers:\n- name: sandbox\n  user: {{}}\n\
             contexts:\n- name: sandbox\n  context:\n    cluster: sandbox\n    user: sandbox\n    namespace: default\ncurrent-context: sandbox\n",
            self.url()
        )
    }

    /// Ends every watch and closes every connection.
    pub async fn stop(self) {
        drop(self.time);
        self.server.stop().await;
    }

    /// What matters of the cluster, in a stable order and without times: nodes by name, pods and network policies by `NAMESPACE/NAME`.
    #[must_use]
    pub fn snapshot_state(&self) -> Value {
        self.cluster.read(|state| {
            json!({
                "nodes": summary(state, &NODES, node_summary),
                "pods": summary(state, &PODS, pod_summary),
                "networkpolicies": summary(state, &NETWORK_POLICIES, |policy| json!({
                    "labels": or_empty(policy, &["metadata", "labels"]), "spec": at(policy, &["spec"]),
                })),
            })
        })
    }

    // === what a scenario makes happen ===

    /// Replaces a pod by a namesake with another uid, in the same place, as if it had been deleted and made again by hand. Returns the uid.
    ///
    /// # Errors
    /// If there is no such pod.
    pub fn recreate_pod(&self, ns: &str, pod: &str) -> Result<String, KubernetesEmulatorError> {
        self.change(&PODS, ns, pod, |state, now| {
            let mut object = state.store.remove(&PODS, ns, pod)?;
            state.removals.remove(uid(&object));
            for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
                take(&mut object, &["metadata", field]);
            }
            put(&mut object, &["status"], json!({ "phase": "Pending", "qosClass": "BestEffort" }));
            Some(uid(&state.store.create(&PODS, object, now)).to_owned())
        })
    }

    /// Takes a pod away at once, without grace. Its owner reacts.
    ///
    /// # Errors
    /// If there is no such pod.
    pub fn delete_pod(&self, ns: &str, pod: &str) -> Result<(), KubernetesEmulatorError> {
        self.change(&PODS, ns, pod, |state, _| {
            let object = state.store.remove(&PODS, ns, pod)?;
            state.removals.remove(uid(&object));
            Some(())
        })
    }

    /// The node's kubelet answers (again): it is ready, and what should have stopped meanwhile stops.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn set_node_ready(&self, node: &str) -> Result<(), KubernetesEmulatorError> {
        let ready = json!({ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status" });
        self.set_node_condition(node, &ready)
    }

    /// The node's kubelet cannot be reached any more: nothing starts or stops there, and its pods are not ready.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn set_node_unreachable(&self, node: &str) -> Result<(), KubernetesEmulatorError> {
        let message = "Kubelet stopped posting node status.";
        self.set_node_condition(node, &json!({ "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": message }))
    }

    /// Makes a namespace.
    pub fn add_namespace(&self, ns: &str) {
        self.cluster.write(|state, now| seed::add_namespace(state, ns, now));
    }

    /// Keeps a container from ending when it is asked to: it has to be killed.
    ///
    /// # Errors
    /// If it does not run.
    pub fn resist(&self, ns: &str, pod: &str, container: &str) -> Result<(), KubernetesEmulatorError> {
        let id = self.container_id(ns, pod, container)?;
        self.cluster.write(|state, _| state.resisting.insert(id));
        Ok(())
    }

    /// The runtime's id of a container.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn container_id(&self, ns: &str, pod: &str, container: &str) -> Result<String, KubernetesEmulatorError> {
        let found = self.cluster.read(|state| controllers::runtime::id_of(state, ns, pod, container));
        found.ok_or_else(|| KubernetesEmulatorError::NotThere { kind: "container", name: format!("{ns}/{pod} {container}") })
    }

    /// Lets the runtime of a node answer again.
    pub fn answer_runtime(&self, node: &str) {
        self.cluster.write(|state, _| state.hung_runtimes.remove(node));
    }

    /// Keeps the runtime of a node from ever answering.
    pub fn hang_runtime(&self, node: &str) {
        self.cluster.write(|state, _| state.hung_runtimes.insert(node.to_owned()));
    }

    /// Changes how many pods a budget wants.
    ///
    /// # Errors
    /// If there is no such budget.
    pub fn set_min_available(&self, ns: &str, budget: &str, min_available: i32) -> Result<(), KubernetesEmulatorError> {
        self.change(&BUDGETS, ns, budget, |state, _| {
            let mut object = state.store.get(&BUDGETS, ns, budget)?.clone();
            take(&mut object, &["spec", "maxUnavailable"]);
            put(&mut object, &["spec", "minAvailable"], min_available);
            state.store.replace(&BUDGETS, object);
            Some(())
        })
    }

    /// Priority and fairness refuses the next `times` evictions with 429 and this `Retry-After`.
    pub fn refuse_evictions(&self, times: usize, retry_after_s: u64) {
        self.cluster.write(|state, _| state.refused_evictions = (times, retry_after_s));
    }

    /// Adds a Deployment `workload` whose `count` pods run on the node, cordoned or not. Returns the names of the pods.
    ///
    /// # Errors
    /// If there is no such node, or there is such a workload.
    pub fn add_pods(&self, ns: &str, workload: &str, node: &str, count: usize) -> Result<Vec<String>, KubernetesEmulatorError> {
        let pods: Vec<String> = (0..count).map(|i| format!("{workload}-5d9f7b6c84-n{i:04}")).collect();
        let on_node: Vec<(&str, &str)> = pods.iter().map(|pod| (pod.as_str(), node)).collect();
        let workload = Workload::new(WorkloadKind::Deployment, ns, workload, &on_node);
        self.cluster
            .read(|state| state.store.get(&NODES, "", node).map(|_| ()))
            .ok_or_else(|| KubernetesEmulatorError::NotThere { kind: NODES.singular, name: node.into() })?;
        self.add_workload(&workload)?;
        Ok(pods)
    }

    /// Adds a workload with its pods, as the ones of the world.
    ///
    /// # Errors
    /// If there is such a workload.
    pub fn add_workload(&self, workload: &Workload) -> Result<(), KubernetesEmulatorError> {
        let (namespace, name) = (workload.namespace.clone(), workload.name.clone());
        self.cluster.write(|state, now| {
            if [&DEPLOYMENTS, &STATEFUL_SETS, &DAEMON_SETS].iter().any(|r| state.store.get(r, &namespace, &name).is_some()) {
                return Err(KubernetesEmulatorError::AlreadyThere { namespace, name });
            }
            seed::add_workload(state, &self.world, workload, now);
            Ok(())
        })
    }

    /// Somebody makes a NetworkPolicy that selects every pod of the namespace and lets everything through.
    pub fn allow_all(&self, ns: &str, policy: &str) {
        let spec = json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}] });
        let object = json!({ "metadata": { "name": policy, "namespace": ns }, "spec": spec });
        self.cluster.write(|state, now| drop(state.store.create(&NETWORK_POLICIES, object, now)));
    }

    /// A DaemonSet of the host's network on every node of the world, such as the agent of a data plane.
    ///
    /// # Errors
    /// If there is such a workload.
    pub fn add_daemon_set(&self, ns: &str, name: &str) -> Result<(), KubernetesEmulatorError> {
        let pods: Vec<(String, String)> =
            self.world.nodes.iter().enumerate().map(|(i, node)| (format!("{name}-d{i:04}"), node.name.clone())).collect();
        self.add_workload(&Workload { pods, host_network: true, ..Workload::new(WorkloadKind::DaemonSet, ns, name, &[]) })
    }

    /// Replaces what the containers of a pod wrote.
    ///
    /// # Errors
    /// If there is no such pod.
    pub fn set_logs(&self, ns: &str, pod: &str, log: &str) -> Result<(), KubernetesEmulatorError> {
        self.change(&PODS, ns, pod, |state, _| {
            let object = state.store.get(&PODS, ns, pod)?.clone();
            for container in container_names(&object) {
                state.logs.insert((uid(&object).to_owned(), container.to_owned()), log.to_owned());
            }
            Some(())
        })
    }

    /// What a program, given as its command line, prints in the containers of a pod.
    ///
    /// # Errors
    /// If there is no such pod.
    pub fn set_program(&self, ns: &str, pod: &str, command: &str, output: &str) -> Result<(), KubernetesEmulatorError> {
        self.program(ns, pod, command, Some(output))
    }

    /// The containers of a pod have no such program.
    ///
    /// # Errors
    /// If there is no such pod.
    pub fn remove_program(&self, ns: &str, pod: &str, command: &str) -> Result<(), KubernetesEmulatorError> {
        self.program(ns, pod, command, None)
    }

    fn program(&self, ns: &str, pod: &str, command: &str, output: Option<&str>) -> Result<(), KubernetesEmulatorError> {
        self.change(&PODS, ns, pod, |state, _| {
            let pod = uid(state.store.get(&PODS, ns, pod)?).to_owned();
            state.programs.entry(pod).or_default().insert(command.to_owned(), output.map(str::to_owned));
            Some(())
        })
    }

    /// The node is gone, with everything that ran on it.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn delete_node(&self, node: &str) -> Result<(), KubernetesEmulatorError> {
        self.change(&NODES, "", node, |state, _| state.store.remove(&NODES, "", node).map(|_| ()))
    }

    /// Lets time pass that nobody has to wait for, so that what is due by then happens.
    pub fn elapse(&self, duration: Duration) {
        self.cluster.elapse(duration);
    }

    fn set_node_condition(&self, node: &str, condition: &Value) -> Result<(), KubernetesEmulatorError> {
        self.change(&NODES, "", node, |state, now| {
            let mut object = state.store.get(&NODES, "", node)?.clone();
            set_condition(&mut object, condition.clone(), now);
            state.store.replace(&NODES, object);
            Some(())
        })
    }

    fn change<T>(
        &self,
        resource: &'static Resource,
        ns: &str,
        object: &str,
        change: impl FnOnce(&mut State, Timestamp) -> Option<T>,
    ) -> Result<T, KubernetesEmulatorError> {
        let called = if ns.is_empty() { object.to_owned() } else { format!("{ns}/{object}") };
        self.cluster.write(change).ok_or(KubernetesEmulatorError::NotThere { kind: resource.singular, name: called })
    }
}

fn summary(state: &State, resource: &'static Resource, one: impl Fn(&Value) -> Value) -> Value {
    let called = |object: &Value| match namespace(object) {
        "" => name(object).to_owned(),
        ns => format!("{ns}/{}", name(object)),
    };
    Value::Object(state.store.list(resource, None).map(|object| (called(object), one(object))).collect::<Map<_, _>>())
}

fn or_empty(object: &Value, path: &[&str]) -> Value {
    Some(at(object, path)).filter(|value| !value.is_null()).cloned().unwrap_or_else(|| json!({}))
}

fn node_summary(node: &Value) -> Value {
    let mut taints = items(node, &["spec", "taints"]).to_vec();
    taints.iter_mut().for_each(|taint| {
        take(taint, &["timeAdded"]);
    });
    json!({
        "labels": or_empty(node, &["metadata", "labels"]), "annotations": or_empty(node, &["metadata", "annotations"]),
        "unschedulable": at(node, &["spec", "unschedulable"]) == &json!(true), "taints": taints,
        "ready": controllers::nodes::is_ready(node),
    })
}

fn pod_summary(pod: &Value) -> Value {
    let owner = object::controller_of(pod).map(|owner| format!("{}/{}", text(owner, &["kind"]), text(owner, &["name"])));
    json!({
        "uid": uid(pod), "node": at(pod, &["spec", "nodeName"]), "labels": or_empty(pod, &["metadata", "labels"]),
        "annotations": or_empty(pod, &["metadata", "annotations"]), "tolerations": items(pod, &["spec", "tolerations"]),
        "phase": at(pod, &["status", "phase"]), "terminating": terminating(pod), "owner": owner,
    })
}
