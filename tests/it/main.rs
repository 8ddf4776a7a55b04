//! The one integration-test binary.

mod slack_emulator;
mod support;
