//! Goal: every mistake in a configuration is named, with its place, at once. Method: the shipped files, and a corpus of mistakes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::process::Command;

use secrecy::ExposeSecret as _;
use stanch::config::{Access, Bucket, Config, Discord, Emoji, Evidence, SecretSource, secret};
use stanch::core::identity::{ChannelRef, Platform};
use stanch::core::policy::Policy;

const GOOD: &str = r#"
[clusters.a]
project = "project-a"
location = "us-central1"
in_cluster = true
[slack]
bot_token_env = "BOT"
app_token_file = "app"
[[channels]]
slack = "C1"
"#;

const DISCORD: &str = r#"
[discord]
bot_token_env = "DISCORD"
application_id = "1"
guild_id = "2"
[[channels]]"#;

fn problems(text: &str) -> Vec<String> {
    Config::from_toml(text).unwrap_err().0
}

#[test]
fn the_shipped_files_are_good() {
    let stanch = Config::from_toml(include_str!("../../config/stanch.toml")).unwrap();
    assert_eq!(stanch.limits, stanch_commands::definition::Limits::default());
    let sandbox = Config::from_toml(include_str!("../../config/sandbox.toml")).unwrap();
    let cluster = sandbox.clusters.get(&"sandbox".parse().unwrap()).unwrap();
    assert_eq!(cluster.access, Access::Kubeconfig { path: ".sandbox/kubeconfig".into(), context: "sandbox".into() });
    assert_eq!((cluster.project.as_str(), cluster.location.as_str()), ("sandbox-project", "us-central1-a"));
    let policy = Policy::from_toml(include_str!("../../config/policy.toml")).unwrap();
    assert_eq!((stanch.problems_with(&policy), sandbox.problems_with(&policy)), (vec![], vec![]));
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = Config::from_toml(GOOD).unwrap();
    let of = |platform, id: &str| ChannelRef { platform, id: id.into() };
    assert_eq!(config.channels, [(of(Platform::Slack, "C1"), "a".parse().unwrap())].into());
    let slack = config.slack.unwrap();
    assert_eq!((slack.bot_token, slack.app_token), (SecretSource::Env("BOT".into()), SecretSource::File("app".into())));
    assert_eq!((config.compute_endpoint, slack.emoji.yes.as_str(), config.discord), (None, "white_check_mark", None));
    let config =
        Config::from_toml(&GOOD.replace("slack = \"C1\"", "slack = \"C1\"\ndiscord = \"7\"").replace("[[channels]]", DISCORD)).unwrap();
    let expected = Discord {
        bot_token: SecretSource::Env("DISCORD".into()),
        application_id: "1".into(),
        guild_id: "2".into(),
        global_commands: false,
        emoji: Emoji { yes: "✅".into(), no: "❌".into(), halt: "🛑".into() },
    };
    assert_eq!(config.discord, Some(expected));
    let cluster = || "a".parse().unwrap();
    assert_eq!(config.channels, [(of(Platform::Slack, "C1"), cluster()), (of(Platform::Discord, "7"), cluster())].into());
}

#[test]
fn every_mistake_is_named() {
    let cases = [
        ("in_cluster = true", "", "[clusters.a]: needs either `kubeconfig` and `context`, or `in_cluster = true`"),
        (
            "in_cluster = true",
            "kubeconfig = \"f\"",
            "[clusters.a]: `kubeconfig` needs `context`: the current context of a file can change under you",
        ),
        ("in_cluster = true", "context = \"c\"", "[clusters.a]: `context` needs `kubeconfig`"),
        (
            "in_cluster = true",
            "in_cluster = true\ncontext = \"c\"",
            "[clusters.a]: has both `in_cluster = true` and `kubeconfig` or `context`",
        ),
        ("location = \"us-central1\"", "", "[clusters.a]: needs `location`"),
        ("project =", "zone = \"z\"\nproject =", "[clusters.a]: `zone` is no key of this file"),
        ("bot_token_env = \"BOT\"", "", "[slack]: needs `bot_token_env` or `bot_token_file`"),
        (
            "bot_token_env = \"BOT\"",
            "bot_token_env = \"BOT\"\nbot_token_file = \"f\"",
            "[slack]: has both `bot_token_env` and `bot_token_file`",
        ),
        (
            "\"BOT\"",
            "\"xoxb-1\"",
            "[slack]: `bot_token_env` must be the name of an environment variable, in capitals; a secret has no place here",
        ),
        ("\"C1\"", "\"#incidents\"", "[channels.1]: `slack` must be the id of a Slack channel, such as `C012ABCDEF`, not its name"),
        ("\"C1\"", "\"C1\"\ncluster = \"b\"", "[channels.1]: `cluster` names `b`, which is not under [clusters]"),
        ("\"C1\"", "\"C1\"\n[[channels]]\nslack = \"C1\"", "[channels.2]: channel `C1` is there twice"),
        ("\"C1\"", "\"C1\"\n[limits]\ndrain_deadline_s = 0", "[limits]: `drain_deadline_s` must be a number from 10 to 3600"),
        ("\"C1\"", "\"C1\"\n[compute]\nendpoint = \"http://compute.example\"", "[compute]: `endpoint` must be https, or http on loopback"),
        ("\"C1\"", "\"C1\"\n[compute]\nendpoint = \"https://a:b@compute.example\"", "[compute]: `endpoint` must not hold credentials"),
        ("\"C1\"", "\"C1\"\n[slack.emoji]\nyes = \"x\"", "[slack.emoji]: `yes`, `no` and `halt` must differ"),
        ("\"C1\"", "\"C1\"\n[evidence]\nbucket = \"s3://b\"", "[evidence]: `bucket` must be `gs://BUCKET/PREFIX` or `file:///FOLDER`"),
        ("\"C1\"", "\"C1\"\n[evidence]\nbucket = \"file://b\"", "[evidence]: `bucket` must have three slashes: `file:///FOLDER`"),
        (
            "\"C1\"",
            "\"C1\"\n[evidence]\nbucket = \"gs://B\"",
            "[evidence]: `bucket` names no bucket: `B` is not 3 to 222 of a-z, 0-9, `-`, `_` and `.`",
        ),
        (
            "\"C1\"",
            "\"C1\"\n[evidence]\nbucket = \"gs://bucket/a/../b\"",
            "[evidence]: `bucket` has an unusual prefix: segments of letters, digits, `.`, `_` and `-`, none with a leading dot",
        ),
        (
            "\"C1\"",
            "\"C1\"\n[evidence]\nbucket = \"file:///mnt/evidence\"\nendpoint = \"https://storage.example\"",
            "[evidence]: `endpoint` is for buckets, `bucket` is a folder",
        ),
        (
            "\"C1\"",
            "\"C1\"\n[evidence]\nendpoint = \"http://storage.example\"",
            "[evidence]: `endpoint` must be https, or http on loopback",
        ),
        ("\n[clusters.a]", "form = \"loose\"\n[clusters.a]", "`form` must be \"strict\" or \"guide\""),
        ("\n[clusters.a]", "colour = 1\n[clusters.a]", "`colour` is no key of this file"),
        ("[[channels]]\nslack = \"C1\"", "", "there is no [[channels]], so nothing could be asked for anywhere"),
    ];
    for (old, new, problem) in cases {
        assert!(GOOD.contains(old));
        assert_eq!(problems(&GOOD.replacen(old, new, 1)), [problem]);
    }
}

#[test]
fn what_a_whole_file_lacks_is_named() {
    let two = GOOD.to_owned() + "[clusters.b]\nproject = \"p\"\nlocation = \"z\"\nin_cluster = true\n";
    assert_eq!(problems(&two), ["[channels.1]: needs `cluster`, unless there is exactly one"]);
    assert_eq!(
        problems(""),
        [
            "there is no [clusters.NAME]",
            "there is neither [slack] nor [discord]",
            "there is no [[channels]], so nothing could be asked for anywhere"
        ]
    );
}

#[test]
fn a_bucket_is_a_bucket_or_a_folder() {
    let bucket = |text: &str| Config::from_toml(&format!("{GOOD}\n[evidence]\nbucket = \"{text}\"\n")).unwrap().evidence.bucket;
    let gcs = |bucket: &str, prefix: &str| Some(Bucket::Gcs { bucket: bucket.into(), prefix: prefix.into() });
    assert_eq!(Config::from_toml(GOOD).unwrap().evidence, Evidence::default());
    assert_eq!(bucket("gs://example-evidence"), gcs("example-evidence", ""));
    assert_eq!(bucket("gs://example-evidence/stanch/prod/"), gcs("example-evidence", "stanch/prod"));
    assert_eq!(bucket("file:///mnt/evidence"), Some(Bucket::Folder("/mnt/evidence".into())));
}

#[test]
fn every_mistake_about_discord_is_named() {
    let discord = GOOD.replace("[[channels]]", DISCORD);
    for (old, new, problem) in [
        (
            "\"1\"",
            "\"Stanch\"",
            "[discord]: `application_id` must be the id of a Discord application in quotation marks, such as \"1181250000004194305\", not its name",
        ),
        ("guild_id = \"2\"", "", "[discord]: needs `guild_id`"),
        (
            "\"2\"",
            "\"2\"\n[discord.emoji]\nyes = \":x:\"",
            "[discord.emoji]: `yes` must be an emoji, such as `✅`, or NAME:ID for one of the server",
        ),
        ("\"2\"", "\"2\"\n[discord.emoji]\nyes = \"❌\"", "[discord.emoji]: `yes`, `no` and `halt` must differ"),
        ("slack = \"C1\"", "", "[channels.1]: needs `slack` or `discord`"),
    ] {
        assert_eq!(problems(&discord.replacen(old, new, 1)), [problem]);
    }
    assert_eq!(problems(&GOOD.replace("slack = \"C1\"", "discord = \"7\"")), ["[channels.1]: `discord` needs [discord]"]);
}

#[test]
fn a_missing_secret_is_named_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let missing = secret(&SecretSource::Env("STANCH_TEST_NO_SUCH_VARIABLE".into())).unwrap_err();
    assert!(missing.to_string().contains("STANCH_TEST_NO_SUCH_VARIABLE"));
    assert!(secret(&SecretSource::File(path.clone())).unwrap_err().to_string().contains(&path.display().to_string()));
    std::fs::write(&path, "s3cret\n").unwrap();
    let found = secret(&SecretSource::File(path)).unwrap();
    assert_eq!((found.expose_secret(), format!("{found:?}").contains("s3cret")), ("s3cret", false));
}

#[test]
fn check_names_a_permit_for_a_cluster_that_is_not_configured() {
    let folder = tempfile::tempdir().unwrap();
    let (policy, config) = (folder.path().join("policy.toml"), folder.path().join("stanch.toml"));
    let text = include_str!("../../config/policy.toml").replacen("clusters = [\"*\"]", "clusters = [\"a\", \"prdo\"]", 1);
    std::fs::write(&policy, text).unwrap();
    std::fs::write(&config, GOOD).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_stanch")).arg("check").arg("--policy").arg(&policy).arg("--config").arg(&config).output();
    let output = output.unwrap();
    let (policy, config) = (policy.display(), config.display());
    let expected = format!("{policy}: permit `responders-everywhere` names cluster `prdo`, which is not configured in {config}\n");
    assert_eq!((String::from_utf8(output.stdout).unwrap(), output.status.code()), (expected, Some(1)));
}
