//! The task that owns the dispatcher. It waits in one place and decides nothing.

use std::{collections::BTreeMap, sync::Arc};

use ledger::{
    records::ReadError,
    replica::{AppliedEvents, Leadership},
    state::{Event, query},
};
use protocol::{
    ids::{JobId, LeaseId, NodeId, TaskIndex},
    machine::Machine as _,
    reject::RejectReason,
    time::{Clock as _, Timestamp},
    wire::{
        advert::Advert,
        heartbeat::Heartbeat,
        lease::{Fence, LeaseItem, LeaseResponse},
        manifest::BlobRef,
        view::JobView,
    },
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::{Coordinator, member, members, offers::Offers, watchers::Watchers};
use crate::{
    core::dispatch::{Config, Dispatch, Input, OpenJob, Output, ReportId, Reported},
    roles::clock::{NodeClock, until},
};

/// Results of work beside that may wait.
const COMPLETIONS_MAX: usize = 1_024;
/// How much later than its time a job is expired, in milliseconds.
const EXPIRY_SLACK_MS: u64 = 1_000;
/// Applied entries that are looked at in one turn.
const EVENTS_PER_TURN: usize = 64;

/// A look at the soft state.
pub(super) type Look = Box<dyn FnOnce(&Dispatch, Timestamp) + Send>;

/// What is decided about a report: tasks that end, tasks that are tried again; or why nothing of it is wanted.
pub(super) type Decision = Result<(Vec<TaskIndex>, Vec<TaskIndex>), RejectReason>;

/// What a heartbeat is answered: leases that are lost, and who leads; nothing while nobody leads here.
pub(super) type Heard = Option<(Vec<LeaseId>, Fence)>;

/// What the rest of the coordinator asks of the actor.
pub(super) enum Request {
    Heartbeat {
        from: NodeId,
        beat: Box<Heartbeat>,
        rtt_us: Option<u64>,
        adoptions: Vec<Adoption>,
        reply: oneshot::Sender<Heard>,
    },
    Report {
        from: NodeId,
        lease: LeaseId,
        items: Vec<Reported>,
        adoption: Option<Adoption>,
        reply: oneshot::Sender<Decision>,
    },
    Connection(NodeId, bool),
    Advert(Box<Advert>),
    Inspect(Look),
    Watch(JobId, u64, oneshot::Sender<()>),
    Completed(Completion),
}

/// A lease of an earlier leader, whose signature was checked.
#[derive(Debug, Clone)]
pub(super) struct Adoption {
    pub(super) lease: LeaseId,
    pub(super) worker: NodeId,
    pub(super) job: JobId,
    pub(super) fence: Fence,
    pub(super) items: Vec<LeaseItem>,
}

/// What work beside has come to.
pub(super) enum Completion {
    Answered(LeaseId, Option<LeaseResponse>),
    Settled { job: JobId, ended: Vec<TaskIndex>, durable: bool },
    ReduceReady(JobId, BlobRef),
}

enum Wake {
    Stop,
    Completed(Completion),
    Deadline,
    Leadership,
    Applied(Result<Arc<AppliedEvents>, broadcast::error::RecvError>),
    Requested(Request),
}

pub(super) struct Actor {
    coordinator: Coordinator,
    clock: NodeClock,
    dispatch: Dispatch,
    inbox: mpsc::Receiver<Request>,
    completions: mpsc::Receiver<Completion>,
    leadership: watch::Receiver<Leadership>,
    applied: broadcast::Receiver<Arc<AppliedEvents>>,
    offers: Offers,
    watchers: Watchers,
    reports: BTreeMap<ReportId, oneshot::Sender<Decision>>,
    beats: BTreeMap<NodeId, oneshot::Sender<Heard>>,
    reports_made: u64,
}

impl Actor {
    pub(super) fn new(coordinator: Coordinator, inbox: mpsc::Receiver<Request>) -> Self {
        let seed = protocol::ids::RequestId(crate::app::random()).0;
        let seed = seed.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        tracing::info!(seed, "coordinator starts");
        let (complete, completions) = mpsc::channel(COMPLETIONS_MAX);
        let shared = coordinator.shared.clone();
        Self {
            clock: shared.context.clock,
            dispatch: Dispatch::new(Config {
                suspect_after: shared.silence.suspect_after,
                offline_after: shared.silence.offline_after,
                ..Config::standard(seed)
            }),
            inbox,
            completions,
            leadership: shared.consensus.leadership(),
            applied: shared.consensus.applied_events(),
            offers: Offers::new(coordinator.clone(), complete),
            watchers: Watchers::default(),
            reports: BTreeMap::new(),
            beats: BTreeMap::new(),
            reports_made: 0,
            coordinator,
        }
    }

    /// Runs until the node stops or its records cannot be read.
    pub(super) async fn run(mut self) {
        self.leadership.mark_changed();
        loop {
            let wake = self.next().await;
            if matches!(wake, Wake::Stop) {
                return;
            }
            if let Err(error) = self.turn(wake) {
                tracing::error!(error = %crate::app::chain(&error), "the replicated state could not be read");
                self.coordinator.shared.context.stop.cancel();
                return;
            }
            self.watchers.look(&self.dispatch);
        }
    }

    async fn next(&mut self) -> Wake {
        let deadline = self.dispatch.deadline();
        let stop = self.coordinator.shared.context.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Wake::Stop,
            Some(completion) = self.completions.recv() => Wake::Completed(completion),
            () = until(self.clock, deadline) => Wake::Deadline,
            Ok(()) = self.leadership.changed() => Wake::Leadership,
            applied = self.applied.recv() => Wake::Applied(applied),
            request = self.inbox.recv() => request.map_or(Wake::Stop, Wake::Requested),
        }
    }

    fn turn(&mut self, wake: Wake) -> Result<(), ReadError> {
        match wake {
            Wake::Stop => Ok(()),
            Wake::Deadline => self.step(Input::Tick),
            Wake::Leadership => self.leadership_changed(),
            Wake::Completed(completion) => self.completed(completion),
            Wake::Applied(Ok(applied)) => self.applied(&applied),
            Wake::Applied(Err(broadcast::error::RecvError::Lagged(_))) => self.rebuild(),
            Wake::Applied(Err(broadcast::error::RecvError::Closed)) => {
                self.coordinator.shared.context.stop.cancel();
                Ok(())
            }
            Wake::Requested(request) => self.requested(request),
        }
    }

    fn step(&mut self, input: Input) -> Result<(), ReadError> {
        for output in self.dispatch.handle(self.clock.now(), input) {
            self.perform(output)?;
        }
        Ok(())
    }

    fn requested(&mut self, request: Request) -> Result<(), ReadError> {
        match request {
            Request::Heartbeat { from, beat, rtt_us, adoptions, reply } => {
                if self.dispatch.fence().is_none() {
                    drop(reply.send(None));
                    return Ok(());
                }
                for adoption in adoptions {
                    self.adopt(adoption)?;
                }
                self.beats.insert(from, reply);
                self.step(Input::Heartbeat(from, beat, rtt_us))
            }
            Request::Report { from, lease, items, adoption, reply } => {
                if let Some(adoption) = adoption.filter(|_| !self.dispatch.holds(&lease, &from)) {
                    self.adopt(adoption)?;
                }
                self.reports_made = self.reports_made.saturating_add(1);
                let report = ReportId(self.reports_made);
                self.reports.insert(report, reply);
                self.step(Input::Reported { report, worker: from, lease, items })
            }
            Request::Connection(node, true) => self.step(Input::Connected(node)),
            Request::Connection(node, false) => self.step(Input::Disconnected(node)),
            Request::Advert(advert) => self.step(Input::Advert(advert)),
            Request::Inspect(look) => {
                look(&self.dispatch, self.clock.now());
                Ok(())
            }
            Request::Completed(completion) => self.completed(completion),
            Request::Watch(job, version, reply) => {
                self.watchers.add(job, version, reply);
                Ok(())
            }
        }
    }

    /// Only leases of earlier leaders: what this one handed out it knows.
    fn adopt(&mut self, adoption: Adoption) -> Result<(), ReadError> {
        if self.dispatch.fence().is_none_or(|fence| adoption.fence >= fence) {
            return Ok(());
        }
        let Adoption { lease, worker, job, items, .. } = adoption;
        self.step(Input::Adopt { lease, worker, job, items })
    }

    fn completed(&mut self, completion: Completion) -> Result<(), ReadError> {
        match completion {
            Completion::Answered(lease, response) => self.step(Input::Answered(lease, response)),
            Completion::Settled { job, ended, durable } => {
                let view = if durable { query::job(self.records().as_ref(), &job)? } else { None };
                let budget_left = view.map(|view| view.budget.saturating_sub(view.captured));
                self.step(Input::Settled { job, ended, budget_left })
            }
            Completion::ReduceReady(job, input) => {
                self.offers.reduce_input(job, input);
                self.step(Input::ReduceReady(job))
            }
        }
    }

    fn perform(&mut self, output: Output) -> Result<(), ReadError> {
        match output {
            Output::Offer { lease, worker, job, items, fence } => {
                self.offers.send((lease, worker), job, items, fence)?;
            }
            Output::Withdraw { worker, leases } => {
                if let Some(fence) = self.dispatch.fence() {
                    self.offers.withdraw(worker, leases, fence);
                }
            }
            Output::Lost(node, lost) => {
                if let (Some(reply), Some(fence)) =
                    (self.beats.remove(&node), self.dispatch.fence())
                {
                    drop(reply.send(Some((lost, fence))));
                }
            }
            Output::Settle { report, ended, retried } => self.decide(report, Ok((ended, retried))),
            Output::Refuse(report, reason) => self.decide(report, Err(reason)),
            Output::GiveUp { job, tasks } => self.offers.give_up(job, tasks),
            Output::PrepareReduce(job) => self.offers.prepare_reduce(job),
            Output::Expire(job) => self.offers.expire(job),
        }
        Ok(())
    }

    fn decide(&mut self, report: ReportId, decision: Decision) {
        if let Some(reply) = self.reports.remove(&report) {
            // A reporter that has gone away delivers again; until then its tasks are being settled by nobody, so
            // the pipeline never drops the receiver before the decision.
            drop(reply.send(decision));
        }
    }

    fn leadership_changed(&mut self) -> Result<(), ReadError> {
        let leadership = *self.leadership.borrow_and_update();
        let leads = self.dispatch.fence().is_some();
        if leadership.leader && !leads {
            self.lead(leadership)
        } else if !leadership.leader && leads {
            tracing::info!(term = leadership.term, "this node leads no more");
            self.step(Input::Resign)
        } else {
            Ok(())
        }
    }

    fn lead(&mut self, leadership: Leadership) -> Result<(), ReadError> {
        let epoch = self.coordinator.shared.context.epoch;
        let fence = Fence { epoch, term: leadership.term, index: leadership.since_index };
        tracing::info!(term = leadership.term, "this node leads");
        self.step(Input::Lead(fence))?;
        for member in members(self.records().as_ref())? {
            self.step(Input::Member(member))?;
        }
        for job in query::open_jobs(self.records().as_ref())? {
            self.open(job, true)?;
        }
        Ok(())
    }

    /// Too many entries were applied to follow: begin again from the records.
    fn rebuild(&mut self) -> Result<(), ReadError> {
        tracing::warn!(
            "entries were applied faster than they were followed: the queue is read again"
        );
        self.applied = self.applied.resubscribe();
        if self.dispatch.fence().is_some() {
            self.step(Input::Resign)?;
            let leadership = *self.leadership.borrow();
            self.lead(leadership)?;
        }
        self.publish_roster()
    }

    fn applied(&mut self, first: &AppliedEvents) -> Result<(), ReadError> {
        for event in &first.events {
            self.event(event)?;
        }
        for _ in 0..EVENTS_PER_TURN {
            let Ok(next) = self.applied.try_recv() else { break };
            for event in &next.events {
                self.event(event)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), ReadError> {
        match event {
            // Who does not lead opens all that are open when it begins to.
            Event::JobQueued { .. } if self.dispatch.fence().is_none() => Ok(()),
            Event::JobQueued { job } => self.open(*job, false),
            Event::JobEnded { job, state } => {
                tracing::info!(%job, state = state.name(), "job ended");
                self.offers.forget(job);
                self.step(Input::JobClosed(*job))
            }
            Event::NodeChanged { node } => {
                if let Some(member) = member(self.records().as_ref(), *node)? {
                    self.step(Input::Member(member))?;
                }
                self.publish_roster()
            }
            Event::Founded | Event::TasksSettled { .. } | Event::AccountChanged { .. } => Ok(()),
        }
    }

    fn publish_roster(&self) -> Result<(), ReadError> {
        self.coordinator.shared.publish_roster(None)
    }

    fn open(&mut self, job: JobId, recovered: bool) -> Result<(), ReadError> {
        let records = self.records();
        let (Some(view), Some(terms)) =
            (query::job(records.as_ref(), &job)?, query::terms(records.as_ref(), &job)?)
        else {
            return Ok(());
        };
        if view.state.is_terminal() {
            return Ok(());
        }
        let pending = query::pending_tasks(records.as_ref(), &job)?.unwrap_or_default();
        let open = open_job(view, &terms, pending, recovered);
        self.offers.know(job, terms);
        self.step(Input::JobOpened(Box::new(open)))
    }

    fn records(&self) -> Arc<dyn ledger::records::Records + Send + Sync> {
        self.coordinator.shared.consensus.records()
    }
}

/// A job as the dispatcher wants it. The reducing task is not among those that wait.
fn open_job(
    view: JobView,
    terms: &ledger::state::record::JobTerms,
    pending: query::PendingTasks,
    recovered: bool,
) -> OpenJob {
    let last = terms.spec.tasks;
    let ranges = pending.ranges.into_iter().map(|range| range.start.min(last)..range.end.min(last));
    let authorized = terms.authorized().ok();
    let ends = authorized
        .map_or(0, |authorized| authorized.not_before.0.saturating_add(authorized.ttl_ms));
    // A little later: the entry's time decides, and it must not be refused for a millisecond.
    let ends = ends.saturating_add(EXPIRY_SLACK_MS);
    let expires_in = std::time::Duration::from_millis(ends.saturating_sub(NodeClock::wall().0));
    OpenJob {
        job: view.job,
        account: view.account,
        price: terms.price,
        budget_left: view.budget.saturating_sub(view.captured),
        pending: ranges.filter(|range| !range.is_empty()).collect(),
        attempts: pending.attempts,
        order: terms.entry,
        expires_in,
        recovered,
        spec: view.spec,
    }
}
