//! Several replicas that are one group: elections, faults, membership.

#![cfg(feature = "replica")]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do, and members are shared while they come and go"
)]

mod cluster;
mod durability;
mod elections;
mod faults;
mod growth;
mod random;
