//! Reads the state: what came of the commands, as the API shows it.
//!
//! Every function is pure over [`Records`] and bounded: lists take a limit, which is cut to
//! [`LIST_ITEMS_MAX`]. What only a leader knows (leases, liveness, adverts)
//! is left at its neutral value for the caller to fill in. Read several things of one instant from one
//! snapshot of the records.

mod jobs;
mod mesh;
mod money;
mod receipts;
mod tasks;

use protocol::limits::LIST_ITEMS_MAX;

pub(crate) use self::mesh::invite_records;
pub use self::{
    jobs::{job, job_ids, jobs, open_jobs, terms},
    mesh::{MeshFacts, Roster, ended_keys, invites, mesh, node, nodes, roster},
    money::{account, balance, history},
    receipts::{UnsignedProof, receipt_proof, receipts},
    tasks::{PendingTasks, TaskRow, pending_tasks, tasks},
};
use super::record::Row;
use crate::records::{ReadError, Records};

/// Reads one record.
pub(crate) fn get<T: Row>(
    records: &(impl Records + ?Sized),
    key: &[u8],
) -> Result<Option<T>, ReadError> {
    records.get(T::TABLE, key)?.map(|bytes| T::from_bytes(&bytes)).transpose()
}

/// As many as a list may have.
fn bounded(limit: u32) -> usize {
    usize::try_from(limit.min(LIST_ITEMS_MAX)).unwrap_or(usize::MAX)
}
