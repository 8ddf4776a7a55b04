//! The kinds that the emulator serves: one static per resource, and the table of all of them.

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, authorization::v1 as authorization, autoscaling::v2 as autoscaling,
    batch::v1 as batch, coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, networking::v1 as networking,
    policy::v1 as policy,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::object::put;

/// A resource: how it is called, what it can do, and how its bodies are checked.
#[derive(Debug)]
pub struct Resource {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Version within the group.
    pub version: &'static str,
    /// Name in paths.
    pub plural: &'static str,
    /// Name of one.
    pub singular: &'static str,
    /// Kind of an object.
    pub kind: &'static str,
    /// Lives in namespaces.
    pub namespaced: bool,
    /// Short names for `kubectl`.
    pub short: &'static [&'static str],
    /// Categories for `kubectl`, such as `all`.
    pub categories: &'static [&'static str],
    /// What can be done with the resource itself.
    pub verbs: &'static [&'static str],
    /// What hangs below an object.
    pub subresources: &'static [Subresource],
    /// Whether the server counts `metadata.generation`.
    pub generations: bool,
    decode: fn(&Value) -> Result<Value, String>,
}

/// Something below an object, such as `pods/eviction`.
#[derive(Debug)]
pub struct Subresource {
    /// Last segment of the path.
    pub name: &'static str,
    /// Group, version and kind of its body.
    pub body: (&'static str, &'static str, &'static str),
    /// What can be done with it.
    pub verbs: &'static [&'static str],
}

const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const CREATE_ONLY: &[&str] = &["create"];
const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];

const fn resource<T: DeserializeOwned + Serialize>(
    gv: (&'static str, &'static str),
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
) -> Resource {
    Resource {
        group: gv.0,
        version: gv.1,
        plural,
        singular,
        kind,
        namespaced: true,
        short: &[],
        categories: &[],
        verbs: ALL_VERBS,
        subresources: &[],
        generations: false,
        decode: decode::<T>,
    }
}

const fn status(group: &'static str, version: &'static str, kind: &'static str) -> Subresource {
    Subresource { name: "status", body: (group, version, kind), verbs: GET_PATCH_UPDATE }
}

const fn scale() -> Subresource {
    Subresource { name: "scale", body: ("autoscaling", "v1", "Scale"), verbs: GET_PATCH_UPDATE }
}

const CORE: (&str, &str) = ("", "v1");
const APPS: (&str, &str) = ("apps", "v1");

macro_rules! resources {
    ($($name:ident = $value:expr;)*) => {
        $(#[doc = concat!("`", stringify!($name), "`.")] pub static $name: Resource = $value;)*
        /// Every resource, in the order of discovery.
        pub static ALL: &[&Resource] = &[$(&$name),*];
    };
}

resources! {
    CONFIG_MAPS = Resource { short: &["cm"], ..resource::<core::ConfigMap>(CORE, "configmaps", "configmap", "ConfigMap") };
    ENDPOINTS = Resource { short: &["ep"], ..resource::<core::Endpoints>(CORE, "endpoints", "endpoints", "Endpoints") };
    EVENTS = Resource { short: &["ev"], ..resource::<core::Event>(CORE, "events", "event", "Event") };
    NAMESPACES = Resource {
        namespaced: false, short: &["ns"], subresources: &[status("", "v1", "Namespace")],
        ..resource::<core::Namespace>(CORE, "namespaces", "namespace", "Namespace")
    };
    NODES = Resource {
        namespaced: false, short: &["no"], subresources: &[status("", "v1", "Node")],
        ..resource::<core::Node>(CORE, "nodes", "node", "Node")
    };
    CLAIMS = Resource {
        short: &["pvc"], subresources: &[status("", "v1", "PersistentVolumeClaim")],
        ..resource::<core::PersistentVolumeClaim>(CORE, "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim")
    };
    VOLUMES = Resource {
        namespaced: false, short: &["pv"], subresources: &[status("", "v1", "PersistentVolume")],
        ..resource::<core::PersistentVolume>(CORE, "persistentvolumes", "persistentvolume", "PersistentVolume")
    };
    PODS = Resource {
        short: &["po"], categories: &["all"], generations: true,
        subresources: &[
            Subresource { name: "eviction", body: ("policy", "v1", "Eviction"), verbs: CREATE_ONLY },
            Subresource { name: "exec", body: ("", "v1", "PodExecOptions"), verbs: &["create", "get"] },
            Subresource { name: "log", body: ("", "v1", "Pod"), verbs: &["get"] },
            status("", "v1", "Pod"),
        ],
        ..resource::<core::Pod>(CORE, "pods", "pod", "Pod")
    };
    REPLICATION_CONTROLLERS = Resource {
        short: &["rc"], categories: &["all"], generations: true, subresources: &[status("", "v1", "ReplicationController")],
        ..resource::<core::ReplicationController>(CORE, "replicationcontrollers", "replicationcontroller", "ReplicationController")
    };
    SECRETS = resource::<core::Secret>(CORE, "secrets", "secret", "Secret");
    SERVICE_ACCOUNTS = Resource {
        short: &["sa"], ..resource::<core::ServiceAccount>(CORE, "serviceaccounts", "serviceaccount", "ServiceAccount")
    };
    SERVICES = Resource {
        short: &["svc"], categories: &["all"], subresources: &[status("", "v1", "Service")],
        ..resource::<core::Service>(CORE, "services", "service", "Service")
    };
    DAEMON_SETS = Resource {
        short: &["ds"], categories: &["all"], generations: true, subresources: &[status("apps", "v1", "DaemonSet")],
        ..resource::<apps::DaemonSet>(APPS, "daemonsets", "daemonset", "DaemonSet")
    };
    DEPLOYMENTS = Resource {
        short: &["deploy"], categories: &["all"], generations: true, subresources: &[scale(), status("apps", "v1", "Deployment")],
        ..resource::<apps::Deployment>(APPS, "deployments", "deployment", "Deployment")
    };
    REPLICA_SETS = Resource {
        short: &["rs"], categories: &["all"], generations: true, subresources: &[scale(), status("apps", "v1", "ReplicaSet")],
        ..resource::<apps::ReplicaSet>(APPS, "replicasets", "replicaset", "ReplicaSet")
    };
    STATEFUL_SETS = Resource {
        short: &["sts"], categories: &["all"], generations: true, subresources: &[scale(), status("apps", "v1", "StatefulSet")],
        ..resource::<apps::StatefulSet>(APPS, "statefulsets", "statefulset", "StatefulSet")
    };
    ACCESS_REVIEWS = Resource {
        namespaced: false, verbs: CREATE_ONLY,
        ..resource::<authorization::SelfSubjectAccessReview>(
            ("authorization.k8s.io", "v1"), "selfsubjectaccessreviews", "selfsubjectaccessreview", "SelfSubjectAccessReview",
        )
    };
    AUTOSCALERS = Resource {
        short: &["hpa"], categories: &["all"], subresources: &[status("autoscaling", "v2", "HorizontalPodAutoscaler")],
        ..resource::<autoscaling::HorizontalPodAutoscaler>(
            ("autoscaling", "v2"), "horizontalpodautoscalers", "horizontalpodautoscaler", "HorizontalPodAutoscaler",
        )
    };
    CRON_JOBS = Resource {
        short: &["cj"], categories: &["all"], generations: true, subresources: &[status("batch", "v1", "CronJob")],
        ..resource::<batch::CronJob>(("batch", "v1"), "cronjobs", "cronjob", "CronJob")
    };
    JOBS = Resource {
        categories: &["all"], generations: true, subresources: &[status("batch", "v1", "Job")],
        ..resource::<batch::Job>(("batch", "v1"), "jobs", "job", "Job")
    };
    LEASES = resource::<coordination::Lease>(("coordination.k8s.io", "v1"), "leases", "lease", "Lease");
    ENDPOINT_SLICES = Resource {
        generations: true, ..resource::<discovery::EndpointSlice>(("discovery.k8s.io", "v1"), "endpointslices", "endpointslice", "EndpointSlice")
    };
    NETWORK_POLICIES = Resource {
        short: &["netpol"], generations: true,
        ..resource::<networking::NetworkPolicy>(("networking.k8s.io", "v1"), "networkpolicies", "networkpolicy", "NetworkPolicy")
    };
    BUDGETS = Resource {
        short: &["pdb"], generations: true, subresources: &[status("policy", "v1", "PodDisruptionBudget")],
        ..resource::<policy::PodDisruptionBudget>(("policy", "v1"), "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget")
    };
    MUTATING_WEBHOOKS = Resource {
        namespaced: false, categories: &["api-extensions"], generations: true,
        ..resource::<admission::MutatingWebhookConfiguration>(
            ("admissionregistration.k8s.io", "v1"), "mutatingwebhookconfigurations", "mutatingwebhookconfiguration",
            "MutatingWebhookConfiguration",
        )
    };
    VALIDATING_WEBHOOKS = Resource {
        namespaced: false, categories: &["api-extensions"], generations: true,
        ..resource::<admission::ValidatingWebhookConfiguration>(
            ("admissionregistration.k8s.io", "v1"), "validatingwebhookconfigurations", "validatingwebhookconfiguration",
            "ValidatingWebhookConfiguration",
        )
    };
}

/// The resource with this path.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    ALL.iter().copied().find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// Every group and version once, core first.
pub fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> = ALL.iter().map(|r| (r.group, r.version)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        group_version(self.group, self.version)
    }

    /// Whether it is this one.
    pub fn is(&self, other: &Self) -> bool {
        self.group == other.group && self.plural == other.plural
    }

    /// `pods` or `deployments.apps`, as messages say it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.into() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `details` of a `Status` about an object of this resource.
    pub fn details(&self, called: &str, name: &str) -> Value {
        let mut details = json!({ "kind": called });
        if !name.is_empty() {
            put(&mut details, &["name"], name);
        }
        if !self.group.is_empty() {
            put(&mut details, &["group"], self.group);
        }
        details
    }

    /// Checks a whole body: right types, required fields, and no field that the kind does not have, at any depth.
    pub fn check(&self, object: &Value) -> Result<(), String> {
        known_fields(self.decode, object)
    }
}

/// `v1` or `apps/v1`.
pub fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.into() } else { format!("{group}/{version}") }
}

/// Checks a body that is no resource, such as `DeleteOptions`.
pub fn check_body<T: DeserializeOwned + Serialize>(body: &Value) -> Result<(), String> {
    known_fields(decode::<T>, body)
}

fn decode<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

/// A field that does not survive the way through the kind's type is one that the kind does not have.
fn known_fields(decode: fn(&Value) -> Result<Value, String>, body: &Value) -> Result<(), String> {
    let decoded = decode(body)?;
    match lost_field(body, &decoded, String::new()) {
        Some(path) => Err(format!("strict decoding error: unknown field \"{path}\"")),
        None => Ok(()),
    }
}

fn lost_field(before: &Value, after: &Value, path: String) -> Option<String> {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.iter().filter(|(_, value)| !value.is_null()).find_map(|(key, value)| match after.get(key) {
                Some(kept) => lost_field(value, kept, join(key)),
                None => Some(join(key)),
            })
        }
        (Value::Array(before), Value::Array(after)) => {
            before.iter().zip(after).enumerate().find_map(|(i, (b, a))| lost_field(b, a, format!("{path}[{i}]")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_found_at_any_depth() {
        let pod = |spec: Value| json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": spec });
        assert_eq!(PODS.check(&pod(json!({ "containers": [{ "name": "c", "image": "i" }] }))), Ok(()));
        let unknown = pod(json!({ "containers": [{ "name": "c", "imagee": "i" }] }));
        assert_eq!(PODS.check(&unknown), Err("strict decoding error: unknown field \"spec.containers[0].imagee\"".into()));
        assert!(PODS.check(&pod(json!({ "containers": "none" }))).is_err());
    }

    #[test]
    fn no_resource_is_listed_twice() {
        let mut paths: Vec<_> = ALL.iter().map(|r| (r.group, r.plural)).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), ALL.len());
    }
}
