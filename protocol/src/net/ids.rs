//! The names of nodes and libp2p's names for them.

use libp2p::{PeerId, identity::Keypair};

use crate::{ids::NodeId, keys::SecretKey};

/// How a peer id of an Ed25519 key begins (`peer-ids/peer-ids.md` of the libp2p specifications).
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The peer id of a node.
#[must_use]
#[expect(clippy::expect_used, reason = "an identity multihash of 36 bytes is always a peer id")]
pub fn to_peer_id(node: &NodeId) -> PeerId {
    PeerId::from_bytes(&[PREFIX.as_slice(), &node.0].concat())
        .expect("an identity multihash of 36 bytes")
}

/// The node behind a peer id; nothing if its key is not an Ed25519 key.
#[must_use]
pub fn from_peer_id(peer: &PeerId) -> Option<NodeId> {
    let bytes = peer.to_bytes();
    bytes.strip_prefix(PREFIX.as_slice())?.try_into().map(NodeId).ok()
}

/// A node's key as libp2p wants it.
#[must_use]
#[expect(clippy::expect_used, reason = "every seed of 32 bytes is an Ed25519 key")]
pub fn keypair(key: &SecretKey) -> Keypair {
    Keypair::ed25519_from_bytes(key.seed()).expect("every seed of 32 bytes is an Ed25519 key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_and_its_peer_have_one_name() {
        let key = SecretKey::from_seed(&[3; 32]);
        let peer = keypair(&key).public().to_peer_id();
        assert_eq!(to_peer_id(&key.node()), peer);
        assert_eq!(from_peer_id(&peer), Some(key.node()));
        assert_eq!(peer.to_string(), key.node().to_string());
    }

    #[test]
    fn a_peer_with_another_kind_of_key_is_no_node() {
        let hashed =
            PeerId::from_multihash(libp2p::multihash::Multihash::wrap(0x12, &[7; 32]).unwrap())
                .unwrap();
        assert_eq!(from_peer_id(&hashed), None);
    }
}
