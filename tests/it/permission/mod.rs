//! Goal: Stanch needs exactly the rights that it asks for. Method: the generated files are current; every action and survey runs on
//! emulators that grant these rights and nothing else, and something fails without each of them; a real control plane agrees.
#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test code fails by panicking"
)]

mod cluster;
mod control_plane;
mod generated;
mod privileged;
mod project;
mod stated;
