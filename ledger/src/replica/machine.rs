//! The state machine as openraft sees it: applies entries to the records, builds and installs snapshots.

use std::{io, sync::Arc};

use futures::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot},
    type_config::alias::SnapshotOf,
};
use protocol::codec;
use rocksdb::WriteBatch;
use thiserror::Error;
use tokio::{
    sync::{broadcast, oneshot},
    task::{self, JoinHandle},
};

use super::{
    AppliedEvents, Fatal,
    disk::{self, LogIdRecord, StoredMembershipRecord},
    raft::{Entry, LogId, SnapshotMeta, StoredMembership, Types},
    snapshot::{self, SnapshotDir, SnapshotError, SnapshotFile},
    store::{Database, Durability, META, StoreError, meta},
};
use crate::{
    command::{Reply, Stamped},
    records::{Overlay, ReadError, Records},
    state,
};

/// A committed entry could not be applied. The replica stops: the others have applied it.
#[derive(Debug, Error)]
enum ApplyError {
    /// A record could not be read.
    #[error("the records could not be read")]
    Read(#[from] ReadError),
    /// The command in the log does not decode.
    #[error("the command of entry {index} does not decode")]
    Command {
        /// Its place in the log.
        index: u64,
        /// Why not.
        #[source]
        source: codec::DecodeError,
    },
    /// The changes could not be written.
    #[error("the changes could not be written")]
    Store(#[from] StoreError),
}

/// Applies entries to the records of one database.
#[derive(Debug)]
pub(crate) struct StateMachine {
    database: Arc<Database>,
    snapshots: Arc<SnapshotDir>,
    events: broadcast::Sender<Arc<AppliedEvents>>,
}

impl StateMachine {
    /// The state machine on `database`. Completes the installation of a snapshot that a crash cut off.
    ///
    /// What entries do is sent to `events`, which never waits: see
    /// [`Consensus::applied_events`](super::Consensus::applied_events).
    pub(crate) fn open(
        database: Arc<Database>,
        events: broadcast::Sender<Arc<AppliedEvents>>,
    ) -> Result<Self, SnapshotError> {
        let snapshots = Arc::new(SnapshotDir::open(database.snapshots())?);
        snapshot::finish_install(&database, &snapshots)?;
        Ok(Self { database, snapshots, events })
    }

    /// Applies entries and writes all of it in one batch.
    fn apply_all(&self, entries: &[Entry]) -> Result<Vec<Outcome>, ApplyError> {
        let mut records = Overlay::new(&*self.database);
        let mut batch = WriteBatch::default();
        let family = self.database.family(META)?;
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            outcomes.push(apply_one(&mut records, entry)?);
            if let EntryPayload::Membership(membership) = &entry.payload {
                let stored = StoredMembershipRecord::new(&entry.log_id, membership);
                batch.put_cf(&family, meta::MEMBERSHIP, disk::seal(&stored));
            }
        }
        if let Some(last) = entries.last() {
            batch.put_cf(&family, meta::APPLIED, disk::seal(&LogIdRecord::from(&last.log_id)));
        }
        self.database.add_changes(&mut batch, &records.into_changes())?;
        // Not synced: the entries are durable already, and applying them again comes to the same.
        self.database.write(batch, Durability::Buffered)?;
        Ok(outcomes)
    }

    fn state(&self) -> Result<(Option<LogId>, StoredMembership), SnapshotError> {
        let applied = self.database.meta::<LogIdRecord>(meta::APPLIED)?.map(LogId::from);
        let membership = self.database.meta::<StoredMembershipRecord>(meta::MEMBERSHIP)?;
        Ok((applied, membership.map(TryInto::try_into).transpose()?.unwrap_or_default()))
    }

    fn install(&self, meta: &SnapshotMeta, received: &SnapshotFile) -> Result<(), SnapshotError> {
        self.snapshots.receive(meta, received)?;
        snapshot::install(&self.database, &self.snapshots)
    }

    /// Stops the replica because of `error`, and passes it on as openraft wants it.
    fn stop(&self, error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
        self.database.fault().raise(Fatal::from_error(&error));
        io::Error::other(error)
    }
}

/// What came of an entry.
struct Outcome {
    reply: Option<Reply>,
    events: Option<AppliedEvents>,
}

fn apply_one<R: Records + ?Sized>(
    records: &mut Overlay<'_, R>,
    entry: &Entry,
) -> Result<Outcome, ApplyError> {
    let index = entry.log_id.index;
    let command = match &entry.payload {
        EntryPayload::Normal(command) => command,
        EntryPayload::Blank | EntryPayload::Membership(_) => {
            return Ok(Outcome { reply: None, events: None });
        }
    };
    let stamped: Stamped =
        codec::decode(&command.0).map_err(|source| ApplyError::Command { index, source })?;
    let applied = state::apply(records, &stamped)?;
    for (table, key, value) in applied.changes.iter() {
        match value {
            Some(value) => records.put(table, key.to_vec(), value.to_vec()),
            None => records.remove(table, key.to_vec()),
        }
    }
    let events =
        (!applied.events.is_empty()).then_some(AppliedEvents { index, events: applied.events });
    Ok(Outcome { reply: Some(applied.reply), events })
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        self.state().map_err(|error| self.stop(error))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let (entries, responders): (Vec<_>, Vec<_>) =
            entries.try_collect::<Vec<_>>().await?.into_iter().unzip();
        let outcomes = self.apply_all(&entries).map_err(|error| self.stop(error))?;
        for (outcome, responder) in outcomes.into_iter().zip(responders) {
            if let Some(events) = outcome.events {
                // It fails only if nobody listens.
                let _ = self.events.send(Arc::new(events));
            }
            if let Some(responder) = responder {
                responder.send(outcome.reply);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let (database, snapshots) = (Arc::clone(&self.database), Arc::clone(&self.snapshots));
        let (taken, is_taken) = oneshot::channel();
        let written = task::spawn_blocking(move || {
            let view = database.snapshot();
            // It fails only if nobody waits.
            let _ = taken.send(());
            snapshots.write(&database, &view)
        });
        // What is applied after this call must not be in the snapshot. If the thread ended without a word, the
        // builder says why.
        let _ = is_taken.await;
        SnapshotBuilder { written: Some(written) }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        task::block_in_place(|| self.install(meta, &snapshot)).map_err(|error| self.stop(error))
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types, SnapshotFile>>, io::Error> {
        let current = self.snapshots.current().map_err(|error| self.stop(error))?;
        Ok(current.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Waits for a snapshot that is being written.
#[derive(Debug)]
pub(crate) struct SnapshotBuilder {
    written: Option<JoinHandle<Result<(SnapshotMeta, SnapshotFile), SnapshotError>>>,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, SnapshotFile>, io::Error> {
        let Some(written) = self.written.take() else {
            return Err(io::Error::other("a snapshot builder builds one snapshot"));
        };
        let (meta, snapshot) = written.await?.map_err(io::Error::other)?;
        Ok(Snapshot { meta, snapshot })
    }
}
