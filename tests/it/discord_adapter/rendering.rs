//! What people read: nothing but Stanch's own words pings, formats or links, and nothing exceeds Discord's limits.

use proptest::prelude::*;
use serde_json::Value;
use stanch::adapters::discord::rendered;
use stanch::core::say::{Mark, Mention, Say};

use super::*;

/// Everything that a message shows in embeds.
fn texts(message: &Message) -> Vec<String> {
    let body = rendered(message, &Emoji::default()).body();
    let embeds = body["embeds"].as_array().unwrap().iter();
    embeds.flat_map(|embed| ["title", "description"].map(|field| embed[field].as_str().unwrap_or_default().to_owned())).collect()
}

/// What a client would show of a text as words, with the markup that it still sees: code blocks, and whatever is not escaped.
fn markup(text: &str) -> String {
    let mut left = String::new();
    for (index, part) in text.split("```").enumerate() {
        // Inside of a code block nothing means anything.
        if index % 2 == 1 {
            continue;
        }
        let mut characters = part.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => {
                    characters.next();
                    left.push('\u{1}');
                }
                character => left.push(character),
            }
        }
    }
    left
}

fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "@everyone",
        "@here",
        "<@731250200012582915>",
        "<@&1181251000046137355>",
        "<#1>",
        "<t:1>",
        "</x:1>",
        "<:a:1>",
        "[a](https://x.example)",
        "https://x.example",
        "discord://x",
        "```",
        "`",
        "**",
        "__",
        "~~",
        "||",
        "# ",
        "-# ",
        "- ",
        "1. ",
        "> ",
        ">>> ",
        "\\",
        "\n",
        "\u{202e}",
        "\u{200b}",
        "\u{feff}",
        "\u{e0041}",
        "a",
        " ",
        "🛑",
        "&",
        "\t",
        "(",
        ")",
        "word",
    ]);
    let text = prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat());
    prop_oneof![3 => text, 1 => any::<String>(), 1 => "[a-z@<`#-]{0,3000}".boxed()]
}

fn block() -> impl Strategy<Value = Block> {
    let mark = prop::sample::select(vec![Mark::Pending, Mark::Running, Mark::Done, Mark::Failed, Mark::Withheld]);
    prop_oneof![
        hostile().prop_map(Block::Heading),
        hostile().prop_map(Block::Text),
        prop::collection::vec(hostile(), 0..20).prop_map(|items| Block::List { title: "Details", items }),
        prop::collection::vec((mark, hostile()), 0..20).prop_map(Block::Steps),
        prop::collection::vec(hostile().prop_map(|words| ("label", words)), 0..6).prop_map(Block::Table),
        hostile().prop_map(Block::Code),
        Just(Block::Voting),
        hostile().prop_map(Block::Fine),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let mention = prop_oneof![
        hostile().prop_map(Mention::Group),
        hostile().prop_map(|id| Mention::Account(Account { platform: Platform::Discord, id })),
        Just(Mention::Group(id::APPROVERS.to_string())),
    ];
    let controls = prop::sample::subsequence(controls(), 0..=4).prop_map(|controls| [controls.clone(), controls].concat());
    (prop::collection::vec(block(), 0..30), controls, prop::collection::btree_set(mention, 0..4))
        .prop_map(|(blocks, controls, mentions)| Message { blocks, controls, mentions })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Goal: hostile words neither ping, format nor link, nothing hides or reorders, and every limit is kept. Method: any message; what is
    /// left of it without escapes and code holds no markup but Stanch's own.
    #[test]
    fn any_message(message in message()) {
        let body = rendered(&message, &Emoji::default()).body();
        let units = |text: &str| text.encode_utf16().count();
        let mut total = 0;
        let embeds = body["embeds"].as_array().unwrap();
        prop_assert!((1..=10).contains(&embeds.len()));
        for embed in embeds {
            let (title, description) = (embed["title"].as_str().unwrap_or_default(), embed["description"].as_str().unwrap_or_default());
            prop_assert!(!title.trim().is_empty() || !description.trim().is_empty());
            prop_assert!(units(title) <= 256 && units(description) <= 4_096);
            total += units(title) + units(description);
        }
        prop_assert!(total <= 6_000, "{total}");
        prop_assert!(body["components"].as_array().unwrap().iter().all(|row| row["components"].as_array().unwrap().len() <= 5));
        let content = body["content"].as_str().unwrap();
        let call = format!("<@&{}>", id::APPROVERS);
        let known = |word: &str| word == call || word.trim_matches(['<', '@', '&', '>']).parse::<u64>().is_ok();
        prop_assert!(content.split(' ').filter(|word| !word.is_empty()).all(known), "{content}");
        prop_assert_eq!(&body["allowed_mentions"]["parse"], &Value::Array(vec![]));
        for text in texts(&message) {
            prop_assert_eq!(text.matches("```").count() % 2, 0, "{}", text);
            let hides = text.chars().any(|c| matches!(c, '\u{200b}' | '\u{202e}' | '\u{feff}' | '\u{e0041}'));
            prop_assert!(!hides, "{}", text);
            let left = markup(&text);
            prop_assert!(!left.contains(['@', '<', '[', ']', '_', '~', '`', '|', '>']) && !left.contains("://"), "{left}");
            for line in left.lines() {
                // Stanch's own bold titles and labels stand at the start of a line, its small print too.
                let own = line.strip_prefix("-# ").unwrap_or(line);
                prop_assert!(own.matches("**").count() * 2 == own.matches('*').count() && own.matches('*').count() <= 4, "{own}");
                let start = own.trim_start();
                prop_assert!(!start.starts_with(['#', '-', '+']), "{own}");
            }
        }
    }
}

/// What Stanch says reads on Discord as it does elsewhere.
#[tokio::test]
async fn a_few_words() {
    let rig = Rig::start().await;
    let steps = vec![(Mark::Done, "1. cordon gke-1".to_owned()), (Mark::Withheld, "2. drain *it*".to_owned())];
    let blocks = vec![
        Block::Heading("r-k3f9qz: running".into()),
        Block::Steps(steps),
        Block::Table(vec![("node", "gke_1".into())]),
        Block::List { title: "Open", items: vec!["<https://a.example>".into()] },
        Block::Code("a ``` b\nc".into()),
        Block::Voting,
        Block::Fine("plan 0f0f".into()),
    ];
    let posted = rig.discord.post(&incidents(), None, &Message { blocks, controls: controls(), ..Message::default() }).await.unwrap();
    let expected = "r-k3f9qz: running\n✅ 1. cordon gke-1\n🚫 2. drain \\*it\\*\n**node:** gke\\_1\n**Open**\n• \\<https\\://a.example\\>\n```\na ˋˋˋ b\nc\n```\n\
                    React with ✅ to approve, ❌ to decline, 🛑 to halt; or press a button.\n-# plan 0f0f\nApprove\nDecline\nHalt\nAsk again";
    assert_eq!(rig.entry(&posted).visible_text(), expected);
    let catalogue = rig.discord.post(&incidents(), None, &Say::Catalogue.message()).await.unwrap();
    assert!(rig.entry(&catalogue).visible_text().contains("halt"), "the catalogue is not cut");
    rig.finish().await;
}

/// What does not fit is cut where it can be seen.
#[test]
fn too_much() {
    let long = Message { blocks: vec![Block::Text("line\n".repeat(5_000)), Block::Fine("small print".into())], ..Message::default() };
    let text = texts(&long).concat();
    assert!(text.contains("more lines") && text.ends_with("-# small print"), "{}", &text[text.len() - 100..]);
    let one = Message { blocks: vec![Block::Text("x".repeat(20_000))], ..Message::default() };
    assert!(texts(&one).concat().contains("more lines"));
}
