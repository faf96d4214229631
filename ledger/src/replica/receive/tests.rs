//! Who may say what.

use protocol::ids::{Hash, MeshId};

use super::*;
use crate::replica::{
    disk::VoteRecord,
    raft::Vote,
    wire::{Append, Ballot, Chunk, Transfer},
};

const OWN: IdentityRecord = IdentityRecord {
    mesh: MeshId([1; 32]),
    node: NodeId([2; 32]),
    raft_id: 1,
    incarnation: [2; 16],
};
const OTHER: Member = Member { node: NodeId([3; 32]), incarnation: [3; 16] };

fn members(id: u64) -> Vec<Member> {
    if id == 5 { vec![OTHER] } else { Vec::new() }
}

fn vote(node: u64) -> VoteRecord {
    VoteRecord::from(&Vote::new(u64::MAX, node))
}

fn bodies(node: u64) -> [Body; 5] {
    let vote = vote(node);
    let ballot = Ballot { vote, last: None, transfer: true };
    let chunk =
        Chunk { vote, digest: Hash([0; 32]), offset: 0, hash: Hash([0; 32]), bytes: vec![] };
    [
        Body::PreVote(ballot.clone()),
        Body::Vote(ballot),
        Body::Append(Append { vote, previous: None, committed: None, entries: Vec::new() }),
        Body::Transfer(Transfer { vote, to: 1, last: None }),
        Body::Chunk(chunk),
    ]
}

fn request(body: Body) -> Request {
    Request { mesh: OWN.mesh, epoch: 0, from: 5, incarnation: OTHER.incarnation, to: 1, body }
}

fn check(request: &Request, sender: NodeId) -> Result<(), Refusal> {
    authenticate(request, sender, &OWN, 0, members)
}

#[test]
fn a_member_is_heard() {
    for body in bodies(5) {
        assert_eq!(check(&request(body), OTHER.node), Ok(()));
    }
}

#[test]
fn whatever_does_not_agree_is_refused_for_every_kind_of_message() {
    for body in bodies(5) {
        let good = request(body);
        let wrong = |change: fn(&mut Request), sender| {
            let mut wrong = good.clone();
            change(&mut wrong);
            check(&wrong, sender).unwrap_err()
        };
        let node = OTHER.node;
        assert_eq!(wrong(|it| it.mesh = MeshId([9; 32]), node), Refusal::OtherMesh);
        assert_eq!(wrong(|it| it.epoch = 1, node), Refusal::OtherEpoch);
        assert_eq!(wrong(|it| it.to = 2, node), Refusal::OtherReceiver);
        assert_eq!(wrong(|it| it.from = 6, node), Refusal::NotAMember);
        assert_eq!(wrong(|it| it.incarnation = [9; 16], node), Refusal::OtherIncarnation);
        assert_eq!(wrong(|_| {}, NodeId([9; 32])), Refusal::OtherNode);
    }
}

#[test]
fn nobody_speaks_in_the_name_of_another() {
    for body in bodies(1) {
        assert_eq!(check(&request(body), OTHER.node), Err(Refusal::OtherVote));
    }
}

#[test]
fn a_receiver_without_members_hears_nobody() {
    for body in bodies(5) {
        let refused = authenticate(&request(body), OTHER.node, &OWN, 0, |_| Vec::new());
        assert_eq!(refused, Err(Refusal::NotAMember));
    }
}
