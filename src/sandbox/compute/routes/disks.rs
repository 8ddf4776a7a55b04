//! Disks and their snapshots.

use serde_json::{Value, json};

use super::instances::{begin_on, target};
use crate::sandbox::compute::api::Request;
use crate::sandbox::compute::failure::Failure;
use crate::sandbox::compute::operations::Begin;
use crate::sandbox::compute::state::{State, put, text};
use crate::sandbox::compute::{links, listing};

/// `createSnapshot` of zonal and regional disks.
pub fn create_snapshot(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let disk = target(state, request)?;
    snapshot(state, request, disk)
}

/// `snapshots.insert`, which names the disk in its body.
pub fn insert_snapshot(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let disk = match text(&request.body, "sourceDisk") {
        "" => return Err(Failure::required("resource.sourceDisk")),
        link => state.linked("resource.sourceDisk", link, request.project())?,
    };
    let disk = state.resolve(&disk)?;
    snapshot(state, request, disk)
}

/// The snapshot exists from the start, is done some time after its operation, and keeps the point in time at which it was asked for.
fn snapshot(state: &mut State, request: &Request<'_>, disk: String) -> Result<Value, Failure> {
    let name = text(&request.body, "name");
    if name.is_empty() {
        return Err(Failure::required("resource.name"));
    }
    let path = format!("projects/{}/global/snapshots/{name}", request.project());
    if state.get(&path).is_ok() {
        return Err(Failure::already_exists(&path));
    }
    let is_insert = request.method.verb() == "insert";
    let disk_id = text(state.get(&disk)?, "id").to_owned();
    let id = match state.will_fail(request.method.verb()) {
        true => state.new_id(&path),
        false => {
            let fields = new_snapshot_fields(state.get(&disk)?, &disk, &request.body);
            state.create("snapshot", &path, fields)
        }
    };
    let (target, target_id) = if is_insert { (path.clone(), id) } else { (disk, disk_id) };
    let effect = Box::new(move |state: &mut State| {
        state.snapshot_looks.insert(path, state.behaviour.snapshot_looks);
        Ok(())
    });
    Ok(state.begin(request, Begin { target, target_id, effect }))
}

/// What a new snapshot of a disk is, besides what the client asks for.
pub fn new_snapshot_fields(disk: &Value, path: &str, wanted: &Value) -> Value {
    let labels = wanted.get("labels").cloned().unwrap_or_else(|| json!({}));
    let mut fields = json!({
        "status": "CREATING", "sourceDisk": links::link(path), "sourceDiskId": text(disk, "id"), "diskSizeGb": text(disk, "sizeGb"),
        "labelFingerprint": links::fingerprint(&json!({ "labels": labels })), "labels": labels, "description": text(wanted, "description"),
        "storageLocations": ["us"], "storageBytes": "0", "storageBytesStatus": "UPDATING", "creationSizeBytes": "0", "downloadBytes": "0",
        "autoCreated": false,
    });
    for field in ["storageLocations", "snapshotType", "locationHint", "chainName"] {
        if let Some(value) = wanted.get(field) {
            put(&mut fields, field, value.clone());
        }
    }
    fields
}

/// `snapshots.get`. Every look brings a snapshot in creation nearer to its end.
pub fn get_snapshot(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let path = state.resolve(&request.path)?;
    look(state, &path);
    state.get(&path).cloned()
}

/// `snapshots.list`, a look at each of them.
pub fn list_snapshots(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let paths: Vec<String> = state.collection(&request.path).map(|(path, _)| path.to_owned()).collect();
    paths.iter().for_each(|path| look(state, path));
    let items = paths.iter().filter_map(|path| state.get(path).ok().cloned()).collect();
    listing::list(request, "snapshot", items)
}

fn look(state: &mut State, path: &str) {
    let Some(looks) = state.snapshot_looks.get_mut(path) else { return };
    if *looks > 0 {
        *looks -= 1;
        return;
    }
    state.snapshot_looks.remove(path);
    if let Some(snapshot) = state.resources.get_mut(path) {
        put(snapshot, "status", json!("READY"));
        put(snapshot, "storageBytes", json!("1234567"));
        put(snapshot, "storageBytesStatus", json!("UP_TO_DATE"));
        put(snapshot, "creationSizeBytes", json!("1234567"));
        put(snapshot, "downloadBytes", json!("1234567"));
    }
}

/// `snapshots.delete`.
pub fn delete_snapshot(state: &mut State, request: &Request<'_>) -> Result<Value, Failure> {
    let path = state.resolve(&request.path)?;
    begin_on(state, request, path, |state, path| {
        state.resources.remove(path);
        state.snapshot_looks.remove(path);
        Ok(())
    })
}
