//! What was answered is there, after whatever restart.

use std::sync::Arc;

use ledger::{
    command::Reply,
    replica::{Consensus, OpenError, ProposeError, Replica},
    state::{Event, check_invariants},
    testing::{FOUNDED, TestMesh},
};
use protocol::{ids::MeshId, time::UnixMillis};
use tokio::{sync::broadcast::error::RecvError, task::JoinSet};

use super::support::{config, gift, gifts, open, open_with};

#[tokio::test]
async fn a_new_directory_becomes_a_group_of_one_that_leads() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let replica = open(dir.path(), &mesh).await;
    let status = replica.status();
    assert!(status.leadership.leader);
    assert_eq!(status.leadership.leader_node, Some(mesh.coordinator.node()));
    assert_eq!(
        status.members.iter().map(|member| member.node).collect::<Vec<_>>(),
        [mesh.coordinator.node()]
    );
    assert!(status.applied_index > status.leadership.since_index);
    assert!(replica.read_barrier().await.unwrap() >= status.applied_index);
    replica.shutdown().await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let replica = open(dir.path(), &mesh).await;
    let mut replies = Vec::new();
    for number in 1..=20 {
        replies.push(replica.propose(gift(&mesh, number)).await.unwrap());
    }
    let term = replica.status().leadership.term;
    replica.shutdown().await;
    drop(replica);

    let replica = open(dir.path(), &mesh).await;
    assert_eq!(gifts(&*replica.records()), 20);
    for (number, reply) in (1..=20).zip(replies) {
        assert_eq!(replica.propose(gift(&mesh, number)).await.unwrap(), reply);
    }
    assert_eq!(gifts(&*replica.view()), 20);
    assert!(replica.status().leadership.term >= term);
    check_invariants(&*replica.view()).unwrap();
    replica.shutdown().await;
}

#[tokio::test]
async fn many_proposals_at_a_time_are_each_applied_once() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let replica = Arc::new(open(dir.path(), &mesh).await);
    let mut tasks = JoinSet::new();
    for task in 0..50 {
        let (replica, mesh) = (Arc::clone(&replica), mesh.clone());
        tasks.spawn(async move {
            for number in 1..=10 {
                // Each is proposed by two tasks.
                let proposal = gift(&mesh, (task / 2) * 10 + number);
                assert!(matches!(replica.propose(proposal).await.unwrap(), Reply::Done { .. }));
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(gifts(&*replica.records()), 250);
    check_invariants(&*replica.view()).unwrap();
    replica.shutdown().await;
}

#[tokio::test]
async fn proposals_of_one_call_are_answered_in_their_order() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let replica = open(dir.path(), &mesh).await;
    let replies =
        replica.propose_many((1..=30).map(|number| gift(&mesh, number)).collect()).await.unwrap();
    let heights: Vec<_> = replies
        .iter()
        .map(|reply| match reply {
            Reply::Done { height } => *height,
            Reply::Rejected(rejection) => panic!("rejected: {rejection:?}"),
        })
        .collect();
    assert_eq!(heights.len(), 30);
    assert!(heights.is_sorted_by(|a, b| a < b), "{heights:?}");
    replica.shutdown().await;
}

#[tokio::test]
async fn the_log_is_shortened_behind_a_snapshot_and_taken_up_again() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let mut short = config(&mesh);
    (short.snapshot_entries, short.kept_entries) = (20, 5);
    for round in 0..3 {
        let replica = open_with(dir.path(), &mesh, short.clone()).await;
        for number in round * 100..round * 100 + 100 {
            replica.propose(gift(&mesh, number + 1)).await.unwrap();
        }
        assert_eq!(u128::from(gifts(&*replica.view())), round * 100 + 100);
        replica.shutdown().await;
    }
    assert!(dir.path().join("snapshots/current").exists());
}

#[tokio::test]
async fn those_who_listen_hear_what_entries_do_and_late_ones_are_told_that_they_are_late() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let mut few = config(&mesh);
    few.events_max = 2;
    let replica = open_with(dir.path(), &mesh, few).await;
    let mut events = replica.applied_events();
    replica.propose(gift(&mesh, 1)).await.unwrap();
    let heard = events.recv().await.unwrap();
    assert!(
        heard.events.iter().all(|event| matches!(event, Event::AccountChanged { .. })),
        "{heard:?}"
    );
    assert_eq!(heard.index, replica.status().applied_index);
    for number in 2..=10 {
        replica.propose(gift(&mesh, number)).await.unwrap();
    }
    assert!(matches!(events.recv().await, Err(RecvError::Lagged(_))));
    replica.shutdown().await;
}

#[tokio::test]
async fn a_directory_is_opened_once_and_only_by_its_own_node_and_mesh() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let clock = || Arc::new(|| UnixMillis(FOUNDED.0));
    let replica = open(dir.path(), &mesh).await;
    let error = Replica::open(dir.path(), config(&mesh), clock()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    replica.shutdown().await;
    drop(replica);

    let mut other = config(&mesh);
    other.mesh = MeshId([1; 32]);
    assert!(matches!(Replica::open(dir.path(), other, clock()), Err(OpenError::OtherMesh { .. })));
    let mut other = config(&mesh);
    other.node = mesh.operator.node();
    assert!(matches!(Replica::open(dir.path(), other, clock()), Err(OpenError::OtherNode { .. })));
}

#[tokio::test]
async fn after_a_shutdown_nothing_is_proposed() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let replica = open(dir.path(), &mesh).await;
    replica.shutdown().await;
    assert!(matches!(replica.propose(gift(&mesh, 1)).await, Err(ProposeError::Stopped(_))));
    assert!(matches!(replica.read_barrier().await, Err(ProposeError::Stopped(_))));
    assert!(replica.fatal().borrow().is_none(), "a shutdown is not a failure");
}
