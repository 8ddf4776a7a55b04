//! Everything that Stanch depends on, looked at before an incident.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use stanch_commands::CATALOGUE;

use crate::core::diagnosis::{Check, Diagnosis};
use crate::core::policy::Policy;
use crate::ports::Examined;

/// How long one part may take. A cluster asks for some thirty rights, each within milliseconds; who waits longer than this in a chat thinks
/// that nothing happens.
const LIMIT: Duration = Duration::from_secs(30);

/// Examines every part.
#[derive(Clone, Default)]
pub struct Doctor {
    parts: Vec<(String, Arc<dyn Examined>)>,
    commands: BTreeSet<&'static str>,
}

impl Doctor {
    /// A doctor for what this policy lets somebody ask for.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let permitted =
            |name: &str| policy.permits.iter().any(|permit| permit.commands.iter().any(|command| command == "*" || command == name));
        let commands = CATALOGUE.iter().map(|definition| definition.name).filter(|name| permitted(name)).collect();
        Self { parts: Vec::new(), commands }
    }

    /// Adds a part.
    pub fn add(&mut self, part: impl Into<String>, examined: Arc<dyn Examined>) {
        self.parts.push((part.into(), examined));
    }

    /// Looks at everything at once. The order is that in which the parts were added.
    pub async fn examine(&self) -> Vec<Diagnosis> {
        let looks = self.parts.iter().map(|(part, examined)| async {
            let late = || vec![Check::fail("answer", format!("none within {} s", LIMIT.as_secs()), "look at the network between")];
            let checks = tokio::time::timeout(LIMIT, examined.examine(&self.commands)).await.unwrap_or_else(|_| late());
            checks.into_iter().map(|check| Diagnosis { part: part.clone(), check }).collect::<Vec<_>>()
        });
        join_all(looks).await.into_iter().flatten().collect()
    }
}
