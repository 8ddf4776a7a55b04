//! The committed ClusterRole is enough on a real control plane, for the bot's own service account.

use std::path::Path;
use std::process::Command;

use stanch::adapters::kubernetes::KubernetesCluster;
use stanch::ports::Surveyor as _;
use stanch::sandbox::world::World;
use stanch_commands::target::TargetName;

use crate::control_plane::ControlPlane;
use crate::kubernetes_adapter::contract::contract;
use crate::support::skip;

const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";

#[tokio::test]
async fn the_cluster_role_is_enough_for_the_kubernetes_side_of_a_quarantine() {
    let Some(plane) = ControlPlane::start_with(&World::compromised(), &[]) else { return };
    let Some(bot) = plane.bot_context() else {
        return skip("cluster-role-on-control-plane", "the cluster is not ours, so there is no bot without rights");
    };
    // The words of the emulator's refusal are these.
    let client = plane.client(bot).await;
    let survey = KubernetesCluster::new(client).survey(&TargetName::Node(plane.node(NODE).parse().unwrap())).await;
    assert_eq!(
        survey.unwrap_err().to_string(),
        format!(
            "no right to read nodes: nodes \"{NODE}\" is forbidden: User \"system:serviceaccount:stanch:stanch\" cannot get resource \
             \"nodes\" in API group \"\" at the cluster scope"
        )
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/rbac.yaml");
    let mut kubectl = Command::new("kubectl");
    kubectl.arg("--kubeconfig").arg(plane.kubeconfig()).args(["--context", plane.context(), "apply", "-f"]).arg(file);
    let Ok(applied) = kubectl.output() else { return skip("cluster-role-on-control-plane", "there is no kubectl") };
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    contract(plane.client(bot).await, plane.node(NODE)).await;
}
