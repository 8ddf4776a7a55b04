//! Modals as people use them: menus that the app fills, errors at inputs, shortcuts on messages; and what Slack does not take.

use serde_json::{Value, json};
use stanch::sandbox::slack::SlackEmulatorError;

use super::{App, Socket, word};

const ROSA: &str = "U0RESPONDER";
const CHANNEL: &str = "C0INCIDENTS";

fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text })
}

fn input(block: &str, optional: bool, element: Value) -> Value {
    json!({ "type": "input", "block_id": block, "label": plain(block), "optional": optional, "element": element })
}

fn form() -> Value {
    let options = json!([{ "text": plain("Dry run"), "value": "dry-run" }]);
    json!({ "type": "modal", "callback_id": "f", "private_metadata": "m", "title": plain("A form"), "submit": plain("Send"), "blocks": [
        input("pod", false, json!({ "type": "external_select", "action_id": "pod", "min_query_length": 0 })),
        input("node", true, json!({ "type": "external_select", "action_id": "node" })),
        input("reason", true, json!({ "type": "plain_text_input", "action_id": "reason", "max_length": 5 })),
        input("switches", true, json!({ "type": "checkboxes", "action_id": "switches", "options": options })),
    ] })
}

/// Types a command, opens the form and returns its id.
async fn opened(app: &App, socket: &mut Socket) -> String {
    let (typed, _) = tokio::join!(app.slack.type_command(ROSA, CHANNEL, "/stanch form"), socket.take());
    let opened = app.ok("views.open", json!({ "trigger_id": typed.unwrap().trigger_id, "view": form() })).await;
    word(&opened["view"], "id")
}

async fn reply(socket: &mut Socket, payload: Value) -> Value {
    let envelope = socket.next().await;
    socket.send(&json!({ "envelope_id": envelope["envelope_id"], "payload": payload })).await;
    envelope
}

fn option(text: &str, value: &str) -> Value {
    json!({ "text": plain(text), "value": value })
}

/// Goal: a menu asks the app, and takes what Slack takes. Method: a menu in a modal; then one wrong answer each.
#[tokio::test]
async fn menus() {
    let app = App::unlimited().await;
    let mut socket = app.connect().await;
    let view = opened(&app, &mut socket).await;
    let answer = json!({ "options": [option("cart", "shop/cart")] });
    let (offered, envelope) = tokio::join!(app.slack.type_into(ROSA, &view, "pod", "ca"), reply(&mut socket, answer));
    assert_eq!(offered, Ok(vec!["shop/cart".to_owned()]));
    assert_eq!((&envelope["type"], &envelope["accepts_response_payload"]), (&json!("interactive"), &json!(true)));
    let payload = &envelope["payload"];
    assert_eq!(payload["container"], json!({ "type": "view", "view_id": view }));
    let told = ["type", "block_id", "action_id", "value"].map(|name| word(payload, name));
    assert_eq!(told, ["block_suggestion", "pod", "pod", "ca"]);
    assert_eq!((&payload["view"]["private_metadata"], payload.get("trigger_id")), (&json!("m"), None));
    let many: Vec<Value> = (0..101).map(|n| option("x", &n.to_string())).collect();
    for (answer, why) in [
        (json!({ "options": many }), "no more than 100 options allowed"),
        (json!({ "options": [option(&"x".repeat(76), "v")] }), "must be less than 76 characters [json-pointer:/options/0/text/text]"),
        (json!({ "options": [option("x", &"v".repeat(151))] }), "must be 1 to 150 characters [json-pointer:/options/0/value]"),
        (
            json!({ "options": [{ "text": { "type": "mrkdwn", "text": "*x*" }, "value": "v" }] }),
            "unsupported type: mrkdwn [json-pointer:/options/0/text/type]",
        ),
        (
            json!({ "options": [{ "text": plain("x"), "value": "v", "style": "danger" }] }),
            "invalid additional property: style [json-pointer:/options/0]",
        ),
        (json!({ "options": [], "text": "x" }), "a menu's answer with the field `text`"),
    ] {
        let (offered, _) = tokio::join!(app.slack.type_into(ROSA, &view, "pod", "ca"), reply(&mut socket, answer));
        assert_eq!(offered, Err(SlackEmulatorError::BadAnswer(why.into())));
    }
    for (block, typed, why) in [
        ("reason", "abc", "the app does not fill it"),
        ("node", "ab", "too little is typed to be asked for"),
        ("colour", "abc", "there is none"),
    ] {
        let refused = SlackEmulatorError::BadInput { input: block.into(), why: why.into() };
        assert_eq!(app.slack.type_into(ROSA, &view, block, typed).await, Err(refused));
    }
    let stranger = SlackEmulatorError::NoSuchModal { user: "U0APPROVER1".into(), view_id: view.clone() };
    assert_eq!(app.slack.type_into("U0APPROVER1", &view, "pod", "").await, Err(stranger));
    app.finish().await;
}

/// Goal: only what a client lets through reaches the app, and errors must be about inputs. Method: a form filled in wrongly, then sent, refused
/// by the app, refused in ways that Slack does not take, and taken.
#[tokio::test]
async fn sending() {
    let app = App::unlimited().await;
    let mut socket = app.connect().await;
    let view = opened(&app, &mut socket).await;
    for (filled, block, why) in [
        (&[][..], "pod", "it has to be filled in"),
        (&[("pod", "shop/cart")], "pod", "`shop/cart` is not offered"),
        (&[("colour", "red")], "colour", "there is none"),
    ] {
        let refused = SlackEmulatorError::BadInput { input: block.into(), why: why.into() };
        assert_eq!(app.slack.fill_in(ROSA, &view, filled).await, Err(refused));
    }
    let answer = json!({ "options": [option("cart", "shop/cart")] });
    let (offered, _) = tokio::join!(app.slack.type_into(ROSA, &view, "pod", ""), reply(&mut socket, answer));
    offered.unwrap();
    let pod = ("pod", "shop/cart");
    for (filled, block, why) in [
        ([pod, ("reason", "too long")], "reason", "no more than 5 characters"),
        ([pod, ("switches", "wet-run")], "switches", "`wet-run` is not offered"),
    ] {
        let refused = SlackEmulatorError::BadInput { input: block.into(), why: why.into() };
        assert_eq!(app.slack.fill_in(ROSA, &view, &filled).await, Err(refused));
    }
    let filled = [pod, ("reason", "why"), ("switches", "dry-run")];
    for (errors, why) in [
        (json!({}), "response_action `errors` without errors"),
        (json!({ "colour": "red" }), "an error about `colour`, which is no input of the modal"),
        (json!({ "pod": "" }), "an error about `pod` without words"),
    ] {
        let answer = json!({ "response_action": "errors", "errors": errors });
        let (sent, _) = tokio::join!(app.slack.fill_in(ROSA, &view, &filled), reply(&mut socket, answer));
        assert_eq!(sent, Err(SlackEmulatorError::BadAnswer(why.into())));
    }
    let (sent, envelope) = tokio::join!(app.slack.fill_in(ROSA, &view, &filled), socket.take());
    assert_eq!(sent, Ok(None));
    let values = &envelope["payload"]["view"]["state"]["values"];
    assert_eq!(values["pod"]["pod"], json!({ "type": "external_select", "selected_option": option("cart", "shop/cart") }));
    assert_eq!(values["node"]["node"], json!({ "type": "external_select", "selected_option": null }));
    assert_eq!(values["reason"]["reason"], json!({ "type": "plain_text_input", "value": "why" }));
    assert_eq!(values["switches"]["switches"]["selected_options"][0]["value"], json!("dry-run"));
    let gone = SlackEmulatorError::NoSuchModal { user: ROSA.into(), view_id: view.clone() };
    assert_eq!(app.slack.fill_in(ROSA, &view, &filled).await, Err(gone));
    app.finish().await;
}

/// A shortcut brings the message, and a trigger that opens one modal; what one person alone sees has none.
#[tokio::test]
async fn shortcuts() {
    let app = App::unlimited().await;
    let mut socket = app.connect().await;
    let ts = app.slack.post_as("U0APPROVER1", CHANNEL, "shell in shop/cart & more", None).await.unwrap();
    let (trigger, envelope) = tokio::join!(app.slack.use_shortcut(ROSA, CHANNEL, &ts, "propose-quarantine"), socket.take());
    let payload = &envelope["payload"];
    assert_eq!(
        ["type", "callback_id", "trigger_id"].map(|name| word(payload, name)),
        ["message_action", "propose-quarantine", &trigger.clone().unwrap()]
    );
    assert_eq!(
        (word(&payload["message"], "text"), word(&payload["channel"], "id")),
        ("shell in shop/cart &amp; more".into(), CHANNEL.into())
    );
    assert_eq!(envelope["accepts_response_payload"], json!(false));
    app.ok("views.open", json!({ "trigger_id": trigger.unwrap(), "view": form() })).await;
    let unknown = app.slack.use_shortcut(ROSA, CHANNEL, &ts, "reboot").await;
    assert_eq!(unknown, Err(SlackEmulatorError::NoSuchShortcut("reboot".into())));
    let alone = app.ok("chat.postEphemeral", json!({ "channel": CHANNEL, "user": ROSA, "text": "psst" })).await;
    let ts = word(&alone, "message_ts");
    let unseen = SlackEmulatorError::NoSuchMessage { user: ROSA.into(), ts: ts.clone() };
    assert_eq!(app.slack.use_shortcut(ROSA, CHANNEL, &ts, "propose-quarantine").await, Err(unseen));
    app.finish().await;
}
