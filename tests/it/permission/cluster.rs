//! The Kubernetes side: exactly the stated rights, and none of them in vain.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::api::{Api, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stanch::adapters::kubernetes::KubernetesCluster;
use stanch::core::step::{Outcome, Receipt};
use stanch::ports::{Actuator as _, EveryName, Surveyor as _};
use stanch::sandbox::kubernetes::KubernetesEmulator;
use stanch_commands::action::{Drain, KubernetesAction, PodIsolation, Probe};
use stanch_commands::facts::KubernetesFacts;
use stanch_commands::permission::{ClusterRight, Entry, KUBERNETES, SURVEYS};
use stanch_commands::prior::PodPrior;
use stanch_commands::target::{PodRef, TargetName, WorkloadKind, WorkloadRef};

use crate::kubernetes_adapter::{emulator, privileged};
use crate::support::licensed;

/// With and without a namespace, of every kind of owner, and the node.
const TARGETS: &[&str] = &[
    "pod shop/cart-7d4b9c6f5-x2x9q",
    "pod cart-7d4b9c6f5-x2x9q",
    "pod shop/orders-0",
    "pod kube-system/fluentbit-gke-4hd8s",
    "pod shop/nightly-1-a",
    "pod shop/legacy-a",
    "node gke-sandbox-public-1a2b3c4d-x7k2",
];

const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";

/// The world, with pods of owners that it does not have.
async fn started() -> (KubernetesEmulator, KubernetesCluster) {
    let (emulator, client) = emulator().await;
    privileged::namespace(&client).await;
    let template = json!({ "metadata": { "labels": { "app": "x" } }, "spec": containers() });
    let job_template = json!({ "spec": { "template": template } });
    let nightly: CronJob = created(&client, "nightly", None::<&Job>, json!({ "schedule": "0 0 * * *", "jobTemplate": job_template })).await;
    let job = json!({ "template": template, "selector": { "matchLabels": { "app": "x" } } });
    let job: Job = created(&client, "nightly-1", Some(&nightly), job).await;
    let _: Pod = created(&client, "nightly-1-a", Some(&job), on_node()).await;
    let legacy = json!({ "replicas": 1, "selector": { "app": "legacy" }, "template": template });
    let legacy: ReplicationController = created(&client, "legacy", None::<&Job>, legacy).await;
    let _: Pod = created(&client, "legacy-a", Some(&legacy), on_node()).await;
    (emulator, KubernetesCluster::new(client))
}

fn containers() -> Value {
    json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": "registry.example/app:1" }] })
}

fn on_node() -> Value {
    let mut spec = containers();
    spec.as_object_mut().unwrap().insert("nodeName".into(), json!(NODE));
    spec
}

async fn created<K, O>(client: &Client, name: &str, owner: Option<&O>, spec: Value) -> K
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
    O: Resource<DynamicType = ()>,
{
    let owners: Vec<_> = owner.and_then(|owner| owner.controller_owner_ref(&())).into_iter().collect();
    let object = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": { "name": name, "labels": { "app": name }, "ownerReferences": owners }, "spec": spec,
    });
    let api: Api<K> = Api::namespaced(client.clone(), "shop");
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

async fn survey(cluster: &KubernetesCluster, text: &str) -> Result<KubernetesFacts, String> {
    let target: TargetName = stanch_commands::parse::parse(&format!("locate {text}")).unwrap().arguments.target.unwrap();
    let facts = cluster.survey(&target).await.map_err(|error| error.to_string())?;
    // What a containment does without is named, and does not fail the survey.
    match facts.workload.as_ref().map(|workload| (workload.unread.join("; "), workload.above.clone())) {
        None => Ok(facts),
        Some((unread, None)) if unread.is_empty() => Ok(facts),
        Some((unread, above)) => Err(format!("{unread} {above:?}")),
    }
}

/// One of each variant, in an order in which a fresh cluster takes them. A variant that is missing here fails the test below.
/// Variants that need a right for each kind of workload stand there once for each, one after the other.
fn every_action(facts: &KubernetesFacts, suspects: Vec<PodRef>, workloads: &[WorkloadRef]) -> Vec<KubernetesAction> {
    let (node, suspect) = (facts.node.node.clone(), facts.suspect.clone().unwrap().pod);
    let label = BTreeMap::from([("stanch.dev/quarantine".to_owned(), suspect.uid.to_string())]);
    let drain = Drain {
        node: node.clone(),
        spare: [suspect.uid.clone()].into(),
        protected_namespaces: BTreeSet::new(),
        expected: vec![],
        at_most: 100,
        deadline_s: 20,
    };
    let isolation = PodIsolation {
        pod: suspect.clone(),
        labels: label.clone(),
        removed: BTreeSet::new(),
        still: ["Service shop/cart".to_owned()].into(),
        enforced_by: None,
        open: vec![],
    };
    let prior =
        PodPrior { pod: suspect.clone(), labels: facts.suspect.clone().unwrap().labels, annotations: BTreeMap::new(), tolerations: vec![] };
    let mut all = vec![
        KubernetesAction::CapturePriorState { node: node.clone(), suspects: suspects.clone() },
        KubernetesAction::CollectEvidence { node: node.clone(), suspects },
        KubernetesAction::RunProbes { pod: suspect.clone(), probes: Probe::ALL.into() },
        KubernetesAction::Cordon(node.clone()),
        KubernetesAction::DisableScaleDown(node.clone()),
        KubernetesAction::ExcludeFromLoadBalancers(node.clone()),
        KubernetesAction::KeepWhileUnreachable(suspect.clone()),
        KubernetesAction::DenyPodTraffic(suspect.clone()),
        KubernetesAction::LabelPod { pod: suspect.clone(), set: label.clone(), remove: BTreeSet::new() },
        KubernetesAction::KeepFromAutoscaler(suspect.clone()),
        KubernetesAction::VerifyPodIsolation(isolation),
        KubernetesAction::VerifyNode { node: node.clone(), suspects: vec![(suspect.clone(), label)] },
        KubernetesAction::Drain(drain),
        KubernetesAction::Uncordon(node.clone()),
        KubernetesAction::AllowScaleDown(node.clone()),
        KubernetesAction::IncludeInLoadBalancers(node),
        KubernetesAction::RestorePod { prior: Box::new(prior), remove: ["stanch.dev/quarantine".to_owned()].into() },
        KubernetesAction::AllowPodTraffic(suspect),
        privileged::end(facts, &privileged::ALL[..1]),
        KubernetesAction::DeletePod { pod: facts.suspect.clone().unwrap().pod, grace_s: 1, waiver: None },
        KubernetesAction::SaveManifests(workloads.to_vec()),
    ];
    let scalable = |workload: &&WorkloadRef| matches!(workload.kind, WorkloadKind::Deployment | WorkloadKind::StatefulSet);
    all.extend(workloads.iter().filter(scalable).map(|workload| KubernetesAction::ScaleToZero { workload: workload.clone(), from: 1 }));
    all.extend(workloads.iter().filter(scalable).map(|workload| KubernetesAction::ScaleBack { workload: workload.clone(), to: 1 }));
    all.extend(workloads.iter().map(|workload| KubernetesAction::DeleteWorkload { workload: workload.clone(), waiver: None }));
    all.push(KubernetesAction::VerifyWorkloadGone { workloads: workloads.to_vec(), pods: vec![], deadline_s: 20 });
    all
}

/// One workload of each kind, each before what owns it.
async fn every_workload(cluster: &KubernetesCluster) -> Vec<WorkloadRef> {
    let mut all: Vec<WorkloadRef> = Vec::new();
    for target in TARGETS.iter().filter(|target| target.starts_with("pod ")) {
        let chain = survey(cluster, target).await.unwrap().workload.unwrap().chain;
        all.extend(chain.into_iter().filter(|owner| !all.contains(owner)).collect::<Vec<_>>());
    }
    assert_eq!(all.iter().map(|workload| workload.kind).collect::<BTreeSet<_>>(), WorkloadKind::ALL.into(), "{all:?}");
    all
}

/// Does what the line is about, with these rights alone. Everything that comes before it is done with every right.
async fn tried(entry: &Entry, rights: &BTreeSet<ClusterRight>) -> Result<(), String> {
    let (emulator, cluster) = started().await;
    let granted = || rights.iter().map(|right| (right.group, right.resource, right.verb));
    if SURVEYS.iter().any(|survey| survey.what == entry.what) {
        emulator.grant_only(granted());
        if entry.what == "names of the cluster" {
            return cluster.survey(&EveryName).await.map(drop).map_err(|error| error.to_string());
        }
        for target in TARGETS {
            survey(&cluster, target).await.map_err(|error| format!("{target}: {error}"))?;
        }
        return Ok(());
    }
    let facts = survey(&cluster, TARGETS.first().unwrap()).await.unwrap();
    let suspects = facts.pods.iter().filter(|pod| TARGETS.iter().any(|target| target.ends_with(&pod.pod.to_string())));
    let suspects = suspects.map(|pod| pod.pod.clone()).collect();
    let workloads = every_workload(&cluster).await;
    let mut done = false;
    for action in every_action(&facts, suspects, &workloads) {
        let this = action.variant() == entry.what;
        if done && !this {
            return Ok(());
        }
        if this {
            emulator.grant_only(granted());
        }
        match (this, cluster.perform(&action, &licensed(action.clone(), "one")).await.outcome) {
            (true, Outcome::Succeeded(Receipt { details, .. })) if details.iter().any(|line| line.starts_with("missing: ")) => {
                return Err(details.join("; "));
            }
            (true, Outcome::Succeeded(_)) => done = true,
            (true, outcome) => return Err(format!("{outcome:?}")),
            (false, Outcome::Succeeded(_)) => {}
            (false, outcome) => panic!("{action:?}: {outcome:?}"),
        }
    }
    assert!(done, "{} is not tried: add it to `every_action`", entry.what);
    Ok(())
}

#[tokio::test]
async fn every_line_needs_each_of_its_rights_and_no_other() {
    let lines: Vec<&Entry> = SURVEYS.iter().filter(|survey| !survey.cluster.is_empty()).chain(KUBERNETES).collect();
    let checks = lines.iter().map(|entry| async move {
        let all: BTreeSet<ClusterRight> = entry.cluster.iter().copied().collect();
        assert_eq!(all.len(), entry.cluster.len(), "{}: a right is stated twice", entry.what);
        assert_eq!(tried(entry, &all).await, Ok(()), "{} with all that it states", entry.what);
        let without = |right: ClusterRight| all.iter().copied().filter(move |kept| *kept != right).collect::<BTreeSet<_>>();
        let needless = join_all(entry.cluster.iter().map(|right| async { tried(entry, &without(*right)).await.is_ok().then_some(*right) }));
        let needless: Vec<ClusterRight> = needless.await.into_iter().flatten().collect();
        assert_eq!(needless, [], "{} does without them", entry.what);
    });
    join_all(checks).await;
}

/// The words of the refusal are the API server's: the control plane says the same.
#[tokio::test]
async fn a_missing_right_is_named() {
    let (emulator, client) = emulator().await;
    emulator.grant_only([]);
    let error = survey(&KubernetesCluster::new(client), &format!("node {NODE}")).await.unwrap_err();
    assert_eq!(
        error,
        format!(
            "no right to read nodes: nodes \"{NODE}\" is forbidden: User \"system:serviceaccount:stanch:stanch\" cannot get resource \
             \"nodes\" in API group \"\" at the cluster scope"
        )
    );
    emulator.stop().await;
}
