//! Whatever the bytes of a command are, applying it is an answer, the books balance, and nobody stops.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ledger::{
    command::{Command, Stamped},
    state::{apply, check_invariants},
    testing::{TestJob, TestLedger, TestMesh, key, receipt},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use protocol::{
    codec::{decode, encode},
    ids::TaskIndex,
    outcome::Outcome,
    units::Credits,
    wire::enroll::Verdict,
};

/// A mesh at work, and a good command of each kind that could come next.
fn busy() -> (TestLedger, Vec<Stamped>) {
    let mut ledger = TestLedger::found(TestMesh::default()).unwrap();
    let mesh = ledger.mesh.clone();
    let (owner, node) = (key(3), key(4));
    ledger.admit(&node, &owner, "second").unwrap();
    let open = TestJob::new(&owner, 1, 4);
    ledger.apply(open.submit(&mesh)).unwrap();
    let items = vec![receipt(0, Outcome::Exit(0)), receipt(2, Outcome::OutOfFuel)];
    let receipts = Box::new(mesh.receipts(&open, &node, &owner, items));
    let commands = [
        Command::Found(mesh.genesis.clone()),
        mesh.enroll(&key(6), &key(5), "third"),
        Command::Decide(mesh.decision(node.node(), Verdict::Block, 50)),
        TestJob::new(&owner, 2, 2).submit(&mesh),
        Command::Settle { receipts, retried: vec![TaskIndex(0)] },
        Command::GiveUp { job: open.id(), tasks: vec![(TaskIndex(1), 3), (TaskIndex(3), 6)] },
        Command::Cancel(mesh.cancel(&owner, open.id())),
        Command::Expire(open.id()),
        Command::Transfer(mesh.transfer(1, &owner, &mesh.operator, Credits::from_whole(5))),
    ];
    let stamped = commands.into_iter().map(|command| ledger.stamp(command)).collect();
    (ledger, stamped)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_command_never_stops_a_replica(
        which: Index,
        damage in vec((any::<Index>(), any::<u8>()), 0..4),
        order in vec(any::<Index>(), 0..4),
    ) {
        let (mut ledger, commands) = busy();
        let mut bytes = encode(which.get(&commands));
        for (at, value) in damage {
            *at.get_mut(&mut bytes) = value;
        }
        if let Ok(damaged) = decode::<Stamped>(&bytes) {
            ledger.apply_stamped(&damaged).unwrap();
        }
        for which in order {
            ledger.apply_stamped(which.get(&commands)).unwrap();
        }
        check_invariants(&ledger.records).unwrap();
    }
}

#[test]
fn before_the_mesh_is_founded_nothing_is_done() {
    let (_, commands) = busy();
    for stamped in &commands[1..] {
        let applied = apply(&ledger::records::MemoryRecords::default(), stamped).unwrap();
        assert!(matches!(applied.reply, ledger::command::Reply::Rejected(_)));
    }
}

#[test]
fn a_command_with_something_else_beside_the_same_signature_is_another_request() {
    let mesh = TestMesh::default();
    let job = TestJob::new(&key(3), 1, 4);
    let authorization = job.signed(&mesh);
    let spec = Box::new(TestJob::new(&key(3), 1, 5).spec);
    let (good, other) = (job.submit(&mesh), Command::Submit { authorization, spec });
    assert_eq!(good.content_id(), job.submit(&mesh).content_id());
    assert_ne!(good.content_id(), other.content_id());
}
