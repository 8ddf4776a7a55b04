//! Goal: `kill-container` ends exactly one run of one container, by the way that is open, or says which way to open. Method: the sandbox's
//! node as facts, varied.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "test code fails by panicking")]

use stanch_commands::action::{Action, KubernetesAction, SshAction, Undo};
use stanch_commands::check;
use stanch_commands::definition::{Context, Does};
use stanch_commands::facts::{ContainerFacts, Facts};
use stanch_commands::plan::{Form, Plan};
use stanch_commands::refusal::Refusal;
use stanch_commands::runtime::{Ending, NodeAccess};

use crate::compute_plans::beside_bastion;
use crate::plans::{SUSPECT, context, facts, plan, text};

fn ending(plan: &Plan) -> &Ending {
    let of = |action: &'_ Action| match action {
        Action::Kubernetes(KubernetesAction::EndContainer { .. }) | Action::Ssh(_) => true,
        _ => false,
    };
    match &plan.steps().find(|(_, step)| of(&step.action)).unwrap().1.action {
        Action::Kubernetes(KubernetesAction::EndContainer { ending, .. }) | Action::Ssh(SshAction::EndContainer { ending, .. }) => ending,
        other => panic!("{other:?}"),
    }
}

fn commands(plan: &Plan) -> Vec<String> {
    let ending = ending(plan);
    let words = |argv: Vec<String>| argv.split_last().map(|(_, words)| words.join(" ")).unwrap();
    ending.ladder.iter().map(|verb| words(ending.argv(*verb))).collect()
}

fn with(line: &str, facts: &Facts, change: impl FnOnce(&mut Context)) -> Result<Plan, Refusal> {
    let (Does::Mitigate(planner), mut context) = context(line, Form::Strict) else { panic!("`{line}` makes no plan") };
    change(&mut context);
    check::checked(planner(facts, &context)?)
}

fn ways(ssh: bool, pod: bool) -> impl FnOnce(&mut Context) {
    let all = crate::plans::node_access();
    let access = NodeAccess { privileged_pod: all.privileged_pod.filter(|_| pod), ssh: all.ssh.filter(|_| ssh) };
    move |context| context.node_access = access
}

fn suspect(facts: &mut Facts) -> &mut Vec<ContainerFacts> {
    &mut facts.kubernetes.suspect.as_mut().unwrap().containers
}

fn another(name: &str) -> ContainerFacts {
    ContainerFacts { name: name.into(), runtime_id: format!("containerd://{}", "ab".repeat(32)), running: true, ephemeral: false }
}

fn docker(facts: &mut Facts) {
    facts.kubernetes.node.runtime = "docker://19.3.1".into();
    for container in suspect(facts) {
        container.runtime_id = container.runtime_id.replace("containerd", "docker");
    }
}

#[test]
fn a_plan_by_a_privileged_pod() {
    insta::assert_snapshot!(text(&plan(&format!("kill-container {SUSPECT}"), Form::Strict, &facts()).unwrap()));
}

#[test]
fn a_plan_over_ssh() {
    let mut facts = beside_bastion();
    facts.kubernetes.node.ready = false;
    let line = format!("kill-container {SUSPECT} container:server via:bastion --force --stop-now reason:\"data is leaving\"");
    let plan = plan(&line, Form::Strict, &facts).unwrap();
    insta::assert_snapshot!(text(&plan));
    let step = plan.steps().last().unwrap().1;
    assert!(matches!(step.action.undo(), Undo::Impossible(_)));
}

#[test]
fn the_commands_follow_the_runtime_the_form_and_force() {
    let cases: [(bool, Form, bool, &[&str]); 8] = [
        (false, Form::Strict, false, &["crictl stop --timeout 10"]),
        (false, Form::Strict, true, &["crictl stop --timeout 10", "crictl stop", "crictl rm -f"]),
        (false, Form::Guide, false, &["crictl stop"]),
        (false, Form::Guide, true, &["crictl stop", "crictl rm -f"]),
        (true, Form::Strict, false, &["docker stop --time 10"]),
        (true, Form::Strict, true, &["docker stop --time 10", "docker kill", "docker rm -f"]),
        (true, Form::Guide, false, &["docker stop --time 10"]),
        (true, Form::Guide, true, &["docker stop --time 10", "docker kill", "docker rm -f"]),
    ];
    for (is_docker, form, force, expected) in cases {
        let mut facts = facts();
        if is_docker {
            docker(&mut facts);
        }
        let line = format!("kill-container {SUSPECT}{}", if force { " --force" } else { "" });
        let plan = plan(&line, form, &facts).unwrap();
        assert_eq!(commands(&plan), expected, "{line} {form:?}");
        assert_eq!(
            plan.command,
            format!("{line} cluster:sandbox incident:inc-42")
                .replace(" --force cluster:sandbox incident:inc-42", " cluster:sandbox incident:inc-42 --force")
        );
    }
}

#[test]
fn one_container_is_meant_or_nothing_is_planned() {
    let line = format!("kill-container {SUSPECT}");
    let refused = |line: &str, change: &dyn Fn(&mut Facts)| {
        let mut facts = facts();
        change(&mut facts);
        plan(line, Form::Strict, &facts).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&line, &|facts| suspect(facts).push(another("sidecar"))),
        "pod `shop/cart-7d4b9c6f5-x2x9q` has several containers that run: server, sidecar"
    );
    assert_eq!(
        refused(&format!("{line} container:proxy"), &|facts| suspect(facts).push(another("sidecar"))),
        "there is no container to end: pod shop/cart-7d4b9c6f5-x2x9q has no container `proxy` that runs; there are: server, sidecar"
    );
    let none = "there is no container to end: none of pod shop/cart-7d4b9c6f5-x2x9q runs, as far as the kubelet told";
    assert_eq!(refused(&line, &|facts| suspect(facts).clear()), none);
    assert_eq!(refused(&line, &|facts| suspect(facts).iter_mut().for_each(|container| container.running = false)), none);
    for odd in ["docker://", "containerd://4f1c", "containerd://$(reboot)", ""] {
        let words = refused(&line, &|facts| suspect(facts).iter_mut().for_each(|container| container.runtime_id = odd.into()));
        assert!(words.contains("is no id of the node's runtime"), "{odd}: {words}");
    }
    let words = refused(&line, &|facts| facts.kubernetes.node.runtime = "rkt://1".into());
    assert!(words.contains("knows no tool"), "{words}");

    let mut several = facts();
    suspect(&mut several).push(another("sidecar"));
    let plan = plan(&format!("{line} container:sidecar"), Form::Strict, &several).unwrap();
    assert_eq!(ending(&plan).container.id.as_str(), "ab".repeat(32));
}

#[test]
fn the_way_is_the_one_that_is_open() {
    let line = format!("kill-container {SUSPECT}");
    let over_ssh = |plan: &Plan| plan.steps().any(|(_, step)| matches!(step.action, Action::Ssh(_)));
    let via = format!("{line} via:bastion");
    let (ready, mut silent) = (beside_bastion(), beside_bastion());
    silent.kubernetes.node.ready = false;

    assert!(!over_ssh(&with(&line, &ready, ways(true, true)).unwrap()));
    assert!(over_ssh(&with(&via, &ready, ways(true, true)).unwrap()), "whoever names an intermediate wants SSH");
    assert!(over_ssh(&with(&via, &silent, ways(true, true)).unwrap()));
    assert!(over_ssh(&with(&via, &ready, ways(true, false)).unwrap()));
    let isolated = with(&via, &ready, |context| context.isolated_nodes = [ready.kubernetes.node.node.name.clone()].into());
    assert!(over_ssh(&isolated.unwrap()));

    let refused = |line: &str, facts: &Facts, ssh, pod| with(line, facts, ways(ssh, pod)).unwrap_err();
    for (found, words) in [
        (refused(&line, &ready, false, false), "[privileged_pod] is off; [ssh] is off"),
        (refused(&line, &silent, false, true), "the node is not Ready, so that no pod would start on it; [ssh] is off"),
        (refused(&via, &ready, false, true), "`via:` asks for SSH; [ssh] is off"),
    ] {
        assert_eq!(found.to_string(), format!("no way leads onto the node: {words}"));
        assert!(found.hint().contains("[privileged_pod]") && found.hint().contains("[ssh]"), "{}", found.hint());
    }
    assert!(matches!(refused(&line, &silent, true, true), Refusal::NoIntermediate(_)));
    let mut external = crate::plans::node_access();
    external.ssh.as_mut().unwrap().externally = true;
    let mut hidden = silent.clone();
    hidden.compute.as_mut().unwrap().ssh.neighbours.iter_mut().for_each(|neighbour| neighbour.external = None);
    let found = with(&via, &hidden, |context| context.node_access = external).unwrap_err();
    assert!(found.to_string().contains("has no external address"), "{found}");
    let mut autopilot = ready;
    autopilot.kubernetes.node.autopilot = true;
    assert_eq!(refused(&line, &autopilot, true, true), Refusal::Autopilot);
}

#[test]
fn people_are_told_that_it_comes_back() {
    let told = |policy: &str, ephemeral: bool| {
        let mut facts = facts();
        facts.kubernetes.suspect.as_mut().unwrap().restart_policy = policy.into();
        suspect(&mut facts).iter_mut().for_each(|container| container.ephemeral = ephemeral);
        let plan = plan(&format!("kill-container {SUSPECT}"), Form::Strict, &facts).unwrap();
        plan.consequences.residual_risk.first().cloned().unwrap()
    };
    assert!(told("Always", false).starts_with("the kubelet starts it again within seconds, from the same image"));
    assert!(told("OnFailure", false).contains("unless it ends with status 0"));
    assert_eq!(told("Never", false), "restartPolicy Never: the kubelet does not start it again");
    assert_eq!(told("Always", true), "it was added to the running pod by hand, and is not started again");
}

/// Without stored evidence nothing ends, unless the waiver is in the step that people agree to.
#[test]
fn evidence_comes_first() {
    let good = plan(&format!("kill-container {SUSPECT}"), Form::Strict, &facts()).unwrap();
    let mut draft = stanch_commands::plan::Draft::from(good);
    for step in &mut draft.steps {
        if let Action::Kubernetes(KubernetesAction::EndContainer { .. }) = step.action {
            step.needs.truncate(0);
        }
    }
    let Err(Refusal::Unsound(findings)) = check::checked(draft) else { panic!("it must be found") };
    assert!(findings.iter().any(|finding| finding.contains("destroys before evidence is stored")), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.contains("before its prior state is saved")), "{findings:?}");
}
