//! The one integration-test binary.

mod audit;
mod compute_emulator;
mod config;
mod control_plane;
mod core;
mod kubernetes_emulator;
mod plans;
mod slack_emulator;
mod stores;
mod support;
mod tidy;
