//! One SSH connection: the host's key first, then our own, then one program at a time.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, Preferred};
use stanch_commands::runtime::Ran;
use tokio::io::{AsyncRead, AsyncWrite};

use super::known_hosts::{KnownHosts, Verdict};

/// Most bytes of each of a program's two streams: what `docker inspect` prints of a container with a long environment is some 20 KiB.
const OUTPUT_LIMIT_BYTES: usize = 64 << 10;

/// Why nothing came of a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The host is not, or may not be, the one that is meant.
    #[error("the host key of {name} {}", words(*verdict))]
    HostKey { name: String, verdict: Verdict },
    /// It does not let us in.
    #[error("{name} does not let `{user}` in with Stanch's key")]
    NotAdmitted { name: String, user: String },
    /// The intermediate does not pass the connection on.
    #[error("{via} does not forward to {address}: {why}")]
    NotForwarded { via: String, address: String, why: String },
    /// It cannot be reached, or is not understood.
    #[error("no connection to {name}: {why}")]
    Unreachable { name: String, why: String },
    /// What became of a program is not known.
    #[error("{0}")]
    Lost(String),
    /// From the library, before it is known what it was about.
    #[error(transparent)]
    Library(#[from] russh::Error),
}

fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Known => "is known",
        Verdict::Unknown => "is not known",
        Verdict::Changed => "is not the one that is known",
        Verdict::Revoked => "is revoked",
    }
}

/// A host that is connected to.
pub(super) struct Hop {
    name: String,
    handle: Handle<Judge>,
}

/// Trusts what is known.
struct Judge {
    known: Arc<KnownHosts>,
    alias: String,
    name: String,
}

impl client::Handler for Judge {
    type Error = Trouble;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Trouble> {
        let verdict = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.known.judge(&self.alias, key),
            // Not asked for: there is no authority that could have signed it.
            PublicKeyOrCertificate::Certificate(_) => Verdict::Unknown,
        };
        match verdict {
            Verdict::Known => Ok(true),
            Verdict::Unknown | Verdict::Changed | Verdict::Revoked => Err(Trouble::HostKey { name: self.name.clone(), verdict }),
        }
    }
}

/// Whom to connect to, and as whom.
pub(super) struct Host<'h> {
    /// As people know it.
    pub name: String,
    /// As the known hosts name it.
    pub alias: String,
    pub user: &'h str,
    pub key: &'h Arc<PrivateKey>,
    pub known: &'h Arc<KnownHosts>,
}

impl Hop {
    /// Speaks SSH over a stream: key exchange, the host's key, our key.
    pub async fn over<S>(stream: S, host: &Host<'_>, limit: Duration) -> Result<Self, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let name = host.name.clone();
        let unreachable = |why: String| Trouble::Unreachable { name: name.clone(), why };
        let algorithms = host.known.algorithms(&host.alias);
        if algorithms.is_empty() {
            return Err(Trouble::HostKey { name: name.clone(), verdict: Verdict::Unknown });
        }
        let preferred = Preferred { key: Cow::Owned(algorithms), ..Preferred::default() };
        // Somebody who holds the other end could keep us waiting for ever: a session that nobody hears of ends.
        let config = client::Config {
            preferred,
            inactivity_timeout: None,
            keepalive_interval: Some(Duration::from_secs(10)),
            keepalive_max: 3,
            nodelay: true,
            ..client::Config::default()
        };
        let judge = Judge { known: host.known.clone(), alias: host.alias.clone(), name: name.clone() };
        let connected = tokio::time::timeout(limit, async {
            let mut handle = client::connect_stream(Arc::new(config), stream, judge).await?;
            let key = PrivateKeyWithHashAlg::new(host.key.clone(), None);
            let admitted = handle.authenticate_publickey(host.user, key).await?;
            Ok::<_, Trouble>((handle, admitted.success()))
        });
        match connected.await {
            Ok(Ok((handle, true))) => Ok(Self { name, handle }),
            Ok(Ok((_, false))) => Err(Trouble::NotAdmitted { name, user: host.user.to_owned() }),
            Ok(Err(Trouble::Library(error))) => Err(unreachable(error.to_string())),
            Ok(Err(trouble)) => Err(trouble),
            Err(_) => Err(unreachable(format!("nothing within {} s", limit.as_secs()))),
        }
    }

    /// A stream to a port that this host reaches.
    pub async fn forward(
        &self,
        address: &str,
        port: u16,
        limit: Duration,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, Trouble> {
        let refused = |why: String| Trouble::NotForwarded { via: self.name.clone(), address: format!("{address}:{port}"), why };
        let opened = tokio::time::timeout(limit, self.handle.channel_open_direct_tcpip(address, port.into(), "127.0.0.1", 0)).await;
        match opened {
            Ok(Ok(channel)) => Ok(channel.into_stream()),
            Ok(Err(error)) => Err(refused(error.to_string())),
            Err(_) => Err(refused(format!("nothing within {} s", limit.as_secs()))),
        }
    }

    /// Runs one line.
    pub async fn exec(&self, line: &str, limit: Duration) -> Result<Ran, Trouble> {
        let lost = |why: &str| Trouble::Lost(format!("{}: {why}", self.name));
        match tokio::time::timeout(limit, self.exchange(line)).await {
            Ok(Ok(ran)) => ran.ok_or_else(|| lost("the connection ended before the program did")),
            Ok(Err(error)) => Err(lost(&error.to_string())),
            Err(_) => Err(lost(&format!("the program did not end within {} s", limit.as_secs()))),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum is not ours, and the rest says nothing to us")]
    async fn exchange(&self, line: &str) -> Result<Option<Ran>, russh::Error> {
        let mut channel = self.handle.channel_open_session().await?;
        channel.exec(true, line).await?;
        let (mut output, mut errors, mut exit) = (Vec::new(), Vec::new(), None);
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => append(&mut output, &data),
                ChannelMsg::ExtendedData { data, ext: 1 } => append(&mut errors, &data),
                ChannelMsg::ExitStatus { exit_status } => exit = Some(exit_status),
                ChannelMsg::Failure => return Ok(None),
                ChannelMsg::Close => break,
                _ => {}
            }
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(exit.map(|exit| Ran { exit, output: text(output), errors: text(errors) }))
    }
}

fn append(to: &mut Vec<u8>, data: &[u8]) {
    let room = OUTPUT_LIMIT_BYTES.saturating_sub(to.len());
    to.extend(data.iter().take(room));
}
