//! Implementations of the ports. They never import each other.

pub mod audit;
pub mod compute;
