//! Signatures. What was not verified cannot be used.
//!
//! A statement is encoded once, by whoever signs it; those bytes travel, are stored and are hashed as they are.
//! The signed message is `"WEFTSIG1" ‖ domain (u16) ‖ mesh id ‖ length (u32) ‖ payload`, little-endian
//! (`docs/protocol.md`, "Signed statements").

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Canonical, DecodeError, decode, encode},
    ids::{Hash, MeshId},
    keys::{self, SecretKey},
};

/// The version of the envelope.
const ENVELOPE_VERSION: u8 = 1;
/// Begins every signed message, so that it is never a message of another protocol.
const MAGIC: &[u8; 8] = b"WEFTSIG1";

/// What a signature is about. A number never changes its meaning; the table is in `docs/protocol.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Domain {
    /// The founding statement of a mesh.
    Genesis = 1,
    /// A submitter allows a job and its budget.
    JobAuthorization = 2,
    /// The leader assigns tasks to a worker.
    LeaseBatch = 3,
    /// A worker claims results.
    ReceiptBatch = 4,
    /// A node says what it has to offer.
    Advert = 5,
    /// A node asks to join.
    Enrollment = 6,
    /// An owner says that a node is theirs.
    OwnerConsent = 7,
    /// An operator admits or refuses a node.
    NodeDecision = 8,
    /// An owner moves credits.
    Transfer = 9,
    /// A submitter gives a job up.
    JobCancel = 10,
    /// The leader settles a batch of results.
    SettlementBatch = 11,
    /// An owner lets a node act for them.
    Delegation = 12,
    /// A node changes its key.
    KeyRotation = 13,
    /// An operator labels a node.
    NodeLabels = 14,
    /// An operator invites whoever holds a secret.
    InviteTerms = 15,
    /// A node shows that it holds the secret of an invite.
    InviteUse = 16,
    /// An operator takes an invite back.
    InviteRevoke = 17,
    /// An operator or an owner tells a node what to do.
    NodeOrder = 24,
}

/// A statement that is signed under its own domain.
pub trait Signable: Canonical {
    /// Which statement it is.
    const DOMAIN: Domain;
}

/// A signed statement as bytes: what travels and what is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    version: u8,
    domain: u16,
    mesh: MeshId,
    signer: [u8; 32],
    payload: Vec<u8>,
    #[serde(with = "bytes64")]
    signature: [u8; 64],
}

impl Canonical for Envelope {
    const BYTES_MAX: usize = crate::limits::ENVELOPE_BYTES_MAX;
}

impl Envelope {
    /// The hash that names this statement.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&encode(self))
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope(domain {}, {} bytes)", self.domain, self.payload.len())
    }
}

/// A statement as it came from somewhere: a claim.
pub struct Signed<T> {
    envelope: Envelope,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self { envelope: self.envelope.clone(), kind: PhantomData }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.envelope == other.envelope
    }
}

impl<T> Eq for Signed<T> {}

impl<T> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.envelope.fmt(f)
    }
}

impl<T> Serialize for Signed<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.envelope.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Signed<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { envelope: Envelope::deserialize(deserializer)?, kind: PhantomData })
    }
}

impl<T> Canonical for Signed<T> {
    const BYTES_MAX: usize = crate::limits::ENVELOPE_BYTES_MAX;
}

/// A claim whose signature was checked. The only ways to get one are to check and to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    claim: T,
    signer: [u8; 32],
    signed: Signed<T>,
}

/// Why a signed statement is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// An envelope of a version that this build does not know.
    #[error("unknown envelope version {0}")]
    Version(u8),
    /// A statement of another kind.
    #[error("signed as statement {found}, not as {expected:?}")]
    Domain {
        /// What was expected.
        expected: Domain,
        /// The number in the envelope.
        found: u16,
    },
    /// A statement for another mesh.
    #[error("signed for another mesh")]
    Mesh,
    /// The signature does not match.
    #[error("the signature does not match")]
    Signature,
    /// The payload is not a statement.
    #[error("the signed bytes are malformed")]
    Payload(#[source] DecodeError),
}

impl<T: Signable> Signed<T> {
    /// Signs a claim for one mesh.
    #[must_use]
    pub fn sign(claim: &T, mesh: MeshId, key: &SecretKey) -> Self {
        let payload = encode(claim);
        let signature = key.sign(&message(T::DOMAIN as u16, &mesh, &payload));
        let envelope = Envelope {
            version: ENVELOPE_VERSION,
            domain: T::DOMAIN as u16,
            mesh,
            signer: key.public(),
            payload,
            signature,
        };
        Self { envelope, kind: PhantomData }
    }

    /// Checks that the claim was signed, as this kind of statement, for this mesh.
    ///
    /// Says nothing about whether the signer may claim it: that is the caller's question.
    ///
    /// # Errors
    ///
    /// See [`VerifyError`].
    pub fn verify(self, mesh: &MeshId) -> Result<Verified<T>, VerifyError> {
        let envelope = &self.envelope;
        if envelope.version != ENVELOPE_VERSION {
            return Err(VerifyError::Version(envelope.version));
        }
        if envelope.domain != T::DOMAIN as u16 {
            return Err(VerifyError::Domain { expected: T::DOMAIN, found: envelope.domain });
        }
        if envelope.mesh != *mesh {
            return Err(VerifyError::Mesh);
        }
        let claim = decode(&envelope.payload).map_err(VerifyError::Payload)?;
        let message = message(envelope.domain, mesh, &envelope.payload);
        if !keys::verify(&envelope.signer, &message, &envelope.signature) {
            return Err(VerifyError::Signature);
        }
        Ok(Verified { claim, signer: envelope.signer, signed: self })
    }

    /// What is claimed, unchecked: for statements that were checked before they were stored.
    ///
    /// # Errors
    ///
    /// If the payload is not this kind of statement.
    pub fn peek(&self) -> Result<T, DecodeError> {
        decode(&self.envelope.payload)
    }
}

impl<T> Signed<T> {
    /// The bytes of the statement.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The hash that names this statement.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.envelope.hash()
    }

    /// The key that is said to have signed it. Unchecked.
    #[must_use]
    pub const fn claimed_signer(&self) -> &[u8; 32] {
        &self.envelope.signer
    }
}

impl<T> Verified<T> {
    /// What is claimed.
    pub const fn claim(&self) -> &T {
        &self.claim
    }

    /// The public key that claims it.
    pub const fn signer(&self) -> &[u8; 32] {
        &self.signer
    }

    /// The statement as it was signed.
    pub const fn signed(&self) -> &Signed<T> {
        &self.signed
    }

    /// Takes the claim out.
    pub fn into_claim(self) -> T {
        self.claim
    }
}

fn message(domain: u16, mesh: &MeshId, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(payload.len().saturating_add(46));
    message.extend_from_slice(MAGIC);
    message.extend_from_slice(&domain.to_le_bytes());
    message.extend_from_slice(&mesh.0);
    message.extend_from_slice(&length.to_le_bytes());
    message.extend_from_slice(payload);
    message
}

/// serde knows arrays up to 32.
mod bytes64 {
    use std::fmt;

    use serde::{
        Deserializer, Serializer,
        de::{Error as _, SeqAccess, Visitor},
        ser::SerializeTuple as _,
    };

    pub(super) fn serialize<S: Serializer>(
        bytes: &[u8; 64],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(64)?;
        for byte in bytes {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 64], D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = [u8; 64];

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 bytes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<[u8; 64], A::Error> {
                let mut bytes = [0; 64];
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte =
                        seq.next_element()?.ok_or_else(|| A::Error::invalid_length(at, &self))?;
                }
                Ok(bytes)
            }
        }
        deserializer.deserialize_tuple(64, Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Pay(u64);
    impl Canonical for Pay {
        const BYTES_MAX: usize = 8;
    }
    impl Signable for Pay {
        const DOMAIN: Domain = Domain::Transfer;
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Cancel(u64);
    impl Canonical for Cancel {
        const BYTES_MAX: usize = 8;
    }
    impl Signable for Cancel {
        const DOMAIN: Domain = Domain::JobCancel;
    }

    const MESH: MeshId = MeshId([5; 32]);

    fn signed() -> Signed<Pay> {
        Signed::sign(&Pay(1), MESH, &SecretKey::from_seed(&[7; 32]))
    }

    #[test]
    fn a_signed_claim_is_believed() {
        let verified = signed().verify(&MESH).unwrap();
        assert_eq!(*verified.claim(), Pay(1));
        assert_eq!(*verified.signer(), SecretKey::from_seed(&[7; 32]).public());
    }

    #[test]
    fn a_changed_claim_is_refused() {
        let mut signed = signed();
        signed.envelope.payload = encode(&Pay(1_000));
        assert_eq!(signed.verify(&MESH).unwrap_err(), VerifyError::Signature);
    }

    #[test]
    fn a_claim_for_another_mesh_is_refused_also_when_relabelled() {
        let other = MeshId([6; 32]);
        assert_eq!(signed().verify(&other).unwrap_err(), VerifyError::Mesh);
        let mut relabelled = signed();
        relabelled.envelope.mesh = other;
        assert_eq!(relabelled.verify(&other).unwrap_err(), VerifyError::Signature);
    }

    #[test]
    fn a_signature_on_one_kind_of_statement_is_none_on_another() {
        let bytes = encode(&signed());
        let other: Signed<Cancel> = decode(&bytes).unwrap();
        assert_eq!(
            other.verify(&MESH).unwrap_err(),
            VerifyError::Domain { expected: Domain::JobCancel, found: Domain::Transfer as u16 }
        );
        let mut relabelled: Signed<Cancel> = decode(&bytes).unwrap();
        relabelled.envelope.domain = Domain::JobCancel as u16;
        assert_eq!(relabelled.verify(&MESH).unwrap_err(), VerifyError::Signature);
    }
}
