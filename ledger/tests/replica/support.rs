//! A mesh whose creator gives credits away, one µcr at a time.

use std::{path::Path, sync::Arc};

use ledger::{
    command::{Command, Reply},
    records::Records,
    replica::{Consensus, Proposal, Replica, ReplicaConfig, Timers},
    state::query,
    testing::{FOUNDED, TestMesh, key},
};
use protocol::{
    ids::RequestId, keys::SecretKey, limits::JOB_TTL_DEFAULT, sign::Signed, time::UnixMillis,
    units::Credits, wire::job::Transfer,
};

/// The configuration of the mesh's first coordinator.
pub(crate) fn config(mesh: &TestMesh) -> ReplicaConfig {
    let mut config = ReplicaConfig::new(mesh.id, mesh.coordinator.node(), [3; 16]);
    config.timers = Timers::Fast;
    config
}

/// Opens the replica of the mesh's first coordinator, and founds the mesh if it is new.
pub(crate) async fn open(dir: &Path, mesh: &TestMesh) -> Replica {
    open_with(dir, mesh, config(mesh)).await
}

/// The same with another configuration.
pub(crate) async fn open_with(dir: &Path, mesh: &TestMesh, config: ReplicaConfig) -> Replica {
    let replica = Replica::open(dir, config, Arc::new(|| UnixMillis(FOUNDED.0 + 1))).unwrap();
    let founding =
        Proposal { request: RequestId([0xff; 16]), command: Command::Found(mesh.genesis.clone()) };
    assert!(matches!(replica.propose(founding).await.unwrap(), Reply::Done { .. }));
    replica
}

/// Who receives.
pub(crate) fn recipient() -> SecretKey {
    key(9)
}

/// The request with this number: the creator gives away one µcr.
pub(crate) fn gift(mesh: &TestMesh, number: u128) -> Proposal {
    let transfer = Transfer {
        id: number.to_be_bytes(),
        from: mesh.operator.account(),
        to: recipient().account(),
        amount: Credits::from_micros(1),
        valid_until: FOUNDED.saturating_add(JOB_TTL_DEFAULT),
    };
    let command = Command::Transfer(Signed::sign(&transfer, mesh.id, &mesh.operator));
    Proposal { request: RequestId(number.to_be_bytes()), command }
}

/// How many gifts were applied.
pub(crate) fn gifts(records: &(impl Records + ?Sized)) -> u64 {
    query::balance(records, recipient().account()).unwrap().available.micros()
}
