//! How to reach a Discord server.

use std::collections::BTreeSet;
use std::net::IpAddr;

use secrecy::SecretString;
use url::{Host, Url};

use super::error::DiscordError;

/// What an operator sets.
#[derive(Clone, Debug)]
pub struct DiscordSettings {
    /// Base of the REST API without a slash at the end; `None` is Discord itself. Without TLS only on loopback.
    pub api_url: Option<String>,
    /// The bot's token.
    pub bot_token: SecretString,
    /// The application that the token must belong to.
    pub application: String,
    /// The server (guild). Whatever comes from another one is turned away.
    pub guild: String,
    /// Where `/stanch` is registered.
    pub scope: CommandScope,
    /// The channels that Stanch speaks in, for the examination.
    pub channels: BTreeSet<String>,
    /// Reactions that vote.
    pub emoji: Emoji,
    /// Files of evidence are attached: that takes a permission more.
    pub attaches: bool,
}

/// Where the slash command is registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommandScope {
    /// In the configured server alone.
    #[default]
    Guild,
    /// Wherever the application is installed.
    Global,
}

/// The reactions that vote: the character itself, or `NAME:ID` for an emoji of the server. A skin tone makes another one, which does not
/// count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emoji {
    /// Yes.
    pub yes: String,
    /// No.
    pub no: String,
    /// Halt.
    pub halt: String,
}

impl Default for Emoji {
    fn default() -> Self {
        Self { yes: "✅".into(), no: "❌".into(), halt: "🛑".into() }
    }
}

impl Emoji {
    /// Whether a reaction votes: its name, and its id if it is an emoji of a server.
    pub(super) fn votes(&self, name: &str, id: Option<&str>) -> bool {
        let reaction = id.map_or_else(|| name.to_owned(), |id| format!("{name}:{id}"));
        [&self.yes, &self.no, &self.halt].into_iter().any(|vote| *vote == reaction)
    }

    /// Three different ones.
    pub(super) fn check(&self) -> Result<(), DiscordError> {
        let all = [&self.yes, &self.no, &self.halt];
        for (index, emoji) in all.iter().enumerate() {
            if !is_emoji(emoji) || all.iter().take(index).any(|earlier| earlier == emoji) {
                return Err(DiscordError::Emoji((*emoji).clone()));
            }
        }
        Ok(())
    }
}

/// `NAME:ID`, or a character that no name is made of.
#[must_use]
pub fn is_emoji(text: &str) -> bool {
    let named = |name: &str| (2..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match text.split_once(':') {
        Some((name, id)) => named(name) && is_snowflake(id),
        None => (1..=32).contains(&text.len()) && !text.chars().any(|character| character.is_ascii() || character.is_whitespace()),
    }
}

/// An id of Discord: a number of 64 bits, without a sign or leading zeros.
#[must_use]
pub fn is_snowflake(text: &str) -> bool {
    (1..=20).contains(&text.len())
        && !text.starts_with('0')
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u64>().is_ok()
}

/// Where the REST API is, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Only over TLS, and so is the gateway.
    Tls(String),
    /// Over plain HTTP on this machine, and so is the gateway.
    Loopback(String),
}

impl Endpoint {
    /// Tokens must not travel over a network in plain text.
    pub(super) fn of(api_url: Option<&str>) -> Result<Self, DiscordError> {
        let Some(text) = api_url else { return Ok(Self::Tls("https://discord.com/api/v10".into())) };
        let wrong = || DiscordError::Address(text.to_owned());
        let url: Url = text.parse().map_err(|_| wrong())?;
        let base = text.trim_end_matches('/').to_owned();
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        match (url.scheme(), is_loopback(&url)) {
            _ if !plain => Err(wrong()),
            ("https", _) => Ok(Self::Tls(base)),
            ("http", true) => Ok(Self::Loopback(base)),
            _ => Err(wrong()),
        }
    }

    /// The gateway's address as Discord names it, if the token may be sent there.
    pub(super) fn gateway(&self, named: &str) -> Option<String> {
        let mut url: Url = named.parse().ok()?;
        let may = match self {
            Self::Tls(_) => url.scheme() == "wss",
            Self::Loopback(_) => url.scheme() == "ws" && is_loopback(&url),
        };
        url.set_query(Some("v=10&encoding=json"));
        may.then(|| url.to_string())
    }

    pub(super) fn base(&self) -> &str {
        match self {
            Self::Tls(base) | Self::Loopback(base) => base,
        }
    }

    pub(super) fn is_loopback(&self) -> bool {
        matches!(self, Self::Loopback(_))
    }
}

fn is_loopback(url: &Url) -> bool {
    // The parser knows the hosts of http and https only; those of ws and wss too.
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens travel in plain text on this machine only, to the gateway too.
    #[test]
    fn addresses() {
        assert_eq!(Endpoint::of(None).ok(), Some(Endpoint::Tls("https://discord.com/api/v10".into())));
        let loopback = Endpoint::Loopback("http://127.0.0.1:80/api/v10".into());
        assert_eq!(Endpoint::of(Some("http://127.0.0.1:80/api/v10/")).ok(), Some(loopback.clone()));
        for refused in
            ["http://discord.com/api", "http://127.0.0.1.example.com", "ftp://127.0.0.1", "discord.com", "https://a:b@discord.com"]
        {
            assert_eq!(
                Endpoint::of(Some(refused)).map_err(|error| error.to_string()),
                Err(format!("`{refused}` is no address that tokens may be sent to"))
            );
        }
        let tls = Endpoint::Tls(String::new());
        assert_eq!(tls.gateway("wss://gateway.discord.gg").as_deref(), Some("wss://gateway.discord.gg/?v=10&encoding=json"));
        assert_eq!(
            [tls.gateway("ws://gateway.discord.gg"), loopback.gateway("ws://192.0.2.1"), loopback.gateway("nonsense")],
            [None, None, None]
        );
        assert_eq!(loopback.gateway("ws://127.0.0.1:8080/gw").as_deref(), Some("ws://127.0.0.1:8080/gw?v=10&encoding=json"));
    }

    #[test]
    fn emoji_are_three_characters_or_names_with_ids() {
        let check = |yes: &str, no: &str| Emoji { yes: yes.into(), no: no.into(), ..Emoji::default() }.check().is_ok();
        assert!(check("👍", "❌") && check("stanch_yes:1181251300058720270", "❌"));
        for (yes, no) in [("❌", "❌"), ("x", "❌"), (":x:", "❌"), ("", "❌"), ("a b:1", "❌"), ("yes:0", "❌"), ("👍 ", "❌")] {
            assert!(!check(yes, no), "{yes} {no}");
        }
        let emoji = Emoji { no: "no:12".into(), ..Emoji::default() };
        assert_eq!([emoji.votes("✅", None), emoji.votes("no", Some("12"))], [true, true]);
        assert_eq!([emoji.votes("👍", None), emoji.votes("no", Some("13")), emoji.votes("✅", Some("12"))], [false, false, false]);
    }
}
