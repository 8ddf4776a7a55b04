//! Rate limits: how many requests came lately, per route and in all, and what the headers say of it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::guild::{Limit, RateLimits};
use super::refusal::{Refusal, Scope, seconds};

/// Which limit a route has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bucket {
    Post,
    Edit,
    Reactions,
    Followups,
    /// Interactions: neither a limit of its own, nor the global one.
    Callback,
    Other,
}

/// The state of every limit.
#[derive(Debug)]
pub(super) struct Meters {
    /// By route and major parameter.
    buckets: BTreeMap<(Bucket, &'static str, String), Window>,
    global: Window,
    invalid: Window,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    used: u32,
}

/// What the headers of an answer say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    bucket: String,
    limit: u32,
    remaining: u32,
    reset_after: Duration,
}

impl Bucket {
    fn limit(self, limits: &RateLimits) -> Option<Limit> {
        match self {
            Self::Post | Self::Edit => Some(limits.messages),
            Self::Reactions => Some(limits.reactions),
            Self::Followups => Some(limits.followups),
            Self::Callback => None,
            Self::Other => Some(limits.others),
        }
    }
}

impl Window {
    fn new(since: Instant) -> Self {
        Self { since, used: 0 }
    }

    /// Counts one request, or says how long the window still lasts.
    fn count(&mut self, limit: Limit, now: Instant) -> Result<(), Duration> {
        if now.duration_since(self.since) >= limit.window {
            *self = Self::new(now);
        }
        if self.used >= limit.requests {
            return Err(self.left(limit, now));
        }
        self.used += 1;
        Ok(())
    }

    fn left(&self, limit: Limit, now: Instant) -> Duration {
        limit.window.saturating_sub(now.duration_since(self.since))
    }
}

impl Meters {
    pub(super) fn new(now: Instant) -> Self {
        Self { buckets: BTreeMap::new(), global: Window::new(now), invalid: Window::new(now) }
    }

    /// Counts one request of a route with its major parameter (channel, guild or interaction).
    ///
    /// # Errors
    /// [`Refusal::RateLimited`]; the request does not count then. The headers tell how things stand either way.
    pub(super) fn count(
        &mut self,
        limits: &RateLimits,
        (bucket, route, major): (Bucket, &'static str, &str),
        now: Instant,
    ) -> (Result<(), Refusal>, Option<Standing>) {
        let limited = |scope| move |retry_after| Refusal::RateLimited { scope, retry_after };
        let Some(limit) = bucket.limit(limits) else { return (Ok(()), None) };
        if bucket != Bucket::Followups
            && let Err(refusal) = self.global.count(limits.global, now).map_err(limited(Scope::Global))
        {
            return (Err(refusal), None);
        }
        let window = self.buckets.entry((bucket, route, major.to_owned())).or_insert_with(|| Window::new(now));
        let counted = window.count(limit, now).map_err(limited(Scope::User));
        let remaining = limit.requests.saturating_sub(window.used);
        let standing = Standing { bucket: name(route), limit: limit.requests, remaining, reset_after: window.left(limit, now) };
        (counted, Some(standing))
    }

    /// Counts an answer 401, 403 or 429.
    pub(super) fn count_invalid(&mut self, limits: &RateLimits, now: Instant) {
        // The ban shows itself at the next request.
        let _ = self.invalid.count(limits.invalid, now);
    }

    /// Refuses everything once too many requests were invalid.
    pub(super) fn banned(&self, limits: &RateLimits, now: Instant) -> Option<Refusal> {
        let left = self.invalid.left(limits.invalid, now);
        let banned = self.invalid.used >= limits.invalid.requests && !left.is_zero();
        banned.then_some(Refusal::RateLimited { scope: Scope::Ban, retry_after: left })
    }
}

impl Standing {
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let reset = Timestamp::now().as_duration().as_secs_f64() + self.reset_after.as_secs_f64();
        vec![
            ("x-ratelimit-bucket", self.bucket.clone()),
            ("x-ratelimit-limit", self.limit.to_string()),
            ("x-ratelimit-remaining", self.remaining.to_string()),
            ("x-ratelimit-reset", format!("{reset:.3}")),
            ("x-ratelimit-reset-after", format!("{:.3}", seconds(self.reset_after))),
        ]
    }
}

/// Discord names a bucket by a hash; clients only compare it.
fn name(route: &str) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    route.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window is used up, other channels are not affected, and the next window starts anew; the global limit counts all of them.
    #[test]
    fn windows() {
        let limits = RateLimits { global: Limit { requests: 8, window: Duration::from_secs(1) }, ..RateLimits::default() };
        let start = Instant::now();
        let mut meters = Meters::new(start);
        let mut post = |channel, after_ms| {
            let (counted, standing) = meters.count(&limits, (Bucket::Post, "post", channel), start + Duration::from_millis(after_ms));
            (counted.err(), standing.map(|standing| standing.remaining))
        };
        let limited = |scope, ms| Some(Refusal::RateLimited { scope, retry_after: Duration::from_millis(ms) });
        assert_eq!((0..5).map(|_| post("1", 0).1).collect::<Vec<_>>(), [4, 3, 2, 1, 0].map(Some));
        assert_eq!(post("1", 10), (limited(Scope::User, 4990), Some(0)));
        assert_eq!(post("2", 10), (None, Some(4)));
        assert_eq!(post("2", 10), (None, Some(3)));
        assert_eq!(post("2", 10), (limited(Scope::Global, 990), None), "the eighth was the last");
        assert_eq!(post("1", 5000), (None, Some(4)));
    }
}
