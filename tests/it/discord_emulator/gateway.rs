//! The gateway: greeting, intents, resumption, heartbeats, close codes and mishaps.

use std::time::Duration;

use serde_json::{Value, json};
use stanch::sandbox::discord::{EventKind, GatewayDrop, Guild, Mishap, Timing, id};

use super::{Bot, INTENTS, snowflake};

async fn react(bot: &Bot, message: stanch::sandbox::discord::Snowflake, emoji: &[&str]) {
    for emoji in emoji {
        bot.discord.react(id::APPROVER1, id::INCIDENTS, message, emoji).await.expect("a reaction");
    }
}

/// READY and GUILD_CREATE; then what the intents ask for, with the member of a new reaction only.
#[tokio::test]
async fn intents() {
    let bot = Bot::start().await;
    let (mut all, ready) = bot.connect(INTENTS).await;
    assert_eq!((&ready["v"], &ready["guilds"]), (&json!(10), &json!([{ "id": id::GUILD, "unavailable": true }])));
    assert_eq!(ready["user"]["id"], json!(id::STANCH));
    let (mut few, _) = bot.connect(1).await;
    let message = bot.say(id::INCIDENTS, "plan").await;
    let created = all.event("MESSAGE_CREATE").await;
    assert_eq!((snowflake(&created["id"]), &created["content"], &created["guild_id"]), (message, &json!("plan"), &json!(id::GUILD)));
    react(&bot, message, &["white_check_mark"]).await;
    bot.discord.unreact(id::APPROVER1, id::INCIDENTS, message, "✅").await.expect("a reaction");
    let (added, removed) = (all.event("MESSAGE_REACTION_ADD").await, all.event("MESSAGE_REACTION_REMOVE").await);
    assert_eq!(added["member"]["user"]["id"], json!(id::APPROVER1));
    assert_eq!(added["member"]["roles"], json!([id::APPROVERS, id::RESPONDERS]));
    assert_eq!((&removed["member"], &removed["user_id"], &removed["emoji"]["name"]), (&Value::Null, &json!(id::APPROVER1), &json!("✅")));
    // What others write is not told without the intent for content.
    bot.discord.post_as(id::BYSTANDER, id::INCIDENTS, "secret").await.expect("a message");
    bot.discord.post_as(id::BYSTANDER, id::INCIDENTS, &format!("hello <@{}>", id::STANCH)).await.expect("a message");
    assert_eq!(all.event("MESSAGE_CREATE").await["content"], json!(""));
    assert_eq!(all.event("MESSAGE_CREATE").await["content"], json!(format!("hello <@{}>", id::STANCH)));
    // Nor what happens where the bot sees nothing.
    bot.discord.post_as(id::BYSTANDER, id::ELSEWHERE, "away").await.expect("a message");
    all.quiet().await;
    few.quiet().await;
    bot.finish().await;
}

/// Goal: a resumption brings what was missed, once and in order. Method: the connection is cut between two reactions.
#[tokio::test]
async fn resumption() {
    let bot = Bot::start().await;
    let (mut gateway, ready) = bot.connect(INTENTS).await;
    let message = bot.say(id::INCIDENTS, "plan").await;
    gateway.event("MESSAGE_CREATE").await;
    let resume = |sequence: Option<u64>| json!({ "token": bot.discord.token(), "session_id": ready["session_id"], "seq": sequence });
    for drop in [GatewayDrop::Cut, GatewayDrop::Reconnect, GatewayDrop::Close(4000)] {
        bot.discord.drop_gateway(drop);
        if drop == GatewayDrop::Reconnect {
            assert_eq!(gateway.next().await.expect("a payload")["op"], json!(7));
        }
        gateway.next().await.expect_err("an end");
        react(&bot, message, &["x"]).await;
        bot.discord.unreact(id::APPROVER1, id::INCIDENTS, message, "x").await.expect("a reaction");
        let sequence = gateway.sequence;
        gateway = bot.open().await;
        gateway.send(6, resume(sequence)).await;
        gateway.event("MESSAGE_REACTION_ADD").await;
        gateway.event("MESSAGE_REACTION_REMOVE").await;
        gateway.event("RESUMED").await;
        gateway.quiet().await;
    }
    // A session that is not kept, or that was forgotten meanwhile, cannot be resumed; the connection may identify anew.
    bot.discord.drop_gateway(GatewayDrop::InvalidSession { resumable: false });
    assert_eq!(gateway.next().await.expect("a payload"), json!({ "op": 9, "d": false, "s": null, "t": null }));
    react(&bot, message, &["x"]).await;
    let sequence = gateway.sequence;
    gateway = bot.open().await;
    gateway.send(6, resume(sequence)).await;
    assert_eq!(gateway.next().await.expect("a payload")["op"], json!(9));
    gateway.identify(&bot.discord.token(), INTENTS).await;
    assert_ne!(gateway.event("READY").await["session_id"], ready["session_id"]);
    gateway.event("GUILD_CREATE").await;
    gateway.quiet().await;
    bot.finish().await;
}

/// Every close code that a bot can earn.
#[tokio::test]
async fn close_codes() {
    let bot = Bot::start().await;
    let properties = json!({ "os": "", "browser": "", "device": "" });
    let identify = |token: &str, intents: u64| json!({ "token": token, "intents": intents, "properties": properties });
    let token = bot.discord.token();
    let cases = [
        (2, identify("wrong", 1), 4004),
        (2, identify(&token, 1 | (1 << 15)), 4014),
        (2, identify(&token, 1 << 40), 4013),
        (2, json!({ "token": token, "intents": 1, "properties": properties, "shard": [1, 2] }), 4010),
        (2, json!({ "token": token, "intents": 1 }), 4002),
        (8, json!({}), 4003),
        (42, json!({}), 4001),
        (1, json!(7), 4007),
        (6, json!({ "token": "wrong", "session_id": "x", "seq": 1 }), 4004),
    ];
    for (op, data, code) in cases.clone() {
        let mut gateway = bot.open().await;
        gateway.send(op, data.clone()).await;
        assert_eq!(gateway.next().await, Err(code), "{op} {data}");
    }
    let (mut gateway, _) = bot.connect(1).await;
    gateway.identify(&token, 1).await;
    assert_eq!(gateway.next().await, Err(4005));
    let (mut gateway, _) = bot.connect(0).await;
    for _ in 0..120 {
        gateway.send(1, Value::Null).await;
    }
    let mut last = gateway.next().await;
    while last.as_ref().is_ok_and(|payload| payload["op"] == json!(11)) {
        last = gateway.next().await;
    }
    assert_eq!(last, Err(4008));
    let violations = bot.discord.violations();
    assert_eq!(violations.len(), cases.len() + 2);
    assert!(!violations.concat().contains(&token));
    bot.discord.stop().await;
}

/// A bot that sends no heartbeat is closed, and its session stays; a server that does not answer is for the bot to notice.
#[tokio::test]
async fn heartbeats() {
    let timing = Timing { heartbeat: Duration::from_millis(50), ..Timing::default() };
    let bot = Bot::of(&Guild { limits: None, timing, ..Guild::sandbox() }).await;
    let (mut gateway, _) = bot.connect(0).await;
    assert_eq!(gateway.next().await, Err(4009));
    assert_eq!(bot.discord.violations(), ["the bot sent no heartbeat in time"]);
    bot.discord.stop().await;

    let bot = Bot::start().await;
    let (mut gateway, _) = bot.connect(0).await;
    bot.discord.request_heartbeats();
    assert_eq!(gateway.next().await.expect("a payload")["op"], json!(1));
    bot.discord.acknowledge_heartbeats(false);
    gateway.send(1, json!(gateway.sequence)).await;
    bot.discord.acknowledge_heartbeats(true);
    bot.discord.drop_gateway(GatewayDrop::Cut);
    bot.finish().await;
}

/// Each mishap, one after the other.
#[tokio::test]
async fn mishaps() {
    let bot = Bot::start().await;
    let (mut gateway, _) = bot.connect(1 << 10).await;
    let message = bot.say(id::INCIDENTS, "plan").await;
    let emoji = |event: Value| event["emoji"]["name"].as_str().expect("a name").to_owned();
    bot.discord.disturb(Some(EventKind::MessageReactionAdd), Mishap::Duplicate);
    react(&bot, message, &["👍"]).await;
    let twice = [gateway.event("MESSAGE_REACTION_ADD").await, gateway.event("MESSAGE_REACTION_ADD").await];
    assert_eq!(twice.map(emoji), ["👍", "👍"]);
    bot.discord.disturb(None, Mishap::SwapWithNext);
    react(&bot, message, &["👀", "❌"]).await;
    let swapped = [gateway.event("MESSAGE_REACTION_ADD").await, gateway.event("MESSAGE_REACTION_ADD").await];
    assert_eq!(swapped.map(emoji), ["❌", "👀"]);
    bot.discord.disturb(Some(EventKind::MessageReactionAdd), Mishap::Lose);
    react(&bot, message, &["🛑", "✅"]).await;
    assert_eq!(emoji(gateway.event("MESSAGE_REACTION_ADD").await), "✅");
    bot.discord.disturb(None, Mishap::Delay(Duration::from_millis(300)));
    react(&bot, message, &["🔥", "🎉"]).await;
    let late = [gateway.event("MESSAGE_REACTION_ADD").await, gateway.event("MESSAGE_REACTION_ADD").await];
    assert_eq!(late.map(emoji), ["🎉", "🔥"]);
    gateway.quiet().await;
    bot.finish().await;
}
