//! Network interfaces and their external addresses.

use serde_json::{Value, json};

use super::instances::{begin_on, target};
use crate::sandbox::compute::api::Request;
use crate::sandbox::compute::failure::Failure;
use crate::sandbox::compute::links;
use crate::sandbox::compute::state::{State, items, items_mut, put, remove, text};

/// The two lists of access configs of an interface.
const LISTS: [&str; 2] = ["accessConfigs", "ipv6AccessConfigs"];

/// What `updateNetworkInterface` can change here.
const UPDATABLE: &[&str] = &["fingerprint", "stackType", "ipv6AccessType", "ipv6AccessConfigs", "name", "kind"];

/// `instances.deleteAccessConfig`, by the name of the config, of either family.
pub fn delete_access_config(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let target = target(state, request)?;
    let (nic, name) = (request.parameter("networkInterface").to_owned(), request.parameter("accessConfig").to_owned());
    find_config(interface(state.get(&target)?, &nic)?, &name)?;
    begin_on(state, request, target, move |state, path| {
        let interface = interface_mut(state.get_mut(path)?, &nic)?;
        let list = find_config(interface, &name)?;
        let removed = items_mut(interface, list).and_then(|configs| {
            let index = configs.iter().position(|config| text(config, "name") == name)?;
            Some(configs.remove(index))
        });
        if items(interface, list).is_empty() {
            remove(interface, list);
        }
        renew(interface);
        release(state, text(&removed.unwrap_or_default(), "natIP"));
        Ok(())
    })
}

/// `instances.addAccessConfig`: one external IPv4 address for an interface without one.
pub fn add_access_config(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let target = target(state, request)?;
    let nic = request.parameter("networkInterface").to_owned();
    refuse_second(interface(state.get(&target)?, &nic)?)?;
    let mut config = request.body.clone();
    let defaults = [("type", json!("ONE_TO_ONE_NAT")), ("name", json!("External NAT")), ("networkTier", json!("PREMIUM"))];
    for (field, default) in defaults.into_iter().filter(|(field, _)| request.body.get(field).is_none()) {
        put(&mut config, field, default);
    }
    if text(&config, "type") != "ONE_TO_ONE_NAT" {
        return Err(Failure::invalid("accessConfig.type", text(&config, "type"), "The Compute emulator adds IPv4 access configs only."));
    }
    put(&mut config, "kind", json!("compute#accessConfig"));
    if text(&config, "natIP").is_empty() {
        let address = free_address(state);
        put(&mut config, "natIP", json!(address));
    }
    begin_on(state, request, target, move |state, path| {
        let interface = interface_mut(state.get_mut(path)?, &nic)?;
        refuse_second(interface)?;
        put(interface, "accessConfigs", json!([config]));
        renew(interface);
        Ok(())
    })
}

/// `instances.updateNetworkInterface`: the stack type, and with it the external IPv6 address.
pub fn update_network_interface(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let target = target(state, request)?;
    let nic = request.parameter("networkInterface").to_owned();
    let change = request.body.clone();
    let unknown = change.as_object().into_iter().flatten().find(|(field, _)| !UPDATABLE.contains(&field.as_str()));
    if let Some((field, value)) = unknown {
        return Err(Failure::invalid(field, &value.to_string(), "The Compute emulator updates stack types only."));
    }
    check(interface(state.get(&target)?, &nic)?, &change)?;
    begin_on(state, request, target, move |state, path| {
        let interface = interface_mut(state.get_mut(path)?, &nic)?;
        check(interface, &change)?;
        if let Some(stack) = change.get("stackType") {
            put(interface, "stackType", stack.clone());
        }
        if text(&change, "stackType") == "IPV4_ONLY" {
            for field in ["ipv6AccessConfigs", "ipv6AccessType", "ipv6Address"] {
                remove(interface, field);
            }
        }
        renew(interface);
        Ok(())
    })
}

fn check(interface: &Value, change: &Value) -> Result<(), Failure> {
    match text(change, "fingerprint") {
        "" => Err(Failure::required("resource.fingerprint")),
        given if links::same_fingerprint(given, text(interface, "fingerprint")) => Ok(()),
        _ => Err(Failure::stale("Supplied fingerprint does not match current metadata fingerprint.")),
    }
}

/// Fills in what a client leaves out of a new interface.
pub fn complete(state: &State, request: &Request<'_>, interface: &mut Value, index: usize) -> Result<(), Failure> {
    let project = request.project();
    let network = match (text(interface, "network"), text(interface, "subnetwork")) {
        ("", "") => format!("projects/{project}/global/networks/default"),
        ("", subnetwork) => {
            let subnetwork = state.linked("resource.networkInterfaces.subnetwork", subnetwork, project)?;
            links::path(text(state.get(&subnetwork)?, "network")).to_owned()
        }
        (network, _) => state.linked("resource.networkInterfaces.network", network, project)?,
    };
    state.get(&network)?;
    let subnetwork = state.all("subnetworks").find(|(_, subnetwork)| links::path(text(subnetwork, "network")) == network);
    if let Some((subnetwork, _)) = subnetwork {
        put(interface, "subnetwork", json!(links::link(subnetwork)));
    }
    put(interface, "kind", json!("compute#networkInterface"));
    put(interface, "name", json!(format!("nic{index}")));
    put(interface, "network", json!(links::link(&network)));
    put(interface, "networkIP", json!(format!("10.128.1.{}", state.all("instances").count() + 1)));
    put(interface, "stackType", json!("IPV4_ONLY"));
    for config in items_mut(interface, "accessConfigs").into_iter().flatten() {
        put(config, "kind", json!("compute#accessConfig"));
    }
    new_addresses(state, interface);
    Ok(())
}

/// Gives an interface other ephemeral addresses in place of those that it has.
pub fn new_addresses(state: &State, interface: &mut Value) {
    let address = free_address(state);
    let configs = items_mut(interface, "accessConfigs").into_iter().flatten();
    configs.for_each(|config| put(config, "natIP", json!(address)));
    if items(interface, "accessConfigs").is_empty() {
        remove(interface, "accessConfigs");
    }
    renew(interface);
}

/// Gives an interface the fingerprint of what it is now.
pub fn renew(interface: &mut Value) {
    remove(interface, "fingerprint");
    let fingerprint = links::fingerprint(interface);
    put(interface, "fingerprint", json!(fingerprint));
}

fn interface<'a>(instance: &'a Value, nic: &str) -> Result<&'a Value, Failure> {
    items(instance, "networkInterfaces").iter().find(|interface| text(interface, "name") == nic).ok_or_else(|| no_interface(nic))
}

fn interface_mut<'a>(instance: &'a mut Value, nic: &str) -> Result<&'a mut Value, Failure> {
    let interfaces = items_mut(instance, "networkInterfaces");
    interfaces.and_then(|list| list.iter_mut().find(|interface| text(interface, "name") == nic)).ok_or_else(|| no_interface(nic))
}

fn no_interface(nic: &str) -> Failure {
    Failure::invalid("networkInterface", nic, "The specified network interface does not exist.")
}

/// Which of the lists of an interface has this config.
fn find_config(interface: &Value, name: &str) -> Result<&'static str, Failure> {
    let has = |list: &&str| items(interface, list).iter().any(|config| text(config, "name") == name);
    LISTS.into_iter().find(has).ok_or_else(|| Failure::invalid("accessConfig", name, "The specified access config does not exist."))
}

fn refuse_second(interface: &Value) -> Result<(), Failure> {
    match items(interface, "accessConfigs") {
        [] => Ok(()),
        _ => Err(Failure::invalid("networkInterface", text(interface, "name"), "At most one access config currently supported.")),
    }
}

/// A reserved address that nobody uses any more stays reserved; an ephemeral one is lost.
fn release(state: &mut State, address: &str) {
    let reserved = state.resources.iter_mut().filter(|(path, _)| path.contains("/addresses/"));
    for (_, resource) in reserved.filter(|(_, resource)| text(resource, "address") == address) {
        put(resource, "status", json!("RESERVED"));
        remove(resource, "users");
    }
}

/// An external address that no instance has.
fn free_address(state: &State) -> String {
    let used: Vec<&str> = state
        .all("instances")
        .flat_map(|(_, instance)| items(instance, "networkInterfaces"))
        .flat_map(|interface| items(interface, "accessConfigs"))
        .map(|config| text(config, "natIP"))
        .collect();
    let candidates = (1..=254).map(|last| format!("198.51.100.{last}"));
    candidates.into_iter().find(|address| !used.contains(&address.as_str())).unwrap_or_else(|| "198.51.100.255".into())
}
