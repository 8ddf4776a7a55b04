//! Label and field selectors, as query text and as objects.

use serde_json::Value;

use super::failure::Failure;
use super::object::{at, entries, items, text};
use super::resources::{EVENTS, NAMESPACES, NODES, PODS, Resource, SECRETS};

/// A conjunction of requirements on labels. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

/// A conjunction of comparisons of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<(String, bool, String)>);

impl LabelSelector {
    /// Reads a query parameter: `a`, `!a`, `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a>1`, `a<1`, joined by commas.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn parse(query: &str) -> Result<Self, Failure> {
        let unreadable =
            |part: &str| Failure::bad_request(format!("unable to parse requirement: found '{part}', expected: an operator or a key"));
        let requirements = split_outside_parentheses(query).into_iter().map(str::trim).filter(|part| !part.is_empty());
        let read = requirements.map(|part| Requirement::parse(part).ok_or_else(|| unreadable(part)));
        read.collect::<Result<_, _>>().map(Self)
    }

    /// Reads `matchLabels` and `matchExpressions`. `None` if it is absent, which for most owners means that it selects nothing.
    pub fn from_object(selector: &Value) -> Option<Self> {
        selector.as_object()?;
        let labels = entries(selector, &["matchLabels"]).map(|(key, value)| Requirement::one_of(key, value));
        let expressions = items(selector, &["matchExpressions"]).iter().filter_map(Requirement::from_expression);
        Some(Self(labels.chain(expressions).collect()))
    }

    /// Reads a plain map, as the selector of a Service.
    pub fn from_map(selector: &Value) -> Self {
        Self(entries(selector, &[]).map(|(key, value)| Requirement::one_of(key, value)).collect())
    }

    /// Whether it has no requirement.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the object's labels meet it.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = at(object, &["metadata", "labels"]);
        self.0.iter().all(|requirement| requirement.matches(labels.get(&requirement.key).and_then(Value::as_str)))
    }
}

impl Requirement {
    fn one_of(key: &str, value: &Value) -> Self {
        Self { key: key.into(), test: Test::In(vec![value.as_str().unwrap_or_default().into()]) }
    }

    fn parse(part: &str) -> Option<Self> {
        let listed = |word: &str| {
            let (key, rest) = part.split_once(word)?;
            let values = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
            Some((key, values.split(',').map(|v| v.trim().to_owned()).collect()))
        };
        let numbered = |sign: char| part.split_once(sign).and_then(|(key, n)| Some((key, n.trim().parse().ok()?)));
        let (key, test) = if let Some(key) = part.strip_prefix('!') {
            (key, Test::Absent)
        } else if let Some((key, values)) = listed(" notin ") {
            (key, Test::NotIn(values))
        } else if let Some((key, values)) = listed(" in ") {
            (key, Test::In(values))
        } else if let Some((key, value)) = part.split_once("!=") {
            (key, Test::NotIn(vec![value.trim().into()]))
        } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            (key, Test::In(vec![value.trim().into()]))
        } else if let Some((key, n)) = numbered('>') {
            (key, Test::Above(n))
        } else if let Some((key, n)) = numbered('<') {
            (key, Test::Below(n))
        } else {
            (part, Test::Exists)
        };
        let key = key.trim();
        let well_formed = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        well_formed.then(|| Self { key: key.into(), test })
    }

    fn from_expression(expression: &Value) -> Option<Self> {
        let values = || items(expression, &["values"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let test = match text(expression, &["operator"]) {
            "Exists" => Test::Exists,
            "DoesNotExist" => Test::Absent,
            "In" => Test::In(values()),
            "NotIn" => Test::NotIn(values()),
            _ => return None,
        };
        Some(Self { key: text(expression, &["key"]).into(), test })
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(values) => value.is_some_and(|v| values.iter().any(|w| w == v)),
            Test::NotIn(values) => value.is_none_or(|v| values.iter().all(|w| w != v)),
            Test::Above(limit) => number().is_some_and(|n| n > *limit),
            Test::Below(limit) => number().is_some_and(|n| n < *limit),
        }
    }
}

impl FieldSelector {
    /// Reads a query parameter: `field=value`, `field==value`, `field!=value`, joined by commas.
    ///
    /// # Errors
    /// 400 if it cannot be read, or names a field that the resource cannot be selected by.
    pub fn parse(resource: &Resource, query: &str) -> Result<Self, Failure> {
        let mut comparisons = Vec::new();
        for part in query.split(',').filter(|part| !part.is_empty()) {
            let (field, equal, value) = if let Some((field, value)) = part.split_once("!=") {
                (field, false, value)
            } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (field, true, value)
            } else {
                return Err(Failure::bad_request(format!("invalid selector: '{query}'; can't understand '{part}'")));
            };
            if !selectable(resource, field) {
                return Err(Failure::bad_request(format!("field label not supported: {field}")));
            }
            comparisons.push((field.to_owned(), equal, value.to_owned()));
        }
        Ok(Self(comparisons))
    }

    /// Whether the object's fields meet it.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, equal, wanted)| {
            let path: Vec<&str> = field.split('.').collect();
            let found = match at(object, &path) {
                Value::String(text) => text.clone(),
                Value::Null if field == "spec.unschedulable" || field == "spec.hostNetwork" => "false".into(),
                Value::Null => String::new(),
                other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
            };
            (found == *wanted) == *equal
        })
    }
}

fn selectable(resource: &Resource, field: &str) -> bool {
    let is = |other| resource.is(other);
    match field {
        "metadata.name" => true,
        "metadata.namespace" => resource.namespaced,
        "spec.nodeName" | "spec.restartPolicy" | "spec.schedulerName" | "spec.serviceAccountName" | "spec.hostNetwork" | "status.podIP" => {
            is(&PODS)
        }
        "status.phase" => is(&PODS) || is(&NAMESPACES),
        "spec.unschedulable" => is(&NODES),
        "type" => is(&EVENTS) || is(&SECRETS),
        "reason" | "reportingComponent" | "source" => is(&EVENTS),
        _ => is(&EVENTS) && field.strip_prefix("involvedObject.").is_some_and(|f| EVENT_FIELDS.contains(&f)),
    }
}

const EVENT_FIELDS: &[&str] = &["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];

fn split_outside_parentheses(query: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    query
        .split(|c: char| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            c == ',' && depth == 0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_of_a_label_selector() {
        let object = json!({ "metadata": { "labels": { "app": "cart", "tier": "2", "example.com/team": "shop" } } });
        let matches = |query: &str| LabelSelector::parse(query).map(|s| s.matches(&object)).ok();
        for yes in [
            "",
            "app",
            "!quarantine",
            "app=cart",
            "app==cart",
            "app!=web",
            "app in (web, cart)",
            "app notin (web)",
            "missing notin (x)",
            "tier>1",
            "tier<3",
            "app=cart,tier=2,!quarantine",
            "example.com/team=shop",
            "app in (cart),tier notin (3,4)",
        ] {
            assert_eq!(matches(yes), Some(true), "{yes}");
        }
        for no in ["!app", "missing", "app=web", "app!=cart", "app in (web)", "app notin (cart,web)", "tier>2", "app=cart,quarantine"] {
            assert_eq!(matches(no), Some(false), "{no}");
        }
        for unreadable in ["app in cart", "=cart", "a b"] {
            assert_eq!(matches(unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn field_selectors_know_their_fields() {
        let pod = json!({ "metadata": { "name": "a" }, "spec": { "nodeName": "n" }, "status": { "phase": "Running" } });
        let matches = |query: &str| FieldSelector::parse(&PODS, query).map(|s| s.matches(&pod)).ok();
        assert_eq!(matches("spec.nodeName=n,status.phase!=Failed"), Some(true));
        assert_eq!(matches("metadata.name=b"), Some(false));
        assert_eq!(matches("spec.hostNetwork=false"), Some(true));
        assert_eq!(matches("spec.containers=x"), None);
        assert_eq!(matches("nonsense"), None);
    }
}
