//! Implementations of the ports. They never import each other.

pub mod audit;
pub mod chats;
pub mod compute;
pub mod cut;
pub mod data;
pub mod deliveries;
pub mod discord;
pub mod evidence;
pub mod fields;
pub mod http;
pub mod kubernetes;
pub mod slack;
pub mod ssh;
pub mod system;
