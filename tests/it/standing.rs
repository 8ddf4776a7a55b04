//! Goal: what stands of all that was done is known, whoever did it in whatever order. Method: plans of the real planners, asked for and carried
//! out in a chosen order through the log's own replay; what was in place before is found so.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use stanch::app::{Entry, Memory};
use stanch::core::identity::{Account, Ballot, ChannelRef, Means, PersonId, Platform};
use stanch::core::record::{Fact, Record, Requested};
use stanch::core::request::{Ending, Stage};
use stanch::core::step::{Outcome, Receipt, StepKey};
use stanch_commands::action::{Action, ComputeAction, KubernetesAction, Undo};
use stanch_commands::check;
use stanch_commands::definition::{Does, Phase};
use stanch_commands::facts::Facts;
use stanch_commands::plan::{Form, Plan};
use stanch_commands::prior::{NodePrior, PodPrior, Prior};
use stanch_commands::refusal::Refusal;
use stanch_commands::target::RequestId;

use crate::plans::{SUSPECT, context, facts};

const NODE: &str = "node gke-sandbox-public-1a2b3c4d-x7k2";

/// A log and its memory, with a clock that an operator may set.
struct History {
    memory: Memory,
    now: Timestamp,
}

fn id(id: &str) -> RequestId {
    id.parse().unwrap()
}

impl History {
    fn new() -> Self {
        Self { memory: Memory::default(), now: Timestamp::from_second(1_800_000_000).unwrap() }
    }

    fn plan(&self, request: &str, incident: &str, line: &str, facts: &Facts) -> Result<Plan, Refusal> {
        let (does, mut context) = context(line, Form::Strict);
        (context.request, context.incident) = (id(request), incident.parse().unwrap());
        context.earlier = context.arguments.request.as_ref().and_then(|earlier| self.memory.earlier(earlier));
        let Does::Mitigate(planner) = does else { panic!("`{line}` makes no plan") };
        let mut facts = facts.clone();
        if context.earlier.is_some() {
            // Such a command surveys the node.
            facts.kubernetes.suspect = None;
        }
        check::checked(planner(&facts, &context)?)
    }

    fn follow(&mut self, request: &str, fact: Fact) {
        self.now = self.now.saturating_add(SignedDuration::from_secs(1)).unwrap();
        self.memory.follow(&Entry::Fact(Record { at: self.now, request: id(request), fact })).unwrap();
    }

    fn ask(&mut self, request: &str, incident: &str, line: &str, facts: &Facts) {
        let plan = self.plan(request, incident, line, facts).unwrap();
        let made = Requested {
            requester: PersonId::new("rosa"),
            channel: ChannelRef { platform: Platform::Slack, id: "C1".into() },
            incident: incident.parse().unwrap(),
            phase: Phase::Contain,
            plan,
            approvals_needed: 1,
            expires_at: Timestamp::MAX,
        };
        self.follow(request, Fact::Requested(Box::new(made)));
    }

    /// Carries everything out. What another request did before is found in place.
    fn carry_out(&mut self, request: &str, facts: &Facts) {
        let asked = self.memory.state.requests[&id(request)].clone();
        let (digest, amir) = (asked.digest.clone(), PersonId::new("amir"));
        let ballot = Ballot { account: Account { platform: Platform::Slack, id: "U1".into() }, means: Means::Button };
        self.follow(request, Fact::Approved { person: amir.clone(), digest: digest.clone(), ballot, reasons: vec![] });
        self.follow(request, Fact::ExecutionAuthorised { digest, approvers: [amir].into() });
        loop {
            let present = self.memory.state.requests[&id(request)].clone();
            let Some(step) = present.ready(self.now).first().copied() else { break };
            let action = present.made.plan.step(step).unwrap().action.clone();
            let receipt = Receipt { already_so: self.is_in_place(&action), prior: prior(&action, facts), ..Receipt::default() };
            self.follow(request, Fact::StepStarted { step, key: StepKey::new(format!("{request}-{step}")) });
            self.follow(request, Fact::StepEnded { step, outcome: Outcome::Succeeded(receipt), calls: vec![] });
        }
        assert_eq!(self.memory.state.requests[&id(request)].stage, Stage::Ended(Ending::Completed), "{request}");
    }

    fn do_it(&mut self, request: &str, incident: &str, line: &str, facts: &Facts) {
        self.ask(request, incident, line, facts);
        self.carry_out(request, facts);
    }

    fn is_in_place(&self, action: &Action) -> bool {
        let mut runs: Vec<_> = self.memory.state.requests.values().flat_map(|request| request.runs()).collect();
        runs.sort_by_key(|(_, run)| run.turn);
        runs.iter().fold(false, |there, (done, _)| (there || *done == action) && !done.takes_back(action))
    }

    fn undone_by(&self, request: &str) -> Vec<String> {
        let plan = self.plan("r-zzzzzz", "inc-1", &format!("release {request}"), &facts()).unwrap();
        plan.steps().map(|(_, step)| step.action.summary()).collect()
    }
}

fn prior(action: &Action, facts: &Facts) -> Option<Prior> {
    if let Action::Compute(ComputeAction::CapturePriorState { .. }) = action {
        return Some(Prior::Instance(Box::new(crate::release::earlier(facts).instance_prior.unwrap())));
    }
    let Action::Kubernetes(KubernetesAction::CapturePriorState { node, suspects }) = action else { return None };
    let labels = |pod| facts.kubernetes.pods.iter().find(|facts| facts.pod == pod).unwrap().labels.clone();
    let suspects = suspects.iter().cloned();
    Some(Prior::Node(Box::new(NodePrior {
        node: node.clone(),
        unschedulable: facts.kubernetes.node.unschedulable,
        labels: facts.kubernetes.node.labels.clone(),
        annotations: BTreeMap::new(),
        suspects: suspects
            .map(|pod| PodPrior { labels: labels(pod.clone()), pod, annotations: BTreeMap::new(), tolerations: vec![] })
            .collect(),
    })))
}

/// The same node, with another of its pods as the suspect.
fn second_suspect() -> Facts {
    let mut facts = facts();
    let first = facts.kubernetes.suspect.clone().unwrap();
    let second = facts.kubernetes.pods.iter().find(|pod| pod.pod != first.pod && !pod.stays_on_drain()).unwrap().clone();
    facts.kubernetes.suspect = Some(second);
    facts
}

#[test]
fn a_request_that_was_asked_before_a_release_and_carried_out_after_it_is_not_forgotten() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    history.ask("r-cccccc", "inc-1", &format!("cordon {NODE}"), &facts());
    history.do_it("r-bbbbbb", "inc-1", "release r-aaaaaa", &facts());
    assert!(history.memory.isolated_nodes().is_empty());
    assert!(history.plan("r-zzzzzz", "inc-1", "release r-aaaaaa", &facts()).is_err(), "everything is undone");
    history.carry_out("r-cccccc", &facts());
    assert!(history.undone_by("r-cccccc").contains(&format!("uncordon {NODE}")));
}

/// A change that can be undone, but by no step of a release, would stand for ever.
#[test]
fn nothing_that_can_be_undone_stands_after_a_release() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    history.do_it("r-bbbbbb", "inc-1", &format!("isolate-pod {SUSPECT}"), &facts());
    let undoable = |history: &History| {
        let touched = history.memory.earlier(&id("r-aaaaaa")).unwrap().touched;
        touched.iter().filter(|action| action.undo() == Undo::Possible).map(Action::summary).collect::<Vec<_>>()
    };
    assert!(undoable(&history).len() > 10, "{:#?}", undoable(&history));
    history.do_it("r-cccccc", "inc-1", "release r-aaaaaa", &facts());
    assert_eq!(undoable(&history), Vec::<String>::new());
}

#[test]
fn a_clock_that_is_set_back_changes_no_order() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    history.now = history.now.saturating_sub(SignedDuration::from_hours(24)).unwrap();
    history.do_it("r-bbbbbb", "inc-1", "release r-aaaaaa", &facts());
    assert!(history.memory.tagged_instances().is_empty());
    assert!(history.memory.earlier(&id("r-aaaaaa")).unwrap().rules_made.is_empty());
}

#[test]
fn suspects_that_were_named_later_are_deleted_or_restored_too() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    let later = second_suspect();
    let second = later.kubernetes.suspect.clone().unwrap().pod;
    history.do_it("r-bbbbbb", "inc-1", &format!("isolate-pod pod {}/{}", second.namespace, second.name), &later);
    let undone = history.undone_by("r-aaaaaa");
    let deletes = |undone: &[String], of: &str| undone.iter().any(|line| line.starts_with("delete pod") && line.contains(of));
    assert!(deletes(&undone, SUSPECT.trim_start_matches("pod ")) && deletes(&undone, second.name.as_str()), "{undone:#?}");
    let earlier = history.memory.earlier(&id("r-aaaaaa")).unwrap();
    assert_eq!(earlier.pod_prior(&second).map(|prior| &prior.labels), Some(&later.kubernetes.suspect.unwrap().labels));
}

#[test]
fn what_another_incident_relies_on_stays_and_is_undone_with_that_one() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    history.do_it("r-bbbbbb", "inc-2", &format!("quarantine {NODE}"), &facts());
    let uncordon = format!("uncordon {NODE}");
    let first = history.plan("r-zzzzzz", "inc-1", "release r-aaaaaa", &facts()).unwrap();
    let decision = "not undone, since r-bbbbbb relies on it for another incident: ";
    assert!(first.consequences.decisions.contains(&format!("{decision}cordon {NODE}")), "{:#?}", first.consequences.decisions);
    assert!(!first.steps().any(|(_, step)| step.action.summary() == uncordon));
    history.do_it("r-cccccc", "inc-1", "release r-aaaaaa", &facts());
    assert_eq!(history.memory.isolated_nodes().into_values().collect::<Vec<_>>(), [id("r-bbbbbb")]);
    // The second quarantine found the node cordoned, but now nobody else keeps it so.
    assert!(history.undone_by("r-bbbbbb").contains(&uncordon));
    history.do_it("r-dddddd", "inc-2", "release r-bbbbbb", &facts());
    let again = history.plan("r-zzzzzz", "inc-1", "release r-aaaaaa", &facts());
    assert!(matches!(again, Err(Refusal::AlreadySo(_))), "{again:?}");
}

#[test]
fn only_a_rule_that_was_deleted_is_forgotten() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    history.ask("r-bbbbbb", "inc-1", "release r-aaaaaa", &facts());
    let made = history.memory.earlier(&id("r-aaaaaa")).unwrap().rules_made;
    let plan = history.memory.state.requests[&id("r-bbbbbb")].made.plan.clone();
    let rules = plan.steps().filter(|(_, step)| matches!(step.action, Action::Compute(ComputeAction::RemoveFirewallRule { .. })));
    assert!(!made.is_empty() && rules.count() == made.len());
    let unknown = |outcome| matches!(outcome, Action::Compute(ComputeAction::RemoveFirewallRule { .. }));
    assert!(plan.steps().any(|(_, step)| unknown(step.action.clone())));
    // Asked for, and not carried out.
    assert_eq!(history.memory.earlier(&id("r-aaaaaa")).unwrap().rules_made, made);
}
