//! Google's own description of the API: which methods there are, and what may be in a request and in an answer.

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;
use serde_json::Value;

/// Trimmed by `tests/fixtures/compute/trim.py`, which says where it is from.
const DOCUMENT: &str = include_str!("discovery.json");

/// Parameters that every method takes. `$alt` and `$apiVersion` are what Google's Rust client sends and the document does not mention.
const COMMON_PARAMETERS: &[&str] = &["alt", "prettyPrint", "key", "quotaUser", "$.xgafv", "$alt", "$apiVersion"];

/// The part of the discovery document that the emulator knows.
#[derive(Debug, Deserialize)]
pub struct Document {
    methods: Vec<Method>,
    schemas: BTreeMap<String, Schema>,
}

/// A method of the API.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Method {
    /// For example `compute.instances.get`.
    pub id: String,
    /// HTTP method.
    pub http_method: String,
    /// Path under `/compute/v1/`, with `{parameters}`.
    pub path: String,
    parameters: BTreeMap<String, Schema>,
    request: Option<Reference>,
    response: Option<Reference>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    #[serde(rename = "$ref")]
    schema: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Schema {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    r#type: Option<Kind>,
    format: Option<String>,
    properties: BTreeMap<String, Schema>,
    additional_properties: Option<Box<Schema>>,
    items: Option<Box<Schema>>,
    r#enum: Vec<String>,
    pattern: Option<String>,
    required: bool,
    minimum: Option<String>,
    maximum: Option<String>,
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    /// Methods whose requests must have the field.
    required: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    String,
    Integer,
    Number,
    Boolean,
    Object,
    Array,
    Any,
}

/// Which way a message goes: the API reads numbers and base64 more leniently than it writes them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way<'a> {
    Request(&'a str),
    Answer,
}

impl Method {
    /// Whether it changes anything.
    pub fn mutates(&self) -> bool {
        self.http_method != "GET" && !self.id.ends_with(".wait") && !self.id.ends_with(".listManagedInstances")
    }

    /// Its own name, `get` of `compute.instances.get`.
    pub fn verb(&self) -> &str {
        self.id.rsplit('.').next().unwrap_or(&self.id)
    }

    /// The parameters in `path`, if it is one of this method.
    fn path_parameters(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let (mut template, mut given) = (self.path.split('/'), path.split('/'));
        let mut parameters = BTreeMap::new();
        loop {
            match (template.next(), given.next()) {
                (None, None) => return Some(parameters),
                (Some(template), Some(given)) => match template.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                    Some(name) => {
                        parameters.insert(name.to_owned(), given.to_owned());
                    }
                    None if template == given => {}
                    None => return None,
                },
                (None, Some(_)) | (Some(_), None) => return None,
            }
        }
    }
}

impl Document {
    /// Reads the document that is part of the program.
    ///
    /// # Errors
    /// If it is not one.
    pub fn load() -> io::Result<Self> {
        serde_json::from_str(DOCUMENT).map_err(io::Error::other)
    }

    /// The method for this path under `/compute/v1/`, and the parameters in it.
    pub fn find(&self, http_method: &str, path: &str) -> Option<(&Method, BTreeMap<String, String>)> {
        let candidates = self.methods.iter().filter(|method| method.http_method == http_method);
        candidates.filter_map(|method| Some((method, method.path_parameters(path)?))).next()
    }

    /// What is wrong with the parameters of a request, path and query together.
    pub fn parameter_problems(&self, method: &Method, given: &BTreeMap<String, String>) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, value) in given {
            match method.parameters.get(name) {
                Some(schema) => self.check_parameter(schema, value, name, &mut problems),
                None if name == "alt" || name == "$alt" => {
                    if value != "json" {
                        problems.push(format!("`{name}` can only be json"));
                    }
                }
                // The document asks for it in its prose about lists without listing it, and gcloud sends it.
                None if name == "returnPartialSuccess" && method.parameters.contains_key("pageToken") => {}
                None if COMMON_PARAMETERS.contains(&name.as_str()) => {}
                None => problems.push(format!("unknown parameter `{name}`")),
            }
        }
        let missing = method.parameters.iter().filter(|(name, schema)| schema.required && !given.contains_key(*name));
        problems.extend(missing.map(|(name, _)| format!("required parameter `{name}` is missing")));
        problems
    }

    /// What is wrong with the body of a request.
    pub fn request_problems(&self, method: &Method, body: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        match &method.request {
            Some(reference) => self.check_reference(&reference.schema, body, "", Way::Request(&method.id), &mut problems),
            None if body.as_object().is_some_and(serde_json::Map::is_empty) => {}
            None => problems.push("this method takes no body".into()),
        }
        problems
    }

    /// What is wrong with an answer.
    pub fn answer_problems(&self, method: &Method, answer: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(reference) = &method.response {
            self.check_reference(&reference.schema, answer, "", Way::Answer, &mut problems);
        }
        problems
    }

    fn check_parameter(&self, schema: &Schema, value: &str, name: &str, problems: &mut Vec<String>) {
        let typed = match schema.r#type {
            // gcloud writes Python's `True` and `False`.
            Some(Kind::Boolean) => value.to_ascii_lowercase().parse().map(Value::Bool).ok(),
            Some(Kind::Integer) => value.parse::<i64>().map(Value::from).ok(),
            Some(Kind::String | Kind::Number | Kind::Object | Kind::Array | Kind::Any) | None => Some(value.into()),
        };
        match typed {
            Some(typed) => self.check(schema, &typed, name, Way::Request(""), problems),
            None => problems.push(format!("`{name}` cannot be `{value}`")),
        }
    }

    fn check_reference(&self, name: &str, value: &Value, at: &str, way: Way<'_>, problems: &mut Vec<String>) {
        match self.schemas.get(name) {
            Some(schema) => self.check(schema, value, at, way, problems),
            None => problems.push(format!("`{at}`: unknown schema {name}")),
        }
    }

    fn check(&self, schema: &Schema, value: &Value, at: &str, way: Way<'_>, problems: &mut Vec<String>) {
        if let Some(reference) = &schema.reference {
            return self.check_reference(reference, value, at, way, problems);
        }
        match (schema.r#type, value) {
            (Some(Kind::Object), Value::Object(fields)) => self.check_object(schema, fields, at, way, problems),
            (Some(Kind::Array), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let at = format!("{at}[{index}]");
                    check_pattern(schema, item, &at, problems);
                    if let Some(items) = &schema.items {
                        self.check(items, item, &at, way, problems);
                    }
                }
            }
            (Some(Kind::String), Value::String(_) | Value::Number(_)) => check_string(schema, value, at, way, problems),
            (Some(Kind::Integer), Value::Number(number)) => check_range(schema, number.as_i64(), at, problems),
            (Some(Kind::Number), Value::Number(_)) | (Some(Kind::Boolean), Value::Bool(_)) | (Some(Kind::Any) | None, _) => {}
            (Some(kind), _) => problems.push(format!("`{at}` must be {kind:?}, not {value}")),
        }
    }

    fn check_object(&self, schema: &Schema, fields: &serde_json::Map<String, Value>, at: &str, way: Way<'_>, problems: &mut Vec<String>) {
        for (name, value) in fields {
            let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            match (schema.properties.get(name), &schema.additional_properties) {
                (Some(property), _) => self.check(property, value, &at, way, problems),
                (None, Some(any)) => self.check(any, value, &at, way, problems),
                (None, None) => problems.push(format!("unknown field `{at}`")),
            }
        }
        if let Way::Request(method) = way {
            let missing = |(name, property): &(&String, &Schema)| {
                property.annotations.required.iter().any(|id| id == method) && !fields.contains_key(*name)
            };
            let at = if at.is_empty() { String::new() } else { format!("{at}.") };
            problems.extend(schema.properties.iter().filter(missing).map(|(name, _)| format!("required field `{at}{name}` is missing")));
        }
    }
}

fn check_string(schema: &Schema, value: &Value, at: &str, way: Way<'_>, problems: &mut Vec<String>) {
    let wide = matches!(schema.format.as_deref(), Some("int64" | "uint64"));
    let text = match value {
        Value::String(text) => text.clone(),
        // Numbers of 64 bits are strings; the API reads them without quotes, too.
        Value::Number(number) if wide && way != Way::Answer => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return problems.push(format!("`{at}` must be a string, not {value}"));
        }
    };
    if wide && text.parse::<i128>().is_err() {
        problems.push(format!("`{at}` must be a number, not `{text}`"));
    }
    if !schema.r#enum.is_empty() && !schema.r#enum.contains(&text) {
        problems.push(format!("`{at}` cannot be `{text}`, only {}", schema.r#enum.join(", ")));
    }
    check_pattern(schema, value, at, problems);
}

fn check_range(schema: &Schema, number: Option<i64>, at: &str, problems: &mut Vec<String>) {
    let bound = |bound: &Option<String>| bound.as_ref().and_then(|bound| bound.parse::<i64>().ok());
    let (low, high) = match schema.format.as_deref() {
        Some("uint32") => (0, i64::from(u32::MAX)),
        Some(_) | None => (i64::from(i32::MIN), i64::from(i32::MAX)),
    };
    let (low, high) = (bound(&schema.minimum).unwrap_or(low), bound(&schema.maximum).unwrap_or(high));
    if number.is_none_or(|number| number < low || number > high) {
        problems.push(format!("`{at}` must be a whole number from {low} to {high}"));
    }
}

fn check_pattern(schema: &Schema, value: &Value, at: &str, problems: &mut Vec<String>) {
    if let (Some(pattern), Some(text)) = (&schema.pattern, value.as_str()) {
        match matches(pattern, text) {
            Some(true) => {}
            Some(false) => problems.push(format!("`{at}` cannot be `{text}`, it must match {pattern}")),
            None => problems.push(format!("`{at}`: the emulator does not know the pattern {pattern}")),
        }
    }
}

/// Whether a text matches one of the few patterns in the document. `None` if it is another pattern.
fn matches(pattern: &str, text: &str) -> Option<bool> {
    let digits = |text: &str, longest: usize| (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let id = |text: &str| digits(text, 20) && !text.starts_with('0');
    let labelled = |text: &str, first: fn(&u8) -> bool, inner: fn(&u8) -> bool| {
        let bytes = text.as_bytes();
        let last = bytes.last().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        bytes.len() <= 63 && bytes.first().is_some_and(first) && last && bytes.iter().all(inner)
    };
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let name = |text: &str| labelled(text, u8::is_ascii_lowercase, inner);
    let address = |text: &str| text.split('.').count() == 4 && text.split('.').all(|part| digits(part, 3));
    Some(match pattern {
        "[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?" => name(text),
        "[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?|[1-9][0-9]{0,19}" => name(text) || id(text),
        "[a-z](?:[-a-z0-9_]{0,61}[a-z0-9])?|[1-9][0-9]{0,19}" => {
            labelled(text, u8::is_ascii_lowercase, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_')) || id(text)
        }
        r"(?:(?:[-a-z0-9]{1,63}\.)*(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?):)?(?:[0-9]{1,19}|(?:[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?))" => {
            let project = text.rsplit_once(':').map_or(text, |(_, project)| project);
            labelled(project, |b| b.is_ascii_lowercase() || b.is_ascii_digit(), inner)
        }
        r"\w[\w.-]{0,254}" => {
            let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            text.len() <= 255 && text.bytes().next().is_some_and(word) && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
        }
        "[a-zA-Z0-9-_]{1,128}" => {
            (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        }
        "tagValues/[0-9]+" => text.strip_prefix("tagValues/").is_some_and(|number| digits(number, text.len())),
        r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}" => address(text),
        r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}/[0-9]{1,2}" => text.split_once('/').is_some_and(|(net, length)| address(net) && digits(length, 2)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::sandbox::compute::routes::ROUTES;

    fn problems(method: &str, path: &str, body: &Value) -> Vec<String> {
        let document = Document::load().unwrap();
        let (method, _) = document.find(method, path).unwrap();
        document.request_problems(method, body)
    }

    #[test]
    fn every_method_of_the_document_is_emulated_and_no_other() {
        let document = Document::load().unwrap();
        let documented: BTreeSet<&str> = document.methods.iter().map(|method| method.id.as_str()).collect();
        let emulated: BTreeSet<&str> = ROUTES.iter().map(|(id, _)| *id).collect();
        assert_eq!(emulated, documented);
    }

    #[test]
    fn every_pattern_of_the_document_is_known() {
        fn visit<'a>(schema: &'a Schema, found: &mut BTreeSet<&'a str>) {
            found.extend(schema.pattern.as_deref());
            schema.properties.values().for_each(|child| visit(child, found));
            schema.items.iter().chain(&schema.additional_properties).for_each(|child| visit(child, found));
        }
        let document = Document::load().unwrap();
        let mut patterns = BTreeSet::new();
        document.schemas.values().for_each(|schema| visit(schema, &mut patterns));
        document.methods.iter().flat_map(|method| method.parameters.values()).for_each(|schema| visit(schema, &mut patterns));
        let unknown: Vec<_> = patterns.into_iter().filter(|pattern| matches(pattern, "x").is_none()).collect();
        assert_eq!(unknown, Vec::<&str>::new());
    }

    #[test]
    fn a_request_body_is_checked_to_the_last_field() {
        let check = |body: Value, expected: &[&str]| assert_eq!(problems("POST", "projects/p/global/firewalls", &body), expected, "{body}");
        check(json!({ "name": "r", "network": "global/networks/n", "denied": [{ "IPProtocol": "tcp" }], "priority": 0 }), &[]);
        check(json!({}), &["required field `name` is missing"]);
        check(json!({ "name": "R" }), &["`name` cannot be `R`, it must match [a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"]);
        check(json!({ "name": "r", "denied": [{ "ipProtocol": "tcp" }] }), &["unknown field `denied[0].ipProtocol`"]);
        check(json!({ "name": "r", "direction": "UP" }), &["`direction` cannot be `UP`, only EGRESS, INGRESS"]);
        check(json!({ "name": "r", "priority": "0" }), &["`priority` must be Integer, not \"0\""]);
    }

    #[test]
    fn parameters_are_checked() {
        let document = Document::load().unwrap();
        let check = |path: &str, query: &[(&str, &str)], expected: &[&str]| {
            let (method, mut parameters) = document.find("POST", path).or_else(|| document.find("GET", path)).unwrap();
            parameters.extend(query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            assert_eq!(document.parameter_problems(method, &parameters), expected, "{path} {query:?}");
        };
        let resize = "projects/p/zones/z/instanceGroupManagers/g/resize";
        check(resize, &[("size", "2"), ("$alt", "json"), ("$apiVersion", "2026-09-01")], &[]);
        check(resize, &[], &["required parameter `size` is missing"]);
        check(resize, &[("size", "two")], &["`size` cannot be `two`"]);
        check(resize, &[("size", "2"), ("sizes", "2")], &["unknown parameter `sizes`"]);
        let snapshot = "projects/p/zones/z/disks/d/createSnapshot";
        check(snapshot, &[("guestFlush", "False")], &[]);
        check(snapshot, &[("guestFlush", "no")], &["`guestFlush` cannot be `no`"]);
        check(snapshot, &[("alt", "proto")], &["`alt` can only be json"]);
        check("projects/p/aggregated/instances", &[("returnPartialSuccess", "True")], &[]);
        check(snapshot, &[("returnPartialSuccess", "True")], &["unknown parameter `returnPartialSuccess`"]);
    }
}
