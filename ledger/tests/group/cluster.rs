//! A group in one process, on real stores and a network that can fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ledger::{
    command::{Command, Reply},
    records::{Range, Record, Records, Table},
    replica::{
        Consensus, GroupChange, LossyNetwork, OpenError, Proposal, ProposeError, Replica,
        ReplicaConfig, Start, Timers,
    },
    state::{check_invariants, query},
    testing::{FOUNDED, TestMesh, key},
};
use protocol::{
    ids::{NodeId, RequestId},
    time::UnixMillis,
};
use tempfile::TempDir;
use tokio::{runtime::Handle, task, time};

/// How long anything may take before a test gives up: for slow machines, not a figure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The node with this number.
pub(crate) fn node(number: u8) -> NodeId {
    key(number.saturating_add(20)).node()
}

/// How many gifts were applied.
pub(crate) fn gifts(records: &(impl Records + ?Sized)) -> u64 {
    query::balance(records, key(9).account()).unwrap().available.micros()
}

/// Waits until `met` says so.
pub(crate) async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let waited = time::timeout(PATIENCE, async {
        while !met() {
            time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "gave up waiting until {what}");
}

/// Who was seen to lead in each term.
pub(crate) type Leaders = Arc<Mutex<BTreeMap<u64, BTreeSet<NodeId>>>>;

/// The members that run, for those who propose while members come and go.
pub(crate) type Running = Arc<Mutex<BTreeMap<u8, Weak<Replica>>>>;

/// A member's place: its directory stays when it is killed.
struct Place {
    dir: TempDir,
    incarnation: [u8; 16],
    start: Start,
    replica: Option<Arc<Replica>>,
}

/// The group.
pub(crate) struct Cluster {
    pub(crate) mesh: TestMesh,
    pub(crate) network: Arc<LossyNetwork>,
    pub(crate) leaders: Leaders,
    pub(crate) alive: Running,
    change: fn(&mut ReplicaConfig),
    places: BTreeMap<u8, Place>,
    incarnations: u8,
}

/// Groups in this process.
static CLUSTERS: AtomicUsize = AtomicUsize::new(0);

/// Waits for the threads of all replicas, also of those that were killed: the process must not end before them, because
/// the store's own statics end with it.
impl Drop for Cluster {
    fn drop(&mut self) {
        for place in self.places.values_mut() {
            place.replica = None;
        }
        // Where groups run side by side, the last one waits for the threads of all.
        if CLUSTERS.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        // Ten seconds at most.
        for _ in 0..2_000 {
            if replica_threads() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Threads of replicas in this process, by their names. Each test has a process of its own.
fn replica_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("ledger")).count()
}

impl Cluster {
    /// Member 1 alone, in a mesh that is founded.
    pub(crate) async fn found(seed: u64, change: fn(&mut ReplicaConfig)) -> Self {
        CLUSTERS.fetch_add(1, Ordering::SeqCst);
        let mut this = Self {
            mesh: TestMesh::default(),
            network: LossyNetwork::new(seed, Handle::current()),
            leaders: Leaders::default(),
            alive: Running::default(),
            change,
            places: BTreeMap::new(),
            incarnations: 0,
        };
        this.place(1, |_| Start::Found);
        this.start(1).await;
        let founding = Proposal {
            request: RequestId([0xff; 16]),
            command: Command::Found(this.mesh.genesis.clone()),
        };
        assert!(matches!(this.replica(1).propose(founding).await.unwrap(), Reply::Done { .. }));
        this
    }

    /// Members 1 to `count`, all of which vote.
    pub(crate) async fn of(count: u8, seed: u64, change: fn(&mut ReplicaConfig)) -> Self {
        let mut this = Self::found(seed, change).await;
        for number in 2..=count {
            this.join(number).await;
        }
        this.vote(1..=count).await;
        this
    }

    fn place(&mut self, number: u8, start: impl FnOnce([u8; 16]) -> Start) {
        self.incarnations += 1;
        let incarnation = [self.incarnations; 16];
        let dir = tempfile::tempdir().unwrap();
        let start = start(incarnation);
        self.places.insert(number, Place { dir, incarnation, start, replica: None });
    }

    /// Makes a new directory for a node and has the leader admit it as a learner.
    pub(crate) async fn join(&mut self, number: u8) {
        let incarnation = [self.incarnations + 1; 16];
        let admission = loop {
            let leader = self.leader().await;
            match self.replica(leader).admit(node(number), incarnation).await {
                Ok(admission) => break admission,
                Err(error) => tracing::debug!(%error, "not admitted yet"),
            }
            task::yield_now().await;
        };
        self.place(number, |_| Start::Join(admission));
        self.start(number).await;
    }

    /// Makes these the voters, once all have caught up.
    pub(crate) async fn vote(&self, numbers: impl IntoIterator<Item = u8>) {
        let ids = numbers.into_iter().map(|number| self.replica(number).raft_id());
        let voters: BTreeSet<u64> = ids.collect();
        let changed = time::timeout(PATIENCE, async {
            loop {
                let leader = self.replica(self.leader().await);
                let group = leader.group();
                if group.voters == [voters.clone()] && group.committed {
                    return;
                }
                let change = GroupChange::Voters(voters.clone());
                if let Err(error) = leader.change(&change, &group).await {
                    tracing::debug!(%error, "not changed yet");
                }
                task::yield_now().await;
            }
        });
        changed.await.expect("the voters were not changed");
    }

    /// Where a member keeps its ledger.
    pub(crate) fn dir(&self, number: u8) -> &Path {
        self.places[&number].dir.path()
    }

    /// Starts a member on its directory.
    pub(crate) async fn start(&mut self, number: u8) {
        self.try_start(number).await.unwrap();
    }

    /// The same, where it may be refused.
    pub(crate) async fn try_start(&mut self, number: u8) -> Result<(), OpenError> {
        let place = self.places.get_mut(&number).unwrap();
        let mut config = ReplicaConfig::new(self.mesh.id, node(number), place.incarnation);
        config.timers = Timers::Fast;
        (self.change)(&mut config);
        let (dir, start) = (place.dir.path().to_owned(), place.start.clone());
        let peers = self.network.of(node(number));
        let replica = task::spawn_blocking(move || {
            let clock = Arc::new(|| UnixMillis(FOUNDED.0 + 1));
            Replica::open_in_group(&dir, config, clock, peers, &start)
        });
        let replica = Arc::new(replica.await.unwrap()?);
        self.network.attach(node(number), &replica);
        watch(Arc::clone(&self.leaders), node(number), &replica);
        self.alive.lock().unwrap().insert(number, Arc::downgrade(&replica));
        self.places.get_mut(&number).unwrap().replica = Some(replica);
        Ok(())
    }

    /// Stops a member as a crash of its node would: nothing is handed over, nobody is told.
    pub(crate) async fn kill(&mut self, number: u8) {
        let Some(replica) = self.places.get_mut(&number).unwrap().replica.take() else { return };
        replica.shutdown().await;
        // Messages that it is answering hold it a little longer.
        until("a member is gone", || Arc::strong_count(&replica) == 1).await;
    }

    /// Kills a member and removes its directory.
    pub(crate) async fn wipe(&mut self, number: u8) {
        self.kill(number).await;
        self.places.remove(&number);
    }

    pub(crate) fn replica(&self, number: u8) -> &Arc<Replica> {
        self.places[&number].replica.as_ref().unwrap()
    }

    /// The members that run.
    pub(crate) fn running(&self) -> Vec<u8> {
        let running = self.places.iter().filter(|(_, place)| place.replica.is_some());
        running.map(|(number, _)| *number).collect()
    }

    /// The members that do not.
    pub(crate) fn stopped(&self) -> Vec<u8> {
        let stopped = self.places.iter().filter(|(_, place)| place.replica.is_none());
        stopped.map(|(number, _)| *number).collect()
    }

    /// Who leads now, as soon as somebody does.
    pub(crate) async fn leader(&self) -> u8 {
        let mut found = None;
        until("somebody leads", || {
            let leads = |number: &u8| self.replica(*number).leadership().borrow().leader;
            let term = |number: &u8| self.replica(*number).leadership().borrow().term;
            found = self.running().into_iter().filter(leads).max_by_key(term);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Proposes until there is a reply, at whoever leads.
    pub(crate) async fn give(&self, number: u128) {
        assert!(matches!(self.ask(number).await, Reply::Done { .. }));
    }

    /// The same, and returns what was replied.
    pub(crate) async fn ask(&self, number: u128) -> Reply {
        let proposal = self.mesh.gift(number);
        let replicas: Vec<_> =
            self.running().into_iter().map(|number| Arc::clone(self.replica(number))).collect();
        let given = propose_somewhere(&replicas, &proposal);
        time::timeout(PATIENCE, given).await.expect("no reply")
    }

    /// Waits until all that run have applied the same, and checks that their records are the same bytes.
    pub(crate) async fn converge(&self) -> u64 {
        until("all have applied the same", || {
            let running = self.running();
            let applied = |number: &u8| self.replica(*number).status().applied_index;
            let leads = |number: &u8| self.replica(*number).leadership().borrow().leader;
            let Some(leader) = running.iter().find(|number| leads(number)) else { return false };
            let last = self.replica(*leader).group().last_index;
            running.iter().all(|number| applied(number) == last)
        })
        .await;
        let running = self.running();
        let first = all_records(&*self.replica(running[0]).view());
        for number in &running[1..] {
            let other = all_records(&*self.replica(*number).view());
            assert!(other == first, "the records of {} and {number} differ", running[0]);
        }
        check_invariants(&*self.replica(running[0]).view()).unwrap();
        for (term, leaders) in &*self.leaders.lock().unwrap() {
            assert!(leaders.len() <= 1, "term {term} had several leaders: {leaders:?}");
        }
        gifts(&*self.replica(running[0]).view())
    }
}

/// Proposes to one after the other until there is a reply. Follows hints.
pub(crate) async fn propose_somewhere(replicas: &[Arc<Replica>], proposal: &Proposal) -> Reply {
    let mut at = 0;
    loop {
        let replica = &replicas[at % replicas.len()];
        match replica.propose(proposal.clone()).await {
            Ok(reply) => return reply,
            Err(ProposeError::NoLeader { leader: Some(leader) }) => {
                let hinted = replicas.iter().position(|other| {
                    other.status().leadership.leader_node == Some(leader)
                        && other.status().leadership.leader
                });
                at = hinted.unwrap_or(at + 1);
            }
            Err(_) => at += 1,
        }
        time::sleep(Duration::from_millis(5)).await;
    }
}

fn all_records(records: &(impl Records + ?Sized)) -> Vec<Vec<Record>> {
    let all = Range { from: Vec::new(), to: vec![0xff; 64], reverse: false, limit: usize::MAX };
    Table::ALL.into_iter().map(|table| records.scan(table, &all).unwrap()).collect()
}

/// Notes down when a member leads.
fn watch(leaders: Leaders, own: NodeId, replica: &Arc<Replica>) {
    let mut leadership = replica.leadership();
    Handle::current().spawn(async move {
        loop {
            let now = *leadership.borrow_and_update();
            if now.leader {
                leaders.lock().unwrap().entry(now.term).or_default().insert(own);
            }
            if leadership.changed().await.is_err() {
                return;
            }
        }
    });
}
