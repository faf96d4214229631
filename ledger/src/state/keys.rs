//! The keys of the tables. Numbers are big-endian, so that the order of bytes is the order of numbers.

use protocol::{
    ids::{AccountId, JobId, NodeId, RequestId, TaskIndex},
    time::UnixMillis,
};

/// Meta: the end of the ledger.
pub(crate) const HEAD: &[u8] = b"head";
/// Meta: the counters.
pub(crate) const COUNTS: &[u8] = b"counts";
/// Meta: the rules.
pub(crate) const POLICY: &[u8] = b"policy";
/// Stands for all accounts in the order of jobs. Nobody can sign for it.
pub(crate) const EVERYBODY: AccountId = AccountId::system(b"everybody");
/// Ends the key of a job's [terms](super::record::JobTerms).
const TERMS: u8 = 0;
/// Ends the key of a job's [progress](super::record::JobProgress).
const PROGRESS: u8 = 1;

/// Ids: a request.
pub(crate) fn request_id(request: &RequestId) -> Vec<u8> {
    [b"r".as_slice(), &request.0].concat()
}

/// Ids: a job of an account. With the account, so that nobody can use up the ids of others.
pub(crate) fn job_id(account: &AccountId, job: &JobId) -> Vec<u8> {
    [b"j".as_slice(), &account.0, &job.0].concat()
}

/// Ids: a transfer from an account.
pub(crate) fn transfer_id(from: &AccountId, id: &[u8; 16]) -> Vec<u8> {
    [b"t".as_slice(), &from.0, id].concat()
}

/// Entries, Batches: by number.
pub(crate) fn entry(seq: u64) -> Vec<u8> {
    seq.to_be_bytes().to_vec()
}

/// Tree: a complete node.
pub(crate) fn tree(level: u8, index: u64) -> Vec<u8> {
    [[level].as_slice(), &index.to_be_bytes()].concat()
}

/// Jobs: what was agreed.
pub(crate) fn terms(job: &JobId) -> Vec<u8> {
    [job.0.as_slice(), &[TERMS]].concat()
}

/// Jobs: how far it is.
pub(crate) fn progress(job: &JobId) -> Vec<u8> {
    [job.0.as_slice(), &[PROGRESS]].concat()
}

/// Jobs: the job that a key belongs to, where it is the key of its terms.
pub(crate) fn job_of_terms(key: &[u8]) -> Option<JobId> {
    let (job, rest) = key.split_first_chunk()?;
    (rest == [TERMS]).then_some(JobId(*job))
}

/// Tasks: one task.
pub(crate) fn task(job: &JobId, task: TaskIndex) -> Vec<u8> {
    [job.0.as_slice(), &task.0.to_be_bytes()].concat()
}

/// Tasks: the task that a key belongs to.
pub(crate) fn task_of(key: &[u8]) -> Option<TaskIndex> {
    key.last_chunk().map(|task| TaskIndex(u32::from_be_bytes(*task)))
}

/// History: what an entry did to an account.
pub(crate) fn history(account: &AccountId, seq: u64) -> Vec<u8> {
    [account.0.as_slice(), &seq.to_be_bytes()].concat()
}

/// AccountJobs: a job of an account, in the order of submission.
pub(crate) fn account_job(account: &AccountId, submitted: UnixMillis, job: &JobId) -> Vec<u8> {
    [account.0.as_slice(), &submitted.0.to_be_bytes(), &job.0].concat()
}

/// The number that a key ends with.
pub(crate) fn seq_of(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|seq| u64::from_be_bytes(*seq))
}

/// The job that a key ends with.
pub(crate) fn job_of(key: &[u8]) -> Option<JobId> {
    key.last_chunk().map(|job| JobId(*job))
}

/// The node that a key is.
pub(crate) fn node_of(key: &[u8]) -> Option<NodeId> {
    key.try_into().ok().map(NodeId)
}
