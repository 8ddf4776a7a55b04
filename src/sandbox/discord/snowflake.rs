//! Discord's ids: 64 bits, of which the upper 42 are the time of creation.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Start of Discord's calendar, 1 January 2015, in milliseconds of Unix time.
const EPOCH_MS: i64 = 1_420_070_400_000;

/// Where the time begins: below it are worker, process and a counter.
const TIME_SHIFT: u32 = 22;

/// An id. In JSON it is a string, since JavaScript's numbers are too small for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Snowflake(u64);

/// Hands out ids: each is later than every one before, and tells its own time.
#[derive(Debug, Default)]
pub(super) struct Snowflakes(u64);

impl Snowflake {
    /// The id of that number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// When it was created.
    #[must_use]
    pub fn created(self) -> Timestamp {
        let ms = i64::try_from(self.0 >> TIME_SHIFT).unwrap_or(i64::MAX).saturating_add(EPOCH_MS);
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
    }
}

impl Snowflakes {
    pub(super) fn next(&mut self) -> Snowflake {
        let ms = u64::try_from(Timestamp::now().as_millisecond() - EPOCH_MS).unwrap_or_default();
        // Worker 1, process 0, and the counter; within one millisecond the counter runs on.
        let earliest = (ms << TIME_SHIFT) | (1 << 17);
        self.0 = earliest.max(self.0 + 1);
        Snowflake(self.0)
    }
}

impl fmt::Display for Snowflake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Snowflake {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl Serialize for Snowflake {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A time as Discord writes it.
pub(super) fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_their_time_and_rise() {
        // The example of Discord's documentation.
        let known = Snowflake::new(175_928_847_299_117_063);
        assert_eq!(known.created().to_string(), "2016-04-30T11:18:25.796Z");
        assert_eq!(iso(known.created()), "2016-04-30T11:18:25.796000+00:00");
        let mut ids = Snowflakes::default();
        let few: Vec<Snowflake> = (0..5000).map(|_| ids.next()).collect();
        assert!(few.is_sorted_by(|one, other| one < other));
        assert!(few.iter().all(|id| id.created() <= Timestamp::now()));
    }
}
