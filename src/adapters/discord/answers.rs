//! Private answers. Discord shows something to one person alone only as the answer to something that they did in the last 15 minutes, a
//! command or a button. Each of those opens a window; what finds none is held until its reader opens one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// How long a window stays open. Discord closes it after 15 minutes; the rest is for the call that uses it.
const WINDOW: Duration = Duration::from_secs(14 * 60 + 30);

/// Windows of one person in one channel. More than this many commands in a quarter of an hour share the newest ones.
const WINDOWS: usize = 30;

/// Answers that are held for one person in one channel; the oldest go first, since the newest say how it stands.
const HELD: usize = 10;

/// How long an answer is held. An hour later `status` says it better.
const HOLD: Duration = Duration::from_secs(60 * 60);

/// People and channels that are remembered. Those with nothing open are forgotten first, then whoever comes first.
const PLACES: usize = 2_000;

/// Somebody in a channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) user: String,
    pub(super) channel: String,
}

/// A way to tell somebody something alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// The interaction's token.
    pub(super) token: String,
    /// Discord shows that Stanch is thinking until the first answer.
    pub(super) is_waiting: bool,
    until: Instant,
}

/// Windows and held answers, by place. Whoever asks says what time it is.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<BTreeMap<Place, Desk>>);

#[derive(Debug, Default)]
struct Desk {
    windows: VecDeque<Window>,
    held: VecDeque<(Instant, Value)>,
    /// A line tells that something is held.
    is_noticed: bool,
    /// The message that somebody reacted to last: its thread is where a notice belongs.
    reacted: Option<(Instant, String)>,
}

impl Answers {
    /// Opens a window.
    pub(super) fn open(&self, place: &Place, token: String, now: Instant) {
        let window = Window { token, is_waiting: true, until: now + WINDOW };
        self.desk(place, now, |desk| {
            desk.windows.push_back(window);
            if desk.windows.len() > WINDOWS {
                desk.windows.pop_front();
            }
        });
    }

    /// The window for the next answer: the oldest that waits, so that none is left thinking, or else the newest.
    pub(super) fn window(&self, place: &Place, now: Instant) -> Option<Window> {
        self.desk(place, now, |desk| desk.windows.iter().find(|window| window.is_waiting).or(desk.windows.back()).cloned())
    }

    /// The window has its first answer.
    pub(super) fn answered(&self, place: &Place, token: &str, now: Instant) {
        self.desk(place, now, |desk| {
            desk.windows.iter_mut().filter(|window| window.token == token).for_each(|window| window.is_waiting = false)
        });
    }

    /// Discord has closed the window.
    pub(super) fn closed(&self, place: &Place, token: &str, now: Instant) {
        self.desk(place, now, |desk| desk.windows.retain(|window| window.token != token));
    }

    /// Somebody reacted to a message.
    pub(super) fn reacted(&self, place: &Place, message: &str, now: Instant) {
        self.desk(place, now, |desk| desk.reacted = Some((now + HOLD, message.to_owned())));
    }

    /// The message that somebody reacted to lately.
    pub(super) fn last_reacted(&self, place: &Place, now: Instant) -> Option<String> {
        self.desk(place, now, |desk| desk.reacted.as_ref().map(|(_, message)| message.clone()))
    }

    /// Holds an answer. Tells whether a notice about an earlier one stands already.
    pub(super) fn hold(&self, place: &Place, answer: Value, now: Instant) -> bool {
        self.desk(place, now, |desk| {
            desk.held.push_back((now + HOLD, answer));
            if desk.held.len() > HELD {
                desk.held.pop_front();
            }
            desk.is_noticed
        })
    }

    /// Gives back the newest answer that is held.
    pub(super) fn unhold(&self, place: &Place, now: Instant) {
        self.desk(place, now, |desk| drop(desk.held.pop_back()));
    }

    /// A notice stands. Its reader may have been quicker than this.
    pub(super) fn noticed(&self, place: &Place, now: Instant) {
        self.desk(place, now, |desk| desk.is_noticed = !desk.held.is_empty());
    }

    /// What is held for somebody, in order.
    pub(super) fn take(&self, place: &Place, now: Instant) -> Vec<Value> {
        self.desk(place, now, |desk| {
            desk.is_noticed = false;
            desk.held.drain(..).map(|(_, answer)| answer).collect()
        })
    }

    fn desk<T>(&self, place: &Place, now: Instant, act: impl FnOnce(&mut Desk) -> T) -> T {
        let mut desks: MutexGuard<'_, BTreeMap<Place, Desk>> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if desks.len() >= PLACES && !desks.contains_key(place) {
            desks.retain(|_, desk| desk.is_in_use(now));
            if desks.len() >= PLACES {
                desks.pop_first();
            }
        }
        let desk = desks.entry(place.clone()).or_default();
        desk.is_in_use(now);
        act(desk)
    }
}

impl Desk {
    /// Forgets what is over, and tells whether anything is left.
    fn is_in_use(&mut self, now: Instant) -> bool {
        self.windows.retain(|window| window.until > now);
        self.held.retain(|(until, _)| *until > now);
        self.reacted = self.reacted.take().filter(|(until, _)| *until > now);
        // A notice without an answer may still stand in the channel, and is taken away when its reader presses it.
        self.is_noticed &= !self.held.is_empty();
        !self.windows.is_empty() || !self.held.is_empty() || self.reacted.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

    use serde_json::json;

    use super::*;

    fn place(user: &str) -> Place {
        Place { user: user.into(), channel: "c".into() }
    }

    /// Goal: each command gets an answer of its own, what follows goes to the newest, nobody reads somebody else's, and a window closes
    /// in time.
    #[test]
    fn windows() {
        let answers = Answers::default();
        let start = Instant::now();
        let at = |user: &str, now| answers.window(&place(user), now).map(|window| (window.token, window.is_waiting));
        let next = |user: &str| at(user, start);
        answers.open(&place("rosa"), "first".into(), start);
        answers.open(&place("rosa"), "second".into(), start);
        assert_eq!((next("rosa"), next("amir")), (Some(("first".into(), true)), None));
        answers.answered(&place("rosa"), "first", start);
        assert_eq!(next("rosa"), Some(("second".into(), true)));
        answers.answered(&place("rosa"), "second", start);
        assert_eq!(next("rosa"), Some(("second".into(), false)));
        answers.closed(&place("rosa"), "second", start);
        assert_eq!(next("rosa"), Some(("first".into(), false)));
        assert_eq!(at("rosa", start + WINDOW), None);
    }

    #[test]
    fn held_answers_are_read_once() {
        let answers = Answers::default();
        let start = Instant::now();
        assert!(!answers.hold(&place("amir"), json!(1), start));
        answers.noticed(&place("amir"), start);
        assert!(answers.hold(&place("amir"), json!(2), start));
        assert_eq!(answers.take(&place("amir"), start), [json!(1), json!(2)]);
        answers.noticed(&place("amir"), start);
        assert!(!answers.hold(&place("amir"), json!(3), start), "whoever was quicker than the notice gets another one");
        (0..20).for_each(|number| _ = answers.hold(&place("amir"), json!(number), start));
        assert_eq!(answers.take(&place("amir"), start), (10..20).map(|number| json!(number)).collect::<Vec<_>>());
        answers.hold(&place("amir"), json!(1), start);
        assert_eq!(answers.take(&place("amir"), start + HOLD), Vec::<Value>::new());
    }

    #[test]
    fn memory_is_bounded() {
        let answers = Answers::default();
        (0..PLACES + 50).for_each(|number| answers.open(&place(&number.to_string()), "t".into(), Instant::now()));
        assert_eq!(answers.0.lock().unwrap().len(), PLACES);
    }
}
