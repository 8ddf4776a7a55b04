//! One survey or one step: its calls, its retries, its record.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Compute, LONGEST_PAUSE};
use super::problem::Problem;
use crate::core::step::{Artefact, Call};

/// Attempts at one call. With the default pause they span about eight seconds: long enough for a blip and a burst of rate limiting, short
/// enough that a responder is not left in the dark.
pub const ATTEMPTS: u32 = 5;

/// A survey or a step under way.
pub struct Session<'a> {
    pub compute: &'a Compute,
    /// The step's key; empty for a survey, which writes nothing.
    pub key: &'a str,
    calls: Mutex<Vec<Call>>,
    /// Request ids whose operation is done: the API answers one of them with the old operation and does nothing.
    pub spent: Mutex<BTreeSet<uuid::Uuid>>,
    written: AtomicBool,
    artefacts: Mutex<Vec<Artefact>>,
}

impl<'a> Session<'a> {
    pub fn new(compute: &'a Compute, key: &'a str) -> Self {
        Self {
            compute,
            key,
            calls: Mutex::default(),
            spent: Mutex::default(),
            written: AtomicBool::new(false),
            artefacts: Mutex::default(),
        }
    }

    /// Whether an operation of this step may have taken effect.
    pub fn has_written(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }

    /// An operation of this step is done, or may be: its answer was lost.
    pub fn set_written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    /// Adds a file of evidence.
    pub fn collect(&self, path: String, content: &Value) {
        let content = serde_json::to_vec_pretty(content).unwrap_or_default();
        self.artefacts.lock().unwrap_or_else(PoisonError::into_inner).push(Artefact { path, content });
    }

    /// The files of evidence.
    pub fn take_artefacts(&self) -> Vec<Artefact> {
        std::mem::take(&mut self.artefacts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything that was sent, in order.
    pub fn into_calls(self) -> Vec<Call> {
        self.calls.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads, and tries again what may be tried again.
    pub async fn read<T, F>(&self, method: &str, resource: &str, send: impl Fn() -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, google_cloud_gax::error::Error>>,
    {
        let mut attempt = 1;
        loop {
            let call = Call { method: method.into(), resource: resource.into(), ..Call::default() };
            match self.attempt(call, |_| None, send()).await {
                Err(Problem::Later(_) | Problem::Lost(_) | Problem::Unreachable(_)) if attempt < ATTEMPTS => self.pause(attempt).await,
                Err(Problem::Lost(message)) => return Err(Problem::Unreachable(message)),
                result => return result,
            }
            attempt = attempt.saturating_add(1);
        }
    }

    /// Sends once and records it.
    pub async fn attempt<T>(
        &self,
        call: Call,
        operation: fn(&T) -> Option<String>,
        sent: impl Future<Output = Result<T, google_cloud_gax::error::Error>>,
    ) -> Result<T, Problem> {
        let start = Instant::now();
        let result = sent.await;
        let latency_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, operation) = match &result {
            Ok(answer) => (Some(200), operation(answer)),
            Err(error) => (error.http_status_code(), None),
        };
        let call = Call { status, latency_ms, operation: operation.or(call.operation), ..call };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        result.map_err(|error| Problem::of(&error))
    }

    /// Waits before attempt or look number `after + 1`: twice as long as the time before, up to [`LONGEST_PAUSE`].
    pub async fn pause(&self, after: u32) {
        let factor = 2_u32.saturating_pow(after.saturating_sub(1));
        let pause: Duration = self.compute.options.pause.saturating_mul(factor).min(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
    }
}
