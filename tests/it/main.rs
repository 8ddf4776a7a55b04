//! The one integration-test binary.

mod control_plane;
mod support;
