//! The seed of the emulator: a workspace, its people, and the app that is installed in it.

use std::collections::BTreeSet;
use std::time::Duration;

/// A workspace with one installed app.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Team id, `T…`.
    pub team_id: String,
    /// Name of the team.
    pub team_name: String,
    /// First label of the team's `slack.com` address.
    pub domain: String,
    /// The app whose bot is under test.
    pub app: App,
    /// Everybody, the app's bot user included.
    pub users: Vec<User>,
    /// User groups.
    pub groups: Vec<Group>,
    /// Channels and direct messages.
    pub channels: Vec<Channel>,
    /// Slack's rate limits; `None` switches them off.
    pub limits: Option<RateLimits>,
    /// How patient Slack is.
    pub timing: Timing,
}

/// An installed app: what its manifest asked for and what the installation gave.
#[derive(Clone, Debug)]
pub struct App {
    /// App id, `A…`.
    pub id: String,
    /// The bot user, `U…`; it is one of the workspace's users.
    pub bot_user: String,
    /// The bot, `B…`.
    pub bot_id: String,
    /// Bot token, `xoxb-…`.
    pub bot_token: String,
    /// App-level token with `connections:write`, `xapp-…`.
    pub app_token: String,
    /// Scopes of the bot token.
    pub bot_scopes: BTreeSet<String>,
    /// Slash commands with their slash.
    pub commands: BTreeSet<String>,
    /// Callback ids of shortcuts on messages.
    pub shortcuts: BTreeSet<String>,
    /// Bot events that the app subscribed to; messages by kind of channel, as in a manifest (`message.channels`, `message.im`, …).
    pub events: BTreeSet<String>,
}

/// A person or a bot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User id, `U…`.
    pub id: String,
    /// Name that one types after an `@`.
    pub name: String,
    /// Full name.
    pub real_name: String,
    /// A bot user.
    pub is_bot: bool,
    /// Deactivated.
    pub deleted: bool,
    /// A guest of any kind.
    pub is_restricted: bool,
    /// A guest of a single channel.
    pub is_ultra_restricted: bool,
    /// Of another workspace, and known only through a shared channel.
    pub is_stranger: bool,
    /// Home team.
    pub team_id: String,
    /// IANA time zone.
    pub tz: String,
}

/// A user group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Group id, `S…`.
    pub id: String,
    /// Handle that one types after an `@`.
    pub handle: String,
    /// User ids.
    pub members: Vec<String>,
}

/// A channel, or a direct message between the bot and one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Channel id: `C…`, `D…` for a direct message.
    pub id: String,
    /// Name without `#`; empty for a direct message.
    pub name: String,
    /// The bot is in it.
    pub is_member: bool,
    /// A direct message with the bot.
    pub is_im: bool,
    /// A private channel, which the bot sees only as a member.
    pub is_private: bool,
    /// User ids besides the bot.
    pub members: Vec<String>,
}

/// One rate limit: a burst, and then one call every so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Calls that may come at once.
    pub burst: u32,
    /// Time in which one further call becomes possible.
    pub every: Duration,
}

/// The rate limits of the `chat.*` methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// `chat.postMessage`, per channel.
    pub post: Limit,
    /// `chat.update` and `chat.delete`, each per workspace.
    pub tier3: Limit,
    /// `chat.postEphemeral`, per workspace.
    pub tier4: Limit,
}

/// How long Slack waits for what. Tests and scenarios shorten it with [`Timing::scaled`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time to acknowledge an envelope.
    pub ack: Duration,
    /// Waits before the redeliveries of an event that was not acknowledged.
    pub retries: Vec<Duration>,
    /// Life of a `trigger_id`.
    pub trigger: Duration,
}

impl Default for RateLimits {
    /// Slack's: one message a second and channel with "short bursts" (it names no number; five keeps a bot honest), tier 3 with 50
    /// and tier 4 with 100 calls a minute.
    fn default() -> Self {
        Self {
            post: Limit { burst: 5, every: Duration::from_secs(1) },
            tier3: Limit { burst: 50, every: Duration::from_millis(1200) },
            tier4: Limit { burst: 100, every: Duration::from_millis(600) },
        }
    }
}

impl Default for Timing {
    /// Slack's: three seconds to acknowledge, redelivery at once, after one and after five minutes, triggers that live three seconds.
    fn default() -> Self {
        let retries = [0, 60, 300].map(Duration::from_secs).to_vec();
        Self { ack: Duration::from_secs(3), retries, trigger: Duration::from_secs(3) }
    }
}

impl Timing {
    /// The same with acknowledgement and redelivery times multiplied. Triggers keep their life: it starts when a person acts, and a
    /// test that opens a view must not depend on the speed of the machine.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let factor = factor.max(0.0);
        let retries = self.retries.iter().map(|wait| wait.mul_f64(factor)).collect();
        Self { ack: self.ack.mul_f64(factor), retries, trigger: self.trigger }
    }
}

impl Workspace {
    /// The workspace of the sandbox: a responder, two approvers and people who must not count, two user groups, a channel for
    /// incidents, one for everything else that the bot is in, one that it is not in, and the responder's direct message with the bot.
    #[must_use]
    pub fn sandbox() -> Self {
        let person = |id: &str, name: &str, real_name: &str| User {
            id: id.into(),
            name: name.into(),
            real_name: real_name.into(),
            team_id: "T0SANDBOX".into(),
            tz: "Europe/Amsterdam".into(),
            ..User::default()
        };
        let users = vec![
            User { is_bot: true, ..person("U0STANCH", "stanch", "Stanch") },
            person("U0RESPONDER", "rosa", "Rosa Responder"),
            person("U0APPROVER1", "amir", "Amir Approver"),
            person("U0APPROVER2", "bea", "Bea Approver"),
            person("U0BYSTANDER", "bo", "Bo Bystander"),
            User { is_restricted: true, ..person("U0GUEST", "gus", "Gus Guest") },
            User { is_bot: true, ..person("U0OTHERBOT", "deploybot", "Deploy Bot") },
            User { deleted: true, ..person("U0GONE", "dana", "Dana Departed") },
            User { is_stranger: true, team_id: "T0FOREIGN".into(), ..person("U0STRANGER", "sam", "Sam Stranger") },
        ];
        let everybody: Vec<String> = users.iter().skip(1).filter(|user| !user.deleted).map(|user| user.id.clone()).collect();
        let channel = |id: &str, name: &str, is_member| Channel {
            id: id.into(),
            name: name.into(),
            is_member,
            is_im: false,
            is_private: false,
            members: everybody.clone(),
        };
        let group = |id: &str, handle: &str, members: &[&str]| Group {
            id: id.into(),
            handle: handle.into(),
            members: members.iter().map(|id| (*id).into()).collect(),
        };
        Self {
            team_id: "T0SANDBOX".into(),
            team_name: "Stanch Sandbox".into(),
            domain: "stanch-sandbox".into(),
            app: App::sandbox(),
            channels: vec![
                channel("C0INCIDENTS", "incidents", true),
                channel("C0RANDOM", "random", true),
                channel("C0ELSEWHERE", "elsewhere", false),
                Channel { is_im: true, members: vec!["U0RESPONDER".into()], ..channel("D0RESPONDER", "", true) },
            ],
            groups: vec![
                group("S0APPROVERS", "sec-approvers", &["U0APPROVER1", "U0APPROVER2"]),
                group("S0RESPONDERS", "sec-responders", &["U0RESPONDER", "U0APPROVER1", "U0APPROVER2"]),
            ],
            users,
            limits: Some(RateLimits::default()),
            timing: Timing::default(),
        }
    }
}

impl App {
    fn sandbox() -> Self {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            id: "A0STANCH".into(),
            bot_user: "U0STANCH".into(),
            bot_id: "B0STANCH".into(),
            bot_token: "xoxb-sandbox-bot-token".into(),
            app_token: "xapp-sandbox-app-token".into(),
            bot_scopes: set(&[
                "app_mentions:read",
                "channels:history",
                "channels:join",
                "channels:read",
                "chat:write",
                "commands",
                "files:write",
                "groups:history",
                "groups:read",
                "im:history",
                "im:read",
                "im:write",
                "reactions:read",
                "reactions:write",
                "team:read",
                "usergroups:read",
                "users:read",
            ]),
            commands: set(&["/stanch"]),
            shortcuts: set(&["propose-quarantine"]),
            events: set(&["app_mention", "message.im", "reaction_added", "reaction_removed"]),
        }
    }
}
