//! What tests and scenarios let happen to the guild and to the gateway, besides what its people do.

use serde_json::{Value, json};

use super::DiscordEmulator;
use super::gateway::{EventKind, Frame, Mishap, payload};
use super::guild::{Application, Member, RateLimits, Role, Timing};
use super::snowflake::Snowflake;

/// How the gateway lets go of the bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayDrop {
    /// It asks the bot to reconnect and to resume, as every few hours.
    Reconnect,
    /// It says that the session is invalid; `resumable` says whether a resumption may be tried. If not, what happens until the bot has
    /// identified again is lost for it.
    InvalidSession {
        /// Whether the session is kept.
        resumable: bool,
    },
    /// It closes with this code. After the codes from 4004 on that Discord calls final, no session is kept.
    Close(u16),
    /// The connection ends without a word, as networks do it. The session is kept.
    Cut,
    /// The connection ends without a word, and the session is not kept.
    Forget,
}

impl DiscordEmulator {
    /// Lets every connection of the bot end.
    pub fn drop_gateway(&self, how: GatewayDrop) {
        self.discord.change(|state| {
            let gateway = &mut state.gateway;
            let keeps = match how {
                GatewayDrop::Reconnect | GatewayDrop::Cut | GatewayDrop::InvalidSession { resumable: true } => true,
                GatewayDrop::InvalidSession { resumable: false } | GatewayDrop::Forget => false,
                GatewayDrop::Close(code) => ![4004, 4007, 4009, 4010, 4011, 4012, 4013, 4014].contains(&code),
            };
            gateway.tell_all(|| match how {
                GatewayDrop::Reconnect => vec![payload(7, &Value::Null), Frame::Close(4000, "Reconnect.")],
                GatewayDrop::InvalidSession { resumable } => vec![payload(9, &json!(resumable)), Frame::Close(4000, "Invalid session.")],
                GatewayDrop::Close(code) => vec![Frame::Close(code, "Closed by the test.")],
                GatewayDrop::Cut | GatewayDrop::Forget => vec![Frame::Cut],
            });
            gateway.let_go(keeps);
        });
    }

    /// Forgets the sessions that have no connection: the next resumption is refused, and what happened since they lost it is lost for the bot.
    pub fn forget_sessions(&self) {
        self.discord.change(|state| state.gateway.forget_lost());
    }

    /// Answers heartbeats, or stops doing so, as a half-dead connection does.
    pub fn acknowledge_heartbeats(&self, acknowledge: bool) {
        self.discord.change(|state| state.gateway.acknowledges = acknowledge);
    }

    /// Asks every connection for a heartbeat at once.
    pub fn request_heartbeats(&self) {
        self.discord.change(|state| state.gateway.tell_all(|| vec![payload(1, &Value::Null)]));
    }

    /// Lets something go wrong with the next event of `kind`, or of any kind.
    pub fn disturb(&self, kind: Option<EventKind>, mishap: Mishap) {
        self.discord.change(|state| state.gateway.disturb(kind, mishap));
    }

    /// Mishaps that were ordered and did not happen yet, so that a test can assert that nothing is left over.
    #[must_use]
    pub fn pending_mishaps(&self) -> Vec<Mishap> {
        self.discord.read(|state| state.gateway.pending_mishaps())
    }

    /// Replaces the rate limits; `None` switches them off.
    pub fn set_limits(&self, limits: Option<RateLimits>) {
        self.discord.change(|state| state.guild.limits = limits);
    }

    /// Replaces how patient Discord is, from now on.
    pub fn set_timing(&self, timing: Timing) {
        self.discord.change(|state| state.guild.timing = timing);
    }

    /// Changes the application's installation or settings.
    pub fn change_application(&self, change: impl FnOnce(&mut Application)) {
        self.discord.change(|state| change(&mut state.guild.application));
    }

    /// Changes what is known of a member, such as the roles, and tells the bot; `false` if there is no such member.
    pub fn change_member(&self, user: Snowflake, change: impl FnOnce(&mut Member)) -> bool {
        self.discord.change(|state| {
            let Some(member) = state.guild.members.iter_mut().find(|member| member.id == user) else { return false };
            let before = member.gone;
            change(member);
            let kind = match (before, member.gone) {
                (false, true) => EventKind::GuildMemberRemove,
                (true, false) => EventKind::GuildMemberAdd,
                (false, false) | (true, true) => EventKind::GuildMemberUpdate,
            };
            state.tell_member(kind, user);
            true
        })
    }

    /// Changes a role, such as its permissions; `false` if there is no such role. Bots are not told: none under test asks for it.
    pub fn change_role(&self, role: Snowflake, change: impl FnOnce(&mut Role)) -> bool {
        self.discord.change(|state| state.guild.roles.iter_mut().find(|known| known.id == role).map(change).is_some())
    }

    /// Somebody leaves the guild.
    pub fn leave(&self, user: Snowflake) -> bool {
        self.change_member(user, |member| {
            member.gone = true;
            member.roles.clear();
        })
    }

    /// A thread falls asleep, or is locked; `false` if there is no such thread.
    pub fn archive_thread(&self, thread: Snowflake, locked: bool) -> bool {
        self.discord.change(|state| {
            let Some(found) = state.channels.get_mut(&thread).and_then(|place| place.thread.as_mut()) else { return false };
            (found.archived, found.locked) = (true, locked);
            state.tell_thread_changed(thread);
            true
        })
    }

    /// Somebody with the right to do so deletes a message; `false` if there is none.
    pub fn delete_message(&self, channel: Snowflake, message: Snowflake) -> bool {
        self.discord.change(|state| {
            let there = state.message(channel, message).is_some();
            state.delete(channel, message);
            there
        })
    }
}
