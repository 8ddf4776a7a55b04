//! Goal: what stands of all that was done is known, whoever did it in whatever order. Method: plans of the real planners, asked for and carried
//! out in a chosen order through the log's own replay; what was in place before is found so.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use stanch::app::{Entry, Memory};
use stanch::core::engine::{Event, decide, waits_for};
use stanch::core::identity::{Account, Ballot, ChannelRef, Means, PersonId, Platform};
use stanch::core::policy::Decision;
use stanch::core::record::{Fact, Record, Requested};
use stanch::core::request::{Ending, Stage};
use stanch::core::step::{Failure, FailureKind, Outcome, Receipt, StepKey};
use stanch_commands::action::{Action, ComputeAction, KubernetesAction, Undo};
use stanch_commands::check;
use stanch_commands::definition::{Does, Phase};
use stanch_commands::facts::Facts;
use stanch_commands::plan::{Form, Plan};
use stanch_commands::prior::{InstancePrior, NodePrior, PodPrior, Prior};
use stanch_commands::refusal::Refusal;
use stanch_commands::target::RequestId;

use crate::plans::{SUSPECT, context, facts};

const NODE: &str = "node gke-sandbox-public-1a2b3c4d-x7k2";

/// A log and its memory, with a clock that an operator may set.
struct History {
    memory: Memory,
    now: Timestamp,
    /// What steps find done by somebody else.
    found: fn(&Action) -> bool,
}

fn id(id: &str) -> RequestId {
    id.parse().unwrap()
}

impl History {
    fn new() -> Self {
        Self { memory: Memory::default(), now: Timestamp::from_second(1_800_000_000).unwrap(), found: |_| false }
    }

    fn plan(&self, request: &str, incident: &str, line: &str, facts: &Facts) -> Result<Plan, Refusal> {
        let (does, mut context) = context(line, Form::Strict);
        (context.request, context.incident) = (id(request), incident.parse().unwrap());
        context.earlier = context.arguments.request.as_ref().and_then(|earlier| self.memory.standing().earlier(earlier));
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
        self.authorise(request);
        self.go_on(request, facts, |_| false);
        assert_eq!(self.memory.state.requests[&id(request)].stage, Stage::Ended(Ending::Completed), "{request}");
    }

    fn authorise(&mut self, request: &str) {
        let asked = self.memory.state.requests[&id(request)].clone();
        let (digest, amir) = (asked.digest.clone(), PersonId::new("amir"));
        let ballot = Ballot { account: Account { platform: Platform::Slack, id: "U1".into() }, means: Means::Button };
        self.follow(request, Fact::Approved { person: amir.clone(), digest: digest.clone(), ballot, reasons: vec![] });
        self.follow(request, Fact::ExecutionAuthorised { digest, approvers: [amir].into() });
    }

    /// Carries out what was authorised; what is chosen fails.
    fn go_on(&mut self, request: &str, facts: &Facts, fails: impl Fn(&Action) -> bool) {
        loop {
            let present = self.memory.state.requests[&id(request)].clone();
            let Some(step) = present.ready(self.now).first().copied() else { break };
            let action = present.made.plan.step(step).unwrap().action.clone();
            let already_so = self.is_in_place(&action) || (self.found)(&action);
            let outcome = match fails(&action) {
                true => Outcome::Failed(Failure { kind: FailureKind::Refused, message: "no".into(), hint: None }),
                false => Outcome::Succeeded(Receipt { already_so, prior: prior(&action, facts), ..Receipt::default() }),
            };
            self.follow(request, Fact::StepStarted { step, key: StepKey::new(format!("{request}-{step}")) });
            self.follow(request, Fact::StepEnded { step, outcome, calls: vec![] });
        }
    }

    /// The same, where somebody else had done something before.
    fn do_it_finding(&mut self, request: &str, incident: &str, line: &str, found: fn(&Action) -> bool) {
        self.found = found;
        self.do_it(request, incident, line, &facts());
        self.found = |_| false;
    }

    /// Whether a request with an approval would be authorised if everything was asked again now.
    fn may_start(&self, request: &str) -> bool {
        let (request, amir) = (id(request), PersonId::new("amir"));
        let mut state = self.memory.state.clone();
        let ballot = Ballot { account: Account { platform: Platform::Slack, id: "U1".into() }, means: Means::Button };
        state.requests.get_mut(&request).unwrap().approvals.insert(amir.clone(), ballot);
        let yes = Decision { permitted: true, reasons: vec![] };
        let asked = Event::Rechecked { eligible: [amir].into(), requester: yes, changed: None };
        match &decide(&state, &request, asked, self.now).unwrap()[..] {
            [Record { fact: Fact::ExecutionAuthorised { .. }, .. }] => true,
            [Record { fact: Fact::TargetChanged { .. }, .. }] => false,
            other => panic!("{other:?}"),
        }
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
        self.undone_on(request, &facts())
    }

    fn undone_on(&self, request: &str, facts: &Facts) -> Vec<String> {
        let plan = self.plan("r-zzzzzz", "inc-1", &format!("release {request}"), facts).unwrap();
        plan.steps().map(|(_, step)| step.action.summary()).collect()
    }
}

fn prior(action: &Action, facts: &Facts) -> Option<Prior> {
    if let Action::Compute(ComputeAction::CapturePriorState { .. }) = action {
        let instance = facts.compute.as_ref().unwrap().instance.clone();
        return Some(Prior::Instance(Box::new(InstancePrior {
            instance,
            ..crate::release::earlier(&self::facts()).instance_prior.unwrap()
        })));
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

/// The node after its suspect is gone.
fn without_suspect() -> Facts {
    let mut facts = facts();
    let suspect = facts.kubernetes.suspect.take().unwrap().pod;
    facts.kubernetes.pods.retain(|pod| pod.pod != suspect);
    facts
}

/// Another node with another instance, on the same network.
fn another_node() -> Facts {
    let mut facts = without_suspect();
    let node = &mut facts.kubernetes.node.node;
    (node.name, node.uid) = ("other".parse().unwrap(), "other-uid".parse().unwrap());
    let instance = &mut facts.compute.as_mut().unwrap().instance;
    (instance.name, instance.id) = ("other".parse().unwrap(), 99.into());
    facts
}

#[test]
fn a_request_that_was_asked_before_a_release_and_carried_out_after_it_is_not_forgotten() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    history.ask("r-cccccc", "inc-1", &format!("cordon {NODE}"), &facts());
    history.do_it("r-bbbbbb", "inc-1", "release r-aaaaaa", &facts());
    assert!(history.memory.standing().isolated_nodes().is_empty());
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
        let touched = history.memory.standing().earlier(&id("r-aaaaaa")).unwrap().touched;
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
    assert!(history.memory.standing().tagged_instances().is_empty());
    assert!(history.memory.standing().earlier(&id("r-aaaaaa")).unwrap().rules.is_empty());
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
    let earlier = history.memory.standing().earlier(&id("r-aaaaaa")).unwrap();
    assert_eq!(earlier.pod_prior(&second).map(|prior| &prior.labels), Some(&later.kubernetes.suspect.unwrap().labels));
}

/// Goal: two incidents on one node never undo each other, and never keep each other from ending. Method: both isolate it, then both are released.
#[test]
fn a_node_that_another_incident_isolates_is_left_to_that_one() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    history.do_it("r-bbbbbb", "inc-2", &format!("quarantine {NODE}"), &facts());
    let first = history.plan("r-zzzzzz", "inc-1", "release r-aaaaaa", &facts()).unwrap();
    let left = "stays isolated, since r-bbbbbb relies on that for another incident; undone when that one is released: cordon node";
    assert!(first.consequences.decisions.iter().any(|line| line.contains(left)), "{:#?}", first.consequences.decisions);
    let node_or_instance = |action: &Action| match action {
        Action::Compute(_) => true,
        Action::Kubernetes(action) => matches!(action, KubernetesAction::Uncordon(_) | KubernetesAction::IncludeInLoadBalancers(_)),
        Action::Ssh(_) => true,
    };
    assert!(!first.steps().any(|(_, step)| node_or_instance(&step.action)), "{:#?}", first.steps);
    history.do_it("r-cccccc", "inc-1", "release r-aaaaaa", &without_suspect());
    assert_eq!(history.memory.standing().isolated_nodes().into_values().collect::<Vec<_>>(), [id("r-bbbbbb")]);
    // The second quarantine found the node cordoned, and so on, but now nobody else keeps it so.
    let undone = history.undone_on("r-bbbbbb", &without_suspect());
    for line in [
        &format!("uncordon {NODE}"),
        "remove tag quarantine-inc-1",
        "remove tag quarantine-inc-2",
        "deletion protection",
        "delete firewall rule",
    ] {
        assert!(undone.iter().any(|undone| undone.contains(line)), "{line}: {undone:#?}");
    }
    history.do_it("r-dddddd", "inc-2", "release r-bbbbbb", &without_suspect());
    for earlier in ["r-aaaaaa", "r-bbbbbb"] {
        let again = history.plan("r-zzzzzz", "inc-1", &format!("release {earlier}"), &without_suspect());
        assert!(matches!(again, Err(Refusal::AlreadySo(_))), "{again:?}");
    }
}

/// Goal: a suspect of two incidents lives on only without its network. Method: both marked it; the second one found every mark in place.
#[test]
fn a_suspect_of_two_incidents_keeps_the_node_isolated_until_the_last_one_is_released() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    history.do_it("r-bbbbbb", "inc-2", &format!("isolate-pod {SUSPECT}"), &facts());
    let undone = history.undone_by("r-aaaaaa");
    assert_eq!(undone, [format!("save the prior state of {NODE} and its suspects")]);
    history.do_it("r-cccccc", "inc-1", "release r-aaaaaa", &facts());
    // What is left is the second incident's, the suspect first.
    let last = history.plan("r-zzzzzz", "inc-2", "release r-bbbbbb", &facts()).unwrap();
    assert!(last.steps().any(|(_, step)| matches!(step.action, Action::Kubernetes(KubernetesAction::DeletePod { .. }))));
    assert!(last.steps().any(|(_, step)| matches!(step.action, Action::Compute(ComputeAction::UntagInstance { .. }))));
}

/// Goal: no suspect is overlooked since somebody else had marked it. Method: the labels stand when the quarantine comes.
#[test]
fn a_suspect_whose_marks_were_found_in_place_is_deleted_too() {
    let mut history = History::new();
    history.do_it_finding("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), |action| action.marks().is_some());
    let plan = history.plan("r-zzzzzz", "inc-1", "release r-aaaaaa", &facts()).unwrap();
    let suspect = facts().kubernetes.suspect.unwrap().pod;
    assert_eq!(plan.suspects, std::slice::from_ref(&suspect));
    let deletes = |action: &Action| matches!(action, Action::Kubernetes(KubernetesAction::DeletePod { pod, .. }) if *pod == suspect);
    assert!(plan.steps().any(|(_, step)| deletes(&step.action)));
}

/// Goal: a node can be released after its suspect is gone, whichever way it went.
#[test]
fn a_node_whose_suspect_is_gone_is_released_with_its_policy() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    let undone = history.undone_on("r-aaaaaa", &without_suspect());
    assert!(undone.iter().any(|line| line.contains("NetworkPolicy")) && undone.contains(&format!("uncordon {NODE}")), "{undone:#?}");
    assert!(!undone.iter().any(|line| line.starts_with("delete pod")), "{undone:#?}");
}

/// Goal: nothing is released by a plan that does not know what was done since. Method: a release waits while a second quarantine, of the same or
/// of another incident, or a cordon, is carried out; and the other way round.
#[test]
fn a_release_that_others_overtook_ends_before_it_starts() {
    for (incident, line) in
        [("inc-1", format!("quarantine {NODE}")), ("inc-2", format!("quarantine {NODE}")), ("inc-1", format!("drain {NODE}"))]
    {
        let mut history = History::new();
        history.do_it("r-aaaaaa", "inc-1", &format!("cordon {NODE}"), &facts());
        history.ask("r-bbbbbb", "inc-1", "release r-aaaaaa", &facts());
        assert!(history.may_start("r-bbbbbb"));
        history.ask("r-cccccc", incident, &line, &facts());
        assert!(history.may_start("r-bbbbbb"), "asking changes nothing");
        history.carry_out("r-cccccc", &facts());
        assert!(!history.may_start("r-bbbbbb"), "{line}");
    }
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("cordon {NODE}"), &facts());
    history.ask("r-bbbbbb", "inc-2", &format!("quarantine {NODE}"), &facts());
    history.do_it("r-cccccc", "inc-1", "release r-aaaaaa", &facts());
    assert!(!history.may_start("r-bbbbbb"), "it was made of what the release took back");
}

/// Goal: no rule goes while a node relies on it. Method: two nodes of one incident; the release of one and the quarantine of the other meet.
#[test]
fn a_release_waits_for_a_quarantine_that_needs_its_rules() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    history.ask("r-bbbbbb", "inc-1", "release r-aaaaaa", &facts());
    let other = another_node();
    history.ask("r-cccccc", "inc-1", "quarantine node other", &other);
    history.authorise("r-cccccc");
    assert_eq!(waits_for(&history.memory.state, &id("r-bbbbbb")), Some(id("r-cccccc")));
    history.go_on("r-cccccc", &other, |_| false);
    assert!(!history.may_start("r-bbbbbb"), "the other node relies on the rules now");
}

/// Goal: rules that a halted quarantine made are found again. Method: it ends before anything is tagged.
#[test]
fn rules_of_a_quarantine_that_never_tagged_are_deleted() {
    let mut history = History::new();
    history.ask("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    history.authorise("r-aaaaaa");
    history.go_on("r-aaaaaa", &facts(), |action| matches!(action, Action::Compute(ComputeAction::AbandonInstance { .. })));
    assert_eq!(history.memory.state.requests[&id("r-aaaaaa")].stage, Stage::Ended(Ending::Incomplete));
    let undone = history.undone_by("r-aaaaaa");
    assert!(undone.iter().any(|line| line.starts_with("delete firewall rule")), "{undone:#?}");
}

#[test]
fn only_a_rule_that_was_deleted_is_forgotten() {
    let mut history = History::new();
    history.do_it("r-aaaaaa", "inc-1", &format!("quarantine {SUSPECT}"), &facts());
    history.ask("r-bbbbbb", "inc-1", "release r-aaaaaa", &facts());
    let made = history.memory.standing().earlier(&id("r-aaaaaa")).unwrap().rules;
    let plan = history.memory.state.requests[&id("r-bbbbbb")].made.plan.clone();
    let rules = plan.steps().filter(|(_, step)| matches!(step.action, Action::Compute(ComputeAction::RemoveFirewallRule { .. })));
    assert!(!made.is_empty() && rules.count() == made.len());
    let unknown = |outcome| matches!(outcome, Action::Compute(ComputeAction::RemoveFirewallRule { .. }));
    assert!(plan.steps().any(|(_, step)| unknown(step.action.clone())));
    // Asked for, and not carried out.
    assert_eq!(history.memory.standing().earlier(&id("r-aaaaaa")).unwrap().rules, made);
}
