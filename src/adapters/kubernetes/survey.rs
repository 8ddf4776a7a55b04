//! What is there: the suspect, its node, its neighbours, and everything that bears on them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stanch_commands::facts::{BudgetFacts, ContainerFacts, KubernetesFacts, NodeFacts, Owner, PodFacts, PolicyFacts};
use stanch_commands::selector::Selector;
use stanch_commands::target::{Namespace, NodeName, NodeRef, PodName, PodRef, TargetName};

use super::change::deleted_when_unreachable;
use super::privileged::statuses;
use super::selectors::{keys, map, selects};
use super::wire::{Fault, Session, items, word};
use super::workload;
use crate::ports::SurveyError;

pub(super) async fn survey(session: &mut Session, target: &TargetName) -> Result<KubernetesFacts, SurveyError> {
    let (node_name, suspect) = match target {
        TargetName::Node(name) => (name.clone(), None),
        TargetName::Pod { namespace, name } => {
            let pod = find(session, namespace.as_ref(), name).await?;
            (host(&pod)?, Some(pod))
        }
    };
    let node = session
        .get(&format!("/api/v1/nodes/{node_name}"))
        .await
        .map_err(|fault| missing(fault, || format!("there is no node `{node_name}`")))?;
    let pods = pods_on(session, &node_name).await.map_err(Fault::into_survey)?;
    let mut facts: Vec<PodFacts> = pods.iter().map(pod_facts).collect::<Result<_, _>>()?;
    facts.sort_by(|a, b| a.pod.cmp(&b.pod));
    let (suspect, workload) = match suspect {
        None => (None, None),
        Some(pod) => {
            let (workload, owner_selector) = workload::survey(session, &pod).await.map_err(Fault::into_survey)?;
            (Some(PodFacts { owner_selector, ..pod_facts(&pod)? }), Some(workload))
        }
    };
    if let Some(suspect) = &suspect {
        // The list may have been read after the pod: what stands there must be the same one.
        match facts.iter_mut().find(|pod| pod.pod == suspect.pod) {
            Some(listed) => listed.owner_selector.clone_from(&suspect.owner_selector),
            None => return Err(SurveyError::Unavailable(format!("pod `{}` moved while it was read", suspect.pod))),
        }
    }
    let (services, namespace_policies) = match &suspect {
        None => (BTreeMap::new(), vec![]),
        Some(suspect) => (services(session, suspect).await?, policies(session, suspect).await?),
    };
    let selecting = |policy: &&PolicyFacts| suspect.as_ref().is_some_and(|suspect| policy.selector.selects(&suspect.labels));
    let policies = namespace_policies.iter().filter(selecting).cloned().collect();
    Ok(KubernetesFacts {
        budgets: budgets(session, &facts).await?,
        other_schedulable_nodes: other_nodes(session, &node_name).await?,
        node: node_facts(&node)?,
        suspect,
        pods: facts,
        services,
        policies,
        namespace_policies,
        workload,
    })
}

/// The pods that are bound to a node.
pub(super) async fn pods_on(session: &mut Session, node: &NodeName) -> Result<Vec<Value>, Fault> {
    session.list("/api/v1/pods", &[("fieldSelector", &format!("spec.nodeName={node}"))]).await
}

/// The pod of that name; without a namespace, the only one in the cluster.
async fn find(session: &mut Session, namespace: Option<&Namespace>, name: &PodName) -> Result<Value, SurveyError> {
    if let Some(namespace) = namespace {
        let pod = session.get(&format!("/api/v1/namespaces/{namespace}/pods/{name}")).await;
        return pod.map_err(|fault| missing(fault, || format!("there is no pod `{namespace}/{name}`")));
    }
    let found = session.list("/api/v1/pods", &[("fieldSelector", &format!("metadata.name={name}"))]).await;
    let mut found = found.map_err(Fault::into_survey)?;
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(SurveyError::NotFound(format!("there is no pod `{name}` in any namespace"))),
        (Some(pod), true) => Ok(pod),
        (Some(pod), false) => {
            let mut choices: Vec<String> =
                found.iter().chain([&pod]).map(|pod| format!("{}/{name}", word(pod, "/metadata/namespace"))).collect();
            choices.sort();
            Err(SurveyError::Ambiguous { name: name.to_string(), choices })
        }
    }
}

fn missing(fault: Fault, words: impl FnOnce() -> String) -> SurveyError {
    if fault == Fault::NotFound { SurveyError::NotFound(words()) } else { fault.into_survey() }
}

fn host(pod: &Value) -> Result<NodeName, SurveyError> {
    let name = word(pod, "/metadata/name");
    match word(pod, "/spec/nodeName") {
        "" => Err(SurveyError::NotFound(format!("pod `{name}` is on no node yet"))),
        node => node.parse().map_err(|_| odd("node", node)),
    }
}

/// A name that the API server would not have admitted.
fn odd(what: &str, text: &str) -> SurveyError {
    SurveyError::Unavailable(format!("the API gave `{text}` as the name of a {what}"))
}

pub(super) fn pod_ref(pod: &Value) -> Option<PodRef> {
    Some(PodRef {
        namespace: word(pod, "/metadata/namespace").parse().ok()?,
        name: word(pod, "/metadata/name").parse().ok()?,
        uid: word(pod, "/metadata/uid").parse().ok()?,
    })
}

pub(super) fn owner(object: &Value) -> Option<Owner> {
    let controller = items(object, "/metadata/ownerReferences").find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    Some(Owner { kind: word(controller, "/kind").to_owned(), name: word(controller, "/name").to_owned() })
}

pub(super) fn is_mirror(pod: &Value) -> bool {
    pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some()
}

fn pod_facts(pod: &Value) -> Result<PodFacts, SurveyError> {
    let volumes = items(pod, "/spec/volumes").filter(|volume| volume.get("emptyDir").is_some());
    Ok(PodFacts {
        pod: pod_ref(pod).ok_or_else(|| odd("pod", word(pod, "/metadata/name")))?,
        phase: word(pod, "/status/phase").to_owned(),
        terminating: pod.pointer("/metadata/deletionTimestamp").is_some(),
        labels: map(pod.pointer("/metadata/labels")),
        owner: owner(pod),
        owner_selector: BTreeSet::new(),
        mirror: is_mirror(pod),
        empty_dirs: volumes.map(|volume| word(volume, "/name").to_owned()).collect(),
        host_network: pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)),
        service_account: word(pod, "/spec/serviceAccountName").to_owned(),
        deleted_when_unreachable: deleted_when_unreachable(pod),
        restart_policy: word(pod, "/spec/restartPolicy").to_owned(),
        containers: containers(pod),
    })
}

fn containers(pod: &Value) -> Vec<ContainerFacts> {
    let ephemeral = |name: &str| items(pod, "/spec/ephemeralContainers").any(|container| word(container, "/name") == name);
    let facts = |status: &Value| ContainerFacts {
        name: word(status, "/name").to_owned(),
        runtime_id: word(status, "/containerID").to_owned(),
        running: status.pointer("/state/running").is_some(),
        ephemeral: ephemeral(word(status, "/name")),
    };
    statuses(pod).map(facts).collect()
}

fn node_facts(node: &Value) -> Result<NodeFacts, SurveyError> {
    let name = word(node, "/metadata/name");
    let labels = map(node.pointer("/metadata/labels"));
    let uid = word(node, "/metadata/uid").parse();
    let (Ok(parsed), Ok(uid)) = (name.parse(), uid) else { return Err(odd("node", name)) };
    let ready =
        items(node, "/status/conditions").any(|condition| word(condition, "/type") == "Ready" && word(condition, "/status") == "True");
    // Autopilot is per node. GKE's nodes do not carry the cluster's flag: they are known by their compute class, and in Autopilot
    // clusters by the prefix of their names. Both are what GKE does today, not what it documents as stable.
    let autopilot =
        labels.get("cloud.google.com/compute-class").is_some_and(|class| class.starts_with("autopilot")) || name.starts_with("gk3-");
    Ok(NodeFacts {
        node: NodeRef { name: parsed, uid },
        unschedulable: node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)),
        ready,
        pool: labels.get("cloud.google.com/gke-nodepool").cloned(),
        labels,
        provider_id: word(node, "/spec/providerID").to_owned(),
        instance_id: map(node.pointer("/metadata/annotations")).remove("container.googleapis.com/instance_id"),
        autopilot,
        runtime: word(node, "/status/nodeInfo/containerRuntimeVersion").to_owned(),
    })
}

async fn services(session: &mut Session, suspect: &PodFacts) -> Result<BTreeMap<String, BTreeMap<String, String>>, SurveyError> {
    let namespace = &suspect.pod.namespace;
    let services = session.list(&format!("/api/v1/namespaces/{namespace}/services"), &[]).await.map_err(Fault::into_survey)?;
    let selecting = services.iter().filter_map(|service| {
        let selector = map(service.pointer("/spec/selector"));
        let selects = !selector.is_empty() && selector.iter().all(|(key, value)| suspect.labels.get(key) == Some(value));
        selects.then(|| (format!("{namespace}/{}", word(service, "/metadata/name")), selector))
    });
    Ok(selecting.collect())
}

/// Every policy of the suspect's namespace.
async fn policies(session: &mut Session, suspect: &PodFacts) -> Result<Vec<PolicyFacts>, SurveyError> {
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies", suspect.pod.namespace);
    let policies = session.list(&path, &[]).await.map_err(Fault::into_survey)?;
    let facts = |policy: &Value| {
        let (name, selector) = (word(policy, "/metadata/name"), policy.pointer("/spec/podSelector"));
        Ok(PolicyFacts {
            name: name.to_owned(),
            selector_keys: keys(selector),
            allows: items(policy, "/spec/ingress").chain(items(policy, "/spec/egress")).next().is_some(),
            // A selector that is left out selects every pod.
            selector: match selector {
                None | Some(Value::Null) => Selector::default(),
                Some(selector) => serde_json::from_value(selector.clone())
                    .map_err(|_| SurveyError::Unavailable(format!("the selector of NetworkPolicy `{name}` is of an unknown kind")))?,
            },
        })
    };
    policies.iter().map(facts).collect()
}

async fn budgets(session: &mut Session, pods: &[PodFacts]) -> Result<Vec<BudgetFacts>, SurveyError> {
    let namespaces: BTreeSet<&Namespace> = pods.iter().map(|pod| &pod.pod.namespace).collect();
    let mut facts = Vec::new();
    for namespace in namespaces {
        let path = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets");
        for budget in session.list(&path, &[]).await.map_err(Fault::into_survey)? {
            let selector = budget.pointer("/spec/selector");
            let covers: Vec<PodRef> = pods
                .iter()
                .filter(|pod| pod.pod.namespace == *namespace && selects(selector, &pod.labels))
                .map(|pod| pod.pod.clone())
                .collect();
            let allowed = budget.pointer("/status/disruptionsAllowed").and_then(Value::as_u64).unwrap_or_default();
            let name = word(&budget, "/metadata/name").to_owned();
            let disruptions_allowed = u32::try_from(allowed).unwrap_or(u32::MAX);
            facts.push(BudgetFacts { namespace: namespace.clone(), name, disruptions_allowed, covers });
        }
    }
    Ok(facts)
}

async fn other_nodes(session: &mut Session, node: &NodeName) -> Result<usize, SurveyError> {
    let schedulable = session.list("/api/v1/nodes", &[("fieldSelector", "spec.unschedulable=false")]).await.map_err(Fault::into_survey)?;
    Ok(schedulable.iter().filter(|other| word(other, "/metadata/name") != node.as_str()).count())
}
