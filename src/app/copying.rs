//! Copies of evidence: made beside everything else, and tried again. Containment never waits for one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stanch_commands::target::RequestId;
use tokio::time::Instant;

use super::work::Report;
use super::{Entry, Stanch};
use crate::core::say::Say;
use crate::ports::{Copied, CopyFailed};

/// Tries of one request: with the pauses below about an hour and a half. It is tried again with the next evidence of the request, and after
/// a restart.
const MAX_TRIES: u32 = 24;
/// Pause before another try: twice as long each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Requests that are copied at once: a restart may find many, and each holds a file in memory.
const AT_ONCE: usize = 4;

/// Requests whose evidence is not in the second place.
#[derive(Debug, Default)]
pub(super) struct Copies {
    requests: BTreeMap<RequestId, Waiting>,
    /// When the second place is compared again, and how often that failed.
    comparing: Option<(Instant, u32)>,
}

#[derive(Debug)]
struct Waiting {
    tries: u32,
    not_before: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be copied.
    Due,
    /// A task copies it; `more` was kept since it began.
    UnderWay { more: bool },
    /// Somebody has to look.
    GivenUp,
}

impl Stanch {
    /// After a start: what is not there is found by comparing.
    pub(super) fn resume_copying(&mut self) {
        if self.parts.copies.is_some() {
            self.copies.comparing = Some((Instant::now(), 0));
        }
    }

    /// Evidence of a request was kept.
    pub(super) fn copy_soon(&mut self, id: &RequestId) {
        if self.parts.copies.is_none() {
            return;
        }
        let fresh = || Waiting { tries: 0, not_before: Instant::now(), state: State::Due };
        let waiting = self.copies.requests.entry(id.clone()).or_insert_with(fresh);
        match &mut waiting.state {
            State::UnderWay { more } => *more = true,
            State::Due | State::GivenUp => *waiting = fresh(),
        }
    }

    /// Starts what is due.
    pub(super) fn pursue_copies(&mut self) {
        let Some(copies) = self.parts.copies.clone() else { return };
        let now = Instant::now();
        if self.copies.comparing.is_some_and(|(at, _)| at <= now) {
            // Put back when it failed.
            let tries = self.copies.comparing.take().map_or(0, |(_, tries)| tries);
            let (copies, reports) = (copies.clone(), self.reports.clone());
            self.tasks.spawn(async move {
                let _ = reports.send(Report::Compared { found: copies.pending().await, tries });
            });
        }
        let running = self.copies.requests.values().filter(|waiting| matches!(waiting.state, State::UnderWay { .. })).count();
        let due = self.copies.requests.iter_mut().filter(|(_, waiting)| waiting.state == State::Due && waiting.not_before <= now);
        for (id, waiting) in due.take(AT_ONCE.saturating_sub(running)) {
            waiting.state = State::UnderWay { more: false };
            let (copies, reports, id) = (copies.clone(), self.reports.clone(), id.clone());
            self.tasks.spawn(async move {
                let outcome = copies.copy(&id).await;
                let _ = reports.send(Report::Copied { id, outcome });
            });
        }
    }

    /// The second place was compared with what is kept.
    pub(super) fn compared(&mut self, found: Result<BTreeSet<RequestId>, CopyFailed>, tries: u32) {
        match found {
            Ok(pending) => pending.iter().for_each(|id| self.copy_soon(id)),
            Err(error) if tries >= MAX_TRIES => {
                tracing::error!(%error, "the copies of evidence cannot be compared; given up until the next start")
            }
            Err(error) => {
                tracing::warn!(%error, "the copies of evidence cannot be compared yet");
                self.copies.comparing = Some((Instant::now() + pause(tries), tries.saturating_add(1)));
            }
        }
    }

    /// A try to copy has ended.
    pub(super) async fn copied(&mut self, id: RequestId, outcome: Result<Copied, CopyFailed>) {
        let Some(place) = self.parts.copies.as_ref().map(|copies| copies.place().to_owned()) else { return };
        let Some(waiting) = self.copies.requests.get_mut(&id) else { return };
        let (before, more) = (waiting.tries, waiting.state == State::UnderWay { more: true });
        match outcome {
            // Whoever kept more since gets another copy, and hears of that one.
            Ok(_) if more => *waiting = Waiting { tries: 0, not_before: Instant::now(), state: State::Due },
            Ok(Copied { files, manifest_sha256 }) => {
                self.copies.requests.remove(&id);
                let copied =
                    Entry::Copied { at: self.now(), request: id.clone(), place: place.clone(), manifest_sha256: manifest_sha256.clone() };
                self.commit(vec![copied]).await;
                self.tell_of_copies(&id, Say::EvidenceCopied { files, place, manifest_sha256 });
            }
            Err(failed) => {
                waiting.tries = before.saturating_add(1);
                waiting.not_before = Instant::now() + pause(before);
                let again = matches!(failed, CopyFailed::Unavailable(_)) && waiting.tries < MAX_TRIES;
                waiting.state = if again { State::Due } else { State::GivenUp };
                tracing::warn!(request = %id, %failed, again, "evidence was not copied");
                if before == 0 || !again {
                    self.tell_of_copies(&id, Say::EvidenceNotCopied { place, why: failed.to_string(), again });
                }
            }
        }
    }

    fn tell_of_copies(&mut self, id: &RequestId, say: Say) {
        if let Some(request) = self.memory.state.requests.get(id) {
            self.outbox.thread(&request.made.channel, id, say);
        }
    }

    /// Where the evidence of a request is still to be copied to, if it is not there.
    pub(super) fn not_copied(&self, id: &RequestId) -> Option<String> {
        let place = || self.parts.copies.as_ref().map(|copies| copies.place().to_owned());
        self.copies.requests.contains_key(id).then(place).flatten()
    }

    /// Requests whose evidence is not in the second place.
    pub(super) fn all_not_copied(&self) -> Vec<RequestId> {
        self.copies.requests.keys().cloned().collect()
    }
}

fn pause(tries: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << tries.min(16)).min(LONGEST_PAUSE)
}
