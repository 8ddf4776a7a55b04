//! The bot, assembled: production adapters behind the app's ports, as the configuration says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use stanch_commands::action::SshAction;
use stanch_commands::definition::Own;
use stanch_commands::facts::ClusterFacts;
use stanch_commands::target::ClusterName;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::adapters::audit::{AuditWriter, Log, Rotation};
use crate::adapters::chats::Chats;
use crate::adapters::compute::{Compute, ComputeOptions, ProjectExamination};
use crate::adapters::data::DataFolder;
use crate::adapters::deliveries::SeenDeliveries;
use crate::adapters::discord::{self, CommandScope, Discord, DiscordExamination, DiscordSettings};
use crate::adapters::evidence::{BucketExamination, EvidenceBucket, EvidenceFolder};
use crate::adapters::kubernetes::{KubernetesCluster, PrivilegedPodExamination};
use crate::adapters::slack::{Emoji, Slack, SlackExamination, SlackSettings};
use crate::adapters::ssh::{SshNodes, SshSettings};
use crate::adapters::system::RandomIds;
use crate::app::{self, Cluster, Doctor, Entry, Memory, Names, Parts, Settings, Suggestions};
use crate::config::{self, Access, Bucket, Config, secret};
use crate::core::diagnosis::{Check, Diagnosis};
use crate::core::identity::Platform;
use crate::core::policy::Policy;
use crate::ports::{Actuator, Chat, ChatEvent, Clock, EvidenceCopies, Examined};

/// Name of the audit log in its checkpoints. The key tells one installation from another.
const LOG_ORIGIN: &str = "stanch.dev/audit-log";
/// Chat events that may wait for the app, which takes each within milliseconds: surveys and writes go on beside it.
const EVENTS: usize = 256;
/// Slack takes about one message a second in a channel.
pub const PACE: Duration = Duration::from_millis(1_050);

/// Everything that a bot is made of.
pub struct Bot {
    /// The configuration.
    pub config: Config,
    /// The policy file, as text.
    pub policy: String,
    /// Where state lives: the audit log, evidence, derived state.
    pub data: PathBuf,
    /// Slack's address, if it is not Slack's own.
    pub slack_api: Option<String>,
    /// The address of Discord's API, if it is not Discord's own.
    pub discord_api: Option<String>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Least time between two public messages in one channel.
    pub pace: Duration,
}

impl Bot {
    /// Runs until `shutdown`. `ready` is called when the bot is connected.
    ///
    /// # Errors
    /// What is missing or wrong, in words for an operator; or that the audit log failed.
    pub async fn run(self, shutdown: CancellationToken, ready: impl FnOnce()) -> anyhow::Result<()> {
        let policy = Policy::from_toml(&self.policy).context("the policy is wrong")?;
        // Before anything is written: a configuration that cannot work leaves no folder and no key.
        let clusters = self.clusters().await?;
        std::fs::create_dir_all(&self.data).with_context(|| format!("cannot create `{}`", self.data.display()))?;
        let (log, memory) = open_log(&self.data.join("log"))?;
        let evidence = self.data.join("evidence");
        let evidence = EvidenceFolder::open(&evidence).with_context(|| format!("cannot use `{}`", evidence.display()))?;
        let copies = self.bucket(&evidence)?;
        let deliveries = SeenDeliveries::open(&self.data.join("derived"))?;
        let clusters_of_app = clusters.iter().map(|(name, reach)| (name.clone(), reach.cluster())).collect();
        let (sender, events) = mpsc::channel(EVENTS);
        let doctor = self.doctor(&policy, &clusters, true);
        let policy = Arc::new(policy);
        let sources = clusters.iter().map(|(name, reach)| (name.clone(), reach.kubernetes.clone() as Arc<Names>)).collect();
        let suggestions = Arc::new(Suggestions::new(policy.clone(), self.config.channels.clone(), sources));
        let connected = self.connect(sender, &suggestions).await?;
        let chat: Arc<dyn Chat> = Arc::new(connected.chats());
        suggestions.connected(chat.clone());
        let parts = Parts {
            policy,
            policy_sha256: Sha256::digest(&self.policy).iter().map(|byte| format!("{byte:02x}")).collect(),
            settings: Settings {
                form: self.config.form,
                limits: self.config.limits,
                node_access: self.config.node_access(),
                channels: self.config.channels.clone(),
                shared: self.config.shared.clone(),
                witnesses: self.config.witnesses.clone(),
                pace: self.pace,
                attach_limit_bytes: self.config.evidence.attach_limit_bytes,
                own: own(|name| std::env::var(name).ok())?,
            },
            clusters: clusters_of_app,
            chat,
            log: Arc::new(log),
            evidence: Arc::new(evidence),
            copies: copies.map(|bucket| bucket as Arc<dyn EvidenceCopies>),
            deliveries: Arc::new(deliveries),
            clock: self.clock,
            ids: Arc::new(RandomIds),
            doctor,
        };
        tracing::info!(requests = memory.state.requests.len(), "connected");
        ready();
        let ended = app::run(parts, memory, events, shutdown).await;
        connected.shutdown().await;
        ended.context("the audit log failed, so Stanch stopped")
    }

    /// Connects to every platform that is configured, or to none.
    async fn connect(&self, sender: mpsc::Sender<ChatEvent>, suggestions: &Arc<Suggestions>) -> anyhow::Result<Connected> {
        let mut connected = Connected::default();
        if let Some(slack) = &self.config.slack {
            let slack = Slack::connect(self.slack_settings(slack)?, sender.clone(), suggestions.clone())
                .await
                .context("cannot connect to Slack")?;
            connected.slack = Some(Arc::new(slack));
        }
        if let Some(discord) = &self.config.discord {
            let outcome = match self.discord_settings(discord) {
                Ok(settings) => Discord::connect(settings, sender, suggestions.clone()).await.context("cannot connect to Discord"),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(discord) => connected.discord = Some(Arc::new(discord)),
                Err(error) => {
                    connected.shutdown().await;
                    return Err(error);
                }
            }
        }
        Ok(connected)
    }

    fn slack_settings(&self, slack: &config::Slack) -> anyhow::Result<SlackSettings> {
        let emoji = Emoji { yes: slack.emoji.yes.clone(), no: slack.emoji.no.clone(), halt: slack.emoji.halt.clone() };
        Ok(SlackSettings {
            api_url: self.slack_api.clone(),
            bot_token: secret(&slack.bot_token)?,
            app_token: secret(&slack.app_token)?,
            team_id: slack.team_id.clone(),
            emoji,
            attaches: self.config.evidence.attach_limit_bytes.is_some(),
        })
    }

    fn discord_settings(&self, discord: &config::Discord) -> anyhow::Result<DiscordSettings> {
        let of_discord = self.config.channels.keys().filter(|channel| channel.platform == Platform::Discord);
        let emoji = &discord.emoji;
        Ok(DiscordSettings {
            api_url: self.discord_api.clone(),
            bot_token: secret(&discord.bot_token)?,
            application: discord.application_id.clone(),
            guild: discord.guild_id.clone(),
            scope: if discord.global_commands { CommandScope::Global } else { CommandScope::Guild },
            channels: of_discord.map(|channel| channel.id.clone()).collect(),
            emoji: discord::Emoji { yes: emoji.yes.clone(), no: emoji.no.clone(), halt: emoji.halt.clone() },
            attaches: self.config.evidence.attach_limit_bytes.is_some(),
        })
    }

    /// Looks at everything that this bot depends on, without connecting to the chat. Whether it runs or not, and whatever cannot be set up.
    ///
    /// # Errors
    /// If the policy is wrong, so that nobody knows which rights are needed.
    pub async fn examine(&self) -> anyhow::Result<Vec<Diagnosis>> {
        let policy = Policy::from_toml(&self.policy).context("the policy is wrong")?;
        let mut clusters = BTreeMap::new();
        let mut broken: Vec<(String, anyhow::Error)> = Vec::new();
        match self.compute().await {
            Ok(compute) => {
                let ssh = self.ssh(&compute).unwrap_or_else(|error| {
                    broken.push(("SSH to nodes".into(), error));
                    None
                });
                for (name, cluster) in &self.config.clusters {
                    match reach(name, cluster, &compute, &ssh).await {
                        Ok(reach) => drop(clusters.insert(name.clone(), reach)),
                        Err(error) => broken.push((format!("cluster {name}"), error)),
                    }
                }
            }
            Err(error) => broken.push(("clusters and projects".into(), error)),
        }
        let mut doctor = self.doctor(&policy, &clusters, false);
        broken.into_iter().for_each(|(part, error)| doctor.add(part, Arc::new(Unusable(format!("{error:#}")))));
        Ok(doctor.examine().await)
    }

    fn doctor(&self, policy: &Policy, clusters: &BTreeMap<ClusterName, Reach>, is_running: bool) -> Doctor {
        let mut doctor = Doctor::new(policy);
        let mut projects = BTreeSet::new();
        for (name, reach) in clusters {
            doctor.add(format!("cluster {name}"), reach.kubernetes.clone());
            if let Some(through) = &self.config.privileged_pod {
                let examination = PrivilegedPodExamination { cluster: reach.kubernetes.clone(), through: through.clone() };
                doctor.add(format!("cluster {name}"), Arc::new(examination));
            }
            if projects.insert(&reach.facts.project) {
                let examination = ProjectExamination { compute: reach.compute.clone(), project: reach.facts.project.clone() };
                doctor.add(format!("project {}", reach.facts.project), Arc::new(examination));
            }
        }
        if let Some(ssh) = clusters.values().find_map(|reach| reach.ssh.clone()) {
            doctor.add("SSH to nodes", ssh);
        }
        let unusable = |error: anyhow::Error| Arc::new(Unusable(format!("{error:#}")));
        match self.config.slack.as_ref().map(|slack| self.slack_settings(slack)) {
            None => {}
            Some(Ok(settings)) => doctor.add("Slack", Arc::new(SlackExamination { settings })),
            Some(Err(error)) => doctor.add("Slack", unusable(error)),
        }
        match self.config.discord.as_ref().map(|discord| self.discord_settings(discord)) {
            None => {}
            Some(Ok(settings)) => doctor.add("Discord", Arc::new(DiscordExamination { settings })),
            Some(Err(error)) => doctor.add("Discord", unusable(error)),
        }
        let (log, evidence) = (self.data.join("log"), self.data.join("evidence"));
        doctor.add("data folder", Arc::new(DataFolder { log, origin: LOG_ORIGIN, evidence, is_ours: is_running }));
        let examination = match &self.config.evidence.bucket {
            None => return doctor,
            Some(Bucket::Gcs { bucket, .. }) => {
                BucketExamination::in_gcs(bucket, self.config.evidence.endpoint.as_ref().map(|url| url.as_str()))
            }
            Some(Bucket::Folder(path)) => Ok(BucketExamination::Folder(path.clone())),
        };
        match examination {
            Ok(examination) => doctor.add("evidence bucket", Arc::new(examination)),
            Err(error) => doctor.add("evidence bucket", Arc::new(Unusable(error.to_string()))),
        }
        doctor
    }

    /// Where copies of evidence go.
    fn bucket(&self, folder: &EvidenceFolder) -> anyhow::Result<Option<Arc<EvidenceBucket>>> {
        let endpoint = self.config.evidence.endpoint.as_ref().map(|url| url.as_str());
        let bucket = match &self.config.evidence.bucket {
            None => return Ok(None),
            Some(Bucket::Gcs { bucket, prefix }) => EvidenceBucket::in_gcs(bucket, prefix, endpoint, folder.clone()),
            Some(Bucket::Folder(path)) => EvidenceBucket::in_folder(path, folder.clone()),
        };
        Ok(Some(Arc::new(bucket.context("cannot use the bucket of [evidence]")?)))
    }

    async fn compute(&self) -> anyhow::Result<Arc<Compute>> {
        let endpoint = self.config.compute_endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        let options = ComputeOptions { endpoint, ..ComputeOptions::default() };
        Ok(Arc::new(Compute::new(options).await.context("cannot set up the Compute Engine client")?))
    }

    async fn clusters(&self) -> anyhow::Result<BTreeMap<ClusterName, Reach>> {
        let compute = self.compute().await?;
        let ssh = self.ssh(&compute)?;
        let mut clusters = BTreeMap::new();
        for (name, cluster) in &self.config.clusters {
            clusters.insert(name.clone(), reach(name, cluster, &compute, &ssh).await?);
        }
        Ok(clusters)
    }

    /// The way onto nodes over SSH, if the configuration has one.
    fn ssh(&self, compute: &Arc<Compute>) -> anyhow::Result<Option<Arc<SshNodes>>> {
        let Some(ssh) = &self.config.ssh else { return Ok(None) };
        let settings = SshSettings::new(config::private_key(&ssh.private_key)?, ssh.known_hosts.clone(), ssh.port);
        Ok(Some(Arc::new(SshNodes::new(settings, compute.clone()).context("[ssh] cannot be used")?)))
    }
}

/// Where this process runs, as the downward API says in its environment; nowhere known if that is not set up.
fn own(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Own> {
    fn read<T: FromStr<Err: Into<anyhow::Error>>>(name: &str, value: Option<String>) -> anyhow::Result<Option<T>> {
        let parsed = value.filter(|value| !value.is_empty()).map(|value| value.parse().map_err(Into::into)).transpose();
        parsed.with_context(|| format!("the environment variable `{name}` is wrong"))
    }
    let [namespace, name, node] = ["STANCH_POD_NAMESPACE", "STANCH_POD_NAME", "STANCH_NODE_NAME"];
    let pod = (read(namespace, variable(namespace))?, read(name, variable(name))?);
    let pod = match pod {
        (Some(namespace), Some(name)) => Some((namespace, name)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => anyhow::bail!("`{namespace}` and `{name}` go together, and one of them is not set"),
    };
    Ok(Own { pod, node: read(node, variable(node))? })
}

/// The platforms that the bot is connected to.
#[derive(Default)]
struct Connected {
    slack: Option<Arc<Slack>>,
    discord: Option<Arc<Discord>>,
}

impl Connected {
    fn chats(&self) -> Chats {
        let chats = self.slack.iter().fold(Chats::default(), |chats, slack| chats.with(Platform::Slack, slack.clone()));
        self.discord.iter().fold(chats, |chats, discord| chats.with(Platform::Discord, discord.clone()))
    }

    async fn shutdown(&self) {
        if let Some(slack) = &self.slack {
            slack.shutdown().await;
        }
        if let Some(discord) = &self.discord {
            discord.shutdown().await;
        }
    }
}

/// Sets a cluster up.
async fn reach(
    name: &ClusterName,
    cluster: &config::Cluster,
    compute: &Arc<Compute>,
    ssh: &Option<Arc<SshNodes>>,
) -> anyhow::Result<Reach> {
    let kubernetes = match &cluster.access {
        Access::Kubeconfig { path, context } => KubernetesCluster::from_kubeconfig(path, context).await,
        Access::InCluster => KubernetesCluster::in_cluster(),
    };
    let kubernetes = Arc::new(kubernetes.with_context(|| format!("cannot set up cluster `{name}`"))?);
    let facts = ClusterFacts { name: name.clone(), project: cluster.project.clone(), location: cluster.location.clone() };
    Ok(Reach { facts, kubernetes, compute: compute.clone(), ssh: ssh.clone() })
}

/// A part that could not be set up, and why.
struct Unusable(String);

#[async_trait]
impl Examined for Unusable {
    async fn examine(&self, _commands: &BTreeSet<&'static str>) -> Vec<Check> {
        vec![Check::fail("settings", self.0.clone(), "correct config/stanch.toml, or what it points to")]
    }
}

/// The two adapters of a cluster.
struct Reach {
    facts: ClusterFacts,
    kubernetes: Arc<KubernetesCluster>,
    compute: Arc<Compute>,
    ssh: Option<Arc<SshNodes>>,
}

impl Reach {
    fn cluster(&self) -> Cluster {
        let ssh = self.ssh.clone().map(|ssh| -> Arc<dyn Actuator<SshAction>> { ssh });
        Cluster { facts: self.facts.clone(), kubernetes: self.kubernetes.clone(), compute: self.compute.clone(), ssh }
    }
}

/// Hands the log over to a fresh signing key, and records that.
///
/// # Errors
/// Also while Stanch runs: a log has one writer.
pub fn rotate_key(log: &Path, at: Timestamp) -> anyhow::Result<Rotation> {
    anyhow::ensure!(log.join("signing-key").exists(), "there is no audit log in `{}`; the first start makes it, with a key", log.display());
    let (mut log, _) = Log::open(log, LOG_ORIGIN).context("cannot open the audit log")?;
    let rotation = log.rotate_key().context("the key was not rotated, or not wholly: the next start finishes or undoes it")?;
    let entry = Entry::KeyRotated { at, from: rotation.from.clone(), to: rotation.to.clone() };
    log.append(&[entry.to_bytes()]).and_then(|_| log.checkpoint()).context("the key was rotated, but that could not be recorded")?;
    Ok(rotation)
}

/// Opens the log and replays it.
fn open_log(folder: &Path) -> anyhow::Result<(AuditWriter, Memory)> {
    let (log, opened, entries) = AuditWriter::open(folder, LOG_ORIGIN).context("cannot open the audit log")?;
    if opened.torn_bytes > 0 {
        tracing::warn!(bytes = opened.torn_bytes, "an unfinished append was cut off the audit log");
    }
    let memory = Memory::replay(&entries).context("the audit log cannot be followed")?;
    Ok((log, memory))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

    use super::*;

    #[test]
    fn stanch_knows_where_it_runs_only_if_it_is_told() {
        let own_of = |set: &[(&str, &str)]| {
            let set: BTreeMap<String, String> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            own(|name| set.get(name).cloned())
        };
        assert_eq!(own_of(&[]).unwrap(), Own::default());
        let all = [("STANCH_POD_NAMESPACE", "stanch"), ("STANCH_POD_NAME", "stanch-0"), ("STANCH_NODE_NAME", "gke-1")];
        let expected = Own { pod: Some(("stanch".parse().unwrap(), "stanch-0".parse().unwrap())), node: Some("gke-1".parse().unwrap()) };
        assert_eq!(own_of(&all).unwrap(), expected);
        assert_eq!(own_of(&all[2..]).unwrap(), Own { pod: None, ..expected });
        assert!(own_of(&all[..1]).is_err() && own_of(&[("STANCH_NODE_NAME", "Not A Name")]).is_err());
    }
}
