//! C2SP `signed-note` and `tlog-checkpoint`, read strictly.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::hash::Hash;

/// Longest note that is read. A checkpoint with sixteen Ed25519 signatures has under 3 KiB.
const LONGEST_NOTE: usize = 16 << 10;

/// A public key, as `signed-note` writes it: `NAME+ID+BASE64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name of the log.
    pub name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// Root of the tree of so many.
    pub root: Hash,
}

/// Why a key or a note is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// The key is not spelt as the specification says.
    #[error("it is no Ed25519 key of the form NAME+ID+BASE64")]
    Key,
    /// The note is not spelt as the specification says.
    #[error("it is no checkpoint: three lines, a blank line, signatures")]
    Form,
    /// No known key signed it.
    #[error("it is not signed by the key of this log")]
    Unsigned,
    /// A known key's signature is wrong.
    #[error("its signature is wrong")]
    Forged,
}

impl Key {
    /// The key of a name.
    #[must_use]
    pub fn new(name: &str, key: VerifyingKey) -> Self {
        let hash: Hash = Sha256::digest([name.as_bytes(), b"\n\x01", key.as_bytes()].concat()).into();
        let [a, b, c, d, ..] = hash;
        Self { name: name.to_owned(), id: [a, b, c, d], key }
    }

    /// The key's id in hexadecimal.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.id))
    }

    /// Whether it is the public half of a secret key.
    #[must_use]
    pub fn is_of(&self, secret: &ed25519_dalek::SigningKey) -> bool {
        secret.verifying_key() == self.key
    }
}

impl FromStr for Key {
    type Err = BadNote;

    fn from_str(text: &str) -> Result<Self, BadNote> {
        let mut parts = text.splitn(3, '+');
        let (name, id, encoded) = (parts.next(), parts.next(), parts.next());
        let name =
            name.filter(|name| !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control())).ok_or(BadNote::Key)?;
        let bytes = STANDARD.decode(encoded.ok_or(BadNote::Key)?).map_err(|_| BadNote::Key)?;
        let (1, key) = bytes.split_first().map(|(kind, key)| (*kind, key)).ok_or(BadNote::Key)? else { return Err(BadNote::Key) };
        let key = <[u8; 32]>::try_from(key).ok().and_then(|key| VerifyingKey::from_bytes(&key).ok()).ok_or(BadNote::Key)?;
        Some(Self::new(name, key)).filter(|key| Some(key.id().as_str()) == id).ok_or(BadNote::Key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = STANDARD.encode([&[1], self.key.as_bytes().as_slice()].concat());
        write!(f, "{}+{}+{encoded}", self.name, self.id())
    }
}

impl Checkpoint {
    /// Reads three lines.
    ///
    /// # Errors
    /// [`BadNote::Form`], also for a number or a base64 text that is spelt in another way than the specification's.
    pub fn parse(text: &str) -> Result<Self, BadNote> {
        let lines: Vec<&str> = text.strip_suffix('\n').ok_or(BadNote::Form)?.split('\n').collect();
        let [origin, size, root] = lines.as_slice() else { return Err(BadNote::Form) };
        let read = Self {
            origin: (*origin).to_owned(),
            size: size.parse().map_err(|_| BadNote::Form)?,
            root: STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or(BadNote::Form)?,
        };
        if read.to_string() == text { Ok(read) } else { Err(BadNote::Form) }
    }

    /// Reads a signed checkpoint of the log whose keys these are: signed by at least one of them, and not wrongly by any. Signatures by
    /// others are passed over, as the specification demands.
    ///
    /// # Errors
    /// [`BadNote`].
    pub fn open(note: &str, keys: &[Key]) -> Result<Self, BadNote> {
        if note.len() > LONGEST_NOTE || note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(BadNote::Form);
        }
        let blank = note.rfind("\n\n").ok_or(BadNote::Form)?;
        let (text, signatures) = note.split_at_checked(blank + 1).ok_or(BadNote::Form)?;
        let signatures = signatures.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n')).ok_or(BadNote::Form)?;
        let mut signed = false;
        for line in signatures.split('\n') {
            let (name, encoded) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or(BadNote::Form)?;
            let bytes = STANDARD.decode(encoded).map_err(|_| BadNote::Form)?;
            let (id, signature) = bytes.split_first_chunk::<4>().ok_or(BadNote::Form)?;
            for key in keys.iter().filter(|key| key.name == name && key.id == *id) {
                let signature = Signature::from_slice(signature).map_err(|_| BadNote::Forged)?;
                key.key.verify_strict(text.as_bytes(), &signature).map_err(|_| BadNote::Forged)?;
                signed = true;
            }
        }
        let checkpoint = Self::parse(text)?;
        let ours = keys.iter().any(|key| key.name == checkpoint.origin);
        if signed && ours { Ok(checkpoint) } else { Err(BadNote::Unsigned) }
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root))
    }
}
