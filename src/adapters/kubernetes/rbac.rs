//! The rights that a cluster has to grant: all that the commands need, and nothing more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use stanch_commands::CATALOGUE;
use stanch_commands::permission::{beyond_surveys, cluster_rights};

const HEADER: &str = "\
# Generated from commands/src/permission.rs; a test fails when it is out of date.
#
# What Stanch may do in a cluster. Rights without a comment are those of every survey; none reads the content of a Secret.
# The subject is the service account of a Stanch that runs in the cluster. For one that runs elsewhere, replace it by its Google service
# account: `kind: User`, `apiGroup: rbac.authorization.k8s.io`, `name: NAME@PROJECT.iam.gserviceaccount.com`.
# `stanch doctor` tells what is missing.
";

const BINDING: &str = "\
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: stanch
  labels:
    app.kubernetes.io/name: stanch
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: stanch
subjects:
- kind: ServiceAccount
  name: stanch
  namespace: stanch
";

/// A verb, and the commands that need it beyond a survey.
type Verb = (&'static str, Option<String>);

/// `deploy/kubernetes/rbac.yaml`: a ClusterRole and its binding.
#[must_use]
pub fn rbac() -> String {
    let mut text = format!("{HEADER}apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: stanch\n");
    text.push_str("  labels:\n    app.kubernetes.io/name: stanch\nrules:\n");
    let commands: BTreeSet<&str> = CATALOGUE.iter().map(|definition| definition.name).collect();
    let mut resources: BTreeMap<(&str, &str), Vec<Verb>> = BTreeMap::new();
    for (right, needing) in cluster_rights(&commands) {
        resources.entry((right.group, right.resource)).or_default().push((right.verb, beyond_surveys(&needing)));
    }
    for ((group, resource), verbs) in resources {
        let names = verbs.iter().map(|(verb, _)| *verb).collect::<Vec<_>>().join(", ");
        // Writing to a text does not fail.
        for (verb, commands) in &verbs {
            let _ = commands.as_ref().map(|commands| writeln!(text, "# {verb}: {commands}"));
        }
        let _ = writeln!(text, "- apiGroups: [\"{group}\"]\n  resources: [{resource}]\n  verbs: [{names}]");
    }
    text + BINDING
}
