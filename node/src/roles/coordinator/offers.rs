//! Leases on their way to workers, and the leader's own commands: signed here, delivered beside the actor.

use std::{collections::BTreeMap, sync::Arc};

use ledger::{
    command::{Command, Reply},
    records::ReadError,
    replica::{Proposal, ProposeError},
    state::record::JobTerms,
};
use protocol::{
    batch::{Batch, Commitment},
    ids::{AccountId, Hash, JobId, LeaseId, NodeId, RequestId, TaskIndex},
    limits,
    wire::{
        lease::{Fence, LeaseHeader, LeaseItem, LeaseOffer, LeaseRequest, LeaseResponse},
        manifest::BlobRef,
    },
};
use tokio::sync::mpsc;

use super::{Coordinator, actor::Completion, reduce};

/// A job's part of every lease, read once.
#[derive(Debug, Clone)]
struct Known {
    terms: Arc<JobTerms>,
    authorization: Hash,
    account: AccountId,
    providers: Option<Vec<NodeId>>,
    reduce_input: Option<BlobRef>,
}

/// Makes leases and delivers them.
#[derive(Debug)]
pub(super) struct Offers {
    coordinator: Coordinator,
    complete: mpsc::Sender<Completion>,
    jobs: BTreeMap<JobId, Known>,
}

impl Offers {
    pub(super) const fn new(coordinator: Coordinator, complete: mpsc::Sender<Completion>) -> Self {
        Self { coordinator, complete, jobs: BTreeMap::new() }
    }

    /// A job is open. At most as many as the ledger allows are.
    pub(super) fn know(&mut self, job: JobId, terms: JobTerms) {
        let authorization = terms.authorization_hash();
        // It was checked when the job was submitted; a record that is damaged is found elsewhere.
        let account = terms.authorized().map_or_else(
            |_damaged| AccountId(*terms.authorization.claimed_signer()),
            |authorized| authorized.account,
        );
        let known = Known {
            terms: Arc::new(terms),
            authorization,
            account,
            providers: None,
            reduce_input: None,
        };
        self.jobs.insert(job, known);
    }

    /// A job has ended.
    pub(super) fn forget(&mut self, job: &JobId) {
        self.jobs.remove(job);
    }

    /// The input of a job's reducing task is stored.
    pub(super) fn reduce_input(&mut self, job: JobId, input: BlobRef) {
        if let Some(known) = self.jobs.get_mut(&job) {
            known.reduce_input = Some(input);
        }
    }

    /// Signs a lease and has it delivered.
    pub(super) fn send(
        &mut self,
        (lease, worker): (LeaseId, NodeId),
        job: JobId,
        items: Vec<LeaseItem>,
        fence: Fence,
    ) -> Result<(), ReadError> {
        let shared = self.coordinator.shared.clone();
        let Some(known) = self.jobs.get_mut(&job) else { return Ok(()) };
        if known.providers.is_none() {
            known.providers = Some(shared.providers(shared.consensus.records().as_ref(), job)?);
        }
        let reduces = items.iter().any(|item| item.task.0 >= known.terms.spec.tasks);
        let header = LeaseHeader {
            lease,
            worker,
            job,
            authorization: known.authorization,
            account: known.account,
            price: known.terms.price,
            duration_ms: u32::try_from(limits::LEASE_DURATION.as_millis()).unwrap_or(u32::MAX),
            fence,
            commitment: Commitment::to(&items),
        };
        let batch = Batch::sign(&header, items, shared.context.mesh, &shared.context.keys.node);
        let offer = LeaseOffer {
            batch,
            spec: known.terms.spec.clone(),
            reduce_input: known.reduce_input.filter(|_| reduces),
            providers: known.providers.clone().unwrap_or_default(),
        };
        let complete = self.complete.clone();
        self.coordinator.shared.context.spawn(async move {
            let response = shared.deliver(worker, LeaseRequest::Offer(Box::new(offer))).await;
            if let Some(LeaseResponse::Refused(reason)) = response {
                tracing::debug!(%worker, %reason, "a lease was refused");
            }
            let _stopped = complete.send(Completion::Answered(lease, response)).await;
        });
        Ok(())
    }

    /// Tells a worker to stop. One that cannot be told learns it from its next heartbeat.
    pub(super) fn withdraw(&self, worker: NodeId, leases: Vec<LeaseId>, fence: Fence) {
        let shared = self.coordinator.shared.clone();
        self.coordinator.shared.context.spawn(async move {
            let _told = shared.deliver(worker, LeaseRequest::Withdraw { leases, fence }).await;
        });
    }

    /// Ends tasks that nobody could finish.
    pub(super) fn give_up(&self, job: JobId, tasks: Vec<(TaskIndex, u16)>) {
        let ended: Vec<_> = tasks.iter().map(|(task, _)| *task).collect();
        let coordinator = self.coordinator.clone();
        let complete = self.complete.clone();
        self.coordinator.shared.context.spawn(async move {
            let durable =
                coordinator.command(Command::GiveUp { job, tasks }).await.unwrap_or(false);
            let _stopped = complete.send(Completion::Settled { job, ended, durable }).await;
        });
    }

    /// Ends a job whose time is over.
    pub(super) fn expire(&self, job: JobId) {
        let coordinator = self.coordinator.clone();
        self.coordinator.shared.context.spawn(async move {
            if let Err(error) = coordinator.command(Command::Expire(job)).await {
                tracing::warn!(%job, %error, "a job could not be expired");
            }
        });
    }

    /// Makes the input of a reducing task.
    pub(super) fn prepare_reduce(&self, job: JobId) {
        let coordinator = self.coordinator.clone();
        let complete = self.complete.clone();
        self.coordinator.shared.context.spawn(async move {
            match reduce::prepare(&coordinator.shared, job).await {
                Ok(input) => {
                    let _stopped = complete.send(Completion::ReduceReady(job, input)).await;
                }
                Err(error) => {
                    let error = crate::app::chain(&error);
                    tracing::warn!(%job, %error, "the input of a reducing task could not be made");
                    let task = reduce::task(&coordinator.shared, job);
                    if let Some(task) = task {
                        let command = Command::GiveUp { job, tasks: vec![(task, 1)] };
                        let _told = coordinator.command(command).await;
                    }
                }
            }
        });
    }
}

impl Coordinator {
    /// Proposes a command of the leader's own. Says whether it was done, rather than refused.
    pub(super) async fn command(&self, command: Command) -> Result<bool, ProposeError> {
        let request = RequestId(crate::app::random());
        let reply = self.shared.consensus.propose(Proposal { request, command }).await?;
        if let Reply::Rejected(rejection) = &reply {
            tracing::info!(reason = %rejection.reason, "the ledger refused a command of the leader");
        }
        Ok(matches!(reply, Reply::Done { .. }))
    }
}
