//! What the API server fills in when it creates or updates an object.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::controllers::pods::{admit, default};
use super::object::{at, items, items_mut, name, namespace, number, text};
use super::resources::{DAEMON_SETS, DEPLOYMENTS, NETWORK_POLICIES, PODS, REPLICA_SETS, Resource, SERVICES, STATEFUL_SETS};

/// Fills in the defaults of a new object.
pub fn apply(resource: &Resource, object: &mut Value) {
    if resource.is(&PODS) {
        admit(object);
    } else if resource.is(&DEPLOYMENTS) {
        default(object, &["spec", "replicas"], json!(1));
        default(object, &["spec", "revisionHistoryLimit"], json!(10));
        default(object, &["spec", "progressDeadlineSeconds"], json!(600));
        let rolling = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } });
        default(object, &["spec", "strategy"], rolling);
    } else if resource.is(&REPLICA_SETS) {
        default(object, &["spec", "replicas"], json!(1));
    } else if resource.is(&STATEFUL_SETS) {
        default(object, &["spec", "replicas"], json!(1));
        default(object, &["spec", "podManagementPolicy"], json!("OrderedReady"));
        default(object, &["spec", "updateStrategy"], json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } }));
    } else if resource.is(&DAEMON_SETS) {
        default(
            object,
            &["spec", "updateStrategy"],
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } }),
        );
    } else if resource.is(&NETWORK_POLICIES) {
        // Without policyTypes a policy restricts ingress only, unless it has an egress rule: the trap that a responder must know.
        let egress = !items(object, &["spec", "egress"]).is_empty();
        default(object, &["spec", "policyTypes"], if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    } else if resource.is(&SERVICES) {
        service(object);
    }
}

fn service(object: &mut Value) {
    default(object, &["spec", "type"], json!("ClusterIP"));
    default(object, &["spec", "sessionAffinity"], json!("None"));
    default(object, &["spec", "internalTrafficPolicy"], json!("Cluster"));
    let digest = Sha256::digest(format!("{}/{}", namespace(object), name(object)));
    let (third, fourth) = (digest.first().copied().unwrap_or(1), digest.get(1).copied().unwrap_or(1).max(1));
    let address = format!("34.118.{third}.{fourth}");
    default(object, &["spec", "clusterIP"], json!(address));
    let address = text(object, &["spec", "clusterIP"]).to_owned();
    default(object, &["spec", "clusterIPs"], json!([address]));
    default(object, &["spec", "ipFamilies"], json!(["IPv4"]));
    default(object, &["spec", "ipFamilyPolicy"], json!("SingleStack"));
    default(object, &["status"], json!({ "loadBalancer": {} }));
    for port in items_mut(object, &["spec", "ports"]).into_iter().flatten() {
        default(port, &["protocol"], json!("TCP"));
        let number = number(port, &["port"]);
        if at(port, &["targetPort"]).is_null() {
            default(port, &["targetPort"], json!(number));
        }
    }
}
