//! From words to Slack's blocks. Nearly everything becomes rich text, in which Slack reads text literally: it has no markup that words
//! could fake, neither mentions nor formatting nor emoji.

use serde_json::{Value, json};

use super::cut;
use super::settings::Emoji;
use crate::core::identity::Platform;
use crate::core::say::{Block, Control, Mark, Mention, Message};

/// Blocks in a message, as Slack limits them.
const BLOCKS: usize = 50;

/// Characters of all texts in a message's blocks. Slack names no limit; about 9,600 were seen to pass and 11,300 to fail.
const TOTAL: usize = 9_500;

/// Characters of a header block, as Slack limits them.
const HEADING: usize = 150;

/// Characters of a block. Slack limits other blocks so, and names no limit for rich text.
const BLOCK: usize = 3_000;

/// Characters of a line; longer ones are broken, so that a block holds at least one with what stands around it.
const LINE: usize = 2_800;

/// Characters of small print: the plan's digest takes 69, the longest hint about 150.
const FINE: usize = 500;

/// Characters of the text for notifications and screen readers. Slack refuses more than 4,000 in an update.
const TEXT: usize = 3_000;

/// Characters that parts may take which stay whole. Real messages need a third of it; whatever exceeds it is cut like the rest.
const WHOLE: usize = 3_000;

/// Buttons in a block, as Slack limits them.
const BUTTONS: usize = 25;

/// People and groups that one message calls.
const MENTIONS: usize = 20;

/// A message as Slack takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// For notifications and screen readers, which show no formatting.
    pub text: String,
    /// What everybody else sees.
    pub blocks: Vec<Value>,
}

/// A line before it is escaped.
struct Line {
    mark: Option<Mark>,
    label: Option<&'static str>,
    words: String,
}

/// How lines are set.
#[derive(Clone, Copy)]
enum Setting {
    Lines,
    Bullets,
    Code,
}

enum Part {
    /// Stays whole.
    Fixed(Value),
    /// May be cut.
    Flexible { setting: Setting, title: Option<&'static str>, lines: Vec<Line> },
}

/// Renders a message within Slack's limits. Heading, voting, small print, mentions and buttons stay; of the rest, the longest
/// parts are cut where everybody can see it.
#[must_use]
pub fn rendered(message: &Message, emoji: &Emoji) -> Rendered {
    let mut whole = WHOLE;
    let parts: Vec<Part> = message.blocks.iter().filter_map(|block| part(block, emoji, &mut whole)).collect();
    let below: Vec<Value> = mentions(message).into_iter().chain(buttons(&message.controls)).collect();
    let fixed = parts.iter().map(|part| match part {
        Part::Fixed(block) => text_cost(block),
        Part::Flexible { .. } => 0,
    });
    let spent: usize = fixed.chain(below.iter().map(text_cost)).sum();
    let sizes: Vec<usize> = parts.iter().map(Part::size).collect();
    let shares = cut::shares(&sizes, TOTAL.saturating_sub(spent));
    let mut blocks: Vec<(bool, Value)> = Vec::new();
    for (part, share) in parts.iter().zip(shares) {
        match part {
            Part::Fixed(block) => blocks.push((true, block.clone())),
            Part::Flexible { setting, title, lines } => {
                blocks.extend(set(*setting, *title, lines, share).into_iter().map(|block| (false, block)))
            }
        }
    }
    let mut blocks = within(blocks, BLOCKS.saturating_sub(below.len()));
    blocks.extend(below);
    Rendered { text: fallback(message), blocks }
}

/// At most `most` blocks. Those that must stay do so as long as there is room.
fn within(mut blocks: Vec<(bool, Value)>, most: usize) -> Vec<Value> {
    let mut left_out = 0_usize;
    let mut cut_at = blocks.len();
    while blocks.len() >= most && (left_out > 0 || blocks.len() > most) {
        let Some(last) = blocks.iter().rposition(|(stays, _)| !stays).or(blocks.len().checked_sub(1)) else { break };
        blocks.remove(last);
        (left_out, cut_at) = (left_out + 1, last);
    }
    let mut blocks: Vec<Value> = blocks.into_iter().map(|(_, block)| block).collect();
    if left_out > 0 {
        blocks.insert(cut_at.min(blocks.len()), context(&format!("… {left_out} more parts of this message")));
    }
    blocks
}

// === blocks ===

/// The part that a block becomes; `whole` is the room that is left for parts that stay whole.
fn part(block: &Block, emoji: &Emoji, whole: &mut usize) -> Option<Part> {
    let plain = |words: &str| Line { mark: None, label: None, words: cut::clean(words) };
    let flexible = |setting, title, lines: Vec<Line>| {
        let lines: Vec<Line> = lines.into_iter().flat_map(Line::broken).collect();
        (!lines.is_empty()).then_some(Part::Flexible { setting, title, lines })
    };
    let mut fixed = |words: &str, most, block: fn(&str) -> Value| {
        let words = cut::short(&cut::clean(words), most);
        let Some(left) = whole.checked_sub(cut::cost(&words)) else { return flexible(Setting::Lines, None, vec![plain(&words)]) };
        *whole = left;
        (!words.is_empty()).then(|| Part::Fixed(block(&words)))
    };
    match block {
        Block::Heading(words) => fixed(words, HEADING, |words| json!({ "type": "header", "text": plain_text(words) })),
        Block::Fine(words) => fixed(words, FINE, context),
        Block::Text(words) => flexible(Setting::Lines, None, words.lines().map(plain).collect()),
        Block::List { title, items } => flexible(Setting::Bullets, Some(title), items.iter().map(|item| plain(item)).collect()),
        Block::Steps(steps) => {
            let line = |(mark, words): &(Mark, String)| Line { mark: Some(*mark), ..plain(words) };
            flexible(Setting::Lines, None, steps.iter().map(line).collect())
        }
        Block::Table(rows) => {
            let line = |(label, words): &(&'static str, String)| Line { label: Some(label), ..plain(words) };
            flexible(Setting::Lines, None, rows.iter().map(line).collect())
        }
        Block::Code(code) => flexible(Setting::Code, None, code.lines().map(plain).collect()),
        // Said once is enough, should a message ever ask for more than there is room for.
        Block::Voting => {
            let block = voting(emoji);
            *whole = whole.checked_sub(text_cost(&block))?;
            Some(Part::Fixed(block))
        }
    }
}

impl Line {
    fn cost(&self) -> usize {
        let mark = self.mark.map_or(0, |mark| mark_name(mark).len() + 3);
        mark + self.label.map_or(0, |label| label.len() + 2) + cut::cost(&self.words) + 1
    }

    /// The same, in lines that fit into a block.
    fn broken(self) -> Vec<Self> {
        let (first, mut rest) = cut::split(&self.words, LINE);
        let mut lines = vec![Self { mark: self.mark, label: self.label, words: first.to_owned() }];
        while !rest.is_empty() {
            let (next, after) = cut::split(rest, LINE);
            lines.push(Self { mark: None, label: None, words: next.to_owned() });
            rest = after;
        }
        lines
    }

    fn elements(&self, end: &str) -> Vec<Value> {
        let mark = self.mark.map(|mark| emoji_element(mark_name(mark)));
        let label = self.label.map(|label| bold(&format!("{label}: ")));
        let gap = if self.mark.is_some() { " " } else { "" };
        let words = format!("{gap}{}{end}", self.words);
        // Slack refuses a text of no characters.
        mark.into_iter().chain(label).chain((!words.is_empty()).then(|| text_element(&words))).collect()
    }
}

impl Part {
    fn size(&self) -> usize {
        match self {
            Self::Fixed(_) => 0,
            Self::Flexible { title, lines, .. } => title.map_or(0, str::len) + lines.iter().map(Line::cost).sum::<usize>(),
        }
    }
}

/// Sets lines in as many blocks as they need, with a note if not all of them fit into `share`.
fn set(setting: Setting, title: Option<&'static str>, lines: &[Line], share: usize) -> Vec<Value> {
    let costs: Vec<usize> = lines.iter().map(Line::cost).collect();
    let room = share.saturating_sub(title.map_or(0, str::len));
    let fitting = cut::fitting(&costs, room);
    let left_out = lines.len().saturating_sub(fitting);
    let note = cut::note(left_out);
    let mut chunks: Vec<Vec<&Line>> = vec![vec![]];
    let mut filled = 0;
    for (line, cost) in lines.iter().zip(costs).take(fitting) {
        if filled + cost > BLOCK - 100 {
            chunks.push(vec![]);
            filled = 0;
        }
        filled += cost;
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(line);
        }
    }
    let last = chunks.len().saturating_sub(1);
    let block = |(index, chunk): (usize, Vec<&Line>)| {
        let title = title.filter(|_| index == 0).map(|title| section(vec![bold(title)]));
        let note = note.as_deref().filter(|_| index == last).map(|note| section(vec![text_element(note)]));
        let inner: Vec<Value> = title.into_iter().chain(setting.set(&chunk)).chain(note).collect();
        (!inner.is_empty()).then(|| json!({ "type": "rich_text", "elements": inner }))
    };
    chunks.into_iter().enumerate().filter_map(block).collect()
}

impl Setting {
    fn set(self, lines: &[&Line]) -> Option<Value> {
        let joined = || -> Vec<Value> {
            let last = lines.len().saturating_sub(1);
            let ends = |index| if index == last { "" } else { "\n" };
            merged(lines.iter().enumerate().flat_map(|(index, line)| line.elements(ends(index))).collect())
        };
        let some = |elements: Vec<Value>, wrap: fn(Vec<Value>) -> Value| (!elements.is_empty()).then(|| wrap(elements));
        match self {
            Self::Lines => some(joined(), section),
            Self::Code => some(joined(), |elements| json!({ "type": "rich_text_preformatted", "elements": elements })),
            Self::Bullets => {
                let items = lines.iter().map(|line| line.elements("")).filter(|elements| !elements.is_empty()).map(section);
                some(items.collect(), |items| json!({ "type": "rich_text_list", "style": "bullet", "elements": items }))
            }
        }
    }
}

fn voting(emoji: &Emoji) -> Value {
    let elements = vec![
        text_element("React with "),
        emoji_element(&emoji.yes),
        text_element(" to approve, "),
        emoji_element(&emoji.no),
        text_element(" to decline, "),
        emoji_element(&emoji.halt),
        text_element(" to halt; or press a button."),
    ];
    json!({ "type": "rich_text", "elements": [section(elements)] })
}

/// The only markup there is. Ids that are not in Slack's alphabet could smuggle in more of it, so they call nobody.
fn mentions(message: &Message) -> Option<Value> {
    let plain = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let calls = message.mentions.iter().filter_map(|mention| match mention {
        Mention::Group(id) if plain(id) && id.starts_with('S') => Some(format!("<!subteam^{id}>")),
        Mention::Account(account) if account.platform == Platform::Slack && plain(&account.id) => Some(format!("<@{}>", account.id)),
        Mention::Group(_) | Mention::Account(_) => None,
    });
    let calls: Vec<String> = calls.take(MENTIONS).collect();
    (!calls.is_empty()).then(|| json!({ "type": "section", "text": { "type": "mrkdwn", "text": calls.join(" ") } }))
}

fn buttons(controls: &[Control]) -> Option<Value> {
    let button = |(index, control): (usize, &Control)| {
        let (verb, style) = match control {
            Control::Approve(..) => ("approve", Some("primary")),
            Control::Decline(_) => ("decline", Some("danger")),
            Control::Halt(_) => ("halt", Some("danger")),
            Control::Lift(_) => ("lift", None),
            Control::Resubmit(_) => ("resubmit", None),
        };
        // An action id may stand once in a block. What the button does is in its value.
        let twins = controls.iter().take(index).filter(|earlier| earlier.label() == control.label()).count();
        let action_id = if twins == 0 { verb.to_owned() } else { format!("{verb}-{}", twins + 1) };
        let mut button = json!({ "type": "button", "action_id": action_id, "text": plain_text(control.label()), "value": control.value() });
        if let (Some(style), Value::Object(fields)) = (style, &mut button) {
            fields.insert("style".into(), json!(style));
        }
        button
    };
    let buttons: Vec<Value> = controls.iter().enumerate().take(BUTTONS).map(button).collect();
    (!buttons.is_empty()).then(|| json!({ "type": "actions", "elements": buttons }))
}

// === elements ===

fn section(elements: Vec<Value>) -> Value {
    json!({ "type": "rich_text_section", "elements": elements })
}

fn text_element(words: &str) -> Value {
    json!({ "type": "text", "text": escaped(words) })
}

/// Plain texts that follow each other as one.
fn merged(elements: Vec<Value>) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::new();
    for element in elements {
        let plain = |element: &Value| {
            element.get("style").is_none().then(|| element.get("text").and_then(Value::as_str).map(str::to_owned)).flatten()
        };
        let joined = merged.last().and_then(plain).zip(plain(&element)).map(|(first, second)| first + &second);
        match (joined, merged.last_mut()) {
            (Some(text), Some(last)) => *last = json!({ "type": "text", "text": text }),
            _ => merged.push(element),
        }
    }
    merged
}

fn bold(words: &str) -> Value {
    json!({ "type": "text", "text": escaped(words), "style": { "bold": true } })
}

fn emoji_element(name: &str) -> Value {
    json!({ "type": "emoji", "name": name })
}

fn plain_text(words: &str) -> Value {
    json!({ "type": "plain_text", "text": escaped(words), "emoji": false })
}

fn context(words: &str) -> Value {
    json!({ "type": "context", "elements": [plain_text(words)] })
}

fn mark_name(mark: Mark) -> &'static str {
    match mark {
        Mark::Pending => "white_circle",
        Mark::Running => "hourglass_flowing_sand",
        Mark::Done => "white_check_mark",
        Mark::Failed => "x",
        Mark::Withheld => "no_entry_sign",
    }
}

// === text ===

/// The three characters that mean something to Slack everywhere.
fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Slack formats this text and nothing else of a message, so what could format becomes a character that looks alike.
fn unformatted(words: &str) -> String {
    let mut previous = ' ';
    let mut rest = words.chars().peekable();
    let mut shown = String::with_capacity(words.len());
    while let Some(character) = rest.next() {
        let inside_a_word = previous.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        shown.push(match character {
            '*' => '∗',
            '~' => '∼',
            '`' => 'ˋ',
            '_' if !inside_a_word => '＿',
            character => character,
        });
        previous = character;
    }
    shown
}

/// The words alone.
fn fallback(message: &Message) -> String {
    let mut lines: Vec<String> = Vec::new();
    for block in &message.blocks {
        match block {
            Block::Heading(words) | Block::Fine(words) => lines.push(cut::clean(words)),
            Block::Text(words) | Block::Code(words) => lines.extend(words.lines().map(cut::clean)),
            Block::List { title, items } => {
                lines.extend(std::iter::once(format!("{title}:")).chain(items.iter().map(|item| format!("- {}", cut::clean(item)))))
            }
            Block::Steps(steps) => lines.extend(steps.iter().map(|(_, words)| cut::clean(words))),
            Block::Table(rows) => lines.extend(rows.iter().map(|(label, words)| format!("{label}: {}", cut::clean(words)))),
            Block::Voting => {}
        }
    }
    let whole = lines.join("\n");
    match whole.trim().is_empty() {
        true => "(no words)".into(),
        false => escaped(&cut::short(&unformatted(&whole), TEXT)),
    }
}

/// Characters of all texts in a block.
fn text_cost(block: &Value) -> usize {
    match block {
        Value::Object(fields) => {
            let cost = |(name, value): (&String, &Value)| match value.as_str().filter(|_| name == "text") {
                Some(text) => text.chars().count(),
                None => text_cost(value),
            };
            fields.iter().map(cost).sum()
        }
        Value::Array(values) => values.iter().map(text_cost).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
