//! What a message may say: the shape of its body, Discord's limits, and how embeds and components are shown again.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::mentions;
use super::refusal::{Problem, Refusal};
use super::shape::{BITS, Shape, URL, list, optional, required, text};

/// Characters of all embeds of a message together.
const EMBED_CHARACTERS: usize = 6000;

/// Flags that a bot may set: no embeds of links, no notification, and, of an interaction's answer, only one reader.
pub(super) const SETTABLE_FLAGS: u64 = (1 << 2) | (1 << 12);

const EMBED: Shape = Shape::Object(&[
    optional("title", text(256)),
    optional("type", Shape::Word(&["rich"])),
    optional("description", text(4096)),
    optional("url", URL),
    optional("timestamp", Shape::Time),
    optional("color", Shape::Integer { least: 0, most: 0xFF_FFFF }),
    optional("footer", Shape::Object(&[required("text", Shape::Text { least: 1, most: 2048 }), optional("icon_url", URL)])),
    optional("image", Shape::Object(&[required("url", URL)])),
    optional("thumbnail", Shape::Object(&[required("url", URL)])),
    optional("author", AUTHOR),
    optional("fields", list(25, &EMBED_FIELD)),
]);

const AUTHOR: Shape =
    Shape::Object(&[required("name", Shape::Text { least: 1, most: 256 }), optional("url", URL), optional("icon_url", URL)]);

const EMBED_FIELD: Shape = Shape::Object(&[
    required("name", Shape::Text { least: 1, most: 256 }),
    required("value", Shape::Text { least: 1, most: 1024 }),
    optional("inline", Shape::Flag),
]);

const EMOJI: Shape = Shape::Object(&[optional("id", Shape::Id), required("name", text(64)), optional("animated", Shape::Flag)]);

/// A number that a bot may give to a component.
const NUMBER: Shape = Shape::Integer { least: 0, most: i32::MAX as i64 };

pub(super) const CUSTOM_ID: Shape = Shape::Text { least: 1, most: 100 };

const ROW: Shape = Shape::Object(&[
    required("type", Shape::Choice(&[1])),
    optional("id", NUMBER),
    required("components", Shape::List { least: 1, most: 5, of: &Shape::By(in_row) }),
]);

const BUTTON: Shape = Shape::Object(&[
    required("type", Shape::Choice(&[2])),
    optional("id", NUMBER),
    required("style", Shape::Choice(&[1, 2, 3, 4])),
    required("custom_id", CUSTOM_ID),
    optional("label", text(80)),
    optional("emoji", EMOJI),
    optional("disabled", Shape::Flag),
]);

const LINK: Shape = Shape::Object(&[
    required("type", Shape::Choice(&[2])),
    optional("id", NUMBER),
    required("style", Shape::Choice(&[5])),
    required("url", Shape::Text { least: 1, most: 512 }),
    optional("label", text(80)),
    optional("emoji", EMOJI),
    optional("disabled", Shape::Flag),
]);

const SELECT: Shape = Shape::Object(&[
    required("type", Shape::Choice(&[3])),
    optional("id", NUMBER),
    required("custom_id", CUSTOM_ID),
    required("options", Shape::List { least: 1, most: 25, of: &SELECT_OPTION }),
    optional("placeholder", text(150)),
    optional("min_values", Shape::Integer { least: 0, most: 25 }),
    optional("max_values", Shape::Integer { least: 1, most: 25 }),
    optional("disabled", Shape::Flag),
]);

const SELECT_OPTION: Shape = Shape::Object(&[
    required("label", Shape::Text { least: 1, most: 100 }),
    required("value", Shape::Text { least: 1, most: 100 }),
    optional("description", text(100)),
    optional("emoji", EMOJI),
    optional("default", Shape::Flag),
]);

const ATTACHMENT: Shape =
    Shape::Object(&[required("id", Shape::Id), optional("filename", text(1024)), optional("description", text(1024))]);

const REFERENCE: Shape = Shape::Object(&[
    optional("type", Shape::Choice(&[0])),
    required("message_id", Shape::Id),
    optional("channel_id", Shape::Id),
    optional("guild_id", Shape::Id),
    optional("fail_if_not_exists", Shape::Flag),
]);

/// A new message in a channel.
pub(super) const CREATE: Shape = Shape::Object(&[
    optional("content", text(2000)),
    optional("embeds", list(10, &EMBED)),
    optional("allowed_mentions", mentions::SHAPE),
    optional("components", list(5, &ROW)),
    optional("flags", BITS),
    optional("attachments", list(10, &ATTACHMENT)),
    optional("message_reference", REFERENCE),
    optional("nonce", Shape::Scalar { most: 25 }),
    optional("enforce_nonce", Shape::Flag),
    optional("tts", Shape::Flag),
    optional("sticker_ids", list(0, &Shape::Id)),
]);

/// An edit, of a message or of an interaction's answer.
pub(super) const EDIT: Shape = Shape::Object(&[
    optional("content", text(2000)),
    optional("embeds", list(10, &EMBED)),
    optional("allowed_mentions", mentions::SHAPE),
    optional("components", list(5, &ROW)),
    optional("flags", BITS),
    optional("attachments", list(10, &ATTACHMENT)),
    // Some clients send these with everything. They mean nothing here.
    optional("enforce_nonce", Shape::Flag),
    optional("tts", Shape::Flag),
]);

/// An answer to an interaction, or a followup.
pub(super) const ANSWER: Shape = Shape::Object(&[
    optional("content", text(2000)),
    optional("embeds", list(10, &EMBED)),
    optional("allowed_mentions", mentions::SHAPE),
    optional("components", list(5, &ROW)),
    optional("flags", BITS),
    optional("attachments", list(10, &ATTACHMENT)),
    optional("enforce_nonce", Shape::Flag),
    optional("tts", Shape::Flag),
]);

fn in_row(component: &Value) -> Option<&'static Shape> {
    let number = |name: &str| component.get(name).and_then(Value::as_i64);
    match (number("type"), number("style")) {
        (Some(2), Some(5)) => Some(&LINK),
        (Some(2), _) => Some(&BUTTON),
        (Some(3), _) => Some(&SELECT),
        _ => None,
    }
}

/// Checks what no shape says: the size of all embeds together, empty embeds, twice the same custom id, what a row may hold.
pub(super) fn check(body: &Value) -> Result<(), Refusal> {
    let mut problems = Vec::new();
    let mut wrong = |path: &[&str], code, message: &str| {
        problems.push(Problem { path: path.iter().map(|part| (*part).to_owned()).collect(), code, message: message.into() });
    };
    if elements(body, "embeds").map(characters).sum::<usize>() > EMBED_CHARACTERS {
        wrong(&["embeds"], "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000");
    }
    let mut seen = BTreeSet::new();
    for (index, row) in elements(body, "components").enumerate() {
        let inside: Vec<&Value> = elements(row, "components").collect();
        let selects = inside.iter().filter(|component| component.get("type").and_then(Value::as_u64) == Some(3)).count();
        if selects > 0 && inside.len() > 1 {
            wrong(
                &["components", &index.to_string()],
                "COMPONENT_LAYOUT_WIDTH_EXCEEDED",
                "The specified component exceeds the maximum width",
            );
        }
        for (place, component) in inside.iter().enumerate() {
            let path = ["components", &index.to_string(), "components", &place.to_string()];
            let custom_id = component.get("custom_id").and_then(Value::as_str);
            if custom_id.is_some_and(|custom_id| !seen.insert(custom_id)) {
                wrong(&path, "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated");
            }
            let lacks = |name: &str| component.get(name).is_none_or(|value| value.is_null() || *value == json!(""));
            if component.get("type").and_then(Value::as_u64) == Some(2) && lacks("label") && lacks("emoji") {
                wrong(&path, "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", "A button must have a label or an emoji");
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Refusal::Invalid(problems)) }
}

fn elements<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// Characters of an embed that count: title, description, names and values of fields, footer and author.
fn characters(embed: &Value) -> usize {
    let count = |value: Option<&Value>| value.and_then(Value::as_str).map_or(0, |text| text.chars().count());
    let inner = |name: &str, part: &str| count(embed.get(name).and_then(|inner| inner.get(part)));
    let fields = elements(embed, "fields").map(|field| count(field.get("name")) + count(field.get("value"))).sum::<usize>();
    count(embed.get("title")) + count(embed.get("description")) + inner("footer", "text") + inner("author", "name") + fields
}

/// An embed as Discord shows it: with its type, and without what is empty.
pub(super) fn shown_embed(embed: &Value) -> Value {
    let mut shown = tidy(embed);
    shown.insert("type".into(), json!("rich"));
    for field in shown.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Object(field) = field {
            field.entry("inline").or_insert(json!(false));
        }
    }
    if let Some(time) = shown.get("timestamp").and_then(Value::as_str).and_then(|text| text.parse().ok()) {
        shown.insert("timestamp".into(), json!(super::snowflake::iso(time)));
    }
    Value::Object(shown)
}

/// Components as Discord shows them: each with a number, from 1 in reading order.
pub(super) fn shown_components(components: &[Value]) -> Vec<Value> {
    fn show(component: &Value, last: &mut u64) -> Value {
        *last += 1;
        let mut shown = tidy(component);
        shown.entry("id").or_insert(json!(*last));
        if shown.get("type") == Some(&json!(3)) {
            shown.entry("min_values").or_insert(json!(1));
            shown.entry("max_values").or_insert(json!(1));
        }
        if let Some(Value::Array(inside)) = component.get("components") {
            let inside: Vec<Value> = inside.iter().map(|inner| show(inner, last)).collect();
            shown.insert("components".into(), json!(inside));
        }
        Value::Object(shown)
    }
    let mut last = 0;
    components.iter().map(|component| show(component, &mut last)).collect()
}

fn tidy(value: &Value) -> Map<String, Value> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())).collect()
}
