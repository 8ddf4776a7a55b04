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
}

impl Replay {
    /// Takes the next entry in. After one that could not be followed nothing can be said about the rest.
    pub fn follow(&mut self, index: u64, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        let broken = match serde_json::from_slice::<Entry>(bytes) {
            Ok(entry) => {
                let at = time(bytes);
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

/// When an entry was made: every kind says so under the same name.
fn time(bytes: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Dated {
        at: Timestamp,
    }
    serde_json::from_slice::<Dated>(bytes).ok().map(|dated| dated.at)
}
