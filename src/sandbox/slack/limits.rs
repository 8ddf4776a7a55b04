//! Rate limits: how many calls went through lately, per method and channel.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::workspace::{Limit, RateLimits};

/// The state of every limit. A generic cell rate algorithm: one instant per key says when the bucket is full again.
#[derive(Debug, Default)]
pub(super) struct Meters(BTreeMap<(&'static str, String), Instant>);

impl Meters {
    /// Counts one call of `method` in `channel`.
    ///
    /// # Errors
    /// The time to wait if the limit is exceeded; the call does not count then.
    pub(super) fn count(&mut self, limits: &RateLimits, method: &'static str, channel: &str, now: Instant) -> Result<(), Duration> {
        let (limit, key) = match method {
            "chat.postMessage" => (limits.post, channel),
            "chat.update" | "chat.delete" => (limits.tier3, ""),
            "chat.postEphemeral" => (limits.tier4, ""),
            _ => return Ok(()),
        };
        let full_again = self.0.entry((method, key.to_owned())).or_insert(now);
        let debt = full_again.saturating_duration_since(now);
        let Some(over) = over(limit, debt) else {
            *full_again = now.max(*full_again) + limit.every;
            return Ok(());
        };
        Err(over)
    }
}

/// By how much `debt` exceeds what the burst allows; `None` if it does not.
fn over(limit: Limit, debt: Duration) -> Option<Duration> {
    let allowed = limit.every * limit.burst.saturating_sub(1);
    debt.checked_sub(allowed).filter(|over| !over.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A burst passes, the next call is told how long to wait, and another channel and method are not affected.
    #[test]
    fn a_burst_then_one_at_a_time() {
        let limits = RateLimits::default();
        let (mut meters, start) = (Meters::default(), Instant::now());
        let mut post = |channel, after_ms| meters.count(&limits, "chat.postMessage", channel, start + Duration::from_millis(after_ms));
        assert_eq!((0..5).map(|_| post("C1", 0)).collect::<Vec<_>>(), vec![Ok(()); 5]);
        assert_eq!(post("C1", 0), Err(Duration::from_secs(1)));
        assert_eq!(post("C2", 0), Ok(()));
        assert_eq!(post("C1", 400), Err(Duration::from_millis(600)));
        assert_eq!(post("C1", 1000), Ok(()));
        assert_eq!(post("C1", 1000), Err(Duration::from_secs(1)));
        assert_eq!(meters.count(&limits, "chat.update", "C1", start), Ok(()));
        assert_eq!(meters.count(&limits, "users.info", "C1", start), Ok(()));
    }
}
