//! The coordinator role of a node in its mesh: opens the ledger that it has, founds one, or waits until it is given a place.

use std::{sync::Arc, time::Duration};

use ledger::{
    command::{Command, Reply},
    replica::{
        Admission as Place, Clock, Consensus as _, GroupMember, OpenError, Proposal, Replica,
        ReplicaConfig, Start,
    },
    state::{Event, query},
};
use protocol::{
    ids::RequestId,
    sign::Signed,
    time::{Clock as _, Timestamp},
    wire::{
        client::{ClientRequest, ClientResponse},
        enroll::{NodeDecision, Verdict},
        genesis::Joining,
        group::{Candidacy, Candidate, Seat},
        view::Admission,
    },
};
use tokio::sync::{broadcast, mpsc};

use super::{
    AppError,
    membership::{self, Wish},
    start::{Base, Remembered},
};
use crate::{
    net::GroupPeers,
    roles::{
        Context,
        clock::NodeClock,
        coordinator::{Coordinator, Damaged, Silence},
        leader::Leader,
        worker::Worker,
    },
};

/// How often a candidate says that it is one, while it has no place.
const STAND_EVERY: Duration = Duration::from_secs(1);
/// The same, of one that has.
const STAND_ON_EVERY: Duration = Duration::from_secs(5);

/// Opens this node's ledger, now or later.
pub(super) struct Coordinating {
    pub(super) base: Base,
    pub(super) context: Context,
    pub(super) worker: Worker,
    pub(super) leader: Leader,
    pub(super) remembered: Remembered,
    /// Told why the node cannot go on, once it cannot.
    pub(super) failed: mpsc::Sender<AppError>,
}

impl Coordinating {
    /// Opens the ledger that is here, or founds the mesh if that was begun.
    pub(super) async fn take_up(&self) -> Result<(), AppError> {
        let (options, mesh) = (&self.base.options, &self.context.mesh);
        let founds = membership::is_founding(options, mesh);
        let start = if founds { Start::Found } else { Start::Resume };
        if !founds && !options.home.mesh_dir(mesh).join("db").exists() {
            return Ok(());
        }
        let replica = match self.open(start).await {
            // It was being made when the node ended: it waits for its place again.
            Err(AppError::Ledger(OpenError::Empty { .. })) => return Ok(()),
            // It is that of the key before: the vote was that key's. The others have what is in it.
            Err(AppError::Ledger(OpenError::OtherNode { .. }))
                if !founds && options.home.old_key_file().exists() =>
            {
                return membership::forget_ledger(options, mesh);
            }
            opened => opened?,
        };
        if founds {
            self.found(&replica).await?;
            membership::end_founding(options, mesh)?;
        }
        self.begin(replica)
    }

    async fn open(&self, start: Start) -> Result<Arc<Replica>, AppError> {
        let (options, mesh) = (&self.base.options, self.context.mesh);
        let dir = options.home.mesh_dir(&mesh).join("db");
        let incarnation = membership::incarnation(options, &mesh)?;
        let config = ReplicaConfig {
            epoch: self.context.epoch,
            ..ReplicaConfig::new(mesh, options.node(), incarnation)
        };
        let clock: Clock = Arc::new(NodeClock::wall);
        let peers = Arc::new(GroupPeers::new(self.base.net.clone()));
        let opened = tokio::task::spawn_blocking(move || {
            Replica::open_in_group(&dir, config, clock, peers, &start)
        });
        let replica = opened.await.map_err(|_| AppError::Ended("ledger"))?;
        replica.map(Arc::new).map_err(AppError::Ledger)
    }

    async fn found(&self, replica: &Replica) -> Result<(), AppError> {
        let damaged = |error| AppError::Damaged(Damaged::from(error));
        if query::mesh(replica.records().as_ref()).map_err(damaged)?.is_some() {
            return Ok(());
        }
        let genesis = &self.context.genesis;
        let request = RequestId(genesis.hash().0.first_chunk().copied().unwrap_or_default());
        let command = Command::Found((**genesis).clone());
        match replica.propose(Proposal { request, command }).await.map_err(AppError::Found)? {
            Reply::Done { .. } => Ok(()),
            Reply::Rejected(rejection) => Err(AppError::FoundRejected(rejection.reason)),
        }
    }

    /// Starts the role on an open ledger.
    fn begin(&self, replica: Arc<Replica>) -> Result<(), AppError> {
        let config = &self.base.options.config;
        let silence =
            Silence { suspect_after: config.suspect_after, offline_after: config.offline_after };
        let context = &self.context;
        let coordinator =
            Coordinator::start(context.clone(), replica, Some(self.worker.clone()), silence)
                .map_err(AppError::Damaged)?;
        self.leader.coordinate(Some(coordinator.clone()));
        context.spawn(follow_leadership(coordinator.clone(), self.leader.clone()));
        context.spawn(follow_roster(coordinator.clone(), self.remembered.clone()));
        let joining = context.genesis.peek().map(|genesis| genesis.joining);
        if config.auto_approve && joining == Ok(Joining::Approval) {
            context.spawn(approve_all(context.clone(), coordinator, self.leader.clone()));
        }
        Ok(())
    }

    /// Says again and again that this node would coordinate, and opens its ledger once it has a place.
    pub(super) async fn stand(self) {
        loop {
            let said = match self.candidacy() {
                Ok(candidacy) => self.leader.client_now(ClientRequest::Stand(candidacy)).await,
                Err(error) => {
                    let _ended = self.failed.send(error).await;
                    return;
                }
            };
            if let ClientResponse::Candidate(Candidate::Admitted { raft_id, members }) = &said
                && self.leader.here().is_none()
            {
                tracing::info!(raft_id = *raft_id, "this node coordinates from now on");
                let place =
                    Place { raft_id: *raft_id, members: members.iter().map(member).collect() };
                let begun = match self.open(Start::Join(place)).await {
                    Ok(replica) => self.begin(replica),
                    Err(error) => Err(error),
                };
                if let Err(error) = begun {
                    let _ended = self.failed.send(error).await;
                    return;
                }
            }
            if let ClientResponse::Candidate(said) = &said {
                match self.compare(said).await {
                    Ok(true) => {}
                    // What still holds the old ledger ends with the node.
                    Ok(false) => return,
                    Err(error) => {
                        let _ended = self.failed.send(error).await;
                        return;
                    }
                }
            }
            let has_place = self.leader.here().is_some();
            tokio::time::sleep(if has_place { STAND_ON_EVERY } else { STAND_EVERY }).await;
        }
    }

    /// A ledger whose number has no place in the group any more is put away: the node left, or was away for so long that it was
    /// replaced. Its number must not vote again; a new place comes with a new one, when the node is started again. Says whether the
    /// ledger is still one of the group.
    async fn compare(&self, said: &Candidate) -> Result<bool, AppError> {
        let (options, mesh) = (&self.base.options, &self.context.mesh);
        let Some(here) = self.leader.here() else { return Ok(true) };
        if matches!(said, Candidate::Admitted { raft_id, .. } if *raft_id == here.raft_id()) {
            return Ok(true);
        }
        tracing::info!(raft_id = here.raft_id(), "this node has no place among the coordinators");
        self.leader.coordinate(None);
        here.consensus().shutdown().await;
        self.leader.retire();
        membership::put_ledger_away(options, mesh)?;
        Ok(false)
    }

    fn candidacy(&self) -> Result<Candidacy, AppError> {
        let (options, mesh) = (&self.base.options, &self.context.mesh);
        let wish = membership::wish(options, mesh);
        let up = self.base.clock.now().saturating_since(Timestamp::ORIGIN);
        Ok(Candidacy {
            incarnation: membership::incarnation(options, mesh)?,
            raft_id: self.leader.here().map(|here| here.raft_id()),
            up_ms: u64::try_from(up.as_millis()).unwrap_or(u64::MAX),
            disk_free_bytes: disk_free(&options.home.mesh_dir(mesh)),
            sync_us: None,
            mobile: false,
            asked: wish == Wish::Join,
            leaving: wish == Wish::Leave,
            at: NodeClock::wall(),
        })
    }
}

/// Free bytes where something lies; none if the system does not say.
fn disk_free(path: &std::path::Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

const fn member(seat: &Seat) -> GroupMember {
    GroupMember { raft_id: seat.raft_id, node: seat.node, incarnation: seat.incarnation }
}

async fn follow_leadership(coordinator: Coordinator, leader: Leader) {
    let mut leadership = coordinator.consensus().leadership();
    leadership.mark_changed();
    while leadership.changed().await.is_ok() {
        let now = *leadership.borrow_and_update();
        leader.learn(now.term, now.leader_node);
    }
}

async fn follow_roster(coordinator: Coordinator, remembered: Remembered) {
    let mut roster = coordinator.roster();
    roster.mark_changed();
    while roster.changed().await.is_ok() {
        let now = roster.borrow_and_update().clone();
        remembered.heed(&now).await;
    }
}

/// Approves whoever waits, in the name of this node's owner: what `--auto-approve` means in a mesh that was
/// founded without it.
async fn approve_all(context: Context, coordinator: Coordinator, leader: Leader) {
    let mut events = coordinator.consensus().applied_events();
    loop {
        let records = coordinator.consensus().records();
        let Ok(nodes) = query::nodes(records.as_ref()) else { return };
        for node in nodes.into_iter().filter(|node| node.admission == Admission::Pending) {
            let decision = NodeDecision {
                node: node.node,
                verdict: Verdict::Approve,
                roles: node.roles,
                delegation: None,
                reason: None,
                note: String::new(),
                at: NodeClock::wall(),
            };
            let signed = Signed::sign(&decision, context.mesh, &context.keys.owner);
            let answer = leader.client(ClientRequest::Decide(signed)).await;
            if let ClientResponse::Rejected { reason, .. } = answer {
                tracing::warn!(node = %node.node, %reason, "a node could not be approved");
            }
        }
        if !nodes_changed(&mut events).await {
            return;
        }
    }
}

/// Waits until something about a node has changed; says whether anything can.
pub(super) async fn nodes_changed(
    events: &mut broadcast::Receiver<Arc<ledger::replica::AppliedEvents>>,
) -> bool {
    loop {
        match events.recv().await {
            Ok(applied) => {
                let about_a_node = |event: &Event| matches!(event, Event::NodeChanged { .. });
                if applied.events.iter().any(about_a_node) {
                    return true;
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => return true,
            Err(broadcast::error::RecvError::Closed) => return false,
        }
    }
}
