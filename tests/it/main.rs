//! The one integration-test binary.

mod kubernetes_emulator;
mod support;
