//! The bytes on disk and in the log never change by accident: a short history and every record that it leaves,
//! as they were written when the formats were frozen.
//!
//! `BLESS=1 cargo test -p ledger --test frozen` accepts new bytes; do that only together with a new format
//! number.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fmt::Write as _, path::Path};

use ledger::{
    command::Command,
    records::MemoryRecords,
    state::query,
    testing::{FOUNDED, TestJob, TestLedger, TestMesh, key, receipt},
};
use protocol::{
    codec::encode,
    ids::{InviteId, TaskIndex},
    invite::Secret,
    outcome::{Interruption, Outcome},
    sign::Signed,
    units::Credits,
    wire::{
        enroll::{NodeLabels, Verdict},
        invite::InviteRevoke,
        owner::Delegation,
    },
};

/// At least one entry of each kind and a record of each table. Returns the commands as bytes, too.
fn history() -> (MemoryRecords, String) {
    let mut ledger = TestLedger::found(TestMesh::default()).unwrap();
    let mesh = ledger.mesh.clone();
    let (owner, node) = (key(3), key(4));
    let secret = Secret([0x51; 16]);
    let delegation = Delegation { node: node.node(), owner: mesh.operator.account(), at: FOUNDED };
    let mut mine = mesh.decision(node.node(), Verdict::Approve, 15).peek().unwrap();
    mine.delegation = Some(Signed::sign(&delegation, mesh.id, &mesh.operator));
    let labels = NodeLabels {
        node: node.node(),
        add: vec!["gpu".to_owned(), "zone:attic".to_owned()],
        remove: Vec::new(),
        at: FOUNDED,
    };
    let revoke = InviteRevoke { invite: InviteId(secret.0), at: FOUNDED };
    let by_operator = &mesh.operator;
    let done = TestJob::new(&owner, 1, 3);
    let mut cancelled = TestJob::new(&owner, 2, 1);
    cancelled.spec.args = vec!["{}".to_owned()];
    let items = vec![
        receipt(0, Outcome::Exit(0)),
        receipt(1, Outcome::Exit(7)),
        receipt(2, Outcome::Indeterminate(Interruption::RunnerCrashed)),
    ];
    let receipts = Box::new(mesh.receipts(&done, &node, &owner, items));
    let commands = [
        mesh.enroll(&node, &owner, "second"),
        Command::Decide(mesh.decision(node.node(), Verdict::Approve, 10)),
        done.submit(&mesh),
        Command::Settle { receipts, retried: vec![TaskIndex(2)] },
        Command::GiveUp { job: done.id(), tasks: vec![(TaskIndex(2), 3)] },
        cancelled.submit(&mesh),
        Command::Cancel(mesh.cancel(&owner, cancelled.id())),
        TestJob::new(&owner, 3, 2).submit(&mesh),
        Command::Transfer(mesh.transfer(1, &owner, &mesh.operator, Credits::from_whole(1))),
        Command::Expire(done.id()),
        Command::Invite(Signed::sign(&mesh.invite(&secret, 2), mesh.id, by_operator)),
        mesh.enroll_invited(&key(6), &key(5), "third", &secret),
        Command::RevokeInvite(Signed::sign(&revoke, mesh.id, by_operator)),
        Command::Label(Signed::sign(&labels, mesh.id, by_operator)),
        Command::Decide(Signed::sign(&mine, mesh.id, by_operator)),
        mesh.rotation(&key(6), &key(7)),
        Command::EndKey(key(6).node()),
        Command::Decide(mesh.decision(node.node(), Verdict::Block, 20)),
    ];
    let mut log = String::new();
    for command in commands {
        let stamped = ledger.stamp(command);
        writeln!(log, "command {}", hex::encode(encode(&stamped))).unwrap();
        let applied = ledger.apply_stamped(&stamped).unwrap();
        writeln!(log, "reply {}", hex::encode(encode(&applied.reply))).unwrap();
    }
    (ledger.records, log)
}

#[test]
fn commands_entries_and_records_have_the_bytes_that_were_frozen() {
    let (records, mut found) = history();
    for (table, key, value) in records.iter() {
        writeln!(found, "{} {} {}", table.name(), hex::encode(key), hex::encode(value)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/history.hex");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let frozen = std::fs::read_to_string(&path).unwrap();
    for (number, (frozen, found)) in frozen.lines().zip(found.lines()).enumerate() {
        assert_eq!(frozen, found, "line {}", number + 1);
    }
    assert_eq!(frozen.lines().count(), found.lines().count());
}

#[test]
fn a_record_of_an_unknown_format_stops_the_node() {
    use ledger::state::record::{Head, Row as _};
    let (records, _) = history();
    let (_, _, value) = records.iter().find(|(_, key, _)| *key == b"head").unwrap();
    let mut newer = value.to_vec();
    newer[0] = 9;
    assert!(Head::from_bytes(value).is_ok());
    for bad in [newer.as_slice(), &value[..1], &value[..value.len() - 1]] {
        let error = Head::from_bytes(bad).unwrap_err();
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn the_history_that_was_frozen_holds_every_kind_of_entry() {
    let (records, _) = history();
    let facts = query::mesh(&records).unwrap().unwrap();
    let tags: std::collections::BTreeSet<_> = records
        .iter()
        .filter(|(table, ..)| *table == ledger::records::Table::Entries)
        .map(|(_, _, value)| {
            use ledger::state::{entry::Entry, record::Row as _};
            Entry::from_bytes(value).unwrap().tag
        })
        .collect();
    assert_eq!(tags.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 23]);
    assert_eq!(facts.height, 19);
}
