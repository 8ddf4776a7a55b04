//! The command line of Stanch.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use stanch::adapters::{discord, slack};
use stanch::config::Config;
use stanch::core::policy::Policy;
use tokio_util::sync::CancellationToken;

/// Contains security incidents on Google Kubernetes Engine, with two-person approval and a record.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Audit {
    #[command(flatten)]
    Read(stanch::verify::cli::Command),
    /// Makes another signing key, signed by the old one, which is overwritten. Stanch must not run meanwhile. The rotation stands in the log, and
    /// checkpoints that the old key signed before are still verified.
    ///
    /// Example: stanch audit rotate-key /var/lib/stanch
    RotateKey(stanch::verify::cli::Place),
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Looks at the audit log, or gives it another key.
    #[command(subcommand)]
    Audit(Audit),
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
    /// Looks at everything that Stanch depends on, before an incident: rights in every cluster and project, connections, chat, clock, disk,
    /// audit log, evidence. Changes nothing. Exit status 0 if nothing failed.
    ///
    /// Example: stanch doctor --config /etc/stanch/stanch.toml --policy /etc/stanch/policy.toml --data-dir /var/lib/stanch
    Doctor(bot::Options),
    /// Explains what can be typed behind /stanch.
    ///
    /// Example: stanch explain quarantine
    Explain {
        /// A command; without it, all of them.
        command: Option<String>,
    },
    /// Connects to Slack, Discord or both, and carries out what people agree on. SIGINT and SIGTERM end it after the steps that are under way.
    ///
    /// Example: stanch run --config /etc/stanch/stanch.toml --policy /etc/stanch/policy.toml --data-dir /var/lib/stanch
    Run(bot::Options),
    /// Starts an emulated cluster with one compromised pod, its Compute project and a Slack workspace, on loopback, and Stanch against them.
    /// Prints how to reach them, or plays a scenario. Ctrl-C ends it.
    ///
    /// Example: stanch sandbox --scenario tests/scenarios/quarantine.txt
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Audit(Audit::Read(command)) => audit(command),
        Command::Audit(Audit::RotateKey(place)) => rotate_key(place),
        Command::Check { policy, config } => check(&policy, &config),
        Command::Doctor(options) => bot::examine(options),
        Command::Explain { command } => explain(command.as_deref()),
        Command::Run(options) => bot::run(options),
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

fn audit(command: stanch::verify::cli::Command) -> anyhow::Result<ExitCode> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let done = stanch::verify::cli::run(command, bot::default_data, &mut out).and_then(|done| Ok(out.flush().map(|()| done)?));
    let hung_up = |error: &anyhow::Error| error.downcast_ref().is_some_and(|error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe);
    match done {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        // Whoever reads has seen enough, such as `head`.
        Err(error) if hung_up(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

fn rotate_key(place: stanch::verify::cli::Place) -> anyhow::Result<ExitCode> {
    let rotation = stanch::bot::rotate_key(&place.log(bot::default_data)?, jiff::Timestamp::now())?;
    say(&format!("The key before: {}", rotation.from));
    say(&format!("The key now:    {}", rotation.to));
    say(
        "hint: note the new key where you noted the old one; of a key that was exposed, believe nothing that is newer than this and signed by it",
    );
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

#[expect(clippy::print_stderr, reason = "the last word of a command line program")]
fn complain(line: &str) {
    eprintln!("{line}");
}

/// Sets up what every long-running command needs: the log on standard error, and the one crypto provider.
fn set_up(level: &str) -> anyhow::Result<()> {
    use std::io::IsTerminal as _;
    use tracing_subscriber::EnvFilter;

    let filter = EnvFilter::builder().with_default_directive(level.parse()?).from_env().context("RUST_LOG is not understood")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter.add_directive(slack::QUIET.parse()?).add_directive(discord::QUIET.parse()?))
        .with_writer(std::io::stderr);
    // People read terminals, collectors read everything else.
    let installed = if std::io::stderr().is_terminal() { log.try_init() } else { log.json().try_init() };
    installed.map_err(|error| anyhow::anyhow!("cannot set up the log: {error}"))?;
    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow::anyhow!("a crypto provider is installed already"))
}

/// Cancels the token at the first SIGINT or SIGTERM, and ends the process at the second.
async fn cancel_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).context("cannot wait for signals")?;
    tokio::spawn(async move {
        for last in [false, true] {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            if last {
                complain("ended at once: steps under way are read back after the next start");
                std::process::exit(1);
            }
            tracing::info!("ending: steps under way may finish; a second signal ends at once");
            shutdown.cancel();
        }
    });
    Ok(())
}

mod bot {
    //! `stanch run` and `stanch doctor`.

    use std::path::PathBuf;
    use std::process::ExitCode;
    use std::sync::Arc;

    use anyhow::Context as _;
    use stanch::adapters::system::SystemClock;
    use stanch::bot::{Bot, PACE};
    use stanch::config::Config;
    use stanch::core::diagnosis::{Verdict, table};
    use tokio_util::sync::CancellationToken;

    /// What both take.
    #[derive(Debug, clap::Args)]
    pub struct Options {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "config/stanch.toml")]
        config: PathBuf,
        /// The policy file.
        #[arg(long, value_name = "FILE", default_value = "config/policy.toml")]
        policy: PathBuf,
        /// Where the audit log, evidence and derived state live; `$XDG_STATE_HOME/stanch` or `~/.local/state/stanch` otherwise. Back it up.
        #[arg(long, value_name = "DIR", env = "STANCH_DATA_DIR")]
        data_dir: Option<PathBuf>,
    }

    pub fn run(options: Options) -> anyhow::Result<ExitCode> {
        super::set_up("info")?;
        let bot = bot(options)?;
        tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(async {
            let shutdown = CancellationToken::new();
            super::cancel_on_signal(shutdown.clone()).await?;
            bot.run(shutdown, || tracing::info!("ready")).await
        })?;
        Ok(ExitCode::SUCCESS)
    }

    pub fn examine(options: Options) -> anyhow::Result<ExitCode> {
        super::set_up("error")?;
        let bot = bot(options)?;
        let diagnoses = tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(bot.examine())?;
        super::say(&table(&diagnoses));
        let failed = diagnoses.iter().any(|diagnosis| diagnosis.check.verdict == Verdict::Fail);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn bot(options: Options) -> anyhow::Result<Bot> {
        let (policy_path, config_path) = (options.policy.display(), options.config.display());
        let config = Config::from_toml(&super::read(&options.config)?).with_context(|| format!("`{config_path}` is wrong"))?;
        let policy = super::read(&options.policy)?;
        stanch::core::policy::Policy::from_toml(&policy).with_context(|| format!("`{policy_path}` is wrong"))?;
        let data = options.data_dir.map_or_else(default_data, Ok)?;
        Ok(Bot { config, policy, data, slack_api: None, discord_api: None, clock: Arc::new(SystemClock), pace: PACE })
    }

    pub fn default_data() -> anyhow::Result<PathBuf> {
        let set = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
        Ok(state.context("neither XDG_STATE_HOME nor HOME is set; name the folder with --data-dir")?.join("stanch"))
    }
}

#[cfg(feature = "sandbox")]
mod sandbox {
    //! `stanch sandbox`.

    use std::os::unix::process::CommandExt as _;
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;

    use anyhow::Context as _;
    use stanch::sandbox::scenario::{ChatChoice, Scenario, Setting, Stage, play};
    use tokio_util::sync::CancellationToken;

    use super::{complain, say};

    /// What `stanch sandbox` takes.
    #[derive(Debug, clap::Args)]
    pub struct Options {
        /// Plays this scenario, prints the transcript and ends: exit status 0 if everything that it expects was so.
        #[arg(long, value_name = "FILE")]
        scenario: Option<PathBuf>,
        /// The folder for kubeconfig, tokens, audit log and evidence; a fresh one under the system's temporary folder otherwise.
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        /// Where people are. With `both` the bot is connected to both, and scenarios are played on Slack.
        #[arg(long, value_enum, default_value_t)]
        chat: Chat,
    }

    /// The chat platforms of the sandbox.
    #[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
    enum Chat {
        #[default]
        Slack,
        Discord,
        Both,
    }

    impl Chat {
        fn setting(self) -> Setting {
            let chat = match self {
                Self::Slack => ChatChoice::Slack,
                Self::Discord => ChatChoice::Discord,
                Self::Both => ChatChoice::Both,
            };
            Setting { chat, ..Setting::default() }
        }
    }

    /// What of the environment could lead out of the sandbox.
    const LEADS_OUT: &[&str] = &[
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "KUBECONFIG",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ];

    pub fn run(options: Options) -> anyhow::Result<ExitCode> {
        leave_the_environment()?;
        super::set_up("warn")?;
        let scenario = options.scenario.as_deref().map(read).transpose()?;
        let state = options.state.unwrap_or_else(|| std::env::temp_dir().join(format!("stanch-sandbox-{}", std::process::id())));
        must_be_fresh(&state)?;
        tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(async {
            match scenario {
                Some(scenario) => perform(&state, options.chat.setting(), &scenario).await,
                None => serve(&state, options.chat.setting()).await,
            }
        })
    }

    /// The sandbox writes tokens and a log: those of somebody else, or of another world, must not be mixed with them.
    fn must_be_fresh(state: &Path) -> anyhow::Result<()> {
        let shown = state.display();
        match std::fs::read_dir(state).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => {
                anyhow::bail!("`{shown}` is not empty\nhint: every sandbox begins anew; name another folder with --state, or none")
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot use `{shown}` for --state")),
        }
    }

    /// Begins again without the variables that could lead out of the sandbox.
    fn leave_the_environment() -> anyhow::Result<()> {
        if LEADS_OUT.iter().all(|variable| std::env::var_os(variable).is_none()) {
            return Ok(());
        }
        let mut again = std::process::Command::new(std::env::current_exe().context("cannot find this program")?);
        again.args(std::env::args_os().skip(1));
        for variable in LEADS_OUT {
            again.env_remove(variable);
        }
        Err(again.exec()).context("cannot begin again without proxies and credentials")
    }

    fn read(path: &Path) -> anyhow::Result<Scenario> {
        Scenario::parse(&super::read(path)?).with_context(|| format!("`{}`", path.display()))
    }

    async fn perform(state: &Path, setting: Setting, scenario: &Scenario) -> anyhow::Result<ExitCode> {
        let mut stage = Stage::set(state, setting).await?;
        let shutdown = CancellationToken::new();
        super::cancel_on_signal(shutdown.clone()).await?;
        let played = tokio::select! {
            played = play(&mut stage, scenario, |line| say(&format!("> {line}"))) => Some(played),
            () = shutdown.cancelled() => None,
        };
        say(&format!("\nWhat people saw:\n{}", stage.transcript()));
        stage.strike().await?;
        say(&format!("The audit log and the evidence are in {}.", state.join("data").display()));
        match played {
            Some(Ok(())) => {
                say("Everything that the scenario expects was so.");
                Ok(ExitCode::SUCCESS)
            }
            Some(Err(failed)) => {
                complain(&format!("The scenario failed at {failed}"));
                Ok(ExitCode::FAILURE)
            }
            None => {
                complain("The scenario was interrupted.");
                Ok(ExitCode::FAILURE)
            }
        }
    }

    async fn serve(state: &Path, setting: Setting) -> anyhow::Result<ExitCode> {
        let stage = Stage::set(state, setting).await?;
        describe(state, &stage);
        let shutdown = CancellationToken::new();
        super::cancel_on_signal(shutdown.clone()).await?;
        shutdown.cancelled().await;
        stage.strike().await?;
        Ok(ExitCode::SUCCESS)
    }

    fn describe(state: &Path, stage: &Stage) {
        let (world, slack) = (stage.world(), stage.slack());
        let state = state.display();
        say(&format!("State is in {state}."));
        say(&format!("Kubernetes emulator on {}; the pod shop/cart-7d4b9c6f5-x2x9q is compromised.", stage.kubernetes().url()));
        say(&format!("  export KUBECONFIG={state}/kubeconfig"));
        say("  kubectl get pods --all-namespaces -o wide");
        say(&format!("Compute emulator on {}:", stage.compute().url()));
        say(&format!("  export CLOUDSDK_CONFIG={state}/gcloud CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true CLOUDSDK_CORE_DISABLE_PROMPTS=1"));
        say(&format!("  export CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE={}", stage.compute().gcloud_endpoint()));
        say(&format!("  export CLOUDSDK_CORE_PROJECT={} CLOUDSDK_COMPUTE_ZONE={}", world.project, world.zone));
        say("  gcloud compute instances list");
        say(&format!("Slack emulator on {}, for Slack's own SDKs (these tokens mean nothing elsewhere):", slack.api_url()));
        say(&format!(
            "  export SLACK_API_URL={}/ SLACK_BOT_TOKEN={} SLACK_APP_TOKEN={}",
            slack.api_url(),
            slack.bot_token(),
            slack.app_token()
        ));
        if let Some(discord) = stage.discord() {
            say(&format!(
                "Discord emulator on {}, for clients that take another address (this token means nothing elsewhere):",
                discord.url()
            ));
            say(&format!("  export DISCORD_API_URL={}/api DISCORD_BOT_TOKEN={}", discord.url(), discord.token()));
        }
        say("Stanch itself is connected to all of them. `--scenario FILE` plays an incident with it. Ctrl-C ends it.");
    }
}
