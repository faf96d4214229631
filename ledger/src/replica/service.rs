//! A replica at work: openraft on its own threads, behind [`Consensus`].

use std::{
    collections::BTreeSet,
    fmt,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture};
use openraft::{
    ReadPolicy,
    async_runtime::watch::WatchReceiver,
    errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError},
};
use protocol::{
    codec::{self, Canonical, DecodeError},
    ids::NodeId,
};
use rocksdb::WriteBatch;
use tokio::{
    sync::{Semaphore, SemaphorePermit, broadcast, watch},
    time,
};

use super::{
    AppliedEvents, Clock, Consensus, Fatal, GroupStatus, Leadership, MemberRole, MemberStatus,
    OpenError, Proposal, ProposeError, ReplicaConfig,
    acknowledge::Acknowledgement,
    disk::{self, IdentityRecord, LogIdRecord, SponsorsRecord, VoteRecord},
    fault::Fault,
    group::Admission,
    incoming::Incoming,
    leadership,
    log::LogReader,
    network::Network,
    peers::{NoPeers, Peers},
    raft::{CommandBytes, LogId, Raft, Types, Vote},
    receive::Receiver,
    store::{Database, Durability, META, StoreError, View, meta},
    worker::Worker,
};
use crate::{
    command::{Reply, Stamped},
    records::Records,
};

/// The number of the member that founds a group: the index of the first entry that it writes as a leader.
/// Later members get the index of the entry that admits them, so no number is used twice.
const FOUNDER: u64 = 1;
/// Proposals that are on their way, in KiB of their encoding. Further ones wait.
const IN_FLIGHT_KIB_MAX: u32 = 64 * 1024;
/// How long a proposal waits that a leader could not write, before it is tried again.
const LEADER_RETRY: Duration = Duration::from_millis(20);
/// How long a shutdown waits for the threads.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// How a replica whose directory is new comes into its group. One that has a log takes it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It founds a group and is its one voter.
    Found,
    /// It was admitted to a group and waits for its leader.
    Join(Admission),
    /// It has a log already: a directory without one is not opened ([`OpenError::Empty`]).
    Resume,
}

/// The replica of this node.
///
/// Dropping it stops it; [`Consensus::shutdown`] also waits for that. The directory is released when it is
/// dropped, and with it everything that [`Consensus::records`] gave out.
pub struct Replica {
    raft: Raft,
    database: Arc<Database>,
    identity: IdentityRecord,
    receiver: Receiver,
    config: ReplicaConfig,
    clock: Clock,
    leadership: watch::Receiver<Leadership>,
    events: broadcast::Sender<Arc<AppliedEvents>>,
    in_flight: Semaphore,
    acknowledgement: Acknowledgement,
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Replica {
    /// Opens the replica in `dir`. A new directory becomes a group of one voter; otherwise the log is taken up
    /// where it ended, and what was committed is applied.
    ///
    /// Blocks while the database recovers; in asynchronous code, call it on a thread for blocking work.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(dir: &Path, config: ReplicaConfig, clock: Clock) -> Result<Self, OpenError> {
        Self::open_in_group(dir, config, clock, Arc::new(NoPeers), &Start::Found)
    }

    /// Opens the replica in `dir` as a member of a group whose other members `peers` reaches.
    ///
    /// Blocks while the database recovers; in asynchronous code, call it on a thread for blocking work.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_in_group(
        dir: &Path,
        config: ReplicaConfig,
        clock: Clock,
        peers: Arc<dyn Peers>,
        start: &Start,
    ) -> Result<Self, OpenError> {
        let fault = Fault::new();
        let database = Arc::new(Database::open(dir, fault)?);
        let identity = identify(&database, dir, &config, start)?;
        let network =
            Network { peers, identity, epoch: config.epoch, append_wait: config.append_wait() };
        let incoming = Arc::new(Incoming::new(&database.snapshots()));
        let receiver = Receiver { identity, epoch: config.epoch, incoming };
        let (events, _) = broadcast::channel(config.events_max.max(1));
        let (leadership, shown) = watch::channel(leadership::NOBODY);
        let (stop, asked_to_stop) = watch::channel(false);
        let (has_stopped, stopped) = watch::channel(false);
        let (started, start) = mpsc::sync_channel(1);
        let worker = Worker {
            dir: dir.to_owned(),
            raft: config.raft(),
            identity,
            network,
            founds: identity.raft_id == FOUNDER,
            database: Arc::clone(&database),
            events: events.clone(),
            leadership,
            stop: asked_to_stop,
        };
        thread::Builder::new()
            .name("ledger".into())
            .spawn(move || {
                worker.run(&started);
                has_stopped.send_replace(true);
            })
            .map_err(OpenError::Thread)?;
        let raft = start.recv().unwrap_or_else(|_| {
            Err(OpenError::Start {
                dir: dir.to_owned(),
                source: Fatal::because("its thread panicked"),
            })
        })?;
        let in_flight = Semaphore::new(usize::try_from(IN_FLIGHT_KIB_MAX).unwrap_or(usize::MAX));
        Ok(Self {
            raft,
            database,
            identity,
            receiver,
            config,
            clock,
            leadership: shown,
            events,
            in_flight,
            acknowledgement: Acknowledgement::default(),
            stop,
            stopped,
        })
    }

    /// Answers a message of another member. `sender` is the node that the network has authenticated.
    ///
    /// What is not from a member, or not for this one, is refused and changes nothing.
    ///
    /// Not cancel safe in one respect: a snapshot whose installation has begun is installed all the same.
    pub async fn receive(&self, sender: NodeId, frame: &[u8]) -> Vec<u8> {
        self.receiver.answer(&self.raft, &self.database, sender, frame).await
    }

    /// On how many disks a reply is at present when it is given.
    #[must_use]
    pub fn durability(&self) -> super::ReplyDurability {
        self.acknowledgement.durability(&self.raft)
    }

    /// Raft itself.
    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Whose replica it is.
    pub(crate) fn identity(&self) -> &IdentityRecord {
        &self.identity
    }

    /// Who leads.
    pub(crate) fn leadership_now(&self) -> &watch::Receiver<Leadership> {
        &self.leadership
    }

    /// The bytes that go into the log.
    fn encode(&self, proposal: Proposal) -> Result<CommandBytes, ProposeError> {
        let stamped = proposal.stamp(self.config.mesh, (self.clock)());
        match codec::try_encode(&stamped) {
            Ok(bytes) => Ok(CommandBytes(bytes)),
            Err(DecodeError::TooLong { found, limit }) => {
                Err(ProposeError::TooLarge { bytes: found, bytes_max: limit })
            }
            Err(_) => {
                Err(ProposeError::TooLarge { bytes: usize::MAX, bytes_max: Stamped::BYTES_MAX })
            }
        }
    }

    /// Waits until there is room for `commands`.
    async fn room_for(
        &self,
        commands: &[CommandBytes],
    ) -> Result<SemaphorePermit<'_>, ProposeError> {
        let kib = commands.iter().fold(0_u32, |sum, command| {
            sum.saturating_add(u32::try_from(command.0.len().div_ceil(1024)).unwrap_or(u32::MAX))
        });
        self.in_flight.acquire_many(kib.min(IN_FLIGHT_KIB_MAX)).await.map_err(|_| self.stopped())
    }

    /// Proposes once this node leads, and waits for the replies.
    async fn write(&self, commands: Vec<CommandBytes>) -> Result<Vec<Reply>, ProposeError> {
        let _room = self.room_for(&commands).await?;
        let mut waited = Duration::ZERO;
        loop {
            match self.write_once(commands.clone()).await {
                // Nothing was written: leadership was lost before, or its lease has run out. A leader says so for
                // a moment after its election as well.
                Err(ProposeError::NoLeader { leader: None })
                    if waited < self.config.leader_wait =>
                {
                    time::sleep(LEADER_RETRY).await;
                    waited = waited.saturating_add(LEADER_RETRY);
                }
                result => return result,
            }
        }
    }

    async fn write_once(&self, commands: Vec<CommandBytes>) -> Result<Vec<Reply>, ProposeError> {
        self.await_leadership().await?;
        let written = async {
            let results =
                self.raft.client_write_many(commands).await.map_err(|_| self.stopped())?;
            let mut last = 0;
            let replies = results.map(|result| match result {
                Ok(Ok(written)) => {
                    last = written.log_id.index.max(last);
                    written.response.ok_or(ProposeError::Unknown)
                }
                Ok(Err(refused)) => Err(self.refused(&refused)),
                Err(_) => Err(self.stopped()),
            });
            let replies: Vec<Reply> = replies.try_collect().await?;
            self.acknowledgement.wait(&self.raft, last).await;
            Ok(replies)
        };
        time::timeout(self.config.apply_wait, written).await.unwrap_or(Err(ProposeError::Unknown))
    }

    /// Waits until this node leads. Fails at once if another does.
    async fn await_leadership(&self) -> Result<(), ProposeError> {
        let mut leadership = self.leadership.clone();
        let settled = leadership.wait_for(|now| {
            now.leader || now.leader_node.is_some_and(|node| node != self.config.node)
        });
        match time::timeout(self.config.leader_wait, settled).await {
            Ok(Ok(now)) if now.leader => Ok(()),
            Ok(Ok(now)) => Err(ProposeError::NoLeader { leader: now.leader_node }),
            Ok(Err(_)) => Err(self.stopped()),
            Err(_) => match self.database.fault().get() {
                Some(fatal) => Err(ProposeError::Stopped(fatal)),
                None => Err(ProposeError::NoLeader { leader: None }),
            },
        }
    }

    async fn wait_until_readable(&self) -> Result<u64, ProposeError> {
        self.await_leadership().await?;
        let barrier = self.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        match time::timeout(self.config.apply_wait, barrier).await {
            Ok(Ok(read)) => Ok(read.log_id().index),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(elsewhere(&forward))
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) | Err(_) => {
                Err(ProposeError::Unknown)
            }
            Ok(Err(RaftError::Fatal(_))) => Err(self.stopped()),
        }
    }

    fn refused(&self, error: &ClientWriteError<Types>) -> ProposeError {
        match error {
            ClientWriteError::ForwardToLeader(forward) => elsewhere(forward),
            ClientWriteError::LogEntryDiscarded(_) => ProposeError::Unknown,
            ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_) => {
                // Commands change no membership and carry no condition.
                self.database.fault().raise(Fatal::from_error(error));
                self.stopped()
            }
        }
    }

    /// Why nothing can be proposed any more.
    fn stopped(&self) -> ProposeError {
        ProposeError::Stopped(self.why_stopped())
    }

    /// Why the replica stopped.
    pub(crate) fn why_stopped(&self) -> Fatal {
        self.database.fault().get().unwrap_or_else(|| Fatal::because("it was shut down"))
    }
}

fn elsewhere(forward: &ForwardToLeader<Types>) -> ProposeError {
    ProposeError::NoLeader { leader: forward.leader_node.map(|member| member.node) }
}

impl Consensus for Replica {
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<Reply, ProposeError>> {
        async move {
            let command = self.encode(proposal)?;
            let replies = self.write(vec![command]).await?;
            replies.into_iter().next().ok_or(ProposeError::Unknown)
        }
        .boxed()
    }

    fn propose_many(
        &self,
        proposals: Vec<Proposal>,
    ) -> BoxFuture<'_, Result<Vec<Reply>, ProposeError>> {
        async move {
            let commands = proposals.into_iter().map(|proposal| self.encode(proposal));
            self.write(commands.collect::<Result<_, _>>()?).await
        }
        .boxed()
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<u64, ProposeError>> {
        self.wait_until_readable().boxed()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    fn status(&self) -> GroupStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let last = metrics.last_log_index.unwrap_or(0);
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(id, member)| {
            let replicated = metrics.replication.as_ref().and_then(|all| all.get(id));
            let matched =
                |matched: &Option<LogId>| last.saturating_sub(matched.map_or(0, |at| at.index));
            MemberStatus {
                node: member.node,
                role: if voters.contains(id) { MemberRole::Voter } else { MemberRole::Learner },
                lag: replicated.map(matched),
            }
        });
        // openraft's figures are a little late. A failure to read has stopped the replica, which `fatal` tells.
        let applied = self.database.meta::<LogIdRecord>(meta::APPLIED).ok().flatten();
        let applied_index = applied.map_or(0, |at| LogId::from(at).index);
        GroupStatus {
            leadership: *self.leadership.borrow(),
            commit_index: metrics.local_committed.map_or(0, |at| at.index).max(applied_index),
            applied_index,
            members: members.collect(),
        }
    }

    fn records(&self) -> Arc<dyn Records + Send + Sync> {
        Arc::clone(&self.database) as Arc<dyn Records + Send + Sync>
    }

    fn view(&self) -> Box<dyn Records + Send + Sync + '_> {
        Box::new(View::new(&self.database))
    }

    fn applied_events(&self) -> broadcast::Receiver<Arc<AppliedEvents>> {
        self.events.subscribe()
    }

    fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        self.database.fault().subscribe()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        async move {
            self.stop.send_replace(true);
            let mut stopped = self.stopped.clone();
            if time::timeout(SHUTDOWN_MAX, stopped.wait_for(|stopped| *stopped)).await.is_err() {
                tracing::warn!("the ledger's threads did not end in time");
            }
        }
        .boxed()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Reads whose replica the directory holds, or makes it this one's.
fn identify(
    database: &Arc<Database>,
    dir: &Path,
    config: &ReplicaConfig,
    start: &Start,
) -> Result<IdentityRecord, OpenError> {
    let failed = |source| OpenError::Database { dir: dir.to_owned(), source: Box::new(source) };
    let found = database.meta::<IdentityRecord>(meta::IDENTITY).map_err(failed)?;
    if let Some(what) = forgotten(database, found.as_ref()).map_err(failed)? {
        return Err(OpenError::RolledBack { dir: dir.to_owned(), what });
    }
    let identity = match found {
        Some(identity) => identity,
        None => {
            let raft_id = match start {
                Start::Found => FOUNDER,
                Start::Join(admission) => admission.raft_id,
                Start::Resume => return Err(OpenError::Empty { dir: dir.to_owned() }),
            };
            let new = IdentityRecord {
                mesh: config.mesh,
                node: config.node,
                raft_id,
                incarnation: config.incarnation,
            };
            write_identity(database, &new, start).map_err(failed)?;
            new
        }
    };
    if identity.mesh != config.mesh {
        return Err(OpenError::OtherMesh { dir: dir.to_owned() });
    }
    if identity.node != config.node {
        return Err(OpenError::OtherNode { dir: dir.to_owned() });
    }
    let bound = database.promise(|promise| {
        promise.bind(identity);
        Ok(())
    });
    bound.map_err(failed)?;
    Ok(identity)
}

/// What of its promises the database has forgotten.
fn forgotten(
    database: &Arc<Database>,
    identity: Option<&IdentityRecord>,
) -> Result<Option<&'static str>, StoreError> {
    let Some(promised) = database.promised() else { return Ok(None) };
    let Some(identity) = identity else { return Ok(Some("it is empty")) };
    let vote = database.meta::<VoteRecord>(meta::VOTE)?.map(Vote::from);
    let last = LogReader::new(Arc::clone(database)).state()?.last_log_id;
    Ok(promised.broken_by(identity, vote, last.map(|last| last.index)))
}

fn write_identity(
    database: &Database,
    identity: &IdentityRecord,
    start: &Start,
) -> Result<(), StoreError> {
    let mut batch = WriteBatch::default();
    let family = database.family(META)?;
    batch.put_cf(&family, meta::IDENTITY, disk::seal(identity));
    if let Start::Join(admission) = start {
        let members = admission.members.iter().map(super::GroupMember::member).collect();
        batch.put_cf(&family, meta::SPONSORS, disk::seal(&SponsorsRecord { members }));
    }
    database.write(batch, Durability::Synced)
}

#[cfg(test)]
mod tests;
