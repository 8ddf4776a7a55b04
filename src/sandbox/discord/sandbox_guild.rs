//! The guild of the sandbox, whose people are those of the Slack workspace.

use super::guild::{Application, Guild, Member, RateLimits, Role, TextChannel, Timing, permission};
use super::snowflake::Snowflake;

/// Ids in the sandbox's guild.
pub mod id {
    use super::Snowflake;

    /// The guild, and its role `@everyone`.
    pub const GUILD: Snowflake = Snowflake::new(1_181_250_000_004_194_305);
    /// The application and its bot.
    pub const STANCH: Snowflake = Snowflake::new(1_181_250_100_008_388_610);
    /// Rosa, who responds.
    pub const RESPONDER: Snowflake = Snowflake::new(731_250_200_012_582_915);
    /// Amir, who approves.
    pub const APPROVER1: Snowflake = Snowflake::new(742_250_300_016_777_220);
    /// Bea, who approves.
    pub const APPROVER2: Snowflake = Snowflake::new(753_250_400_020_971_525);
    /// Bo, who stands by.
    pub const BYSTANDER: Snowflake = Snowflake::new(764_250_500_025_165_830);
    /// Gus, who has not passed the screening.
    pub const GUEST: Snowflake = Snowflake::new(775_250_600_029_360_135);
    /// Another bot, with the approvers' role.
    pub const OTHER_BOT: Snowflake = Snowflake::new(786_250_700_033_554_440);
    /// Dana, who has left.
    pub const GONE: Snowflake = Snowflake::new(797_250_800_037_748_745);
    /// Olga, who owns the guild.
    pub const OWNER: Snowflake = Snowflake::new(708_250_900_041_943_050);
    /// The approvers' role.
    pub const APPROVERS: Snowflake = Snowflake::new(1_181_251_000_046_137_355);
    /// The responders' role.
    pub const RESPONDERS: Snowflake = Snowflake::new(1_181_251_100_050_331_660);
    /// The bot's own role.
    pub const STANCH_ROLE: Snowflake = Snowflake::new(1_181_251_200_054_525_965);
    /// `#incidents`.
    pub const INCIDENTS: Snowflake = Snowflake::new(1_181_251_300_058_720_270);
    /// `#random`.
    pub const RANDOM: Snowflake = Snowflake::new(1_181_251_400_062_914_575);
    /// `#elsewhere`, which the bot does not see.
    pub const ELSEWHERE: Snowflake = Snowflake::new(1_181_251_500_067_108_880);
}

impl Guild {
    /// The guild of the sandbox: a responder, two approvers and people who must not count, roles for both, a channel for incidents, one
    /// for everything else that the bot sees, and one that it does not see.
    #[must_use]
    pub fn sandbox() -> Self {
        let person = |id: Snowflake, username: &str, global_name: &str, roles: &[Snowflake]| Member {
            id,
            username: username.into(),
            global_name: global_name.into(),
            roles: roles.to_vec(),
            ..Member::default()
        };
        let role = |id: Snowflake, name: &str, permissions| Role { id, name: name.into(), permissions, mentionable: false, managed: false };
        let channel = |id: Snowflake, name: &str, denied_to_bot| TextChannel { id, name: name.into(), denied_to_bot };
        Self {
            id: id::GUILD,
            name: "Stanch Sandbox".into(),
            owner: id::OWNER,
            application: Application::sandbox(),
            roles: vec![
                role(id::GUILD, "@everyone", permission::ORDINARY),
                role(id::RESPONDERS, "sec-responders", 0),
                role(id::APPROVERS, "sec-approvers", 0),
                Role { managed: true, ..role(id::STANCH_ROLE, "Stanch", permission::ORDINARY) },
            ],
            members: vec![
                Member { is_bot: true, ..person(id::STANCH, "stanch", "Stanch", &[id::STANCH_ROLE]) },
                person(id::RESPONDER, "rosa", "Rosa Responder", &[id::RESPONDERS]),
                person(id::APPROVER1, "amir", "Amir Approver", &[id::APPROVERS, id::RESPONDERS]),
                person(id::APPROVER2, "bea", "Bea Approver", &[id::APPROVERS, id::RESPONDERS]),
                person(id::BYSTANDER, "bo", "Bo Bystander", &[]),
                Member { pending: true, ..person(id::GUEST, "gus", "Gus Guest", &[]) },
                Member { is_bot: true, ..person(id::OTHER_BOT, "deploybot", "Deploy Bot", &[id::APPROVERS]) },
                Member { gone: true, ..person(id::GONE, "dana", "Dana Departed", &[]) },
                person(id::OWNER, "olga", "Olga Owner", &[]),
            ],
            channels: vec![
                channel(id::INCIDENTS, "incidents", 0),
                channel(id::RANDOM, "random", 0),
                channel(id::ELSEWHERE, "elsewhere", permission::VIEW_CHANNEL),
            ],
            limits: Some(RateLimits::default()),
            timing: Timing::default(),
        }
    }
}

impl Application {
    fn sandbox() -> Self {
        Self {
            id: id::STANCH,
            name: "Stanch".into(),
            token: "sandbox.discord.bot-token".into(),
            scopes: ["applications.commands", "bot"].map(String::from).into(),
            privileged_intents: 0,
        }
    }
}
