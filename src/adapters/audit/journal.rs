//! The entries since the last full bundle: one file that only grows, synced per append.
//!
//! Layout: 8 bytes big-endian index of the first entry, then per entry 4 bytes big-endian length, the entry, and 8 bytes of
//! SHA-256(index, entry), so that an append that a crash tore is told from a whole one.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::AuditError;
use super::files::{failed, replace};

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

/// What a journal held.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Its entries from the asked index on.
    pub entries: Vec<Vec<u8>>,
    /// Bytes of a torn append.
    pub torn_bytes: u64,
}

impl Journal {
    /// Opens the journal for the entries from `start` on, and cuts off a torn append.
    ///
    /// A journal of the bundle before is what a crash between sealing and replacing leaves: its entries are in the bundle already.
    pub fn open(folder: &Path, start: u64) -> Result<(Self, Replayed), AuditError> {
        let path = folder.join("journal");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Self::create(folder, start)?, Replayed::default())),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let Some((header, body)) = bytes.split_first_chunk::<8>() else { return Err(AuditError::Damaged { index: start }) };
        let first = u64::from_be_bytes(*header);
        if first < start {
            return Ok((Self::create(folder, start)?, Replayed::default()));
        }
        if first > start {
            return Err(AuditError::Damaged { index: start });
        }
        let (entries, read) = parse(body, first)?;
        let torn = body.len() - read;
        let file = OpenOptions::new().write(true).open(&path).map_err(failed("open", &path))?;
        let whole = (header.len() + read) as u64;
        file.set_len(whole).and_then(|()| file.sync_all()).map_err(failed("truncate", &path))?;
        let mut journal = Self { path, file };
        journal.file.seek(SeekFrom::Start(whole)).map_err(failed("seek in", &journal.path))?;
        Ok((journal, Replayed { entries, torn_bytes: torn as u64 }))
    }

    /// Replaces the journal by an empty one that starts at `start`.
    pub fn create(folder: &Path, start: u64) -> Result<Self, AuditError> {
        let path = folder.join("journal");
        replace(&path, &start.to_be_bytes())?;
        let mut file = OpenOptions::new().write(true).open(&path).map_err(failed("open", &path))?;
        file.seek(SeekFrom::End(0)).map_err(failed("seek in", &path))?;
        Ok(Self { path, file })
    }

    /// Writes one entry; not durable before [`Journal::sync`].
    pub fn write(&mut self, index: u64, entry: &[u8]) -> Result<(), AuditError> {
        let length = u32::try_from(entry.len()).map_err(|_| AuditError::TooLong { bytes: entry.len() })?;
        let mut record = Vec::with_capacity(entry.len() + 12);
        record.extend(length.to_be_bytes());
        record.extend(entry);
        record.extend(check(index, entry));
        self.file.write_all(&record).map_err(failed("append to", &self.path))
    }

    /// Makes everything written durable.
    pub fn sync(&self) -> Result<(), AuditError> {
        self.file.sync_data().map_err(failed("sync", &self.path))
    }
}

/// The whole entries, and how many bytes they take.
///
/// A torn append is the end of the file: cut short, or filled up with zeros. An entry that is damaged before others was durable once,
/// and is an error.
fn parse(body: &[u8], first: u64) -> Result<(Vec<Vec<u8>>, usize), AuditError> {
    let (mut entries, mut read) = (Vec::new(), 0);
    for index in first.. {
        let rest = body.get(read..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { break };
        let length = u32::from_be_bytes(*length) as usize;
        let Some((entry, rest)) = rest.split_at_checked(length) else { break };
        if rest.first_chunk::<8>() != Some(&check(index, entry)) {
            let behind = rest.get(8..).unwrap_or_default();
            match behind.iter().all(|byte| *byte == 0) {
                true => break,
                false => return Err(AuditError::Damaged { index }),
            }
        }
        entries.push(entry.to_vec());
        read += 4 + length + 8;
    }
    Ok((entries, read))
}

fn check(index: u64, entry: &[u8]) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::new_with_prefix(index.to_be_bytes()).chain_update(entry).finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    [a, b, c, d, e, f, g, h]
}
