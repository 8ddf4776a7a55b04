//! `stanch audit …`: what can be done with a log without Stanch running, and without changing anything.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;

use super::export::{Exported, Filter, Format};
use super::{Entries, Expected, Key, Proof, log_folder, prove, told, verify};

/// How often `tail -f` looks for more.
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

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
        /// Where the log is.
        #[command(flatten)]
        place: Place,
    },
    /// Proves to somebody without the log that an entry is in it: writes a C2SP tlog-proof, after verifying the log.
    ///
    /// Example: stanch audit prove 118 --out 118.tlog-proof --entry 118.json
    Prove {
        /// Index of the entry, as `audit tail` and `audit export` show it.
        index: u64,
        /// Where the proof goes; standard output otherwise.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Where the entry goes, byte by byte as it is stored: the proof is about exactly these.
        #[arg(long, value_name = "FILE")]
        entry: Option<PathBuf>,
        /// Where the log is.
        #[command(flatten)]
        place: Place,
    },
    /// Checks a proof that `prove` wrote, without the log. Exit status 0 if the entry is in the log of the key.
    ///
    /// Example: stanch audit verify-proof 118.tlog-proof 118.json --key stanch.dev/audit-log+1c9f…
    VerifyProof {
        /// The proof.
        proof: PathBuf,
        /// The entry, as it is stored.
        entry: PathBuf,
        /// The public key of the log, or a file that holds it.
        #[arg(long, value_name = "KEY")]
        key: String,
    },
    /// Writes entries for other programs, one a line, to standard output.
    ///
    /// Example: stanch audit export --format cef --since 2026-11-01T00:00:00Z
    Export {
        /// The form.
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
        /// Entries of this request only.
        #[arg(long, value_name = "ID")]
        request: Option<String>,
        /// Entries from this time on, such as 2026-11-01T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// Entries before this time.
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// Where the log is.
        #[command(flatten)]
        place: Place,
    },
    /// Shows the newest entries, one a line.
    ///
    /// Example: stanch audit tail -f
    Tail {
        /// Goes on as entries are appended, until it is ended.
        #[arg(short, long)]
        follow: bool,
        /// How many.
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
        lines: u64,
        /// Where the log is.
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
        Command::Prove { index, out: file, entry, place } => {
            let folder = place.log(default)?;
            let proof = prove(&folder, index).context("there is no proof")?;
            if let Some(path) = entry {
                let (_, bytes) = Entries::from(&folder, index).next_entry()?.context("the entry is not in the log any more")?;
                write(&path, &bytes)?;
            }
            match file {
                Some(path) => write(&path, proof.to_string().as_bytes())?,
                None => write!(out, "{proof}")?,
            }
            Ok(true)
        }
        Command::VerifyProof { proof, entry, key } => verify_proof(&proof, &entry, &known_key(&key)?, out),
        Command::Export { format, request, since, until, place } => {
            let (filter, mut entries) = (Filter { request, since, until }, Entries::from(&place.log(default)?, 0));
            while let Some((index, bytes)) = entries.next_entry()? {
                let exported = Exported::new(index, bytes);
                if exported.passes(&filter) {
                    exported.write(format, out)?;
                }
            }
            Ok(true)
        }
        Command::Tail { follow, lines, place } => {
            let folder = place.log(default)?;
            let mut entries = Entries::from(&folder, Entries::end(&folder)?.saturating_sub(lines));
            loop {
                while let Some((index, bytes)) = entries.next_entry()? {
                    writeln!(out, "{}", Exported::new(index, bytes))?;
                }
                out.flush()?;
                if !follow {
                    return Ok(true);
                }
                std::thread::sleep(BETWEEN_LOOKS);
            }
        }
    }
}

fn verify_proof(proof: &Path, entry: &Path, key: &Key, out: &mut dyn Write) -> anyhow::Result<bool> {
    let parsed = Proof::parse(&read(proof)?).with_context(|| format!("`{}`", proof.display()))?;
    let bytes = std::fs::read(entry).with_context(|| format!("cannot read `{}`", entry.display()))?;
    // Editors end the last line; an entry is one line without an end.
    let checked = parsed.check(&bytes, key).or_else(|why| match bytes.strip_suffix(b"\n") {
        Some(line) => parsed.check(line, key),
        None => Err(why),
    });
    match &checked {
        Ok(checkpoint) => {
            writeln!(out, "proven: this is entry {} of the log, which had {} entries when {key} signed it", parsed.index, checkpoint.size)?
        }
        Err(why) => writeln!(out, "not proven: {why}")?,
    }
    Ok(checked.is_ok())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))
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
