//! Block Kit as strictly as Slack checks it: known blocks, elements and fields only, and every documented limit.
//!
//! What a block may look like is data ([`shapes`]); this module walks blocks along it and words what is wrong as Slack does.

mod shapes;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use self::shapes::{Field, Kind, Text};

/// Blocks in a message.
pub(super) const MESSAGE_BLOCKS: usize = 50;

/// Blocks in a modal.
pub(super) const MODAL_BLOCKS: usize = 100;

/// Characters of all texts of a message's blocks together. Slack documents no number (`msg_blocks_too_long`); 9,597 were seen to pass
/// and 11,341 to fail (slackapi/bolt-js#2867), so what stays under this one passes.
pub(super) const BLOCK_TEXT_CHARS: usize = 10_000;

/// Characters of a `block_id` and of an `action_id`.
const ID_CHARS: usize = 255;

/// Everything that is wrong with `blocks`, worded as in `response_metadata.messages`; empty if nothing is.
pub(super) fn problems(blocks: &[Value], most: usize) -> Vec<String> {
    let mut checker = Checker::default();
    if blocks.len() > most {
        checker.complain(&format!("no more than {most} items allowed"), "/blocks");
    }
    let mut block_ids = BTreeSet::new();
    for (index, block) in blocks.iter().enumerate() {
        let at = format!("/blocks/{index}");
        checker.block(block, &at);
        if let Some(id) = block.get("block_id").and_then(Value::as_str)
            && !block_ids.insert(id)
        {
            checker.complain(&format!("`block_id` {id} already exists"), &format!("{at}/block_id"));
        }
    }
    checker.problems
}

/// Everything that is wrong with a text object that must be plain, such as a modal's title.
pub(super) fn plain_text_problems(value: &Value, most: usize, at: &str) -> Vec<String> {
    let mut checker = Checker::default();
    checker.text(value, Text::Plain, most, at);
    checker.problems
}

/// Characters of all texts in `blocks` together.
pub(super) fn text_chars(blocks: &[Value]) -> usize {
    fn count(value: &Value) -> usize {
        match value {
            Value::Object(fields) => fields.iter().map(|(name, value)| if name == "text" { text(value) } else { count(value) }).sum(),
            Value::Array(values) => values.iter().map(count).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }
    fn text(value: &Value) -> usize {
        value.as_str().map_or_else(|| count(value), |text| text.chars().count())
    }
    blocks.iter().map(count).sum()
}

/// The blocks as Slack stores them: with the ids that the app did not choose. `next_id` makes them.
pub(super) fn with_ids(mut blocks: Vec<Value>, mut next_id: impl FnMut() -> String) -> Vec<Value> {
    for block in blocks.iter_mut().filter_map(Value::as_object_mut) {
        block.entry("block_id").or_insert_with(|| json!(next_id()));
        let nested = block.iter_mut().flat_map(|(name, value)| match (name.as_str(), value) {
            ("accessory" | "element", value @ Value::Object(_)) => vec![value],
            ("elements", Value::Array(elements)) => elements.iter_mut().collect(),
            _ => Vec::new(),
        });
        for element in nested.filter_map(Value::as_object_mut) {
            let kind = element.get("type").and_then(Value::as_str).unwrap_or_default();
            if shapes::element(kind).is_some_and(|shape| shape.interactive) {
                element.entry("action_id").or_insert_with(|| json!(next_id()));
            }
        }
    }
    blocks
}

/// The buttons of `blocks`, each with the id of its block.
pub(super) fn buttons(blocks: &[Value]) -> Vec<(&str, &Map<String, Value>)> {
    let mut found = Vec::new();
    for block in blocks {
        let id = block.get("block_id").and_then(Value::as_str).unwrap_or_default();
        let inner = block.get("elements").and_then(Value::as_array).into_iter().flatten().chain(block.get("accessory"));
        let buttons = inner.filter(|element| element.get("type").and_then(Value::as_str) == Some("button"));
        found.extend(buttons.filter_map(Value::as_object).map(|button| (id, button)));
    }
    found
}

#[derive(Default)]
struct Checker {
    problems: Vec<String>,
    /// Action ids of the block under way.
    action_ids: BTreeSet<String>,
}

impl Checker {
    fn complain(&mut self, what: &str, at: &str) {
        self.problems.push(format!("{what} [json-pointer:{at}]"));
    }

    fn block(&mut self, block: &Value, at: &str) {
        self.action_ids.clear();
        let Some((kind, fields)) = self.typed(block, at) else { return };
        let Some(shape) = shapes::block(kind) else { return self.complain(&format!("unsupported type: {kind}"), &format!("{at}/type")) };
        if let Some(id) = fields.get("block_id") {
            self.string(id, ID_CHARS, &format!("{at}/block_id"));
        }
        self.fields(fields, shape.fields, &["type", "block_id"], at);
        if kind == "section" && !fields.contains_key("text") && !fields.contains_key("fields") {
            self.complain("missing required field: text", at);
        }
        self.one_of_two_images(kind, fields, at);
    }

    fn element(&mut self, element: &Value, allowed: &[&str], at: &str) {
        let Some((kind, fields)) = self.typed(element, at) else { return };
        if allowed == shapes::CONTEXT && shapes::TEXTS.contains(&kind) {
            return self.text(element, Text::Any, shapes::TEXT_CHARS, at);
        }
        let shape = shapes::element(kind).filter(|_| allowed.contains(&kind));
        let Some(shape) = shape else { return self.complain(&format!("unsupported type: {kind}"), &format!("{at}/type")) };
        let common: &[&str] = if shape.interactive { &["type", "action_id"] } else { &["type"] };
        self.fields(fields, shape.fields, common, at);
        self.one_of_two_images(kind, fields, at);
        if let Some(id) = fields.get("action_id").filter(|_| shape.interactive) {
            let at = format!("{at}/action_id");
            self.string(id, ID_CHARS, &at);
            if let Some(id) = id.as_str()
                && !self.action_ids.insert(id.to_owned())
            {
                self.complain(&format!("`action_id` {id} already exists in this block"), &at);
            }
        }
    }

    fn one_of_two_images(&mut self, kind: &str, fields: &Map<String, Value>, at: &str) {
        if kind == "image" && fields.contains_key("image_url") == fields.contains_key("slack_file") {
            self.complain("must have exactly one of image_url and slack_file", at);
        }
    }

    /// The fields of an object with a `type`.
    fn typed<'v>(&mut self, value: &'v Value, at: &str) -> Option<(&'v str, &'v Map<String, Value>)> {
        let Some(fields) = value.as_object() else {
            self.complain("must be an object", at);
            return None;
        };
        let Some(kind) = fields.get("type").and_then(Value::as_str) else {
            self.complain("missing required field: type", at);
            return None;
        };
        Some((kind, fields))
    }

    fn fields(&mut self, fields: &Map<String, Value>, known: &[Field], common: &[&str], at: &str) {
        for field in known {
            match fields.get(field.name) {
                Some(value) => self.value(value, field.kind, &format!("{at}/{}", field.name)),
                None if field.required => self.complain(&format!("missing required field: {}", field.name), at),
                None => {}
            }
        }
        for name in fields.keys() {
            if !common.contains(&name.as_str()) && !known.iter().any(|field| field.name == name) {
                self.complain(&format!("invalid additional property: {name}"), at);
            }
        }
    }

    fn value(&mut self, value: &Value, kind: Kind, at: &str) {
        match kind {
            Kind::Any => {}
            Kind::Bool if value.is_boolean() => {}
            Kind::Number if value.is_number() => {}
            Kind::Bool => self.complain("must be a boolean", at),
            Kind::Number => self.complain("must be a number", at),
            Kind::String(most) => self.string(value, most, at),
            Kind::Word(words) if value.as_str().is_some_and(|word| words.contains(&word)) => {}
            Kind::Word(words) => self.complain(&format!("must be a valid enum value: {}", words.join(", ")), at),
            Kind::Text(text, most) => self.text(value, text, most, at),
            Kind::Texts(items, most) => self.list(value, items, at, |checker, one, at| checker.text(one, Text::Any, most, at)),
            Kind::Element(allowed) => self.element(value, allowed, at),
            Kind::Elements(items, allowed) => self.list(value, items, at, |checker, one, at| checker.element(one, allowed, at)),
            Kind::Option => self.object(value, shapes::OPTION, at),
            Kind::Options(items) => self.list(value, items, at, |checker, one, at| checker.object(one, shapes::OPTION, at)),
            Kind::Confirm => self.object(value, shapes::CONFIRM, at),
            Kind::RichText => self.list(value, usize::MAX, at, |checker, one, at| {
                if let Some((kind, _)) = checker.typed(one, at)
                    && !shapes::RICH_TEXT_PARTS.contains(&kind)
                {
                    checker.complain(&format!("unsupported type: {kind}"), &format!("{at}/type"));
                }
            }),
        }
    }

    fn object(&mut self, value: &Value, known: &[Field], at: &str) {
        match value.as_object() {
            Some(fields) => self.fields(fields, known, &[], at),
            None => self.complain("must be an object", at),
        }
    }

    fn list(&mut self, value: &Value, most: usize, at: &str, mut each: impl FnMut(&mut Self, &Value, &str)) {
        let Some(items) = value.as_array() else { return self.complain("must be an array", at) };
        if items.is_empty() {
            self.complain("no fewer than 1 items allowed", at);
        }
        if items.len() > most {
            self.complain(&format!("no more than {most} items allowed"), at);
        }
        for (index, item) in items.iter().enumerate() {
            each(self, item, &format!("{at}/{index}"));
        }
    }

    fn text(&mut self, value: &Value, text: Text, most: usize, at: &str) {
        let Some((kind, fields)) = self.typed(value, at) else { return };
        if !text.allows(kind) {
            return self.complain(&format!("unsupported type: {kind}"), &format!("{at}/type"));
        }
        let known = if kind == "plain_text" { shapes::PLAIN_TEXT } else { shapes::MRKDWN };
        self.fields(fields, known, &["type"], at);
        if let Some(words) = fields.get("text") {
            let at = format!("{at}/text");
            self.string(words, most, &at);
            if words.as_str().is_some_and(str::is_empty) {
                self.complain("must be more than 0 characters", &at);
            }
        }
    }

    fn string(&mut self, value: &Value, most: usize, at: &str) {
        match value.as_str() {
            Some(text) if text.chars().count() > most => self.complain(&format!("must be less than {} characters", most + 1), at),
            Some(_) => {}
            None => self.complain("must be a string", at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Value {
        json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
    }

    fn button(action_id: &str, text: &str, value: &str) -> Value {
        json!({ "type": "button", "action_id": action_id, "value": value, "text": { "type": "plain_text", "text": text } })
    }

    /// Goal: every documented limit and every unknown name is refused, with Slack's words. Method: one wrong block each.
    #[test]
    fn what_slack_refuses() {
        let header = |text: &str| json!({ "type": "header", "text": { "type": "plain_text", "text": text } });
        let actions = |elements: Vec<Value>| json!({ "type": "actions", "elements": elements });
        let cases = [
            (section(&"x".repeat(3001)), "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
            (section(""), "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
            (json!({ "type": "section" }), "missing required field: text [json-pointer:/blocks/0]"),
            (json!({ "type": "table" }), "unsupported type: table [json-pointer:/blocks/0/type]"),
            (json!({ "type": "divider", "colour": "red" }), "invalid additional property: colour [json-pointer:/blocks/0]"),
            (json!("divider"), "must be an object [json-pointer:/blocks/0]"),
            (header(&"x".repeat(151)), "must be less than 151 characters [json-pointer:/blocks/0/text/text]"),
            (
                json!({ "type": "header", "text": { "type": "mrkdwn", "text": "x" } }),
                "unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]",
            ),
            (actions(vec![]), "no fewer than 1 items allowed [json-pointer:/blocks/0/elements]"),
            (
                actions((0..26).map(|n| button(&n.to_string(), "x", "")).collect()),
                "no more than 25 items allowed [json-pointer:/blocks/0/elements]",
            ),
            (
                actions(vec![button("a", &"x".repeat(76), "")]),
                "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]",
            ),
            (
                actions(vec![button("a", "x", &"x".repeat(2001))]),
                "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]",
            ),
            (
                actions(vec![button(&"x".repeat(256), "x", "")]),
                "must be less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]",
            ),
            (
                actions(vec![button("a", "x", ""), button("a", "y", "")]),
                "`action_id` a already exists in this block [json-pointer:/blocks/0/elements/1/action_id]",
            ),
            (
                json!({ "type": "context", "elements": [button("a", "x", "")] }),
                "unsupported type: button [json-pointer:/blocks/0/elements/0/type]",
            ),
        ];
        for (block, complaint) in cases {
            assert_eq!(problems(std::slice::from_ref(&block), MESSAGE_BLOCKS), vec![complaint.to_owned()], "{block}");
        }
        let many: Vec<Value> = (0..51).map(|_| json!({ "type": "divider" })).collect();
        assert_eq!(problems(&many, MESSAGE_BLOCKS), vec!["no more than 50 items allowed [json-pointer:/blocks]".to_owned()]);
        let twins = [json!({ "type": "divider", "block_id": "b" }), json!({ "type": "divider", "block_id": "b" })];
        assert_eq!(problems(&twins, MESSAGE_BLOCKS), vec!["`block_id` b already exists [json-pointer:/blocks/1/block_id]".to_owned()]);
    }

    /// A message at every limit is accepted, and the same action id may appear in two blocks.
    #[test]
    fn what_slack_accepts() {
        let confirm = json!({
            "title": { "type": "plain_text", "text": "Sure?" },
            "text": { "type": "mrkdwn", "text": "It cuts the node off." },
            "confirm": { "type": "plain_text", "text": "Approve" },
            "deny": { "type": "plain_text", "text": "Back" },
            "style": "danger",
        });
        let mut approve = button("approve", &"x".repeat(75), &"v".repeat(2000));
        approve["confirm"] = confirm;
        approve["style"] = json!("primary");
        let option = json!({ "text": { "type": "plain_text", "text": "One" }, "value": "1" });
        let blocks = vec![
            json!({ "type": "header", "block_id": "head", "text": { "type": "plain_text", "text": "x".repeat(150), "emoji": true } }),
            section(&"x".repeat(3000)),
            json!({ "type": "section", "fields": [{ "type": "mrkdwn", "text": "*node*", "verbatim": true }], "accessory": button("approve", "x", "") }),
            json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": "small" }, { "type": "image", "image_url": "https://x/y.png", "alt_text": "y" }] }),
            json!({ "type": "divider" }),
            json!({ "type": "actions", "elements": [approve, { "type": "overflow", "action_id": "more", "options": [option] }] }),
            json!({ "type": "rich_text", "elements": [{ "type": "rich_text_section", "elements": [{ "type": "text", "text": "x" }] }] }),
            json!({ "type": "markdown", "text": "# x" }),
        ];
        assert_eq!(problems(&blocks, MESSAGE_BLOCKS), Vec::<String>::new());
        assert_eq!(text_chars(&[section("four"), json!({ "type": "markdown", "text": "six" })]), 7);
    }

    /// Ids that the app left out are filled in, chosen ones are kept.
    #[test]
    fn ids_are_filled_in() {
        let mut serial = 0;
        let blocks =
            vec![json!({ "type": "divider", "block_id": "mine" }), json!({ "type": "actions", "elements": [{ "type": "button" }] })];
        let stored = with_ids(blocks, || {
            serial += 1;
            format!("id{serial}")
        });
        let expected = [
            json!({ "type": "divider", "block_id": "mine" }),
            json!({ "type": "actions", "block_id": "id1", "elements": [{ "type": "button", "action_id": "id2" }] }),
        ];
        assert_eq!(stored, expected);
        assert_eq!(buttons(&stored).into_iter().map(|(block, _)| block).collect::<Vec<_>>(), vec!["id1"]);
    }
}
