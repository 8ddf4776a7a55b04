//! Managed instance groups, zonal and regional.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::instances::{begin_on, boot_disk, set_tags, target};
use super::interfaces;
use crate::sandbox::compute::api::Request;
use crate::sandbox::compute::failure::Failure;
use crate::sandbox::compute::state::{Member, State, Then, field, items, put, text, texts};
use crate::sandbox::compute::{links, listing};

/// Most instances in one request, which is Google's limit.
const INSTANCES_LIMIT: usize = 1000;

/// Largest group, which is Google's limit for a zonal one.
const SIZE_LIMIT: usize = 1000;

/// What a group shows as counted, by name in the answer and of the action.
const ACTIONS: &[(&str, &str)] = &[
    ("abandoning", "ABANDONING"),
    ("creating", "CREATING"),
    ("creatingWithoutRetries", "CREATING_WITHOUT_RETRIES"),
    ("deleting", "DELETING"),
    ("none", "NONE"),
    ("recreating", "RECREATING"),
    ("refreshing", "REFRESHING"),
    ("restarting", "RESTARTING"),
    ("verifying", "VERIFYING"),
];

/// `get`.
pub fn get(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let path = state.resolve(&request.path)?;
    shown(state, &path)
}

/// `list`.
pub fn list(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let groups: Vec<Value> = state.collection(&request.path).filter_map(|(path, _)| shown(state, path).ok()).collect();
    let kind = if request.path.contains("/regions/") { "regionInstanceGroupManager" } else { "instanceGroupManager" };
    listing::list(request, kind, groups)
}

/// `aggregatedList`.
pub fn aggregated(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let project = format!("projects/{}/", request.project());
    let groups = state.all("instanceGroupManagers").filter(|(path, _)| path.starts_with(&project));
    let groups = groups.filter_map(|(path, _)| shown(state, path).ok()).collect();
    listing::aggregated(request, "instanceGroupManager", "instanceGroupManagers", groups)
}

/// A group with what follows from its members.
fn shown(state: &State, path: &str) -> Result<Value, Failure> {
    let mut group = state.get(path)?.clone();
    let members = state.members.get(path).map(Vec::as_slice).unwrap_or_default();
    let count = |action: &str| members.iter().filter(|member| member.action == action).count();
    let actions: Map<String, Value> = ACTIONS.iter().map(|(name, action)| ((*name).to_owned(), json!(count(action)))).collect();
    let stable = count("NONE") == members.len() && field(&group, "targetSize") == &json!(members.len());
    put(&mut group, "currentActions", actions.into());
    let mut status = json!({ "isStable": stable, "stateful": { "hasStatefulConfig": false }, "versionTarget": { "isReached": true } });
    if let Some(autoscaler) = state.autoscalers.get(path) {
        put(&mut status, "autoscaler", json!(links::link(autoscaler)));
    }
    put(&mut group, "status", status);
    Ok(group)
}

/// `listManagedInstances`. Every look brings a member that is leaving nearer to its end.
pub fn list_managed_instances(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let group = target(state, request)?;
    advance(state, &group);
    let template = field(state.get(&group)?, "instanceTemplate").clone();
    let one = |member: &Member| {
        let instance = state.resources.get(&member.instance);
        let field = |field: &str| instance.map(|instance| text(instance, field)).unwrap_or_default();
        json!({
            "instance": links::link(&member.instance), "id": field("id"), "name": links::name(&member.instance),
            "instanceStatus": field("status"), "currentAction": member.action, "version": { "instanceTemplate": template },
        })
    };
    let members = state.members.get(&group).into_iter().flatten().map(one).collect();
    let (members, next) = listing::page(request, members)?;
    let mut answer = json!({});
    if !members.is_empty() {
        put(&mut answer, "managedInstances", members.into());
    }
    if let Some(next) = next {
        put(&mut answer, "nextPageToken", json!(next));
    }
    Ok(answer)
}

fn advance(state: &mut State, group: &str) {
    let mut deleted = Vec::new();
    if let Some(members) = state.members.get_mut(group) {
        members.retain_mut(|member| match (member.looks, member.then) {
            (None, _) => true,
            (Some(0), Then::Stays) => {
                *member = Member::idle(member.instance.clone());
                true
            }
            (Some(0), Then::Leaves) => false,
            (Some(0), Then::IsDeleted) => {
                deleted.push(member.instance.clone());
                false
            }
            (Some(looks), _) => {
                member.looks = Some(looks - 1);
                true
            }
        });
    }
    deleted.iter().for_each(|instance| state.remove_instance(instance));
}

/// `abandonInstances`. Its operation is done when the abandoning is scheduled.
pub fn abandon_instances(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let group = target(state, request)?;
    let instances = named_members(state, request, &group)?;
    begin_on(state, request, group, move |state, group| dismiss(state, group, &instances, "ABANDONING", Then::Leaves))
}

/// `deleteInstances`. Its operation is done when the deletion is scheduled.
pub fn delete_instances(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let group = target(state, request)?;
    let instances = named_members(state, request, &group)?;
    begin_on(state, request, group, move |state, group| dismiss(state, group, &instances, "DELETING", Then::IsDeleted))
}

/// The members that a request names by their links.
fn named_members(state: &State, request: &Request<'_>, group: &str) -> Result<Vec<String>, Failure> {
    let named = items(&request.body, "instances");
    if named.is_empty() || named.len() > INSTANCES_LIMIT {
        return Err(Failure::invalid("instances", &named.len().to_string(), "Must name from 1 to 1000 instances."));
    }
    let skips = field(&request.body, "skipInstancesOnValidationError") == &json!(true);
    let mut members = Vec::new();
    for link in texts(&request.body, "instances") {
        let instance = state.linked("instances", link, request.project())?;
        match state.membership(&instance) {
            Some((owner, _)) if owner == group => members.push(instance),
            Some(_) | None if skips => {}
            Some(_) | None => return Err(not_a_member(&instance)),
        }
    }
    Ok(members)
}

fn not_a_member(instance: &str) -> Failure {
    Failure::invalid("instances", links::name(instance), "The instance is not a member of MIG.")
}

fn dismiss(state: &mut State, group: &str, instances: &[String], action: &str, then: Then) -> Result<(), Failure> {
    let looks = state.behaviour.member_looks;
    let members = state.members.get_mut(group).ok_or_else(|| Failure::not_found(group))?;
    let mut leaving = 0;
    for instance in instances {
        let member = members.iter_mut().find(|member| member.instance == *instance).ok_or_else(|| not_a_member(instance))?;
        if member.then == Then::Stays {
            leaving += 1;
        }
        *member = Member { instance: instance.clone(), action: action.into(), looks: Some(looks), then };
    }
    let group = state.get_mut(group)?;
    let size = field(group, "targetSize").as_u64().unwrap_or_default().saturating_sub(leaving);
    put(group, "targetSize", json!(size));
    Ok(())
}

/// `resize`.
pub fn resize(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let group = target(state, request)?;
    let given = request.parameter("size");
    let size = given.parse::<usize>().ok().filter(|size| *size <= SIZE_LIMIT);
    let size = size.ok_or_else(|| Failure::invalid("size", given, "Must be from 0 to 1000."))?;
    begin_on(state, request, group, move |state, group| {
        put(state.get_mut(group)?, "targetSize", json!(size));
        let staying = |state: &State| -> Vec<String> {
            let members = state.members.get(group).into_iter().flatten();
            members.filter(|member| member.then == Then::Stays).map(|member| member.instance.clone()).collect()
        };
        let members = staying(state);
        for _ in members.len()..size {
            new_member(state, group)?;
        }
        let surplus: Vec<String> = members.into_iter().skip(size).collect();
        dismiss(state, group, &surplus, "DELETING", Then::IsDeleted)?;
        put(state.get_mut(group)?, "targetSize", json!(size));
        Ok(())
    })
}

// === instances that a group makes ===

/// Makes a new member, as the template of the group says. Returns its path.
pub fn new_member(state: &mut State, group: &str) -> Result<String, Failure> {
    let template = state.templates.get(group).cloned().ok_or_else(|| Failure::not_found(group))?;
    let zone = links::path(text(&template, "zone")).to_owned();
    let base = text(state.get(group)?, "baseInstanceName").to_owned();
    let free = |number: &usize| {
        let digest = Sha256::digest(format!("{group} {number}"));
        let suffix: String = digest.iter().take(2).map(|byte| format!("{byte:02x}")).collect();
        let path = format!("{zone}/instances/{base}-{suffix}");
        state.get(&path).is_err().then_some(path)
    };
    // More numbers than a group can have members: one of them is free.
    let path = (0..=2 * SIZE_LIMIT).find_map(|number| free(&number)).ok_or_else(|| Failure::already_exists(group))?;
    make(state, &path, template);
    let members = state.members.entry(group.to_owned()).or_default();
    members.push(Member { instance: path.clone(), action: "CREATING".into(), looks: Some(1), then: Then::Stays });
    Ok(path)
}

/// Makes an instance anew under the same name with another id, as a group does with a member that failed. Returns the id.
pub fn recreate(state: &mut State, instance: &str) -> Result<String, Failure> {
    let group = state.membership(instance).map(|(group, index)| (group.to_owned(), index));
    let old = state.get(instance)?.clone();
    let template = group.as_ref().and_then(|(group, _)| state.templates.get(group)).cloned();
    state.remove_instance(instance);
    make(state, instance, template.unwrap_or(old));
    if let Some((group, index)) = group {
        let members = state.members.entry(group).or_default();
        let member = Member { instance: instance.to_owned(), action: "RECREATING".into(), looks: Some(1), then: Then::Stays };
        members.insert(index.min(members.len()), member);
    }
    Ok(text(state.get(instance)?, "id").to_owned())
}

/// Makes a running instance like the pattern, with a boot disk of its own and new addresses.
fn make(state: &mut State, path: &str, mut instance: Value) {
    let number = state.operations.len() + state.all("instances").count();
    let attached = boot_disk(path);
    let disk = links::path(text(&attached, "source")).to_owned();
    put(&mut instance, "disks", json!([attached]));
    put(&mut instance, "deletionProtection", json!(false));
    put(&mut instance, "status", json!("RUNNING"));
    let tags: Vec<String> = texts(field(&instance, "tags"), "items").map(str::to_owned).collect();
    set_tags(&mut instance, &tags);
    let mut nics = items(&instance, "networkInterfaces").to_vec();
    for nic in &mut nics {
        put(nic, "networkIP", json!(format!("10.128.2.{}", number % 250 + 1)));
        interfaces::new_addresses(state, nic);
    }
    put(&mut instance, "networkInterfaces", nics.into());
    state.create_boot_disk(&disk, path);
    state.create("instance", path, instance);
}
