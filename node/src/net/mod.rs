//! The node on the network: one task owns the libp2p swarm, everybody else holds a [`NetHandle`].
//!
//! ```text
//! NetHandle ──Command (64, the caller waits)──▶ NetTask { Swarm<Behaviour>, Redial, Exchanges } ──Inbound──▶ node
//!                                                 ▲                                                           │
//!                                                 └────────────── Responder (one per request) ◀───────────────┘
//! ```
//!
//! Four things stand between the network and the node, in this order: `accept` rations handshakes by address;
//! `door` lets peers in, few strangers at a time and nobody who is blocked or banned; a
//! [`Gated`](protocol::net::Gated) behaviour keeps everything but `identify`, `ping`, hello and enrolment for approved
//! members; quotas and a [`Budget`](protocol::net::Budget) bound what those who are in may ask. What peers do wrong is
//! counted by [`core::reputation`](crate::core::reputation).
//!
//! # Invariants
//!
//! 1. The task never waits for anybody: what the node does not take at once is refused as busy, gossip is ignored.
//! 2. Every request that came in is answered exactly once or its stream is closed.
//! 3. Whatever a remote can make us hold has a bound, in [`NetConfig`] or in the constants of these modules.
//! 4. No message of the mesh's own protocols reaches the node unless its sender is in the member list.

mod accept;
pub mod bans;
mod behaviour;
mod blobs;
mod config;
mod door;
mod event_loop;
mod exchange;
mod gossip;
mod group;
mod handle;
mod inbound;
mod kept;
mod mdns;
mod metrics;
mod paced;
mod peers;
pub mod redial;
pub mod remember;
mod strangers;
mod streams;

pub use blobs::{BlobSink, BlobSource, FetchError, Fetched, OpenBlob, ServeError, fetch, serve};
pub use config::{MeshSetup, NetConfig, Roll};
pub use event_loop::{Net, NetError, NetTask, start};
pub use group::{Bulk, GroupPeers, serve_group};
pub use handle::{ConnectError, NetHandle, PublishError, RpcError};
pub use inbound::{AdvertVerdict, Inbound, Judge, Responder};
pub use kept::KeptError;
pub use peers::{PeerInfo, PeerPath};

/// A stream on which blobs are asked for and sent: a [`libp2p::Stream`], with `futures`' `AsyncRead` and
/// `AsyncWrite`.
pub type BlobStream = libp2p::Stream;
