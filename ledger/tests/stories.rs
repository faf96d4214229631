//! Stories about the state machine: who is a member, what jobs come to, and that nothing is paid twice.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use ledger::{
    command::{Command, Rejection, Reply},
    state::{
        Event, check_invariants,
        money::{FEES, ISSUANCE, ROUNDING},
        query,
    },
    testing::{FOUNDED, TestJob, TestLedger, TestMesh, asking, key, receipt},
};
use protocol::{
    ids::{Hash, JobId, MeshId, ReceiptId, RequestId, TaskIndex},
    keys::SecretKey,
    outcome::{Interruption, Outcome, Trap},
    price::Price,
    reject::RejectReason,
    sign::Signed,
    time::UnixMillis,
    units::{BasisPoints, Credits, Fuel},
    wire::{
        enroll::Verdict,
        genesis::Joining,
        job::{EndPolicy, Reduce, Scope},
        receipt::TaskReceipt,
        view::{Admission, JobState, TaskState},
    },
};

const GRANT: Credits = Credits::from_whole(1_000);
/// What a task of `receipt` costs at the default price.
const TASK: u64 = 300;

/// A ledger whose invariants are checked after each step.
struct Story {
    ledger: TestLedger,
    creator: SecretKey,
    node: SecretKey,
}

impl Story {
    fn new() -> Self {
        Self::of(TestMesh::default())
    }

    fn of(mesh: TestMesh) -> Self {
        let (creator, node) = (mesh.operator.clone(), mesh.coordinator.clone());
        Self { ledger: TestLedger::found(mesh).unwrap(), creator, node }
    }

    /// A mesh with a second owner `key(3)` whose node is `key(4)`.
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

    fn done(&mut self, command: Command) {
        let reply = self.tell(command);
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }

    fn refused(&mut self, command: Command, reason: RejectReason) {
        let before = query::mesh(&self.ledger.records).unwrap();
        match self.tell(command) {
            Reply::Rejected(rejection) => assert_eq!(rejection.reason, reason),
            Reply::Done { .. } => panic!("{reason} was expected"),
        }
        assert_eq!(query::mesh(&self.ledger.records).unwrap(), before, "a refusal changes nothing");
    }

    fn submit(&mut self, job: &TestJob) {
        let command = job.submit(&self.ledger.mesh);
        self.done(command);
    }

    fn settle_by(
        &mut self,
        job: &TestJob,
        worker: (&SecretKey, &SecretKey),
        items: Vec<TaskReceipt>,
    ) -> Command {
        let receipts = Box::new(self.ledger.mesh.receipts(job, worker.0, worker.1, items));
        Command::Settle { receipts, retried: Vec::new() }
    }

    /// The creator's node did tasks.
    fn settle(&mut self, job: &TestJob, items: Vec<TaskReceipt>) -> Command {
        let (node, creator) = (self.node.clone(), self.creator.clone());
        self.settle_by(job, (&node, &creator), items)
    }

    fn job(&self, job: &TestJob) -> protocol::wire::view::JobView {
        query::job(&self.ledger.records, &job.id()).unwrap().unwrap()
    }

    fn states(&self, job: &TestJob) -> Vec<TaskState> {
        let rows = query::tasks(&self.ledger.records, &job.id(), 0, 500).unwrap().unwrap();
        rows.into_iter().map(|row| row.view.state).collect()
    }

    fn available(&self, owner: &SecretKey) -> Credits {
        query::balance(&self.ledger.records, owner.account()).unwrap().available
    }
}

fn ok(task: u32) -> TaskReceipt {
    receipt(task, Outcome::Exit(0))
}

#[test]
fn the_founder_is_a_member_with_the_welcome_grant() {
    let story = Story::new();
    let facts = query::mesh(&story.ledger.records).unwrap().unwrap();
    assert_eq!((facts.height, facts.policy.mesh, facts.pristine), (1, story.ledger.mesh.id, true));
    assert_eq!(story.available(&story.creator), GRANT);
    let roster = query::roster(&story.ledger.records).unwrap();
    assert_eq!(roster.members[0].0, story.node.node());
    let issued = query::account(&story.ledger.records, &ISSUANCE).unwrap();
    assert_eq!(issued.balance(), -i128::from(GRANT.micros()));
    let history = query::history(&story.ledger.records, story.creator.account(), None, 10).unwrap();
    assert_eq!((history[0].kind.as_str(), history[0].seq, history[0].credit), ("grant", 1, GRANT));
}

#[test]
fn a_mesh_is_founded_once_and_by_its_first_operator() {
    let mut story = Story::new();
    story.done(Command::Found(story.ledger.mesh.genesis.clone()));
    let other = TestMesh::with(|genesis| genesis.nonce = [8; 16]);
    story.refused(Command::Found(other.genesis), RejectReason::WrongState);

    let stranger = TestMesh::with(|genesis| genesis.operators = vec![key(9).account()]);
    let mut ledger = TestLedger::found(stranger.clone()).unwrap();
    assert_eq!(query::mesh(&ledger.records).unwrap(), None);
    let bad_fee = TestMesh::with(|genesis| genesis.price.fee = BasisPoints(1_001));
    ledger.mesh = bad_fee.clone();
    let reply = ledger.apply(Command::Found(bad_fee.genesis)).unwrap().reply;
    assert_eq!(reply, Reply::Rejected(RejectReason::Invalid.into()));
    let wrong = TestMesh { id: MeshId([1; 32]), ..stranger };
    ledger.mesh = wrong;
    let reply = ledger.apply(Command::Found(TestMesh::default().genesis)).unwrap().reply;
    assert_eq!(reply, Reply::Rejected(RejectReason::WrongMesh.into()));
}

#[test]
fn a_node_waits_until_an_operator_approves_it_and_its_owner_is_welcomed_once() {
    let mut story = Story::new();
    let owner = key(3);
    for (number, expected) in [(4, GRANT), (5, GRANT)] {
        let node = key(number);
        let request = story.ledger.mesh.enrollment(&node, &owner, "machine");
        story.done(asking(request.clone()));
        story.done(asking(request));
        let record = query::node(&story.ledger.records, &node.node()).unwrap().unwrap();
        assert_eq!(record.admission, Admission::Pending);
        let decision = story.ledger.mesh.decision(node.node(), Verdict::Approve, 5);
        story.done(Command::Decide(decision));
        assert_eq!(story.available(&owner), expected);
    }
    assert_eq!(query::account(&story.ledger.records, &owner.account()).unwrap().nodes, 2);
    assert_eq!(query::roster(&story.ledger.records).unwrap().members.len(), 3);
}

#[test]
fn a_mesh_that_admits_whoever_asks_approves_at_once_and_stops_granting_at_its_cap() {
    let mesh = TestMesh::with(|genesis| {
        genesis.joining = Joining::Automatic;
        genesis.welcome_grants_max = 2;
    });
    let mut story = Story::of(mesh);
    for (number, expected) in [(10, GRANT), (20, Credits::ZERO)] {
        let (owner, node) = (key(number), key(number + 1));
        let request = story.ledger.mesh.enrollment(&node, &owner, "machine");
        story.done(asking(request));
        let record = query::node(&story.ledger.records, &node.node()).unwrap().unwrap();
        assert_eq!((record.admission, story.available(&owner)), (Admission::Approved, expected));
    }
}

#[test]
fn a_node_of_another_owner_cannot_be_taken() {
    let (mut story, _, node) = Story::of_two();
    let request = story.ledger.mesh.enrollment(&node, &key(9), "mine-now");
    story.refused(asking(request), RejectReason::NodeTaken);
}

#[test]
fn both_the_node_and_its_owner_must_sign() {
    let mut story = Story::new();
    let (mesh, owner, node) = (story.ledger.mesh.clone(), key(3), key(4));
    let mut request = mesh.enrollment(&node, &owner, "machine");
    request.consent = mesh.enrollment(&node, &key(5), "machine").consent;
    story.refused(asking(request), RejectReason::BadSignature);
    let mut request = mesh.enrollment(&node, &owner, "machine");
    request.consent = mesh.enrollment(&key(6), &owner, "machine").consent;
    story.refused(asking(request), RejectReason::BadSignature);
    let elsewhere = TestMesh { id: MeshId([9; 32]), ..mesh };
    let request = elsewhere.enrollment(&node, &owner, "machine");
    story.refused(asking(request), RejectReason::WrongMesh);
}

#[test]
fn only_an_operator_decides_and_an_old_approval_cannot_be_replayed_after_a_block() {
    let (mut story, owner, node) = Story::of_two();
    let mesh = story.ledger.mesh.clone();
    let forged =
        TestMesh { operator: owner, ..mesh.clone() }.decision(node.node(), Verdict::Block, 50);
    story.refused(Command::Decide(forged), RejectReason::NotPermitted);
    let approval = mesh.decision(node.node(), Verdict::Approve, 100);
    story.done(Command::Decide(approval.clone()));
    story.done(Command::Decide(mesh.decision(node.node(), Verdict::Block, 200)));
    assert_eq!(query::roster(&story.ledger.records).unwrap().members.len(), 1);
    story.refused(Command::Decide(approval), RejectReason::OutsideValidity);
    story.refused(
        Command::Decide(mesh.decision(mesh.coordinator.node(), Verdict::Block, 300)),
        RejectReason::NotPermitted,
    );
    story.refused(
        Command::Decide(mesh.decision(key(77).node(), Verdict::Approve, 300)),
        RejectReason::NotFound,
    );
    story.refused(
        Command::Decide(mesh.decision(node.node(), Verdict::Reject, 300)),
        RejectReason::WrongState,
    );
    story.done(Command::Decide(mesh.decision(node.node(), Verdict::Approve, 400)));
}

#[test]
fn a_refused_node_stays_refused_however_often_it_asks() {
    let mut story = Story::new();
    let request = story.ledger.mesh.enrollment(&key(4), &key(3), "machine");
    story.done(asking(request.clone()));
    let decision = story.ledger.mesh.decision(key(4).node(), Verdict::Reject, 5);
    story.done(Command::Decide(decision));
    story.refused(asking(request), RejectReason::Blacklisted);
}

#[test]
fn a_job_is_held_settled_by_fuel_and_the_rest_goes_back() {
    let (mut story, owner, _) = Story::of_two();
    let job = TestJob::new(&owner, 1, 3);
    story.submit(&job);
    assert_eq!(story.available(&owner), Credits::from_whole(900));
    assert_eq!(query::open_jobs(&story.ledger.records).unwrap(), [job.id()]);
    let first = story.settle(&job, vec![ok(0), ok(1)]);
    story.done(first);
    assert_eq!(story.job(&job).state, JobState::Running);
    let last = story.settle(&job, vec![ok(2)]);
    story.done(last);
    let view = story.job(&job);
    assert_eq!((view.state, view.done, view.fuel), (JobState::Completed, 3, Fuel(3_000_000)));
    assert_eq!(view.captured, Credits::from_micros(3 * TASK));
    let balance = query::balance(&story.ledger.records, owner.account()).unwrap();
    assert_eq!(balance.available, Credits::from_micros(GRANT.micros() - 3 * TASK));
    assert_eq!((balance.held, balance.spent), (Credits::ZERO, Credits::from_micros(3 * TASK)));
    let fees = query::account(&story.ledger.records, &FEES).unwrap().balance();
    let rounding = query::account(&story.ledger.records, &ROUNDING).unwrap().balance();
    let earned = query::balance(&story.ledger.records, story.creator.account()).unwrap().earned;
    assert_eq!((fees, rounding, earned), (27, 0, Credits::from_micros(3 * TASK - 27)));
    let kinds: Vec<_> = query::history(&story.ledger.records, owner.account(), None, 10)
        .unwrap()
        .into_iter()
        .map(|row| row.kind)
        .collect();
    assert_eq!(kinds, ["refund", "hold", "grant"]);
    assert!(query::open_jobs(&story.ledger.records).unwrap().is_empty());
}

#[test]
fn the_same_request_is_applied_once_and_another_under_its_id_is_refused() {
    let (mut story, owner, _) = Story::of_two();
    let job = TestJob::new(&owner, 1, 1);
    let stamped = {
        let command = job.submit(&story.ledger.mesh);
        story.ledger.stamp(command)
    };
    let first = story.ledger.apply_stamped(&stamped).unwrap();
    let records = story.ledger.records.clone();
    let mut later = stamped.clone();
    later.at = UnixMillis(stamped.at.0 + 1_000);
    let again = story.ledger.apply_stamped(&later).unwrap();
    assert_eq!((again.reply, again.events), (first.reply, Vec::new()));
    assert_eq!(story.ledger.records, records);
    let mut other = stamped;
    other.command = Command::Expire(job.id());
    let reply = story.ledger.apply_stamped(&other).unwrap().reply;
    assert_eq!(reply, Reply::Rejected(RejectReason::IdempotencyMismatch.into()));
    assert_eq!(story.ledger.records, records);
}

#[test]
fn the_same_authorization_holds_once_whatever_the_request() {
    let (mut story, owner, _) = Story::of_two();
    let job = TestJob::new(&owner, 1, 1);
    story.submit(&job);
    story.submit(&job);
    assert_eq!(story.available(&owner), Credits::from_whole(900));
    let mut other = job.clone();
    other.authorization.budget = Credits::from_whole(7);
    let command = other.submit(&story.ledger.mesh);
    story.refused(command, RejectReason::IdempotencyMismatch);
    let squatter = TestJob::new(&story.creator.clone(), 1, 1);
    let command = squatter.submit(&story.ledger.mesh);
    story.refused(command, RejectReason::IdempotencyMismatch);
}

#[test]
fn a_job_that_could_not_be_paid_stays_refused_even_when_it_could_be_later() {
    let (mut story, owner, _) = Story::of_two();
    let mut job = TestJob::new(&owner, 1, 1);
    job.authorization.budget = Credits::from_whole(1_500);
    let needed = Some((Credits::from_whole(1_500).micros(), GRANT.micros()));
    let refusal = Rejection { reason: RejectReason::InsufficientCredits, amounts: needed };
    let command = job.submit(&story.ledger.mesh);
    assert_eq!(story.tell(command.clone()), Reply::Rejected(refusal));
    let creator = story.creator.clone();
    let gift = story.ledger.mesh.transfer(1, &creator, &owner, GRANT);
    story.done(Command::Transfer(gift));
    assert_eq!(story.tell(command), Reply::Rejected(refusal));
}

#[test]
fn a_job_is_refused_that_nobody_may_submit_like_this() {
    let (mut story, owner, _) = Story::of_two();
    let mesh = story.ledger.mesh.clone();
    type Change = fn(&mut TestJob);
    let cases: [(Change, RejectReason); 9] = [
        (|job| job.authorization.budget = Credits::ZERO, RejectReason::Invalid),
        (
            |job| job.authorization.price.per_mfuel = Credits::from_micros(249),
            RejectReason::Invalid,
        ),
        (|job| job.authorization.price.per_task = Credits::from_micros(49), RejectReason::Invalid),
        (|job| job.spec.tasks = 0, RejectReason::Invalid),
        (
            |job| job.authorization.budget = Credits::from_micros(u64::MAX),
            RejectReason::AmountOverflow,
        ),
        (
            |job| job.authorization.not_before = UnixMillis(FOUNDED.0 + 120_000),
            RejectReason::OutsideValidity,
        ),
        (|job| job.authorization.ttl_ms = 1, RejectReason::OutsideValidity),
        (|job| job.authorization.ttl_ms = u64::MAX, RejectReason::OutsideValidity),
        (|job| job.owner = key(9), RejectReason::BadSignature),
    ];
    for (number, (change, reason)) in cases.into_iter().enumerate() {
        let mut job = TestJob::new(&owner, u8::try_from(number).unwrap() + 1, 1);
        change(&mut job);
        story.refused(job.submit(&mesh), reason);
    }
    let stranger = TestJob::new(&key(9), 50, 1);
    story.refused(stranger.submit(&mesh), RejectReason::NotPermitted);
    let job = TestJob::new(&owner, 51, 1);
    let other_spec = TestJob::new(&owner, 51, 2).spec;
    let swapped = Command::Submit { authorization: job.signed(&mesh), spec: Box::new(other_spec) };
    story.refused(swapped, RejectReason::Invalid);
    // What lies beside the signature does not use up the id.
    story.submit(&job);
}

#[test]
fn a_specification_that_is_too_large_is_refused_not_a_crash() {
    let (mut story, owner, _) = Story::of_two();
    let mut job = TestJob::new(&owner, 1, 1);
    let authorization = job.signed(&story.ledger.mesh);
    job.spec.args = vec!["x".repeat(100_000)];
    let command = Command::Submit { authorization, spec: Box::new(job.spec) };
    story.refused(command, RejectReason::TooLarge);
}

#[test]
fn a_task_is_settled_once_however_often_and_by_whomever_it_is_reported() {
    let (mut story, owner, node) = Story::of_two();
    let job = TestJob::new(&owner, 1, 3);
    story.submit(&job);
    let first = story.settle(&job, vec![ok(0), ok(1)]);
    story.done(first.clone());
    let captured = story.job(&job).captured;
    story.done(first);
    let by_other = story.settle_by(&job, (&node, &owner), vec![ok(1)]);
    story.done(by_other);
    assert_eq!(story.job(&job).captured, captured);
    let mixed = story.settle_by(&job, (&node, &owner), vec![ok(1), ok(2)]);
    story.done(mixed);
    assert_eq!(story.job(&job).captured, Credits::from_micros(3 * TASK));
    let late = story.settle(&job, vec![ok(2)]);
    story.refused(late, RejectReason::TaskEnded);
}

#[test]
fn a_batch_is_refused_that_is_not_what_its_worker_may_claim() {
    let (mut story, owner, node) = Story::of_two();
    let (mesh, creator) = (story.ledger.mesh.clone(), story.creator.clone());
    let job = TestJob::new(&creator, 1, 3);
    story.submit(&job);
    let mut tampered = mesh.receipts(&job, &node, &owner, vec![ok(0)]);
    tampered.items[0].fuel = Fuel(2);
    let settle = |receipts| Command::Settle { receipts: Box::new(receipts), retried: Vec::new() };
    story.refused(settle(tampered), RejectReason::BadSignature);
    let other_payee = mesh.receipts(&job, &node, &creator, vec![ok(0)]);
    story.refused(settle(other_payee), RejectReason::NotPermitted);
    let stranger = mesh.receipts(&job, &key(8), &key(9), vec![ok(0)]);
    story.refused(settle(stranger), RejectReason::NotEnrolled);
    let elsewhere =
        TestMesh { id: MeshId([1; 32]), ..mesh.clone() }.receipts(&job, &node, &owner, vec![ok(0)]);
    story.refused(settle(elsewhere), RejectReason::WrongMesh);
    let unknown = mesh.receipts(&TestJob::new(&owner, 9, 1), &node, &owner, vec![ok(0)]);
    story.refused(settle(unknown), RejectReason::NotFound);
    let mut other_authorization = job.clone();
    other_authorization.authorization.budget = Credits::from_whole(5);
    let misled = mesh.receipts(&other_authorization, &node, &owner, vec![ok(0)]);
    story.refused(settle(misled), RejectReason::Invalid);
    for items in
        [vec![ok(3)], vec![ok(0), ok(0)], vec![TaskReceipt { fuel: Fuel(u64::MAX), ..ok(0) }]]
    {
        let receipts = mesh.receipts(&job, &node, &owner, items);
        story.refused(settle(receipts), RejectReason::Invalid);
    }
    story.done(Command::Decide(mesh.decision(node.node(), Verdict::Block, 900)));
    let blocked = mesh.receipts(&job, &node, &owner, vec![ok(0)]);
    story.refused(settle(blocked), RejectReason::Blacklisted);
    assert_eq!(story.job(&job).captured, Credits::ZERO);
}

#[test]
fn what_the_guest_caused_is_charged_and_what_the_host_caused_is_not() {
    let (mut story, owner, _) = Story::of_two();
    let job = TestJob::new(&owner, 1, 4);
    story.submit(&job);
    let items = vec![
        receipt(0, Outcome::Trap(Trap::Unreachable)),
        receipt(1, Outcome::Indeterminate(Interruption::Timeout)),
        receipt(2, Outcome::Indeterminate(Interruption::RunnerCrashed)),
        ok(3),
    ];
    let command = story.settle(&job, items);
    story.done(command);
    let view = story.job(&job);
    assert_eq!(view.state, JobState::PartiallyCompleted);
    assert_eq!((view.done, view.failed), (1, 3));
    assert_eq!(view.reason.as_deref(), Some("trap"));
    assert_eq!(view.captured, Credits::from_micros(3 * TASK));
}

#[test]
fn one_failed_task_fails_a_job_that_allows_none_and_what_was_done_stays_paid() {
    let (mut story, owner, _) = Story::of_two();
    let mut job = TestJob::new(&owner, 1, 5);
    job.spec.end = EndPolicy::AllOrNothing;
    story.submit(&job);
    let command = story.settle(&job, vec![receipt(0, Outcome::Exit(3)), ok(1)]);
    let applied = story.ledger.apply(command).unwrap();
    assert!(applied.events.contains(&Event::JobEnded { job: job.id(), state: JobState::Failed }));
    let view = story.job(&job);
    assert_eq!((view.state, view.captured), (JobState::Failed, Credits::from_micros(2 * TASK)));
    assert_eq!(
        story.states(&job),
        [
            TaskState::Failed,
            TaskState::Completed,
            TaskState::Cancelled,
            TaskState::Cancelled,
            TaskState::Cancelled
        ]
    );
    assert_eq!(story.available(&owner), Credits::from_micros(GRANT.micros() - 2 * TASK));
    check_invariants(&story.ledger.records).unwrap();
}

#[test]
fn a_job_ends_when_its_budget_is_used_up() {
    let (mut story, owner, _) = Story::of_two();
    let mut job = TestJob::new(&owner, 1, 5);
    job.authorization.budget = Credits::from_micros(2 * TASK + 100);
    story.submit(&job);
    let command = story.settle(&job, vec![ok(0), ok(1), ok(2), ok(3)]);
    story.done(command);
    let view = story.job(&job);
    assert_eq!((view.state, view.done), (JobState::PartiallyCompleted, 3));
    assert_eq!(
        (view.reason.as_deref(), view.captured),
        (Some("out-of-budget"), job.authorization.budget)
    );
    let rows = query::tasks(&story.ledger.records, &job.id(), 2, 2).unwrap().unwrap();
    assert_eq!(rows[0].view.cost, Credits::from_micros(100));
    assert_eq!(
        (rows[1].view.state, rows[1].view.reason.as_deref()),
        (TaskState::Cancelled, Some("out-of-budget"))
    );
}

#[test]
fn a_job_ends_also_when_its_budget_is_used_up_to_the_last_bit() {
    let (mut story, owner, _) = Story::of_two();
    let mut job = TestJob::new(&owner, 1, 5);
    job.authorization.budget = Credits::from_micros(2 * TASK);
    story.submit(&job);
    let command = story.settle(&job, vec![ok(0), ok(1)]);
    story.done(command);
    let view = story.job(&job);
    assert_eq!(
        (view.state, view.reason.as_deref()),
        (JobState::PartiallyCompleted, Some("out-of-budget"))
    );
}

#[test]
fn work_on_ones_own_machines_is_free_and_still_receipted() {
    let (mut story, owner, node) = Story::of_two();
    let mut job = TestJob::new(&owner, 1, 2);
    job.spec.scope = Scope::Mine;
    job.authorization.budget = Credits::ZERO;
    story.submit(&job);
    let foreign = story.settle(&job, vec![ok(0)]);
    story.refused(foreign, RejectReason::NotPermitted);
    let own = story.settle_by(&job, (&node, &owner), vec![ok(0), ok(1)]);
    story.done(own);
    assert_eq!((story.job(&job).state, story.available(&owner)), (JobState::Completed, GRANT));
    let receipts = query::receipts(&story.ledger.records, Some(job.id()), None, None, 10).unwrap();
    assert_eq!(receipts.len(), 2);
    assert_eq!((receipts[0].cost, receipts[0].worker), (Credits::ZERO, node.node()));
}

#[test]
fn the_reducing_task_comes_last_and_runs_over_what_there_is() {
    let (mut story, owner, _) = Story::of_two();
    let mut job = TestJob::new(&owner, 1, 2);
    job.spec.reduce = Some(Reduce::Module(Hash([5; 32])));
    story.submit(&job);
    assert_eq!(story.states(&job), [TaskState::Queued, TaskState::Queued, TaskState::Held]);
    let early = story.settle(&job, vec![ok(2)]);
    story.refused(early, RejectReason::WrongState);
    let maps = story.settle(&job, vec![ok(0), receipt(1, Outcome::Exit(1))]);
    story.done(maps);
    assert_eq!(story.states(&job)[2], TaskState::Queued);
    let pending = query::pending_tasks(&story.ledger.records, &job.id()).unwrap().unwrap();
    assert_eq!(pending.ranges, vec![2..3]);
    let reduce = story.settle(&job, vec![ok(2)]);
    story.done(reduce);
    assert_eq!(story.job(&job).state, JobState::PartiallyCompleted);
}

#[test]
fn a_job_whose_tasks_all_failed_has_nothing_to_reduce() {
    let (mut story, owner, _) = Story::of_two();
    let mut job = TestJob::new(&owner, 1, 1);
    job.spec.reduce = Some(Reduce::Module(Hash([5; 32])));
    story.submit(&job);
    let maps = story.settle(&job, vec![receipt(0, Outcome::Exit(1))]);
    story.done(maps);
    assert_eq!(story.job(&job).state, JobState::Failed);
    assert_eq!(story.states(&job), [TaskState::Failed, TaskState::Cancelled]);
}

#[test]
fn a_retry_is_counted_once_and_a_new_leader_knows_of_it() {
    let (mut story, owner, _) = Story::of_two();
    let job = TestJob::new(&owner, 1, 6);
    story.submit(&job);
    let crashed = receipt(1, Outcome::Indeterminate(Interruption::RunnerCrashed));
    let Command::Settle { receipts, .. } = story.settle(&job, vec![crashed, ok(3)]) else {
        unreachable!()
    };
    let command = Command::Settle { receipts, retried: vec![TaskIndex(1)] };
    story.done(command.clone());
    story.done(command);
    let view = story.job(&job);
    assert_eq!((view.retried, view.done, view.captured), (1, 1, Credits::from_micros(TASK)));
    let pending = query::pending_tasks(&story.ledger.records, &job.id()).unwrap().unwrap();
    assert_eq!(pending.ranges, [0..3, 4..6]);
    assert_eq!(pending.attempts.into_iter().collect::<Vec<_>>(), [(TaskIndex(1), 1)]);
    assert_eq!(story.states(&job)[1], TaskState::Retrying);
    let second = TaskReceipt { attempt: 2, ..ok(1) };
    let command = story.settle(&job, vec![second]);
    story.done(command);
    let rows = query::tasks(&story.ledger.records, &job.id(), 1, 1).unwrap().unwrap();
    assert_eq!((rows[0].view.attempts, rows[0].view.state), (2, TaskState::Completed));
}

#[test]
fn tasks_whose_workers_never_reported_are_given_up_for_free() {
    let (mut story, owner, _) = Story::of_two();
    let job = TestJob::new(&owner, 1, 3);
    story.submit(&job);
    let command = story.settle(&job, vec![ok(0)]);
    story.done(command);
    let lost = vec![(TaskIndex(0), 3), (TaskIndex(1), 3), (TaskIndex(2), 3)];
    story.refused(
        Command::GiveUp { job: job.id(), tasks: vec![(TaskIndex(3), 1)] },
        RejectReason::Invalid,
    );
    story.done(Command::GiveUp { job: job.id(), tasks: lost });
    let view = story.job(&job);
    assert_eq!((view.state, view.done, view.failed), (JobState::PartiallyCompleted, 1, 2));
    assert_eq!(
        (view.reason.as_deref(), view.captured),
        (Some("node-lost"), Credits::from_micros(TASK))
    );
}

#[test]
fn a_job_is_cancelled_by_its_owner_only_and_keeps_what_was_done() {
    let (mut story, owner, _) = Story::of_two();
    let (mesh, creator) = (story.ledger.mesh.clone(), story.creator.clone());
    let job = TestJob::new(&owner, 1, 3);
    story.submit(&job);
    let command = story.settle(&job, vec![ok(0)]);
    story.done(command);
    story.refused(Command::Cancel(mesh.cancel(&creator, job.id())), RejectReason::NotPermitted);
    story.done(Command::Cancel(mesh.cancel(&owner, job.id())));
    story.done(Command::Cancel(mesh.cancel(&owner, job.id())));
    assert_eq!(story.job(&job).state, JobState::Cancelled);
    assert_eq!(
        story.states(&job),
        [TaskState::Completed, TaskState::Cancelled, TaskState::Cancelled]
    );
    assert_eq!(story.available(&owner), Credits::from_micros(GRANT.micros() - TASK));
    story.refused(Command::Cancel(mesh.cancel(&owner, JobId([99; 16]))), RejectReason::NotFound);
    story.refused(Command::Expire(job.id()), RejectReason::WrongState);
}

#[test]
fn a_job_expires_when_its_time_is_over_and_not_before() {
    let (mut story, owner, _) = Story::of_two();
    let mut job = TestJob::new(&owner, 1, 3);
    job.authorization.ttl_ms = 60_000;
    story.submit(&job);
    story.refused(Command::Expire(job.id()), RejectReason::WrongState);
    story.ledger.at = UnixMillis(FOUNDED.0 + 60_000);
    story.done(Command::Expire(job.id()));
    story.done(Command::Expire(job.id()));
    assert_eq!((story.job(&job).state, story.available(&owner)), (JobState::Expired, GRANT));
    assert_eq!(story.states(&job), [TaskState::Expired; 3]);
    story.refused(
        Command::Cancel(story.ledger.mesh.cancel(&owner, job.id())),
        RejectReason::WrongState,
    );
}

#[test]
fn credits_move_once_and_only_by_their_owners_signature() {
    let (mut story, owner, _) = Story::of_two();
    let (mesh, creator) = (story.ledger.mesh.clone(), story.creator.clone());
    let ten = Credits::from_whole(10);
    let gift = mesh.transfer(1, &creator, &owner, ten);
    story.done(Command::Transfer(gift.clone()));
    story.done(Command::Transfer(gift));
    assert_eq!(story.available(&owner), Credits::from_whole(1_010));
    story.refused(
        Command::Transfer(mesh.transfer(1, &creator, &owner, GRANT)),
        RejectReason::IdempotencyMismatch,
    );
    story.refused(
        Command::Transfer(mesh.transfer(2, &creator, &owner, GRANT)),
        RejectReason::InsufficientCredits,
    );
    story.refused(
        Command::Transfer(mesh.transfer(3, &creator, &creator, ten)),
        RejectReason::Invalid,
    );
    story.refused(
        Command::Transfer(mesh.transfer(4, &creator, &owner, Credits::ZERO)),
        RejectReason::Invalid,
    );
    let stolen = mesh.transfer(5, &creator, &owner, ten).peek().unwrap();
    story.refused(
        Command::Transfer(Signed::sign(&stolen, mesh.id, &owner)),
        RejectReason::BadSignature,
    );
    story.ledger.at = UnixMillis(FOUNDED.0 + 2 * 24 * 3_600_000);
    story.refused(
        Command::Transfer(mesh.transfer(6, &creator, &owner, ten)),
        RejectReason::OutsideValidity,
    );
}

#[test]
fn time_never_goes_back_and_never_jumps_by_more_than_a_year_and_a_bit() {
    let (mut story, owner, _) = Story::of_two();
    let before = query::mesh(&story.ledger.records).unwrap().unwrap().time;
    story.ledger.at = UnixMillis(5);
    story.submit(&TestJob::new(&owner, 1, 1));
    let after = query::mesh(&story.ledger.records).unwrap().unwrap().time;
    assert_eq!(after.0, before.0 + 1);
    story.ledger.at = UnixMillis(after.0 + 401 * 24 * 3_600_000);
    story.refused(Command::Expire(JobId([1; 16])), RejectReason::OutsideValidity);
}

#[test]
fn a_command_for_another_mesh_is_refused() {
    let mut story = Story::new();
    let mut stamped = story.ledger.stamp(Command::Expire(JobId([1; 16])));
    stamped.mesh = MeshId([1; 32]);
    let reply = story.ledger.apply_stamped(&stamped).unwrap().reply;
    assert_eq!(reply, Reply::Rejected(RejectReason::WrongMesh.into()));
}

#[test]
fn jobs_are_listed_newest_first_in_pages_and_found_by_the_first_digits_of_their_id() {
    let (mut story, owner, _) = Story::of_two();
    let creator = story.creator.clone();
    for number in 1..=5 {
        let submitter = if number == 3 { &creator } else { &owner };
        story.submit(&TestJob { ..TestJob::new(submitter, number, 1) });
    }
    let ids = |jobs: Vec<protocol::wire::view::JobView>| {
        jobs.iter().map(|job| job.job.0[0]).collect::<Vec<_>>()
    };
    let records = &story.ledger.records;
    assert_eq!(ids(query::jobs(records, None, None, 3).unwrap()), [5, 4, 3]);
    assert_eq!(ids(query::jobs(records, None, Some(JobId([3; 16])), 3).unwrap()), [2, 1]);
    assert_eq!(ids(query::jobs(records, Some(owner.account()), None, 9).unwrap()), [5, 4, 2, 1]);
    assert_eq!(query::job_ids(records, "0404", 5).unwrap(), [JobId([4; 16])]);
    assert_eq!(query::job_ids(records, "0", 5).unwrap().len(), 5);
    assert_eq!(query::job_ids(records, "04040", 5).unwrap(), [JobId([4; 16])]);
}

#[test]
fn receipts_are_listed_by_job_and_by_account_in_pages() {
    let (mut story, owner, _) = Story::of_two();
    for number in 1..=2 {
        let job = TestJob::new(&owner, number, 3);
        story.submit(&job);
        let command = story.settle(&job, vec![ok(2), ok(0), ok(1)]);
        story.done(command);
    }
    let list = |job: Option<JobId>, after: Option<ReceiptId>, limit| {
        let found =
            query::receipts(&story.ledger.records, job, Some(owner.account()), after, limit)
                .unwrap();
        found
            .iter()
            .map(|receipt| (receipt.receipt.job.0[0], receipt.receipt.task.0))
            .collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 10), [(2, 0), (2, 1), (2, 2), (1, 0), (1, 1), (1, 2)]);
    let after = Some(ReceiptId { job: JobId([2; 16]), task: TaskIndex(1) });
    assert_eq!(list(None, after, 2), [(2, 2), (1, 0)]);
    assert_eq!(list(Some(JobId([2; 16])), after, 9), [(2, 2)]);
    let others = story.creator.account();
    let found = query::receipts(&story.ledger.records, Some(JobId([2; 16])), Some(others), None, 9)
        .unwrap();
    assert!(found.is_empty());
}

#[test]
fn a_job_is_charged_at_the_price_of_its_submission_even_if_it_agreed_to_more() {
    let (mut story, owner, _) = Story::of_two();
    let mut job = TestJob::new(&owner, 1, 1);
    job.authorization.price = Price {
        per_mfuel: Credits::from_micros(900),
        per_task: Credits::from_micros(900),
        fee: BasisPoints(900),
    };
    story.submit(&job);
    let command = story.settle(&job, vec![ok(0)]);
    story.done(command);
    assert_eq!(story.job(&job).captured, Credits::from_micros(TASK));
}

#[test]
fn request_ids_are_used_up_by_refusals_too() {
    let mut story = Story::new();
    let mut stamped = story.ledger.stamp(Command::Expire(JobId([1; 16])));
    stamped.request = RequestId([9; 16]);
    let refusal = story.ledger.apply_stamped(&stamped).unwrap();
    assert_eq!(refusal.reply, Reply::Rejected(RejectReason::NotFound.into()));
    let again = story.ledger.apply_stamped(&stamped).unwrap();
    assert!(again.changes.is_empty() && again.reply == refusal.reply);
}
