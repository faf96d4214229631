//! The task that owns the worker's core.

use std::{collections::BTreeMap, sync::Arc};

use protocol::{
    ids::{AccountId, LeaseId, NodeId},
    machine::Machine as _,
    reject::RejectReason,
    sign::Signed,
    time::Clock as _,
    wire::{
        heartbeat::{Heartbeat, HeartbeatResponse},
        lease::{Fence, LeaseOffer, LeaseRequest, LeaseResponse},
        order::{NodeOrder, Order},
    },
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Parts, Seen, Worker, lease::LeaseRun};
use crate::{
    core::{
        limits::Hold,
        worker::{Config, Input, Output, Worker as Core},
    },
    execution::check_profile,
    machine::{Machine, MachineError, Outlook},
    roles::{Context, clock::until},
};

/// What the rest of the worker asks of the actor.
pub(super) enum Request {
    Lease { from: NodeId, request: Box<LeaseRequest>, reply: oneshot::Sender<LeaseResponse> },
    Drain(bool),
    GiveBack(oneshot::Sender<()>),
    Stranger,
    Unheard,
    Progress(LeaseId, u32),
    Finished(LeaseId),
    Heard(Vec<LeaseId>, Fence, Option<u64>),
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Request")
    }
}

struct Offer {
    offer: LeaseOffer,
    reply: Option<oneshot::Sender<LeaseResponse>>,
}

pub(super) struct Actor {
    context: Context,
    parts: Arc<Parts>,
    core: Core,
    handle: Worker,
    inbox: mpsc::Receiver<Request>,
    seen: Seen,
    outlook: watch::Receiver<Outlook>,
    /// The drain that the core knows of.
    drain: Option<Hold>,
    leader: watch::Receiver<Option<NodeId>>,
    offers: BTreeMap<u64, Offer>,
    offers_made: u64,
    running: BTreeMap<LeaseId, CancellationToken>,
}

impl Actor {
    pub(super) fn new(
        context: Context,
        parts: Parts,
        handle: Worker,
        inbox: mpsc::Receiver<Request>,
        seen: Seen,
    ) -> Self {
        let leader = parts.leader.watch();
        let mut outlook = parts.machine.outlook();
        outlook.mark_changed();
        let availability = outlook.borrow().verdict.availability.clone();
        let core = Core::new(Config::standard(seen.slots.borrow().0, availability));
        Self {
            context,
            parts: Arc::new(parts),
            core,
            handle,
            inbox,
            seen,
            outlook,
            drain: None,
            leader,
            offers: BTreeMap::new(),
            offers_made: 0,
            running: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        self.leader.mark_changed();
        let stop = self.context.stop.clone();
        loop {
            let deadline = self.core.deadline();
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = self.outlook.changed() => {
                    self.look();
                    None
                }
                Ok(()) = self.leader.changed() => Some(Input::Leader(*self.leader.borrow_and_update())),
                request = self.inbox.recv() => match request {
                    Some(request) => self.request(request),
                    None => break,
                },
                () = until(self.context.clock, deadline) => Some(Input::Tick),
            };
            if let Some(input) = input {
                self.step(input);
            }
        }
        for token in self.running.values() {
            token.cancel();
        }
    }

    fn step(&mut self, input: Input) {
        for output in self.core.handle(self.context.clock.now(), input) {
            self.perform(output);
        }
        self.seen.slots.send_replace(self.core.slots());
        self.seen.returned.send_replace(self.core.returned());
    }

    /// Tells the core what has changed about this machine.
    fn look(&mut self) {
        let Outlook { shared, holds, verdict, .. } = self.outlook.borrow_and_update().clone();
        let slots = if self.parts.works { shared.limits.slots } else { 0 };
        if slots != self.core.slots().0 {
            self.step(Input::Slots(slots));
        }
        self.step(Input::Available(Box::new(verdict)));
        if holds.drain != self.drain {
            self.drain.clone_from(&holds.drain);
            self.step(match holds.drain {
                Some(hold) => {
                    Input::Drain(hold.until.map(|until| self.context.clock.in_time(until)))
                }
                None => Input::Resume,
            });
        }
    }

    fn request(&mut self, request: Request) -> Option<Input> {
        match request {
            Request::Lease { from, request, reply } => self.lease_request(from, *request, reply),
            Request::Drain(true) => Some(Input::Drain(None)),
            Request::Drain(false) => Some(Input::Resume),
            Request::GiveBack(begun) => {
                self.step(Input::GiveBack);
                let _gone = begun.send(());
                None
            }
            Request::Stranger => Some(Input::Stranger),
            Request::Unheard => Some(Input::Unheard),
            Request::Progress(lease, done) => Some(Input::Progress(lease, done)),
            Request::Finished(lease) => {
                self.running.remove(&lease);
                Some(Input::Finished(lease))
            }
            Request::Heard(lost, fence, roster) => {
                if let Some(version) = roster {
                    self.core.set_roster(version);
                }
                Some(Input::Heard(lost, fence))
            }
        }
    }

    /// Checks who signed before the core hears of it.
    fn lease_request(
        &mut self,
        from: NodeId,
        request: LeaseRequest,
        reply: oneshot::Sender<LeaseResponse>,
    ) -> Option<Input> {
        match request {
            LeaseRequest::Withdraw { leases, fence } => {
                let leads = *self.leader.borrow() == Some(from);
                let _gone = reply.send(if leads {
                    LeaseResponse::Done
                } else {
                    LeaseResponse::Refused(RejectReason::NotLeader)
                });
                leads.then_some(Input::Withdrawn(leases, fence))
            }
            LeaseRequest::Order(order) => {
                self.order(order, reply);
                None
            }
            LeaseRequest::Offer(offer) => match self.check(from, &offer) {
                Err(reason) => {
                    let _gone = reply.send(LeaseResponse::Refused(reason));
                    None
                }
                Ok((id, fence, account)) => {
                    let own = account == self.context.owner.account();
                    let task_ms = offer.spec.limits.timeout_ms;
                    self.offers_made = self.offers_made.saturating_add(1);
                    let lease = Box::new(offer.batch.clone());
                    self.offers
                        .insert(self.offers_made, Offer { offer: *offer, reply: Some(reply) });
                    Some(Input::Offered {
                        offer: self.offers_made,
                        from,
                        lease,
                        fence,
                        id,
                        own,
                        task_ms,
                    })
                }
            },
        }
    }

    /// Does what an operator or the owner says: it is kept on disk before it is answered.
    fn order(&self, order: Signed<NodeOrder>, reply: oneshot::Sender<LeaseResponse>) {
        let context = self.context.clone();
        let machine = self.parts.machine.clone();
        self.context.tasks.spawn_blocking(move || {
            let response = match obey(&context, &machine, order) {
                Ok(()) => LeaseResponse::Done,
                Err(reason) => LeaseResponse::Refused(reason),
            };
            let _gone = reply.send(response);
        });
    }

    fn check(
        &self,
        from: NodeId,
        offer: &LeaseOffer,
    ) -> Result<(LeaseId, Fence, AccountId), RejectReason> {
        if *self.leader.borrow() != Some(from) {
            return Err(RejectReason::NotLeader);
        }
        let batch = offer
            .batch
            .clone()
            .verify(&self.context.mesh)
            .map_err(|_| RejectReason::BadSignature)?;
        let header = batch.header();
        if *batch.signer() != from.0 || header.worker != self.context.net.local() {
            return Err(RejectReason::BadSignature);
        }
        if header.fence.epoch != self.context.epoch {
            return Err(RejectReason::StaleFence);
        }
        if !offer.spec.is_valid() {
            return Err(RejectReason::Invalid);
        }
        check_profile(&offer.spec)?;
        Ok((header.lease, header.fence, header.account))
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Answer(offer, response) => {
                if let Some(reply) =
                    self.offers.get_mut(&offer).and_then(|offer| offer.reply.take())
                {
                    let _gone = reply.send(response);
                }
                if matches!(response, LeaseResponse::Refused(_)) {
                    self.offers.remove(&offer);
                }
            }
            Output::Start(lease, offer) => {
                let Some(Offer { offer, .. }) = self.offers.remove(&offer) else { return };
                let token = self.context.stop.child_token();
                self.running.insert(lease, token.clone());
                let run = LeaseRun::new(
                    self.context.clone(),
                    self.parts.clone(),
                    self.handle.clone(),
                    offer,
                );
                self.context.tasks.spawn(run.run(lease, token));
            }
            Output::Stop(lease) => {
                if let Some(token) = self.running.remove(&lease) {
                    token.cancel();
                }
            }
            Output::Beat(leader, beat) => self.beat(leader, *beat),
        }
    }

    fn beat(&self, leader: NodeId, beat: Heartbeat) {
        let parts = self.parts.clone();
        let handle = self.handle.clone();
        self.context.spawn(async move {
            match parts.leader.heartbeat(beat).await {
                Ok(HeartbeatResponse::Heard { lost, roster, fence }) => {
                    let version = roster.as_ref().map(|roster| roster.version);
                    if roster.is_some() {
                        parts.roster.send_replace(roster);
                    }
                    let _stopped = handle.requests.send(Request::Heard(lost, fence, version)).await;
                }
                Ok(HeartbeatResponse::Refused(reason)) => {
                    tracing::debug!(%leader, %reason, "a heartbeat was refused");
                    let _stopped = handle.requests.send(Request::Unheard).await;
                }
                Err(error) => {
                    tracing::debug!(%leader, %error, "a heartbeat was not heard");
                    let _stopped = handle.requests.send(Request::Unheard).await;
                }
            }
        });
    }
}

/// Checks who gives an order, and keeps it.
fn obey(
    context: &Context,
    machine: &Machine,
    order: Signed<NodeOrder>,
) -> Result<(), RejectReason> {
    let order = order.verify(&context.mesh).map_err(|_| RejectReason::BadSignature)?;
    let signer = AccountId(*order.signer());
    let genesis = context.genesis.peek().map_err(|_| RejectReason::Internal)?;
    // Whose machine it is, by the mesh and by its own files; and the operators.
    let owners = [context.owner.account(), context.keys.owner.account()];
    if !owners.contains(&signer) && !genesis.operators.contains(&signer) {
        return Err(RejectReason::NotPermitted);
    }
    let NodeOrder { node, order, at } = order.into_claim();
    if node != context.net.local() {
        return Err(RejectReason::Invalid);
    }
    let drain = match order {
        Order::Drain { deadline, note } => Some(Hold { until: deadline, note }),
        Order::Resume => None,
    };
    machine.obey(drain, at).map_err(|error| match error {
        MachineError::Outdated => RejectReason::WrongState,
        MachineError::Holds { .. } | MachineError::Settings(_) => {
            tracing::error!(error = %crate::app::chain(&error), "an order cannot be kept");
            RejectReason::Internal
        }
    })
}
