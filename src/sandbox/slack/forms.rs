//! What people do with modals and shortcuts: open a message's menu, type into a menu that the app fills, fill in a form and send it.

use serde_json::{Map, Value, json};

use super::delivery::{Envelope, EnvelopeKind};
use super::people::{SlackEmulatorError, active_user, interaction, visible_channel, visible_message};
use super::state::State;
use super::{SlackEmulator, blocks, render};

/// Options that a menu takes.
const OPTIONS: usize = 100;

/// Characters of an option's text, and of its value.
const TEXT: usize = 75;
const VALUE: usize = 150;

impl SlackEmulator {
    /// Closes every modal of somebody without sending it.
    pub fn close_modals(&self, user: &str) {
        self.slack.change(|state| state.modals.retain(|_, modal| modal.user != user));
    }

    /// Uses a shortcut on a message, and returns the trigger with which the app may open a modal.
    ///
    /// # Errors
    /// If the person does not see the message, the app has no such shortcut, or it does not answer.
    pub async fn use_shortcut(&self, user: &str, channel: &str, ts: &str, callback_id: &str) -> Result<String, SlackEmulatorError> {
        let address = self.server.address;
        let (envelope, trigger) = self.slack.change(|state| {
            if !state.workspace.app.shortcuts.contains(callback_id) {
                return Err(SlackEmulatorError::NoSuchShortcut(callback_id.into()));
            }
            let message = visible_message(state, user, channel, ts)?;
            // What one person alone sees has no menu.
            if message.only_for.is_some() {
                return Err(SlackEmulatorError::NoSuchMessage { user: user.into(), ts: ts.into() });
            }
            let place = visible_channel(state, user, channel)?;
            let shown = render::message_in(state, place, message, true);
            let channel_name = if place.is_im { "directmessage".to_owned() } else { place.name.clone() };
            let trigger = state.new_trigger(user);
            let response_url = state.new_response_url(address, user, channel, None);
            let mut payload = interaction(state, "message_action", user, &trigger)?;
            payload.extend([
                ("callback_id".to_owned(), json!(callback_id)),
                ("channel".to_owned(), json!({ "id": channel, "name": channel_name })),
                ("message_ts".to_owned(), json!(ts)),
                ("message".to_owned(), shown),
                ("action_ts".to_owned(), json!(state.next_ts())),
                ("response_url".to_owned(), json!(response_url)),
            ]);
            Ok((Envelope { kind: EnvelopeKind::Shortcut, payload: Value::Object(payload), origin: None }, trigger))
        })?;
        self.deliver(envelope).await?;
        Ok(trigger)
    }

    /// Types into a menu of a modal that the app fills, and returns what it offers: the values, in order. What was offered last can be chosen.
    ///
    /// # Errors
    /// If there is no such menu, the app does not answer, or it answers with something that Slack does not take.
    pub async fn type_into(&self, user: &str, view_id: &str, block_id: &str, typed: &str) -> Result<Vec<String>, SlackEmulatorError> {
        let envelope = self.slack.change(|state| suggestion(state, user, (view_id, block_id), typed))?;
        let answer = self.deliver(envelope).await?;
        let offered = options(answer.as_ref()).map_err(SlackEmulatorError::BadAnswer)?;
        self.slack.change(|state| {
            if let Some(modal) = state.modals.get_mut(view_id) {
                modal.offered.insert(block_id.to_owned(), offered.clone());
            }
        });
        let value = |option: &Value| option.get("value").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(offered.iter().map(value).collect())
    }

    /// Fills a modal in as a person can, and sends it; returns the app's answer. `filled` is by block id; a block of boxes may come several
    /// times, and a menu starts with what the app chose.
    ///
    /// # Errors
    /// If the client would not let it through, or the app does not answer.
    pub async fn fill_in(&self, user: &str, view_id: &str, filled: &[(&str, &str)]) -> Result<Option<Value>, SlackEmulatorError> {
        let values = self.slack.read(|state| {
            let no_modal = || SlackEmulatorError::NoSuchModal { user: user.into(), view_id: view_id.into() };
            let modal = state.modals.get(view_id).filter(|modal| modal.user == user).ok_or_else(no_modal)?;
            let list = inputs(&modal.view);
            if let Some((block, _)) = filled.iter().find(|(block, _)| !list.iter().any(|input| id(input) == *block)) {
                return Err(SlackEmulatorError::BadInput { input: (*block).to_owned(), why: "there is none".into() });
            }
            let mut values = Map::new();
            for input in &list {
                let given: Vec<&str> = filled.iter().filter(|(block, _)| *block == id(input)).map(|(_, value)| *value).collect();
                let offered = modal.offered.get(id(input)).cloned().unwrap_or_default();
                let (action, value) =
                    value(input, &given, &offered).map_err(|why| SlackEmulatorError::BadInput { input: id(input).into(), why })?;
                values.insert(id(input).to_owned(), json!({ action: value }));
            }
            Ok(Value::Object(values))
        })?;
        self.submit(user, view_id, values).await
    }
}

/// Errors must be about inputs of the modal.
pub(super) fn check_errors(view: &Value, answer: &Value) -> Result<(), SlackEmulatorError> {
    let bad = |why: String| Err(SlackEmulatorError::BadAnswer(why));
    let Some(errors) = answer.get("errors").and_then(Value::as_object).filter(|errors| !errors.is_empty()) else {
        return bad("response_action `errors` without errors".into());
    };
    let known = inputs(view);
    for (block, words) in errors {
        if !known.iter().any(|input| id(input) == block) {
            return bad(format!("an error about `{block}`, which is no input of the modal"));
        }
        if words.as_str().is_none_or(str::is_empty) {
            return bad(format!("an error about `{block}` without words"));
        }
    }
    Ok(())
}

fn inputs(view: &Value) -> Vec<Value> {
    let blocks = view.get("blocks").and_then(Value::as_array).into_iter().flatten();
    blocks.filter(|block| block.get("type").and_then(Value::as_str) == Some("input")).cloned().collect()
}

fn id(input: &Value) -> &str {
    input.get("block_id").and_then(Value::as_str).unwrap_or_default()
}

fn suggestion(state: &mut State, user: &str, (view_id, block_id): (&str, &str), typed: &str) -> Result<Envelope, SlackEmulatorError> {
    active_user(state, user)?;
    let no_modal = || SlackEmulatorError::NoSuchModal { user: user.into(), view_id: view_id.into() };
    let view = state.modals.get(view_id).filter(|modal| modal.user == user).ok_or_else(no_modal)?.view.clone();
    let bad = |why: &str| SlackEmulatorError::BadInput { input: block_id.into(), why: why.into() };
    let input = inputs(&view).into_iter().find(|input| id(input) == block_id).ok_or_else(|| bad("there is none"))?;
    let element = input.get("element").cloned().unwrap_or_default();
    if element.get("type").and_then(Value::as_str) != Some("external_select") {
        return Err(bad("the app does not fill it"));
    }
    // Slack asks from the third character on unless it is told otherwise.
    let least = element.get("min_query_length").and_then(Value::as_u64).unwrap_or(3);
    if u64::try_from(typed.chars().count()).unwrap_or(u64::MAX) < least {
        return Err(bad("too little is typed to be asked for"));
    }
    let mut payload = interaction(state, "block_suggestion", user, "")?;
    payload.remove("trigger_id");
    payload.extend([
        ("container".to_owned(), json!({ "type": "view", "view_id": view_id })),
        ("action_id".to_owned(), element.get("action_id").cloned().unwrap_or_default()),
        ("block_id".to_owned(), json!(block_id)),
        ("value".to_owned(), json!(typed)),
        ("view".to_owned(), view),
    ]);
    Ok(Envelope { kind: EnvelopeKind::Suggestion, payload: Value::Object(payload), origin: None })
}

/// What the app offers, if Slack takes it.
fn options(answer: Option<&Value>) -> Result<Vec<Value>, String> {
    let fields = answer.and_then(Value::as_object).ok_or("a menu needs an answer with options")?;
    if let Some(strange) = fields.keys().find(|name| *name != "options") {
        return Err(format!("a menu's answer with the field `{strange}`"));
    }
    let options = fields.get("options").and_then(Value::as_array).ok_or("options must be an array")?;
    if options.len() > OPTIONS {
        return Err(format!("no more than {OPTIONS} options allowed"));
    }
    for (index, option) in options.iter().enumerate() {
        let at = format!("/options/{index}");
        let fields = option.as_object().ok_or_else(|| format!("must be an object [json-pointer:{at}]"))?;
        if let Some(strange) = fields.keys().find(|name| !["text", "value", "description"].contains(&name.as_str())) {
            return Err(format!("invalid additional property: {strange} [json-pointer:{at}]"));
        }
        let text = fields.get("text").unwrap_or(&Value::Null);
        if let Some(problem) = blocks::plain_text_problems(text, TEXT, &format!("{at}/text")).into_iter().next() {
            return Err(problem);
        }
        let value = fields.get("value").and_then(Value::as_str).unwrap_or_default();
        if value.is_empty() || value.chars().count() > VALUE {
            return Err(format!("must be 1 to {VALUE} characters [json-pointer:{at}/value]"));
        }
    }
    Ok(options.clone())
}

/// What stands in `state.values` for an input, by its action.
fn value(input: &Value, given: &[&str], offered: &[Value]) -> Result<(String, Value), String> {
    let element = input.get("element").cloned().unwrap_or_default();
    let word = |name: &str| element.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_optional = input.get("optional").and_then(Value::as_bool).unwrap_or_default();
    let (kind, action) = (word("type"), word("action_id"));
    let among = |options: &[Value], wanted: &str| {
        let is = |option: &&Value| option.get("value").and_then(Value::as_str) == Some(wanted);
        options.iter().find(is).cloned().ok_or_else(|| format!("`{wanted}` is not offered"))
    };
    let own = element.get("options").and_then(Value::as_array).cloned().unwrap_or_default();
    let (is_empty, filled) = match kind.as_str() {
        "plain_text_input" => {
            let text = given.first().map(|text| (*text).to_owned()).or_else(|| Some(word("initial_value")).filter(|text| !text.is_empty()));
            let most = element.get("max_length").and_then(Value::as_u64).unwrap_or(3000);
            if text.as_ref().is_some_and(|text| u64::try_from(text.chars().count()).unwrap_or(u64::MAX) > most) {
                return Err(format!("no more than {most} characters"));
            }
            (text.is_none(), json!({ "type": kind, "value": text }))
        }
        "static_select" | "external_select" => {
            let options = if kind == "static_select" { own.as_slice() } else { offered };
            let initial = element.get("initial_option").cloned();
            let chosen = given.first().map(|wanted| among(options, wanted)).transpose()?.or(initial);
            (chosen.is_none(), json!({ "type": kind, "selected_option": chosen }))
        }
        "checkboxes" => {
            let chosen: Vec<Value> = given.iter().map(|wanted| among(&own, wanted)).collect::<Result<_, _>>()?;
            (chosen.is_empty(), json!({ "type": kind, "selected_options": chosen }))
        }
        other => return Err(format!("inputs of type {other} are not emulated")),
    };
    if is_empty && !is_optional {
        return Err("it has to be filled in".into());
    }
    Ok((action, filled))
}
