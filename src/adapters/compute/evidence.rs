//! What an investigation needs of an instance. Nothing here changes anything.

use google_cloud_compute_v1::model::Instance;
use serde_json::{Value, json};
use stanch_commands::target::InstanceRef;

use super::links::Link;
use super::problem::Problem;
use super::session::Session;
use super::steps::Found;
use crate::core::step::Receipt;

/// Metadata holds keys of clusters, start-up scripts and whatever people put there.
const REDACTED: &str = "[redacted by Stanch]";

impl Session<'_> {
    /// Reads the instance and what hangs on it. What is missing is named, and does not fail the rest.
    pub async fn evidence(&self, instance: &InstanceRef) -> Result<Found, Problem> {
        let found = self.bound(instance).await?;
        let mut missing = Vec::new();
        self.collect("instance/instance.json".into(), &redacted(&found));
        for interface in &found.network_interfaces {
            let name = interface.name.as_deref().unwrap_or("nic");
            match self.effective(instance, name).await {
                Ok(effective) => self.collect(format!("instance/effective-firewalls-{name}.json"), &value(&effective)),
                Err(problem) => missing.push(format!("effective firewalls of {name}: {problem}")),
            }
        }
        for attached in &found.disks {
            let Some(link) = attached.source.as_deref().and_then(Link::parse).filter(|link| link.kind == "disks") else { continue };
            let Some(place) = link.place() else { continue };
            match self.disk(link.project, &place, link.name).await {
                Ok(disk) => self.collect(format!("instance/disks/{}.json", link.name), &value(&disk)),
                Err(problem) => missing.push(format!("disk {}: {problem}", link.name)),
            }
        }
        match self.group_of(instance, &found).await {
            Ok(group) => self.collect("instance/group.json".into(), &json!(group)),
            Err(problem) => missing.push(format!("group: {problem}")),
        }
        let accounts: Vec<&str> = found.service_accounts.iter().filter_map(|account| account.email.as_deref()).collect();
        let accounts = if accounts.is_empty() { "none".to_owned() } else { accounts.join(", ") };
        let summary =
            format!("read instance {} with {} interfaces and {} disks", instance.name, found.network_interfaces.len(), found.disks.len());
        let details = std::iter::once(format!("Google identity of the node: {accounts}"))
            .chain(missing.into_iter().map(|what| format!("missing: {what}")));
        Ok(Found::InPlace(Receipt { summary, details: details.collect(), ..Receipt::default() }))
    }
}

fn value(found: &impl serde::Serialize) -> Value {
    serde_json::to_value(found).unwrap_or_default()
}

/// The instance without the values of its metadata.
fn redacted(found: &Instance) -> Value {
    let mut object = value(found);
    let items = object.pointer_mut("/metadata/items").and_then(Value::as_array_mut);
    for entry in items.into_iter().flatten().filter_map(|item| item.get_mut("value")) {
        *entry = json!(REDACTED);
    }
    object
}
