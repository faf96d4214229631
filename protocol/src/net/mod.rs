//! libp2p plumbing that `weft` and `weft-bootstrap` have in common.
//!
//! [`Codec`] carries canonical values over request-response, [`Gated`] keeps strangers out of a behaviour,
//! [`tcp_quic`] and [`swarm`] build what both programs listen with, inside the limits of this module.

mod budget;
mod codec;
mod gated;
mod hang_up;
mod ids;
mod kademlia;
mod transport;

pub use budget::{Budget, IN_FLIGHT_BYTES_MAX, Permit};
pub use codec::{Asked, Codec, Flaw};
pub use gated::Gated;
pub use hang_up::hang_up;
pub use ids::{from_peer_id, keypair, to_peer_id};
pub use kademlia::{Kademlia, kademlia};
#[cfg(any(test, feature = "testing"))]
pub use transport::memory;
pub use transport::{
    BoxedTransport, ConnectionLimits, IDLE_TIMEOUT, TransportError, connection_limits, identify,
    memory_limits, ping, swarm, tcp_quic,
};
