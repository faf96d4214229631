//! Who gets which work: a pure function from what waits and who is there to placements.
//!
//! Eligibility is decided before anything is offered ([`obstacle`]); among those who are eligible the lowest
//! [`score`] wins, ties by node id; those that come and go are taken last. Jobs take turns by what their accounts already have running, then by age,
//! so that nobody starves. Placing is deterministic: equal snapshots give equal placements.

use std::collections::BTreeMap;

use protocol::{
    ids::{AccountId, JobId, NodeId},
    limits::BATCH_ITEMS_MAX,
    time::UnixMillis,
    units::Pages,
    wire::{
        advert::Isolation,
        availability::{Cause, Openness, Reason},
        job::Scope,
        view::{Admission, Condition, Liveness},
    },
};

/// What a job needs of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Who pays.
    pub account: AccountId,
    /// Whose machines may run it.
    pub scope: Scope,
    /// The least isolation.
    pub isolation: Isolation,
    /// Labels, all of them.
    pub tags: Vec<String>,
    /// Linear memory of one task.
    pub memory: Pages,
    /// The time limit of one task, in milliseconds.
    pub task_ms: u64,
}

/// A job that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Which.
    pub job: JobId,
    /// What it needs.
    pub needs: Needs,
    /// Tasks that could start now and that the budget covers.
    pub ready: u32,
    /// Tasks that one lease should carry, by how long they take. At least 1.
    pub per_lease: u32,
    /// Its place in the order of submission.
    pub order: u64,
}

/// A worker, as the leader knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub node: NodeId,
    /// What it is called.
    pub name: String,
    /// Whose.
    pub account: AccountId,
    /// Whether it is a member.
    pub admission: Admission,
    /// Whether it is heard from.
    pub liveness: Liveness,
    /// Whether it can take work.
    pub condition: Condition,
    /// Whether it runs tasks at all.
    pub works: bool,
    /// How well its guests are isolated.
    pub isolation: Isolation,
    /// Labels.
    pub tags: Vec<String>,
    /// Memory that it shares, in bytes.
    pub memory_bytes: u64,
    /// Slots in all.
    pub slots: u32,
    /// Slots that no lease occupies.
    pub slots_free: u32,
    /// Whether it takes work of other owners.
    pub others: Openness,
    /// Slots that other owners may still have.
    pub others_free: u32,
    /// Why it takes less than it could.
    pub reasons: Vec<Reason>,
    /// Whether it comes and goes: then it is chosen last.
    pub flapping: bool,
    /// Round trip, in microseconds.
    pub rtt_us: u64,
    /// Processor load, in thousandths.
    pub load: u32,
    /// Part of its attempts that ended well lately, in thousandths.
    pub reliability: u32,
}

/// How much each term of the score counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Of the round trip.
    pub rtt: u32,
    /// Of the processor load.
    pub load: u32,
    /// Of what the worker already has to do.
    pub queue: u32,
    /// Of attempts that went wrong.
    pub unreliability: u32,
}

impl Default for Weights {
    fn default() -> Self {
        // Reliability counts most: a lost task costs a lease's length, a slow link only milliseconds.
        Self { rtt: 1, load: 2, queue: 2, unreliability: 4 }
    }
}

/// A round trip that counts as the worst, in microseconds.
const RTT_WORST_US: u64 = 200_000;

/// Why a worker cannot take a task of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// It waits for approval, or was removed.
    NotApproved,
    /// It does not run tasks.
    NotAWorker,
    /// It is another owner's, and the job is for the submitter's own machines.
    OtherOwner,
    /// Its guests are not isolated well enough.
    Isolation,
    /// It lacks a label.
    Label,
    /// It shares too little memory.
    Memory,
    /// It has not been heard from.
    Offline,
    /// It takes no new work.
    Draining,
    /// It is catching up.
    Syncing,
    /// It has nothing for other owners now, and why.
    Withheld(Cause),
    /// It takes only smaller tasks of other owners.
    TaskTooLarge,
    /// Its host is overloaded.
    Overloaded,
    /// All its slots are taken.
    Busy,
}

impl Obstacle {
    /// All of them, the most lasting first; without [`Self::Withheld`], of which there is one for each [`Cause`].
    pub const ALL: [Self; 12] = [
        Self::NotApproved,
        Self::NotAWorker,
        Self::OtherOwner,
        Self::Isolation,
        Self::Label,
        Self::Memory,
        Self::Offline,
        Self::Draining,
        Self::Syncing,
        Self::TaskTooLarge,
        Self::Overloaded,
        Self::Busy,
    ];

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotApproved => "not-approved",
            Self::NotAWorker => "not-a-worker",
            Self::OtherOwner => "other-owner",
            Self::Isolation => "isolation",
            Self::Label => "label",
            Self::Memory => "memory",
            Self::Offline => "offline",
            Self::Draining => "draining",
            Self::Syncing => "syncing",
            Self::Withheld(cause) => cause.code(),
            Self::TaskTooLarge => "task-too-large",
            Self::Overloaded => "overloaded",
            Self::Busy => "busy",
        }
    }

    /// Whether waiting cannot help.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        matches!(
            self,
            Self::NotApproved
                | Self::NotAWorker
                | Self::OtherOwner
                | Self::Isolation
                | Self::Label
                | Self::Memory
        )
    }

    /// A sentence for people: what the matter is with one such node.
    #[must_use]
    pub fn sentence(self, needs: &Needs, worker: &Candidate) -> String {
        match self {
            Self::NotApproved => "waits for approval".to_owned(),
            Self::NotAWorker => "does not run tasks (role worker is off)".to_owned(),
            Self::OtherOwner => "belongs to another owner, and the job has --scope mine".to_owned(),
            Self::Isolation => format!(
                "isolates guests with grade {}, and the job needs {}",
                worker.isolation.name(),
                needs.isolation.name()
            ),
            Self::Label => {
                let missing: Vec<_> =
                    needs.tags.iter().filter(|tag| !worker.tags.contains(tag)).cloned().collect();
                format!("lacks the label {}", missing.join(", "))
            }
            Self::Memory => format!(
                "shares {} MiB of memory, and a task needs {} MiB",
                worker.memory_bytes >> 20,
                needs.memory.bytes() >> 20
            ),
            Self::Offline => "has not been heard from".to_owned(),
            Self::Draining => {
                let note = worker.reasons.iter().find(|reason| reason.cause == Cause::Draining);
                let note = note.map_or("", |reason| reason.note.as_str());
                let note = if note.is_empty() { String::new() } else { format!(": {note}") };
                format!("takes no new work (draining{note})")
            }
            Self::Syncing => "has come back and not yet said what it holds".to_owned(),
            Self::Withheld(cause) => {
                let reason = worker.reasons.iter().find(|reason| reason.cause == cause);
                withheld(&reason.cloned().unwrap_or_else(|| Reason::of(cause)))
            }
            Self::TaskTooLarge => format!(
                "takes only tasks with a time limit of at most {} s (on battery), and a task has {} s",
                small_ms(worker).div_euclid(1_000),
                needs.task_ms.div_euclid(1_000)
            ),
            Self::Overloaded => "is overloaded".to_owned(),
            Self::Busy => format!("all {} slots are taken", worker.slots),
        }
    }
}

/// What keeps a worker from taking a task, if anything: the most lasting reason first.
#[must_use]
pub fn obstacle(needs: &Needs, worker: &Candidate) -> Option<Obstacle> {
    // What an owner allows others does not bind the owner, and neither does what else their machine does.
    let other = !is_own(needs, worker);
    let cause = worker.reasons.first().map_or(Cause::Paused, |reason| reason.cause);
    let checks = [
        (worker.admission != Admission::Approved, Obstacle::NotApproved),
        (!worker.works || worker.slots == 0, Obstacle::NotAWorker),
        (needs.scope == Scope::Mine && worker.account != needs.account, Obstacle::OtherOwner),
        (worker.isolation < needs.isolation, Obstacle::Isolation),
        (needs.tags.iter().any(|tag| !worker.tags.contains(tag)), Obstacle::Label),
        (worker.memory_bytes < needs.memory.bytes(), Obstacle::Memory),
        (worker.liveness != Liveness::Healthy, Obstacle::Offline),
        (worker.condition == Condition::Maintenance, Obstacle::Draining),
        (worker.condition == Condition::Syncing, Obstacle::Syncing),
        (other && worker.condition == Condition::Degraded, Obstacle::Overloaded),
        (other && worker.others == Openness::Closed, Obstacle::Withheld(cause)),
        (other && needs.task_ms > small_ms(worker), Obstacle::TaskTooLarge),
        (worker.slots_free == 0 || (other && worker.others_free == 0), Obstacle::Busy),
    ];
    checks.into_iter().find(|(holds, _)| *holds).map(|(_, obstacle)| obstacle)
}

/// Whether a job is of the worker's own owner.
fn is_own(needs: &Needs, worker: &Candidate) -> bool {
    needs.account == worker.account
}

/// The longest time limit of a task of other owners, in milliseconds.
fn small_ms(worker: &Candidate) -> u64 {
    match worker.others {
        Openness::Small { task_ms_max } => u64::from(task_ms_max),
        Openness::Closed | Openness::Open => u64::MAX,
    }
}

/// `is paused (on battery) until plugged in`.
fn withheld(reason: &Reason) -> String {
    let until = match reason.until {
        Some(until) => time_of_day(until),
        None => reason.cause.remedy().to_owned(),
    };
    format!("is paused ({}) until {until}", reason.what())
}

/// `15:40 UTC`.
fn time_of_day(at: UnixMillis) -> String {
    let minutes = at.0.div_euclid(60_000).rem_euclid(1_440);
    format!("{:02}:{:02} UTC", minutes.div_euclid(60), minutes.rem_euclid(60))
}

/// How dear it is to use a worker, in thousandths of the sum of the weights: lower is better. Monotone in every
/// term (capabilities, decision 2).
#[must_use]
pub fn score(worker: &Candidate, weights: &Weights) -> u64 {
    let rtt = worker
        .rtt_us
        .min(RTT_WORST_US)
        .saturating_mul(1_000)
        .checked_div(RTT_WORST_US)
        .unwrap_or(0);
    let taken = worker.slots.saturating_sub(worker.slots_free);
    let queue = u64::from(taken)
        .saturating_mul(1_000)
        .checked_div(u64::from(worker.slots))
        .unwrap_or(1_000);
    let unreliability = 1_000_u32.saturating_sub(worker.reliability);
    [
        (weights.rtt, rtt),
        (weights.load, u64::from(worker.load.min(1_000))),
        (weights.queue, queue),
        (weights.unreliability, u64::from(unreliability)),
    ]
    .into_iter()
    .fold(0, |sum, (weight, term)| sum.saturating_add(u64::from(weight).saturating_mul(term)))
}

/// Some tasks of a job for one slot of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The job.
    pub job: JobId,
    /// The worker.
    pub worker: NodeId,
    /// How many tasks: 1 to [`BATCH_ITEMS_MAX`].
    pub tasks: u32,
}

/// Places what waits on who is free.
///
/// `running` is how many leases each account already has. Ends after at most one step per free slot.
#[must_use]
pub fn place(
    demands: &[Demand],
    workers: &[Candidate],
    running: &BTreeMap<AccountId, u32>,
    weights: &Weights,
) -> Vec<Placement> {
    let mut demands = demands.to_vec();
    let mut workers = workers.to_vec();
    let mut running = running.clone();
    let mut placements = Vec::new();
    loop {
        demands.retain(|demand| demand.ready > 0);
        demands.sort_by_key(|demand| {
            (running.get(&demand.needs.account).copied().unwrap_or(0), demand.order)
        });
        let next = demands.iter().enumerate().find_map(|(at, demand)| {
            best(&demand.needs, &workers, weights).map(|worker| (at, worker))
        });
        let Some((at, chosen)) = next else { return placements };
        let (Some(demand), Some(worker)) = (demands.get_mut(at), workers.get_mut(chosen)) else {
            return placements;
        };
        let tasks = demand
            .per_lease
            .clamp(1, u32::try_from(BATCH_ITEMS_MAX).unwrap_or(1))
            .min(demand.ready);
        placements.push(Placement { job: demand.job, worker: worker.node, tasks });
        demand.ready = demand.ready.saturating_sub(tasks);
        worker.slots_free = worker.slots_free.saturating_sub(1);
        if !is_own(&demand.needs, worker) {
            worker.others_free = worker.others_free.saturating_sub(1);
        }
        let leases = running.entry(demand.needs.account).or_default();
        *leases = leases.saturating_add(1);
    }
}

/// Where the best worker that can take a task now is; ties by node id.
fn best(needs: &Needs, workers: &[Candidate], weights: &Weights) -> Option<usize> {
    let able = workers.iter().enumerate().filter(|(_, worker)| obstacle(needs, worker).is_none());
    able.min_by_key(|(_, worker)| (worker.flapping, score(worker, weights), worker.node))
        .map(|(at, _)| at)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small numbers")]
mod tests {
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
            (
                Candidate { liveness: Liveness::Suspect, ..base.clone() },
                needs(9),
                Obstacle::Offline,
            ),
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
            (
                Candidate { condition: Condition::Syncing, ..base.clone() },
                needs(1),
                Obstacle::Syncing,
            ),
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
        assert_eq!(
            sentence(Reason::of(Cause::OnBattery)),
            "is paused (on battery) until plugged in"
        );
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
}
