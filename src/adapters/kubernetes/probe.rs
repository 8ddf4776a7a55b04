//! Running programs that only read in the containers of a suspect. They are argument vectors: no shell sees them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use kube::client::UpgradeConnectionError;
use kube::{Api, Client};
use stanch_commands::action::Probe;
use stanch_commands::target::PodRef;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::change::bound_pod;
use super::wire::{Session, items, word};
use crate::core::step::{Artefact, Call, Outcome, Receipt};

/// Bytes of one program's output: the socket tables of a busy host are some hundred KiB.
const OUTPUT_LIMIT_BYTES: u64 = 4 << 20;
/// How long one program may run. Each of them reads tables of the kernel; one that takes longer is not the program that it claims to be.
const RUN_LIMIT: Duration = Duration::from_secs(15);
/// Characters of what a program complains about.
const COMPLAINT: usize = 200;

/// What a program printed, and how it ended.
struct Ran {
    output: Vec<u8>,
    /// Why that is not everything.
    problem: Option<String>,
}

/// Runs every probe in every container. What cannot be run is named, and does not fail the rest.
pub(super) async fn run(session: &mut Session, pod: &PodRef, probes: &BTreeSet<Probe>) -> (Outcome, Vec<Artefact>) {
    let object = match bound_pod(session, pod).await {
        Ok(object) => object,
        Err(outcome) => return (*outcome, vec![]),
    };
    let containers: Vec<&str> = items(&object, "/spec/containers").map(|container| word(container, "/name")).collect();
    let (mut files, mut details) = (Vec::new(), Vec::new());
    for container in containers {
        for probe in probes {
            let ran = exec(session, pod, container, *probe).await;
            details.extend(ran.problem.map(|why| format!("missing: {} of container {container}: {why}", probe.name())));
            if !ran.output.is_empty() {
                let path = format!("pods/{}/{}/exec/{container}/{}.txt", pod.namespace, pod.name, probe.name());
                files.push(Artefact { path, content: ran.output });
            }
        }
    }
    // A pod of that name may have been made anew meanwhile: then nobody knows whose output this is.
    if let Err(outcome) = bound_pod(session, pod).await {
        return (*outcome, vec![]);
    }
    let summary = format!("{} files from inside {pod}", files.len());
    (Outcome::Succeeded(Receipt { summary, details, ..Receipt::default() }), files)
}

async fn exec(session: &mut Session, pod: &PodRef, container: &str, probe: Probe) -> Ran {
    let begun = Instant::now();
    let mut output = Vec::new();
    let ended = tokio::time::timeout(RUN_LIMIT, exchange(session.client(), pod, container, probe.argv(), &mut output)).await;
    let (status, problem) = match ended {
        Ok(Ok(problem)) => (Some(101), problem),
        Ok(Err((status, why))) => (status, Some(why)),
        Err(_) => (Some(101), Some(format!("cut off after {} s", RUN_LIMIT.as_secs()))),
    };
    session.record(Call {
        method: "GET pods/exec".into(),
        resource: format!("namespaces/{}/pods/{}/exec {container}: {}", pod.namespace, pod.name, probe.argv().join(" ")),
        status,
        latency_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..Call::default()
    });
    Ran { output, problem }
}

/// One program: its output goes to `output` as it comes. The answer is why it failed, if it did; the error is that it did not run.
async fn exchange(
    client: Client,
    pod: &PodRef,
    container: &str,
    argv: &[&str],
    output: &mut Vec<u8>,
) -> Result<Option<String>, (Option<u16>, String)> {
    let pods: Api<Pod> = Api::namespaced(client, pod.namespace.as_str());
    let streams = AttachParams::default().container(container).stdin(false).stdout(true).stderr(true).tty(false);
    let mut attached = pods.exec(pod.name.as_str(), argv.iter().copied(), &streams).await.map_err(|error| refusal(&error))?;
    let (stdout, stderr, status) = (attached.stdout(), attached.stderr(), attached.take_status());
    let mut complaint = Vec::new();
    // Both at once: a program blocks on the one that nobody reads.
    tokio::join!(drain(stdout, output), drain(stderr, &mut complaint));
    if u64::try_from(output.len()).is_ok_and(|length| length >= OUTPUT_LIMIT_BYTES) {
        return Ok(Some(format!("cut off after {OUTPUT_LIMIT_BYTES} bytes")));
    }
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    match status {
        Some(status) if status.status.as_deref() == Some("Success") => Ok(None),
        Some(status) => {
            let said = String::from_utf8_lossy(&complaint);
            let said = if said.trim().is_empty() { status.message.unwrap_or_default() } else { said.trim().to_owned() };
            Ok(Some(said.chars().take(COMPLAINT).collect()))
        }
        None => Ok(Some("the connection ended before the program did".into())),
    }
}

async fn drain(stream: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    if let Some(stream) = stream {
        // What came before an error is kept.
        let _ = stream.take(OUTPUT_LIMIT_BYTES).read_to_end(into).await;
    }
}

fn refusal(error: &kube::Error) -> (Option<u16>, String) {
    let kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) = error else {
        return (None, error.to_string());
    };
    let why = match status.as_u16() {
        401 | 403 => "no right to create pods/exec".to_owned(),
        _ => format!("the API answers {status}"),
    };
    (Some(status.as_u16()), why)
}
