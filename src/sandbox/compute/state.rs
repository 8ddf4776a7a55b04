//! What the emulator knows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::{TimeZone, offset};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::failure::Failure;
use super::links;
use super::operations::{Operation, OperationFailure, Replay};
use super::permissions::Grants;

/// Everything that the emulator knows. Resources are kept as the JSON of the API, by path (`projects/P/zones/Z/instances/N`), with the links
/// and fingerprints of [`links`]. What only the emulator knows about a resource is kept beside it.
#[derive(Debug, Default)]
pub struct State {
    /// Resources of every kind.
    pub resources: BTreeMap<String, Value>,
    /// Members of the managed instance groups, by path of the group.
    pub members: BTreeMap<String, Vec<Member>>,
    /// What a group makes its instances like, by path of the group.
    pub templates: BTreeMap<String, Value>,
    /// Autoscalers by path of the group whose size they decide about.
    pub autoscalers: BTreeMap<String, String>,
    /// How many more looks at a snapshot find it in creation, by path.
    pub snapshot_looks: BTreeMap<String, usize>,
    /// Firewall policies that are evaluated besides the rules, as `getEffectiveFirewalls` shows them.
    pub policies: Vec<Value>,
    /// Operations by path.
    pub operations: BTreeMap<String, Operation>,
    /// What was done under which `requestId`, by project and id.
    pub replays: BTreeMap<(String, String), Replay>,
    /// How fast and how well things go.
    pub behaviour: Behaviour,
    /// What IAM grants.
    pub grants: Grants,
    /// Every call, batched ones one by one.
    pub calls: Vec<Call>,
    /// Mutations that were accepted while another operation on the same resource was not done, as `VERB PATH`.
    pub overlaps: Vec<String>,
    /// Where the emulator listens, with `/compute/v1/`.
    pub own_base: String,
    /// What links in answers start with.
    pub link_base: String,
    made: u64,
}

/// A member of a managed instance group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Path of the instance.
    pub instance: String,
    /// What the group does to it.
    pub action: String,
    /// How many more looks at the members find it so. `None`: for ever.
    pub looks: Option<usize>,
    /// What follows after that.
    pub then: Then,
}

/// What happens to a member in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is a member that nothing is done to.
    Stays,
    /// It is an instance in no group.
    Leaves,
    /// It is gone, with its disks if they are deleted with it.
    IsDeleted,
}

/// How fast and how well things go.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// How many looks at an operation (`get` or `wait`) it takes until it is done; 0: it is done when it is accepted.
    pub operation_looks: usize,
    /// The same for methods of this name, such as `setTags`.
    pub operation_looks_of: BTreeMap<String, usize>,
    /// The next operation of a method of this name ends with this error, without effect.
    pub failing: Vec<(String, OperationFailure)>,
    /// How many looks at a snapshot find it in creation after its operation is done.
    pub snapshot_looks: usize,
    /// How many looks at the members of a group find one leaving after the operation that removes it is done.
    pub member_looks: usize,
}

/// A call that the emulator answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// For example `compute.instances.setTags`.
    pub method: String,
    /// Path under `/compute/v1/`.
    pub path: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// Whether the method changes anything.
    pub mutates: bool,
}

impl Default for Behaviour {
    /// Fast, but never at once: what must be waited for takes one look, what leaves a group two.
    fn default() -> Self {
        Self { operation_looks: 1, operation_looks_of: BTreeMap::new(), failing: Vec::new(), snapshot_looks: 1, member_looks: 2 }
    }
}

impl Member {
    /// A member that nothing is done to.
    pub fn idle(instance: String) -> Self {
        Self { instance, action: "NONE".into(), looks: None, then: Then::Stays }
    }
}

impl State {
    /// The path under which a resource is kept that a client named by name or numeric id.
    ///
    /// # Errors
    /// If there is no such resource.
    pub fn resolve(&self, path: &str) -> Result<String, Failure> {
        if self.resources.contains_key(path) {
            return Ok(path.to_owned());
        }
        let id = links::name(path);
        let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        let by_id = |(_, resource): &(&str, &Value)| is_id && text(resource, "id") == id;
        let found = self.collection(links::parent(path)).find(by_id).map(|(path, _)| path.to_owned());
        found.ok_or_else(|| Failure::not_found(path))
    }

    /// A resource.
    ///
    /// # Errors
    /// If there is no such resource.
    pub fn get(&self, path: &str) -> Result<&Value, Failure> {
        self.resources.get(path).ok_or_else(|| Failure::not_found(path))
    }

    /// A resource, to change it.
    ///
    /// # Errors
    /// If there is no such resource.
    pub fn get_mut(&mut self, path: &str) -> Result<&mut Value, Failure> {
        self.resources.get_mut(path).ok_or_else(|| Failure::not_found(path))
    }

    /// The resources directly under a path such as `projects/P/global/firewalls`, by path.
    pub fn collection<'a>(&'a self, collection: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let from = format!("{collection}/");
        let inside =
            move |path: &str| path.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/')).is_some_and(|name| !name.contains('/'));
        let range = self.resources.range(from.clone()..).take_while(move |(path, _)| path.starts_with(&from));
        range.map(|(path, resource)| (path.as_str(), resource)).filter(move |(path, _)| inside(path))
    }

    /// Resources of one kind, such as `instances`, of every project, zone and region.
    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let of_kind = move |path: &str| path.split('/').rev().nth(1) == Some(kind);
        self.resources.iter().map(|(path, resource)| (path.as_str(), resource)).filter(move |(path, _)| of_kind(path))
    }

    /// Puts a resource in place with what every resource has: kind, id, name, link and time. Returns its id.
    pub fn create(&mut self, kind: &str, path: &str, fields: Value) -> String {
        let id = self.new_id(path);
        self.create_as(kind, path, &id, fields);
        id
    }

    /// The same with an id that is known before.
    pub fn create_as(&mut self, kind: &str, path: &str, id: &str, mut fields: Value) {
        put(&mut fields, "kind", json!(format!("compute#{kind}")));
        put(&mut fields, "id", json!(id));
        put(&mut fields, "name", json!(links::name(path)));
        put(&mut fields, "selfLink", json!(links::link(path)));
        put(&mut fields, "creationTimestamp", json!(now()));
        self.resources.insert(path.to_owned(), fields);
    }

    /// Puts the boot disk of an instance in place.
    pub fn create_boot_disk(&mut self, path: &str, instance: &str) {
        self.create_disk(path, "100", Some(instance));
    }

    /// Puts a disk of so many GB in place, attached to an instance or not.
    pub fn create_disk(&mut self, path: &str, size_gb: &str, instance: Option<&str>) {
        let place = links::parent(links::parent(path));
        let mut fields = json!({
            "sizeGb": size_gb, "type": links::link(&format!("{place}/diskTypes/pd-balanced")), "status": "READY",
            "labelFingerprint": links::fingerprint(&json!({ "labels": {} })), "physicalBlockSizeBytes": "4096",
        });
        put(&mut fields, "zone", json!(links::link(place)));
        if let Some(instance) = instance {
            put(&mut fields, "users", json!([links::link(instance)]));
        }
        self.create("disk", path, fields);
    }

    /// A numeric id that no other resource has, the same in every run that does the same.
    pub fn new_id(&mut self, path: &str) -> String {
        self.made += 1;
        let digest = Sha256::digest(format!("{path} {}", self.made));
        let number = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        // Google's ids have 19 digits or fewer.
        (number % 9_000_000_000_000_000_000 + 100_000_000_000_000_000).to_string()
    }

    /// The group that has this instance as a member, and which of its members.
    pub fn membership(&self, instance: &str) -> Option<(&str, usize)> {
        let position = |members: &Vec<Member>| members.iter().position(|member| member.instance == instance);
        self.members.iter().find_map(|(group, members)| Some((group.as_str(), position(members)?)))
    }

    /// Takes an instance away, with the disks that are deleted with it and its membership. Addresses stay.
    pub fn remove_instance(&mut self, path: &str) {
        let Some(instance) = self.resources.remove(path) else { return };
        for disk in items(&instance, "disks") {
            let source = links::path(text(disk, "source"));
            if field(disk, "autoDelete") == &json!(true) {
                self.resources.remove(source);
            } else if let Some(disk) = self.resources.get_mut(source) {
                remove(disk, "users");
            }
        }
        for (_, resource) in self.resources.iter_mut().filter(|(path, _)| path.contains("/addresses/")) {
            if items(resource, "users").iter().any(|user| user.as_str().map(links::path) == Some(path)) {
                remove(resource, "users");
                put(resource, "status", json!("RESERVED"));
            }
        }
        self.members.values_mut().for_each(|members| members.retain(|member| member.instance != path));
    }
}

/// The time, as the API writes it.
pub fn now() -> String {
    let pacific = TimeZone::fixed(offset(-8));
    Timestamp::now().to_zoned(pacific).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// A field, null if there is none.
pub fn field<'a>(object: &'a Value, field: &str) -> &'a Value {
    object.get(field).unwrap_or(&Value::Null)
}

/// The text in a field, empty if there is none.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The list in a field, empty if there is none.
pub fn items<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The list in a field, to change it. It is made if there is none.
pub fn items_mut<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Vec<Value>> {
    object.as_object_mut()?.entry(field).or_insert_with(|| json!([])).as_array_mut()
}

/// The texts in a field.
pub fn texts<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    items(object, field).iter().filter_map(Value::as_str)
}

/// Sets a field of an object.
pub fn put(object: &mut Value, field: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(field.to_owned(), value);
    }
}

/// Takes a field out of an object.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut()?.remove(field)
}
