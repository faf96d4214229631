//! openraft's own storage suite on the real store.

use std::sync::Arc;

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;
use tokio::sync::broadcast;

use super::{fault::Fault, log::LogStore, machine::StateMachine, raft::Types, store::Database};

struct Builder;

impl StoreBuilder<Types, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let database = Arc::new(Database::open(dir.path(), Fault::new()).unwrap());
        let log = LogStore::new(Arc::clone(&database)).unwrap();
        let machine = StateMachine::open(database, broadcast::Sender::new(1)).unwrap();
        Ok((dir, log, machine))
    }
}

// `block_in_place` needs a second thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_passes_the_suite_of_openraft() {
    Suite::test_all(Builder).await.unwrap();
}
