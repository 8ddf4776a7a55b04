//! Modals: what the bot may show, and what a person may fill in.

use serde_json::Value;

use super::content::CUSTOM_ID;
use super::shape::{Shape, optional, required, text};

/// A modal of rows with one text input each.
pub(super) const SHAPE: Shape = Shape::Object(&[
    required("custom_id", CUSTOM_ID),
    required("title", Shape::Text { least: 1, most: 45 }),
    required("components", Shape::List { least: 1, most: 5, of: &ROW }),
]);

const ROW: Shape = Shape::Object(&[
    required("type", Shape::Choice(&[1])),
    optional("id", Shape::Integer { least: 0, most: i32::MAX as i64 }),
    required("components", Shape::List { least: 1, most: 1, of: &INPUT }),
]);

const INPUT: Shape = Shape::Object(&[
    required("type", Shape::Choice(&[4])),
    optional("id", Shape::Integer { least: 0, most: i32::MAX as i64 }),
    required("custom_id", CUSTOM_ID),
    required("style", Shape::Choice(&[1, 2])),
    required("label", Shape::Text { least: 1, most: 45 }),
    optional("min_length", Shape::Integer { least: 0, most: 4000 }),
    optional("max_length", Shape::Integer { least: 1, most: 4000 }),
    optional("required", Shape::Flag),
    optional("value", text(4000)),
    optional("placeholder", text(100)),
]);

/// The text inputs of a modal, in order.
pub(super) fn inputs(components: &[Value]) -> impl Iterator<Item = &Value> {
    components.iter().filter_map(|row| row.get("components")?.as_array()?.first())
}

/// Why an input does not take a value; `None` if it does.
pub(super) fn refuses(input: &Value, value: &str) -> Option<String> {
    let number = |name: &str| input.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    let (least, most) = (number("min_length").unwrap_or_default(), number("max_length").unwrap_or(4000));
    let needed = input.get("required").and_then(Value::as_bool).unwrap_or(true);
    match value.chars().count() {
        0 if needed => Some("it must be filled in".into()),
        0 => None,
        length if length < least => Some(format!("it takes {least} characters at least")),
        length if length > most => Some(format!("it takes {most} characters at most")),
        _ => None,
    }
}
