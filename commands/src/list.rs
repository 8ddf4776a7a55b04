//! `list`: shows what is open and isolated.

use crate::definition::{Definition, Does, Phase};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "list",
    phase: Phase::Look,
    summary: "list open requests, isolated nodes and isolated pods",
    details: "Only you see the answer.",
    arguments: &[],
    examples: &[""],
    does: Does::List,
};
