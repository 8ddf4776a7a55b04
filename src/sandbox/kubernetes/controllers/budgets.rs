//! Disruption budgets: how many pods may go.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::sandbox::kubernetes::cluster::State;
use crate::sandbox::kubernetes::object::{
    at, condition_is, controller_of, entries, name, namespace, number, put, set_condition, take, terminating, text, uid,
};
use crate::sandbox::kubernetes::resources::{BUDGETS, DEPLOYMENTS, PODS, REPLICA_SETS, STATEFUL_SETS};
use crate::sandbox::kubernetes::selectors::LabelSelector;

/// How long an accepted eviction that deletes nothing keeps its disruption: the controller's deletion timeout.
const DISRUPTION: SignedDuration = SignedDuration::from_secs(120);

/// Whether the budget protects the pod. An empty selector protects nothing here, as at the eviction subresource.
pub fn covers(budget: &Value, pod: &Value) -> bool {
    let selector = LabelSelector::from_object(at(budget, &["spec", "selector"])).unwrap_or_default();
    namespace(budget) == namespace(pod) && !selector.is_empty() && selector.matches(pod)
}

/// When disruptions that were spent for nothing come back.
pub fn due(state: &State) -> impl Iterator<Item = Timestamp> {
    state.store.list(&BUDGETS, None).flat_map(|budget| entries(budget, &["status", "disruptedPods"]).filter_map(|(_, at)| expiry(at)))
}

/// Counts.
pub fn react(state: &mut State, now: Timestamp) {
    for budget in state.store.all(&BUDGETS) {
        let mut budget = Arc::unwrap_or_clone(budget);
        let covered: Vec<Arc<Value>> =
            state.store.list(&PODS, Some(namespace(&budget))).filter(|pod| covers(&budget, pod)).cloned().collect();
        let disrupted = still_disrupted(&budget, &covered, now);
        let healthy =
            covered.iter().filter(|pod| !terminating(pod) && condition_is(pod, "Ready", "True") && !disrupted.contains_key(name(pod)));
        let healthy = i64::try_from(healthy.count()).unwrap_or(i64::MAX);
        let (expected, desired) = expectation(state, &budget, &covered);
        let allowed = if expected == 0 { 0 } else { (healthy - desired).max(0) };
        let generation = number(&budget, &["metadata", "generation"]);
        for (field, value) in [
            ("currentHealthy", healthy),
            ("desiredHealthy", desired),
            ("disruptionsAllowed", allowed),
            ("expectedPods", expected),
            ("observedGeneration", generation),
        ] {
            put(&mut budget, &["status", field], value);
        }
        match disrupted.is_empty() {
            true => {
                take(&mut budget, &["status", "disruptedPods"]);
            }
            false => put(&mut budget, &["status", "disruptedPods"], disrupted),
        }
        let (status, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        let condition = json!({
            "type": "DisruptionAllowed", "status": status, "reason": reason, "message": "", "observedGeneration": generation,
        });
        set_condition(&mut budget, condition, now);
        state.store.replace(&BUDGETS, budget);
    }
}

fn expiry(since: &Value) -> Option<Timestamp> {
    since.as_str()?.parse::<Timestamp>().ok()?.checked_add(DISRUPTION).ok()
}

fn still_disrupted(budget: &Value, covered: &[Arc<Value>], now: Timestamp) -> Map<String, Value> {
    let waits = |pod_name: &str| covered.iter().any(|pod| name(pod) == pod_name && !terminating(pod));
    let kept =
        entries(budget, &["status", "disruptedPods"]).filter(|(pod, since)| waits(pod) && expiry(since).is_some_and(|until| until > now));
    kept.map(|(pod, since)| (pod.clone(), since.clone())).collect()
}

/// How many pods are expected, and how many of them must be healthy.
fn expectation(state: &State, budget: &Value, covered: &[Arc<Value>]) -> (i64, i64) {
    let scale = || owners_scale(state, covered);
    let minimum = at(budget, &["spec", "minAvailable"]);
    let maximum = at(budget, &["spec", "maxUnavailable"]);
    if let Some(n) = minimum.as_i64() {
        (i64::try_from(covered.len()).unwrap_or(i64::MAX), n)
    } else if minimum.is_string() {
        (scale(), share(minimum, scale()))
    } else if let Some(n) = maximum.as_i64() {
        (scale(), (scale() - n).max(0))
    } else {
        (scale(), (scale() - share(maximum, scale())).max(0))
    }
}

/// A percentage of `whole`, rounded up.
fn share(percentage: &Value, whole: i64) -> i64 {
    let percent: i64 = percentage.as_str().and_then(|text| text.strip_suffix('%')).and_then(|n| n.parse().ok()).unwrap_or_default();
    (whole * percent + 99) / 100
}

/// The replicas that the owners of these pods want, each owner counted once.
fn owners_scale(state: &State, covered: &[Arc<Value>]) -> i64 {
    let mut owners: Vec<&str> = covered.iter().filter_map(|pod| controller_of(pod)).map(|owner| text(owner, &["uid"])).collect();
    owners.sort_unstable();
    owners.dedup();
    let replicas = |owner_uid: &str| {
        [&REPLICA_SETS, &STATEFUL_SETS].into_iter().find_map(|resource| {
            let set = state.store.list(resource, None).find(|set| uid(set) == owner_uid)?;
            let deployment = controller_of(set).and_then(|owner| state.store.get(&DEPLOYMENTS, namespace(set), text(owner, &["name"])));
            Some(number(deployment.unwrap_or(set.as_ref()), &["spec", "replicas"]))
        })
    };
    owners.into_iter().filter_map(replicas).sum()
}
