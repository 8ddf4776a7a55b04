//! `pods/eviction`, in the order in which the real server asks its questions.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::State;
use super::controllers::budgets;
use super::deletion::{self, Options};
use super::failure::Failure;
use super::object::{condition_is, name, number, put, rfc3339, terminating, text};
use super::resources::{BUDGETS, PODS};

/// Seconds after which a client should retry while a budget is still being worked on.
const RETRY_AFTER_S: u64 = 10;

/// Evicts a pod.
///
/// A pod that disrupts nobody any more (pending, ended or terminating) is simply deleted. Otherwise the budget is asked *before* the
/// preconditions, so a wrong uid gets 429 under a blocking budget, and under a yielding one spends a disruption although nothing
/// is deleted: both are what the real server does.
///
/// # Errors
/// 404, 409 for preconditions, 429 for the budget, 500 for two budgets.
pub fn evict(state: &mut State, ns: &str, pod_name: &str, options: &Options, dry_run: bool, now: Timestamp) -> Result<(), Failure> {
    let Some(pod) = state.store.get(&PODS, ns, pod_name).cloned() else {
        return Err(Failure::not_found(&PODS, pod_name));
    };
    if terminating(&pod) || matches!(text(&pod, &["status", "phase"]), "Succeeded" | "Failed" | "Pending") {
        return deletion::delete(state, &PODS, ns, pod_name, options, now).map(|_| ());
    }
    let budgets: Vec<Arc<Value>> = state.store.list(&BUDGETS, Some(ns)).filter(|budget| budgets::covers(budget, &pod)).cloned().collect();
    let mut options = options.clone();
    let mut pinned = None;
    match budgets.as_slice() {
        [] => {}
        [budget] if already_unhealthy(budget, &pod) => {
            // An unready pod does not count, unless it becomes ready before it is deleted.
            if options.resource_version.is_none() {
                options.resource_version = Some(text(&pod, &["metadata", "resourceVersion"]).into());
                pinned = Some(name(budget).to_owned());
            }
        }
        [budget] => spend(state, Value::clone(budget), pod_name, dry_run, now)?,
        [_, _, ..] => return Err(Failure::two_budgets()),
    }
    match (deletion::delete(state, &PODS, ns, pod_name, &options, now), pinned) {
        (Err(failure), Some(budget)) if failure.is_conflict() => {
            let cause = format!("The disruption budget {budget} is still being processed by the server.");
            Err(Failure::disruption_budget(&cause, Some(RETRY_AFTER_S)))
        }
        (result, _) => result.map(|_| ()),
    }
}

/// The answer to an eviction that was accepted.
pub fn accepted() -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 })
}

fn already_unhealthy(budget: &Value, pod: &Value) -> bool {
    let (healthy, desired) = (number(budget, &["status", "currentHealthy"]), number(budget, &["status", "desiredHealthy"]));
    !condition_is(pod, "Ready", "True") && healthy >= desired && desired > 0
}

fn spend(state: &mut State, mut budget: Value, pod_name: &str, dry_run: bool, now: Timestamp) -> Result<(), Failure> {
    let allowed = number(&budget, &["status", "disruptionsAllowed"]);
    if allowed == 0 {
        let cause = format!(
            "The disruption budget {} needs {} healthy pods and has {} currently",
            name(&budget),
            number(&budget, &["status", "desiredHealthy"]),
            number(&budget, &["status", "currentHealthy"])
        );
        return Err(Failure::disruption_budget(&cause, None));
    }
    if dry_run {
        return Ok(());
    }
    put(&mut budget, &["status", "disruptionsAllowed"], allowed - 1);
    put(&mut budget, &["status", "disruptedPods", pod_name], rfc3339(now));
    state.store.replace(&BUDGETS, budget);
    Ok(())
}
