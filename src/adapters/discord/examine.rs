//! Whether Discord takes the token, what time Discord has, whether the slash command stands, and what the bot may do in each channel. No
//! session is begun: it would count against the day's, and take what the running bot has to hear.

use std::collections::BTreeSet;

use async_trait::async_trait;
use http::Method;
use serde_json::Value;
use serenity::all::Permissions;

use super::api::{self, Api, Failure};
use super::is_registered;
use super::settings::{DiscordSettings, Endpoint};
use crate::core::diagnosis::Check;
use crate::ports::{ChatError, Examined};

/// What the bot needs in a channel: to see it and its past (reactions are read back), to speak there and in threads, to begin threads, and to
/// show embeds, in which nearly all of its words are.
pub const NEEDED: Permissions = Permissions::VIEW_CHANNEL
    .union(Permissions::SEND_MESSAGES)
    .union(Permissions::EMBED_LINKS)
    .union(Permissions::READ_MESSAGE_HISTORY)
    .union(Permissions::CREATE_PUBLIC_THREADS)
    .union(Permissions::SEND_MESSAGES_IN_THREADS);

/// A server by its settings.
#[derive(Clone, Debug)]
pub struct DiscordExamination {
    /// As the bot has them.
    pub settings: DiscordSettings,
}

const INVITE: &str = "invite the bot again with the link of the README";
const NETWORK: &str = "look at the network";

#[async_trait]
impl Examined for DiscordExamination {
    async fn examine(&self, _commands: &BTreeSet<&'static str>) -> Vec<Check> {
        let settings = &self.settings;
        let api = Endpoint::of(settings.api_url.as_deref()).and_then(|endpoint| Api::new(&endpoint, &settings.bot_token));
        let api = match api {
            Ok(api) => api,
            Err(error) => return vec![Check::fail("settings", error.to_string(), error.hint())],
        };
        let answer = match api.ask(Method::GET, "/users/@me", None).await {
            Ok(answer) => answer,
            Err(failure) => return vec![Check::fail("API", words(failure), NETWORK)],
        };
        let mut checks = vec![Check::ok("API", "Discord answers"), Check::clock(answer.ahead_s())];
        let own = match api::read(&answer) {
            Ok(own) => own,
            Err(failure) => {
                checks.push(Check::fail(
                    "bot token",
                    format!("Discord refuses it: {}", words(failure)),
                    "take the token from the developer portal",
                ));
                return checks;
            }
        };
        checks.push(self.application(&api, &own).await);
        checks.push(self.gateway(&api).await);
        checks.push(match is_registered(&api, settings).await {
            Ok(true) => Check::ok("slash command", "it is registered as this version has it"),
            Ok(false) => Check::warn("slash command", "it is not registered as this version has it", "`stanch run` registers it"),
            Err(failure) => Check::fail("slash command", words(failure), INVITE),
        });
        checks.extend(self.channels(&api, &own).await);
        checks
    }
}

impl DiscordExamination {
    async fn application(&self, api: &Api, own: &Value) -> Check {
        let name = own.get("username").and_then(Value::as_str).unwrap_or_default();
        match api.get("/applications/@me").await.map(|application| api::id(&application)) {
            Ok(Ok(id)) if id == self.settings.application => Check::ok("bot token", format!("it is {name} of application {id}")),
            Ok(Ok(id)) => Check::fail(
                "bot token",
                format!("it is of application {id}, not of {}", self.settings.application),
                "correct the token, or `application_id` in config/stanch.toml",
            ),
            Ok(Err(error)) => Check::fail("bot token", error.to_string(), NETWORK),
            Err(failure) => Check::fail("bot token", words(failure), NETWORK),
        }
    }

    async fn gateway(&self, api: &Api) -> Check {
        match api.get("/gateway/bot").await {
            Ok(found) => match found.pointer("/session_start_limit/remaining").and_then(Value::as_u64) {
                Some(0) => Check::fail("gateway", "no session may be begun today any more", "find out what connects so often"),
                Some(left) => Check::ok("gateway", format!("{left} sessions may be begun today; no privileged intent is needed")),
                None => Check::warn("gateway", "Discord does not say how many sessions are left", "nothing, if the bot runs"),
            },
            Err(failure) => Check::fail("gateway", words(failure), NETWORK),
        }
    }

    /// What the bot may do in each channel.
    async fn channels(&self, api: &Api, own: &Value) -> Vec<Check> {
        let guild = &self.settings.guild;
        let server = match api.get(&format!("/guilds/{guild}")).await {
            Ok(server) => server,
            Err(failure) => return vec![Check::fail("server", format!("{guild}: {}", words(failure)), INVITE)],
        };
        let bot = own.get("id").and_then(Value::as_str).unwrap_or_default();
        let member = match api.get(&format!("/guilds/{guild}/members/{bot}")).await {
            Ok(member) => member,
            Err(failure) => return vec![Check::fail("server", format!("{guild}: {}", words(failure)), INVITE)],
        };
        let mut checks = vec![Check::ok("server", format!("the bot is in {guild}"))];
        for channel in &self.settings.channels {
            let what = "channel";
            checks.push(match api.get(&format!("/channels/{channel}")).await {
                Ok(place) if place.get("guild_id").and_then(Value::as_str) != Some(guild) => {
                    Check::fail(what, format!("{channel} is in another server"), "correct `discord` under [[channels]]")
                }
                Ok(place) => {
                    let needed = if self.settings.attaches { NEEDED | Permissions::ATTACH_FILES } else { NEEDED };
                    let missing = needed.difference(permissions(&server, &member, &place, bot));
                    match missing.is_empty() {
                        true => Check::ok(what, format!("the bot has every permission that it needs in {channel}")),
                        false => Check::fail(
                            what,
                            format!("missing in {channel}: {}", names(missing)),
                            "give them to the bot's role in that channel",
                        ),
                    }
                }
                Err(failure) => Check::fail(
                    what,
                    format!("{channel}: {}", words(failure)),
                    "let the bot see the channel, or correct `discord` under [[channels]]",
                ),
            });
        }
        checks
    }
}

fn names(permissions: Permissions) -> String {
    permissions.iter_names().map(|(name, _)| name.to_lowercase().replace('_', " ")).collect::<Vec<_>>().join(", ")
}

fn words(failure: Failure) -> String {
    ChatError::from(failure).to_string()
}

/// What a member may do in a channel, as Discord computes it: everybody's and the roles' permissions, then what the channel takes away and
/// gives, for everybody, for the roles, and for the member, in this order.
fn permissions(server: &Value, member: &Value, channel: &Value, user: &str) -> Permissions {
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned).unwrap_or_default();
    let bits = |value: &Value, field: &str| Permissions::from_bits_retain(text(value, field).parse().unwrap_or_default());
    let everyone = text(server, "id");
    let own: BTreeSet<String> = list(member, "roles").filter_map(Value::as_str).map(str::to_owned).collect();
    let holds = |id: &String| *id == everyone || own.contains(id);
    let base = list(server, "roles")
        .filter(|role| holds(&text(role, "id")))
        .fold(Permissions::empty(), |all, role| all | bits(role, "permissions"));
    if base.contains(Permissions::ADMINISTRATOR) || text(server, "owner_id") == user {
        return Permissions::all();
    }
    let overwrites: Vec<&Value> = list(channel, "permission_overwrites").collect();
    let of = |matches: &dyn Fn(&String) -> bool| {
        let found = overwrites.iter().filter(|overwrite| matches(&text(overwrite, "id")));
        found.fold((Permissions::empty(), Permissions::empty()), |(deny, allow), overwrite| {
            (deny | bits(overwrite, "deny"), allow | bits(overwrite, "allow"))
        })
    };
    let levels = [of(&|id| *id == everyone), of(&|id| own.contains(id)), of(&|id| *id == user)];
    let may = levels.into_iter().fold(base, |may, (deny, allow)| may.difference(deny) | allow);
    // Whoever does not see a channel can do nothing there.
    if may.contains(Permissions::VIEW_CHANNEL) { may } else { Permissions::empty() }
}

fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The number that the README's link of invitation holds.
    #[test]
    fn the_number_of_the_readme() {
        assert_eq!(NEEDED.bits(), 309_237_730_304);
        assert!(include_str!("../../../README.md").contains("permissions=309237730304"));
    }

    #[test]
    fn what_a_channel_takes_and_gives() {
        let see = Permissions::VIEW_CHANNEL.bits().to_string();
        let speak = Permissions::SEND_MESSAGES.bits().to_string();
        let server = json!({ "id": "1", "owner_id": "9", "roles": [
            { "id": "1", "permissions": see }, { "id": "2", "permissions": speak }, { "id": "3", "permissions": "8" },
        ]});
        let member = json!({ "roles": ["2"] });
        let of = |overwrites: Value, user: &str| permissions(&server, &member, &json!({ "permission_overwrites": overwrites }), user);
        let both = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
        assert_eq!(of(json!([]), "7"), both);
        assert_eq!(of(json!([{ "id": "2", "deny": speak, "allow": "0" }]), "7"), Permissions::VIEW_CHANNEL);
        assert_eq!(of(json!([{ "id": "2", "deny": speak, "allow": "0" }, { "id": "7", "deny": "0", "allow": speak }]), "7"), both);
        assert_eq!(of(json!([{ "id": "1", "deny": see, "allow": "0" }]), "7"), Permissions::empty());
        assert_eq!(
            (of(json!([]), "9"), permissions(&server, &json!({ "roles": ["3"] }), &json!({}), "7")),
            (Permissions::all(), Permissions::all())
        );
    }
}
