//! SSH public keys, parsed to the last byte before they reach the metadata of an instance.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::target::{InvalidName, RequestId};

/// Longest key in base64: RSA with 4096 bits has 716 characters.
const BLOB_LIMIT: usize = 800;
/// Longest user name that Linux takes.
const USER_LIMIT: usize = 32;
/// Shortest RSA modulus in bytes, with its leading zero: 2048 bits.
const RSA_MODULUS: usize = 257;
/// What a line in the metadata that Stanch added ends with, before the request.
const MARK: &str = "stanch-";

/// A public key, and the user that it lets in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SshKey {
    algorithm: String,
    blob: String,
    user: String,
}

impl SshKey {
    /// The user on the instance.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Algorithm and the end of the key: enough to tell keys apart, short enough to read.
    #[must_use]
    pub fn short(&self) -> String {
        let tail: String = self.blob.chars().skip(self.blob.chars().count().saturating_sub(12)).collect();
        format!("{} …{tail} of {}", self.algorithm, self.user)
    }

    /// The line of the metadata entry `ssh-keys`, marked with the request that adds it, so that it can be found again.
    #[must_use]
    pub fn line(&self, request: &RequestId) -> String {
        format!("{}:{} {} {MARK}{request}", self.user, self.algorithm, self.blob)
    }

    /// Whether a line of `ssh-keys` lets the same user in with the same key, whatever its comment.
    #[must_use]
    pub fn is_on(&self, line: &str) -> bool {
        let Some((user, key)) = line.trim().split_once(':') else { return false };
        let mut words = key.split_whitespace();
        user == self.user && words.next() == Some(&self.algorithm) && words.next() == Some(&self.blob)
    }
}

/// Whether Stanch added this line of `ssh-keys`.
#[must_use]
pub fn is_ours(line: &str) -> bool {
    let comment = line.split_whitespace().last().and_then(|word| word.strip_prefix(MARK));
    comment.is_some_and(|request| request.parse::<RequestId>().is_ok())
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.algorithm, self.blob, self.user)
    }
}

impl From<SshKey> for String {
    fn from(key: SshKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for SshKey {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl FromStr for SshKey {
    type Err = InvalidName;

    /// Reads `ALGORITHM BASE64 USER`, where the user may be written `USER@HOST` as `ssh-keygen` does.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // Only the first word is repeated to people: what was pasted may be a private key.
        let invalid = |rule| InvalidName {
            text: text.split_whitespace().next().unwrap_or_default().chars().take(30).collect(),
            what: "SSH public key",
            rule,
        };
        let words: Vec<&str> = text.split(' ').collect();
        let [algorithm, blob, user] = words.as_slice() else {
            return Err(invalid("three words as in a .pub file: ALGORITHM BASE64 USER"));
        };
        let user = user.split_once('@').map_or(*user, |(user, _)| user);
        if !is_user(user) {
            return Err(invalid("its last word is the user: lower-case letters, digits, `_` and `-`, and not root"));
        }
        let bytes = (blob.len() <= BLOB_LIMIT).then(|| base64(blob)).flatten();
        match bytes.as_deref().and_then(fields) {
            Some(fields) if fits(algorithm, &fields) => {
                Ok(Self { algorithm: (*algorithm).to_owned(), blob: (*blob).to_owned(), user: user.to_owned() })
            }
            Some(_) | None => Err(invalid("a complete ssh-ed25519, ecdsa-sha2-nistp256, -384, -521 or ssh-rsa key of 2048 to 4096 bits")),
        }
    }
}

fn is_user(text: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let inner = |c: char| first(c) || c.is_ascii_digit() || c == '-';
    // Google's images let nobody in as root, so such a key would only look as if it helped.
    text.len() <= USER_LIMIT && text.starts_with(first) && text.chars().all(inner) && text != "root"
}

/// The length-prefixed fields that a key consists of (RFC 4253, section 6.6), if it ends with the last of them.
fn fields(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        fields.push(field);
        bytes = rest;
    }
    Some(fields)
}

fn fits(algorithm: &str, fields: &[&[u8]]) -> bool {
    let Some((name, rest)) = fields.split_first() else { return false };
    *name == algorithm.as_bytes()
        && match (algorithm, rest) {
            ("ssh-ed25519", [key]) => key.len() == 32,
            ("ecdsa-sha2-nistp256", [curve, point]) => *curve == b"nistp256" && point.len() == 65,
            ("ecdsa-sha2-nistp384", [curve, point]) => *curve == b"nistp384" && point.len() == 97,
            ("ecdsa-sha2-nistp521", [curve, point]) => *curve == b"nistp521" && point.len() == 133,
            ("ssh-rsa", [_, modulus]) => modulus.len() >= RSA_MODULUS,
            _ => false,
        }
}

/// Standard base64 with its padding, and nothing else.
fn base64(text: &str) -> Option<Vec<u8>> {
    let data = text.trim_end_matches('=');
    let padding = text.len().checked_sub(data.len())?;
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for c in data.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = (buffer << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(buffer >> bits & 0xff).ok()?);
        }
    }
    // Bits that no byte takes are zero in what every encoder writes.
    (buffer & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f rosa";

    #[test]
    fn a_key_is_read_and_written_back() {
        let key: SshKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        assert_eq!(format!("{KEY}@laptop").parse::<SshKey>().unwrap(), key);
        let line = key.line(&"r-k3f9qz".parse().unwrap());
        assert_eq!(line, format!("rosa:{} stanch-r-k3f9qz", KEY.strip_suffix(" rosa").unwrap()));
        assert!(key.is_on(&line) && is_ours(&line));
        assert!(!key.is_on(&line.replace("rosa:", "bo:")) && !is_ours("rosa:ssh-ed25519 AAAA rosa"));
    }

    #[test]
    fn whatever_is_no_public_key_is_refused() {
        let key = KEY.split(' ').nth(1).unwrap();
        for text in [
            "",
            "ssh-ed25519",
            &format!("ssh-ed25519 {key}"),
            &format!("ssh-ed25519 {key} root"),
            &format!("ssh-ed25519 {key} Rosa"),
            &format!("ssh-ed25519 {key} a b"),
            &format!("ssh-ed25519 {key} a\nroot:ssh-ed25519"),
            &format!("ssh-rsa {key} rosa"),
            &format!("ssh-ed25519 {} rosa", key.get(..64).unwrap()),
            &format!("ssh-ed25519 {key}AAAA rosa"),
            &format!("command=\"sh\" ssh-ed25519 {key} rosa"),
            &format!("ssh-ed25519 {} rosa", key.replace('A', "!")),
        ] {
            assert!(text.parse::<SshKey>().is_err(), "{text}");
        }
        let private = "-----BEGIN OPENSSH PRIVATE KEY----- b3BlbnNzaC1rZXktdjEAAAAA x".parse::<SshKey>().unwrap_err();
        assert!(!private.to_string().contains("b3Bl"));
    }
}
