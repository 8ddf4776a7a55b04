//! Objects by resource, namespace and name, with one version counter and the history that watches read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::object::{at, name, namespace, number, put, rfc3339, take};
use super::resources::{NAMESPACES, Resource};

/// How many changes a watch may lag behind before it has to list again. A drain of a full node (110 pods) makes about a thousand;
/// ten of those leave room for everything else, in a few tens of MiB.
const HISTORY_LIMIT: usize = 10_000;

/// Letters of generated names: no vowels and nothing that looks like a digit, as the real server.
const SAFE_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    group: &'static str,
    plural: &'static str,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// One step of history.
#[derive(Clone, Debug)]
pub struct Change {
    /// Version that the store had after it.
    pub version: u64,
    /// Of what.
    pub key: Key,
    /// The object before, `None` if it was created.
    pub before: Option<Arc<Value>>,
    /// The object after, `None` if it was removed.
    pub after: Option<Arc<Value>>,
}

/// The objects of the cluster. Cloning it is how a dry run keeps its hands off.
#[derive(Clone, Debug, Default)]
pub struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    version: u64,
    history: VecDeque<Change>,
    /// How often each name was used, so that uids and generated names are the same in every run and still never repeat.
    uses: BTreeMap<String, u64>,
}

impl Key {
    /// The key of an object.
    pub fn new(resource: &Resource, namespace: &str, name: &str) -> Self {
        let namespace = if resource.namespaced { namespace } else { "" };
        Self { group: resource.group, plural: resource.plural, namespace: namespace.into(), name: name.into() }
    }

    /// Whether it belongs to this resource.
    pub fn is(&self, resource: &Resource) -> bool {
        self.group == resource.group && self.plural == resource.plural
    }
}

impl Store {
    /// The version of the whole store; it grows with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// One object.
    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&Key::new(resource, namespace, name)).map(Arc::as_ref)
    }

    /// The objects of a resource, in one namespace or in all, by namespace and name.
    pub fn list(&self, resource: &'static Resource, namespace: Option<&str>) -> impl Iterator<Item = &Arc<Value>> {
        let first = Key::new(resource, namespace.unwrap_or_default(), "");
        let namespace = namespace.filter(|_| resource.namespaced).map(str::to_owned);
        let same = move |key: &Key| key.is(resource) && namespace.as_ref().is_none_or(|ns| *ns == key.namespace);
        self.objects.range(first..).take_while(move |(key, _)| same(key)).map(|(_, object)| object)
    }

    /// The objects of a resource in all namespaces as they are now, for a loop that changes them.
    pub fn all(&self, resource: &'static Resource) -> Vec<Arc<Value>> {
        self.list(resource, None).cloned().collect()
    }

    /// Every object with its key.
    pub fn everything(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Adds an object under its own name; the caller knows that there is none. The server's part of the metadata is filled in.
    pub fn create(&mut self, resource: &Resource, mut object: Value, now: Timestamp) -> Value {
        let key = Key::new(resource, namespace(&object), name(&object));
        put(&mut object, &["apiVersion"], resource.api_version());
        put(&mut object, &["kind"], resource.kind);
        put(&mut object, &["metadata", "uid"], self.new_uid(&key));
        put(&mut object, &["metadata", "creationTimestamp"], rfc3339(now));
        if resource.generations {
            put(&mut object, &["metadata", "generation"], 1);
        }
        if resource.is(&NAMESPACES) {
            put(&mut object, &["metadata", "labels", "kubernetes.io/metadata.name"], key.name.clone());
            put(&mut object, &["status", "phase"], "Active");
        }
        self.commit(key, None, Some(object))
    }

    /// Writes an object over the one of its name and counts its generation; nothing happens if nothing differs.
    pub fn replace(&mut self, resource: &Resource, mut object: Value) -> Value {
        let key = Key::new(resource, namespace(&object), name(&object));
        let before = self.objects.get(&key).cloned();
        if let Some(before) = &before {
            put(&mut object, &["metadata", "resourceVersion"], at(before, &["metadata", "resourceVersion"]).clone());
            if object == **before {
                return object;
            }
            let differs = at(&object, &["spec"]) != at(before, &["spec"]);
            let dying = at(&object, &["metadata", "deletionTimestamp"]) != at(before, &["metadata", "deletionTimestamp"]);
            if resource.generations && (differs || dying) {
                put(&mut object, &["metadata", "generation"], number(before, &["metadata", "generation"]) + 1);
            }
        }
        self.commit(key, before, Some(object))
    }

    /// Takes an object away and says what it last was.
    pub fn remove(&mut self, resource: &Resource, namespace: &str, name: &str) -> Option<Value> {
        let key = Key::new(resource, namespace, name);
        let before = self.objects.get(&key).cloned()?;
        Some(self.commit(key, Some(before), None))
    }

    /// The changes after `version`, oldest first, or the oldest version from which they are still known.
    pub fn changes_since(&self, version: u64) -> Result<Vec<Change>, u64> {
        let oldest = self.history.front().map_or(self.version, |change| change.version - 1);
        if version < oldest {
            return Err(oldest);
        }
        Ok(self.history.iter().filter(|change| change.version > version).cloned().collect())
    }

    /// A name that was not used before: `prefix` and five safe letters.
    pub fn generate_name(&mut self, resource: &Resource, namespace: &str, prefix: &str) -> String {
        loop {
            let count = self.count(&format!("name {} {namespace} {prefix}", resource.plural));
            let digest = Sha256::digest(format!("{} {namespace} {prefix} {count}", resource.plural));
            let name = format!("{prefix}{}", safe_text(&digest, 5));
            if self.get(resource, namespace, &name).is_none() {
                return name;
            }
        }
    }

    fn new_uid(&mut self, key: &Key) -> String {
        let id = format!("{} {} {} {}", key.group, key.plural, key.namespace, key.name);
        let count = self.count(&format!("uid {id}"));
        let digest = Sha256::digest(format!("{id} {count}"));
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    fn count(&mut self, what: &str) -> u64 {
        let count = self.uses.entry(what.into()).or_default();
        *count += 1;
        *count
    }

    fn commit(&mut self, key: Key, before: Option<Arc<Value>>, after: Option<Value>) -> Value {
        self.version += 1;
        let removed = after.is_none();
        let mut last = after.unwrap_or_else(|| before.as_deref().cloned().unwrap_or_default());
        put(&mut last, &["metadata", "resourceVersion"], self.version.to_string());
        take(&mut last, &["metadata", "managedFields"]);
        let shared = Arc::new(last.clone());
        let change = if removed {
            self.objects.remove(&key);
            // A removal is announced with the object as it last was, under the version of the removal.
            Change { version: self.version, key, before: Some(shared), after: None }
        } else {
            self.objects.insert(key.clone(), Arc::clone(&shared));
            Change { version: self.version, key, before, after: Some(shared) }
        };
        self.history.push_back(change);
        while self.history.len() > HISTORY_LIMIT {
            self.history.pop_front();
        }
        last
    }
}

/// `length` safe letters out of random-looking bytes.
pub fn safe_text(bytes: &[u8], length: usize) -> String {
    let letter = |byte: &u8| SAFE_LETTERS.get(usize::from(*byte) % SAFE_LETTERS.len()).copied().unwrap_or(b'x');
    bytes.iter().take(length).map(|byte| char::from(letter(byte))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::kubernetes::object::{text, uid};
    use crate::sandbox::kubernetes::resources::PODS;

    fn pod(name: &str) -> Value {
        json!({ "metadata": { "namespace": "shop", "name": name }, "spec": {} })
    }

    #[test]
    fn a_namesake_gets_another_uid_and_an_equal_object_no_new_version() {
        let now = Timestamp::UNIX_EPOCH;
        let mut store = Store::default();
        let first = store.create(&PODS, pod("a"), now);
        assert_eq!(store.replace(&PODS, first.clone()), first);
        assert_eq!(store.version(), 1);
        store.remove(&PODS, "shop", "a");
        let second = store.create(&PODS, pod("a"), now);
        assert_ne!(uid(&first), uid(&second));
        assert_eq!(text(&second, &["metadata", "resourceVersion"]), "3");
    }

    #[test]
    fn lists_stop_at_the_namespace_and_history_tells_every_change() {
        let now = Timestamp::UNIX_EPOCH;
        let mut store = Store::default();
        store.create(&PODS, pod("b"), now);
        store.create(&PODS, pod("a"), now);
        let names: Vec<_> = store.list(&PODS, Some("shop")).map(|pod| name(pod)).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(store.list(&PODS, Some("sho")).count(), 0);
        store.remove(&PODS, "shop", "b");
        let told: Vec<_> = store.changes_since(1).unwrap().iter().map(|c| (c.key.name.clone(), c.after.is_some())).collect();
        assert_eq!(told, [("a".to_owned(), true), ("b".to_owned(), false)]);
    }
}
