//! An emulator of Cloud Storage, as far as copies of evidence use it: objects of one bucket through the XML API, and the JSON API's
//! `testPermissions`.
//!
//! # Guarantees
//! Another route, query parameter or `x-goog-` header than these is refused, and kept in [`StorageEmulator::refused`]. A put that may
//! overwrite needs the permission to delete, as with Google.
//!
//! # Caveats
//! Written from Google's reference pages, not from recordings. Authentication is not emulated. Tags of objects are opaque here, where Google's
//! are MD5; there is no checksum header.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::request::Parts;
use axum::http::response::Builder;
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use serde_json::json;
use url::form_urlencoded;

use super::server::{Server, Wire};

const CREATE: &str = "storage.objects.create";
const GET: &str = "storage.objects.get";
const LIST: &str = "storage.objects.list";
const DELETE: &str = "storage.objects.delete";
const MATCH: &str = "x-goog-if-generation-match";

/// A running emulator with one bucket.
#[derive(Debug)]
pub struct StorageEmulator {
    /// The HTTP server, with its request log.
    pub server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    bucket: String,
    objects: BTreeMap<String, Object>,
    granted: BTreeSet<String>,
    generation: u64,
    page: usize,
    sent: BTreeSet<String>,
    refused: Vec<String>,
}

#[derive(Clone, Debug)]
struct Object {
    content: Bytes,
    content_type: String,
    generation: u64,
}

impl StorageEmulator {
    /// Starts with one empty bucket, where everybody may create, get and list. `page` is the length of a listing's page; Google's is 1,000.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn start(bucket: &str, page: usize) -> io::Result<Self> {
        let granted = [CREATE, GET, LIST].map(str::to_owned).into();
        let (objects, sent, refused) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        let state = Arc::new(Mutex::new(State { bucket: bucket.into(), objects, granted, generation: 1_000, page, sent, refused }));
        let router = Router::new().fallback(answer).with_state(state.clone());
        Ok(Self { server: Server::start(Wire::default(), |_| router).await?, state })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Objects by name.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        lock(&self.state).objects.iter().map(|(name, object)| (name.clone(), object.content.clone())).collect()
    }

    /// Grants these permissions on the bucket and no others.
    pub fn grant_only(&self, permissions: &[&str]) {
        lock(&self.state).granted = permissions.iter().map(|permission| (*permission).to_owned()).collect();
    }

    /// Every kind of request that came: method, kind of path, names of its parameters and of its headers.
    #[must_use]
    pub fn sent(&self) -> BTreeSet<String> {
        lock(&self.state).sent.clone()
    }

    /// What this emulator does not know, and so did not do.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        lock(&self.state).refused.clone()
    }

    /// Closes every connection.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(Shared(state): Shared<Arc<Mutex<State>>>, parts: Parts, body: Bytes) -> Response<Body> {
    lock(&state).route(&parts, body)
}

impl State {
    fn route(&mut self, parts: &Parts, body: Bytes) -> Response<Body> {
        let path = parts.uri.path().strip_prefix('/').unwrap_or_default().to_owned();
        let query: Vec<(String, String)> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        if path == format!("storage/v1/b/{}/iam/testPermissions", self.bucket) && parts.method == Method::GET {
            self.note(parts, "testPermissions", &query);
            return self.tested(&query);
        }
        let (bucket, object) = path.split_once('/').unwrap_or((path.as_str(), ""));
        let (bucket, object) = (decoded(bucket), decoded(object));
        self.note(parts, if object.is_empty() { "BUCKET" } else { "BUCKET/OBJECT" }, &query);
        if bucket != self.bucket {
            return failed(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist.");
        }
        let unknown = parts.headers.keys().find(|name| name.as_str().starts_with("x-goog-") && name.as_str() != MATCH);
        match (&parts.method, object.is_empty(), unknown) {
            (&Method::PUT, false, None) if query.is_empty() => self.put(&parts.headers, object, body),
            (&Method::GET, false, None) if query.is_empty() && !parts.headers.contains_key(MATCH) => self.get(&object),
            (&Method::GET, true, None) => self.list(&query),
            _ => self.refuse(parts),
        }
    }

    fn note(&mut self, parts: &Parts, kind: &str, query: &[(String, String)]) {
        let mut parameters: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
        parameters.dedup();
        let mut headers: Vec<&str> = parts.headers.keys().map(|name| name.as_str()).collect();
        headers.sort_unstable();
        self.sent.insert(format!("{} {kind} ?{} {}", parts.method, parameters.join("&"), headers.join(" ")));
    }

    fn refuse(&mut self, parts: &Parts) -> Response<Body> {
        self.refused.push(format!("{} {}", parts.method, parts.uri));
        failed(StatusCode::NOT_IMPLEMENTED, "NotImplemented", "The emulator does not know this request.")
    }

    fn denied(&self, permission: &str) -> Option<Response<Body>> {
        let message = format!("Caller does not have {permission} access to the Google Cloud Storage object.");
        (!self.granted.contains(permission)).then(|| failed(StatusCode::FORBIDDEN, "AccessDenied", &message))
    }

    fn put(&mut self, headers: &HeaderMap, name: String, content: Bytes) -> Response<Body> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let found = self.objects.get(&name).map_or(0, |object| object.generation);
        if let Some(denied) = self.denied(CREATE) {
            return denied;
        }
        match text(MATCH).map(str::parse::<u64>) {
            Some(Ok(wanted)) if wanted == found => {}
            Some(Ok(_)) => {
                let message = "At least one of the pre-conditions you specified did not hold.";
                return failed(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", message);
            }
            Some(Err(_)) => return failed(StatusCode::BAD_REQUEST, "InvalidArgument", "Invalid argument."),
            None => {}
        }
        if let (true, Some(denied)) = (found > 0, self.denied(DELETE)) {
            return denied;
        }
        if text("content-length").and_then(|length| length.parse().ok()) != Some(content.len()) {
            return failed(StatusCode::LENGTH_REQUIRED, "MissingContentLength", "You must provide the Content-Length HTTP header.");
        }
        self.generation = self.generation.saturating_add(1);
        let content_type = text("content-type").unwrap_or("application/octet-stream").to_owned();
        let object = Object { content, content_type, generation: self.generation };
        let response = described(&object).header(header::CONTENT_LENGTH, "0");
        self.objects.insert(name, object);
        finished(response, Body::empty())
    }

    fn get(&self, name: &str) -> Response<Body> {
        match (self.denied(GET), self.objects.get(name)) {
            (Some(denied), _) => denied,
            (None, None) => failed(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist."),
            (None, Some(object)) => finished(
                described(object).header(header::CONTENT_TYPE, object.content_type.as_str()).header(header::LAST_MODIFIED, LAST_MODIFIED),
                Body::from(object.content.clone()),
            ),
        }
    }

    fn list(&mut self, query: &[(String, String)]) -> Response<Body> {
        let parameter = |name: &str| query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let known = ["list-type", "prefix", "continuation-token"];
        if parameter("list-type") != Some("2") || query.iter().any(|(name, _)| !known.contains(&name.as_str())) {
            self.refused.push(format!("list {query:?}"));
            return failed(StatusCode::BAD_REQUEST, "InvalidArgument", "Invalid argument.");
        }
        if let Some(denied) = self.denied(LIST) {
            return denied;
        }
        let (prefix, after) = (parameter("prefix").unwrap_or_default(), parameter("continuation-token"));
        let mut found = self.objects.iter().filter(|(name, _)| name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after));
        let page: Vec<_> = found.by_ref().take(self.page).collect();
        let mut xml = format!(
            "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'><Name>{}</Name>",
            self.bucket
        );
        for (name, object) in &page {
            let _ = write!(
                xml,
                "<Contents><Key>{}</Key><Generation>{}</Generation><LastModified>2026-11-23T12:00:00.000Z</LastModified><ETag>\"{}\"</ETag><Size>{}</Size></Contents>",
                escaped(name),
                object.generation,
                object.generation,
                object.content.len()
            );
        }
        let more = found.next().is_some();
        if let (true, Some((last, _))) = (more, page.last()) {
            let _ = write!(xml, "<NextContinuationToken>{}</NextContinuationToken>", escaped(last));
        }
        let _ = write!(xml, "<IsTruncated>{more}</IsTruncated></ListBucketResult>");
        finished(Response::builder().header(header::CONTENT_TYPE, "application/xml; charset=UTF-8"), Body::from(xml))
    }

    fn tested(&self, query: &[(String, String)]) -> Response<Body> {
        let asked = query.iter().filter(|(name, _)| name == "permissions").map(|(_, permission)| permission);
        let granted: Vec<&String> = asked.filter(|permission| self.granted.contains(*permission)).collect();
        // Google leaves the list out where it would be empty.
        let body = match granted.is_empty() {
            true => json!({ "kind": "storage#testIamPermissionsResponse" }),
            false => json!({ "kind": "storage#testIamPermissionsResponse", "permissions": granted }),
        };
        finished(Response::builder().header(header::CONTENT_TYPE, "application/json; charset=UTF-8"), Body::from(body.to_string()))
    }
}

/// When everything in the bucket was written: nothing here depends on it.
const LAST_MODIFIED: &str = "Mon, 23 Nov 2026 12:00:00 GMT";

fn described(object: &Object) -> Builder {
    Response::builder().header(header::ETAG, format!("\"{}\"", object.generation)).header("x-goog-generation", object.generation)
}

fn finished(response: Builder, body: Body) -> Response<Body> {
    response.body(body).unwrap_or_default()
}

fn failed(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let xml = format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{}</Message></Error>", escaped(message));
    finished(Response::builder().status(status).header(header::CONTENT_TYPE, "application/xml; charset=UTF-8"), Body::from(xml))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Percent-decoded; a plus sign is one.
fn decoded(path: &str) -> String {
    let plus = path.replace('+', "%2B");
    form_urlencoded::parse(plus.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}
