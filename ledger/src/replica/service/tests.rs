//! What only the inside can bring about: a log that is ahead of what is known, a disk that fails, half a snapshot.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use openraft::{
    EntryPayload,
    storage::{IOFlushed, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine},
};
use protocol::ids::RequestId;

use super::*;
use crate::{
    command::Command,
    records::{Range, Record, Table},
    replica::{
        Timers,
        log::LogStore,
        machine::StateMachine,
        raft::{Entry, Member, Membership, Vote, log_id},
        snapshot::{self, SnapshotDir},
        store::LOG,
    },
    testing::{FOUNDED, TestMesh},
};

fn clock() -> Clock {
    Arc::new(|| FOUNDED)
}

fn config(mesh: &TestMesh) -> ReplicaConfig {
    ReplicaConfig {
        timers: Timers::Fast,
        ..ReplicaConfig::new(mesh.id, mesh.coordinator.node(), [3; 16])
    }
}

fn founding(mesh: &TestMesh) -> Proposal {
    Proposal { request: RequestId([1; 16]), command: Command::Found(mesh.genesis.clone()) }
}

fn machine(database: &Arc<Database>) -> StateMachine {
    StateMachine::open(Arc::clone(database), broadcast::Sender::new(1)).unwrap()
}

fn database(dir: &Path) -> Arc<Database> {
    Arc::new(Database::open(dir, Fault::new()).unwrap())
}

fn all_records(database: &Database) -> Vec<(Table, Vec<Record>)> {
    let all = Range { from: Vec::new(), to: vec![0xff; 64], reverse: false, limit: usize::MAX };
    Table::ALL.map(|table| (table, database.scan(table, &all).unwrap())).to_vec()
}

/// The log of a founder that stopped after it had synced the command and before it knew it to be committed.
async fn write_log(database: &Arc<Database>, mesh: &TestMesh) {
    let member = Member { node: mesh.coordinator.node(), incarnation: [3; 16] };
    let membership =
        Membership::new(vec![BTreeSet::from([FOUNDER])], BTreeMap::from([(FOUNDER, member)]))
            .unwrap();
    let command = codec::encode(&founding(mesh).stamp(mesh.id, FOUNDED));
    let payloads = [
        EntryPayload::Membership(membership),
        EntryPayload::Blank,
        EntryPayload::Normal(CommandBytes(command)),
    ];
    let entries = (0..)
        .zip(payloads)
        .map(|(index, payload)| Entry { log_id: log_id(index.min(1), FOUNDER, index), payload });
    let mut log = LogStore::new(Arc::clone(database)).unwrap();
    log.save_vote(&Vote::new_committed(1, FOUNDER)).await.unwrap();
    log.append(entries.collect::<Vec<_>>(), IOFlushed::noop()).await.unwrap();
}

#[tokio::test]
async fn durable_entries_that_were_not_known_to_be_committed_are_applied_after_a_restart() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    write_log(&database(dir.path()), &mesh).await;
    let replica = Replica::open(dir.path(), config(&mesh), clock()).unwrap();
    assert!(replica.read_barrier().await.unwrap() >= 2);
    assert!(
        replica.records().get(Table::Meta, b"head").unwrap().is_some(),
        "the mesh is not founded"
    );
    replica.shutdown().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_the_replica() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let replica = Replica::open(dir.path(), config(&mesh), clock()).unwrap();
    replica.propose(founding(&mesh)).await.unwrap();
    let mut fatal = replica.fatal();
    let mut batch = WriteBatch::default();
    batch.put_cf(&replica.database.family(Table::Meta.name()).unwrap(), b"head", b"nonsense");
    replica.database.write(batch, Durability::Buffered).unwrap();

    let other = Proposal { request: RequestId([2; 16]), ..founding(&mesh) };
    assert!(matches!(replica.propose(other).await, Err(ProposeError::Stopped(_))));
    let reason = fatal.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(reason.to_string().contains("sm_meta"), "{reason}");
    let mut leadership = replica.leadership();
    assert!(!leadership.wait_for(|now| !now.leader).await.unwrap().leader);
    assert!(matches!(replica.propose(founding(&mesh)).await, Err(ProposeError::Stopped(_))));
    replica.shutdown().await;
}

#[tokio::test]
async fn after_a_fault_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let database = database(dir.path());
    let mut log = LogStore::new(Arc::clone(&database)).unwrap();
    database.fault().raise(Fatal::because("the disk is gone"));
    assert!(log.save_vote(&Vote::new(1, 1)).await.is_err());
    let blank = Entry { log_id: log_id(1, 1, 0), payload: EntryPayload::Blank };
    assert!(log.append([blank], IOFlushed::noop()).await.is_err());
    assert_eq!(database.log_last().unwrap(), None);
}

#[tokio::test]
async fn a_hole_in_the_log_is_a_fault() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let database = database(dir.path());
    write_log(&database, &mesh).await;
    let mut batch = WriteBatch::default();
    batch.delete_cf(&database.family(LOG).unwrap(), 1_u64.to_be_bytes());
    database.write(batch, Durability::Buffered).unwrap();
    let mut log = LogStore::new(Arc::clone(&database)).unwrap();
    let mut reader = log.get_log_reader().await;
    let error =
        openraft::storage::RaftLogReader::try_get_log_entries(&mut reader, 0..3).await.unwrap_err();
    assert!(error.to_string().contains("entry 1"), "{error}");
    assert!(database.fault().get().is_some());
}

/// A replica with some records, stopped.
async fn with_records(dir: &Path, mesh: &TestMesh) {
    let replica = Replica::open(dir, config(mesh), clock()).unwrap();
    replica.propose(founding(mesh)).await.unwrap();
    replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_replaces_all_records_elsewhere() {
    let (from_dir, to_dir, mesh) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), TestMesh::default());
    with_records(from_dir.path(), &mesh).await;
    let (from, to) = (database(from_dir.path()), database(to_dir.path()));
    let mut batch = WriteBatch::default();
    batch.put_cf(&to.family(Table::Jobs.name()).unwrap(), b"stale", b"record");
    to.write(batch, Durability::Buffered).unwrap();

    let taken = machine(&from).get_snapshot_builder().await.build_snapshot().await.unwrap();
    let mut target = machine(&to);
    target.install_snapshot(&taken.meta, taken.snapshot).await.unwrap();
    assert_eq!(all_records(&to), all_records(&from));
    assert_eq!(
        target.applied_state().await.unwrap(),
        machine(&from).applied_state().await.unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_a_crash_cut_off_is_completed() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    with_records(dir.path(), &mesh).await;
    let database = database(dir.path());
    let taken = machine(&database).get_snapshot_builder().await.build_snapshot().await.unwrap();
    let before = all_records(&database);
    // As after a crash between the removal of the old records and the last of the new ones.
    let mut cut_off = WriteBatch::default();
    let header = snapshot::Header::from(&taken.meta);
    cut_off.put_cf(&database.family(META).unwrap(), meta::INSTALLING, disk::seal(&header));
    cut_off.delete_cf(&database.family(META).unwrap(), meta::APPLIED);
    cut_off.delete_cf(&database.family(Table::Meta.name()).unwrap(), b"head");
    database.write(cut_off, Durability::Synced).unwrap();
    assert_ne!(all_records(&database), before);

    let mut completed = machine(&database);
    assert_eq!(all_records(&database), before);
    assert_eq!(completed.applied_state().await.unwrap().0, taken.meta.last_log_id);
    assert_eq!(database.meta::<snapshot::Header>(meta::INSTALLING).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_replaces_nothing() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    with_records(dir.path(), &mesh).await;
    let from = database(dir.path());
    let taken = machine(&from).get_snapshot_builder().await.build_snapshot().await.unwrap();
    let path = dir.path().join("snapshots/current");
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&whole[..whole.len() - 1], &whole[..whole.len() - 40], &flipped] {
        std::fs::write(&path, damaged).unwrap();
        let other = tempfile::tempdir().unwrap();
        let to = database(other.path());
        let mut batch = WriteBatch::default();
        batch.put_cf(&to.family(Table::Jobs.name()).unwrap(), b"own", b"record");
        to.write(batch, Durability::Buffered).unwrap();
        let before = all_records(&to);
        let (_, file) =
            SnapshotDir::open(dir.path().join("snapshots")).unwrap().current().unwrap().unwrap();
        let error = machine(&to).install_snapshot(&taken.meta, file).await.unwrap_err();
        assert!(!error.to_string().contains("records"), "found out too late: {error}");
        assert_eq!(all_records(&to), before);
    }
}

#[tokio::test]
async fn a_command_that_is_too_large_is_refused_before_it_is_written() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let replica = Replica::open(dir.path(), config(&mesh), clock()).unwrap();
    let tasks = vec![(protocol::ids::TaskIndex(0), 0); 100_000];
    let command = Command::GiveUp { job: protocol::ids::JobId([0; 16]), tasks };
    let result = replica.propose(Proposal { request: RequestId([1; 16]), command }).await;
    assert!(
        matches!(result, Err(ProposeError::TooLarge { bytes_max: Stamped::BYTES_MAX, .. })),
        "{result:?}"
    );
    replica.shutdown().await;
}

#[test]
fn every_profile_of_timers_is_one_that_raft_accepts() {
    let mesh = TestMesh::default();
    for timers in [Timers::Fast, Timers::Lan, Timers::Wan] {
        let config = ReplicaConfig { timers, ..config(&mesh) };
        config.raft().validate().unwrap();
    }
}
