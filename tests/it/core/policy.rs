//! Goal: every decision is the expected one, for the expected reason. Method: a corpus of policies and questions in `tests/corpus/policy/`,
//! each line with its whole decision.

use std::collections::BTreeSet;

use stanch::core::identity::{Account, PersonId, Platform};
use stanch::core::policy::{Ask, Decision, Groups, Policy, Subject};
use stanch_commands::CATALOGUE;
use stanch_commands::definition::Phase;

const SMALL: &str = include_str!("../../corpus/policy/small.toml");
const QUESTIONS: &str = include_str!("../../corpus/policy/small.txt");

fn subject(account: &str) -> Subject {
    // `slack:U1`, `slack:U1+S9` (in group S9), `slack:U1?` (groups unknown)
    let (platform, rest) = account.split_once(':').unwrap();
    let platform = match platform {
        "slack" => Platform::Slack,
        "discord" => Platform::Discord,
        other => panic!("no platform `{other}`"),
    };
    let (id, groups) = match (rest.strip_suffix('?'), rest.split_once('+')) {
        (Some(id), _) => (id, Groups::Unknown),
        (None, Some((id, group))) => (id, Groups::Known(BTreeSet::from([group.to_owned()]))),
        (None, None) => (rest, Groups::Known(BTreeSet::new())),
    };
    Subject { account: Account { platform, id: id.into() }, groups }
}

fn answer(policy: &Policy, question: &str) -> Decision {
    let words: Vec<&str> = question.split_whitespace().collect();
    let given = |word: &&'static str| *word;
    let or_none = |word: &'static str| (word != "-").then_some(word);
    let words: Vec<&'static str> = words.into_iter().map(|word| &*word.to_owned().leak()).collect();
    match words.as_slice() {
        [who, "requests", command, cluster, namespace] => {
            policy.may_request(&subject(given(who)), &Ask { command, cluster: or_none(cluster), namespace: or_none(namespace) })
        }
        [who, "approves", phase, "of", requester] => {
            let phase = [Phase::Contain, Phase::Eradicate, Phase::Recover].into_iter().find(|p| p.to_string() == *phase).unwrap();
            policy.may_approve(&subject(given(who)), phase, &PersonId::new(*requester))
        }
        other => panic!("no question: {other:?}"),
    }
}

#[test]
fn the_corpus_of_decisions_holds() {
    let policy = Policy::from_toml(SMALL).unwrap();
    let lines = QUESTIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let (question, expected) = line.split_once(" => ").unwrap();
        let decision = answer(&policy, question);
        let verdict = if decision.permitted { "yes" } else { "no" };
        assert_eq!(format!("{verdict} {}", serde_json::to_string(&decision.reasons).unwrap()), expected, "{question}");
        count += 1;
    }
    assert!(count >= 20, "the corpus has only {count} lines");
}

#[test]
fn the_empty_policy_denies_everything() {
    let policy = Policy::from_toml("").unwrap();
    for definition in CATALOGUE {
        let ask = Ask { command: definition.name, cluster: Some("prod"), namespace: Some("shop") };
        assert!(!policy.may_request(&subject("slack:U1"), &ask).permitted, "{}", definition.name);
    }
    assert_eq!(policy.approvals_needed(Phase::Contain), None, "and no phase that changes anything can run");
}

/// What can warn an attacker is permitted by its name alone: `*` does not cover it, and it permits nothing else.
#[test]
fn exec_has_to_be_named() {
    let policy = |commands: &str| {
        Policy::from_toml(&format!(
            "[people.rosa]\nslack = \"U1\"\n[roles.responder]\npeople = [\"rosa\"]\n[[permits]]\nid = \"p\"\nroles = [\"responder\"]\n\
             commands = [\"{commands}\"]\nclusters = [\"*\"]\nnamespaces = [\"*\"]"
        ))
    };
    let permits = |commands: &str, command: &str| {
        let ask = Ask { command, cluster: Some("prod"), namespace: Some("shop") };
        policy(commands).unwrap().may_request(&subject("slack:U1"), &ask).permitted
    };
    assert_eq!(["inspect", "inspect --exec"].map(|command| permits("*", command)), [true, false]);
    assert_eq!(["inspect", "inspect --exec"].map(|command| permits("inspect", command)), [true, false]);
    assert_eq!(["inspect", "inspect --exec"].map(|command| permits("inspect --exec", command)), [false, true]);
    assert!(policy("inspect --exek").is_err());
}

#[test]
fn every_mistake_in_a_policy_is_named() {
    let text = r#"
        approval_expiry_s = 5
        [people.ann]
        slack = "U1"
        discord = "7"
        [people.bob]
        slack = "U1"
        discord = "7"
        [roles.responder]
        people = ["carl"]
        [[permits]]
        id = "p"
        roles = ["nobody"]
        commands = ["quarentine"]
        clusters = []
        namespaces = ["*"]
        [approvals.contain]
        needed = 0
        roles = []
        [approvals.eradicate]
        needed = 2
        roles = []
    "#;
    let problems = Policy::from_toml(text).unwrap_err();
    assert_eq!(
        problems.0,
        [
            "account `slack:U1` belongs to both `ann` and `bob`",
            "account `discord:7` belongs to both `ann` and `bob`",
            "role `responder` names `carl`, who is not under [people]",
            "permit `p` names role `nobody`, which is not under [roles]",
            "permit `p` names command `quarentine`, which does not exist",
            "permit `p` has no clusters, so it can never apply",
            "approvals.contain: needed = 0 would let one person act alone; 1 is two-person control",
            "approvals.eradicate: nobody may approve, because roles is empty",
            "approval_expiry_s must be 60 to 86400",
        ]
    );
    let misspelt = Policy::from_toml("[aprovals.contain]\nneeded = 1\nroles = []").unwrap_err();
    assert!(misspelt.0[0].contains("unknown field `aprovals`"), "{misspelt}");
}

#[test]
fn the_shipped_policy_is_valid() {
    assert_eq!(Policy::from_toml(include_str!("../../../config/policy.toml")).map(|policy| policy.people.len()), Ok(3));
}
