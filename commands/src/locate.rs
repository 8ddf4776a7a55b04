//! `locate`: the host VM of a pod, with owners, group, disks, networks and identities.

use crate::action::pods;
use crate::definition::{Argument, Definition, Does, Phase};
use crate::facts::{ComputeFacts, Facts, NoInstance, PodFacts};
use crate::guard;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "locate",
    phase: Phase::Look,
    summary: "find the host VM of a pod, its owners, group, disks, networks and identities",
    details: "Reads only. Only you see the answer.",
    arguments: &[Argument::PodOrNode, Argument::Cluster],
    examples: &["pod shop/cart-7d4b9c6f5-x2x9q", "node gke-prod-pool-1-abcd cluster:prod"],
    does: Does::Locate,
};

/// One line of a finding: what, and its value.
pub type Finding = (&'static str, String);

/// What a survey found, for people.
#[must_use]
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let node = &facts.kubernetes.node;
    let mut lines = Vec::new();
    if let Some(suspect) = &facts.kubernetes.suspect {
        lines.extend(pod(facts, suspect));
    }
    let state = match (node.ready, node.unschedulable) {
        (true, false) => "Ready",
        (true, true) => "Ready, cordoned",
        (false, false) => "NotReady",
        (false, true) => "NotReady, cordoned",
    };
    lines.push(("node", format!("{} ({state}, {}, {})", node.node.name, pods(facts.kubernetes.pods.len()), node.runtime)));
    lines.push(("node pool", node.pool.clone().unwrap_or_else(|| "none".into())));
    match (&facts.compute, guard::instance(facts)) {
        (Ok(compute), _) => lines.extend(instance(compute)),
        (Err(NoInstance::Autopilot), _) => lines.push(("instance", "Autopilot: not reachable through Compute".into())),
        (Err(_), Err(refusal)) => lines.push(("instance", refusal.to_string())),
        (Err(_), Ok(_)) => {}
    }
    lines
}

fn pod(facts: &Facts, suspect: &PodFacts) -> Vec<Finding> {
    let owner = suspect.owner.as_ref().map_or_else(|| "none: nothing replaces it".into(), |owner| format!("{} {}", owner.kind, owner.name));
    let services: Vec<&str> = facts.kubernetes.services.keys().map(String::as_str).collect();
    vec![
        ("pod", format!("{} ({}, uid {})", suspect.pod, suspect.phase, suspect.pod.uid)),
        ("owner", owner),
        ("services", or_none(&services)),
        ("service account", format!("{}/{}", suspect.pod.namespace, suspect.service_account)),
    ]
}

fn instance(compute: &ComputeFacts) -> Vec<Finding> {
    let instance = &compute.instance;
    let group = match &compute.group {
        Some(group) => format!("{} (size {}, {})", group.group.name, group.target_size, group.current_action),
        None => "none: abandoned already, or never in one".into(),
    };
    let mut lines = vec![
        ("instance", format!("{}/{}/{} (id {}, {})", instance.project, instance.zone, instance.name, instance.id, compute.status)),
        ("group", group),
        ("tags", or_none(&compute.tags.iter().map(String::as_str).collect::<Vec<_>>())),
    ];
    for disk in &compute.disks {
        let what = if disk.boot { "boot disk" } else { "disk" };
        lines.push((what, disk.disk.as_ref().map_or_else(|| format!("{} (Local SSD: no snapshot covers it)", disk.device), |d| d.name.to_string())));
    }
    for interface in &compute.interfaces {
        let external: Vec<&str> = interface.access_configs.iter().map(|access| access.address.as_str()).collect();
        let network = &interface.network;
        lines.push(("interface", format!("{} in {}/{}: {}, external {}", interface.name, network.project, network.name, interface.internal_ip, or_none(&external))));
    }
    for account in compute.service_accounts.keys() {
        lines.push(("google identity", format!("{account} (stays usable from the VM)")));
    }
    lines
}

fn or_none(items: &[&str]) -> String {
    match items {
        [] => "none".into(),
        items => items.join(", "),
    }
}
