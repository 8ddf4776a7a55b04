//! The seed of the emulator: a guild (which people call a server), its people, and the application whose bot is under test.

use std::collections::BTreeSet;
use std::time::Duration;

use super::snowflake::Snowflake;

/// A guild with one installed application.
#[derive(Clone, Debug)]
pub struct Guild {
    /// Guild id; the role `@everyone` has the same.
    pub id: Snowflake,
    /// Its name.
    pub name: String,
    /// The member who owns it.
    pub owner: Snowflake,
    /// The application whose bot is under test.
    pub application: Application,
    /// Roles, `@everyone` included.
    pub roles: Vec<Role>,
    /// Everybody, the bot included.
    pub members: Vec<Member>,
    /// Text channels.
    pub channels: Vec<TextChannel>,
    /// Discord's rate limits; `None` switches them off.
    pub limits: Option<RateLimits>,
    /// How patient Discord is.
    pub timing: Timing,
}

/// An application, and what its installation gave it.
#[derive(Clone, Debug)]
pub struct Application {
    /// Application id, which is also its bot's user id.
    pub id: Snowflake,
    /// Its name.
    pub name: String,
    /// Bot token.
    pub token: String,
    /// OAuth2 scopes of the installation: `bot`, `applications.commands`.
    pub scopes: BTreeSet<String>,
    /// Privileged gateway intents that are switched on in its settings.
    pub privileged_intents: u64,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Role id.
    pub id: Snowflake,
    /// Its name.
    pub name: String,
    /// Permission bits, as in [`permission`].
    pub permissions: u64,
    /// Everybody may mention it.
    pub mentionable: bool,
    /// Belongs to the application, so that nobody else can have it.
    pub managed: bool,
}

/// A person or a bot in the guild.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// User id.
    pub id: Snowflake,
    /// Name that one types after an `@`.
    pub username: String,
    /// Name as shown.
    pub global_name: String,
    /// A bot.
    pub is_bot: bool,
    /// Role ids besides `@everyone`.
    pub roles: Vec<Snowflake>,
    /// Has not passed the guild's screening yet.
    pub pending: bool,
    /// May not do anything until some day.
    pub timed_out: bool,
    /// Has left: a user, and no member.
    pub gone: bool,
}

/// A text channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextChannel {
    /// Channel id.
    pub id: Snowflake,
    /// Name without `#`.
    pub name: String,
    /// Permissions that the bot lacks here, whatever its roles say.
    pub denied_to_bot: u64,
}

/// A limit of one route: so many requests in each window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests.
    pub requests: u32,
    /// Window.
    pub window: Duration,
}

/// Discord's limits. It publishes few of them and tells the rest in headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// New messages and edits, each per channel.
    pub messages: Limit,
    /// Reactions of the bot, per channel.
    pub reactions: Limit,
    /// Followups of an interaction, per interaction.
    pub followups: Limit,
    /// Every other route.
    pub others: Limit,
    /// All routes together, but for those of interactions.
    pub global: Limit,
    /// Answers 401, 403 and 429: who gets more is banned until the window ends.
    pub invalid: Limit,
}

/// How long Discord waits for what. Tests and scenarios shorten it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time for the first answer to an interaction.
    pub respond: Duration,
    /// Life of an interaction's token after that.
    pub token: Duration,
    /// What HELLO says of heartbeats.
    pub heartbeat: Duration,
    /// How long a session without a connection can be resumed.
    pub resume: Duration,
}

/// Permission bits.
pub mod permission {
    /// Everything.
    pub const ADMINISTRATOR: u64 = 1 << 3;
    /// React with an emoji that nobody has used on the message.
    pub const ADD_REACTIONS: u64 = 1 << 6;
    /// See a channel.
    pub const VIEW_CHANNEL: u64 = 1 << 10;
    /// Write messages.
    pub const SEND_MESSAGES: u64 = 1 << 11;
    /// Delete what others wrote and reacted.
    pub const MANAGE_MESSAGES: u64 = 1 << 13;
    /// Send embeds.
    pub const EMBED_LINKS: u64 = 1 << 14;
    /// Send files.
    pub const ATTACH_FILES: u64 = 1 << 15;
    /// Read what was written before.
    pub const READ_MESSAGE_HISTORY: u64 = 1 << 16;
    /// Mention everybody and every role.
    pub const MENTION_EVERYONE: u64 = 1 << 17;
    /// Type slash commands.
    pub const USE_APPLICATION_COMMANDS: u64 = 1 << 31;
    /// Archive and lock threads.
    pub const MANAGE_THREADS: u64 = 1 << 34;
    /// Start threads.
    pub const CREATE_PUBLIC_THREADS: u64 = 1 << 35;
    /// Write messages in threads.
    pub const SEND_MESSAGES_IN_THREADS: u64 = 1 << 38;
    /// What somebody may do who is timed out.
    pub const TIMED_OUT: u64 = VIEW_CHANNEL | READ_MESSAGE_HISTORY;
    /// What `@everyone` may do in the sandbox.
    pub const ORDINARY: u64 = ADD_REACTIONS
        | VIEW_CHANNEL
        | SEND_MESSAGES
        | EMBED_LINKS
        | ATTACH_FILES
        | READ_MESSAGE_HISTORY
        | USE_APPLICATION_COMMANDS
        | CREATE_PUBLIC_THREADS
        | SEND_MESSAGES_IN_THREADS;
}

impl Default for RateLimits {
    /// As bots see them in headers: five messages in five seconds and channel, one reaction in a quarter of a second; fifty requests a
    /// second in all and ten thousand invalid ones in ten minutes are documented.
    fn default() -> Self {
        let limit = |requests, ms| Limit { requests, window: Duration::from_millis(ms) };
        Self {
            messages: limit(5, 5_000),
            reactions: limit(1, 250),
            followups: limit(5, 2_000),
            others: limit(50, 1_000),
            global: limit(50, 1_000),
            invalid: limit(10_000, 600_000),
        }
    }
}

impl Default for Timing {
    /// Discord's: three seconds to answer, tokens that live fifteen minutes, a heartbeat every 41.25 seconds. Of how long a session can be
    /// resumed it says nothing; a few minutes is what bots see.
    fn default() -> Self {
        let (respond, token) = (Duration::from_secs(3), Duration::from_mins(15));
        Self { respond, token, heartbeat: Duration::from_millis(41_250), resume: Duration::from_mins(3) }
    }
}

impl Guild {
    /// A member, or somebody who has left.
    #[must_use]
    pub fn user(&self, id: Snowflake) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// A member of that username who has not left.
    #[must_use]
    pub fn named(&self, username: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.username == username && !member.gone)
    }

    /// A channel by its name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<&TextChannel> {
        self.channels.iter().find(|channel| channel.name == name)
    }

    /// Permissions of a member in the whole guild.
    pub(super) fn permissions(&self, member: &Member) -> u64 {
        let has = |role: &&Role| role.id == self.id || member.roles.contains(&role.id);
        let granted = self.roles.iter().filter(has).fold(0, |bits, role| bits | role.permissions);
        let everything = member.id == self.owner || granted & permission::ADMINISTRATOR != 0;
        match (everything, member.timed_out) {
            (true, _) => u64::MAX >> 11,
            (false, true) => granted & permission::TIMED_OUT,
            (false, false) => granted,
        }
    }
}
