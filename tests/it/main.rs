//! The one integration-test binary.

mod audit;
mod compute_adapter;
mod compute_emulator;
mod control_plane;
mod core;
mod kubernetes_emulator;
mod plans;
mod slack_emulator;
mod support;
mod tidy;
