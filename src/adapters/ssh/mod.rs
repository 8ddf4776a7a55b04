//! Nodes over SSH, through an intermediate VM: what is left when a node's kubelet does not answer.
//!
//! Both machines are asked for their host keys, and only keys that an operator vouched for are trusted. Where they are is asked of Compute
//! in the same step, by their numeric ids. No agent is forwarded, no shell is interpolated: a program is a list of plain words.

mod hop;
mod known_hosts;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use russh::keys::{PrivateKey, decode_secret_key};
use secrecy::{ExposeSecret as _, SecretString};
use stanch_commands::action::SshAction;
use stanch_commands::facts::InstanceAddresses;
use stanch_commands::runtime::{Ending, Ran, SshRoute, line};
use stanch_commands::target::InstanceRef;
use tokio::net::TcpStream;

pub use self::known_hosts::{KnownHosts, KnownHostsError, Verdict, alias};

use self::hop::{Hop, Host, Trouble};
use crate::core::diagnosis::Check;
use crate::core::ending::{Next, Walk, observed};
use crate::core::step::{Call, Failure, FailureKind, Licence, Observation, Outcome, Performed};
use crate::ports::{Actuator, Examined, SurveyError, Surveyor};

/// How nodes are reached.
#[derive(Clone)]
pub struct SshSettings {
    /// Stanch's own key, in OpenSSH's format and without a passphrase.
    pub private_key: SecretString,
    /// The host keys that are trusted.
    pub known_hosts: PathBuf,
    /// Where sshd listens on both machines.
    pub port: u16,
    /// For one machine to let us in: two round trips through a VPC, and a sleepy VM.
    pub connect_limit: Duration,
    /// For one program: `stop` waits 10 s, and a runtime under attack is slow.
    pub run_limit: Duration,
}

impl SshSettings {
    /// With the usual limits.
    #[must_use]
    pub fn new(private_key: SecretString, known_hosts: PathBuf, port: u16) -> Self {
        Self { private_key, known_hosts, port, connect_limit: Duration::from_secs(15), run_limit: Duration::from_secs(60) }
    }
}

/// The key is of no use.
#[derive(Debug, thiserror::Error)]
#[error("the private key for SSH is none that Stanch can use: ed25519 or ecdsa in OpenSSH's format, without a passphrase")]
pub struct UnusableKey;

/// Where instances are, asked freshly.
pub type Addresses = Arc<dyn Surveyor<InstanceRef, Option<InstanceAddresses>>>;

/// Nodes, over SSH.
#[derive(Clone)]
pub struct SshNodes {
    key: Arc<PrivateKey>,
    settings: SshSettings,
    addresses: Addresses,
}

/// Both connections; the outer one carries the inner one.
struct Path {
    host: Hop,
    _intermediate: Hop,
}

impl SshNodes {
    /// Sets the way up. Connects to nothing yet.
    ///
    /// # Errors
    /// [`UnusableKey`].
    pub fn new(settings: SshSettings, addresses: Addresses) -> Result<Self, UnusableKey> {
        // The library's words may hold a part of what it could not read.
        let key = decode_secret_key(settings.private_key.expose_secret(), None).map_err(|_| UnusableKey)?;
        Ok(Self { key: Arc::new(key), settings, addresses })
    }

    /// Connects to the instance through the intermediate. Nothing was run when this fails.
    async fn path(&self, instance: &InstanceRef, via: &InstanceRef, route: &SshRoute) -> Result<Path, Outcome> {
        let known = KnownHosts::read(&self.settings.known_hosts)
            .map_err(|error| failed(FailureKind::Refused, error.to_string(), "known_hosts_file of [ssh] in config/stanch.toml names it"))?;
        let known = Arc::new(known);
        let here = self.address(via, route, route.login.externally).await?;
        let there = self.address(instance, route, false).await?;
        let (limit, port) = (self.settings.connect_limit, self.settings.port);
        let name = format!("intermediate {}", via.name);
        let unreachable = |why: String| ended(Trouble::Unreachable { name: name.clone(), why });
        let stream = match tokio::time::timeout(limit, TcpStream::connect((here.as_str(), port))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(format!("{here}:{port}: {error}"))),
            Err(_) => return Err(unreachable(format!("{here}:{port}: nothing within {} s", limit.as_secs()))),
        };
        let user = route.login.user.as_str();
        let jump = Host { name: name.clone(), alias: alias(via), user, key: &self.key, known: &known };
        let intermediate = Hop::over(stream, &jump, limit).await.map_err(ended)?;
        let stream = intermediate.forward(&there, port, limit).await.map_err(ended)?;
        let host = Host { name: format!("instance {}", instance.name), alias: alias(instance), ..jump };
        let host = Hop::over(stream, &host, limit).await.map_err(ended)?;
        Ok(Path { host, _intermediate: intermediate })
    }

    /// Where an instance is at this moment, if it is the one that is bound.
    async fn address(&self, instance: &InstanceRef, route: &SshRoute, externally: bool) -> Result<String, Outcome> {
        let name = &instance.name;
        let found = match self.addresses.survey(instance).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                return Err(failed(FailureKind::Stale, format!("instance {name} is gone or is another one now"), "ask again"));
            }
            Err(SurveyError::Refused(why)) => {
                return Err(failed(FailureKind::Refused, why, "compare the bot's role with deploy/gcp/role.yaml"));
            }
            Err(error @ (SurveyError::NotFound(_) | SurveyError::Ambiguous { .. } | SurveyError::Unavailable(_))) => {
                return Err(failed(FailureKind::Unavailable, error.to_string(), "nothing was done; ask again"));
            }
        };
        if found.status != "RUNNING" {
            return Err(failed(FailureKind::Refused, format!("instance {name} is {}", found.status), "nothing runs on it"));
        }
        let address = if externally { found.external } else { found.internal.get(&route.network.to_string()).cloned() };
        address.filter(|address| address.parse::<std::net::IpAddr>().is_ok()).ok_or_else(|| {
            let which = if externally { "external address".into() } else { format!("address in {}", route.network) };
            failed(FailureKind::Refused, format!("instance {name} has no {which}"), "ask again, with a new survey")
        })
    }

    /// Runs one program on the node, recorded.
    async fn run(&self, path: &Path, on: &InstanceRef, argv: Vec<String>, route: &SshRoute, calls: &mut Vec<Call>) -> Result<Ran, Trouble> {
        let sudo = if route.login.sudo { vec!["sudo".to_owned(), "-n".into()] } else { vec![] };
        let line = line(&sudo.into_iter().chain(argv).collect::<Vec<_>>()).map_err(|error| Trouble::Lost(error.to_string()))?;
        let begun = Instant::now();
        let ran = path.host.exec(&line, self.settings.run_limit).await;
        calls.push(Call {
            method: "SSH exec".into(),
            resource: format!("zones/{}/instances/{}: {line}", on.zone, on.name),
            status: ran.as_ref().ok().and_then(|ran| u16::try_from(ran.exit).ok()),
            latency_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..Call::default()
        });
        ran
    }

    async fn end(&self, action: &SshAction, calls: &mut Vec<Call>) -> Outcome {
        let SshAction::EndContainer { ending, instance, via, route } = action;
        let path = match self.path(instance, via, route).await {
            Ok(path) => path,
            Err(outcome) => return outcome,
        };
        let (mut walk, mut argv) = Walk::begin(ending);
        loop {
            match self.run(&path, instance, argv, route, calls).await {
                Ok(ran) => match walk.ran(&ran) {
                    Next::Run(next) => argv = next,
                    Next::Done(outcome) => return outcome,
                },
                Err(trouble) => return walk.lost(&trouble.to_string()),
            }
        }
    }

    async fn look(&self, action: &SshAction) -> Observation {
        let SshAction::EndContainer { ending, instance, via, route } = action;
        let path = match self.path(instance, via, route).await {
            Ok(path) => path,
            Err(Outcome::Failed(Failure { kind: FailureKind::Stale, message, .. })) => return Observation::Gone(message),
            Err(Outcome::Failed(failure)) => return Observation::Unclear(failure.message),
            Err(Outcome::Unknown(why)) => return Observation::Unclear(why),
            Err(Outcome::Succeeded(receipt)) => return Observation::Unclear(receipt.summary),
        };
        self.looked(&path, ending, instance, route).await
    }

    async fn looked(&self, path: &Path, ending: &Ending, instance: &InstanceRef, route: &SshRoute) -> Observation {
        match self.run(path, instance, ending.look(), route, &mut vec![]).await {
            Ok(ran) => observed(ending, &ran),
            Err(trouble) => Observation::Unclear(trouble.to_string()),
        }
    }
}

#[async_trait]
impl Actuator<SshAction> for SshNodes {
    async fn perform(&self, action: &SshAction, _licence: &Licence) -> Performed {
        let mut calls = Vec::new();
        let outcome = self.end(action, &mut calls).await;
        Performed { outcome, calls, artefacts: vec![] }
    }

    async fn observe(&self, action: &SshAction, _licence: &Licence) -> Observation {
        self.look(action).await
    }
}

#[async_trait]
impl Examined for SshNodes {
    async fn examine(&self, _commands: &std::collections::BTreeSet<&'static str>) -> Vec<Check> {
        let key = self.key.public_key().to_openssh().unwrap_or_default();
        let hosts = match KnownHosts::read(&self.settings.known_hosts) {
            Ok(known) if known.is_empty() => Check::fail(
                "known hosts",
                "the file holds no key",
                "add the host keys of nodes and intermediates, as `compute.ID ALGORITHM KEY`",
            ),
            Ok(known) => Check::ok("known hosts", format!("{} keys", known.len())),
            Err(error) => Check::fail("known hosts", error.to_string(), "known_hosts_file of [ssh] in config/stanch.toml names it"),
        };
        vec![Check::ok("key", key), hosts]
    }
}

/// Before anything was run.
fn ended(trouble: Trouble) -> Outcome {
    let message = trouble.to_string();
    match trouble {
        Trouble::HostKey { verdict: Verdict::Unknown, .. } => failed(
            FailureKind::Refused,
            message,
            "nothing was sent; add `compute.ID ALGORITHM KEY` to the known hosts, with a key that you got by a way that you trust",
        ),
        Trouble::HostKey { .. } => failed(
            FailureKind::Refused,
            message,
            "nothing was sent; somebody else may answer there: look at the VM before you trust its new key",
        ),
        Trouble::NotAdmitted { .. } => {
            failed(FailureKind::Refused, message, "let Stanch's own key in with `allow-ssh`; `doctor` shows that key")
        }
        Trouble::NotForwarded { .. } => failed(
            FailureKind::Unavailable,
            message,
            "nothing was done; `allow-ssh` opens the node for its intermediate, whose sshd must allow forwarding",
        ),
        Trouble::Unreachable { .. } | Trouble::Lost(_) | Trouble::Library(_) => {
            failed(FailureKind::Unavailable, message, "nothing was done; look at the network between, and ask again")
        }
    }
}

fn failed(kind: FailureKind, message: String, hint: &str) -> Outcome {
    Outcome::Failed(Failure { kind, message, hint: Some(hint.into()) })
}
