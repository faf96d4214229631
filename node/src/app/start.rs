//! A node that is a member: its roles, started in the order in which they need each other.

use std::{collections::BTreeSet, sync::Arc};

use protocol::{
    ids::MeshId,
    wire::{
        advert::Isolation,
        enroll::{EnrollResponse, Membership, MeshHello, NodeAddress, Role},
        genesis::Genesis,
        heartbeat::Roster,
    },
};
use sandbox::pool::Pool;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AppError, adverts,
    coordinating::Coordinating,
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
        let known = membership.coordinators.iter().map(|other| other.node).collect();
        let leader = Leader::new(self.net.clone(), self.clock, known);
        let remembered = Remembered::new(
            (self.clone(), context.owner.clone()),
            mesh,
            membership.clone(),
            leader.clone(),
        );
        let (failed, failures) = mpsc::channel(1);
        let coordinating = Coordinating {
            base: self.clone(),
            context: context.clone(),
            worker: worker.handle(),
            leader: leader.clone(),
            remembered: remembered.clone(),
            failed,
        };
        coordinating.take_up().await?;
        self.follow(&context, &leader, &membership, &remembered).await;
        let worker = self.start_worker(&context, worker, &leader, remembered)?;
        let submitter = Submitter::new(context.clone(), leader.clone());
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
            context: context.clone(),
            leader,
            submitter,
            worker: Some(worker),
            mesh_name: genesis.name.clone(),
            facts,
        };
        context.spawn(notices::tell(member.clone(), self.terminal()));
        context.spawn(stay::follow_facts(member.clone(), said));
        if self.has(Role::Coordinator) {
            context.spawn(coordinating.stand());
        }
        Ok(Stay { member, failures: Mutex::new(failures), tasks, stop })
    }

    fn start_worker(
        &self,
        context: &Context,
        worker: worker::Unstarted,
        leader: &Leader,
        remembered: Remembered,
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
        context.spawn(remember_roster(remembered, changed));
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

    /// Opens the mesh's protocols, and keeps following who is a member and who leads.
    async fn follow(
        &self,
        context: &Context,
        leader: &Leader,
        membership: &Membership,
        remembered: &Remembered,
    ) {
        let mesh = context.mesh;
        let roll = match leader.here() {
            Some(coordinator) => roll(&coordinator.roster().borrow()),
            None => Roll {
                members: membership.members.iter().copied().collect(),
                blocked: BTreeSet::new(),
                coordinators: membership.coordinators.iter().map(|other| other.node).collect(),
            },
        };
        self.net.join_mesh(MeshSetup::new(mesh, membership.epoch, roll)).await;
        // Coordinators first; then whom this node knew, so that it is found again wherever it listens now; last the
        // addresses that a person wrote down, for when everybody listens elsewhere now.
        remembered.reach(&membership.coordinators).await;
        let first = membership.coordinators.first().map(|coordinator| coordinator.node);
        leader.learn(0, first.filter(|first| *first != self.net.local()));
        context.spawn(leader.clone().look_out());
    }
}

/// Whom this node knows in its mesh, here and on disk. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    base: Base,
    owner: Owner,
    mesh: MeshId,
    /// What is known, and the version of the member list in it.
    known: Arc<Mutex<(u64, Membership)>>,
    leader: Leader,
}

impl Remembered {
    fn new(
        (base, owner): (Base, Owner),
        mesh: MeshId,
        membership: Membership,
        leader: Leader,
    ) -> Self {
        Self { base, owner, mesh, known: Arc::new(Mutex::new((0, membership))), leader }
    }

    /// Takes over what a leader or this node's own records say, unless that is older than what is known: a ledger that has
    /// just been given a place is empty.
    pub(super) async fn heed(&self, roster: &Roster) {
        if self.take_over(roster).await {
            self.ask_whose(roster).await;
        }
    }

    /// Takes it over; says whether it is of now.
    async fn take_over(&self, roster: &Roster) -> bool {
        let mut known = self.known.lock().await;
        let (version, membership) = &mut *known;
        if roster.members.is_empty() || roster.version < *version {
            return false;
        }
        *version = roster.version;
        self.base.net.set_roll(roll(roster)).await;
        self.leader.ask_these(roster.coordinators.iter().map(|other| other.node).collect());
        let mut heeded = membership.clone();
        heeded.members.clone_from(&roster.members);
        if !roster.coordinators.is_empty() {
            heeded.coordinators.clone_from(&roster.coordinators);
        }
        if heeded == *membership {
            return true;
        }
        *membership = heeded;
        if let Err(error) = membership::save(&self.base.options, &self.mesh, membership) {
            tracing::warn!(error = %super::chain(&error), "the member list cannot be kept");
        }
        drop(known);
        self.reach(&roster.coordinators).await;
        true
    }

    /// Finds out whose this node is: that changes with an approval, as the member list does.
    async fn ask_whose(&self, roster: &Roster) {
        let here = self.base.net.local();
        let said = match self.leader.here() {
            Some(records) => records.whose(&here),
            None => {
                let leads = *self.leader.watch().borrow();
                let first = roster.coordinators.first().map(|coordinator| coordinator.node);
                let Some(leader) = leads.or(first) else { return };
                let request = Request::sign(&self.base.options, self.mesh, None).message();
                match self.base.net.enroll(leader, request).await {
                    Ok(EnrollResponse::Admitted(now)) => Some((now.account, now.delegation)),
                    Ok(_) | Err(_) => None,
                }
            }
        };
        let Some((account, delegation)) = said else { return };
        let mut known = self.known.lock().await;
        let (_, membership) = &mut *known;
        let trusted = account == membership.account;
        let believed = self.owner.learn(account, delegation.as_ref(), trusted);
        if !believed || (trusted && membership.delegation == delegation) {
            return;
        }
        (membership.account, membership.delegation) = (account, delegation);
        if let Err(error) = membership::save(&self.base.options, &self.mesh, membership) {
            tracing::warn!(error = %super::chain(&error), "whose this node is cannot be kept");
        }
    }

    /// Keeps connections up to these, and to whom this node knew before.
    async fn reach(&self, coordinators: &[NodeAddress]) {
        let options = &self.base.options;
        let here = self.base.net.local();
        let remembered = remember::load(&options.home.peers_file()).unwrap_or_else(|error| {
            tracing::warn!(error = %super::chain(&error), "remembered peers cannot be read");
            Vec::new()
        });
        let bootstrap = options.config.bootstrap.iter().filter_map(|text| named(text));
        let mut targets: Vec<NodeAddress> = Vec::new();
        let others = coordinators.iter().filter(|other| other.node != here).cloned();
        for target in others.chain(remembered).chain(bootstrap) {
            match targets.iter_mut().find(|known| known.node == target.node) {
                Some(known) => known.addresses.extend(target.addresses),
                None => targets.push(target),
            }
        }
        self.base.net.set_targets(targets).await;
    }
}

/// The node that an address names, and where that is.
fn named(address: &str) -> Option<NodeAddress> {
    let (place, peer) = address.rsplit_once("/p2p/")?;
    Some(NodeAddress { node: peer.parse().ok()?, addresses: vec![place.to_owned()] })
}

/// What the network needs to know of a member list.
fn roll(roster: &Roster) -> Roll {
    Roll {
        members: roster.members.iter().copied().collect(),
        blocked: roster.blocked.iter().copied().collect(),
        coordinators: roster.coordinators.iter().map(|coordinator| coordinator.node).collect(),
    }
}

/// Keeps the member list that the leader sends.
async fn remember_roster(remembered: Remembered, mut changed: watch::Receiver<Option<Roster>>) {
    while changed.changed().await.is_ok() {
        let roster = changed.borrow_and_update().clone();
        if let Some(roster) = roster {
            remembered.heed(&roster).await;
        }
    }
}

/// The founding statement's rule for a node of its own mesh. That it is to be founded is kept: a founder whose ledger is
/// lost must not found the same mesh again.
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
    membership::begin_founding(options, &mesh)?;
    Ok((mesh, membership))
}
