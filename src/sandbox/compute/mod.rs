//! An emulator of the Compute Engine API, good enough for unmodified `gcloud` and Google's Rust client.
//!
//! A request is looked up in Google's own discovery document ([`discovery`]), checked against it to the last field, done ([`routes`]) on
//! the [`state`], and its answer is checked against the document as well.
//!
//! # Guarantees
//! Nothing that the document does not know is read or answered: an unknown route, parameter, field or enum value is refused. Effects come
//! when an operation is done ([`operations`]), not when it is accepted. The same requests lead to the same names and ids.
//!
//! # Caveats
//! Authentication is not emulated, and IAM only as [`ComputeEmulator::grant_only`] says: everybody has the same permissions in every project; Resource
//! Manager's `testIamPermissions` tells them. Filters know
//! comparisons joined by AND. Error texts that were not recorded are close to Google's, not equal; status and reason are what counts.

mod admin;
mod api;
mod batch;
mod discovery;
mod failure;
mod links;
mod listing;
mod operations;
mod permissions;
mod routes;
mod seed;
mod state;
mod view;

use std::io;

use serde_json::Value;

pub use self::operations::OperationFailure;
pub use self::state::Call;

use self::api::Api;
use self::discovery::Document;
use super::server::{Server, Wire};
use super::world::World;

/// What a scenario asks of something that is not there or cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComputeEmulatorError {
    /// The emulated projects have no such resource.
    #[error("the emulated projects have no {kind} `{name}`")]
    NotThere {
        /// Kind of the resource, as in its path.
        kind: &'static str,
        /// Name.
        name: String,
    },
    /// The API would refuse it.
    #[error("the Compute API would refuse this: {0}")]
    Refused(String),
}

/// A running emulator of the Compute API.
#[derive(Debug)]
pub struct ComputeEmulator {
    /// The HTTP server, with its request log.
    pub server: Server,
    api: Api,
}

impl ComputeEmulator {
    /// Starts the Compute side of `world` on a free loopback port.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn start(world: &World) -> io::Result<Self> {
        let wire = Wire::default();
        let api = Api::new(Document::load()?, seed::seed(world), wire.clone());
        let server = Server::start(wire, |address| {
            let mut state = api.state();
            state.own_base = format!("http://{address}{}", api::BASE_PATH);
            state.link_base = state.own_base.clone();
            api.clone().router()
        })
        .await?;
        Ok(Self { server, api })
    }

    /// `http://127.0.0.1:PORT`, the endpoint for Google's Rust client.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// `http://127.0.0.1:PORT/compute/v1/`, the value of `CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE` for gcloud.
    #[must_use]
    pub fn gcloud_endpoint(&self) -> String {
        format!("{}{}", self.url(), api::BASE_PATH)
    }

    /// The request log, and the faults to come. A batch is followed by its parts.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.server.wire
    }

    /// Closes every connection.
    pub async fn stop(self) {
        self.server.stop().await;
    }

    /// What matters of the projects, in a stable order: `instances`, `groups`, `snapshots`, `addresses` and `disks` by name, `firewalls` by
    /// project and name. What was accepted is done first, so that a client that died meanwhile leaves what it would leave in truth.
    #[must_use]
    pub fn snapshot_state(&self) -> Value {
        let mut state = self.api.state();
        state.settle();
        view::view(&state)
    }

    /// Every well-formed call so far, in order; those of a batch one by one.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.api.state().calls.clone()
    }

    /// Those of [`ComputeEmulator::calls`] that would change something, refused or not.
    #[must_use]
    pub fn mutating_calls(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.mutates).collect()
    }

    /// Mutations that were accepted while another operation on the same resource was not done, as `VERB PATH`.
    #[must_use]
    pub fn overlapping_operations(&self) -> Vec<String> {
        self.api.state().overlaps.clone()
    }
}
