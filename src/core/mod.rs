//! The pure core: who asked, who agreed, what happened. No I/O, no clock, no randomness, no async; a test guards that.

pub mod diagnosis;
pub mod ending;
pub mod engine;
pub mod identity;
pub mod policy;
pub mod record;
pub mod request;
pub mod say;
pub mod step;
