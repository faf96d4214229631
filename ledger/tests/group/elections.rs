//! Leaders come and go; what was answered stays.

use std::collections::BTreeSet;

use ledger::replica::{Consensus, ProposeError};

use super::cluster::{Cluster, PATIENCE, gifts, node, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_voters_agree() {
    let cluster = Cluster::of(3, 1, |_| {}).await;
    for number in 1..=20 {
        cluster.give(number).await;
    }
    assert_eq!(cluster.converge().await, 20);
    let status = cluster.replica(cluster.leader().await).status();
    assert_eq!(status.members.len(), 3);
    assert_eq!(cluster.replica(1).raft_id(), 1);
    assert!(cluster.replica(2).raft_id() < cluster.replica(3).raft_id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_followed_by_another_and_nothing_is_lost() {
    let mut cluster = Cluster::of(3, 2, |_| {}).await;
    let mut given = 0;
    for _ in 0..4 {
        for _ in 0..5 {
            given += 1;
            cluster.give(given).await;
        }
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        given += 1;
        cluster.give(given).await;
        cluster.start(leader).await;
    }
    assert_eq!(cluster.converge().await, u64::try_from(given).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_voters_go_on_without_two() {
    let mut cluster = Cluster::of(5, 3, |_| {}).await;
    cluster.give(1).await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
    }
    cluster.give(2).await;
    for number in cluster.stopped() {
        cluster.start(number).await;
    }
    assert_eq!(cluster.converge().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_from_the_others_answers_nobody() {
    let cluster = Cluster::of(3, 4, |config| {
        config.leader_wait = std::time::Duration::from_millis(300);
        config.apply_wait = std::time::Duration::from_millis(600);
    })
    .await;
    cluster.give(1).await;
    let old = cluster.leader().await;
    let others: BTreeSet<_> =
        cluster.running().into_iter().filter(|number| *number != old).map(node).collect();
    cluster.network.part(&[BTreeSet::from([node(old)]), others]);
    for number in 2..=4 {
        let result = cluster.replica(old).propose(cluster.mesh.gift(number)).await;
        assert!(
            matches!(result, Err(ProposeError::Unknown | ProposeError::NoLeader { .. })),
            "{result:?}"
        );
        assert!(cluster.replica(old).read_barrier().await.is_err());
    }
    until("the old leader knows that it may not lead", || {
        !cluster.replica(old).leadership().borrow().leader
    })
    .await;
    until("another leads", || {
        let others = cluster.running().into_iter().filter(|number| *number != old);
        others.into_iter().any(|number| cluster.replica(number).leadership().borrow().leader)
    })
    .await;
    cluster.network.heal();
    for number in 2..=5 {
        cluster.give(number).await;
    }
    assert_eq!(cluster.converge().await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handover_changes_the_leader_and_loses_nothing() {
    let cluster = Cluster::of(3, 5, |_| {}).await;
    cluster.give(1).await;
    let old = cluster.leader().await;
    let next = cluster.running().into_iter().find(|number| *number != old).unwrap();
    let to = cluster.replica(next).raft_id();
    // Refused as long as the target has not flushed what the leader has: then it is asked again.
    tokio::time::timeout(PATIENCE, async {
        while cluster.leader().await != next {
            let leader = cluster.replica(cluster.leader().await);
            let _ = leader.transfer(to).await;
        }
    })
    .await
    .unwrap();
    cluster.give(2).await;
    assert_eq!(cluster.converge().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_for_long_is_sent_a_snapshot() {
    let mut cluster = Cluster::of(3, 6, |config| {
        (config.snapshot_entries, config.kept_entries) = (20, 5);
    })
    .await;
    let leader = cluster.leader().await;
    let away = cluster.running().into_iter().find(|number| *number != leader).unwrap();
    cluster.kill(away).await;
    for number in 1..=150 {
        cluster.give(number).await;
    }
    cluster.start(away).await;
    assert_eq!(cluster.converge().await, 150);
    assert_eq!(gifts(&*cluster.replica(away).records()), 150);
}
