//! Receipts, and what proves them.

use std::collections::BTreeMap;

use protocol::{
    batch::item_path,
    codec::encode,
    ids::{AccountId, JobId, ReceiptId, TaskIndex},
    keys::SecretKey,
    limits::{LIST_ITEMS_MAX, OPEN_JOBS_MAX},
    merkle::{self, Digest},
    time::UnixMillis,
    wire::view::{ReceiptProof, ReceiptView},
};

use super::{bounded, get, jobs, mesh};
use crate::{
    checkpoint,
    records::{Range, ReadError, Records, Table},
    state::{
        entry::{Entry, SettlementBody},
        keys,
        record::{BadRow, BatchRecord, Row as _, TaskEnd, TaskRecord},
    },
};

/// A proof that lacks only the checkpoint's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedProof {
    proof: ReceiptProof,
    origin: String,
    text: String,
}

impl UnsignedProof {
    /// The checkpoint that the proof leads to, unsigned.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The proof, with the checkpoint signed by the first coordinator's node key.
    #[must_use]
    pub fn sign(mut self, key: &SecretKey) -> ReceiptProof {
        self.proof.checkpoint = checkpoint::sign(&self.text, key, &self.origin);
        self.proof
    }
}

/// Receipts in lists: of one job in the order of tasks; of all jobs of an account, or of all, newest job first;
/// always those that follow `after`. At most [`OPEN_JOBS_MAX`] jobs are looked at.
///
/// # Errors
///
/// If the records cannot be read.
pub fn receipts<R: Records + ?Sized>(
    records: &R,
    job: Option<JobId>,
    account: Option<AccountId>,
    after: Option<ReceiptId>,
    limit: u32,
) -> Result<Vec<ReceiptView>, ReadError> {
    let limit = bounded(limit);
    let mut reader = Reader { records, batches: BTreeMap::new() };
    let mut found = Vec::new();
    if let Some(job) = job {
        let from = after
            .filter(|after| after.job == job)
            .map_or(0, |after| after.task.0.saturating_add(1));
        if account.is_none() || account == jobs::submitter(records, &job)? {
            reader.of_job(job, from, limit, &mut found)?;
        }
        return Ok(found);
    }
    if let Some(after) = after {
        reader.of_job(after.job, after.task.0.saturating_add(1), limit, &mut found)?;
    }
    let (mut last, mut looked_at) = (after.map(|after| after.job), 0);
    while found.len() < limit && looked_at < OPEN_JOBS_MAX {
        let page = jobs::job_order(records, account, last, bounded(LIST_ITEMS_MAX))?;
        let Some(end) = page.last().copied() else { break };
        for job in page {
            if found.len() >= limit {
                break;
            }
            reader.of_job(job, 0, limit, &mut found)?;
        }
        last = Some(end);
        looked_at = looked_at.saturating_add(LIST_ITEMS_MAX);
    }
    Ok(found)
}

/// Reads receipts of consecutive tasks, which often lie in one batch.
struct Reader<'a, R: ?Sized> {
    records: &'a R,
    batches: BTreeMap<u64, (BatchRecord, UnixMillis)>,
}

impl<R: Records + ?Sized> Reader<'_, R> {
    /// Adds the receipts of a job from task `from` on, until there are `limit`.
    fn of_job(
        &mut self,
        job: JobId,
        from: u32,
        limit: usize,
        found: &mut Vec<ReceiptView>,
    ) -> Result<(), ReadError> {
        let mut range = Range {
            from: keys::task(&job, TaskIndex(from)),
            to: keys::task(&job, TaskIndex(u32::MAX)),
            reverse: false,
            limit,
        };
        while found.len() < limit {
            let page = self.records.scan(Table::Tasks, &range)?;
            for (key, value) in &page {
                let Some(task) = keys::task_of(key) else { continue };
                if found.len() < limit {
                    found.extend(
                        self.view(ReceiptId { job, task }, &TaskRecord::from_bytes(value)?)?,
                    );
                }
            }
            match page.last().and_then(|(key, _)| keys::task_of(key)) {
                Some(last) if page.len() == limit => {
                    range.from = keys::task(&job, TaskIndex(last.0.saturating_add(1)));
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn view(
        &mut self,
        receipt: ReceiptId,
        record: &TaskRecord,
    ) -> Result<Option<ReceiptView>, ReadError> {
        let Some(TaskEnd::Settled { worker, outcome, fuel, cost, output, entry, item }) =
            record.end
        else {
            return Ok(None);
        };
        if !self.batches.contains_key(&entry) {
            let batch =
                get(self.records, &keys::entry(entry))?.ok_or_else(|| missing(Table::Batches))?;
            let settled: Entry =
                get(self.records, &keys::entry(entry))?.ok_or_else(|| missing(Table::Entries))?;
            // Consecutive tasks are in few batches; an older one is read again rather than kept.
            while self.batches.len() >= 8 {
                self.batches.pop_first();
            }
            self.batches.insert(entry, (batch, settled.cluster_time));
        }
        let (batch, at) = self.batches.get(&entry).ok_or_else(|| missing(Table::Batches))?;
        let item = batch.items.get(usize::from(item)).ok_or_else(|| missing(Table::Batches))?;
        let (peak, at) = (item.peak, *at);
        Ok(Some(ReceiptView { receipt, worker, outcome, fuel, peak, cost, output, entry, at }))
    }
}

/// A receipt and everything that proves it as of now, but for the checkpoint's signature; `None` if the task was
/// not settled.
///
/// # Errors
///
/// If the records cannot be read.
pub fn receipt_proof<R: Records + ?Sized>(
    records: &R,
    receipt: ReceiptId,
) -> Result<Option<UnsignedProof>, ReadError> {
    let (Some(facts), Some(terms)) = (mesh(records)?, jobs::terms(records, &receipt.job)?) else {
        return Ok(None);
    };
    let record: Option<TaskRecord> = get(records, &keys::task(&receipt.job, receipt.task))?;
    let Some(TaskEnd::Settled { entry, item, .. }) = record.and_then(|record| record.end) else {
        return Ok(None);
    };
    let settled: Entry =
        get(records, &keys::entry(entry))?.ok_or_else(|| missing(Table::Entries))?;
    let body: SettlementBody = protocol::codec::decode(&settled.body)
        .map_err(|error| BadRow::Body(error).in_table(Table::Entries))?;
    let batch: BatchRecord =
        get(records, &keys::entry(entry))?.ok_or_else(|| missing(Table::Batches))?;
    let place = usize::from(item);
    let receipt_item = *batch.items.get(place).ok_or_else(|| missing(Table::Batches))?;
    let item_path = item_path(&batch.items, place).ok_or_else(|| missing(Table::Batches))?;
    let entry_index = entry.saturating_sub(1);
    let entry_path = path(records, entry_index, facts.height)?;
    let origin = checkpoint::origin(&facts.policy.mesh, 0);
    let text = checkpoint::note_text(&origin, facts.height, &facts.root);
    let proof = ReceiptProof {
        receipt,
        genesis: facts.policy.genesis,
        authorization: terms.authorization,
        delegation: terms.delegation,
        spec: terms.spec,
        header: body.header,
        item: receipt_item,
        item_index: u32::from(item),
        item_path,
        entry: encode(&settled),
        entry_index,
        entry_path,
        checkpoint: String::new(),
        output: None,
    };
    Ok(Some(UnsignedProof { proof, origin, text }))
}

/// The path from a leaf to the root of the tree of the first `size` entries.
fn path<R: Records + ?Sized>(records: &R, index: u64, size: u64) -> Result<Vec<Digest>, ReadError> {
    let mut failed = None;
    let mut node = |level, index| match records.get(Table::Tree, &keys::tree(level, index)) {
        Ok(hash) => hash.and_then(|hash| hash.try_into().ok()),
        Err(error) => {
            failed = Some(error);
            None
        }
    };
    let path = merkle::inclusion_path(index, size, &mut node);
    match failed {
        Some(error) => Err(error),
        None => path.ok_or_else(|| missing(Table::Tree)),
    }
}

fn missing(table: Table) -> ReadError {
    BadRow::Missing.in_table(table)
}
