//! Disks that went back in time, and replies that are on more than one of them.

use std::{fs, path::Path};

use ledger::replica::{OpenError, ReplyDurability};

use super::cluster::Cluster;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_rolled_back_does_not_vote_again() {
    let mut cluster = Cluster::of(3, 30, |_| {}).await;
    cluster.give(1).await;
    cluster.kill(3).await;
    let database = cluster.dir(3).join("rocksdb");
    let backup = tempfile::tempdir().unwrap();
    copy(&database, backup.path());
    cluster.start(3).await;
    for number in 2..=20 {
        cluster.give(number).await;
    }
    cluster.converge().await;
    // What is durable is promised at the latest when the log's thread ends.
    cluster.kill(3).await;
    fs::remove_dir_all(&database).unwrap();
    copy(backup.path(), &database);
    let refused = cluster.try_start(3).await.unwrap_err();
    assert!(matches!(refused, OpenError::RolledBack { .. }), "{refused}");

    fs::remove_dir_all(&database).unwrap();
    let refused = cluster.try_start(3).await.unwrap_err();
    assert!(matches!(refused, OpenError::RolledBack { what: "it is empty", .. }), "{refused}");

    cluster.wipe(3).await;
    cluster.join(3).await;
    cluster.vote([1, 2, 3]).await;
    assert_eq!(cluster.converge().await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_voter_answers_when_a_learner_has_it_too_and_without_one_that_is_away() {
    let mut cluster = Cluster::found(31, |_| {}).await;
    assert_eq!(cluster.replica(1).durability(), ReplyDurability::Local);
    cluster.join(2).await;
    for number in 1..=20 {
        cluster.give(number).await;
        let last = cluster.replica(1).group().last_index;
        let learner = cluster.replica(2).raft_id();
        assert!(cluster.replica(1).group().matched[&learner] >= last);
    }
    assert_eq!(cluster.replica(1).durability(), ReplyDurability::Learner);
    cluster.kill(2).await;
    cluster.give(21).await;
    assert_eq!(cluster.replica(1).durability(), ReplyDurability::Local);
    cluster.start(2).await;
    cluster.converge().await;
    let mut number = 100;
    while cluster.replica(1).durability() == ReplyDurability::Local {
        cluster.give(number).await;
        number += 1;
    }
    assert_eq!(cluster.replica(1).durability(), ReplyDurability::Learner);
}
