//! `config/stanch.toml` as a value: which clusters, which channels, which limits. It holds no secret, only where secrets are.

mod discord;
mod node_access;
mod section;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use stanch_commands::definition::Limits;
use stanch_commands::plan::Form;
use stanch_commands::runtime::PrivilegedPod;
use stanch_commands::target::{ClusterName, Location, ProjectId};
use url::Url;

use crate::core::identity::{ChannelRef, Platform};
use crate::core::policy::Policy;
pub use node_access::{Ssh, private_key};
use section::Section;

/// The configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Form of the procedure.
    pub form: Form,
    /// Limits that plans write into their steps.
    pub limits: Limits,
    /// Clusters by name; at least one.
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// The Slack app. There is at least one of the two platforms.
    pub slack: Option<Slack>,
    /// The Discord application.
    pub discord: Option<Discord>,
    /// The channels where changes may be asked for, each with its default cluster, which is one of `clusters`.
    pub channels: BTreeMap<ChannelRef, ClusterName>,
    /// Channels that show the same requests, one of each platform, both ways.
    pub shared: BTreeMap<ChannelRef, ChannelRef>,
    /// The channels that see the signed head of the audit log every day.
    pub witnesses: Vec<ChannelRef>,
    /// Evidence beyond the data folder.
    pub evidence: Evidence,
    /// Where Compute Engine answers, if not at Google's own address: loopback, or over https.
    pub compute_endpoint: Option<Url>,
    /// The pod that reaches the node under it, if that is switched on.
    pub privileged_pod: Option<PrivilegedPod>,
    /// The way onto nodes over SSH, if there is one.
    pub ssh: Option<Ssh>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its Google Cloud project. An instance of another project is refused.
    pub project: ProjectId,
    /// Its zone or region.
    pub location: Location,
    /// How its API is reached.
    pub access: Access,
}

/// How a cluster's API is reached. There is no fall-back: whatever context is current on the machine is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// By a context of a kubeconfig.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context.
        context: String,
    },
    /// As the pod's own service account.
    InCluster,
}

/// The Slack app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slack {
    /// The bot token (`xoxb-…`).
    pub bot_token: SecretSource,
    /// The app-level token (`xapp-…`).
    pub app_token: SecretSource,
    /// The workspace; anything from another one is ignored.
    pub team_id: Option<String>,
    /// The reactions that vote.
    pub emoji: Emoji,
}

/// What becomes of evidence, beyond the data folder that always keeps it first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Where copies go.
    pub bucket: Option<Bucket>,
    /// Most bytes of redacted evidence that one step shows in the chat; `None`: nothing is attached.
    pub attach_limit_bytes: Option<usize>,
    /// Where Cloud Storage answers, if not at Google's own address: loopback, or over https. It gets no token.
    pub endpoint: Option<Url>,
}

/// A place for copies of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// A bucket of Google Cloud Storage.
    Gcs {
        /// Its name.
        bucket: String,
        /// What all names in it begin with; may be empty.
        prefix: String,
    },
    /// A folder that is there already, such as a mounted disk.
    Folder(PathBuf),
}

/// The Discord application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discord {
    /// The bot's token.
    pub bot_token: SecretSource,
    /// Id of the application.
    pub application_id: String,
    /// The server; anything from another one is turned away.
    pub guild_id: String,
    /// Whether the slash command is registered wherever the application is installed, instead of in this server alone.
    pub global_commands: bool,
    /// The reactions that vote: the characters themselves, or `NAME:ID`.
    pub emoji: Emoji,
}

/// Reactions; those of Slack by their names, without colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emoji {
    /// Approves.
    pub yes: String,
    /// Declines.
    pub no: String,
    /// Stops a run.
    pub halt: String,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In this environment variable.
    Env(String),
    /// In this file; white space at its ends is no part of the secret.
    File(PathBuf),
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// A secret cannot be read. Never says anything of the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretMissing {
    /// No such variable, or an empty one.
    #[error("the environment variable `{0}` is not set; it is to hold a secret that config/stanch.toml names")]
    Env(String),
    /// No such file, or an empty or unreadable one.
    #[error("cannot read a secret from `{}`: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Reads a secret.
///
/// # Errors
/// [`SecretMissing`], which names what is missing.
pub fn secret(source: &SecretSource) -> Result<SecretString, SecretMissing> {
    let text = match source {
        SecretSource::Env(name) => std::env::var(name).map_err(|_| SecretMissing::Env(name.clone()))?,
        SecretSource::File(path) => {
            std::fs::read_to_string(path).map_err(|error| SecretMissing::File { path: path.clone(), why: error.to_string() })?
        }
    };
    match (text.trim(), source) {
        ("", SecretSource::Env(name)) => Err(SecretMissing::Env(name.clone())),
        ("", SecretSource::File(path)) => Err(SecretMissing::File { path: path.clone(), why: "it is empty".into() }),
        (secret, _) => Ok(SecretString::from(secret)),
    }
}

impl Config {
    /// Reads a configuration and checks it. Unknown keys are errors: a misspelt limit must not silently be the default.
    ///
    /// # Errors
    /// Every problem at once; text that is no TOML is one problem.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let table = text.parse().map_err(|error: toml::de::Error| ConfigError(vec![error.to_string()]))?;
        let mut root = Section::root(table);
        let form = form(&mut root);
        let limits = limits(&mut root);
        let clusters = clusters(&mut root);
        let slack = root.was_given("slack").then(|| slack(&mut root));
        let discord = discord::discord(&mut root);
        if slack.is_none() && discord.is_none() {
            root.problem("there is neither [slack] nor [discord]");
        }
        let (channels, shared) = channels(&mut root, &clusters);
        let witnesses = witnesses(&mut root);
        let evidence = evidence(&mut root);
        let compute_endpoint = root.section("compute").and_then(|mut section| {
            let endpoint = section.checked("endpoint", endpoint);
            root.adopt(section);
            endpoint
        });
        let (privileged_pod, ssh) = (node_access::privileged_pod(&mut root), node_access::ssh(&mut root));
        // A cluster with a problem of its own is known by name, so that channels are not blamed for it.
        let clusters = clusters.into_iter().filter_map(|(name, cluster)| Some((name, cluster?))).collect();
        match root.finish() {
            problems if problems.is_empty() => {
                let (slack, discord) = (slack.flatten(), discord.flatten());
                Ok(Self {
                    form,
                    limits,
                    clusters,
                    slack,
                    discord,
                    channels,
                    shared,
                    witnesses,
                    evidence,
                    compute_endpoint,
                    privileged_pod,
                    ssh,
                })
            }
            problems => Err(ConfigError(problems)),
        }
    }

    /// What does not fit together between this configuration and a policy: permits for clusters that are not configured.
    #[must_use]
    pub fn problems_with(&self, policy: &Policy) -> Vec<String> {
        let known = |name: &str| name == "*" || self.clusters.keys().any(|cluster| cluster.as_str() == name);
        let named = policy.permits.iter().flat_map(|permit| permit.clusters.iter().map(move |cluster| (permit, cluster)));
        let unknown = named.filter(|(_, cluster)| !known(cluster));
        unknown.map(|(permit, cluster)| format!("permit `{}` names cluster `{cluster}`, which is not configured", permit.id)).collect()
    }
}

fn form(root: &mut Section) -> Form {
    let form = root.checked("form", |text| match text {
        "strict" => Ok(Form::Strict),
        "guide" => Ok(Form::Guide),
        _ => Err("must be \"strict\" or \"guide\"".into()),
    });
    form.unwrap_or_default()
}

/// The ranges keep a slip of the finger from stalling containment (evidence), from giving up at once (drain), or from changing what the
/// approvers saw beyond recognition (newcomers). A snapshot older than a day is no picture of the incident.
fn limits(root: &mut Section) -> Limits {
    let default = Limits::default();
    let Some(mut section) = root.section("limits") else { return default };
    let limits = Limits {
        evidence_deadline_s: section.number("evidence_deadline_s", 1..=600).unwrap_or(default.evidence_deadline_s),
        drain_deadline_s: section.number("drain_deadline_s", 10..=3_600).unwrap_or(default.drain_deadline_s),
        drain_newcomers: section.number("drain_newcomers", 0..=256).unwrap_or(default.drain_newcomers),
        snapshot_reuse_s: section.number("snapshot_reuse_s", 0..=86_400).map_or(default.snapshot_reuse_s, u64::from),
    };
    root.adopt(section);
    limits
}

fn clusters(root: &mut Section) -> BTreeMap<ClusterName, Option<Cluster>> {
    let mut clusters = BTreeMap::new();
    let Some(mut section) = root.section("clusters") else {
        root.problem("there is no [clusters.NAME]");
        return clusters;
    };
    for name in section.keys() {
        let Some(mut entry) = section.section(&name) else { continue };
        match name.parse::<ClusterName>() {
            Ok(name) => drop(clusters.insert(name, cluster(&mut entry))),
            Err(error) => entry.problem(error),
        }
        section.adopt(entry);
    }
    root.adopt(section);
    if clusters.is_empty() {
        root.problem("there is no valid [clusters.NAME]");
    }
    clusters
}

fn cluster(section: &mut Section) -> Option<Cluster> {
    let project = section.required("project", |text| text.parse::<ProjectId>().map_err(|error| error.to_string()));
    let location = section.required("location", |text| text.parse::<Location>().map_err(|error| error.to_string()));
    let path = section.text("kubeconfig");
    let context = section.text("context");
    let access = match (path, context, section.flag("in_cluster").unwrap_or(false)) {
        (Some(path), Some(context), false) => Some(Access::Kubeconfig { path: path.into(), context }),
        (None, None, true) => Some(Access::InCluster),
        (Some(_), None, false) => section.refuse("`kubeconfig` needs `context`: the current context of a file can change under you"),
        (None, Some(_), false) => section.refuse("`context` needs `kubeconfig`"),
        (None, None, false) => section.refuse("needs either `kubeconfig` and `context`, or `in_cluster = true`"),
        (_, _, true) => section.refuse("has both `in_cluster = true` and `kubeconfig` or `context`"),
    };
    Some(Cluster { project: project?, location: location?, access: access? })
}

fn slack(root: &mut Section) -> Option<Slack> {
    let mut section = root.section("slack")?;
    let bot_token = source(&mut section, "bot_token");
    let app_token = source(&mut section, "app_token");
    let team_id = section.checked("team_id", |text| slack_id(text, &['T'], "workspace"));
    let mut emoji = Emoji { yes: "white_check_mark".into(), no: "x".into(), halt: "octagonal_sign".into() };
    if let Some(mut names) = section.section("emoji") {
        for (key, name) in [("yes", &mut emoji.yes), ("no", &mut emoji.no), ("halt", &mut emoji.halt)] {
            names.checked(key, emoji_name).into_iter().for_each(|chosen| *name = chosen);
        }
        if BTreeSet::from([&emoji.yes, &emoji.no, &emoji.halt]).len() < 3 {
            names.problem("`yes`, `no` and `halt` must differ");
        }
        section.adopt(names);
    }
    root.adopt(section);
    Some(Slack { bot_token: bot_token?, app_token: app_token?, team_id, emoji })
}

fn source(section: &mut Section, name: &str) -> Option<SecretSource> {
    let (env, file) = (format!("{name}_env"), format!("{name}_file"));
    let variable = section.checked(&env, |text| {
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        match !text.is_empty() && text.chars().all(plain) {
            true => Ok(text.to_owned()),
            // Not shown: somebody may have put the token itself here.
            false => Err("must be the name of an environment variable, in capitals; a secret has no place here".into()),
        }
    });
    match (variable, section.text(&file)) {
        (Some(variable), None) => Some(SecretSource::Env(variable)),
        (None, Some(path)) => Some(SecretSource::File(path.into())),
        (Some(_), Some(_)) => section.refuse(format!("has both `{env}` and `{file}`")),
        (None, None) if section.was_given(&env) || section.was_given(&file) => None,
        (None, None) => section.refuse(format!("needs `{env}` or `{file}`")),
    }
}

/// Channels with their clusters, and those that show the same requests, both ways.
type Channels = (BTreeMap<ChannelRef, ClusterName>, BTreeMap<ChannelRef, ChannelRef>);

fn channels(root: &mut Section, clusters: &BTreeMap<ClusterName, Option<Cluster>>) -> Channels {
    let (mut channels, mut shared) = (BTreeMap::new(), BTreeMap::new());
    let only = clusters.keys().next().filter(|_| clusters.len() == 1);
    let sections = root.sections("channels");
    let is_empty = sections.is_empty();
    for mut section in sections {
        let ids = channel_ids(root, &mut section);
        if !["slack", "discord"].into_iter().any(|platform| section.was_given(platform)) {
            section.problem("needs `slack` or `discord`");
        }
        let given = section.checked("cluster", |text| match clusters.keys().find(|name| name.as_str() == text) {
            Some(name) => Ok(name.clone()),
            None => Err(format!("names `{text}`, which is not under [clusters]")),
        });
        let cluster = match (given, section.was_given("cluster")) {
            (Some(cluster), _) => Some(cluster),
            (None, true) => None,
            (None, false) => only.cloned().or_else(|| section.refuse("needs `cluster`, unless there is exactly one")),
        };
        match (section.flag("shared"), ids.as_slice()) {
            (Some(true), [one, other]) => shared.extend([(one.clone(), other.clone()), (other.clone(), one.clone())]),
            (Some(true), _) => section.problem("`shared` needs both `slack` and `discord`"),
            (Some(false) | None, _) => {}
        }
        for channel in ids {
            if let Some(cluster) = &cluster
                && channels.insert(channel.clone(), cluster.clone()).is_some()
            {
                section.problem(format!("channel `{}` is there twice", channel.id));
            }
        }
        root.adopt(section);
    }
    if is_empty {
        root.problem("there is no [[channels]], so nothing could be asked for anywhere");
    }
    (channels, shared)
}

fn witnesses(root: &mut Section) -> Vec<ChannelRef> {
    let Some(mut section) = root.section("audit") else { return Vec::new() };
    let channels = channel_ids(root, &mut section);
    root.adopt(section);
    channels
}

/// The channels of a section: one of Slack, one of Discord, or both.
fn channel_ids(root: &Section, section: &mut Section) -> Vec<ChannelRef> {
    let slack = section.checked("slack", |text| slack_id(text, &['C', 'G'], "channel"));
    let discord = section.checked("discord", |text| discord::snowflake(text, "channel"));
    for platform in ["slack", "discord"] {
        if section.was_given(platform) && !root.was_given(platform) {
            section.problem(format!("`{platform}` needs [{platform}]"));
        }
    }
    let of = |platform, id: Option<String>| id.map(|id| ChannelRef { platform, id });
    of(Platform::Slack, slack).into_iter().chain(of(Platform::Discord, discord)).collect()
}

fn slack_id(text: &str, starts: &[char], what: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    match (2..=32).contains(&text.len()) && text.starts_with(starts) && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(format!("must be the id of a Slack {what}, such as `{}012ABCDEF`, not its name", starts.first().unwrap_or(&'C'))),
    }
}

fn emoji_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '+' | '-' | '\'');
    match (1..=100).contains(&text.len()) && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("must be the name of a reaction without colons, such as `white_check_mark`".into()),
    }
}

fn evidence(root: &mut Section) -> Evidence {
    let Some(mut section) = root.section("evidence") else { return Evidence::default() };
    // A file of more than this is not read in a chat.
    let limit_kib = section.number("attach_limit_kib", 1..=1_024).unwrap_or(256);
    let attach_limit_bytes = section.flag("attach").unwrap_or(false).then(|| usize::try_from(limit_kib).unwrap_or(0).saturating_mul(1_024));
    let evidence =
        Evidence { bucket: section.checked("bucket", bucket), attach_limit_bytes, endpoint: section.checked("endpoint", endpoint) };
    if evidence.endpoint.is_some() && matches!(evidence.bucket, Some(Bucket::Folder(_))) {
        section.problem("`endpoint` is for buckets, `bucket` is a folder");
    }
    root.adopt(section);
    evidence
}

/// Longest prefix of a bucket, in characters: an object's name has 1,024 bytes, and a path of evidence some 600.
const PREFIX_LENGTH: usize = 200;

/// `gs://BUCKET/PREFIX`, by Google's rules for buckets, or `file:///FOLDER`.
fn bucket(text: &str) -> Result<Bucket, String> {
    if let Some(path) = text.strip_prefix("file://") {
        let path = PathBuf::from(path);
        return if path.is_absolute() { Ok(Bucket::Folder(path)) } else { Err("must have three slashes: `file:///FOLDER`".into()) };
    }
    let Some(rest) = text.strip_prefix("gs://") else { return Err("must be `gs://BUCKET/PREFIX` or `file:///FOLDER`".into()) };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let named = (3..=222).contains(&bucket.len())
        && bucket.chars().all(|c| edge(c) || matches!(c, '-' | '_' | '.'))
        && bucket.starts_with(edge)
        && bucket.ends_with(edge);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let segment = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
    match (named, prefix.is_empty() || (prefix.len() <= PREFIX_LENGTH && prefix.split('/').all(segment))) {
        (true, true) => Ok(Bucket::Gcs { bucket: bucket.into(), prefix: prefix.into() }),
        (false, _) => Err(format!("names no bucket: `{bucket}` is not 3 to 222 of a-z, 0-9, `-`, `_` and `.`")),
        (true, false) => Err("has an unusual prefix: segments of letters, digits, `.`, `_` and `-`, none with a leading dot".into()),
    }
}

/// The identity of the workload goes with every request, so that plain http may not leave the machine.
fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match (url.scheme(), is_loopback) {
        _ if !url.username().is_empty() || url.password().is_some() => Err("must not hold credentials".into()),
        ("https", _) | ("http", true) => Ok(url),
        _ => Err("must be https, or http on loopback".into()),
    }
}
