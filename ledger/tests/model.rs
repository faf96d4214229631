//! The state machine against a model of plain maps, over random commands: submissions, results, double
//! settlements, failures, cancellations, transfers and replays. After each step the books balance and both agree.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use ledger::{
    command::{Command, Stamped},
    state::{
        apply, check_invariants,
        money::{FEES, ROUNDING},
        query,
    },
    testing::{TestJob, TestLedger, TestMesh, key, receipt},
};
use proptest::{collection::vec, prelude::*};
use protocol::{
    ids::{AccountId, TaskIndex},
    keys::SecretKey,
    outcome::{Interruption, Outcome},
    units::{Credits, Fuel},
    wire::{
        job::{EndPolicy, Scope},
        receipt::TaskReceipt,
        view::JobState,
    },
};

/// Owners are numbers; the node of owner `n` has the key `n + 100`, but for the creator's.
const OWNERS: [u8; 3] = [1, 3, 5];
const GRANT: i128 = 1_000_000_000;
const DAY_MS: u64 = 24 * 3_600_000;

fn node_of(owner: u8) -> SecretKey {
    if owner == 1 { key(2) } else { key(owner + 100) }
}

/// What one random step does. Small numbers, so that steps meet.
#[derive(Debug, Clone)]
enum Step {
    Submit(Terms),
    Settle { worker: u8, job: u8, items: Vec<(u32, Ending, u64)>, retried: bool },
    GiveUp { job: u8, task: u32 },
    Cancel { by: u8, job: u8 },
    Transfer { id: u8, from: u8, to: u8, amount: u64 },
    Replay(prop::sample::Index),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terms {
    owner: u8,
    job: u8,
    tasks: u32,
    budget: u64,
    strict: bool,
    mine: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Good,
    Bad,
    Timeout,
    Lost,
}

impl Ending {
    const fn outcome(self) -> Outcome {
        match self {
            Self::Good => Outcome::Exit(0),
            Self::Bad => Outcome::OutOfFuel,
            Self::Timeout => Outcome::Indeterminate(Interruption::Timeout),
            Self::Lost => Outcome::Indeterminate(Interruption::RunnerCrashed),
        }
    }
}

fn owner() -> impl Strategy<Value = u8> {
    prop::sample::select(&OWNERS[..])
}

fn step() -> impl Strategy<Value = Step> {
    let ending = prop::sample::select(
        &[Ending::Good, Ending::Good, Ending::Bad, Ending::Timeout, Ending::Lost][..],
    );
    let budget = prop_oneof![1..3_000_u64, 1..2_000_000_000_u64];
    let terms = (owner(), 1..6_u8, 1..6_u32, budget, any::<bool>(), any::<bool>());
    prop_oneof![
        3 => terms.prop_map(|(owner, job, tasks, budget, strict, mine)| {
            Step::Submit(Terms { owner, job, tasks, budget, strict, mine })
        }),
        6 => (owner(), 1..6_u8, vec((0..6_u32, ending, 0..2_000_000_000_u64), 1..5), any::<bool>())
            .prop_map(|(worker, job, items, retried)| Step::Settle { worker, job, items, retried }),
        1 => (1..6_u8, 0..6_u32).prop_map(|(job, task)| Step::GiveUp { job, task }),
        1 => (owner(), 1..6_u8).prop_map(|(by, job)| Step::Cancel { by, job }),
        1 => (0..4_u8, owner(), owner(), 0..1_500_000_000_u64)
            .prop_map(|(id, from, to, amount)| Step::Transfer { id, from, to, amount }),
        2 => any::<prop::sample::Index>().prop_map(Step::Replay),
    ]
}

/// A job as the model knows it.
#[derive(Debug, Clone)]
struct ModelJob {
    terms: Terms,
    captured: i128,
    /// How each task that ended did.
    ended: BTreeMap<u32, bool>,
    open: bool,
}

/// What the ledger should come to, computed in the plainest way.
#[derive(Debug, Default)]
struct Model {
    balances: BTreeMap<AccountId, i128>,
    jobs: BTreeMap<u8, ModelJob>,
    submitted: BTreeMap<(u8, u8), Terms>,
    transfers: BTreeMap<(u8, u8), (u8, u64)>,
}

impl Model {
    fn balance(&mut self, account: AccountId) -> &mut i128 {
        self.balances.entry(account).or_default()
    }

    fn submit(&mut self, terms: Terms) {
        if self.submitted.contains_key(&(terms.owner, terms.job)) {
            return;
        }
        self.submitted.insert((terms.owner, terms.job), terms);
        if self.jobs.contains_key(&terms.job)
            || *self.balance(key(terms.owner).account()) < i128::from(terms.budget)
        {
            return;
        }
        *self.balance(key(terms.owner).account()) -= i128::from(terms.budget);
        self.jobs
            .insert(terms.job, ModelJob { terms, captured: 0, ended: BTreeMap::new(), open: true });
    }

    fn settle(&mut self, worker: u8, number: u8, items: &[(u32, Ending, u64)], retried: bool) {
        let Some(mut job) = self.jobs.remove(&number) else { return };
        let foreign = job.terms.mine && job.terms.owner != worker;
        let outside = items.iter().any(|(task, ..)| *task >= job.terms.tasks);
        let mut short = false;
        if job.open && !foreign && !outside {
            for (task, ending, fuel) in items {
                if job.ended.contains_key(task) || (retried && *ending == Ending::Lost) {
                    continue;
                }
                let free = job.terms.mine || *ending == Ending::Lost;
                let fuel = i128::from(*fuel) * 250;
                let due = if free { 0 } else { (fuel + 999_999) / 1_000_000 + 50 };
                let earned = if free { 0 } else { fuel / 1_000_000 + 50 };
                let left = i128::from(job.terms.budget) - job.captured;
                let paid = due.min(left);
                short |= paid < due;
                if due > 0 && left == 0 {
                    continue;
                }
                let fee = (earned * 300 / 10_000).min(paid);
                let rounding = if paid == due { due - earned } else { 0 };
                *self.balance(FEES) += fee;
                *self.balance(ROUNDING) += rounding;
                *self.balance(key(worker).account()) += paid - fee - rounding;
                job.captured += paid;
                job.ended.insert(*task, *ending == Ending::Good);
            }
            short |= !job.terms.mine && job.captured == i128::from(job.terms.budget);
            self.end_if_done(&mut job, short);
        }
        self.jobs.insert(number, job);
    }

    fn give_up(&mut self, number: u8, task: u32) {
        let Some(mut job) = self.jobs.remove(&number) else { return };
        if job.open && task < job.terms.tasks && !job.ended.contains_key(&task) {
            job.ended.insert(task, false);
            self.end_if_done(&mut job, false);
        }
        self.jobs.insert(number, job);
    }

    fn end_if_done(&mut self, job: &mut ModelJob, short: bool) {
        let all = job.ended.len() == job.terms.tasks as usize;
        let failed = job.terms.strict && job.ended.values().any(|good| !good);
        if all || failed || short {
            self.end(job);
        }
    }

    fn end(&mut self, job: &mut ModelJob) {
        job.open = false;
        *self.balance(key(job.terms.owner).account()) +=
            i128::from(job.terms.budget) - job.captured;
    }

    fn cancel(&mut self, by: u8, number: u8) {
        let Some(mut job) = self.jobs.remove(&number) else { return };
        if job.open && job.terms.owner == by {
            self.end(&mut job);
        }
        self.jobs.insert(number, job);
    }

    fn transfer(&mut self, id: u8, from: u8, to: u8, amount: u64) {
        if self.transfers.contains_key(&(from, id)) {
            return;
        }
        self.transfers.insert((from, id), (to, amount));
        let micros = i128::from(amount);
        if amount > 0 && from != to && *self.balance(key(from).account()) >= micros {
            *self.balance(key(from).account()) -= micros;
            *self.balance(key(to).account()) += micros;
        }
    }
}

/// The real thing beside the model.
struct Pair {
    ledger: TestLedger,
    model: Model,
    sent: Vec<Stamped>,
}

impl Pair {
    fn new() -> Self {
        let mut ledger = TestLedger::found(TestMesh::default()).unwrap();
        let mut model = Model::default();
        for owner in OWNERS {
            if owner != 1 {
                ledger.admit(&node_of(owner), &key(owner), "node").unwrap();
            }
            *model.balance(key(owner).account()) = GRANT;
        }
        Self { ledger, model, sent: Vec::new() }
    }

    fn job(&self, terms: Terms) -> TestJob {
        let mut job = TestJob::new(&key(terms.owner), terms.job, terms.tasks);
        job.authorization.budget = Credits::from_micros(terms.budget);
        job.spec.end = if terms.strict { EndPolicy::AllOrNothing } else { EndPolicy::AllowPartial };
        job.spec.scope = if terms.mine { Scope::Mine } else { Scope::Mesh };
        job
    }

    fn take(&mut self, step: &Step) {
        let mesh = self.ledger.mesh.clone();
        let command = match step {
            Step::Submit(terms) => {
                let command = self.job(*terms).submit(&mesh);
                self.model.submit(*terms);
                command
            }
            Step::Settle { worker, job, items, retried } => {
                let mut items = items.clone();
                items.sort_by_key(|(task, ..)| *task);
                items.dedup_by_key(|(task, ..)| *task);
                let terms = match self.model.jobs.get(job) {
                    Some(job) => job.terms,
                    None => return,
                };
                let again = items
                    .iter()
                    .filter(|(_, ending, _)| *retried && *ending == Ending::Lost)
                    .map(|(task, ..)| TaskIndex(*task))
                    .collect();
                let receipts = items
                    .iter()
                    .map(|(task, ending, fuel)| TaskReceipt {
                        fuel: Fuel(*fuel),
                        ..receipt(*task, ending.outcome())
                    })
                    .collect();
                let batch =
                    mesh.receipts(&self.job(terms), &node_of(*worker), &key(*worker), receipts);
                self.model.settle(*worker, *job, &items, *retried);
                Command::Settle { receipts: Box::new(batch), retried: again }
            }
            Step::GiveUp { job, task } => {
                self.model.give_up(*job, *task);
                let job = TestJob::new(&key(1), *job, 1).id();
                Command::GiveUp { job, tasks: vec![(TaskIndex(*task), 3)] }
            }
            Step::Cancel { by, job } => {
                self.model.cancel(*by, *job);
                Command::Cancel(mesh.cancel(&key(*by), TestJob::new(&key(1), *job, 1).id()))
            }
            Step::Transfer { id, from, to, amount } => {
                self.model.transfer(*id, *from, *to, *amount);
                let amount = Credits::from_micros(*amount);
                Command::Transfer(mesh.transfer(*id, &key(*from), &key(*to), amount))
            }
            Step::Replay(which) => {
                if !self.sent.is_empty() {
                    let stamped = which.get(&self.sent).clone();
                    let replayed = apply(&self.ledger.records, &stamped).unwrap();
                    assert!(replayed.changes.is_empty() && replayed.events.is_empty());
                }
                return;
            }
        };
        let stamped = self.ledger.stamp(command);
        let once = apply(&self.ledger.records, &stamped).unwrap();
        let twice = self.ledger.apply_stamped(&stamped).unwrap();
        assert_eq!(once, twice, "equal records and commands make equal changes");
        self.sent.push(stamped);
    }

    fn agree(&self) {
        let records = &self.ledger.records;
        check_invariants(records).unwrap();
        for (account, expected) in &self.model.balances {
            assert_eq!(query::account(records, account).unwrap().balance(), *expected, "{account}");
        }
        for (number, job) in &self.model.jobs {
            let view =
                query::job(records, &TestJob::new(&key(1), *number, 1).id()).unwrap().unwrap();
            assert_eq!(i128::from(view.captured.micros()), job.captured, "job {number}");
            assert_eq!(view.state.is_terminal(), !job.open, "job {number}");
            assert_eq!((view.done + view.failed) as usize, job.ended.len(), "job {number}");
            let pending = query::pending_tasks(records, &view.job).unwrap().unwrap();
            let left: usize = pending.ranges.iter().map(ExactSizeIterator::len).sum();
            let expected = if job.open { job.terms.tasks as usize - job.ended.len() } else { 0 };
            assert_eq!(left, expected, "job {number}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_books_balance_whatever_happens(steps in vec(step(), 1..40)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
            pair.agree();
        }
        // In the end everything is settled: what is still open expires, and no escrow holds anything.
        pair.ledger.at.0 += 2 * DAY_MS;
        for job in query::open_jobs(&pair.ledger.records).unwrap() {
            pair.ledger.apply(Command::Expire(job)).unwrap();
            let view = query::job(&pair.ledger.records, &job).unwrap().unwrap();
            prop_assert_eq!(view.state, JobState::Expired);
        }
        check_invariants(&pair.ledger.records).unwrap();
        let total: i128 = OWNERS
            .iter()
            .map(|owner| key(*owner).account())
            .chain([FEES, ROUNDING])
            .map(|account| query::account(&pair.ledger.records, &account).unwrap().balance())
            .sum();
        prop_assert_eq!(total, 3 * GRANT);
    }
}
