//! Arguments of a call: from the query, a form or a JSON body, as Slack's clients send them.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, Method, header};
use jiff::SignedDuration;
use serde_json::Value;
use url::form_urlencoded;

use super::refusal::Refusal;

/// Arguments by name. What came in a form is a string; what came in JSON is what it was.
#[derive(Clone, Debug, Default)]
pub(in crate::sandbox::slack) struct Arguments(BTreeMap<String, Value>);

impl Arguments {
    /// Collects the arguments, and Slack's warning about the charset if it has one.
    pub(super) fn parse(method: &Method, query: &str, headers: &HeaderMap, body: &[u8]) -> Result<(Self, Option<&'static str>), Refusal> {
        let form = |encoded: &[u8]| -> BTreeMap<String, Value> {
            form_urlencoded::parse(encoded).map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect()
        };
        let mut arguments = form(query.as_bytes());
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let charset = parameters.contains("charset");
        let mut warning = None;
        match (method, kind.trim()) {
            (&Method::GET, _) => {}
            (&Method::POST, "application/json") => {
                warning = (!charset).then_some("missing_charset");
                let parsed: Value = serde_json::from_slice(body).map_err(|_| Refusal::Code("invalid_json"))?;
                let Value::Object(fields) = parsed else { return Err(Refusal::Code("json_not_object")) };
                arguments.extend(fields);
            }
            (&Method::POST, "application/x-www-form-urlencoded") => {
                warning = charset.then_some("superfluous_charset");
                arguments.extend(form(body));
            }
            (&Method::POST, "") if body.is_empty() => {}
            (&Method::POST, "") => return Err(Refusal::Code("missing_post_type")),
            _ => return Err(Refusal::Code("invalid_post_type")),
        }
        arguments.retain(|_, value| !value.is_null());
        Ok((Self(arguments), warning))
    }

    /// The arguments in a JSON object that did not come as a request, such as the payload of an acknowledgement.
    pub(in crate::sandbox::slack) fn of(payload: &Value) -> Self {
        let fields = payload.as_object().cloned().unwrap_or_default();
        Self(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
    }

    /// The token, from the header or else from the arguments.
    pub(super) fn take_token(&mut self, headers: &HeaderMap) -> Option<String> {
        let argument = self.0.remove("token").and_then(|token| token.as_str().map(str::to_owned));
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        header.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned).or(argument)
    }

    /// Refuses arguments of any other name.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let strange = self.0.keys().find(|name| !known.contains(&name.as_str()));
        strange.map_or(Ok(()), |name| Err(Refusal::argument(format!("unknown argument: {name}"))))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A string. A number passes as one, as in a form.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                Err(Refusal::argument(format!("must be a string: {name}")))
            }
        }
    }

    /// A string that must be there.
    pub(super) fn required(&self, name: &str) -> Result<String, Refusal> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| Refusal::argument(format!("missing required field: {name}")))
    }

    /// A boolean, `false` if absent. Forms write it as a word or a digit.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.0.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => match other.as_str().map_or_else(|| other.to_string(), str::to_owned).as_str() {
                "true" | "1" => Ok(true),
                "false" | "0" | "" => Ok(false),
                _ => Err(Refusal::argument(format!("must be a boolean: {name}"))),
            },
        }
    }

    /// A value that a form writes as JSON text; `code` is the error if it is none.
    pub(super) fn json(&self, name: &str, code: &'static str) -> Result<Option<Value>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => serde_json::from_str(text).map(Some).map_err(|_| Refusal::Code(code)),
            Some(value) => Ok(Some(value.clone())),
        }
    }

    /// The same for a list.
    pub(super) fn list(&self, name: &str, code: &'static str) -> Result<Option<Vec<Value>>, Refusal> {
        match self.json(name, code)? {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(_) => Err(Refusal::Code(code)),
        }
    }

    /// Names with commas between them, or a JSON list of names.
    pub(super) fn names(&self, name: &str) -> Result<Vec<String>, Refusal> {
        if let Some(Value::Array(values)) = self.0.get(name) {
            return Ok(values.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
        let text = self.text(name)?.unwrap_or_default();
        Ok(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// A message timestamp; `code` is the error if it is none.
    pub(super) fn ts(&self, name: &str, code: &'static str) -> Result<Option<String>, Refusal> {
        let Some(ts) = self.text(name)?.filter(|ts| !ts.is_empty()) else { return Ok(None) };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let well_formed = match ts.split_once('.') {
            Some((seconds, rest)) => digits(seconds) && digits(rest),
            None => digits(&ts),
        };
        if well_formed { Ok(Some(ts)) } else { Err(Refusal::Code(code)) }
    }

    /// One page of `items`, and the cursor of the next one.
    pub(super) fn page<T>(&self, items: Vec<T>, default: usize, most: usize) -> Result<(Vec<T>, String), Refusal> {
        let limit = match self.text("limit")? {
            None => default,
            Some(text) => text.parse().ok().filter(|limit| (1..=most).contains(limit)).ok_or(Refusal::Code("invalid_limit"))?,
        };
        let start = match self.text("cursor")?.filter(|cursor| !cursor.is_empty()) {
            None => 0,
            Some(cursor) => {
                let number = cursor.strip_prefix("next:").and_then(|number| number.parse::<usize>().ok());
                number.filter(|start| *start <= items.len()).ok_or(Refusal::Code("invalid_cursor"))?
            }
        };
        let end = start.saturating_add(limit).min(items.len());
        let cursor = if end < items.len() { format!("next:{end}") } else { String::new() };
        Ok((items.into_iter().skip(start).take(limit).collect(), cursor))
    }
}

/// A timestamp as a duration since the epoch, so that `oldest=0` compares with message timestamps.
pub(super) fn instant(ts: &str) -> SignedDuration {
    let (seconds, micros) = ts.split_once('.').unwrap_or((ts, "0"));
    let micros: i64 = format!("{micros:0<6}").get(..6).and_then(|micros| micros.parse().ok()).unwrap_or_default();
    SignedDuration::from_secs(seconds.parse().unwrap_or(i64::MAX)).saturating_add(SignedDuration::from_micros(micros))
}
