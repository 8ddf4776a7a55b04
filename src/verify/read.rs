//! The entries of a log, one bundle after the other, for those who want to read them. Nothing is verified here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{Journal, Part, bundled};
use super::hash::WIDTH;

/// Why a log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is read is not whole.
    #[error("the log is damaged from entry {index} on; `stanch audit verify` tells more")]
    Damaged {
        /// The first entry that could not be read.
        index: u64,
    },
}

/// Entries from an index on, as many as are there.
///
/// # Guarantees
/// Holds one bundle at a time. May be asked again after the end: what Stanch appended meanwhile comes then. The end of a journal that is being
/// written is left for the next time.
#[derive(Debug)]
pub struct Entries {
    folder: PathBuf,
    next: u64,
    ready: std::vec::IntoIter<Vec<u8>>,
}

impl Entries {
    /// The entries of a log from `first` on.
    #[must_use]
    pub fn from(folder: &Path, first: u64) -> Self {
        Self { folder: folder.to_owned(), next: first, ready: vec![].into_iter() }
    }

    /// How many entries a log has at present.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn end(folder: &Path) -> Result<u64, ReadError> {
        Ok(journal(folder)?.map_or(0, |journal| journal.end()))
    }

    /// The next entry with its index; `None` at the present end.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn next_entry(&mut self) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
        if self.ready.as_slice().is_empty() {
            self.ready = self.more()?.into_iter();
        }
        let Some(entry) = self.ready.next() else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        Ok(Some((index, entry)))
    }

    /// What is in the bundle or the journal from the next index on. The journal is begun anew only after its bundle is there, so when
    /// neither has the entry, the bundle is looked for once more.
    fn more(&self) -> Result<Vec<Vec<u8>>, ReadError> {
        if let Some(bundle) = self.bundle()? {
            return Ok(bundle);
        }
        let journal = journal(&self.folder)?.ok_or(ReadError::Damaged { index: self.next })?;
        if journal.start > self.next {
            return self.bundle()?.ok_or(ReadError::Damaged { index: self.next });
        }
        let skip = usize::try_from(self.next - journal.start).unwrap_or(usize::MAX);
        Ok(journal.entries.into_iter().skip(skip).collect())
    }

    fn bundle(&self) -> Result<Option<Vec<Vec<u8>>>, ReadError> {
        let index = self.next / WIDTH as u64;
        let path = self.folder.join(Part::bundle(index, WIDTH).path());
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let (entries, rest) = bundled(&bytes);
        if entries.len() != WIDTH || rest > 0 {
            let whole = (entries.len() as u64).min(WIDTH as u64 - 1);
            return Err(ReadError::Damaged { index: index * WIDTH as u64 + whole });
        }
        let skip = usize::try_from(self.next % WIDTH as u64).unwrap_or(0);
        Ok(Some(entries.into_iter().skip(skip).map(<[u8]>::to_vec).collect()))
    }
}

fn journal(folder: &Path) -> Result<Option<Journal>, ReadError> {
    let path = folder.join("journal");
    fs::read(&path).map(|bytes| Journal::parse(&bytes)).map_err(|source| ReadError::Io { path, source })
}
