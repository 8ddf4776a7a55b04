//! Batches: several requests in one multipart body, as gcloud sends them.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};

use super::api::{Api, json_response};
use super::failure::Failure;
use crate::sandbox::server::Exchange;

/// The most requests in one batch, which is Google's limit.
const LIMIT: usize = 1000;

/// What separates the parts of an answer. JSON never has such a line.
const BOUNDARY: &str = "batch_of_the_compute_emulator";

/// A request inside a batch.
#[derive(Debug, PartialEq, Eq)]
struct Part<'a> {
    content_id: &'a str,
    method: &'a str,
    path: &'a str,
    query: &'a str,
    body: &'a str,
}

/// Answers a batch, or says what is wrong with it.
pub fn answer(api: &Api, content_type: &str, body: &[u8]) -> Response<Body> {
    let Some(parts) = std::str::from_utf8(body).ok().and_then(|body| parse(content_type, body)).filter(|parts| parts.len() <= LIMIT) else {
        let failure = Failure::bad_request("badRequest", "Failed to parse batch request".into());
        return json_response(failure.status, &failure.body());
    };
    let mut answer = String::new();
    for part in &parts {
        let (status, body) = api.answer(part.method, part.path, part.query, part.body.as_bytes());
        api.wire().record(Exchange {
            method: part.method.into(),
            path: part.path.into(),
            query: part.query.into(),
            body: serde_json::from_str(part.body).ok(),
            status: Some(status),
        });
        answer += &one_answer(part.content_id, status, &body.to_string());
    }
    answer += &format!("--{BOUNDARY}--\r\n");
    let mut response = Response::new(Body::from(answer));
    if let Ok(value) = header::HeaderValue::from_str(&format!("multipart/mixed; boundary={BOUNDARY}")) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

fn one_answer(content_id: &str, status: StatusCode, body: &str) -> String {
    let id = content_id.strip_prefix('<').unwrap_or(content_id);
    format!(
        "--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <response-{id}\r\n\r\nHTTP/1.1 {status}\r\n\
         Content-Type: application/json; charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}\r\n",
        body.len()
    )
}

/// The parts of a batch. `None` if it is not one.
fn parse<'a>(content_type: &str, body: &'a str) -> Option<Vec<Part<'a>>> {
    let parameters = content_type.strip_prefix("multipart/mixed")?;
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?.trim_matches('"');
    let delimiter = format!("--{boundary}");
    let mut chunks = body.split(delimiter.as_str());
    chunks.next()?;
    let mut parts = Vec::new();
    for chunk in chunks {
        if chunk.starts_with("--") {
            return Some(parts);
        }
        parts.push(parse_part(chunk)?);
    }
    // Without its last delimiter the batch is not complete.
    None
}

fn parse_part(chunk: &str) -> Option<Part<'_>> {
    let (headers, request) = split_head(chunk.strip_prefix("\r\n").or_else(|| chunk.strip_prefix('\n'))?)?;
    let content_id = headers.lines().find_map(|line| value_of(line, "content-id"))?;
    let (head, body) = split_head(request).unwrap_or((request, ""));
    let mut line = head.lines().next()?.split(' ');
    let (method, target) = (line.next()?, line.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some(Part { content_id, method, path, query, body: body.trim() })
}

/// What comes before and after the first empty line.
fn split_head(text: &str) -> Option<(&str, &str)> {
    text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n"))
}

fn value_of<'a>(line: &'a str, header: &str) -> Option<&'a str> {
    let (name, value) = line.split_once(':')?;
    name.eq_ignore_ascii_case(header).then_some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "--=x==\nContent-Type: application/http\nContent-ID: <a+0>\n\nPOST /p/createSnapshot?alt=json HTTP/1.1\nHost: h\n\n{\"a\": 1}\n\
                        --=x==\nContent-Type: application/http\nContent-ID: <a+1>\n\nGET /q HTTP/1.1\nHost: h\n\n\n--=x==--";

    #[test]
    fn a_batch_is_read_part_by_part() {
        let first = Part { content_id: "<a+0>", method: "POST", path: "/p/createSnapshot", query: "alt=json", body: "{\"a\": 1}" };
        let second = Part { content_id: "<a+1>", method: "GET", path: "/q", query: "", body: "" };
        assert_eq!(parse("multipart/mixed; boundary=\"=x==\"", BODY), Some(vec![first, second]));
    }

    #[test]
    fn a_torn_batch_is_none() {
        let torn = BODY.strip_suffix("--=x==--").unwrap();
        assert_eq!(parse("multipart/mixed; boundary=\"=x==\"", torn), None);
        assert_eq!(parse("application/json", BODY), None);
        assert_eq!(parse("multipart/mixed", BODY), None);
    }
}
