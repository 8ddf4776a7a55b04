//! The one integration-test binary.

mod audit;
mod core;
mod kubernetes_emulator;
mod plans;
mod support;
mod tidy;
