//! Compute Engine: surveys of an instance, and the steps on it.
//!
//! Every read and every write passes `session`, which retries what may be retried and records what was sent. Every write passes
//! `write`, which derives its `requestId` and waits for its operation. The steps never decide on more than what they read.

mod client;
mod evidence;
mod examine;
mod links;
mod on_deletion;
mod on_disk;
mod on_group;
mod on_instance;
mod on_network;
mod on_ssh;
mod problem;
mod read;
mod role;
mod rule;
mod session;
mod steps;
mod survey;
mod write;

pub use client::{Compute, ComputeBuildError, ComputeOptions};
pub use examine::ProjectExamination;
pub use role::role;
