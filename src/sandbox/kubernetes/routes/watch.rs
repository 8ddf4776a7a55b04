//! Watches: history as chunked lines of JSON, then whatever happens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::read::{Selection, include};
use super::request::{Form, Query, Target};
use super::{Answer, Api, Call};
use crate::sandbox::kubernetes::cluster::State;
use crate::sandbox::kubernetes::failure::Failure;
use crate::sandbox::kubernetes::object::put;
use crate::sandbox::kubernetes::resources::Resource;
use crate::sandbox::kubernetes::store::Change;
use crate::sandbox::kubernetes::table::{Include, metadata_only, table};

/// How long a watch lasts that does not say: within the half hour to the hour of the real server.
const TIMEOUT_S: u64 = 1800;

/// How often a quiet watch says where it is, if the client wants to know.
const BOOKMARK: Duration = Duration::from_secs(60);

struct Watch {
    api: Api,
    changes: Receiver<u64>,
    resource: &'static Resource,
    selection: Selection,
    form: Form,
    include: Include,
    bookmarks: bool,
    /// Up to here everything was told.
    version: u64,
    /// What is there when the watch starts, if the client wants it.
    initial: Option<Vec<Arc<Value>>>,
    end_of_initial: bool,
    columns_sent: bool,
    until: Instant,
}

/// `GET` of a collection with `watch=true`.
pub fn watch(api: &Api, call: &Call, target: &Target<'_>, query: &Query) -> Answer {
    let selection = Selection::parse(target, query)?;
    let form = Form::negotiate(&call.parts)?;
    let changes = api.cluster.changes();
    let from = query.number("resourceVersion")?.unwrap_or_default();
    let wants_initial = match query.get("sendInitialEvents") {
        Some(wish) => wish == "true",
        None => from == 0,
    };
    let (version, initial) = api.cluster.read(|state| {
        let objects = || state.store.list(target.resource, target.namespace).filter(|object| selection.covers(object)).cloned().collect();
        if wants_initial { (state.store.version(), Some(objects())) } else { (from, None) }
    });
    let timeout = Duration::from_secs(query.number("timeoutSeconds")?.unwrap_or(TIMEOUT_S));
    let watch = Watch {
        api: api.clone(),
        changes,
        resource: target.resource,
        selection,
        form,
        include: include(query)?,
        bookmarks: query.flag("allowWatchBookmarks"),
        version,
        initial,
        end_of_initial: query.flag("sendInitialEvents"),
        columns_sent: false,
        until: Instant::now() + timeout,
    };
    let lines = futures::stream::unfold(Some(watch), |watch| async move { watch?.next().await });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

type Chunk = (Result<Bytes, Infallible>, Option<Watch>);

impl Watch {
    /// The next lines, and the watch as it goes on; `None` at its end.
    async fn next(mut self) -> Option<Chunk> {
        if let Some(initial) = self.initial.take() {
            let now = self.api.cluster.read(State::now);
            let mut lines: String = initial.iter().map(|object| self.line("ADDED", object, now)).collect();
            if self.end_of_initial {
                lines.push_str(&self.bookmark(true));
            }
            if !lines.is_empty() {
                return Some((Ok(lines.into()), Some(self)));
            }
        }
        loop {
            self.changes.mark_unchanged();
            let (changes, now) = self.api.cluster.read(|state| (state.store.changes_since(self.version), state.now()));
            let lines = match changes {
                Ok(changes) => self.tell(&changes, now),
                Err(oldest) => {
                    let error = json!({ "type": "ERROR", "object": Failure::expired(self.version, oldest).status() });
                    return Some((Ok(format!("{error}\n").into()), None));
                }
            };
            if !lines.is_empty() {
                return Some((Ok(lines.into()), Some(self)));
            }
            let quiet = (Instant::now() + BOOKMARK).min(self.until);
            let stop = self.api.stop.clone();
            tokio::select! {
                () = stop.cancelled() => return None,
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep_until(quiet) => {
                    let over = Instant::now() >= self.until;
                    if self.bookmarks {
                        let bookmark = self.bookmark(false);
                        return Some((Ok(bookmark.into()), (!over).then_some(self)));
                    }
                    if over {
                        return None;
                    }
                }
            }
        }
    }

    fn tell(&mut self, changes: &[Change], now: Timestamp) -> String {
        let mut lines = String::new();
        for change in changes {
            self.version = change.version;
            if !change.key.is(self.resource) {
                continue;
            }
            let covered = |object: &Option<Arc<Value>>| object.as_ref().is_some_and(|object| self.selection.covers(object));
            match (covered(&change.before), covered(&change.after), &change.before, &change.after) {
                (false, true, _, Some(after)) => lines.push_str(&self.line("ADDED", after, now)),
                (true, true, _, Some(after)) => lines.push_str(&self.line("MODIFIED", after, now)),
                (true, false, Some(before), _) => {
                    let mut last = Value::clone(before);
                    put(&mut last, &["metadata", "resourceVersion"], change.version.to_string());
                    lines.push_str(&self.line("DELETED", &last, now));
                }
                _ => {}
            }
        }
        lines
    }

    fn line(&mut self, kind: &str, object: &Value, now: Timestamp) -> String {
        let object = match self.form {
            Form::Object => object.clone(),
            Form::Metadata => metadata_only(object),
            Form::Table => {
                let with_columns = !std::mem::replace(&mut self.columns_sent, true);
                table(self.resource, [object], self.include, with_columns, now)
            }
        };
        format!("{}\n", json!({ "type": kind, "object": object }))
    }

    fn bookmark(&self, end_of_initial: bool) -> String {
        let mut object = match self.form {
            Form::Object => json!({ "kind": self.resource.kind, "apiVersion": self.resource.api_version() }),
            Form::Metadata => metadata_only(&Value::Null),
            Form::Table => table(self.resource, [], self.include, false, Timestamp::UNIX_EPOCH),
        };
        put(&mut object, &["metadata"], json!({ "resourceVersion": self.version.to_string(), "creationTimestamp": null }));
        if end_of_initial {
            put(&mut object, &["metadata", "annotations", "k8s.io/initial-events-end"], "true");
        }
        format!("{}\n", json!({ "type": "BOOKMARK", "object": object }))
    }
}
