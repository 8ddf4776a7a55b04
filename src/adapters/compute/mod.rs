//! Compute Engine: surveys of an instance, and the steps on it.
//!
//! Every read and every write passes [`session`], which retries what may be retried and records what was sent. Every write passes
//! [`write`], which derives its `requestId` and waits for its operation. The steps never decide on more than what they read.

mod client;
mod links;
mod problem;
mod read;
mod rule;
mod session;
mod write;

pub use client::{Compute, ComputeBuildError, ComputeOptions};
