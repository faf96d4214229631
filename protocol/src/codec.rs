//! The one canonical encoding: equal values, equal bytes.
//!
//! bincode 2.0.1 in its `legacy` configuration: little-endian, fixed-width integers, 64-bit lengths; the bytes
//! of bincode 1.3 `fixint`. Three checks make it canonical, and are why nothing else may call bincode:
//!
//! 1. a limit per type, so that a length prefix cannot allocate the machine away (RUSTSEC-2025-0141);
//! 2. every byte is consumed;
//! 3. encoding what was decoded gives the same bytes.

use serde::{Serialize, de::DeserializeOwned};

/// The largest message there is, in bytes. Types have smaller limits of their own.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Something with a canonical encoding of at most [`Self::BYTES_MAX`] bytes.
///
/// Only integers, `bool`, byte arrays, `Vec`, `Option`, `String`, C-like and data enums, and structs of those:
/// no maps, no floats, no `usize`, no zero-sized elements.
pub trait Canonical: Serialize + DeserializeOwned {
    /// No encoding is longer, in bytes.
    const BYTES_MAX: usize;
}

/// Bytes are not the canonical encoding of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Longer than the type allows.
    #[error("{found} bytes, but the limit is {limit}")]
    TooLong {
        /// How long it is.
        found: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Not an encoding of this type.
    #[error("not an encoding of this type")]
    Malformed,
    /// Bytes are left over.
    #[error("{left} bytes are left over")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
    /// Another encoding of the same value exists, and that one is the right one.
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// Encodes a value.
///
/// # Panics
///
/// If the encoding is longer than [`Canonical::BYTES_MAX`]: whoever builds a value keeps its parts within
/// their limits, so this is a bug, not an input.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "in-memory encoding of these types fails only if the limit is broken"
)]
pub fn encode<T: Canonical>(value: &T) -> Vec<u8> {
    try_encode(value).expect("the value keeps its own limit")
}

/// Encodes a value, or says that it is too long: for values whose size a person chose.
///
/// # Errors
///
/// [`DecodeError::TooLong`] if the encoding is longer than [`Canonical::BYTES_MAX`].
pub fn try_encode<T: Canonical>(value: &T) -> Result<Vec<u8>, DecodeError> {
    #[expect(clippy::disallowed_methods, reason = "the one place that calls bincode")]
    let bytes = bincode::serde::encode_to_vec(value, bincode::config::legacy())
        .map_err(|_| DecodeError::Malformed)?;
    if bytes.len() > T::BYTES_MAX {
        return Err(DecodeError::TooLong { found: bytes.len(), limit: T::BYTES_MAX });
    }
    Ok(bytes)
}

/// Decodes a value from exactly its canonical bytes.
///
/// # Errors
///
/// See [`DecodeError`]. Never allocates more than a small multiple of [`Canonical::BYTES_MAX`].
pub fn decode<T: Canonical>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > T::BYTES_MAX {
        return Err(DecodeError::TooLong { found: bytes.len(), limit: T::BYTES_MAX });
    }
    let (value, consumed) = decode_limited::<T>(bytes)?;
    if consumed != bytes.len() {
        return Err(DecodeError::TrailingBytes { left: bytes.len().saturating_sub(consumed) });
    }
    if try_encode(&value)? != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(value)
}

/// bincode's limit is a type parameter; these steps bound the allocation at most fourfold above `BYTES_MAX`.
fn decode_limited<T: Canonical>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    macro_rules! with_limit {
        ($limit:literal) => {{
            #[expect(clippy::disallowed_methods, reason = "the one place that calls bincode")]
            let decoded = bincode::serde::decode_from_slice(
                bytes,
                bincode::config::legacy().with_limit::<$limit>(),
            );
            decoded.map_err(|_| DecodeError::Malformed)
        }};
    }
    match bytes.len() {
        0..=4_096 => with_limit!(16_384),
        4_097..=65_536 => with_limit!(262_144),
        65_537..=1_048_576 => with_limit!(4_194_304),
        _ => with_limit!(67_108_864),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Sample {
        number: u32,
        flag: bool,
        bytes: Vec<u8>,
        text: Option<String>,
    }

    impl Canonical for Sample {
        const BYTES_MAX: usize = 4_096;
    }

    #[test]
    fn the_bytes_are_little_endian_and_fixed_width() {
        let sample = Sample { number: 258, flag: true, bytes: vec![9], text: None };
        assert_eq!(encode(&sample), [2, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0]);
    }

    #[test]
    fn a_length_prefix_cannot_allocate_the_machine_away() {
        let mut bomb = vec![0, 0, 0, 0, 0];
        bomb.extend((1_u64 << 60).to_le_bytes());
        assert_eq!(decode::<Sample>(&bomb), Err(DecodeError::Malformed));
        assert_eq!(
            decode::<Sample>(&[0; 5_000]),
            Err(DecodeError::TooLong { found: 5_000, limit: 4_096 })
        );
    }

    #[test]
    fn bytes_that_are_left_over_are_refused() {
        let mut bytes = encode(&Sample { number: 1, flag: false, bytes: vec![], text: None });
        bytes.push(0);
        assert_eq!(decode::<Sample>(&bytes), Err(DecodeError::TrailingBytes { left: 1 }));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(number: u32, flag: bool, bytes: Vec<u8>, text: Option<String>) {
            let sample = Sample { number, flag, bytes, text };
            if let Ok(bytes) = try_encode(&sample) {
                prop_assert_eq!(decode::<Sample>(&bytes), Ok(sample));
            }
        }

        #[test]
        fn whatever_decodes_is_canonical(bytes in prop::collection::vec(0..4_u8, 0..64)) {
            if let Ok(sample) = decode::<Sample>(&bytes) {
                prop_assert_eq!(encode(&sample), bytes);
            }
        }
    }
}
