//! From options to a line and back: whatever somebody fills in, the parser reads that and nothing else.

use proptest::prelude::*;
use stanch::adapters::fields::{Filled, line};
use stanch_commands::definition::{Argument, Arguments, Definition};
use stanch_commands::parse::parse;
use stanch_commands::{CATALOGUE, find};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPm1fFQzrR5Ws2dk5iYw1V3XqSbq7DxOsPXpKGBjwqLf rosa";

/// Options of a command, each filled in as it should be, and what the parser is to read.
fn filled(definition: &Definition) -> (Vec<(String, Filled)>, Arguments) {
    let mut options: Vec<(String, Filled)> = Vec::new();
    let mut expected = Arguments::default();
    let text = |value: &str| Filled::Text(value.to_owned());
    for argument in definition.arguments {
        let (name, value) = match argument {
            Argument::Pod | Argument::PodOrNode => ("pod", text("shop/cart-1")),
            Argument::Node => ("node", text("gke-1")),
            Argument::Request | Argument::OptionalRequest => ("request", text("r-k3f9qz")),
            Argument::Topic => ("command", text("drain")),
            Argument::Cluster => ("cluster", text("prod")),
            Argument::Incident => ("incident", text("INC-42")),
            Argument::Reason => ("reason", text("shell – in \\ cart:pod --dry-run\nnode x")),
            Argument::Via => ("via", text("bastion-1")),
            Argument::Key | Argument::OptionalKey => ("key", text(KEY)),
            Argument::IsolateFirst => ("isolate-first", Filled::Flag(true)),
            Argument::ScaleToZero => ("scale-to-zero", Filled::Flag(true)),
            Argument::CreateIntermediate => ("create-intermediate", Filled::Flag(true)),
            Argument::StopNow => ("stop-now", Filled::Flag(true)),
            Argument::FalseAlarm => ("false-alarm", Filled::Flag(true)),
            Argument::Exec => ("exec", Filled::Flag(true)),
            Argument::DryRun => ("dry-run", Filled::Flag(true)),
            Argument::Container => ("container", text("cart")),
            Argument::Force => ("force", Filled::Flag(true)),
            Argument::IncludeStanch => ("include-stanch", Filled::Flag(true)),
        };
        options.push((name.to_owned(), value));
        match argument {
            Argument::Pod | Argument::PodOrNode => expected.target = parse("locate pod shop/cart-1").unwrap().arguments.target,
            Argument::Node => expected.target = parse("locate node gke-1").unwrap().arguments.target,
            Argument::Request | Argument::OptionalRequest => expected.request = Some("r-k3f9qz".parse().unwrap()),
            Argument::Topic => expected.topic = Some("drain".into()),
            Argument::Cluster => expected.cluster = Some("prod".parse().unwrap()),
            Argument::Incident => expected.incident = Some("inc-42".parse().unwrap()),
            Argument::Reason => expected.reason = Some("shell – in \\ cart:pod --dry-run\nnode x".into()),
            Argument::Via => expected.via = Some("bastion-1".parse().unwrap()),
            Argument::Key | Argument::OptionalKey => expected.key = Some(KEY.parse().unwrap()),
            Argument::IsolateFirst => expected.isolate_first = true,
            Argument::ScaleToZero => expected.scale_to_zero = true,
            Argument::CreateIntermediate => expected.create_intermediate = true,
            Argument::StopNow => expected.stop_now = true,
            Argument::FalseAlarm => expected.false_alarm = true,
            Argument::Exec => expected.exec = true,
            Argument::DryRun => expected.dry_run = true,
            Argument::Container => expected.container = Some("cart".parse().unwrap()),
            Argument::Force => expected.force = true,
            Argument::IncludeStanch => expected.include_stanch = true,
        }
    }
    (options, expected)
}

/// Every command with everything filled in, and with every switch off.
#[test]
fn every_command_comes_back() {
    for definition in CATALOGUE {
        let (mut options, mut expected) = filled(definition);
        let typed = line(definition.name, &options).unwrap();
        let parsed = parse(&typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
        assert_eq!((parsed.definition.name, parsed.arguments), (definition.name, expected.clone()), "{typed}");
        options.iter_mut().for_each(|(_, value)| {
            if let Filled::Flag(flag) = value {
                *flag = false;
            }
        });
        let none = Arguments::default();
        expected = Arguments {
            isolate_first: none.isolate_first,
            scale_to_zero: none.scale_to_zero,
            create_intermediate: none.create_intermediate,
            stop_now: none.stop_now,
            false_alarm: none.false_alarm,
            exec: none.exec,
            dry_run: none.dry_run,
            force: none.force,
            include_stanch: none.include_stanch,
            ..expected
        };
        assert_eq!(parse(&line(definition.name, &options).unwrap()).unwrap().arguments, expected);
    }
    assert_eq!(line("format-disk", &[]), None);
    assert_eq!(line("list", &[("pod".into(), Filled::Text("x".into()))]), None);
}

/// Text that tries to be more than one value.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"",
        "“",
        "”",
        "„",
        "'",
        " ",
        "\n",
        "\u{a0}",
        "--exec",
        "--dry-run",
        "—exec",
        "pod",
        "node",
        "a/b",
        ":",
        "cluster:",
        "reason:",
        "key:",
        "r-k3f9qz",
        "\\",
        "x",
        "\0",
        "\u{202e}",
        "`",
        "-",
    ]);
    let text = prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat());
    prop_oneof![text, any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Goal: a hostile value is that value (its quotation marks as apostrophes), or the line is refused; the other arguments are never
    /// touched. Method: each text option of a random command becomes hostile.
    #[test]
    fn a_value_stays_a_value(command in prop::sample::select(CATALOGUE.iter().map(|definition| definition.name).collect::<Vec<_>>()), value in hostile(), at in any::<prop::sample::Index>()) {
        let definition = find(command).unwrap();
        let (mut options, expected) = filled(definition);
        if options.is_empty() {
            return Ok(());
        }
        let at = at.index(options.len());
        let (name, old) = options[at].clone();
        if let Filled::Flag(_) = old {
            return Ok(());
        }
        options[at].1 = Filled::Text(value.clone());
        let Ok(parsed) = parse(&line(command, &options).unwrap()) else { return Ok(()) };
        prop_assert_eq!(parsed.definition.name, command);
        let plain = value.replace(['"', '“', '”', '„'], "'");
        let mut restored = parsed.arguments.clone();
        match name.as_str() {
            "pod" | "node" => restored.target = expected.target.clone(),
            "request" => restored.request = expected.request.clone(),
            "command" => {
                prop_assert!(restored.topic.as_deref().is_some_and(|topic| topic.ends_with(&plain)));
                restored.topic = expected.topic.clone();
            }
            "cluster" => restored.cluster = expected.cluster.clone(),
            "incident" => restored.incident = expected.incident.clone(),
            "reason" => {
                prop_assert_eq!(restored.reason.as_deref(), Some(plain.trim()));
                restored.reason = expected.reason.clone();
            }
            "container" => restored.container = expected.container.clone(),
            "via" => restored.via = expected.via.clone(),
            "key" => restored.key = expected.key.clone(),
            other => panic!("{other}"),
        }
        prop_assert_eq!(restored, expected);
    }
}
