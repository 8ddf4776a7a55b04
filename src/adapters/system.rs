//! The time and fresh names, from the system.

use jiff::Timestamp;
use stanch_commands::target::RequestId;

use crate::core::step::StepKey;
use crate::ports::{Clock, IdSource};

/// Letters and digits of request ids: 32, so that five bits of a byte choose one evenly, without `0`, `1`, `l` and `o`, which people mistake
/// when they read an id out.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Names from the system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    /// `r-` and six characters: a billion ids, so that among a thousand requests a clash has a chance of one in two thousand. Whoever creates
    /// a request looks whether the id is taken.
    fn request_id(&self) -> RequestId {
        loop {
            let drawn = uuid::Uuid::new_v4().into_bytes();
            let letters: String =
                drawn.iter().take(6).filter_map(|byte| ALPHABET.get(usize::from(byte & 31))).map(|b| char::from(*b)).collect();
            // Always valid at the first attempt; a loop says so without a panic.
            if let Ok(id) = format!("r-{letters}").parse() {
                return id;
            }
        }
    }

    fn step_key(&self) -> StepKey {
        StepKey::new(uuid::Uuid::new_v4().to_string())
    }
}
