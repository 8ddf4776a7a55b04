//! Files into a thread: an address for each, its bytes there, and one call that shows all of them.

use http::{HeaderMap, HeaderValue, Method, header};
use serde::Deserialize;
use serde_json::{Value, json};
use url::{Host, Url};

use super::{Slack, render};
use crate::adapters::http::call;
use crate::core::identity::MessageRef;
use crate::core::say::Message;
use crate::ports::{Attachment, ChatError};

/// The scope that it takes, beyond what every Stanch needs.
pub(super) const SCOPE: &str = "files:write";

/// Where a file is to be sent.
#[derive(Deserialize)]
struct Address {
    upload_url: String,
    file_id: String,
}

impl Slack {
    pub(super) async fn share(&self, root: &MessageRef, message: &Message, files: &[Attachment]) -> Result<(), ChatError> {
        let mut shown = Vec::new();
        for file in files {
            // The name is what people save it as; its title is the path in the manifest.
            let (path, length) = (&file.exhibit.path, file.text.len().to_string());
            let name = path.replace('/', "_");
            let parameters = [("filename", name.as_str()), ("length", &length)];
            let address: Address = self.api.get("files.getUploadURLExternal", &parameters).await?;
            self.send(&address.upload_url, file.text.clone()).await?;
            shown.push(json!({ "id": address.file_id, "title": path }));
        }
        let blocks = render::rendered(message, &self.emoji).blocks;
        let body = json!({ "files": shown, "channel_id": root.channel.id, "thread_ts": root.id, "blocks": blocks });
        let _: Value = self.api.post("files.completeUploadExternal", &body).await?;
        Ok(())
    }

    /// Sends the bytes, without a token: the address is the secret.
    async fn send(&self, upload_url: &str, text: String) -> Result<(), ChatError> {
        if !is_slack(upload_url, self.is_loopback) {
            return Err(ChatError::Unavailable("Slack names an address for the file that is not its own".into()));
        }
        let kind = HeaderValue::from_static("application/octet-stream");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
        let answer = call(Method::POST, upload_url, headers, text, self.is_loopback).await.map_err(ChatError::Unavailable)?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(ChatError::Unavailable(format!("Slack answers {} to the bytes of a file", answer.status))),
        }
    }
}

/// Evidence goes to Slack or, if that is where Slack is, to this machine.
fn is_slack(upload_url: &str, is_loopback: bool) -> bool {
    let Ok(url) = Url::parse(upload_url) else { return false };
    match url.host() {
        Some(Host::Domain(name)) => url.scheme() == "https" && (name == "slack.com" || name.ends_with(".slack.com")) && !is_loopback,
        Some(Host::Ipv4(address)) => is_loopback && address.is_loopback(),
        Some(Host::Ipv6(address)) => is_loopback && address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_goes_to_slack_alone() {
        for (url, at_slack, at_home) in [
            ("https://files.slack.com/upload/v1/abc", true, false),
            ("http://files.slack.com/upload/v1/abc", false, false),
            ("https://files.slack.com.evil.example/upload", false, false),
            ("https://evil.example/slack.com", false, false),
            ("http://127.0.0.1:8080/upload", false, true),
            ("https://192.0.2.1/upload", false, false),
            ("nonsense", false, false),
        ] {
            assert_eq!((is_slack(url, false), is_slack(url, true)), (at_slack, at_home), "{url}");
        }
    }
}
