//! What Stanch says: every message as a value. [`Say::message`] gives it words, once; each platform renders the words into its own markup,
//! and escapes everything in them, since much of it comes from a cluster that may be hostile.

mod about_request;
mod no;

use std::collections::BTreeSet;

use jiff::Timestamp;
use stanch_commands::CATALOGUE;
use stanch_commands::definition::Phase;
use stanch_commands::locate::Finding;
use stanch_commands::parse::UsageError;
use stanch_commands::plan::{Plan, PlanDigest};
use stanch_commands::refusal::Refusal;
use stanch_commands::target::RequestId;

use super::diagnosis::{self, Diagnosis};
use super::engine::Rejection;
use super::identity::{Account, PersonId};
use super::policy::Decision;
use super::request::Request;
use about_request::{dry_run, ended, objected, plan, progress, restarted, stage, title};
pub use no::reason;
use no::{denied, rejected};

/// Something to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Say {
    /// The plan message: root of the request's thread, never edited, since people vote on what it says.
    Plan {
        /// The request.
        id: RequestId,
        /// As it was made.
        request: Box<Request>,
        /// Roles that may approve.
        roles: BTreeSet<String>,
        /// Whom to call.
        mentions: BTreeSet<Mention>,
    },
    /// The one message that is edited while the request goes on.
    Progress {
        /// The request.
        id: RequestId,
        /// As it stands.
        request: Box<Request>,
    },
    /// What one step had to tell beyond its line in the progress message.
    StepDetails {
        /// Its summary.
        title: String,
        /// Lines.
        lines: Vec<String>,
    },
    /// Evidence is in the store.
    EvidenceKept {
        /// Each file with its hash and length.
        files: Vec<String>,
        /// Their lengths together.
        bytes: u64,
        /// Hash of the manifest that lists them.
        manifest_sha256: String,
    },
    /// Files of evidence, attached.
    EvidenceAttached {
        /// Hash and path of each.
        files: Vec<String>,
        /// Files of the same step that are not attached.
        left_out: usize,
    },
    /// Everything that is kept of the request is in the second place too.
    EvidenceCopied {
        /// How many files.
        files: usize,
        /// The place.
        place: String,
        /// Hash of the manifest that lists them.
        manifest_sha256: String,
    },
    /// It is not.
    EvidenceNotCopied {
        /// The place.
        place: String,
        /// Why.
        why: String,
        /// It is tried again without anybody's doing.
        again: bool,
    },
    /// Half of the time to approve is over.
    Reminder {
        /// Approvals that are missing.
        missing: usize,
        /// When it expires.
        expires_at: Timestamp,
        /// Whom to call.
        mentions: BTreeSet<Mention>,
    },
    /// Stanch was restarted while the request was open.
    Restarted {
        /// Steps that were under way: they are observed before anything else happens.
        observing: Vec<String>,
    },
    /// An effect that is reported as unknown is looked at again.
    Unclear {
        /// The step's summary.
        title: String,
        /// What is known.
        why: String,
    },
    /// The audit log stopped taking records, so nothing more is done.
    LogFailed {
        /// What happened.
        why: String,
    },
    /// A signed checkpoint of the audit log, for the channel to witness.
    Checkpoint {
        /// At which moment.
        moment: &'static str,
        /// The signed note.
        note: String,
    },
    /// The request is over.
    Ended {
        /// The request.
        id: RequestId,
        /// As it stands.
        request: Box<Request>,
        /// The second place for evidence, if that of the request is not there.
        not_copied: Option<String>,
    },
    /// What a plan would be. Nobody is asked.
    DryRun {
        /// The plan.
        plan: Box<Plan>,
        /// Its phase.
        phase: Phase,
        /// Approvals that it would need.
        approvals_needed: u8,
    },
    /// The command was understood and is being looked into.
    Surveying {
        /// The command.
        command: String,
    },
    /// The request was made; its plan is in the channel.
    Proposed {
        /// Its id.
        id: RequestId,
    },
    /// Every command.
    Catalogue,
    /// One command.
    Help(String),
    /// The command line was not understood.
    Usage(UsageError),
    /// The planner refuses.
    Refused(Refusal),
    /// The policy refuses.
    Denied(Decision),
    /// The engine refuses.
    Rejected(Rejection),
    /// Something else is in the way.
    Trouble {
        /// What.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// Everything that Stanch depends on is being looked at.
    Examining,
    /// What that found.
    Examined(Vec<Diagnosis>),
    /// What `locate` found.
    Located(Vec<Finding>),
    /// One request.
    Status {
        /// The request.
        id: RequestId,
        /// As it stands.
        request: Box<Request>,
        /// The second place for evidence, if that of the request is not there.
        not_copied: Option<String>,
    },
    /// Everything that is open or isolated.
    List {
        /// Open requests, as they stand.
        open: Vec<(RequestId, Request)>,
        /// What was isolated, such as `node gke-1`, the requests that did it, and when that was last read back.
        isolated: Vec<(String, RequestId, Timestamp)>,
        /// Requests whose evidence is not in the second place.
        not_copied: Vec<RequestId>,
    },
    /// Somebody objects to a plan that waits.
    Objected {
        /// Who.
        person: PersonId,
        /// Why, if they said.
        reason: Option<String>,
    },
    /// A vote was counted.
    Counted {
        /// Approvals there are.
        have: usize,
        /// Approvals that are needed.
        needed: u8,
    },
    /// A vote was taken back.
    Withdrawn,
    /// A removed reaction changes nothing any more.
    TooLateToWithdraw,
    /// The request was declined, cancelled or halted by the person that reads this.
    Stopped(&'static str),
}

/// Somebody to call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mention {
    /// A group of the platform.
    Group(String),
    /// A person.
    Account(Account),
}

/// A message in words, without markup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// From top to bottom.
    pub blocks: Vec<Block>,
    /// Buttons below it.
    pub controls: Vec<Control>,
    /// Whom it calls.
    pub mentions: BTreeSet<Mention>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// One short line.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// A title and items.
    List {
        /// Title.
        title: &'static str,
        /// Items.
        items: Vec<String>,
    },
    /// Steps with their marks.
    Steps(Vec<(Mark, String)>),
    /// Labels and values.
    Table(Vec<(&'static str, String)>),
    /// Text in fixed width.
    Code(String),
    /// How to vote by reaction and by button; the platform knows its emoji.
    Voting,
    /// Small print.
    Fine(String),
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Not started.
    Pending,
    /// Under way.
    Running,
    /// In place.
    Done,
    /// Failed.
    Failed,
    /// Will not be started.
    Withheld,
}

/// A button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Yes to exactly this plan.
    Approve(RequestId, PlanDigest),
    /// No.
    Decline(RequestId),
    /// Stop the run, or object to one that has not begun.
    Halt(RequestId),
    /// Take that objection back.
    Lift(RequestId),
    /// Ask for the same again: a new survey, a new plan, new votes.
    Resubmit(RequestId),
}

impl Control {
    /// What stands on the button.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Approve(..) => "Approve",
            Self::Decline(_) => "Decline",
            Self::Halt(_) => "Halt",
            Self::Lift(_) => "Take my halt back",
            Self::Resubmit(_) => "Ask again",
        }
    }

    /// The value that the platform gives back when it is pressed.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::Approve(id, digest) => format!("approve {id} {}", digest.as_str()),
            Self::Decline(id) => format!("decline {id}"),
            Self::Halt(id) => format!("halt {id}"),
            Self::Lift(id) => format!("lift {id}"),
            Self::Resubmit(id) => format!("resubmit {id}"),
        }
    }

    /// The control that a value stands for.
    #[must_use]
    pub fn from_value(value: &str) -> Option<Self> {
        let mut words = value.split(' ');
        let (verb, id, digest) = (words.next()?, words.next()?.parse().ok()?, words.next());
        match (verb, digest, words.next()) {
            ("approve", Some(digest), None) => Some(Self::Approve(id, PlanDigest::from_hex(digest)?)),
            ("decline", None, None) => Some(Self::Decline(id)),
            ("halt", None, None) => Some(Self::Halt(id)),
            ("lift", None, None) => Some(Self::Lift(id)),
            ("resubmit", None, None) => Some(Self::Resubmit(id)),
            _ => None,
        }
    }
}

impl Say {
    /// Whether it tells somebody that what they asked for is not done.
    #[must_use]
    pub fn is_a_no(&self) -> bool {
        matches!(self, Self::Usage(_) | Self::Refused(_) | Self::Denied(_) | Self::Rejected(_) | Self::Trouble { .. })
    }

    /// The words.
    #[must_use]
    pub fn message(&self) -> Message {
        match self {
            Self::Plan { id, request, roles, mentions } => plan(id, request, roles, mentions),
            Self::Progress { id, request } => progress(id, request),
            Self::Status { id, request, not_copied } => {
                Message { controls: vec![], ..with_copies(progress(id, request), not_copied.as_deref()) }
            }
            Self::StepDetails { title, lines } => Message::of([Block::Text(title.clone()), bullets("Details", lines)]),
            Self::EvidenceKept { files, bytes, manifest_sha256 } => evidence_kept(files, *bytes, manifest_sha256),
            Self::EvidenceAttached { files, left_out } => attached(files, *left_out),
            Self::EvidenceCopied { files, place, manifest_sha256 } => Message::of([
                Block::Text(format!("Evidence is copied to {place}: {files} files, each read back there. SHA-256 of their manifest:")),
                Block::Code(manifest_sha256.clone()),
            ]),
            Self::EvidenceNotCopied { place, why, again } => Message::of([Block::Text(not_copied(place, why, *again))]),
            Self::Reminder { missing, expires_at, mentions } => Message {
                mentions: mentions.clone(),
                ..Message::of([Block::Text(format!(
                    "{} still missing; this request expires at {}.",
                    approvals(*missing),
                    time(*expires_at)
                ))])
            },
            Self::Restarted { observing } => restarted(observing),
            Self::Unclear { title, why } => Message::of([Block::Text(format!(
                "It is not known whether this took effect: {title}. {why} Stanch reads the target again before it does anything else."
            ))]),
            Self::LogFailed { why } => Message::of([
                Block::Heading("Stanch has stopped".into()),
                Block::Text(format!("The audit log takes no records ({why}), so nothing more is started. What is in place stays.")),
                Block::Text("Restart Stanch when the disk is in order; use the guide's manual steps until then.".into()),
            ]),
            Self::Checkpoint { moment, note } => {
                Message::of([Block::Fine(format!("audit log at {moment}")), Block::Code(note.trim_end().to_owned())])
            }
            Self::Ended { id, request, not_copied } => with_copies(ended(id, request), not_copied.as_deref()),
            Self::DryRun { plan, phase, approvals_needed } => dry_run(plan, *phase, *approvals_needed),
            Self::Surveying { command } => text(format!("Reading the cluster for: {command}")),
            Self::Proposed { id } => text(format!("Request {id} was made: its plan is in this channel.")),
            Self::Catalogue => catalogue(),
            Self::Help(help) => Message::of([Block::Code(help.clone())]),
            Self::Usage(UsageError::Empty) => catalogue(),
            Self::Usage(error) => trouble(&error.to_string(), &error.hint()),
            Self::Refused(refusal) => trouble(&refusal.to_string(), refusal.hint()),
            Self::Denied(decision) => denied(decision),
            Self::Rejected(rejection) => rejected(rejection),
            Self::Trouble { what, hint } => trouble(what, hint),
            Self::Examining => text("Asking every cluster, every project and the chat; this takes some seconds.".into()),
            Self::Examined(diagnoses) => diagnosis::message(diagnoses),
            Self::Located(findings) => Message::of([Block::Table(findings.clone())]),
            Self::List { open, isolated, not_copied } => list(open, isolated, not_copied),
            Self::Objected { person, reason } => objected(person, reason.as_deref()),
            Self::Counted { have, needed } => text(format!("Counted: {have} of {needed}.")),
            Self::Withdrawn => text("Your approval was taken back.".into()),
            Self::TooLateToWithdraw => {
                trouble("the request has started, so taking back a reaction changes nothing", "use halt to stop the run")
            }
            Self::Stopped(what) => text((*what).into()),
        }
    }
}

/// Most files of one message: a node with a few suspects has fewer, and the manifest has them all.
const MAX_FILES: usize = 40;

fn evidence_kept(files: &[String], bytes: u64, manifest_sha256: &str) -> Message {
    let mut items: Vec<String> = files.iter().take(MAX_FILES).cloned().collect();
    if files.len() > MAX_FILES {
        items.push(format!("and {} more, in the manifest", files.len() - MAX_FILES));
    }
    Message::of([
        Block::Text(format!("Evidence is kept: {} files, {bytes} bytes. SHA-256 of the manifest:", files.len())),
        Block::Code(manifest_sha256.to_owned()),
        Block::List { title: "Files, with the first digits of their SHA-256", items },
    ])
}

fn attached(files: &[String], left_out: usize) -> Message {
    let mut blocks = vec![
        Block::Text("Attached, with values of variables, headers and metadata taken out. SHA-256 of each:".into()),
        Block::Code(files.join("\n")),
    ];
    if left_out > 0 {
        blocks.push(Block::Fine(format!("{left_out} more are kept and not attached: logs, output of programs, and what is too long")));
    }
    Message::of(blocks)
}

fn not_copied(place: &str, why: &str, again: bool) -> String {
    let then = match again {
        true => "It is tried again by itself; nothing waits for it.",
        false => "It is not tried again before the next evidence of this request or the next start: somebody has to look.",
    };
    format!("Evidence is NOT copied to {place}: {why}. It is kept in the data folder. {then}")
}

/// Adds that evidence is in one place only.
fn with_copies(mut message: Message, not_copied: Option<&str>) -> Message {
    if let Some(place) = not_copied {
        message
            .blocks
            .push(Block::Text(format!("Not copied yet: the evidence of this request is in the data folder, and not in {place}.")));
    }
    message
}

impl Message {
    /// Its first sentence, for the record.
    #[must_use]
    pub fn gist(&self) -> String {
        let text = |block: &Block| if let Block::Text(words) | Block::Heading(words) = block { Some(words.clone()) } else { None };
        self.blocks.iter().find_map(text).unwrap_or_default()
    }

    fn of(blocks: impl IntoIterator<Item = Block>) -> Self {
        Self { blocks: blocks.into_iter().collect(), ..Self::default() }
    }
}

fn text(words: String) -> Message {
    Message::of([Block::Text(words)])
}

fn trouble(what: &str, hint: &str) -> Message {
    Message::of([Block::Text(sentence(what)), Block::Fine(sentence(&format!("hint: {hint}")))])
}

fn catalogue() -> Message {
    let lines = CATALOGUE.iter().map(|definition| format!("{:<20} {:<9} {}", definition.name, definition.phase, definition.summary));
    Message::of([
        Block::Text("Type /stanch COMMAND. In an incident, start with: /stanch quarantine pod NAMESPACE/NAME --dry-run".into()),
        Block::Code(lines.collect::<Vec<_>>().join("\n")),
        Block::Fine("help COMMAND explains one of them. On Slack, form COMMAND opens it as a form.".into()),
    ])
}

fn list(open: &[(RequestId, Request)], isolated: &[(String, RequestId, Timestamp)], not_copied: &[RequestId]) -> Message {
    let open: Vec<String> = open
        .iter()
        .map(|(id, request)| format!("{id}: {} ({}, asked by {})", title(&request.made.plan), stage(request), request.made.requester))
        .collect();
    // Nothing is read for a list, so it says of when it knows this.
    let isolated: Vec<String> =
        isolated.iter().map(|(what, by, at)| format!("{what}, by {by}, as last read back at {}", time(*at))).collect();
    let or_nothing = |title, items: Vec<String>| match items.is_empty() {
        true => bullets(title, &["none".to_owned()]),
        false => bullets(title, &items),
    };
    let mut blocks = vec![or_nothing("Open requests", open), or_nothing("Isolated", isolated)];
    if !not_copied.is_empty() {
        blocks.push(bullets("Evidence not copied yet", &not_copied.iter().map(ToString::to_string).collect::<Vec<_>>()));
    }
    Message::of(blocks)
}

fn bullets(title: &'static str, items: &[String]) -> Block {
    Block::List { title, items: items.to_vec() }
}

fn approvals(count: usize) -> String {
    match count {
        0 => "no approval".into(),
        1 => "1 approval".into(),
        count => format!("{count} approvals"),
    }
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Upper case at the start, a full stop at the end.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}
