//! The cluster that every emulator is seeded from: one description, so that a node and its instance agree.

use std::collections::BTreeMap;

/// A GKE cluster in one zone of one project, with the Compute resources behind it.
#[derive(Clone, Debug)]
pub struct World {
    /// Google Cloud project id.
    pub project: String,
    /// Compute zone of every node.
    pub zone: String,
    /// Cluster name, as in `config/sandbox.toml`.
    pub cluster: String,
    /// Name of the VPC network of every NIC; not `default`, so that nothing can rely on that name.
    pub network: String,
    /// Nodes, each with its instance.
    pub nodes: Vec<Node>,
    /// Instances that are no nodes, such as a bastion.
    pub other_instances: Vec<Node>,
    /// What runs on the nodes.
    pub workloads: Vec<Workload>,
    /// Pod disruption budgets.
    pub budgets: Vec<Budget>,
    /// Services by selector.
    pub services: Vec<Service>,
}

/// A Kubernetes node and the Compute instance of the same name.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name of the node and of the instance.
    pub name: String,
    /// GKE node pool (`cloud.google.com/gke-nodepool`).
    pub pool: String,
    /// Managed instance group that owns the instance; `None` for an instance that was abandoned or never was in a group.
    pub group: Option<String>,
    /// Numeric id of the instance.
    pub instance_id: u64,
    /// Internal IPv4 address.
    pub internal_ip: String,
    /// External IPv4 address, and the name of its access config; `None` on a private node.
    pub external_ip: Option<ExternalIp>,
    /// External IPv6 address of a dual-stack NIC.
    pub external_ipv6: Option<String>,
    /// Persistent disks besides the boot disk, which bears the instance's name.
    pub data_disks: Vec<String>,
    /// Local SSDs, which no snapshot covers.
    pub local_ssds: usize,
    /// An Autopilot node: its VM is not reachable through Compute.
    pub autopilot: bool,
}

/// An external IPv4 address of a NIC.
#[derive(Clone, Debug)]
pub struct ExternalIp {
    /// The address.
    pub address: String,
    /// Name of the access config; Google's tools use `external-nat` and `External NAT`.
    pub access_config: String,
    /// Reserved (kept after removal) rather than ephemeral (lost).
    pub reserved: bool,
}

/// What creates pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// A Deployment with one ReplicaSet; evicted pods are replaced at once.
    Deployment,
    /// A DaemonSet; its pods tolerate a cordon.
    DaemonSet,
    /// A StatefulSet; a pod is replaced once the old one of that name is gone.
    StatefulSet,
    /// No owner: an evicted pod is gone.
    Bare,
    /// A static pod's mirror (`kubernetes.io/config.mirror`), owned by its node.
    Mirror,
}

/// A workload and its pods.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What creates the pods.
    pub kind: WorkloadKind,
    /// Namespace.
    pub namespace: String,
    /// Name of the workload; for `Bare` and `Mirror` the pods bear their own names.
    pub name: String,
    /// Labels of the pods, and the selector of the workload.
    pub labels: BTreeMap<String, String>,
    /// Pods: name and node.
    pub pods: Vec<(String, String)>,
    /// The pods mount an emptyDir volume.
    pub empty_dir: bool,
    /// The pods use the host's network.
    pub host_network: bool,
    /// Kubernetes service account of the pods.
    pub service_account: String,
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Selector.
    pub match_labels: BTreeMap<String, String>,
    /// Pods that must stay available.
    pub min_available: i32,
}

/// A Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Selector.
    pub selector: BTreeMap<String, String>,
}

impl World {
    /// Namespace and name of the compromised pod of [`World::compromised`].
    pub const SUSPECT: (&str, &str) = ("shop", "cart-7d4b9c6f5-x2x9q");

    /// A small GKE-like cluster in which the pod `shop/cart-7d4b9c6f5-x2x9q` is compromised. Its node is public and also hosts a
    /// DaemonSet pod, a mirror pod, a pod with an emptyDir, a StatefulSet pod, a bare pod and a pod under a budget that allows one disruption.
    #[must_use]
    pub fn compromised() -> Self {
        let (public_a, public_b, private_a) =
            ("gke-sandbox-public-1a2b3c4d-x7k2", "gke-sandbox-public-1a2b3c4d-m4q9", "gke-sandbox-private-5e6f7a8b-t3w1");
        Self {
            project: "sandbox-project".into(),
            zone: "us-central1-a".into(),
            cluster: "sandbox".into(),
            network: "prod-vpc".into(),
            nodes: vec![
                Node {
                    data_disks: vec!["pvc-orders-0".into()],
                    ..Node::new(public_a, "public", 6_120_613_059_854_544_701, "10.128.0.11").external("203.0.113.11", "external-nat")
                },
                Node::new(public_b, "public", 6_120_613_059_854_544_702, "10.128.0.12").external("203.0.113.12", "External NAT"),
                Node::new(private_a, "private", 6_120_613_059_854_544_703, "10.128.0.13"),
            ],
            other_instances: vec![Node { group: None, ..Node::new("bastion", "", 6_120_613_059_854_544_790, "10.128.0.90") }],
            workloads: vec![
                Workload::new(
                    WorkloadKind::Deployment,
                    "shop",
                    "cart",
                    &[("cart-7d4b9c6f5-x2x9q", public_a), ("cart-7d4b9c6f5-b8n5z", public_b)],
                ),
                Workload {
                    empty_dir: true,
                    ..Workload::new(WorkloadKind::Deployment, "shop", "search", &[("search-5b8d7f9c44-k6m2p", public_a)])
                },
                Workload::new(
                    WorkloadKind::Deployment,
                    "shop",
                    "checkout",
                    &[("checkout-66c9d8b7f5-q4w7e", public_a), ("checkout-66c9d8b7f5-r9t2y", private_a)],
                ),
                Workload::new(WorkloadKind::StatefulSet, "shop", "orders", &[("orders-0", public_a)]),
                Workload::new(WorkloadKind::Bare, "shop", "one-off", &[("one-off", public_a)]),
                Workload {
                    host_network: true,
                    ..Workload::new(
                        WorkloadKind::DaemonSet,
                        "kube-system",
                        "fluentbit-gke",
                        &[("fluentbit-gke-4hd8s", public_a), ("fluentbit-gke-9sk3l", public_b), ("fluentbit-gke-w2c6v", private_a)],
                    )
                },
                Workload {
                    host_network: true,
                    ..Workload::new(
                        WorkloadKind::Mirror,
                        "kube-system",
                        "kube-proxy",
                        &[("kube-proxy-gke-sandbox-public-1a2b3c4d-x7k2", public_a)],
                    )
                },
            ],
            budgets: vec![Budget { namespace: "shop".into(), name: "checkout".into(), match_labels: labels("checkout"), min_available: 1 }],
            services: vec![Service { namespace: "shop".into(), name: "cart".into(), selector: labels("cart") }],
        }
    }
}

impl Node {
    /// A private node of `pool`, in that pool's group, with a boot disk only.
    #[must_use]
    pub fn new(name: &str, pool: &str, instance_id: u64, internal_ip: &str) -> Self {
        let group = name.rsplit_once('-').map(|(stem, _)| format!("{stem}-grp"));
        Self {
            name: name.into(),
            pool: pool.into(),
            group,
            instance_id,
            internal_ip: internal_ip.into(),
            external_ip: None,
            external_ipv6: None,
            data_disks: Vec::new(),
            local_ssds: 0,
            autopilot: false,
        }
    }

    /// The same node with an ephemeral external address.
    #[must_use]
    pub fn external(self, address: &str, access_config: &str) -> Self {
        Self { external_ip: Some(ExternalIp { address: address.into(), access_config: access_config.into(), reserved: false }), ..self }
    }
}

impl Workload {
    /// A workload labelled `app=NAME`.
    #[must_use]
    pub fn new(kind: WorkloadKind, namespace: &str, name: &str, pods: &[(&str, &str)]) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
            labels: labels(name),
            pods: pods.iter().map(|(pod, node)| ((*pod).into(), (*node).into())).collect(),
            empty_dir: false,
            host_network: false,
            service_account: "default".into(),
        }
    }
}

fn labels(app: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("app".into(), app.into())])
}
