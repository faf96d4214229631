//! What a leader keeps in mind about nodes that ask to join, and forgets when it ends: the numbers that they have
//! revealed for the code, and who showed invites wrongly.
//!
//! A proof of an invite cannot be guessed, so what is locked is never the invite for whoever holds it: a node that
//! showed wrong proofs is not listened to for a while, and an invite that was tried too often grants each further
//! node one try.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use protocol::{
    code::{Nonce, NonceHash},
    ids::{InviteId, NodeId},
    time::Timestamp,
};

/// Wrong proofs of one invite, or by one node, after which it is locked.
pub const FAILURES_MAX: usize = 5;
/// How long a wrong proof counts.
pub const FAILURES_KEPT: Duration = Duration::from_secs(600);
/// Wrong proofs that are remembered; the oldest are forgotten first.
const REMEMBERED_MAX: usize = 4_096;
/// Revealed numbers that are kept: as many as nodes may wait. They come again with the next request.
const REVEALED_MAX: usize = 1_024;

/// What a leader keeps in mind about nodes that ask to join.
#[derive(Debug, Default)]
pub struct Enrolment {
    revealed: BTreeMap<NodeId, Nonce>,
    failures: VecDeque<(Timestamp, NodeId, InviteId)>,
}

impl Enrolment {
    /// A node that waits reveals its number. Kept only if it is the one that the node has committed to. Says whether
    /// that is news.
    pub fn reveal(&mut self, node: NodeId, committed: &NonceHash, revealed: Nonce) -> bool {
        if revealed.commitment() != *committed {
            return false;
        }
        if self.revealed.len() >= REVEALED_MAX && !self.revealed.contains_key(&node) {
            self.revealed.clear();
        }
        self.revealed.insert(node, revealed) != Some(revealed)
    }

    /// The number that a node has revealed, if it is the one that it has committed to.
    #[must_use]
    pub fn revealed(&self, node: &NodeId, committed: &NonceHash) -> Option<Nonce> {
        self.revealed.get(node).filter(|nonce| nonce.commitment() == *committed).copied()
    }

    /// A node no longer waits.
    pub fn forget(&mut self, node: &NodeId) {
        self.revealed.remove(node);
    }

    /// Whether what a node shows for an invite is looked at.
    pub fn may_try(&mut self, now: Timestamp, node: NodeId, invite: InviteId) -> bool {
        while let Some((at, ..)) = self.failures.front() {
            if now.saturating_since(*at) < FAILURES_KEPT {
                break;
            }
            self.failures.pop_front();
        }
        let of_node = self.failures.iter().filter(|(_, by, _)| *by == node).count();
        let of_invite = self.failures.iter().filter(|(.., of)| *of == invite).count();
        of_node < FAILURES_MAX && (of_invite < FAILURES_MAX || of_node == 0)
    }

    /// What a node showed for an invite was wrong.
    pub fn failed(&mut self, now: Timestamp, node: NodeId, invite: InviteId) {
        if self.failures.len() >= REMEMBERED_MAX {
            self.failures.pop_front();
        }
        self.failures.push_back((now, node, invite));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: InviteId = InviteId([1; 16]);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ORIGIN.saturating_add(Duration::from_secs(seconds))
    }

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    #[test]
    fn only_the_number_that_was_committed_to_is_kept() {
        let (right, wrong) = (Nonce([1; 32]), Nonce([2; 32]));
        let mut enrolment = Enrolment::default();
        assert!(!enrolment.reveal(node(1), &right.commitment(), wrong));
        assert_eq!(enrolment.revealed(&node(1), &right.commitment()), None);
        assert!(enrolment.reveal(node(1), &right.commitment(), right));
        assert!(!enrolment.reveal(node(1), &right.commitment(), right), "no news");
        assert_eq!(enrolment.revealed(&node(1), &right.commitment()), Some(right));
        // The node has asked anew, with another commitment.
        assert_eq!(enrolment.revealed(&node(1), &wrong.commitment()), None);
        enrolment.forget(&node(1));
        assert_eq!(enrolment.revealed(&node(1), &right.commitment()), None);
    }

    #[test]
    fn a_node_is_locked_out_after_five_wrong_proofs_and_let_in_again_after_ten_minutes() {
        let mut enrolment = Enrolment::default();
        for second in 0..5 {
            assert!(enrolment.may_try(at(second), node(1), INVITE), "{second}");
            enrolment.failed(at(second), node(1), INVITE);
        }
        assert!(!enrolment.may_try(at(5), node(1), INVITE));
        assert!(!enrolment.may_try(at(5), node(1), InviteId([2; 16])));
        assert!(!enrolment.may_try(at(599), node(1), INVITE));
        assert!(enrolment.may_try(at(600), node(1), INVITE));
    }

    #[test]
    fn strangers_cannot_lock_out_whoever_holds_the_invite() {
        let mut enrolment = Enrolment::default();
        for number in 1..=5 {
            enrolment.failed(at(0), node(number), INVITE);
        }
        assert!(!enrolment.may_try(at(1), node(1), INVITE), "tried before");
        assert!(enrolment.may_try(at(1), node(9), INVITE), "the rightful holder");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut enrolment = Enrolment::default();
        for number in 0..20_000_u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_le_bytes());
            enrolment.failed(at(0), NodeId(id), INVITE);
            let nonce = Nonce(id);
            enrolment.reveal(NodeId(id), &nonce.commitment(), nonce);
        }
        assert!(enrolment.failures.len() <= REMEMBERED_MAX);
        assert!(enrolment.revealed.len() <= REVEALED_MAX);
    }
}
