//! Reading and writing objects as JSON, without a panic and without a type per kind.

use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};

static NULL: Value = Value::Null;

/// What is at `path`, or `null`.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().try_fold(object, |value, key| value.get(key)).unwrap_or(&NULL)
}

/// The text at `path`, or an empty one.
pub fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).as_str().unwrap_or_default()
}

/// The number at `path`, or 0.
pub fn number(object: &Value, path: &[&str]) -> i64 {
    at(object, path).as_i64().unwrap_or_default()
}

/// The items at `path`, or none.
pub fn items<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).as_array().map_or(&[], Vec::as_slice)
}

/// The entries at `path`, or none.
pub fn entries<'a>(object: &'a Value, path: &[&str]) -> impl Iterator<Item = (&'a String, &'a Value)> {
    at(object, path).as_object().into_iter().flatten()
}

/// Writes `value` at `path` and makes the objects on the way there.
pub fn put(object: &mut Value, path: &[&str], value: impl Into<Value>) {
    let Some((first, rest)) = path.split_first() else {
        *object = value.into();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    if let Some(map) = object.as_object_mut() {
        put(map.entry(*first).or_insert(Value::Null), rest, value);
    }
}

/// Takes away what is at `path`.
pub fn take(object: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let parent = parents.iter().try_fold(object, |value, key| value.get_mut(key))?;
    parent.as_object_mut()?.remove(*last)
}

/// The list at `path`, made if it is not there.
pub fn items_mut<'a>(object: &'a mut Value, path: &[&str]) -> Option<&'a mut Vec<Value>> {
    if !at(object, path).is_array() {
        put(object, path, json!([]));
    }
    path.iter().try_fold(object, |value, key| value.get_mut(key))?.as_array_mut()
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

/// `metadata.namespace`, empty for a cluster-scoped object.
pub fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// Whether deletion has begun.
pub fn terminating(object: &Value) -> bool {
    at(object, &["metadata", "deletionTimestamp"]).is_string()
}

/// The owner that manages the object.
pub fn controller_of(object: &Value) -> Option<&Value> {
    items(object, &["metadata", "ownerReferences"]).iter().find(|owner| at(owner, &["controller"]) == &Value::Bool(true))
}

/// Whether the owner with this uid manages the object.
pub fn controlled_by(object: &Value, owner_uid: &str) -> bool {
    controller_of(object).is_some_and(|owner| text(owner, &["uid"]) == owner_uid)
}

/// The reference with which `owner` manages an object.
pub fn controller_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": at(owner, &["apiVersion"]), "kind": at(owner, &["kind"]), "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// Whether the condition of this type has this status.
pub fn condition_is(object: &Value, kind: &str, status: &str) -> bool {
    items(object, &["status", "conditions"]).iter().any(|c| text(c, &["type"]) == kind && text(c, &["status"]) == status)
}

/// Sets a condition; its transition time moves only if its status does.
pub fn set_condition(object: &mut Value, mut condition: Value, now: Timestamp) {
    let (kind, status) = (text(&condition, &["type"]).to_owned(), text(&condition, &["status"]).to_owned());
    let Some(conditions) = items_mut(object, &["status", "conditions"]) else { return };
    let found = conditions.iter_mut().find(|c| text(c, &["type"]) == kind);
    let since = match &found {
        Some(old) if text(old, &["status"]) == status => at(old, &["lastTransitionTime"]).clone(),
        Some(_) | None => Value::from(rfc3339(now)),
    };
    put(&mut condition, &["lastTransitionTime"], since);
    match found {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

/// A time as the API writes it, to the second.
pub fn rfc3339(time: Timestamp) -> String {
    time.round(Unit::Second).unwrap_or(time).to_string()
}

/// The time at `path`.
pub fn time(object: &Value, path: &[&str]) -> Option<Timestamp> {
    text(object, path).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_read_and_taken_away() {
        let mut object = json!({});
        put(&mut object, &["metadata", "labels", "a.b/c"], "d");
        assert_eq!(object, json!({ "metadata": { "labels": { "a.b/c": "d" } } }));
        assert_eq!(text(&object, &["metadata", "labels", "a.b/c"]), "d");
        assert_eq!(take(&mut object, &["metadata", "labels", "a.b/c"]), Some(json!("d")));
        assert_eq!(take(&mut object, &["spec", "missing"]), None);
        assert_eq!(object, json!({ "metadata": { "labels": {} } }));
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let (early, late) = (Timestamp::from_second(100).unwrap(), Timestamp::from_second(200).unwrap());
        let mut node = json!({});
        set_condition(&mut node, json!({ "type": "Ready", "status": "True" }), early);
        set_condition(&mut node, json!({ "type": "Ready", "status": "True", "reason": "Again" }), late);
        assert_eq!(text(&items(&node, &["status", "conditions"])[0], &["lastTransitionTime"]), "1970-01-01T00:01:40Z");
        set_condition(&mut node, json!({ "type": "Ready", "status": "Unknown" }), late);
        assert_eq!(text(&items(&node, &["status", "conditions"])[0], &["lastTransitionTime"]), "1970-01-01T00:03:20Z");
    }
}
