//! RFC 6962 hashes of a growing tree, held as the incomplete tile of each level: enough for the root, and for the tiles on disk.

use sha2::{Digest as _, Sha256};

/// Hashes per tile: `tlog-tiles` fixes the height at 8.
pub const TILE_WIDTH: usize = 256;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The hash of an entry.
#[must_use]
pub fn leaf(entry: &[u8]) -> Hash {
    Sha256::new_with_prefix([0]).chain_update(entry).finalize().into()
}

/// The hash of two subtrees.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tile that became full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// Level of the tile: 0 holds entry hashes.
    pub level: usize,
    /// Its position in the level.
    pub index: u64,
    /// Its hashes.
    pub hashes: Vec<Hash>,
}

/// A tree that grows at the right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// By level, the hashes of the incomplete tile; each hash covers 256 of the level below.
    partial: Vec<Vec<Hash>>,
}

impl Tree {
    /// Number of entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Incomplete tiles by level, each with its position; empty ones are left out.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (usize, u64, &[Hash])> {
        let position = |level: usize| u32::try_from(8 * (level + 1)).ok().and_then(|shift| self.size.checked_shr(shift)).unwrap_or(0);
        self.partial
            .iter()
            .enumerate()
            .filter(|(_, hashes)| !hashes.is_empty())
            .map(move |(level, hashes)| (level, position(level), hashes.as_slice()))
    }

    /// Adds an entry; returns the tiles that it completed, lowest level first.
    pub fn push(&mut self, entry: &[u8]) -> Vec<FullTile> {
        self.size += 1;
        let (mut full, mut hash) = (Vec::new(), leaf(entry));
        for level in 0.. {
            if self.partial.len() <= level {
                self.partial.push(Vec::with_capacity(TILE_WIDTH));
            }
            let Some(tile) = self.partial.get_mut(level) else { break };
            tile.push(hash);
            if tile.len() < TILE_WIDTH {
                break;
            }
            let hashes = std::mem::take(tile);
            hash = range(&hashes);
            let covered = u32::try_from(8 * (level + 1)).ok().and_then(|shift| self.size.checked_shr(shift)).unwrap_or(0);
            full.push(FullTile { level, index: covered.saturating_sub(1), hashes });
        }
        full
    }

    /// The root; of the empty tree, the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        for tile in &self.partial {
            let mut rest = tile.as_slice();
            // From the right, the complete subtrees of this level are as large as the lowest set bits of its length.
            while !rest.is_empty() {
                let (left, subtree) = rest.split_at(rest.len() - (1 << rest.len().trailing_zeros()));
                let hash = range(subtree);
                root = Some(root.map_or(hash, |right| node(&hash, &right)));
                rest = left;
            }
        }
        root.unwrap_or_else(|| Sha256::digest([]).into())
    }
}

/// The root of a complete subtree whose length is a power of two.
fn range(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            node(&range(left), &range(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 section 2.1, as it is written there.
    fn naive(entries: &[Vec<u8>]) -> Hash {
        match entries {
            [] => Sha256::digest([]).into(),
            [one] => leaf(one),
            many => {
                let split = many.len().next_power_of_two() / 2;
                node(&naive(&many[..split]), &naive(&many[split..]))
            }
        }
    }

    #[test]
    fn every_size_has_the_root_of_the_rfc() {
        let entries: Vec<Vec<u8>> = (0..1_000_u32).map(|number| number.to_be_bytes().to_vec()).collect();
        let mut tree = Tree::default();
        assert_eq!(tree.root(), naive(&[]));
        for (index, entry) in entries.iter().enumerate() {
            tree.push(entry);
            if index < 40 || index % 97 == 0 || index % 256 > 252 {
                assert_eq!(tree.root(), naive(&entries[..=index]), "size {}", index + 1);
            }
        }
    }

    #[test]
    fn tiles_are_completed_at_their_boundaries() {
        let mut tree = Tree::default();
        let mut full = Vec::new();
        for number in 0..65_537_u32 {
            full.extend(tree.push(&number.to_be_bytes()).into_iter().map(|tile| (tree.size(), tile.level, tile.index)));
        }
        assert_eq!(full.first(), Some(&(256, 0, 0)));
        assert_eq!(&full[full.len() - 2..], [(65_536, 0, 255), (65_536, 1, 0)]);
        let partial: Vec<_> = tree.partial_tiles().map(|(level, index, hashes)| (level, index, hashes.len())).collect();
        assert_eq!(partial, [(0, 256, 1), (2, 0, 1)]);
    }
}
