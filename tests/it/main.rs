//! The one integration-test binary.

mod core;
mod kubernetes_emulator;
mod plans;
mod support;
mod tidy;
