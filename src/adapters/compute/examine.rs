//! Whether Compute Engine answers for a project, what IAM grants there, and what time Google has.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use google_cloud_auth::credentials::CacheableResource;
use http::{Extensions, HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};
use stanch_commands::permission::project_rights;
use stanch_commands::target::ProjectId;

use super::client::Compute;
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
        let mut checks = vec![self.reachable().await];
        let needed = project_rights(commands);
        let names: Vec<&str> = needed.keys().copied().collect();
        let (mut granted, mut ahead_s) = (BTreeSet::new(), None);
        for names in names.chunks(MOST_PERMISSIONS) {
            match self.granted(names).await {
                Ok((some, ahead)) => {
                    granted.extend(some);
                    ahead_s = ahead;
                }
                Err(why) => {
                    let hint = "enable cloudresourcemanager.googleapis.com in the project, or compare the account's role with deploy/gcp/role.yaml";
                    checks.extend([Check::clock(None), Check::warn("permissions", format!("not known: {why}"), hint)]);
                    return checks;
                }
            }
        }
        let missing = needed.iter().filter(|(permission, _)| !granted.contains(**permission));
        let missing: Vec<String> = missing
            .map(|(permission, needing)| format!("{permission} ({})", needing.iter().copied().collect::<Vec<_>>().join(", ")))
            .collect();
        checks.push(Check::clock(ahead_s));
        checks.push(match missing.is_empty() {
            true => Check::ok("permissions", format!("all {} are granted", needed.len())),
            false => Check::fail(
                "permissions",
                format!("missing: {}", missing.join("; ")),
                "grant Stanch's account the role of deploy/gcp/role.yaml",
            ),
        });
        checks
    }
}

impl ProjectExamination {
    /// Lists one instance. A refusal is an answer: what is missing shows among the permissions.
    async fn reachable(&self) -> Check {
        let (compute, project) = (&self.compute, self.project.as_str());
        let list = compute.instances.aggregated_list().set_project(project).set_max_results(1_u32);
        // Once: who asks before an incident can ask again.
        match Session::new(compute, "").attempt(Call::default(), |_| None, list.send()).await {
            Ok(_) => Check::ok("API", "Compute Engine answers"),
            Err(Problem::Refused { message, .. }) if message.starts_with("Required '") => Check::ok("API", "Compute Engine answers"),
            Err(Problem::Missing(message)) => Check::fail("API", message, "correct `project` in config/stanch.toml"),
            Err(problem) => Check::fail(
                "API",
                problem.to_string(),
                "look at the network, at the credentials, and whether compute.googleapis.com is enabled",
            ),
        }
    }

    /// Which of these permissions are granted, and how far Google's clock is ahead.
    async fn granted(&self, permissions: &[&str]) -> Result<(Vec<String>, Option<i64>), String> {
        let endpoint = self.compute.options.endpoint.as_deref();
        let url = format!("{}/v1/projects/{}:testIamPermissions", endpoint.unwrap_or(RESOURCE_MANAGER), self.project);
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
