//! Scenarios: a text that says who does what, what the world does, and what must be seen; played on the emulators with the production bot.

mod filling;
mod on_discord;
mod script;
mod stage;

use std::time::Duration;

use self::on_discord::Whose;
use self::script::{Expected, Line, Step};
pub use self::script::{Scenario, ScriptError};
pub use self::stage::{ChatChoice, Setting, Stage, StageError};

/// How long an expectation is waited for. A whole quarantine takes seconds; a drain that meets a budget two minutes.
const PATIENCE: Duration = Duration::from_secs(180);

/// An expectation that did not hold, or an action that was impossible.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {text}\n  {why}")]
pub struct Failed {
    /// Line of the scenario, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// Why.
    pub why: String,
}

/// Plays a scenario to its end or to the first line that fails. `told` hears of each line as it begins.
///
/// # Errors
/// [`Failed`].
pub async fn play(stage: &mut Stage, scenario: &Scenario, mut told: impl FnMut(&str)) -> Result<(), Failed> {
    for Line { number, text, step } in &scenario.lines {
        told(text);
        let done = match step {
            Step::Types { who, channel, command } => stage.types(who, channel.as_deref(), command).await,
            Step::FillsIn { who, line } => stage.fills_in(who, line).await,
            Step::Proposes { who, alert } => stage.proposes(who, alert).await,
            Step::Reacts { who, emoji } => stage.reacts(who, emoji).await,
            Step::TakesBack { who, emoji } => stage.takes_back(who, emoji).await,
            Step::Presses { who, label } => stage.presses(who, label).await,
            Step::Passes { minutes } => {
                stage.pass(*minutes);
                Ok(())
            }
            Step::On(platform) => stage.go_on(*platform),
            Step::Restart => stage.restart().await,
            Step::Crash => stage.crash().await,
            Step::Happens(event) => stage.happens(event),
            Step::Expect(expected) => expect(stage, expected).await,
        };
        done.map_err(|error| Failed { line: *number, text: text.clone(), why: error.to_string() })?;
    }
    Ok(())
}

async fn expect(stage: &Stage, expected: &Expected) -> Result<(), StageError> {
    match expected {
        Expected::InChannel(words) => stage.sees(words, Whose::Channel, PATIENCE).await,
        Expected::InThread(words) => stage.sees(words, Whose::Thread, PATIENCE).await,
        Expected::Reads { who, words } => stage.sees(words, Whose::Reader(who), PATIENCE).await,
        Expected::NoWrites => stage.nothing_was_written(),
        Expected::Isolated => stage.is_isolated(),
        Expected::Holds { api, path, value } => stage.holds(*api, path, value),
    }
}
