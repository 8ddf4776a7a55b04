//! What hangs below a pod: eviction, logs, and the refusal to run anything in it without a WebSocket.

use axum::http::StatusCode;
use k8s_openapi::api::policy::v1::Eviction;
use serde_json::json;

use super::request::{Query, Target, json_body};
use super::write::perform;
use super::{Answer, Api, Call, json, text};
use crate::sandbox::kubernetes::controllers::{kubelet::container_names, nodes};
use crate::sandbox::kubernetes::deletion::Options;
use crate::sandbox::kubernetes::eviction;
use crate::sandbox::kubernetes::failure::Failure;
use crate::sandbox::kubernetes::object::{at, name, namespace, text as field, uid};
use crate::sandbox::kubernetes::resources::{PODS, check_body};

/// `POST …/eviction`.
pub fn evict(api: &Api, call: &Call, target: &Target<'_>, pod: &str, query: &Query) -> Answer {
    let refused = api.cluster.write(|state, _| {
        let (left, retry_after_s) = state.refused_evictions;
        state.refused_evictions.0 = left.saturating_sub(1);
        (left > 0).then_some(retry_after_s)
    });
    if let Some(retry_after_s) = refused {
        return Err(Failure::too_many_requests(retry_after_s));
    }
    let body = json_body(&call.parts, &call.body)?;
    check_body::<Eviction>(&body).map_err(Failure::bad_request)?;
    if name(&body) != pod {
        return Err(Failure::bad_request("name in URL does not match name in Eviction object"));
    }
    if !namespace(&body).is_empty() && namespace(&body) != target.ns() {
        return Err(Failure::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    let asked = at(&body, &["deleteOptions"]);
    let dry_run = query.dry_run()? || at(asked, &["dryRun"]) == &json!(["All"]);
    let options = Options::from_body(asked);
    perform(api, dry_run, |state, now| eviction::evict(state, target.ns(), pod, &options, dry_run, now))?;
    Ok(json(StatusCode::CREATED, &eviction::accepted()))
}

/// `GET …/log`.
pub fn log(api: &Api, target: &Target<'_>, pod_name: &str, query: &Query) -> Answer {
    if query.flag("follow") {
        return Err(Failure::bad_request("following a log is not emulated"));
    }
    if query.get("sinceSeconds").is_some() || query.get("sinceTime").is_some() {
        return Err(Failure::bad_request("selecting a log by time is not emulated"));
    }
    let (limit, tail) = (query.number("limitBytes")?, query.number("tailLines")?);
    let mut log = api.cluster.read(|state| {
        let pod = state.store.get(&PODS, target.ns(), pod_name).ok_or_else(|| Failure::not_found(&PODS, pod_name))?;
        let containers = container_names(pod);
        let container = match (query.get("container"), containers.as_slice()) {
            (Some(wanted), all) if all.contains(&wanted) => wanted,
            (Some(wanted), _) => return Err(Failure::bad_request(format!("container {wanted} is not valid for pod {pod_name}"))),
            (None, [only]) => only,
            (None, all) => {
                let all = all.join(" ");
                let message = format!("a container name must be specified for pod {pod_name}, choose one of: [{all}]");
                return Err(Failure::bad_request(message));
            }
        };
        let node = field(pod, &["spec", "nodeName"]);
        if !nodes::ready(state, node) {
            let url = format!("https://{node}:10250/containerLogs/{}/{pod_name}/{container}", target.ns());
            return Err(Failure::internal(format!("Get \"{url}\": dial tcp: i/o timeout")));
        }
        if query.flag("previous") {
            return Err(Failure::bad_request(format!("previous terminated container \"{container}\" in pod \"{pod_name}\" not found")));
        }
        Ok(state.logs.get(&(uid(pod).to_owned(), container.to_owned())).cloned().unwrap_or_default())
    })?;
    if let Some(tail) = tail.and_then(|tail| usize::try_from(tail).ok()) {
        let lines: Vec<&str> = log.lines().collect();
        log = lines.iter().skip(lines.len().saturating_sub(tail)).map(|line| format!("{line}\n")).collect();
    }
    if let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) {
        log = log.chars().take(limit).collect();
    }
    Ok(text(log))
}

/// `…/exec` without an upgrade.
pub fn exec() -> Answer {
    Err(Failure::bad_request("Upgrade request required"))
}
