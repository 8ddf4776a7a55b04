//! The pure core: who asked, who agreed, what happened. No I/O, no clock, no randomness, no async; a test and a lint guard that.

#![deny(clippy::disallowed_methods)]

pub mod diagnosis;
pub mod ending;
pub mod engine;
pub mod identity;
pub mod policy;
pub mod record;
pub mod request;
pub mod say;
pub mod step;
