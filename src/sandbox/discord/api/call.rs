//! What a handler reads from its call: parameters of the path and the query, and what they name.

use super::Call;
use crate::sandbox::discord::refusal::Refusal;
use crate::sandbox::discord::snowflake::Snowflake;
use crate::sandbox::discord::state::{Channel, Message};

impl Call<'_> {
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A parameter of the path that is an id.
    pub(super) fn id(&self, name: &str) -> Result<Snowflake, Refusal> {
        let given = self.parameter(name);
        given
            .parse()
            .map_err(|_| Refusal::field(&format!("{name}_id"), "NUMBER_TYPE_COERCE", format!("Value \"{given}\" is not snowflake.")))
    }

    /// A number in the query.
    pub(super) fn number(&self, name: &str, range: std::ops::RangeInclusive<u64>, default: u64) -> Result<usize, Refusal> {
        let Some(given) = self.query.get(name) else { return Ok(usize::try_from(default).unwrap_or_default()) };
        let number = given.parse().ok().filter(|number| range.contains(number)).and_then(|number| usize::try_from(number).ok());
        let message = format!("int value should be between {} and {}.", range.start(), range.end());
        number.ok_or_else(|| Refusal::field(name, "NUMBER_TYPE_RANGE", message))
    }

    /// An id in the query.
    pub(super) fn id_in_query(&self, name: &str) -> Result<Option<Snowflake>, Refusal> {
        let id = self.query.get(name).map(|given| given.parse());
        id.transpose().map_err(|_| Refusal::field(name, "NUMBER_TYPE_COERCE", "Value is not snowflake."))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.query.get(name).map(|flag| flag.to_lowercase()).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(Refusal::field(name, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")),
        }
    }

    /// The channel in the path, if the bot sees it and may do `needed` there.
    pub(super) fn channel(&self, needed: u64) -> Result<&Channel, Refusal> {
        let place = self.state.channels.get(&self.id("channel")?).ok_or(Refusal::UNKNOWN_CHANNEL)?;
        let permissions = self.state.permissions_in(self.state.bot(), place.id);
        match (permissions, permissions & needed == needed) {
            (0, _) => Err(Refusal::MISSING_ACCESS),
            (_, false) => Err(Refusal::MISSING_PERMISSIONS),
            (_, true) => Ok(place),
        }
    }

    /// The message in the path, if the bot sees the channel and everybody sees the message.
    pub(super) fn message(&self, needed: u64) -> Result<&Message, Refusal> {
        let channel = self.channel(needed)?.id;
        let message = self.state.message(channel, self.id("message")?);
        message.filter(|message| message.only_for.is_none()).ok_or(Refusal::UNKNOWN_MESSAGE)
    }

    /// Only the bot's own application and guild exist for it.
    pub(super) fn own_guild(&self) -> Result<(), Refusal> {
        if self.id("guild")? == self.state.guild.id { Ok(()) } else { Err(Refusal::UNKNOWN_GUILD) }
    }
}
