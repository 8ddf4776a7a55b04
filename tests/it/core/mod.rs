//! The pure core: policy decisions, and the approval of requests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code fails by panicking")]

mod approval;
mod policy;
mod waiting;
