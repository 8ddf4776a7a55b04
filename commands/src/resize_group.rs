//! `resize-group`: a fresh node for the one that was abandoned or deleted.

use crate::action::ComputeAction;
use crate::definition::{Argument, Context, Definition, Does, Phase};
use crate::facts::GroupSurvey;
use crate::plan::{Consequences, Draft, Steps};
use crate::refusal::Refusal;

/// The command.
pub static DEFINITION: Definition = Definition {
    name: "resize-group",
    phase: Phase::Recover,
    summary: "bring a group back to the size that it had before its node was abandoned or deleted",
    details: "Takes the id of a request on that node: the size is the one that was recorded there, and never a smaller one than the group has \
              now. The fresh node is made from the group's template: mend what let the attacker in first. Refused where an autoscaler decides \
              about the size.",
    arguments: &[Argument::Request, Argument::Reason, Argument::DryRun],
    examples: &["r-k3f9qz"],
    does: Does::Resize(plan),
};

/// Seconds until the group wants the new size: it changes a number, the instances come later.
const RESIZED_DEADLINE_S: u32 = 120;

fn plan(survey: &GroupSurvey, context: &Context) -> Result<Draft, Refusal> {
    let recorded = context.earlier.as_ref().and_then(|earlier| Some((earlier, earlier.group.as_ref()?)));
    let Some((earlier, recorded)) = recorded.filter(|(_, recorded)| recorded.group == survey.group) else {
        return Err(Refusal::NoRecordedSize);
    };
    let name = &recorded.group.name;
    let Some(found) = &survey.found else { return Err(Refusal::GroupGone(name.to_string())) };
    if let Some(autoscaler) = &found.autoscaler {
        return Err(Refusal::Autoscaled { group: name.to_string(), autoscaler: autoscaler.clone() });
    }
    let (from, to) = (found.target_size, recorded.target_size);
    if from >= to {
        return Err(Refusal::AlreadySo(format!("group {name} wants {from} instances, and {to} are recorded")));
    }
    let mut steps = Steps::default();
    let resize = ComputeAction::ResizeGroup { group: recorded.group.clone(), from, to };
    steps.add_with_deadline(resize, [], RESIZED_DEADLINE_S);
    let requests = earlier.requests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let consequences = Consequences {
        blast_radius: vec![format!("group {name} makes {} from its template, which then takes pods", nodes(to.saturating_sub(from)))],
        decisions: vec![format!("{to} is the size that was recorded by {requests}; the group wants {from} now")],
        noticeable: vec!["an attacker who is left in the cluster sees a fresh node join".into()],
        residual_risk: vec![
            "the fresh node is as open as the old one was, until what let the attacker in is mended".into(),
            "where GKE's cluster autoscaler manages the pool, it may change the size again".into(),
        ],
    };
    let reason = context.arguments.reason.as_ref().map_or_else(String::new, |reason| format!(" reason:\"{reason}\""));
    let request = context.arguments.request.as_ref().map_or_else(String::new, ToString::to_string);
    Ok(Draft {
        command: format!("{} {request}{reason}", DEFINITION.name),
        cluster: survey.cluster.clone(),
        // The node may be gone: it says what the request is about, and no step touches it.
        node: earlier.node.clone(),
        instance: None,
        suspects: vec![],
        form: context.form,
        isolates: false,
        releases: false,
        consequences,
        steps: steps.finish(),
    })
}

fn nodes(count: u32) -> String {
    format!("{count} fresh instance{}", if count == 1 { "" } else { "s" })
}
