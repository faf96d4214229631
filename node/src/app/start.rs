//! A node that is a member: its roles, started in the order in which they need each other.

use std::{collections::BTreeSet, sync::Arc};

use ledger::{
    command::{Command, Reply},
    replica::{Clock, Consensus, Proposal, Replica, ReplicaConfig},
    state::{Event, query},
};
use protocol::{
    ids::{MeshId, NodeId, RequestId},
    sign::Signed,
    wire::{
        advert::Isolation,
        enroll::{EnrollResponse, Membership, MeshHello, NodeAddress, NodeDecision, Role, Verdict},
        genesis::{Genesis, Joining},
        heartbeat::Roster,
        view::Admission,
    },
};
use sandbox::pool::Pool;
use tokio::sync::{broadcast, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AppError, adverts,
    enroll::Request,
    membership, notices,
    stay::{self, Stay},
    words::Terminal,
};
use crate::{
    api::Member,
    blobs::BlobStore,
    home::UpOptions,
    machine::Machine,
    net::{MeshSetup, NetHandle, Roll, remember},
    roles::{
        Context,
        clock::NodeClock,
        coordinator::{Coordinator, Silence},
        leader::Leader,
        owner::Owner,
        submitter::Submitter,
        worker::{self, Outbox, Worker},
    },
};

/// What a node has before it is a member.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) options: Arc<UpOptions>,
    pub(super) net: NetHandle,
    pub(super) blobs: BlobStore,
    pub(super) pool: Arc<Pool>,
    pub(super) machine: Machine,
    pub(super) isolation: Isolation,
    pub(super) clock: NodeClock,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Base {
    fn has(&self, role: Role) -> bool {
        self.options.config.roles.contains(&role)
    }

    /// Where a person reads what this node has to say.
    pub(super) fn terminal(&self) -> Terminal {
        Terminal { watched: self.options.watched }
    }

    /// Runs something beside, until it ends or the node does.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let _stopped = stop.run_until_cancelled_owned(work).await;
        });
    }

    fn context(&self, mesh: MeshId, membership: &Membership) -> Context {
        let keys = Arc::new(self.options.keys.clone());
        let owner = Owner::new(mesh, keys.clone());
        // It was checked before it was kept.
        owner.learn(membership.account, membership.delegation.as_ref(), true);
        Context {
            mesh,
            owner,
            genesis: Arc::new(membership.genesis.clone()),
            epoch: membership.epoch,
            keys,
            blobs: self.blobs.clone(),
            net: self.net.clone(),
            clock: self.clock,
            tasks: TaskTracker::new(),
            stop: self.stop.child_token(),
        }
    }

    /// Starts all roles in a mesh.
    pub(super) async fn start(
        &self,
        mesh: MeshId,
        membership: Membership,
    ) -> Result<Stay, AppError> {
        membership::save(&self.options, &mesh, &membership)?;
        let context = self.context(mesh, &membership);
        let genesis = membership.genesis.peek().map_err(|source| AppError::Membership {
            path: self.options.home.mesh_dir(&mesh),
            source,
        })?;
        let works = self.has(Role::Worker);
        let slots = if works { self.machine.outlook().borrow().shared.limits.slots } else { 0 };
        let worker = Worker::unstarted(slots);
        let coordinates = genesis.coordinator == self.options.node();
        let coordinator = if coordinates {
            let consensus = self.open_ledger(mesh, &membership).await?;
            let config = &self.options.config;
            let silence = Silence {
                suspect_after: config.suspect_after,
                offline_after: config.offline_after,
            };
            let coordinator =
                Coordinator::start(context.clone(), consensus, Some(worker.handle()), silence);
            Some(coordinator.map_err(AppError::Damaged)?)
        } else {
            None
        };
        let leader = Leader::new(self.net.clone(), coordinator.clone());
        self.follow(&context, &leader, coordinator.as_ref(), &membership).await;
        self.start_worker(&context, worker, &leader, membership.clone()).map(|worker| {
            let submitter = Submitter::new(context.clone(), leader.clone());
            let consensus = coordinator.as_ref().map(|coordinator| coordinator.consensus().clone());
            let (tasks, stop) = (context.tasks.clone(), context.stop.clone());
            let (said, facts) = watch::channel(MeshHello {
                mesh,
                name: genesis.name.clone(),
                epoch: membership.epoch,
                joining: genesis.joining,
                founded: genesis.founded,
                members: u32::try_from(membership.members.len()).unwrap_or(u32::MAX),
                pristine: false,
            });
            let member = Member {
                context,
                leader,
                submitter,
                worker: Some(worker),
                mesh_name: genesis.name.clone(),
                facts,
            };
            if let Some(coordinator) = coordinator {
                let terminal = self.terminal();
                member.context.spawn(notices::tell(member.clone(), coordinator, terminal));
            } else {
                member.context.spawn(stay::follow_facts(member.clone(), said));
            }
            Stay { member, consensus, tasks, stop }
        })
    }

    fn start_worker(
        &self,
        context: &Context,
        worker: worker::Unstarted,
        leader: &Leader,
        membership: Membership,
    ) -> Result<Worker, AppError> {
        let mesh = context.mesh;
        let dir = self.options.home.mesh_dir(&mesh).join("outbox");
        let outbox = Outbox::open(&dir).map_err(AppError::Outbox)?;
        let (roster, changed) = watch::channel(None);
        let handle = worker.handle();
        let parts = worker::Parts {
            leader: leader.clone(),
            pool: self.pool.clone(),
            outbox,
            works: self.has(Role::Worker),
            machine: self.machine.clone(),
            roster,
        };
        worker.start(context.clone(), parts);
        if leader.here().is_none() {
            let owner = context.owner.clone();
            let parts = (self.clone(), owner, leader.clone());
            context.spawn(remember_roster(parts, mesh, membership, changed));
        }
        let adverts = adverts::publish(
            context.clone(),
            leader.clone(),
            self.options.clone(),
            (self.machine.clone(), self.isolation),
            handle.slots(),
        );
        context.spawn(adverts);
        Ok(handle)
    }

    /// Opens the ledger, and founds the mesh if that has not happened.
    async fn open_ledger(
        &self,
        mesh: MeshId,
        membership: &Membership,
    ) -> Result<Arc<dyn Consensus>, AppError> {
        let dir = self.options.home.mesh_dir(&mesh).join("db");
        let incarnation = membership::incarnation(&self.options, &mesh)?;
        let config = ReplicaConfig::new(mesh, self.options.node(), incarnation);
        let clock: Clock = Arc::new(NodeClock::wall);
        let opened = tokio::task::spawn_blocking(move || Replica::open(&dir, config, clock)).await;
        let replica = opened.map_err(|_| AppError::Ended("ledger"))?.map_err(AppError::Ledger)?;
        let consensus: Arc<dyn Consensus> = Arc::new(replica);
        let founded = query::mesh(consensus.records().as_ref())
            .map_err(|error| AppError::Damaged(crate::roles::coordinator::Damaged::from(error)))?;
        if founded.is_none() {
            let hash = membership.genesis.hash();
            let request = RequestId(hash.0.first_chunk().copied().unwrap_or_default());
            let command = Command::Found(membership.genesis.clone());
            match consensus.propose(Proposal { request, command }).await.map_err(AppError::Found)? {
                Reply::Done { .. } => {}
                Reply::Rejected(rejection) => {
                    return Err(AppError::FoundRejected(rejection.reason));
                }
            }
        }
        Ok(consensus)
    }

    /// Opens the mesh's protocols, and keeps following who is a member and who leads.
    async fn follow(
        &self,
        context: &Context,
        leader: &Leader,
        coordinator: Option<&Coordinator>,
        membership: &Membership,
    ) {
        let mesh = context.mesh;
        let roll = match coordinator {
            Some(coordinator) => roll(&coordinator.roster().borrow()),
            None => Roll {
                members: membership.members.iter().copied().collect(),
                blocked: BTreeSet::new(),
                coordinators: membership.coordinators.iter().map(|other| other.node).collect(),
            },
        };
        self.net.join_mesh(MeshSetup::new(mesh, roll)).await;
        let here = self.net.local();
        let others = membership.coordinators.iter().filter(|other| other.node != here).cloned();
        // Coordinators first; then whom this node knew, so that it is found again wherever it listens now.
        let remembered = remember::load(&self.options.home.peers_file()).unwrap_or_else(|error| {
            tracing::warn!(error = %super::chain(&error), "remembered peers cannot be read");
            Vec::new()
        });
        // Last the addresses that a person wrote down: for when everybody listens elsewhere now.
        let bootstrap = self.options.config.bootstrap.iter().filter_map(|text| named(text));
        let mut targets: Vec<NodeAddress> = others.collect();
        for target in remembered.into_iter().chain(bootstrap) {
            match targets.iter_mut().find(|known| known.node == target.node) {
                Some(known) => known.addresses.extend(target.addresses),
                None => targets.push(target),
            }
        }
        self.net.set_targets(targets).await;
        match coordinator {
            None => {
                leader.learn(membership.coordinators.first().map(|coordinator| coordinator.node))
            }
            Some(coordinator) => {
                context.spawn(follow_leadership(coordinator.clone(), leader.clone()));
                context.spawn(follow_roster(coordinator.clone(), self.net.clone()));
                let joining = membership.genesis.peek().map(|genesis| genesis.joining);
                if self.options.config.auto_approve && joining == Ok(Joining::Approval) {
                    context.spawn(approve_all(context.clone(), coordinator.consensus().clone()));
                }
            }
        }
    }
}

/// The node that an address names, and where that is.
fn named(address: &str) -> Option<NodeAddress> {
    let (place, peer) = address.rsplit_once("/p2p/")?;
    Some(NodeAddress { node: peer.parse().ok()?, addresses: vec![place.to_owned()] })
}

async fn follow_leadership(coordinator: Coordinator, leader: Leader) {
    let mut leadership = coordinator.consensus().leadership();
    leadership.mark_changed();
    while leadership.changed().await.is_ok() {
        let known = leadership.borrow_and_update().leader_node;
        leader.learn(known);
    }
}

/// What the network needs to know of a member list.
fn roll(roster: &Roster) -> Roll {
    Roll {
        members: roster.members.iter().copied().collect(),
        blocked: roster.blocked.iter().copied().collect(),
        coordinators: roster.coordinators.iter().map(|coordinator| coordinator.node).collect(),
    }
}

async fn follow_roster(coordinator: Coordinator, net: NetHandle) {
    let mut roster = coordinator.roster();
    roster.mark_changed();
    while roster.changed().await.is_ok() {
        let roll = roll(&roster.borrow_and_update());
        net.set_roll(roll).await;
    }
}

/// Keeps the member list that the leader sends, here and on disk.
async fn remember_roster(
    (base, owner, leader): (Base, Owner, Leader),
    mesh: MeshId,
    mut membership: Membership,
    mut changed: watch::Receiver<Option<Roster>>,
) {
    while changed.changed().await.is_ok() {
        let Some(roster) = changed.borrow_and_update().clone() else { continue };
        base.net.set_roll(roll(&roster)).await;
        leader.learn(roster.coordinators.first().map(|coordinator| coordinator.node));
        membership.members = roster.members;
        if let Some(leader) = roster.coordinators.first().map(|coordinator| coordinator.node) {
            ask_whose(&base, &owner, leader, &mut membership).await;
        }
        if let Err(error) = membership::save(&base.options, &mesh, &membership) {
            tracing::warn!(error = %super::chain(&error), "the member list cannot be kept");
        }
    }
}

/// Asks the leader whose this node is: that changes with an approval, as the member list does.
async fn ask_whose(base: &Base, owner: &Owner, leader: NodeId, membership: &mut Membership) {
    let request = Request::sign(&base.options, Genesis::mesh_id(&membership.genesis));
    let answer = base.net.enroll(leader, request.message()).await;
    let Ok(EnrollResponse::Admitted(now)) = answer else { return };
    if owner.learn(now.account, now.delegation.as_ref(), now.account == membership.account) {
        membership.account = now.account;
        membership.delegation = now.delegation;
    }
}

/// Approves whoever waits, in the name of this node's owner: what `--auto-approve` means in a mesh that was
/// founded without it.
async fn approve_all(context: Context, consensus: Arc<dyn Consensus>) {
    let mut events = consensus.applied_events();
    loop {
        let Ok(nodes) = query::nodes(consensus.records().as_ref()) else { return };
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
            let request = RequestId(signed.hash().0.first_chunk().copied().unwrap_or_default());
            let proposal = Proposal { request, command: Command::Decide(signed) };
            if let Err(error) = consensus.propose(proposal).await {
                tracing::warn!(node = %node.node, %error, "a node could not be approved");
            }
        }
        loop {
            match events.recv().await {
                Ok(applied) => {
                    if applied.events.iter().any(|event| matches!(event, Event::NodeChanged { .. }))
                    {
                        break;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => break,
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

/// The founding statement's rule for a node of its own mesh.
pub(super) fn may_found(options: &UpOptions) -> Result<(MeshId, Membership), AppError> {
    if !options.config.roles.contains(&Role::Coordinator) {
        return Err(AppError::NobodyCoordinates);
    }
    let (mesh, membership) = membership::found(options);
    debug_assert_eq!(
        Genesis::mesh_id(&membership.genesis),
        mesh,
        "the id is the hash of the statement"
    );
    Ok((mesh, membership))
}
