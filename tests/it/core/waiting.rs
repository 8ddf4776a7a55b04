//! What waits for the end of an earlier step.

use jiff::Timestamp;
use stanch::core::identity::{ChannelRef, PersonId, Platform};
use stanch::core::record::Requested;
use stanch::core::request::{Request, Run, Stage};
use stanch::core::step::{Outcome, Receipt, StepKey};
use stanch_commands::action::{Action, ComputeAction, KubernetesAction};
use stanch_commands::definition::Phase;
use stanch_commands::plan::Form;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Goal: a step that hangs leaves no node open. Method: everything of a quarantine has succeeded except the cordon, which has no end; what waits
/// for the end of what requires it starts when the cordon's deadline has passed, and not before.
#[test]
fn what_waits_for_an_end_does_not_wait_for_a_step_that_cannot_start() {
    let plan = crate::plans::plan(&format!("quarantine {}", crate::plans::SUSPECT), Form::Strict, &crate::plans::facts()).unwrap();
    let made = Requested {
        requester: PersonId::new("rosa"),
        channel: ChannelRef { platform: Platform::Slack, id: "C1".into() },
        incident: "inc-42".parse().unwrap(),
        phase: Phase::Contain,
        plan,
        approvals_needed: 1,
        expires_at: at(900),
    };
    let mut request = Request { stage: Stage::Executing, ..Request::new(made, at(0), 0) };
    let run = |outcome| Run { key: StepKey::new("k".into()), started_at: at(0), turn: 0, outcome };
    let cordon =
        request.made.plan.steps().find(|(_, step)| matches!(step.action, Action::Kubernetes(KubernetesAction::Cordon(_)))).unwrap().0;
    let tag =
        request.made.plan.steps().find(|(_, step)| matches!(step.action, Action::Compute(ComputeAction::TagInstance { .. }))).unwrap().0;
    request.steps.insert(cordon, run(None));
    let deadline = i64::from(request.made.plan.step(cordon).unwrap().deadline_s);
    let settle = |request: &mut Request, now| {
        while let Some(step) = request.ready(at(now)).first().copied().filter(|step| *step != tag) {
            request.steps.insert(step, run(Some(Outcome::Succeeded(Receipt::default()))));
        }
    };
    settle(&mut request, deadline - 1);
    assert_eq!(request.ready(at(deadline - 1)), vec![]);
    settle(&mut request, deadline);
    assert_eq!(request.ready(at(deadline)), vec![tag]);
}
