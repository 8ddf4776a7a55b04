//! `cancel`: the requester withdraws a request that has not started.

use crate::definition::{Argument, Definition, Does, Phase};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "cancel",
    phase: Phase::Look,
    summary: "withdraw your own request before it starts",
    details: "Snapshots and evidence that were started for it are kept. A request that runs is stopped with `halt`.",
    arguments: &[Argument::Request],
    examples: &["r-k3f9qz"],
    does: Does::Cancel,
};
