//! The keys of a log, one after the other: `rotations/NNN` hand it over, each signed by the key before and the key after.

use super::note::{BadNote, Checkpoint, Key, signers};

/// The keys of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Keys that were, oldest first, each with the size up to which it vouches.
    pub retired: Vec<(Key, u64)>,
    /// The key that is.
    pub current: Key,
}

/// From one key to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handover {
    pub from: Key,
    pub to: Key,
    /// What the log was then.
    pub checkpoint: Checkpoint,
}

impl Handover {
    /// Reads a hand-over and both of its signatures.
    pub fn open(note: &str) -> Result<Self, BadNote> {
        let (text, _) = note.rsplit_once("\n\n").ok_or(BadNote::Form)?;
        let (head, line) = text.rsplit_once('\n').ok_or(BadNote::Form)?;
        let (from, to) = line.strip_prefix("key-rotation ").and_then(|keys| keys.split_once(' ')).ok_or(BadNote::Form)?;
        let (from, to) = (spelt(from)?, spelt(to)?);
        let checkpoint = Checkpoint::parse(&format!("{head}\n"))?;
        let keys = [from, to];
        let signed = signers(note, &keys)?.len() == 2;
        let [from, to] = keys;
        match signed && from != to && from.name == checkpoint.origin && to.name == checkpoint.origin {
            true => Ok(Self { from, to, checkpoint }),
            false => Err(BadNote::Unsigned),
        }
    }
}

fn spelt(text: &str) -> Result<Key, BadNote> {
    text.parse().ok().filter(|key: &Key| key.to_string() == text).ok_or(BadNote::Key)
}

impl Chain {
    /// A log that has had one key.
    pub fn of(current: Key) -> Self {
        Self { retired: vec![], current }
    }

    /// Every key that the log has had.
    pub fn keys(&self) -> Vec<Key> {
        self.retired.iter().map(|(key, _)| key).chain([&self.current]).cloned().collect()
    }

    /// Reads a checkpoint that any of the keys signed in its time.
    pub fn open(&self, note: &str) -> Result<Checkpoint, BadNote> {
        let keys = self.keys();
        let checkpoint = Checkpoint::open(note, &keys)?;
        let signed = signers(note, &keys)?;
        let in_time =
            |key: &Key| self.retired.iter().find(|(retired, _)| retired == key).is_none_or(|(_, until)| checkpoint.size <= *until);
        if signed.into_iter().any(in_time) { Ok(checkpoint) } else { Err(BadNote::Retired) }
    }
}
