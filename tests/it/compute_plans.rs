//! Goal: the commands that destroy a VM, let somebody in, or change a group, plan it right or refuse. Method: as in `plans`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use stanch_commands::action::{Action, ComputeAction};
use stanch_commands::allow_ssh;
use stanch_commands::check;
use stanch_commands::definition::{Context, Does};
use stanch_commands::facts::{ComputeFacts, Facts, GroupState, GroupSurvey, NeighbourFacts, ReadySnapshot};
use stanch_commands::parse::parse;
use stanch_commands::plan::{Draft, Edge, Form};
use stanch_commands::prior::{Earlier, GroupPrior};
use stanch_commands::target::InstanceRef;

use crate::plans::{SUSPECT, context, facts, plan, text};

/// The sandbox's node with a READY snapshot of every disk.
fn kept() -> Facts {
    let mut facts = facts();
    for disk in compute(&mut facts).disks.iter_mut().filter(|disk| disk.disk.is_some()) {
        let name = format!("stanch-r-old234-{}", disk.device).parse().unwrap();
        disk.ready_snapshot = Some(ReadySnapshot { name, age_s: 600, incident: "inc-42".into() });
        disk.recent_snapshot = disk.ready_snapshot.as_ref().map(|ready| (ready.name.clone(), 600));
    }
    facts
}

/// The same, abandoned and protected.
pub(crate) fn abandoned_and_kept() -> Facts {
    let mut abandoned = kept();
    let instance = compute(&mut abandoned);
    (instance.group, instance.deletion_protection) = (None, true);
    abandoned
}

fn compute(facts: &mut Facts) -> &mut ComputeFacts {
    facts.compute.as_mut().unwrap()
}

fn refusal(line: &str, facts: &Facts) -> String {
    let refusal = plan(line, Form::Strict, facts).unwrap_err();
    format!("{refusal}; hint: {}", refusal.hint())
}

#[test]
fn a_node_is_deleted_through_its_group_or_by_itself() {
    let line = format!("delete-node {SUSPECT}");
    let mut all = text(&plan(&line, Form::Strict, &kept()).unwrap());
    all.push_str(&text(&plan(&line, Form::Strict, &abandoned_and_kept()).unwrap()));
    all.push_str(&text(&plan(&format!("{line} --stop-now reason:\"data is leaving\""), Form::Strict, &facts()).unwrap()));
    insta::assert_snapshot!("delete_node", all);
}

#[test]
fn what_is_not_kept_is_not_deleted() {
    let line = format!("delete-node {SUSPECT}");
    let mut creating = kept();
    for disk in &mut compute(&mut creating).disks {
        disk.ready_snapshot = None;
    }
    let mut old = kept();
    for ready in compute(&mut old).disks.iter_mut().filter_map(|disk| disk.ready_snapshot.as_mut()) {
        (ready.age_s, ready.incident) = (90_000, "inc-7".into());
    }
    let mut busy = kept();
    compute(&mut busy).group.as_mut().unwrap().current_action = "RECREATING".into();
    let mut autopilot = kept();
    autopilot.kubernetes.node.autopilot = true;
    let cases = [&facts(), &creating, &old, &busy, &autopilot].map(|facts| refusal(&line, facts));
    insta::assert_snapshot!("delete_node_refusals", cases.join("\n"));
    assert!(parse(&format!("{line} --stop-now")).unwrap_err().to_string().contains("reason:"));
}

/// Goal: no plan that destroys passes the linter without what it must require, or a waiver.
#[test]
fn the_linter_lets_nothing_destroy_early() {
    let good = plan(&format!("delete-node {SUSPECT}"), Form::Strict, &abandoned_and_kept()).unwrap();
    for weaken in [|edge: &Edge| matches!(edge, Edge::After(_)), |edge: &Edge| edge.step().index() < 2] {
        let mut draft: Draft = good.clone().into();
        draft.steps.iter_mut().for_each(|step| step.needs.retain(weaken));
        assert!(check::checked(draft).is_err());
    }
    let mut draft: Draft = good.into();
    for step in &mut draft.steps {
        let waived = match &step.action {
            Action::Compute(ComputeAction::DeleteInstance { instance, .. }) => {
                ComputeAction::DeleteInstance { instance: instance.clone(), group: None, waiver: Some("why".into()) }
            }
            Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => continue,
        };
        step.action = Action::Compute(waived);
    }
    assert!(check::checked(draft).is_ok());
}

const KEY: &str = "key:\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f rosa\"";
const LINE: &str = "rosa:ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f stanch-r-k3f9qz";

fn neighbour(facts: &Facts, name: &str, id: u64) -> NeighbourFacts {
    let instance = facts.compute.as_ref().unwrap().instance.clone();
    NeighbourFacts {
        instance: InstanceRef { name: name.parse().unwrap(), id: id.into(), ..instance },
        status: "RUNNING".into(),
        tags: [].into(),
        networks: [("sandbox-project/prod-vpc".to_owned(), "10.128.0.90".to_owned())].into(),
        external: None,
        made_by: None,
    }
}

/// The sandbox's node with a bastion and a web server beside it.
pub(crate) fn beside_bastion() -> Facts {
    let mut facts = facts();
    let neighbours = [neighbour(&facts, "bastion", 90), NeighbourFacts { status: "TERMINATED".into(), ..neighbour(&facts, "web-1", 91) }];
    compute(&mut facts).ssh.neighbours = neighbours.to_vec();
    facts
}

/// What `allow-ssh` leaves, as facts.
pub(crate) fn opened(form: Form) -> Facts {
    let mut facts = beside_bastion();
    let compute = compute(&mut facts);
    let way = allow_ssh::way(form, &compute.instance, &compute.interfaces.first().unwrap().network);
    compute.tags.insert(way.target.to_string());
    compute.firewall.push(way.rule);
    compute.ssh.keys = vec!["bo:ssh-rsa AAAA bo".into(), LINE.into()];
    compute.ssh.neighbours.first_mut().unwrap().tags.insert(way.source.to_string());
    facts
}

/// The same through an intermediate that Stanch made.
pub(crate) fn made() -> Facts {
    let mut facts = opened(Form::Strict);
    let via = compute(&mut facts).ssh.neighbours.first_mut().unwrap();
    via.made_by = Some("r-k3f9qz".into());
    facts
}

#[test]
fn ssh_is_opened_and_closed() {
    let mut quarantined = beside_bastion();
    compute(&mut quarantined).tags.insert("quarantine".into());
    let (allow, revoke) = (format!("allow-ssh {SUSPECT} via:bastion {KEY}"), format!("revoke-ssh {SUSPECT}"));
    let all = [
        plan(&allow, Form::Strict, &beside_bastion()),
        plan(&allow, Form::Guide, &quarantined),
        plan(&revoke, Form::Strict, &opened(Form::Strict)),
        plan(&format!("{revoke} via:bastion"), Form::Guide, &opened(Form::Guide)),
        plan(&allow.replace("via:bastion", "--create-intermediate"), Form::Strict, &beside_bastion()),
        plan(&revoke, Form::Strict, &made()),
    ];
    insta::assert_snapshot!("ssh", all.map(|plan| text(&plan.unwrap())).join("\n"));
    // The command line that is recorded asks for the same again.
    let again = plan(&allow, Form::Strict, &beside_bastion()).unwrap();
    assert_eq!(parse(&again.command).unwrap().arguments.key, parse(&allow).unwrap().arguments.key);
    // The intermediate that was made is taken again, and kept while another node is reached from it.
    let mut used = made();
    let id = used.compute.as_ref().unwrap().instance.id;
    let via = compute(&mut used).ssh.neighbours.first_mut().unwrap();
    via.instance.name = format!("stanch-via-{id}").parse().unwrap();
    via.tags.insert("stanch-via-5".into());
    let refusal = plan(&allow.replace("via:bastion", "--create-intermediate"), Form::Strict, &used).unwrap_err();
    assert!(refusal.to_string().starts_with("nothing to do"), "{refusal}");
    let kept = plan(&revoke, Form::Strict, &used).unwrap();
    assert!(!kept.steps().any(|(_, step)| matches!(step.action, Action::Compute(ComputeAction::DeleteIntermediate { .. }))));
}

#[test]
fn a_way_in_that_would_not_hold_is_refused() {
    let allow = format!("allow-ssh {SUSPECT} via:bastion {KEY}");
    let case = |line: &str, change: fn(&mut ComputeFacts)| {
        let mut facts = beside_bastion();
        change(compute(&mut facts));
        refusal(line, &facts)
    };
    let cases = [
        case(&allow, |compute| compute.ssh.os_login = Some("project sandbox-project".into())),
        case(&allow.replace("bastion", "web-1"), |_| ()),
        case(&allow.replace("bastion", "nobody"), |_| ()),
        case(&allow.replace("via:bastion ", ""), |_| ()),
        case(&format!("{allow} --create-intermediate"), |_| ()),
        case(&allow, |compute| compute.ssh.neighbours.iter_mut().for_each(|other| other.instance.name = "bastion".parse().unwrap())),
        case(&allow, |compute| {
            let mut rule = allow_ssh::way(Form::Strict, &compute.instance, &compute.interfaces.first().unwrap().network).rule;
            rule.ranges.insert("0.0.0.0/0".into());
            compute.firewall.push(rule);
        }),
        case(&allow, |compute| {
            let tag = format!("stanch-ssh-{}", compute.instance.id);
            compute.ssh.neighbours.last_mut().unwrap().tags.insert(tag);
        }),
        refusal(&allow, &opened(Form::Strict)),
        refusal(&format!("revoke-ssh {SUSPECT}"), &beside_bastion()),
        plan(&allow, Form::Guide, &beside_bastion()).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!("ssh_refusals", cases.join("\n"));
    assert!(parse(&format!("allow-ssh {SUSPECT} via:bastion")).unwrap_err().to_string().contains("needs `key:"));
    assert!(parse(&format!("allow-ssh {SUSPECT} key:\"ssh-ed25519 AAAA rosa\"")).is_err());
}

/// Goal: a named key goes alone, and the door stays open for the others; under the guide's form the rule stays for other nodes.
#[test]
fn revoking_leaves_what_others_need() {
    let mut two = opened(Form::Strict);
    compute(&mut two).ssh.keys.push(LINE.replace("rosa:", "amir:").replace("k3f9qz", "abcdef"));
    let one = plan(&format!("revoke-ssh {SUSPECT} {KEY}"), Form::Strict, &two).unwrap();
    let actions: Vec<String> = one.steps().map(|(_, step)| step.action.summary()).collect();
    assert_eq!(actions.last().unwrap(), &format!("remove the SSH key of rosa (stanch-r-k3f9qz) from the metadata of {}", one.node.name));
    assert_eq!(actions.len(), 2);
    let mut shared = opened(Form::Guide);
    compute(&mut shared).ssh.neighbours.last_mut().unwrap().tags.insert("quarantine".into());
    let kept = plan(&format!("revoke-ssh {SUSPECT}"), Form::Guide, &shared).unwrap();
    assert_eq!(kept.consequences.decisions, ["rule quarantine-ingress-allow stays: it also lets SSH in to web-1"]);
}

#[test]
fn the_linter_lets_nothing_wide_in() {
    let good = plan(&format!("allow-ssh {SUSPECT} via:bastion {KEY}"), Form::Strict, &beside_bastion()).unwrap();
    let weakened: [fn(&mut ComputeAction); 4] = [
        |action| {
            if let ComputeAction::EnsureFirewallRule(rule) = action {
                rule.ranges.insert("0.0.0.0/0".into());
            }
        },
        |action| {
            if let ComputeAction::EnsureFirewallRule(rule) = action {
                rule.protocols.insert("udp".into());
            }
        },
        |action| {
            if let ComputeAction::EnsureFirewallRule(rule) = action {
                rule.source_tags.clear();
            }
        },
        |action| {
            if let ComputeAction::TagIntermediate { tag, .. } = action {
                *tag = "quarantine".parse().unwrap();
            }
        },
    ];
    for weaken in weakened {
        let mut draft: Draft = good.clone().into();
        for step in &mut draft.steps {
            if let Action::Compute(action) = &mut step.action {
                weaken(action);
            }
        }
        assert!(check::checked(draft).is_err());
    }
}

/// What is known of the group after the node was abandoned and deleted, two instances having been recorded.
fn earlier() -> Earlier {
    let facts = facts();
    let group = facts.compute.as_ref().unwrap().group.as_ref().unwrap();
    Earlier {
        incident: "inc-42".parse().unwrap(),
        node: facts.kubernetes.node.node.clone(),
        suspects: vec![],
        requests: vec!["r-old234".parse().unwrap()],
        touched: vec![],
        relied_on: vec![],
        node_prior: None,
        instance_prior: None,
        group: Some(GroupPrior { group: group.group.clone(), target_size: group.target_size }),
        rules: [].into(),
    }
}

fn resized(found: Option<GroupState>, earlier: Option<Earlier>) -> Result<String, String> {
    let (does, context) = context("resize-group r-old234 reason:\"done\"", Form::Strict);
    let Does::Resize(planner) = does else { panic!("it resizes nothing") };
    let group = facts().compute.unwrap().group.unwrap().group;
    let survey = GroupSurvey { cluster: "sandbox".parse().unwrap(), group, found };
    let plan = planner(&survey, &Context { earlier, ..context }).and_then(check::checked);
    plan.map(|plan| text(&plan)).map_err(|refusal| format!("{refusal}; hint: {}", refusal.hint()))
}

#[test]
fn a_group_gets_its_recorded_size_back() {
    let state = |target_size| Some(GroupState { target_size, autoscaler: None });
    let scaled = Some(GroupState { target_size: 1, autoscaler: Some("zones/us-central1-a/autoscalers/public".into()) });
    let elsewhere = {
        let mut earlier = earlier();
        earlier.group.as_mut().unwrap().group.name = "another-grp".parse().unwrap();
        earlier
    };
    let cases = [
        resized(state(1), Some(earlier())),
        resized(state(2), Some(earlier())),
        resized(state(3), Some(earlier())),
        resized(scaled, Some(earlier())),
        resized(None, Some(earlier())),
        resized(state(1), None),
        resized(state(1), Some(elsewhere)),
    ];
    insta::assert_snapshot!("resize_group", cases.map(|case| case.unwrap_or_else(|refusal| refusal)).join("\n"));
}
