//! Firewall rules as values, so that "already there" means that the whole body is equal.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::target::{ComputeName, NetworkRef};

/// A VPC firewall rule, complete.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FirewallRule {
    /// Network, in the project that owns it.
    pub network: NetworkRef,
    /// Name, unique in the project.
    pub name: ComputeName,
    /// Direction.
    pub direction: Direction,
    /// Allow or deny.
    pub verdict: Verdict,
    /// Protocols with optional ports, as Compute writes them: `all`, `tcp`, `tcp:22`.
    pub protocols: BTreeSet<String>,
    /// Source or destination ranges; a rule holds one address family.
    pub ranges: BTreeSet<String>,
    /// Source tags of an ingress rule.
    pub source_tags: BTreeSet<String>,
    /// Target tags.
    pub target_tags: BTreeSet<String>,
    /// 0 is the highest. At equal priority deny beats allow.
    pub priority: u16,
    /// A disabled rule is no protection.
    pub disabled: bool,
    /// Fields that Stanch never sets, such as target service accounts: a rule that has one never equals ours.
    pub unusual: BTreeSet<String>,
}

/// Direction of the traffic, seen from the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To the instance.
    Ingress,
    /// From the instance.
    Egress,
}

/// What a rule does with matching traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Lets it through.
    Allow,
    /// Drops it.
    Deny,
}

impl FirewallRule {
    /// `NAME (deny egress all to 0.0.0.0/0, priority 0, tag T)`.
    #[must_use]
    pub fn summary(&self) -> String {
        let (direction, preposition) = match self.direction {
            Direction::Ingress => ("ingress", "from"),
            Direction::Egress => ("egress", "to"),
        };
        let verdict = match self.verdict {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
        };
        let peers: Vec<&str> = self.ranges.iter().chain(&self.source_tags).map(String::as_str).collect();
        format!(
            "{} ({verdict} {direction} {} {preposition} {}, priority {}, tag {}, network {})",
            self.name,
            join(&self.protocols),
            peers.join(" "),
            self.priority,
            join(&self.target_tags),
            self.network.name,
        )
    }

    /// What differs between this rule and another one of the same name, a line each; empty if nothing does.
    #[must_use]
    pub fn differences(&self, found: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut compare = |field: &str, wanted: String, found: String| {
            if wanted != found {
                lines.push(format!("{field}: wanted {wanted}, found {found}"));
            }
        };
        compare(
            "network",
            format!("{}/{}", self.network.project, self.network.name),
            format!("{}/{}", found.network.project, found.network.name),
        );
        compare("direction", format!("{:?}", self.direction), format!("{:?}", found.direction));
        compare("action", format!("{:?}", self.verdict), format!("{:?}", found.verdict));
        compare("protocols", join(&self.protocols), join(&found.protocols));
        compare("ranges", join(&self.ranges), join(&found.ranges));
        compare("source tags", join(&self.source_tags), join(&found.source_tags));
        compare("target tags", join(&self.target_tags), join(&found.target_tags));
        compare("priority", self.priority.to_string(), found.priority.to_string());
        compare("disabled", self.disabled.to_string(), found.disabled.to_string());
        compare("other fields", join(&self.unusual), join(&found.unusual));
        lines
    }
}

fn join(set: &BTreeSet<String>) -> String {
    match set.is_empty() {
        true => "none".into(),
        false => set.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
    }
}
