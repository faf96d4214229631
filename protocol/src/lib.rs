//! What nodes of a mesh say to each other, and the few ideas they share.
//!
//! Nothing here reads a clock, opens a socket or draws entropy. The feature `net` adds the libp2p plumbing
//! that `weft` and `weft-bootstrap` have in common; everything else is values, their canonical bytes and
//! their signatures. `docs/protocol.md` is the normative description; wire types name its sections.
//!
//! # Invariants
//!
//! 1. Equal values have equal bytes, on every machine ([`codec`]).
//! 2. A signature on one kind of statement never passes for another, nor in another mesh ([`sign`]).
//! 3. Every size a stranger can choose has its maximum in [`limits`].

pub mod batch;
pub mod bech32m;
pub mod code;
pub mod codec;
pub mod ids;
pub mod invite;
pub mod keys;
pub mod limits;
pub mod machine;
pub mod mdns;
pub mod merkle;
pub mod names;
#[cfg(feature = "net")]
pub mod net;
pub mod outcome;
pub mod price;
pub mod reject;
pub mod sign;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod units;
pub mod wire;
