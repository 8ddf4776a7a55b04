//! Files into a thread: a form with the message and as many of them as Discord takes in one.

use serde_json::{Value, json};
use uuid::Uuid;

use super::api::{code, id};
use super::{Discord, render};
use crate::core::identity::MessageRef;
use crate::core::say::Message;
use crate::ports::{Attachment, ChatError};

/// Files of a message, as Discord limits them.
const FILES: usize = 10;

/// A form, and what separates its parts.
pub(super) struct Form {
    pub(super) boundary: String,
    pub(super) body: String,
}

impl Discord {
    /// All of the files, in as many messages as they need. If one of those is refused, the ones before it are taken back.
    pub(super) async fn share(&self, root: &MessageRef, message: &Message, files: &[Attachment]) -> Result<(), ChatError> {
        let first = render::rendered(message, &self.emoji).body();
        let rest = json!({ "allowed_mentions": { "parse": [] } });
        let bodies = std::iter::once(&first).chain(std::iter::repeat(&rest));
        let mut posted: Vec<String> = Vec::new();
        for (body, files) in bodies.zip(files.chunks(FILES)) {
            match self.share_some(root, body, files).await {
                Ok(id) => posted.push(id),
                Err(error) => {
                    for id in posted {
                        // What cannot be taken back either is shown twice, if it is tried again.
                        let _ = self.api.delete(&format!("/channels/{}/messages/{id}", root.id)).await;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// One message with files in the thread, which it makes if need be.
    async fn share_some(&self, root: &MessageRef, body: &Value, files: &[Attachment]) -> Result<String, ChatError> {
        let path = format!("/channels/{}/messages", root.id);
        match self.api.post_form(&path, &form(body, files)).await {
            Err(failure) if failure.code() == Some(code::UNKNOWN_CHANNEL) => {
                self.make_thread(&root.channel.id, &root.id).await?;
                id(&self.api.post_form(&path, &form(body, files)).await?)
            }
            outcome => id(&outcome?),
        }
    }
}

fn form(message: &Value, files: &[Attachment]) -> Form {
    // 122 random bits do not stand in a file by chance, and nobody can know them before.
    let boundary = format!("stanch-{}", Uuid::new_v4().simple());
    let head = |disposition: &str, kind: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: {kind}\r\n\r\n")
    };
    let mut body = format!("{}{message}\r\n", head("name=\"payload_json\"", "application/json"));
    for (number, file) in files.iter().enumerate() {
        let disposition = format!("name=\"files[{number}]\"; filename=\"{}\"", name(&file.exhibit.path));
        body.push_str(&head(&disposition, "application/octet-stream"));
        body.push_str(&file.text);
        body.push_str("\r\n");
    }
    body.push_str(&format!("--{boundary}--\r\n"));
    Form { boundary, body }
}

/// The path in a form that Discord leaves as it is, and that cannot end its line.
fn name(path: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    path.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_line() {
        assert_eq!(name("pods/shop/cart.json"), "pods_shop_cart.json");
        assert_eq!(name("a\"; name=\"x\"\r\nb"), "a___name__x___b");
    }
}
