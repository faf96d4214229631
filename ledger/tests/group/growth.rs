//! Members come, go, and are replaced.

use std::collections::BTreeSet;

use ledger::replica::{ChangeError, Consensus, GroupChange, MemberRole, Refusal};

use super::cluster::{Cluster, node, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_asks_twice_is_one_member() {
    let cluster = Cluster::found(10, |_| {}).await;
    let leader = cluster.replica(1);
    let first = leader.admit(node(2), [7; 16]).await.unwrap();
    let second = leader.admit(node(2), [7; 16]).await.unwrap();
    assert_eq!(first.raft_id, second.raft_id);
    let other_directory = leader.admit(node(2), [8; 16]).await.unwrap();
    assert!(other_directory.raft_id > first.raft_id);
    assert_eq!(leader.status().members.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_decided_for_another_membership_is_refused() {
    let mut cluster = Cluster::found(11, |_| {}).await;
    let before = cluster.replica(1).group();
    cluster.join(2).await;
    let id = cluster.replica(2).raft_id();
    let result = cluster.replica(1).change(&GroupChange::Remove(id), &before).await;
    assert!(matches!(result, Err(ChangeError::Outdated)), "{result:?}");
    let now = cluster.replica(1).group();
    cluster.replica(1).change(&GroupChange::Remove(id), &now).await.unwrap();
    assert_eq!(cluster.replica(1).status().members.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_voter_is_not_heard_and_comes_back_as_another_member() {
    let mut cluster = Cluster::of(3, 12, |_| {}).await;
    cluster.give(1).await;
    let old = cluster.replica(3).raft_id();
    cluster.wipe(3).await;
    cluster.give(2).await;
    cluster.join(3).await;
    let new = cluster.replica(3).raft_id();
    assert!(new > old);
    cluster.vote([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let group = cluster.replica(leader).group();
    assert!(!group.votes(old));
    cluster.replica(leader).change(&GroupChange::Remove(old), &group).await.unwrap();
    cluster.give(3).await;
    assert_eq!(cluster.converge().await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_shrinks_from_five_to_three_and_the_others_follow_on() {
    let cluster = Cluster::of(5, 13, |_| {}).await;
    cluster.give(1).await;
    cluster.vote([1, 2, 3]).await;
    cluster.give(2).await;
    assert_eq!(cluster.converge().await, 2);
    let status = cluster.replica(cluster.leader().await).status();
    let voters = status.members.iter().filter(|member| member.role == MemberRole::Voter).count();
    assert_eq!((voters, status.members.len()), (3, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_voted_out_hands_over() {
    let cluster = Cluster::of(3, 14, |_| {}).await;
    let leader = cluster.leader().await;
    let rest: Vec<u8> = cluster.running().into_iter().filter(|number| *number != leader).collect();
    let ids: BTreeSet<u64> = rest.iter().map(|number| cluster.replica(*number).raft_id()).collect();
    // Two voters, for this test only: what decides about membership never does that.
    let group = cluster.replica(leader).group();
    cluster.replica(leader).change(&GroupChange::Voters(ids), &group).await.unwrap();
    until("one of the others leads", || {
        rest.iter().any(|number| cluster.replica(*number).leadership().borrow().leader)
    })
    .await;
    cluster.give(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_and_leadership_does_not_move() {
    let cluster = Cluster::of(3, 15, |_| {}).await;
    let leader = cluster.replica(cluster.leader().await);
    let before = *leader.leadership().borrow();
    for frame in [vec![], vec![0; 10], vec![0xff; 1024 * 1024]] {
        for sender in [node(1), node(99)] {
            let answer = leader.receive(sender, &frame).await;
            assert_eq!(answer[..4], [0; 4], "an answer other than a refusal");
            assert_eq!(answer[4..], [0; 4], "{}", Refusal::Malformed);
        }
    }
    assert_eq!(*leader.leadership().borrow(), before);
    cluster.give(1).await;
}
