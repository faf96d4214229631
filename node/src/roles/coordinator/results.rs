//! Results: checked, their outputs made durable, then settled. Beside the actor, many at a time.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{
    command::{Command, Reply},
    records::ReadError,
    replica::{Proposal, ProposeError},
    state::query,
};
use protocol::{
    batch::VerifiedBatch,
    codec::encode,
    ids::{Hash, JobId, NodeId, TaskIndex},
    reject::RejectReason,
    wire::{
        enroll::Role,
        heartbeat::Heartbeat,
        lease::{LeaseHeader, LeaseItem},
        manifest::OutputManifest,
        receipt::{ReceiptHeader, ResultRequest, ResultResponse, TaskReceipt},
        view::Admission,
    },
};
use tokio::sync::oneshot;

use super::{
    Coordinator, Shared,
    actor::{Adoption, Completion, Request},
};
use crate::{
    blobs::{self, Pin},
    core::dispatch::Reported,
};

impl Shared {
    /// A lease that somebody shows: believed if a coordinator of this mesh signed it for them.
    fn adoption(
        &self,
        from: NodeId,
        proof: protocol::batch::Batch<LeaseHeader, LeaseItem>,
    ) -> Option<Adoption> {
        let proof = proof.verify(&self.context.mesh).ok()?;
        let header = proof.header();
        let meant = header.worker == from && header.fence.epoch == self.context.epoch;
        (meant && self.may_coordinate(&NodeId(*proof.signer()))).then(|| Adoption {
            lease: header.lease,
            worker: from,
            job: header.job,
            fence: header.fence,
            items: proof.items().to_vec(),
        })
    }

    /// The leases that a heartbeat proves.
    pub(super) fn adoptions(&self, from: NodeId, beat: &Heartbeat) -> Vec<Adoption> {
        let proofs = beat.leases.iter().filter_map(|held| held.proof.clone());
        proofs.filter_map(|proof| self.adoption(from, *proof)).collect()
    }

    /// Whether a node is approved, and as a coordinator.
    pub(super) fn may_coordinate(&self, node: &NodeId) -> bool {
        let record = query::node(self.consensus.records().as_ref(), node);
        record.ok().flatten().is_some_and(|record| {
            record.admission == Admission::Approved && record.roles.contains(&Role::Coordinator)
        })
    }
}

impl Coordinator {
    /// A worker delivers results. Once begun it is carried through, whatever becomes of the caller.
    pub async fn result(&self, from: NodeId, request: ResultRequest) -> ResultResponse {
        let this = self.clone();
        let work = self.shared.context.tasks.spawn(async move { this.settle(from, request).await });
        match work.await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                tracing::error!(%error, "results could not be looked at");
                ResultResponse::Retry(RejectReason::Internal)
            }
            Err(_stopping) => ResultResponse::Retry(RejectReason::NoLeader),
        }
    }

    async fn settle(
        &self,
        from: NodeId,
        request: ResultRequest,
    ) -> Result<ResultResponse, ReadError> {
        let Ok(_permit) = self.shared.results.acquire().await else {
            return Ok(ResultResponse::Retry(RejectReason::NoLeader));
        };
        let ResultRequest { receipts, outputs, inline, proof } = request;
        let context = &self.shared.context;
        let Ok(receipts) = receipts.verify(&context.mesh) else {
            return Ok(ResultResponse::Refused(RejectReason::BadSignature));
        };
        if let Err(reason) = self.check(from, &receipts, &outputs)? {
            return Ok(ResultResponse::Refused(reason));
        }
        let ReceiptHeader { job, lease, worker, .. } = *receipts.header();
        let items: Vec<_> = receipts
            .items()
            .iter()
            .map(|item| Reported {
                task: item.task,
                outcome: item.outcome,
                millis: item
                    .finished
                    .saturating_since(item.started)
                    .as_millis()
                    .try_into()
                    .unwrap_or(u64::MAX),
            })
            .collect();
        let (reply, decision) = oneshot::channel();
        let adoption =
            self.shared.adoption(worker, *proof).filter(|adoption| adoption.lease == lease);
        let report = Request::Report { from: worker, lease, items, adoption, reply };
        if self.requests.send(report).await.is_err() {
            return Ok(ResultResponse::Retry(RejectReason::NoLeader));
        }
        let (ended, retried) = match decision.await {
            Ok(Ok(decision)) => decision,
            Ok(Err(reason)) => return Ok(ResultResponse::Refused(reason)),
            Err(_stopped) => return Ok(ResultResponse::Retry(RejectReason::NoLeader)),
        };
        let durable = self.make_durable(from, receipts, (&outputs, &inline), retried).await;
        self.finish(job, ended, durable.is_ok()).await;
        Ok(durable.err().unwrap_or(ResultResponse::Taken))
    }

    /// Whether the batch is what it says: by the worker, for a job that is open, with the outputs it names.
    fn check(
        &self,
        from: NodeId,
        receipts: &VerifiedBatch<ReceiptHeader, TaskReceipt>,
        outputs: &[OutputManifest],
    ) -> Result<Result<(), RejectReason>, ReadError> {
        let header = receipts.header();
        if *receipts.signer() != header.worker.0 {
            return Ok(Err(RejectReason::BadSignature));
        }
        let records = self.shared.consensus.records();
        if header.worker != from {
            // A node that has changed its key delivers what it signed with the old one.
            let signed = query::node(records.as_ref(), &header.worker)?;
            if signed.and_then(|node| node.replaced).is_none_or(|by| by.by != from) {
                return Ok(Err(RejectReason::BadSignature));
            }
        }
        // Whoever was blocked or suspended a moment ago may still be connected.
        for node in [from, header.worker] {
            if let Some(reason) = self.outside(&node)? {
                return Ok(Err(reason));
            }
        }
        let Some(terms) = query::terms(records.as_ref(), &header.job)? else {
            return Ok(Err(RejectReason::NotFound));
        };
        if terms.authorization_hash() != header.authorization {
            return Ok(Err(RejectReason::Invalid));
        }
        let fits = |(item, output): (&TaskReceipt, &OutputManifest)| {
            Hash::of(&encode(output)) == item.output
                && output.len() == item.output_bytes
                && output.len() <= terms.spec.limits.output_bytes
        };
        let all_fit = outputs.len() == receipts.items().len()
            && receipts.items().iter().zip(outputs).all(fits);
        Ok(if all_fit { Ok(()) } else { Err(RejectReason::Invalid) })
    }

    async fn make_durable(
        &self,
        from: NodeId,
        receipts: VerifiedBatch<ReceiptHeader, TaskReceipt>,
        (outputs, inline): (&[OutputManifest], &[Vec<u8>]),
        retried: Vec<TaskIndex>,
    ) -> Result<(), ResultResponse> {
        let job = receipts.header().job;
        self.keep_outputs(from, job, outputs, inline).await.map_err(ResultResponse::Retry)?;
        self.copy_outputs(job, outputs, inline).await;
        let command = Command::Settle { receipts: Box::new(receipts.into_batch()), retried };
        let request =
            command.content_id().map_err(|_| ResultResponse::Refused(RejectReason::TooLarge))?;
        match self.shared.consensus.propose(Proposal { request, command }).await {
            Ok(Reply::Done { .. }) => Ok(()),
            Ok(Reply::Rejected(rejection)) => {
                tracing::warn!(%job, worker = %from, reason = %rejection.reason, "results were refused by the ledger");
                // For ever: the same results would be refused again.
                Err(ResultResponse::Refused(rejection.reason))
            }
            Err(ProposeError::TooLarge { .. }) => {
                Err(ResultResponse::Refused(RejectReason::TooLarge))
            }
            Err(error) => {
                tracing::warn!(%job, %error, "results could not be settled");
                Err(ResultResponse::Retry(RejectReason::NoLeader))
            }
        }
    }

    /// Stores all outputs before they are paid for: a worker may be gone a moment later.
    pub(super) async fn keep_outputs(
        &self,
        from: NodeId,
        job: JobId,
        outputs: &[OutputManifest],
        inline: &[Vec<u8>],
    ) -> Result<(), RejectReason> {
        let context = &self.shared.context;
        let described: BTreeSet<Hash> =
            outputs.iter().flat_map(OutputManifest::blobs).map(|blob| blob.hash).collect();
        let inline: BTreeMap<Hash, &[u8]> = inline
            .iter()
            .map(|content| (Hash::of(content), content.as_slice()))
            .filter(|(hash, _)| described.contains(hash))
            .collect();
        let manifests: Vec<Vec<u8>> = outputs.iter().map(encode).collect();
        let missing: Vec<_> =
            described.iter().copied().filter(|hash| !inline.contains_key(hash)).collect();
        if let Err(error) = blobs::obtain(&context.blobs, &context.net, &[from], missing).await {
            tracing::warn!(%job, worker = %from, error = %crate::app::chain(&error), "outputs could not be fetched");
            return Err(RejectReason::NotFound);
        }
        let contents: Vec<&[u8]> =
            manifests.iter().map(Vec::as_slice).chain(inline.values().copied()).collect();
        let pin = Pin { job, keep: super::OUTPUTS_KEPT };
        let pinned = described.into_iter().chain(manifests.iter().map(|bytes| Hash::of(bytes)));
        let stored =
            context.blobs.pin(pinned, pin).and_then(|()| context.blobs.put_all(&contents, true));
        stored.map_err(|error| {
            tracing::error!(%job, error = %crate::app::chain(&error), "outputs could not be kept");
            RejectReason::Busy
        })
    }

    async fn finish(&self, job: JobId, ended: Vec<TaskIndex>, durable: bool) {
        let completion = Completion::Settled { job, ended, durable };
        let _stopped = self.requests.send(Request::Completed(completion)).await;
    }
}
