//! `files.*`: the three steps of an upload.

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::content::Given;
use super::refusal::Refusal;
use super::{Api, Call, Method, Token};
use crate::sandbox::slack::render;
use crate::sandbox::slack::state::{File, Message};

pub(super) const METHODS: &[Method] = &[
    Method {
        name: "files.getUploadURLExternal",
        token: Token::Bot,
        scope: Some("files:write"),
        arguments: &["filename", "length", "alt_text", "alt_txt", "snippet_type"],
        handle: get_upload_url,
    },
    Method {
        name: "files.completeUploadExternal",
        token: Token::Bot,
        scope: Some("files:write"),
        arguments: &["files", "channel_id", "channels", "initial_comment", "blocks", "thread_ts"],
        handle: complete_upload,
    },
];

fn get_upload_url(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let name = call.arguments.required("filename")?;
    let length = call.arguments.required("length")?.parse().ok().filter(|length| *length > 0);
    let length = length.ok_or_else(|| Refusal::argument("must be a positive number: length".into()))?;
    let (id, token) = (call.state.next_id("F0"), Uuid::new_v4().simple().to_string());
    let upload_url = format!("http://{}/upload/v1/{token}", call.address);
    let created = Timestamp::now().as_second();
    let file = File { id: id.clone(), title: name.clone(), name, length, created, token, content: None, shared: false };
    call.state.files.insert(id.clone(), file);
    Ok(json!({ "upload_url": upload_url, "file_id": id }))
}

/// The upload URL: takes the bytes as they are, or in a form, which is how the JavaScript SDK sends them.
pub(super) async fn upload(Shared(api): Shared<Api>, Path(token): Path<String>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content = match content_type.strip_prefix("multipart/form-data").and_then(|rest| rest.split_once("boundary=")) {
        Some((_, boundary)) => only_part(&body, boundary.trim_matches('"')).map(<[u8]>::to_vec),
        None => Some(body.to_vec()),
    };
    let Some(content) = content else { return (StatusCode::BAD_REQUEST, "the form is not one part".into()) };
    api.slack.change(|state| {
        let Some(file) = state.files.values_mut().find(|file| file.token == token) else {
            return (StatusCode::NOT_FOUND, "no such upload".into());
        };
        if file.content.is_some() || content.len() != file.length {
            return (StatusCode::BAD_REQUEST, format!("{} bytes were announced, {} came", file.length, content.len()));
        }
        let answer = format!("OK - {}", content.len());
        file.content = Some(content);
        (StatusCode::OK, answer)
    })
}

fn complete_upload(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let listed = call.arguments.list("files", "invalid_arguments")?.unwrap_or_default();
    if listed.is_empty() {
        return Err(Refusal::argument("missing required field: files".into()));
    }
    let mut ids = Vec::new();
    for entry in &listed {
        let fields = entry.as_object().filter(|fields| fields.keys().all(|name| ["id", "title"].contains(&name.as_str())));
        let id = fields.and_then(|fields| fields.get("id")).and_then(Value::as_str);
        let id = id.ok_or_else(|| Refusal::argument("must be a list of {id, title}: files".into()))?;
        let file = call.state.files.get(id).filter(|file| file.content.is_some() && !file.shared);
        ids.push(file.ok_or(Refusal::Code("file_not_found"))?.id.clone());
    }
    let channels = channels(call)?;
    let thread_ts = call.arguments.ts("thread_ts", "invalid_thread_ts")?;
    let comment = call.arguments.text("initial_comment")?;
    let given = Given::of(call, usize::MAX)?;
    for (entry, id) in listed.iter().zip(&ids) {
        if let Some(file) = call.state.files.get_mut(id) {
            file.shared = true;
            if let Some(title) = entry.get("title").and_then(Value::as_str) {
                file.title = title.to_owned();
            }
        }
    }
    // A comment hides the blocks.
    let blocks = if comment.is_some() { None } else { given.blocks };
    let text = Some(comment.unwrap_or_else(|| " ".into()));
    let mut content = Given { text, blocks, attachments: None, metadata: None }.into_content(call.state)?;
    content.text = content.text.trim().to_owned();
    content.files.clone_from(&ids);
    for channel in channels {
        let (thread_ts, content) = (thread_ts.clone(), content.clone());
        let message = Message { thread_ts, user: call.bot(), by_app: true, content, subtype: Some("file_share"), ..Message::default() };
        call.state.post(&channel, message);
    }
    let shown: Vec<Value> = ids.iter().filter_map(|id| call.state.files.get(id)).map(|file| render::file(call.state, file)).collect();
    Ok(json!({ "files": shown }))
}

/// The channels to share with; the bot must be in each.
fn channels(call: &Call<'_>) -> Result<Vec<String>, Refusal> {
    let mut names = call.arguments.names("channels")?;
    names.extend(call.arguments.text("channel_id")?);
    for name in &names {
        let channel = call.state.channels.get(name).ok_or(Refusal::Code("channel_not_found"))?;
        if !channel.members.contains(&call.state.workspace.app.bot_user) {
            return Err(Refusal::Code("not_in_channel"));
        }
        let thread_ts = call.arguments.ts("thread_ts", "invalid_thread_ts")?;
        if thread_ts.is_some_and(|ts| channel.public_message(&ts).is_none()) {
            return Err(Refusal::Code("thread_not_found"));
        }
    }
    Ok(names)
}

/// The content of a form's only part.
fn only_part<'b>(body: &'b [u8], boundary: &str) -> Option<&'b [u8]> {
    let find = |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).position(|window| window == needle);
    let start = find(body, b"\r\n\r\n")?.checked_add(4)?;
    let rest = body.get(start..)?;
    let end = find(rest, format!("\r\n--{boundary}").as_bytes())?;
    rest.get(end..)?.starts_with(format!("\r\n--{boundary}--").as_bytes()).then(|| rest.get(..end)).flatten()
}
