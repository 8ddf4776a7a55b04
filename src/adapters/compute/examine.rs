//! Whether Compute Engine answers for a project, what IAM grants there, and what time Google has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use google_cloud_auth::credentials::CacheableResource;
use http::{Extensions, HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};
use stanch_commands::permission::{ProjectRight, project_rights};
use stanch_commands::target::ProjectId;

use super::client::Compute;
use super::links;
use super::problem::Problem;
use super::session::Session;
use crate::adapters::http::{Answer, call};
use crate::core::diagnosis::Check;
use crate::core::step::Call;
use crate::ports::Examined;

/// Where projects are asked about permissions: Resource Manager, not Compute, which asks about single resources only.
const RESOURCE_MANAGER: &str = "https://cloudresourcemanager.googleapis.com";
/// Most permissions of one question.
const MOST_PERMISSIONS: usize = 100;

/// What is asked for of the project that owns a shared network: there are its rules.
const IN_HOST_PROJECT: [&str; 3] = ["compute.firewalls.", "compute.networks.", "compute.globalOperations."];

/// Permissions, and the commands that need each.
type Needed = BTreeMap<ProjectRight, BTreeSet<&'static str>>;

/// A project that holds nodes.
#[derive(Clone, Debug)]
pub struct ProjectExamination {
    /// The client.
    pub compute: Arc<Compute>,
    /// The project.
    pub project: ProjectId,
}

#[async_trait]
impl Examined for ProjectExamination {
    async fn examine(&self, commands: &BTreeSet<&'static str>) -> Vec<Check> {
        let needed: Needed = project_rights(commands);
        let (reachable, hosts) = self.reachable().await;
        let (permissions, ahead_s) = self.permissions("permissions", self.project.as_str(), &needed).await;
        let mut checks = vec![reachable, Check::clock(ahead_s), permissions];
        let in_host = |permission: &str| IN_HOST_PROJECT.iter().any(|resource| permission.starts_with(resource));
        let needed: Needed = needed.into_iter().filter(|(permission, _)| in_host(permission)).collect();
        for host in hosts {
            checks.push(self.permissions("host project", &host, &needed).await.0);
        }
        checks
    }
}

impl ProjectExamination {
    /// Lists instances, once: who asks before an incident can ask again. A refusal is an answer: what is missing shows among the
    /// permissions. With it come the host projects of a Shared VPC, as the first page of instances shows them.
    async fn reachable(&self) -> (Check, BTreeSet<String>) {
        let (compute, project) = (&self.compute, self.project.as_str());
        let list = compute.instances.aggregated_list().set_project(project);
        let ok = || Check::ok("API", "Compute Engine answers");
        match Session::new(compute, "").attempt(Call::default(), |_| None, list.send()).await {
            Ok(page) => {
                let interfaces = page.items.into_values().flat_map(|list| list.instances).flat_map(|instance| instance.network_interfaces);
                let networks = interfaces.filter_map(|interface| links::network(interface.network.as_deref()?));
                let owners = networks.map(|network| network.project.to_string());
                (ok(), owners.filter(|owner| owner != project).collect())
            }
            Err(Problem::Refused { message, .. }) if message.starts_with("Required '") => (ok(), BTreeSet::new()),
            Err(problem) => {
                let missing = matches!(problem, Problem::Missing(_));
                let elsewhere = "look at the network, at the credentials, and whether compute.googleapis.com is enabled";
                let hint = if missing { "correct `project` in config/stanch.toml" } else { elsewhere };
                (Check::fail("API", problem.to_string(), hint), BTreeSet::new())
            }
        }
    }

    /// Whether a project grants these permissions, and how far Google's clock is ahead.
    async fn permissions(&self, name: &'static str, project: &str, needed: &Needed) -> (Check, Option<i64>) {
        let names: Vec<&str> = needed.keys().copied().collect();
        let (mut granted, mut ahead_s) = (BTreeSet::new(), None);
        for names in names.chunks(MOST_PERMISSIONS) {
            match self.granted(project, names).await {
                Ok((some, ahead)) => {
                    granted.extend(some);
                    ahead_s = ahead;
                }
                Err(why) => {
                    let hint = "enable cloudresourcemanager.googleapis.com in the project, or compare the account's role with deploy/gcp/role.yaml";
                    return (Check::warn(name, format!("{project}: not known: {why}"), hint), ahead_s);
                }
            }
        }
        let missing = needed.iter().filter(|(permission, _)| !granted.contains(**permission));
        let missing: Vec<String> = missing
            .map(|(permission, needing)| format!("{permission} ({})", needing.iter().copied().collect::<Vec<_>>().join(", ")))
            .collect();
        let check = match missing.is_empty() {
            true => Check::ok(name, format!("{project} grants all {}", needed.len())),
            false => {
                let hint = "grant Stanch's account the role of deploy/gcp/role.yaml there";
                Check::fail(name, format!("{project} does not grant: {}", missing.join("; ")), hint)
            }
        };
        (check, ahead_s)
    }

    /// Which of these permissions a project grants, and how far Google's clock is ahead.
    async fn granted(&self, project: &str, permissions: &[&str]) -> Result<(Vec<String>, Option<i64>), String> {
        let endpoint = self.compute.options.endpoint.as_deref();
        let url = format!("{}/v1/projects/{project}:testIamPermissions", endpoint.unwrap_or(RESOURCE_MANAGER));
        let mut headers = match self.compute.credentials.headers(Extensions::new()).await {
            Ok(CacheableResource::New { data, .. }) => data,
            Ok(CacheableResource::NotModified) => HeaderMap::new(),
            Err(error) => return Err(format!("no credentials: {error}")),
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let is_plain = url.starts_with("http://");
        let answer = call(Method::POST, &url, headers, json!({ "permissions": permissions }).to_string(), is_plain).await?;
        let ahead_s = answer.ahead_s();
        Ok((read(&answer)?, ahead_s))
    }
}

/// The granted ones; a project where none is granted answers without a list.
fn read(answer: &Answer) -> Result<Vec<String>, String> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if !answer.status.is_success() {
        let said = body.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
        return Err(format!("Resource Manager answers {}: {}", answer.status, said.chars().take(200).collect::<String>()));
    }
    let granted = body.get("permissions").and_then(Value::as_array).into_iter().flatten();
    Ok(granted.filter_map(Value::as_str).map(str::to_owned).collect())
}
