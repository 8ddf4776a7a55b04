//! The data folder: room on its disk, the audit log in it, and the evidence beside it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::audit::{AuditError, Log};
use crate::core::diagnosis::Check;
use crate::ports::Examined;

/// Free bytes that are too few: the evidence of one incident has logs of 4 MiB a container, and the log's records and tiles.
const TOO_FEW_BYTES: u64 = 100 << 20;
/// Free bytes that will soon be too few: ten such incidents.
const FEW_BYTES: u64 = 1 << 30;

/// A data folder, as a bot has it or will have it.
#[derive(Clone, Debug)]
pub struct DataFolder {
    /// The folder of the log.
    pub log: PathBuf,
    /// The name of the log in its checkpoints.
    pub origin: &'static str,
    /// The folder of the evidence.
    pub evidence: PathBuf,
    /// Whether this process itself appends to the log: it verified it when it started.
    pub is_ours: bool,
}

#[async_trait]
impl Examined for DataFolder {
    async fn examine(&self, _commands: &BTreeSet<&'static str>) -> Vec<Check> {
        let folder = self.clone();
        let checks = tokio::task::spawn_blocking(move || vec![room(&folder.log), folder.log(), evidence(&folder.evidence)]).await;
        checks.unwrap_or_else(|error| vec![Check::fail("data folder", error.to_string(), "ask again")])
    }
}

impl DataFolder {
    fn log(&self) -> Check {
        let name = "audit log";
        if self.is_ours {
            return Check::ok(name, "verified when this process started, and open since then");
        }
        if !self.log.join("signing-key").exists() {
            return Check::warn(name, "there is none yet", "the first start makes it");
        }
        // Like a start, this cuts an append off that a power loss left unfinished.
        match Log::open(&self.log, self.origin) {
            Ok((_, opened)) => Check::ok(name, format!("{} entries match the last signed checkpoint", opened.entries)),
            Err(AuditError::InUse { .. }) => Check::warn(name, "a running Stanch holds it", "`/stanch doctor` asks that one"),
            Err(error) => {
                Check::fail(name, error.to_string(), "keep the folder as it is: it may be evidence; restore it, or start a new one")
            }
        }
    }
}

/// Room on the disk of the nearest folder that is there.
fn room(folder: &Path) -> Check {
    let name = "disk";
    let Some(there) = folder.ancestors().find(|path| path.is_dir()) else {
        return Check::fail(name, format!("`{}` is on no disk", folder.display()), "name another folder with --data-dir");
    };
    let free = match rustix::fs::statvfs(there) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => return Check::fail(name, format!("`{}`: {error}", there.display()), "name another folder with --data-dir"),
    };
    judged(free)
}

fn judged(free: u64) -> Check {
    let (name, found, hint) = ("disk", format!("{} MiB free", free >> 20), "make room: without it no run can be recorded");
    match free {
        ..TOO_FEW_BYTES => Check::fail(name, found, hint),
        TOO_FEW_BYTES..FEW_BYTES => Check::warn(name, found, hint),
        FEW_BYTES.. => Check::ok(name, found),
    }
}

fn evidence(folder: &Path) -> Check {
    match written(folder) {
        Ok(()) => Check::ok("evidence", "the folder can be written"),
        Err(error) => {
            let found = format!("`{}` cannot be written: {error}", folder.display());
            Check::fail("evidence", found, "give the folder to the user that Stanch runs as")
        }
    }
}

/// Writes a file into the folder, or where it will be made, syncs it and takes it away.
fn written(folder: &Path) -> io::Result<()> {
    let there = folder.ancestors().find(|path| path.exists()).ok_or(io::ErrorKind::NotFound)?;
    let probe = there.join(format!(".probe-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&probe)?;
    let outcome = file.write_all(b"stanch doctor").and_then(|()| file.sync_all());
    fs::remove_file(&probe).and(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::diagnosis::Verdict;

    #[test]
    fn room_is_judged() {
        assert_eq!([0, 100 << 20, 1 << 30].map(|free| judged(free).verdict), [Verdict::Fail, Verdict::Warn, Verdict::Ok]);
    }
}
