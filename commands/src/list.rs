//! `list`: shows what is open and isolated.

use crate::definition::{Definition, Does, Phase};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "list",
    phase: Phase::Look,
    summary: "list open requests and isolated nodes",
    details: "Only you see the answer.",
    arguments: &[],
    examples: &[""],
    does: Does::List,
};
