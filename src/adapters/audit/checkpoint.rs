//! Signed checkpoints: C2SP `tlog-checkpoint` inside a `signed-note`, with Ed25519.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::merkle::Hash;

/// Signature type of Ed25519 in `signed-note`.
const ED25519: u8 = 1;

/// What a checkpoint commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log, and of its key.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root hash at that size.
    pub root: Hash,
}

impl Checkpoint {
    /// What is signed.
    pub(super) fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// The signed note.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        let text = self.text();
        format!("{text}\n{}", signature_line(&self.origin, key, &text))
    }

    /// Reads a signed note. `None` unless it has exactly the form that [`Checkpoint::sign`] writes and a valid signature by the key.
    #[must_use]
    pub fn verify(note: &str, origin: &str, key: &VerifyingKey) -> Option<Self> {
        let (text, signatures) = note.split_once("\n\n")?;
        let mut lines = text.split('\n');
        let checkpoint = Self {
            origin: lines.next().filter(|found| *found == origin)?.to_owned(),
            size: lines.next()?.parse().ok()?,
            root: STANDARD.decode(lines.next()?).ok()?.try_into().ok()?,
        };
        let signature = signatures.strip_prefix("— ")?.strip_suffix('\n')?.strip_prefix(origin)?.strip_prefix(' ')?;
        let signature = STANDARD.decode(signature).ok()?;
        let (hash, signature) = signature.split_first_chunk::<4>()?;
        let signature = Signature::from_slice(signature).ok()?;
        let genuine = *hash == key_hash(origin, key) && key.verify_strict(checkpoint.text().as_bytes(), &signature).is_ok();
        (genuine && checkpoint.is_spelt(text)).then_some(checkpoint)
    }

    /// Numbers have one spelling: `007` would verify against no text that we signed, but must not be read as 7 either.
    fn is_spelt(&self, text: &str) -> bool {
        self.text().strip_suffix('\n') == Some(text)
    }
}

/// A signature as `signed-note` writes it, with its line end.
pub(super) fn signature_line(name: &str, key: &SigningKey, text: &str) -> String {
    let mut signature = key_hash(name, &key.verifying_key()).to_vec();
    signature.extend(key.sign(text.as_bytes()).to_bytes());
    format!("— {name} {}\n", STANDARD.encode(signature))
}

/// The verifier key as `signed-note` writes it: `NAME+HASH+BASE64`.
#[must_use]
pub fn verifier_key(origin: &str, key: &VerifyingKey) -> String {
    let hash: String = key_hash(origin, key).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut encoded = vec![ED25519];
    encoded.extend(key.as_bytes());
    format!("{origin}+{hash}+{}", STANDARD.encode(encoded))
}

fn key_hash(origin: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash: Hash = Sha256::new_with_prefix(origin).chain_update([b'\n', ED25519]).chain_update(key.as_bytes()).finalize().into();
    let [a, b, c, d, ..] = hash;
    [a, b, c, d]
}
