//! Cutting: what people read is cut where it can be seen, and never silently. Platforms count differently, so that each says what a
//! character costs.

/// Room for the line that says how much was left out.
const NOTE: usize = 60;

/// What a character costs once it is escaped.
pub type Price = fn(char) -> usize;

/// What a text costs.
#[must_use]
pub fn cost(text: &str, price: Price) -> usize {
    text.chars().map(price).sum()
}

/// The longest beginning of `text` that costs at most `most`, and the rest.
#[must_use]
pub fn split(text: &str, most: usize, price: Price) -> (&str, &str) {
    let mut spent = 0;
    let end = text.char_indices().find(|(_, character)| {
        spent += price(*character);
        spent > most
    });
    text.split_at(end.map_or(text.len(), |(index, _)| index))
}

/// One line of at most `most`, with an ellipsis if it was longer.
#[must_use]
pub fn short(text: &str, most: usize, price: Price) -> String {
    if cost(text, price) <= most {
        return text.to_owned();
    }
    let (kept, _) = split(text, most.saturating_sub(1), price);
    format!("{kept}…")
}

/// How many of `costs` fit into `budget`, with room for the note if not all do.
#[must_use]
pub fn fitting(costs: &[usize], budget: usize) -> usize {
    if costs.iter().sum::<usize>() <= budget {
        return costs.len();
    }
    let mut left = budget.saturating_sub(NOTE);
    let fits = |cost: &&usize| {
        let fits = **cost <= left;
        left = left.saturating_sub(**cost);
        fits
    };
    costs.iter().take_while(fits).count()
}

/// The note about what did not fit; `None` if everything did.
#[must_use]
pub fn note(lines_left_out: usize) -> Option<String> {
    match lines_left_out {
        0 => None,
        1 => Some("… 1 more line".to_owned()),
        more => Some(format!("… {more} more lines")),
    }
}

/// What each part may cost if all together may cost `total`: the longest are cut first, and all of those to the same length.
#[must_use]
pub fn shares(sizes: &[usize], total: usize) -> Vec<usize> {
    let mut by_size: Vec<(usize, usize)> = sizes.iter().copied().enumerate().collect();
    by_size.sort_by_key(|(_, size)| *size);
    let (mut left, mut parts) = (total, sizes.len());
    let mut shares: Vec<(usize, usize)> = Vec::with_capacity(parts);
    for (index, size) in by_size {
        let share = size.min(left.checked_div(parts).unwrap_or(0));
        (left, parts) = (left.saturating_sub(share), parts.saturating_sub(1));
        shares.push((index, share));
    }
    shares.sort_unstable();
    shares.into_iter().map(|(_, share)| share).collect()
}

/// One line without characters that hide, reorder or fake others: a line break would let a label look like a step of its own.
#[must_use]
pub fn clean(words: &str) -> String {
    let shown = |character: char| match character {
        '\u{061C}' | '\u{180E}' | '\u{E0000}'..='\u{E007F}' => char::REPLACEMENT_CHARACTER,
        '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' => char::REPLACEMENT_CHARACTER,
        character if character.is_control() => ' ',
        character => character,
    };
    words.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_with_room_for_the_note() {
        assert_eq!(fitting(&[50, 50], 100), 2);
        assert_eq!(fitting(&[10, 10, 10, 100], 100), 3);
        assert_eq!(fitting(&[100, 1], 100), 0);
    }

    #[test]
    fn the_longest_are_cut_first() {
        assert_eq!(shares(&[10, 500, 20, 700], 1000), vec![10, 485, 20, 485]);
        assert_eq!(shares(&[10, 500, 20, 700], 2000), vec![10, 500, 20, 700]);
        assert_eq!((shares(&[], 10), shares(&[5, 5], 0)), (vec![], vec![0, 0]));
    }
}
