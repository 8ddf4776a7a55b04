//! Firewall rules, and which of them count for an instance.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use super::instances::{begin_on, target};
use crate::sandbox::compute::api::Request;
use crate::sandbox::compute::failure::Failure;
use crate::sandbox::compute::links;
use crate::sandbox::compute::operations::Begin;
use crate::sandbox::compute::state::{State, field, items, put, remove, text, texts};

/// Highest number of a priority, which is the lowest priority.
const LOWEST_PRIORITY: i64 = 65_535;

/// The priority of a rule that names none.
const DEFAULT_PRIORITY: i64 = 1000;

/// `firewalls.insert`.
pub fn insert(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let path = format!("{}/{}", request.path, text(&request.body, "name"));
    if state.get(&path).is_ok() || state.is_being_created(&path) {
        return Err(Failure::already_exists(&path));
    }
    let rule = complete_rule(state, request.project(), &request.body)?;
    let target_id = state.new_id(&path);
    let (id, target) = (target_id.clone(), path.clone());
    let effect = Box::new(move |state: &mut State| {
        state.create_as("firewall", &path, &id, rule);
        Ok(())
    });
    Ok(state.begin(request, Begin { target, target_id, effect }))
}

/// `firewalls.patch`: fields that are given replace the old ones.
pub fn patch(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let path = state.resolve(&request.path)?;
    let name = links::name(&path).to_owned();
    if text(&request.body, "name") != name {
        return Err(Failure::invalid("resource.name", text(&request.body, "name"), "A rule cannot be renamed."));
    }
    let (change, project) = (request.body.clone(), request.project().to_owned());
    patched(state, &path, &project, &change)?;
    begin_on(state, request, path, move |state, path| {
        let rule = patched(state, path, &project, &change)?;
        *state.get_mut(path)? = rule;
        Ok(())
    })
}

fn patched(state: &State, path: &str, project: &str, change: &Value) -> Result<Value, Failure> {
    let old = state.get(path)?;
    let mut rule = old.clone();
    for (field, value) in change.as_object().into_iter().flatten() {
        put(&mut rule, field, value.clone());
    }
    let rule = complete_rule(state, project, &rule)?;
    if field(&rule, "network") != field(old, "network") || field(&rule, "direction") != field(old, "direction") {
        return Err(Failure::invalid("resource", links::name(path), "Network and direction of a rule cannot be changed."));
    }
    Ok(rule)
}

/// `firewalls.delete`.
pub fn delete(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let path = state.resolve(&request.path)?;
    begin_on(state, request, path, |state, path| {
        state.resources.remove(path);
        Ok(())
    })
}

/// A rule with everything that the API fills in, or what is wrong with it.
pub fn complete_rule(state: &State, project: &str, wanted: &Value) -> Result<Value, Failure> {
    let mut rule = wanted.clone();
    let network = match text(&rule, "network") {
        "" => format!("projects/{project}/global/networks/default"),
        link => state.linked("resource.network", link, project)?,
    };
    if links::project(&network) != project {
        return Err(Failure::invalid("resource.network", &network, "Cross project referencing is not allowed for this resource."));
    }
    put(&mut rule, "network", json!(links::link(&state.resolve(&network)?)));
    let defaults = [
        ("direction", json!("INGRESS")),
        ("priority", json!(DEFAULT_PRIORITY)),
        ("disabled", json!(false)),
        ("logConfig", json!({ "enable": false })),
    ];
    for (field, default) in defaults.into_iter().filter(|(field, _)| wanted.get(field).is_none()) {
        put(&mut rule, field, default);
    }
    if !field(&rule, "priority").as_i64().is_some_and(|priority| (0..=LOWEST_PRIORITY).contains(&priority)) {
        return Err(Failure::invalid("resource.priority", &field(&rule, "priority").to_string(), "Must be from 0 to 65535."));
    }
    if items(&rule, "allowed").is_empty() == items(&rule, "denied").is_empty() {
        return Err(Failure::bad_request("invalid", "Exactly one of fields 'allowed' and 'denied' must be specified.".into()));
    }
    remove_empty(&mut rule);
    complete_ends(&mut rule)?;
    Ok(rule)
}

fn remove_empty(rule: &mut Value) {
    let empty: Vec<String> =
        rule.as_object().into_iter().flatten().filter(|(_, value)| **value == json!([])).map(|(field, _)| field.clone()).collect();
    for field in empty {
        remove(rule, &field);
    }
}

/// Where the traffic of a rule comes from and goes to.
fn complete_ends(rule: &mut Value) -> Result<(), Failure> {
    let egress = text(rule, "direction") == "EGRESS";
    let has = |field: &str| !items(rule, field).is_empty();
    for field in ["sourceTags", "sourceServiceAccounts"] {
        if egress && has(field) {
            return Err(Failure::invalid(&format!("resource.{field}"), text(rule, "name"), "Not allowed for EGRESS rules."));
        }
    }
    if has("targetTags") && has("targetServiceAccounts") {
        return Err(Failure::invalid("resource.targetTags", text(rule, "name"), "Tags and service accounts cannot be used together."));
    }
    for field in ["sourceRanges", "destinationRanges"] {
        check_ranges(field, texts(rule, field))?;
    }
    let open = match egress {
        true if !has("destinationRanges") => Some("destinationRanges"),
        false if !["sourceRanges", "sourceTags", "sourceServiceAccounts"].into_iter().any(has) => Some("sourceRanges"),
        true | false => None,
    };
    if let Some(field) = open {
        put(rule, field, json!(["0.0.0.0/0"]));
    }
    Ok(())
}

/// Ranges are of one family.
fn check_ranges<'a>(field: &str, ranges: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let mut families = Vec::new();
    for range in ranges {
        let (address, length) = range.split_once('/').unwrap_or((range, "0"));
        let (v4, v6) = (address.parse::<Ipv4Addr>().is_ok(), address.parse::<Ipv6Addr>().is_ok());
        if !(v4 || v6) || !length.parse::<u8>().is_ok_and(|length| length <= if v4 { 32 } else { 128 }) {
            return Err(Failure::invalid(&format!("resource.{field}"), range, "Must be a CIDR address range."));
        }
        families.push(v4);
    }
    families.dedup();
    match families.as_slice() {
        [] | [_] => Ok(()),
        _ => Err(Failure::invalid(&format!("resource.{field}"), "IPv4 and IPv6", "A rule cannot have ranges of both families.")),
    }
}

// === what counts ===

/// `instances.getEffectiveFirewalls`, of one interface.
pub fn effective_of_instance(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let instance = state.get(&target(state, request)?)?.clone();
    let nic = request.parameter("networkInterface");
    let interface = items(&instance, "networkInterfaces").iter().find(|interface| text(interface, "name") == nic);
    let interface =
        interface.ok_or_else(|| Failure::invalid("networkInterface", nic, "The specified network interface does not exist."))?;
    Ok(effective(state, text(interface, "network"), |rule| applies(rule, &instance)))
}

/// `networks.getEffectiveFirewalls`.
pub fn effective_of_network(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let network = target(state, request)?;
    Ok(effective(state, &links::link(&network), |_| true))
}

fn effective(state: &State, network: &str, chosen: impl Fn(&Value) -> bool) -> Value {
    let of_network = state.all("firewalls").map(|(_, rule)| rule).filter(|rule| text(rule, "network") == network);
    let mut rules: Vec<Value> = of_network.filter(|rule| chosen(rule)).cloned().collect();
    rules.sort_by_key(|rule| (field(rule, "priority").as_i64(), text(rule, "name").to_owned()));
    let mut answer = json!({});
    for (field, list) in [("firewalls", rules), ("firewallPolicys", state.policies.clone())] {
        if !list.is_empty() {
            put(&mut answer, field, list.into());
        }
    }
    answer
}

/// Whether a rule is for this instance: for all, for one of its tags, or for its service account.
fn applies(rule: &Value, instance: &Value) -> bool {
    let tags: Vec<&str> = texts(field(instance, "tags"), "items").collect();
    let accounts: Vec<&str> = items(instance, "serviceAccounts").iter().map(|account| text(account, "email")).collect();
    match (items(rule, "targetTags"), items(rule, "targetServiceAccounts")) {
        ([], []) => true,
        ([], _) => texts(rule, "targetServiceAccounts").any(|account| accounts.contains(&account)),
        _ => texts(rule, "targetTags").any(|tag| tags.contains(&tag)),
    }
}
