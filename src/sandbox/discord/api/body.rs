//! The body of a request: JSON, or a form of several parts with JSON and files, as Discord's clients send them.

use std::io::BufRead as _;

use axum::http::{HeaderMap, header};
use serde_json::Value;

use crate::sandbox::discord::refusal::Refusal;

/// Files of one message.
const MOST_FILES: usize = 10;

/// A file of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upload {
    /// `N` of `files[N]`.
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) content_type: Option<String>,
    pub(super) bytes: Vec<u8>,
}

/// Reads a body; `null` if there is none.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<(Value, Vec<Upload>), Refusal> {
    if body.is_empty() {
        return Ok((Value::Null, Vec::new()));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    match kind.trim() {
        "application/json" => serde_json::from_slice(body).map(|json| (json, Vec::new())).map_err(|_| Refusal::NO_JSON),
        "multipart/form-data" => form(parameters, body),
        _ => {
            let message = "Expected \"Content-Type\" header to be one of {'application/json', 'multipart/form-data'}.";
            Err(Refusal::field("", "CONTENT_TYPE_INVALID", message))
        }
    }
}

fn form(parameters: &str, body: &[u8]) -> Result<(Value, Vec<Upload>), Refusal> {
    let malformed = || Refusal::field("", "FORM_INVALID", "The form cannot be read.");
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary=")).ok_or_else(malformed)?;
    let delimiter = format!("\r\n--{}", boundary.trim_matches('"'));
    // The first delimiter has nothing before it.
    let body = [b"\r\n", body].concat();
    let (mut json, mut files) = (Value::Null, Vec::new());
    let starts = positions(&body, delimiter.as_bytes());
    for (start, end) in starts.iter().zip(starts.iter().skip(1)) {
        let part = body.get(start + delimiter.len() + 2..*end).ok_or_else(malformed)?;
        let split = positions(part, b"\r\n\r\n").into_iter().next().ok_or_else(malformed)?;
        let head = std::str::from_utf8(part.get(..split).unwrap_or_default()).map_err(|_| malformed())?;
        let content = part.get(split + 4..).unwrap_or_default();
        let name = parameter(head, "name").ok_or_else(malformed)?;
        match (name.as_str(), name.strip_prefix("files[").and_then(|rest| rest.strip_suffix(']')?.parse().ok())) {
            ("payload_json", _) => json = serde_json::from_slice(content).map_err(|_| Refusal::NO_JSON)?,
            (_, Some(number)) => files.push(Upload {
                number,
                name: parameter(head, "filename").ok_or_else(malformed)?,
                content_type: line(head, "content-type").map(ToOwned::to_owned),
                bytes: content.to_vec(),
            }),
            (_, None) => return Err(Refusal::field(&name, "UNKNOWN_FIELD", "The emulator knows no such part.")),
        }
    }
    if files.len() > MOST_FILES {
        return Err(Refusal::field("files", "BASE_TYPE_BAD_LENGTH", "Must be between 0 and 10 in length."));
    }
    Ok((json, files))
}

/// Where a pattern begins that starts with a line break. Files are large: all but the line breaks is skipped at once.
fn positions(body: &[u8], pattern: &[u8]) -> Vec<usize> {
    let (mut found, mut rest) = (Vec::new(), body);
    // Reading from memory does not fail.
    while rest.skip_until(b'\r').is_ok_and(|skipped| skipped > 0) {
        let at = (body.len() - rest.len()).saturating_sub(1);
        if body.get(at..).is_some_and(|tail| tail.starts_with(pattern)) {
            found.push(at);
        }
    }
    found
}

fn line<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let value =
        |line: &'h str| line.split_once(':').filter(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    head.lines().find_map(value)
}

/// A parameter of `Content-Disposition`.
fn parameter(head: &str, name: &str) -> Option<String> {
    let parameters = line(head, "content-disposition")?.split(';').skip(1);
    let value = |parameter: &str| parameter.trim().strip_prefix(name)?.strip_prefix('=').map(|value| value.trim_matches('"').to_owned());
    parameters.into_iter().find_map(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_with_a_file() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "multipart/form-data; boundary=xYz".parse().unwrap());
        let body = "--xYz\r\nContent-Disposition: form-data; name=\"files[0]\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nline\r\n--x\r\n\
                    --xYz\r\ncontent-disposition: form-data; name=\"payload_json\"\r\n\r\n{\"content\":\"x\"}\r\n--xYz--\r\n";
        let (json, files) = parse(&headers, body.as_bytes()).unwrap();
        assert_eq!(json, json!({ "content": "x" }));
        let upload = Upload { number: 0, name: "a.txt".into(), content_type: Some("text/plain".into()), bytes: b"line\r\n--x".to_vec() };
        assert_eq!(files, [upload]);
        assert!(parse(&headers, b"--xYz\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--xYz--").is_err());
    }
}
