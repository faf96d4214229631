//! The two keys of a node: its own, which is its peer id, and its owner's, which is an account.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::ids::{AccountId, NodeId};

/// A secret Ed25519 key. Never printed; wiped when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key with this seed, which the shell draws from the operating system.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for the key file and for libp2p. Keep it as short as possible.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public part.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The public part as the name of a node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.public())
    }

    /// The public part as the name of an account.
    #[must_use]
    pub fn account(&self) -> AccountId {
        AccountId(self.public())
    }

    /// Signs a message (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", AccountId(self.public()).short())
    }
}

/// Whether `signature` is `key`'s on `message`, by the strict rules: no small-order keys, no malleable
/// signatures (the crate's plain `verify` accepts forgeries under small-order keys).
#[must_use]
pub fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| {
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    })
}

/// Whether a key may be enrolled: it is a point, and not one of small order.
#[must_use]
pub fn is_sound(key: &[u8; 32]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| !key.is_weak())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_order_key_signs_nothing_and_may_not_enrol() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!is_sound(&identity));
        assert!(!verify(&identity, b"anything", &signature));
    }

    #[test]
    fn no_one_can_sign_for_a_system_account() {
        // Not a proof: but whatever these bytes decode to, they are a name somebody wrote, not a key somebody made.
        let system = AccountId::system(b"issuance");
        assert!(!verify(&system.0, b"mint", &[0; 64]));
    }

    #[test]
    fn a_secret_key_does_not_show_itself() {
        let key = SecretKey::from_seed(&[3; 32]);
        assert!(!format!("{key:?}").contains(&hex::encode([3; 32])));
    }
}
