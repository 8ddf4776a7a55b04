//! Goal: a container ends over SSH exactly as it was agreed to, or nothing happens at all. Method: real sshd's on loopback, one behind the
//! other, and a node's tools that keep what they were called with.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "test code fails by panicking")]

mod machine;
mod traps;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stanch::adapters::ssh::{SshNodes, SshSettings};
use stanch::core::step::{Observation, Outcome, Performed};
use stanch::ports::{Actuator as _, SurveyError, Surveyor};
use stanch_commands::action::SshAction;
use stanch_commands::facts::InstanceAddresses;
use stanch_commands::runtime::{ContainerRef, Ending, SshLogin, SshRoute, Tool, Verb};
use stanch_commands::target::{InstanceRef, NetworkRef, NodeRef, PodRef};

use crate::support::licensed;
use machine::{Machines, Setup, addresses};

pub const ID: &str = "4f1c0d7a9e2b3c5d4f1c0d7a9e2b3c5d4f1c0d7a9e2b3c5d4f1c0d7a9e2b3c5d";
const ALL: [Verb; 3] = [Verb::Stop { grace_s: 10 }, Verb::Kill, Verb::Remove];

fn instance(name: &str, id: u64) -> InstanceRef {
    let (project, zone) = ("sandbox-project".parse().unwrap(), "us-central1-a".parse().unwrap());
    InstanceRef { project, zone, name: name.parse().unwrap(), id: id.into() }
}

fn host() -> InstanceRef {
    instance("gke-1", 7)
}

fn bastion() -> InstanceRef {
    instance("bastion", 8)
}

/// Compute, as far as it tells where instances are.
struct Told(Mutex<BTreeMap<InstanceRef, InstanceAddresses>>);

#[async_trait]
impl Surveyor<InstanceRef, Option<InstanceAddresses>> for Told {
    async fn survey(&self, instance: &InstanceRef) -> Result<Option<InstanceAddresses>, SurveyError> {
        Ok(self.0.lock().unwrap().get(instance).cloned())
    }
}

/// The adapter before its machines.
struct Subject {
    machines: Machines,
    told: Arc<Told>,
    nodes: SshNodes,
}

impl Subject {
    async fn start() -> Option<Self> {
        Self::of(Setup { forwarding: true }, "own").await
    }

    async fn of(setup: Setup, key: &str) -> Option<Self> {
        let machines = Machines::start(setup).await?;
        let told = addresses().map(|address| InstanceAddresses {
            status: "RUNNING".into(),
            internal: BTreeMap::from([("sandbox-project/prod-vpc".to_owned(), address.to_owned())]),
            external: None,
        });
        let told = Arc::new(Told(Mutex::new([host(), bastion()].into_iter().zip(told).collect())));
        let settings = SshSettings {
            connect_limit: Duration::from_secs(10),
            run_limit: Duration::from_secs(10),
            ..SshSettings::new(machines.read(key).into(), machines.path("known_hosts"), machines.port)
        };
        let nodes = SshNodes::new(settings, told.clone()).unwrap();
        let subject = Self { machines, told, nodes };
        subject.know(&[("compute.7", "host-key"), ("compute.8", "via-key")]);
        Some(subject)
    }

    /// What stands in the file of known hosts.
    fn know(&self, hosts: &[(&str, &str)]) {
        let lines: String = hosts.iter().map(|(name, key)| format!("{name} {}\n", self.machines.public(key))).collect();
        std::fs::write(self.machines.path("known_hosts"), lines).unwrap();
    }

    fn action(&self, tool: Tool, ladder: &[Verb]) -> SshAction {
        let network: NetworkRef = NetworkRef { project: "sandbox-project".parse().unwrap(), name: "prod-vpc".parse().unwrap() };
        let ending = Ending {
            node: NodeRef { name: "gke-1".parse().unwrap(), uid: "uid-node".parse().unwrap() },
            pod: PodRef { namespace: "shop".parse().unwrap(), name: "cart".parse().unwrap(), uid: "uid-cart".parse().unwrap() },
            container: ContainerRef { name: "server".parse().unwrap(), id: ID.parse().unwrap(), tool },
            ladder: ladder.to_vec(),
            waiver: None,
        };
        let login = SshLogin { user: self.machines.user.parse().unwrap(), externally: false, sudo: true };
        SshAction::EndContainer { ending: Box::new(ending), instance: host(), via: bastion(), route: SshRoute { login, network } }
    }

    async fn perform(&self, action: &SshAction) -> Performed {
        self.nodes.perform(action, &licensed(action.clone(), "one")).await
    }

    async fn observe(&self, action: &SshAction) -> Observation {
        self.nodes.observe(action, &licensed(action.clone(), "one")).await
    }

    /// What was done on the node, besides looking.
    fn done(&self) -> Vec<String> {
        let looks = ["crictl ps ", "docker inspect "];
        self.machines.calls().into_iter().filter(|call| !looks.iter().any(|look| call.starts_with(look))).collect()
    }
}

#[tokio::test]
async fn a_container_ends_and_is_not_ended_twice() {
    for tool in [Tool::Crictl, Tool::Docker] {
        let Some(subject) = Subject::start().await else { return };
        let action = subject.action(tool, &ALL[..1]);
        assert_eq!(subject.observe(&action).await, Observation::NotInPlace);
        assert_eq!(subject.done(), Vec::<String>::new(), "looking does nothing");
        let performed = subject.perform(&action).await;
        let Outcome::Succeeded(receipt) = &performed.outcome else { panic!("{performed:?}") };
        assert_eq!((receipt.already_so, receipt.summary.as_str()), (false, "container server of pod shop/cart does not run any more"));
        assert_eq!(performed.calls.len(), 3, "look, end, look: {:?}", performed.calls);
        assert!(performed.calls.iter().all(|call| call.resource.starts_with("zones/us-central1-a/instances/gke-1: sudo -n ")));
        assert_eq!(subject.machines.read("node/state").trim(), "exited");
        assert!(matches!(subject.observe(&action).await, Observation::InPlace(_)));
        let done = subject.done();
        let Outcome::Succeeded(receipt) = subject.perform(&action).await.outcome else { panic!("it is so") };
        assert!(receipt.already_so && subject.done() == done, "{receipt:?}");

        // What is left of it goes too, where that was agreed to.
        let action = subject.action(tool, &ALL);
        assert_eq!(subject.observe(&action).await, Observation::NotInPlace);
        let Outcome::Succeeded(receipt) = subject.perform(&action).await.outcome else { panic!("it can be removed") };
        assert_eq!(receipt.summary, "container server of pod shop/cart is gone from its node");
        assert!(matches!(subject.observe(&action).await, Observation::InPlace(_)));
    }
}

/// The guide's commands, with the container filled in; and what it says of the time.
const GUIDE: [(Tool, Verb, &str); 5] = [
    (Tool::Docker, Verb::Stop { grace_s: 10 }, "docker stop --time 10 [CONTAINER]"),
    (Tool::Docker, Verb::Kill, "docker kill [CONTAINER]"),
    (Tool::Docker, Verb::Remove, "docker rm -f [CONTAINER]"),
    (Tool::Crictl, Verb::Kill, "crictl stop [CONTAINER]"),
    (Tool::Crictl, Verb::Remove, "crictl rm -f [CONTAINER]"),
];

/// The guide's own command, typed behind OpenSSH's client, and ours: the same words arrive, and the same state is left.
#[tokio::test]
async fn what_arrives_is_what_the_guide_says() {
    for (tool, verb, command) in GUIDE {
        let (Some(ours), Some(theirs)) = (Subject::start().await, Subject::start().await) else { return };
        let command = command.replace("[CONTAINER]", ID);
        let words: Vec<&str> = command.split(' ').collect();
        let typed = theirs.machines.ssh(&words).await;
        assert!(typed.status.success(), "{command}: {}", String::from_utf8_lossy(&typed.stderr));
        assert!(matches!(ours.perform(&ours.action(tool, &[verb])).await.outcome, Outcome::Succeeded(_)));
        assert_eq!(ours.done(), theirs.machines.calls());
        assert_eq!(ours.done(), [command]);
        assert_eq!(ours.machines.read("node/state"), theirs.machines.read("node/state"));
    }
}

#[tokio::test]
async fn a_container_that_resists_is_killed_and_removed_if_that_was_agreed() {
    for (tool, stop, kill, remove) in [
        (Tool::Crictl, "crictl stop --timeout 10", "crictl stop", "crictl rm -f"),
        (Tool::Docker, "docker stop --time 10", "docker kill", "docker rm -f"),
    ] {
        let Some(subject) = Subject::start().await else { return };
        subject.machines.set("resists", "stop --timeout");
        let Outcome::Failed(failure) = subject.perform(&subject.action(tool, &ALL[..1])).await.outcome else { panic!("it resists") };
        assert!(failure.message.contains("it still runs") && failure.hint.unwrap().contains("--force"), "{}", failure.message);
        assert!(matches!(subject.perform(&subject.action(tool, &ALL)).await.outcome, Outcome::Succeeded(_)));
        let words = [stop, stop, kill, remove].map(|words| format!("{words} {ID}"));
        assert_eq!(subject.done(), words);
        assert_eq!(subject.machines.read("node/state").trim(), "gone");
    }
}
