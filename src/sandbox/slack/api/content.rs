//! What a message says: reading it from arguments, with every limit.

use serde_json::{Value, json};

use super::Call;
use super::arguments::Arguments;
use super::refusal::Refusal;
use crate::sandbox::slack::blocks;
use crate::sandbox::slack::state::{Content, State};

/// Characters of a message's text. Slack truncates there; a truncated plan would be worse than a refused one.
const TEXT_CHARS: usize = 40_000;

/// Characters of the text of `chat.update`.
pub(super) const UPDATED_TEXT_CHARS: usize = 4_000;

/// Attachments of a message.
const ATTACHMENTS: usize = 100;

/// What was given of a message's content; what was not given stays as it was in an update.
pub(super) struct Given {
    pub(super) text: Option<String>,
    pub(super) blocks: Option<Vec<Value>>,
    pub(super) attachments: Option<Vec<Value>>,
    pub(super) metadata: Option<Value>,
}

impl Given {
    /// Reads and checks `text`, `markdown_text`, `blocks`, `attachments` and `metadata`.
    pub(super) fn read(arguments: &Arguments, most_chars: usize) -> Result<Self, Refusal> {
        let (mut text, markdown) = (arguments.text("text")?, arguments.text("markdown_text")?);
        let blocks = arguments.list("blocks", "invalid_blocks_format")?;
        if let Some(markdown) = markdown {
            if text.is_some() || blocks.is_some() {
                return Err(Refusal::Code("markdown_text_conflict"));
            }
            text = Some(markdown);
        }
        if text.as_ref().is_some_and(|text| text.chars().count() > most_chars.min(TEXT_CHARS)) {
            return Err(Refusal::Code("msg_too_long"));
        }
        if let Some(blocks) = &blocks {
            let problems = blocks::problems(blocks, blocks::MESSAGE_BLOCKS);
            if !problems.is_empty() {
                return Err(Refusal::Invalid { code: "invalid_blocks", problems });
            }
        }
        let attachments = arguments.list("attachments", "invalid_attachments")?;
        if attachments.as_ref().is_some_and(|attachments| attachments.len() > ATTACHMENTS) {
            return Err(Refusal::Code("too_many_attachments"));
        }
        let metadata = arguments.json("metadata", "invalid_metadata_format")?;
        if metadata.as_ref().is_some_and(|metadata| !well_formed_metadata(metadata)) {
            return Err(Refusal::Code("invalid_metadata_format"));
        }
        Ok(Self { text, blocks, attachments, metadata })
    }

    /// The same for a method of the API, which limits what all blocks hold together. A response URL does not.
    pub(super) fn of(call: &Call<'_>, most_chars: usize) -> Result<Self, Refusal> {
        let given = Self::read(&call.arguments, most_chars)?;
        match given.blocks.as_deref().map_or(0, blocks::text_chars) > blocks::BLOCK_TEXT_CHARS {
            true => Err(Refusal::Code("msg_blocks_too_long")),
            false => Ok(given),
        }
    }

    /// A new message's content.
    pub(super) fn into_content(self, state: &mut State) -> Result<Content, Refusal> {
        let content = Content {
            text: self.text.unwrap_or_default(),
            blocks: blocks::with_ids(self.blocks.unwrap_or_default(), || state.next_id("b")),
            attachments: self.attachments.unwrap_or_default(),
            metadata: self.metadata,
            ..Content::default()
        };
        content.check()
    }

    /// Changes what was given and keeps the rest, as `chat.update` does.
    pub(super) fn into_update(self, state: &mut State, old: &Content) -> Result<Content, Refusal> {
        let content = Content {
            text: self.text.unwrap_or_else(|| old.text.clone()),
            blocks: match self.blocks {
                Some(blocks) => blocks::with_ids(blocks, || state.next_id("b")),
                None => old.blocks.clone(),
            },
            attachments: self.attachments.unwrap_or_else(|| old.attachments.clone()),
            metadata: match self.metadata {
                Some(metadata) => Some(metadata).filter(|metadata| *metadata != json!({})),
                None => old.metadata.clone(),
            },
            ..old.clone()
        };
        content.check()
    }
}

impl Content {
    /// A message must say something.
    fn check(self) -> Result<Self, Refusal> {
        match self.text.is_empty() && self.blocks.is_empty() && self.attachments.is_empty() && self.files.is_empty() {
            true => Err(Refusal::Code("no_text")),
            false => Ok(self),
        }
    }
}

fn well_formed_metadata(metadata: &Value) -> bool {
    let Some(fields) = metadata.as_object() else { return false };
    let known = fields.keys().all(|name| ["event_type", "event_payload"].contains(&name.as_str()));
    let complete = fields.get("event_type").is_some_and(Value::is_string) && fields.get("event_payload").is_some_and(Value::is_object);
    fields.is_empty() || (known && complete)
}
