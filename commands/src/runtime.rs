//! One container on one node, as its runtime's own tool sees it: which commands end it, and what the answers mean.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::target::{ContainerId, ContainerName, InvalidName, Namespace, NetworkRef, NodeRef, PodRef, UserName};

/// The label by which every runtime tells to which pod a container belongs.
const POD_UID: &str = "io.kubernetes.pod.uid";
/// The same for the name of the container in its pod.
const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Characters of what a tool complains about.
const COMPLAINT: usize = 200;

/// The tool that speaks with a node's container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// For containerd and CRI-O.
    Crictl,
    /// For Docker, which GKE had before 1.24.
    Docker,
}

impl Tool {
    /// The tool for a runtime as a node (`containerd://1.7.24`) or a container (`containerd://ID`) names it.
    #[must_use]
    pub fn of(runtime: &str) -> Option<Self> {
        match runtime.split_once("://")?.0 {
            "containerd" | "cri-o" => Some(Self::Crictl),
            "docker" => Some(Self::Docker),
            _ => None,
        }
    }

    /// The program.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Crictl => "crictl",
            Self::Docker => "docker",
        }
    }
}

/// One run of a container, not its successor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerRef {
    /// Its name in the pod.
    pub name: ContainerName,
    /// The runtime's id of it.
    pub id: ContainerId,
    /// The tool that knows the id.
    pub tool: Tool,
}

/// What is done to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Its first process is told to end, and killed after some seconds.
    Stop {
        /// How many.
        grace_s: u32,
    },
    /// Its first process is killed at once.
    Kill,
    /// It is killed, and its file system and record are removed.
    Remove,
}

/// The end of one container: what is agreed to, whichever way leads onto the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// The node.
    pub node: NodeRef,
    /// The pod.
    pub pod: PodRef,
    /// The container.
    pub container: ContainerRef,
    /// What is tried, in order, until it is enough: until the container does not run, or is removed if the last one is to remove it.
    pub ladder: Vec<Verb>,
    /// Why it may end without stored evidence. `None`: the plan requires it.
    pub waiver: Option<String>,
}

impl Ending {
    /// Whether nothing of the container is to remain.
    #[must_use]
    pub fn removes(&self) -> bool {
        self.ladder.contains(&Verb::Remove)
    }

    /// Program and arguments of one of the verbs.
    #[must_use]
    pub fn argv(&self, verb: Verb) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut argv = match (self.container.tool, verb) {
            (Tool::Crictl, Verb::Stop { grace_s }) => words(&["crictl", "stop", "--timeout", &grace_s.to_string()]),
            // Without a timeout it does not wait: the interface of containers has no other way to kill.
            (Tool::Crictl, Verb::Kill) => words(&["crictl", "stop"]),
            (Tool::Crictl, Verb::Remove) => words(&["crictl", "rm", "-f"]),
            (Tool::Docker, Verb::Stop { grace_s }) => words(&["docker", "stop", "--time", &grace_s.to_string()]),
            (Tool::Docker, Verb::Kill) => words(&["docker", "kill"]),
            (Tool::Docker, Verb::Remove) => words(&["docker", "rm", "-f"]),
        };
        argv.push(self.container.id.to_string());
        argv
    }

    /// Program and arguments that only look.
    #[must_use]
    pub fn look(&self) -> Vec<String> {
        let id = self.container.id.as_str();
        let argv: &[&str] = match self.container.tool {
            // A container that is gone is an empty list here and an error of `inspect`; and its environment stays on the node.
            Tool::Crictl => &["crictl", "ps", "-a", "--id", id, "-o", "json"],
            Tool::Docker => &["docker", "inspect", "--type", "container", id],
        };
        argv.iter().map(|word| (*word).to_owned()).collect()
    }

    /// What an answer to [`Ending::look`] says.
    #[must_use]
    pub fn stand(&self, ran: &Ran) -> Stand {
        match self.container.tool {
            Tool::Crictl => self.crictl(ran),
            Tool::Docker => self.docker(ran),
        }
    }

    fn crictl(&self, ran: &Ran) -> Stand {
        if ran.exit != 0 {
            return Stand::Unreadable(ran.complaint());
        }
        let Some(answer) = json(&ran.output, '{') else { return Stand::Unreadable("crictl printed no JSON".into()) };
        let Some(found) = answer.get("containers").and_then(Value::as_array) else {
            return Stand::Unreadable("crictl printed no list of containers".into());
        };
        let ours: Vec<&Value> = found.iter().filter(|container| text(container, "/id") == self.container.id.as_str()).collect();
        match (ours.as_slice(), found.is_empty()) {
            ([container], _) => self.of_ours(text(container, "/state"), container.get("labels"), |state| match state {
                "CONTAINER_EXITED" => Some(false),
                "CONTAINER_RUNNING" | "CONTAINER_CREATED" => Some(true),
                _ => None,
            }),
            ([], true) => Stand::Gone,
            (_, _) => Stand::Unreadable("crictl showed other containers than it was asked for".into()),
        }
    }

    fn docker(&self, ran: &Ran) -> Stand {
        let answer = json(&ran.output, '[');
        let found = answer.as_ref().and_then(Value::as_array).map(Vec::as_slice);
        match (ran.exit, found) {
            (0, Some([container])) if text(container, "/Id") == self.container.id.as_str() => {
                self.of_ours(text(container, "/State/Status"), container.pointer("/Config/Labels"), |state| match state {
                    "exited" | "dead" => Some(false),
                    "running" | "paused" | "restarting" | "created" | "removing" => Some(true),
                    _ => None,
                })
            }
            (0, _) => Stand::Unreadable("docker showed another container than it was asked for".into()),
            (_, Some([])) if ran.says("No such container") || ran.says("No such object") => Stand::Gone,
            (_, _) => Stand::Unreadable(ran.complaint()),
        }
    }

    fn of_ours(&self, state: &str, labels: Option<&Value>, runs: fn(&str) -> Option<bool>) -> Stand {
        let label = |key| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str).unwrap_or_default();
        let (uid, name) = (label(POD_UID), label(CONTAINER_NAME));
        if uid != self.pod.uid.as_str() || name != self.container.name.as_str() {
            let shown = |text: &str| text.chars().take(64).collect::<String>();
            return Stand::Another(format!("it is container `{}` of the pod with uid `{}`", shown(name), shown(uid)));
        }
        match runs(state) {
            Some(true) => Stand::Running,
            Some(false) => Stand::Stopped,
            None => Stand::Unreadable(format!("`{}` is no state that Stanch knows", state.chars().take(40).collect::<String>())),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container {} of pod {}", self.container.name, self.pod)
    }
}

/// What a program printed, and how it ended. Made by a machine that somebody broke into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Exit status.
    pub exit: u32,
    /// What it printed. Where the way keeps them apart, without its errors.
    pub output: String,
    /// Its errors, where they are kept apart.
    pub errors: String,
}

impl Ran {
    /// What it complained about, cut.
    #[must_use]
    pub fn complaint(&self) -> String {
        let said = if self.errors.trim().is_empty() { &self.output } else { &self.errors };
        let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(COMPLAINT).collect();
        if said.is_empty() { format!("exit status {}", self.exit) } else { format!("exit status {}: {said}", self.exit) }
    }

    fn says(&self, words: &str) -> bool {
        self.errors.contains(words) || self.output.contains(words)
    }
}

/// How a container stands on its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It runs, or may.
    Running,
    /// It has ended, and its remains are there.
    Stopped,
    /// The runtime does not know it.
    Gone,
    /// Its id belongs to something else, and to what.
    Another(String),
    /// That cannot be told, and why.
    Unreadable(String),
}

/// The first value of JSON that begins a line. Tools print warnings before it, and on a pod's log both are one stream.
fn json(output: &str, opening: char) -> Option<Value> {
    let mut at = 0;
    for line in output.split_inclusive('\n') {
        if line.starts_with(opening) {
            let rest = output.get(at..)?;
            return serde_json::Deserializer::from_str(rest).into_iter().next()?.ok();
        }
        at += line.len();
    }
    None
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// An argument that a shell could take for something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an argument is not plain, so nothing was sent")]
pub struct NotPlain;

/// The one line that SSH carries, whose reader is the user's shell: only words that no shell gives a meaning to, with a space between.
///
/// # Errors
/// [`NotPlain`].
pub fn line(argv: &[String]) -> Result<String, NotPlain> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match !argv.is_empty() && argv.iter().all(|word| !word.is_empty() && word.chars().all(plain)) {
        true => Ok(argv.join(" ")),
        false => Err(NotPlain),
    }
}

/// An image by its content: what runs privileged on a node must not be what a tag happens to point to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PinnedImage(String);

impl PinnedImage {
    /// `REPOSITORY@sha256:DIGEST`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PinnedImage {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | '/' | ':');
        let pinned = text.split_once("@sha256:").is_some_and(|(repository, digest)| {
            repository.contains('/') && repository.len() <= 255 && repository.chars().all(plain) && digest.parse::<ContainerId>().is_ok()
        });
        let rule = "REGISTRY/PATH@sha256: and 64 lower-case hexadecimal digits";
        match pinned {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidName { text: text.chars().take(80).collect(), what: "pinned image", rule }),
        }
    }
}

impl TryFrom<String> for PinnedImage {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<PinnedImage> for String {
    fn from(image: PinnedImage) -> Self {
        image.0
    }
}

impl fmt::Display for PinnedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ways onto a node, as the configuration has them. Each is off unless it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAccess {
    /// By a pod that may do everything on its node.
    pub privileged_pod: Option<PrivilegedPod>,
    /// Over SSH through an intermediate VM.
    pub ssh: Option<SshLogin>,
}

/// The pod that reaches the node under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivilegedPod {
    /// A namespace for nothing else.
    pub namespace: Namespace,
    /// An image with `nsenter`.
    pub image: PinnedImage,
}

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshLogin {
    /// The user, on both machines.
    pub user: UserName,
    /// The intermediate VM is reached at its external address, not at its internal one.
    pub externally: bool,
    /// The user becomes root by `sudo -n`.
    pub sudo: bool,
}

/// From where a node is reached over SSH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshRoute {
    /// Who logs in.
    pub login: SshLogin,
    /// The network that intermediate and node share.
    pub network: NetworkRef,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f1c0d7a9e2b3c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5";

    fn ending(tool: Tool) -> Ending {
        Ending {
            node: NodeRef { name: "node-1".parse().unwrap(), uid: "n1".parse().unwrap() },
            pod: PodRef { namespace: "shop".parse().unwrap(), name: "cart".parse().unwrap(), uid: "p1".parse().unwrap() },
            container: ContainerRef { name: "server".parse().unwrap(), id: ID.parse().unwrap(), tool },
            ladder: vec![Verb::Stop { grace_s: 10 }],
            waiver: None,
        }
    }

    fn said(exit: u32, output: impl Into<String>) -> Ran {
        Ran { exit, output: output.into(), errors: String::new() }
    }

    fn crictl(state: &str, uid: &str) -> String {
        let labels = serde_json::json!({ POD_UID: uid, CONTAINER_NAME: "server" });
        let answer = serde_json::json!({ "containers": [{ "id": ID, "state": state, "labels": labels }] });
        serde_json::to_string_pretty(&answer).unwrap()
    }

    #[test]
    fn crictl_is_understood_and_never_believed_more_than_it_says() {
        let ending = ending(Tool::Crictl);
        let warned = format!("WARN[0000] runtime connect using default endpoints\n{}\n", crictl("CONTAINER_RUNNING", "p1"));
        assert_eq!(ending.stand(&said(0, warned)), Stand::Running);
        assert_eq!(ending.stand(&said(0, crictl("CONTAINER_EXITED", "p1"))), Stand::Stopped);
        assert_eq!(ending.stand(&said(0, crictl("CONTAINER_CREATED", "p1"))), Stand::Running);
        assert_eq!(ending.stand(&said(0, "{\"containers\": []}\n")), Stand::Gone);
        assert!(matches!(ending.stand(&said(0, crictl("CONTAINER_EXITED", "p2"))), Stand::Another(_)));
        for unreadable in [
            said(1, "FATA[0000] connection refused"),
            said(0, ""),
            said(0, "{}"),
            said(0, "{\"containers\": [{\"id\": \"ffff\"}]}"),
            said(0, crictl("CONTAINER_UNKNOWN", "p1")),
            said(0, crictl("CONTAINER_EXITED", "p1").replace("]\n}", "")),
        ] {
            assert!(matches!(ending.stand(&unreadable), Stand::Unreadable(_)), "{unreadable:?}");
        }
    }

    #[test]
    fn docker_is_understood() {
        let ending = ending(Tool::Docker);
        let answer = |status: &str, uid: &str| {
            let labels = serde_json::json!({ POD_UID: uid, CONTAINER_NAME: "server" });
            serde_json::json!([{ "Id": ID, "State": { "Status": status }, "Config": { "Labels": labels, "Env": ["TOKEN=x"] } }]).to_string()
        };
        assert_eq!(ending.stand(&said(0, answer("running", "p1"))), Stand::Running);
        assert_eq!(ending.stand(&said(0, answer("exited", "p1"))), Stand::Stopped);
        assert!(matches!(ending.stand(&said(0, answer("exited", "p2"))), Stand::Another(_)));
        assert_eq!(ending.stand(&said(1, format!("[]\nError: No such container: {ID}"))), Stand::Gone);
        let apart = Ran { exit: 1, output: "[]\n".into(), errors: format!("Error response from daemon: No such container: {ID}") };
        assert_eq!(ending.stand(&apart), Stand::Gone);
        assert!(matches!(ending.stand(&said(1, "Cannot connect to the Docker daemon")), Stand::Unreadable(_)));
        assert!(matches!(ending.stand(&said(0, "[]")), Stand::Unreadable(_)));
    }

    #[test]
    fn only_plain_words_become_a_line() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for tool in [Tool::Crictl, Tool::Docker] {
            let ending = ending(tool);
            let all = [Verb::Stop { grace_s: 10 }, Verb::Kill, Verb::Remove].map(|verb| ending.argv(verb));
            for argv in all.into_iter().chain([ending.look()]) {
                assert_eq!(line(&argv).as_deref(), Ok(argv.join(" ").as_str()));
            }
        }
        for hostile in
            ["", " ", "a b", "$(id)", "`id`", "a;b", "a&b", "a|b", "a\nb", "'", "\"", "\\", "*", "~", "#", "A=b", "é", "{a,b}", "!x"]
        {
            assert_eq!(line(&words(&["crictl", "stop", hostile])), Err(NotPlain), "{hostile:?}");
        }
        assert_eq!(line(&[]), Err(NotPlain));
    }

    #[test]
    fn images_are_pinned() {
        let digest = "a".repeat(64);
        assert!(format!("registry.example/tools/nsenter@sha256:{digest}").parse::<PinnedImage>().is_ok());
        for odd in ["registry.example/tools:1", "tools@sha256:abc", &format!("a b/c@sha256:{digest}"), &format!("x@sha256:{digest}")] {
            assert!(odd.parse::<PinnedImage>().is_err(), "{odd}");
        }
    }
}
