//! Names that people can remember, for nodes that were not given one.

use protocol::ids::{Hash, NodeId};

const ADJECTIVES: [&str; 32] = [
    "amber", "bold", "brave", "bright", "brisk", "calm", "clever", "cosy", "daring", "eager",
    "fair", "fleet", "gentle", "glad", "grand", "happy", "jolly", "keen", "kind", "lively",
    "lucky", "mellow", "merry", "nimble", "proud", "quick", "quiet", "shy", "smart", "steady",
    "swift", "warm",
];
const ANIMALS: [&str; 32] = [
    "badger", "bear", "beaver", "bison", "crane", "deer", "dove", "eagle", "falcon", "finch",
    "fox", "gull", "hare", "hawk", "heron", "ibis", "jay", "kite", "lark", "lynx", "marten",
    "mole", "otter", "owl", "panda", "puffin", "raven", "robin", "seal", "stork", "swan", "wren",
];

/// A name for a node: always the same one, not unique.
#[must_use]
pub fn petname(node: &NodeId) -> String {
    let Hash([first, second, ..]) = Hash::of(&node.0);
    let pick = |words: &'static [&'static str; 32], byte: u8| {
        words.get(usize::from(byte & 31)).copied().unwrap_or("weft")
    };
    format!("{}-{}", pick(&ADJECTIVES, first), pick(&ANIMALS, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_always_gets_the_same_name_and_it_is_an_allowed_one() {
        assert_eq!(petname(&NodeId([1; 32])), petname(&NodeId([1; 32])));
        for byte in 0..=255 {
            assert!(protocol::wire::is_name(&petname(&NodeId([byte; 32]))));
        }
    }
}
