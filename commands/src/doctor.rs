//! `doctor`: examines everything that Stanch depends on.

use crate::definition::{Definition, Does, Phase};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "doctor",
    phase: Phase::Look,
    summary: "check rights, connections, clock, disk and log before an incident",
    details: "Asks every cluster, project and the chat what Stanch may do, and changes nothing. Only you see the answer. `stanch doctor` on the command line does the same for a Stanch that is not running.",
    arguments: &[],
    examples: &[""],
    does: Does::Doctor,
};
