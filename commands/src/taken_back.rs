//! Which action takes which other one back: what of all that was done still stands follows from this.

use crate::action::{Action, ComputeAction, KubernetesAction};
use crate::target::InstanceRef;

impl Action {
    /// Whether this action, once it succeeded, left nothing of an earlier one.
    #[must_use]
    pub fn takes_back(&self, earlier: &Self) -> bool {
        match (self, earlier) {
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
