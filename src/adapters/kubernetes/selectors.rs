//! Label selectors, as the API server evaluates them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::wire::{items, word};

/// Whether a `LabelSelector` selects these labels. An empty selector selects everything; none at all selects nothing.
pub(super) fn selects(selector: Option<&Value>, labels: &BTreeMap<String, String>) -> bool {
    let Some(selector) = selector.filter(|selector| !selector.is_null()) else { return false };
    let equal = map(selector.get("matchLabels")).into_iter().all(|(key, value)| labels.get(&key) == Some(&value));
    equal && items(selector, "/matchExpressions").all(|expression| holds(expression, labels))
}

fn holds(expression: &Value, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(word(expression, "/key"));
    let listed = value.is_some_and(|value| items(expression, "/values").any(|item| item.as_str() == Some(value)));
    match word(expression, "/operator") {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// The keys that a `LabelSelector` uses.
pub(super) fn keys(selector: Option<&Value>) -> BTreeSet<String> {
    let Some(selector) = selector else { return BTreeSet::new() };
    let expressions = items(selector, "/matchExpressions").map(|expression| word(expression, "/key").to_owned());
    map(selector.get("matchLabels")).into_keys().chain(expressions).collect()
}

/// An object of texts.
pub(super) fn map(value: Option<&Value>) -> BTreeMap<String, String> {
    let pairs = value.and_then(Value::as_object).into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_evaluated_as_the_server_does() {
        let labels = BTreeMap::from([("app".to_owned(), "cart".to_owned())]);
        for (selector, expected) in [
            (json!(null), false),
            (json!({}), true),
            (json!({ "matchLabels": { "app": "cart" } }), true),
            (json!({ "matchLabels": { "app": "cart", "tier": "x" } }), false),
            (json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["a", "cart"] }] }), true),
            (json!({ "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["x"] }] }), true),
            (json!({ "matchExpressions": [{ "key": "app", "operator": "DoesNotExist" }] }), false),
            (json!({ "matchExpressions": [{ "key": "app", "operator": "Nonsense" }] }), false),
        ] {
            assert_eq!(selects(Some(&selector), &labels), expected, "{selector}");
        }
    }
}
