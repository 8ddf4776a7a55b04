//! Where scenarios are played: the emulators, and the production bot with its own runtime, so that it can be killed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use stanch_commands::plan::Form;
use stanch_commands::runtime::PrivilegedPod;
use stanch_commands::target::RequestId;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::on_discord::{OnDiscord, Whose};
use super::script::{Api, Happening};
use crate::bot::Bot;
use crate::config::{Access, Config, Evidence, SecretSource};
use crate::core::identity::Platform;
use crate::ports::Clock;
use crate::sandbox::compute::{ComputeEmulator, ComputeEmulatorError};
use crate::sandbox::discord::{DiscordEmulator, DiscordEmulatorError, GatewayDrop};
use crate::sandbox::kubernetes::{KubernetesEmulator, KubernetesEmulatorError};
use crate::sandbox::server::{Fault, FaultRule};
use crate::sandbox::slack::{Entry, SlackEmulator, SlackEmulatorError, Workspace};
use crate::sandbox::world::World;

/// In what is typed: the request of the newest plan message.
const REQUEST: &str = "{request}";
/// The channel in which scenarios are played unless they say otherwise.
const CHANNEL: &str = "C0INCIDENTS";
/// Pace of the bot's public messages: quick, since nobody reads along.
const PACE: Duration = Duration::from_millis(20);
/// How long a bot may take to connect, and to end.
const GRACE: Duration = Duration::from_secs(40);

/// Why a line cannot be played, or does not hold.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// An emulator could not be started, or a file not be written.
    #[error("cannot set the stage: {0}")]
    Io(#[from] io::Error),
    /// Nobody of that name.
    #[error("nobody is called `{0}`; the workspace has: {1}")]
    Nobody(String, String),
    /// No such channel.
    #[error("there is no channel #{0}")]
    NoChannel(String),
    /// No message to react to, or no such button.
    #[error("there is no {0} yet; the workspace shows:\n{1}")]
    NotThere(String, String),
    /// Slack would not let a person do that.
    #[error(transparent)]
    Slack(#[from] SlackEmulatorError),
    /// Discord would not let a person do that.
    #[error(transparent)]
    Discord(#[from] DiscordEmulatorError),
    /// The world cannot change like that.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesEmulatorError),
    /// The world cannot change like that.
    #[error(transparent)]
    Compute(#[from] ComputeEmulatorError),
    /// The bot did not start.
    #[error("the bot does not run: {0}")]
    Bot(String),
    /// An expectation does not hold.
    #[error("{0}")]
    NotSo(String),
}

/// What differs from the sandbox's usual set-up.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// Form of the procedure.
    pub form: Form,
    /// Another cluster than the emulated one, by kubeconfig file and context: its nodes must be those of the emulated project.
    pub cluster: Option<(PathBuf, String)>,
    /// What becomes of evidence beyond the data folder.
    pub evidence: Evidence,
    /// Where people are.
    pub chat: ChatChoice,
    /// The incident channels of both platforms are one.
    pub is_shared: bool,
}

/// The chat platforms of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChatChoice {
    /// Slack.
    #[default]
    Slack,
    /// Discord.
    Discord,
    /// Both, with the bot connected to both. Scenarios begin on Slack.
    Both,
}

impl ChatChoice {
    fn has(self, platform: Platform) -> bool {
        match platform {
            Platform::Slack => self != Self::Discord,
            Platform::Discord => self != Self::Slack,
        }
    }
}

/// The emulators and the bot.
pub struct Stage {
    setting: Setting,
    world: World,
    kubernetes: KubernetesEmulator,
    compute: ComputeEmulator,
    slack: SlackEmulator,
    workspace: Workspace,
    discord: Option<OnDiscord>,
    /// Where people do things.
    at: Platform,
    state: PathBuf,
    clock: Arc<ShiftedClock>,
    /// The pod that reaches nodes, if it was switched on.
    privileged_pod: Option<PrivilegedPod>,
    bot: Option<Life>,
}

/// One life of the bot.
struct Life {
    runtime: tokio::runtime::Runtime,
    shutdown: CancellationToken,
    ended: oneshot::Receiver<anyhow::Result<()>>,
}

/// The wall clock, moved forward by scenarios.
#[derive(Debug, Default)]
struct ShiftedClock(AtomicI64);

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let shift = SignedDuration::from_secs(self.0.load(Ordering::Relaxed));
        Timestamp::now().saturating_add(shift).unwrap_or(Timestamp::MAX)
    }
}

/// Whether an address is one of this machine's loopback interface, given as an IP address.
fn is_here(address: &str) -> bool {
    let host = address.parse::<hyper::Uri>().ok().and_then(|uri| uri.host().map(|host| host.trim_matches(['[', ']']).to_owned()));
    host.and_then(|host| host.parse::<std::net::IpAddr>().ok()).is_some_and(|ip| ip.is_loopback())
}

impl Stage {
    /// Starts the emulators and the bot, with their state in a folder.
    ///
    /// # Errors
    /// [`StageError`].
    pub async fn set(state: &Path, setting: Setting) -> Result<Self, StageError> {
        std::fs::create_dir_all(state)?;
        let world = World::compromised();
        let kubernetes = KubernetesEmulator::start(&world).await?;
        let compute = ComputeEmulator::start(&world).await?;
        let workspace = Workspace::sandbox();
        let slack = SlackEmulator::start(&workspace).await?;
        std::fs::write(state.join("kubeconfig"), kubernetes.kubeconfig())?;
        std::fs::write(state.join("bot-token"), slack.bot_token())?;
        std::fs::write(state.join("app-token"), slack.app_token())?;
        let mut discord = None;
        if setting.chat.has(Platform::Discord) {
            let server = OnDiscord::start().await?;
            std::fs::write(state.join("discord-token"), server.emulator.token())?;
            discord = Some(server);
        }
        let clock = Arc::new(ShiftedClock::default());
        let state = state.to_owned();
        let at = if setting.chat == ChatChoice::Discord { Platform::Discord } else { Platform::Slack };
        let mut stage =
            Self { at, setting, world, kubernetes, compute, slack, workspace, discord, state, clock, privileged_pod: None, bot: None };
        stage.begin().await?;
        Ok(stage)
    }

    /// The world that the emulators were seeded from.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The Kubernetes emulator.
    #[must_use]
    pub fn kubernetes(&self) -> &KubernetesEmulator {
        &self.kubernetes
    }

    /// The Compute emulator.
    #[must_use]
    pub fn compute(&self) -> &ComputeEmulator {
        &self.compute
    }

    /// The Slack emulator.
    #[must_use]
    pub fn slack(&self) -> &SlackEmulator {
        &self.slack
    }

    /// The Discord emulator, if there is one.
    #[must_use]
    pub fn discord(&self) -> Option<&DiscordEmulator> {
        self.discord.as_ref().map(|server| &server.emulator)
    }

    /// Everything that was said, as people saw it.
    #[must_use]
    pub fn transcript(&self) -> String {
        match self.played_on_discord() {
            Some(server) => server.emulator.look(|view| view.to_string()),
            None => self.slack.look(|view| view.to_string()),
        }
    }

    /// The server, if that is where people are.
    pub(super) fn played_on_discord(&self) -> Option<&OnDiscord> {
        self.discord.as_ref().filter(|_| self.at == Platform::Discord)
    }

    /// Ends the bot and the emulators.
    ///
    /// # Errors
    /// If the bot ended with one.
    pub async fn strike(mut self) -> Result<(), StageError> {
        let ended = self.end().await;
        self.kubernetes.stop().await;
        self.compute.stop().await;
        self.slack.stop().await;
        if let Some(server) = self.discord {
            server.emulator.stop().await;
        }
        ended
    }

    fn bot(&self) -> anyhow::Result<Bot> {
        let mut config = Config::from_toml(include_str!("../../../config/sandbox.toml"))?;
        let emulated = || (self.state.join("kubeconfig"), self.world.cluster.clone());
        let (path, context) = self.setting.cluster.clone().unwrap_or_else(emulated);
        for cluster in config.clusters.values_mut() {
            cluster.access = Access::Kubeconfig { path: path.clone(), context: context.clone() };
        }
        config.form = self.setting.form;
        config.evidence = self.setting.evidence.clone();
        config.privileged_pod.clone_from(&self.privileged_pod);
        if let Some(slack) = &mut config.slack {
            slack.bot_token = SecretSource::File(self.state.join("bot-token"));
            slack.app_token = SecretSource::File(self.state.join("app-token"));
        }
        if let Some(discord) = &mut config.discord {
            discord.bot_token = SecretSource::File(self.state.join("discord-token"));
        }
        let chat = self.setting.chat;
        config.slack = config.slack.filter(|_| chat.has(Platform::Slack));
        config.discord = config.discord.filter(|_| chat.has(Platform::Discord));
        config.channels.retain(|channel, _| chat.has(channel.platform));
        let incidents: Vec<_> = config.channels.keys().cloned().collect();
        if let ([one, other], true) = (incidents.as_slice(), self.setting.is_shared) {
            config.shared = [(one.clone(), other.clone()), (other.clone(), one.clone())].into();
        }
        config.compute_endpoint = Some(self.compute.url().parse()?);
        self.must_be_here()?;
        Ok(Bot {
            config,
            policy: include_str!("../../../config/policy.toml").to_owned(),
            data: self.state.join("data"),
            slack_api: Some(self.slack.api_url()),
            discord_api: self.discord.as_ref().map(|server| format!("{}/api/v10", server.emulator.url())),
            clock: self.clock.clone(),
            pace: PACE,
        })
    }

    /// A sandbox that could reach something real would be a bot without credentials at best, and an accident at worst.
    fn must_be_here(&self) -> anyhow::Result<()> {
        let mut addresses = vec![self.compute.url(), self.slack.api_url(), self.kubernetes.url()];
        addresses.extend(self.discord.as_ref().map(|server| server.emulator.url()));
        let elsewhere = addresses.into_iter().find(|address| !is_here(address));
        anyhow::ensure!(elsewhere.is_none(), "{} is not on loopback", elsewhere.unwrap_or_default());
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), StageError> {
        let bot = self.bot().map_err(|error| StageError::Bot(format!("{error:#}")))?;
        // A runtime of its own: killing it kills everything that the bot left running.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("bot").enable_all().build()?;
        let shutdown = CancellationToken::new();
        let (end, mut ended) = oneshot::channel();
        let (signal, ready) = oneshot::channel();
        let token = shutdown.clone();
        runtime.spawn(async move {
            let result = bot.run(token, || _ = signal.send(())).await;
            let _ = end.send(result);
        });
        let connected = tokio::time::timeout(GRACE, ready).await;
        if !matches!(connected, Ok(Ok(()))) {
            let why = match ended.try_recv() {
                Ok(Err(error)) => format!("{error:#}"),
                Ok(Ok(())) | Err(_) => "it did not connect in time".into(),
            };
            runtime.shutdown_background();
            return Err(StageError::Bot(why));
        }
        self.bot = Some(Life { runtime, shutdown, ended });
        if !self.setting.chat.has(Platform::Slack) {
            return Ok(());
        }
        // The sockets open a moment later.
        let open = self.slack.wait_until(|view| view.connections() > 0, GRACE).await;
        open.map_err(|_| StageError::Bot("it opened no socket".into()))
    }

    async fn end(&mut self) -> Result<(), StageError> {
        let Some(life) = self.bot.take() else { return Ok(()) };
        life.shutdown.cancel();
        let ended = tokio::time::timeout(GRACE, life.ended).await;
        life.runtime.shutdown_background();
        match ended {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(StageError::Bot(format!("{error:#}"))),
            Ok(Err(_)) => Err(StageError::Bot("it panicked".into())),
            Err(_) => Err(StageError::Bot("it did not end in time".into())),
        }
    }

    pub(super) async fn restart(&mut self) -> Result<(), StageError> {
        self.end().await?;
        self.begin().await
    }

    /// Kills the bot in whatever it does, and starts it again as soon as its log is free.
    pub(super) async fn crash(&mut self) -> Result<(), StageError> {
        if let Some(life) = self.bot.take() {
            // Waits until every thread has ended, which frees the log's lock.
            let killed = tokio::task::spawn_blocking(move || life.runtime.shutdown_timeout(GRACE)).await;
            killed.map_err(|error| StageError::Bot(error.to_string()))?;
        }
        self.begin().await
    }

    /// People go on there.
    pub(super) fn go_on(&mut self, platform: Platform) -> Result<(), StageError> {
        if !self.setting.chat.has(platform) {
            return Err(StageError::NotSo("nobody is on that platform".into()));
        }
        self.at = platform;
        Ok(())
    }

    pub(super) fn pass(&self, minutes: u32) {
        self.clock.0.fetch_add(i64::from(minutes) * 60, Ordering::Relaxed);
    }

    pub(super) fn user(&self, name: &str) -> Result<String, StageError> {
        let found = self.workspace.users.iter().find(|user| user.name == name).map(|user| user.id.clone());
        let names = || self.workspace.users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| StageError::Nobody(name.to_owned(), names()))
    }

    pub(super) async fn types(&self, who: &str, channel: Option<&str>, command: &str) -> Result<(), StageError> {
        let command = match command.contains(REQUEST) {
            true => command.replace(REQUEST, &self.newest_request().await?),
            false => command.to_owned(),
        };
        if let Some(server) = self.played_on_discord() {
            return server.types(who, channel, &command).await;
        }
        let channel = match channel {
            None => CHANNEL.to_owned(),
            Some(name) => {
                let found = self.workspace.channels.iter().find(|channel| channel.name == name);
                found.map(|channel| channel.id.clone()).ok_or_else(|| StageError::NoChannel(name.to_owned()))?
            }
        };
        self.slack.type_command(&self.user(who)?, &channel, &command).await.map(drop)?;
        Ok(())
    }

    pub(super) async fn reacts(&self, who: &str, emoji: &str) -> Result<(), StageError> {
        if let Some(server) = self.played_on_discord() {
            return server.reacts(who, emoji, GRACE).await;
        }
        let plan = self.newest("plan message", "Approve").await?;
        Ok(self.slack.react(&self.user(who)?, CHANNEL, &plan.0, emoji).await?)
    }

    pub(super) async fn takes_back(&self, who: &str, emoji: &str) -> Result<(), StageError> {
        if let Some(server) = self.played_on_discord() {
            return server.takes_back(who, emoji, GRACE).await;
        }
        let plan = self.newest("plan message", "Approve").await?;
        Ok(self.slack.unreact(&self.user(who)?, CHANNEL, &plan.0, emoji).await?)
    }

    pub(super) async fn presses(&self, who: &str, label: &str) -> Result<(), StageError> {
        if let Some(server) = self.played_on_discord() {
            return server.presses(who, label, GRACE).await;
        }
        let (ts, action) = self.newest("button", label).await?;
        self.slack.click(&self.user(who)?, CHANNEL, &ts, &action).await.map(drop)?;
        Ok(())
    }

    /// The request of the newest plan message.
    async fn newest_request(&self) -> Result<String, StageError> {
        let text = match self.played_on_discord() {
            Some(server) => server.newest("plan message", "Approve", GRACE).await?.0.visible_text(),
            None => {
                let (plan, _) = self.newest("plan message", "Approve").await?;
                let entries = self.slack.channel_transcript(CHANNEL);
                entries.iter().find(|entry| entry.ts == plan).map(Entry::visible_text).unwrap_or_default()
            }
        };
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
        let id = text.split(word).find(|word| word.parse::<RequestId>().is_ok());
        id.map(ToOwned::to_owned).ok_or_else(|| StageError::NotThere("request id in the plan message".into(), text))
    }

    /// The newest message with a button of this label: its timestamp and the button's action.
    async fn newest(&self, what: &str, label: &str) -> Result<(String, String), StageError> {
        let button = |entry: &Entry| entry.buttons().into_iter().find(|button| button.text == label).map(|button| button.action_id);
        let find = |entries: Vec<Entry>| entries.iter().rev().find_map(|entry| button(entry).map(|action| (entry.ts.clone(), action)));
        let found = self.slack.wait_for(|view| find(view.channel_transcript(CHANNEL)), GRACE).await;
        found.map_err(|timed_out| StageError::NotThere(format!("{what} with `{label}`"), timed_out.transcript))
    }

    pub(super) async fn sees(&self, words: &str, whose: Whose<'_>, patience: Duration) -> Result<(), StageError> {
        if let Some(server) = self.played_on_discord() {
            return server.sees(words, whose, patience).await;
        }
        let reader = match whose {
            Whose::Reader(name) => Some(self.user(name)?),
            Whose::Channel | Whose::Thread => None,
        };
        let sees = |entry: &Entry| match whose {
            Whose::Channel => entry.thread_ts.is_none() && entry.only_for.is_none(),
            Whose::Thread => entry.thread_ts.is_some() && entry.only_for.is_none(),
            Whose::Reader(_) => entry.only_for == reader,
        };
        let holds = |entry: &Entry| sees(entry) && squeezed(&entry.visible_text()).contains(&squeezed(words));
        let everywhere: Vec<String> = self.workspace.channels.iter().map(|channel| channel.id.clone()).collect();
        let seen = self.slack.wait_until(|view| everywhere.iter().any(|id| view.channel_transcript(id).iter().any(&holds)), patience).await;
        seen.map_err(|timed_out| StageError::NotSo(format!("nobody sees that; {timed_out}")))
    }

    pub(super) fn happens(&mut self, event: &Happening) -> Result<(), StageError> {
        match event {
            Happening::RecreatePod { namespace, name } => drop(self.kubernetes.recreate_pod(namespace, name)?),
            Happening::MinAvailable { namespace, budget, count } => self.kubernetes.set_min_available(namespace, budget, *count)?,
            Happening::DaemonSet { namespace, name } => self.kubernetes.add_daemon_set(namespace, name)?,
            Happening::AllowAll { namespace, policy } => self.kubernetes.allow_all(namespace, policy),
            Happening::RecreateInstance { name } => drop(self.compute.recreate_instance(name)?),
            Happening::TouchTags { name, tag } => self.compute.touch_tags(name, tag)?,
            Happening::Untag { name, tag } => self.compute.untag(name, tag)?,
            Happening::LoseAnswers { api, method, part, times } => {
                let wire = match api {
                    Api::Kubernetes => self.kubernetes.wire(),
                    Api::Compute => self.compute.wire(),
                };
                let method = Method::from_bytes(method.as_bytes()).ok();
                wire.inject(FaultRule { method, uri_contains: part.clone(), skip: 0, times: *times, fault: Fault::ResetAfter });
            }
            Happening::Node { name, answers: true } => self.kubernetes.set_node_ready(name)?,
            Happening::Node { name, answers: false } => self.kubernetes.set_node_unreachable(name)?,
            Happening::DeleteSnapshots { disk } => self.compute.delete_snapshots(disk)?,
            Happening::CutSockets => match self.played_on_discord() {
                Some(server) => server.emulator.drop_gateway(GatewayDrop::Cut),
                None => self.slack.cut_sockets(),
            },
            Happening::PrivilegedPods => {
                let through: PrivilegedPod = serde_json::from_value(serde_json::json!({
                    "namespace": "stanch-privileged", "image": format!("registry.example/node-tools@sha256:{}", "5".repeat(64)),
                }))
                .map_err(io::Error::from)?;
                self.kubernetes.add_namespace(through.namespace.as_str());
                self.privileged_pod = Some(through);
            }
        }
        Ok(())
    }

    /// No call that changes anything, except snapshots.
    pub(super) fn nothing_was_written(&self) -> Result<(), StageError> {
        let kubernetes = self.kubernetes.wire().exchanges().into_iter();
        // Reviews of access are asked by POST and change nothing.
        let writes = kubernetes.filter(|call| call.method != "GET" && !call.path.contains("accessreviews"));
        let mut written: Vec<String> = writes.map(|call| format!("{} {}", call.method, call.path)).collect();
        let compute = self.compute.mutating_calls().into_iter().map(|call| call.method);
        written.extend(compute.filter(|method| !method.ends_with("createSnapshot") && !method.ends_with("snapshots.insert")));
        match written.is_empty() {
            true => Ok(()),
            false => Err(StageError::NotSo(format!("these calls were made: {}", written.join(", ")))),
        }
    }

    /// The suspect's node, judged by the state of the emulators alone.
    pub(super) fn is_isolated(&self) -> Result<(), StageError> {
        let open = self.what_is_open();
        match open.is_empty() {
            true => Ok(()),
            false => Err(StageError::NotSo(format!("the node is not isolated: {}", open.join("; ")))),
        }
    }

    /// What an emulated API holds at a path of its `snapshot_state`.
    pub(super) fn holds(&self, api: Api, path: &str, wanted: &Value) -> Result<(), StageError> {
        let state = match api {
            Api::Kubernetes => self.kubernetes.snapshot_state(),
            Api::Compute => self.compute.snapshot_state(),
        };
        let found = state.pointer(&format!("/{path}")).unwrap_or(&Value::Null);
        match found == wanted {
            true => Ok(()),
            false => Err(StageError::NotSo(format!("{path} is {found}"))),
        }
    }

    fn what_is_open(&self) -> Vec<String> {
        let mut open = Vec::new();
        let mut judge = |closed: bool, words: &str| {
            if !closed {
                open.push(words.to_owned());
            }
        };
        let (namespace, pod) = World::SUSPECT;
        let (kubernetes, compute) = (self.kubernetes.snapshot_state(), self.compute.snapshot_state());
        let suspect = kubernetes.pointer(&format!("/pods/{namespace}~1{pod}")).unwrap_or(&Value::Null);
        let name = suspect.get("node").and_then(Value::as_str).unwrap_or_default();
        let node = kubernetes.pointer(&format!("/nodes/{name}")).unwrap_or(&Value::Null);
        let instance = compute.pointer(&format!("/instances/{name}")).unwrap_or(&Value::Null);
        judge(!suspect.is_null(), "the suspect is gone");
        judge(node.get("unschedulable") == Some(&Value::Bool(true)), "the node is not cordoned");
        let tag = texts(instance, "tags").into_iter().find(|tag| tag.starts_with("quarantine"));
        judge(tag.is_some(), "the instance carries no quarantine tag");
        let projects = compute.get("firewalls").and_then(Value::as_object).into_iter().flatten().map(|(_, rules)| rules);
        let rules = projects.filter_map(Value::as_object).flatten().map(|(_, rule)| rule.to_string());
        let rules: Vec<String> = rules.filter(|rule| tag.as_ref().is_some_and(|tag| rule.contains(&format!("\"{tag}\"")))).collect();
        for direction in ["INGRESS", "EGRESS"] {
            judge(rules.iter().any(|rule| rule.contains(direction) && rule.contains("denied")), &format!("no rule denies {direction}"));
        }
        let empty = |configs: Option<&Value>| configs.and_then(Value::as_object).is_none_or(serde_json::Map::is_empty);
        let interfaces = instance.get("interfaces").and_then(Value::as_object).into_iter().flatten();
        let closed = |interface: &Value| empty(interface.get("accessConfigs")) && empty(interface.get("ipv6AccessConfigs"));
        judge(interfaces.into_iter().all(|(_, interface)| closed(interface)), "the instance has an external address");
        let groups = compute.get("groups").map(Value::to_string).unwrap_or_default();
        judge(!groups.contains(name), "a group still lists the instance");
        open
    }
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    let items = value.get(field).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

/// Every run of white space as one space.
pub(super) fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::is_here;

    #[test]
    fn only_loopback_is_here() {
        for here in ["http://127.0.0.1:8080", "http://127.0.0.1:1/api", "http://[::1]:9"] {
            assert!(is_here(here), "{here}");
        }
        // A name could lead anywhere.
        for elsewhere in ["https://compute.googleapis.com", "http://localhost:1", "http://10.0.0.1", "http://127.0.0.1.example.com", ""] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}
