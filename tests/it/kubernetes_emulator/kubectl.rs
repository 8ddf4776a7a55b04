//! Goal: unmodified kubectl works. Method: run every kubectl command of the guide and what a responder would type around them.

use std::process::Output;

use serde_json::json;
use tokio::process::Command;

use super::{Cluster, NODE, PATIENCE, SUSPECT, node_uri};

/// kubectl with a kubeconfig of its own and nothing from the environment.
struct Kubectl {
    home: tempfile::TempDir,
}

impl Kubectl {
    /// `None` where kubectl is not installed.
    async fn find(test: &str, cluster: &Cluster) -> Option<Self> {
        if Command::new("kubectl").arg("version").arg("--client").output().await.is_err() {
            crate::support::skip("kubectl", &format!("{test} needs kubectl on the PATH"));
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let config = cluster.emulator.kubeconfig().replace("namespace: default", "namespace: shop");
        std::fs::write(home.path().join("config"), config).unwrap();
        Some(Self { home })
    }

    async fn output(&self, line: &str) -> Output {
        let mut command = Command::new("kubectl");
        command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.home.path());
        command.env("KUBECONFIG", self.home.path().join("config")).kill_on_drop(true);
        // Only a command that hangs takes this long.
        tokio::time::timeout(PATIENCE * 6, command.args(line.split_whitespace()).output()).await.unwrap().unwrap()
    }

    /// What it prints when it succeeds.
    async fn run(&self, line: &str) -> String {
        let output = self.output(line).await;
        let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "kubectl {line}\n{stdout}{stderr}");
        stdout
    }

    /// What it complains about when it fails.
    async fn fail(&self, line: &str) -> String {
        let output = self.output(line).await;
        assert!(!output.status.success(), "kubectl {line} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[tokio::test]
async fn the_commands_of_the_guide() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::find("the_commands_of_the_guide", &cluster).await else { return };
    assert_eq!(kubectl.run(&format!("cordon {NODE}")).await, format!("node/{NODE} cordoned\n"));
    assert_eq!(kubectl.run(&format!("cordon {NODE}")).await, format!("node/{NODE} already cordoned\n"));
    assert_eq!(kubectl.run(&format!("label pods {SUSPECT} quarantine=true")).await, format!("pod/{SUSPECT} labeled\n"));
    let refused = kubectl.fail(&format!("drain {NODE} --pod-selector=!quarantine")).await;
    for trap in ["DaemonSet-managed Pods", "Pods with local storage", "Pods that declare no controller"] {
        assert!(refused.contains(trap), "{refused}");
    }
    let located = kubectl
        .run(&format!(
            "get pods --all-namespaces -o=custom-columns=POD_NAME:.metadata.name,INSTANCE_NAME:.spec.nodeName --field-selector=metadata.name={SUSPECT}"
        ))
        .await;
    assert_eq!(located, format!("POD_NAME               INSTANCE_NAME\n{SUSPECT}   {NODE}\n"));
    let options = "--ignore-daemonsets --delete-emptydir-data --force --timeout=60s";
    kubectl.run(&format!("drain {NODE} --pod-selector=!quarantine {options}")).await;
    let state = cluster.emulator.snapshot_state();
    let left: Vec<&String> =
        state["pods"].as_object().unwrap().iter().filter(|(_, pod)| pod["node"] == NODE).map(|(name, _)| name).collect();
    assert_eq!(
        left,
        ["kube-system/fluentbit-gke-4hd8s", "kube-system/kube-proxy-gke-sandbox-public-1a2b3c4d-x7k2", &format!("shop/{SUSPECT}")]
    );
    // Newer clients add the namespace.
    let deleted = kubectl.run(&format!("delete pods {SUSPECT} --grace-period=10")).await.replace(" from shop namespace", "");
    assert_eq!(deleted, format!("pod \"{SUSPECT}\" deleted\n"));
    let deleted = kubectl.run("delete deployments cart").await.replace(" from shop namespace", "");
    assert_eq!(deleted, "deployment.apps \"cart\" deleted\n");
    assert_eq!(kubectl.run(&format!("uncordon {NODE}")).await, format!("node/{NODE} uncordoned\n"));
    assert_eq!(kubectl.fail("delete pods nosuch").await, "Error from server (NotFound): pods \"nosuch\" not found\n");
    cluster.done().await;
}

#[tokio::test]
async fn a_blocked_drain_says_why() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::find("a_blocked_drain_says_why", &cluster).await else { return };
    cluster.emulator.set_min_available("shop", "checkout", 2).unwrap();
    let blocked = kubectl.fail(&format!("drain {NODE} --pod-selector=app=checkout --timeout=2s")).await;
    assert!(blocked.contains("Cannot evict pod as it would violate the pod's disruption budget."), "{blocked}");
    cluster.emulator.set_min_available("shop", "checkout", 1).unwrap();
    kubectl.run(&format!("drain {NODE} --pod-selector=app=checkout --timeout=60s")).await;
    cluster.done().await;
}

#[tokio::test]
async fn reading_in_every_form() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::find("reading_in_every_form", &cluster).await else { return };
    for (line, expected) in [
        ("get nodes -o wide", "containerd://1.7.28"),
        ("get pods -A -o wide", "kube-proxy-gke-sandbox-public-1a2b3c4d-x7k2"),
        ("get pod orders-0 -o yaml", "claimName: data-orders-0"),
        ("get pod orders-0 -o json", "\"kind\": \"Pod\""),
        ("get pod orders-0 -o jsonpath={.status.containerStatuses[0].imageID}", "@sha256:"),
        ("get all", "deployment.apps/cart"),
        ("get deploy,rs,sts,pdb,svc,ep,endpointslices,pvc,secrets,configmaps,serviceaccounts", "poddisruptionbudget"),
        ("get ns,pv", "persistentvolume/pvc-orders-0"),
        ("get ds -n kube-system", "fluentbit-gke"),
        ("get leases -n kube-node-lease", NODE),
        ("get events", "CPUThrottlingHigh"),
        ("get hpa,jobs,cronjobs,networkpolicies", ""),
        ("get validatingwebhookconfigurations,mutatingwebhookconfigurations", ""),
        (&format!("describe pod {SUSPECT}"), "Readiness probe failed"),
        (&format!("describe node {NODE}"), "Non-terminated Pods:          (7 in total)"),
        ("describe deployment cart", "NewReplicaSet:   cart-7d4b9c6f5 (2/2 replicas created)"),
        ("describe svc cart", "Endpoints:"),
        ("describe pdb checkout", "Allowed disruptions:  1"),
        ("describe sts orders", "1 Running"),
        ("describe ds fluentbit-gke -n kube-system", "3 Running"),
        ("describe pvc data-orders-0", "Used By:       orders-0"),
        (&format!("logs {SUSPECT} --tail=1"), "xmrig"),
        ("api-resources", "networkpolicies"),
        ("api-versions", "policy/v1"),
        ("version", "Server Version: v1.32.9-gke.1108000"),
        ("get --raw /healthz", "ok"),
    ] {
        let printed = kubectl.run(line).await;
        assert!(printed.contains(expected), "kubectl {line}\n{printed}");
    }
    cluster.done().await;
}

#[tokio::test]
async fn changing_in_every_way() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::find("changing_in_every_way", &cluster).await else { return };
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "quarantine" },
        "spec": { "podSelector": { "matchLabels": { "quarantine": "true" } }, "policyTypes": ["Ingress", "Egress"] },
    });
    let file = kubectl.home.path().join("policy.json");
    std::fs::write(&file, policy.to_string()).unwrap();
    let file = file.display();
    assert_eq!(kubectl.run(&format!("create -f {file}")).await, "networkpolicy.networking.k8s.io/quarantine created\n");
    kubectl.run(&format!("apply -f {file}")).await;
    assert!(kubectl.run(&format!("apply -f {file} --dry-run=server")).await.contains("unchanged"));
    assert_eq!(cluster.emulator.snapshot_state()["networkpolicies"]["shop/quarantine"]["spec"], policy["spec"]);
    for line in [
        format!("taint nodes {NODE} example.com/quarantine=yes:NoSchedule"),
        format!("annotate node {NODE} cluster-autoscaler.kubernetes.io/scale-down-disabled=true"),
        format!("label node {NODE} node.kubernetes.io/exclude-from-external-load-balancers=true"),
        format!("label pod {SUSPECT} app=quarantined --overwrite"),
        format!("patch pod {SUSPECT} --type=json -p [{{\"op\":\"add\",\"path\":\"/metadata/annotations\",\"value\":{{\"a\":\"b\"}}}}]"),
        "scale deployment checkout --replicas=3".into(),
        "set image deployment/search search=example.com/search:2".into(),
        "rollout status deployment/search --timeout=30s".into(),
        "rollout restart deployment/checkout".into(),
        "wait --for=condition=Ready pod/orders-0 --timeout=30s".into(),
        "delete networkpolicy quarantine".into(),
        format!("delete pod {SUSPECT} --grace-period=0 --force"),
        "delete pods -l app=search".into(),
        "delete sts orders --cascade=orphan".into(),
        "delete deployment checkout --cascade=foreground".into(),
        "delete node gke-sandbox-private-5e6f7a8b-t3w1".into(),
    ] {
        kubectl.run(&line).await;
    }
    let node = cluster.emulator.snapshot_state()["nodes"][NODE].clone();
    assert_eq!(node["taints"], json!([{ "key": "example.com/quarantine", "value": "yes", "effect": "NoSchedule" }]));
    assert_eq!(node["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"], "true");
    cluster.done().await;
}

#[tokio::test]
async fn a_watch_prints_what_happens() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::find("a_watch_prints_what_happens", &cluster).await else { return };
    let mut command = Command::new("kubectl");
    command.env("KUBECONFIG", kubectl.home.path().join("config")).kill_on_drop(true).stdout(std::process::Stdio::piped());
    // Selected by label, because the watch of a single name starts anew after its first answer and may swallow what came in between.
    let selector = format!("kubernetes.io/hostname={NODE}");
    let mut watching = command.args(["get", "nodes", "-l", &selector, "--watch", "--no-headers"]).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = async || tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let first = next().await;
    assert!(first.starts_with(&format!("{NODE}   Ready ")), "{first}");
    cluster.merge(&node_uri(NODE), json!({ "spec": { "unschedulable": true } })).await;
    let second = next().await;
    assert!(second.starts_with(&format!("{NODE}   Ready,SchedulingDisabled ")), "{second}");
    watching.kill().await.unwrap();
    cluster.done().await;
}

/// Running a program, and being refused, in the server's words.
#[tokio::test]
async fn running_a_program_in_a_container() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::find("running_a_program_in_a_container", &cluster).await else { return };
    cluster.emulator.set_program("shop", SUSPECT, "ps -ef", "root 66 ./xmrig\n").unwrap();
    assert_eq!(kubectl.run(&format!("exec {SUSPECT} -- ps -ef")).await, "root 66 ./xmrig\n");
    let missing = kubectl.fail(&format!("exec {SUSPECT} -- ss -tan")).await;
    assert!(missing.contains("exec: \"ss\": executable file not found in $PATH"), "{missing}");
    let stranger = kubectl.fail(&format!("exec {SUSPECT} -c other -- ps -ef")).await;
    assert!(stranger.contains("container other"), "{stranger}");
    // A WebSocket begins with a GET, and the server asks for the right to create besides.
    for (granted, missing) in [("create", "get"), ("get", "create")] {
        cluster.emulator.grant_only([("", "pods", "get"), ("", "pods/exec", granted)]);
        let refused = kubectl.fail(&format!("exec {SUSPECT} -- ps -ef")).await;
        assert!(refused.contains("Forbidden") && refused.contains(&format!("cannot {missing} resource \"pods/exec\"")), "{refused}");
    }
    cluster.emulator.grant_only([("", "pods", "list")]);
    let refused = kubectl.fail("delete pod one-off").await;
    let user = "system:serviceaccount:stanch:stanch";
    let words = format!(
        "pods \"one-off\" is forbidden: User \"{user}\" cannot delete resource \"pods\" in API group \"\" in the namespace \"shop\""
    );
    assert!(refused.contains(&words), "{refused}");
    cluster.done().await;
}
