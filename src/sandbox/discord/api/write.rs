//! From a request's body to what a message says.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Call;
use crate::sandbox::discord::content::{self, SETTABLE_FLAGS};
use crate::sandbox::discord::guild::permission;
use crate::sandbox::discord::mentions::{Allowed, Mentions};
use crate::sandbox::discord::refusal::Refusal;
use crate::sandbox::discord::render::ATTACHMENT_BYTES;
use crate::sandbox::discord::shape;
use crate::sandbox::discord::snowflake::Snowflake;
use crate::sandbox::discord::state::{Attachment, Content};

impl Call<'_> {
    /// What a new message says, or what an edit makes of `before`. `body` was checked against its shape.
    ///
    /// # Errors
    /// If it breaks a rule, or says nothing.
    pub(super) fn content(&mut self, channel: Snowflake, body: &Value, before: Option<&Content>) -> Result<Content, Refusal> {
        content::check(body)?;
        let mut content = before.cloned().unwrap_or_default();
        if let Some(text) = body.get("content") {
            // Discord drops white space at the ends.
            text.as_str().unwrap_or_default().trim().clone_into(&mut content.text);
        }
        if let Some(embeds) = body.get("embeds") {
            content.embeds = embeds.as_array().into_iter().flatten().map(content::shown_embed).collect();
        }
        if let Some(components) = body.get("components") {
            content.components = content::shown_components(components.as_array().map(Vec::as_slice).unwrap_or_default());
        }
        if let Some(flags) = body.get("flags").and_then(Value::as_u64) {
            let strange = flags & !(SETTABLE_FLAGS | super::super::render_message::EPHEMERAL);
            if strange != 0 {
                return Err(Refusal::field("flags", "FLAGS_NOT_EMULATED", format!("The emulator takes no flags {strange}.")));
            }
            content.flags = flags & SETTABLE_FLAGS;
        }
        content.attachments = self.attachments(body, content.attachments)?;
        let permissions = self.state.permissions_in(self.state.bot(), channel);
        if !content.attachments.is_empty() && permissions & permission::ATTACH_FILES == 0 {
            return Err(Refusal::MISSING_PERMISSIONS);
        }
        let allowed = Allowed::parse(body.get("allowed_mentions"))?;
        content.mentions = Mentions::of(&self.state.guild, &content.text, &allowed, permissions);
        let empty = content.text.is_empty() && content.embeds.is_empty() && content.components.is_empty() && content.attachments.is_empty();
        if empty { Err(Refusal::EMPTY_MESSAGE) } else { Ok(content) }
    }

    /// Files: those that came with the request, and of an edit those of before that it keeps.
    fn attachments(&mut self, body: &Value, before: Vec<Attachment>) -> Result<Vec<Attachment>, Refusal> {
        let listed: Option<Vec<&Value>> = body.get("attachments").and_then(Value::as_array).map(|list| list.iter().collect());
        let entry = |id: Snowflake| listed.iter().flatten().find(|entry| entry.get("id").and_then(shape::id) == Some(id));
        let mut kept: Vec<Attachment> = match &listed {
            None => before,
            Some(_) => before.into_iter().filter(|file| entry(file.id).is_some()).collect(),
        };
        let files = std::mem::take(&mut self.files);
        let numbers: BTreeSet<Snowflake> = files.iter().map(|file| Snowflake::new(file.number)).collect();
        for (index, given) in listed.iter().flatten().enumerate() {
            let id = given.get("id").and_then(shape::id).unwrap_or_default();
            if !numbers.contains(&id) && !kept.iter().any(|file| file.id == id) {
                return Err(Refusal::field(&format!("attachments.{index}.id"), "ATTACHMENT_NOT_FOUND", "There is no such file."));
            }
        }
        for file in files {
            if file.bytes.len() > ATTACHMENT_BYTES {
                return Err(Refusal::TOO_LARGE);
            }
            let said = entry(Snowflake::new(file.number));
            let word = |name: &str| said.and_then(|said| said.get(name)).and_then(Value::as_str).map(str::to_owned);
            kept.push(Attachment {
                id: self.state.ids.next(),
                name: file_name(&word("filename").unwrap_or(file.name)),
                description: word("description"),
                content_type: file.content_type,
                bytes: file.bytes,
            });
        }
        Ok(kept)
    }
}

/// Discord keeps letters, digits, dots, dashes and underscores of a name.
fn file_name(name: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || ['.', '-', '_'].contains(&c);
    name.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}
