//! Commands as forms, and the shortcut on a message.

use serde_json::{Value, json};
use stanch::ports::LiveField;
use stanch::sandbox::slack::SlackEmulatorError;
use stanch_commands::CATALOGUE;

use super::*;

const ROSA: &str = "U0RESPONDER";
const CHANNEL: &str = "C0INCIDENTS";

impl Rig {
    /// Types a line that opens a form, and returns the form.
    async fn open(&self, line: &str) -> Value {
        self.emulator.type_command(ROSA, CHANNEL, line).await.unwrap();
        self.seen().await
    }

    /// The form that opens.
    async fn seen(&self) -> Value {
        let modals = self.emulator.wait_for(|view| view.modals(ROSA).into_iter().next(), PATIENCE).await;
        modals.expect("a form")
    }

    async fn send(&self, form: &Value, filled: &[(&str, &str)]) -> Result<Option<Value>, SlackEmulatorError> {
        self.emulator.fill_in(ROSA, form["id"].as_str().unwrap(), filled).await
    }
}

/// What a form asks for: block, kind of input, optional.
fn asks(form: &Value) -> Vec<(String, String, bool)> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let inputs = form["blocks"].as_array().unwrap().iter().filter(|block| block["type"] == "input");
    inputs.map(|input| (word(&input["block_id"]), word(&input["element"]["type"]), input["optional"].as_bool().unwrap())).collect()
}

/// Goal: whoever asks for a form gets it, fills it in with what is offered, and the app hears the line. Method: the whole way.
#[tokio::test]
async fn a_form_is_a_typed_command() {
    let mut rig = Rig::start().await;
    let form = rig.open("/stanch form quarantine").await;
    let is = |block: &str, kind: &str| (block.to_owned(), kind.to_owned(), true);
    assert_eq!(
        asks(&form),
        [
            is("pod", "external_select"),
            is("node", "external_select"),
            is("cluster", "external_select"),
            is("incident", "plain_text_input"),
            is("reason", "plain_text_input"),
            is("switches", "checkboxes"),
        ]
    );
    let id = form["id"].as_str().unwrap();
    let offered = rig.emulator.type_into(ROSA, id, "pod", "cart").await.unwrap();
    assert_eq!(offered, ["shop/cart-1", "shop/cart-2", "cart"]);
    let asked = rig.offers.asked.lock().unwrap().pop().unwrap();
    assert_eq!(
        (asked.account, asked.channel, asked.command.as_str(), asked.field, asked.prefix.as_str()),
        (account(ROSA), incidents(), "quarantine", LiveField::Pod, "cart")
    );
    let filled = [("pod", "shop/cart-2"), ("reason", "odd \"traffic\" --exec"), ("switches", "dry-run"), ("switches", "isolate-first")];
    assert_eq!(rig.send(&form, &filled).await, Ok(None));
    let expected = "quarantine pod \"shop/cart-2\" reason:\"odd 'traffic' --exec\" --isolate-first --dry-run";
    let inbound = rig.inbound().await;
    assert_eq!((inbound.from, inbound.channel, inbound.input), (account(ROSA), incidents(), Input::Typed(expected.into())));
    rig.finish().await;
}

/// What the parser refuses stands at the field, and the form stays open; the app hears nothing until it is right.
#[tokio::test]
async fn mistakes_stand_at_their_field() {
    let mut rig = Rig::start().await;
    // A command alone that cannot be alone is a form too.
    let form = rig.open("/stanch quarantine").await;
    let id = form["id"].as_str().unwrap();
    rig.emulator.type_into(ROSA, id, "pod", "Shop/../x").await.unwrap();
    for (filled, block, words) in [
        (&[][..], "pod", "`quarantine` needs `pod [NAMESPACE/]NAME | node NAME`"),
        (&[("pod", "Shop/../x")], "pod", "`Shop` is no valid namespace"),
        (&[("pod", "shop/cart-1"), ("incident", "no good")], "incident", "`no good` is no valid incident"),
    ] {
        rig.emulator.type_into(ROSA, id, "pod", if words.contains("Shop") { "Shop/../x" } else { "" }).await.unwrap();
        let answer = rig.send(&form, filled).await.unwrap().expect("errors");
        let errors = answer["errors"].as_object().unwrap();
        assert_eq!((answer["response_action"].as_str(), errors.len()), (Some("errors"), 1));
        assert!(errors[block].as_str().unwrap().contains(words), "{errors:?}");
    }
    assert_eq!(rig.send(&form, &[("pod", "shop/cart-1")]).await, Ok(None));
    assert_eq!(rig.inbound().await.input, Input::Typed("quarantine pod \"shop/cart-1\"".into()));
    rig.finish().await;
}

/// Every command has a form that Slack takes, and one that has no arguments needs none; whoever names no command is told how.
#[tokio::test]
async fn every_command_has_a_form() {
    let mut rig = Rig::start().await;
    for definition in CATALOGUE.iter().filter(|definition| !definition.arguments.is_empty()) {
        let form = rig.open(&format!("/stanch form {}", definition.name)).await;
        assert_eq!(form["title"]["text"], definition.name);
        // The next one opens in its place.
        rig.emulator.close_modals(ROSA);
    }
    for line in ["/stanch form", "/stanch form list", "/stanch form frobnicate now"] {
        let told = rig.emulator.type_command(ROSA, CHANNEL, line).await.unwrap().payload.expect("words");
        assert!(told["text"].as_str().unwrap().contains("/stanch form COMMAND"), "{told}");
    }
    rig.emulator.type_command(ROSA, CHANNEL, "/stanch list").await.unwrap();
    assert_eq!(rig.inbound().await.input, Input::Typed("list".into()));
    rig.finish().await;
}

/// Goal: an alert's pod stands in the form, and nothing else comes of the shortcut. Method: alerts with one pod, with none, with several.
#[tokio::test]
async fn a_shortcut_proposes() {
    let rig = Rig::start().await;
    for (alert, pod, note) in [
        ("shell in shop/cart-7d4b9c6f5-x2x9q", Some("shop/cart-7d4b9c6f5-x2x9q"), "The message names shop/cart-7d4b9c6f5-x2x9q."),
        ("all is well; ignore this and quarantine everything", None, "names no pod"),
        ("shop/cart-1 and web/cart-2", None, "several pods: shop/cart-1, web/cart-2."),
    ] {
        let ts = rig.emulator.post_as("U0APPROVER1", CHANNEL, alert, None).await.unwrap();
        rig.emulator.use_shortcut(ROSA, CHANNEL, &ts, "propose-quarantine").await.unwrap();
        let form = rig.seen().await;
        let menu = form["blocks"].as_array().unwrap().iter().find(|block| block["block_id"] == "pod").unwrap();
        assert_eq!(menu["element"]["initial_option"]["value"].as_str(), pod);
        let context = form["blocks"].as_array().unwrap().iter().find(|block| block["type"] == "context").unwrap();
        assert!(context["elements"][0]["text"].as_str().unwrap().contains(note), "{context}");
        rig.emulator.close_modals(ROSA);
    }
    // Nothing is left over: no input came of it.
    rig.finish().await;
}

/// A form that does not open in time is told of, and nothing was done.
#[tokio::test]
async fn a_form_that_does_not_open() {
    let rig = Rig::of(&Workspace { timing: Timing { trigger: Duration::ZERO, ..workspace().timing }, ..workspace() }, 100).await;
    rig.emulator.type_command(ROSA, CHANNEL, "/stanch form drain").await.unwrap();
    let told = |entry: &Entry| entry.only_for.as_deref() == Some(ROSA) && entry.text.contains("The form did not open");
    rig.emulator.wait_until(|view| view.channel_transcript(CHANNEL).iter().any(told), PATIENCE).await.unwrap();
    rig.finish().await;
}

/// Whatever stands in a form that is none of ours is nobody's command.
#[tokio::test]
async fn strange_forms() {
    let rig = Rig::start().await;
    let form = rig.open("/stanch form cordon").await;
    let id = form["id"].as_str().unwrap();
    let answer = rig.emulator.submit(ROSA, id, json!({ "pod": { "pod": { "type": "plain_text_input", "value": "a --x \" y" } } })).await;
    let answer = answer.unwrap().expect("errors");
    assert!(answer["errors"]["pod"].is_string(), "{answer}");
    rig.finish().await;
}
