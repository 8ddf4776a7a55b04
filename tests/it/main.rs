//! The one integration-test binary.

mod app;
mod audit;
mod compute_adapter;
mod compute_emulator;
mod compute_plans;
mod config;
mod control_plane;
mod core;
mod discord_emulator;
mod doctor;
mod guide;
mod guide_compute;
mod guide_kubernetes;
mod inspect;
mod kubernetes_adapter;
mod kubernetes_emulator;
mod permission;
mod plans;
mod pod_plans;
mod release;
mod scenarios;
mod slack_adapter;
mod slack_emulator;
mod stores;
mod support;
mod tidy;
