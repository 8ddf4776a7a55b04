//! `views.*`: modals, as far as opening, replacing and stacking them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::refusal::Refusal;
use super::{Call, Method, Token};
use crate::sandbox::slack::blocks;
use crate::sandbox::slack::state::{Modal, State};

pub(super) const METHODS: &[Method] = &[
    Method { name: "views.open", token: Token::Bot, scope: None, arguments: &["trigger_id", "view"], handle: open },
    Method { name: "views.push", token: Token::Bot, scope: None, arguments: &["trigger_id", "view"], handle: push },
    Method { name: "views.update", token: Token::Bot, scope: None, arguments: &["view_id", "external_id", "hash", "view"], handle: update },
];

/// Views that may be stacked, as in Slack.
const STACK: usize = 3;

/// Characters of a modal's title, and of its two buttons.
const TITLE_CHARS: usize = 24;

/// Fields of a view, with the characters that a string may have.
const FIELDS: &[(&str, usize)] = &[
    ("type", 5),
    ("title", 0),
    ("blocks", 0),
    ("close", 0),
    ("submit", 0),
    ("private_metadata", 3000),
    ("callback_id", 255),
    ("external_id", 255),
    ("clear_on_close", 0),
    ("notify_on_close", 0),
    ("submit_disabled", 0),
];

fn open(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let view = read(call)?;
    let user = exchange_trigger(call)?;
    let id = call.state.next_id("V0");
    let view = stateful(call.state, view, &id, None, &id);
    call.state.modals.retain(|_, modal| modal.user != user);
    call.state.modals.insert(id, Modal { user, view: view.clone(), offered: BTreeMap::new() });
    Ok(json!({ "view": view }))
}

fn push(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let view = read(call)?;
    let user = exchange_trigger(call)?;
    let stack: Vec<&Modal> = call.state.modals.values().filter(|modal| modal.user == user).collect();
    let Some(top) = stack.last() else { return Err(Refusal::Code("not_found")) };
    if stack.len() >= STACK {
        return Err(Refusal::Code("push_limit_reached"));
    }
    let word = |name: &str| top.view.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (previous, root) = (word("id"), word("root_view_id"));
    let id = call.state.next_id("V0");
    let view = stateful(call.state, view, &id, Some(&previous), &root);
    call.state.modals.insert(id, Modal { user, view: view.clone(), offered: BTreeMap::new() });
    Ok(json!({ "view": view }))
}

fn update(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let view = read(call)?;
    let (id, external) = (call.arguments.text("view_id")?, call.arguments.text("external_id")?);
    let wanted = |modal: &&Modal| {
        let is = |name: &str, value: &Option<String>| value.is_some() && modal.view.get(name).and_then(Value::as_str) == value.as_deref();
        is("id", &id) || is("external_id", &external)
    };
    let modal = call.state.modals.values().find(wanted).ok_or(Refusal::Code("not_found"))?;
    let word = |name: &str| modal.view.get(name).and_then(Value::as_str).map(str::to_owned);
    if call.arguments.text("hash")?.is_some_and(|hash| word("hash") != Some(hash)) {
        return Err(Refusal::Code("hash_conflict"));
    }
    let (id, previous) = (word("id").unwrap_or_default(), word("previous_view_id"));
    let (root, user) = (word("root_view_id").unwrap_or_default(), modal.user.clone());
    let view = stateful(call.state, view, &id, previous.as_deref(), &root);
    call.state.modals.insert(id, Modal { user, view: view.clone(), offered: BTreeMap::new() });
    Ok(json!({ "view": view }))
}

/// The user who triggered this. A trigger works once and for three seconds.
fn exchange_trigger(call: &mut Call<'_>) -> Result<String, Refusal> {
    let id = call.arguments.required("trigger_id")?;
    let life = call.state.workspace.timing.trigger;
    let trigger = call.state.triggers.get_mut(&id).ok_or(Refusal::Code("invalid_trigger_id"))?;
    if std::mem::replace(&mut trigger.used, true) {
        return Err(Refusal::Code("exchanged_trigger_id"));
    }
    if trigger.born.elapsed() > life {
        return Err(Refusal::Code("expired_trigger_id"));
    }
    Ok(trigger.user.clone())
}

/// Reads and checks `view`.
fn read(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let view = call.arguments.json("view", "invalid_arguments")?;
    let Some(Value::Object(view)) = view else { return Err(Refusal::argument("missing required field: view".into())) };
    let mut problems = Vec::new();
    for (name, value) in &view {
        match FIELDS.iter().find(|(known, _)| known == name) {
            None => problems.push(format!("invalid additional property: {name} [json-pointer:/view]")),
            Some((_, most)) if *most > 0 && value.as_str().is_none_or(|text| text.chars().count() > *most) => {
                problems.push(format!("must be a string of less than {} characters [json-pointer:/view/{name}]", most + 1));
            }
            Some(_) => {}
        }
    }
    if view.get("type").and_then(Value::as_str) != Some("modal") {
        problems.push("unsupported type: only modal is emulated [json-pointer:/view/type]".into());
    }
    for (name, required) in [("title", true), ("submit", false), ("close", false)] {
        match view.get(name) {
            Some(text) => problems.extend(blocks::plain_text_problems(text, TITLE_CHARS, &format!("/view/{name}"))),
            None if required => problems.push(format!("missing required field: {name} [json-pointer:/view]")),
            None => {}
        }
    }
    match view.get("blocks").and_then(Value::as_array) {
        Some(list) => problems.extend(blocks::problems(list, blocks::MODAL_BLOCKS)),
        None => problems.push("missing required field: blocks [json-pointer:/view]".into()),
    }
    if problems.is_empty() { Ok(view) } else { Err(Refusal::Invalid { code: "invalid_arguments", problems }) }
}

/// The view as Slack hands it back.
fn stateful(state: &mut State, view: Map<String, Value>, id: &str, previous: Option<&str>, root: &str) -> Value {
    let list = view.get("blocks").and_then(Value::as_array).cloned().unwrap_or_default();
    let blocks = blocks::with_ids(list, || state.next_id("b"));
    let app = &state.workspace.app;
    let mut whole = json!({
        "id": id,
        "team_id": state.workspace.team_id,
        "type": "modal",
        "close": null,
        "submit": null,
        "private_metadata": "",
        "callback_id": "",
        "external_id": "",
        "clear_on_close": false,
        "notify_on_close": false,
        "submit_disabled": false,
        "state": { "values": {} },
        "hash": Uuid::new_v4().simple().to_string(),
        "previous_view_id": previous,
        "root_view_id": root,
        "app_id": app.id,
        "app_installed_team_id": state.workspace.team_id,
        "bot_id": app.bot_id,
    });
    if let Value::Object(fields) = &mut whole {
        fields.extend(view);
        fields.insert("blocks".into(), Value::Array(blocks));
    }
    whole
}
