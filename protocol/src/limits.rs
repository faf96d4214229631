//! Every size that somebody else can choose, and how large it may be.
//!
//! What happens when one is reached: a decoder returns an error and the sender is told or penalised; nothing is
//! truncated. The table is in `docs/protocol.md`.

use std::time::Duration;

use crate::units::{Fuel, Pages};

/// A signed statement, in bytes. A job's specification travels beside its authorization, not inside it.
pub const ENVELOPE_BYTES_MAX: usize = 16 * 1024;
/// Items under one signature.
pub const BATCH_ITEMS_MAX: usize = 200;
/// A gossip message, in bytes.
pub const GOSSIP_BYTES_MAX: usize = 1024;
/// A request or response of the control protocols, in bytes.
pub const RPC_BYTES_MAX: usize = 1024 * 1024;
/// A request or response before membership, in bytes.
pub const STRANGER_BYTES_MAX: usize = 4 * 1024;
/// An answer to a stranger who was admitted, in bytes: carries Genesis and the members.
pub const ADMISSION_BYTES_MAX: usize = 256 * 1024;
/// A job's specification, in bytes.
pub const JOB_SPEC_BYTES_MAX: usize = 64 * 1024;
/// Tasks in one job.
pub const JOB_TASKS_MAX: u32 = 1_000_000;
/// Jobs that one mesh keeps open at a time.
pub const OPEN_JOBS_MAX: u32 = 10_000;
/// A node's, job's or mesh's name, in bytes.
pub const NAME_BYTES_MAX: usize = 63;
/// A task's input name, in bytes: a relative path.
pub const PATH_BYTES_MAX: usize = 1024;
/// Labels of a node.
pub const TAGS_MAX: usize = 32;
/// One label, in bytes.
pub const TAG_BYTES_MAX: usize = 64;
/// What an operator writes beside a decision, in bytes.
pub const NOTE_BYTES_MAX: usize = 256;
/// Invites that one mesh keeps.
pub const INVITES_MAX: usize = 256;
/// Nodes that one invite lets in, at most.
pub const INVITE_USES_MAX: u16 = 256;
/// Nodes in one mesh.
pub const NODES_MAX: usize = 4_096;
/// Nodes that members are told not to let in; those that were blocked longest ago are left out.
pub const BLOCKED_MAX: usize = 1_024;
/// Addresses of one node.
pub const ADDRESSES_MAX: usize = 8;
/// One address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Inputs described by one page of a manifest.
pub const PAGE_INPUTS_MAX: usize = 1_024;
/// One page of a manifest, in bytes.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// The description of a reducing task's input, in bytes: about 500,000 outputs.
pub const REDUCE_INPUT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// An input up to this size lies in its manifest's page, in bytes; a larger one is a blob.
pub const INLINE_INPUT_BYTES_MAX: usize = 512;
/// An output blob up to this size travels with the result, in bytes; a larger one is fetched.
pub const INLINE_OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// Files that one task may leave in `/out`.
pub const OUTPUT_FILES_MAX: usize = 1_024;
/// A module, in bytes.
pub const MODULE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Attempts at one task that ended without a verifiable outcome.
pub const ATTEMPTS_MAX: u8 = 3;
/// Times that one task may be handed to a worker, whatever came of it.
pub const DISPATCHES_MAX: u16 = 6;
/// Items in one page of a listing.
pub const LIST_ITEMS_MAX: u32 = 500;

/// Fuel of a task unless the job says otherwise.
pub const TASK_FUEL_DEFAULT: Fuel = Fuel(2_000_000_000);
/// The most fuel that a task may ask for.
pub const TASK_FUEL_MAX: Fuel = Fuel(4_000_000_000_000);
/// Memory of a task unless the job says otherwise: 128 MiB.
pub const TASK_MEMORY_DEFAULT: Pages = Pages(2_048);
/// The most memory that a task may ask for: 4 GiB.
pub const TASK_MEMORY_MAX: Pages = Pages(65_536);
/// Wall-clock time of a task unless the job says otherwise.
pub const TASK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// The longest wall-clock time that a task may ask for.
pub const TASK_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Output of a task, all of it together, unless the job says otherwise, in bytes.
pub const TASK_OUTPUT_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
/// The most output that a task may ask for, in bytes.
pub const TASK_OUTPUT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How long an invite is good for unless its sponsor says otherwise.
pub const INVITE_TTL_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
/// The longest that an invite may be good for.
pub const INVITE_TTL_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long a node's old key is good beside its new one.
pub const KEY_GRACE: Duration = Duration::from_secs(48 * 3_600);
/// How long an unreported lease is good for.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How often a worker tells the leader that it is alive.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// How long after its connection closed a worker's tasks are given to others.
pub const CLOSED_GRACE: Duration = Duration::from_secs(2);
/// Not heard from for this long: suspect.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(15);
/// Not heard from for this long: offline.
pub const OFFLINE_AFTER: Duration = Duration::from_secs(30);
/// The first delay before a task is tried again; it doubles.
pub const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long a job may wait and run before what is left of it expires.
pub const JOB_TTL_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
/// The longest that a job may ask for.
pub const JOB_TTL_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
