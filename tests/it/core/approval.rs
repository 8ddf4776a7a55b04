//! Goal: no write without a quorum on exactly that plan, whatever happens in whatever order.
//! Method: every sequence of events up to a length, then long random ones; invariants after every record, and every record replayed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;
use stanch::core::engine::{DurableIndex, Effect, Event, Rejection, State, apply, decide, effects, licence};
use stanch::core::identity::{Account, Ballot, ChannelRef, Means, PersonId, Platform};
use stanch::core::policy::{Decision, Reason};
use stanch::core::record::{Fact, Record, Requested};
use stanch::core::request::{Ending, Stage};
use stanch::core::step::{Failure, FailureKind, Outcome, Receipt, StepKey};
use stanch_commands::action::{ActionClass, KubernetesAction};
use stanch_commands::definition::Phase;
use stanch_commands::plan::{Consequences, Draft, Edge, Form, Plan, PlanDigest, Steps};
use stanch_commands::target::{NodeRef, RequestId};

const REQUESTER: &str = "rosa";
const PEOPLE: [&str; 4] = [REQUESTER, "amir", "bea", "mallory"];

fn person(name: &str) -> PersonId {
    PersonId::new(name)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn ballot() -> Ballot {
    Ballot { account: Account { platform: Platform::Slack, id: "U1".into() }, means: Means::Button }
}

fn decision(permitted: bool) -> Decision {
    Decision { permitted, reasons: vec![Reason::NoPermit] }
}

/// Save, cordon, note to the autoscaler, verify.
fn plan(node: &str) -> Plan {
    let node = NodeRef { name: node.parse().unwrap(), uid: format!("uid-{node}").parse().unwrap() };
    let mut steps = Steps::default();
    let saved = steps.add(KubernetesAction::CapturePriorState { node: node.clone(), suspects: vec![] }, []);
    let cordon = steps.add(KubernetesAction::Cordon(node.clone()), [Edge::Requires(saved)]);
    let noted = steps.add(KubernetesAction::DisableScaleDown(node.clone()), [Edge::Requires(saved)]);
    steps.add(KubernetesAction::VerifyNode { node: node.clone(), suspects: vec![] }, [Edge::After(cordon), Edge::After(noted)]);
    let draft = Draft {
        command: "cordon".into(),
        cluster: "prod".parse().unwrap(),
        node,
        instance: None,
        suspects: vec![],
        form: Form::Strict,
        isolates: false,
        releases: false,
        consequences: Consequences::default(),
        steps: steps.finish(),
    };
    draft.try_into().unwrap()
}

fn requested(node: &str, approvals_needed: u8) -> Requested {
    Requested {
        requester: person(REQUESTER),
        channel: ChannelRef { platform: Platform::Slack, id: "C1".into() },
        incident: "inc-1".parse().unwrap(),
        phase: Phase::Contain,
        plan: plan(node),
        approvals_needed,
        expires_at: at(900),
    }
}

fn id() -> RequestId {
    "r-aaaaaa".parse().unwrap()
}

/// The app in miniature: decides, replays, checks.
struct Model {
    state: State,
    log: Vec<Record>,
    now: i64,
    lost: BTreeSet<PersonId>,
}

impl Model {
    fn new(approvals_needed: u8) -> Self {
        let mut model = Self { state: State::default(), log: vec![], now: 0, lost: BTreeSet::new() };
        model.send(Event::Propose(Box::new(requested("node-a", approvals_needed)))).unwrap();
        model
    }

    fn digest(&self) -> PlanDigest {
        self.state.requests[&id()].digest.clone()
    }

    fn stage(&self) -> &Stage {
        &self.state.requests[&id()].stage
    }

    fn send(&mut self, event: Event) -> Result<Vec<Fact>, Rejection> {
        let records = decide(&self.state, &id(), event, at(self.now))?;
        for record in &records {
            self.state = apply(self.state.clone(), record).expect("what is decided can be applied");
            self.log.push(record.clone());
            self.check();
        }
        Ok(records.into_iter().map(|record| record.fact).collect())
    }

    /// Runs every effect that does not wait for people.
    fn settle(&mut self, outcome: &Outcome) {
        for _ in 0..20 {
            let Some(effect) = effects(&self.state, at(self.now)).into_iter().next() else { return };
            let sent = match effect {
                Effect::Recheck(_) => {
                    let eligible = PEOPLE.iter().map(|name| person(name)).filter(|person| !self.lost.contains(person)).collect();
                    self.send(Event::Rechecked { eligible, requester: decision(true), changed: None })
                }
                Effect::Start(_, step) => self.send(Event::Start { step, key: StepKey::new(format!("key-{step}")) }),
                Effect::Perform(_, step) => {
                    assert!(licence(&self.state, &id(), step, DurableIndex::synced(0)).is_some(), "a started step has its licence");
                    self.send(Event::Finish { step, outcome: outcome.clone(), calls: vec![] })
                }
            };
            sent.unwrap();
        }
        panic!("effects never end");
    }

    fn check(&self) {
        let request = &self.state.requests[&id()];
        let authorised = self.log.iter().position(|record| matches!(record.fact, Fact::ExecutionAuthorised { .. }));
        let mut started = BTreeMap::new();
        for (index, record) in self.log.iter().enumerate() {
            if let Fact::StepStarted { step, .. } = &record.fact {
                *started.entry(*step).or_insert(0) += 1;
                let class = request.made.plan.step(*step).unwrap().action.class();
                assert!(
                    class == ActionClass::Preserve || authorised.is_some_and(|authorised| authorised < index),
                    "a write before the authorisation"
                );
            }
        }
        assert!(started.values().all(|count| *count == 1), "a step started twice");
        if let Some(index) = authorised {
            let Fact::ExecutionAuthorised { digest, approvers } = &self.log[index].fact else { unreachable!() };
            assert_eq!(*digest, request.digest);
            assert!(approvers.len() >= usize::from(request.made.approvals_needed));
            assert!(!approvers.contains(&person(REQUESTER)));
            assert!(approvers.is_disjoint(&self.lost), "somebody counted who had lost the role");
            assert!(self.log[index].at < request.made.expires_at);
            let mut objections = BTreeSet::new();
            for record in &self.log[..index] {
                if let Fact::Objected { person, .. } = &record.fact {
                    objections.insert(person.clone());
                } else if let Fact::ObjectionLifted { person } = &record.fact {
                    objections.remove(person);
                }
            }
            assert_eq!(objections, BTreeSet::new(), "it started over an objection");
        }
        let replayed = self.log.iter().try_fold(State::default(), apply).unwrap();
        assert_eq!(replayed, self.state, "replaying the log gives the same state");
    }
}

/// What people and time can do.
#[derive(Clone, Copy, Debug)]
enum Move {
    Approve(usize, bool),
    ApproveAnother(usize),
    Withdraw(usize),
    Decline(usize, bool),
    Cancel(usize),
    Halt(usize, bool),
    Lift(usize),
    LoseRole(usize),
    Wait(i64),
}

fn step(model: &mut Model, action: Move) -> bool {
    let name = |who: usize| person(PEOPLE[who]);
    let event = match action {
        Move::Approve(who, permitted) => {
            Event::Approve { person: name(who), digest: model.digest(), ballot: ballot(), decision: decision(permitted) }
        }
        Move::ApproveAnother(who) => {
            Event::Approve { person: name(who), digest: plan("node-b").digest(), ballot: ballot(), decision: decision(true) }
        }
        Move::Withdraw(who) => Event::Withdraw { person: name(who) },
        Move::Decline(who, permitted) => Event::Decline { person: name(who), decision: decision(permitted) },
        Move::Cancel(who) => Event::Cancel { person: name(who) },
        Move::Halt(who, permitted) => Event::Halt { person: name(who), reason: None, decision: decision(permitted) },
        Move::Lift(who) => Event::Lift { person: name(who) },
        Move::LoseRole(who) => {
            model.lost.insert(name(who));
            return false;
        }
        Move::Wait(seconds) => {
            model.now += seconds;
            Event::Tick
        }
    };
    model.send(event).is_ok()
}

fn moves() -> Vec<Move> {
    let mut moves =
        vec![Move::Wait(450), Move::Approve(3, false), Move::Decline(3, false), Move::Halt(1, true), Move::Lift(1), Move::LoseRole(1)];
    for who in 0..3 {
        moves.extend([
            Move::Approve(who, true),
            Move::Withdraw(who),
            Move::ApproveAnother(who),
            Move::Decline(who, true),
            Move::Cancel(who),
        ]);
    }
    moves
}

#[test]
fn every_sequence_of_three_moves_keeps_the_invariants() {
    fn walk(depth: usize, moves: &[Move], path: &mut Vec<Move>, endings: &mut BTreeMap<String, usize>) {
        for needed in [1, 2] {
            let mut model = Model::new(needed);
            for action in path.iter() {
                step(&mut model, *action);
                // The recheck runs after every event, and steps run as far as they can.
                model.settle(&Outcome::Succeeded(Receipt::default()));
            }
            *endings.entry(format!("{needed} {:?}", model.stage())).or_default() += 1;
        }
        if depth > 0 {
            for action in moves {
                path.push(*action);
                walk(depth - 1, moves, path, endings);
                path.pop();
            }
        }
    }
    let mut endings = BTreeMap::new();
    walk(3, &moves(), &mut vec![], &mut endings);
    let reached: BTreeSet<&str> = endings.keys().map(String::as_str).collect();
    for ending in ["1 Ended(Completed)", "2 Ended(Completed)", "1 Ended(Expired)", "1 Ended(Cancelled)", "1 Waiting", "2 Waiting"] {
        assert!(reached.contains(ending), "{ending} was never reached: {reached:?}");
    }
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0..4_usize, any::<bool>()).prop_map(|(who, permitted)| Move::Approve(who, permitted)),
        1 => (0..4_usize).prop_map(Move::ApproveAnother),
        2 => (0..4_usize).prop_map(Move::Withdraw),
        1 => (1..4_usize, any::<bool>()).prop_map(|(who, permitted)| Move::Decline(who, permitted)),
        1 => (0..4_usize).prop_map(Move::Cancel),
        1 => (0..4_usize, any::<bool>()).prop_map(|(who, permitted)| Move::Halt(who, permitted)),
        1 => (0..4_usize).prop_map(Move::Lift),
        1 => (1..4_usize).prop_map(Move::LoseRole),
        1 => (1..400_i64).prop_map(Move::Wait),
    ]
}

proptest! {
    #[test]
    fn long_random_sequences_keep_the_invariants(needed in 1..4_u8, actions in prop::collection::vec((any_move(), any::<bool>()), 0..30)) {
        let mut model = Model::new(needed);
        for (action, settles) in actions {
            step(&mut model, action);
            if settles {
                model.settle(&Outcome::Succeeded(Receipt::default()));
            }
        }
    }
}

#[test]
fn a_failed_step_withholds_only_what_requires_it() {
    let failed = Outcome::Failed(Failure { kind: FailureKind::Refused, message: "no".into(), hint: None });
    let mut model = Model::new(1);
    model.send(Event::Approve { person: person("amir"), digest: model.digest(), ballot: ballot(), decision: decision(true) }).unwrap();
    model.settle(&failed);
    // The prior state could not be saved, so nothing is changed; the verification still says what is true.
    let started: Vec<String> = model.state.requests[&id()].steps.keys().map(ToString::to_string).collect();
    assert_eq!((started, model.stage().clone()), (vec!["1".into(), "4".into()], Stage::Ended(Ending::Incomplete)));
}

#[test]
fn a_stale_target_ends_the_request_with_nothing_more() {
    let mut model = Model::new(1);
    let stale = Outcome::Failed(Failure { kind: FailureKind::Stale, message: "another uid".into(), hint: None });
    model.send(Event::Approve { person: person("amir"), digest: model.digest(), ballot: ballot(), decision: decision(true) }).unwrap();
    model.settle(&stale);
    assert_eq!(*model.stage(), Stage::Ended(Ending::Stale));
    assert_eq!(effects(&model.state, at(model.now)), vec![]);
}

#[test]
fn a_target_that_changes_while_people_decide_ends_the_request() {
    let mut model = Model::new(1);
    model.settle(&Outcome::Failed(Failure { kind: FailureKind::Stale, message: "another uid".into(), hint: None }));
    assert_eq!(*model.stage(), Stage::Ended(Ending::Stale));
    let approval = Event::Approve { person: person("amir"), digest: model.digest(), ballot: ballot(), decision: decision(true) };
    assert_eq!(model.send(approval), Err(Rejection::Ended));
}

#[test]
fn two_runs_never_touch_one_node_at_once() {
    let other: RequestId = "r-bbbbbb".parse().unwrap();
    let mut model = Model::new(1);
    model.send(Event::Approve { person: person("amir"), digest: model.digest(), ballot: ballot(), decision: decision(true) }).unwrap();
    let everybody: BTreeSet<PersonId> = PEOPLE.iter().map(|name| person(name)).collect();
    model.send(Event::Rechecked { eligible: everybody.clone(), requester: decision(true), changed: None }).unwrap();

    let mut state = model.state.clone();
    for event in [
        Event::Propose(Box::new(requested("node-a", 1))),
        Event::Approve { person: person("bea"), digest: model.digest(), ballot: ballot(), decision: decision(true) },
    ] {
        for record in decide(&state, &other, event, at(1)).unwrap() {
            state = apply(state, &record).unwrap();
        }
    }
    let recheck = Event::Rechecked { eligible: everybody, requester: decision(true), changed: None };
    assert_eq!(decide(&state, &other, recheck, at(2)), Err(Rejection::Locked(id())));
    let forged = Record {
        at: at(2),
        request: other,
        fact: Fact::ExecutionAuthorised { digest: model.digest(), approvers: BTreeSet::from([person("bea")]) },
    };
    assert_eq!(apply(state, &forged).unwrap_err().why, "another request works on the node");
}

#[test]
fn forged_records_are_refused() {
    let model = Model::new(1);
    let forge = |fact| apply(model.state.clone(), &Record { at: at(1), request: id(), fact }).unwrap_err().why;
    let approvers = BTreeSet::from([person("amir")]);
    assert_eq!(forge(Fact::ExecutionAuthorised { digest: model.digest(), approvers }), "there is no such quorum");
    assert_eq!(
        forge(Fact::Approved { person: person(REQUESTER), digest: model.digest(), ballot: ballot(), reasons: vec![] }),
        "the approval does not count"
    );
    assert_eq!(
        forge(Fact::Approved { person: person("amir"), digest: plan("node-b").digest(), ballot: ballot(), reasons: vec![] }),
        "the approval is for another plan"
    );
    assert_eq!(forge(Fact::Cancelled { person: person("amir") }), "only the requester cancels");
    let cordon = plan("node-a").steps().nth(1).unwrap().0;
    assert_eq!(forge(Fact::StepStarted { step: cordon, key: StepKey::new("k".into()) }), "the step is not ready");
    let unguarded = Record { at: at(1), request: "r-cccccc".parse().unwrap(), fact: Fact::Requested(Box::new(requested("node-a", 0))) };
    assert_eq!(apply(State::default(), &unguarded).unwrap_err().why, "a plan that writes needs an approval");
}

#[test]
fn a_halted_run_starts_nothing_and_keeps_the_node_locked_until_its_step_ends() {
    let mut model = Model::new(1);
    model.settle(&Outcome::Succeeded(Receipt::default()));
    model.send(Event::Approve { person: person("amir"), digest: model.digest(), ballot: ballot(), decision: decision(true) }).unwrap();
    let everybody = PEOPLE.iter().map(|name| person(name)).collect();
    model.send(Event::Rechecked { eligible: everybody, requester: decision(true), changed: None }).unwrap();
    let cordon = model.state.requests[&id()].ready(at(0))[0];
    model.send(Event::Start { step: cordon, key: StepKey::new("k".into()) }).unwrap();
    model.send(Event::Halt { person: person("bea"), reason: None, decision: decision(true) }).unwrap();
    assert_eq!(effects(&model.state, at(0)), vec![Effect::Perform(id(), cordon)], "only the step under way is left");
    model.send(Event::Finish { step: cordon, outcome: Outcome::Succeeded(Receipt::default()), calls: vec![] }).unwrap();
    assert_eq!((effects(&model.state, at(0)), model.stage().clone()), (vec![], Stage::Ended(Ending::Halted(person("bea")))));
}

#[test]
fn a_halt_of_what_does_not_run_yet_keeps_it_from_starting() {
    let mut model = Model::new(1);
    let halt = |permitted| Event::Halt { person: person("bea"), reason: None, decision: decision(permitted) };
    assert_eq!(model.send(halt(false)), Err(Rejection::NotPermitted(decision(false))));
    assert_eq!(model.send(halt(true)), Ok(vec![Fact::Objected { person: person("bea"), reason: None }]));
    assert_eq!(model.send(halt(true)), Err(Rejection::AlreadyObjected));
    model.send(Event::Approve { person: person("amir"), digest: model.digest(), ballot: ballot(), decision: decision(true) }).unwrap();
    model.settle(&Outcome::Succeeded(Receipt::default()));
    assert_eq!(*model.stage(), Stage::Waiting);
    let approvers = BTreeSet::from([person("amir")]);
    let forged = Record { at: at(1), request: id(), fact: Fact::ExecutionAuthorised { digest: model.digest(), approvers } };
    assert_eq!(apply(model.state.clone(), &forged).unwrap_err().why, "there is no such quorum");

    assert_eq!(model.send(Event::Lift { person: person("amir") }), Err(Rejection::NothingToLift));
    model.send(Event::Lift { person: person("bea") }).unwrap();
    model.settle(&Outcome::Succeeded(Receipt::default()));
    assert_eq!(*model.stage(), Stage::Ended(Ending::Completed));
    assert_eq!(model.send(halt(true)), Err(Rejection::Ended));
}

#[test]
fn a_changed_target_ends_the_request_before_its_authorisation() {
    let mut model = Model::new(1);
    model.send(Event::Approve { person: person("amir"), digest: model.digest(), ballot: ballot(), decision: decision(true) }).unwrap();
    let eligible = BTreeSet::from([person("amir")]);
    let changed = Event::Rechecked { eligible, requester: decision(true), changed: Some("another pod".into()) };
    model.send(changed.clone()).unwrap();
    assert_eq!(*model.stage(), Stage::Ended(Ending::Stale));
    assert_eq!(model.send(changed), Err(Rejection::Ended));
}
