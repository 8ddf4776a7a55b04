//! `help`: explains the commands.

use crate::definition::{Argument, Definition, Does, Phase};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "help",
    phase: Phase::Look,
    summary: "explain a command, or list them all",
    details: "Only you see the answer.",
    arguments: &[Argument::Topic],
    examples: &["", "quarantine"],
    does: Does::Help,
};
