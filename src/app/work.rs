//! What comes back from the tasks beside the app.

use std::collections::{BTreeMap, BTreeSet};

use stanch_commands::facts::{Facts, GroupSurvey};
use stanch_commands::parse::Parsed;
use stanch_commands::plan::StepId;
use stanch_commands::target::RequestId;

use super::entry::Landmark;
use crate::core::diagnosis::Diagnosis;
use crate::core::identity::{Account, MessageRef, PersonId};
use crate::core::policy::{Groups, Subject};
use crate::core::say::{Control, Say};
use crate::core::step::{Observation, Performed};
use crate::ports::{Attachment, ChatError, Copied, CopyFailed, Inbound, Kept, Votes};

/// A task has ended.
pub(super) enum Report {
    /// A command's account was looked up and its target surveyed.
    Looked(Box<Looked>),
    /// A command is not followed.
    TurnedAway {
        /// The command.
        inbound: Inbound,
        /// Why.
        answer: Answer,
    },
    /// Everything that Stanch depends on was looked at.
    Examined {
        /// The command.
        inbound: Inbound,
        /// What was found.
        diagnoses: Vec<Diagnosis>,
    },
    /// A button's account was looked up.
    Pressed {
        /// The click.
        inbound: Inbound,
        /// The button.
        control: Control,
        /// Who; `None` if that could not be told.
        subject: Option<Subject>,
    },
    /// The reactions of a plan message were read back.
    Voted(Voted),
    /// They could not be read back.
    NotRead {
        /// Of which request.
        id: RequestId,
    },
    /// The chat refuses to show a plan, so that nobody can agree to it.
    Unseen {
        /// Of which request.
        id: RequestId,
        /// What the chat says.
        why: String,
    },
    /// Everything was asked again before the authorisation.
    Rechecked(Box<AskedAgain>),
    /// A step that may have been carried out before was looked at.
    Observed {
        /// The request.
        id: RequestId,
        /// The step.
        step: StepId,
        /// What was seen.
        observation: Observation,
    },
    /// A step was carried out, or not.
    Performed {
        /// The request.
        id: RequestId,
        /// The step.
        step: StepId,
        /// How it ended; its artefacts are kept already.
        performed: Performed,
        /// The kept artefacts.
        kept: Kept,
        /// Those that the chat is to show.
        attachments: Vec<Attachment>,
    },
    /// The copies of evidence were compared with what is kept.
    Compared {
        /// Requests that are not completely there.
        found: Result<BTreeSet<RequestId>, CopyFailed>,
        /// How often that failed before.
        tries: u32,
    },
    /// A try to copy the evidence of a request has ended.
    Copied {
        /// The request.
        id: RequestId,
        /// How.
        outcome: Result<Copied, CopyFailed>,
    },
    /// A landmark stands in its channel.
    Posted {
        /// The request.
        id: RequestId,
        /// Which.
        what: Landmark,
        /// Where.
        message: MessageRef,
    },
}

/// A command, ready to be decided about.
pub(super) struct Looked {
    /// As it came in.
    pub inbound: Inbound,
    /// As it was understood.
    pub parsed: Parsed,
    /// Who asked.
    pub person: PersonId,
    /// Their account with its groups.
    pub subject: Subject,
    /// The survey, for commands that need one.
    pub surveyed: Option<Surveyed>,
}

/// What was surveyed.
pub(super) enum Surveyed {
    /// A node, and the suspect on it.
    Node(Box<Facts>),
    /// A group.
    Group(GroupSurvey),
}

/// What the chat said of accounts that were asked about.
#[derive(Clone, Default)]
pub(super) struct Subjects(pub BTreeMap<Account, Result<Option<Subject>, ChatError>>);

impl Subjects {
    /// The member behind an account.
    pub fn member(&self, account: &Account) -> Option<&Subject> {
        self.0.get(account)?.as_ref().ok()?.as_ref()
    }

    /// Whether it is not known who that is, or in which groups.
    pub fn is_unclear(&self, account: &Account) -> bool {
        match self.0.get(account) {
            Some(Ok(Some(subject))) => subject.groups == Groups::Unknown,
            Some(Ok(None)) => false,
            Some(Err(_)) | None => true,
        }
    }
}

/// The votes on a plan message.
pub(super) struct Voted {
    /// The request.
    pub id: RequestId,
    /// Which reading this is: readings overtake each other, and an older one must not undo a newer one.
    pub reading: u64,
    /// Whose reactions made us look.
    pub hinted: BTreeSet<Account>,
    /// What stands there.
    pub votes: Votes,
    /// The accounts behind it that belong to somebody.
    pub subjects: Subjects,
}

/// What stands before anything is written.
pub(super) struct AskedAgain {
    /// The request.
    pub id: RequestId,
    /// What stands on the plan, and which reading that is; `None` if the platform does not say.
    pub votes: Option<(u64, Votes)>,
    /// Who they are: everybody who agreed or reacted, and the requester.
    pub subjects: Subjects,
    /// The requester's account.
    pub requester: Option<Account>,
    /// What of the bound objects is gone or is another one now.
    pub changed: Option<String>,
}

/// What a task tells instead of its result: somebody gets an answer.
pub(super) type Answer = Box<Say>;
