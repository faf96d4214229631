//! The Merkle tree of RFC 9162 section 2.1, with SHA-256.
//!
//! The ledger's log and the items of signed batches use it, so that verifiers which others wrote work on both.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A node of the tree.
pub type Digest = [u8; 32];

/// The hash of the empty tree: SHA-256 of nothing (RFC 9162 section 2.1.1).
#[must_use]
pub fn empty_root() -> Digest {
    Sha256::digest([]).into()
}

/// The hash of a leaf: `SHA-256(0x00 ‖ leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root over leaf hashes.
#[must_use]
pub fn root(leaves: &[Digest]) -> Digest {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(*leaf);
    }
    frontier.root()
}

/// The right edge of a growing tree: all that is needed to append and to know the root.
///
/// # Invariants
///
/// It holds one perfect subtree per one bit of the size, largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

/// An inner node that appending completed: `(level, index, hash)`; leaves are level 0.
pub type Completed = (u8, u64, Digest);

impl Frontier {
    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash and returns the nodes that it completes, the leaf first. At most 64.
    pub fn push(&mut self, leaf: Digest) -> Vec<Completed> {
        let mut completed = vec![(0, self.size, leaf)];
        let mut hash = leaf;
        let mut index = self.size;
        let mut level = 0_u8;
        while index & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            index >>= 1;
            level = level.saturating_add(1);
            completed.push((level, index, hash));
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
        completed
    }

    /// The root of the tree as it is now.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The audit path of leaf `index` in the tree of the first `size` leaves (RFC 9162 section 2.1.3.1), from the
/// leaf up. `node(level, index)` returns complete nodes; `None` from it, or an index outside, gives `None`.
pub fn inclusion_path(
    index: u64,
    size: u64,
    node: &mut dyn FnMut(u8, u64) -> Option<Digest>,
) -> Option<Vec<Digest>> {
    if index >= size {
        return None;
    }
    let mut path = Vec::new();
    collect_path(index, 0, size, node, &mut path)?;
    Some(path)
}

fn collect_path(
    index: u64,
    start: u64,
    size: u64,
    node: &mut dyn FnMut(u8, u64) -> Option<Digest>,
    path: &mut Vec<Digest>,
) -> Option<()> {
    if size <= 1 {
        return Some(());
    }
    let split = largest_power_below(size);
    let middle = start.checked_add(split)?;
    if index < middle {
        collect_path(index, start, split, node, path)?;
        path.push(subtree_root(middle, size.checked_sub(split)?, node)?);
    } else {
        collect_path(index, middle, size.checked_sub(split)?, node, path)?;
        path.push(subtree_root(start, split, node)?);
    }
    Some(())
}

/// The root of the `size` leaves from `start`, which is a multiple of the largest power of two in `size`.
fn subtree_root(
    start: u64,
    size: u64,
    node: &mut dyn FnMut(u8, u64) -> Option<Digest>,
) -> Option<Digest> {
    if size.is_power_of_two() {
        let level = size.trailing_zeros();
        return node(u8::try_from(level).ok()?, start >> level);
    }
    let split = largest_power_below(size);
    let left = subtree_root(start, split, node)?;
    let right = subtree_root(start.checked_add(split)?, size.checked_sub(split)?, node)?;
    Some(node_hash(&left, &right))
}

/// The largest power of two below `size`; `size` is at least 2.
const fn largest_power_below(size: u64) -> u64 {
    match size.saturating_sub(1).checked_ilog2() {
        Some(log) => 1 << log,
        None => 1,
    }
}

/// Checks an inclusion proof (RFC 9162 section 2.1.3.2).
#[must_use]
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    path: &[Digest],
    root: &Digest,
) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size.saturating_sub(1), *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|at| leaf_hash(&at.to_le_bytes())).collect()
    }

    /// RFC 9162 section 2.1.1, word for word.
    fn recursive_root(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            leaves => {
                let split = usize::try_from(largest_power_below(leaves.len() as u64)).unwrap();
                node_hash(&recursive_root(&leaves[..split]), &recursive_root(&leaves[split..]))
            }
        }
    }

    /// Test vectors of the Certificate Transparency reference implementation (RFC 6962, same tree).
    #[test]
    fn the_roots_are_those_of_the_reference_implementation() {
        let inputs: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[
                0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
                0x6e, 0x6f,
            ],
        ];
        let leaves: Vec<_> = inputs.iter().map(|input| leaf_hash(input)).collect();
        assert_eq!(
            hex::encode(root(&leaves[..1])),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(
            hex::encode(root(&leaves[..2])),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
        assert_eq!(
            hex::encode(root(&leaves)),
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
        );
    }

    proptest! {
        #[test]
        fn the_frontier_agrees_with_the_definition(count in 0..200_usize) {
            let leaves = leaves(count);
            prop_assert_eq!(root(&leaves), recursive_root(&leaves));
        }

        #[test]
        fn every_leaf_has_a_proof_and_no_other_leaf_passes_with_it(count in 1..100_usize, at in 0..100_usize) {
            let at = at.min(count.saturating_sub(1));
            let leaves = leaves(count);
            let mut nodes = std::collections::BTreeMap::new();
            let mut frontier = Frontier::default();
            for leaf in &leaves {
                for (level, index, hash) in frontier.push(*leaf) {
                    nodes.insert((level, index), hash);
                }
            }
            let (index, size) = (at as u64, count as u64);
            let path =
                inclusion_path(index, size, &mut |level, index| nodes.get(&(level, index)).copied()).unwrap();
            let root = frontier.root();
            prop_assert!(verify_inclusion(&leaves[at], index, size, &path, &root));
            prop_assert!(!verify_inclusion(&leaf_hash(b"other"), index, size, &path, &root));
            prop_assert!(!verify_inclusion(&leaves[at], index ^ 1, size, &path, &root));
            let mut longer = path;
            longer.push([0; 32]);
            prop_assert!(!verify_inclusion(&leaves[at], index, size, &longer, &root));
        }
    }
}
