//! What several test modules share.

/// Says that a test cannot run here. Fails if skips are forbidden (`STANCH_FORBID_SKIPS=1`) and this one is not in `tests/allowed-skips.txt`,
/// whose lines are `name: reason`.
#[expect(clippy::print_stdout, reason = "the line is how CI sees the skip")]
pub fn skip(name: &str, reason: &str) {
    let allowed = include_str!("../allowed-skips.txt");
    let listed = allowed.lines().any(|line| line.split_once(": ").is_some_and(|(listed, _)| listed == name));
    let forbidden = std::env::var("STANCH_FORBID_SKIPS").is_ok_and(|value| value == "1");
    assert!(listed || !forbidden, "{name} was skipped ({reason}) and is not in tests/allowed-skips.txt");
    println!("SKIPPED {name}: {reason}");
}
