//! Cutting as Slack counts.

use crate::adapters::cut;

pub(super) use crate::adapters::cut::{clean, fitting, note, shares};

/// Characters of `text` once it is escaped, which is how Slack counts.
pub(super) fn cost(text: &str) -> usize {
    cut::cost(text, price)
}

fn price(character: char) -> usize {
    match character {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        _ => 1,
    }
}

/// The longest beginning of `text` that costs at most `most`, and the rest.
pub(super) fn split(text: &str, most: usize) -> (&str, &str) {
    cut::split(text, most, price)
}

/// One line of at most `most`, with an ellipsis if it was longer.
pub(super) fn short(text: &str, most: usize) -> String {
    cut::short(text, most, price)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_character_is_never_split() {
        assert_eq!(cost("a<b&c"), 12);
        assert_eq!((split("a<b", 4), split("a<b", 5)), (("a", "<b"), ("a<", "b")));
        assert_eq!((split("äöü", 2), split("", 2)), (("äö", "ü"), ("", "")));
        assert_eq!((short("abc", 3), short("abcd", 3)), ("abc".to_owned(), "ab…".to_owned()));
    }
}
