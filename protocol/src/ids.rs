//! Names of things. Each kind has a type, so that two kinds cannot be swapped by accident.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A text is not an id of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}")]
pub struct BadId {
    /// What was expected, for people.
    pub kind: &'static str,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The first eight digits, for people.
            #[must_use]
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(8);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.short())
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| BadId { kind: $kind })?;
                Ok(Self(bytes))
            }
        }
    };
}

hex_id!(
    /// The BLAKE3 hash of some content: a module, an input, an output.
    Hash, 32, "content hash (64 hex digits)"
);
hex_id!(
    /// A mesh: the BLAKE3 hash of its signed Genesis statement.
    MeshId, 32, "mesh id (64 hex digits)"
);
hex_id!(
    /// A job: random, chosen by its submitter, inside the signed authorization.
    JobId, 16, "job id (32 hex digits)"
);
hex_id!(
    /// A batch of leases: random, chosen by the leader.
    LeaseId, 16, "lease id (32 hex digits)"
);
hex_id!(
    /// A request to change the replicated state: chosen by whoever makes it, so that retries are recognised.
    RequestId, 16, "request id (32 hex digits)"
);
hex_id!(
    /// An invite: random, chosen by whoever makes it.
    InviteId, 16, "invite id (32 hex digits)"
);

impl Hash {
    /// The hash of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }
}

impl MeshId {
    /// The part of it that protocol names carry: the first 16 hex digits.
    #[must_use]
    pub fn id16(&self) -> String {
        let mut text = self.to_string();
        text.truncate(16);
        text
    }
}

/// A node: its Ed25519 public key. Shown as the libp2p peer id of that key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub [u8; 32]);

/// How the multihash of an Ed25519 key begins: identity hash, 36 bytes, protobuf {type: Ed25519, 32 bytes}.
/// libp2p specification `peer-ids/peer-ids.md`.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl NodeId {
    /// The last eight characters of the peer id: all Ed25519 peer ids begin alike.
    #[must_use]
    pub fn short(&self) -> String {
        let text = self.to_string();
        text.get(text.len().saturating_sub(8)..).unwrap_or_default().to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode([PEER_ID_PREFIX.as_slice(), &self.0].concat()).into_string())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.short())
    }
}

impl FromStr for NodeId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId { kind: "peer id (12D3KooW…)" };
        let bytes = bs58::decode(text).into_vec().map_err(|_| bad)?;
        let key = bytes.strip_prefix(PEER_ID_PREFIX.as_slice()).ok_or(bad)?;
        key.try_into().map(Self).map_err(|_| bad)
    }
}

/// An account: an owner's Ed25519 public key, or one of the ledger's own ([`AccountId::system`]).
///
/// The ledger's own accounts are names, not keys: thirty-two bytes that decode to no curve point that anyone
/// has the secret of, so nobody can sign for them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub [u8; 32]);

impl AccountId {
    /// An account of the ledger itself. The name takes at most 24 bytes.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "bounds asserted; runs at compile time"
    )]
    pub const fn system(name: &[u8]) -> Self {
        assert!(name.len() <= 24, "a system account's name is at most 24 bytes");
        let mut bytes = [0; 32];
        let prefix = b"weft/sys";
        let mut at = 0;
        while at < prefix.len() {
            bytes[at] = prefix[at];
            at += 1;
        }
        let mut from = 0;
        while from < name.len() {
            bytes[at] = name[from];
            at += 1;
            from += 1;
        }
        Self(bytes)
    }

    /// Whether it is an account of the ledger itself.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0.starts_with(b"weft/sys")
    }

    /// The first eight digits, for people; the name for the ledger's own accounts.
    #[must_use]
    pub fn short(&self) -> String {
        let text = self.to_string();
        if self.is_system() { text } else { text.chars().take(8).collect() }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.strip_prefix(b"weft/sys".as_slice()) {
            Some(name) => {
                let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
                write!(f, "system:{}", String::from_utf8_lossy(&name))
            }
            None => f.write_str(&hex::encode(self.0)),
        }
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for AccountId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        if let Some(name) = text.strip_prefix("system:").filter(|name| name.len() <= 24) {
            return Ok(Self::system(name.as_bytes()));
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| BadId { kind: "account (64 hex digits)" })?;
        Ok(Self(bytes))
    }
}

/// A task of a job, counted from zero. The reducing task of a job with one has the index after the last.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TaskIndex(pub u32);

impl fmt::Display for TaskIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A receipt is found by the task it is for: shown as `r-<job>-<task>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReceiptId {
    /// The job.
    pub job: JobId,
    /// The task in it.
    pub task: TaskIndex,
}

impl fmt::Display for ReceiptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r-{}-{}", self.job, self.task)
    }
}

impl FromStr for ReceiptId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId { kind: "receipt id (r-<job>-<task>)" };
        let (job, task) =
            text.strip_prefix("r-").and_then(|rest| rest.split_once('-')).ok_or(bad)?;
        Ok(Self { job: job.parse()?, task: TaskIndex(task.parse().map_err(|_| bad)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_reads_like_a_libp2p_peer_id() {
        let node = NodeId([7; 32]);
        let text = node.to_string();
        assert!(text.starts_with("12D3KooW"), "{text}");
        assert_eq!(text.parse(), Ok(node));
        assert_eq!("12D3KooW".parse::<NodeId>(), Err(BadId { kind: "peer id (12D3KooW…)" }));
    }

    #[test]
    fn a_system_account_shows_its_name() {
        let fees = AccountId::system(b"fees");
        assert_eq!(fees.to_string(), "system:fees");
        assert_eq!("system:fees".parse(), Ok(fees));
        assert!(!AccountId([1; 32]).is_system());
    }

    #[test]
    fn a_receipt_id_survives_its_text() {
        let id = ReceiptId { job: JobId([0xab; 16]), task: TaskIndex(17) };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("r-12-0".parse::<ReceiptId>().is_err());
    }
}
