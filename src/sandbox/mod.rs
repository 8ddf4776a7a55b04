//! Emulators of the services that Stanch talks to, on loopback, behind the *production* adapters.
//!
//! An emulator is a real HTTP (and WebSocket) server that the vendor's own client accepts. Emulators are strict: a route
//! or a field that they do not know is an error, never a guess. All of them are seeded from one [`world::World`], so that
//! a Kubernetes node and its Compute instance agree.

pub mod compute;
pub mod discord;
pub mod kubernetes;
pub mod scenario;
pub mod server;
pub mod slack;
pub mod storage;
pub mod world;
