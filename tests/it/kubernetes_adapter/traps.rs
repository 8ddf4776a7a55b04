//! What goes wrong, made to go wrong on the emulator.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use stanch::adapters::kubernetes::KubernetesCluster;
use stanch::core::step::{Failure, FailureKind, Observation, Outcome};
use stanch::ports::SurveyError;
use stanch::sandbox::kubernetes::KubernetesEmulator;
use stanch::sandbox::server::{Fault, FaultRule};
use stanch_commands::action::KubernetesAction;

use super::{NODE, Subject, emulator, survey, writes};

const SUSPECT: &str = "cart-7d4b9c6f5-x2x9q";

async fn subject() -> (KubernetesEmulator, Subject) {
    let (emulator, client) = emulator().await;
    let subject = Subject::of(client, &format!("pod shop/{SUSPECT}")).await;
    (emulator, subject)
}

fn inject(emulator: &KubernetesEmulator, method: Method, part: &str, times: usize, fault: Fault) {
    emulator.wire().inject(FaultRule { method: Some(method), uri_contains: part.into(), skip: 0, times, fault });
}

fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("it did not fail: {other:?}"),
    }
}

fn pod_actions(subject: &Subject) -> Vec<KubernetesAction> {
    let pod = subject.facts.suspect.as_ref().unwrap().pod.clone();
    let node = subject.facts.node.node.clone();
    vec![
        KubernetesAction::CapturePriorState { node: node.clone(), suspects: vec![pod.clone()] },
        KubernetesAction::CollectEvidence { node: node.clone(), suspects: vec![pod.clone()] },
        KubernetesAction::KeepWhileUnreachable(pod.clone()),
        KubernetesAction::DenyPodTraffic(pod.clone()),
        KubernetesAction::LabelPod { pod: pod.clone(), set: BTreeMap::from([("a".into(), "b".into())]), remove: Default::default() },
        KubernetesAction::VerifyNode { node, suspects: vec![(pod, BTreeMap::new())] },
    ]
}

#[tokio::test]
async fn a_namesake_of_the_suspect_gets_no_call_that_changes_anything() {
    let (emulator, subject) = subject().await;
    emulator.recreate_pod("shop", SUSPECT).unwrap();
    let cordon = KubernetesAction::Cordon(subject.facts.node.node.clone());
    for action in pod_actions(&subject) {
        let outcome = subject.perform(&action).await.outcome;
        assert_eq!(failure(outcome).kind, FailureKind::Stale, "{action:?}");
    }
    assert_eq!(writes(&emulator), Vec::<String>::new());
    assert!(!subject.succeeds(&cordon).await.already_so, "the node is the same");
    emulator.delete_pod("shop", SUSPECT).unwrap();
    let label = pod_actions(&subject).swap_remove(4);
    assert!(matches!(subject.observe(&label).await, Observation::Gone(_)));
    emulator.stop().await;
}

#[tokio::test]
async fn a_node_that_is_gone_is_stale() {
    let (emulator, subject) = subject().await;
    emulator.delete_node(NODE).unwrap();
    let node = subject.facts.node.node.clone();
    for action in [KubernetesAction::Cordon(node), KubernetesAction::Drain(subject.drain(5))] {
        assert_eq!(failure(subject.perform(&action).await.outcome).kind, FailureKind::Stale);
    }
    assert_eq!(writes(&emulator), Vec::<String>::new());
    emulator.stop().await;
}

#[tokio::test]
async fn a_lost_answer_of_a_write_is_unknown_and_then_observed() {
    let (emulator, subject) = subject().await;
    let cordon = KubernetesAction::Cordon(subject.facts.node.node.clone());
    inject(&emulator, Method::PATCH, "/nodes/", 1, Fault::ResetAfter);
    assert!(matches!(subject.perform(&cordon).await.outcome, Outcome::Unknown(_)));
    assert!(matches!(subject.observe(&cordon).await, Observation::InPlace(_)));
    emulator.stop().await;
}

#[tokio::test]
async fn a_lost_answer_of_a_read_is_asked_for_again() {
    let (emulator, subject) = subject().await;
    let cordon = KubernetesAction::Cordon(subject.facts.node.node.clone());
    inject(&emulator, Method::GET, "/nodes/", 2, Fault::ResetAfter);
    assert!(!subject.succeeds(&cordon).await.already_so);
    inject(&emulator, Method::GET, "/nodes/", 9, Fault::ResetBefore);
    let uncordon = KubernetesAction::Uncordon(subject.facts.node.node.clone());
    assert_eq!(failure(subject.perform(&uncordon).await.outcome).kind, FailureKind::Unavailable);
    emulator.stop().await;
}

#[tokio::test]
async fn an_api_that_is_not_there_changes_nothing_and_is_no_riddle() {
    let (emulator, subject) = subject().await;
    emulator.stop().await;
    let cordon = KubernetesAction::Cordon(subject.facts.node.node.clone());
    assert_eq!(failure(subject.perform(&cordon).await.outcome).kind, FailureKind::Unavailable);
    assert!(matches!(subject.observe(&cordon).await, Observation::Unclear(_)));
}

#[tokio::test]
async fn a_policy_of_that_name_with_another_spec_is_refused_with_the_difference() {
    let (emulator, subject) = subject().await;
    let pod = subject.facts.suspect.as_ref().unwrap().pod.clone();
    let action = KubernetesAction::DenyPodTraffic(pod.clone());
    subject.succeeds(&action).await;
    // The same name for another uid's label: as if somebody had edited it.
    let api: kube::Api<k8s_openapi::api::networking::v1::NetworkPolicy> = kube::Api::namespaced(kube_client(&emulator).await, "shop");
    let name = format!("stanch-quarantine-{}", pod.uid);
    let patch = serde_json::json!({ "spec": { "policyTypes": ["Ingress"] } });
    api.patch(&name, &Default::default(), &kube::api::Patch::Merge(&patch)).await.unwrap();
    let failure = failure(subject.perform(&action).await.outcome);
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.message.contains("another spec"), "{failure}");
    emulator.stop().await;
}

async fn kube_client(emulator: &KubernetesEmulator) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&emulator.kubeconfig()).unwrap();
    let options = kube::config::KubeConfigOptions { context: Some("sandbox".into()), ..Default::default() };
    kube::Client::try_from(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_budget_that_blocks_ends_the_drain_at_its_deadline_and_names_the_pod() {
    let (emulator, subject) = subject().await;
    emulator.set_min_available("shop", "checkout", 2).unwrap();
    let performed = subject.perform(&KubernetesAction::Drain(subject.drain(4))).await;
    let failure = failure(performed.outcome);
    assert_eq!(failure.kind, FailureKind::Deadline);
    assert!(failure.message.contains("1 pod still on node") && failure.message.contains("shop/checkout-66c9d8b7f5-q4w7e"), "{failure}");
    // Tried at most once in five seconds.
    assert_eq!(writes(&emulator).iter().filter(|call| call.contains("checkout")).count(), 1, "{:?}", writes(&emulator));
    assert!(writes(&emulator).iter().all(|call| call.starts_with("POST") && call.ends_with("/eviction")), "nothing is deleted by force");
    emulator.stop().await;
}

#[tokio::test]
async fn the_servers_own_429_is_waited_for_and_lost_answers_do_not_end_a_drain() {
    let (emulator, subject) = subject().await;
    emulator.refuse_evictions(2, 1);
    inject(&emulator, Method::POST, "/eviction", 1, Fault::ResetAfter);
    inject(&emulator, Method::GET, "fieldSelector=spec.nodeName", 2, Fault::ResetAfter);
    let receipt = subject.succeeds(&KubernetesAction::Drain(subject.drain(60))).await;
    assert!(!receipt.already_so);
    emulator.stop().await;
}

#[tokio::test]
async fn more_pods_than_the_approval_covers_end_the_drain() {
    let (emulator, subject) = subject().await;
    let mut drain = subject.drain(30);
    drain.at_most = u32::try_from(drain.expected.len()).unwrap();
    emulator.add_pods("shop", "late", NODE, 1).unwrap();
    let failure = failure(subject.perform(&KubernetesAction::Drain(drain)).await.outcome);
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.message.contains("the approval covers"), "{failure}");
    assert_eq!(writes(&emulator), Vec::<String>::new());
    emulator.stop().await;
}

#[tokio::test]
async fn newcomers_within_the_limit_are_named() {
    let (emulator, subject) = subject().await;
    let drain = subject.drain(60);
    emulator.add_pods("shop", "late", NODE, 1).unwrap();
    let receipt = subject.succeeds(&KubernetesAction::Drain(drain)).await;
    let newcomers = receipt.details.iter().filter(|line| line.contains("came after the plan was made")).count();
    assert_eq!(newcomers, 1, "{receipt:?}");
    emulator.stop().await;
}

#[tokio::test]
async fn names_that_lead_nowhere_or_to_several_pods_are_told() {
    let (emulator, client) = emulator().await;
    let adapter = KubernetesCluster::new(client);
    let told = async |target: &str| survey(&adapter, target).await.unwrap_err().to_string();
    assert_eq!(told("pod shop/nothing").await, "there is no pod `shop/nothing`");
    assert_eq!(told("pod nothing").await, "there is no pod `nothing` in any namespace");
    assert_eq!(told("node nothing").await, "there is no node `nothing`");
    assert_eq!(survey(&adapter, "pod one-off").await.unwrap().suspect.unwrap().pod.namespace.as_str(), "shop");
    let workload =
        stanch::sandbox::world::Workload::new(stanch::sandbox::world::WorkloadKind::Bare, "kube-system", "one-off", &[("one-off", NODE)]);
    emulator.add_workload(&workload).unwrap();
    let ambiguous = survey(&adapter, "pod one-off").await.unwrap_err();
    assert_eq!(
        ambiguous,
        SurveyError::Ambiguous { name: "one-off".into(), choices: vec!["kube-system/one-off".into(), "shop/one-off".into()] }
    );
    emulator.stop().await;
}

#[tokio::test]
async fn a_context_must_be_named_and_exist() {
    let (emulator, _) = emulator().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, emulator.kubeconfig()).unwrap();
    assert!(KubernetesCluster::from_kubeconfig(&file, "sandbox").await.is_ok());
    let error = KubernetesCluster::from_kubeconfig(&file, "prod").await.err().unwrap().to_string();
    assert!(error.ends_with("has no context `prod`; it has: sandbox"), "{error}");
    assert!(KubernetesCluster::from_kubeconfig(&folder.path().join("absent"), "sandbox").await.is_err());
    emulator.stop().await;
}

#[tokio::test]
async fn a_write_at_which_the_server_failed_is_unknown_and_a_refused_one_is_not() {
    let (emulator, subject) = subject().await;
    let cordon = KubernetesAction::Cordon(subject.facts.node.node.clone());
    let answer = |status: u16, reason: &str| Fault::Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: vec![],
        body: serde_json::json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": "injected", "code": status }),
    };
    inject(&emulator, Method::PATCH, "/nodes/", 4, answer(503, "ServiceUnavailable"));
    assert!(matches!(subject.perform(&cordon).await.outcome, Outcome::Unknown(_)));
    inject(&emulator, Method::PATCH, "/nodes/", 1, answer(503, "ServiceUnavailable"));
    inject(&emulator, Method::PATCH, "/nodes/", 3, answer(429, "TooManyRequests"));
    assert!(matches!(subject.perform(&cordon).await.outcome, Outcome::Unknown(_)), "one try may have done it");
    inject(&emulator, Method::PATCH, "/nodes/", 1, answer(403, "Forbidden"));
    let refused = failure(subject.perform(&cordon).await.outcome);
    assert_eq!(refused.kind, FailureKind::Refused);
    assert!(refused.message.contains("no right to patch nodes") && refused.hint.is_some(), "{refused:?}");
    inject(&emulator, Method::PATCH, "/nodes/", 2, answer(409, "Conflict"));
    assert!(!subject.succeeds(&cordon).await.already_so, "the bound facts still hold, so it is tried again");
    let deny = KubernetesAction::DenyPodTraffic(subject.facts.suspect.as_ref().unwrap().pod.clone());
    let policy = FaultRule {
        method: Some(Method::GET),
        uri_contains: "/networkpolicies/".into(),
        skip: 1,
        times: 1,
        fault: answer(403, "Forbidden"),
    };
    emulator.wire().inject(policy);
    assert!(matches!(subject.perform(&deny).await.outcome, Outcome::Unknown(_)), "it was written, and could not be read back");
    emulator.stop().await;
}

#[tokio::test]
async fn an_eviction_at_which_the_server_failed_compares_the_uid_before_it_is_tried_again() {
    let (emulator, subject) = subject().await;
    let fault = Fault::Answer { status: StatusCode::BAD_GATEWAY, headers: vec![], body: serde_json::json!({ "message": "injected" }) };
    inject(&emulator, Method::POST, "/one-off/eviction", 2, fault);
    subject.succeeds(&KubernetesAction::Drain(subject.drain(60))).await;
    let calls = emulator.wire().exchanges();
    let about: Vec<&str> = calls.iter().filter(|call| call.path.contains("/pods/one-off")).map(|call| call.method.as_str()).collect();
    assert!(about.windows(2).all(|pair| pair != ["POST", "POST"]), "{about:?}");
    emulator.stop().await;
}

#[tokio::test]
async fn two_budgets_on_one_pod_are_reported_and_not_fought() {
    let (emulator, subject) = subject().await;
    let client = kube_client(&emulator).await;
    let api: kube::Api<k8s_openapi::api::policy::v1::PodDisruptionBudget> = kube::Api::namespaced(client, "shop");
    let budget = serde_json::json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "second" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "checkout" } } },
    });
    api.create(&Default::default(), &serde_json::from_value(budget).unwrap()).await.unwrap();
    let failure = failure(subject.perform(&KubernetesAction::Drain(subject.drain(60))).await.outcome);
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.message.contains("cannot be evicted") && failure.message.contains("more than one PodDisruptionBudget"), "{failure}");
    emulator.stop().await;
}

#[tokio::test]
async fn pods_of_protected_namespaces_stay() {
    let (emulator, subject) = subject().await;
    let mut drain = subject.drain(60);
    drain.protected_namespaces = ["shop".to_owned()].into();
    assert!(subject.succeeds(&KubernetesAction::Drain(drain)).await.already_so);
    assert_eq!(writes(&emulator), Vec::<String>::new());
    emulator.stop().await;
}

#[tokio::test]
async fn a_pod_that_tolerates_no_unreachable_node_is_not_touched_in_vain() {
    let (emulator, subject) = subject().await;
    let pod = subject.facts.pods.iter().find(|pod| pod.mirror).unwrap().pod.clone();
    // A mirror pod tolerates everything, for ever.
    assert!(subject.succeeds(&KubernetesAction::KeepWhileUnreachable(pod)).await.already_so);
    assert_eq!(writes(&emulator), Vec::<String>::new());
    emulator.stop().await;
}
