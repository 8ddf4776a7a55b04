//! `release`: the undo, as far as there is one, of everything that Stanch did on a node for an incident, from the captured prior state.
//!
//! The suspect goes first, the network comes back after it: an attacker must not get the network back for a second.

use std::collections::BTreeSet;

use crate::action::{Action, ComputeAction, KubernetesAction, Undo};
use crate::definition::{Argument, Arguments, Context, Definition, Does, Phase};
use crate::facts::{ComputeFacts, Facts, PodFacts};
use crate::plan::{Consequences, Draft, Edge, StepId, Steps};
use crate::prior::{Earlier, Suspect};
use crate::refusal::Refusal;
use crate::target::{ComputeName, PodRef, RequestId};
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
    let earlier = context.earlier.as_ref().filter(|earlier| !earlier.requests.is_empty()).ok_or_else(nothing)?;
    if facts.kubernetes.node.node != earlier.node {
        return Err(Refusal::NodeReplaced(earlier.node.name.to_string()));
    }
    let mut release = Release { facts, context, earlier, steps: Steps::default(), consequences: Consequences::default() };
    let holder = release.holder();
    let ended = release.suspects();
    let suspects: Vec<PodRef> = ended.iter().map(|(pod, _)| pod.pod.clone()).collect();
    let saved = release.steps.add(KubernetesAction::CapturePriorState { node: earlier.node.clone(), suspects: suspects.clone() }, []);
    let cleared = release.end(saved, &ended)?;
    let mut reopened = vec![];
    match holder {
        Some(holder) => release.leave_to(holder),
        None => {
            reopened = release.instance(&cleared)?;
            release.node(saved, &cleared, &reopened);
        }
    }
    release.pods(saved, &cleared, &reopened);
    let Release { steps, mut consequences, .. } = release;
    let steps = steps.finish();
    // One that leaves everything to another incident changes nothing, and still ends what this incident has to say about the node.
    if holder.is_none() && !steps.iter().any(|step| step.action.undo() != Undo::Nothing) {
        return Err(nothing());
    }
    describe(facts, context, earlier, &suspects, &mut consequences);
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

/// A suspect that is still there.
type Alive<'p> = (&'p PodFacts, &'p Suspect);

impl<'p> Release<'p> {
    fn touched(&self, wanted: impl Fn(&Action) -> bool) -> bool {
        self.earlier.touched.iter().any(wanted)
    }

    /// The request of another incident to which the node and its instance are left.
    fn holder(&self) -> Option<&'p RequestId> {
        let alive: Vec<&PodRef> = self.facts.kubernetes.pods.iter().map(|pod| &pod.pod).collect();
        self.earlier.isolated_by(&alive)
    }

    /// Whether an action is left in place, since another incident relies on it: then that is said.
    fn is_held(&mut self, action: &Action) -> bool {
        let Some(holder) = self.earlier.held_by(action) else { return false };
        let line = format!("not undone, since {holder} relies on it for another incident: {}", action.summary());
        self.consequences.decisions.push(line);
        true
    }

    /// Says what of the node and the instance stays, and for whom.
    fn leave_to(&mut self, holder: &RequestId) {
        let stays = |action: &&Action| action.undo() == Undo::Possible && action.marks().is_none();
        let left = self.earlier.touched.iter().filter(stays).map(Action::summary).collect::<Vec<_>>();
        let what = if left.is_empty() { "nothing of it is this incident's".into() } else { left.join("; ") };
        self.consequences.decisions.push(format!(
            "node {} stays isolated, since {holder} relies on that for another incident; undone when that one is released: {what}",
            self.earlier.node.name
        ));
    }

    /// The suspects that end, or get back what they were, with this release: all that are still there, but for those of another incident.
    fn suspects(&mut self) -> Vec<Alive<'p>> {
        let find = |suspect: &'p Suspect| Some((self.facts.kubernetes.pods.iter().find(|pod| pod.pod == suspect.pod)?, suspect));
        let (theirs, ours): (Vec<Alive<'p>>, Vec<_>) =
            self.earlier.suspects.iter().filter_map(find).partition(|(_, suspect)| self.earlier.is_marked_elsewhere(&suspect.pod));
        let stays = theirs.iter().map(|(_, suspect)| format!("{} stays as it is: it is a suspect of another incident too", suspect.pod));
        self.consequences.decisions.extend(stays);
        if !self.context.arguments.false_alarm {
            return ours;
        }
        let (marked, unmarked): (Vec<_>, Vec<_>) = ours.into_iter().partition(|(_, suspect)| !suspect.marks.is_empty());
        let cleared = unmarked.iter().map(|(_, suspect)| format!("{} is cleared; nothing was marked on it", suspect.pod));
        self.consequences.decisions.extend(cleared);
        marked
    }

    /// Every suspect is deleted, or restored: not one may be left when the network comes back.
    fn end(&mut self, saved: StepId, suspects: &[Alive<'p>]) -> Result<Vec<StepId>, Refusal> {
        // One that is being deleted already is not restored: its end is waited for.
        let restorable = |(pod, _): &Alive<'p>| self.context.arguments.false_alarm && !pod.terminating;
        let (restored, deleted): (Vec<Alive<'p>>, Vec<Alive<'p>>) = suspects.iter().copied().partition(restorable);
        let mut cleared = restored.into_iter().map(|suspect| self.restore(saved, suspect)).collect::<Result<Vec<_>, _>>()?;
        cleared.extend(self.delete(saved, &deleted));
        Ok(cleared)
    }

    fn restore(&mut self, saved: StepId, (found, suspect): Alive<'p>) -> Result<StepId, Refusal> {
        let prior = self.earlier.pod_prior(&suspect.pod).ok_or_else(|| Refusal::NoPriorState(suspect.pod.to_string()))?.clone();
        if found.owner.is_none() && prior.labels != found.labels {
            self.consequences
                .blast_radius
                .push(format!("{} is adopted by its owner again, which then deletes one pod: the clean replacement", suspect.pod));
        }
        let restore = KubernetesAction::RestorePod { prior: Box::new(prior), remove: suspect.label_keys() };
        Ok(self.steps.add(restore, [Edge::Requires(saved)]))
    }

    fn delete(&mut self, saved: StepId, suspects: &[Alive<'p>]) -> Vec<StepId> {
        if suspects.is_empty() {
            return vec![];
        }
        let node = self.facts.kubernetes.node.node.clone();
        let evidence = KubernetesAction::CollectEvidence { node, suspects: suspects.iter().map(|(pod, _)| pod.pod.clone()).collect() };
        let evidence = self.steps.add_with_deadline(evidence, [], self.context.limits.evidence_deadline_s);
        let needs = [Edge::Requires(saved), Edge::Requires(evidence)];
        let delete = |(found, _): &Alive<'p>| {
            self.consequences
                .blast_radius
                .push(format!("{} is deleted with its memory and emptyDir volumes, after its evidence is stored once more", found.pod));
            let delete = KubernetesAction::DeletePod { pod: found.pod.clone(), grace_s: GRACE_S, waiver: None };
            self.steps.add_with_deadline(delete, needs, ENDED_DEADLINE_S)
        };
        suspects.iter().map(delete).collect()
    }

    /// Tags, rules, addresses, protection; returns the steps that give the network back.
    fn instance(&mut self, suspects: &[StepId]) -> Result<Vec<StepId>, Refusal> {
        if self.earlier.rules.is_empty() && !self.touched(|action| matches!(action, Action::Compute(_))) {
            return Ok(vec![]);
        }
        let compute = guard::instance(self.facts)?;
        let saved = abandon::save_prior_state(&mut self.steps, compute);
        let first: Vec<Edge> = [saved].into_iter().chain(suspects.iter().copied()).map(Edge::Requires).collect();
        let untagged = self.tags(compute, &first);
        let after_tags: Vec<Edge> = first.iter().copied().chain(untagged.iter().copied().map(Edge::Requires)).collect();
        let last = self.addresses(compute, &after_tags).or(untagged.last().copied());
        self.rules(compute, &after_tags);
        let last = self.protection(compute, saved, last);
        self.ssh(compute, saved, last);
        Ok(untagged)
    }

    fn tags(&mut self, compute: &ComputeFacts, needs: &[Edge]) -> Vec<StepId> {
        let before = self.earlier.instance_prior.as_ref().map(|prior| &prior.tags);
        let tags: BTreeSet<&ComputeName> = self
            .earlier
            .touched
            .iter()
            .filter_map(|action| match action {
                Action::Compute(ComputeAction::TagInstance { tag, .. }) => Some(tag),
                Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
            })
            .collect();
        let mut untagged: Vec<StepId> = vec![];
        for tag in tags {
            if before.is_some_and(|tags| tags.contains(tag.as_str())) {
                self.consequences.decisions.push(format!("tag {tag} stays: the instance had it before"));
                continue;
            }
            // Operations on one instance may not overlap.
            let after = untagged.last().copied().map(Edge::After);
            let action = ComputeAction::UntagInstance { instance: compute.instance.clone(), tag: tag.clone() };
            untagged.push(self.steps.add(action, needs.iter().copied().chain(after)));
        }
        untagged
    }

    /// Takes back the keys that this incident brought, and the way in if no other key is left.
    fn ssh(&mut self, compute: &ComputeFacts, saved: StepId, last: Option<StepId>) {
        let keys: Vec<_> = self
            .earlier
            .touched
            .iter()
            .filter_map(|action| match action {
                Action::Compute(ComputeAction::AddSshKey { key, .. }) => Some(key),
                Action::Kubernetes(_) | Action::Compute(_) | Action::Ssh(_) => None,
            })
            .collect();
        if keys.is_empty() && !self.touched(|action| matches!(action, Action::Compute(ComputeAction::TagForSsh { .. }))) {
            return;
        }
        // Operations on one instance may not overlap.
        let needs: Vec<Edge> = [Edge::Requires(saved)].into_iter().chain(last.map(Edge::After)).collect();
        let brought = |line: &str| keys.iter().any(|key| key.is_on(line));
        revoke_ssh::add(&mut self.steps, compute, self.context, brought, &needs, &mut self.consequences);
    }

    /// The reserved addresses, each after the other; returns the last step.
    fn addresses(&mut self, compute: &ComputeFacts, needs: &[Edge]) -> Option<StepId> {
        let mut last = None;
        for action in &self.earlier.touched {
            let Action::Compute(ComputeAction::RemoveExternalIp { access, .. }) = action else { continue };
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
        for rule in &self.earlier.rules {
            let others: Vec<String> = rule
                .target_tags
                .iter()
                .filter_map(|tag| compute.tagged.get(tag))
                .flatten()
                .filter(|other| other.id != compute.instance.id)
                .map(|other| other.name.to_string())
                .collect();
            if others.is_empty() {
                let action = ComputeAction::RemoveFirewallRule { rule: rule.clone(), instance: compute.instance.clone() };
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
    fn node(&mut self, saved: StepId, suspects: &[StepId], reopened: &[StepId]) {
        let Some(prior) = &self.earlier.node_prior else { return };
        let node = &self.facts.kubernetes.node.node;
        let needs: Vec<Edge> = [saved].into_iter().chain(suspects.iter().copied()).chain(reopened.iter().copied()).map(Edge::Requires).collect();
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
    fn pods(&mut self, saved: StepId, suspects: &[StepId], reopened: &[StepId]) {
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
            if self.earlier.is_marked_elsewhere(pod) && self.facts.kubernetes.pods.iter().any(|found| found.pod == *pod) {
                continue;
            }
            let needs = [saved].into_iter().chain(suspects.iter().copied()).map(Edge::Requires);
            let needs = needs.chain(reopened.iter().copied().map(Edge::After));
            self.steps.add_with_deadline(KubernetesAction::AllowPodTraffic(pod.clone()), needs, ENDED_DEADLINE_S);
        }
    }
}

fn describe(facts: &Facts, context: &Context, earlier: &Earlier, suspects: &[PodRef], consequences: &mut Consequences) {
    let node = &facts.kubernetes.node.node.name;
    let requests = earlier.requests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    consequences.decisions.insert(0, format!("undoes what {requests} did on node {node} for {}", context.incident));
    if !context.arguments.false_alarm && !earlier.suspects.is_empty() {
        consequences.residual_risk.push(format!("node {node} hosted a suspect: whoever broke out of the container is still on it; `delete-node` is safer"));
    }
    if !facts.kubernetes.node.ready && !suspects.is_empty() && !context.arguments.false_alarm {
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
