//! Whether the cluster answers, what it grants, and what time it has.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use http::{Request, header};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use stanch_commands::permission::{ClusterRight, cluster_rights};
use stanch_commands::runtime::PrivilegedPod;

use super::wire::{Fault, Session};
use super::{KubernetesCluster, privileged};
use crate::adapters::http::ahead_s;
use crate::core::diagnosis::Check;
use crate::ports::Examined;

/// Reviews at one time: more would make priority and fairness think of a flood.
const AT_ONCE: usize = 8;
/// How long the first call may take. A cluster that is slower than this is no help in an incident.
const ANSWER: Duration = Duration::from_secs(10);
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

#[async_trait]
impl Examined for KubernetesCluster {
    async fn examine(&self, commands: &BTreeSet<&'static str>) -> Vec<Check> {
        let (version, ahead_s) = match version(&self.client).await {
            Ok(answer) => answer,
            Err(why) => return vec![Check::fail("API", why, "look at the network, the address and the credentials of the kubeconfig")],
        };
        let reviews: Vec<_> = cluster_rights(commands)
            .into_iter()
            .map(|(right, needing)| {
                let needing = needing.into_iter().collect::<Vec<_>>().join(", ");
                review(Session::new(self.client.clone()), right, needing)
            })
            .collect();
        let total = reviews.len();
        let (mut missing, mut unknown, mut refused) = (Vec::new(), BTreeSet::new(), false);
        let mut answers = stream::iter(reviews).buffered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(None) => {}
                Ok(Some(right)) => missing.push(right),
                Err(fault) => {
                    // The version is told to everybody; a right is not.
                    refused |= matches!(fault, Fault::Refused { status: 401, .. });
                    unknown.insert(fault.words());
                }
            }
        }
        let rights = match (missing.is_empty(), unknown.is_empty()) {
            (true, true) => Check::ok("rights", format!("all {total} are granted")),
            (false, _) => Check::fail(
                "rights",
                format!("missing: {}", missing.join("; ")),
                "apply deploy/kubernetes/rbac.yaml, and rbac-exec.yaml for `inspect --exec`",
            ),
            (true, false) if refused => {
                Check::fail("rights", "the cluster does not take Stanch's credentials", "renew the credentials that the kubeconfig names")
            }
            (true, false) => {
                let why = unknown.into_iter().collect::<Vec<_>>().join("; ");
                Check::warn("rights", format!("not known: {why}"), "`kubectl auth can-i --list` as Stanch's account shows them")
            }
        };
        vec![Check::ok("API", format!("Kubernetes {version}")), Check::clock(ahead_s), rights]
    }
}

/// Whether a cluster would take the pod that reaches its nodes.
pub struct PrivilegedPodExamination {
    /// The cluster.
    pub cluster: std::sync::Arc<KubernetesCluster>,
    /// The pod.
    pub through: PrivilegedPod,
}

#[async_trait]
impl Examined for PrivilegedPodExamination {
    async fn examine(&self, _commands: &BTreeSet<&'static str>) -> Vec<Check> {
        vec![privileged::rehearse(&mut Session::new(self.cluster.client.clone()), &self.through).await]
    }
}

/// Which version answers, and how far its clock is ahead.
async fn version(client: &Client) -> Result<(String, Option<i64>), String> {
    let request = Request::get("/version").header(header::ACCEPT, "application/json").body(Body::empty());
    let request = request.map_err(|error| error.to_string())?;
    let response = match tokio::time::timeout(ANSWER, client.send(request)).await {
        Ok(response) => response.map_err(|error| format!("no answer: {error}"))?,
        Err(_) => return Err(format!("no answer within {} s", ANSWER.as_secs())),
    };
    let (parts, body) = response.into_parts();
    let body = body.collect_bytes().await.map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (parts.status.is_success(), answer.get("gitVersion").and_then(Value::as_str)) {
        (true, Some(version)) => Ok((version.to_owned(), ahead_s(&parts.headers))),
        (true, None) => Err("what answers is no Kubernetes API".into()),
        (false, _) => Err(format!("it answers {}", parts.status)),
    }
}

/// Asks for one right; what is missing is named, with the commands that need it.
async fn review(mut session: Session, right: ClusterRight, needing: String) -> Result<Option<String>, Fault> {
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
    // Without a namespace the question is about all of them.
    let attributes = json!({ "group": right.group, "resource": resource, "subresource": subresource, "verb": right.verb });
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": { "resourceAttributes": attributes },
    });
    let answer = session.post(REVIEWS, &review).await?;
    match answer.pointer("/status/allowed").and_then(Value::as_bool) {
        Some(true) => Ok(None),
        Some(false) => Ok(Some(format!("{} ({needing})", words(&right)))),
        None => Err(Fault::Unavailable("the answer to a review says nothing".to_owned())),
    }
}

fn words(right: &ClusterRight) -> String {
    match right.group {
        "" => format!("{} {}", right.verb, right.resource),
        group => format!("{} {}.{group}", right.verb, right.resource),
    }
}
