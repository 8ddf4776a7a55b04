//! The one place that sends a mutation.

use std::future::Future;
use std::sync::PoisonError;
use std::time::Instant;

use google_cloud_compute_v1::model::{Operation, operation::Status};
use google_cloud_gax::error::Error;
use google_cloud_gax::options::RequestOptionsBuilder as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::client::WAIT_TIMEOUT;
use super::links::Link;
use super::problem::Problem;
use super::session::{ATTEMPTS, Session};
use crate::core::step::Call;

/// A mutation, as far as its request id depends on it.
pub struct Write<'a, Body: ?Sized> {
    /// Such as `compute.instances.setTags`.
    pub method: &'static str,
    /// `projects/P/…`.
    pub resource: &'a str,
    /// What is sent, parameters included.
    pub body: &'a Body,
}

impl Session<'_> {
    /// Sends a mutation until it is answered, then waits for its operation. `send` gets the `requestId`.
    ///
    /// # Errors
    /// `Conflict` if something else changed the object first, `Unknown` if nobody knows whether it took effect, and what the API refused.
    pub async fn write<Body, F>(&self, write: Write<'_, Body>, send: impl Fn(String) -> F) -> Result<(), Problem>
    where
        Body: Serialize + ?Sized,
        F: Future<Output = Result<Operation, Error>>,
    {
        let mut attempt = 1;
        loop {
            let id = self.request_id(&write);
            let operation = self.send(&write, id, &send).await?;
            let result = self.wait(&write, id, operation).await;
            match result {
                // It failed without effect, so that another operation is needed, which another id begins.
                Err(Problem::Later(_)) if attempt < ATTEMPTS => self.pause(attempt).await,
                result => return result,
            }
            attempt = attempt.saturating_add(1);
        }
    }

    async fn send<Body, F>(&self, write: &Write<'_, Body>, id: Uuid, send: impl Fn(String) -> F) -> Result<Operation, Problem>
    where
        Body: Serialize + ?Sized,
        F: Future<Output = Result<Operation, Error>>,
    {
        let (mut attempt, mut lost) = (1, false);
        loop {
            let call = Call { request_id: Some(id.to_string()), ..write.call() };
            let problem = match self.attempt(call, |operation: &Operation| operation.name.clone(), send(id.to_string())).await {
                Ok(operation) => return Ok(operation),
                Err(problem) => problem,
            };
            if matches!(problem, Problem::Lost(_)) {
                lost = true;
                self.set_written();
            }
            let again = matches!(problem, Problem::Later(_) | Problem::Lost(_) | Problem::Unreachable(_));
            if !again || attempt >= ATTEMPTS {
                // The attempt whose answer was lost may be what it conflicts with. The caller reads again in any case.
                return Err(match lost && !matches!(problem, Problem::Conflict(_)) {
                    true => Problem::Unknown(format!("{} on {}: the answer was lost ({problem})", write.method, write.resource)),
                    false => problem,
                });
            }
            // The same id again: the API answers with the operation that the lost answer spoke of, if there is one.
            self.pause(attempt).await;
            attempt = attempt.saturating_add(1);
        }
    }

    async fn wait<Body: ?Sized>(&self, write: &Write<'_, Body>, id: Uuid, mut operation: Operation) -> Result<(), Problem> {
        let started = Instant::now();
        let name = operation.name.clone().unwrap_or_default();
        let unknown = |why: String| Problem::Unknown(format!("{} on {}: operation {name} {why}", write.method, write.resource));
        let mut looks = 0_u32;
        while operation.status != Some(Status::Done) {
            if started.elapsed() > self.compute.options.operation_limit {
                return Err(unknown(format!("is not done after {} s", self.compute.options.operation_limit.as_secs())));
            }
            // The API blocks until it is done, or two minutes; the pause is for answers that come early.
            if looks > 0 {
                self.pause(looks).await;
            }
            looks = looks.saturating_add(1);
            operation =
                self.look(write.resource, &operation, &name).await.map_err(|problem| unknown(format!("was lost sight of ({problem})")))?;
        }
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        match Problem::of_operation(operation) {
            Some(problem) => Err(problem),
            None => {
                self.set_written();
                Ok(())
            }
        }
    }

    async fn look(&self, resource: &str, operation: &Operation, name: &str) -> Result<Operation, Problem> {
        let project = resource.split('/').nth(1).unwrap_or_default();
        let last = |link: &Option<String>| link.as_deref().and_then(|link| link.rsplit('/').next()).map(str::to_owned);
        let compute = self.compute;
        let scoped = operation.self_link.as_deref().and_then(Link::parse).and_then(|link| link.scope);
        let zone = last(&operation.zone).or_else(|| scoped.filter(|(kind, _)| *kind == "zones").map(|(_, name)| name.to_owned()));
        let region = last(&operation.region).or_else(|| scoped.filter(|(kind, _)| *kind == "regions").map(|(_, name)| name.to_owned()));
        match (zone, region) {
            (Some(zone), _) => {
                let request = || compute.zone_operations.wait().set_project(project).set_zone(&zone).set_operation(name);
                let path = format!("projects/{project}/zones/{zone}/operations/{name}");
                self.read("compute.zoneOperations.wait", &path, || request().with_attempt_timeout(WAIT_TIMEOUT).send()).await
            }
            (None, Some(region)) => {
                let request = || compute.region_operations.wait().set_project(project).set_region(&region).set_operation(name);
                let path = format!("projects/{project}/regions/{region}/operations/{name}");
                self.read("compute.regionOperations.wait", &path, || request().with_attempt_timeout(WAIT_TIMEOUT).send()).await
            }
            (None, None) => {
                let request = || compute.global_operations.wait().set_project(project).set_operation(name);
                let path = format!("projects/{project}/global/operations/{name}");
                self.read("compute.globalOperations.wait", &path, || request().with_attempt_timeout(WAIT_TIMEOUT).send()).await
            }
        }
    }

    /// The id of this mutation: the first of its row whose operation this session has not seen done.
    ///
    /// A row and not one id, because an operation that failed stays what its id stands for. After a restart the row starts again: what
    /// is done is answered by its old operation, so that a lost answer never becomes a second effect.
    fn request_id<Body: Serialize + ?Sized>(&self, write: &Write<'_, Body>) -> Uuid {
        let spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut generation = 0_u32;
        loop {
            let id = derived(self.key, write, generation);
            if !spent.contains(&id) {
                return id;
            }
            generation = generation.saturating_add(1);
        }
    }
}

impl<Body: ?Sized> Write<'_, Body> {
    fn call(&self) -> Call {
        Call { method: self.method.into(), resource: self.resource.into(), ..Call::default() }
    }
}

fn derived<Body: Serialize + ?Sized>(key: &str, write: &Write<'_, Body>, generation: u32) -> Uuid {
    // By way of a `Value`, whose maps are sorted: a `HashMap` of labels has another order in every process.
    let body = serde_json::to_value(write.body).unwrap_or_default().to_string();
    let digest = Sha256::digest(serde_json::json!([key, write.method, write.resource, body, generation]).to_string());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.iter()).for_each(|(byte, digest)| *byte = *digest);
    Uuid::new_v8(bytes)
}
