//! From words to a message of Discord: embeds, whose text pings nobody whatever it says, buttons, and above them whom the message calls.

use serde_json::{Value, json};
use serenity::all::{ButtonStyle, CreateActionRow, CreateAllowedMentions, CreateButton, CreateEmbed, RoleId, UserId};

use super::markup::{self, escaped, escaped_inside, fenced, in_code, length, price};
use super::settings::{Emoji, is_snowflake};
use crate::adapters::cut;
use crate::core::identity::Platform;
use crate::core::say::{Block, Control, Mark, Mention, Message};

/// Characters of an embed's title, as Discord limits them.
const TITLE: usize = 256;

/// Characters of an embed's description. Discord takes 4,096.
const DESCRIPTION: usize = 4_000;

/// Characters of all embeds of a message. Discord takes 6,000, the title included.
const TOTAL: usize = 5_700;

/// Characters of a line; longer ones are broken, so that an embed holds at least one with what stands around it.
const LINE: usize = 2_800;

/// Characters of small print: the plan's digest takes 69, the longest hint about 150.
const FINE: usize = 500;

/// Characters that parts may take which stay whole. Real messages need half of it; whatever exceeds it is cut like the rest.
const WHOLE: usize = 2_000;

/// Buttons in a row, and rows in a message, as Discord limits them.
const ROW: usize = 5;
const ROWS: usize = 5;

/// Characters of a button's custom id, as Discord limits them. An approval, the longest, has 85.
const CUSTOM_ID: usize = 100;

/// People and roles that one message calls.
const MENTIONS: usize = 20;

/// A message as Discord takes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendered {
    /// Whom the message calls, and nothing else.
    pub content: String,
    /// The words.
    pub embeds: Vec<CreateEmbed>,
    /// The buttons.
    pub components: Vec<CreateActionRow>,
    /// Nobody, except whom the message calls.
    pub allowed_mentions: CreateAllowedMentions,
}

/// Rendered lines of a block.
struct Part {
    /// Stays as it is.
    is_whole: bool,
    is_code: bool,
    title: Option<String>,
    lines: Vec<String>,
}

/// A few lines that stay together, and whether they are the last to be left out.
struct Piece {
    is_whole: bool,
    text: String,
}

/// Renders a message within Discord's limits. Heading, voting, small print, mentions and buttons stay; of the rest, the longest parts are
/// cut where everybody can see it.
#[must_use]
pub fn rendered(message: &Message, emoji: &Emoji) -> Rendered {
    let heading = message.blocks.first().and_then(|block| match block {
        Block::Heading(words) => Some(escaped(&cut::short(&cut::clean(words), TITLE - 2, price))),
        Block::Text(_) | Block::List { .. } | Block::Steps(_) | Block::Table(_) | Block::Code(_) | Block::Voting | Block::Fine(_) => None,
    });
    let title = heading.filter(|title| !title.trim().is_empty());
    let mut whole = WHOLE;
    let blocks = message.blocks.iter().skip(usize::from(title.is_some()));
    let parts: Vec<Part> = blocks.filter_map(|block| part(block, emoji, &mut whole)).collect();
    let room = TOTAL.saturating_sub(title.as_deref().map_or(0, length));
    let spent: usize = parts.iter().filter(|part| part.is_whole).map(Part::size).sum();
    let sizes: Vec<usize> = parts.iter().map(|part| if part.is_whole { 0 } else { part.size() }).collect();
    let shares = cut::shares(&sizes, room.saturating_sub(spent));
    let pieces = parts.iter().zip(shares).flat_map(|(part, share)| part.pieces(share)).collect();
    let (content, allowed_mentions) = mentions(message);
    Rendered { content, embeds: embeds(title, within(pieces, room)), components: rows(&message.controls), allowed_mentions }
}

impl Rendered {
    /// The body of a call that posts or edits it. An edit replaces everything.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({
            "content": self.content,
            "embeds": self.embeds,
            "components": self.components,
            "allowed_mentions": self.allowed_mentions,
        })
    }
}

/// At most `most` characters. Those that must stay do so as long as there is room.
fn within(mut pieces: Vec<Piece>, most: usize) -> Vec<Piece> {
    let size = |pieces: &[Piece]| pieces.iter().map(|piece| length(&piece.text) + 1).sum::<usize>();
    let (mut left_out, mut cut_at) = (0_usize, pieces.len());
    while size(&pieces) > most {
        let Some(last) = pieces.iter().rposition(|piece| !piece.is_whole).or(pieces.len().checked_sub(1)) else { break };
        pieces.remove(last);
        (left_out, cut_at) = (left_out + 1, last);
    }
    if left_out > 0 {
        let text = format!("… {left_out} more parts of this message");
        pieces.insert(cut_at.min(pieces.len()), Piece { is_whole: true, text });
    }
    pieces
}

/// As many embeds as the pieces need. The first bears the title.
fn embeds(title: Option<String>, pieces: Vec<Piece>) -> Vec<CreateEmbed> {
    let mut descriptions = vec![String::new()];
    for Piece { text, .. } in pieces {
        match descriptions.last_mut() {
            Some(last) if last.is_empty() => *last = text,
            Some(last) if length(last) + 1 + length(&text) <= DESCRIPTION => {
                last.push('\n');
                last.push_str(&text);
            }
            _ => descriptions.push(text),
        }
    }
    descriptions.retain(|description| !description.trim().is_empty());
    // Discord takes no message of nothing.
    if descriptions.is_empty() && title.is_none() {
        descriptions.push("(no words)".into());
    }
    let first = CreateEmbed::new();
    let mut descriptions = descriptions.into_iter();
    let first = descriptions.next().into_iter().fold(first, CreateEmbed::description);
    let first = title.into_iter().fold(first, CreateEmbed::title);
    std::iter::once(first).chain(descriptions.map(|description| CreateEmbed::new().description(description))).collect()
}

// === parts ===

/// The part that a block becomes; `whole` is the room that is left for parts that stay whole.
fn part(block: &Block, emoji: &Emoji, whole: &mut usize) -> Option<Part> {
    let lines =
        |words: &str| -> Vec<String> { words.lines().flat_map(|line| broken(&cut::clean(line))).map(|line| escaped(&line)).collect() };
    let marked = |mark: String, words: &str| {
        let mut rest = broken(&cut::clean(words)).into_iter();
        let first = format!("{mark}{}", escaped_inside(&rest.next().unwrap_or_default()));
        std::iter::once(first).chain(rest.map(|line| escaped(&line))).collect::<Vec<_>>()
    };
    let flexible = |lines: Vec<String>| Part { is_whole: false, is_code: false, title: None, lines };
    let mut fixed = |line: String| {
        let is_whole = whole.checked_sub(length(&line)).inspect(|left| *whole = *left).is_some();
        Part { is_whole, ..flexible(vec![line]) }
    };
    let part = match block {
        Block::Heading(words) => fixed(format!("**{}**", escaped(&cut::short(&cut::clean(words), TITLE, price)))),
        Block::Fine(words) => fixed(format!("-# {}", escaped(&cut::short(&cut::clean(words), FINE, price)))),
        Block::Voting => fixed(voting(emoji)),
        Block::Text(words) => flexible(lines(words)),
        Block::List { title, items } => {
            let items = items.iter().flat_map(|item| marked("• ".into(), item)).collect();
            Part { title: Some(format!("**{}**", escaped(title))), ..flexible(items) }
        }
        Block::Steps(steps) => flexible(steps.iter().flat_map(|(mark, words)| marked(format!("{} ", sign(*mark)), words)).collect()),
        Block::Table(rows) => flexible(rows.iter().flat_map(|(label, words)| marked(format!("**{}:** ", escaped(label)), words)).collect()),
        Block::Code(code) => {
            let lines = code.lines().flat_map(|line| broken(&in_code(line))).collect();
            Part { is_code: true, ..flexible(lines) }
        }
    };
    (!part.lines.is_empty()).then_some(part)
}

/// The same, in lines that fit into an embed.
fn broken(words: &str) -> Vec<String> {
    let (first, mut rest) = cut::split(words, LINE, price);
    let mut lines = vec![first.to_owned()];
    while !rest.is_empty() {
        let (next, after) = cut::split(rest, LINE, price);
        lines.push(next.to_owned());
        rest = after;
    }
    lines
}

impl Part {
    fn size(&self) -> usize {
        let around = if self.is_code { markup::FENCE + 1 } else { 0 };
        let title = self.title.as_deref().map_or(0, |title| length(title) + 1);
        around + title + self.lines.iter().map(|line| length(line) + 1).sum::<usize>()
    }

    /// The part in pieces, with a note if not all of it fits into `share`.
    fn pieces(&self, share: usize) -> Vec<Piece> {
        let piece = |text: String| Piece { is_whole: self.is_whole, text };
        let costs: Vec<usize> = self.lines.iter().map(|line| length(line) + 1).collect();
        let around = self.size().saturating_sub(costs.iter().sum());
        let fitting = if self.is_whole { self.lines.len() } else { cut::fitting(&costs, share.saturating_sub(around)) };
        let note = cut::note(self.lines.len().saturating_sub(fitting));
        let kept = self.lines.iter().take(fitting);
        let lines: Vec<String> = match self.is_code {
            false => kept.cloned().collect(),
            true => blocks(kept).iter().map(|lines| fenced(lines)).collect(),
        };
        self.title.iter().cloned().chain(lines).chain(note).map(piece).collect()
    }
}

/// Lines of code in blocks that fit into an embed.
fn blocks<'l>(lines: impl Iterator<Item = &'l String>) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in lines {
        match blocks.last_mut() {
            Some(last) if length(last) + 1 + length(line) <= LINE + 500 => {
                last.push('\n');
                last.push_str(line);
            }
            _ => blocks.push(line.clone()),
        }
    }
    blocks
}

fn voting(emoji: &Emoji) -> String {
    let shown = |emoji: &str| if emoji.contains(':') { format!("<:{emoji}>") } else { emoji.to_owned() };
    let (yes, no, halt) = (shown(&emoji.yes), shown(&emoji.no), shown(&emoji.halt));
    format!("React with {yes} to approve, {no} to decline, {halt} to halt; or press a button.")
}

fn sign(mark: Mark) -> &'static str {
    match mark {
        Mark::Pending => "⚪",
        Mark::Running => "⏳",
        Mark::Done => "✅",
        Mark::Failed => "❌",
        Mark::Withheld => "🚫",
    }
}

// === around the words ===

/// The only text outside of embeds, and the only one that can ping. What is no id of Discord could smuggle in more of it, so it calls nobody.
fn mentions(message: &Message) -> (String, CreateAllowedMentions) {
    let id = |id: &str| is_snowflake(id).then(|| id.parse::<u64>().ok()).flatten();
    let (mut roles, mut users) = (Vec::new(), Vec::new());
    for mention in message.mentions.iter().take(MENTIONS) {
        match mention {
            Mention::Group(role) => roles.extend(id(role).map(RoleId::new)),
            Mention::Account(account) if account.platform == Platform::Discord => users.extend(id(&account.id).map(UserId::new)),
            Mention::Account(_) => {}
        }
    }
    let calls = roles.iter().map(|role| format!("<@&{role}>")).chain(users.iter().map(|user| format!("<@{user}>")));
    let content = calls.collect::<Vec<_>>().join(" ");
    (content, CreateAllowedMentions::new().roles(roles).users(users))
}

fn rows(controls: &[Control]) -> Vec<CreateActionRow> {
    let mut ids: Vec<String> = Vec::new();
    let mut buttons: Vec<CreateButton> = Vec::new();
    for control in controls {
        let custom_id = control.value();
        // Discord refuses the same id twice in a message; the second button would do the same as the first.
        if ids.contains(&custom_id) || length(&custom_id) > CUSTOM_ID {
            continue;
        }
        let style = match control {
            Control::Approve(..) => ButtonStyle::Success,
            Control::Decline(_) | Control::Halt(_) => ButtonStyle::Danger,
            Control::Lift(_) | Control::Resubmit(_) => ButtonStyle::Secondary,
        };
        buttons.push(CreateButton::new(&custom_id).label(control.label()).style(style));
        ids.push(custom_id);
    }
    buttons.chunks(ROW).take(ROWS).map(|row| CreateActionRow::Buttons(row.to_vec())).collect()
}
