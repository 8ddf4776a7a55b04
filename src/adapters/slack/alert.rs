//! Pods that an alert names. An alert is written by others, perhaps by the attacker's own pod: what is found here is put before a person, in a
//! form, and nothing else is done with it.

use serde_json::Value;
use slack_morphism::prelude::SlackMessageContent;
use stanch_commands::target::{Namespace, PodName};

/// Callback id of the shortcut on a message.
pub(super) const PROPOSE: &str = "propose-quarantine";

/// Characters of a message that are looked at. Alerts that say more say it first.
const CHARACTERS: usize = 8_000;

/// Texts of a message that are looked at: of its blocks, attachments and fields.
const TEXTS: usize = 200;

/// Different pods that are told of. A message about more than these is not about one suspect.
const PODS: usize = 5;

/// Fields of a message that people read.
const READ: &[&str] = &["text", "title", "value", "fallback"];

/// The different pods in a message, in its order, each as `NAMESPACE/NAME`.
pub(super) fn pods(content: &SlackMessageContent) -> Vec<String> {
    let content = serde_json::to_value(content).unwrap_or_default();
    let mut texts = Vec::new();
    collect(&content, &mut texts);
    let mut found = Vec::new();
    let mut left = CHARACTERS;
    for text in &texts {
        let text: String = text.chars().take(left).collect();
        left = left.saturating_sub(text.chars().count());
        for pod in in_text(&text) {
            if !found.contains(&pod) {
                found.push(pod);
            }
        }
    }
    found.truncate(PODS);
    found
}

/// What people read of a message, wherever it stands. The library has read it, so that it is not nested without end.
fn collect<'v>(value: &'v Value, texts: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| READ.contains(&name.as_str()) && texts.len() < TEXTS) {
                    Some(text) => texts.push(text),
                    None => collect(value, texts),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `NAMESPACE/NAME`, where the name has a hyphen as controllers make it (`and/or` is no pod); or `namespace` and `pod` said apart, as labels
/// of an alert are.
fn in_text(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(is_between).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    let (mut namespace, mut name): (Option<Namespace>, Option<PodName>) = (None, None);
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at.saturating_add(1)).copied().unwrap_or_default();
        match word.to_ascii_lowercase().as_str() {
            "namespace" | "ns" | "namespace_name" => namespace = next.parse().ok().or(namespace),
            "pod" | "pod_name" | "podname" if !next.contains('/') => name = next.parse().ok().or(name),
            _ => found.extend(pair(word)),
        }
        if let (Some(namespace), Some(name)) = (&namespace, name.take_if(|_| namespace.is_some())) {
            found.push(format!("{namespace}/{name}"));
        }
    }
    found
}

fn pair(word: &str) -> Option<String> {
    let (namespace, name) = word.trim_end_matches(['.', '-']).split_once('/')?;
    let (namespace, name): (Namespace, PodName) = (namespace.parse().ok()?, name.parse().ok()?);
    name.as_str().contains('-').then(|| format!("{namespace}/{name}"))
}

/// What stands between words: everything that is in no name and is not the slash between two.
fn is_between(character: char) -> bool {
    !(character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '/' | '_'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(content: Value) -> Vec<String> {
        pods(&serde_json::from_value(content).unwrap())
    }

    /// As alerts of Prometheus, Falco and people have it.
    #[test]
    fn alerts() {
        for (text, expected) in [
            ("Suspicious shell in shop/cart-7d4b9c6f5-x2x9q.", &["shop/cart-7d4b9c6f5-x2x9q"][..]),
            ("[FIRING:1] KubePodCrash (namespace=\"shop\" pod=\"cart-7d4b9c6f5-x2x9q\")", &["shop/cart-7d4b9c6f5-x2x9q"]),
            ("*Pod:* `cart-1`\n*Namespace:* `shop`", &["shop/cart-1"]),
            ("k8s.ns=shop k8s.pod=cart-1", &[]),
            ("shop/cart-1 talks to web/front-2, shop/cart-1 again", &["shop/cart-1", "web/front-2"]),
            ("and/or 10/12 https://example.test/a-b shop/cart", &[]),
            ("pod ../../etc/passwd namespace --force pod shop/CART-1 shop/cart-1/x-y", &[]),
            ("<!channel> <@U1> &lt;shop/cart-1&gt;", &["shop/cart-1"]),
            ("", &[]),
        ] {
            assert_eq!(of(json!({ "text": text })), expected, "{text}");
        }
    }

    #[test]
    fn everything_that_people_read() {
        let attachment =
            json!({ "title": "Alert", "fields": [{ "title": "Pod", "value": "shop/cart-1" }], "fallback": "web/front-2 is odd" });
        let section = json!({ "type": "section", "text": { "type": "mrkdwn", "text": "in db/pg-0" }, "block_id": "not/read-this" });
        let mut found = of(json!({ "text": "", "attachments": [attachment], "blocks": [section] }));
        found.sort();
        assert_eq!(found, ["db/pg-0", "shop/cart-1", "web/front-2"]);
        let many: Vec<String> = (0..50).map(|n| format!("shop/cart-{n}")).collect();
        assert_eq!(of(json!({ "text": many.join(" ") })), &many[..PODS]);
        assert_eq!(of(json!({ "text": format!("{} shop/cart-1", "x ".repeat(CHARACTERS)) })), Vec::<String>::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever a message says, what is found is a namespace and a name, and nothing that a line could read otherwise.
        #[test]
        fn only_names(text in "([a-z0-9./:=\"' -]|pod|namespace|--force|\\PC){0,60}") {
            for pod in of(json!({ "text": text })) {
                let (namespace, name) = pod.split_once('/').unwrap();
                prop_assert!(namespace.parse::<Namespace>().is_ok() && name.parse::<PodName>().is_ok());
                prop_assert_eq!(stanch_commands::parse::quoted(&pod), format!("\"{pod}\""));
            }
        }
    }
}
