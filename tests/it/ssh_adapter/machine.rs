//! Real sshd's on loopback: a host VM with a container, and an intermediate VM before it, whose connections can be cut.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub const SSHD: &str = "/usr/sbin/sshd";
/// The host VM's address; the port is the same on both.
const HOST: &str = "127.0.0.3";
/// The intermediate's.
const VIA: &str = "127.0.0.2";
/// Behind the intermediate's door, which can be closed.
const BEHIND: &str = "127.0.0.4";

/// One sshd.
struct Sshd(Child);

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything on loopback.
pub struct Machines {
    pub folder: tempfile::TempDir,
    pub port: u16,
    pub user: String,
    _host: Sshd,
    _via: Sshd,
    door: JoinHandle<()>,
    through: Arc<std::sync::Mutex<Vec<JoinHandle<()>>>>,
}

/// How they are set up.
pub struct Setup {
    pub forwarding: bool,
}

impl Machines {
    /// `None` where there is no sshd.
    pub async fn start(setup: Setup) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            crate::support::skip("sshd", "there is no OpenSSH server; tests/ssh/install.sh installs it");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let port = free_port();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned();
        for key in ["own", "stranger", "host-key", "via-key", "another-key"] {
            keygen(&root.join(key));
        }
        fs::copy(root.join("own.pub"), root.join("authorized_keys")).unwrap();
        node(&root.join("node"));
        let host = sshd(root, "host", HOST, port, true);
        let via = sshd(root, "via", BEHIND, port, setup.forwarding);
        let through = Arc::new(std::sync::Mutex::new(vec![]));
        let door = tokio::spawn(door(TcpListener::bind((VIA, port)).await.unwrap(), port, through.clone()));
        for address in [HOST, BEHIND] {
            answers(address, port).await;
        }
        Some(Self { folder, port, user, _host: host, _via: via, door, through })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// `ssh-ed25519 AAAA…`
    pub fn public(&self, key: &str) -> String {
        self.read(&format!("{key}.pub")).split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    pub fn set(&self, what: &str, to: &str) {
        fs::write(self.path("node").join(what), to).unwrap();
    }

    /// What the node's tools were called with.
    pub fn calls(&self) -> Vec<String> {
        let calls = self.read("node/calls");
        calls.split("\n\n").filter(|call| !call.is_empty()).map(|call| call.lines().collect::<Vec<_>>().join(" ")).collect()
    }

    /// Breaks every connection to the intermediate.
    pub fn cut(&self) {
        self.door.abort();
        self.through.lock().unwrap().iter().for_each(JoinHandle::abort);
    }

    /// The vendor's own client, as the guide uses it.
    pub async fn ssh(&self, command: &[&str]) -> std::process::Output {
        let known = self.path("openssh-known");
        let lines = format!("[{HOST}]:{0} {1}\n[{VIA}]:{0} {2}\n", self.port, self.public("host-key"), self.public("via-key"));
        fs::write(&known, lines).unwrap();
        let config = format!(
            "Host *\n  User {}\n  Port {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n  \
             StrictHostKeyChecking yes\n  BatchMode yes\nHost {HOST}\n  ProxyJump {VIA}\n",
            self.user,
            self.port,
            self.path("own").display(),
            known.display(),
        );
        fs::write(self.path("openssh-config"), config).unwrap();
        // Not in the way of the door, which is a task of the same thread.
        let mut ssh = tokio::process::Command::new("ssh");
        ssh.arg("-F").arg(self.path("openssh-config")).arg(HOST).args(command).stdin(Stdio::null()).output().await.unwrap()
    }
}

/// The addresses, as Compute would tell them.
pub fn addresses() -> [&'static str; 2] {
    [HOST, VIA]
}

fn keygen(file: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(file).status().unwrap();
    assert!(made.success());
}

/// The tools of the node, and its container.
fn node(folder: &Path) {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/node-tools");
    fs::create_dir_all(folder.join("bin")).unwrap();
    fs::copy(tools.join("common"), folder.join("common")).unwrap();
    for tool in ["crictl", "docker", "sudo"] {
        let to = folder.join("bin").join(tool);
        fs::copy(tools.join(tool), &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (file, text) in [("id", super::ID), ("uid", "uid-cart"), ("state", "running"), ("calls", "")] {
        fs::write(folder.join(file), text).unwrap();
    }
}

fn sshd(root: &Path, name: &str, address: &str, port: u16, forwarding: bool) -> Sshd {
    let place = root.display();
    let forwarding = if forwarding { "yes" } else { "no" };
    let config = format!(
        "ListenAddress {address}:{port}\nHostKey {place}/{name}-key\nAuthorizedKeysFile {place}/authorized_keys\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\nPermitRootLogin prohibit-password\nAllowAgentForwarding no\n\
         AllowTcpForwarding {forwarding}\nSetEnv PATH={place}/node/bin:/usr/bin:/bin\nLogLevel ERROR\n"
    );
    let file = root.join(format!("{name}.conf"));
    fs::write(&file, config).unwrap();
    let log = fs::File::create(root.join(format!("{name}.log"))).unwrap();
    let mut command = Command::new(SSHD);
    command.args(["-D", "-e", "-f"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Sshd(command.spawn().unwrap())
}

/// A port that is free on all of the addresses.
fn free_port() -> u16 {
    loop {
        let found = std::net::TcpListener::bind((HOST, 0)).unwrap();
        let port = found.local_addr().unwrap().port();
        if [VIA, BEHIND].iter().all(|address| std::net::TcpListener::bind((*address, port)).is_ok()) {
            return port;
        }
    }
}

async fn answers(address: &str, port: u16) {
    let speaks = async {
        loop {
            let mut banner = [0; 4];
            if let Ok(mut stream) = TcpStream::connect((address, port)).await
                && stream.read_exact(&mut banner).await.is_ok()
            {
                return assert_eq!(&banner, b"SSH-");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), speaks).await.expect("the sshd answers");
}

/// Passes connections on.
async fn door(listener: TcpListener, port: u16, through: Arc<std::sync::Mutex<Vec<JoinHandle<()>>>>) {
    while let Ok((mut from, _)) = listener.accept().await {
        let passing = tokio::spawn(async move {
            if let Ok(mut to) = TcpStream::connect((BEHIND, port)).await {
                let _ = copy_bidirectional(&mut from, &mut to).await;
            }
        });
        through.lock().unwrap().push(passing);
    }
}
