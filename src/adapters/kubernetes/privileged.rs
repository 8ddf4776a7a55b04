//! Onto a node by a short-lived privileged pod: one pod, one program, deleted and read back. Where it is switched on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stanch_commands::runtime::{Ending, PrivilegedPod, Ran};
use stanch_commands::target::NodeRef;
use tokio::time::sleep;

use super::change::{bound_node, bound_pod, gone};
use super::wire::{Fault, Session, items, word};
use crate::core::diagnosis::Check;
use crate::core::ending::{Next, Walk};
use crate::core::step::{Failure, FailureKind, Licence, Observation, Outcome, Receipt};

/// Seconds after which the kubelet itself ends a pod that nobody ended: an image that is pulled, a grace period of 10 s, and a slow runtime.
const ACTIVE_DEADLINE_S: u32 = 90;
/// How long a pod is waited for.
const RUN_LIMIT: Duration = Duration::from_secs(100);
/// How long a deleted pod may still be there: it has no grace period.
const GONE_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at a pod.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Most of what a program prints that is read.
const OUTPUT_LIMIT_BYTES: u32 = 64 << 10;
/// The only container of the pod.
const CONTAINER: &str = "node";
/// Where nodes keep their tools: the usual places, and that of GKE on Container-Optimized OS.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/home/kubernetes/bin";

/// What became of one program.
enum Trouble {
    /// It was not begun.
    NotBegun(Outcome),
    /// It may have been.
    Lost(String),
}

/// Makes the pods of one step.
struct Runner<'r> {
    session: &'r mut Session,
    through: &'r PrivilegedPod,
    node: &'r NodeRef,
    request: String,
    /// The same for every life of the process, so that what an earlier one left is found.
    key: String,
    made: u32,
    /// Pods that could not be deleted.
    left: Vec<String>,
}

/// Ends a container.
pub(super) async fn end(session: &mut Session, ending: &Ending, through: &PrivilegedPod, licence: &Licence) -> Outcome {
    if let Err(outcome) = precondition(session, ending).await {
        return *outcome;
    }
    let digest = Sha256::digest(licence.key().as_str());
    let key = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let request = licence.request().to_string();
    let mut runner = Runner { session, through, node: &ending.node, request, key, made: 0, left: vec![] };
    let (mut walk, mut argv) = Walk::begin(ending);
    let outcome = loop {
        match runner.run(&argv).await {
            Ok(ran) => match walk.ran(&ran) {
                Next::Run(next) => argv = next,
                Next::Done(outcome) => break outcome,
            },
            Err(Trouble::NotBegun(outcome)) => break walk.not_begun(outcome),
            Err(Trouble::Lost(why)) => break walk.lost(&why),
        }
    };
    match (runner.left.is_empty(), outcome) {
        (false, Outcome::Succeeded(receipt)) => {
            let message = format!("{}, but privileged pods are still there: {}", receipt.summary, runner.left.join(", "));
            let hint = Some(format!("delete them by hand; their kubelet ends them after {ACTIVE_DEADLINE_S} s"));
            Outcome::Failed(Failure { kind: FailureKind::Refused, message, hint })
        }
        (_, outcome) => outcome,
    }
}

/// Pod, container and node are the bound ones, and the node answers.
async fn precondition(session: &mut Session, ending: &Ending) -> Result<(), Box<Outcome>> {
    let pod = bound_pod(session, &ending.pod).await?;
    let node = bound_node(session, &ending.node).await?;
    if word(&pod, "/spec/nodeName") != ending.node.name.as_str() {
        return Err(Box::new(gone(&format!("{ending} on node {}", ending.node.name))));
    }
    if !status(&pod, ending).is_some_and(|status| is_bound(status, ending)) {
        return Err(Box::new(gone(&format!("this run of {ending}"))));
    }
    let ready = items(&node, "/status/conditions").any(|on| word(on, "/type") == "Ready" && word(on, "/status") == "True");
    if !ready {
        let message = format!("node {} does not answer, so that no pod starts there", ending.node.name);
        let hint = Some("nothing was done; ask again with `via:`, over SSH".into());
        return Err(Box::new(Outcome::Failed(Failure { kind: FailureKind::Unavailable, message, hint })));
    }
    Ok(())
}

/// What the kubelet last told, without a pod on the node. It does not tell whether the remains are removed.
pub(super) async fn observe(session: &mut Session, ending: &Ending) -> Observation {
    let pod = match bound_pod(session, &ending.pod).await {
        Ok(pod) => pod,
        Err(outcome) => return super::change::observation(*outcome),
    };
    let in_place = |summary| Observation::InPlace(Receipt { summary, ..Receipt::default() });
    match status(&pod, ending) {
        Some(status) if is_bound(status, ending) && status.pointer("/state/running").is_some() => Observation::NotInPlace,
        Some(status) if is_bound(status, ending) => in_place(format!("{ending} does not run any more, as the kubelet tells")),
        Some(_) => in_place(format!("{ending} was started again: the run that was to end has ended")),
        None => Observation::Unclear(format!("the kubelet tells nothing of {ending}")),
    }
}

fn status<'p>(pod: &'p Value, ending: &Ending) -> Option<&'p Value> {
    statuses(pod).find(|status| word(status, "/name") == ending.container.name.as_str())
}

/// What the kubelet tells of every container of a pod.
pub(super) fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let of = |kind| items(pod, kind);
    of("/status/containerStatuses").chain(of("/status/initContainerStatuses")).chain(of("/status/ephemeralContainerStatuses"))
}

fn is_bound(status: &Value, ending: &Ending) -> bool {
    word(status, "/containerID").split_once("://").is_some_and(|(_, id)| id == ending.container.id.as_str())
}

/// The pod of one program. Nothing in it comes from a shell, and nothing of the cluster is in it: no token, no volume, no secret.
fn manifest(through: &PrivilegedPod, node: &str, name: &str, request: &str, argv: &[String]) -> Value {
    // In the mount namespace of the node's first process, its own tools find its own sockets.
    let enter = ["nsenter", "--target", "1", "--mount", "--"].map(ToOwned::to_owned);
    let command: Vec<String> = enter.into_iter().chain(argv.iter().cloned()).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": through.namespace.as_str(),
            "labels": { "app.kubernetes.io/name": "stanch", "app.kubernetes.io/component": "node-access", "stanch.dev/request": request },
        },
        "spec": {
            "nodeName": node, "hostPID": true, "restartPolicy": "Never", "activeDeadlineSeconds": ACTIVE_DEADLINE_S,
            "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false, "enableServiceLinks": false,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": CONTAINER, "image": through.image.as_str(), "imagePullPolicy": "IfNotPresent", "command": command,
                "env": [{ "name": "PATH", "value": PATH }],
                "securityContext": { "privileged": true, "runAsUser": 0, "readOnlyRootFilesystem": true },
            }],
        },
    })
}

impl Runner<'_> {
    async fn run(&mut self, argv: &[String]) -> Result<Ran, Trouble> {
        self.made = self.made.saturating_add(1);
        let name = format!("stanch-{}-{}", self.key, self.made);
        let uid = self.create(&name, argv).await?;
        let ran = self.result(&name, &uid).await;
        if !self.delete(&name, &uid).await {
            self.left.push(format!("{}/{name}", self.through.namespace));
        }
        ran
    }

    fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.through.namespace)
    }

    /// Creates the pod. One of that name can only be what an earlier life of this step left.
    async fn create(&mut self, name: &str, argv: &[String]) -> Result<String, Trouble> {
        let manifest = manifest(self.through, self.node.name.as_str(), name, &self.request, argv);
        let path = self.pods();
        let mut created = self.session.post(&path, &manifest).await;
        if let Err(Fault::Conflict(_)) = created {
            let found = self.session.get(&format!("{path}/{name}")).await;
            let uid = found.as_ref().map(|found| word(found, "/metadata/uid").to_owned()).unwrap_or_default();
            self.delete(name, &uid).await;
            created = self.session.post(&path, &manifest).await;
        }
        match created {
            Ok(pod) => Ok(word(&pod, "/metadata/uid").to_owned()),
            Err(Fault::Lost(why)) => match self.session.get(&format!("{path}/{name}")).await {
                Ok(pod) => Ok(word(&pod, "/metadata/uid").to_owned()),
                Err(_) => Err(Trouble::Lost(why)),
            },
            Err(Fault::NotFound) => {
                let message = format!("there is no namespace {}", self.through.namespace);
                let hint = Some("apply deploy/kubernetes/privileged-pod.yaml".into());
                Err(Trouble::NotBegun(Outcome::Failed(Failure { kind: FailureKind::Refused, message, hint })))
            }
            Err(fault) => Err(Trouble::NotBegun(fault.into_outcome())),
        }
    }

    /// Waits for the end of the pod, and reads what its program printed.
    async fn result(&mut self, name: &str, uid: &str) -> Result<Ran, Trouble> {
        let path = format!("{}/{name}", self.pods());
        let deadline = Instant::now() + RUN_LIMIT;
        loop {
            let pod = match self.session.get(&path).await {
                Ok(pod) if word(&pod, "/metadata/uid") == uid => pod,
                Ok(_) | Err(Fault::NotFound) => return Err(Trouble::Lost("somebody deleted the privileged pod".into())),
                Err(fault) => return Err(Trouble::Lost(fault.words())),
            };
            let ended = pod.pointer("/status/containerStatuses/0/state/terminated");
            match (word(&pod, "/status/phase"), ended) {
                ("Succeeded" | "Failed", Some(ended)) => return self.printed(&path, ended).await,
                ("Failed", None) => {
                    let why = [word(&pod, "/status/reason"), word(&pod, "/status/message")].join(" ");
                    let message = format!("the node does not run the privileged pod: {}", why.trim());
                    return Err(Trouble::NotBegun(Outcome::Failed(Failure { kind: FailureKind::Refused, message, hint: None })));
                }
                (_, _) if Instant::now() >= deadline => {
                    let waiting = pod.pointer("/status/containerStatuses/0/state/waiting");
                    let reason = waiting.map_or("it still runs", |waiting| word(waiting, "/reason"));
                    return Err(Trouble::Lost(format!("the privileged pod did not end within {} s: {reason}", RUN_LIMIT.as_secs())));
                }
                (_, _) => sleep(BETWEEN_LOOKS).await,
            }
        }
    }

    async fn printed(&mut self, path: &str, ended: &Value) -> Result<Ran, Trouble> {
        let exit = ended.get("exitCode").and_then(Value::as_u64).and_then(|exit| u32::try_from(exit).ok()).unwrap_or(u32::MAX);
        let log = format!("{path}/log?container={CONTAINER}&limitBytes={OUTPUT_LIMIT_BYTES}");
        match self.session.text(&log).await {
            Ok(output) => {
                let errors = word(ended, "/message").to_owned();
                Ok(Ran { exit, output: String::from_utf8_lossy(&output).into_owned(), errors })
            }
            Err(fault) => Err(Trouble::Lost(format!("what the program printed cannot be read: {}", fault.words()))),
        }
    }

    /// Whether it is gone, as read back.
    async fn delete(&mut self, name: &str, uid: &str) -> bool {
        let path = format!("{}/{name}", self.pods());
        let options = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": uid } });
        // Whatever it answers, the pod is there or not.
        let _ = self.session.delete(&path, &options).await;
        let deadline = Instant::now() + GONE_LIMIT;
        loop {
            match self.session.get(&path).await {
                Err(Fault::NotFound) => return true,
                Ok(pod) if word(&pod, "/metadata/uid") != uid => return true,
                Ok(_) | Err(_) if Instant::now() >= deadline => return false,
                Ok(_) | Err(_) => sleep(BETWEEN_LOOKS).await,
            }
        }
    }
}

/// Whether the API would take such a pod: rights, namespace, admission, in one rehearsal that leaves nothing.
pub(super) async fn rehearse(session: &mut Session, through: &PrivilegedPod) -> Check {
    let argv = ["crictl", "ps"].map(ToOwned::to_owned);
    let manifest = manifest(through, "stanch-rehearsal", "stanch-rehearsal", "none", &argv);
    let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", through.namespace);
    match session.post(&path, &manifest).await {
        Ok(_) => Check::ok("privileged pod", format!("namespace {} would take it", through.namespace)),
        Err(Fault::Unavailable(why) | Fault::Lost(why)) => Check::warn("privileged pod", format!("not known: {why}"), "ask again"),
        Err(fault) => {
            Check::fail("privileged pod", fault.words(), "apply deploy/kubernetes/privileged-pod.yaml, or leave [privileged_pod] out")
        }
    }
}
