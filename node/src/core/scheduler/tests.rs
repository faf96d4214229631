#![expect(clippy::arithmetic_side_effects, reason = "small numbers")]

use proptest::prelude::*;

use super::*;

fn needs(account: u8) -> Needs {
    Needs {
        account: AccountId([account; 32]),
        scope: Scope::Mesh,
        isolation: Isolation::C,
        tags: vec![],
        memory: Pages(16),
        task_ms: 30_000,
    }
}

fn demand(job: u8, account: u8, ready: u32) -> Demand {
    Demand {
        job: JobId([job; 16]),
        needs: needs(account),
        ready,
        per_lease: 1,
        order: u64::from(job),
    }
}

fn worker(node: u8, slots: u32) -> Candidate {
    Candidate {
        node: NodeId([node; 32]),
        name: format!("node-{node}"),
        account: AccountId([node; 32]),
        admission: Admission::Approved,
        liveness: Liveness::Healthy,
        condition: Condition::Online,
        works: true,
        isolation: Isolation::B,
        tags: vec!["gpu".into()],
        memory_bytes: 1 << 30,
        slots,
        slots_free: slots,
        others: Openness::Open,
        others_free: slots,
        reasons: vec![],
        flapping: false,
        rtt_us: 1_000,
        load: 100,
        reliability: 1_000,
    }
}

#[test]
fn each_obstacle_is_named() {
    let base = worker(1, 2);
    let cases: Vec<(Candidate, Needs, Obstacle)> = vec![
        (
            Candidate { admission: Admission::Pending, ..base.clone() },
            needs(9),
            Obstacle::NotApproved,
        ),
        (Candidate { works: false, ..base.clone() }, needs(9), Obstacle::NotAWorker),
        (base.clone(), Needs { scope: Scope::Mine, ..needs(9) }, Obstacle::OtherOwner),
        (base.clone(), Needs { isolation: Isolation::A, ..needs(9) }, Obstacle::Isolation),
        (base.clone(), Needs { tags: vec!["GPU".into()], ..needs(9) }, Obstacle::Label),
        (base.clone(), Needs { memory: Pages(60_000), ..needs(9) }, Obstacle::Memory),
        (Candidate { liveness: Liveness::Suspect, ..base.clone() }, needs(9), Obstacle::Offline),
        (
            Candidate { condition: Condition::Maintenance, ..base.clone() },
            needs(9),
            Obstacle::Draining,
        ),
        (
            Candidate { condition: Condition::Degraded, ..base.clone() },
            needs(9),
            Obstacle::Overloaded,
        ),
        (Candidate { condition: Condition::Syncing, ..base.clone() }, needs(1), Obstacle::Syncing),
        (paused(&base), needs(9), Obstacle::Withheld(Cause::OnBattery)),
        (
            Candidate { others: Openness::Small { task_ms_max: 10_000 }, ..base.clone() },
            needs(9),
            Obstacle::TaskTooLarge,
        ),
        (Candidate { slots_free: 0, ..base.clone() }, needs(9), Obstacle::Busy),
        (Candidate { others_free: 0, ..base.clone() }, needs(9), Obstacle::Busy),
    ];
    for (worker, needs, expected) in cases {
        assert_eq!(obstacle(&needs, &worker), Some(expected));
    }
    assert_eq!(obstacle(&needs(9), &base), None);
    assert_eq!(obstacle(&Needs { tags: vec!["gpu".into()], ..needs(9) }, &base), None);
}

fn paused(worker: &Candidate) -> Candidate {
    let reasons = vec![Reason::of(Cause::OnBattery), Reason::of(Cause::NotIdle)];
    Candidate { others: Openness::Closed, reasons, ..worker.clone() }
}

#[test]
fn an_owner_is_not_bound_by_what_they_allow_others() {
    let mine = needs(1);
    let base = worker(1, 2);
    for worker in [
        paused(&base),
        Candidate { others: Openness::Small { task_ms_max: 1 }, ..base.clone() },
        Candidate { others_free: 0, ..base.clone() },
        Candidate { condition: Condition::Degraded, ..base.clone() },
    ] {
        assert_eq!(obstacle(&mine, &worker), None, "{worker:?}");
    }
    let draining = Candidate { condition: Condition::Maintenance, ..base };
    assert_eq!(obstacle(&mine, &draining), Some(Obstacle::Draining));
}

#[test]
fn a_worker_that_is_withheld_says_why_and_until_when() {
    let sentence = |reason: Reason| {
        let cause = reason.cause;
        let worker = Candidate { reasons: vec![reason], ..paused(&worker(1, 1)) };
        Obstacle::Withheld(cause).sentence(&needs(9), &worker)
    };
    assert_eq!(sentence(Reason::of(Cause::OnBattery)), "is paused (on battery) until plugged in");
    let until = Some(UnixMillis((24 + 15) * 3_600_000 + 40 * 60_000));
    assert_eq!(
        sentence(Reason::of(Cause::Paused).noting("gaming").ending(until)),
        "is paused (gaming) until 15:40 UTC"
    );
}

#[test]
fn others_get_no_more_slots_than_their_owner_gives_them() {
    let shared = Candidate { others_free: 1, ..worker(1, 3) };
    let demands = [demand(1, 9, 3), demand(2, 1, 3)];
    let placements = place(&demands, &[shared], &BTreeMap::new(), &Weights::default());
    let others = placements.iter().filter(|placement| placement.job == JobId([1; 16])).count();
    assert_eq!((placements.len(), others), (3, 1));
}

#[test]
fn a_worker_that_comes_and_goes_is_taken_last_and_still_taken() {
    let flapping = Candidate { flapping: true, rtt_us: 0, load: 0, ..worker(1, 1) };
    let workers = [flapping, Candidate { load: 900, ..worker(2, 1) }];
    let one = place(&[demand(1, 9, 1)], &workers, &BTreeMap::new(), &Weights::default());
    assert_eq!(one.iter().map(|p| p.worker).collect::<Vec<_>>(), [NodeId([2; 32])]);
    let two = place(&[demand(1, 9, 2)], &workers, &BTreeMap::new(), &Weights::default());
    assert_eq!(two.len(), 2);
}

#[test]
fn work_is_spread_over_equal_workers() {
    let placements = place(
        &[demand(1, 9, 4)],
        &[worker(1, 2), worker(2, 2)],
        &BTreeMap::new(),
        &Weights::default(),
    );
    let on_first =
        placements.iter().filter(|placement| placement.worker == NodeId([1; 32])).count();
    assert_eq!((placements.len(), on_first), (4, 2));
}

#[test]
fn a_small_job_does_not_wait_for_a_large_one_of_another_account() {
    let demands = [demand(1, 8, 1_000), demand(2, 9, 1)];
    let placements = place(&demands, &[worker(1, 2)], &BTreeMap::new(), &Weights::default());
    assert!(placements.iter().any(|placement| placement.job == JobId([2; 16])));
}

proptest! {
    #[test]
    fn nothing_is_placed_twice_and_no_slot_is_taken_twice(
        ready in prop::collection::vec((0..50_u32, 1..300_u32, 1..4_u8), 0..6),
        slots in prop::collection::vec((0..5_u32, 0..2_000_u32, 0..1_000_u32), 0..6),
    ) {
        let demands: Vec<_> = (0_u8..)
            .zip(&ready)
            .map(|(job, (ready, per_lease, account))| Demand { per_lease: *per_lease, ..demand(job, *account, *ready) })
            .collect();
        let workers: Vec<_> = (0_u8..)
            .zip(&slots)
            .map(|(node, (slots, load, reliability))| Candidate { load: *load, reliability: *reliability, ..worker(node, *slots) })
            .collect();
        let placements = place(&demands, &workers, &BTreeMap::new(), &Weights::default());
        for demand in &demands {
            let placed: u32 = placements.iter().filter(|p| p.job == demand.job).map(|p| p.tasks).sum();
            prop_assert!(placed <= demand.ready);
        }
        for worker in &workers {
            let leases = placements.iter().filter(|p| p.worker == worker.node).count();
            prop_assert!(leases <= worker.slots_free as usize);
        }
        let free: u32 = workers.iter().map(|worker| worker.slots_free).sum();
        let waiting = demands.iter().any(|demand| {
            let placed: u32 = placements.iter().filter(|p| p.job == demand.job).map(|p| p.tasks).sum();
            placed < demand.ready
        });
        prop_assert!(!waiting || placements.len() == free as usize, "a slot is idle while work waits");
    }

    #[test]
    fn the_score_never_falls_when_a_term_gets_worse(
        rtt in 0..300_000_u64, load in 0..1_100_u32, reliability in 0..=1_000_u32, taken in 0..=8_u32, step in 1..500_u32,
    ) {
        let base = Candidate { rtt_us: rtt, load, reliability, slots_free: 8 - taken, ..worker(1, 8) };
        let weights = Weights::default();
        let worse = [
            Candidate { rtt_us: rtt + u64::from(step), ..base.clone() },
            Candidate { load: load + step, ..base.clone() },
            Candidate { reliability: reliability.saturating_sub(step), ..base.clone() },
            Candidate { slots_free: base.slots_free.saturating_sub(1), ..base.clone() },
        ];
        for worse in worse {
            prop_assert!(score(&worse, &weights) >= score(&base, &weights));
        }
    }
}
