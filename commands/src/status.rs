//! `status`: shows one request.

use crate::definition::{Argument, Definition, Does, Phase};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "status",
    phase: Phase::Look,
    summary: "show a request: its plan, votes, steps and what is in place",
    details: "Only you see the answer.",
    arguments: &[Argument::OptionalRequest],
    examples: &["", "r-k3f9qz"],
    does: Does::Status,
};
