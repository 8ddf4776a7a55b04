//! The command line of Stanch.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use stanch::config::Config;
use stanch::core::policy::Policy;

/// Contains security incidents on Google Kubernetes Engine, with two-person approval and a record.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks a policy and a configuration, and whether they fit together: every problem, a line each. Exit status 0 if there is none.
    ///
    /// Example: stanch check --policy config/policy.toml --config config/stanch.toml
    Check {
        /// The policy file.
        #[arg(long, value_name = "FILE", default_value = "config/policy.toml")]
        policy: PathBuf,
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "config/stanch.toml")]
        config: PathBuf,
    },
    /// Explains what can be typed behind /stanch.
    ///
    /// Example: stanch explain quarantine
    Explain {
        /// A command; without it, all of them.
        command: Option<String>,
    },
    /// Starts an emulated cluster with one compromised pod, its Compute project and a Slack workspace, on loopback. Prints how to reach them.
    /// Ctrl-C ends it.
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of a command line program")]
            {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Check { policy, config } => check(&policy, &config),
        Command::Explain { command } => explain(command.as_deref()),
        #[cfg(feature = "sandbox")]
        Command::Sandbox(options) => sandbox::run(options),
    }
}

fn check(policy_path: &Path, config_path: &Path) -> anyhow::Result<ExitCode> {
    let policy = Policy::from_toml(&read(policy_path)?).map_err(|error| error.0);
    let config = Config::from_toml(&read(config_path)?).map_err(|error| error.0);
    let (policy_path, config_path) = (policy_path.display(), config_path.display());
    let mut problems = Vec::new();
    match &policy {
        Ok(policy) => {
            if let Ok(config) = &config {
                problems.extend(config.problems_with(policy).iter().map(|problem| format!("{policy_path}: {problem} in {config_path}")));
            }
        }
        Err(found) => problems.extend(found.iter().map(|problem| format!("{policy_path}: {problem}"))),
    }
    if let Err(found) = &config {
        problems.extend(found.iter().map(|problem| format!("{config_path}: {problem}")));
    }
    problems.iter().for_each(|problem| say(problem));
    let (Ok(policy), Ok(config), true) = (policy, config, problems.is_empty()) else { return Ok(ExitCode::FAILURE) };
    let (people, roles, permits) = (policy.people.len(), policy.roles.len(), policy.permits.len());
    say(&format!("{policy_path}: {people} people, {roles} roles, {permits} permits: no problem"));
    say(&format!("{config_path}: {} clusters, {} channels: no problem", config.clusters.len(), config.channels.len()));
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn explain(command: Option<&str>) -> anyhow::Result<ExitCode> {
    match command {
        None => stanch_commands::CATALOGUE
            .iter()
            .for_each(|definition| say(&format!("{:<20} {:<9} {}", definition.name, definition.phase, definition.summary))),
        Some(name) => {
            let parsed = stanch_commands::parse::parse(&format!("help {name}"))
                .map_err(|error| anyhow::anyhow!("{error}; hint: {}", error.hint()))?;
            let topic = parsed.arguments.topic.unwrap_or_default();
            let definition =
                stanch_commands::find(&topic).with_context(|| format!("there is no command `{topic}`; `stanch explain` lists them"))?;
            say(&definition.help());
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the answer of a command line program")]
fn say(line: &str) {
    println!("{line}");
}

#[cfg(feature = "sandbox")]
mod sandbox {
    //! `stanch sandbox`.

    use std::process::ExitCode;

    use anyhow::Context as _;
    use stanch::sandbox::compute::ComputeEmulator;
    use stanch::sandbox::kubernetes::KubernetesEmulator;
    use stanch::sandbox::slack::{SlackEmulator, Workspace};
    use stanch::sandbox::world::World;

    use super::say;

    /// What `stanch sandbox` takes.
    #[derive(Debug, clap::Args)]
    pub struct Options {
        /// The folder that the kubeconfig is written to; a fresh one under the system's temporary folder otherwise.
        #[arg(long, value_name = "DIR")]
        state: Option<std::path::PathBuf>,
    }

    /// Runs until Ctrl-C.
    pub fn run(options: Options) -> anyhow::Result<ExitCode> {
        let state = options.state.unwrap_or_else(|| std::env::temp_dir().join(format!("stanch-sandbox-{}", std::process::id())));
        std::fs::create_dir_all(&state).with_context(|| format!("cannot create `{}`", state.display()))?;
        tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(serve(&state))
    }

    async fn serve(state: &std::path::Path) -> anyhow::Result<ExitCode> {
        let world = World::compromised();
        let kubernetes = KubernetesEmulator::start(&world).await.context("cannot start the Kubernetes emulator")?;
        let compute = ComputeEmulator::start(&world).await.context("cannot start the Compute emulator")?;
        let kubeconfig = state.join("kubeconfig");
        std::fs::write(&kubeconfig, kubernetes.kubeconfig()).with_context(|| format!("cannot write `{}`", kubeconfig.display()))?;
        say(&format!("Kubernetes emulator on {}; the pod shop/cart-7d4b9c6f5-x2x9q is compromised.", kubernetes.url()));
        say(&format!("  export KUBECONFIG={}", kubeconfig.display()));
        say("  kubectl get pods --all-namespaces -o wide");
        say(&format!("Compute emulator on {}:", compute.url()));
        say(&format!(
            "  export CLOUDSDK_CONFIG={} CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true CLOUDSDK_CORE_DISABLE_PROMPTS=1",
            state.join("gcloud").display()
        ));
        say(&format!("  export CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE={}", compute.gcloud_endpoint()));
        say(&format!("  export CLOUDSDK_CORE_PROJECT={} CLOUDSDK_COMPUTE_ZONE={}", world.project, world.zone));
        say("  gcloud compute instances list");
        let slack = SlackEmulator::start(&Workspace::sandbox()).await.context("cannot start the Slack emulator")?;
        say(&format!("Slack emulator on {}, for Slack's own SDKs (these tokens mean nothing elsewhere):", slack.api_url()));
        say(&format!(
            "  export SLACK_API_URL={}/ SLACK_BOT_TOKEN={} SLACK_APP_TOKEN={}",
            slack.api_url(),
            slack.bot_token(),
            slack.app_token()
        ));
        say("Ctrl-C ends it.");
        tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
        kubernetes.stop().await;
        compute.stop().await;
        slack.stop().await;
        Ok(ExitCode::SUCCESS)
    }
}
