//! `release`: the undo, as far as there is one, of everything that Stanch did on a node for an incident, from the captured prior state.
//!
//! The suspect goes first, the network comes back after it: an attacker must not get the network back for a second.

use std::collections::BTreeSet;

use crate::action::{Action, ComputeAction, KubernetesAction};
use crate::definition::{Argument, Arguments, Context, Definition, Does, Phase};
use crate::facts::{ComputeFacts, Facts, PodFacts};
use crate::label::{GUIDE_KEY, OWN_KEY};
use crate::plan::{Consequences, Draft, Edge, StepId, Steps};
use crate::prior::Earlier;
use crate::refusal::Refusal;
use crate::target::PodRef;
use crate::{abandon, guard, revoke_ssh};

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "release",
    phase: Phase::Recover,
    summary: "undo what was done on a node for an incident, as far as it can be undone",
    details: "Takes the id of any request on that node and undoes everything that Stanch did there for its incident, from the prior state that was \
              saved: what was so before stays so. The suspect is deleted first; with --false-alarm it gets its labels back instead, and its owner \
              then deletes the clean replacement. An abandon, evictions and ephemeral addresses cannot be undone: the plan lists them. A node \
              that hosted an attacker is better deleted (`delete-node`) than released.",
    arguments: &[Argument::Request, Argument::FalseAlarm, Argument::Reason, Argument::DryRun],
    examples: &["r-k3f9qz", "r-k3f9qz --false-alarm reason:\"load test\""],
    does: Does::Mitigate(plan),
};

/// Grace period of the suspect, as the guide's `kubectl delete pod --grace-period=10`.
const GRACE_S: u32 = 10;
/// Seconds for the end of the suspect and of its policy: its kubelet has to come back first.
const ENDED_DEADLINE_S: u32 = 180;

fn plan(facts: &Facts, context: &Context) -> Result<Draft, Refusal> {
    // Without an earlier request there is nothing that Stanch did.
    let nothing = || Refusal::AlreadySo("Stanch changed nothing on that node for that incident, or it was released".into());
    let earlier = context.earlier.as_ref().filter(|earlier| !earlier.touched.is_empty()).ok_or_else(nothing)?;
    if facts.kubernetes.node.node != earlier.node {
        return Err(Refusal::NodeReplaced(earlier.node.name.to_string()));
    }
    let mut release = Release { facts, context, earlier, steps: Steps::default(), consequences: Consequences::default() };
    let marked = release.marked();
    let suspects: Vec<PodRef> = marked.iter().map(|suspect| suspect.pod.clone()).collect();
    let prior = KubernetesAction::CapturePriorState { node: earlier.node.clone(), suspects: suspects.clone() };
    let saved = release.steps.add(prior, []);
    let cleared = release.suspects(saved, &marked)?;
    let reopened = release.instance(&cleared)?;
    release.node(saved, &cleared, reopened);
    release.pods(saved, &cleared, reopened);
    let Release { steps, mut consequences, .. } = release;
    let steps = steps.finish();
    if !steps.iter().any(|step| step.action.undo() != crate::action::Undo::Nothing) {
        return Err(nothing());
    }
    describe(facts, context, earlier, !suspects.is_empty(), &mut consequences);
    let command = command_line(context);
    Ok(Draft { releases: true, command, suspects, ..guard::draft(DEFINITION.name, facts, context, consequences, steps) })
}

/// The command takes a request and not a target.
fn command_line(context: &Context) -> String {
    let Arguments { request, false_alarm, reason, .. } = &context.arguments;
    let mut line = DEFINITION.name.to_owned();
    line.extend(request.iter().map(|request| format!(" {request}")));
    line.push_str(if *false_alarm { " --false-alarm" } else { "" });
    line.extend(reason.iter().map(|reason| format!(" reason:\"{reason}\"")));
    line
}

struct Release<'p> {
    facts: &'p Facts,
    context: &'p Context,
    earlier: &'p Earlier,
    steps: Steps,
    consequences: Consequences,
}

impl<'p> Release<'p> {
    fn touched(&self, wanted: impl Fn(&Action) -> bool) -> bool {
        self.earlier.touched.iter().any(wanted)
    }

    /// Whether an action is left in place, since another incident relies on it: then that is said.
    fn is_held(&mut self, action: &Action) -> bool {
        let Some(holder) = self.earlier.held_by(action) else { return false };
        let line = format!("not undone, since {holder} relies on it for another incident: {}", action.summary());
        self.consequences.decisions.push(line);
        true
    }

    /// The pods that were marked and are still the same ones.
    fn marked(&self) -> Vec<&'p PodFacts> {
        let marked: BTreeSet<&PodRef> = self.earlier.touched.iter().filter_map(marks).collect();
        self.facts.kubernetes.pods.iter().filter(|pod| marked.contains(&pod.pod)).collect()
    }

    /// Every suspect is deleted, or restored: not one may be left when the network comes back.
    fn suspects(&mut self, saved: StepId, marked: &[&PodFacts]) -> Result<Vec<StepId>, Refusal> {
        let other = |suspect: &&&PodFacts| self.earlier.relied_on.iter().any(|(_, action)| marks(action) == Some(&suspect.pod));
        let (held, free): (Vec<&PodFacts>, Vec<&PodFacts>) = marked.iter().copied().partition(|suspect| other(&suspect));
        let stays = held.iter().map(|suspect| format!("{} stays as it is: it is a suspect of another incident too", suspect.pod));
        self.consequences.decisions.extend(stays);
        match self.context.arguments.false_alarm {
            true => free.into_iter().map(|suspect| self.restore(saved, suspect)).collect(),
            false if free.is_empty() => Ok(vec![]),
            false => Ok(self.delete(saved, &free)),
        }
    }

    fn restore(&mut self, saved: StepId, suspect: &PodFacts) -> Result<StepId, Refusal> {
        let prior = self.earlier.pod_prior(&suspect.pod).ok_or_else(|| Refusal::NoPriorState(suspect.pod.to_string()))?.clone();
        if suspect.owner.is_none() && prior.labels != suspect.labels {
            self.consequences
                .blast_radius
                .push(format!("{} is adopted by its owner again, which then deletes one pod: the clean replacement", suspect.pod));
        }
        let remove = BTreeSet::from([GUIDE_KEY.to_owned(), OWN_KEY.to_owned()]);
        Ok(self.steps.add(KubernetesAction::RestorePod { prior: Box::new(prior), remove }, [Edge::Requires(saved)]))
    }

    fn delete(&mut self, saved: StepId, suspects: &[&PodFacts]) -> Vec<StepId> {
        let node = self.facts.kubernetes.node.node.clone();
        let evidence = KubernetesAction::CollectEvidence { node, suspects: suspects.iter().map(|suspect| suspect.pod.clone()).collect() };
        let evidence = self.steps.add_with_deadline(evidence, [], self.context.limits.evidence_deadline_s);
        let needs = [Edge::Requires(saved), Edge::Requires(evidence)];
        let delete = |suspect: &&PodFacts| {
            self.consequences
                .blast_radius
                .push(format!("{} is deleted with its memory and emptyDir volumes, after its evidence is stored once more", suspect.pod));
            let delete = KubernetesAction::DeletePod { pod: suspect.pod.clone(), grace_s: GRACE_S, waiver: None };
            self.steps.add_with_deadline(delete, needs, ENDED_DEADLINE_S)
        };
        suspects.iter().map(delete).collect()
    }

    /// Tag, rules, addresses, protection; returns the step that gives the network back.
    fn instance(&mut self, suspects: &[StepId]) -> Result<Option<StepId>, Refusal> {
        if !self.touched(|action| matches!(action, Action::Compute(_))) {
            return Ok(None);
        }
        let compute = guard::instance(self.facts)?;
        let saved = abandon::save_prior_state(&mut self.steps, compute);
        let first: Vec<Edge> = [saved].into_iter().chain(suspects.iter().copied()).map(Edge::Requires).collect();
        let untagged = self.tag(compute, &first);
        let after_tag: Vec<Edge> = first.iter().copied().chain(untagged.map(Edge::Requires)).collect();
        let mut last = self.addresses(compute, &after_tag);
        self.rules(compute, &after_tag);
        last = last.or(untagged);
        let last = self.protection(compute, saved, last);
        if self.touched(|action| matches!(action, Action::Compute(ComputeAction::AddSshKey { .. } | ComputeAction::TagForSsh { .. }))) {
            // Operations on one instance may not overlap.
            let needs: Vec<Edge> = [Edge::Requires(saved)].into_iter().chain(last.map(Edge::After)).collect();
            revoke_ssh::add(&mut self.steps, compute, self.context, &needs, &mut self.consequences);
        }
        Ok(untagged)
    }

    fn tag(&mut self, compute: &ComputeFacts, needs: &[Edge]) -> Option<StepId> {
        let before = self.earlier.instance_prior.as_ref().map(|prior| &prior.tags);
        let (tagged, tag) = self.earlier.touched.iter().find_map(|action| match action {
            Action::Compute(ComputeAction::TagInstance { tag, .. }) => Some((action, tag.clone())),
            Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
        })?;
        if self.is_held(tagged) {
            return None;
        }
        if before.is_some_and(|tags| tags.contains(tag.as_str())) {
            self.consequences.decisions.push(format!("tag {tag} stays: the instance had it before"));
            return None;
        }
        let action = ComputeAction::UntagInstance { instance: compute.instance.clone(), tag };
        Some(self.steps.add(action, needs.iter().copied()))
    }

    /// The reserved addresses, each after the other; returns the last step.
    fn addresses(&mut self, compute: &ComputeFacts, needs: &[Edge]) -> Option<StepId> {
        let mut last = None;
        for action in &self.earlier.touched {
            let Action::Compute(ComputeAction::RemoveExternalIp { access, .. }) = action else { continue };
            if self.is_held(action) {
                continue;
            }
            let interface = compute.interfaces.iter().find(|interface| interface.name == access.interface);
            let there = interface.is_some_and(|interface| interface.access_configs.iter().any(|config| config.ipv6 == access.ipv6));
            if there {
                continue;
            }
            if !access.reserved || access.ipv6 || access.address.is_empty() {
                let kind = if access.ipv6 { "IPv6 addresses are not given back" } else { "it was ephemeral and is lost" };
                self.consequences.decisions.push(format!("external address {} is not restored: {kind}", access.address));
                continue;
            }
            let restore = ComputeAction::RestoreExternalIp { instance: compute.instance.clone(), access: access.clone() };
            last = Some(self.steps.add(restore, needs.iter().copied().chain(last.map(Edge::After))));
        }
        last
    }

    /// The rules that Stanch made and that isolate nobody else.
    fn rules(&mut self, compute: &ComputeFacts, needs: &[Edge]) {
        let touched = self.earlier.touched.iter().filter_map(|action| match action {
            Action::Compute(ComputeAction::TagInstance { rules, .. }) => Some(rules),
            Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
        });
        let rules: BTreeSet<_> = touched.flatten().filter(|rule| self.earlier.rules_made.contains(rule)).cloned().collect();
        for rule in rules {
            let others: Vec<String> = rule
                .target_tags
                .iter()
                .filter_map(|tag| compute.tagged.get(tag))
                .flatten()
                .filter(|other| other.id != compute.instance.id)
                .map(|other| other.name.to_string())
                .collect();
            if others.is_empty() {
                let action = ComputeAction::RemoveFirewallRule { rule, instance: compute.instance.clone() };
                self.steps.add(action, needs.iter().copied());
            } else {
                self.consequences.decisions.push(format!("firewall rule {} stays: it isolates {}", rule.name, others.join(", ")));
            }
        }
    }

    /// Protection and the boot disk, after the network since operations on one instance may not overlap, each after the other; returns the last step on the instance.
    fn protection(&mut self, compute: &ComputeFacts, saved: StepId, after: Option<StepId>) -> Option<StepId> {
        let Some(prior) = &self.earlier.instance_prior else { return after };
        let mut last = after;
        for action in &self.earlier.touched {
            let undo = match action {
                Action::Compute(ComputeAction::ProtectFromDeletion(instance)) if !prior.deletion_protection => {
                    ComputeAction::AllowDeletion(instance.clone())
                }
                Action::Compute(ComputeAction::KeepBootDisk { instance, device })
                    if prior.disks.iter().any(|disk| disk.device == *device && disk.auto_delete) =>
                {
                    ComputeAction::ReleaseBootDisk { instance: instance.clone(), device: device.clone() }
                }
                Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => continue,
            };
            if self.is_held(action) {
                continue;
            }
            last = Some(self.steps.add(undo, [Edge::Requires(saved)].into_iter().chain(last.map(Edge::After))));
        }
        if let Some(group) = prior.group.as_ref().filter(|_| compute.group.is_none()) {
            self.consequences.decisions.push(format!(
                "instance {} stays outside group {} (an abandon cannot be undone): its certificate may not be renewed one day; \
                 `delete-node` and `resize-group` give a fresh node instead",
                compute.instance.name, group.group.name
            ));
        }
        last
    }

    /// Marks of the node, and the cordon last.
    fn node(&mut self, saved: StepId, suspects: &[StepId], reopened: Option<StepId>) {
        let Some(prior) = &self.earlier.node_prior else { return };
        let node = &self.facts.kubernetes.node.node;
        let needs: Vec<Edge> = [saved].into_iter().chain(suspects.iter().copied()).chain(reopened).map(Edge::Requires).collect();
        let undone = [
            (KubernetesAction::ExcludeFromLoadBalancers(node.clone()), KubernetesAction::IncludeInLoadBalancers(node.clone())),
            (KubernetesAction::DisableScaleDown(node.clone()), KubernetesAction::AllowScaleDown(node.clone())),
            (KubernetesAction::Cordon(node.clone()), KubernetesAction::Uncordon(node.clone())),
        ];
        for (done, undo) in undone {
            let done = Action::from(done);
            if !self.earlier.touched.contains(&done) || self.is_held(&done) {
                continue;
            }
            if matches!(undo, KubernetesAction::Uncordon(_)) && prior.unschedulable {
                self.consequences.decisions.push("the node stays cordoned: it was before".into());
                continue;
            }
            self.steps.add(undo, needs.iter().copied());
        }
    }

    /// What was scaled to 0; and the policy of each suspect, once the suspect is gone or restored.
    fn pods(&mut self, saved: StepId, suspects: &[StepId], reopened: Option<StepId>) {
        for action in &self.earlier.touched {
            let Action::Kubernetes(KubernetesAction::ScaleToZero { workload, from: to }) = action else { continue };
            if self.is_held(action) {
                continue;
            }
            self.consequences.blast_radius.push(format!("{workload} is scaled back to {to}: fresh pods of the same image start"));
            self.steps.add(KubernetesAction::ScaleBack { workload: workload.clone(), to: *to }, [Edge::Requires(saved)]);
        }
        for action in &self.earlier.touched {
            let Action::Kubernetes(KubernetesAction::DenyPodTraffic(pod)) = action else { continue };
            if self.is_held(action) {
                continue;
            }
            let needs = [saved].into_iter().chain(suspects.iter().copied()).map(Edge::Requires).chain(reopened.map(Edge::After));
            self.steps.add_with_deadline(KubernetesAction::AllowPodTraffic(pod.clone()), needs, ENDED_DEADLINE_S);
        }
    }
}

/// The pod that an action marks as a suspect.
fn marks(action: &Action) -> Option<&PodRef> {
    match action {
        Action::Kubernetes(
            KubernetesAction::LabelPod { pod, .. }
            | KubernetesAction::KeepWhileUnreachable(pod)
            | KubernetesAction::KeepFromAutoscaler(pod)
            | KubernetesAction::DenyPodTraffic(pod),
        ) => Some(pod),
        Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
    }
}

fn describe(facts: &Facts, context: &Context, earlier: &Earlier, suspects: bool, consequences: &mut Consequences) {
    let node = &facts.kubernetes.node.node.name;
    let requests = earlier.requests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    consequences.decisions.insert(0, format!("undoes what {requests} did on node {node} for {}", context.incident));
    if !context.arguments.false_alarm && !earlier.suspects.is_empty() {
        consequences.residual_risk.push(format!("node {node} hosted a suspect: whoever broke out of the container is still on it; `delete-node` is safer"));
    }
    if !facts.kubernetes.node.ready && suspects && !context.arguments.false_alarm {
        consequences.residual_risk.push(
            "the node does not answer, so the suspect ends only after the network is back; until then its NetworkPolicy alone holds it".into(),
        );
    }
    if earlier.touched.iter().any(|action| matches!(action, Action::Kubernetes(KubernetesAction::Drain(_)))) {
        consequences.decisions.push("evicted pods stay where they are now".into());
    }
    consequences.decisions.push("snapshots, kept disks and evidence stay; `list` and the report name them".into());
    consequences.noticeable.push("whatever still runs on the node has its network back".into());
}
