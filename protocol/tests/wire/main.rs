//! The bytes of every wire type: frozen, and safe to decode whatever they are.
//!
//! A changed fixture is a changed protocol: other versions no longer understand this one. Where that is meant,
//! `BLESS=1 cargo test -p protocol --test wire` writes the fixtures again, and the diff is what is reviewed.

mod frozen;
mod garbage;
mod limits;
mod samples;
mod views;

use std::fmt::Debug;

use protocol::codec::{self, Canonical, DecodeError};

/// A type with a canonical encoding, and values of it with names.
struct WireType {
    /// As in the source, in lower case with dashes: the name of its fixture.
    name: &'static str,
    /// The longest encoding.
    bytes_max: usize,
    /// One for each variant.
    samples: Vec<(&'static str, Vec<u8>)>,
    /// Decodes, and encodes again what came out.
    round_trip: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
}

/// Encodes samples, having checked that each survives its encoding.
fn wire_type<T: Canonical + PartialEq + Debug>(
    name: &'static str,
    samples: Vec<(&'static str, T)>,
) -> WireType {
    let samples = samples
        .into_iter()
        .map(|(variant, value)| {
            let bytes = codec::encode(&value);
            assert_eq!(codec::decode::<T>(&bytes).as_ref(), Ok(&value), "{name}, {variant}");
            (variant, bytes)
        })
        .collect();
    WireType {
        name,
        bytes_max: T::BYTES_MAX,
        samples,
        round_trip: |bytes| codec::decode::<T>(bytes).map(|value| codec::encode(&value)),
    }
}

/// All of them.
fn all() -> Vec<WireType> {
    let mut types = samples::statements();
    types.extend(samples::messages());
    types.extend(views::conversation());
    types
}
