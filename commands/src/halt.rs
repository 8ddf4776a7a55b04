//! `halt`: stops a run and keeps what is in place.

use crate::definition::{Argument, Definition, Does, Phase};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "halt",
    phase: Phase::Look,
    summary: "stop a running request; what is in place stays in place",
    details: "No further step starts. A step that is under way ends, and is recorded. Nothing is undone: a half-finished containment stays closed.",
    arguments: &[Argument::Request, Argument::Reason],
    examples: &["r-k3f9qz", "r-k3f9qz reason:\"wrong node\""],
    does: Does::Halt,
};
