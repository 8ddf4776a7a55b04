//! The way in over SSH: every step, nobody else's key lost, and what keeps it closed.

use serde_json::json;
use stanch::core::step::{FailureKind, Observation};
use stanch_commands::action::{ComputeAction, Intermediate, NewIntermediate, SshAccess};
use stanch_commands::allow_ssh::{Way, way};
use stanch_commands::plan::Form;
use stanch_commands::ssh_key::SshKey;
use stanch_commands::target::InstanceRef;

use super::faults::{answer, fault};
use super::{Bench, ID, NODE, failed, instance, name, succeeded};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f rosa";

fn key() -> SshKey {
    KEY.parse().unwrap()
}

fn bastion() -> InstanceRef {
    InstanceRef { name: name("bastion"), id: 6_120_613_059_854_544_790.into(), ..instance() }
}

fn door() -> Way {
    let network = stanch_commands::target::NetworkRef { project: "sandbox-project".parse().unwrap(), name: name("prod-vpc") };
    way(Form::Strict, &instance(), &network)
}

fn add_key() -> ComputeAction {
    ComputeAction::AddSshKey { instance: instance(), key: key(), request: "r-k3f9qz".parse().unwrap() }
}

fn verify() -> ComputeAction {
    ComputeAction::VerifySsh(Box::new(SshAccess {
        instance: instance(),
        interface: "nic0".into(),
        key: key(),
        rule: door().rule,
        intermediate: Intermediate::There(bastion()),
    }))
}

fn steps() -> Vec<ComputeAction> {
    vec![
        add_key(),
        ComputeAction::TagIntermediate { intermediate: bastion(), tag: door().source },
        ComputeAction::EnsureFirewallRule(door().rule),
        ComputeAction::TagForSsh { instance: instance(), tag: door().target },
    ]
}

/// What stands under the name of a new intermediate.
fn new_intermediate() -> NewIntermediate {
    NewIntermediate {
        project: "sandbox-project".parse().unwrap(),
        zone: "us-central1-a".parse().unwrap(),
        name: door().source,
        machine_type: "e2-micro".into(),
        image: "projects/debian-cloud/global/images/family/debian-12".into(),
        subnetwork: "projects/sandbox-project/regions/us-central1/subnetworks/prod-vpc".into(),
        tag: door().source,
        labels: [("stanch-request".to_owned(), "r-k3f9qz".to_owned()), ("stanch-incident".into(), "inc-1".into())].into(),
        key: key(),
        request: "r-k3f9qz".parse().unwrap(),
    }
}

/// One of each variant, in an order in which they can be taken.
pub fn every_action() -> Vec<ComputeAction> {
    let mut actions = steps();
    actions.push(verify());
    actions.push(ComputeAction::RemoveFirewallRule { rule: door().rule, instance: instance() });
    actions.push(ComputeAction::UntagIntermediate { intermediate: bastion(), tag: door().source });
    actions.push(ComputeAction::UntagForSsh { instance: instance(), tag: door().target });
    actions.push(ComputeAction::RemoveSshKey { instance: instance(), line: line() });
    actions.push(ComputeAction::CreateIntermediate(Box::new(new_intermediate())));
    // The bastion is labelled as one that this request made.
    actions.push(ComputeAction::DeleteIntermediate { intermediate: bastion(), request: "r-k3f9qz".into() });
    actions
}

fn line() -> String {
    key().line(&"r-k3f9qz".parse().unwrap())
}

fn metadata(bench: &Bench) -> serde_json::Value {
    bench.emulator.snapshot_state()["instances"][NODE]["metadata"].clone()
}

/// Goal: open and close, each step before and after and repeated, and the state of before in the end.
#[tokio::test]
async fn open_and_close() {
    let bench = Bench::start().await;
    let before = bench.emulator.snapshot_state();
    let (kind, open) = failed(bench.perform(&verify()).await);
    assert_eq!(kind, FailureKind::Refused);
    assert!(open.contains("the key is not in") && open.contains("does not carry") && open.contains("is not in force"), "{open}");
    for step in steps() {
        bench.does(&step).await;
    }
    let receipt = succeeded(bench.perform(&verify()).await);
    assert_eq!(receipt.summary, format!("rosa can log in to {NODE} from bastion"));
    let through_iap = "from outside the network: ssh -o ProxyCommand='ssh -W %h:%p -o ProxyCommand=\"gcloud compute start-iap-tunnel bastion 22 \
                       --listen-on-stdin --project sandbox-project --zone us-central1-a\" rosa@bastion' rosa@10.128.0.11";
    assert_eq!(receipt.details, ["ssh -J rosa@10.128.0.90 rosa@10.128.0.11", through_iap]);
    let ssh = bench.facts().await.ssh;
    assert_eq!((ssh.keys, ssh.os_login), (vec![line()], None));
    let neighbour = ssh.neighbours.iter().find(|neighbour| neighbour.instance == bastion()).unwrap();
    assert_eq!(neighbour.networks["sandbox-project/prod-vpc"], "10.128.0.90");
    assert!(neighbour.tags.contains(&format!("stanch-via-{ID}")));

    bench.does(&ComputeAction::RemoveFirewallRule { rule: door().rule, instance: instance() }).await;
    bench.does(&ComputeAction::UntagIntermediate { intermediate: bastion(), tag: door().source }).await;
    bench.does(&ComputeAction::UntagForSsh { instance: instance(), tag: door().target }).await;
    bench.does(&ComputeAction::RemoveSshKey { instance: instance(), line: line() }).await;
    let after = bench.emulator.snapshot_state();
    assert_eq!(after["instances"], before["instances"]);
    assert_eq!(after["firewalls"].as_object().unwrap().values().map(|rules| rules.as_object().unwrap().len()).sum::<usize>(), 0);
}

/// Goal: keys and entries of others stay, also those that come in between reading and writing.
#[tokio::test]
async fn nobody_elses_key_is_lost() {
    let bench = Bench::start().await;
    let theirs = "bo:ssh-rsa AAAA bo@laptop";
    bench.emulator.set_metadata(NODE, "ssh-keys", theirs).unwrap();
    bench.emulator.wire().inject(fault(None, "setMetadata", 1, answer(412, "conditionNotMet", "Supplied fingerprint does not match")));
    bench.does(&add_key()).await;
    let found = metadata(&bench);
    assert_eq!((&found["ssh-keys"], &found["cluster-name"]), (&json!(format!("{theirs}\n{}", line())), &json!("sandbox")));
    bench.does(&ComputeAction::RemoveSshKey { instance: instance(), line: line() }).await;
    assert_eq!(metadata(&bench)["ssh-keys"], json!(theirs));
}

/// Goal: the answer of a write is lost, and the key is there once.
#[tokio::test]
async fn a_lost_answer_adds_no_second_line() {
    let bench = Bench::start().await;
    bench.emulator.wire().inject(fault(None, "setMetadata", 2, stanch::sandbox::server::Fault::ResetAfter));
    succeeded(bench.perform(&add_key()).await);
    assert_eq!(metadata(&bench)["ssh-keys"], json!(line()));
}

/// Goal: OS Login is seen on the instance and on its project, of which the instance has the last word.
#[tokio::test]
async fn os_login_is_seen() {
    let bench = Bench::start().await;
    bench.emulator.set_project_metadata("sandbox-project", "enable-oslogin", "TRUE").unwrap();
    assert_eq!(bench.facts().await.ssh.os_login.as_deref(), Some("project sandbox-project"));
    bench.emulator.set_metadata(NODE, "enable-oslogin", "FALSE").unwrap();
    assert_eq!(bench.facts().await.ssh.os_login, None);
    bench.emulator.set_metadata(NODE, "enable-oslogin", "true").unwrap();
    assert_eq!(bench.facts().await.ssh.os_login.as_deref(), Some("the instance"));
    assert!(failed(bench.perform(&add_key()).await).1.starts_with("OS Login was switched on"));
    assert_eq!(bench.writes(), 0);
}

/// Goal: a deny of priority 0, an intermediate that stands still, and a namesake of either are no way in.
#[tokio::test]
async fn what_keeps_it_closed_is_named() {
    let bench = Bench::start().await;
    for step in steps() {
        succeeded(bench.perform(&step).await);
    }
    let deny = json!({
        "name": "no-ssh", "network": "projects/sandbox-project/global/networks/prod-vpc", "direction": "INGRESS", "priority": 0,
        "denied": [{ "IPProtocol": "tcp", "ports": ["22"] }], "sourceRanges": ["0.0.0.0/0"],
    });
    bench.emulator.insert_firewall(&deny).unwrap();
    bench.emulator.set_instance_status("bastion", "TERMINATED").unwrap();
    let (_, open) = failed(bench.perform(&verify()).await);
    assert!(open.contains("no-ssh (deny ingress") && open.contains("bastion is not running"), "{open}");
    bench.emulator.recreate_instance("bastion").unwrap();
    let writes = bench.writes();
    for action in [verify(), ComputeAction::UntagIntermediate { intermediate: bastion(), tag: door().source }] {
        assert_eq!(failed(bench.perform(&action).await).0, FailureKind::Stale);
        assert!(matches!(bench.observe(&action).await, Observation::Gone(_)));
    }
    bench.emulator.recreate_instance(NODE).unwrap();
    for action in [add_key(), ComputeAction::RemoveSshKey { instance: instance(), line: line() }, steps().remove(3)] {
        assert_eq!(failed(bench.perform(&action).await).0, FailureKind::Stale);
    }
    assert_eq!(bench.writes(), writes);
}

/// Goal: an intermediate is made as small and closed as planned, found by the survey, used, and deleted; nobody else's is.
#[tokio::test]
async fn an_intermediate_is_made_and_deleted() {
    let bench = Bench::start().await;
    let create = ComputeAction::CreateIntermediate(Box::new(new_intermediate()));
    bench.does(&create).await;
    let state = bench.emulator.snapshot_state();
    let made = &state["instances"][door().source.as_str()];
    assert_eq!(made["interfaces"]["nic0"]["accessConfigs"], json!({}));
    assert_eq!((&made["tags"], &made["metadata"]["ssh-keys"]), (&json!([door().source]), &json!(line())));
    for step in [add_key(), ComputeAction::EnsureFirewallRule(door().rule), steps().remove(3)] {
        bench.does(&step).await;
    }
    let ComputeAction::VerifySsh(access) = verify() else { panic!("verify is another action") };
    let through = SshAccess { intermediate: Intermediate::Made(Box::new(new_intermediate())), ..*access };
    let receipt = succeeded(bench.perform(&ComputeAction::VerifySsh(Box::new(through))).await);
    assert!(receipt.details[0].starts_with("ssh -J rosa@10."), "{receipt:?}");

    let neighbours = bench.facts().await.ssh.neighbours;
    let found = neighbours.into_iter().find(|neighbour| neighbour.instance.name == door().source).unwrap();
    assert_eq!((found.made_by.as_deref(), found.external), (Some("r-k3f9qz"), None));
    let delete = |intermediate, request: &str| ComputeAction::DeleteIntermediate { intermediate, request: request.into() };
    let writes = bench.writes();
    for foreign in [delete(bastion(), "r-k3f9qz"), delete(found.instance.clone(), "r-abcdef")] {
        let (kind, message) = failed(bench.perform(&foreign).await);
        assert_eq!(kind, FailureKind::Refused);
        assert!(message.contains("does not carry the label"), "{message}");
    }
    assert_eq!(bench.writes(), writes);
    bench.does(&delete(found.instance, "r-k3f9qz")).await;
    assert_eq!(bench.emulator.snapshot_state()["disks"].get(door().source.as_str()), None);
    let namesake = NewIntermediate { name: name("bastion"), ..new_intermediate() };
    assert!(failed(bench.perform(&ComputeAction::CreateIntermediate(Box::new(namesake))).await).1.contains("is another one"));
}
