//! A process that is killed while it proposes: what it was answered is there when it is started again.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use ledger::{command::Reply, replica::Consensus, state::check_invariants, testing::TestMesh};
use tokio::task::JoinSet;

use super::support::{config, gift, gifts, open, open_with};

/// Tells the child that it is one: the directory, and the first number that it may propose.
const CHILD: &str = "WEFT_TEST_REPLICA_CHILD";
/// Begins a line that says what was answered.
const ANSWERED: &str = "answered ";
/// Tasks that propose at a time.
const TASKS: u128 = 8;

/// Not a test of its own: what the other one starts and kills.
#[tokio::test]
async fn child_that_proposes_until_it_is_killed() {
    let Ok(child) = env::var(CHILD) else { return };
    let (first, dir) = child.split_once(' ').unwrap();
    let first: u128 = first.parse().unwrap();
    let mesh = TestMesh::default();
    // The log is shortened every few entries, so that the kill meets that as well.
    let mut short = config(&mesh);
    (short.snapshot_entries, short.kept_entries) = (25, 5);
    let replica = Arc::new(open_with(Path::new(dir), &mesh, short).await);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (replica, mesh) = (Arc::clone(&replica), mesh.clone());
        tasks.spawn(async move {
            for step in 0.. {
                let number = first + step * TASKS + task;
                let reply = replica.propose(gift(&mesh, number)).await.unwrap();
                assert!(matches!(reply, Reply::Done { .. }));
                // One write a line, so that no line is cut in the middle of another.
                std::io::stdout().write_all(format!("{ANSWERED}{number}\n").as_bytes()).unwrap();
            }
        });
    }
    tasks.join_all().await;
}

/// Runs a child until it was answered `answers` times, and kills it. Returns what it was answered.
fn run_and_kill(dir: &Path, first: u128, answers: usize) -> BTreeSet<u128> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_proposes_until_it_is_killed", "--nocapture"])
        .env(CHILD, format!("{first} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The harness says that it begins, so a child that is killed at once is killed while it opens its directory.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let number = |line: String| line.strip_prefix(ANSWERED).and_then(|number| number.parse().ok());
    assert!(lines.any(|line| line == "running 1 test"));
    let mut answered: BTreeSet<u128> = lines.by_ref().filter_map(number).take(answers).collect();
    child.kill().unwrap();
    // What was answered before the kill arrived counts as well.
    answered.extend(lines.filter_map(number));
    child.wait().unwrap();
    assert!(
        answered.len() >= answers,
        "the child ended by itself after {} answers",
        answered.len()
    );
    answered
}

#[tokio::test]
async fn what_a_killed_process_was_answered_is_there_once() {
    let (dir, mesh) = (tempfile::tempdir().unwrap(), TestMesh::default());
    let mut answered = BTreeSet::new();
    for (round, answers) in [0, 0, 1, 40, 300].into_iter().enumerate() {
        answered.extend(run_and_kill(dir.path(), (round as u128 + 1) * 1_000_000, answers));
        let replica = open(dir.path(), &mesh).await;
        let applied = gifts(&*replica.view());
        assert!(applied >= answered.len() as u64, "{applied} applied, {} answered", answered.len());
        for number in &answered {
            assert!(matches!(
                replica.propose(gift(&mesh, *number)).await.unwrap(),
                Reply::Done { .. }
            ));
        }
        assert_eq!(gifts(&*replica.view()), applied, "a request that was answered was not there");
        check_invariants(&*replica.view()).unwrap();
        replica.shutdown().await;
    }
}
