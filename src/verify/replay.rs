//! Follows the entries of a log: whether each can come after those before it.

use jiff::Timestamp;
use serde::Deserialize;

use super::problem::Problem;
use crate::app::{Entry, Memory};

/// What the entries tell, as far as they could be followed.
#[derive(Debug, Default)]
pub(super) struct Replay {
    memory: Memory,
    /// Time of the first entry.
    pub first: Option<Timestamp>,
    /// Time of the last entry.
    pub last: Option<Timestamp>,
    /// The first entry that could not be followed.
    pub broken: Option<Problem>,
    /// Keys that the log was handed over from and to, by the entry that says so.
    pub rotations: Vec<(u64, String)>,
}

impl Replay {
    /// Takes the next entry in. After one that could not be followed nothing can be said about the rest.
    pub fn follow(&mut self, index: u64, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        let broken = match serde_json::from_slice::<Entry>(bytes) {
            Ok(entry) => {
                let (at, keys) = told(bytes);
                self.rotations.extend(keys.into_iter().map(|key| (index, key)));
                self.first = self.first.or(at);
                self.last = at.or(self.last);
                self.memory.follow(&entry).err().map(|why| format!("entry {index} is not lawful: {why}"))
            }
            Err(why) => Some(format!("entry {index} is not understood: {why}; was the log written by a newer version?")),
        };
        self.broken = broken.map(|why| Problem::Unlawful { index, why });
    }

    /// How many requests were made, and how many of them are open.
    pub fn requests(&self) -> (usize, usize) {
        (self.memory.state.requests.len(), self.memory.open().count())
    }
}

/// When an entry was made, which every kind says under the same name, and between which keys it hands the log over.
fn told(bytes: &[u8]) -> (Option<Timestamp>, Vec<String>) {
    #[derive(Deserialize)]
    struct Told {
        entry: String,
        at: Timestamp,
        from: Option<String>,
        to: Option<String>,
    }
    let Ok(told) = serde_json::from_slice::<Told>(bytes) else { return (None, vec![]) };
    let keys = [told.from, told.to].into_iter().flatten().filter(|_| told.entry == "key_rotated");
    (Some(told.at), keys.collect())
}
