//! How to reach a Slack workspace.

use std::net::IpAddr;

use secrecy::SecretString;
use url::{Host, Url};

use super::error::SlackError;

/// What an operator sets.
#[derive(Clone, Debug)]
pub struct SlackSettings {
    /// Base of the Web API without a slash at the end; `None` is Slack itself. Without TLS only on loopback.
    pub api_url: Option<String>,
    /// Bot token, `xoxb-…`.
    pub bot_token: SecretString,
    /// App-level token with `connections:write`, `xapp-…`.
    pub app_token: SecretString,
    /// The workspace that the tokens must belong to, `T…`; `None` takes whichever it is.
    pub team_id: Option<String>,
    /// Reactions that vote.
    pub emoji: Emoji,
    /// Files of evidence are attached: that takes a scope more.
    pub attaches: bool,
}

/// Names of the reactions that vote, without colons. A skin tone makes another name, which does not count.
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
        Self { yes: "white_check_mark".into(), no: "x".into(), halt: "octagonal_sign".into() }
    }
}

impl Emoji {
    /// Whether a reaction of this name votes.
    pub(super) fn votes(&self, name: &str) -> bool {
        [&self.yes, &self.no, &self.halt].into_iter().any(|vote| vote == name)
    }

    /// Three different names in Slack's alphabet.
    pub(super) fn check(&self) -> Result<(), SlackError> {
        let names = [&self.yes, &self.no, &self.halt];
        let ordinary = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-+'".contains(&byte);
        for (index, name) in names.iter().enumerate() {
            if name.is_empty() || !name.bytes().all(ordinary) || names.iter().take(index).any(|earlier| earlier == name) {
                return Err(SlackError::Emoji((*name).clone()));
            }
        }
        Ok(())
    }
}

/// Where the Web API is, checked.
pub(super) enum Endpoint {
    /// Only over TLS.
    Tls(String),
    /// Over plain HTTP on this machine.
    Loopback(String),
}

impl Endpoint {
    /// Tokens must not travel over a network in plain text.
    pub(super) fn of(api_url: Option<&str>) -> Result<Self, SlackError> {
        let Some(text) = api_url else { return Ok(Self::Tls("https://slack.com/api".into())) };
        let wrong = || SlackError::Address(text.to_owned());
        let url: Url = text.parse().map_err(|_| wrong())?;
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let base = text.trim_end_matches('/').to_owned();
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        match (url.scheme(), loopback) {
            _ if !plain => Err(wrong()),
            ("https", _) => Ok(Self::Tls(base)),
            ("http", true) => Ok(Self::Loopback(base)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens travel in plain text on this machine only.
    #[test]
    fn addresses() {
        let kind = |url: Option<&str>| match Endpoint::of(url) {
            Ok(Endpoint::Tls(base)) => format!("tls {base}"),
            Ok(Endpoint::Loopback(base)) => format!("loopback {base}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(kind(None), "tls https://slack.com/api");
        assert_eq!(kind(Some("https://slack-gov.com/api/")), "tls https://slack-gov.com/api");
        assert_eq!(kind(Some("http://127.0.0.1:80/api")), "loopback http://127.0.0.1:80/api");
        assert_eq!(kind(Some("http://[::1]:80/api")), "loopback http://[::1]:80/api");
        for refused in
            ["http://slack.com/api", "http://127.0.0.1.example.com/api", "ftp://127.0.0.1", "slack.com/api", "https://a:b@slack.com/api"]
        {
            assert_eq!(kind(Some(refused)), format!("`{refused}` is no address that tokens may be sent to"));
        }
    }

    #[test]
    fn emoji_are_three_plain_names() {
        let emoji =
            |yes: &str, no: &str| Emoji { yes: yes.into(), no: no.into(), ..Emoji::default() }.check().map_err(|error| error.to_string());
        assert_eq!(emoji("+1", "x"), Ok(()));
        for (yes, no, wrong) in [("x", "x", "x"), (":x:", "no", ":x:"), ("", "x", ""), ("+1::skin-tone-2", "x", "+1::skin-tone-2")] {
            assert_eq!(emoji(yes, no), Err(format!("`{wrong}` cannot be the name of a reaction that votes")));
        }
    }
}
