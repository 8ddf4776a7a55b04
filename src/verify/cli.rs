//! `stanch audit …`: what can be done with a log without Stanch running, and without changing anything.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Expected, Key, log_folder, told, verify};

/// What can be done with an audit log.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Derives everything in the log again, by code that shares nothing with what wrote it: entries, hashes, tiles, root, signature, history.
    /// Changes nothing, and may run while Stanch does. Exit status 0 if the log is as it was written; the first bad entry is named otherwise.
    ///
    /// Example: stanch audit verify --anchors incident-channel.json /var/lib/stanch
    Verify {
        /// Compares the checkpoints that were posted in chat with the log: an export of the channel, or the messages as text.
        #[arg(long, value_name = "FILE")]
        anchors: Option<PathBuf>,
        /// The log's public key as it was noted when Stanch was set up, or a file that holds it; the log's own file is believed otherwise.
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the log is.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The data folder of Stanch, or the folder of the log or of a copy of it.
    #[arg(value_name = "DIR", env = "STANCH_DATA_DIR")]
    folder: Option<PathBuf>,
}

impl Place {
    fn log(self, default: impl FnOnce() -> anyhow::Result<PathBuf>) -> anyhow::Result<PathBuf> {
        let folder = log_folder(&self.folder.map_or_else(default, Ok)?);
        anyhow::ensure!(folder.is_dir(), "there is no folder `{}`; name the data folder of Stanch, or a copy of its log", folder.display());
        Ok(folder)
    }
}

/// Carries a command out and writes what is asked for to `out`. Returns whether everything was as it must be.
///
/// # Errors
/// When that cannot be told, in words for an operator.
pub fn run(command: Command, default: impl FnOnce() -> anyhow::Result<PathBuf>, out: &mut dyn Write) -> anyhow::Result<bool> {
    match command {
        Command::Verify { anchors, key, place } => {
            let anchors = anchors.as_deref().map(read).transpose()?;
            let expected = Expected { key: key.as_deref().map(known_key).transpose()?, anchors };
            let folder = place.log(default)?;
            let report = verify(&folder, &expected);
            writeln!(out, "{}", told(&folder, &report))?;
            Ok(report.problems.is_empty())
        }
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// A key, or a file with one.
fn known_key(given: &str) -> anyhow::Result<Key> {
    match given.parse() {
        Ok(key) => Ok(key),
        Err(why) if !Path::new(given).exists() => Err(why).with_context(|| format!("`{given}` is neither a key nor a file")),
        Err(_) => read(Path::new(given))?.trim_end().parse().with_context(|| format!("`{given}` holds no key")),
    }
}
