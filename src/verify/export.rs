//! Entries for other programs: JSON by line, and the Common Event Format that security information systems read.

use std::fmt;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::hash::of_entry;

/// Longest text in one field of an event: CEF allows `msg` 1,023 bytes.
const LONGEST_FIELD: usize = 1_023;
/// Longest description in one line for people.
const LONGEST_LINE: usize = 300;

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line: index, hash, and the entry as it is stored.
    Jsonl,
    /// One event of the Common Event Format a line.
    Cef,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this request only.
    pub request: Option<String>,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

/// An entry, taken apart as far as other programs care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    index: u64,
    bytes: Vec<u8>,
    at: Option<Timestamp>,
    /// `heard`, `approved`, `step_started` …
    kind: String,
    request: Option<String>,
    /// Who did it: a person, or the account if that belongs to nobody.
    who: Option<String>,
    /// What else it says.
    detail: Value,
}

impl Exported {
    /// Takes an entry apart.
    #[must_use]
    pub fn new(index: u64, bytes: Vec<u8>) -> Self {
        let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let (kind, detail) = match (text("entry").as_deref(), value.get("fact")) {
            (Some("fact"), Some(Value::String(kind))) => (kind.clone(), Value::Null),
            (Some("fact"), Some(Value::Object(fact))) => {
                fact.iter().next().map_or(("fact".into(), Value::Null), |(kind, detail)| (kind.clone(), detail.clone()))
            }
            (Some(kind), _) => (kind.to_owned(), rest(&value)),
            (None, _) => ("unreadable".into(), Value::Null),
        };
        let named = |name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
        let account = || value.get("account")?.get("id")?.as_str().map(str::to_owned);
        let who = named("person").or_else(|| named("requester")).or_else(account);
        Self { index, at: text("at").and_then(|at| at.parse().ok()), kind, request: text("request"), who, detail, bytes }
    }

    /// Whether the entry is wanted.
    #[must_use]
    pub fn passes(&self, filter: &Filter) -> bool {
        filter.request.as_ref().is_none_or(|wanted| self.request.as_ref() == Some(wanted))
            && filter.since.is_none_or(|since| self.at.is_some_and(|at| at >= since))
            && filter.until.is_none_or(|until| self.at.is_some_and(|at| at < until))
    }

    /// Writes the entry as one line.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn write(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Jsonl => self.json_line(out),
            Format::Cef => writeln!(out, "{}", Event(self)),
        }
    }

    fn json_line(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{{\"index\":{},\"hash\":\"{}\",", self.index, STANDARD.encode(of_entry(&self.bytes)))?;
        // As stored, so that whoever reads it can hash it again; a line feed would end the line too early.
        if self.kind == "unreadable" || self.bytes.contains(&b'\n') {
            return writeln!(out, "\"bytes\":\"{}\"}}", STANDARD.encode(&self.bytes));
        }
        out.write_all(b"\"entry\":")?;
        out.write_all(&self.bytes)?;
        out.write_all(b"}\n")
    }
}

/// What an entry says besides what every entry says.
fn rest(value: &Value) -> Value {
    let mut rest = value.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.retain(|name, _| !matches!(name.as_str(), "entry" | "at" | "request" | "account" | "delivery"));
    }
    rest
}

/// One line for people.
impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.map_or("no time".into(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
        let (request, who) = (self.request.as_deref().unwrap_or("-"), self.who.as_deref().unwrap_or("-"));
        let detail = if self.detail.is_null() { String::new() } else { self.detail.to_string() };
        write!(f, "{:>6}  {at}  {request:<10} {:<20} {who:<10} {}", self.index, self.kind, cut(&detail, LONGEST_LINE))
    }
}

/// An entry as an event of the Common Event Format.
struct Event<'e>(&'e Exported);

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exported { index, bytes, at, kind, request, who, detail } = self.0;
        let name = kind.replace('_', " ");
        let (kind, name) = (in_header(kind), in_header(&name));
        write!(f, "CEF:0|Stanch|Stanch|{}|{kind}|{name}|{}|", env!("CARGO_PKG_VERSION"), severity(&self.0.kind))?;
        if let Some(at) = at {
            write!(f, "rt={} ", at.as_millisecond())?;
        }
        write!(f, "externalId={index} act={}", in_extension(&self.0.kind))?;
        if let Some(who) = who {
            write!(f, " suser={}", in_extension(cut(who, LONGEST_FIELD)))?;
        }
        if let Some(request) = request {
            write!(f, " cs1Label=request cs1={}", in_extension(cut(request, LONGEST_FIELD)))?;
        }
        write!(f, " cs2Label=entryHash cs2={}", in_extension(&STANDARD.encode(of_entry(bytes))))?;
        match detail {
            Value::Null => Ok(()),
            detail @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
                write!(f, " msg={}", in_extension(cut(&detail.to_string(), LONGEST_FIELD)))
            }
        }
    }
}

/// From 0 to 10. What changes the world, or lets somebody change it, is what a watch wants to see.
fn severity(kind: &str) -> u8 {
    match kind {
        "execution_authorised" => 8,
        "step_started" | "step_ended" | "halted" | "unreadable" => 6,
        "requested" | "approved" | "declined" | "target_changed" => 5,
        "turned" | "withdrawn" | "cancelled" | "expired" => 4,
        _ => 3,
    }
}

/// In the header, `\` and `|` are escaped, and a line cannot end.
fn in_header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// In an extension, `\` and `=` are escaped, and line ends are written as `\n` and `\r`.
fn in_extension(text: &str) -> String {
    text.replace('\\', "\\\\").replace('=', "\\=").replace('\n', "\\n").replace('\r', "\\r")
}

fn cut(text: &str, longest: usize) -> &str {
    text.get(..text.floor_char_boundary(longest)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_escaped_where_the_format_demands() {
        assert_eq!(in_header("a|b\\c\nd=e"), "a\\|b\\\\c d=e");
        assert_eq!(in_extension("a|b\\c\nd=e\r"), "a|b\\\\c\\nd\\=e\\r");
        let bytes = br#"{"entry":"heard","at":"2026-01-01T00:00:00Z","delivery":"d","account":{"platform":"slack","id":"U|1=x"},"person":null,"channel":{"platform":"slack","id":"C1"},"text":"label pod a=b|c\\d\nCEF:0|forged"}"#;
        let mut out = Vec::new();
        Exported::new(7, bytes.to_vec()).write(Format::Cef, &mut out).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "CEF:0|Stanch|Stanch|{version}|heard|heard|3|rt=1767225600000 externalId=7 act=heard suser=U|1\\=x \
             cs2Label=entryHash cs2={} msg={}\n",
            STANDARD.encode(of_entry(bytes)).replace('=', "\\="),
            r#"{"channel":{"id":"C1","platform":"slack"},"person":null,"text":"label pod a\=b|c\\\\d\\nCEF:0|forged"}"#,
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_entry_is_exported_as_it_is_stored() {
        let bytes = br#"{"at":"2026-01-01T00:00:00Z",  "entry":"fact","request":"r-1","fact":{"approved":{"person":"amir"}}}"#;
        let exported = Exported::new(3, bytes.to_vec());
        assert_eq!((exported.kind.as_str(), exported.who.as_deref(), exported.request.as_deref()), ("approved", Some("amir"), Some("r-1")));
        let mut out = Vec::new();
        exported.write(Format::Jsonl, &mut out).unwrap();
        let stored = std::str::from_utf8(bytes).unwrap();
        let expected = format!("{{\"index\":3,\"hash\":\"{}\",\"entry\":{stored}}}\n", STANDARD.encode(of_entry(bytes)));
        assert_eq!(String::from_utf8(out).unwrap(), expected);

        let mut out = Vec::new();
        Exported::new(4, b"\n{".to_vec()).write(Format::Jsonl, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().ends_with("\"bytes\":\"Cns=\"}\n"));
    }

    #[test]
    fn filters_are_by_request_and_time() {
        let of = |at: &str, request: &str| {
            Exported::new(0, format!(r#"{{"entry":"fact","at":"{at}","request":"{request}","fact":"expired"}}"#).into_bytes())
        };
        let filter =
            Filter { request: Some("r-1".into()), since: "2026-01-02T00:00:00Z".parse().ok(), until: "2026-01-03T00:00:00Z".parse().ok() };
        assert!(of("2026-01-02T00:00:00Z", "r-1").passes(&filter));
        assert!(!of("2026-01-02T00:00:00Z", "r-2").passes(&filter));
        assert!(!of("2026-01-01T23:59:59Z", "r-1").passes(&filter));
        assert!(!of("2026-01-03T00:00:00Z", "r-1").passes(&filter));
    }
}
