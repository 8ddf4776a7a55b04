//! C2SP `tlog-proof`: one file that proves to somebody without the log that an entry is in it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::hash::{Hash, of_entry, root_of_inclusion};
use super::note::{BadNote, Checkpoint, Key};

/// First line of the format.
const FORMAT: &str = "c2sp.org/tlog-proof@v1";
/// Longest proof: a tree of 2⁶⁴ entries has no longer path.
const LONGEST_PATH: usize = 64;

/// That an entry is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Index of the entry.
    pub index: u64,
    pub(super) path: Vec<Hash>,
    /// The signed checkpoint, as it is stored.
    pub(super) checkpoint: String,
}

/// Why a proof does not prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// It is not of the format.
    #[error("it is no {FORMAT} file")]
    Form,
    /// Its checkpoint is not believed.
    #[error("its checkpoint is not believed: {0}")]
    Checkpoint(#[source] BadNote),
    /// The entry and the path do not lead to the signed root.
    #[error("the entry is not the one that the proof is about, or the proof was changed")]
    AnotherEntry,
}

impl Proof {
    /// Reads a proof. Extra data is passed over: nothing vouches for it.
    ///
    /// # Errors
    /// [`BadProof::Form`].
    pub fn parse(text: &str) -> Result<Self, BadProof> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(BadProof::Form)?;
        let mut lines = head.split('\n').peekable();
        lines.next().filter(|line| *line == FORMAT).ok_or(BadProof::Form)?;
        lines.next_if(|line| line.strip_prefix("extra ").is_some_and(|extra| STANDARD.decode(extra).is_ok()));
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(BadProof::Form)?;
        let number: u64 = index.parse().map_err(|_| BadProof::Form)?;
        let hash = |line: &str| STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok()).ok_or(BadProof::Form);
        let path: Vec<Hash> = lines.map(hash).collect::<Result<_, _>>()?;
        if number.to_string() != index || path.len() > LONGEST_PATH {
            return Err(BadProof::Form);
        }
        Ok(Self { index: number, path, checkpoint: checkpoint.to_owned() })
    }

    /// Whether the log of the key has the entry at the proof's index. Returns the checkpoint that says so.
    ///
    /// # Errors
    /// [`BadProof`].
    pub fn check(&self, entry: &[u8], key: &Key) -> Result<Checkpoint, BadProof> {
        let checkpoint = Checkpoint::open(&self.checkpoint, std::slice::from_ref(key)).map_err(BadProof::Checkpoint)?;
        let root = root_of_inclusion(of_entry(entry), self.index, checkpoint.size, &self.path);
        if root == Some(checkpoint.root) { Ok(checkpoint) } else { Err(BadProof::AnotherEntry) }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORMAT}\nindex {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", STANDARD.encode(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
