//! The shell around the state machine: a log that a group agrees on, and records that survive.
//!
//! A [`Proposal`] is stamped with the leader's time and appended to the Raft log (openraft). Once it is durable
//! on a majority it is committed, and [`state::apply`](crate::state::apply) computes what it changes; the
//! changes and the position in the log are written in one batch, so neither can be without the other. All of it
//! lies in one RocksDB instance with one write-ahead log: recovery gives a prefix of what was written, and in no
//! prefix are the records ahead of the log.
//!
//! Everybody else sees [`Consensus`] only. Which library orders the log is a private matter of this module.
//!
//! # Invariants
//!
//! 1. An answer is given only after the log entry that it answers is synced.
//! 2. A vote is synced before it is told.
//! 3. Completions of log writes are reported in the order of the writes.
//! 4. Nothing from another node reaches Raft before it is known to be from the member that it speaks for.
//! 5. What cannot be written or read stops the replica: going on could be wrong ([`Fatal`]).
//!
//! # What it does not do
//!
//! It does not know what a connection is: messages between members leave through [`Peers`] and arrive at
//! [`Replica::receive`]. It decides nothing about credits, jobs or nodes.

mod acknowledge;
mod config;
mod consensus;
mod directory;
mod disk;
mod examine;
mod fault;
mod flush;
mod group;
mod incoming;
mod leadership;
mod log;
#[cfg(any(test, feature = "testing"))]
mod lossy;
mod machine;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod network;
mod peers;
mod promise;
mod raft;
mod receive;
mod service;
mod snapshot;
mod store;
#[cfg(test)]
mod suite;
mod wire;
mod worker;

pub use acknowledge::ReplyDurability;
pub use config::{ReplicaConfig, Timers};
pub use consensus::{
    AppliedEvents, Clock, Consensus, GroupStatus, Leadership, MemberRole, MemberStatus, Proposal,
    ProposeError,
};
pub use directory::OpenError;
pub use examine::{ExamineError, Examined, Inspected, examine, inspect};
pub use fault::Fatal;
pub use group::{Admission, ChangeError, Group, GroupChange, GroupMember};
#[cfg(any(test, feature = "testing"))]
pub use lossy::{Faults, LossyNetwork};
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryConsensus;
pub use peers::{Lane, NoPeers, PeerError, Peers};
pub use service::{Replica, Start};
#[cfg(feature = "testing")]
pub(crate) use wire::Request;
pub use wire::{FRAME_BYTES_MAX, Refusal};
