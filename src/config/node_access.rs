//! `[privileged_pod]` and `[ssh]`: the two ways onto a node. Both are off unless they are there.

use std::path::{Path, PathBuf};

use stanch_commands::runtime::{NodeAccess, PrivilegedPod, SshLogin};

use super::section::Section;
use super::{Config, SecretMissing, SecretSource, source};

/// The way over SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// Who logs in.
    pub login: SshLogin,
    /// Stanch's own key.
    pub private_key: SecretSource,
    /// The host keys that are trusted.
    pub known_hosts: PathBuf,
    /// Where sshd listens.
    pub port: u16,
}

impl Config {
    /// The ways onto a node, as plans need to know them.
    #[must_use]
    pub fn node_access(&self) -> NodeAccess {
        NodeAccess { privileged_pod: self.privileged_pod.clone(), ssh: self.ssh.as_ref().map(|ssh| ssh.login.clone()) }
    }
}

/// Reads a private key. A file must be readable by its owner alone, as `ssh` asks it too.
///
/// # Errors
/// [`SecretMissing`].
pub fn private_key(source: &SecretSource) -> Result<secrecy::SecretString, SecretMissing> {
    if let SecretSource::File(path) = source {
        owner_alone(path)?;
    }
    super::secret(source)
}

#[cfg(unix)]
fn owner_alone(path: &Path) -> Result<(), SecretMissing> {
    use std::os::unix::fs::PermissionsExt as _;
    let missing = |why: String| SecretMissing::File { path: path.to_owned(), why };
    let mode = std::fs::metadata(path).map_err(|error| missing(error.to_string()))?.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(missing(format!("others may read it (mode {mode:o}); `chmod 600` it, or hand it over in an environment variable"))),
    }
}

#[cfg(not(unix))]
fn owner_alone(_path: &Path) -> Result<(), SecretMissing> {
    Ok(())
}

pub(super) fn privileged_pod(root: &mut Section) -> Option<PrivilegedPod> {
    let mut section = root.section("privileged_pod")?;
    let enabled = section.flag("enabled").unwrap_or(false);
    let namespace =
        section.required("namespace", |text| text.parse().map_err(|error: stanch_commands::target::InvalidName| error.to_string()));
    let image = section.required("image", |text| text.parse().map_err(|error: stanch_commands::target::InvalidName| error.to_string()));
    if namespace.as_ref().is_some_and(|namespace: &stanch_commands::target::Namespace| namespace.as_str() == "kube-system") {
        section.problem("`namespace` must be one for nothing else, not kube-system");
    }
    root.adopt(section);
    enabled.then_some(())?;
    Some(PrivilegedPod { namespace: namespace?, image: image? })
}

pub(super) fn ssh(root: &mut Section) -> Option<Ssh> {
    let mut section = root.section("ssh")?;
    let user = section.required("user", |text| text.parse().map_err(|error: stanch_commands::target::InvalidName| error.to_string()));
    let private_key = source(&mut section, "private_key");
    let known_hosts = section.required("known_hosts_file", |text| Ok(PathBuf::from(text)));
    let externally = section.checked("intermediate_address", |text| match text {
        "internal" => Ok(false),
        "external" => Ok(true),
        _ => Err("must be \"internal\" or \"external\"".into()),
    });
    let sudo = section.flag("sudo").unwrap_or(true);
    let port = section.number("port", 1..=65_535).and_then(|port| u16::try_from(port).ok()).unwrap_or(22);
    root.adopt(section);
    let login = SshLogin { user: user?, externally: externally.unwrap_or(false), sudo };
    Some(Ssh { login, private_key: private_key?, known_hosts: known_hosts?, port })
}
