//! Bad luck: lost answers, rate limits, missing rights, and other people at the same time.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use stanch::core::step::{FailureKind, Outcome};
use stanch::ports::SurveyError;
use stanch::sandbox::compute::OperationFailure;
use stanch::sandbox::server::{Fault, FaultRule};
use stanch_commands::action::ComputeAction;

use super::{Bench, ID, NODE, TAG, failed, instance, rules, succeeded, tag};

pub fn fault(method: Option<Method>, uri: &str, times: usize, fault: Fault) -> FaultRule {
    FaultRule { method, uri_contains: uri.into(), skip: 0, times, fault }
}

pub fn answer(status: u16, reason: &str, message: &str) -> Fault {
    let error = json!({ "message": message, "domain": "global", "reason": reason });
    let body: Value = json!({ "error": { "code": status, "message": message, "errors": [error] } });
    Fault::Answer { status: StatusCode::from_u16(status).unwrap(), headers: vec![], body }
}

async fn with_rules() -> Bench {
    let bench = Bench::start().await;
    for rule in rules() {
        succeeded(bench.perform(&ComputeAction::EnsureFirewallRule(rule)).await);
    }
    bench
}

/// Goal: somebody else's tag survives, whether the conflict shows at once or in the operation.
#[tokio::test]
async fn no_tag_is_lost() {
    let bench = with_rules().await;
    bench.emulator.wire().inject(fault(
        None,
        "setTags",
        2,
        answer(412, "conditionNotMet", "Supplied fingerprint does not match current metadata fingerprint."),
    ));
    let stale =
        OperationFailure { http_error: (412, "PRECONDITION FAILED".into()), ..OperationFailure::bad_request("CONDITION_NOT_MET", "stale") };
    bench.emulator.fail_next_operation("setTags", stale);
    bench.emulator.touch_tags(NODE, "theirs").unwrap();
    assert!(!succeeded(bench.perform(&tag(rules())).await).already_so);
    assert_eq!(bench.tags(), ["gke-sandbox-node", "theirs", TAG].map(str::to_owned).into());
}

/// Goal: a lost answer has one effect. Method: the answer is lost once, and then as often as the adapter tries.
#[tokio::test]
async fn a_lost_answer_has_one_effect() {
    let bench = with_rules().await;
    bench.emulator.wire().inject(fault(Some(Method::POST), "setTags", 1, Fault::ResetAfter));
    let performed = bench.perform(&tag(rules())).await;
    let sent: Vec<_> = performed.calls.iter().filter(|call| call.method == "compute.instances.setTags").cloned().collect();
    assert_eq!(sent.iter().map(|call| call.status).collect::<Vec<_>>(), [None, Some(200)]);
    assert_eq!(sent[0].request_id, sent[1].request_id);
    assert!(sent[1].operation.is_some());
    succeeded(performed);
    let protect = ComputeAction::ProtectFromDeletion(instance());
    bench.emulator.abandon(NODE).unwrap();
    bench.emulator.wire().inject(fault(Some(Method::POST), "setDeletionProtection", 5, Fault::ResetAfter));
    let lost = bench.perform(&protect).await;
    assert!(matches!(lost.outcome, Outcome::Unknown(_)), "{lost:?}");
    succeeded(bench.perform(&protect).await);
    let state = bench.emulator.snapshot_state();
    assert_eq!(state["instances"][NODE]["deletionProtection"], true);
    let operations = lost.calls.iter().filter_map(|call| call.request_id.clone()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(operations.len(), 1);
}

/// Goal: throttling is waited out, a missing right is final and named.
#[tokio::test]
async fn throttled_or_forbidden() {
    let bench = with_rules().await;
    bench.emulator.wire().inject(fault(None, "setTags", 2, answer(403, "rateLimitExceeded", "Rate Limit Exceeded")));
    succeeded(bench.perform(&tag(rules())).await);
    let message =
        "Required 'compute.instances.setDeletionProtection' permission for 'projects/sandbox-project/zones/us-central1-a/instances/x'";
    bench.emulator.wire().inject(fault(None, "setDeletionProtection", 1, answer(403, "forbidden", message)));
    let performed = bench.perform(&ComputeAction::ProtectFromDeletion(instance())).await;
    let Outcome::Failed(failure) = performed.outcome else { panic!("{performed:?}") };
    assert_eq!(failure.kind, FailureKind::Refused);
    assert_eq!(failure.hint.unwrap(), "grant Stanch's service account the permission compute.instances.setDeletionProtection");
}

/// Goal: a read that fails before a write leaves nothing unknown; one that fails after a write does.
#[tokio::test]
async fn reads_that_fail() {
    let bench = with_rules().await;
    let writes = bench.writes();
    bench.emulator.wire().inject(fault(Some(Method::GET), "/instances/", 5, Fault::ResetBefore));
    assert_eq!(failed(bench.perform(&tag(rules())).await).0, FailureKind::Unavailable);
    assert_eq!(bench.writes(), writes);
    bench.emulator.wire().inject(fault(Some(Method::GET), "getEffectiveFirewalls", 5, answer(503, "backendError", "try later")));
    let performed = bench.perform(&tag(rules())).await;
    assert!(matches!(performed.outcome, Outcome::Unknown(_)), "{performed:?}");
    bench.emulator.wire().inject(fault(Some(Method::GET), "/instances/", 5, Fault::ResetBefore));
    assert!(matches!(bench.survey(None).await, Err(SurveyError::Unavailable(_))));
}

#[tokio::test]
async fn a_partial_list_of_groups_is_no_answer() {
    let bench = Bench::start().await;
    bench.emulator.set_metadata(NODE, "created-by", "projects/1/zones/us-central1-a/instanceGroupManagers/another").unwrap();
    let body = json!({
        "kind": "compute#instanceGroupManagerAggregatedList", "id": "list", "selfLink": "list",
        "items": { "zones/us-central1-a": { "warning": { "code": "UNREACHABLE", "message": "the zone does not answer" } } },
    });
    let partial = Fault::Answer { status: StatusCode::OK, headers: vec![], body };
    bench.emulator.wire().inject(fault(Some(Method::GET), "aggregated/instanceGroupManagers", 1, partial));
    let error = bench.survey(Some(ID)).await.unwrap_err().to_string();
    assert!(error.contains("only in part: zones/us-central1-a: UNREACHABLE"), "{error}");
}
