//! The six digits that people compare before a machine is let in (`docs/protocol.md`, "The code").
//!
//! Both sides choose a number: the node commits to its own before it learns that of the mesh, and reveals it
//! afterwards. Whoever sits between them has to speak to both with a key of its own, and can then choose neither
//! number after seeing the other, so that the two codes agree once in a million attempts.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, MeshId, NodeId};

/// Codes are below this.
const CODES: u32 = 1_000_000;
/// The largest multiple of [`CODES`] that fits: words from it on would favour small codes.
const WORDS: u32 = 4_294_000_000;
const CODE_CONTEXT: &str = "weft 2026 code that people compare";
const COMMITMENT_CONTEXT: &str = "weft 2026 commitment to a code";

/// A random number that one side adds to the code.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub [u8; 32]);

/// The hash by which a node commits to its number before it reveals it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NonceHash(pub [u8; 32]);

/// Six decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(u32);

/// A text is not a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code has six digits, like 417 208")]
pub struct BadCode;

/// Who asks whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties {
    /// The mesh that is asked.
    pub mesh: MeshId,
    /// The node that asks.
    pub node: NodeId,
    /// Its owner.
    pub account: AccountId,
}

impl Nonce {
    /// What a node says before it reveals this number.
    #[must_use]
    pub fn commitment(&self) -> NonceHash {
        NonceHash(blake3::derive_key(COMMITMENT_CONTEXT, &self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may not have been revealed yet.
        f.write_str("Nonce")
    }
}

impl Code {
    /// The code of one request: a function of who asks whom and of both sides' numbers.
    #[must_use]
    pub fn of(parties: &Parties, theirs: &Nonce, ours: &Nonce) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CODE_CONTEXT);
        hasher.update(&parties.mesh.0);
        hasher.update(&parties.node.0);
        hasher.update(&parties.account.0);
        hasher.update(&theirs.0);
        hasher.update(&ours.0);
        let mut bytes = [0; 64];
        hasher.finalize_xof().fill(&mut bytes);
        // A word is thrown away once in 4,000 times, all of them never.
        let words = bytes.chunks_exact(4).map(|word| {
            word.first_chunk().map_or(u32::MAX, |word: &[u8; 4]| u32::from_le_bytes(*word))
        });
        let word = words.into_iter().find(|word| *word < WORDS).unwrap_or(0);
        Self(word.checked_rem(CODES).unwrap_or(0))
    }

    /// The six digits without a space.
    #[must_use]
    pub fn digits(self) -> String {
        format!("{:06}", self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        let (first, last) = digits.split_at(3);
        write!(f, "{first} {last}")
    }
}

impl FromStr for Code {
    type Err = BadCode;

    fn from_str(text: &str) -> Result<Self, BadCode> {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadCode);
        }
        digits.parse().map(Self).map_err(|_| BadCode)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parties() -> Parties {
        Parties { mesh: MeshId([1; 32]), node: NodeId([2; 32]), account: AccountId([3; 32]) }
    }

    #[test]
    fn the_code_of_a_request_is_frozen() {
        let (theirs, ours) = (Nonce([4; 32]), Nonce([5; 32]));
        let code = Code::of(&parties(), &theirs, &ours);
        assert_eq!(code.digits(), "109262");
        assert_eq!(code.to_string().parse(), Ok(code));
    }

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let code = Code(417_208);
        for text in ["417208", "417 208", "417-208", " 417208 "] {
            assert_eq!(text.parse(), Ok(code), "{text}");
        }
        for text in ["", "41720", "4172080", "41720a", "٤١٧٢٠٨", "+17208"] {
            assert_eq!(text.parse::<Code>(), Err(BadCode), "{text}");
        }
        assert_eq!(Code(42).to_string(), "000 042");
    }

    #[test]
    fn codes_are_spread_evenly() {
        // Ten thousand codes over ten tenths: each tenth gets 1,000 give or take six standard deviations (180).
        let mut tenths = [0_u32; 10];
        for number in 0..10_000_u32 {
            let mut ours = [0; 32];
            ours[..4].copy_from_slice(&number.to_le_bytes());
            let code = Code::of(&parties(), &Nonce([9; 32]), &Nonce(ours));
            tenths[(code.0 / 100_000) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (820..1_180).contains(count)), "{tenths:?}");
    }

    proptest! {
        /// Changing any of the five inputs gives another code but for chance; here the chance is one in a million
        /// per case, so the inputs are compared over two codes each.
        #[test]
        fn every_input_counts(part in 0..5_usize, byte in 0..32_usize, flip in 1..=255_u8) {
            let codes = |change: bool| {
                let mut inputs = [[1; 32], [2; 32], [3; 32], [4; 32], [5; 32]];
                if change {
                    inputs[part][byte] ^= flip;
                }
                let [mesh, node, account, theirs, ours] = inputs;
                let parties = Parties {
                    mesh: MeshId(mesh),
                    node: NodeId(node),
                    account: AccountId(account),
                };
                [
                    Code::of(&parties, &Nonce(theirs), &Nonce(ours)),
                    Code::of(&parties, &Nonce(ours), &Nonce(theirs)),
                ]
            };
            prop_assert_ne!(codes(false), codes(true));
        }
    }
}
