//! What one task costs in each of its parts, measured alone, in microseconds of one core.
//!
//! Parts that are done once for a batch are divided by its items. What the whole takes beyond the sum of the parts is
//! waiting and scheduling.

use std::{path::Path, sync::Arc};

use anyhow::ensure;
use ledger::{
    command::{Command, Reply},
    replica::{Consensus as _, Proposal, Replica, ReplicaConfig},
    testing::{FOUNDED, TestJob, TestMesh, key, receipt},
};
use protocol::{
    batch::{Batch, Commitment},
    codec::{decode, encode},
    ids::{Hash, LeaseId, NodeId, RequestId, TaskIndex},
    limits::BATCH_ITEMS_MAX,
    outcome::Outcome,
    price::Price,
    wire::{
        enroll::Verdict,
        job::TaskLimits,
        lease::{Fence, LeaseHeader, LeaseItem, LeaseOffer, LeaseRequest},
        manifest::{BlobRef, OutputManifest, TaskInput},
        receipt::{ReceiptHeader, ResultRequest, TaskReceipt},
    },
};
use sandbox::{
    pool::{Config, Pool, find_runner},
    task::{ModuleSource, TaskRun},
};

use tests::Stopwatch;

use crate::figures::Figures;

/// `(module (memory (export "memory") 1) (func (export "_start")))`
pub(crate) const NOTHING: &[u8] = &[
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // \0asm, version 1
    0x01, 0x04, 0x01, 0x60, 0x00, 0x00, // one type: no parameters, no results
    0x03, 0x02, 0x01, 0x00, // one function of it
    0x05, 0x03, 0x01, 0x00, 0x01, // one memory of one page
    0x07, 0x13, 0x02, // two exports
    0x06, b'm', b'e', b'm', b'o', b'r', b'y', 0x02, 0x00, //
    0x06, b'_', b's', b't', b'a', b'r', b't', 0x00, 0x00, //
    0x0a, 0x04, 0x01, 0x02, 0x00, 0x0b, // its code: end
];

/// Batches that are measured.
const BATCHES: u32 = 50;
/// Tasks that are run in the jail.
const JAIL_TASKS: u32 = 1_000;

/// Measures all parts. `dir` is a new directory for compiled modules and a ledger.
///
/// # Errors
///
/// If something does not do what it is measured doing.
pub(crate) async fn measure(figures: &mut Figures, dir: &Path) -> anyhow::Result<()> {
    let batch = Parts::new()?;
    let tasks = batch.tasks.saturating_mul(BATCHES);

    let watch = Stopwatch::start();
    for _ in 0..BATCHES {
        batch.sign_and_check()?;
    }
    figures.add("jobs-part-signing", watch.micros_each(tasks), "us/task");

    let watch = Stopwatch::start();
    for _ in 0..BATCHES {
        batch.encode_and_decode()?;
    }
    figures.add("jobs-part-lease", watch.micros_each(tasks), "us/task");

    let watch = Stopwatch::start();
    for task in 0..tasks {
        hash(task);
    }
    figures.add("jobs-part-hashing", watch.micros_each(tasks), "us/task");

    figures.add("jobs-part-jail", jail(&dir.join("artifacts")).await?, "us/task");
    figures.add("jobs-part-commit", commit(&dir.join("ledger"), batch.tasks).await?, "us/task");
    Ok(())
}

/// Runs the module that does nothing in one warm runner process; microseconds for each task.
async fn jail(artifacts: &Path) -> anyhow::Result<f64> {
    let pool = Pool::new(Config::new(find_runner()?, artifacts.to_owned(), 1))?;
    let task = TaskRun {
        module: Hash::of(NOTHING),
        source: ModuleSource::Bytes(NOTHING.into()),
        owner: key(3).account(),
        args: Vec::new(),
        env: Vec::new(),
        stdin: Arc::from([]),
        files: Vec::new(),
        limits: TaskLimits::default(),
        seed: [0; 32],
    };
    // The first compiles the module and starts the process.
    let done = pool.run(task.clone()).await;
    ensure!(done.outcome == Outcome::Exit(0), "a task that does nothing: {:?}", done.outcome);
    let watch = Stopwatch::start();
    for _ in 0..JAIL_TASKS {
        pool.run(task.clone()).await;
    }
    Ok(watch.micros_each(JAIL_TASKS))
}

/// A full batch on its way to a worker and back.
struct Parts {
    tasks: u32,
    mesh: TestMesh,
    job: TestJob,
    items: Vec<LeaseItem>,
    receipts: Vec<TaskReceipt>,
    offer: LeaseOffer,
    request: ResultRequest,
}

impl Parts {
    fn new() -> anyhow::Result<Self> {
        let tasks = u32::try_from(BATCH_ITEMS_MAX)?;
        let (mesh, job) = (TestMesh::default(), TestJob::new(&key(3), 1, tasks));
        let items: Vec<_> =
            (0..tasks).map(|task| LeaseItem { task: TaskIndex(task), attempt: 1 }).collect();
        let receipts: Vec<_> = (0..tasks).map(|task| receipt(task, Outcome::Exit(0))).collect();
        let lease = lease(&mesh, &job, &items);
        let offer = LeaseOffer {
            batch: lease.clone(),
            spec: job.spec.clone(),
            reduce_input: None,
            providers: vec![NodeId([6; 32])],
        };
        let request = ResultRequest {
            receipts: results(&mesh, &job, &receipts),
            outputs: vec![manifest(b""); receipts.len()],
            inline: vec![Vec::new()],
            proof: Box::new(lease),
        };
        Ok(Self { tasks, mesh, job, items, receipts, offer, request })
    }

    /// The leader signs a lease and the worker checks it; the worker signs receipts and the leader checks them.
    fn sign_and_check(&self) -> anyhow::Result<()> {
        lease(&self.mesh, &self.job, &self.items).verify(&self.mesh.id)?;
        results(&self.mesh, &self.job, &self.receipts).verify(&self.mesh.id)?;
        Ok(())
    }

    /// Both messages, written and read.
    fn encode_and_decode(&self) -> anyhow::Result<()> {
        decode::<LeaseRequest>(&encode(&LeaseRequest::Offer(Box::new(self.offer.clone()))))?;
        decode::<ResultRequest>(&encode(&self.request))?;
        Ok(())
    }
}

fn lease(mesh: &TestMesh, job: &TestJob, items: &[LeaseItem]) -> Batch<LeaseHeader, LeaseItem> {
    let header = LeaseHeader {
        lease: LeaseId([1; 16]),
        worker: key(4).node(),
        job: job.id(),
        authorization: Hash([5; 32]),
        account: protocol::ids::AccountId([6; 32]),
        price: Price::default(),
        duration_ms: 15_000,
        fence: Fence::default(),
        commitment: Commitment::to(items),
    };
    Batch::sign(&header, items.to_vec(), mesh.id, &mesh.coordinator)
}

fn results(
    mesh: &TestMesh,
    job: &TestJob,
    receipts: &[TaskReceipt],
) -> Batch<ReceiptHeader, TaskReceipt> {
    mesh.receipts(job, &key(4), &key(3), receipts.to_vec())
}

fn manifest(stdout: &[u8]) -> OutputManifest {
    OutputManifest { stdout: BlobRef::to(stdout), stderr: BlobRef::to(b""), files: Vec::new() }
}

/// What a worker hashes for a task: its input's description, its outputs, and their description.
fn hash(task: u32) {
    let input = TaskInput { name: format!("line-{task:06}"), ..TaskInput::none() };
    std::hint::black_box(Hash::of(&encode(&input)));
    std::hint::black_box(Hash::of(&encode(&manifest(&task.to_le_bytes()))));
}

/// Settles batches on a real, synced ledger; microseconds for each task.
async fn commit(dir: &Path, items: u32) -> anyhow::Result<f64> {
    let mesh = TestMesh::default();
    let config = ReplicaConfig::new(mesh.id, mesh.coordinator.node(), [9; 16]);
    let dir = dir.to_owned();
    std::fs::create_dir_all(&dir)?;
    let clock: ledger::replica::Clock = Arc::new(|| FOUNDED);
    let replica = tokio::task::spawn_blocking(move || Replica::open(&dir, config, clock)).await??;
    let mut leadership = replica.leadership();
    leadership.wait_for(|now| now.leader).await?;

    let (node, owner) = (key(4), key(3));
    let tasks = items.saturating_mul(BATCHES);
    let job = TestJob::new(&owner, 1, tasks);
    let setup = [
        Command::Found(mesh.genesis.clone()),
        mesh.enroll(&node, &owner, "worker"),
        Command::Decide(mesh.decision(node.node(), Verdict::Approve, 1)),
        job.submit(&mesh),
    ];
    for (number, command) in (0_u8..).zip(setup) {
        let reply = replica.propose(Proposal { request: RequestId([number; 16]), command }).await?;
        ensure!(matches!(reply, Reply::Done { .. }), "the ledger refuses to be set up: {reply:?}");
    }
    let settlements: Vec<_> = (0..BATCHES)
        .map(|batch| {
            let first = batch.saturating_mul(items);
            let receipts = (first..first.saturating_add(items))
                .map(|task| receipt(task, Outcome::Exit(0)))
                .collect();
            let receipts = Box::new(mesh.receipts(&job, &node, &owner, receipts));
            let mut request = [0xff; 16];
            let (number, _) = request.split_at_mut(4);
            number.copy_from_slice(&batch.to_le_bytes());
            let command = Command::Settle { receipts, retried: Vec::new() };
            Proposal { request: RequestId(request), command }
        })
        .collect();
    let watch = Stopwatch::start();
    for settlement in settlements {
        let reply = replica.propose(settlement).await?;
        ensure!(matches!(reply, Reply::Done { .. }), "the ledger refuses to settle: {reply:?}");
    }
    let micros = watch.micros_each(tasks);
    replica.shutdown().await;
    ensure!(micros.is_finite(), "nothing was settled");
    Ok(micros)
}
