//! The one integration-test binary.

mod control_plane;
mod kubernetes_emulator;
mod support;
