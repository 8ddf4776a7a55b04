//! Goal: a release undoes exactly what Stanch did, from the state before it. Method: a quarantine's own plan is taken as done, facts are changed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::collections::BTreeSet;

use stanch_commands::action::{Action, ActionClass, ComputeAction, KubernetesAction};
use stanch_commands::check;
use stanch_commands::definition::Does;
use stanch_commands::facts::Facts;
use stanch_commands::plan::{Draft, Form, Plan};
use stanch_commands::prior::{DiskPrior, Earlier, GroupPrior, InstancePrior, NodePrior, PodPrior, Suspect, Toleration};
use stanch_commands::refusal::Refusal;

use crate::plans::{SUSPECT, context, facts, plan, text};

/// A quarantine of the node in these facts, all of it done and nothing found in place.
pub(crate) fn earlier(facts: &Facts) -> Earlier {
    let quarantine = plan(&format!("quarantine {SUSPECT}"), Form::Strict, facts).unwrap();
    let touched: Vec<Action> =
        quarantine.steps().map(|(_, step)| step.action.clone()).filter(|action| action.class() == ActionClass::Mutate).collect();
    let rules = touched
        .iter()
        .filter_map(|action| if let Action::Compute(ComputeAction::EnsureFirewallRule(rule)) = action { Some(rule.clone()) } else { None })
        .collect();
    let suspect = facts.kubernetes.suspect.clone().unwrap();
    let compute = facts.compute.clone().unwrap();
    Earlier {
        incident: "inc-42".parse().unwrap(),
        node: facts.kubernetes.node.node.clone(),
        suspects: vec![Suspect {
            pod: suspect.pod.clone(),
            marks: touched.iter().filter(|action| action.marks() == Some(&suspect.pod)).cloned().collect(),
        }],
        requests: vec!["r-k3f9qz".parse().unwrap()],
        touched,
        node_prior: Some(NodePrior {
            node: facts.kubernetes.node.node.clone(),
            unschedulable: false,
            labels: facts.kubernetes.node.labels.clone(),
            annotations: Default::default(),
            suspects: vec![PodPrior {
                pod: suspect.pod,
                labels: suspect.labels,
                annotations: Default::default(),
                tolerations: vec![Toleration {
                    key: "node.kubernetes.io/unreachable".into(),
                    toleration_seconds: Some(300),
                    ..Toleration::default()
                }],
            }],
        }),
        instance_prior: Some(InstancePrior {
            instance: compute.instance,
            tags: compute.tags,
            access_configs: compute.interfaces.iter().flat_map(|interface| interface.access_configs.clone()).collect(),
            deletion_protection: false,
            disks: compute
                .disks
                .iter()
                .map(|disk| DiskPrior {
                    device: disk.device.clone(),
                    source: String::new(),
                    boot: disk.boot,
                    auto_delete: disk.auto_delete,
                })
                .collect(),
            group: compute.group.map(|group| GroupPrior { group: group.group, target_size: group.target_size }),
        }),
        relied_on: vec![],
        group: None,
        rules,
    }
}

/// The node as the quarantine left it.
pub(crate) fn quarantined() -> (Facts, Earlier) {
    let mut facts = facts();
    let earlier = earlier(&facts);
    facts.kubernetes.node.unschedulable = true;
    // A release surveys the node.
    let suspect = facts.kubernetes.suspect.take().unwrap().pod;
    let suspect = facts.kubernetes.pods.iter_mut().find(|pod| pod.pod == suspect).unwrap();
    (suspect.owner, suspect.labels) = (None, [("quarantine".to_owned(), "true".to_owned())].into());
    let compute = facts.compute.as_mut().unwrap();
    compute.group = None;
    compute.interfaces.iter_mut().for_each(|interface| interface.access_configs.clear());
    compute.tags.insert("quarantine-inc-42".into());
    compute.tagged.insert("quarantine-inc-42".into(), vec![compute.instance.clone()]);
    (facts, earlier)
}

pub(crate) fn release(line: &str, facts: &Facts, earlier: Option<Earlier>) -> Result<Plan, Refusal> {
    let (does, mut context) = context(line, Form::Strict);
    context.earlier = earlier;
    let Does::Mitigate(planner) = does else { panic!("`{line}` makes no plan") };
    check::checked(planner(facts, &context)?)
}

fn has(plan: &Plan, wanted: impl Fn(&Action) -> bool) -> bool {
    plan.steps().any(|(_, step)| wanted(&step.action))
}

#[test]
fn a_quarantine_is_undone_in_order() {
    let (facts, earlier) = quarantined();
    let undone = text(&release("release r-k3f9qz", &facts, Some(earlier.clone())).unwrap());
    let alarm = text(&release("release r-k3f9qz --false-alarm", &facts, Some(earlier)).unwrap());
    insta::assert_snapshot!("release", format!("{undone}\n{alarm}"));
}

/// Goal: a planner with a defect gives no network back over a living suspect. Method: a good plan loses the edge, or gains a suspect.
#[test]
fn the_linter_gives_nothing_back_while_a_suspect_lives() {
    let (facts, earlier) = quarantined();
    let draft: Draft = release("release r-k3f9qz", &facts, Some(earlier)).unwrap().into();
    let lint = |draft: Draft| check::lint(&Plan::try_from(draft).unwrap());
    assert_eq!(lint(draft.clone()), Vec::<String>::new());
    let deletion = |action: &Action| matches!(action, Action::Kubernetes(KubernetesAction::DeletePod { .. }));
    let deleted = draft.steps.iter().position(|step| deletion(&step.action)).unwrap();
    let mut early = draft.clone();
    early.steps.iter_mut().for_each(|step| step.needs.retain(|edge| edge.step().index() != deleted));
    assert!(lint(early).iter().any(|line| line.contains("gives the network back while a suspect is neither deleted nor cleared")));
    let mut forgotten = draft;
    forgotten.suspects.push(facts.kubernetes.pods.iter().find(|pod| !forgotten.suspects.contains(&pod.pod)).unwrap().pod.clone());
    assert!(lint(forgotten).iter().any(|line| line.contains("gives the network back, and nothing ends or clears")));
}

#[test]
fn what_was_so_before_stays_so() {
    let (facts, mut earlier) = quarantined();
    earlier.node_prior.as_mut().unwrap().unschedulable = true;
    let prior = earlier.instance_prior.as_mut().unwrap();
    prior.deletion_protection = true;
    prior.tags.insert("quarantine-inc-42".into());
    prior.disks.iter_mut().for_each(|disk| disk.auto_delete = false);
    let plan = release("release r-k3f9qz", &facts, Some(earlier)).unwrap();
    assert!(!has(&plan, |action| matches!(action, Action::Kubernetes(KubernetesAction::Uncordon(_)))));
    assert!(!has(&plan, |action| matches!(
        action,
        Action::Compute(ComputeAction::UntagInstance { .. } | ComputeAction::AllowDeletion(_) | ComputeAction::ReleaseBootDisk { .. })
    )));
}

#[test]
fn a_rule_that_isolates_another_instance_stays_and_so_does_one_that_somebody_else_made() {
    let removes = |plan: &Plan| has(plan, |action| matches!(action, Action::Compute(ComputeAction::RemoveFirewallRule { .. })));
    let (mut facts, earlier) = quarantined();
    assert!(removes(&release("release r-k3f9qz", &facts, Some(earlier.clone())).unwrap()));
    let theirs = Earlier { rules: BTreeSet::new(), ..earlier.clone() };
    assert!(!removes(&release("release r-k3f9qz", &facts, Some(theirs)).unwrap()));
    let compute = facts.compute.as_mut().unwrap();
    let mut other = compute.instance.clone();
    (other.name, other.id) = ("other".parse().unwrap(), 7.into());
    compute.tagged.get_mut("quarantine-inc-42").unwrap().push(other);
    let plan = release("release r-k3f9qz", &facts, Some(earlier)).unwrap();
    assert!(!removes(&plan));
    assert!(plan.consequences.decisions.iter().any(|line| line.contains("stays: it isolates other")), "{:?}", plan.consequences.decisions);
}

#[test]
fn what_cannot_be_released_is_refused() {
    let (facts, earlier) = quarantined();
    let refused = |earlier: Option<Earlier>| release("release r-k3f9qz", &facts, earlier).unwrap_err();
    assert!(matches!(refused(None), Refusal::AlreadySo(_)));
    assert!(matches!(refused(Some(Earlier { requests: vec![], ..earlier.clone() })), Refusal::AlreadySo(_)));
    let found_so = Earlier { touched: vec![], suspects: vec![], rules: BTreeSet::new(), ..earlier.clone() };
    assert!(matches!(refused(Some(found_so)), Refusal::AlreadySo(_)));
    let mut replaced = earlier;
    replaced.node.uid = "another".parse().unwrap();
    assert!(matches!(refused(Some(replaced)), Refusal::NodeReplaced(_)));
}

#[test]
fn a_reserved_address_comes_back_after_the_tag_is_gone() {
    let (mut before, _) = (facts(), ());
    let interfaces = &mut before.compute.as_mut().unwrap().interfaces;
    interfaces.iter_mut().flat_map(|interface| &mut interface.access_configs).for_each(|access| access.reserved = true);
    let earlier = earlier(&before);
    let (facts, _) = quarantined();
    let plan = release("release r-k3f9qz", &facts, Some(earlier)).unwrap();
    assert!(has(&plan, |action| matches!(action, Action::Compute(ComputeAction::RestoreExternalIp { .. }))));
}
