#![expect(clippy::wildcard_enum_match_arm, reason = "stories name only what they are about")]

use protocol::{
    batch::Commitment,
    ids::{Hash, JobId, MeshId, TaskIndex},
    keys::SecretKey,
    machine::assert_deadline_contract,
    price::Price,
};

use super::*;

const LEADER: NodeId = NodeId([1; 32]);

fn fence(index: u64) -> Fence {
    Fence { epoch: 0, term: 1, index }
}

fn lease(id: u8, index: u64) -> Input {
    let items = vec![LeaseItem { task: TaskIndex(0), attempt: 1 }];
    let header = LeaseHeader {
        lease: LeaseId([id; 16]),
        worker: NodeId([2; 32]),
        job: JobId([3; 16]),
        authorization: Hash([4; 32]),
        account: protocol::ids::AccountId([7; 32]),
        price: Price::default(),
        duration_ms: 15_000,
        fence: fence(index),
        commitment: Commitment::to(&items),
    };
    let lease = Batch::sign(&header, items, MeshId([5; 32]), &SecretKey::from_seed(&[6; 32]));
    Input::Offered {
        offer: u64::from(id),
        from: LEADER,
        lease: Box::new(lease),
        fence: fence(index),
        id: LeaseId([id; 16]),
        own: false,
        task_ms: 30_000,
    }
}

fn at(second: u64) -> Timestamp {
    Timestamp::after_origin(Duration::from_secs(second))
}

fn worker() -> Worker {
    let mut worker = Worker::new(Config::standard(1, Availability::open(1, 1 << 30)));
    worker.handle(at(0), Input::Leader(Some(LEADER)));
    worker
}

fn beats(out: &[Output]) -> Vec<&Heartbeat> {
    out.iter()
        .filter_map(|output| match output {
            Output::Beat(_, beat) => Some(&**beat),
            Output::Answer(..) | Output::Start(..) | Output::Stop(_) => None,
        })
        .collect()
}

#[test]
fn a_slot_is_taken_until_its_lease_is_finished() {
    let mut worker = worker();
    let taken = worker.handle(at(1), lease(1, 5));
    assert_eq!(taken, [Output::Answer(1, LeaseResponse::Done), Output::Start(LeaseId([1; 16]), 1)]);
    let refused = worker.handle(at(1), lease(2, 5));
    assert_eq!(refused, [Output::Answer(2, LeaseResponse::Refused(RejectReason::NoFreeSlot))]);
    worker.handle(at(2), Input::Finished(LeaseId([1; 16])));
    assert!(matches!(
        worker.handle(at(2), lease(2, 5))[..],
        [Output::Answer(2, LeaseResponse::Done), _]
    ));
}

#[test]
fn an_older_leader_is_not_obeyed() {
    let mut worker = worker();
    worker.handle(at(1), lease(1, 9));
    let stale = Input::Withdrawn(vec![LeaseId([1; 16])], fence(8));
    assert_eq!(worker.handle(at(1), stale), []);
    worker.handle(at(1), Input::Finished(LeaseId([1; 16])));
    let refused = worker.handle(at(2), lease(2, 8));
    assert_eq!(refused, [Output::Answer(2, LeaseResponse::Refused(RejectReason::StaleFence))]);
}

#[test]
fn a_new_leader_is_shown_what_is_held() {
    let mut worker = worker();
    worker.handle(at(1), lease(1, 5));
    let out = worker.handle(at(5), Input::Tick);
    assert!(beats(&out)[0].leases[0].proof.is_some());
    worker.handle(at(5), Input::Heard(vec![], fence(5)));
    let out = worker.handle(at(10), Input::Tick);
    assert!(beats(&out)[0].leases[0].proof.is_none());
    let out = worker.handle(at(11), Input::Leader(Some(NodeId([9; 32]))));
    assert!(beats(&out)[0].leases[0].proof.is_some());
}

#[test]
fn what_the_leader_says_is_lost_is_stopped() {
    let mut worker = worker();
    worker.handle(at(1), lease(1, 5));
    let out = worker.handle(at(2), Input::Heard(vec![LeaseId([1; 16])], fence(5)));
    assert_eq!(out, [Output::Stop(LeaseId([1; 16]))]);
    assert_eq!(worker.slots(), (1, 1));
}

#[test]
fn a_draining_worker_refuses_and_says_so_at_once() {
    let mut worker = worker();
    let out = worker.handle(at(1), Input::Drain(None));
    assert!(beats(&out)[0].draining);
    let refused = worker.handle(at(1), lease(1, 5));
    assert_eq!(refused, [Output::Answer(1, LeaseResponse::Refused(RejectReason::Draining))]);
}

#[test]
fn a_stranger_makes_the_worker_ask_for_the_member_list_at_most_once_a_second() {
    let mut worker = worker();
    assert_eq!(beats(&worker.handle(at(2), Input::Stranger)).len(), 1);
    assert_eq!(beats(&worker.handle(at(2), Input::Stranger)).len(), 0);
    assert_eq!(worker.deadline(), Some(at(3)));
    assert_eq!(beats(&worker.handle(at(3), Input::Tick)).len(), 1);
}

fn own(lease: Input) -> Input {
    match lease {
        Input::Offered { offer, from, lease, fence, id, task_ms, .. } => {
            Input::Offered { offer, from, lease, fence, id, task_ms, own: true }
        }
        other => other,
    }
}

fn verdict(others: Openness, take_back: TakeBack) -> Input {
    let availability = Availability { others, ..Availability::open(2, 1 << 30) };
    Input::Available(Box::new(Verdict { availability, take_back }))
}

fn refusal(out: &[Output]) -> Option<RejectReason> {
    out.iter().find_map(|output| match output {
        Output::Answer(_, LeaseResponse::Refused(reason)) => Some(*reason),
        _ => None,
    })
}

fn stopped(out: &[Output]) -> Vec<u8> {
    out.iter()
        .filter_map(|output| match output {
            Output::Stop(lease) => Some(lease.0[0]),
            _ => None,
        })
        .collect()
}

/// Two slots: a lease of another owner in one, one of its own owner in the other.
fn busy() -> Worker {
    let mut worker = Worker::new(Config::standard(2, Availability::open(2, 1 << 30)));
    worker.handle(at(0), Input::Leader(Some(LEADER)));
    worker.handle(at(1), lease(1, 5));
    worker.handle(at(1), own(lease(2, 5)));
    worker
}

#[test]
fn a_paused_worker_gives_back_what_is_of_others_and_keeps_its_own() {
    let mut worker = busy();
    let out = worker.handle(at(2), verdict(Openness::Closed, TakeBack::Now));
    assert_eq!(stopped(&out), [1]);
    assert_eq!(beats(&out).last().unwrap().returned, [LeaseId([1; 16])]);
    assert_eq!(refusal(&worker.handle(at(3), lease(3, 5))), Some(RejectReason::Paused));
    assert_eq!(refusal(&worker.handle(at(3), own(lease(3, 5)))), None);
}

#[test]
fn what_is_given_back_is_named_until_the_leader_has_heard_of_it() {
    let mut worker = busy();
    worker.handle(at(2), verdict(Openness::Closed, TakeBack::Now));
    let again = worker.handle(at(7), Input::Tick);
    assert_eq!(beats(&again)[0].returned, [LeaseId([1; 16])]);
    worker.handle(at(7), Input::Heard(vec![], fence(5)));
    let after = worker.handle(at(12), Input::Tick);
    assert!(beats(&after)[0].returned.is_empty());
}

#[test]
fn work_that_is_taken_back_soon_may_end_first() {
    let mut worker = busy();
    let out = worker.handle(at(2), verdict(Openness::Closed, TakeBack::Soon));
    assert!(stopped(&out).is_empty());
    worker.handle(at(30), verdict(Openness::Closed, TakeBack::Soon));
    assert!(stopped(&worker.handle(at(61), Input::Tick)).is_empty());
    assert_eq!(stopped(&worker.handle(at(62), Input::Tick)), [1]);
}

#[test]
fn an_owner_who_goes_away_in_time_takes_nothing_back() {
    let mut worker = busy();
    worker.handle(at(2), verdict(Openness::Closed, TakeBack::Soon));
    worker.handle(at(30), verdict(Openness::Open, TakeBack::Nothing));
    assert!(stopped(&worker.handle(at(90), Input::Tick)).is_empty());
}

#[test]
fn on_a_low_battery_only_small_tasks_of_others_are_taken() {
    let mut worker = worker();
    let small = Openness::Small { task_ms_max: 10_000 };
    worker.handle(at(1), verdict(small, TakeBack::Nothing));
    assert_eq!(refusal(&worker.handle(at(1), lease(1, 5))), Some(RejectReason::TaskTooLarge));
    assert_eq!(refusal(&worker.handle(at(1), own(lease(2, 5)))), None);
}

#[test]
fn others_get_only_the_slots_that_they_may_have() {
    let mut worker = busy();
    let availability = Availability::open(1, 1 << 30);
    let only_one = Verdict { availability, take_back: TakeBack::Nothing };
    worker.handle(at(2), Input::Available(Box::new(only_one)));
    worker.handle(at(2), Input::Finished(LeaseId([2; 16])));
    assert_eq!(refusal(&worker.handle(at(3), lease(3, 5))), Some(RejectReason::NoFreeSlot));
    assert_eq!(refusal(&worker.handle(at(3), own(lease(4, 5)))), None);
}

#[test]
fn at_the_end_of_a_drain_everything_is_given_back() {
    let mut worker = busy();
    worker.handle(at(2), Input::Drain(Some(at(60))));
    assert!(stopped(&worker.handle(at(59), Input::Tick)).is_empty());
    assert_eq!(stopped(&worker.handle(at(60), Input::Tick)), [1, 2]);
    assert_eq!(refusal(&worker.handle(at(61), own(lease(3, 5)))), Some(RejectReason::Draining));
    worker.handle(at(62), Input::Resume);
    assert_eq!(refusal(&worker.handle(at(63), lease(3, 5))), None);
}

#[test]
fn a_drain_that_is_taken_back_in_time_gives_nothing_back() {
    let mut worker = busy();
    worker.handle(at(2), Input::Drain(Some(at(60))));
    worker.handle(at(3), Input::Resume);
    assert!(stopped(&worker.handle(at(70), Input::Tick)).is_empty());
}

#[test]
fn the_deadline_contract_holds() {
    let mut worker = worker();
    assert_deadline_contract(&worker);
    worker.handle(at(1), lease(1, 5));
    assert_deadline_contract(&worker);
    worker.handle(at(2), Input::Drain(Some(at(9))));
    worker.handle(at(2), verdict(Openness::Closed, TakeBack::Soon));
    assert_deadline_contract(&worker);
    worker.handle(at(2), Input::Leader(None));
    assert_deadline_contract(&worker);
}
