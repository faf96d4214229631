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
use protocol::codec::{self, Canonical, DecodeError};
use rocksdb::WriteBatch;
use tokio::{
    sync::{Semaphore, SemaphorePermit, broadcast, watch},
    time,
};

use super::{
    AppliedEvents, Clock, Consensus, Fatal, GroupStatus, Leadership, MemberRole, MemberStatus,
    OpenError, Proposal, ProposeError, ReplicaConfig,
    disk::{self, IdentityRecord, LogIdRecord},
    fault::Fault,
    leadership,
    raft::{CommandBytes, LogId, Raft, Types},
    store::{Database, Durability, META, View, meta},
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
/// How many leaders a proposal survives that are lost before they write it.
const LEADERS_MAX: usize = 3;
/// How long a shutdown waits for the threads.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// The replica of this node.
///
/// Dropping it stops it; [`Consensus::shutdown`] also waits for that. The directory is released when it is
/// dropped, and with it everything that [`Consensus::records`] gave out.
pub struct Replica {
    raft: Raft,
    database: Arc<Database>,
    config: ReplicaConfig,
    clock: Clock,
    leadership: watch::Receiver<Leadership>,
    events: broadcast::Sender<Arc<AppliedEvents>>,
    in_flight: Semaphore,
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
        let fault = Fault::new();
        let database = Arc::new(Database::open(dir, fault)?);
        let identity = identify(&database, dir, &config)?;
        let (events, _) = broadcast::channel(config.events_max.max(1));
        let (leadership, shown) = watch::channel(leadership::NOBODY);
        let (stop, asked_to_stop) = watch::channel(false);
        let (has_stopped, stopped) = watch::channel(false);
        let (started, start) = mpsc::sync_channel(1);
        let worker = Worker {
            dir: dir.to_owned(),
            raft: config.raft(),
            identity,
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
            config,
            clock,
            leadership: shown,
            events,
            in_flight,
            stop,
            stopped,
        })
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
    async fn admit(&self, commands: &[CommandBytes]) -> Result<SemaphorePermit<'_>, ProposeError> {
        let kib = commands.iter().fold(0_u32, |sum, command| {
            sum.saturating_add(u32::try_from(command.0.len().div_ceil(1024)).unwrap_or(u32::MAX))
        });
        self.in_flight.acquire_many(kib.min(IN_FLIGHT_KIB_MAX)).await.map_err(|_| self.stopped())
    }

    /// Proposes once this node leads, and waits for the replies.
    async fn write(&self, commands: Vec<CommandBytes>) -> Result<Vec<Reply>, ProposeError> {
        let _room = self.admit(&commands).await?;
        for _ in 1..LEADERS_MAX {
            match self.write_once(commands.clone()).await {
                // Leadership was lost before the entries were written.
                Err(ProposeError::NoLeader { leader: None }) => {}
                result => return result,
            }
        }
        self.write_once(commands).await
    }

    async fn write_once(&self, commands: Vec<CommandBytes>) -> Result<Vec<Reply>, ProposeError> {
        self.await_leadership().await?;
        let written = async {
            let results =
                self.raft.client_write_many(commands).await.map_err(|_| self.stopped())?;
            let replies = results.map(|result| match result {
                Ok(Ok(written)) => written.response.ok_or(ProposeError::Unknown),
                Ok(Err(refused)) => Err(self.refused(&refused)),
                Err(_) => Err(self.stopped()),
            });
            replies.try_collect().await
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
        let fatal = self.database.fault().get();
        ProposeError::Stopped(fatal.unwrap_or_else(|| Fatal::because("it was shut down")))
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
    database: &Database,
    dir: &Path,
    config: &ReplicaConfig,
) -> Result<IdentityRecord, OpenError> {
    let failed = |source| OpenError::Database { dir: dir.to_owned(), source: Box::new(source) };
    let found = database.meta::<IdentityRecord>(meta::IDENTITY).map_err(failed)?;
    let identity = match found {
        Some(identity) => identity,
        None => {
            let new = IdentityRecord {
                mesh: config.mesh,
                node: config.node,
                raft_id: FOUNDER,
                incarnation: config.incarnation,
            };
            let mut batch = WriteBatch::default();
            batch.put_cf(&database.family(META).map_err(failed)?, meta::IDENTITY, disk::seal(&new));
            database.write(batch, Durability::Synced).map_err(failed)?;
            new
        }
    };
    if identity.mesh != config.mesh {
        return Err(OpenError::OtherMesh { dir: dir.to_owned() });
    }
    if identity.node != config.node {
        return Err(OpenError::OtherNode { dir: dir.to_owned() });
    }
    Ok(identity)
}

#[cfg(test)]
mod tests;
