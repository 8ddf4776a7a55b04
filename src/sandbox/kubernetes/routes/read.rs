//! Reading one object, and lists in pages.

use std::sync::Arc;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::request::{Form, Query, Target};
use super::{Answer, Api, Call, json};
use crate::sandbox::kubernetes::failure::Failure;
use crate::sandbox::kubernetes::object::{at, name, namespace, number, put, take, text};
use crate::sandbox::kubernetes::resources::Resource;
use crate::sandbox::kubernetes::selectors::{FieldSelector, LabelSelector};
use crate::sandbox::kubernetes::table::{Include, metadata_only, table};

/// Which objects of a resource are meant.
#[derive(Clone, Debug)]
pub struct Selection {
    /// One namespace, or all.
    pub namespace: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// Reads namespace and selectors.
    pub fn parse(target: &Target<'_>, query: &Query) -> Result<Self, Failure> {
        Ok(Self {
            namespace: target.namespace.map(str::to_owned),
            labels: LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?,
            fields: FieldSelector::parse(target.resource, query.get("fieldSelector").unwrap_or_default())?,
        })
    }

    /// Whether the object is meant.
    pub fn covers(&self, object: &Value) -> bool {
        let here = self.namespace.as_deref().is_none_or(|ns| ns == namespace(object));
        here && self.labels.matches(object) && self.fields.matches(object)
    }
}

/// What a row of a table carries.
pub fn include(query: &Query) -> Result<Include, Failure> {
    match query.get("includeObject") {
        None | Some("Metadata") => Ok(Include::Metadata),
        Some("None") => Ok(Include::None),
        Some("Object") => Ok(Include::Object),
        Some(other) => Err(Failure::bad_request(format!("unrecognized includeObject value: {other:?}"))),
    }
}

/// One object in the form that the client wants.
pub fn present(api: &Api, call: &Call, resource: &Resource, status: StatusCode, object: &Value) -> Answer {
    let body = match Form::negotiate(&call.parts)? {
        Form::Object => object.clone(),
        Form::Metadata => metadata_only(object),
        Form::Table => {
            let now = api.cluster.read(super::super::cluster::State::now);
            let mut row = table(resource, [object], Include::Metadata, true, now);
            put(&mut row, &["metadata", "resourceVersion"], at(object, &["metadata", "resourceVersion"]).clone());
            row
        }
    };
    Ok(json(status, &body))
}

/// `GET` of an object or of its status.
pub fn get(api: &Api, call: &Call, target: &Target<'_>, wanted: &str) -> Answer {
    let found = api.cluster.read(|state| state.store.get(target.resource, target.ns(), wanted).cloned());
    let object = found.ok_or_else(|| Failure::not_found(target.resource, wanted))?;
    present(api, call, target.resource, StatusCode::OK, &object)
}

/// `GET` of a collection.
pub fn list(api: &Api, call: &Call, target: &Target<'_>, query: &Query) -> Answer {
    let selection = Selection::parse(target, query)?;
    let form = Form::negotiate(&call.parts)?;
    let limit = query.number("limit")?.filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let after = query.get("continue").map(read_token).transpose()?;
    let (mut objects, version, now) = api.cluster.read(|state| {
        let all = state.store.list(target.resource, target.namespace).filter(|object| selection.covers(object));
        (all.cloned().collect::<Vec<Arc<Value>>>(), state.store.version(), state.now())
    });
    let version = after.as_ref().map_or(version, |(version, _)| *version);
    if let Some((_, last)) = &after {
        objects.retain(|object| place(object) > *last);
    }
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if objects.len() > limit {
        put(&mut metadata, &["remainingItemCount"], objects.len() - limit);
        objects.truncate(limit);
        put(&mut metadata, &["continue"], objects.last().map(|last| write_token(version, last)));
    }
    let mut body = match form {
        Form::Table => table(target.resource, objects.iter().map(Arc::as_ref), include(query)?, true, now),
        Form::Metadata => {
            let items: Vec<Value> = objects.iter().map(|object| metadata_only(object)).collect();
            json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": items })
        }
        Form::Object => {
            let items: Vec<Value> = objects.into_iter().map(|object| without_kind(Arc::unwrap_or_clone(object))).collect();
            json!({ "kind": format!("{}List", target.resource.kind), "apiVersion": target.resource.api_version(), "items": items })
        }
    };
    put(&mut body, &["metadata"], metadata);
    Ok(json(StatusCode::OK, &body))
}

/// Items of a list do not repeat what the list says.
pub fn without_kind(mut object: Value) -> Value {
    take(&mut object, &["kind"]);
    take(&mut object, &["apiVersion"]);
    object
}

fn place(object: &Value) -> (String, String) {
    (namespace(object).to_owned(), name(object).to_owned())
}

fn write_token(version: u64, last: &Value) -> String {
    let (namespace, name) = place(last);
    URL_SAFE_NO_PAD.encode(json!({ "v": "meta.k8s.io/v1", "rv": version, "namespace": namespace, "name": name }).to_string())
}

fn read_token(token: &str) -> Result<(u64, (String, String)), Failure> {
    let unreadable = || Failure::bad_request("continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| unreadable())?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
    let version = u64::try_from(number(&token, &["rv"])).map_err(|_| unreadable())?;
    if !at(&token, &["name"]).is_string() {
        return Err(unreadable());
    }
    Ok((version, (text(&token, &["namespace"]).into(), text(&token, &["name"]).into())))
}
