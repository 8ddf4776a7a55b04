//! A container that ends by privileged pods: what holds on the emulator, and everything that must end without a container being touched.

use http::Method;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};
use stanch::adapters::kubernetes::KubernetesCluster;
use stanch::core::step::{FailureKind, Observation, Outcome};
use stanch::sandbox::kubernetes::KubernetesEmulator;
use stanch::sandbox::server::{Fault, FaultRule};
use stanch_commands::action::KubernetesAction;
use stanch_commands::runtime::{ContainerRef, Ending, PrivilegedPod, Tool, Verb};

use super::{NODE, Subject, emulator, writes};

const SUSPECT: (&str, &str) = ("shop", "cart-7d4b9c6f5-x2x9q");
const PODS: &str = "/api/v1/namespaces/stanch-privileged/pods";
pub const ALL: [Verb; 3] = [Verb::Stop { grace_s: 10 }, Verb::Kill, Verb::Remove];

pub async fn namespace(client: &Client) {
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": "stanch-privileged" } })).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
}

pub fn through() -> PrivilegedPod {
    let image = format!("registry.example/node-tools@sha256:{}", "5".repeat(64));
    PrivilegedPod { namespace: "stanch-privileged".parse().unwrap(), image: image.parse().unwrap() }
}

/// The end of the suspect's first container.
pub fn end(facts: &stanch_commands::facts::KubernetesFacts, ladder: &[Verb]) -> KubernetesAction {
    let suspect = facts.suspect.clone().unwrap();
    let container = suspect.containers.first().unwrap();
    let (_, id) = container.runtime_id.split_once("://").unwrap();
    let container = ContainerRef { name: container.name.parse().unwrap(), id: id.parse().unwrap(), tool: Tool::Crictl };
    let ending = Ending { node: facts.node.node.clone(), pod: suspect.pod, container, ladder: ladder.to_vec(), waiver: None };
    KubernetesAction::EndContainer { ending: Box::new(ending), through: through() }
}

async fn started() -> (KubernetesEmulator, Client, Subject) {
    let (emulator, client) = emulator().await;
    namespace(&client).await;
    let subject = Subject::of(client.clone(), &format!("pod {}/{}", SUSPECT.0, SUSPECT.1)).await;
    (emulator, client, subject)
}

/// Commands of the pods that were made, without `nsenter`.
fn commands(emulator: &KubernetesEmulator) -> Vec<String> {
    let words = |body: &Value| {
        let command = body.pointer("/spec/containers/0/command").and_then(Value::as_array).cloned().unwrap_or_default();
        command.iter().filter_map(Value::as_str).skip(5).take(3).collect::<Vec<_>>().join(" ")
    };
    let made = emulator.wire().exchanges().into_iter().filter(|call| call.method == "POST" && call.path == PODS);
    made.filter_map(|call| call.body).map(|body| words(&body)).collect()
}

async fn pods_left(client: &Client) -> usize {
    Api::<Pod>::namespaced(client.clone(), "stanch-privileged").list(&ListParams::default()).await.unwrap().items.len()
}

#[tokio::test]
async fn a_container_ends_by_pods_that_leave_nothing() {
    let (emulator, client, subject) = started().await;
    let action = end(&subject.facts, &ALL[..1]);
    assert_eq!(subject.observe(&action).await, Observation::NotInPlace);
    let receipt = subject.succeeds(&action).await;
    assert_eq!(receipt.details, ["`crictl stop --timeout 10` ended"]);
    assert!(!receipt.already_so && receipt.summary.ends_with("does not run any more"), "{receipt:?}");
    assert_eq!(commands(&emulator), ["crictl ps -a", "crictl stop --timeout", "crictl ps -a"]);
    assert_eq!(pods_left(&client).await, 0);
    // The kubelet started it again, which is another run: that one is not meant any more.
    let Observation::InPlace(receipt) = subject.observe(&action).await else { panic!("it has ended") };
    assert!(receipt.summary.contains("was started again"), "{receipt:?}");
    let receipt = subject.succeeds(&action).await;
    assert!(receipt.already_so, "{receipt:?}");
    assert_eq!(commands(&emulator).last().unwrap(), "crictl ps -a", "the run that the kubelet started is left alone");
    assert_eq!(commands(&emulator).len(), 4);
    // What is left of the run before goes with --force, whoever ended it; the present one runs on.
    let remove = end(&subject.facts, &ALL);
    assert_eq!(subject.observe(&remove).await, Observation::NotInPlace);
    assert!(subject.succeeds(&remove).await.summary.ends_with("is gone from its node"));
    assert!(subject.succeeds(&remove).await.already_so);
    let again = Subject::of(client, &format!("pod {}/{}", SUSPECT.0, SUSPECT.1)).await;
    assert!(again.facts.suspect.as_ref().unwrap().containers.first().unwrap().running);

    // Two runs later nobody means it any more.
    again.succeeds(&end(&again.facts, &ALL)).await;
    let before = writes(&emulator).len();
    let Outcome::Failed(failure) = subject.perform(&action).await.outcome else { panic!("it is another run") };
    assert_eq!((failure.kind, writes(&emulator).len()), (FailureKind::Stale, before));
    emulator.stop().await;
}

#[tokio::test]
async fn the_pod_is_what_the_approvers_saw_and_has_nothing_of_the_cluster() {
    let (emulator, _, subject) = started().await;
    let container = subject.facts.suspect.as_ref().unwrap().containers.first().unwrap().name.clone();
    emulator.resist(SUSPECT.0, SUSPECT.1, &container).unwrap();
    let receipt = subject.succeeds(&end(&subject.facts, &ALL)).await;
    assert!(receipt.summary.ends_with("is gone from its node"), "{receipt:?}");
    let verbs: Vec<String> = commands(&emulator).into_iter().filter(|command| !command.starts_with("crictl ps")).collect();
    assert_eq!(
        verbs.iter().map(|verb| verb.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>(),
        ["crictl stop", "crictl stop", "crictl rm"]
    );
    let made = emulator.wire().exchanges().into_iter().find(|call| call.method == "POST" && call.path == PODS).unwrap().body.unwrap();
    let spec = made.get("spec").unwrap();
    let expected = [
        ("/nodeName", json!(NODE)),
        ("/hostPID", json!(true)),
        ("/restartPolicy", json!("Never")),
        ("/activeDeadlineSeconds", json!(90)),
        ("/automountServiceAccountToken", json!(false)),
        ("/tolerations", json!([{ "operator": "Exists" }])),
        ("/containers/0/image", json!(through().image.as_str())),
        ("/containers/0/securityContext", json!({ "privileged": true, "runAsUser": 0, "readOnlyRootFilesystem": true })),
    ];
    for (pointer, value) in expected {
        assert_eq!(spec.pointer(pointer), Some(&value), "{pointer}");
    }
    for absent in ["/volumes", "/hostNetwork", "/hostIPC", "/containers/0/args", "/containers/1", "/serviceAccountName"] {
        assert_eq!(spec.pointer(absent), None, "{absent}");
    }
    emulator.stop().await;
}

#[tokio::test]
async fn nothing_is_begun_on_what_is_not_the_bound_one() {
    let (emulator, _, subject) = started().await;
    let before = writes(&emulator).len();
    emulator.recreate_pod(SUSPECT.0, SUSPECT.1).unwrap();
    let action = end(&subject.facts, &ALL);
    let Outcome::Failed(failure) = subject.perform(&action).await.outcome else { panic!("it is another pod") };
    assert_eq!(failure.kind, FailureKind::Stale);
    assert!(matches!(subject.observe(&action).await, Observation::Gone(_)));
    assert_eq!(writes(&emulator).len(), before);

    let (emulator, _, subject) = started().await;
    let before = writes(&emulator).len();
    emulator.set_node_unreachable(NODE).unwrap();
    let Outcome::Failed(failure) = subject.perform(&end(&subject.facts, &ALL)).await.outcome else { panic!("nobody answers") };
    assert_eq!((failure.kind, writes(&emulator).len()), (FailureKind::Unavailable, before));
    assert!(failure.hint.unwrap().contains("over SSH"));
}

#[tokio::test]
async fn a_refused_pod_and_a_missing_namespace_are_told() {
    let (emulator, client) = emulator().await;
    let subject = Subject::of(client, &format!("pod {}/{}", SUSPECT.0, SUSPECT.1)).await;
    let action = end(&subject.facts, &ALL);
    let Outcome::Failed(failure) = subject.perform(&action).await.outcome else { panic!("no namespace") };
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Refused, "there is no namespace stanch-privileged"));

    let (emulator_2, client, subject) = started().await;
    let body = json!({ "message": "pods \"x\" is forbidden: ValidatingAdmissionPolicy denied request" });
    let fault = Fault::Answer { status: http::StatusCode::FORBIDDEN, headers: vec![], body };
    emulator_2.wire().inject(FaultRule { method: Some(Method::POST), uri_contains: PODS.into(), skip: 1, times: 1, fault });
    let Outcome::Failed(failure) = subject.perform(&action_of(&subject)).await.outcome else { panic!("it is refused") };
    assert!(failure.kind == FailureKind::Refused && failure.message.contains("denied request"), "{failure}");
    assert_eq!((commands(&emulator_2).len(), pods_left(&client).await), (2, 0), "the look, and what was refused");
    emulator.stop().await;
    emulator_2.stop().await;
}

fn action_of(subject: &Subject) -> KubernetesAction {
    end(&subject.facts, &ALL)
}

/// The answer to a creation is lost, and the process dies with a pod under way: the pods of the next life have the same names.
#[tokio::test]
async fn lost_answers_and_leftovers_are_dealt_with() {
    let (emulator, client, subject) = started().await;
    emulator.wire().inject(FaultRule {
        method: Some(Method::POST),
        uri_contains: PODS.into(),
        skip: 0,
        times: 1,
        fault: Fault::ResetAfter,
    });
    assert!(subject.succeeds(&end(&subject.facts, &ALL)).await.summary.ends_with("is gone from its node"));
    assert_eq!(pods_left(&client).await, 0);
    emulator.stop().await;

    let (emulator, client, subject) = started().await;
    let action = end(&subject.facts, &ALL[..1]);
    let cluster = KubernetesCluster::new(client.clone());
    let life = tokio::spawn({
        let (action, licence) = (action.clone(), crate::support::licensed(action.clone(), "one"));
        emulator.hang_runtime(NODE);
        async move { stanch::ports::Actuator::perform(&cluster, &action, &licence).await }
    });
    while pods_left(&client).await == 0 {
        tokio::task::yield_now().await;
    }
    life.abort();
    assert_eq!(pods_left(&client).await, 1);
    emulator.answer_runtime(NODE);
    assert!(!subject.succeeds(&action).await.already_so);
    assert_eq!(pods_left(&client).await, 0, "what the earlier life left is gone too");
    emulator.stop().await;
}
