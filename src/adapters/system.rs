//! The machine's clock and randomness.

use jiff::Timestamp;
use stanch_commands::target::RequestId;
use uuid::Uuid;

use crate::core::step::StepKey;
use crate::ports::{Clock, IdSource};

/// The wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Random names.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

/// Digits and letters that nobody takes for one another, in lower case: a request id is read aloud on a call.
const ALPHABET: &[u8; 30] = b"23456789abcdefghjkmnpqrstvwxyz";

impl IdSource for RandomIds {
    /// One of 30⁶ (730 million); the engine refuses one that is taken.
    #[expect(clippy::expect_used, reason = "six characters of the alphabet are an admitted request id")]
    fn request_id(&self) -> RequestId {
        let random = Uuid::new_v4();
        let letter = |byte: &u8| char::from(*ALPHABET.get(usize::from(*byte) % ALPHABET.len()).unwrap_or(&b'2'));
        let letters: String = random.as_bytes().iter().take(6).map(letter).collect();
        format!("r-{letters}").parse().expect("an admitted request id")
    }

    fn step_key(&self) -> StepKey {
        StepKey::new(Uuid::new_v4().to_string())
    }
}
