//! Messages that answer a person: through a response URL, or as the payload of an acknowledgement.

use jiff::Timestamp;

use super::arguments::Arguments;
use super::content::Given;
use super::refusal::Refusal;
use crate::sandbox::slack::state::{Message, State};

/// What is answered: who did something where, and the message whose button it was.
#[derive(Clone, Debug)]
pub(in crate::sandbox::slack) struct Origin {
    pub(in crate::sandbox::slack) user: String,
    pub(in crate::sandbox::slack) channel: String,
    pub(in crate::sandbox::slack) message: Option<String>,
}

const ARGUMENTS: &[&str] = &[
    "text",
    "markdown_text",
    "blocks",
    "attachments",
    "metadata",
    "thread_ts",
    "response_type",
    "replace_original",
    "delete_original",
    "mrkdwn",
    "parse",
    "link_names",
    "unfurl_links",
    "unfurl_media",
];

/// Takes a message for the response URL with this path: five of them, within half an hour.
pub(super) fn post(state: &mut State, path: &str, arguments: Arguments) -> Result<(), Refusal> {
    let url = state.response_urls.get_mut(path).ok_or(Refusal::Code("used_url"))?;
    if Timestamp::now().as_second() > url.expires {
        return Err(Refusal::Code("expired_url"));
    }
    url.uses_left = url.uses_left.checked_sub(1).ok_or(Refusal::Code("used_url"))?;
    let origin = Origin { user: url.user.clone(), channel: url.channel.clone(), message: url.origin.clone() };
    respond(state, &origin, &arguments)
}

/// Posts, replaces or deletes as the message asks. Without a word it is for the person alone.
pub(in crate::sandbox::slack) fn respond(state: &mut State, origin: &Origin, arguments: &Arguments) -> Result<(), Refusal> {
    arguments.only(ARGUMENTS)?;
    let in_channel = match arguments.text("response_type")?.as_deref() {
        Some("in_channel") => true,
        Some("ephemeral") | None => false,
        Some(_) => return Err(Refusal::argument("must be in_channel or ephemeral: response_type".into())),
    };
    let (replace, delete) = (arguments.flag("replace_original")?, arguments.flag("delete_original")?);
    let original = origin.message.as_ref();
    if let (true, Some(ts)) = (delete, original) {
        state.delete(&origin.channel, ts);
        return Ok(());
    }
    let given = Given::read(arguments, usize::MAX)?;
    if let (true, Some(ts)) = (replace, original) {
        let content = given.into_content(state)?;
        state.edit(&origin.channel, ts, content);
        return Ok(());
    }
    let thread_ts = arguments.ts("thread_ts", "invalid_thread_ts")?;
    let content = given.into_content(state)?;
    let only_for = (!in_channel).then(|| origin.user.clone());
    let user = state.workspace.app.bot_user.clone();
    state.post(&origin.channel, Message { thread_ts, user, by_app: true, content, only_for, ..Message::default() });
    Ok(())
}
