//! Text in Discord's Markdown: everything that could format, link or mention is escaped, since there is no way to send words without markup.

use crate::adapters::cut;

/// What a character costs at most, in UTF-16 units, which is never less than Discord counts.
pub(super) fn price(character: char) -> usize {
    let escape = usize::from(is_markup(character) || character == ':');
    escape + character.len_utf16()
}

/// What a rendered text costs.
pub(super) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Means something wherever it stands. `<` begins every mention, time and custom emoji; `[` every link with words of its own.
fn is_markup(character: char) -> bool {
    matches!(character, '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '>' | '[' | ']' | '@' | '#')
}

/// One line of words as everybody shall read it. Also what means something only at the start of a line (lists, small print) or before slashes
/// (addresses become links) is escaped there.
pub(super) fn escaped(words: &str) -> String {
    escape(words, true)
}

/// The same for words that something else stands before.
pub(super) fn escaped_inside(words: &str) -> String {
    escape(words, false)
}

fn escape(words: &str, begins_line: bool) -> String {
    let mut shown = String::with_capacity(words.len() + 8);
    let mut characters = words.chars().peekable();
    // Nothing but space so far; nothing but digits after it so far.
    let (mut at_start, mut in_number) = (begins_line, false);
    while let Some(character) = characters.next() {
        let begins_list = (at_start && matches!(character, '-' | '+')) || (in_number && matches!(character, '.' | ')'));
        let begins_address = character == ':' && characters.peek() == Some(&'/');
        if is_markup(character) || begins_list || begins_address {
            shown.push('\\');
        }
        shown.push(character);
        in_number = character.is_ascii_digit() && (at_start || in_number);
        at_start &= character.is_whitespace();
    }
    shown
}

/// One line of a code block. There nothing means anything but the fence, so what it is made of becomes a character that looks alike.
pub(super) fn in_code(words: &str) -> String {
    cut::clean(words).replace('`', "ˋ")
}

/// A code block.
pub(super) fn fenced(lines: &str) -> String {
    format!("```\n{lines}\n```")
}

/// What a fence costs around its lines.
pub(super) const FENCE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mean_something_is_escaped() {
        let cases = [
            ("shop/cart-7d4b_x on gke-1 (10:42)", r"shop/cart-7d4b\_x on gke-1 (10:42)"),
            ("@everyone <@1> <#2> <@&3> </x:4> <t:5> <:a:6>", r"\@everyone \<\@1\> \<\#2\> \<\@&3\> \</x:4\> \<t:5\> \<:a:6\>"),
            ("[click](https://evil.example)", r"\[click\](https\://evil.example)"),
            ("**b** ~~s~~ ||x|| `c` \\*", r"\*\*b\*\* \~\~s\~\~ \|\|x\|\| \`c\` \\\*"),
            ("# heading", r"\# heading"),
            ("  - item", r"  \- item"),
            ("12. item 3. not", r"12\. item 3. not"),
            ("> quote", r"\> quote"),
            ("-# small", r"\-\# small"),
        ];
        for (words, shown) in cases {
            assert_eq!(escaped(words), shown);
            assert!(length(&escaped(words)) <= cut::cost(words, price) + 1, "{words}");
        }
        assert_eq!(escaped_inside("1. - a@b"), r"1. - a\@b");
        assert_eq!(fenced(&in_code("a ``` b")), "```\na ˋˋˋ b\n```");
        assert_eq!((length("a🛑"), price('🛑'), price('@')), (3, 2, 2));
    }
}
