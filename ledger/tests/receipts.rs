//! A receipt is proved offline, and any change to it is found.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ledger::{
    checkpoint,
    command::Command,
    proof::{ProofError, ReceiptFacts, verify_receipt},
    state::{
        entry::{Entry, SettlementBody},
        query,
    },
    testing::{TestJob, TestLedger, TestMesh, key, receipt},
};
use protocol::{
    codec::{decode, encode},
    ids::{Hash, MeshId, ReceiptId, TaskIndex},
    merkle,
    outcome::{Interruption, Outcome},
    units::{Credits, Fuel},
    wire::{
        job::{Reduce, Scope},
        manifest::{BlobRef, OutputManifest},
        view::ReceiptProof,
    },
};

/// A ledger in which job 1 of the creator was done in two batches, and more followed.
fn worked() -> (TestLedger, TestJob) {
    let mut ledger = TestLedger::found(TestMesh::default()).unwrap();
    let mesh = ledger.mesh.clone();
    let job = TestJob::new(&mesh.operator, 1, 7);
    ledger.apply(job.submit(&mesh)).unwrap();
    for tasks in [0..5, 5..7] {
        let items = tasks.map(|task| receipt(task, Outcome::Exit(0))).collect();
        let receipts = Box::new(mesh.receipts(&job, &mesh.coordinator, &mesh.operator, items));
        ledger.apply(Command::Settle { receipts, retried: Vec::new() }).unwrap();
    }
    ledger.apply(TestJob::new(&mesh.operator, 2, 1).submit(&mesh)).unwrap();
    (ledger, job)
}

fn proof(task: u32) -> (ReceiptProof, TestMesh) {
    let (ledger, job) = worked();
    let receipt = ReceiptId { job: job.id(), task: TaskIndex(task) };
    let proof = query::receipt_proof(&ledger.records, receipt).unwrap().unwrap();
    (proof.sign(&ledger.mesh.coordinator), ledger.mesh)
}

#[test]
fn every_receipt_of_a_job_is_proved_against_genesis() {
    for task in 0..7 {
        let (proof, mesh) = proof(task);
        let facts: ReceiptFacts = verify_receipt(&proof, Some(mesh.id)).unwrap();
        assert_eq!((facts.mesh, facts.receipt.task), (mesh.id, TaskIndex(task)));
        assert_eq!((facts.charge, facts.capped), (Credits::from_micros(300), false));
        assert_eq!(
            (facts.worker, facts.account),
            (mesh.coordinator.node(), mesh.operator.account())
        );
        assert_eq!((facts.entry, facts.size), (if task < 5 { 3 } else { 4 }, 6));
        assert_eq!(verify_receipt(&proof, None), Ok(facts));
    }
}

#[test]
fn what_was_free_what_failed_and_what_was_reduced_is_proved_too() {
    let mut ledger = TestLedger::found(TestMesh::default()).unwrap();
    let mesh = ledger.mesh.clone();
    let mut job = TestJob::new(&mesh.operator, 1, 2);
    job.spec.scope = Scope::Mine;
    job.spec.reduce = Some(Reduce::Module(Hash([5; 32])));
    ledger.apply(job.submit(&mesh)).unwrap();
    let lost = Outcome::Indeterminate(Interruption::RunnerCrashed);
    for items in
        [vec![receipt(0, Outcome::Exit(0)), receipt(1, lost)], vec![receipt(2, Outcome::Exit(0))]]
    {
        let receipts = Box::new(mesh.receipts(&job, &mesh.coordinator, &mesh.operator, items));
        ledger.apply(Command::Settle { receipts, retried: Vec::new() }).unwrap();
    }
    for (task, outcome, module) in
        [(0, Outcome::Exit(0), 1), (1, lost, 1), (2, Outcome::Exit(0), 5)]
    {
        let receipt = ReceiptId { job: job.id(), task: TaskIndex(task) };
        let proof = query::receipt_proof(&ledger.records, receipt).unwrap().unwrap();
        let facts = verify_receipt(&proof.sign(&mesh.coordinator), Some(mesh.id)).unwrap();
        assert_eq!((facts.outcome, facts.module), (outcome, Hash([module; 32])));
        assert_eq!((facts.charge, facts.capped), (Credits::ZERO, false));
    }
}

#[test]
fn a_task_that_was_not_settled_has_no_proof() {
    let (ledger, _) = worked();
    for (job, task) in [(2, 0), (1, 7), (9, 0)] {
        let job = TestJob::new(&key(1), job, 1).id();
        let receipt = ReceiptId { job, task: TaskIndex(task) };
        assert_eq!(query::receipt_proof(&ledger.records, receipt).unwrap(), None);
    }
}

#[test]
fn a_receipt_of_another_mesh_is_refused_where_the_mesh_is_known() {
    let (proof, mesh) = proof(0);
    let expected = MeshId([1; 32]);
    assert_eq!(
        verify_receipt(&proof, Some(expected)),
        Err(ProofError::Mesh { expected, found: mesh.id })
    );
}

#[test]
fn any_change_to_a_proof_is_found() {
    let (good, mesh) = proof(3);
    let (other, _) = proof(4);
    let foreign = TestMesh::with(|genesis| genesis.nonce = [1; 16]);
    type Change<'a> = Box<dyn Fn(&mut ReceiptProof) + 'a>;
    let changes: Vec<Change<'_>> = vec![
        Box::new(|proof| proof.genesis = foreign.genesis.clone()),
        Box::new(|proof| proof.receipt.task = TaskIndex(4)),
        Box::new(|proof| proof.item = other.item),
        Box::new(|proof| proof.item.fuel = Fuel(1)),
        Box::new(|proof| proof.item.output = Hash([9; 32])),
        Box::new(|proof| proof.item_index = 4),
        Box::new(|proof| proof.item_path = other.item_path.clone()),
        Box::new(|proof| proof.item_path = Vec::new()),
        Box::new(|proof| proof.spec.tasks = 9),
        Box::new(|proof| proof.spec.args = vec!["x".repeat(100_000)]),
        Box::new(|proof| proof.authorization = TestJob::new(&key(1), 2, 1).signed(&mesh)),
        Box::new(|proof| proof.authorization = TestJob::new(&key(1), 1, 7).signed(&foreign)),
        Box::new(|proof| proof.entry.truncate(10)),
        Box::new(|proof| proof.entry_index = 3),
        Box::new(|proof| proof.entry_path = Vec::new()),
        Box::new(|proof| proof.checkpoint = proof.checkpoint.replace("\n6\n", "\n7\n")),
        Box::new(|proof| proof.checkpoint = String::new()),
        Box::new(|proof| {
            let blob = BlobRef::to(b"other");
            proof.output = Some(OutputManifest { stdout: blob, stderr: blob, files: Vec::new() });
        }),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = good.clone();
        change(&mut changed);
        assert!(verify_receipt(&changed, None).is_err(), "change {number}");
    }
    for at in 0..good.entry.len() {
        let mut changed = good.clone();
        changed.entry[at] ^= 1;
        assert!(verify_receipt(&changed, None).is_err(), "byte {at} of the entry");
    }
}

#[test]
fn a_checkpoint_of_somebody_else_proves_nothing() {
    let (mut proof, mesh) = proof(0);
    let text = proof.checkpoint.split("\n\n").next().unwrap().to_owned() + "\n";
    proof.checkpoint = checkpoint::sign(&text, &key(9), &checkpoint::origin(&mesh.id, 0));
    assert!(matches!(verify_receipt(&proof, None), Err(ProofError::Checkpoint(_))));
}

/// Even a coordinator that signs whatever it likes cannot charge more than was agreed.
#[test]
fn a_bill_that_is_too_high_is_called_that() {
    let forge = |change: &dyn Fn(&mut SettlementBody)| {
        let (mut proof, mesh) = proof(0);
        let mut entry: Entry = decode(&proof.entry).unwrap();
        let mut body: SettlementBody = decode(&entry.body).unwrap();
        change(&mut body);
        entry.seq = 1;
        entry.body = encode(&body);
        proof.entry = encode(&entry);
        (proof.entry_index, proof.entry_path) = (0, Vec::new());
        let origin = checkpoint::origin(&mesh.id, 0);
        let text = checkpoint::note_text(&origin, 1, &merkle::leaf_hash(&proof.entry));
        proof.checkpoint = checkpoint::sign(&text, &mesh.coordinator, &origin);
        verify_receipt(&proof, None)
    };
    assert!(forge(&|_| {}).is_ok());
    let dear = forge(&|body| body.charges[0] = Some(Credits::from_micros(301))).unwrap_err();
    assert_eq!(
        dear,
        ProofError::Bill { charged: Credits::from_micros(301), due: Credits::from_micros(300) }
    );
    let dearer = forge(&|body| body.price.per_mfuel = Credits::from_micros(251)).unwrap_err();
    assert!(dearer.is_wrong_bill());
    let cheap = forge(&|body| body.charges[0] = Some(Credits::from_micros(299))).unwrap();
    assert!(cheap.capped);
}
