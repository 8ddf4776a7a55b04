//! What Stanch can do: one file per command.
//!
//! Everything here is pure: a command line becomes [`parse::Parsed`], a survey becomes [`facts::Facts`], facts become a
//! [`plan::Plan`], and [`check`] lints it. Nothing reads a clock, a file or a network.

#![deny(clippy::disallowed_methods)]

pub mod action;
pub mod check;
pub mod definition;
pub mod facts;
pub mod firewall_rule;
pub mod guard;
pub mod parse;
pub mod permission;
pub mod plan;
pub mod prior;
pub mod refusal;
pub mod runtime;
pub mod selector;
pub mod ssh_key;
mod taken_back;
pub mod target;
mod wording;

use definition::Definition;

macro_rules! catalogue {
    ($($command:ident),* $(,)?) => {
        $(pub mod $command;)*

        /// Every command, in the order of help.
        pub static CATALOGUE: &[&Definition] = &[$(&$command::DEFINITION),*];
    };
}

// A new command is one line here and one file beside this one.
catalogue! {
    help,
    locate,
    status,
    list,
    doctor,
    inspect,
    snapshot,
    quarantine,
    cordon,
    label,
    drain,
    abandon,
    firewall,
    remove_external_ip,
    isolate_pod,
    allow_ssh,
    revoke_ssh,
    redeploy,
    delete_workload,
    kill_container,
    delete_node,
    release,
    resize_group,
    uncordon,
    cancel,
    halt,
}

/// The command of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Definition> {
    CATALOGUE.iter().copied().find(|definition| definition.name == name)
}
