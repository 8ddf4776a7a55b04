//! Cutting: what people read is cut where it can be seen, and never silently.

/// Room for the line that says how much was left out.
const NOTE: usize = 60;

/// Characters of `text` once it is escaped, which is how Slack counts.
pub(super) fn cost(text: &str) -> usize {
    text.chars().map(cost_of).sum()
}

fn cost_of(character: char) -> usize {
    match character {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        _ => 1,
    }
}

/// The longest beginning of `text` that costs at most `most`, and the rest.
pub(super) fn split(text: &str, most: usize) -> (&str, &str) {
    let mut spent = 0;
    let end = text.char_indices().find(|(_, character)| {
        spent += cost_of(*character);
        spent > most
    });
    text.split_at(end.map_or(text.len(), |(index, _)| index))
}

/// One line of at most `most`, with an ellipsis if it was longer.
pub(super) fn short(text: &str, most: usize) -> String {
    if cost(text) <= most {
        return text.to_owned();
    }
    let (kept, _) = split(text, most.saturating_sub(1));
    format!("{kept}…")
}

/// How many of `costs` fit into `budget`, with room for the note if not all do.
pub(super) fn fitting(costs: &[usize], budget: usize) -> usize {
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

/// What each part may cost if all together may cost `total`: the longest are cut first, and all of those to the same length.
pub(super) fn shares(sizes: &[usize], total: usize) -> Vec<usize> {
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
