//! The files of a log, read only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::hash::{Hash, WIDTH};

/// A tile, or a bundle of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Level of a tile; `None` for a bundle.
    pub level: Option<u8>,
    /// Its place in the level.
    pub index: u64,
    /// Hashes or entries in it: 256, or fewer in a partial one.
    pub width: usize,
}

impl Part {
    /// The bundle of a place.
    #[must_use]
    pub fn bundle(index: u64, width: usize) -> Self {
        Self { level: None, index, width }
    }

    /// The same part when it is full.
    #[must_use]
    pub fn when_full(self) -> Self {
        Self { width: WIDTH, ..self }
    }

    /// Its path: `tile/0/x001/234.p/56`.
    #[must_use]
    pub fn path(self) -> String {
        let mut path = self.level.map_or("tile/entries".to_owned(), |level| format!("tile/{level}"));
        let digits = format!("{:03}", self.index);
        let padded = format!("{}{digits}", "0".repeat((3 - digits.len() % 3) % 3));
        let groups = padded.len() / 3;
        for (place, digit) in padded.char_indices() {
            if place % 3 == 0 {
                path.push_str(if place / 3 + 1 < groups { "/x" } else { "/" });
            }
            path.push(digit);
        }
        if self.width < WIDTH {
            path.push_str(&format!(".p/{}", self.width));
        }
        path
    }

    /// The part that a path names, if it is spelt as the specification says.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let (level, place) = path.strip_prefix("tile/")?.split_once('/')?;
        let (place, width) = match place.split_once(".p/") {
            Some((place, width)) => (place, width.parse().ok().filter(|width| (1..WIDTH).contains(width))?),
            None => (place, WIDTH),
        };
        let level = if level == "entries" { None } else { Some(level.parse().ok().filter(|level| *level < 64)?) };
        let index = place.split(['/', 'x']).collect::<String>().parse().ok()?;
        Some(Self { level, index, width }).filter(|part| part.path() == path)
    }
}

/// What lies in a log's folder.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Tiles and bundles.
    pub parts: BTreeSet<Part>,
    /// Everything else, by its path in the folder.
    pub others: BTreeMap<String, fs::FileType>,
}

/// Lists a folder.
///
/// # Errors
/// When a folder cannot be listed, with its path.
pub fn inventory(folder: &Path) -> Result<Inventory, (PathBuf, io::Error)> {
    let (mut found, mut open) = (Inventory::default(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        let listed = fs::read_dir(&next).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let listed = match listed {
            Ok(listed) => listed,
            // A folder of partial tiles goes when the full one is there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && next != folder => continue,
            Err(error) => return Err((next, error)),
        };
        for entry in listed {
            let path = entry.path();
            let kind = entry.file_type().map_err(|error| (path.clone(), error))?;
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            match Part::of_path(&name) {
                _ if kind.is_dir() => open.push(path),
                Some(part) if kind.is_file() => drop(found.parts.insert(part)),
                Some(_) | None => drop(found.others.insert(name, kind)),
            }
        }
    }
    Ok(found)
}

/// The entries of a bundle, as far as they are whole, and how many bytes behind them are none.
#[must_use]
pub fn bundled(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let (mut entries, mut rest) = (Vec::new(), bytes);
    while let Some((entry, behind)) =
        rest.split_first_chunk().and_then(|(length, behind)| behind.split_at_checked(usize::from(u16::from_be_bytes(*length))))
    {
        entries.push(entry);
        rest = behind;
    }
    (entries, rest.len())
}

/// The hashes of a tile; `None` if its length is not that of `width` hashes.
#[must_use]
pub fn hashes(bytes: &[u8], width: usize) -> Option<&[Hash]> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == width).then_some(hashes)
}

/// What a journal holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// Index of its first entry.
    pub start: u64,
    /// Its entries, as far as they are whole and unchanged.
    pub entries: Vec<Vec<u8>>,
    /// Bytes behind them.
    pub rest: usize,
}

impl Journal {
    /// Reads a journal: 8 bytes of index; then for each entry 4 bytes of length, the entry, and the first 8 bytes of
    /// SHA-256(index, entry). `None` if not even the index is there.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (start, mut rest) = bytes.split_first_chunk().map(|(start, rest)| (u64::from_be_bytes(*start), rest))?;
        let mut entries = Vec::new();
        for index in start.. {
            let Some((entry, behind)) = whole(rest, index) else { break };
            entries.push(entry.to_vec());
            rest = behind;
        }
        Some(Self { start, entries, rest: rest.len() })
    }

    /// Index behind its last entry.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.entries.len() as u64)
    }
}

fn whole(bytes: &[u8], index: u64) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (entry, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let (check, rest) = rest.split_first_chunk::<8>()?;
    let digest = Sha256::digest([&index.to_be_bytes(), entry].concat());
    digest.starts_with(check).then_some((entry, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let part = |level, index, width| Part { level, index, width };
        for (path, expected) in [
            ("tile/0/000", part(Some(0), 0, 256)),
            ("tile/entries/x001/x234/067", Part::bundle(1_234_067, 256)),
            ("tile/63/x001/000.p/1", part(Some(63), 1_000, 1)),
            ("tile/entries/999.p/255", Part::bundle(999, 255)),
        ] {
            assert_eq!(Part::of_path(path), Some(expected), "{path}");
            assert_eq!(expected.path(), path);
        }
        for path in
            ["tile/00/000", "tile/0/0", "tile/0/x000/001", "tile/0/001.p/256", "tile/0/001.p/0", "tile/64/000", "tile/0/001.p/01", "tile/0"]
        {
            assert_eq!(Part::of_path(path), None, "{path}");
        }
    }
}
