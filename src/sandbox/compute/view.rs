//! What matters of the state, for tests and for the expectations of scenarios.

use serde_json::{Map, Value, json};

use super::links;
use super::state::{Member, State, field, items, remove, text};

/// The state without ids of what is new, times and fingerprints: by name, firewall rules by project and name.
pub fn view(state: &State) -> Value {
    let groups = state.all("instanceGroupManagers").map(|(path, group)| {
        let members = state.members.get(path).map(Vec::as_slice).unwrap_or_default();
        (
            links::name(path).to_owned(),
            json!({ "targetSize": field(group, "targetSize"), "members": members.iter().map(member).collect::<Map<_, _>>() }),
        )
    });
    json!({
        "instances": by_name(state, "instances", instance),
        "groups": groups.collect::<Map<_, _>>(),
        "firewalls": firewalls(state),
        "snapshots": by_name(state, "snapshots", snapshot),
        "addresses": by_name(state, "addresses", |address| json!({ "address": field(address, "address"), "status": field(address, "status") })),
        "disks": by_name(state, "disks", |disk| json!({ "users": items(disk, "users").iter().map(name).collect::<Vec<_>>() })),
    })
}

fn by_name(state: &State, kind: &str, one: impl Fn(&Value) -> Value) -> Value {
    state.all(kind).map(|(path, resource)| (links::name(path).to_owned(), one(resource))).collect::<Map<_, _>>().into()
}

fn name(link: &Value) -> &str {
    links::name(link.as_str().unwrap_or_default())
}

fn member(member: &Member) -> (String, Value) {
    (links::name(&member.instance).to_owned(), json!(member.action))
}

fn instance(instance: &Value) -> Value {
    let interfaces = items(instance, "networkInterfaces").iter().map(|interface| {
        let configs = |list: &str, address: &str| -> Map<String, Value> {
            items(interface, list).iter().map(|config| (text(config, "name").to_owned(), field(config, address).clone())).collect()
        };
        let shown = json!({
            "network": links::path(text(interface, "network")), "accessConfigs": configs("accessConfigs", "natIP"),
            "ipv6AccessConfigs": configs("ipv6AccessConfigs", "externalIpv6"),
        });
        (text(interface, "name").to_owned(), shown)
    });
    let disks = items(instance, "disks").iter().map(|disk| {
        let shown =
            json!({ "source": links::name(text(disk, "source")), "boot": field(disk, "boot"), "autoDelete": field(disk, "autoDelete") });
        (text(disk, "deviceName").to_owned(), shown)
    });
    let metadata =
        items(field(instance, "metadata"), "items").iter().map(|item| (text(item, "key").to_owned(), field(item, "value").clone()));
    json!({
        "id": field(instance, "id"), "status": field(instance, "status"), "tags": items(field(instance, "tags"), "items"),
        "deletionProtection": field(instance, "deletionProtection"), "interfaces": interfaces.collect::<Map<_, _>>(),
        "disks": disks.collect::<Map<_, _>>(), "metadata": metadata.collect::<Map<_, _>>(),
    })
}

fn firewalls(state: &State) -> Value {
    let mut projects = Map::new();
    for (path, rule) in state.all("firewalls") {
        let mut rule = rule.clone();
        for field in ["id", "kind", "name", "selfLink", "creationTimestamp"] {
            remove(&mut rule, field);
        }
        let network = links::path(text(&rule, "network")).to_owned();
        super::state::put(&mut rule, "network", json!(network));
        let project = projects.entry(links::project(path).to_owned()).or_insert_with(|| json!({}));
        super::state::put(project, links::name(path), rule);
    }
    projects.into()
}

fn snapshot(snapshot: &Value) -> Value {
    json!({
        "status": field(snapshot, "status"), "sourceDisk": links::path(text(snapshot, "sourceDisk")), "labels": field(snapshot, "labels"),
        "description": field(snapshot, "description"),
    })
}
