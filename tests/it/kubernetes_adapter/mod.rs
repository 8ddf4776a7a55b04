//! Goal: the Kubernetes adapter does what its port promises. Method: one contract suite, on the emulator and on a real control plane; and what
//! only the emulator can do: lost answers, namesakes, refusals.
#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::indexing_slicing,
    reason = "test code fails by panicking"
)]

pub mod contract;
mod deletions;
mod eradication;
mod isolation;
pub mod privileged;
mod probes;
mod traps;

use std::collections::BTreeSet;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use stanch::adapters::kubernetes::KubernetesCluster;
use stanch::core::step::{Observation, Outcome, Performed, Receipt};
use stanch::ports::{Actuator, SurveyError, Surveyor};
use stanch::sandbox::kubernetes::KubernetesEmulator;
use stanch::sandbox::world::World;
use stanch_commands::action::{Drain, KubernetesAction};
use stanch_commands::facts::KubernetesFacts;
use stanch_commands::target::TargetName;

use crate::support::licensed;

const NODE: &str = "gke-sandbox-public-1a2b3c4d-x7k2";

/// The adapter and what it finds.
pub struct Subject {
    pub adapter: KubernetesCluster,
    pub facts: KubernetesFacts,
}

impl Subject {
    pub async fn of(client: Client, target: &str) -> Self {
        let adapter = KubernetesCluster::new(client);
        let facts = survey(&adapter, target).await.unwrap();
        Self { adapter, facts }
    }

    pub async fn perform(&self, action: &KubernetesAction) -> Performed {
        self.adapter.perform(action, &licensed(action.clone(), "one")).await
    }

    pub async fn observe(&self, action: &KubernetesAction) -> Observation {
        self.adapter.observe(action, &licensed(action.clone(), "one")).await
    }

    pub async fn succeeds(&self, action: &KubernetesAction) -> Receipt {
        match self.perform(action).await.outcome {
            Outcome::Succeeded(receipt) => receipt,
            other => panic!("{action:?}: {other:?}"),
        }
    }

    /// A drain of the node as the planner would bind it.
    pub fn drain(&self, deadline_s: u32) -> Drain {
        let suspect = self.facts.suspect.as_ref().map(|suspect| suspect.pod.uid.clone());
        let leaving = self.facts.pods.iter().filter(|pod| !pod.stays_on_drain() && Some(&pod.pod.uid) != suspect.as_ref());
        let expected: Vec<_> = leaving.map(|pod| pod.pod.clone()).collect();
        Drain {
            node: self.facts.node.node.clone(),
            spare: suspect.into_iter().collect(),
            protected_namespaces: BTreeSet::new(),
            at_most: u32::try_from(expected.len()).unwrap() + 5,
            expected,
            deadline_s,
        }
    }
}

pub async fn survey(adapter: &KubernetesCluster, target: &str) -> Result<KubernetesFacts, SurveyError> {
    let parsed = stanch_commands::parse::parse(&format!("locate {target}")).unwrap();
    let target: TargetName = parsed.arguments.target.unwrap();
    adapter.survey(&target).await
}

pub async fn emulator() -> (KubernetesEmulator, Client) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let emulator = KubernetesEmulator::start(&World::compromised()).await.unwrap();
    let kubeconfig = Kubeconfig::from_yaml(&emulator.kubeconfig()).unwrap();
    let options = KubeConfigOptions { context: Some("sandbox".into()), ..Default::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    config.default_retry = false;
    config.proxy_url = None;
    (emulator, Client::try_from(config).unwrap())
}

/// Requests that were meant to change something.
pub fn writes(emulator: &KubernetesEmulator) -> Vec<String> {
    let exchanges = emulator.wire().exchanges().into_iter();
    exchanges.filter(|call| call.method != "GET").map(|call| format!("{} {}", call.method, call.path)).collect()
}
