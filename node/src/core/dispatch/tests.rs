//! Stories and properties of the dispatcher.
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::arithmetic_side_effects,
    clippy::single_range_in_vec_init,
    reason = "stories name only what they are about, and count small numbers"
)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use protocol::{
    ids::Hash,
    machine::assert_deadline_contract,
    outcome::Interruption,
    units::Pages,
    wire::{
        advert::Isolation,
        availability::{Advice, Availability, Cause, Openness, Reason},
        heartbeat::HeldLease,
        job::{EndPolicy, Scope, TaskLimits},
        view::{Condition, Liveness},
    },
};

use super::*;
use crate::core::transitions;

mod workers;

const FENCE: Fence = Fence { epoch: 0, term: 1, index: 1 };
const JOB: JobId = JobId([1; 16]);
const W1: NodeId = NodeId([1; 32]);
const W2: NodeId = NodeId([2; 32]);

fn at(millis: u64) -> Timestamp {
    Timestamp::after_origin(Duration::from_millis(millis))
}

fn spec(tasks: u32) -> JobSpec {
    JobSpec {
        name: "job".into(),
        module: Hash([1; 32]),
        profile: 0,
        args: vec![],
        env: vec![],
        manifest: Hash([2; 32]),
        tasks,
        reduce: None,
        limits: TaskLimits { memory: Pages(1), ..TaskLimits::default() },
        end: EndPolicy::AllOrNothing,
        scope: Scope::Mesh,
        isolation: Isolation::C,
        tags: vec![],
    }
}

fn open(tasks: u32) -> OpenJob {
    OpenJob {
        job: JOB,
        account: AccountId([9; 32]),
        spec: spec(tasks),
        price: Price::default(),
        budget_left: Credits::from_whole(1_000),
        pending: vec![0..tasks],
        attempts: BTreeMap::new(),
        order: 1,
        expires_in: Duration::from_secs(3_600),
        recovered: false,
    }
}

fn beat(slots: u16, leases: &[LeaseId]) -> Heartbeat {
    let leases =
        leases.iter().map(|lease| HeldLease { lease: *lease, done: 0, running: true, proof: None });
    Heartbeat {
        leases: leases.collect(),
        slots,
        slots_free: slots,
        draining: false,
        roster: 0,
        availability: Availability::open(slots, 1 << 30),
        returned: vec![],
    }
}

fn member(node: NodeId) -> Member {
    let name = format!("node-{}", node.0[0]);
    Member { node, name, account: AccountId([8; 32]), works: true, approved: true, labels: vec![] }
}

fn advert(node: NodeId) -> Advert {
    Advert {
        version: 1,
        node,
        seq: 1,
        at: protocol::time::UnixMillis(1),
        ttl_ms: 45_000,
        software: String::new(),
        os: protocol::wire::advert::Os::Linux,
        arch: protocol::wire::advert::Arch::X86_64,
        roles: vec![],
        isolation: Isolation::C,
        cores: 1,
        memory_bytes: 1 << 30,
        memory_free_bytes: 1 << 30,
        cpu_percent: 0,
        memory_percent: 0,
        slots: 1,
        slots_free: 1,
        tags: vec![],
    }
}

/// A leading dispatcher with these workers, each with one slot.
fn leading(workers: &[NodeId]) -> Dispatch {
    let mut dispatch = Dispatch::new(Config::standard(7));
    dispatch.handle(at(0), Input::Lead(FENCE));
    for worker in workers {
        dispatch.handle(at(0), Input::Member(member(*worker)));
        dispatch.handle(at(0), Input::Advert(Box::new(advert(*worker))));
        dispatch.handle(at(0), Input::Connected(*worker));
        dispatch.handle(at(1), Input::Heartbeat(*worker, Box::new(beat(1, &[])), None));
    }
    dispatch
}

fn offers(out: &[Output]) -> Vec<(LeaseId, NodeId, Vec<u32>)> {
    out.iter()
        .filter_map(|output| match output {
            Output::Offer { lease, worker, items, .. } => {
                Some((*lease, *worker, items.iter().map(|item| item.task.0).collect()))
            }
            _ => None,
        })
        .collect()
}

fn report(worker: NodeId, lease: LeaseId, task: u32, outcome: Outcome) -> Input {
    Input::Reported {
        report: ReportId(1),
        worker,
        lease,
        items: vec![Reported { task: TaskIndex(task), outcome, millis: 1 }],
    }
}

#[test]
fn a_task_is_offered_reported_and_settled() {
    let mut dispatch = leading(&[W1]);
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    let offered = offers(&out);
    assert_eq!(offered.len(), 1);
    let (lease, worker, tasks) = offered[0].clone();
    assert_eq!((worker, tasks), (W1, vec![0]));
    dispatch.handle(at(11), Input::Answered(lease, Some(LeaseResponse::Done)));
    let out = dispatch.handle(at(20), report(W1, lease, 0, Outcome::Exit(0)));
    assert_eq!(
        out,
        [Output::Settle { report: ReportId(1), ended: vec![TaskIndex(0)], retried: vec![] }]
    );
    let left = Some(Credits::from_whole(999));
    dispatch
        .handle(at(21), Input::Settled { job: JOB, ended: vec![TaskIndex(0)], budget_left: left });
    assert_eq!(dispatch.totals(), (0, 0));
}

#[test]
fn the_second_report_of_a_task_is_refused() {
    let mut dispatch = leading(&[W1]);
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(2))));
    let (lease, ..) = offers(&out)[0].clone();
    dispatch.handle(at(20), report(W1, lease, 0, Outcome::Exit(0)));
    let again = dispatch.handle(at(21), report(W1, lease, 0, Outcome::Exit(0)));
    assert!(again.iter().any(|output| matches!(output, Output::Refuse(_, _))), "{again:?}");
}

#[test]
fn a_stranger_cannot_report_for_the_holder() {
    let mut dispatch = leading(&[W1, W2]);
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    let (lease, worker, _) = offers(&out)[0].clone();
    let other = if worker == W1 { W2 } else { W1 };
    let out = dispatch.handle(at(20), report(other, lease, 0, Outcome::Exit(0)));
    assert_eq!(out, [Output::Refuse(ReportId(1), RejectReason::NotLeaseHolder)]);
}

#[test]
fn a_workers_tasks_go_to_others_two_seconds_after_its_connection_closed() {
    let mut dispatch = leading(&[W1, W2]);
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    let (lease, worker, _) = offers(&out)[0].clone();
    dispatch.handle(at(11), Input::Answered(lease, Some(LeaseResponse::Done)));
    dispatch.handle(at(100), Input::Disconnected(worker));
    assert_eq!(dispatch.deadline(), Some(at(2_100)));
    let out = dispatch.handle(at(2_100), Input::Tick);
    let other = offers(&out);
    assert_eq!(other.len(), 1);
    assert_ne!(other[0].1, worker);
    let late = dispatch.handle(at(2_200), report(worker, lease, 0, Outcome::Exit(0)));
    assert_eq!(late, [Output::Refuse(ReportId(1), RejectReason::NotLeaseHolder)]);
}

#[test]
fn a_worker_that_was_started_anew_loses_what_it_does_not_list() {
    let mut dispatch = leading(&[W1]);
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    let (lease, ..) = offers(&out)[0].clone();
    dispatch.handle(at(11), Input::Answered(lease, Some(LeaseResponse::Done)));
    dispatch.handle(at(100), Input::Disconnected(W1));
    dispatch.handle(at(200), Input::Connected(W1));
    let out = dispatch.handle(at(201), Input::Heartbeat(W1, Box::new(beat(1, &[])), None));
    assert_eq!(offers(&out).len(), 1, "{out:?}");
}

#[test]
fn an_unreachable_worker_costs_no_attempt() {
    let mut dispatch = leading(&[W1, W2]);
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    let (lease, ..) = offers(&out)[0].clone();
    let out = dispatch.handle(at(20), Input::Answered(lease, None));
    assert!(offers(&out).is_empty());
    let out = dispatch.handle(at(520), Input::Tick);
    match &out[..] {
        [Output::Offer { items, .. }] => assert_eq!(items[0].attempt, 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_host_may_fail_a_task_twice_and_the_third_time_is_final() {
    let mut dispatch = leading(&[W1]);
    let crashed = Outcome::Indeterminate(Interruption::RunnerCrashed);
    let mut now = 10;
    let mut out = dispatch.handle(at(now), Input::JobOpened(Box::new(open(1))));
    for (attempt, delay) in [(1, 500), (2, 1_000)] {
        let (lease, ..) = offers(&out)[0].clone();
        let settle = dispatch.handle(at(now), report(W1, lease, 0, crashed));
        assert_eq!(
            settle[0],
            Output::Settle { report: ReportId(1), ended: vec![], retried: vec![TaskIndex(0)] }
        );
        assert!(
            offers(&dispatch.handle(at(now + delay - 1), Input::Tick)).is_empty(),
            "attempt {attempt}"
        );
        now += delay;
        out = dispatch.handle(at(now), Input::Tick);
    }
    let (lease, ..) = offers(&out)[0].clone();
    let out = dispatch.handle(at(now), report(W1, lease, 0, crashed));
    assert_eq!(
        out[0],
        Output::Settle { report: ReportId(1), ended: vec![TaskIndex(0)], retried: vec![] }
    );
}

#[test]
fn a_guests_own_failure_is_final_at_once() {
    let mut dispatch = leading(&[W1]);
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    let (lease, ..) = offers(&out)[0].clone();
    let out = dispatch.handle(at(20), report(W1, lease, 0, Outcome::OutOfFuel));
    assert_eq!(
        out,
        [Output::Settle { report: ReportId(1), ended: vec![TaskIndex(0)], retried: vec![] }]
    );
}

#[test]
fn a_task_that_takes_its_workers_along_is_given_up() {
    let mut dispatch = leading(&[W1]);
    let mut now = 10;
    let mut out = dispatch.handle(at(now), Input::JobOpened(Box::new(open(1))));
    for _ in 0..3 {
        let (lease, ..) = offers(&out)[0].clone();
        dispatch.handle(at(now + 1), Input::Heartbeat(W1, Box::new(beat(1, &[lease])), None));
        dispatch.handle(at(now + 2), Input::Disconnected(W1));
        let lost = dispatch.handle(at(now + 2_002), Input::Tick);
        now += 10_000;
        dispatch.handle(at(now), Input::Connected(W1));
        out = dispatch.handle(at(now), Input::Heartbeat(W1, Box::new(beat(1, &[])), None));
        out.extend(lost);
    }
    let given_up = out.iter().any(
        |output| matches!(output, Output::GiveUp { tasks, .. } if tasks == &[(TaskIndex(0), 3)]),
    );
    assert!(given_up, "{out:?}");
}

#[test]
fn a_new_leader_adopts_what_workers_hold_and_only_then_hands_out_the_rest() {
    let mut dispatch = leading(&[W1, W2]);
    let found = OpenJob { recovered: true, ..open(2) };
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(found)));
    assert!(offers(&out).is_empty(), "nothing before workers could say what they hold");
    let lease = LeaseId([5; 16]);
    let items = vec![LeaseItem { task: TaskIndex(1), attempt: 1 }];
    dispatch.handle(at(20), Input::Adopt { lease, worker: W1, job: JOB, items });
    let out = dispatch.handle(at(3_010), Input::Tick);
    assert_eq!(offers(&out).iter().map(|offer| offer.2.clone()).collect::<Vec<_>>(), [vec![0]]);
    let out = dispatch.handle(at(3_020), report(W1, lease, 1, Outcome::Exit(0)));
    assert!(matches!(out[0], Output::Settle { .. }));
}

#[test]
fn the_reducing_task_waits_for_all_others() {
    let mut dispatch = leading(&[W1]);
    let mut job = open(1);
    job.spec.reduce = Some(protocol::wire::job::Reduce::Module(Hash([3; 32])));
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(job)));
    let (lease, ..) = offers(&out)[0].clone();
    let out = dispatch.handle(at(20), report(W1, lease, 0, Outcome::Exit(0)));
    assert!(!out.contains(&Output::PrepareReduce(JOB)));
    let left = Some(Credits::from_whole(1));
    let settled = Input::Settled { job: JOB, ended: vec![TaskIndex(0)], budget_left: left };
    assert_eq!(dispatch.handle(at(30), settled), [Output::PrepareReduce(JOB)]);
    let out = dispatch.handle(at(40), Input::ReduceReady(JOB));
    assert_eq!(offers(&out)[0].2, [1]);
}

#[test]
fn a_budget_bounds_what_is_out_at_a_time() {
    let mut dispatch = leading(&[W1, W2]);
    let tight = OpenJob { budget_left: Credits::from_micros(600_000), ..open(10) };
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(tight)));
    assert_eq!(offers(&out).len(), 1, "one task may cost 0.50005 credits");
}

#[test]
fn closing_a_job_withdraws_its_leases() {
    let mut dispatch = leading(&[W1]);
    let out = dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    let (lease, ..) = offers(&out)[0].clone();
    let out = dispatch.handle(at(20), Input::JobClosed(JOB));
    assert_eq!(out, [Output::Withdraw { worker: W1, leases: vec![lease] }]);
}

#[test]
fn time_that_is_over_is_announced_once() {
    let mut dispatch = leading(&[]);
    dispatch.handle(at(10), Input::JobOpened(Box::new(open(1))));
    assert_eq!(dispatch.handle(at(3_600_010), Input::Tick), [Output::Expire(JOB)]);
    assert_eq!(dispatch.handle(at(3_600_020), Input::Tick), []);
}

impl Dispatch {
    /// The invariants of the module header.
    fn assert_invariants(&self) {
        for worker in self.workers.values() {
            assert!(worker.leases.iter().all(|lease| self.leases.contains_key(lease)));
        }
        let mut leased: BTreeMap<JobId, BTreeSet<TaskIndex>> = BTreeMap::new();
        for lease in self.leases.values() {
            for task in lease.open.keys() {
                assert!(
                    leased.entry(lease.job).or_default().insert(*task),
                    "{task:?} is leased twice"
                );
            }
        }
        for (id, job) in &self.jobs {
            assert_eq!(
                job.leased,
                leased.remove(id).unwrap_or_default(),
                "the job knows who has what"
            );
            assert!(job.leased.is_disjoint(&job.settling));
        }
    }
}

proptest! {
    #[test]
    fn every_task_ends_at_most_once_whatever_happens(
        steps in prop::collection::vec((0..9_u8, 0..3_u8, 0..4_000_u64), 1..200),
    ) {
        let workers = [W1, W2];
        let mut dispatch = leading(&workers);
        let all: BTreeSet<_> = (0..12).map(TaskIndex).collect();
        let mut ended = BTreeSet::new();
        let mut offered: Vec<(LeaseId, NodeId, Vec<u32>)> = Vec::new();
        let mut now = 10;
        let mut pending = dispatch.handle(at(now), Input::JobOpened(Box::new(open(12))));
        for (what, which, delay) in steps {
            now += delay;
            offered.extend(offers(&pending));
            for output in &pending {
                let over: Vec<TaskIndex> = match output {
                    Output::Settle { ended, .. } => ended.clone(),
                    Output::GiveUp { tasks, .. } => tasks.iter().map(|(task, _)| *task).collect(),
                    _ => vec![],
                };
                for task in over {
                    prop_assert!(ended.insert(task), "{task:?} ended twice");
                }
            }
            let worker = workers[usize::from(which % 2)];
            let lease = offered.get(usize::from(which)).or_else(|| offered.last()).cloned();
            let input = match (what, lease) {
                (0, _) => Input::Disconnected(worker),
                (1, _) => Input::Connected(worker),
                (2, _) => Input::Heartbeat(worker, Box::new(beat(1, &[])), None),
                (3, Some((lease, ..))) => Input::Heartbeat(worker, Box::new(beat(1, &[lease])), None),
                (4, Some((lease, worker, tasks))) => report(worker, lease, tasks[0], Outcome::Exit(0)),
                (5, Some((lease, worker, tasks))) => {
                    report(worker, lease, tasks[0], Outcome::Indeterminate(Interruption::RunnerCrashed))
                }
                (6, Some((lease, ..))) => Input::Answered(lease, None),
                (8, Some((lease, ..))) => workers::returning(worker, &[lease]),
                _ => Input::Tick,
            };
            let before = dispatch.task_infos(&JOB, &all);
            pending = dispatch.handle(at(now), input);
            for (task, info) in dispatch.task_infos(&JOB, &all) {
                let was = before[&task].state;
                prop_assert!(transitions::leads_to(was, info.state), "{task:?}: {was:?} -> {:?}", info.state);
            }
            dispatch.assert_invariants();
            assert_deadline_contract(&dispatch);
        }
    }
}
