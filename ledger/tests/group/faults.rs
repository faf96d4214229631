//! openraft itself under faults: seeds decide what fails when, while clients propose.
//!
//! The replicas are real: their threads, their stores and their clock. A seed gives the same faults at about the
//! same times, not the same run; a seed that failed once is worth a few repetitions.
//!
//! `WEFT_FAULT_SEEDS=FROM..TO` chooses the seeds (the last is not included), `WEFT_FAULT_JOBS` how many run at a
//! time.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream};
use ledger::{
    command::Reply,
    replica::{Consensus, Faults, GroupChange, Replica},
    testing::TestMesh,
};
use tokio::{sync::watch, task::JoinSet, time};

use super::{
    cluster::{Cluster, Running, node},
    random::Random,
};

/// Seeds where none are chosen.
const SEEDS: std::ops::Range<u64> = 0..16;
/// Steps of a script.
const STEPS: usize = 7;
/// Clients that propose all the time.
const CLIENTS: u64 = 3;

/// What happens next to the group.
#[derive(Debug, Clone, Copy)]
enum Step {
    KillLeader,
    Kill(u64),
    Start,
    Part(u64),
    PartOneWay(u64, u64),
    Heal,
    Weather { lost: u32, doubled: u32, delay_ms: u64 },
    HandOver,
    Snapshot(u64),
    Wipe(u64),
}

/// The steps of a seed.
fn script(random: &mut Random) -> Vec<Step> {
    let step = |_| match random.below(12) {
        0..3 => Step::KillLeader,
        3 => Step::Kill(random.draw()),
        4 => Step::Start,
        5 => Step::Part(random.draw()),
        6 => Step::PartOneWay(random.draw(), random.draw()),
        7 => Step::Heal,
        8 => Step::Weather {
            lost: u32::try_from(random.below(150)).unwrap(),
            doubled: u32::try_from(random.below(200)).unwrap(),
            delay_ms: random.below(25),
        },
        9 => Step::HandOver,
        10 => Step::Snapshot(random.draw()),
        _ => Step::Wipe(random.draw()),
    };
    (0..STEPS).map(step).collect()
}

/// What clients did.
#[derive(Debug, Default)]
struct History {
    attempted: BTreeSet<u128>,
    answered: BTreeMap<u128, Reply>,
}

type Shared = Arc<Mutex<History>>;

async fn client(
    mesh: TestMesh,
    number: u64,
    alive: Running,
    history: Shared,
    stop: watch::Receiver<bool>,
) {
    let mut random = Random::new(number);
    for step in 0_u128.. {
        let gift_number = u128::from(number) << 64 | step;
        history.lock().unwrap().attempted.insert(gift_number);
        loop {
            if *stop.borrow() {
                return;
            }
            let running: Vec<Arc<Replica>> =
                alive.lock().unwrap().values().filter_map(Weak::upgrade).collect();
            if running.is_empty() {
                time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            let replica = Arc::clone(random.pick(&running));
            drop(running);
            if let Ok(reply) = replica.propose(mesh.gift(gift_number)).await {
                history.lock().unwrap().answered.insert(gift_number, reply);
                break;
            }
            drop(replica);
            time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn perform(cluster: &mut Cluster, step: Step, count: u8) {
    let running = cluster.running();
    let pick = |of: &[u8], drawn: u64| of[usize::try_from(drawn % of.len() as u64).unwrap()];
    match step {
        Step::KillLeader => {
            let leads = |number: &u8| cluster.replica(*number).leadership().borrow().leader;
            if let Some(leader) = running.iter().copied().find(leads) {
                cluster.kill(leader).await;
            }
        }
        Step::Kill(drawn) if !running.is_empty() => cluster.kill(pick(&running, drawn)).await,
        Step::Start => start_all(cluster).await,
        Step::Part(drawn) => {
            let side = |inside: bool| {
                (1..=count)
                    .filter(|number| (drawn >> number & 1 == 1) == inside)
                    .map(node)
                    .collect()
            };
            cluster.network.part(&[side(true), side(false)]);
        }
        Step::PartOneWay(from, to) => {
            let all: Vec<u8> = (1..=count).collect();
            cluster.network.part_one_way(node(pick(&all, from)), node(pick(&all, to)));
        }
        Step::Heal => cluster.network.heal(),
        Step::Weather { lost, doubled, delay_ms } => {
            cluster.network.set(Faults {
                lost,
                doubled,
                delay_max: Duration::from_millis(delay_ms),
            });
        }
        Step::HandOver if !running.is_empty() => {
            let leads = |number: &u8| cluster.replica(*number).leadership().borrow().leader;
            if let Some(leader) = running.iter().copied().find(leads) {
                let to = cluster.replica(pick(&running, u64::from(leader))).raft_id();
                let _ = cluster.replica(leader).transfer(to).await;
            }
        }
        Step::Snapshot(drawn) if !running.is_empty() => {
            let _ = cluster.replica(pick(&running, drawn)).snapshot().await;
        }
        Step::Wipe(drawn) => replace(cluster, drawn, count).await,
        Step::Kill(_) | Step::HandOver | Step::Snapshot(_) => {}
    }
}

async fn start_all(cluster: &mut Cluster) {
    for number in cluster.stopped() {
        cluster.start(number).await;
    }
}

/// A member loses its disk and comes back as a new one. The others have to be there for that.
async fn replace(cluster: &mut Cluster, drawn: u64, count: u8) {
    cluster.network.heal();
    cluster.network.set(Faults::NONE);
    start_all(cluster).await;
    let number = u8::try_from(drawn % u64::from(count)).unwrap() + 1;
    let old = cluster.replica(number).raft_id();
    cluster.wipe(number).await;
    cluster.join(number).await;
    cluster.vote(1..=count).await;
    let leader = cluster.leader().await;
    let group = cluster.replica(leader).group();
    // If leadership moved just now, the old member stays as a learner that is never there.
    let _ = cluster.replica(leader).change(&GroupChange::Remove(old), &group).await;
}

async fn run(seed: u64) {
    let mut random = Random::new(seed);
    let count = if random.below(3) == 0 { 5 } else { 3 };
    let mut cluster = Cluster::of(count, seed, |config| {
        (config.snapshot_entries, config.kept_entries) = (40, 10);
        config.leader_wait = Duration::from_millis(200);
        config.apply_wait = Duration::from_millis(500);
    })
    .await;
    let (stop, stopped) = watch::channel(false);
    let history = Shared::default();
    let mut clients = JoinSet::new();
    for number in 1..=CLIENTS {
        let (alive, history) = (Arc::clone(&cluster.alive), Arc::clone(&history));
        clients.spawn(client(cluster.mesh.clone(), number, alive, history, stopped.clone()));
    }
    for step in script(&mut random) {
        perform(&mut cluster, step, count).await;
        time::sleep(Duration::from_millis(50 + random.below(250))).await;
    }
    cluster.network.heal();
    cluster.network.set(Faults::NONE);
    start_all(&mut cluster).await;
    stop.send_replace(true);
    clients.join_all().await;
    check(&cluster, &history).await;
}

/// Everything that was answered is there, with the same answer; everything that was tried is there once.
async fn check(cluster: &Cluster, history: &Shared) {
    let (attempted, answered) = {
        let history = history.lock().unwrap();
        (history.attempted.clone(), history.answered.clone())
    };
    // Once somebody leads, everything that was answered before is applied.
    cluster.give(0).await;
    let applied = cluster.converge().await;
    assert!(applied > answered.len() as u64, "{applied} applied, {} answered", answered.len());
    for (number, reply) in &answered {
        assert_eq!(&cluster.ask(*number).await, reply, "another answer than before");
    }
    assert_eq!(cluster.converge().await, applied, "a request that was answered was not there");
    for number in &attempted {
        cluster.give(*number).await;
    }
    assert_eq!(cluster.converge().await, attempted.len() as u64 + 1, "applied twice, or lost");
}

struct Replay(u64);

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, next) = (self.0, self.0 + 1);
        writeln!(f, "seed {seed}: {:?}", {
            let mut random = Random::new(seed);
            let _ = random.below(3);
            script(&mut random)
        })?;
        write!(f, "again: WEFT_FAULT_SEEDS={seed}..{next} cargo test -p ledger --test group faults")
    }
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(chosen) = env::var("WEFT_FAULT_SEEDS") else { return SEEDS };
    let (from, to) = chosen.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_whatever_fails() {
    let jobs = env::var("WEFT_FAULT_JOBS").map_or(4, |jobs| jobs.parse().unwrap());
    let failed: Vec<u64> = stream::iter(seeds())
        .map(|seed| async move {
            let ran = AssertUnwindSafe(run(seed)).catch_unwind().await;
            if ran.is_err() {
                eprintln!("{}", Replay(seed));
            }
            ran.err().map(|_| seed)
        })
        .buffer_unordered(jobs)
        .filter_map(|failed| async move { failed })
        .collect()
        .await;
    assert!(failed.is_empty(), "failed seeds: {failed:?}");
}
