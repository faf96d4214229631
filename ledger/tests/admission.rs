//! Stories about who is let in: codes, invites, delegation, labels, keys; and that nothing of it can be replayed,
//! moved to another mesh or altered.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use ledger::{
    command::{Command, Reply, Stamped},
    state::{check_invariants, query, record::NodeRecord},
    testing::{FOUNDED, OURS, TestJob, TestLedger, TestMesh, asking, key, receipt},
};
use proptest::prelude::*;
use protocol::{
    code::Nonce,
    codec::{decode, encode},
    ids::{InviteId, MeshId, NodeId, ReceiptId, RequestId, TaskIndex},
    invite::Secret,
    keys::SecretKey,
    limits::{INVITE_TTL_MAX, INVITE_USES_MAX, KEY_GRACE, NOTE_BYTES_MAX, TAGS_MAX},
    outcome::Outcome,
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    units::Credits,
    wire::{
        enroll::{
            BlockReason, EnrollStatements, Enrollment, NodeDecision, NodeLabels, Role, Verdict,
        },
        invite::{InviteRevoke, InviteTerms},
        job::{Scope, Transfer},
        owner::{Delegation, KeyRotation},
        view::{Admission, InviteView},
    },
};

const GRANT: Credits = Credits::from_whole(1_000);
const SECRET: Secret = Secret([0x51; 16]);

/// A ledger whose invariants are checked after each step, and decisions that follow each other in time.
struct Story {
    ledger: TestLedger,
    mesh: TestMesh,
    decided: u64,
}

impl Story {
    fn new() -> Self {
        let mesh = TestMesh::default();
        Self { ledger: TestLedger::found(mesh.clone()).unwrap(), mesh, decided: 10 }
    }

    /// With a second owner `key(3)` whose node is `key(4)`.
    fn of_two() -> (Self, SecretKey, SecretKey) {
        let mut story = Self::new();
        let (owner, node) = (key(3), key(4));
        story.ledger.admit(&node, &owner, "second").unwrap();
        (story, owner, node)
    }

    fn tell(&mut self, command: Command) -> Reply {
        let reply = self.ledger.apply(command).unwrap().reply;
        check_invariants(&self.ledger.records).unwrap();
        reply
    }

    #[track_caller]
    fn done(&mut self, command: Command) {
        let reply = self.tell(command);
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }

    #[track_caller]
    fn refused(&mut self, command: Command, reason: RejectReason) {
        let before = query::mesh(&self.ledger.records).unwrap();
        match self.tell(command) {
            Reply::Rejected(rejection) => assert_eq!(rejection.reason, reason),
            Reply::Done { .. } => panic!("{reason} was expected"),
        }
        assert_eq!(query::mesh(&self.ledger.records).unwrap(), before, "a refusal changes nothing");
    }

    fn later(&mut self, millis: u64) {
        self.ledger.at = UnixMillis(self.ledger.at.0 + millis);
    }

    /// The creator's decision, later than the one before; `change` says what else is in it.
    fn decision(
        &mut self,
        node: &SecretKey,
        verdict: Verdict,
        change: impl FnOnce(&mut NodeDecision),
    ) -> Command {
        self.decided += 10;
        let mut decision = self.mesh.decision(node.node(), verdict, self.decided).peek().unwrap();
        change(&mut decision);
        Command::Decide(Signed::sign(&decision, self.mesh.id, &self.mesh.operator))
    }

    #[track_caller]
    fn decide(&mut self, node: &SecretKey, verdict: Verdict) {
        let command = self.decision(node, verdict, |_| {});
        self.done(command);
    }

    fn record(&self, node: &SecretKey) -> NodeRecord {
        query::node(&self.ledger.records, &node.node()).unwrap().unwrap()
    }

    fn available(&self, owner: &SecretKey) -> Credits {
        query::balance(&self.ledger.records, owner.account()).unwrap().available
    }

    fn nodes_of(&self, owner: &SecretKey) -> u32 {
        query::account(&self.ledger.records, &owner.account()).unwrap().nodes
    }

    fn members(&self) -> Vec<NodeId> {
        let roster = query::roster(&self.ledger.records).unwrap();
        roster.members.into_iter().map(|(node, ..)| node).collect()
    }

    fn invite(&self, change: impl FnOnce(&mut InviteTerms)) -> Command {
        let mut terms = self.mesh.invite(&SECRET, 1);
        change(&mut terms);
        Command::Invite(Signed::sign(&terms, self.mesh.id, &self.mesh.operator))
    }

    fn invites(&self) -> Vec<InviteView> {
        query::invites(&self.ledger.records).unwrap()
    }

    /// The creator makes a node theirs.
    fn delegation(&self, node: &SecretKey) -> Signed<Delegation> {
        let owner = &self.mesh.operator;
        let delegation = Delegation { node: node.node(), owner: owner.account(), at: FOUNDED };
        Signed::sign(&delegation, self.mesh.id, owner)
    }

    #[track_caller]
    fn make_mine(&mut self, node: &SecretKey) {
        let delegation = self.delegation(node);
        let command = self
            .decision(node, Verdict::Approve, |decision| decision.delegation = Some(delegation));
        self.done(command);
    }

    /// A node's results for the first task of a job.
    fn settle(&self, job: &TestJob, task: u32, node: &SecretKey, payee: &SecretKey) -> Command {
        let items = vec![receipt(task, Outcome::Exit(0))];
        let receipts = Box::new(self.mesh.receipts(job, node, payee, items));
        Command::Settle { receipts, retried: Vec::new() }
    }
}

/// The statements of a node that asks with another number for its code.
fn asked_anew(mesh: &TestMesh, node: &SecretKey, owner: &SecretKey, nonce: u8) -> EnrollStatements {
    let statements = mesh.enrollment(node, owner, "machine");
    let enrollment = Enrollment {
        commitment: Nonce([nonce; 32]).commitment(),
        ..statements.enrollment.peek().unwrap()
    };
    EnrollStatements { enrollment: Signed::sign(&enrollment, mesh.id, node), ..statements }
}

#[test]
fn the_numbers_of_a_code_are_in_the_entry_and_the_first_of_the_mesh_holds() {
    let mut story = Story::new();
    let (owner, node) = (key(3), key(4));
    let statements = story.mesh.enrollment(&node, &owner, "machine");
    story.done(asking(statements.clone()));
    let again = Command::Enroll { statements: Box::new(statements.clone()), nonce: Nonce([9; 32]) };
    story.done(again);
    assert_eq!(story.record(&node).enrollment, Some((statements, OURS)));
    assert_eq!(query::mesh(&story.ledger.records).unwrap().unwrap().height, 2);
}

#[test]
fn a_node_that_waits_may_ask_anew_only_after_a_while() {
    let mut story = Story::new();
    let (mesh, owner, node) = (story.mesh.clone(), key(3), key(4));
    story.done(asking(asked_anew(&mesh, &node, &owner, 1)));
    story.refused(asking(asked_anew(&mesh, &node, &owner, 2)), RejectReason::RateLimited);
    story.later(9_000);
    story.refused(asking(asked_anew(&mesh, &node, &owner, 2)), RejectReason::RateLimited);
    story.later(1_000);
    story.done(asking(asked_anew(&mesh, &node, &owner, 2)));
    let (statements, _) = story.record(&node).enrollment.unwrap();
    let commitment = statements.enrollment.peek().unwrap().commitment;
    assert_eq!(commitment, Nonce([2; 32]).commitment());
}

#[test]
fn a_node_id_is_not_taken_over_while_it_waits_is_a_member_or_is_suspended() {
    let mut story = Story::new();
    let (mesh, owner, node) = (story.mesh.clone(), key(3), key(4));
    let copied = || mesh.enroll(&node, &key(9), "machine");
    story.done(mesh.enroll(&node, &owner, "machine"));
    story.later(60_000);
    story.refused(copied(), RejectReason::NodeTaken);
    story.decide(&node, Verdict::Approve);
    story.refused(copied(), RejectReason::NodeTaken);
    story.decide(&node, Verdict::Suspend);
    story.refused(copied(), RejectReason::NodeTaken);
    story.decide(&node, Verdict::Block);
    story.refused(copied(), RejectReason::Blacklisted);
    assert_eq!(story.record(&node).account, owner.account());
}

#[test]
fn an_invite_lets_one_node_in_without_a_person() {
    let mut story = Story::new();
    let (mesh, owner, node) = (story.mesh.clone(), key(3), key(4));
    let invite = story.invite(|_| {});
    story.done(invite.clone());
    story.done(invite);
    story.done(mesh.enroll_invited(&node, &owner, "machine", &SECRET));
    let record = story.record(&node);
    assert_eq!(record.admission, Admission::Approved);
    // It asked for everything; who coordinates is decided by a person.
    assert_eq!(record.roles, [Role::Worker, Role::Submitter]);
    assert_eq!(story.available(&owner), GRANT);
    assert_eq!(story.invites()[0].used, 1);

    story.done(mesh.enroll_invited(&node, &owner, "machine", &SECRET));
    let second = mesh.enroll_invited(&key(6), &key(5), "other", &SECRET);
    story.refused(second, RejectReason::InviteOver);
    assert!(query::node(&story.ledger.records, &key(6).node()).unwrap().is_none());
}

#[test]
fn a_node_that_waits_may_come_back_with_an_invite() {
    let mut story = Story::new();
    let (mesh, owner, node) = (story.mesh.clone(), key(3), key(4));
    story.done(mesh.enroll(&node, &owner, "machine"));
    let invite = story.invite(|terms| terms.role = Role::Submitter);
    story.done(invite);
    story.done(mesh.enroll_invited(&node, &owner, "machine", &SECRET));
    assert_eq!(story.record(&node).roles, [Role::Submitter]);
}

#[test]
fn an_invite_is_over_when_its_time_is_by_the_clock_of_the_ledger() {
    let mut story = Story::new();
    let mesh = story.mesh.clone();
    let invite = story.invite(|terms| terms.uses = 2);
    story.done(invite);
    // Stamps are a millisecond later than this.
    story.ledger.at = UnixMillis(FOUNDED.0 + 3_600_000 - 4);
    story.done(mesh.enroll_invited(&key(4), &key(3), "in-time", &SECRET));
    story.later(10);
    let late = mesh.enroll_invited(&key(6), &key(5), "too-late", &SECRET);
    story.refused(late, RejectReason::InviteOver);
}

#[test]
fn an_invite_that_was_taken_back_lets_nobody_in() {
    let mut story = Story::new();
    let mesh = story.mesh.clone();
    let invite = story.invite(|_| {});
    story.done(invite);
    let revoke = InviteRevoke { invite: InviteId(SECRET.0), at: FOUNDED };
    let by_stranger = Signed::sign(&revoke, mesh.id, &key(9));
    story.refused(Command::RevokeInvite(by_stranger), RejectReason::NotPermitted);
    let revoke = Command::RevokeInvite(Signed::sign(&revoke, mesh.id, &mesh.operator));
    story.done(revoke.clone());
    story.done(revoke);
    let invited = mesh.enroll_invited(&key(4), &key(3), "machine", &SECRET);
    story.refused(invited, RejectReason::InviteOver);
    let unknown = InviteRevoke { invite: InviteId([9; 16]), at: FOUNDED };
    let unknown = Command::RevokeInvite(Signed::sign(&unknown, mesh.id, &mesh.operator));
    story.refused(unknown, RejectReason::NotFound);
}

#[test]
fn only_an_operator_invites_and_never_a_coordinator() {
    let mut story = Story::new();
    let by_stranger = Signed::sign(&story.mesh.invite(&SECRET, 1), story.mesh.id, &key(9));
    story.refused(Command::Invite(by_stranger), RejectReason::NotPermitted);
    let far = FOUNDED.saturating_add(INVITE_TTL_MAX).saturating_add(INVITE_TTL_MAX);
    type Change = fn(&mut InviteTerms);
    let wrong: [(Change, RejectReason); 7] = [
        (|terms| terms.role = Role::Coordinator, RejectReason::Invalid),
        (|terms| terms.role = Role::Relay, RejectReason::Invalid),
        (|terms| terms.uses = 0, RejectReason::Invalid),
        (|terms| terms.uses = INVITE_USES_MAX + 1, RejectReason::Invalid),
        (|terms| terms.hint = "not a name".to_owned(), RejectReason::Invalid),
        (|terms| terms.key = [0; 32], RejectReason::Invalid),
        (|terms| terms.expires = FOUNDED, RejectReason::OutsideValidity),
    ];
    for (change, reason) in wrong {
        let invite = story.invite(change);
        story.refused(invite, reason);
    }
    let invite = story.invite(|terms| terms.expires = far);
    story.refused(invite, RejectReason::OutsideValidity);
    let (invite, other) = (story.invite(|_| {}), story.invite(|terms| terms.uses = 2));
    story.done(invite);
    story.refused(other, RejectReason::IdempotencyMismatch);
}

#[test]
fn what_proves_an_invite_is_good_for_one_node_one_account_and_one_mesh() {
    let mut story = Story::new();
    let mesh = story.mesh.clone();
    let invite = story.invite(|terms| terms.uses = 9);
    story.done(invite);
    let proof = |node: &SecretKey, owner: &SecretKey, of: &TestMesh, secret: &Secret| {
        let Command::Enroll { statements, .. } = of.enroll_invited(node, owner, "machine", secret)
        else {
            panic!("an enrolment")
        };
        statements.invite
    };
    let elsewhere = TestMesh { id: MeshId([9; 32]), ..mesh.clone() };
    let (owner, node) = (key(3), key(4));
    let stolen = [
        proof(&key(6), &owner, &mesh, &SECRET),
        proof(&node, &key(5), &mesh, &SECRET),
        proof(&node, &owner, &elsewhere, &SECRET),
        proof(&node, &owner, &mesh, &Secret([0x52; 16])),
    ];
    for invite in stolen {
        let statements = EnrollStatements { invite, ..mesh.enrollment(&node, &owner, "machine") };
        story.refused(asking(statements), RejectReason::InviteInvalid);
    }
    assert_eq!(story.invites()[0].used, 0);
}

#[test]
fn invites_are_bounded_and_those_that_are_over_make_room() {
    let mut story = Story::new();
    let mesh = story.mesh.clone();
    let invite = |number: u16, at: UnixMillis| {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let expires = UnixMillis(at.0 + 3_600_000);
        let terms = InviteTerms { expires, ..mesh.invite(&Secret(id), 1) };
        Command::Invite(Signed::sign(&terms, mesh.id, &mesh.operator))
    };
    for number in 0..256 {
        story.ledger.apply(invite(number, FOUNDED)).unwrap();
    }
    story.refused(invite(256, FOUNDED), RejectReason::Busy);
    story.later(3_600_000);
    let now = story.ledger.at;
    story.done(invite(257, now));
    assert_eq!(story.invites().len(), 1);
}

#[test]
fn a_blocked_node_is_told_why_and_comes_back_only_when_it_is_unblocked_and_approved() {
    let (mut story, owner, node) = Story::of_two();
    let mesh = story.mesh.clone();
    let block = story.decision(&node, Verdict::Block, |decision| {
        decision.reason = Some(BlockReason::ForgedResults);
        decision.note = "claimed 1+1=3".to_owned();
    });
    story.done(block);
    let record = story.record(&node);
    assert_eq!(record.reason, Some(BlockReason::ForgedResults));
    assert_eq!(record.note, "claimed 1+1=3");
    assert!(!story.members().contains(&node.node()));
    story.refused(mesh.enroll(&node, &owner, "machine"), RejectReason::Blacklisted);
    let invite = story.invite(|_| {});
    story.done(invite);
    let invited = mesh.enroll_invited(&node, &owner, "machine", &SECRET);
    story.refused(invited, RejectReason::Blacklisted);

    story.decide(&node, Verdict::Unblock);
    assert_eq!(story.record(&node).admission, Admission::Pending);
    let unblock = story.decision(&node, Verdict::Unblock, |_| {});
    story.refused(unblock, RejectReason::WrongState);
    story.decide(&node, Verdict::Approve);
    let record = story.record(&node);
    assert_eq!((record.admission, record.reason), (Admission::Approved, None));
    assert_eq!((story.nodes_of(&owner), story.available(&owner)), (1, GRANT));
}

#[test]
fn a_suspended_node_gets_no_work_and_is_afterwards_what_it_was() {
    let (mut story, owner, node) = Story::of_two();
    let mesh = story.mesh.clone();
    let worker_only = story.decision(&node, Verdict::Approve, |decision| {
        decision.roles = vec![Role::Worker];
    });
    story.done(worker_only);
    let job = TestJob::new(&mesh.operator, 1, 1);
    story.done(job.submit(&mesh));
    story.decide(&node, Verdict::Suspend);
    assert_eq!(story.nodes_of(&owner), 0);
    let settle = story.settle(&job, 0, &node, &owner);
    story.refused(settle.clone(), RejectReason::Suspended);
    story.refused(mesh.enroll(&node, &owner, "second"), RejectReason::Suspended);
    let again = story.decision(&node, Verdict::Suspend, |_| {});
    story.refused(again, RejectReason::WrongState);
    story.decide(&node, Verdict::Reinstate);
    assert_eq!(story.record(&node).roles, [Role::Worker]);
    assert_eq!((story.nodes_of(&owner), story.available(&owner)), (1, GRANT));
    story.done(settle);
    let spared = story.decision(&mesh.coordinator, Verdict::Suspend, |_| {});
    story.refused(spared, RejectReason::NotPermitted);
}

#[test]
fn what_is_written_beside_a_decision_is_bounded() {
    let (mut story, _, node) = Story::of_two();
    for note in ["n".repeat(NOTE_BYTES_MAX + 1), "two\nlines".to_owned()] {
        let block = story.decision(&node, Verdict::Block, |decision| decision.note = note);
        story.refused(block, RejectReason::Invalid);
    }
}

#[test]
fn labels_are_added_and_removed_in_order_and_never_replayed() {
    let (mut story, owner, node) = Story::of_two();
    let mesh = story.mesh.clone();
    let change = |by: &SecretKey, add: &[&str], remove: &[&str], after: u64| {
        let list = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
        let change = NodeLabels {
            node: node.node(),
            add: list(add),
            remove: list(remove),
            at: UnixMillis(FOUNDED.0 + after),
        };
        Command::Label(Signed::sign(&change, mesh.id, by))
    };
    story.refused(change(&owner, &["gpu"], &[], 1), RejectReason::NotPermitted);
    let operator = &mesh.operator;
    story.done(change(operator, &["zone:attic", "gpu", "gpu", "GPU"], &[], 1));
    assert_eq!(story.record(&node).labels, ["GPU", "gpu", "zone:attic"]);
    let removed = change(operator, &["fast"], &["gpu", "fast", "never-was"], 2);
    story.done(removed.clone());
    story.done(removed);
    assert_eq!(story.record(&node).labels, ["GPU", "zone:attic"]);
    story.refused(change(operator, &["old"], &[], 1), RejectReason::OutsideValidity);
    for bad in ["", "-x", ":x", "a b", "ä", &"a".repeat(65)] {
        story.refused(change(operator, &[bad], &[], 3), RejectReason::Invalid);
    }
    let many: Vec<_> = (0..TAGS_MAX).map(|number| format!("n{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    story.refused(change(operator, &many, &[], 3), RejectReason::Invalid);
    story.done(change(operator, &many, &["GPU", "zone:attic"], 3));
    assert_eq!(story.record(&node).labels.len(), TAGS_MAX);
}

#[test]
fn a_machine_of_mine_earns_and_submits_for_me_without_my_key() {
    let (mut story, _, node) = Story::of_two();
    let mesh = story.mesh.clone();
    let mine = mesh.operator.clone();
    story.make_mine(&node);
    assert_eq!(story.record(&node).account, mine.account());
    assert_eq!((story.nodes_of(&mine), story.nodes_of(&key(3))), (2, 0));

    // Signed by the node for the owner's account: free, on the owner's machines.
    let mut job = TestJob::new(&mine, 1, 1);
    job.owner = node.clone();
    job.spec.scope = Scope::Mine;
    job.authorization.budget = Credits::ZERO;
    story.done(job.submit(&mesh));
    let to_itself = story.settle(&job, 0, &node, &key(3));
    story.refused(to_itself, RejectReason::NotPermitted);
    let to_owner = story.settle(&job, 0, &node, &mine);
    story.done(to_owner);
    assert_eq!(story.available(&mine), GRANT, "work on one's own machines costs nothing");

    let mut paid = TestJob::new(&mine, 2, 1);
    paid.owner = node.clone();
    story.done(paid.submit(&mesh));
    story.done(Command::Cancel(mesh.cancel(&node, paid.id())));
    // It cannot move the owner's credits otherwise.
    let theft = Transfer {
        id: [1; 16],
        from: mine.account(),
        to: key(9).account(),
        amount: Credits::from_whole(1),
        valid_until: UnixMillis(FOUNDED.0 + 1_000_000),
    };
    let theft = Command::Transfer(Signed::sign(&theft, mesh.id, &node));
    story.refused(theft, RejectReason::BadSignature);
}

#[test]
fn a_delegation_ends_with_the_nodes_membership_or_when_it_is_taken_back() {
    let (mut story, owner, node) = Story::of_two();
    let mesh = story.mesh.clone();
    let mine = mesh.operator.clone();
    let mut number = 0;
    let mut job = || {
        number += 1;
        let mut job = TestJob::new(&mine, number, 1);
        job.owner = node.clone();
        job.submit(&mesh)
    };
    story.refused(job(), RejectReason::BadSignature);
    story.make_mine(&node);
    story.done(job());
    story.decide(&node, Verdict::Suspend);
    story.refused(job(), RejectReason::BadSignature);
    story.decide(&node, Verdict::Reinstate);
    story.done(job());
    story.decide(&node, Verdict::Block);
    story.refused(job(), RejectReason::BadSignature);
    assert_eq!(story.record(&node).account, owner.account());
    story.decide(&node, Verdict::Approve);
    story.refused(job(), RejectReason::BadSignature);
    story.make_mine(&node);
    story.decide(&node, Verdict::Approve);
    story.refused(job(), RejectReason::BadSignature);
    assert_eq!((story.nodes_of(&mine), story.nodes_of(&owner)), (1, 1));
}

#[test]
fn a_delegation_is_the_owners_own_word_for_that_node_in_that_mesh() {
    let (mut story, _, node) = Story::of_two();
    let mesh = story.mesh.clone();
    let claim = |node: NodeId| Delegation { node, owner: key(9).account(), at: FOUNDED };
    let wrong = [
        (Signed::sign(&claim(node.node()), mesh.id, &mesh.operator), RejectReason::BadSignature),
        (Signed::sign(&claim(key(6).node()), mesh.id, &key(9)), RejectReason::BadSignature),
        (Signed::sign(&claim(node.node()), MeshId([9; 32]), &key(9)), RejectReason::WrongMesh),
    ];
    for (delegation, reason) in wrong {
        let approve = story
            .decision(&node, Verdict::Approve, |decision| decision.delegation = Some(delegation));
        story.refused(approve, reason);
    }
}

#[test]
fn a_receipt_for_a_job_that_a_delegated_node_signed_proves_itself() {
    let (mut story, _, node) = Story::of_two();
    let mesh = story.mesh.clone();
    let mine = mesh.operator.clone();
    story.make_mine(&node);
    let mut job = TestJob::new(&mine, 1, 1);
    job.owner = node.clone();
    story.done(job.submit(&mesh));
    let settle = story.settle(&job, 0, &node, &mine);
    story.done(settle);
    let id = ReceiptId { job: job.id(), task: TaskIndex(0) };
    let proof = query::receipt_proof(&story.ledger.records, id).unwrap().unwrap();
    let proof = proof.sign(&mesh.coordinator);
    let facts = ledger::proof::verify_receipt(&proof, Some(mesh.id)).unwrap();
    assert_eq!(facts.account, mine.account());
    for delegation in [None, Some(story.delegation(&key(6)))] {
        let mut wrong = proof.clone();
        wrong.delegation = delegation;
        assert!(ledger::proof::verify_receipt(&wrong, None).is_err());
    }
}

#[test]
fn a_node_changes_its_key_and_the_old_one_ends_after_48_hours() {
    let (mut story, owner, old) = Story::of_two();
    let mesh = story.mesh.clone();
    let new = key(44);
    let labels =
        NodeLabels { node: old.node(), add: vec!["gpu".into()], remove: vec![], at: FOUNDED };
    story.done(Command::Label(Signed::sign(&labels, mesh.id, &mesh.operator)));
    story.done(mesh.rotation(&old, &new));
    story.done(mesh.rotation(&old, &new));
    let (was, is) = (story.record(&old), story.record(&new));
    assert_eq!((is.account, is.admission), (owner.account(), Admission::Approved));
    assert_eq!((&is.name, &is.roles, &is.labels), (&was.name, &was.roles, &was.labels));
    assert_eq!(story.nodes_of(&owner), 2);

    let job = TestJob::new(&mesh.operator, 1, 3);
    story.done(job.submit(&mesh));
    for (task, node) in [(0, &old), (1, &new)] {
        let settle = story.settle(&job, task, node, &owner);
        story.done(settle);
    }
    story.refused(Command::EndKey(old.node()), RejectReason::WrongState);

    // Refused from that moment on, also before anybody has written down that it has ended.
    story.later(u64::try_from(KEY_GRACE.as_millis()).unwrap());
    story.refused(mesh.enroll(&old, &owner, "second"), RejectReason::KeyReplaced);
    let mut late = TestJob::new(&mesh.operator, 2, 1);
    late.authorization.not_before = story.ledger.at;
    story.done(late.submit(&mesh));
    let by_old = story.settle(&late, 0, &old, &owner);
    story.refused(by_old, RejectReason::KeyReplaced);
    let ended = query::ended_keys(&story.ledger.records, story.ledger.at).unwrap();
    assert_eq!(ended, [old.node()]);
    story.done(Command::EndKey(old.node()));
    story.done(Command::EndKey(old.node()));
    assert_eq!(story.nodes_of(&owner), 1);
    assert!(!story.members().contains(&old.node()));
    assert!(story.members().contains(&new.node()));
    story.refused(mesh.enroll(&old, &owner, "second"), RejectReason::KeyReplaced);
    let unblock = story.decision(&old, Verdict::Unblock, |_| {});
    story.refused(unblock, RejectReason::WrongState);
    story.done(mesh.rotation(&new, &key(45)));
}

#[test]
fn a_key_is_changed_by_both_keys_once_at_a_time_and_only_to_a_new_one() {
    let (mut story, owner, old) = Story::of_two();
    let mesh = story.mesh.clone();
    let new = key(44);
    let change = KeyRotation { old: old.node(), new: new.node(), at: FOUNDED };
    let signed = |by: &SecretKey| Signed::sign(&change, mesh.id, by);
    for (by_old, by_new) in [(&old, &old), (&new, &new), (&owner, &new), (&old, &owner)] {
        let (by_old, by_new) = (signed(by_old), signed(by_new));
        story.refused(Command::RotateKey { by_old, by_new }, RejectReason::BadSignature);
    }
    story.refused(mesh.rotation(&old, &mesh.coordinator), RejectReason::NodeTaken);
    story.refused(mesh.rotation(&mesh.coordinator, &new), RejectReason::NotPermitted);
    story.refused(mesh.rotation(&key(77), &new), RejectReason::NotEnrolled);
    story.done(mesh.rotation(&old, &new));
    story.refused(mesh.rotation(&old, &key(45)), RejectReason::KeyReplaced);
    story.refused(mesh.rotation(&new, &key(45)), RejectReason::WrongState);
}

#[test]
fn who_blocks_one_of_two_keys_of_a_node_blocks_both() {
    for by_new in [false, true] {
        let (mut story, _, old) = Story::of_two();
        let mesh = story.mesh.clone();
        let new = key(44);
        story.done(mesh.rotation(&old, &new));
        story.decide(if by_new { &new } else { &old }, Verdict::Block);
        for node in [&old, &new] {
            assert_eq!(story.record(node).admission, Admission::Blacklisted);
        }
        assert_eq!(story.nodes_of(&key(3)), 0);
        assert_eq!(story.members(), [mesh.coordinator.node()]);
    }
}

/// One command of each kind that is about admission, each of which is done when told in this order.
fn all_kinds(mesh: &TestMesh) -> Vec<Command> {
    let (owner, node) = (key(3), key(4));
    let delegation = Delegation { node: node.node(), owner: mesh.operator.account(), at: FOUNDED };
    let mut approve = mesh.decision(node.node(), Verdict::Approve, 5).peek().unwrap();
    approve.delegation = Some(Signed::sign(&delegation, mesh.id, &mesh.operator));
    let labels =
        NodeLabels { node: node.node(), add: vec!["gpu".into()], remove: vec![], at: FOUNDED };
    let revoke = InviteRevoke { invite: InviteId(SECRET.0), at: FOUNDED };
    vec![
        mesh.enroll(&node, &owner, "machine"),
        Command::Decide(Signed::sign(&approve, mesh.id, &mesh.operator)),
        Command::Invite(Signed::sign(&mesh.invite(&SECRET, 1), mesh.id, &mesh.operator)),
        mesh.enroll_invited(&key(6), &key(5), "invited", &SECRET),
        Command::RevokeInvite(Signed::sign(&revoke, mesh.id, &mesh.operator)),
        Command::Label(Signed::sign(&labels, mesh.id, &mesh.operator)),
        mesh.rotation(&node, &key(44)),
        Command::Decide(mesh.decision(key(6).node(), Verdict::Suspend, 20)),
        Command::Decide(mesh.decision(key(6).node(), Verdict::Reinstate, 30)),
        Command::Decide(mesh.decision(key(6).node(), Verdict::Block, 40)),
        Command::Decide(mesh.decision(key(6).node(), Verdict::Unblock, 50)),
        Command::Decide(mesh.decision(key(6).node(), Verdict::Reject, 60)),
    ]
}

#[test]
fn yesterdays_statements_change_nothing_when_they_are_told_again() {
    let mut story = Story::new();
    let commands = all_kinds(&story.mesh.clone());
    for command in &commands {
        story.done(command.clone());
    }
    let nodes = query::nodes(&story.ledger.records).unwrap();
    story.later(24 * 3_600_000);
    for command in commands {
        let _answer = story.tell(command.clone());
        assert_eq!(query::nodes(&story.ledger.records).unwrap(), nodes, "{command:?}");
    }
}

#[test]
fn statements_of_another_mesh_are_refused() {
    let mut story = Story::new();
    let elsewhere = TestMesh { id: MeshId([9; 32]), ..story.mesh.clone() };
    for command in all_kinds(&elsewhere) {
        story.refused(command, RejectReason::WrongMesh);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A command of which one byte was changed is not a command any more, or is refused.
    #[test]
    fn altered_statements_are_refused(
        which in 0..12_usize,
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut story = Story::new();
        let commands = all_kinds(&story.mesh.clone());
        for command in &commands[..which] {
            story.done(command.clone());
        }
        let mut bytes = encode(&commands[which]);
        // The number that a leader draws is its own word, and not signed.
        let is_asking = matches!(commands[which], Command::Enroll { .. });
        let signed = if is_asking { bytes.len() - 32 } else { bytes.len() };
        bytes[at.index(signed)] ^= flip;
        if let Ok(altered) = decode::<Command>(&bytes) {
            let before = query::mesh(&story.ledger.records).unwrap();
            let stamped = Stamped {
                request: RequestId([0xee; 16]),
                mesh: story.mesh.id,
                at: story.ledger.at,
                command: altered,
            };
            let reply = story.ledger.apply_stamped(&stamped).unwrap().reply;
            prop_assert!(matches!(reply, Reply::Rejected(_)), "{:?}", stamped.command);
            prop_assert_eq!(query::mesh(&story.ledger.records).unwrap(), before);
        }
    }
}

/// A node's own word that it leaves.
fn leaving(story: &mut Story, node: &SecretKey, by: &SecretKey) -> Command {
    story.decided += 10;
    let mut decision =
        story.mesh.decision(node.node(), Verdict::Leave, story.decided).peek().unwrap();
    decision.roles = Vec::new();
    Command::Decide(Signed::sign(&decision, story.mesh.id, by))
}

#[test]
fn who_has_left_comes_back_only_by_asking_and_not_by_an_old_approval() {
    let (mut story, owner, node) = Story::of_two();
    let mesh = story.mesh.clone();
    let approval = story.decision(&node, Verdict::Approve, |decision| {
        decision.roles = vec![Role::Worker];
    });
    story.done(approval.clone());
    let label = NodeLabels {
        node: node.node(),
        add: vec!["attic".to_owned()],
        remove: Vec::new(),
        at: FOUNDED,
    };
    story.done(Command::Label(Signed::sign(&label, mesh.id, &mesh.operator)));
    let job = TestJob::new(&mesh.operator, 1, 1);
    story.done(job.submit(&mesh));

    let leave = leaving(&mut story, &node, &node);
    story.done(leave.clone());
    assert!(!story.members().contains(&node.node()));
    assert_eq!((story.nodes_of(&owner), story.record(&node).left), (0, true));
    let listed = query::nodes(&story.ledger.records).unwrap();
    assert!(listed.iter().all(|listed| listed.node != node.node()), "it is not even listed");
    let settle = story.settle(&job, 0, &node, &owner);
    story.refused(settle, RejectReason::NotEnrolled);
    story.refused(approval.clone(), RejectReason::OutsideValidity);
    for verdict in [Verdict::Approve, Verdict::Reject, Verdict::Suspend, Verdict::Unblock] {
        let command = story.decision(&node, verdict, |_| {});
        story.refused(command, RejectReason::WrongState);
    }

    // It asks, and waits like anybody. What was said before its departure is no use to it.
    story.later(60_000);
    story.done(mesh.enroll(&node, &owner, "back"));
    let record = story.record(&node);
    assert_eq!((record.admission, record.left), (Admission::Pending, false));
    assert!(record.labels.is_empty());
    story.refused(approval, RejectReason::OutsideValidity);
    story.done(leave);
    assert!(!story.record(&node).left, "what was said once is not done twice");
    story.decide(&node, Verdict::Approve);
    assert_eq!((story.nodes_of(&owner), story.available(&owner)), (1, GRANT), "no second welcome");
}

#[test]
fn only_a_node_itself_says_that_it_leaves_and_the_first_coordinator_never() {
    let (mut story, owner, node) = Story::of_two();
    let operator = story.mesh.operator.clone();
    for by in [&operator, &owner, &key(9)] {
        let leave = leaving(&mut story, &node, by);
        story.refused(leave, RejectReason::NotPermitted);
    }
    let coordinator = story.mesh.coordinator.clone();
    let leave = leaving(&mut story, &coordinator, &coordinator);
    story.refused(leave, RejectReason::NotPermitted);
    // One that waits or is blocked has nothing to leave; one that left can be blocked for good.
    let leave = leaving(&mut story, &node, &node);
    story.done(leave);
    let again = leaving(&mut story, &node, &node);
    story.refused(again, RejectReason::WrongState);
    story.decide(&node, Verdict::Block);
    let mesh = story.mesh.clone();
    story.refused(mesh.enroll(&node, &owner, "second"), RejectReason::Blacklisted);
}
