//! The bytes between members.

use std::collections::{BTreeMap, BTreeSet};

use openraft::raft::AppendEntriesRequest;
use proptest::prelude::*;
use protocol::{codec, ids::NodeId};

use super::*;
use crate::replica::raft::{Member, Membership, Vote, log_id};

fn request(body: Body) -> Request {
    Request { mesh: MeshId([0xaa; 32]), epoch: 2, from: 1, incarnation: [0xbb; 16], to: 7, body }
}

fn append(entries: Vec<Entry>) -> AppendEntriesRequest<Types> {
    AppendEntriesRequest {
        vote: Vote::new_committed(3, 1),
        prev_log_id: Some(log_id(3, 1, 5)),
        entries,
        leader_commit: None,
    }
}

fn command(index: u64, bytes: usize) -> Entry {
    let payload = EntryPayload::Normal(CommandBytes(vec![9; bytes]));
    Entry { log_id: log_id(3, 1, index), payload }
}

/// What every request begins with.
fn envelope(variant: u8) -> Vec<u8> {
    let mut bytes = vec![0xaa; 32];
    bytes.extend([2, 0, 0, 0]);
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([0xbb; 16]);
    bytes.extend([7, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([variant, 0, 0, 0]);
    bytes
}

#[test]
fn the_bytes_of_a_ballot_are_frozen() {
    let ballot = Ballot::from(&VoteRequest::new(Vote::new(4, 1), Some(log_id(3, 1, 9))));
    for (body, variant) in [(Body::PreVote(ballot.clone()), 0), (Body::Vote(ballot), 1)] {
        let mut expected = envelope(variant);
        expected.extend([4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]); // vote
        expected.extend([1, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]); // last: term, leader
        expected.extend([9, 0, 0, 0, 0, 0, 0, 0]); // index
        expected.push(0); // no transfer
        assert_eq!(codec::encode(&request(body)), expected);
    }
}

#[test]
fn the_bytes_of_entries_are_frozen() {
    let sent = Append::that_fits(append(vec![command(6, 2)]));
    let mut expected = envelope(2);
    expected.extend([3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]); // vote, committed
    expected.extend([1, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    expected.push(0); // nothing known to be committed
    expected.extend([1, 0, 0, 0, 0, 0, 0, 0]); // one entry
    expected.extend([3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 9]); // a command
    assert_eq!(codec::encode(&request(Body::Append(sent))), expected);
}

#[test]
fn the_bytes_of_answers_are_frozen() {
    assert_eq!(codec::encode(&Answer::Refused(Refusal::NotAMember)), [0, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(codec::encode(&Answer::Append(AppendAnswer::All)), [2, 0, 0, 0, 0, 0, 0, 0]);
    let have = [4, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0];
    assert_eq!(codec::encode(&Answer::Have(513)), have);
}

#[test]
fn entries_of_every_kind_arrive_as_they_were() {
    let member = Member { node: NodeId([4; 32]), incarnation: [5; 16] };
    let membership =
        Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, member)])).unwrap();
    let entries = vec![
        Entry { log_id: log_id(3, 1, 6), payload: EntryPayload::Blank },
        command(7, 300),
        Entry { log_id: log_id(3, 1, 8), payload: EntryPayload::Membership(membership) },
    ];
    let sent = codec::encode(&request(Body::Append(Append::that_fits(append(entries.clone())))));
    let Body::Append(arrived) = codec::decode::<Request>(&sent).unwrap().body else { panic!() };
    assert_eq!(AppendEntriesRequest::try_from(arrived).unwrap().entries, entries);
}

#[test]
fn entries_that_are_too_many_for_one_message_are_cut_and_never_to_none() {
    let largest = 256 * 1024;
    let many = (0..300).map(|index| command(index, 10_000)).collect();
    let sent = Append::that_fits(append(many));
    assert!((2..300).contains(&sent.entries.len()), "{}", sent.entries.len());
    let few = (0..4).map(|index| command(index, largest)).collect();
    let sent = Append::that_fits(append(few));
    assert!(codec::encode(&request(Body::Append(sent))).len() < FRAME_BYTES_MAX);
    assert_eq!(Append::that_fits(append(vec![command(1, largest)])).entries.len(), 1);
}

#[test]
fn a_membership_without_voters_does_not_arrive() {
    let record = MembershipRecord::default();
    let entry = WireEntry { id: (&log_id(1, 1, 1)).into(), carries: Carried::Membership(record) };
    assert!(entry.unpack().is_err());
}

proptest! {
    #[test]
    fn garbage_is_refused_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = codec::decode::<Answer>(&bytes);
        if let Ok(request) = codec::decode::<Request>(&bytes) {
            prop_assert_eq!(codec::encode(&request), bytes);
        }
    }

    #[test]
    fn a_message_that_was_changed_is_refused_or_another_one(at in any::<proptest::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = codec::encode(&request(Body::Append(Append::that_fits(append(vec![command(6, 100)])))));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(request) = codec::decode::<Request>(&bytes) {
            prop_assert_eq!(codec::encode(&request), bytes);
        }
    }
}
