//! Forms, as people open, fill in and send them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use slack_morphism::prelude::*;

use super::alert;
use super::api::Client;
use super::forms::{self, Form, Prefilled};
use super::inbound::{BUSY_WORDS, Full, Inlet, NO_FORM, account, channel, tell};
use crate::ports::{Inbound, Input, LiveField};

/// How long opening may take: after three seconds the trigger is worth nothing.
const OPEN: Duration = Duration::from_millis(2_900);

/// What a form says whose message names no pod, or several.
const NO_POD: &str = "The message names no pod that Stanch can read.";

/// A form was opened.
#[derive(Deserialize)]
struct Opened {
    #[serde(rename = "ok")]
    _ok: bool,
}

impl Inlet {
    /// What is done with a button, a form or a shortcut.
    pub(super) fn interaction(&self, event: SlackInteractionEvent, client: Arc<Client>) -> SlackInteractionResponse {
        match event {
            SlackInteractionEvent::BlockActions(click) => self.click(click, client),
            SlackInteractionEvent::ViewSubmission(sent) => return self.sent(sent),
            SlackInteractionEvent::MessageAction(shortcut) => self.propose(shortcut, client),
            SlackInteractionEvent::BlockSuggestion(_)
            | SlackInteractionEvent::DialogSubmission(_)
            | SlackInteractionEvent::Shortcut(_)
            | SlackInteractionEvent::ViewClosed(_) => {}
        }
        SlackInteractionResponse::Empty
    }

    /// Opens a form beside everything else, and begins to look up what it will offer.
    pub(super) fn open(
        &self,
        form: &Form,
        prefilled: &Prefilled,
        user: &SlackUserId,
        trigger: SlackTriggerId,
        (client, response_url): (Arc<Client>, SlackResponseUrl),
    ) -> Result<(), Full> {
        let place = self.opening.clone().try_acquire_owned().map_err(|_| Full)?;
        let (api, suggest) = (self.api.clone(), self.suggest.clone());
        let body = json!({ "trigger_id": trigger.value(), "view": form.view(prefilled) });
        let menus = [LiveField::Pod, LiveField::Node].map(|field| {
            let block = if field == LiveField::Pod { "pod" } else { "node" };
            form.typing(block, "", account(user), channel(&SlackChannelId::new(form.channel.clone())))
        });
        tokio::spawn(async move {
            let open = tokio::time::timeout(OPEN, api.post::<Opened>("views.open", &body));
            match open.await {
                Ok(Ok(Opened { .. })) => {}
                outcome => {
                    tracing::warn!(failure = ?outcome.map(|opened| opened.map(drop)), "a form did not open");
                    tell(client, response_url, NO_FORM);
                }
            }
            drop(place);
        });
        // One of them is enough: a listing brings every name.
        if let Some(typing) = menus.into_iter().flatten().next() {
            tokio::spawn(async move { suggest.suggest(&typing).await });
        }
        Ok(())
    }

    /// A shortcut on a message: a form for the pod in it.
    fn propose(&self, event: SlackInteractionMessageActionEvent, client: Arc<Client>) {
        let known = (event.callback_id.value() == alert::PROPOSE).then(|| stanch_commands::find("quarantine")).flatten();
        let (Some(definition), Some(place)) = (known, &event.channel) else {
            return tracing::warn!("a shortcut of Slack was used that means nothing");
        };
        let pods = event.message.as_ref().map(|message| alert::pods(&message.content)).unwrap_or_default();
        let prefilled = match pods.as_slice() {
            [] => Prefilled { note: Some(NO_POD.into()), ..Prefilled::default() },
            [one] => Prefilled { pod: Some(one.clone()), note: Some(format!("The message names {one}. Nothing was done yet.")) },
            several => Prefilled { note: Some(format!("The message names several pods: {}.", several.join(", "))), pod: None },
        };
        let form = Form { definition, channel: place.id.value().clone() };
        let answer_to = (client.clone(), event.response_url.clone());
        if let Err(Full) = self.open(&form, &prefilled, &event.user.id, event.trigger_id, answer_to) {
            tell(client, event.response_url, BUSY_WORDS);
        }
    }

    /// A form was sent: the line that it stands for is handed over, or the form stays open and says what is wrong where.
    fn sent(&self, event: SlackInteractionViewSubmissionEvent) -> SlackInteractionResponse {
        let (SlackView::Modal(modal), parameters) = (event.view.view, event.view.state_params) else {
            return SlackInteractionResponse::Empty;
        };
        let callback = modal.callback_id.as_ref().map(|id| id.value().as_str());
        let Some(form) = Form::read(callback, modal.private_metadata.as_deref()) else {
            tracing::warn!("a form of Slack was sent that means nothing");
            return SlackInteractionResponse::Empty;
        };
        let wrong = |block: String, words: String| {
            let errors = HashMap::from([(block, words)]);
            SlackViewSubmissionResponse::Errors(SlackViewSubmissionErrorsResponse { errors }).into()
        };
        let line = match form.line(&values(parameters.state)) {
            Ok(line) => line,
            Err((block, words)) => return wrong(block, words),
        };
        let inbound = Inbound {
            // A form that is sent again after an error was not handed over before.
            delivery: parameters.id.value().clone(),
            from: account(&event.user.id),
            channel: channel(&SlackChannelId::new(form.channel.clone())),
            input: Input::Typed(line),
        };
        match self.offer(inbound) {
            Ok(()) => SlackInteractionResponse::Empty,
            Err(Full) => wrong(form.first(), BUSY_WORDS.into()),
        }
    }

    /// Names for a menu of a form.
    pub(super) async fn offer_names(&self, event: &SlackInteractionBlockSuggestionEvent) -> SlackBlockSuggestionResponse {
        let modal = event.view.as_ref().and_then(|view| match view {
            SlackView::Modal(modal) => Some(modal),
            SlackView::Home(_) => None,
        });
        let callback = modal.and_then(|modal| modal.callback_id.as_ref()).map(|id| id.value().as_str());
        let form = Form::read(callback, modal.and_then(|modal| modal.private_metadata.as_deref()));
        let typing = form.and_then(|form| {
            let place = channel(&SlackChannelId::new(form.channel.clone()));
            form.typing(event.block_id.value(), &event.value, account(&event.user.id), place)
        });
        let names = match typing {
            Some(typing) => self.suggest.suggest(&typing).await,
            None => Vec::new(),
        };
        let option = |(shown, value): (String, String)| SlackBlockChoiceItem::new(SlackBlockPlainTextOnly::from(shown), value);
        let options = forms::options(names, &event.value).into_iter().map(option).collect();
        SlackBlockSuggestionResponse::Options(SlackBlockSuggestionOptions { options })
    }
}

/// What was filled in, by block.
fn values(state: Option<SlackViewState>) -> BTreeMap<String, Vec<String>> {
    let of = |value: SlackViewStateValue| {
        let chosen = value.selected_option.into_iter().chain(value.selected_options.into_iter().flatten());
        value.value.into_iter().chain(chosen.map(|option| option.value)).collect::<Vec<_>>()
    };
    let blocks = state.map(|state| state.values).unwrap_or_default();
    blocks.into_iter().map(|(block, actions)| (block.value().clone(), actions.into_values().flat_map(of).collect())).collect()
}
