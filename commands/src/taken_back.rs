//! Which action takes which other one back, and what an action means for a node that is to be released: what of all that was done still stands
//! follows from this.

use crate::action::{Action, ComputeAction, KubernetesAction};
use crate::target::{InstanceRef, PodRef};

impl Action {
    /// The pod that the action marks as a suspect.
    #[must_use]
    pub fn marks(&self) -> Option<&PodRef> {
        match self {
            Self::Kubernetes(
                KubernetesAction::LabelPod { pod, .. }
                | KubernetesAction::KeepWhileUnreachable(pod)
                | KubernetesAction::KeepFromAutoscaler(pod)
                | KubernetesAction::DenyPodTraffic(pod),
            ) => Some(pod),
            Self::Kubernetes(_) | Self::Compute(_) | Self::Ssh(_) => None,
        }
    }

    /// Whether the action takes the network from the instance.
    #[must_use]
    pub fn takes_network(&self) -> bool {
        matches!(self, Self::Compute(ComputeAction::TagInstance { .. } | ComputeAction::RemoveExternalIp { .. }))
    }

    /// Whether there is anything that this action takes back: most actions only add.
    #[must_use]
    pub fn takes_something_back(&self) -> bool {
        matches!(
            self,
            Self::Kubernetes(
                KubernetesAction::Uncordon(_)
                    | KubernetesAction::AllowScaleDown(_)
                    | KubernetesAction::IncludeInLoadBalancers(_)
                    | KubernetesAction::AllowPodTraffic(_)
                    | KubernetesAction::ScaleBack { .. }
                    | KubernetesAction::RestorePod { .. }
                    | KubernetesAction::DeletePod { .. }
            ) | Self::Compute(
                ComputeAction::RemoveFirewallRule { .. }
                    | ComputeAction::UntagInstance { .. }
                    | ComputeAction::RestoreExternalIp { .. }
                    | ComputeAction::AllowDeletion(_)
                    | ComputeAction::ReleaseBootDisk { .. }
                    | ComputeAction::RemoveSshKey { .. }
                    | ComputeAction::UntagForSsh { .. }
                    | ComputeAction::UntagIntermediate { .. }
                    | ComputeAction::DeleteIntermediate { .. }
                    | ComputeAction::DeleteInstance { .. }
            )
        )
    }

    /// Whether this action, once it succeeded, left nothing of an earlier one.
    #[must_use]
    pub fn takes_back(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            // So that the list above is never shorter than what follows.
            _ if !self.takes_something_back() => false,
            (Self::Kubernetes(now), Self::Kubernetes(then)) => on_kubernetes(now, then),
            (Self::Compute(now), Self::Compute(then)) => on_compute(now, then),
            (Self::Kubernetes(_) | Self::Compute(_) | Self::Ssh(_), _) => false,
        }
    }
}

fn on_kubernetes(now: &KubernetesAction, then: &KubernetesAction) -> bool {
    use KubernetesAction as K;
    match (now, then) {
        (K::Uncordon(now), K::Cordon(then))
        | (K::AllowScaleDown(now), K::DisableScaleDown(then))
        | (K::IncludeInLoadBalancers(now), K::ExcludeFromLoadBalancers(then)) => now == then,
        (K::AllowPodTraffic(now), K::DenyPodTraffic(then)) => now == then,
        (K::ScaleBack { workload: now, .. }, K::ScaleToZero { workload: then, .. }) => now == then,
        (K::RestorePod { prior, .. }, K::LabelPod { pod, .. } | K::KeepWhileUnreachable(pod) | K::KeepFromAutoscaler(pod)) => {
            prior.pod == *pod
        }
        (K::DeletePod { pod: now, .. }, K::LabelPod { pod: then, .. } | K::KeepWhileUnreachable(then) | K::KeepFromAutoscaler(then)) => {
            now == then
        }
        _ => false,
    }
}

fn on_compute(now: &ComputeAction, then: &ComputeAction) -> bool {
    use ComputeAction as C;
    match (now, then) {
        (C::RemoveFirewallRule { rule: now, .. }, C::EnsureFirewallRule(then)) => now == then,
        (C::UntagInstance { instance, tag }, C::TagInstance { instance: on, tag: then, .. }) => instance == on && tag == then,
        (C::RestoreExternalIp { instance, access }, C::RemoveExternalIp { instance: of, access: then }) => instance == of && access == then,
        (C::AllowDeletion(now), C::ProtectFromDeletion(then)) => now == then,
        (C::ReleaseBootDisk { instance, device }, C::KeepBootDisk { instance: of, device: then }) => instance == of && device == then,
        (C::RemoveSshKey { instance, line }, C::AddSshKey { instance: to, key, .. }) => instance == to && key.is_on(line),
        (C::UntagForSsh { instance, tag }, C::TagForSsh { instance: on, tag: then }) => instance == on && tag == then,
        (C::UntagIntermediate { intermediate, tag }, C::TagIntermediate { intermediate: on, tag: then }) => {
            intermediate == on && tag == then
        }
        (C::DeleteIntermediate { intermediate, .. }, C::CreateIntermediate(made)) => {
            (&intermediate.project, &intermediate.zone, &intermediate.name) == (&made.project, &made.zone, &made.name)
        }
        (C::DeleteInstance { instance, .. }, then) => changed(then) == Some(instance),
        _ => false,
    }
}

/// The instance whose own settings an action changed: they end with it.
fn changed(action: &ComputeAction) -> Option<&InstanceRef> {
    use ComputeAction as C;
    let (C::ProtectFromDeletion(instance)
    | C::KeepBootDisk { instance, .. }
    | C::TagInstance { instance, .. }
    | C::RemoveExternalIp { instance, .. }
    | C::AddSshKey { instance, .. }
    | C::TagForSsh { instance, .. }) = action
    else {
        return None;
    };
    Some(instance)
}
