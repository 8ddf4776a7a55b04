//! Running a program in a container, over a WebSocket: the server's channels, and a few programs that print what a suspect would show.

use axum::body::Body;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::Response;
use axum::http::request::Parts;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use super::request::Target;
use super::{Api, authorise_as};
use crate::sandbox::kubernetes::controllers::{kubelet::container_names, nodes};
use crate::sandbox::kubernetes::failure::Failure;
use crate::sandbox::kubernetes::object::{text, uid};
use crate::sandbox::kubernetes::resources::PODS;

/// Channels of the protocol: the first byte of a message says which.
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// Versions of the protocol, as the server prefers them.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
const PARAMETERS: &[&str] = &["command", "container", "stdin", "stdout", "stderr", "tty"];

/// What is asked for.
struct Wanted {
    container: Option<String>,
    argv: Vec<String>,
    streams: Vec<&'static str>,
}

/// `GET …/exec`.
pub async fn exec(api: Api, mut parts: Parts) -> Response<Body> {
    match prepared(&api, &parts) {
        Err(failure) => failure.response(),
        Ok(printed) => match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade.protocols(PROTOCOLS).on_upgrade(|socket| speak(socket, printed)),
            Err(_) => Failure::bad_request("Upgrade request required").response(),
        }
        .into_response(),
    }
}

/// What the program prints, on which channel, and how it ends.
struct Printed {
    lines: Vec<(u8, String)>,
    status: Value,
}

fn prepared(api: &Api, parts: &Parts) -> Result<Printed, Failure> {
    let path = parts.uri.path().to_owned();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let ["api", "v1", rest @ ..] = segments.as_slice() else { return Err(Failure::unknown_route()) };
    let target = Target::parse("", "v1", rest)?;
    // A WebSocket begins with a GET; since 1.35 the server asks for the right to create besides.
    for verb in ["get", "create"] {
        authorise_as(api, &target, verb)?;
    }
    let wanted = wanted(parts.uri.query().unwrap_or_default())?;
    let name = target.name.unwrap_or_default();
    api.cluster.read(|state| {
        let pod = state.store.get(&PODS, target.ns(), name).ok_or_else(|| Failure::not_found(&PODS, name))?;
        let containers = container_names(pod);
        let container = match (wanted.container.as_deref(), containers.as_slice()) {
            (Some(wanted), all) if all.contains(&wanted) => wanted.to_owned(),
            (Some(wanted), _) => return Err(Failure::bad_request(format!("container {wanted} is not valid for pod {name}"))),
            (None, [only]) => (*only).to_owned(),
            (None, all) => {
                let message = format!("a container name must be specified for pod {name}, choose one of: [{}]", all.join(" "));
                return Err(Failure::bad_request(message));
            }
        };
        let node = text(pod, &["spec", "nodeName"]);
        if !nodes::ready(state, node) {
            return Err(Failure::internal(format!("error dialing backend: dial tcp: lookup {node}: i/o timeout")));
        }
        let programs = state.programs.get(uid(pod));
        let argv: Vec<&str> = wanted.argv.iter().map(String::as_str).collect();
        let own = programs.and_then(|programs| programs.get(&wanted.argv.join(" "))).cloned();
        Ok(printed(own.or_else(|| usual(&argv, &container)), &argv, &wanted.streams))
    })
}

fn wanted(query: &str) -> Result<Wanted, Failure> {
    let mut wanted = Wanted { container: None, argv: Vec::new(), streams: Vec::new() };
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let Some(known) = PARAMETERS.iter().find(|known| **known == key) else {
            return Err(Failure::bad_request(format!("unknown query parameter \"{key}\"")));
        };
        match (*known, value.as_ref()) {
            ("command", argument) => wanted.argv.push(argument.to_owned()),
            ("container", name) => wanted.container = Some(name.to_owned()),
            (stream, "true" | "1") => wanted.streams.push(stream),
            (_, _) => {}
        }
    }
    match wanted.argv.is_empty() || wanted.streams.is_empty() {
        true => Err(Failure::bad_request("you must specify at least one command and one of stdin, stdout, stderr")),
        false => Ok(wanted),
    }
}

/// What the programs of an ordinary image print.
fn usual(argv: &[&str], container: &str) -> Option<String> {
    match argv {
        ["ps", "-ef"] => Some(format!(
            "UID          PID    PPID  C STIME TTY          TIME CMD\nroot           1       0  0 09:00 ?        00:00:01 /{container}\n"
        )),
        ["cat", paths @ ..] if !paths.is_empty() && paths.iter().all(|path| path.starts_with("/proc/")) => {
            Some(paths.iter().map(|path| format!("{path} of {container}\n")).collect())
        }
        _ => None,
    }
}

fn printed(output: Option<String>, argv: &[&str], streams: &[&str]) -> Printed {
    let Some(output) = output else {
        let program = argv.first().copied().unwrap_or_default();
        let message = format!(
            "Internal error occurred: error executing command in container: failed to exec in container: failed to start exec: OCI runtime \
             exec failed: exec failed: unable to start container process: exec: \"{program}\": executable file not found in $PATH: unknown"
        );
        let status = json!({ "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500 });
        return Printed { lines: vec![], status };
    };
    let status = json!({ "metadata": {}, "status": "Success" });
    let lines = if streams.contains(&"stdout") { vec![(STDOUT, output)] } else { vec![(STDERR, String::new())] };
    Printed { lines, status }
}

async fn speak(mut socket: WebSocket, printed: Printed) {
    let status = (STATUS, printed.status.to_string());
    for (channel, text) in printed.lines.into_iter().chain([status]) {
        let mut frame = vec![channel];
        frame.extend(text.as_bytes());
        // Whoever left does not listen.
        let _ = socket.send(Message::Binary(frame.into())).await;
    }
    let _ = socket.send(Message::Close(None)).await;
}
