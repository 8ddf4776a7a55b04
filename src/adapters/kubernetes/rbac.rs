//! The rights that a cluster has to grant: all that the commands need, and nothing more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use stanch_commands::CATALOGUE;
use stanch_commands::inspect;
use stanch_commands::kill_container;
use stanch_commands::permission::{ClusterRight, beyond_surveys, cluster_rights};

const HEADER: &str = "\
# Generated from commands/src/permission.rs; a test fails when it is out of date.
#
# What Stanch may do in a cluster. Rights without a comment are those of every survey; none reads the content of a Secret.
# The subject is the service account of a Stanch that runs in the cluster. For one that runs elsewhere, replace it by its Google service
# account: `kind: User`, `apiGroup: rbac.authorization.k8s.io`, `name: NAME@PROJECT.iam.gserviceaccount.com`.
# `stanch doctor` tells what is missing.
";

const EXEC_HEADER: &str = "\
# Generated from commands/src/permission.rs; a test fails when it is out of date.
#
# Only where config/policy.toml permits `inspect --exec`: the right to run programs in every pod of the cluster, Stanch's own included.
";

const PRIVILEGED_POD_HEADER: &str = "\
# Generated from commands/src/permission.rs; a test fails when it is out of date.
#
# Only where config/stanch.toml has [privileged_pod]: what `kill-container` needs in the namespace that privileged-pod.yaml makes. Whoever may
# create pods there owns every node, so that nobody else should have this right.
";

/// The namespace of deploy/kubernetes/privileged-pod.yaml.
const PRIVILEGED_NAMESPACE: &str = "stanch-privileged";

const SUBJECTS: &str = "\
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
    manifests(HEADER, "stanch", cluster_rights(&every_command()))
}

/// `deploy/kubernetes/rbac-exec.yaml`: what `inspect --exec` needs on top of that.
#[must_use]
pub fn rbac_exec() -> String {
    let base = cluster_rights(&every_command());
    let exec = cluster_rights(&[inspect::WITH_EXEC].into());
    manifests(EXEC_HEADER, "stanch-exec", exec.into_iter().filter(|(right, _)| !base.contains_key(right)).collect())
}

/// `deploy/kubernetes/rbac-privileged-pod.yaml`: what the privileged pod of `kill-container` needs, in its namespace alone.
#[must_use]
pub fn rbac_privileged_pod() -> String {
    // Nodes are in no namespace, and every survey may read them.
    let rights = cluster_rights(&[kill_container::BY_PRIVILEGED_POD].into());
    let inside = rights.into_iter().filter(|(right, _)| right.resource != "nodes").collect();
    let metadata = |name: &str| format!("metadata:\n  name: {name}\n");
    let (cluster, own) =
        (metadata("stanch-privileged-pod"), format!("{}  namespace: {PRIVILEGED_NAMESPACE}\n", metadata("stanch-privileged-pod")));
    manifests(PRIVILEGED_POD_HEADER, "stanch-privileged-pod", inside)
        .replace("kind: ClusterRoleBinding\n", "kind: RoleBinding\n")
        .replace("kind: ClusterRole\n", "kind: Role\n")
        .replace(&cluster, &own)
}

fn every_command() -> BTreeSet<&'static str> {
    CATALOGUE.iter().map(|definition| definition.name).collect()
}

fn manifests(header: &str, name: &str, rights: BTreeMap<ClusterRight, BTreeSet<&'static str>>) -> String {
    let metadata = format!("metadata:\n  name: {name}\n  labels:\n    app.kubernetes.io/name: stanch\n");
    let api = "apiVersion: rbac.authorization.k8s.io/v1\n";
    let mut text = format!("{header}{api}kind: ClusterRole\n{metadata}rules:\n");
    let mut resources: BTreeMap<(&str, &str), Vec<Verb>> = BTreeMap::new();
    for (right, needing) in rights {
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
    let role = format!("roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: {name}\n");
    format!("{text}---\n{api}kind: ClusterRoleBinding\n{metadata}{role}{SUBJECTS}")
}
