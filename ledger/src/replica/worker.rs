//! The thread that Raft runs on, and its start and end.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

use openraft::Config;
use tokio::{
    runtime,
    sync::{broadcast, watch},
};

use super::{
    AppliedEvents, Fatal, Leadership, OpenError,
    disk::IdentityRecord,
    leadership,
    log::LogStore,
    machine::StateMachine,
    network::Network,
    raft::{Member, Raft},
    store::Database,
};

/// Threads for Raft and the state machine, which must not wait for each other.
const THREADS: usize = 2;

/// What the replica's own thread needs.
pub(crate) struct Worker {
    pub(crate) dir: PathBuf,
    pub(crate) raft: Config,
    pub(crate) identity: IdentityRecord,
    pub(crate) network: Network,
    /// Whether a group without a log is founded: only by its first member.
    pub(crate) founds: bool,
    pub(crate) database: Arc<Database>,
    pub(crate) events: broadcast::Sender<Arc<AppliedEvents>>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Worker {
    /// Runs until it is told to stop, or Raft ends. When it returns, all of Raft's tasks have ended.
    pub(crate) fn run(mut self, started: &mpsc::SyncSender<Result<Raft, OpenError>>) {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("ledger-raft")
            .enable_time()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                // It fails only if nobody waits.
                let _ = started.send(Err(OpenError::Thread(error)));
                return;
            }
        };
        runtime.block_on(async {
            let started_raft = self.start().await;
            let raft = started_raft.as_ref().ok().cloned();
            let _ = started.send(started_raft);
            let Some(raft) = raft else { return };
            let (fault, lease) = (self.database.fault().clone(), self.lease());
            tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => {}
                () = leadership::report(&raft, &self.leadership, &fault, lease) => {}
            }
            self.leadership.send_modify(|shown| shown.leader = false);
            if raft.shutdown().await.is_err() {
                tracing::warn!("the consensus task panicked");
            }
        });
    }

    /// How long a leader that is not answered any more is safe: followers elect nobody before.
    const fn lease(&self) -> Duration {
        Duration::from_millis(self.raft.election_timeout_max)
    }

    async fn start(&self) -> Result<Raft, OpenError> {
        let failed = |source: Fatal| OpenError::Start { dir: self.dir.clone(), source };
        let config =
            self.raft.clone().validate().map_err(|error| failed(Fatal::from_error(&error)))?;
        let log = LogStore::new(Arc::clone(&self.database)).map_err(OpenError::Thread)?;
        let machine = StateMachine::open(Arc::clone(&self.database), self.events.clone())
            .map_err(|error| failed(Fatal::from_error(&error)))?;
        let raft =
            Raft::new(self.identity.raft_id, Arc::new(config), self.network.clone(), log, machine)
                .await
                .map_err(|error| failed(Fatal::from_error(&error)))?;
        let known =
            raft.is_initialized().await.map_err(|error| failed(Fatal::from_error(&error)))?;
        if !known && self.founds {
            let member =
                Member { node: self.identity.node, incarnation: self.identity.incarnation };
            raft.initialize(BTreeMap::from([(self.identity.raft_id, member)]))
                .await
                .map_err(|error| failed(Fatal::from_error(&error)))?;
        }
        Ok(raft)
    }
}
