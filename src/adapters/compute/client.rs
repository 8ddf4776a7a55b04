//! The connection to the Compute Engine API.

use std::time::Duration;

use google_cloud_auth::credentials::{Credentials, anonymous};
use google_cloud_compute_v1::client::{
    Addresses, Disks, Firewalls, GlobalOperations, InstanceGroupManagers, Instances, Networks, Projects, RegionDisks,
    RegionInstanceGroupManagers, RegionOperations, Snapshots, ZoneOperations,
};
use google_cloud_gax::retry_policy::NeverRetry;

/// How to reach the API.
#[derive(Clone, Debug)]
pub struct ComputeOptions {
    /// Another endpoint than Google's, such as the sandbox. It is called without credentials: a token must never reach it.
    pub endpoint: Option<String>,
    /// How long one attempt may take. `operations.wait` has 130 s instead.
    pub attempt_timeout: Duration,
    /// How long one operation is waited for.
    pub operation_limit: Duration,
    /// How long an abandoned member may stay listed.
    pub abandon_limit: Duration,
    /// How long a member that its group deletes may still be there.
    pub delete_limit: Duration,
    /// The first pause between two attempts or two looks; it doubles up to eight seconds.
    pub pause: Duration,
}

impl Default for ComputeOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            // Every method but `operations.wait` answers within seconds.
            attempt_timeout: Duration::from_secs(30),
            // Operations on tags, access configs and snapshots take seconds; a group under load takes minutes.
            operation_limit: Duration::from_secs(300),
            // Connection draining of a backend service can hold an abandoned member for 60 s more, by Google's documentation.
            abandon_limit: Duration::from_secs(120),
            // Draining a load balancer (60 s and more) and an orderly shutdown (90 s) come before the VM goes.
            delete_limit: Duration::from_secs(420),
            pause: Duration::from_millis(500),
        }
    }
}

/// The longest pause between two attempts or looks: short enough that a step does not lose half a minute after an outage of a second.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// `operations.wait` answers within two minutes by contract.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(130);

/// Why no connection could be made.
#[derive(Debug, thiserror::Error)]
pub enum ComputeBuildError {
    /// No client.
    #[error("the Compute client cannot be built: {0}")]
    Client(#[from] google_cloud_gax::client_builder::Error),
    /// No credentials.
    #[error("there are no application default credentials: {0}")]
    Credentials(#[from] google_cloud_auth::build_errors::Error),
}

/// Compute Engine, as the steps and the survey use it.
#[derive(Clone, Debug)]
pub struct Compute {
    pub(super) instances: Instances,
    pub(super) disks: Disks,
    pub(super) region_disks: RegionDisks,
    pub(super) snapshots: Snapshots,
    pub(super) firewalls: Firewalls,
    pub(super) networks: Networks,
    pub(super) projects: Projects,
    pub(super) addresses: Addresses,
    pub(super) groups: InstanceGroupManagers,
    pub(super) region_groups: RegionInstanceGroupManagers,
    pub(super) zone_operations: ZoneOperations,
    pub(super) region_operations: RegionOperations,
    pub(super) global_operations: GlobalOperations,
    pub(super) options: ComputeOptions,
    pub(super) credentials: Credentials,
}

macro_rules! client {
    ($client:ty, $options:expr, $credentials:expr) => {{
        // The session retries, so that every attempt is in the record; the client's own retries would be invisible.
        let builder = <$client>::builder()
            .with_credentials($credentials.clone())
            .with_retry_policy(NeverRetry)
            .with_attempt_timeout($options.attempt_timeout);
        match &$options.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.clone()).build().await?,
            None => builder.build().await?,
        }
    }};
}

impl Compute {
    /// Makes the clients. Calls nothing yet.
    ///
    /// # Errors
    /// [`ComputeBuildError`], such as no application default credentials.
    pub async fn new(options: ComputeOptions) -> Result<Self, ComputeBuildError> {
        let credentials: Credentials = match options.endpoint {
            Some(_) => anonymous::Builder::new().build(),
            None => google_cloud_auth::credentials::Builder::default().build()?,
        };
        Ok(Self {
            instances: client!(Instances, options, credentials),
            disks: client!(Disks, options, credentials),
            region_disks: client!(RegionDisks, options, credentials),
            snapshots: client!(Snapshots, options, credentials),
            firewalls: client!(Firewalls, options, credentials),
            networks: client!(Networks, options, credentials),
            projects: client!(Projects, options, credentials),
            addresses: client!(Addresses, options, credentials),
            groups: client!(InstanceGroupManagers, options, credentials),
            region_groups: client!(RegionInstanceGroupManagers, options, credentials),
            zone_operations: client!(ZoneOperations, options, credentials),
            region_operations: client!(RegionOperations, options, credentials),
            global_operations: client!(GlobalOperations, options, credentials),
            options,
            credentials,
        })
    }
}
