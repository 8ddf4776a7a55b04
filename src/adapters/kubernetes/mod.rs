//! One Kubernetes cluster, through its API.
//!
//! # Assumptions
//! A crypto provider of rustls is installed for the process.

mod change;
mod drain;
mod eradication;
mod evidence;
mod examine;
mod names;
mod privileged;
mod probe;
mod rbac;
mod removal;
mod selectors;
mod survey;
mod verify;
mod wire;
mod workload;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use stanch_commands::action::KubernetesAction;
use stanch_commands::facts::KubernetesFacts;
use stanch_commands::target::TargetName;

pub use self::examine::PrivilegedPodExamination;
pub use self::rbac::{rbac, rbac_exec, rbac_privileged_pod};

use self::change::Change;
use self::wire::Session;
use crate::core::step::{Artefact, Licence, Observation, Outcome, Performed};
use crate::ports::{Actuator, EveryName, LiveNames, SurveyError, Surveyor};

/// To open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one answer. A list of 256 pods takes well under a second; a GKE control plane under repair answers late or never.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A cluster that Stanch reads and acts on.
#[derive(Clone)]
pub struct KubernetesCluster {
    client: Client,
}

/// Why a cluster cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// The kubeconfig cannot be read.
    #[error("cannot read the kubeconfig `{}`", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: kube::config::KubeconfigError,
    },
    /// It has no such context.
    #[error("the kubeconfig `{}` has no context `{context}`; it has: {}", path.display(), choices.join(", "))]
    NoContext {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        context: String,
        /// What there is.
        choices: Vec<String>,
    },
    /// Stanch does not run in a cluster.
    #[error("in_cluster = true, but there is no service account here")]
    NotInCluster(#[source] kube::config::InClusterError),
    /// The client cannot be built.
    #[error("cannot build the client")]
    Client(#[source] kube::Error),
}

impl KubernetesCluster {
    /// A cluster behind a client that exists. The client must not retry by itself.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// A cluster by a context of a kubeconfig file. The file's current context means nothing.
    ///
    /// # Errors
    /// [`KubernetesError`].
    pub async fn from_kubeconfig(path: &Path, context: &str) -> Result<Self, KubernetesError> {
        let wrong = |source| KubernetesError::Kubeconfig { path: path.to_owned(), source };
        let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
        let choices: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
        if !choices.iter().any(|choice| choice == context) {
            return Err(KubernetesError::NoContext { path: path.to_owned(), context: context.to_owned(), choices });
        }
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(wrong)?;
        Self::from_config(config)
    }

    /// The cluster that Stanch runs in, with its own service account.
    ///
    /// # Errors
    /// [`KubernetesError`].
    pub fn in_cluster() -> Result<Self, KubernetesError> {
        Self::from_config(Config::incluster().map_err(KubernetesError::NotInCluster)?)
    }

    fn from_config(mut config: Config) -> Result<Self, KubernetesError> {
        // Its 15 retries cover POST too, so that an eviction which a budget refuses would hang.
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(ANSWER_TIMEOUT);
        config.write_timeout = Some(ANSWER_TIMEOUT);
        // A proxy of the environment must not see what goes to this machine.
        if config.cluster_url.host().is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]") {
            config.proxy_url = None;
        }
        Ok(Self { client: Client::try_from(config).map_err(KubernetesError::Client)? })
    }

    async fn carry_out(&self, action: &KubernetesAction, session: &mut Session, licence: &Licence) -> (Outcome, Vec<Artefact>) {
        let outcome = match action {
            KubernetesAction::EndContainer { ending, through } => privileged::end(session, ending, through, licence).await,
            KubernetesAction::CapturePriorState { node, suspects } => evidence::capture(session, node, suspects).await,
            KubernetesAction::CollectEvidence { node, suspects } => return evidence::collect(session, node, suspects).await,
            KubernetesAction::RunProbes { pod, probes } => return probe::run(session, pod, probes).await,
            KubernetesAction::DenyPodTraffic(pod) => change::deny_traffic(session, pod).await,
            KubernetesAction::SaveManifests(workloads) => return eradication::save(session, workloads).await,
            KubernetesAction::DeleteWorkload { workload, .. } => eradication::delete(session, workload).await,
            KubernetesAction::VerifyWorkloadGone { workloads, pods, deadline_s } => {
                eradication::verify(session, workloads, pods, *deadline_s).await
            }
            KubernetesAction::DeletePod { pod, grace_s, .. } => removal::delete_pod(session, pod, *grace_s).await,
            KubernetesAction::AllowPodTraffic(pod) => removal::allow_traffic(session, pod).await,
            KubernetesAction::Drain(drain) => drain::drain(session, drain).await,
            KubernetesAction::VerifyPodIsolation(isolation) => verify::verify_pod(session, isolation).await,
            KubernetesAction::VerifyNode { node, suspects } => verify::verify(session, node, suspects).await,
            KubernetesAction::Cordon(_)
            | KubernetesAction::Uncordon(_)
            | KubernetesAction::DisableScaleDown(_)
            | KubernetesAction::ExcludeFromLoadBalancers(_)
            | KubernetesAction::KeepWhileUnreachable(_)
            | KubernetesAction::KeepFromAutoscaler(_)
            | KubernetesAction::ScaleToZero { .. }
            | KubernetesAction::ScaleBack { .. }
            | KubernetesAction::AllowScaleDown(_)
            | KubernetesAction::IncludeInLoadBalancers(_)
            | KubernetesAction::RestorePod { .. }
            | KubernetesAction::LabelPod { .. } => match Change::of(action) {
                Some(change) => change.make(session).await,
                None => Outcome::Unknown("the action has no change".into()),
            },
        };
        (outcome, vec![])
    }
}

#[async_trait]
impl Surveyor<TargetName, KubernetesFacts> for KubernetesCluster {
    async fn survey(&self, target: &TargetName) -> Result<KubernetesFacts, SurveyError> {
        survey::survey(&mut Session::new(self.client.clone()), target).await
    }
}

#[async_trait]
impl Surveyor<EveryName, LiveNames> for KubernetesCluster {
    async fn survey(&self, EveryName: &EveryName) -> Result<LiveNames, SurveyError> {
        names::names(&mut Session::of_metadata(self.client.clone())).await
    }
}

#[async_trait]
impl Actuator<KubernetesAction> for KubernetesCluster {
    async fn perform(&self, action: &KubernetesAction, licence: &Licence) -> Performed {
        let mut session = Session::new(self.client.clone());
        let (outcome, artefacts) = self.carry_out(action, &mut session, licence).await;
        Performed { outcome, calls: session.into_calls(), artefacts }
    }

    async fn observe(&self, action: &KubernetesAction, _licence: &Licence) -> Observation {
        let session = &mut Session::new(self.client.clone());
        match action {
            // Reads: doing them again is observing them.
            KubernetesAction::CapturePriorState { .. }
            | KubernetesAction::CollectEvidence { .. }
            | KubernetesAction::RunProbes { .. }
            | KubernetesAction::SaveManifests(_)
            | KubernetesAction::VerifyWorkloadGone { .. }
            | KubernetesAction::VerifyPodIsolation(_)
            | KubernetesAction::VerifyNode { .. } => Observation::NotInPlace,
            KubernetesAction::DenyPodTraffic(pod) => change::observe_denied_traffic(session, pod).await,
            KubernetesAction::DeleteWorkload { workload, .. } => eradication::observe(session, workload).await,
            KubernetesAction::DeletePod { pod, .. } => removal::observe_deleted_pod(session, pod).await,
            KubernetesAction::EndContainer { ending, .. } => privileged::observe(session, ending).await,
            KubernetesAction::AllowPodTraffic(pod) => removal::observe_allowed_traffic(session, pod).await,
            KubernetesAction::Drain(drain) => drain::observe(session, drain).await,
            KubernetesAction::Cordon(_)
            | KubernetesAction::Uncordon(_)
            | KubernetesAction::DisableScaleDown(_)
            | KubernetesAction::ExcludeFromLoadBalancers(_)
            | KubernetesAction::KeepWhileUnreachable(_)
            | KubernetesAction::KeepFromAutoscaler(_)
            | KubernetesAction::ScaleToZero { .. }
            | KubernetesAction::ScaleBack { .. }
            | KubernetesAction::AllowScaleDown(_)
            | KubernetesAction::IncludeInLoadBalancers(_)
            | KubernetesAction::RestorePod { .. }
            | KubernetesAction::LabelPod { .. } => match Change::of(action) {
                Some(change) => change.observe(session).await,
                None => Observation::Unclear("the action has no change".into()),
            },
        }
    }
}
