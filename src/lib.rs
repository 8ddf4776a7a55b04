//! Stanch: a ChatOps bot that contains security incidents on Google Kubernetes Engine.
//!
//! Start with `ARCHITECTURE.md`. The pure core is in [`core`], the doors to the world are in [`ports`].

pub mod adapters;
pub mod app;
pub mod bot;
pub mod config;
pub mod core;
pub mod ports;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod verify;
