//! The replicated truth of a mesh: ledger, queue and registry as one state machine.
//!
//! [`state`] decides and is pure: from the records as they are and one stamped command it computes what changes
//! and what to answer. The feature `replica` adds the shell: RocksDB for the records and the log, openraft for
//! the order, behind the trait `replica::Consensus`.
//!
//! # Invariants
//!
//! I1 Σ debits = Σ credits over all accounts. I2 no user account is below zero. I3 the escrow of a job is its
//! budget less what was captured and refunded, and zero when it has ended. I4 the supply is what was issued.
//! I5 each task is settled at most once. I6 what is captured is at most the signed budget. I7 every entry has
//! its own number. (I8, windows, comes with rewards.)

pub mod checkpoint;
pub mod command;
pub mod membership;
pub mod proof;
pub mod records;
pub mod state;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "replica")]
pub mod replica;
