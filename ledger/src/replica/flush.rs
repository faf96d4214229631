//! Group commit: one sync makes every write durable that was made before it.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use openraft::storage::IOFlushed;

use super::{
    raft::Types,
    store::{Database, StoreError, Written},
};

/// Writes that wait for the disk. When as many wait, the next one blocks, and with it the log: the disk is then
/// what the group waits for anyway.
const WAITING_MAX: usize = 1_024;

/// After so many entries, or so many syncs, or so long without one, it is promised that they are durable.
const PROMISE_ENTRIES: u64 = 1_000;
const PROMISE_SYNCS: u32 = 64;
const PROMISE_IDLE: Duration = Duration::from_secs(1);

/// A thread that syncs, and reports writes as durable in the order in which they were made.
///
/// While it syncs, further writes gather; the next sync serves them all. Dropping it waits for the writes that
/// it was given.
#[derive(Debug)]
pub(crate) struct Flusher {
    /// `None` only while it is dropped.
    written: Option<SyncSender<IOFlushed<Types>>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If the system gives none.
    pub(crate) fn start(database: Arc<Database>) -> std::io::Result<Self> {
        let (written, waiting) = mpsc::sync_channel(WAITING_MAX);
        let thread = thread::Builder::new()
            .name("ledger-sync".into())
            .spawn(move || run(&database, &waiting))?;
        Ok(Self { written: Some(written), thread: Some(thread) })
    }

    /// Reports to `done` once everything that was written before this call is durable.
    pub(crate) fn submit(&self, done: IOFlushed<Types>) {
        let refused = match &self.written {
            Some(written) => written.send(done).map_err(|mpsc::SendError(done)| done).err(),
            None => Some(done),
        };
        if let Some(done) = refused {
            done.io_completed(Err(std::io::Error::other(
                "the thread that syncs the log has ended",
            )));
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        drop(self.written.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that syncs the log panicked");
        }
    }
}

fn run(database: &Database, waiting: &Receiver<IOFlushed<Types>>) {
    let mut durable = Written::default();
    let mut syncs = 0_u32;
    loop {
        let first = match waiting.recv_timeout(PROMISE_IDLE) {
            Ok(first) => first,
            Err(ended) => {
                if syncs > 0 {
                    promise(database, durable);
                    syncs = 0;
                }
                match ended {
                    RecvTimeoutError::Timeout => continue,
                    RecvTimeoutError::Disconnected => return,
                }
            }
        };
        // Taken before the sync: what is written from here on may not be covered by it.
        let served: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let written = database.written();
        let synced = database.sync();
        for done in served {
            done.io_completed(synced.as_ref().copied().map_err(as_io_error));
        }
        if synced.is_err() {
            continue;
        }
        (durable, syncs) = (written, syncs.saturating_add(1));
        if syncs >= PROMISE_SYNCS || is_far(database, durable) {
            promise(database, durable);
            syncs = 0;
        }
    }
}

/// Whether many entries are durable beyond those that were promised.
fn is_far(database: &Database, durable: Written) -> bool {
    let promised = database.promised().and_then(|promised| promised.last_index()).unwrap_or(0);
    durable.last_index.is_some_and(|last| last.saturating_sub(promised) >= PROMISE_ENTRIES)
}

fn promise(database: &Database, durable: Written) {
    if let Err(error) = database.promise_durable(durable) {
        // It has stopped the replica.
        tracing::error!(%error, "a promise could not be written");
    }
}

fn as_io_error(error: &StoreError) -> std::io::Error {
    std::io::Error::other(error.to_string())
}

#[cfg(test)]
mod tests {
    use openraft::type_config::TypeConfigExt;

    use super::*;
    use crate::replica::{Fatal, fault::Fault};

    fn database(dir: &tempfile::TempDir) -> Arc<Database> {
        Arc::new(Database::open(dir.path(), Fault::new()).unwrap())
    }

    #[tokio::test]
    async fn every_write_is_told_when_it_is_durable_also_while_the_thread_ends() {
        let dir = tempfile::tempdir().unwrap();
        let flusher = Flusher::start(database(&dir)).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..100 {
            let (done, is_done) = Types::oneshot();
            flusher.submit(IOFlushed::signal(done));
            waiting.push(is_done);
        }
        drop(flusher);
        for is_done in waiting {
            is_done.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_write_that_could_not_be_synced_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let database = database(&dir);
        let flusher = Flusher::start(Arc::clone(&database)).unwrap();
        database.fault().raise(Fatal::because("the disk is gone"));
        let (done, is_done) = Types::oneshot();
        flusher.submit(IOFlushed::signal(done));
        is_done.await.unwrap().unwrap_err();
    }
}
