//! Everything that must end without a container being touched, or without a guess.

use std::time::Duration;

use stanch::core::step::{Failure, FailureKind, Observation, Outcome};
use stanch_commands::runtime::{Ending, Tool, Verb};

use super::machine::Setup;
use super::{ALL, Subject, bastion, host};

/// Fails with these words, and nothing was run on the node.
async fn refused(subject: &Subject, kind: FailureKind, words: &str) {
    let action = subject.action(Tool::Crictl, &ALL);
    let outcome = subject.perform(&action).await.outcome;
    let Outcome::Failed(Failure { kind: found, message, hint }) = outcome else { panic!("{outcome:?}") };
    assert_eq!((found, message.as_str()), (kind, words));
    assert!(hint.is_some(), "{message}");
    assert_eq!(subject.machines.calls(), Vec::<String>::new());
    assert!(matches!(subject.observe(&action).await, Observation::Unclear(_) | Observation::Gone(_)));
}

#[tokio::test]
async fn only_known_host_keys_are_trusted() {
    let Some(subject) = Subject::start().await else { return };
    let cases: [(&[(&str, &str)], &str); 7] = [
        (&[], "the host key of intermediate bastion is not known"),
        (&[("compute.7", "host-key")], "the host key of intermediate bastion is not known"),
        (&[("compute.8", "via-key")], "the host key of instance gke-1 is not known"),
        (&[("compute.7", "host-key"), ("compute.8", "another-key")], "the host key of intermediate bastion is not the one that is known"),
        (&[("compute.7", "another-key"), ("compute.8", "via-key")], "the host key of instance gke-1 is not the one that is known"),
        // The two changed places: each has a key that is known, of the other.
        (&[("compute.7", "via-key"), ("compute.8", "via-key")], "the host key of instance gke-1 is not the one that is known"),
        (&[("compute.7", "host-key"), ("compute.8", "via-key"), ("@revoked *", "host-key")], "the host key of instance gke-1 is revoked"),
    ];
    for (known, words) in cases {
        subject.know(known);
        refused(&subject, FailureKind::Refused, words).await;
    }
    // Nothing was learnt on the way.
    subject.know(&[("compute.8", "via-key")]);
    refused(&subject, FailureKind::Refused, "the host key of instance gke-1 is not known").await;
    std::fs::remove_file(subject.machines.path("known_hosts")).unwrap();
    let Outcome::Failed(failure) = subject.perform(&subject.action(Tool::Crictl, &ALL)).await.outcome else { panic!("no file") };
    assert!(failure.message.starts_with("cannot read the known hosts in "), "{}", failure.message);
}

#[tokio::test]
async fn a_strangers_key_and_a_closed_intermediate_stop_it() {
    let Some(subject) = Subject::of(Setup { forwarding: true }, "stranger").await else { return };
    let user = subject.machines.user.clone();
    refused(&subject, FailureKind::Refused, &format!("intermediate bastion does not let `{user}` in with Stanch's key")).await;
    let Some(subject) = Subject::of(Setup { forwarding: false }, "own").await else { return };
    let outcome = subject.perform(&subject.action(Tool::Crictl, &ALL)).await.outcome;
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(failure.message.starts_with("intermediate bastion does not forward to 127.0.0.3:"), "{}", failure.message);
    assert_eq!(subject.machines.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn an_instance_that_is_gone_stopped_or_elsewhere_is_not_connected_to() {
    let Some(subject) = Subject::start().await else { return };
    let told = subject.told.0.lock().unwrap().clone();
    for (which, name) in [(host(), "gke-1"), (bastion(), "bastion")] {
        subject.told.0.lock().unwrap().remove(&which);
        refused(&subject, FailureKind::Stale, &format!("instance {name} is gone or is another one now")).await;
        subject.told.0.lock().unwrap().clone_from(&told);
        subject.told.0.lock().unwrap().get_mut(&which).unwrap().status = "TERMINATED".into();
        refused(&subject, FailureKind::Refused, &format!("instance {name} is TERMINATED")).await;
        subject.told.0.lock().unwrap().get_mut(&which).unwrap().clone_from(&told[&which]);
        subject.told.0.lock().unwrap().get_mut(&which).unwrap().internal = [("p/other".to_owned(), "127.0.0.3".to_owned())].into();
        refused(&subject, FailureKind::Refused, &format!("instance {name} has no address in sandbox-project/prod-vpc")).await;
        subject.told.0.lock().unwrap().clone_from(&told);
    }
    // An address that leads to another machine: its key tells.
    subject.told.0.lock().unwrap().insert(host(), told[&bastion()].clone());
    refused(&subject, FailureKind::Refused, "the host key of instance gke-1 is not the one that is known").await;
}

#[tokio::test]
async fn the_node_has_to_confirm_whose_container_it_is() {
    for tool in [Tool::Crictl, Tool::Docker] {
        let Some(subject) = Subject::start().await else { return };
        subject.machines.set("uid", "uid-other");
        let action = subject.action(tool, &ALL);
        let Outcome::Failed(failure) = subject.perform(&action).await.outcome else { panic!("it is another one") };
        assert_eq!(failure.kind, FailureKind::Stale);
        assert_eq!(
            failure.message,
            "container server of pod shop/cart is not what has that id: it is container `server` of the pod with uid `uid-other`"
        );
        assert_eq!(subject.done(), Vec::<String>::new());
        assert!(matches!(subject.observe(&action).await, Observation::Gone(_)));

        subject.machines.set("uid", "uid-cart");
        subject.machines.set("id", &"0".repeat(64));
        let Outcome::Failed(failure) = subject.perform(&action).await.outcome else { panic!("the tool fails") };
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains("cannot be asked"), "{}", failure.message);
        assert_eq!(subject.done(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_hangs_or_is_cut_off_is_not_known_and_the_next_look_tells() {
    let Some(subject) = Subject::start().await else { return };
    subject.machines.set("resists", "hangs");
    let action = subject.action(Tool::Crictl, &ALL);
    let outcome = subject.perform(&action).await.outcome;
    assert_eq!(outcome, Outcome::Unknown("instance gke-1: the program did not end within 10 s".into()));
    assert_eq!(subject.done().len(), 1, "nothing is tried on top of it");
    assert_eq!(subject.observe(&action).await, Observation::NotInPlace);

    std::fs::remove_file(subject.machines.path("node/hanging")).unwrap();
    let hanging = async {
        while !subject.machines.path("node/hanging").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        subject.machines.cut();
    };
    let (performed, ()) = tokio::join!(subject.perform(&action), hanging);
    assert!(matches!(performed.outcome, Outcome::Unknown(_)), "{:?}", performed.outcome);
    assert_eq!(subject.done().len(), 2);
    assert!(matches!(subject.observe(&action).await, Observation::Unclear(_)), "nobody answers any more");
    let outcome = subject.perform(&action).await.outcome;
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.kind, FailureKind::Unavailable);
}

/// Whatever a record or a survey holds, only plain words become an action.
#[tokio::test]
async fn hostile_words_are_no_action() {
    let Some(subject) = Subject::start().await else { return };
    let stanch_commands::action::SshAction::EndContainer { ending, .. } = subject.action(Tool::Crictl, &[Verb::Kill]);
    let good = serde_json::to_value(&ending).unwrap();
    assert!(serde_json::from_value::<Ending>(good.clone()).is_ok());
    for (pointer, hostile) in [
        ("/container/id", "4f1c; reboot"),
        ("/container/id", "$(reboot)"),
        ("/container/id", "--all"),
        ("/container/id", ""),
        ("/container/name", "server'"),
        ("/container/tool", "sh"),
        ("/pod/uid", "a b"),
        ("/node/name", "../x"),
    ] {
        let mut value = good.clone();
        *value.pointer_mut(pointer).unwrap() = hostile.into();
        assert!(serde_json::from_value::<Ending>(value).is_err(), "{pointer} {hostile}");
    }
    for hostile in ["root; id", "-oProxyCommand=x", "a@b", "", "A"] {
        assert!(hostile.parse::<stanch_commands::target::UserName>().is_err(), "{hostile}");
    }
}
