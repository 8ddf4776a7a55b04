//! Lists: filters and pages.

use serde_json::{Map, Value, json};

use super::api::Request;
use super::failure::Failure;
use super::links;

/// Results on a page if the client does not say, which is Google's number.
const DEFAULT_RESULTS: usize = 500;

/// A comparison of a filter.
#[derive(Debug, PartialEq, Eq)]
struct Condition {
    /// Path of the field.
    field: Vec<String>,
    /// Whether the value must be there (or must not).
    wanted: bool,
    value: String,
}

/// A page of a list, as most methods answer it.
pub fn list(request: &Request<'_>, kind: &str, items: Vec<Value>) -> Result<Value, Failure> {
    let (items, next) = page(request, items)?;
    let mut list = frame(request, &format!("{kind}List"), next);
    if !items.is_empty() {
        list.insert("items".into(), items.into());
    }
    Ok(list.into())
}

/// A page of an aggregated list: items by zone or region.
pub fn aggregated(request: &Request<'_>, kind: &str, field: &str, items: Vec<Value>) -> Result<Value, Failure> {
    let (items, next) = page(request, items)?;
    let mut scopes = Map::new();
    for item in items {
        let path = links::path(item.get("selfLink").and_then(Value::as_str).unwrap_or_default());
        let scope = path.split('/').skip(2).take(2).collect::<Vec<_>>().join("/");
        let scope = scopes.entry(scope).or_insert_with(|| json!({ field: [] }));
        if let Some(list) = scope.get_mut(field).and_then(Value::as_array_mut) {
            list.push(item);
        }
    }
    let mut list = frame(request, &format!("{kind}AggregatedList"), next);
    list.insert("items".into(), scopes.into());
    Ok(list.into())
}

/// The items of one page, and the token of the next one.
pub fn page(request: &Request<'_>, items: Vec<Value>) -> Result<(Vec<Value>, Option<String>), Failure> {
    let conditions = parse_filter(request.parameter("filter")).ok_or_else(|| {
        Failure::invalid(
            "filter",
            request.parameter("filter"),
            "The Compute emulator knows `FIELD = VALUE` (also `!=`, `eq`, `ne`, `:`) and AND.",
        )
    })?;
    if !matches!(request.parameter("orderBy"), "" | "name") {
        return Err(Failure::invalid("orderBy", request.parameter("orderBy"), "The Compute emulator orders by name only."));
    }
    let from = match request.parameter("pageToken") {
        "" => 0,
        token => token.parse::<usize>().map_err(|_| Failure::invalid("pageToken", token, "It is not a token of this list."))?,
    };
    let results = request.parameter("maxResults").parse::<usize>().ok().filter(|results| *results > 0).unwrap_or(DEFAULT_RESULTS);
    let chosen: Vec<Value> = items.into_iter().filter(|item| conditions.iter().all(|condition| condition.holds(item))).collect();
    let next = from.checked_add(results).filter(|next| *next < chosen.len()).map(|next| next.to_string());
    Ok((chosen.into_iter().skip(from).take(results).collect(), next))
}

fn frame(request: &Request<'_>, kind: &str, next: Option<String>) -> Map<String, Value> {
    let mut frame = Map::new();
    frame.insert("kind".into(), json!(format!("compute#{kind}")));
    frame.insert("id".into(), json!(request.path));
    frame.insert("selfLink".into(), json!(links::link(&request.path)));
    if let Some(next) = next {
        frame.insert("nextPageToken".into(), json!(next));
    }
    frame
}

impl Condition {
    fn holds(&self, item: &Value) -> bool {
        found(item, &self.field, &self.value) == self.wanted
    }
}

/// Whether a field, or one of the values in it, is this one.
fn found(item: &Value, field: &[String], value: &str) -> bool {
    match (item, field.split_first()) {
        (Value::Array(items), _) => items.iter().any(|item| found(item, field, value)),
        (Value::Object(fields), Some((first, rest))) => fields.get(first).is_some_and(|item| found(item, rest, value)),
        (Value::String(text), None) => text == value,
        (Value::Bool(flag), None) => value == if *flag { "true" } else { "false" },
        (Value::Number(number), None) => number.as_i64().is_some_and(|number| value.parse() == Ok(number)),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_), _) => false,
    }
}

/// The comparisons of a filter, all of which must hold. `None` if it has something else in it.
fn parse_filter(filter: &str) -> Option<Vec<Condition>> {
    let spaced = ["!=", "="].iter().fold(filter.replace(['(', ')'], " "), |text, operator| match *operator {
        "=" => text.replace("!=", "\u{0}").replace('=', " = ").replace('\u{0}', "!="),
        operator => text.replace(operator, &format!(" {operator} ")),
    });
    let mut words = spaced.split_whitespace().filter(|word| *word != "AND").peekable();
    let mut conditions = Vec::new();
    while let Some(first) = words.next() {
        let (field, operator) = match first.split_once(':') {
            Some((field, "")) => (field, "="),
            Some((field, value)) => {
                conditions.push(condition(field, true, value)?);
                continue;
            }
            None => (first, words.next()?),
        };
        let wanted = match operator {
            "=" | "eq" | ":" => true,
            "!=" | "ne" => false,
            _ => return None,
        };
        conditions.push(condition(field, wanted, words.next()?)?);
    }
    Some(conditions)
}

fn condition(field: &str, wanted: bool, value: &str) -> Option<Condition> {
    let plain = |text: &str| !text.is_empty() && !text.contains(['*', '~', '<', '>', '"']) && !matches!(text, "OR" | "NOT");
    let value = value.trim_matches('"');
    let is_field = plain(field) && field.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    (is_field && plain(value)).then(|| Condition { field: field.split('.').map(str::to_owned).collect(), wanted, value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let item = json!({ "name": "a", "priority": 0, "disabled": false, "tags": { "items": ["q", "r"] } });
        let check = |filter: &str, expected: Option<bool>| {
            let held = parse_filter(filter).map(|conditions| conditions.iter().all(|condition| condition.holds(&item)));
            assert_eq!(held, expected, "{filter}");
        };
        check("", Some(true));
        check("name=a", Some(true));
        check("name = \"a\"", Some(true));
        check("name eq a", Some(true));
        check("name ne a", Some(false));
        check("name!=b", Some(true));
        check("(name = a) (priority = 0)", Some(true));
        check("(name = a) AND (priority = 1)", Some(false));
        check("tags.items=r", Some(true));
        check("tags.items:s", Some(false));
        check("disabled=false", Some(true));
        check("name=a OR name=b", None);
        check("name ~ a", None);
        check("name=a*", None);
        check("name", None);
    }
}
