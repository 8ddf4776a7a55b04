//! `config/stanch.toml` as a value. Holds no secret: only the names of environment variables and files that do.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;
use stanch_commands::definition::Limits;
use stanch_commands::facts::ClusterFacts;
use stanch_commands::plan::Form;
use stanch_commands::target::{ClusterName, Location, ProjectId};

use crate::core::identity::{ChannelRef, Platform};
use crate::core::policy::{Permit, Policy};

/// The configuration. Unknown keys are errors: a misspelt limit must not silently be the default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Form of the procedure.
    #[serde(default)]
    pub form: Form,
    /// Limits of plans.
    #[serde(default)]
    pub limits: Limits,
    /// Clusters by name.
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// Channels in which mutations may be asked for. There are none in direct messages.
    pub channels: Vec<Channel>,
    /// Slack.
    pub slack: Slack,
    /// The Compute Engine API.
    #[serde(default)]
    pub compute: Compute,
}

/// A cluster. There is no fall-back to a current context.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Project of its nodes.
    pub project: ProjectId,
    /// Its zone or region.
    pub location: Location,
    /// Kubeconfig file; needs `context`.
    pub kubeconfig: Option<PathBuf>,
    /// Context in that file.
    pub context: Option<String>,
    /// Stanch runs in this cluster and uses its own service account.
    #[serde(default)]
    pub in_cluster: bool,
}

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// By a context of a kubeconfig file.
    Kubeconfig(PathBuf, String),
    /// From inside.
    InCluster,
}

/// A channel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Slack channel id, `C…`.
    pub slack: String,
    /// Its default cluster; may be left out if there is only one.
    pub cluster: Option<ClusterName>,
}

/// Slack. Tokens come from environment variables, or from files as secret stores mount them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// Variable with the bot token, `xoxb-…`.
    pub bot_token_env: Option<String>,
    /// File with the bot token.
    pub bot_token_file: Option<PathBuf>,
    /// Variable with the app-level token, `xapp-…`.
    pub app_token_env: Option<String>,
    /// File with the app-level token.
    pub app_token_file: Option<PathBuf>,
    /// The workspace; accounts of others never count.
    pub team_id: Option<String>,
    /// Names of the emoji that vote.
    #[serde(default)]
    pub emoji: Emoji,
}

/// Names of the emoji that vote, without colons.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Emoji {
    /// Yes.
    pub yes: String,
    /// No.
    pub no: String,
    /// Halt.
    pub halt: String,
}

impl Default for Emoji {
    fn default() -> Self {
        Self { yes: "white_check_mark".into(), no: "x".into(), halt: "octagonal_sign".into() }
    }
}

/// The Compute Engine API.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compute {
    /// Another address than Google's: https, or http on loopback. It gets no credentials.
    pub endpoint: Option<String>,
}

/// What is wrong with a configuration, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// A secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("the environment variable `{variable}` is not set; it is to hold the {what}")]
    Unset {
        /// What is missing.
        what: &'static str,
        /// The variable.
        variable: String,
    },
    /// The file cannot be read.
    #[error("cannot read the {what} from `{}`", path.display())]
    Unreadable {
        /// What is missing.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("the {what} is empty")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
}

impl Config {
    /// Reads a configuration and checks it.
    ///
    /// # Errors
    /// Every problem at once, a line each.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError(vec![error.to_string()]))?;
        match config.problems() {
            problems if problems.is_empty() => Ok(config),
            problems => Err(ConfigError(problems)),
        }
    }

    /// What a policy says that this configuration contradicts.
    #[must_use]
    pub fn contradictions(&self, policy: &Policy) -> Vec<String> {
        let known = |name: &str| name == "*" || self.clusters.keys().any(|cluster| cluster.as_str() == name);
        let unknown = |permit: &Permit| {
            let clusters = permit.clusters.iter().filter(|name| !known(name));
            clusters.map(|name| format!("permit `{}` names cluster `{name}`, which is not configured", permit.id)).collect::<Vec<_>>()
        };
        policy.permits.iter().flat_map(unknown).collect()
    }

    /// The channels with their default clusters.
    #[must_use]
    pub fn channels(&self) -> BTreeMap<ChannelRef, Option<ClusterName>> {
        let channel = |channel: &Channel| (ChannelRef { platform: Platform::Slack, id: channel.slack.clone() }, channel.cluster.clone());
        self.channels.iter().map(channel).collect()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.clusters.is_empty() {
            problems.push("no cluster: add [clusters.NAME] with project, location and context".into());
        }
        problems
            .extend(self.clusters.iter().filter_map(|(name, cluster)| cluster.access().err().map(|why| format!("clusters.{name}: {why}"))));
        if self.channels.is_empty() {
            problems.push("no channel: add [[channels]] with slack = \"C…\", or nobody can ask for anything".into());
        }
        let mut seen = std::collections::BTreeSet::new();
        for channel in &self.channels {
            if !seen.insert(&channel.slack) {
                problems.push(format!("channel `{}` is there twice", channel.slack));
            }
            if !channel.slack.starts_with(['C', 'G']) {
                problems
                    .push(format!("channel `{}` is no channel id: ids start with C or G, direct messages are not admitted", channel.slack));
            }
            match &channel.cluster {
                Some(name) if !self.clusters.contains_key(name) => {
                    problems.push(format!("channel `{}` names cluster `{name}`, which is not under [clusters]", channel.slack));
                }
                None if self.clusters.len() > 1 => {
                    problems.push(format!("channel `{}` needs cluster = \"NAME\", since there are several", channel.slack));
                }
                Some(_) | None => {}
            }
        }
        problems.extend(self.slack.problems());
        problems.extend(self.limit_problems());
        if let Some(endpoint) = &self.compute.endpoint
            && !admitted_endpoint(endpoint)
        {
            problems.push(format!("compute.endpoint `{endpoint}` must be https, or http on loopback"));
        }
        problems
    }

    /// Bounds within which a plan still makes sense.
    fn limit_problems(&self) -> Vec<String> {
        let limits = &self.limits;
        let bounds = [
            ("evidence_deadline_s", u64::from(limits.evidence_deadline_s), 1, 300),
            ("drain_deadline_s", u64::from(limits.drain_deadline_s), 10, 3_600),
            ("drain_newcomers", u64::from(limits.drain_newcomers), 0, 100),
            ("snapshot_reuse_s", limits.snapshot_reuse_s, 0, 86_400),
        ];
        let outside = bounds.into_iter().filter(|(_, value, least, most)| !(least..=most).contains(&value));
        outside.map(|(name, value, least, most)| format!("limits.{name} is {value}, but must be {least} to {most}")).collect()
    }
}

fn admitted_endpoint(endpoint: &str) -> bool {
    let Ok(url) = url::Url::parse(endpoint) else { return false };
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

impl Cluster {
    /// How it is reached.
    ///
    /// # Errors
    /// If the configuration does not say exactly one way.
    pub fn access(&self) -> Result<Access, &'static str> {
        match (&self.kubeconfig, &self.context, self.in_cluster) {
            (Some(file), Some(context), false) => Ok(Access::Kubeconfig(file.clone(), context.clone())),
            (None, None, true) => Ok(Access::InCluster),
            (Some(_), None, false) => Err("kubeconfig needs context: there is no fall-back to the current one"),
            (None, Some(_), false) => Err("context needs kubeconfig, the file that it is in"),
            (None, None, false) => Err("say how to reach it: kubeconfig and context, or in_cluster = true"),
            (_, _, true) => Err("in_cluster = true excludes kubeconfig and context"),
        }
    }

    /// What plans need to know of it.
    #[must_use]
    pub fn facts(&self, name: &ClusterName) -> ClusterFacts {
        ClusterFacts { name: name.clone(), project: self.project.clone(), location: self.location.clone() }
    }
}

impl Slack {
    /// The bot token.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn bot_token(&self) -> Result<SecretString, SecretError> {
        secret("Slack bot token", self.bot_token_env.as_deref(), self.bot_token_file.as_deref())
    }

    /// The app-level token.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn app_token(&self) -> Result<SecretString, SecretError> {
        secret("Slack app-level token", self.app_token_env.as_deref(), self.app_token_file.as_deref())
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, variable, file) in [
            ("bot_token", self.bot_token_env.is_some(), self.bot_token_file.is_some()),
            ("app_token", self.app_token_env.is_some(), self.app_token_file.is_some()),
        ] {
            if variable == file {
                problems.push(format!("slack: give exactly one of {name}_env and {name}_file"));
            }
        }
        for variable in self.bot_token_env.iter().chain(&self.app_token_env) {
            if variable.starts_with("xox") || variable.starts_with("xapp") {
                problems.push("slack: a token stands where the name of a variable belongs; take it out, and revoke it".into());
            }
        }
        let emoji = [&self.emoji.yes, &self.emoji.no, &self.emoji.halt];
        let distinct: std::collections::BTreeSet<_> = emoji.iter().collect();
        if distinct.len() < emoji.len() || emoji.iter().any(|name| name.is_empty() || name.contains(':')) {
            problems.push("slack.emoji: yes, no and halt must be three different names without colons".into());
        }
        problems
    }
}

/// A secret from a variable or a file.
fn secret(what: &'static str, variable: Option<&str>, file: Option<&Path>) -> Result<SecretString, SecretError> {
    let text = match (variable, file) {
        (Some(variable), _) => std::env::var(variable).map_err(|_| SecretError::Unset { what, variable: variable.to_owned() })?,
        (None, Some(path)) => {
            std::fs::read_to_string(path).map_err(|source| SecretError::Unreadable { what, path: path.to_owned(), source })?
        }
        (None, None) => String::new(),
    };
    match text.trim() {
        "" => Err(SecretError::Empty { what }),
        token => Ok(SecretString::from(token.to_owned())),
    }
}
