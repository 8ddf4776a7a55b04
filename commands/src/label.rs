//! `label`: marks the suspect; inside a quarantine also detaches it.

use std::collections::{BTreeMap, BTreeSet};

use crate::action::KubernetesAction;
use crate::cordon::save_prior_state;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::{Facts, PodFacts, PolicyFacts};
use crate::guard;
use crate::plan::{Consequences, Draft, Edge, Form, StepId, Steps};
use crate::refusal::Refusal;
use crate::target::PodRef;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "label",
    phase: Phase::Contain,
    summary: "mark the suspect pod with quarantine=true",
    details: "Marks only: the pod keeps its traffic, its Services and its owner. `quarantine` also detaches it.",
    arguments: &[Argument::Pod, Argument::Cluster, Argument::Incident, Argument::Reason, Argument::IncludeStanch, Argument::DryRun],
    examples: &["pod shop/cart-7d4b9c6f5-x2x9q incident:inc-42"],
    does: Does::Mitigate(plan),
};

/// The guide's label.
pub const GUIDE_KEY: &str = "quarantine";
/// Our own label, whose value is the pod's uid, so that a policy selects exactly one pod.
pub const OWN_KEY: &str = "stanch.dev/quarantine";

/// The labels that a suspect carries after a plan of this form.
#[must_use]
pub fn labels(suspect: &PodFacts, form: Form) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([(GUIDE_KEY.to_owned(), "true".to_owned())]);
    match form {
        Form::Guide => {}
        Form::Strict => {
            labels.insert(OWN_KEY.to_owned(), suspect.pod.uid.to_string());
        }
    }
    labels
}

/// The label keys whose removal takes the suspect out of its Services, its owner and the policies that let traffic through.
///
/// A DaemonSet's own keys stay: its replacement would land on the same cordoned node.
#[must_use]
fn detaching(facts: &Facts, suspect: &PodFacts) -> BTreeSet<String> {
    let by_services = facts.kubernetes.services.values().flat_map(BTreeMap::keys);
    let by_policies = facts.kubernetes.policies.iter().filter(|policy| policy.allows).flat_map(|policy| &policy.selector_keys);
    let keys: BTreeSet<&String> = by_services.chain(by_policies).chain(&suspect.owner_selector).collect();
    let kept = |key: &String| key == GUIDE_KEY || key == OWN_KEY || (suspect.stays_on_drain() && suspect.owner_selector.contains(key));
    keys.into_iter().filter(|key| suspect.labels.contains_key(*key) && !kept(key)).cloned().collect()
}

/// What a suspect's labels become, so that no policy but ours selects it any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewriting {
    /// Labels to set: ours, and keys whose mere presence ends a selection.
    pub set: BTreeMap<String, String>,
    /// Labels to remove.
    pub remove: BTreeSet<String>,
    /// Policies that select the pod whatever its labels are, or because of labels that must stay.
    pub still: Vec<PolicyFacts>,
    /// Services that select it because of labels that must stay.
    pub services: Vec<String>,
}

/// Rounds of a rewriting: each removes or adds at least one key for a policy that was missed, and a pod with more policies than that which
/// exclude each other is for a person to look at.
const ROUNDS: usize = 16;

/// Detaches the suspect as [`detaching`] does, and then goes on until only policies select it that no label can escape.
#[must_use]
pub fn rewriting(facts: &Facts, suspect: &PodFacts) -> Rewriting {
    let mut rewriting = Rewriting { set: labels(suspect, Form::Strict), remove: detaching(facts, suspect), still: vec![], services: vec![] };
    let held = |key: &String| suspect.stays_on_drain() && suspect.owner_selector.contains(key);
    for _ in 0..ROUNDS {
        let labels = rewriting.applied(suspect);
        let selecting = facts.kubernetes.namespace_policies.iter().filter(|policy| policy.name != policy_name(&suspect.pod) && policy.selector.selects(&labels));
        rewriting.still = selecting.cloned().collect();
        let served = facts.kubernetes.services.iter().filter(|(_, selector)| selector.iter().all(|(key, value)| labels.get(key) == Some(value)));
        rewriting.services = served.map(|(name, _)| name.clone()).collect();
        let set = &rewriting.set;
        let escape = rewriting.still.iter().find_map(|policy| {
            let removed = policy.selector.needed().find(|key| labels.contains_key(*key) && !set.contains_key(*key) && !held(key));
            // A key that was removed for one policy is not put back for another: they would take turns.
            let added = policy.selector.forbidden().find(|key| !rewriting.remove.contains(*key) && !labels.contains_key(*key));
            removed.map(|key| (key.clone(), true)).or_else(|| added.map(|key| (key.clone(), false)))
        });
        match escape {
            None => return rewriting,
            Some((key, true)) => drop(rewriting.remove.insert(key)),
            Some((key, false)) => drop(rewriting.set.insert(key, ESCAPED.to_owned())),
        }
    }
    rewriting
}

/// Value of a label that is there only to escape a selector.
const ESCAPED: &str = "isolated";

/// Name of the policy that denies all traffic of this pod.
#[must_use]
pub fn policy_name(pod: &PodRef) -> String {
    format!("stanch-quarantine-{}", pod.uid.as_str().to_ascii_lowercase())
}

impl Rewriting {
    /// The labels of a form, and nothing removed.
    #[must_use]
    pub fn only_labels(suspect: &PodFacts, form: Form) -> Self {
        Self { set: labels(suspect, form), ..Self::default() }
    }

    /// Policies that cannot be escaped and let traffic through. A phrase each.
    pub fn allowing(&self) -> impl Iterator<Item = String> {
        let allowing = self.still.iter().filter(|policy| policy.allows);
        allowing.map(|policy| format!("NetworkPolicy {} selects it whatever its labels are, and lets traffic through", policy.name))
    }

    fn applied(&self, suspect: &PodFacts) -> BTreeMap<String, String> {
        let mut labels = suspect.labels.clone();
        labels.retain(|key, _| !self.remove.contains(key));
        labels.extend(self.set.clone());
        labels
    }
}

/// Adds the label step.
pub fn add(steps: &mut Steps, suspect: &PodFacts, rewriting: &Rewriting, needs: Vec<Edge>) -> StepId {
    let (set, remove) = (rewriting.set.clone(), rewriting.remove.clone());
    steps.add(KubernetesAction::LabelPod { pod: suspect.pod.clone(), set, remove }, needs)
}

/// What the rewriting does to whom the suspect belongs to. `cordoned`: nothing new comes to its node.
pub fn describe(facts: &Facts, suspect: &PodFacts, rewriting: &Rewriting, cordoned: bool, consequences: &mut Consequences) {
    let pod = &suspect.pod;
    let attached = suspect.owner_selector.iter().all(|key| !rewriting.remove.contains(key));
    let again = if cordoned { "" } else { ", perhaps on the same node, which is not cordoned" };
    consequences.blast_radius.push(match &suspect.owner {
        None if suspect.labels.contains_key(OWN_KEY) => format!("{pod} was detached by Stanch before"),
        None => format!("{pod} has no owner: nothing replaces it"),
        Some(owner) if attached => format!("{pod} stays with {} {}: a replacement would come to the same node", owner.kind, owner.name),
        Some(owner) if owner.kind == "ReplicaSet" => format!("{pod} leaves {} {}, which starts a clean replacement{again}", owner.kind, owner.name),
        Some(owner) if owner.kind == "StatefulSet" => format!("{pod} leaves {} {}, which cannot replace it while it exists", owner.kind, owner.name),
        Some(owner) => format!("{pod} leaves {} {}, which may not replace it", owner.kind, owner.name),
    });
    let services: Vec<&str> = facts.kubernetes.services.keys().map(String::as_str).collect();
    if rewriting.services.is_empty() && !services.is_empty() {
        consequences.blast_radius.push(format!("{pod} leaves its Services: {}", services.join(", ")));
    }
    if !rewriting.services.is_empty() {
        let held = rewriting.services.join(", ");
        consequences.blast_radius.push(format!("Services go on sending to {pod}, in vain once it is cut off, because its owner holds its labels: {held}"));
    }
    consequences.decisions.push("removed labels are kept in its annotation stanch.dev/original-labels".into());
}

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    guard::node(facts)?;
    let Some(suspect) = guard::suspect(facts, context)? else {
        return Err(Refusal::PodGone("none".into()));
    };
    let wanted = labels(suspect, context.form);
    if wanted.iter().all(|(key, value)| suspect.labels.get(key) == Some(value)) {
        return Err(Refusal::AlreadySo(format!("pod {} carries the label", suspect.pod)));
    }
    let mut steps = Steps::default();
    let saved = save_prior_state(&mut steps, facts);
    add(&mut steps, suspect, &Rewriting::only_labels(suspect, context.form), vec![Edge::Requires(saved)]);
    let consequences = Consequences {
        noticeable: vec!["a process that can read the Kubernetes API sees the label".into()],
        residual_risk: vec!["a label isolates nothing: the pod keeps its network, its Services and its owner".into()],
        ..Consequences::default()
    };
    Ok(guard::draft(DEFINITION.name, facts, context, consequences, steps.finish()))
}
