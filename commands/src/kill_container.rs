//! `kill-container`: one container ends by its runtime's own tool, on its node.

use crate::action::{KubernetesAction, SshAction};
use crate::allow_ssh;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{ContainerFacts, Facts, PodFacts};
use crate::guard;
use crate::plan::{Consequences, Draft, Form, Steps};
use crate::redeploy::{GRACE_S, Kept, deletable};
use crate::refusal::Refusal;
use crate::runtime::{ContainerRef, Ending, PrivilegedPod, SshLogin, SshRoute, Tool, Verb};
use crate::target::InstanceRef;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "kill-container",
    phase: Phase::Eradicate,
    summary: "end one container on its node by crictl or docker",
    details: "The guide's `crictl stop`, `crictl rm -f`, `docker stop --time N`, `docker kill` and `docker rm -f`, by the runtime of the node, bound \
              to the container's id and the pod's uid, which the node itself must confirm first. Evidence and the snapshots of the node's disks \
              come first; --stop-now waits for neither and needs a reason. While the node answers, a privileged pod reaches it, if \
              [privileged_pod] of config/stanch.toml is there; SSH through an intermediate VM, if [ssh] is there, also when it does not. The kubelet \
              usually starts the container again: to end it for good, `redeploy`, `delete-workload` or `quarantine`.",
    arguments: &[
        Argument::Pod,
        Argument::Container,
        Argument::Via,
        Argument::Force,
        Argument::Cluster,
        Argument::Incident,
        Argument::Reason,
        Argument::StopNow,
        Argument::IncludeStanch,
        Argument::DryRun,
    ],
    examples: &[
        "pod shop/cart-7d4b9c6f5-x2x9q container:server incident:inc-42",
        "pod shop/cart-7d4b9c6f5-x2x9q container:server via:bastion --force",
    ],
    does: Does::Mitigate(plan),
};

/// What `doctor` and the roles call the rights that only the privileged pod needs.
pub const BY_PRIVILEGED_POD: &str = "kill-container by a privileged pod";

/// Seven runs at most (three commands, and a look before and after each), of which a pod takes about 5 s and `stop` its grace period more; and
/// one that hangs is given up after 100 s, which ends the step.
const ENDED_DEADLINE_S: u32 = 240;

/// Which way leads onto the node.
enum Way<'c> {
    Pod(&'c PrivilegedPod),
    Ssh(Box<Hops>),
}

/// The two machines of the way over SSH.
struct Hops {
    route: SshRoute,
    instance: InstanceRef,
    via: InstanceRef,
}

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    guard::node(facts)?;
    let suspect = deletable(facts, context)?;
    let (found, container) = container(facts, suspect, context)?;
    let way = way(facts, context)?;
    let mut consequences = Consequences::default();
    let mut steps = Steps::default();
    let kept = Kept::add(&mut steps, facts, context, &mut consequences);
    let ending = Box::new(Ending {
        node: facts.kubernetes.node.node.clone(),
        pod: suspect.pod.clone(),
        ladder: ladder(container.tool, context),
        container,
        waiver: kept.waiver.clone(),
    });
    describe(facts, suspect, found, &ending, &mut consequences);
    describe_way(facts, &way, &mut consequences);
    match way {
        Way::Pod(through) => {
            let end = KubernetesAction::EndContainer { ending, through: through.clone() };
            steps.add_with_deadline(end, kept.before_deletion(), ENDED_DEADLINE_S);
        }
        Way::Ssh(hops) => {
            let Hops { route, instance, via } = *hops;
            let end = SshAction::EndContainer { ending, instance, via, route };
            steps.add_with_deadline(end, kept.before_deletion(), ENDED_DEADLINE_S);
        }
    }
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}

/// The container that runs and was named, or the only one that runs.
fn container<'f>(facts: &Facts, suspect: &'f PodFacts, context: &Context) -> Result<(&'f ContainerFacts, ContainerRef), Refusal> {
    let no = |why: String| Err(Refusal::NoContainer(why));
    let running: Vec<&ContainerFacts> = suspect.containers.iter().filter(|container| container.running).collect();
    let names = || running.iter().map(|container| container.name.clone()).collect::<Vec<_>>();
    let found = match (&context.arguments.container, running.as_slice()) {
        (_, []) => return no(format!("none of pod {} runs, as far as the kubelet told", suspect.pod)),
        (None, [only]) => *only,
        (None, _) => return Err(Refusal::WhichContainer { pod: suspect.pod.to_string(), choices: names() }),
        (Some(name), _) => match running.iter().find(|container| container.name == name.as_str()) {
            Some(found) => *found,
            None => return no(format!("pod {} has no container `{name}` that runs; there are: {}", suspect.pod, names().join(", "))),
        },
    };
    let runtime = &facts.kubernetes.node.runtime;
    let id = found.runtime_id.split_once("://").map(|(_, id)| id.parse());
    match (Tool::of(runtime), Tool::of(&found.runtime_id), id, found.name.parse()) {
        (Some(tool), Some(same), Some(Ok(id)), Ok(name)) if tool == same => Ok((found, ContainerRef { name, id, tool })),
        (None, ..) => no(format!("Stanch knows no tool for the node's runtime `{runtime}`")),
        (Some(_), ..) => no(format!("`{}` is no id of the node's runtime `{runtime}`", found.runtime_id)),
    }
}

/// What is tried. The guide's own command for containerd names no time to wait, which kills at once.
fn ladder(tool: Tool, context: &Context) -> Vec<Verb> {
    let gently = Verb::Stop { grace_s: GRACE_S };
    let first = match (tool, context.form) {
        (Tool::Crictl, Form::Guide) => Verb::Kill,
        (Tool::Crictl, Form::Strict) | (Tool::Docker, _) => gently,
    };
    match (context.arguments.force, first) {
        (false, _) => vec![first],
        (true, Verb::Kill) => vec![first, Verb::Remove],
        (true, Verb::Stop { .. } | Verb::Remove) => vec![first, Verb::Kill, Verb::Remove],
    }
}

/// A node that answers is reached by a pod; one that does not, or whoever names an intermediate, over SSH.
fn way<'c>(facts: &Facts, context: &'c Context) -> Result<Way<'c>, Refusal> {
    let node = &facts.kubernetes.node;
    let access = &context.node_access;
    let isolated = context.isolated_nodes.contains(&node.node.name);
    let silent = match (node.ready, isolated) {
        (false, _) => Some("the node is not Ready, so that no pod would start on it"),
        // An isolated node may look Ready until the control plane misses it.
        (true, true) => Some("the node is isolated, so that no pod would start on it"),
        (true, false) => None,
    };
    match (&access.privileged_pod, &access.ssh, silent) {
        (Some(pod), _, None) if context.arguments.via.is_none() => Ok(Way::Pod(pod)),
        (_, Some(login), _) => over_ssh(facts, context, login),
        (pod, None, silent) => {
            let by_pod = match (pod, silent) {
                (_, Some(silent)) => silent,
                (None, None) => "[privileged_pod] is off",
                (Some(_), None) => "`via:` asks for SSH",
            };
            Err(Refusal::NoWayOntoNode(vec![by_pod.into(), "[ssh] is off".into()]))
        }
    }
}

fn over_ssh<'c>(facts: &Facts, context: &Context, login: &SshLogin) -> Result<Way<'c>, Refusal> {
    let compute = guard::instance(facts)?;
    let (via, interface) = allow_ssh::intermediate(compute, context)?;
    if login.externally && via.external.is_none() {
        let name = &via.instance.name;
        return Err(Refusal::NoIntermediate(format!("`{name}` has no external address, and [ssh] says to come from outside")));
    }
    let route = SshRoute { login: login.clone(), network: interface.network.clone() };
    Ok(Way::Ssh(Box::new(Hops { route, instance: compute.instance.clone(), via: via.instance.clone() })))
}

fn describe(facts: &Facts, suspect: &PodFacts, found: &ContainerFacts, ending: &Ending, consequences: &mut Consequences) {
    let id: String = ending.container.id.as_str().chars().take(12).collect();
    let lost = if ending.removes() { "its memory, its file system and its log on the node" } else { "its memory" };
    consequences.blast_radius.push(format!("{ending} (id {id}) loses {lost}"));
    let others = suspect.containers.iter().filter(|other| other.running && other.name != found.name).count();
    if others > 0 {
        consequences.blast_radius.push(format!("{others} other containers of the pod run on, with the same network and volumes"));
    }
    let services: Vec<&str> = facts.kubernetes.services.keys().map(String::as_str).collect();
    if !services.is_empty() {
        consequences.blast_radius.push(format!("Services lose an endpoint while it does not run: {}", services.join(", ")));
    }
    consequences.decisions.push(format!("the node confirms id, pod uid and name of the container before anything ends; runtime: {}", facts.kubernetes.node.runtime));
    consequences.noticeable.push(match ending.ladder.first() {
        Some(Verb::Stop { grace_s }) => format!("its processes are told to end and have {grace_s} s left, which an attacker can use"),
        Some(Verb::Kill | Verb::Remove) | None => "its processes are killed at once".into(),
    });
    consequences.residual_risk.push(again(suspect, found));
    consequences.residual_risk.push(format!("whoever broke out of the container is still on node {}", ending.node.name));
    let account = &suspect.service_account;
    consequences.residual_risk.push(format!(
        "service account {}/{account} and what else the pod could read stay usable until they are rotated",
        ending.pod.namespace
    ));
}

/// What the kubelet does next.
fn again(suspect: &PodFacts, found: &ContainerFacts) -> String {
    let instead = "`redeploy` or `delete-workload` end it for good, `quarantine` and `isolate-pod` contain it";
    match (found.ephemeral, suspect.restart_policy.as_str()) {
        (true, _) => "it was added to the running pod by hand, and is not started again".into(),
        (false, "Never") => "restartPolicy Never: the kubelet does not start it again".into(),
        (false, "OnFailure") => {
            format!("restartPolicy OnFailure: the kubelet starts it again, from the same image, unless it ends with status 0; {instead}")
        }
        (false, _) => format!("the kubelet starts it again within seconds, from the same image, once it can; {instead}"),
    }
}

fn describe_way(facts: &Facts, way: &Way<'_>, consequences: &mut Consequences) {
    let node = &facts.kubernetes.node.node.name;
    match way {
        Way::Pod(through) => {
            consequences.blast_radius.push(format!("short-lived privileged pods run on node {node}, one for each command, and are deleted"));
            consequences.decisions.push(format!("way: privileged pod in namespace {}, image {}", through.namespace, through.image));
            consequences.noticeable.push("who is root on the node sees the privileged pods and the commands".into());
            consequences.residual_risk.push("an attacker who is root on the node can answer for its runtime".into());
        }
        Way::Ssh(hops) => {
            let Hops { route, via, .. } = hops.as_ref();
            let user = &route.login.user;
            consequences.decisions.push(format!("way: SSH as {user} through {} in {}, without agent forwarding", via.name, via.zone));
            consequences.decisions.push(format!(
                "both VMs must let {user} in with Stanch's own key, which `allow-ssh` with that key arranges, and their host keys must be known"
            ));
            consequences.noticeable.push("who is root on the VM sees the login and the commands".into());
            consequences.residual_risk.push("an attacker who is root on the VM can answer for its runtime".into());
        }
    }
}
