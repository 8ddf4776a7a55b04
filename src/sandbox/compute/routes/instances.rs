//! Instances.

use serde_json::{Value, json};

use crate::sandbox::compute::api::Request;
use crate::sandbox::compute::failure::Failure;
use crate::sandbox::compute::links;
use crate::sandbox::compute::operations::Begin;
use crate::sandbox::compute::state::{State, field, items, items_mut, put, text};

/// Most tags of an instance, which is Google's limit.
const TAGS_LIMIT: usize = 64;

const STALE: &str = "Supplied fingerprint does not match current metadata fingerprint.";
const STALE_LABELS: &str = "Labels fingerprint either invalid or resource labels have changed";

/// Begins an operation on the resource that a method's path names before the method: `…/instances/N/setTags`.
pub fn begin_on(
    state: &mut State,
    request: &Request<'_>,
    target: String,
    effect: impl FnOnce(&mut State, &str) -> Result<(), Failure> + Send + 'static,
) -> Result<Value, Failure> {
    let target_id = text(state.get(&target)?, "id").to_owned();
    let path = target.clone();
    let effect = Box::new(move |state: &mut State| {
        // Between the request and its effect the resource may have gone or become another.
        state.get(&path)?;
        effect(state, &path).map_err(Into::into)
    });
    Ok(state.begin(request, Begin { target, target_id, effect }))
}

/// The resource before the method in the path of a request.
pub fn target(state: &State, request: &Request<'_>) -> Result<String, Failure> {
    state.resolve(links::parent(&request.path))
}

/// Refuses a fingerprint that is not the current one. None at all is refused as well.
fn check_fingerprint(given: &str, current: &str, stale: &str) -> Result<(), Failure> {
    if links::same_fingerprint(given, current) { Ok(()) } else { Err(Failure::stale(stale)) }
}

// === what is written under a fingerprint ===

/// `instances.setTags`: the new list replaces the old one.
pub fn set_tags_of(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let target = target(state, request)?;
    let given = text(&request.body, "fingerprint").to_owned();
    let tags: Vec<String> = items(&request.body, "items").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if tags.len() > TAGS_LIMIT {
        return Err(Failure::invalid("tags.items", &tags.len().to_string(), "An instance can have 64 tags at most."));
    }
    check_fingerprint(&given, text(field(state.get(&target)?, "tags"), "fingerprint"), STALE)?;
    begin_on(state, request, target, move |state, path| {
        let instance = state.get_mut(path)?;
        check_fingerprint(&given, text(field(instance, "tags"), "fingerprint"), STALE)?;
        set_tags(instance, &tags);
        Ok(())
    })
}

/// Gives an instance these tags, and a new fingerprint.
pub fn set_tags(instance: &mut Value, tags: &[String]) {
    let mut fields = json!({ "fingerprint": links::fingerprint(&json!({ "tags": tags })) });
    if !tags.is_empty() {
        put(&mut fields, "items", json!(tags));
    }
    put(instance, "tags", fields);
}

/// `instances.setMetadata`: the new items replace the old ones.
pub fn set_metadata(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let target = target(state, request)?;
    let given = text(&request.body, "fingerprint").to_owned();
    let entries = items(&request.body, "items").to_vec();
    check_fingerprint(&given, text(field(state.get(&target)?, "metadata"), "fingerprint"), STALE)?;
    begin_on(state, request, target, move |state, path| {
        let instance = state.get_mut(path)?;
        check_fingerprint(&given, text(field(instance, "metadata"), "fingerprint"), STALE)?;
        put(instance, "metadata", metadata(&entries));
        Ok(())
    })
}

/// The metadata of an instance.
pub fn metadata(entries: &[Value]) -> Value {
    json!({ "kind": "compute#metadata", "fingerprint": links::fingerprint(&json!({ "metadata": entries })), "items": entries })
}

/// `setLabels` of instances and snapshots: the new labels replace the old ones.
pub fn set_labels(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let target = target(state, request)?;
    let given = text(&request.body, "labelFingerprint").to_owned();
    let labels = request.body.get("labels").cloned().unwrap_or_else(|| json!({}));
    check_fingerprint(&given, text(state.get(&target)?, "labelFingerprint"), STALE_LABELS)?;
    begin_on(state, request, target, move |state, path| {
        let resource = state.get_mut(path)?;
        check_fingerprint(&given, text(resource, "labelFingerprint"), STALE_LABELS)?;
        put(resource, "labelFingerprint", json!(links::fingerprint(&json!({ "labels": labels }))));
        put(resource, "labels", labels);
        Ok(())
    })
}

// === protection and deletion ===

/// `instances.setDeletionProtection`, refused for members of a group.
pub fn set_deletion_protection(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let target = target(state, request)?;
    // The parameter's default is true.
    let on = !request.parameters.contains_key("deletionProtection") || request.flag("deletionProtection");
    refuse_member(state, &target, on)?;
    begin_on(state, request, target, move |state, path| {
        refuse_member(state, path, on)?;
        put(state.get_mut(path)?, "deletionProtection", json!(on));
        Ok(())
    })
}

fn refuse_member(state: &State, instance: &str, on: bool) -> Result<(), Failure> {
    match state.membership(instance) {
        Some(_) if on => {
            Err(Failure::usage("Deletion protection cannot be enabled on an instance that is a member of a managed instance group"))
        }
        Some(_) | None => Ok(()),
    }
}

/// `instances.setDiskAutoDelete`.
pub fn set_disk_auto_delete(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let target = target(state, request)?;
    let (device, on) = (request.parameter("deviceName").to_owned(), request.flag("autoDelete"));
    let has_device = |disk: &Value| text(disk, "deviceName") == device;
    if !items(state.get(&target)?, "disks").iter().any(has_device) {
        return Err(Failure::invalid("deviceName", &device, "No attached disk found with device name."));
    }
    begin_on(state, request, target, move |state, path| {
        let disks = items_mut(state.get_mut(path)?, "disks").into_iter().flatten();
        disks.filter(|disk| text(disk, "deviceName") == device).for_each(|disk| put(disk, "autoDelete", json!(on)));
        Ok(())
    })
}

/// `instances.delete`. A group makes a member anew under the same name, with another id.
pub fn delete(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let target = state.resolve(&request.path)?;
    refuse_protected(state, &target)?;
    begin_on(state, request, target, |state, path| {
        refuse_protected(state, path)?;
        if state.membership(path).is_some() { super::groups::recreate(state, path).map(|_| ()) } else { delete_now(state, path) }
    })
}

fn delete_now(state: &mut State, path: &str) -> Result<(), Failure> {
    state.remove_instance(path);
    Ok(())
}

/// Refuses to delete an instance that is protected.
pub fn refuse_protected(state: &State, instance: &str) -> Result<(), Failure> {
    match field(state.get(instance)?, "deletionProtection") == &json!(true) {
        true => Err(Failure::usage("Resource cannot be deleted if it's protected against deletion.")),
        false => Ok(()),
    }
}

// === a new one ===

/// `instances.insert`: an instance with its boot disk, running at once.
pub fn insert(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let name = text(&request.body, "name").to_owned();
    if name.is_empty() {
        return Err(Failure::required("resource.name"));
    }
    let path = format!("{}/{name}", request.path);
    if state.get(&path).is_ok() || state.is_being_created(&path) {
        return Err(Failure::already_exists(&path));
    }
    let instance = complete(state, request, &path)?;
    let target_id = state.new_id(&path);
    let (id, target) = (target_id.clone(), path.clone());
    let effect = Box::new(move |state: &mut State| {
        for disk in items(&instance, "disks") {
            state.create_boot_disk(links::path(text(disk, "source")), &path);
        }
        state.create_as("instance", &path, &id, instance);
        Ok(())
    });
    Ok(state.begin(request, Begin { target, target_id, effect }))
}

/// What the API makes of the body of an insert.
fn complete(state: &State, request: &Request<'_>, path: &str) -> Result<Value, Failure> {
    let mut instance = request.body.clone();
    let project = request.project();
    let scope = request.scope();
    let machine_type = match text(&instance, "machineType") {
        "" => return Err(Failure::required("resource.machineType")),
        plain if !plain.contains('/') => format!("{scope}/machineTypes/{plain}"),
        link => state.linked("resource.machineType", link, project)?,
    };
    put(&mut instance, "machineType", json!(links::link(&machine_type)));
    put(&mut instance, "zone", json!(links::link(&scope)));
    put(&mut instance, "status", json!("RUNNING"));
    let tags: Vec<String> = items(field(&instance, "tags"), "items").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    set_tags(&mut instance, &tags);
    let entries = items(field(&instance, "metadata"), "items").to_vec();
    put(&mut instance, "metadata", metadata(&entries));
    let labels = instance.get("labels").cloned().unwrap_or_else(|| json!({}));
    put(&mut instance, "labelFingerprint", json!(links::fingerprint(&json!({ "labels": labels }))));
    for (field, default) in [("canIpForward", json!(false)), ("deletionProtection", json!(false)), ("startRestricted", json!(false))] {
        if instance.get(field).is_none() {
            put(&mut instance, field, default);
        }
    }
    let disks = items(&instance, "disks").len();
    if disks > 1 || items(&instance, "disks").iter().any(|disk| disk.get("source").is_some()) {
        return Err(Failure::invalid(
            "resource.disks",
            &disks.to_string(),
            "The Compute emulator makes instances with a new boot disk only.",
        ));
    }
    put(&mut instance, "disks", json!([boot_disk(path)]));
    let mut interfaces = items(&instance, "networkInterfaces").to_vec();
    for (index, interface) in interfaces.iter_mut().enumerate() {
        super::interfaces::complete(state, request, interface, index)?;
    }
    put(&mut instance, "networkInterfaces", interfaces.into());
    Ok(instance)
}

/// The boot disk of an instance, as it is attached.
pub fn boot_disk(instance: &str) -> Value {
    let disk = format!("{}/disks/{}", links::parent(links::parent(instance)), links::name(instance));
    json!({
        "kind": "compute#attachedDisk", "type": "PERSISTENT", "mode": "READ_WRITE", "source": links::link(&disk), "deviceName": "persistent-disk-0",
        "index": 0, "boot": true, "autoDelete": true, "interface": "SCSI", "diskSizeGb": "100",
    })
}
