//! As much of JSON Schema as Discord's description uses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stanch::sandbox::server::Exchange;

/// Discord's description, cut down to what the emulator has (`tests/fixtures/discord/`).
pub struct Specification(Value);

impl Specification {
    pub fn read() -> Self {
        Self(serde_json::from_str(include_str!("../../../fixtures/discord/http_api.json")).expect("JSON"))
    }

    /// Routes by method and path.
    pub fn routes(&self) -> &serde_json::Map<String, Value> {
        self.0["routes"].as_object().expect("routes")
    }

    /// The route of a request below `/api/v10`.
    pub fn route(&self, method: &str, path: &str) -> Option<&String> {
        let path = path.strip_prefix("/api/v10")?;
        let fits = |pattern: &str| {
            let (wanted, given): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
            let same = |(wanted, given): (&&str, &&str)| wanted.starts_with('{') || *wanted == given.replace("%40", "@");
            wanted.len() == given.len() && wanted.iter().zip(&given).all(same)
        };
        let known =
            self.routes().keys().filter(|route| route.split_once(' ').is_some_and(|(known, pattern)| known == method && fits(pattern)));
        // A literal goes before a parameter.
        known.min_by_key(|route| route.matches('{').count())
    }

    /// How a value differs from a schema; places are named from `at` on.
    pub fn differences(&self, value: &Value, schema: &Value, at: &str) -> BTreeSet<String> {
        let mut differences = BTreeSet::new();
        Checker { definitions: &self.0["definitions"], differences: &mut differences }.check(value, schema, at);
        differences
    }

    /// How an answer differs from what is described for its status.
    pub fn answer(&self, route: &str, status: u16, body: &Value) -> BTreeSet<String> {
        match self.0["routes"][route]["answers"].get(status.to_string()) {
            None => [format!("{route} answers {status}?")].into(),
            Some(Value::Null) if body.is_null() => BTreeSet::new(),
            Some(schema) => self.differences(body, schema, route),
        }
    }

    /// How an error differs from what is described.
    pub fn refusal(&self, status: u16, body: &Value) -> BTreeSet<String> {
        let name = if status == 429 { "RatelimitedResponse" } else { "ErrorResponse" };
        self.differences(body, &json!({ "$ref": name }), name)
    }

    /// How requests differ from what is described. Of those that were sent as forms, the wire knows no body.
    pub fn requests(&self, exchanges: &[Exchange]) -> BTreeSet<String> {
        let mut differences = BTreeSet::new();
        for exchange in exchanges.iter().filter(|exchange| exchange.path.starts_with("/api/v10/")) {
            let Some(route) = self.route(&exchange.method, &exchange.path) else {
                differences.insert(format!("{} {}?", exchange.method, exchange.path));
                continue;
            };
            let described = &self.0["routes"][route];
            for name in exchange.query.split('&').filter_map(|pair| pair.split('=').next()).filter(|name| !name.is_empty()) {
                if !described["query"].as_array().expect("names").contains(&json!(name)) {
                    differences.insert(format!("{route} ?{name}"));
                }
            }
            if let Some(body) = exchange.body.as_ref().filter(|body| !body.is_null()) {
                match described.get("body") {
                    Some(schema) => differences.extend(self.differences(body, schema, route)),
                    None => drop(differences.insert(format!("{route} has a body"))),
                }
            }
        }
        differences
    }

    /// Fields that the description gives to a body, at the top.
    pub fn body_fields(&self, route: &str) -> BTreeSet<String> {
        let mut fields = BTreeMap::new();
        self.collect(&self.0["routes"][route]["body"], &mut fields);
        fields.into_keys().collect()
    }

    fn collect(&self, schema: &Value, fields: &mut BTreeMap<String, Value>) {
        if let Some(name) = schema["$ref"].as_str() {
            return self.collect(&self.0["definitions"][name], fields);
        }
        for field in schema["properties"].as_object().into_iter().flatten() {
            fields.insert(field.0.clone(), field.1.clone());
        }
        for choices in ["oneOf", "anyOf", "allOf"] {
            schema[choices].as_array().into_iter().flatten().for_each(|choice| self.collect(choice, fields));
        }
    }
}

struct Checker<'a> {
    definitions: &'a Value,
    differences: &'a mut BTreeSet<String>,
}

impl Checker<'_> {
    fn check(&mut self, value: &Value, schema: &Value, at: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            return self.check(value, &self.definitions[name], at);
        }
        if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            return self.check_one_of(value, choices, at);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            self.check_all_of(value, parts, at);
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        if !kinds.is_empty() && !kinds.iter().any(|kind| is(value, kind)) {
            self.wrong(format!("{at} is no {}", kinds.join(" or ")));
            return;
        }
        if schema.get("const").is_some_and(|constant| constant != value)
            || schema["enum"].as_array().is_some_and(|words| !words.contains(value))
        {
            // Which value it is differs from run to run only where it matters.
            self.wrong(format!("{at} is {value}"));
        }
        if let Some(text) = value.as_str() {
            self.check_size(text.chars().count(), schema, "Length", at);
            let digits =
                |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            if schema["pattern"] == json!("^(0|[1-9][0-9]*)$") && !digits(text) {
                self.wrong(format!("{at} is no id"));
            }
        }
        if let Some(number) = value.as_f64() {
            let beyond = |name: &str, sign: f64| schema[name].as_f64().is_some_and(|bound| (number - bound) * sign > 0.0);
            if beyond("maximum", 1.0) || beyond("minimum", -1.0) {
                self.wrong(format!("{at} is out of bounds"));
            }
        }
        if let Some(elements) = value.as_array() {
            self.check_size(elements.len(), schema, "Items", at);
            elements.iter().for_each(|element| self.check(element, &schema["items"], &format!("{at}[]")));
        }
        self.check_fields(value, schema, at);
    }

    fn check_fields(&mut self, value: &Value, schema: &Value, at: &str) {
        let (Some(fields), true) = (value.as_object(), schema.is_object()) else { return };
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                self.wrong(format!("{at} lacks {name}"));
            }
        }
        for (name, value) in fields {
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(schema), _) => self.check(value, schema, &format!("{at}.{name}")),
                (None, Value::Object(others)) => self.check(value, &Value::Object(others.clone()), &format!("{at}.*")),
                // Where no fields are described, any may be there.
                (None, _) if schema.get("properties").is_some() => self.wrong(format!("{at}.{name}?")),
                (None, _) => {}
            }
        }
    }

    fn check_size(&mut self, size: usize, schema: &Value, what: &str, at: &str) {
        let bound = |name: String| schema[name].as_u64().and_then(|bound| usize::try_from(bound).ok());
        if bound(format!("max{what}")).is_some_and(|most| size > most) || bound(format!("min{what}")).is_some_and(|least| size < least) {
            self.wrong(format!("{at} is too short or too long"));
        }
    }

    /// The alternative with the fewest differences.
    fn check_one_of(&mut self, value: &Value, choices: &[Value], at: &str) {
        let attempts = choices.iter().map(|choice| {
            let mut differences = BTreeSet::new();
            Checker { definitions: self.definitions, differences: &mut differences }.check(value, choice, at);
            // A wrong type of the whole counts more than anything inside.
            let whole = differences.iter().any(|one| one.starts_with(&format!("{at} is no ")) || one.starts_with(&format!("{at}.type is")));
            (whole, differences.len(), differences)
        });
        let best = attempts.min_by_key(|(whole, count, _)| (*whole, *count)).map(|(_, _, differences)| differences);
        self.differences.extend(best.unwrap_or_default());
    }

    /// A field is unknown only if no part knows it.
    fn check_all_of(&mut self, value: &Value, parts: &[Value], at: &str) {
        let found: Vec<BTreeSet<String>> = parts
            .iter()
            .map(|part| {
                let mut differences = BTreeSet::new();
                Checker { definitions: self.definitions, differences: &mut differences }.check(value, part, at);
                differences
            })
            .collect();
        let everywhere = |one: &String| found.iter().all(|differences| differences.contains(one));
        self.differences.extend(found.iter().flatten().filter(|one| !one.ends_with('?') || everywhere(one)).cloned());
    }

    fn wrong(&mut self, difference: String) {
        self.differences.insert(difference);
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("the description knows a type {other}"),
    }
}
