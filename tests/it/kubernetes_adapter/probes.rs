//! Programs in the suspect: what they print is kept, what cannot be run is named, and only the bound pod is entered.

use stanch::core::step::{FailureKind, Observation, Outcome, Receipt};
use stanch_commands::action::{KubernetesAction, Probe};
use stanch_commands::target::PodRef;

use super::{Subject, emulator};

const SUSPECT: &str = "pod shop/cart-7d4b9c6f5-x2x9q";

fn probes(pod: &PodRef) -> KubernetesAction {
    KubernetesAction::RunProbes { pod: pod.clone(), probes: Probe::ALL.into() }
}

#[tokio::test]
async fn what_programs_print_is_kept() {
    let (emulator, client) = emulator().await;
    emulator.set_program("shop", "cart-7d4b9c6f5-x2x9q", "ps -ef", "root 1 /cart\nroot 66 ./xmrig -o pool\n").unwrap();
    let subject = Subject::of(client, SUSPECT).await;
    let pod = subject.facts.suspect.as_ref().unwrap().pod.clone();
    let performed = subject.perform(&probes(&pod)).await;
    let summary = "3 files from inside shop/cart-7d4b9c6f5-x2x9q".into();
    assert_eq!(performed.outcome, Outcome::Succeeded(Receipt { summary, ..Receipt::default() }));
    let kept: Vec<(&str, String)> =
        performed.artefacts.iter().map(|file| (file.path.as_str(), String::from_utf8(file.content.clone()).unwrap())).collect();
    let folder = "pods/shop/cart-7d4b9c6f5-x2x9q/exec/cart";
    let sockets = ["tcp", "tcp6", "udp", "udp6", "unix"].map(|table| format!("/proc/net/{table} of cart\n")).concat();
    assert_eq!(
        kept,
        [
            (format!("{folder}/processes.txt").as_str(), "root 1 /cart\nroot 66 ./xmrig -o pool\n".into()),
            (format!("{folder}/sockets.txt").as_str(), sockets),
            (format!("{folder}/mounts.txt").as_str(), "/proc/self/mountinfo of cart\n".into()),
        ]
    );
    // Each is in the record, with every argument.
    let called: Vec<(&str, Option<u16>)> =
        performed.calls.iter().filter(|call| call.method.ends_with("exec")).map(|call| (call.resource.as_str(), call.status)).collect();
    assert_eq!(called.first(), Some(&("namespaces/shop/pods/cart-7d4b9c6f5-x2x9q/exec cart: ps -ef", Some(101))));
    assert_eq!(called.len(), 3);
    // Looking whether it is done would be doing it.
    assert_eq!(subject.observe(&probes(&pod)).await, Observation::NotInPlace);
    emulator.stop().await;
}

#[tokio::test]
async fn what_cannot_be_run_is_named() {
    let (emulator, client) = emulator().await;
    let subject = Subject::of(client, SUSPECT).await;
    let pod = subject.facts.suspect.as_ref().unwrap().pod.clone();
    emulator.set_node_unreachable(super::NODE).unwrap();
    let receipt = subject.succeeds(&probes(&pod)).await;
    let missing = ["processes", "sockets", "mounts"]
        .map(|probe| format!("missing: {probe} of container cart: the API answers 500 Internal Server Error"));
    assert_eq!((receipt.summary.as_str(), receipt.details), ("0 files from inside shop/cart-7d4b9c6f5-x2x9q", missing.to_vec()));
    emulator.stop().await;
}

#[tokio::test]
async fn a_namesake_is_not_entered() {
    let (emulator, client) = emulator().await;
    let subject = Subject::of(client, SUSPECT).await;
    let pod = subject.facts.suspect.as_ref().unwrap().pod.clone();
    emulator.recreate_pod("shop", "cart-7d4b9c6f5-x2x9q").unwrap();
    let performed = subject.perform(&probes(&pod)).await;
    let Outcome::Failed(failure) = performed.outcome else { panic!("{:?}", performed.outcome) };
    assert_eq!((failure.kind, performed.artefacts), (FailureKind::Stale, vec![]));
    assert!(performed.calls.iter().all(|call| !call.method.ends_with("exec")), "{:?}", performed.calls);
    emulator.stop().await;
}
