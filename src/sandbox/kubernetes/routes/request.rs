//! What a request asks for, read from its path, query and headers. Everything unknown is refused here.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::{Method, header, request::Parts};
use serde_json::Value;

use crate::sandbox::kubernetes::failure::Failure;
use crate::sandbox::kubernetes::resources::{self, Resource, Subresource};

/// What is meant by a path.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The resource.
    pub resource: &'static Resource,
    /// Its namespace; `None` for cluster-scoped resources and for all namespaces.
    pub namespace: Option<&'a str>,
    /// The object; `None` for the collection.
    pub name: Option<&'a str>,
    /// What is below the object.
    pub subresource: Option<&'static Subresource>,
}

/// The form in which a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Whole objects.
    Object,
    /// Metadata only.
    Metadata,
    /// Rows and columns.
    Table,
}

/// The query, with every parameter known.
#[derive(Clone, Debug, Default)]
pub struct Query(BTreeMap<String, String>);

/// Parameters that read requests take.
pub const READ: &[&str] = &["pretty", "resourceVersion", "includeObject"];
/// Parameters that lists and watches take.
pub const LIST: &[&str] = &[
    "pretty",
    "resourceVersion",
    "resourceVersionMatch",
    "includeObject",
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "sendInitialEvents",
    "timeoutSeconds",
    "timeout",
    "watch",
];
/// Parameters that writes take.
pub const WRITE: &[&str] = &["pretty", "dryRun", "fieldManager", "fieldValidation", "force"];
/// Parameters that deletions take.
pub const DELETE: &[&str] =
    &["pretty", "dryRun", "gracePeriodSeconds", "propagationPolicy", "fieldSelector", "labelSelector", "limit", "continue"];
/// Parameters that logs take.
pub const LOG: &[&str] = &[
    "pretty",
    "container",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "tailLines",
    "timestamps",
];
/// Parameters that discovery takes.
pub const DISCOVERY: &[&str] = &["timeout", "pretty", "hash"];

impl<'a> Target<'a> {
    /// Reads the path below `/api/v1` or `/apis/GROUP/VERSION`.
    ///
    /// # Errors
    /// 404 for a path that does not exist.
    pub fn parse(group: &str, version: &str, rest: &[&'a str]) -> Result<Self, Failure> {
        let find = |plural: &str| resources::find(group, version, plural).ok_or_else(Failure::unknown_route);
        let (resource, namespace, rest) = match rest {
            ["namespaces", ns, plural, rest @ ..] if resources::find(group, version, plural).is_some_and(|r| r.namespaced) => {
                (find(plural)?, Some(*ns), rest)
            }
            [plural, rest @ ..] => (find(plural)?, None, rest),
            [] => return Err(Failure::unknown_route()),
        };
        let (name, subresource) = match rest {
            [] => (None, None),
            [name] => (Some(*name), None),
            [name, sub] => {
                let known = resource.subresources.iter().find(|known| known.name == *sub);
                (Some(*name), Some(known.ok_or_else(Failure::unknown_route)?))
            }
            _ => return Err(Failure::unknown_route()),
        };
        if resource.namespaced && namespace.is_none() && name.is_some() {
            return Err(Failure::unknown_route());
        }
        Ok(Self { resource, namespace, name, subresource })
    }

    /// The namespace, empty for cluster-scoped resources.
    pub fn ns(&self) -> &'a str {
        self.namespace.unwrap_or_default()
    }

    /// What the method means here; empty if it means nothing.
    pub fn verb(&self, method: &Method, watches: bool) -> &'static str {
        match (method, self.name) {
            (&Method::GET, Some(_)) => "get",
            (&Method::GET, None) if watches => "watch",
            (&Method::GET, None) => "list",
            (&Method::POST, None) => "create",
            (&Method::POST, Some(_)) if self.subresource.is_some() => "create",
            (&Method::PUT, Some(_)) => "update",
            (&Method::PATCH, Some(_)) => "patch",
            (&Method::DELETE, Some(_)) => "delete",
            (&Method::DELETE, None) => "deletecollection",
            _ => "",
        }
    }

    /// Checks that the method exists here.
    ///
    /// # Errors
    /// 405.
    pub fn allow(&self, method: &Method, query: &Query) -> Result<(), Failure> {
        let verb = self.verb(method, query.flag("watch"));
        let verbs = self.subresource.map_or(self.resource.verbs, |sub| sub.verbs);
        let writes_all_namespaces = self.resource.namespaced && self.namespace.is_none() && !matches!(verb, "list" | "watch");
        if writes_all_namespaces || !verbs.contains(&verb) { Err(Failure::method_not_allowed()) } else { Ok(()) }
    }
}

impl Query {
    /// Reads the query.
    ///
    /// # Errors
    /// 400 for a parameter that is not among `known`, or that is given twice.
    pub fn parse(raw: Option<&str>, known: &[&str]) -> Result<Self, Failure> {
        let mut all = BTreeMap::new();
        for (key, value) in url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            if !known.contains(&key.as_ref()) {
                return Err(Failure::bad_request(format!("unknown query parameter \"{key}\"")));
            }
            if all.insert(key.to_string(), value.into_owned()).is_some() {
                return Err(Failure::bad_request(format!("query parameter \"{key}\" is given twice")));
            }
        }
        Ok(Self(all))
    }

    /// A parameter that was given and is not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a parameter says yes.
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1"))
    }

    /// A numeric parameter.
    ///
    /// # Errors
    /// 400 for one that is no number.
    pub fn number(&self, key: &str) -> Result<Option<u64>, Failure> {
        let read =
            |text: &str| text.parse().map_err(|_| Failure::bad_request(format!("query parameter \"{key}\": \"{text}\" is not a number")));
        self.get(key).map(read).transpose()
    }

    /// Whether nothing shall be kept.
    ///
    /// # Errors
    /// 400 for any value but `All`.
    pub fn dry_run(&self) -> Result<bool, Failure> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(Failure::bad_request(format!("dryRun: Unsupported value: \"{other}\": supported values: \"All\""))),
        }
    }
}

impl Form {
    /// The first form that the client accepts and the emulator has.
    ///
    /// # Errors
    /// 406 if there is none.
    pub fn negotiate(parts: &Parts) -> Result<Self, Failure> {
        let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
        let form = |range: &str| {
            let mut pieces = range.split(';').map(str::trim);
            if !matches!(pieces.next(), Some("application/json" | "application/*" | "*/*")) {
                return None;
            }
            let parameters: BTreeMap<&str, &str> = pieces.filter_map(|piece| piece.split_once('=')).collect();
            match (parameters.get("as").copied(), parameters.get("v").copied()) {
                (None, _) => Some(Self::Object),
                (Some("Table"), Some("v1")) => Some(Self::Table),
                (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("v1")) => Some(Self::Metadata),
                (Some(_), _) => None,
            }
        };
        accept.split(',').find_map(form).ok_or_else(Failure::not_acceptable)
    }
}

/// The JSON body, `null` if there is none.
///
/// # Errors
/// 400 for a body that is no JSON, 415 for another content type than JSON.
pub fn json_body(parts: &Parts, body: &Bytes) -> Result<Value, Failure> {
    let media = content_type(parts);
    if body.is_empty() {
        return Ok(Value::Null);
    }
    if !matches!(media.split(';').next().unwrap_or_default(), "" | "application/json") {
        return Err(Failure::unsupported_media_type("application/json"));
    }
    parse_json(body)
}

/// A body as JSON, whatever it says that it is.
///
/// # Errors
/// 400 for a body that is no JSON.
pub fn parse_json(body: &Bytes) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::bad_request(format!("the body is not valid JSON: {error}")))
}

/// The content type, empty if there is none.
pub fn content_type(parts: &Parts) -> &str {
    parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
