//! What several test modules share.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::sync::Mutex;

use async_trait::async_trait;
use jiff::Timestamp;
use stanch::core::engine::{DurableIndex, Event, State, apply, decide, licence};
use stanch::core::identity::{Account, Ballot, ChannelRef, Means, PersonId, Platform};
use stanch::core::policy::Decision;
use stanch::core::record::Requested;
use stanch::core::step::{Licence, StepKey};
use stanch::ports::{Suggest, Typing};
use stanch_commands::action::Action;
use stanch_commands::definition::Phase;
use stanch_commands::plan::{Consequences, Draft, Form, Plan, Steps};
use stanch_commands::target::{NodeRef, RequestId};

/// A licence to carry out one action, got in the only way there is: a plan of it, approved, authorised and started. `run` tells idempotency
/// keys apart: the same action with the same `run` has the same key.
pub fn licensed(action: impl Into<Action>, run: &str) -> Licence {
    let now = Timestamp::UNIX_EPOCH;
    let yes = Decision { permitted: true, reasons: vec![] };
    let mut steps = Steps::default();
    let step = steps.add(action, []);
    let plan: Plan = Draft {
        command: "test".into(),
        cluster: "sandbox".parse().unwrap(),
        node: NodeRef { name: "node".parse().unwrap(), uid: "uid".parse().unwrap() },
        instance: None,
        suspects: vec![],
        form: Form::Strict,
        isolates: false,
        releases: false,
        consequences: Consequences::default(),
        steps: steps.finish(),
    }
    .try_into()
    .unwrap();
    let (digest, amir) = (plan.digest(), PersonId::new("amir"));
    let requested = Requested {
        requester: PersonId::new("rosa"),
        channel: ChannelRef { platform: Platform::Slack, id: "C1".into() },
        incident: "inc-1".parse().unwrap(),
        phase: Phase::Contain,
        plan,
        approvals_needed: 1,
        expires_at: Timestamp::from_second(900).unwrap(),
    };
    let ballot = Ballot { account: Account { platform: Platform::Slack, id: "U1".into() }, means: Means::Button };
    let id: RequestId = "r-test01".parse().unwrap();
    let events = [
        Event::Propose(Box::new(requested)),
        Event::Approve { person: amir.clone(), digest, ballot, decision: yes.clone() },
        Event::Rechecked { eligible: [amir].into(), requester: yes, changed: None },
        Event::Start { step, key: StepKey::new(format!("key-{run}")) },
    ];
    let state = events.into_iter().fold(State::default(), |state, event| {
        let records = decide(&state, &id, event, now).unwrap();
        records.iter().fold(state, |state, record| apply(state, record).unwrap())
    });
    licence(&state, &id, step, DurableIndex::synced(0)).unwrap()
}

/// Offers these names, whatever is typed, and keeps what was.
#[derive(Default)]
pub struct Offers {
    pub names: Vec<String>,
    pub asked: Mutex<Vec<Typing>>,
}

#[async_trait]
impl Suggest for Offers {
    async fn suggest(&self, typing: &Typing) -> Vec<String> {
        self.asked.lock().unwrap().push(typing.clone());
        self.names.clone()
    }
}

/// Says that a test cannot run here. Fails if skips are forbidden (`STANCH_FORBID_SKIPS=1`) and this one is not in `tests/allowed-skips.txt`,
/// whose lines are `name: reason`.
#[expect(clippy::print_stdout, reason = "the line is how CI sees the skip")]
pub fn skip(name: &str, reason: &str) {
    let allowed = include_str!("../allowed-skips.txt");
    let listed = allowed.lines().any(|line| line.split_once(": ").is_some_and(|(listed, _)| listed == name));
    let forbidden = std::env::var("STANCH_FORBID_SKIPS").is_ok_and(|value| value == "1");
    assert!(listed || !forbidden, "{name} was skipped ({reason}) and is not in tests/allowed-skips.txt");
    println!("SKIPPED {name}: {reason}");
}
