//! The host keys that Stanch trusts. Nothing is ever added to them: a key that nobody vouched for is no key.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use russh::keys::{Algorithm, PublicKey, PublicKeyBase64 as _, parse_public_key_base64};
use stanch_commands::target::InstanceRef;

/// Largest file in bytes: 4,096 VMs with three keys each.
const LIMIT_BYTES: u64 = 2 << 20;

/// A file that `ssh` and `gcloud compute ssh` also read: `NAME[,NAME] ALGORITHM BASE64 [COMMENT]`.
///
/// # Caveats
/// Hashed names and patterns match nothing, and lines with the marker `@cert-authority` are passed over; those with `@revoked` count for
/// every name. RSA keys are known, but not used.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    names: Vec<String>,
    revoked: bool,
    key: PublicKey,
}

/// Why a file of known hosts is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
    /// It cannot be read.
    #[error("cannot read the known hosts in `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line of it is none.
    #[error("line {line} of `{}` is no known host", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's.
    Known,
    /// No key of the host is known.
    Unknown,
    /// Other keys of the host are known, and not this one.
    Changed,
    /// It must not be trusted any more.
    Revoked,
}

/// The name under which `gcloud compute ssh` keeps the keys of an instance. The id is never given again, so that a namesake has no key here.
#[must_use]
pub fn alias(instance: &InstanceRef) -> String {
    format!("compute.{}", instance.id)
}

impl KnownHosts {
    /// Reads a file.
    ///
    /// # Errors
    /// [`KnownHostsError`]: a file with one wrong line is not believed at all, since the line may be the revoked key.
    pub fn read(path: &Path) -> Result<Self, KnownHostsError> {
        let unreadable = |source| KnownHostsError::Unreadable { path: path.to_owned(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(LIMIT_BYTES).read_to_string(&mut text).map_err(unreadable)?;
        if u64::try_from(text.len()).is_ok_and(|length| length >= LIMIT_BYTES) {
            return Err(unreadable(std::io::Error::other("it is too large")));
        }
        Self::parse(&text).map_err(|line| KnownHostsError::Malformed { path: path.to_owned(), line })
    }

    /// The error is the number of the wrong line.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let mut words = line.split_whitespace().peekable();
            let marker = words.next_if(|word| word.starts_with('@'));
            match (words.peek(), marker) {
                (None, None) => continue,
                (Some(word), None) if word.starts_with('#') => continue,
                (_, Some("@cert-authority")) => continue,
                (_, None | Some("@revoked")) => {}
                (_, Some(_)) => return Err(number),
            }
            let (Some(names), Some(algorithm), Some(base64)) = (words.next(), words.next(), words.next()) else { return Err(number) };
            let key = parse_public_key_base64(base64).map_err(|_| number)?;
            if key.algorithm().as_str() != algorithm {
                return Err(number);
            }
            let names = names.split(',').map(ToOwned::to_owned).collect();
            lines.push(Line { names, revoked: marker.is_some(), key });
        }
        Ok(Self { lines })
    }

    /// How many keys are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The algorithms of the host's keys: one that is asked for another kind of key could only disappoint.
    #[must_use]
    pub fn algorithms(&self, name: &str) -> Vec<Algorithm> {
        let ours = self.lines.iter().filter(|line| !line.revoked && line.has(name));
        let mut algorithms: Vec<Algorithm> = Vec::new();
        for line in ours {
            let algorithm = line.key.algorithm();
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        algorithms
    }

    /// Whether the key is that of the host.
    #[must_use]
    pub fn judge(&self, name: &str, key: &PublicKey) -> Verdict {
        let same = |line: &&Line| line.key.public_key_bytes() == key.public_key_bytes();
        if self.lines.iter().filter(|line| line.revoked).any(|line| same(&line)) {
            return Verdict::Revoked;
        }
        let ours: Vec<&Line> = self.lines.iter().filter(|line| !line.revoked && line.has(name)).collect();
        match (ours.is_empty(), ours.iter().any(same)) {
            (true, _) => Verdict::Unknown,
            (false, true) => Verdict::Known,
            (false, false) => Verdict::Changed,
        }
    }
}

impl Line {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code fails by panicking")]
mod tests {
    use super::*;

    // The keys of RFC 8032's tests 1 and 2.
    const ONE: &str = "AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
    const TWO: &str = "AAAAC3NzaC1lZDI1NTE5AAAAID1AF8PoQ4lakrcKp00bfrycmCzPLsSWjMDNVfEq9GYM";

    fn key(text: &str) -> PublicKey {
        parse_public_key_base64(text).unwrap()
    }

    #[test]
    fn a_key_is_known_by_the_exact_name_alone() {
        let text = format!("# kept by hand\n\ncompute.7,10.0.0.7 ssh-ed25519 {ONE} bastion\n@cert-authority * ssh-ed25519 {TWO}\n");
        let known = KnownHosts::parse(&text).unwrap();
        let judged = |name: &str, text: &str| known.judge(name, &key(text));
        assert_eq!(judged("compute.7", ONE), Verdict::Known);
        assert_eq!(judged("compute.7", TWO), Verdict::Changed);
        assert_eq!(judged("compute.77", ONE), Verdict::Unknown);
        assert_eq!(judged("compute.8", TWO), Verdict::Unknown, "authorities are not asked");
        let wild = KnownHosts::parse(&format!("* ssh-ed25519 {ONE}\ncompute.* ssh-ed25519 {ONE}\n")).unwrap();
        assert_eq!(wild.judge("compute.7", &key(ONE)), Verdict::Unknown, "patterns match nothing");
        let revoked = KnownHosts::parse(&format!("{text}@revoked * ssh-ed25519 {ONE}\n")).unwrap();
        assert_eq!(revoked.judge("compute.7", &key(ONE)), Verdict::Revoked);
    }

    #[test]
    fn a_file_with_a_wrong_line_is_not_believed() {
        let good = format!("compute.7 ssh-ed25519 {ONE}\n");
        for (wrong, line) in [
            ("compute.7 ssh-ed25519\n".to_owned(), 2),
            ("compute.7 ssh-ed25519 AAAA\n".to_owned(), 2),
            (format!("compute.7 ssh-rsa {ONE}\n"), 2),
            (format!("@something * ssh-ed25519 {ONE}\n"), 2),
        ] {
            assert_eq!(KnownHosts::parse(&format!("{good}{wrong}")).err(), Some(line), "{wrong}");
        }
    }
}
