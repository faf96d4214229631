//! The worker role: takes leases, runs their tasks in the sandbox, reports.
//!
//! One task (`actor`) owns the [`core`](crate::core::worker). Each lease is carried out beside it (`lease`),
//! and what it did is kept on disk (`outbox`) until a leader has it.

mod actor;
mod inputs;
mod lease;
mod outbox;

use std::sync::Arc;

use protocol::{
    ids::NodeId,
    reject::RejectReason,
    wire::{
        heartbeat::Roster,
        lease::{LeaseRequest, LeaseResponse},
    },
};
use sandbox::pool::Pool;
use tokio::sync::{mpsc, oneshot, watch};

use self::actor::{Actor, Request};
pub use self::outbox::{Outbox, OutboxError};
use super::{Context, leader::Leader};
use crate::machine::Machine;

/// Requests that may wait for the actor.
const REQUESTS_MAX: usize = 64;

/// The worker of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Worker {
    requests: mpsc::Sender<Request>,
    slots: watch::Receiver<(u16, u16)>,
    /// Leases that were given back and that no leader is known to have heard of.
    returned: watch::Receiver<usize>,
}

/// A worker that was made and not started: the coordinator of the same node wants its handle first.
#[derive(Debug)]
pub struct Unstarted {
    handle: Worker,
    inbox: mpsc::Receiver<Request>,
    seen: Seen,
}

/// What is to be seen of a worker from outside.
#[derive(Debug)]
pub(super) struct Seen {
    slots: watch::Sender<(u16, u16)>,
    returned: watch::Sender<usize>,
}

/// What a worker needs beside the [`Context`].
#[derive(Debug)]
pub struct Parts {
    /// The way to the leader.
    pub leader: Leader,
    /// Where tasks run.
    pub pool: Arc<Pool>,
    /// What was not yet delivered.
    pub outbox: Outbox,
    /// Whether it runs tasks at all.
    pub works: bool,
    /// This machine: what it has for whom.
    pub machine: Machine,
    /// Where member lists that the leader sends go.
    pub roster: watch::Sender<Option<Roster>>,
}

impl Worker {
    /// A worker that can be spoken to, and will answer when it is started.
    #[must_use]
    pub fn unstarted(slots: u16) -> Unstarted {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (slots_tx, slots) = watch::channel((slots, slots));
        let (returned_tx, returned) = watch::channel(0);
        let seen = Seen { slots: slots_tx, returned: returned_tx };
        Unstarted { handle: Self { requests, slots, returned }, inbox, seen }
    }

    /// The leader hands out or withdraws work.
    pub async fn lease(&self, from: NodeId, request: LeaseRequest) -> LeaseResponse {
        let (reply, answer) = oneshot::channel();
        if self
            .requests
            .send(Request::Lease { from, request: Box::new(request), reply })
            .await
            .is_err()
        {
            return LeaseResponse::Refused(RejectReason::Draining);
        }
        answer.await.unwrap_or(LeaseResponse::Refused(RejectReason::Draining))
    }

    /// A node that is not known to be a member has connected. Forgotten when the worker is busy: it asks soon anyway.
    pub fn stranger(&self) {
        let _busy = self.requests.try_send(Request::Stranger);
    }

    /// Takes no new work from now on, or takes it again.
    pub async fn drain(&self, draining: bool) {
        let _stopped = self.requests.send(Request::Drain(draining)).await;
    }

    /// Gives everything back that is not done, and waits until a leader has heard of it. Cancel safe: then nobody
    /// waits for that.
    pub async fn give_back(&self) {
        let mut returned = self.returned.clone();
        let (begun, begins) = oneshot::channel();
        if self.requests.send(Request::GiveBack(begun)).await.is_ok() && begins.await.is_ok() {
            let _stopped = returned.wait_for(|left| *left == 0).await;
        }
    }

    /// Slots, and slots that are free, now and from now on.
    #[must_use]
    pub fn slots(&self) -> watch::Receiver<(u16, u16)> {
        self.slots.clone()
    }
}

impl Unstarted {
    /// The handle.
    #[must_use]
    pub fn handle(&self) -> Worker {
        self.handle.clone()
    }

    /// Starts the worker. It runs until the node stops.
    pub fn start(self, context: Context, parts: Parts) {
        let Self { handle, inbox, seen } = self;
        let tasks = context.tasks.clone();
        let outbox = parts.outbox.clone();
        let deliver = outbox::deliver(context.clone(), outbox, parts.leader.clone());
        let actor = Actor::new(context, parts, handle, inbox, seen);
        tasks.spawn(actor.run());
        tasks.spawn(deliver);
    }
}
