//! Commands, their options, components and modals, and what the bot may answer when.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use stanch::sandbox::discord::{Answered, Choice, DiscordEmulatorError, Guild, Response, Timing, Typed, id};

use super::{Bot, Gateway, command, snowflake};

/// Takes the next interaction and answers it with `answer`.
async fn answers(bot: &Bot, gateway: &mut Gateway, answer: Value) -> Value {
    let event = gateway.event("INTERACTION_CREATE").await;
    bot.post(&callback(&event), answer).await;
    event
}

fn callback(event: &Value) -> String {
    format!("interactions/{}/{}/callback", snowflake(&event["id"]), event["token"].as_str().expect("a token"))
}

fn webhook(answered: &Answered, rest: &str) -> String {
    format!("webhooks/{}/{}{rest}", id::STANCH, answered.token)
}

/// A command from its definition to the followups.
#[tokio::test]
async fn a_command() {
    let bot = Bot::start().await;
    bot.register().await;
    let (mut gateway, _) = bot.connect(0).await;
    let line = "/stanch quarantine pod:shop/cart form:Strict minutes:5 owner:@amir reason:\"odd traffic\"";
    let (answered, event) = tokio::join!(
        bot.discord.type_command(id::RESPONDER, id::INCIDENTS, line),
        answers(&bot, &mut gateway, json!({ "type": 5, "data": { "flags": 64 } })),
    );
    let answered = answered.expect("an answer");
    let Response::Deferred(original) = answered.response else { panic!("{answered:?}") };
    let options = json!([
        { "name": "pod", "type": 3, "value": "shop/cart" },
        { "name": "form", "type": 3, "value": "strict" },
        { "name": "minutes", "type": 4, "value": 5 },
        { "name": "owner", "type": 6, "value": id::APPROVER1 },
        { "name": "reason", "type": 3, "value": "odd traffic" },
    ]);
    assert_eq!(event["data"]["name"], json!("stanch"));
    assert_eq!(event["data"]["options"], json!([{ "name": "quarantine", "type": 1, "options": options }]));
    assert_eq!(event["data"]["resolved"]["users"][id::APPROVER1.to_string()]["username"], json!("amir"));
    assert_eq!((&event["member"]["user"]["id"], &event["member"]["roles"]), (&json!(id::RESPONDER), &json!([id::RESPONDERS])));
    // Thinking, then the answer, which stays as private as it began; then a followup for everybody.
    assert!(bot.discord.channel_transcript(id::INCIDENTS)[0].loading);
    let edited =
        bot.ok(Method::PATCH, &webhook(&answered, "/messages/@original"), json!({ "content": "its plan is in this channel" })).await;
    assert_eq!((snowflake(&edited["id"]), &edited["flags"], &edited["edited_timestamp"]), (original, &json!(64), &Value::Null));
    bot.post(&webhook(&answered, ""), json!({ "content": "plan" })).await;
    bot.post(&webhook(&answered, "?wait=true"), json!({ "content": "hush", "flags": 64 })).await;
    let hidden = bot.refusal(Method::GET, &format!("channels/{}/messages/{original}", id::INCIDENTS), Value::Null).await;
    assert_eq!((hidden.0, hidden.1), (404, 10_008));
    let transcript = "#incidents\n  (only rosa sees this) stanch: its plan is in this channel\n  stanch: plan\n  \
                      (only rosa sees this) stanch: hush\n";
    assert_eq!(bot.discord.look(|view| view.to_string()), transcript);
    bot.ok(Method::DELETE, &webhook(&answered, "/messages/@original"), Value::Null).await;
    bot.finish().await;
}

/// What Discord's client does not let through.
#[tokio::test]
async fn what_cannot_be_typed() {
    let bot = Bot::start().await;
    bot.register().await;
    let types = async |line: &str| bot.discord.type_command(id::RESPONDER, id::INCIDENTS, line).await.expect_err("a refusal");
    let cases = [
        ("/other", "`/other` is no command of the application"),
        ("/stanch", "`/stanch` is no command of the application"),
        ("/stanch list now", "`stanch list` has no option `now`"),
        ("/stanch quarantine", "`stanch quarantine` needs the option `pod`"),
        ("/stanch quarantine pod:x form:lax", "the option `form` does not take `lax`: it is none of: Strict, Guide"),
        ("/stanch quarantine pod:x minutes:soon", "the option `minutes` does not take `soon`: it is no whole number"),
        ("/stanch quarantine pod:x minutes:61", "the option `minutes` does not take `61`: it is out of bounds"),
        ("/stanch quarantine pod:x dry:maybe", "the option `dry` does not take `maybe`: it is neither True nor False"),
        ("/stanch quarantine pod:x owner:nobody", "the option `owner` does not take `nobody`: there is none of that name"),
        (
            "/stanch quarantine pod:x reason:a very long reason indeed",
            "the option `reason` does not take `a very long reason indeed`: it is too short or too long",
        ),
        ("/stanch list", "the bot has no session (the application did not respond)"),
    ];
    for (line, words) in cases {
        assert_eq!(types(line).await.to_string(), words, "{line}");
    }
    let twice = Typed::command("stanch quarantine").with("pod", "x").with("pod", "y");
    let twice = bot.discord.use_command(id::RESPONDER, id::INCIDENTS, &twice).await;
    assert_eq!(twice.expect_err("a refusal").to_string(), "the option `pod` does not take `y`: it is filled in twice");
    bot.discord.change_member(id::BYSTANDER, |member| member.timed_out = true);
    for (user, error) in
        [(id::BYSTANDER, DiscordEmulatorError::NotAllowed(id::BYSTANDER)), (id::GONE, DiscordEmulatorError::NoSuchUser(id::GONE))]
    {
        assert_eq!(bot.discord.type_command(user, id::INCIDENTS, "/stanch list").await, Err(error));
    }
    bot.finish().await;
}

/// Suggestions while an option is being typed.
#[tokio::test]
async fn autocompletion() {
    let bot = Bot::start().await;
    bot.register().await;
    let (mut gateway, _) = bot.connect(0).await;
    let typed = Typed::command("stanch quarantine").with("minutes", "5").with("pod", "shop/c");
    let choices = json!({ "type": 8, "data": { "choices": [{ "name": "shop/cart", "value": "shop/cart" }] } });
    let (answered, event) =
        tokio::join!(bot.discord.autocomplete(id::RESPONDER, id::INCIDENTS, &typed, "pod"), answers(&bot, &mut gateway, choices));
    let choice = Choice { name: "shop/cart".into(), value: json!("shop/cart") };
    assert_eq!(answered.expect("an answer").response, Response::Choices(vec![choice]));
    let focused = json!({ "name": "pod", "type": 3, "value": "shop/c", "focused": true });
    assert_eq!((&event["type"], &event["data"]["options"][0]["options"][1]), (&json!(4), &focused));
    let refused = bot.discord.autocomplete(id::RESPONDER, id::INCIDENTS, &typed, "minutes").await;
    assert_eq!(refused.expect_err("a refusal").to_string(), "the option `minutes` does not take `5`: it has no autocompletion");
    bot.finish().await;
}

/// A button opens a modal, whose submission changes the message.
#[tokio::test]
async fn a_button_and_a_modal() {
    let bot = Bot::start().await;
    let (mut gateway, _) = bot.connect(0).await;
    let button = |disabled: bool| {
        let button = json!({ "type": 2, "style": 4, "custom_id": "decline:1", "label": "Decline", "disabled": disabled });
        json!([{ "type": 1, "components": [button] }])
    };
    let posted = bot.post(&format!("channels/{}/messages", id::INCIDENTS), json!({ "content": "plan", "components": button(false) })).await;
    let message = snowflake(&posted["id"]);
    let input = json!({ "type": 4, "custom_id": "why", "style": 1, "label": "Why?", "min_length": 3, "max_length": 10 });
    let modal = json!({ "custom_id": "why:1", "title": "Decline", "components": [{ "type": 1, "components": [input] }] });
    let press = bot.discord.press(id::APPROVER1, id::INCIDENTS, message, "decline:1");
    let (answered, event) = tokio::join!(press, answers(&bot, &mut gateway, json!({ "type": 9, "data": modal })));
    assert_eq!(answered.expect("an answer").response, Response::Modal("why:1".into()));
    assert_eq!((&event["data"]["component_type"], &event["message"]["id"]), (&json!(2), &posted["id"]));
    for (value, why) in [("no", "it takes 3 characters at least"), ("", "it must be filled in")] {
        let error = bot.discord.submit(id::APPROVER1, "why:1", &[("why", value)]).await.expect_err("a refusal");
        assert_eq!(error, DiscordEmulatorError::BadInput { input: "why".into(), why: why.into() });
    }
    assert!(bot.discord.submit(id::APPROVER2, "why:1", &[]).await.is_err(), "it is somebody else's");
    let update = json!({ "type": 7, "data": { "content": "declined", "components": button(true) } });
    let (answered, event) =
        tokio::join!(bot.discord.submit(id::APPROVER1, "why:1", &[("why", "too soon")]), answers(&bot, &mut gateway, update));
    assert_eq!(answered.expect("an answer").response, Response::Updated);
    assert_eq!(event["data"]["components"][0]["components"][0]["value"], json!("too soon"));
    assert!(bot.discord.press(id::APPROVER1, id::INCIDENTS, message, "decline:1").await.is_err(), "it is disabled");
    assert_eq!(bot.discord.channel_transcript(id::INCIDENTS)[0].text, "declined");
    bot.finish().await;
}

/// The first answer must come in time, once, and of a type that fits; its token lives for a while.
#[tokio::test]
async fn tokens() {
    let timing = Timing { respond: Duration::from_millis(100), ..Timing::default() };
    let bot = Bot::of(&Guild { limits: None, timing, ..Guild::sandbox() }).await;
    bot.register().await;
    let (mut gateway, _) = bot.connect(0).await;
    let (answered, event) =
        tokio::join!(bot.discord.type_command(id::RESPONDER, id::INCIDENTS, "/stanch list"), gateway.event("INTERACTION_CREATE"));
    assert_eq!(answered.expect_err("an error"), DiscordEmulatorError::NoResponse);
    let late = bot.refusal(Method::POST, &callback(&event), json!({ "type": 5 })).await;
    assert_eq!((late.0, late.1), (404, 10_062));
    bot.discord.stop().await;

    let bot = Bot::start().await;
    bot.register().await;
    let (mut gateway, _) = bot.connect(0).await;
    let bot_side = async {
        let event = gateway.event("INTERACTION_CREATE").await;
        for misfit in [6, 7, 8] {
            let data = json!({ "content": "x", "choices": [] });
            let data = if misfit == 6 { Value::Null } else { data };
            let (status, code, _) = bot.refusal(Method::POST, &callback(&event), json!({ "type": misfit, "data": data })).await;
            assert_eq!((status, code), (400, 50_035));
        }
        let early = format!("webhooks/{}/{}/messages/@original", id::STANCH, event["token"].as_str().unwrap());
        let early = bot.refusal(Method::GET, &early, Value::Null).await;
        assert_eq!((early.0, early.1), (404, 10_015));
        let message = json!({ "type": 4, "data": { "content": "here" } });
        let shown = bot.post(&format!("{}?with_response=true", callback(&event)), message.clone()).await;
        assert_eq!(shown["resource"]["message"]["interaction_metadata"]["user"]["id"], json!(id::RESPONDER));
        let twice = bot.refusal(Method::POST, &callback(&event), message).await;
        assert_eq!((twice.0, twice.1), (400, 40_060));
    };
    let (answered, ()) = tokio::join!(bot.discord.type_command(id::RESPONDER, id::INCIDENTS, "/stanch list"), bot_side);
    assert!(matches!(answered.expect("an answer").response, Response::Message(_)));
    let wrong = bot.refusal(Method::POST, &format!("webhooks/{}/wrong", id::STANCH), json!({ "content": "x" })).await;
    assert_eq!((wrong.0, wrong.1), (401, 50_027));
    bot.finish().await;
}

/// Registration: what was not changed keeps id and version, and definitions that break a rule are refused.
#[tokio::test]
async fn registration() {
    let bot = Bot::start().await;
    let first = bot.register().await;
    assert_eq!(first, bot.register().await);
    let path = format!("applications/{}/guilds/{}/commands", id::STANCH, id::GUILD);
    assert_eq!(bot.get(&path).await, first);
    let one = format!("{path}/{}", snowflake(&first[0]["id"]));
    let changed = bot.ok(Method::PATCH, &one, json!({ "description": "Contains security incidents." })).await;
    assert_eq!(changed["id"], first[0]["id"]);
    assert_ne!(changed["version"], first[0]["version"]);
    assert_eq!(bot.get(&one).await, changed);
    let option = |name: &str, required: bool| json!({ "type": 3, "name": name, "description": "x", "required": required });
    let with = |options: Value| json!({ "name": "x", "description": "x", "options": options });
    let cases = [
        (json!({ "name": "X", "description": "x" }), "/name", "APPLICATION_COMMAND_INVALID_NAME"),
        (json!({ "name": "x" }), "/description", "BASE_TYPE_REQUIRED"),
        (with(json!([option("a", false), option("b", true)])), "/options/1", "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID"),
        (with(json!([option("a", false), option("a", false)])), "/options/1", "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS"),
        (with(json!(vec![option("a", false); 26])), "/options", "BASE_TYPE_BAD_LENGTH"),
        (
            with(json!([option("a", false), { "type": 1, "name": "b", "description": "x" }])),
            "/options",
            "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
        ),
    ];
    for (definition, pointer, code) in cases {
        let (status, number, errors) = bot.refusal(Method::POST, &path, definition.clone()).await;
        assert_eq!((status, number), (400, 50_035), "{definition}");
        assert_eq!(errors.pointer(pointer).map(|found| &found["_errors"][0]["code"]), Some(&json!(code)), "{definition}: {errors}");
    }
    let global = bot.post(&format!("applications/{}/commands", id::STANCH), command()).await;
    assert_eq!(global["guild_id"], Value::Null);
    bot.ok(Method::DELETE, &one, Value::Null).await;
    assert_eq!(bot.get(&path).await, json!([]));
    assert_eq!(bot.discord.look(|view| view.commands(None)), [global]);
    bot.finish().await;
}
