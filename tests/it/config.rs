//! Goal: every mistake in a configuration is named, with its place, at once. Method: the shipped files, and a corpus of mistakes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

use std::process::Command;

use secrecy::ExposeSecret as _;
use stanch::config::{Access, Bucket, Config, Discord, Emoji, Evidence, SecretSource, Ssh, private_key, secret};
use stanch::core::identity::{ChannelRef, Platform};
use stanch::core::policy::Policy;
use stanch_commands::runtime::{NodeAccess, SshLogin};

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
    assert_eq!(config.witnesses, []);
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

/// Two channels are one only if somebody says so.
#[test]
fn channels_are_shared_on_demand() {
    let both = GOOD.replace("slack = \"C1\"", "slack = \"C1\"\ndiscord = \"7\"").replace("[[channels]]", DISCORD);
    let of = |platform, id: &str| ChannelRef { platform, id: id.into() };
    let (slack, discord) = (of(Platform::Slack, "C1"), of(Platform::Discord, "7"));
    let shared = |flag: &str| Config::from_toml(&format!("{both}{flag}")).unwrap().shared;
    assert_eq!([shared(""), shared("shared = false")], [[].into(), [].into()]);
    assert_eq!(shared("shared = true"), [(slack.clone(), discord.clone()), (discord, slack)].into());
}

#[test]
fn a_second_channel_may_witness_the_log() {
    let config = Config::from_toml(&format!("{GOOD}[audit]\nslack = \"C2\"")).unwrap();
    assert_eq!(config.witnesses, [ChannelRef { platform: Platform::Slack, id: "C2".into() }]);
    let found = problems(&format!("{GOOD}[audit]\nslack = \"#audit\""));
    assert_eq!(found, ["[audit]: `slack` must be the id of a Slack channel, such as `C012ABCDEF`, not its name"]);
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
        ("\"C1\"", "\"C1\"\nshared = true", "[channels.1]: `shared` needs both `slack` and `discord`"),
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

const ACCESS: &str = r#"
[privileged_pod]
enabled = true
namespace = "stanch-privileged"
image = "registry.example/node-tools@sha256:5555555555555555555555555555555555555555555555555555555555555555"
[ssh]
user = "stanch"
private_key_file = "key"
known_hosts_file = "known"
"#;

/// Both ways onto a node are off unless they are there, and complete.
#[test]
fn ways_onto_a_node_are_switched_on_deliberately() {
    for text in [GOOD.to_owned(), include_str!("../../config/stanch.toml").into(), include_str!("../../config/sandbox.toml").into()] {
        assert_eq!(Config::from_toml(&text).unwrap().node_access(), NodeAccess::default());
    }
    let good = format!("{GOOD}{ACCESS}");
    let config = Config::from_toml(&good).unwrap();
    let access = config.node_access();
    assert_eq!(access.privileged_pod.unwrap().namespace.as_str(), "stanch-privileged");
    let login = SshLogin { user: "stanch".parse().unwrap(), externally: false, sudo: true };
    let (private_key, known_hosts) = (SecretSource::File("key".into()), "known".into());
    assert_eq!(config.ssh, Some(Ssh { login, private_key, known_hosts, port: 22 }));
    let off = Config::from_toml(&good.replace("enabled = true", "enabled = false")).unwrap();
    assert_eq!(off.privileged_pod, None);
    let image = "[privileged_pod]: `image` `registry.example/node-tools:1` is no valid pinned image: REGISTRY/PATH@sha256: and 64 lower-case \
                 hexadecimal digits";
    let digest = format!("@sha256:{}", "5".repeat(64));
    for (old, new, problem) in [
        (digest.as_str(), ":1", image),
        ("\"stanch-privileged\"", "\"kube-system\"", "[privileged_pod]: `namespace` must be one for nothing else, not kube-system"),
        ("namespace =", "name =", "[privileged_pod]: needs `namespace`\n[privileged_pod]: `name` is no key of this file"),
        ("known_hosts_file = \"known\"", "", "[ssh]: needs `known_hosts_file`"),
        ("private_key_file = \"key\"", "", "[ssh]: needs `private_key_env` or `private_key_file`"),
        ("\"known\"", "\"known\"\nport = 0", "[ssh]: `port` must be a number from 1 to 65535"),
        ("\"known\"", "\"known\"\nintermediate_address = \"any\"", "[ssh]: `intermediate_address` must be \"internal\" or \"external\""),
    ] {
        assert!(good.contains(old));
        assert_eq!(problems(&good.replacen(old, new, 1)).join("\n"), problem);
    }
    let users = problems(&good.replace("\"stanch\"", "\"-oProxyCommand=x\""));
    assert!(users.iter().any(|problem| problem.starts_with("[ssh]: `user` `-oProxyCommand=x` is no valid user name")), "{users:?}");
}

#[cfg(unix)]
#[test]
fn a_private_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "s3cret\n").unwrap();
    for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o660, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let found = private_key(&SecretSource::File(path.clone()));
        assert_eq!(found.is_ok(), good, "{mode:o}");
        assert!(found.err().is_none_or(|error| error.to_string().contains("others may read it")));
    }
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
