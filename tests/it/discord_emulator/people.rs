//! People: who is who, what they may do, and what the bot is told when that changes.

use std::time::Duration;

use serde_json::{Value, json};
use stanch::sandbox::discord::{DiscordEmulatorError, GatewayDrop, Timing, id};

use super::Bot;

/// Roles change, somebody leaves; who asked for members hears of it, and REST agrees.
#[tokio::test]
async fn members_change() {
    let bot = Bot::start().await;
    bot.discord.change_application(|application| application.privileged_intents = 2);
    let (mut told, _) = bot.connect(2).await;
    let (mut untold, _) = bot.connect(0).await;
    assert!(bot.discord.change_member(id::BYSTANDER, |member| member.roles.push(id::APPROVERS)));
    assert_eq!(told.event("GUILD_MEMBER_UPDATE").await["roles"], json!([id::APPROVERS]));
    let path = format!("guilds/{}/members/{}", id::GUILD, id::BYSTANDER);
    assert_eq!(bot.get(&path).await["roles"], json!([id::APPROVERS]));
    assert!(bot.discord.leave(id::BYSTANDER));
    assert_eq!(told.event("GUILD_MEMBER_REMOVE").await["user"]["id"], json!(id::BYSTANDER));
    let gone = bot.refusal(reqwest::Method::GET, &path, Value::Null).await;
    assert_eq!((gone.0, gone.1), (404, 10_007));
    let spoke = bot.discord.post_as(id::BYSTANDER, id::INCIDENTS, "x").await;
    assert_eq!(spoke, Err(DiscordEmulatorError::NoSuchUser(id::BYSTANDER)));
    told.quiet().await;
    untold.quiet().await;
    bot.finish().await;
}

/// A reaction of somebody who left still stands, and Discord names the user.
#[tokio::test]
async fn reactions_outlive_members() {
    let bot = Bot::start().await;
    let message = bot.say(id::INCIDENTS, "plan").await;
    bot.discord.react(id::APPROVER1, id::INCIDENTS, message, "✅").await.expect("a reaction");
    bot.discord.leave(id::APPROVER1);
    let users = bot.get(&format!("channels/{}/messages/{message}/reactions/%E2%9C%85", id::INCIDENTS)).await;
    assert_eq!(users[0]["username"], json!("amir"));
    bot.finish().await;
}

/// Only those see an ephemeral message whom it is for, and nobody reacts to it.
#[tokio::test]
async fn ephemeral_messages() {
    let bot = Bot::start().await;
    bot.register().await;
    let (mut gateway, _) = bot.connect(1 << 9).await;
    let button = json!([{ "type": 1, "components": [{ "type": 2, "style": 1, "custom_id": "show", "label": "Show" }] }]);
    let answer = async {
        let event = gateway.event("INTERACTION_CREATE").await;
        let path = format!("interactions/{}/{}/callback", super::snowflake(&event["id"]), event["token"].as_str().unwrap());
        bot.post(&path, json!({ "type": 4, "data": { "content": "psst", "flags": 64, "components": button } })).await;
    };
    let (answered, ()) = tokio::join!(bot.discord.type_command(id::RESPONDER, id::INCIDENTS, "/stanch list"), answer);
    answered.expect("an answer");
    gateway.quiet().await;
    let entry = bot.discord.channel_transcript(id::INCIDENTS).remove(0);
    assert_eq!((entry.only_for, entry.visible_text()), (Some(id::RESPONDER), "psst\nShow".to_owned()));
    let other = bot.discord.press(id::APPROVER1, id::INCIDENTS, entry.id, "show").await;
    assert_eq!(other, Err(DiscordEmulatorError::NoSuchMessage { user: id::APPROVER1, message: entry.id }));
    let reacted = bot.discord.react(id::RESPONDER, id::INCIDENTS, entry.id, "✅").await;
    assert_eq!(reacted, Err(DiscordEmulatorError::NotAllowed(id::RESPONDER)));
    // While the connection is down the bot may still resume in time; without a session there is nobody to ask.
    bot.discord.set_timing(Timing { respond: Duration::from_millis(50), ..Timing::default() });
    bot.discord.drop_gateway(GatewayDrop::Cut);
    let pressed = bot.discord.press(id::RESPONDER, id::INCIDENTS, entry.id, "show").await;
    assert_eq!(pressed, Err(DiscordEmulatorError::NoResponse));
    bot.discord.forget_sessions();
    let pressed = bot.discord.press(id::RESPONDER, id::INCIDENTS, entry.id, "show").await;
    assert_eq!(pressed, Err(DiscordEmulatorError::NotConnected));
    bot.finish().await;
}
