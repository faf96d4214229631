//! One lease, carried out: fetch, run, collect, hand over to the outbox.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use protocol::{
    batch::{Batch, Commitment},
    codec::encode,
    ids::{Hash, LeaseId, TaskIndex},
    limits::{BATCH_ITEMS_MAX, INLINE_OUTPUT_BYTES_MAX, RPC_BYTES_MAX},
    outcome::{Interruption, Outcome},
    time::{Clock as _, Timestamp},
    units::{Fuel, Pages},
    wire::{
        lease::{LeaseItem, LeaseOffer},
        manifest::{OutputManifest, TaskInput},
        receipt::{ReceiptHeader, ResultRequest, TaskReceipt},
    },
};
use sandbox::task::{ModuleSource, TaskDone};
use tokio_util::sync::CancellationToken;

use super::{
    Parts, Worker,
    actor::Request,
    inputs::{InputError, Inputs},
};
use crate::{
    blobs::{BlobError, Pin},
    execution::{Execution, described, input_hash, output_hash},
    roles::{Context, clock::NodeClock},
};

/// Inputs that are fetched ahead, in bytes. One that is larger is fetched alone.
const AHEAD_BYTES: u64 = 32 << 20;
/// Results are handed over at least this often, so that progress is seen and little is lost.
const HAND_OVER_EVERY: Duration = Duration::from_millis(500);
/// Results are handed over before they grow beyond this, in bytes.
const HAND_OVER_BYTES: usize = RPC_BYTES_MAX >> 1;
/// How long outputs that a leader has not fetched are kept.
const OUTPUTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Results that were not handed over yet.
#[derive(Debug, Default)]
struct Collected {
    items: Vec<TaskReceipt>,
    outputs: Vec<OutputManifest>,
    inline: Vec<Vec<u8>>,
    known: BTreeSet<Hash>,
    bytes: usize,
}

pub(super) struct LeaseRun {
    context: Context,
    parts: Arc<Parts>,
    handle: Worker,
    offer: LeaseOffer,
    inputs: Inputs,
    collected: Collected,
    handed_over: Timestamp,
}

impl LeaseRun {
    pub(super) fn new(
        context: Context,
        parts: Arc<Parts>,
        handle: Worker,
        offer: LeaseOffer,
    ) -> Self {
        let inputs = Inputs::new(context.clone(), &offer);
        let handed_over = context.clock.now();
        Self { context, parts, handle, offer, inputs, collected: Collected::default(), handed_over }
    }

    /// Does all tasks, unless it is stopped: then what is not handed over is forgotten, and a task that runs is
    /// killed.
    pub(super) async fn run(mut self, lease: LeaseId, stop: CancellationToken) {
        let done = stop.run_until_cancelled(self.work()).await;
        if let Some(Err(error)) = &done {
            tracing::error!(%lease, error = %crate::app::chain(error), "results could not be kept");
        }
        // The slot is free before the leader can know of the last result and fill it again.
        let _stopped = self.handle.requests.send(Request::Finished(lease)).await;
        if done.is_some()
            && let Err(error) = self.hand_over(lease).await
        {
            tracing::error!(%lease, error = %crate::app::chain(&error), "results could not be kept");
        }
    }

    async fn work(&mut self) -> Result<(), super::OutboxError> {
        let module = self.module();
        let source = self.inputs.module(module).await;
        let items = self.offer.batch.items.clone();
        let mut waiting = items.into_iter().peekable();
        while waiting.peek().is_some() {
            let mut ahead = Vec::new();
            let mut bytes = 0_u64;
            while let Some(item) = waiting.next_if(|_| bytes < AHEAD_BYTES) {
                let input = self.inputs.describe(item.task).await;
                if let Ok(input) = &input {
                    bytes = input.blobs().fold(bytes, |sum, blob| sum.saturating_add(blob.len));
                }
                ahead.push((item, input));
            }
            let described: Vec<_> = ahead
                .iter()
                .filter_map(|(item, input)| Some((item.task, input.as_ref().ok()?.clone())))
                .collect();
            if let Err(error) = self.inputs.fetch(&described).await {
                tracing::debug!(error = %crate::app::chain(&error), "not all inputs could be fetched ahead");
            }
            for (item, input) in ahead {
                self.task(item, input, &source).await?;
            }
        }
        Ok(())
    }

    /// The module of the lease: the reducing task has its own, and is alone in its lease.
    fn module(&self) -> Hash {
        let first = self.offer.batch.items.first();
        first.map_or(self.offer.spec.module, |item| Execution::module(&self.offer.spec, item.task))
    }

    async fn task(
        &mut self,
        item: LeaseItem,
        input: Result<TaskInput, InputError>,
        source: &Result<ModuleSource, InputError>,
    ) -> Result<(), super::OutboxError> {
        let started = NodeClock::wall();
        let (input_hash, done) = match (input, source) {
            (Ok(input), Ok(source)) => {
                (input_hash(&input), self.execute(item.task, &input, source.clone()).await)
            }
            (Err(error), _) => (Hash([0; 32]), missing(&error)),
            (Ok(input), Err(error)) => (input_hash(&input), missing(error)),
        };
        if let Some(detail) = &done.detail {
            tracing::debug!(task = item.task.0, outcome = %done.outcome, detail, "task");
        }
        let (done, output) = self.keep(done)?;
        self.collected.items.push(TaskReceipt {
            task: item.task,
            attempt: item.attempt,
            input: input_hash,
            output: output_hash(&output),
            output_bytes: output.len(),
            outcome: done.outcome,
            fuel: done.fuel,
            peak: done.peak,
            started,
            finished: NodeClock::wall(),
        });
        self.collected.outputs.push(output);
        let lease = self.lease_id();
        let _stopped = self.handle.requests.send(Request::Progress(lease, 1)).await;
        let now = self.context.clock.now();
        let full = self.collected.bytes >= HAND_OVER_BYTES
            || self.collected.items.len() >= BATCH_ITEMS_MAX;
        let last = self.offer.batch.items.last().is_some_and(|last| last.task == item.task);
        if (full || now.saturating_since(self.handed_over) >= HAND_OVER_EVERY) && !last {
            self.hand_over(lease).await?;
        }
        Ok(())
    }

    async fn execute(&self, task: TaskIndex, input: &TaskInput, source: ModuleSource) -> TaskDone {
        let prepared = async {
            let stdin = self.inputs.content(&input.stdin).await?;
            let mut files = Vec::with_capacity(input.files.len());
            for file in &input.files {
                files.push(self.inputs.content(&file.source).await?);
            }
            Ok::<_, InputError>((stdin, files))
        };
        let (stdin, files) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => return missing(&error),
        };
        let (job, spec) = (self.job(), &self.offer.spec);
        let execution = Execution { job, task, spec, input, stdin, files };
        self.parts.pool.run(execution.run(source, self.owner())).await
    }

    /// Stores what a task put out, and describes it. What cannot be described in a message counts as too large.
    fn keep(&mut self, done: TaskDone) -> Result<(TaskDone, OutputManifest), super::OutboxError> {
        let (outcome, output) = described(&done);
        if outcome != done.outcome {
            return Ok((TaskDone { outcome, ..done }, output));
        }
        let contents = [done.stdout.as_slice(), done.stderr.as_slice()]
            .into_iter()
            .chain(done.files.iter().map(|(_, content)| content.as_slice()));
        let mut large = Vec::new();
        for content in contents.filter(|content| !content.is_empty()) {
            if content.len() > INLINE_OUTPUT_BYTES_MAX {
                large.push(content);
            } else if self.collected.known.insert(Hash::of(content)) {
                self.collected.bytes = self.collected.bytes.saturating_add(content.len());
                self.collected.inline.push(content.to_vec());
            }
        }
        let store = &self.context.blobs;
        let pin = Pin { job: self.job(), keep: OUTPUTS_KEPT };
        let kept: Result<(), BlobError> = store
            .pin(large.iter().map(|content| Hash::of(content)), pin)
            .and_then(|()| store.put_all(&large, false));
        kept.map_err(super::OutboxError::Outputs)?;
        let description = encode(&output).len();
        self.collected.bytes = self.collected.bytes.saturating_add(description);
        Ok((done, output))
    }

    /// Signs what was collected and puts it where it is delivered from.
    async fn hand_over(&mut self, lease: LeaseId) -> Result<(), super::OutboxError> {
        let collected = std::mem::take(&mut self.collected);
        self.handed_over = self.context.clock.now();
        if collected.items.is_empty() {
            return Ok(());
        }
        let Ok(leased) = self.offer.batch.header.peek() else { return Ok(()) };
        let header = ReceiptHeader {
            job: leased.job,
            authorization: leased.authorization,
            lease,
            worker: self.context.keys.node.node(),
            payee: self.context.owner.account(),
            module: self.module(),
            profile: self.offer.spec.profile,
            commitment: Commitment::to(&collected.items),
        };
        let receipts =
            Batch::sign(&header, collected.items, self.context.mesh, &self.context.keys.node);
        let results = ResultRequest {
            receipts,
            outputs: collected.outputs,
            inline: collected.inline,
            proof: Box::new(self.offer.batch.clone()),
        };
        self.parts.outbox.put(&results).await
    }

    fn job(&self) -> protocol::ids::JobId {
        self.offer.batch.header.peek().map_or(protocol::ids::JobId([0; 16]), |header| header.job)
    }

    fn lease_id(&self) -> LeaseId {
        self.offer.batch.header.peek().map_or(LeaseId([0; 16]), |header| header.lease)
    }

    /// Whose code it is, as far as sharing a process goes: jobs never share one.
    fn owner(&self) -> protocol::ids::AccountId {
        let authorization = self.offer.batch.header.peek().map(|header| header.authorization);
        protocol::ids::AccountId(authorization.map_or([0; 32], |hash| hash.0))
    }
}

fn missing(error: &InputError) -> TaskDone {
    let detail = Some(crate::app::chain(error));
    let outcome = Outcome::Indeterminate(Interruption::InputMissing);
    TaskDone { fuel: Fuel(0), peak: Pages(0), ..TaskDone::without_output(outcome, detail) }
}
