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
//! 4. What cannot be written or read stops the replica: going on could be wrong ([`Fatal`]).
//!
//! # What it does not do
//!
//! It has no transport yet: the group has one voter. It decides nothing about credits, jobs or nodes.

mod config;
mod consensus;
mod directory;
mod disk;
mod examine;
mod fault;
mod flush;
mod leadership;
mod log;
mod machine;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod network;
mod raft;
mod service;
mod snapshot;
mod store;
#[cfg(test)]
mod suite;
mod worker;

pub use config::{ReplicaConfig, Timers};
pub use consensus::{
    AppliedEvents, Clock, Consensus, GroupStatus, Leadership, MemberRole, MemberStatus, Proposal,
    ProposeError,
};
pub use directory::OpenError;
pub use examine::{ExamineError, Examined, examine};
pub use fault::Fatal;
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryConsensus;
pub use service::Replica;
