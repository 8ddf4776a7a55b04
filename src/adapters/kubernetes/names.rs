//! The names of what lives in the cluster, for people who are typing: metadata alone, and not without end.

use serde_json::Value;

use super::wire::{Fault, Session, word};
use crate::ports::{LiveNames, SurveyError};

/// Pods whose names are kept. Nobody finds one of more than these by a list; a name can always be typed.
const PODS: usize = 5_000;

/// Nodes whose names are kept.
const NODES: usize = 2_000;

/// Reads all of them. Names that the API server would not have admitted are left out.
pub(super) async fn names(session: &mut Session) -> Result<LiveNames, SurveyError> {
    let mut other = session.fork();
    let (pods, nodes) = tokio::join!(session.list_up_to("/api/v1/pods", &[], PODS), other.list_up_to("/api/v1/nodes", &[], NODES));
    let (pods, nodes) = (pods.map_err(Fault::into_survey)?, nodes.map_err(Fault::into_survey)?);
    let name = |object: &Value| word(object, "/metadata/name").to_owned();
    let pod = |pod: &Value| Some((word(pod, "/metadata/namespace").parse().ok()?, name(pod).parse().ok()?));
    let mut pods: Vec<_> = pods.iter().take(PODS).filter_map(pod).collect();
    let mut nodes: Vec<_> = nodes.iter().take(NODES).filter_map(|node| name(node).parse().ok()).collect();
    pods.sort();
    nodes.sort();
    Ok(LiveNames { pods, nodes })
}
