//! RFC 6962 hashes of a log whose entries are all here. Written apart from the writer's, and in another way: the writer keeps the right edge
//! of the tree only, this keeps every hash and follows the recursion of the RFC.

use sha2::{Digest as _, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Hashes in a full tile of `tlog-tiles`.
pub const WIDTH: usize = 256;

/// The hash of every entry, and of every complete subtree of 256, 65,536, … entries: those that tiles hold.
#[derive(Clone, Debug, Default)]
pub struct Hashes {
    levels: Vec<Vec<Hash>>,
}

/// `MTH({d})`: the hash of an entry.
#[must_use]
pub fn of_entry(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x00]);
    hasher.update(entry);
    hasher.finalize().into()
}

fn of_two(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x01]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// The hash of a row of hashes whose number is a power of two.
fn of_row(row: &[Hash]) -> Option<Hash> {
    let mut row = row.to_vec();
    while row.len() > 1 {
        row = row.chunks(2).map(|pair| if let [left, right] = pair { Some(of_two(left, right)) } else { None }).collect::<Option<_>>()?;
    }
    row.first().copied()
}

impl Hashes {
    /// Adds the hash of the next entry.
    pub fn push(&mut self, hash: Hash) {
        let mut carried = Some(hash);
        for level in 0.. {
            let Some(hash) = carried else { return };
            if self.levels.len() <= level {
                self.levels.push(Vec::new());
            }
            let Some(row) = self.levels.get_mut(level) else { return };
            row.push(hash);
            carried = if row.len() % WIDTH == 0 { row.last_chunk::<WIDTH>().and_then(|tile| of_row(tile)) } else { None };
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, Vec::len) as u64
    }

    /// Level 0 has the hashes of entries, each level above that of 256 hashes below.
    #[must_use]
    pub fn level(&self, level: usize) -> &[Hash] {
        self.levels.get(level).map_or(&[], Vec::as_slice)
    }

    /// The hash of one entry.
    #[must_use]
    pub fn entry(&self, index: u64) -> Option<Hash> {
        self.level(0).get(usize::try_from(index).ok()?).copied()
    }

    /// The root of the first `size` entries; `None` if there are fewer.
    #[must_use]
    pub fn root(&self, size: u64) -> Option<Hash> {
        match size {
            0 => Some(Sha256::digest([]).into()),
            _ => self.subtree(0, usize::try_from(size).ok()?),
        }
    }

    /// `MTH(D[start:end])` of section 2.1.
    fn subtree(&self, start: usize, end: usize) -> Option<Hash> {
        let count = end.checked_sub(start)?;
        let mut width = 1;
        for row in &self.levels {
            if count == width && start.is_multiple_of(width) {
                return row.get(start / width).copied();
            }
            width = width.saturating_mul(WIDTH);
        }
        let split = split(count)?;
        Some(of_two(&self.subtree(start, start + split)?, &self.subtree(start + split, end)?))
    }

    /// `PATH(index, D[size])` of section 2.1.1, the entry's sibling first.
    #[must_use]
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        let (mut start, mut end) = (0, usize::try_from(size).ok().filter(|size| *size <= self.level(0).len())?);
        let index = usize::try_from(index).ok().filter(|index| *index < end)?;
        let mut path = Vec::new();
        while end - start > 1 {
            let middle = start + split(end - start)?;
            if index < middle {
                path.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                path.push(self.subtree(start, middle)?);
                start = middle;
            }
        }
        path.reverse();
        Some(path)
    }
}

/// The largest power of two smaller than `count`.
fn split(count: usize) -> Option<usize> {
    (count > 1).then(|| count.next_power_of_two() / 2)
}

/// The root that an inclusion proof leads to, by RFC 9162 section 2.1.3.2; `None` if the proof has the wrong length for the place.
#[must_use]
pub fn root_of_inclusion(hash: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let (mut node, mut last, mut root) = (index, size.checked_sub(1).filter(|last| index <= *last)?, hash);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node % 2 == 1 || node == last {
            root = of_two(sibling, &root);
            while node % 2 == 0 && node != 0 {
                node /= 2;
                last /= 2;
            }
        } else {
            root = of_two(&root, sibling);
        }
        node /= 2;
        last /= 2;
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(entries: &[Hash]) -> Hash {
        match entries {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            many => {
                let (left, right) = many.split_at(split(many.len()).unwrap());
                of_two(&naive(left), &naive(right))
            }
        }
    }

    #[test]
    fn roots_and_proofs_of_every_size_are_those_of_the_rfc() {
        let entries: Vec<Hash> = (0..600_u32).map(|number| of_entry(&number.to_be_bytes())).collect();
        let mut hashes = Hashes::default();
        entries.iter().for_each(|hash| hashes.push(*hash));
        for size in (0..70).chain([255, 256, 257, 511, 512, 513, 600]) {
            let root = naive(&entries[..size]);
            assert_eq!(hashes.root(size as u64), Some(root), "size {size}");
            for index in (0..size).step_by(1 + size / 40) {
                let path = hashes.inclusion(index as u64, size as u64).unwrap();
                assert_eq!(root_of_inclusion(entries[index], index as u64, size as u64, &path), Some(root), "{index} in {size}");
                let mut longer = path.clone();
                longer.push(root);
                assert_ne!(root_of_inclusion(entries[index], index as u64, size as u64, &longer), Some(root));
                assert_ne!(root_of_inclusion(root, index as u64, size as u64, &path), Some(root).filter(|_| size > 1));
            }
        }
        assert_eq!(hashes.root(601), None);
        assert_eq!(hashes.inclusion(600, 600), None);
        assert_eq!(hashes.inclusion(0, 601), None);
    }
}
