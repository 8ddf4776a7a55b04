//! The state of the emulated cluster, who may change it, and its clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::authorisation::Grants;
use super::controllers;
use super::controllers::runtime::Remains;
use super::store::Store;

/// Longest time without a look at what has become due. Nothing depends on it; it bounds the harm of a clock that jumps.
const IDLE: Duration = Duration::from_secs(60);

/// Everything that the emulator knows. A clone is a rehearsal: what happens to it happens to nobody else.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The API objects.
    pub store: Store,
    /// What containers wrote, by pod uid and container.
    pub logs: BTreeMap<(String, String), String>,
    /// What programs print in a pod, by its uid and by the command line, where that differs from the usual; `None` where there is none.
    pub programs: BTreeMap<String, BTreeMap<String, Option<String>>>,
    /// When the kubelet will be done with a terminating pod, by uid.
    pub removals: BTreeMap<String, Timestamp>,
    /// When a pod will be evicted because of a taint that it tolerates for a while only, by uid.
    pub taint_evictions: BTreeMap<String, Timestamp>,
    /// Pods that kubelets run from files; their mirrors come back however often they are deleted.
    pub static_pods: Vec<Value>,
    /// How many eviction requests priority and fairness still refuses, and the `Retry-After` seconds that it asks for.
    pub refused_evictions: (usize, u64),
    /// Who may do what.
    pub grants: Grants,
    /// Pods started so far, from which addresses are made.
    pub pods_started: u32,
    /// Containers that have ended and whose remains are on their nodes, by id.
    pub remains: BTreeMap<String, Remains>,
    /// Containers that do not end when they are asked, by id.
    pub resisting: BTreeSet<String>,
    /// Nodes whose runtime never answers.
    pub hung_runtimes: BTreeSet<String>,
    elapsed: SignedDuration,
}

/// The one door to the state. Clones share it.
#[derive(Clone, Debug)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
}

impl State {
    /// The emulator's time: the machine's, plus what was let elapse.
    pub fn now(&self) -> Timestamp {
        Timestamp::now().checked_add(self.elapsed).unwrap_or(Timestamp::MAX)
    }
}

impl Cluster {
    /// A cluster in this state.
    pub fn new(state: State) -> Self {
        let (changed, _) = watch::channel(state.store.version());
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::new(changed) }
    }

    /// Looks at the state.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state, lets the controllers react, and tells the watches. Nobody sees anything in between.
    pub fn write<T>(&self, change: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.lock();
        let now = state.now();
        let result = change(&mut state, now);
        controllers::react(&mut state, now);
        self.changed.send_replace(state.store.version());
        result
    }

    /// Does what [`Cluster::write`] would, to a copy.
    pub fn rehearse<T>(&self, change: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut copy = self.lock().clone();
        let now = copy.now();
        change(&mut copy, now)
    }

    /// Lets time pass that nobody has to wait for.
    pub fn elapse(&self, duration: Duration) {
        self.write(|state, _| {
            let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
            state.elapsed = state.elapsed.saturating_add(duration);
        });
        self.write(|_, _| ());
    }

    /// Tells about new versions of the store.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Does what becomes due by time alone, until `stop`.
    pub async fn keep_time(self, stop: CancellationToken) {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let wait = self.do_what_is_due();
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Reacts to the time of day and says how long nothing more will be due.
    fn do_what_is_due(&self) -> Duration {
        let mut state = self.lock();
        let (now, version) = (state.now(), state.store.version());
        controllers::react(&mut state, now);
        if state.store.version() != version {
            self.changed.send_replace(state.store.version());
        }
        let due = controllers::next_due(&state, now);
        due.and_then(|due| Duration::try_from(due.duration_since(now)).ok()).map_or(IDLE, |wait| wait.min(IDLE))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
