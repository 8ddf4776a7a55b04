//! Goal: a wrong configuration is refused with words that say what to change. Method: one wrong file a problem.
#![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

use stanch::config::Config;
use stanch::core::policy::Policy;

const RIGHT: &str = include_str!("../../config/stanch.toml");

#[test]
fn the_shipped_files_are_right() {
    let policy = Policy::from_toml(include_str!("../../config/policy.toml")).unwrap();
    for text in [RIGHT, include_str!("../../config/sandbox.toml")] {
        let config = Config::from_toml(text).unwrap();
        assert_eq!(config.contradictions(&policy), Vec::<String>::new());
    }
}

#[test]
fn every_problem_is_named() {
    for (from, to, problem) in [
        ("form = \"strict\"", "form = \"loose\"", "unknown variant `loose`"),
        ("drain_deadline_s = 120", "drain_deadline_s = 1", "limits.drain_deadline_s is 1, but must be 10 to 3600"),
        ("drain_newcomers = 5", "drain_newcomer = 5", "unknown field `drain_newcomer`"),
        ("context = \"prod\"\n", "", "clusters.prod: kubeconfig needs context"),
        ("# in_cluster = true", "in_cluster = true", "clusters.prod: in_cluster = true excludes"),
        ("slack = \"C0INCIDENTS\"", "slack = \"D0INCIDENTS\"", "direct messages are not admitted"),
        ("cluster = \"prod\"", "cluster = \"test\"", "channel `C0INCIDENTS` names cluster `test`"),
        ("# bot_token_file", "bot_token_file", "give exactly one of bot_token_env and bot_token_file"),
        ("\"SLACK_BOT_TOKEN\"", "\"xoxb-123\"", "a token stands where the name of a variable belongs"),
        ("no = \"x\"", "no = \"white_check_mark\"", "must be three different names"),
        ("# endpoint = \"http://127.0.0.1:8080\"", "endpoint = \"http://example.com\"", "must be https, or http on loopback"),
        ("location = \"europe-west4\"", "location = \"Europe\"", "no valid zone or region"),
    ] {
        assert!(RIGHT.contains(from), "{from}");
        let error = Config::from_toml(&RIGHT.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(problem), "{to}: {error}");
    }
}

#[test]
fn a_permit_for_a_cluster_that_is_not_there_is_a_contradiction() {
    let text = include_str!("../../config/policy.toml").replace("clusters = [\"*\"]", "clusters = [\"prdo\"]");
    let contradictions = Config::from_toml(RIGHT).unwrap().contradictions(&Policy::from_toml(&text).unwrap());
    assert_eq!(contradictions, ["permit `responders-everywhere` names cluster `prdo`, which is not configured"]);
}

#[test]
fn a_missing_token_says_which_variable_to_set() {
    let config = Config::from_toml(&RIGHT.replace("SLACK_BOT_TOKEN", "STANCH_TEST_UNSET_TOKEN")).unwrap();
    let error = config.slack.bot_token().unwrap_err().to_string();
    assert_eq!(error, "the environment variable `STANCH_TEST_UNSET_TOKEN` is not set; it is to hold the Slack bot token");
}
