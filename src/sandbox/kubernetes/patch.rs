//! The three kinds of patches: JSON patch, merge patch, and strategic merge patch.

use serde_json::{Map, Value};

use super::failure::Failure;
use super::object::{at, text};

/// A patch by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own: lists of objects are merged by a key.
    Strategic,
}

/// The media types that [`PatchKind::parse`] knows. Server-side apply is not emulated: without field owners it would be a guess.
pub const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";

/// Lists that strategic merge joins, by the name of the list and the key of its items. All other lists are replaced.
const MERGE_KEYS: &[(&str, &str)] = &[
    ("addresses", "type"),
    ("conditions", "type"),
    ("containers", "name"),
    ("env", "name"),
    ("ephemeralContainers", "name"),
    ("hostAliases", "ip"),
    ("imagePullSecrets", "name"),
    ("initContainers", "name"),
    ("ownerReferences", "uid"),
    ("podIPs", "ip"),
    ("secrets", "name"),
    ("topologySpreadConstraints", "topologyKey"),
    ("volumeDevices", "devicePath"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];

/// Lists of plain values that strategic merge joins.
const MERGED_VALUES: &[&str] = &["finalizers", "podCIDRs"];

impl PatchKind {
    /// The kind of this content type.
    ///
    /// # Errors
    /// 415 for any other.
    pub fn parse(content_type: &str) -> Result<Self, Failure> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            _ => Err(Failure::unsupported_media_type(ACCEPTED)),
        }
    }

    /// The object after the patch.
    ///
    /// # Errors
    /// 400 for a body that is no patch; 422 for a JSON patch whose test or path fails.
    pub fn apply(self, object: &Value, patch: &Value) -> Result<Value, Failure> {
        let mut result = object.clone();
        match self {
            Self::Json => {
                let operations: json_patch::Patch = serde_json::from_value(patch.clone())
                    .map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?;
                json_patch::patch(&mut result, &operations).map_err(|error| {
                    Failure::unprocessable(format!("the server rejected our request due to an error in our request: {error}"))
                })?;
            }
            Self::Merge | Self::Strategic if !patch.is_object() => {
                return Err(Failure::bad_request(
                    "error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}",
                ));
            }
            Self::Merge => json_patch::merge(&mut result, patch),
            Self::Strategic => merge_objects(&mut result, patch),
        }
        Ok(result)
    }
}

fn merge_objects(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else { return };
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        *target = Value::Object(patch.iter().filter(|(key, _)| *key != "$patch").map(|(k, v)| (k.clone(), v.clone())).collect());
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(kept) = fields.get_mut(list).and_then(Value::as_array_mut) {
                kept.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            // `$setElementOrder` only orders; order has no meaning to the emulator. `$retainKeys` is sent for deployment strategies only.
        } else if value.is_null() {
            fields.remove(key);
        } else if let Value::Array(items) = value {
            merge_list(key, fields.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new())), items);
        } else if value.is_object() {
            merge_objects(fields.entry(key.clone()).or_insert(Value::Null), value);
        } else {
            fields.insert(key.clone(), value.clone());
        }
    }
}

fn merge_list(list: &str, target: &mut Value, patch: &[Value]) {
    let Some(current) = target.as_array_mut() else {
        *target = Value::Array(patch.to_vec());
        return;
    };
    if MERGED_VALUES.contains(&list) {
        patch.iter().for_each(|value| {
            if !current.contains(value) {
                current.push(value.clone());
            }
        });
        return;
    }
    let key = match list {
        // The one name that two lists share: a container's ports and a service's.
        "ports" if patch.iter().any(|item| item.get("containerPort").is_some()) => Some("containerPort"),
        "ports" => Some("port"),
        _ => MERGE_KEYS.iter().find(|(name, _)| *name == list).map(|(_, key)| *key),
    };
    let (Some(key), false) = (key, patch.iter().any(|item| text(item, &["$patch"]) == "replace")) else {
        *current = patch.iter().filter(|item| text(item, &["$patch"]) != "replace").cloned().collect();
        return;
    };
    for item in patch {
        let position = current.iter().position(|old| at(old, &[key]) == at(item, &[key]));
        if text(item, &["$patch"]) == "delete" {
            position.map(|i| current.remove(i));
        } else if let Some(old) = position.and_then(|i| current.get_mut(i)) {
            merge_objects(old, item);
        } else {
            current.push(item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strategic_merge_joins_keyed_lists_and_replaces_the_others() {
        let pod = json!({ "spec": {
            "containers": [{ "name": "a", "image": "1" }, { "name": "b", "image": "1" }],
            "tolerations": [{ "key": "x" }],
            "nodeName": "n",
        }, "metadata": { "finalizers": ["one"] } });
        let patch = json!({ "spec": {
            "containers": [{ "name": "b", "image": "2" }, { "name": "a", "$patch": "delete" }],
            "tolerations": [{ "key": "y" }],
            "nodeName": null,
        }, "metadata": { "finalizers": ["two"] } });
        let expected = json!({ "spec": {
            "containers": [{ "name": "b", "image": "2" }],
            "tolerations": [{ "key": "y" }],
        }, "metadata": { "finalizers": ["one", "two"] } });
        assert_eq!(PatchKind::Strategic.apply(&pod, &patch).unwrap(), expected);
    }

    #[test]
    fn merge_replaces_lists_and_json_patch_tests_first() {
        let node = json!({ "spec": { "taints": [{ "key": "a" }] } });
        let merged = PatchKind::Merge.apply(&node, &json!({ "spec": { "taints": null, "unschedulable": true } })).unwrap();
        assert_eq!(merged, json!({ "spec": { "unschedulable": true } }));
        let failing = json!([{ "op": "test", "path": "/spec/taints/0/key", "value": "b" }]);
        assert!(PatchKind::Json.apply(&node, &failing).is_err());
        assert!(PatchKind::parse("application/apply-patch+yaml").is_err());
    }
}
