//! The committed ClusterRole is enough on a real control plane, for the bot's own service account.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;
use stanch::adapters::kubernetes::KubernetesCluster;
use stanch::core::diagnosis::Verdict;
use stanch::core::step::Outcome;
use stanch::ports::{Examined as _, Surveyor as _};
use stanch::sandbox::world::World;
use stanch_commands::action::{KubernetesAction, Probe};
use stanch_commands::permission::cluster_rights;
use stanch_commands::target::TargetName;
use stanch_commands::{CATALOGUE, inspect};

use crate::control_plane::ControlPlane;
use crate::kubernetes_adapter::Subject;
use crate::kubernetes_adapter::contract::contract;
use crate::support::skip;

/// How long the authoriser may take to learn of a role. Only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";

#[tokio::test]
async fn the_cluster_role_is_enough_for_the_kubernetes_side_of_a_quarantine() {
    let Some(plane) = ControlPlane::start_with(&World::compromised(), &[]) else { return };
    let Some(bot) = plane.bot_context() else {
        return skip("cluster-role-on-control-plane", "the cluster is not ours, so there is no bot without rights");
    };
    // The words of the emulator's refusal are these.
    let survey = KubernetesCluster::new(plane.client(bot).await).survey(&TargetName::Node(plane.node(NODE).parse().unwrap())).await;
    assert_eq!(
        survey.unwrap_err().to_string(),
        format!(
            "no right to read nodes: nodes \"{NODE}\" is forbidden: User \"system:serviceaccount:stanch:stanch\" cannot get resource \
             \"nodes\" in API group \"\" at the cluster scope"
        )
    );
    let cluster = KubernetesCluster::new(plane.client(bot).await);
    let every: BTreeSet<&str> = CATALOGUE.iter().map(|definition| definition.name).chain([inspect::WITH_EXEC]).collect();
    let rights = cluster.examine(&every).await.pop().unwrap();
    assert_eq!((rights.name, rights.verdict, rights.found.matches(" (").count()), ("rights", Verdict::Fail, cluster_rights(&every).len()));
    for file in ["rbac.yaml", "rbac-exec.yaml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes").join(file);
        let mut kubectl = Command::new("kubectl");
        kubectl.arg("--kubeconfig").arg(plane.kubeconfig()).args(["--context", plane.context(), "apply", "-f"]).arg(file);
        let Ok(applied) = kubectl.output() else { return skip("cluster-role-on-control-plane", "there is no kubectl") };
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }
    // The authoriser learns of roles by a watch.
    let granted = async { while cluster.examine(&every).await.iter().any(|check| check.verdict != Verdict::Ok) {} };
    tokio::time::timeout(PATIENCE, granted).await.unwrap();
    let reached = probed(&plane, bot).await;
    assert!(!reached.contains("no right"), "no kubelet is there, but the way to it is open: {reached}");
    for verb in ["get", "create"] {
        without_exec(&plane, bot, verb).await;
        let refused = probed(&plane, bot).await;
        assert_eq!(refused.matches("no right to run it: pods ").count(), Probe::ALL.len(), "without {verb}: {refused}");
    }
    contract(plane.client(bot).await, plane.node(NODE)).await;
}

/// Why nothing can be run in a pod.
async fn probed(plane: &ControlPlane, bot: &str) -> String {
    let pods: Api<Pod> = Api::namespaced(plane.client(plane.context()).await, "shop");
    let pod = pods.list(&ListParams::default().labels("app=cart")).await.unwrap().items.remove(0);
    let subject = Subject::of(plane.client(bot).await, &format!("pod shop/{}", pod.name_any())).await;
    let pod = subject.facts.suspect.clone().unwrap().pod;
    match subject.perform(&KubernetesAction::RunProbes { pod, probes: Probe::ALL.into() }).await.outcome {
        Outcome::Failed(failure) => failure.message,
        other => panic!("{other:?}"),
    }
}

/// Leaves of the rights on `pods/exec` all but one.
async fn without_exec(plane: &ControlPlane, bot: &str, verb: &str) {
    let roles: Api<ClusterRole> = Api::all(plane.client(plane.context()).await);
    let mut role = roles.get("stanch-exec").await.unwrap();
    for rule in role.rules.iter_mut().flatten().filter(|rule| rule.resources.iter().flatten().any(|resource| resource == "pods/exec")) {
        rule.verbs = ["get", "create"].into_iter().filter(|kept| *kept != verb).map(str::to_owned).collect();
    }
    roles.replace("stanch-exec", &PostParams::default(), &role).await.unwrap();
    let reviews: Api<SelfSubjectAccessReview> = Api::all(plane.client(bot).await);
    for asked in ["get", "create"] {
        while granted(&reviews, asked).await != (asked != verb) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn granted(reviews: &Api<SelfSubjectAccessReview>, verb: &str) -> bool {
    let attributes = json!({ "resource": "pods", "subresource": "exec", "verb": verb });
    let review = serde_json::from_value(json!({ "metadata": {}, "spec": { "resourceAttributes": attributes } })).unwrap();
    reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}
