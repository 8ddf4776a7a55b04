//! The Compute Engine adapter against the emulator: every step, and what it must not do.
#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod deletion;
mod faults;
pub mod ssh;
mod steps;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stanch::adapters::compute::{Compute, ComputeOptions};
use stanch::core::step::{FailureKind, Observation, Outcome, Performed, Receipt};
use stanch::ports::{Actuator as _, InstanceQuery, SurveyError, Surveyor as _};
use stanch::sandbox::compute::ComputeEmulator;
use stanch::sandbox::world::World;
use stanch_commands::action::{Action, ComputeAction};
use stanch_commands::facts::{ComputeFacts, NoInstance};
use stanch_commands::firewall_rule::{Direction, FirewallRule, Verdict};
use stanch_commands::target::{ComputeName, GroupRef, InstanceRef, NetworkRef, Place};

use crate::support::licensed;

pub const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";
const GROUP: &str = "gke-sandbox-public-1a2b3c4d-grp";
const ID: u64 = 6_120_613_059_854_544_701;
pub const TAG: &str = "quarantine-inc-1";

/// An emulator, and the adapter that calls it.
pub struct Bench {
    pub emulator: ComputeEmulator,
    pub compute: Compute,
}

impl Bench {
    pub async fn start() -> Self {
        Self::start_with(&World::compromised()).await
    }

    async fn start_with(world: &World) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let emulator = ComputeEmulator::start(world).await.unwrap();
        // Pauses are short, because the emulator advances with every look and not with time.
        let options = ComputeOptions { endpoint: Some(emulator.url()), pause: Duration::from_millis(1), ..ComputeOptions::default() };
        let compute = Compute::new(options).await.unwrap();
        Self { emulator, compute }
    }

    pub async fn perform(&self, action: &ComputeAction) -> Performed {
        self.perform_as(action, "1").await
    }

    async fn perform_as(&self, action: &ComputeAction, run: &str) -> Performed {
        self.compute.perform(action, &licensed(Action::Compute(action.clone()), run)).await
    }

    async fn observe(&self, action: &ComputeAction) -> Observation {
        self.compute.observe(action, &licensed(Action::Compute(action.clone()), "1")).await
    }

    /// Carries a step out, which must change something, and observes it before and after.
    async fn does(&self, action: &ComputeAction) -> Receipt {
        assert_eq!(self.observe(action).await, Observation::NotInPlace, "{action:?}");
        let before = self.writes();
        let receipt = succeeded(self.perform(action).await);
        assert!(!receipt.already_so, "{receipt:?}");
        assert_eq!(self.writes(), before + 1);
        assert!(matches!(self.observe(action).await, Observation::InPlace(_)));
        assert!(succeeded(self.perform_as(action, "again").await).already_so);
        assert_eq!(self.writes(), before + 1);
        receipt
    }

    /// Mutating calls that reached the emulator.
    fn writes(&self) -> usize {
        self.emulator.mutating_calls().len()
    }

    pub async fn survey(&self, id: Option<u64>) -> Result<Result<ComputeFacts, NoInstance>, SurveyError> {
        let provider_id = format!("gce://sandbox-project/us-central1-a/{NODE}");
        self.compute.survey(&InstanceQuery { provider_id, expected_id: id.map(|id| id.to_string()) }).await
    }

    pub async fn facts(&self) -> ComputeFacts {
        self.survey(Some(ID)).await.unwrap().unwrap()
    }

    fn tags(&self) -> BTreeSet<String> {
        let state = self.emulator.snapshot_state();
        state["instances"][NODE]["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
    }
}

fn succeeded(performed: Performed) -> Receipt {
    match performed.outcome {
        Outcome::Succeeded(receipt) => receipt,
        other => panic!("{other:?} after {:#?}", performed.calls),
    }
}

fn failed(performed: Performed) -> (FailureKind, String) {
    match performed.outcome {
        Outcome::Failed(failure) => (failure.kind, failure.message),
        other => panic!("{other:?} after {:#?}", performed.calls),
    }
}

pub fn instance() -> InstanceRef {
    InstanceRef {
        project: "sandbox-project".parse().unwrap(),
        zone: "us-central1-a".parse().unwrap(),
        name: NODE.parse().unwrap(),
        id: ID.into(),
    }
}

pub fn group() -> GroupRef {
    GroupRef {
        project: "sandbox-project".parse().unwrap(),
        place: Place::Zone("us-central1-a".parse().unwrap()),
        name: GROUP.parse().unwrap(),
    }
}

pub fn name(text: &str) -> ComputeName {
    text.parse().unwrap()
}

fn rule_on(project: &str, network: &str, direction: Direction) -> FirewallRule {
    let (word, priority) = match direction {
        Direction::Ingress => ("ingress", 1),
        Direction::Egress => ("egress", 0),
    };
    FirewallRule {
        network: NetworkRef { project: project.parse().unwrap(), name: name(network) },
        name: name(&format!("{TAG}-{word}-deny-{network}")),
        direction,
        verdict: Verdict::Deny,
        protocols: BTreeSet::from(["all".into()]),
        ranges: BTreeSet::from(["0.0.0.0/0".into()]),
        source_tags: BTreeSet::new(),
        target_tags: BTreeSet::from([TAG.into()]),
        priority,
        disabled: false,
        unusual: BTreeSet::new(),
    }
}

pub fn rules() -> Vec<FirewallRule> {
    [Direction::Egress, Direction::Ingress].map(|direction| rule_on("sandbox-project", "prod-vpc", direction)).to_vec()
}

pub fn tag(rules: Vec<FirewallRule>) -> ComputeAction {
    ComputeAction::TagInstance { instance: instance(), tag: name(TAG), rules }
}

pub fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("stanch-request".into(), "r-test01".into())])
}
