//! Elections, handovers and durable commands, among three voters in this process: real replicas on real stores, with a
//! network in memory between them. What a network and a node add is not in these figures.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use ledger::{
    command::{Command, Reply},
    replica::{
        Consensus as _, GroupChange, LossyNetwork, Proposal, Replica, ReplicaConfig, Start, Timers,
    },
    state::query,
    testing::{FOUNDED, TestMesh, key},
};
use protocol::{
    ids::{NodeId, RequestId},
    time::UnixMillis,
};
use tempfile::TempDir;
use tests::Stopwatch;
use tokio::{runtime::Handle, task, time};

use crate::figures::{Figures, quantile};

/// Leaders that are killed, with each profile, and handovers.
const KILLS_FAST: usize = 200;
const KILLS_LAN: usize = 30;
const HANDOVERS: usize = 100;
/// Commands that are committed in one go, and how many goes.
const BATCH: u128 = 256;
const BATCHES: u128 = 40;
/// How long anything may take before the suite gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(1);

/// Measures.
///
/// # Errors
///
/// If a group does not work.
pub(crate) async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let mut group = Group::form(Timers::Fast).await?;
    let mut taken = group.kills(KILLS_FAST).await?;
    figures.at_most("election-killed-fast-p50", quantile(&mut taken, 50), "ms", 600.0);
    figures.at_most("election-killed-fast-p99", quantile(&mut taken, 99), "ms", 1_000.0);
    let mut taken = group.handovers().await?;
    figures.at_most("election-handover-p99", quantile(&mut taken, 99), "ms", 50.0);
    figures.add("election-commands-per-second", group.commands().await?, "1/s");
    figures.at_most("election-fast-lost-or-doubled", group.wrong()?, "commands", 0.0);
    group.end().await;

    let mut group = Group::form(Timers::Lan).await?;
    let mut taken = group.kills(KILLS_LAN).await?;
    figures.at_most("election-killed-lan-p99", quantile(&mut taken, 99), "ms", 3_000.0);
    figures.at_most("election-lan-lost-or-doubled", group.wrong()?, "commands", 0.0);
    group.end().await;
    Ok(())
}

struct Place {
    dir: TempDir,
    incarnation: [u8; 16],
    start: Start,
    replica: Option<Arc<Replica>>,
}

/// Three voters.
struct Group {
    mesh: TestMesh,
    network: Arc<LossyNetwork>,
    timers: Timers,
    places: BTreeMap<u8, Place>,
    /// Commands that were answered.
    given: u128,
}

fn node(number: u8) -> NodeId {
    key(number).node()
}

impl Group {
    async fn form(timers: Timers) -> anyhow::Result<Self> {
        let network = LossyNetwork::new(1, Handle::current());
        let mut this =
            Self { mesh: TestMesh::default(), network, timers, places: BTreeMap::new(), given: 0 };
        this.place(1, Start::Found).await?;
        let founding = Proposal {
            request: RequestId([0xff; 16]),
            command: Command::Found(this.mesh.genesis.clone()),
        };
        let founded = this.replica(1)?.propose(founding).await?;
        ensure!(matches!(founded, Reply::Done { .. }), "not founded: {founded:?}");
        for number in 2..=3 {
            let admission = this.replica(1)?.admit(node(number), [number; 16]).await?;
            this.place(number, Start::Join(admission)).await?;
        }
        let voters: BTreeSet<u64> = (1..=3)
            .map(|number| Ok(this.replica(number)?.raft_id()))
            .collect::<anyhow::Result<_>>()?;
        let changed = async {
            let leader = this.replica(1)?;
            while leader.group().voters != [voters.clone()] {
                let group = leader.group();
                // Refused until they have caught up.
                drop(leader.change(&GroupChange::Voters(voters.clone()), &group).await);
                time::sleep(PAUSE).await;
            }
            anyhow::Ok(())
        };
        time::timeout(PATIENCE, changed).await.context("three do not vote")??;
        Ok(this)
    }

    async fn place(&mut self, number: u8, start: Start) -> anyhow::Result<()> {
        let (dir, incarnation) = (tempfile::tempdir()?, [number; 16]);
        self.places.insert(number, Place { dir, incarnation, start, replica: None });
        self.start(number).await
    }

    async fn start(&mut self, number: u8) -> anyhow::Result<()> {
        let place = self.places.get_mut(&number).context("no such member")?;
        let config = ReplicaConfig {
            timers: self.timers,
            leader_wait: Duration::from_millis(50),
            ..ReplicaConfig::new(self.mesh.id, node(number), place.incarnation)
        };
        let (dir, start) = (place.dir.path().to_owned(), place.start.clone());
        let peers = self.network.of(node(number));
        let clock = Arc::new(|| UnixMillis(FOUNDED.0.saturating_add(1)));
        let opening = task::spawn_blocking(move || {
            Replica::open_in_group(&dir, config, clock, peers, &start)
        });
        let replica = Arc::new(opening.await??);
        self.network.attach(node(number), &replica);
        place.replica = Some(replica);
        Ok(())
    }

    fn replica(&self, number: u8) -> anyhow::Result<Arc<Replica>> {
        let place = self.places.get(&number).context("no such member")?;
        place.replica.clone().context("it does not run")
    }

    async fn leader(&self) -> anyhow::Result<u8> {
        let found = async {
            loop {
                let leads = |place: &Place| {
                    place
                        .replica
                        .as_ref()
                        .is_some_and(|replica| replica.leadership().borrow().leader)
                };
                if let Some((number, _)) = self.places.iter().find(|(_, place)| leads(place)) {
                    return *number;
                }
                time::sleep(PAUSE).await;
            }
        };
        time::timeout(PATIENCE, found).await.context("nobody leads")
    }

    /// Has one command committed, by whoever leads.
    async fn give(&mut self) -> anyhow::Result<()> {
        let proposal = self.mesh.gift(self.given.saturating_add(1));
        let given = async {
            loop {
                for place in self.places.values() {
                    let Some(replica) = &place.replica else { continue };
                    if replica.leadership().borrow().leader
                        && let Ok(Reply::Done { .. }) = replica.propose(proposal.clone()).await
                    {
                        return;
                    }
                }
                time::sleep(PAUSE).await;
            }
        };
        time::timeout(PATIENCE, given).await.context("a command was not committed")?;
        self.given = self.given.saturating_add(1);
        Ok(())
    }

    /// Kills leaders, and measures until the next command is committed, in ms.
    async fn kills(&mut self, kills: usize) -> anyhow::Result<Vec<f64>> {
        let mut taken = Vec::new();
        for _ in 0..kills {
            self.give().await?;
            let leader = self.leader().await?;
            let others = (1..=3).filter(|number| *number != leader).map(node).collect();
            let watch = Stopwatch::start();
            // From one moment to the next nobody hears of it any more.
            self.network.part(&[BTreeSet::from([node(leader)]), others]);
            let killed = self.places.get_mut(&leader).and_then(|place| place.replica.take());
            let killed = killed.context("the leader does not run")?;
            self.give().await?;
            taken.push(millis(watch.elapsed()));
            killed.shutdown().await;
            while Arc::strong_count(&killed) > 1 {
                time::sleep(PAUSE).await;
            }
            drop(killed);
            self.network.heal();
            self.start(leader).await?;
            self.all_have_everything().await?;
        }
        Ok(taken)
    }

    /// Hands the leadership over, and measures until the next command is committed, in ms.
    async fn handovers(&mut self) -> anyhow::Result<Vec<f64>> {
        let mut taken = Vec::new();
        for _ in 0..HANDOVERS {
            self.give().await?;
            self.all_have_everything().await?;
            let leader = self.leader().await?;
            let next = if leader == 3 { 1 } else { leader.saturating_add(1) };
            let to = self.replica(next)?.raft_id();
            let watch = Stopwatch::start();
            self.replica(leader)?.transfer(to).await?;
            self.give().await?;
            taken.push(millis(watch.elapsed()));
        }
        Ok(taken)
    }

    /// Commands a second, in batches.
    async fn commands(&mut self) -> anyhow::Result<f64> {
        let leader = self.replica(self.leader().await?)?;
        let first = self.given.saturating_add(1);
        let last = first.saturating_add(BATCH.saturating_mul(BATCHES));
        let proposals: Vec<_> = (first..last).map(|number| self.mesh.gift(number)).collect();
        let watch = Stopwatch::start();
        for batch in proposals.chunks(usize::try_from(BATCH)?) {
            let replies = leader.propose_many(batch.to_vec()).await?;
            ensure!(replies.iter().all(|reply| matches!(reply, Reply::Done { .. })), "refused");
            self.given = self.given.saturating_add(BATCH);
        }
        let count = u32::try_from(BATCH.saturating_mul(BATCHES))?;
        Ok(f64::from(count) / watch.elapsed().as_secs_f64())
    }

    async fn all_have_everything(&self) -> anyhow::Result<()> {
        let same = async {
            loop {
                let applied: BTreeSet<u64> = self
                    .places
                    .values()
                    .filter_map(|place| place.replica.as_ref())
                    .map(|replica| replica.status().applied_index)
                    .collect();
                if applied.len() == 1 {
                    return;
                }
                time::sleep(PAUSE).await;
            }
        };
        time::timeout(PATIENCE, same).await.context("a member does not catch up")
    }

    /// How many commands that were answered are not in the ledger, or are there more than once.
    fn wrong(&self) -> anyhow::Result<f64> {
        let Some(replica) = self.places.values().find_map(|place| place.replica.as_ref()) else {
            bail!("nobody is left");
        };
        // Each gives one µcr away.
        let given = query::balance(&*replica.view(), key(9).account())?.available.micros();
        Ok(f64::from(u32::try_from(given.abs_diff(u64::try_from(self.given)?))?))
    }

    async fn end(self) {
        for place in self.places.into_values() {
            if let Some(replica) = place.replica {
                replica.shutdown().await;
            }
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
